"""An address elsewhere (``s3://``, ``https://``, any that fsspec knows) becomes its content's identity, or its content.

Waiting is bounded, listings are not cached, and no message holds a password, a token or a signed query. Credentials
come from where fsspec and the cloud's own tools look for them (environment, profiles, ``~/.config/fsspec``).
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from mlnb.errors import RemoteError
from mlnb.store.digests import tree_digest_of

if TYPE_CHECKING:
    from email.message import Message
    from typing import IO

    from fsspec import AbstractFileSystem

_CONNECT_S = 5
_READ_S = 60
_SECRET = re.compile(r"token|sig|secret|passw|credential|auth|key|x-amz-|x-goog-|^se$|^sp$", re.IGNORECASE)
_USER = re.compile(r"://[^/@\s]+@")
_EXTRAS = {"s3": "mlnb[s3]", "s3a": "mlnb[s3]", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
_SAYS = ("ETag", "etag", "md5Hash", "md5", "content_md5", "generation", "checksum", "crc32c")
_WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "memory"})
"""Schemes whose objects appear when they are complete."""
_DATES = ("LastModified", "last_modified", "mtime", "modified", "created")


def shown(address: str) -> str:
    """Return an address without what may be secret in it: user and password, tokens and signatures of its query.

    Examples
    --------
    >>> shown("https://me:pw@host/a.csv?format=csv&token=abc")
    'https://host/a.csv?format=csv&token=%2A%2A%2A'
    """
    address = _USER.sub("://", address)
    if "?" not in address:
        return address
    parts = urlsplit(address)
    query = [(k, "***" if _SECRET.search(k) else v) for k, v in parse_qsl(parts.query, keep_blank_values=True)]
    return urlunsplit(parts._replace(query=urlencode(query), fragment=""))


def identity_of(address: str) -> str:
    """Return what says when the content of an address changes; ``""`` where the address does not say.

    Returns
    -------
    str
        ``version:<id>`` in a bucket that keeps versions, else ``etag:<tag>`` or ``modified:<date>/<size>``; for a
        folder ``sha256:<hex>`` of those of its files; ``nothing`` where nothing is.

    Raises
    ------
    RemoteError
        If it cannot be asked.
    """
    if _scheme(address) in ("http", "https"):
        return _identity_on_the_web(address)
    with reaching(address):
        system, path = open_address(address)
        try:
            about = system.info(path)
        except FileNotFoundError:
            found = system.glob(path, detail=True) if any(sign in path for sign in "*?[") else {}
            return _of_many(found) if found else "nothing"
        return _of_many(system.find(path, detail=True)) if about.get("type") == "directory" else _said_by(about)


def fetch(address: str, target: Path) -> None:
    """Copy the content of an address to a new file.

    Raises
    ------
    RemoteError
        If it cannot be had.
    """
    with reaching(address):
        if _scheme(address) in ("http", "https"):
            with _asked(address, "GET") as answer, target.open("wb") as file:
                shutil.copyfileobj(answer, file)
        else:
            system, path = open_address(address)
            system.get_file(path, str(target))


def versioned(address: str, identity: str, target: Path) -> bool:
    """Copy the content that an address had when `identity` was asked of it; say whether it could be had.

    Raises
    ------
    RemoteError
        If the address cannot be reached.
    """
    version = identity.removeprefix("version:")
    if version == identity:  # it keeps no versions: what is there now may be what was
        if identity_of(address) != identity:
            return False
        fetch(address, target)
        return True
    with reaching(address):
        system, path = open_address(f"{address}?versionId={version}")
        try:
            with system.open(path, "rb") as old, target.open("wb") as file:
                shutil.copyfileobj(old, file)
        except FileNotFoundError:
            return False
    return True


def open_address(address: str) -> tuple[AbstractFileSystem, str]:
    """Return the file system of an address and the path there; call it within `reaching`.

    Raises
    ------
    RemoteError
        If the library for its scheme is not installed.
    """
    import fsspec

    scheme = _scheme(address)
    try:
        kind = fsspec.get_filesystem_class(scheme)
    except (ImportError, ValueError) as error:
        extra = _EXTRAS.get(scheme, "")
        raise RemoteError(
            f"{shown(address)} cannot be read: the library for {scheme}:// is not installed.",
            f"Install it: pip install '{extra}'." if extra else "Install the fsspec library of that scheme.",
            address=shown(address),
        ) from error
    options = kind._get_kwargs_from_urls(address)
    options = {key: value for key, value in options.items() if key != "path"}
    return _system(scheme, tuple(sorted(options.items()))), str(kind._strip_protocol(address))


def put_whole(target: str, put: Callable[[str], None]) -> None:
    """Write an address so that whoever reads it finds all or nothing; call it within `reaching`.

    Parameters
    ----------
    put : callable
        Writes the address that it is given: `target`, or one beside it that is renamed.
    """
    if _scheme(target) in _WHOLE:
        put(target)
        return
    part = f"{target}.tmp-{secrets.token_hex(8)}"
    system, path = open_address(target)
    system.makedirs(str(Path(path).parent), exist_ok=True)
    try:
        put(part)
        system.mv(open_address(part)[1], path)
    except BaseException:
        with suppress(OSError):
            system.rm_file(open_address(part)[1])
        raise


@contextmanager
def reaching(address: str) -> Iterator[None]:
    """Turn whatever a file system elsewhere raises into a `RemoteError` that holds no credentials."""
    try:
        yield
    except RemoteError:
        raise
    except Exception as error:  # noqa: BLE001  # fsspec lets pass what botocore, aiohttp and the rest raise
        said = _USER.sub("://", str(error).replace(address, shown(address))).split("\n")[0][:300]
        raise RemoteError(
            f"{shown(address)} cannot be reached or read ({type(error).__name__}: {said}).",
            "Check the network, the address and the credentials in the environment.",
            address=shown(address),
        ) from None  # the original may hold the credentials


@lru_cache(maxsize=16)
def _system(scheme: str, options: tuple[tuple[str, object], ...]) -> AbstractFileSystem:
    import fsspec

    chosen: dict[str, object] = dict(options)
    if scheme in ("s3", "s3a"):
        chosen["config_kwargs"] = {
            "connect_timeout": _CONNECT_S,
            "read_timeout": _READ_S,
            "retries": {"max_attempts": 1, "mode": "standard"},
        }
    return fsspec.filesystem(scheme, use_listings_cache=False, skip_instance_cache=True, **chosen)


def _said_by(about: Mapping[str, object]) -> str:
    version = about.get("VersionId")
    if version and version != "null":
        return f"version:{version}"
    for key in _SAYS:
        if about.get(key):
            return f"etag:{str(about[key]).strip(chr(34))}"
    for key in _DATES:
        if about.get(key):
            return f"modified:{about[key]}/{about.get('size')}"
    return ""


def _of_many(found: Mapping[str, Mapping[str, object]]) -> str:
    said = {name: _said_by(about) for name, about in found.items() if about.get("type") != "directory"}
    return tree_digest_of(said) if all(said.values()) else ""


def _identity_on_the_web(address: str) -> str:
    from urllib.error import HTTPError

    with reaching(address):
        try:
            with _asked(address, "HEAD") as answer:
                headers: Message = answer.headers  # type: ignore[attr-defined]
        except HTTPError as error:
            with error:
                if error.code in (405, 501):  # it answers no HEAD, so it says nothing
                    return ""
            raise
    tag, date = headers.get("ETag", ""), headers.get("Last-Modified", "")
    return f"etag:{tag}" if tag else f"modified:{date}/{headers.get('Content-Length', '')}" if date else ""


def _asked(address: str, method: str) -> IO[bytes]:
    from urllib.request import Request, urlopen

    parts = urlsplit(address)
    request = Request(address, method=method, headers={"User-Agent": "mlnb"})  # noqa: S310  # http or https only
    if parts.username:
        import base64

        pair = base64.b64encode(f"{parts.username}:{parts.password or ''}".encode()).decode()
        netloc = parts.netloc.rpartition("@")[2]
        request = Request(  # noqa: S310
            urlunsplit(parts._replace(netloc=netloc)),
            method=method,
            headers={"User-Agent": "mlnb", "Authorization": f"Basic {pair}"},
        )
    return urlopen(request, timeout=_CONNECT_S if method == "HEAD" else _READ_S)  # type: ignore[no-any-return]  # noqa: S310


def _scheme(address: str) -> str:
    return address.partition("://")[0].lower()
