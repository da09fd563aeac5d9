"""``tokens.json`` becomes the answer to who may ask for what, and how often.

Carried into the service: the standard library and `mlnb.errors`. Without the file everybody who reaches the port may
ask; with it, a request brings ``Authorization: Bearer mlnb_<id>_<secret>`` (RFC 6750) whose token has the scope of its
route. Health and readiness stay open. The file is followed: what `mlnb.service.tokens` writes there counts within half
a second, in every worker. One that cannot be read leaves the tokens as they were, and one that is taken away leaves
none: a service that was guarded once is never open again before it is stopped and started. The file ``guarded`` beside
``tokens.json`` tells so to workers that come later.

Format 1 of the file: ``{"format": 1, "tokens": [{"id", "name", "digest", "scopes", "created_at", "expires_at",
"requests_s", "rows_s"}]}``. A digest is the SHA-256 of the whole token, in hexadecimal: a token has 256 random bits, so
no slow hash is needed to keep it from being guessed. ``expires_at`` may be null, a rate 0 for none.

Rates are kept by the generic cell rate algorithm, for all workers together, in a table beside the file: a token may be
ahead of its rate by one second's worth. Rows are charged when they have been answered; who owes some waits.

References
----------
ITU-T I.371, annex A: the generic cell rate algorithm, virtual scheduling.
"""

from __future__ import annotations

import asyncio
import fcntl
import hmac
import json
import logging
import math
import mmap
import os
import re
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path

from mlnb.errors import RequestError, SettingsError
from mlnb.service.configuration import Configuration
from mlnb.service.protocols import Route

FILE = "tokens.json"
GUARDED = "guarded"
FORMAT = 1
SCOPES = ("predict", "labels", "explain", "metrics", "admin")
_PREFIX = b"bearer "
_TOKEN = re.compile(rb"mlnb_[0-9a-f]{8}_[A-Za-z0-9_-]{43}")
_LOOK_S = 0.25
_RATES = "rates.bin"
_SLOT = struct.Struct("=8sdd")
_SLOTS = 512
_BURST_S = 1.0
_LITTLE_S = 1e-3
_SINCE_START = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # of the machine, its sleep included
_LONGEST_S = 3600.0
_NOBODY = "0" * 64
_LOGGER = logging.getLogger("mlnb.service")


@dataclass(frozen=True, slots=True)
class Token:
    """One token, without its secret.

    Attributes
    ----------
    id : str
        Eight hexadecimal digits, part of the token itself.
    name : str
        Who has it.
    digest : str
        SHA-256 of the token.
    scopes : frozenset of str
        Of `SCOPES`; ``admin`` is all of them.
    created_at, expires_at : str
        ISO 8601, UTC; "" for a token that does not expire.
    requests_s, rows_s : float
        Requests and rows a second; 0 for any number.
    """

    id: str
    name: str
    digest: str
    scopes: frozenset[str]
    created_at: str
    expires_at: str = ""
    requests_s: float = 0.0
    rows_s: float = 0.0

    def expired(self, now: float) -> bool:
        """Whether it counts no more at `now`, in seconds since the epoch."""
        return bool(self.expires_at) and datetime.fromisoformat(self.expires_at).timestamp() <= now


