"""A name, scopes and an expiry become a token that is shown once, and a digest in the service's ``tokens.json``.

The file is for its owner's eyes only (0600) and is replaced whole; running services follow it, see
`mlnb.service.access`. Each act becomes a row of the project's audit log: who, which token, which scopes, never the
token itself.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol

from filelock import FileLock

from mlnb.errors import ServiceError, UsageError
from mlnb.service.access import FILE, FORMAT, SCOPES, Token, read_tokens
from mlnb.service.configuration import Configuration
from mlnb.store.disk import make_folder, storing, write_bytes
from mlnb.store.manifest import timestamp

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Auditing(Protocol):
    """Where acts are written down."""

    def record(self, actor: str, action: str, subject: str, detail: dict[str, object]) -> object:
        """Write one down."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a new token may do.

    Attributes
    ----------
    scopes : tuple of str
        Of `mlnb.service.access.SCOPES`.
    days : float
        Until it expires; 0 is never.
    requests_s, rows_s : float
        Its rates; 0 is any.
    """

    scopes: tuple[str, ...] = ("predict",)
    days: float = 0.0
    requests_s: float = 0.0
    rows_s: float = 0.0


class Tokens:
    """The tokens of one service.

    Parameters
    ----------
    folder : Path
        The service's; made where it is missing.
    audit : Auditing
        The project's audit log.
    actor : str
        Who acts.
    """

    def __init__(self, folder: Path, audit: Auditing, actor: str) -> None:
        self._folder = folder
        self._audit = audit
        self._actor = actor

    def list(self) -> tuple[Token, ...]:
        """Return the tokens, oldest first; those that have expired included."""
        path = self._folder / FILE
        return read_tokens(path) if path.is_file() else ()

    def add(self, name: str, wish: Wish) -> str:
        """Make a token and return it; nobody can read it again.

        Raises
        ------
        UsageError
            For a name that is taken or cannot be one, and for unknown scopes.
        """
        _check(name, wish)
        with self._locked():
            known = self.list()
            if any(one.name == name and not one.expired(_now().timestamp()) for one in known):
                raise UsageError(
                    f"There is a token {name!r} already.",
                    "Choose another name, or rotate it: mlnb services tokens rotate.",
                )
            text, token = _make(name, wish)
            self._write([*(one for one in known if one.name != name), token], "add", token)
        return text

    def rotate(self, name: str, grace_s: float) -> str:
        """Make a token in place of another, of its scopes and rates; the old one counts for `grace_s` seconds more."""
        with self._locked():
            known = self.list()
            old = self._newest(name, known)
            text, token = _make(name, Wish(tuple(sorted(old.scopes)), 0.0, old.requests_s, old.rows_s))
            if old.expires_at:
                lasts = datetime.fromisoformat(old.expires_at) - datetime.fromisoformat(old.created_at)
                token = replace(token, expires_at=timestamp(_now() + lasts))
            ends = timestamp(_now() + timedelta(seconds=grace_s))
            ends = min(ends, old.expires_at) if old.expires_at else ends
            kept = [
                replace(one, expires_at=ends) if one == old else one for one in known if one.name != name or one == old
            ]
            self._write([*(kept if grace_s else [one for one in kept if one.name != name]), token], "rotate", token)
        return text

    def revoke(self, name: str) -> None:
        """Take a token away."""
        with self._locked():
            known = self.list()
            token = self._newest(name, known)
            self._write([one for one in known if one.name != name], "revoke", token)

    def _newest(self, name: str, known: tuple[Token, ...]) -> Token:
        found = [one for one in known if one.name == name]
        if not found:
            names = ", ".join(sorted({one.name for one in known})) or "none"
            raise UsageError(
                f"The service {self._folder.name} has no token {name!r} (tokens: {names}).",
                "See mlnb services tokens list.",
            )
        return found[-1]

    def _write(self, tokens: Collection[Token], act: str, token: Token) -> None:
        path = self._folder / FILE
        text = json.dumps({"format": FORMAT, "tokens": [_to_json(one) for one in tokens]}, indent=1)
        before = path.read_bytes() if path.is_file() else None
        write_bytes(path, text.encode(), mode=0o600)
        detail: dict[str, object] = {
            "token": token.name,
            "id": token.id,
            "scopes": sorted(token.scopes),
            "expires_at": token.expires_at,
        }
        try:
            self._audit.record(self._actor, f"token-{act}", self._folder.name, detail)
        except BaseException:  # what is in no audit log has not happened
            if before is None:
                path.unlink()
            else:
                write_bytes(path, before, mode=0o600)
            raise

    @contextmanager
    def _locked(self) -> Iterator[None]:
        path = make_folder(self._folder) / "tokens.lock"
        with storing(path):
            lock = FileLock(path).acquire()
        with lock:
            yield


def check_guarded(name: str, host: str, folder: Path, configuration: Configuration) -> None:
    """Refuse a service that others than this machine would reach without a token.

    Raises
    ------
    ServiceError
        Unless there are tokens, or the project says that it is meant so.
    """
    try:
        inside = ip_address(host).is_loopback
    except ValueError:
        inside = host == "localhost"
    guarded = bool(configuration.tokens_file) or (folder / FILE).is_file()
    if not inside and not guarded and not configuration.open:
        raise ServiceError(
            f"The service {name} would answer everybody who reaches {host}: it has no tokens.",
            f"Make one (mlnb services tokens add {name} CALLER), or set `open = true` in [tool.mlnb.service].",
            service=name,
        )


def _make(name: str, wish: Wish) -> tuple[str, Token]:
    identity = secrets.token_hex(4)
    text = f"mlnb_{identity}_{secrets.token_urlsafe(32)}"
    now = _now()
    expires = timestamp(now + timedelta(days=wish.days)) if wish.days else ""
    digest = sha256(text.encode()).hexdigest()
    rates = (wish.requests_s, wish.rows_s)
    return text, Token(identity, name, digest, frozenset(wish.scopes), timestamp(now), expires, *rates)


def _check(name: str, wish: Wish) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot name a token.", "Use letters, digits, dots, dashes and underscores.")
    unknown = sorted(set(wish.scopes) - set(SCOPES))
    if unknown or not wish.scopes:
        raise UsageError(f"There is no scope {(unknown or [''])[0]!r}.", f"Choose from {', '.join(SCOPES)}.")
    if min(wish.days, wish.requests_s, wish.rows_s) < 0:
        raise UsageError("Days and rates are not negative.", "Give 0 for none.")


def _to_json(token: Token) -> dict[str, object]:
    return {
        "id": token.id,
        "name": token.name,
        "digest": token.digest,
        "scopes": sorted(token.scopes),
        "created_at": token.created_at,
        "expires_at": token.expires_at or None,
        "requests_s": token.requests_s,
        "rows_s": token.rows_s,
    }


def _now() -> datetime:
    return datetime.now(UTC)
