"""An event becomes a plain-text mail, handed to a mail server over TLS (STARTTLS by default).

The server must know all recipients before it gets the text, so a mail that is tried again reaches nobody twice for the
sake of somebody else's wrong address. ``Message-ID`` is the same at every try.

References
----------
RFC 5321 (SMTP), RFC 3207 (STARTTLS), RFC 8314 section 3.3 (TLS from the first byte), RFC 3834 (``Auto-Submitted``)
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.errors import MessageError
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from mlnb.errors import RemoteError
from mlnb.notify.table import Secret, Table
from mlnb.registry.canonical import utc_now

TIMEOUT_S = 10.0
_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_SUBJECT = 180


@dataclass(frozen=True, slots=True)
class Mail:
    """Sends mails.

    Attributes
    ----------
    host, port : str, int
        The mail server.
    security : {"starttls", "tls", "none"}
        How the way there is protected; ``none`` takes no password.
    ca : str
        A file of certificates to trust instead of the system's.
    user : str
        Who logs in; empty for nobody.
    password : callable or None
        Returns the password.
    sender : str
    to : tuple of str
        Addresses.
    """

    host: str
    port: int
    security: str
    ca: str
    user: str
    password: Secret | None = field(repr=False)
    sender: str
    to: tuple[str, ...]

    @classmethod
    def declared(cls, table: Table) -> Mail:
        """Return that of a table; an entry point of ``mlnb.channels``.

        Raises
        ------
        SettingsError
            If something is missing, or a password would travel in the clear.
        """
        security = table.text("security", "starttls")
        if security not in _PORTS:
            raise table.wrong("security", f"is {security!r}, not starttls, tls or none")
        user, password = table.text("user", ""), table.secret("password_secret")
        if bool(user) != (password is not None):
            raise table.wrong("user", "and password_secret belong together")
        if security == "none" and password is not None:
            raise table.wrong("security", "is none, so the password would travel in the clear")
        ca = table.text("ca", "")
        return cls(
            table.text("host"),
            int(table.number("port", _PORTS[security])),
            security,
            str(table.folder / ca) if ca else "",
            user,
            password,
            table.text("from"),
            table.texts("to", needed=True),
        )

    @property
    def place(self) -> str:
        """What may be told of it."""
        return f"{', '.join(self.to)} by {self.host}:{self.port} ({self.security})"

    def send(self, event: Mapping[str, object], key: str) -> None:
        """Hand over one mail.

        Raises
        ------
        RemoteError
            If the server did not take it.
        SecretError
            If the password cannot be read.
        """
        password = self.password() if self.password else ""
        try:
            content = self._message(event, key).as_bytes(policy=SMTP)
            with self._connected() as server:
                if password:
                    server.login(self.user, password)
                self._hand_over(server, content)
        except (OSError, MessageError, ValueError) as error:
            raise RemoteError(
                f"The mail server {self.host} cannot be told: {_why(error)}.",
                "It is told again later.",
                address=self.host,
            ) from None

    def _connected(self) -> smtplib.SMTP:
        if self.security == "none":
            return smtplib.SMTP(self.host, self.port, timeout=TIMEOUT_S)
        context = ssl.create_default_context(cafile=self.ca or None)
        if self.security == "tls":
            return smtplib.SMTP_SSL(self.host, self.port, timeout=TIMEOUT_S, context=context)
        server = smtplib.SMTP(self.host, self.port, timeout=TIMEOUT_S)
        try:
            server.starttls(context=context)
        except BaseException:
            server.close()
            raise
        return server

    def _hand_over(self, server: smtplib.SMTP, content: bytes) -> None:
        server.ehlo_or_helo_if_needed()
        _expect(server.mail(self.sender), "the sender")
        for address in self.to:
            _expect(server.rcpt(address), address)
        _expect(server.data(content), "the text")

    def _message(self, event: Mapping[str, object], key: str) -> EmailMessage:
        text = " ".join(str(event.get("text", "")).split())
        mail = EmailMessage()
        mail["Subject"] = f"[mlnb] {text if len(text) <= _SUBJECT else text[:_SUBJECT] + '…'}"
        mail["From"], mail["To"] = self.sender, ", ".join(self.to)
        mail["Date"] = format_datetime(utc_now())
        mail["Message-ID"] = f"<{key.replace(':', '-')}@mlnb>"
        mail["Auto-Submitted"] = "auto-generated"
        facts = [f"{name}: {value}" for name, value in event.items() if name != "text" and value not in ("", None)]
        mail.set_content("\n".join([text, "", *facts, ""]))
        return mail


def _expect(reply: tuple[int, bytes], what: str) -> None:
    code, said = reply
    if code not in (250, 251):
        raise smtplib.SMTPResponseException(code, f"it refuses {what}: {said.decode('utf-8', 'replace')}")


def _why(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return f"it refuses the user or the password ({error.smtp_code})"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code} {error.smtp_error!s}".rstrip(".")
    return str(error).rstrip(".") or type(error).__name__