def read_tokens(path: Path) -> tuple[Token, ...]:
    """Return the tokens of a file.

    Raises
    ------
    SettingsError
        If it cannot be read, or is of another format.
    """
    try:
        document = json.loads(path.read_bytes())
        if document["format"] != FORMAT:
            raise ValueError(f"format {document['format']}")
        return tuple(_token(fields) for fields in document["tokens"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError(
            f"The tokens in {path} cannot be read: {error!r}.",
            "Write them with `mlnb services tokens`, or put the file back.",
            key=FILE,
        ) from error


class Access:
    """Who may ask a service for what.

    Parameters
    ----------
    path : Path or None
        The file of the tokens; None where there is no place for one.
    public : str
        What needs no token beside health: ``metrics``, ``docs``, both with a space between, or "".
    required : bool
        Whether the file must be there.
    mark : Path or None
        The file that says that the service was guarded; None where nobody starts workers anew.

    Attributes
    ----------
    guarded : bool
        Whether a token is needed.
    """

    __slots__ = ("_by_id", "_expiry", "_mark", "_path", "_public", "_rates", "_stamp", "guarded")

    def __init__(
        self, path: Path | None, public: str = "", *, required: bool = False, mark: Path | None = None
    ) -> None:
        self._path = path
        self._public = frozenset(public.split())
        self._by_id: Mapping[bytes, Token] = {}
        self._expiry: Mapping[bytes, float] = {}
        self._mark = mark
        self._rates: _Rates | None = None
        self._stamp: tuple[int, int, int] | None = None
        self.guarded = required

    def load(self) -> None:
        """Read the file where it is there.

        Raises
        ------
        SettingsError
            If it cannot be read, or must be there and is not.
        """
        if self._path is not None and (self.guarded or self._path.exists()):
            self._stamp = _stamp(self._path)
            self._take(read_tokens(self._path))
        elif self._mark is not None and self._mark.exists():
            self.guarded = True  # by tokens that were taken away

    async def follow(self) -> None:
        """Take up each change of the file, for ever."""
        while True:
            await asyncio.sleep(_LOOK_S)
            self.look()

    def look(self) -> None:
        """Take up a change of the file, if there was one."""
        if self._path is None:
            return
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._take(() if stamp is None else read_tokens(self._path))
        except SettingsError as error:
            _LOGGER.error("%s The tokens stay as they were.", error)

    def needs(self, route: Route) -> bool:
        """Say whether a route needs a token."""
        return bool(self._scope(route))

    def admit(self, route: Route, headers: Sequence[tuple[bytes, bytes]]) -> Token | None:
        """Return the token of a request; None where its route needs none.

        Parameters
        ----------
        route : Route
            What is asked for.
        headers : sequence of (bytes, bytes)
            Of the request.

        Raises
        ------
        RequestError
            401 without a token that counts, 403 without the scope, 429 above the token's rate.
        """
        scope = self._scope(route)
        if not scope:
            return None
        token = self._known(headers)
        if scope not in token.scopes and "admin" not in token.scopes:
            raise RequestError(
                f"The token {token.name} may not use {route.name}: it lacks the scope {scope}.",
                f"Ask with another token, or give it one: mlnb services tokens add NAME TOKEN --scope {scope}.",
                status=403,
                challenge=f'Bearer realm="mlnb", error="insufficient_scope", scope="{scope}"',
            )
        if self._rates is not None and (token.requests_s or token.rows_s):
            wait = self._rates.take(token)
            if wait > 0:
                raise RequestError(
                    f"The token {token.name} is above its rate.",
                    f"Send the request again in {math.ceil(wait)} s.",
                    status=429,
                    retry_after_s=math.ceil(wait),
                )
        return token

    def charge(self, token: Token | None, rows: int) -> None:
        """Count the rows that a request was answered."""
        if token is not None and token.rows_s and self._rates is not None:
            self._rates.charge(token, rows)

    def _scope(self, route: Route) -> str:
        """Return the scope that a route needs, "" for none; those that describe the service need ``predict``."""
        if route.name in ("/healthz", "/readyz") or route.path.startswith("/v2/health"):
            return ""
        scope = route.name[1:] if route.name in ("/labels", "/explain", "/metrics") else "predict"
        return "" if ("docs" if route.path else scope) in self._public else scope

    def _known(self, headers: Sequence[tuple[bytes, bytes]]) -> Token:
        sent = next((value for name, value in headers if name == b"authorization"), b"")
        text = sent[len(_PREFIX) :].strip()
        if sent[: len(_PREFIX)].lower() != _PREFIX or not _TOKEN.fullmatch(text):
            raise RequestError(
                "This service answers callers with a token.",
                "Send the header Authorization: Bearer TOKEN; `mlnb services tokens add` makes one.",
                status=401,
                challenge='Bearer realm="mlnb"' + (', error="invalid_token"' if sent else ""),
            )
        token = self._by_id.get(text[5:13])
        same = hmac.compare_digest(sha256(text).hexdigest(), token.digest if token else _NOBODY)
        if token is None or not same or self._expiry.get(text[5:13], math.inf) <= time.time():
            raise RequestError(
                "The token is unknown, revoked or has expired.",
                "Ask with another one.",
                status=401,
                challenge='Bearer realm="mlnb", error="invalid_token"',
            )
        return token

    def _take(self, tokens: tuple[Token, ...]) -> None:
        self._by_id = {token.id.encode(): token for token in tokens}
        self._expiry = {
            token.id.encode(): datetime.fromisoformat(token.expires_at).timestamp()
            for token in tokens
            if token.expires_at
        }
        if self._rates is None and self._path is not None and any(one.requests_s or one.rows_s for one in tokens):
            self._rates = _Rates(self._path.with_name(_RATES))
        if self._mark is not None and not self._mark.exists():
            with suppress(OSError):  # where nothing can be written, nothing is taken away either
                self._mark.touch()
        self.guarded = True


def access_of(state: Path | None, configuration: Configuration) -> Access:
    """Return who may ask the service whose folder is `state`."""
    named = configuration.tokens_file
    if named or state is None:
        return Access(Path(named) if named else None, configuration.public, required=bool(named))
    return Access(state / FILE, configuration.public, mark=state / GUARDED)


def warn_of_openness(host: str, access: Access, configuration: Configuration) -> None:
    """Say in the log that whoever reaches a service may ask it, where that is beyond loopback and nobody meant it."""
    if not access.guarded and not configuration.open and not ip_address(host.partition("%")[0]).is_loopback:
        _LOGGER.warning(
            "Whoever reaches %s may ask this service: it has no tokens. Make some with `mlnb services tokens add`, "
            "name their file in MLNB_TOKENS_FILE, or set MLNB_OPEN=1 where it is meant so.",
            host,
        )


class _Rates:
    """A table of 512 tokens: when each would be due if it had asked evenly, in seconds of the machine's own clock.

    That clock begins anew with the machine, so a table that was written before it did is begun anew as well.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with self._locked():
                if os.fstat(self._file).st_mtime < time.time() - time.clock_gettime(_SINCE_START):
                    os.pwrite(self._file, bytes(_SLOT.size * _SLOTS), 0)
                os.ftruncate(self._file, _SLOT.size * _SLOTS)  # and says that it was done
            self._table = mmap.mmap(self._file, _SLOT.size * _SLOTS)
        except OSError as error:
            _LOGGER.warning("%s cannot be written (%s): each worker counts its rates for itself.", path, error.strerror)
            self._file = -1
            self._table = mmap.mmap(-1, _SLOT.size * _SLOTS)

    def take(self, token: Token) -> float:
        """Count a request; return 0, or the seconds after which it may come again."""
        now = time.monotonic()
        with self._locked():
            at, request_due, row_due = self._slot(token, now)
            interval = 1 / token.requests_s if token.requests_s else 0.0
            if request_due - now > max(_BURST_S, interval) + _LITTLE_S:  # nobody may owe so much: of another clock
                request_due = 0.0
            wait = max(request_due - now - max(_BURST_S - interval, 0.0), row_due - now - _BURST_S, 0.0)
            if not wait:
                _SLOT.pack_into(self._table, at, token.id.encode(), max(request_due, now) + interval, row_due)
        return wait

    def charge(self, token: Token, rows: int) -> None:
        """Count rows."""
        now = time.monotonic()
        with self._locked():
            at, request_due, row_due = self._slot(token, now)
            due = min(max(row_due, now) + rows / token.rows_s, now + _LONGEST_S)
            _SLOT.pack_into(self._table, at, token.id.encode(), request_due, due)

    def _slot(self, token: Token, now: float) -> tuple[int, float, float]:
        """Return a token's place, its own or the next one that nobody needs, and when its next asks are due."""
        key = token.id.encode()
        first = int(token.id, 16)
        free = -1
        for step in range(_SLOTS):
            at = (first + step) % _SLOTS * _SLOT.size
            found, request_due, row_due = _SLOT.unpack_from(self._table, at)
            if found == key:
                most = now + _LONGEST_S  # the clock began anew with the machine
                return at, 0.0 if request_due > most else request_due, 0.0 if row_due > most else row_due
            idle = max(request_due, row_due) <= now or max(request_due, row_due) > now + _LONGEST_S
            free = at if free < 0 and idle else free
            if found == bytes(8):
                break
        return max(free, 0), 0.0, 0.0

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self._file < 0:
            yield
            return
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)


def _token(fields: Mapping[str, object]) -> Token:
    scopes = fields["scopes"]
    expires = fields["expires_at"] or ""
    identity, digest = str(fields["id"]), str(fields["digest"])
    if not isinstance(scopes, list) or not set(scopes) <= set(SCOPES):
        raise ValueError(f"scopes {scopes!r}")
    if not re.fullmatch(r"[0-9a-f]{8}", identity) or not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ValueError(f"token {identity!r}")
    if expires and datetime.fromisoformat(str(expires)).tzinfo is None:
        raise ValueError(f"expires_at {expires!r}")
    requests_s, rows_s = (float(str(fields.get(name) or 0)) for name in ("requests_s", "rows_s"))
    return Token(
        identity,
        str(fields["name"]),
        digest,
        frozenset(map(str, scopes)),
        str(fields["created_at"]),
        str(expires),
        requests_s,
        rows_s,
    )


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
