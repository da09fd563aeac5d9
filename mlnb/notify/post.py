"""A web address and a body become one POST; every answer but 2xx is a failure, a redirection too.

An address may hold a token, so nothing more than its host is ever told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import SplitResult, urlsplit

from mlnb.errors import RemoteError, SettingsError
from mlnb.notify.table import Table

Address = Callable[[], SplitResult]
TIMEOUT_S = 5.0


def address_in(table: Table) -> tuple[Address, str]:
    """Return the address of ``url``, or of the secret ``url_secret``, and what may be told of it.

    Raises
    ------
    SettingsError
        If there is neither, or it is no address of the web.
    """
    secret = table.secret("url_secret")
    text = table.text("url", "" if secret else None)
    if secret and text:
        raise table.wrong("url", "is given beside url_secret")
    if secret:
        return (lambda: parsed(secret(), "url_secret")), f"the address in the secret {table.options['url_secret']}"
    url = parsed(text, "url")
    return (lambda: url), host_of(url)


def parsed(text: str, key: str) -> SplitResult:
    """Return the parts of an address of the web.

    Raises
    ------
    SettingsError
        If it is none; the address itself is not told.
    """
    try:
        url = urlsplit(text)
        usable = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise SettingsError(f"The setting {key} is no web address.", "Write it as https://host/path.", key=key)
    return url


def host_of(url: SplitResult) -> str:
    """Return what may be told of an address."""
    return f"{url.scheme}://{url.hostname}"


def post(url: SplitResult, body: bytes, headers: Mapping[str, str]) -> None:
    """Post JSON.

    Raises
    ------
    RemoteError
        If it did not arrive, or nobody knows whether it did.
    """
    place = host_of(url)
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
    connection = kind(str(url.hostname), url.port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", target, body, {"Content-Type": "application/json", "User-Agent": "mlnb", **headers})
        status = connection.getresponse().status
    except (OSError, HTTPException, ValueError) as error:
        why = type(error).__name__ if isinstance(error, (HTTPException, ValueError)) else (error.strerror or error)
        raise RemoteError(f"{place} cannot be told: {why}.", "It is told again later.", address=place) from error
    finally:
        connection.close()
    if not 200 <= status < 300:
        raise RemoteError(f"{place} answered {status} when it was told.", "It is told again later.", address=place)
