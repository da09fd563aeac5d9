"""A move of an alias becomes a JSON message to the web address of ``[tool.mlnb] notify_url``.

The field ``text`` holds a sentence, which is what chat services show. The address may hold a token, so nothing more
than its host is ever told; ``MLNB_NOTIFY_URL`` keeps it out of the project.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import SplitResult, urlsplit

from mlnb.errors import RemoteError, SettingsError
from mlnb.settings import Settings

_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Webhook:
    """Posts events; an entry point of ``mlnb.notifiers``.

    Attributes
    ----------
    url : SplitResult
        Where to.
    """

    url: SplitResult = field(repr=False)

    @classmethod
    def of(cls, settings: Settings) -> Webhook | None:
        """Return the one that the settings ask for; None where they do not.

        Raises
        ------
        SettingsError
            If the address is not one of the web.
        """
        if not settings.notify_url:
            return None
        try:
            url = urlsplit(settings.notify_url)
            usable = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise SettingsError(
                "The setting notify_url is no web address.",
                "Write it as https://host/path, best in the variable MLNB_NOTIFY_URL.",
                key="notify_url",
            )
        return cls(url)

    def send(self, event: Mapping[str, object], key: str) -> None:
        """Post one event; every answer but 2xx is a failure, a redirection too.

        Raises
        ------
        RemoteError
            If it did not arrive, or nobody knows whether it did.
        """
        place = f"{self.url.scheme}://{self.url.hostname}"
        body = json.dumps({"event": "promotion", **event}).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": key, "User-Agent": "mlnb"}
        target = (self.url.path or "/") + (f"?{self.url.query}" if self.url.query else "")
        kind = HTTPSConnection if self.url.scheme == "https" else HTTPConnection
        connection = kind(str(self.url.hostname), self.url.port, timeout=_TIMEOUT_S)
        try:
            connection.request("POST", target, body, headers)
            status = connection.getresponse().status
        except (OSError, HTTPException, ValueError) as error:
            why = type(error).__name__ if isinstance(error, (HTTPException, ValueError)) else (error.strerror or error)
            raise RemoteError(f"{place} cannot be told: {why}.", "It is told again later.", address=place) from error
        finally:
            connection.close()
        if not 200 <= status < 300:
            raise RemoteError(f"{place} answered {status} when it was told.", "It is told again later.", address=place)
