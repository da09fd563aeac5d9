"""A certificate and its key become the TLS of a service, and that of the local target's own client.

Carried into the service: the standard library. TLS 1.2 at the least. With ``tls_client_ca`` only callers whose
certificate one of those authorities has signed are heard; the service's own certificate is one of them, so that the
local target, which may read the key, can ask whether the service is ready.

A renewed certificate is taken up without a restart: each handshake looks, at most once a second, whether the files have
changed. One that cannot be read is said in the log, and the old one stays.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from mlnb.errors import SettingsError
from mlnb.service.configuration import Configuration

LOOK_S = 1.0
_LOGGER = logging.getLogger("mlnb.service")


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files: the certificate with its chain, its key, and the authorities of callers' certificates; "" for none."""

    cert: str = ""
    key: str = ""
    client_ca: str = ""


def certificate_of(chosen: Configuration) -> Certificate:
    """Return the files that a configuration names."""
    return Certificate(chosen.tls_cert, chosen.tls_key, chosen.tls_client_ca)


def check_certificate(chosen: Configuration) -> None:
    """Raise SettingsError where a configuration names files that cannot be used."""
    if chosen.tls_cert:
        server_context(certificate_of(chosen))


def server_context(chosen: Certificate) -> ssl.SSLContext:
    """Return the context that a service answers with.

    Raises
    ------
    SettingsError
        If the files are missing or do not belong together.
    """
    if not chosen.key:
        raise SettingsError(
            "The service's setting tls_cert is given without tls_key.", "Name the key's file.", key="tls_key"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(chosen.cert, chosen.key)
        if chosen.client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            context.load_verify_locations(chosen.client_ca)
            context.load_verify_locations(cadata=_own(chosen))
    except OSError as error:  # ssl.SSLError is one
        raise SettingsError(
            f"The service's certificate {chosen.cert} with the key {chosen.key} cannot be used: "
            f"{error.strerror or error}.",
            "Name a PEM file with the certificate and its chain, and the key that belongs to it.",
            key="tls_cert",
        ) from error
    return context


def client_context(chosen: Certificate) -> ssl.SSLContext | None:
    """Return the context that the local target asks the service with, None where it speaks plain HTTP.

    It trusts exactly the service's own certificate, whatever names are in it: the address is one of this machine.
    """
    if not chosen.cert:
        return None
    server_context(chosen)  # says what is wrong with the files
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=_own(chosen))
    if chosen.client_ca:
        context.load_cert_chain(chosen.cert, chosen.key)
    return context


def context_factory(chosen: Certificate) -> Callable[[object, object], ssl.SSLContext]:
    """Return what `uvicorn.Config` calls for its context."""
    renewal = _Renewal(chosen)
    return lambda config, default: renewal.first


class _Renewal:
    """Gives each handshake the newest certificate."""

    def __init__(self, chosen: Certificate) -> None:
        self._chosen = chosen
        self._seen = stamps_of(chosen)
        self._looked = monotonic()
        self.first = self._newest = server_context(chosen)
        self.first.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, name: str, context: ssl.SSLContext) -> None:
        now = monotonic()
        if now - self._looked > LOOK_S:
            self._looked = now
            self._look()
        if self._newest is not context:
            connection.context = self._newest

    def _look(self) -> None:
        stamps = stamps_of(self._chosen)
        if stamps == self._seen:
            return
        self._seen = stamps
        try:
            self._newest = server_context(self._chosen)
        except SettingsError as error:
            _LOGGER.error("The renewed certificate is not taken up, the old one stays: %s", error)
        else:
            _LOGGER.warning("The renewed certificate %s is taken up.", self._chosen.cert)


def stamps_of(chosen: Certificate) -> list[tuple[int, int] | None]:
    """Return what changes when the certificate or its key does."""
    return [_stamp(Path(chosen.cert)), _stamp(Path(chosen.key))]


def _own(chosen: Certificate) -> str:
    """Return the service's own certificate, without its chain: whom an authority in it has signed is no caller."""
    text = Path(chosen.cert).read_text(encoding="latin-1")
    _, start, rest = text.partition(ssl.PEM_HEADER)
    found, end, _ = rest.partition(ssl.PEM_FOOTER)
    if not end:
        raise ssl.SSLError("it holds no certificate in PEM")
    return start + found + end + "\n"


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino
