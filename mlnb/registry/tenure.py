"""The moves of an alias become who held it when: "which version was in production on 3 March, who put it there?".

A tenure goes from the move that gave the alias to the move that took it away, the first included and the second not, so
that at every moment at most one version holds an alias. A day is one of UTC.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mlnb.errors import RegistryError, UsageError
from mlnb.registry.canonical import time_text
from mlnb.registry.reference import Reference, hint

if TYPE_CHECKING:
    from mlnb.registry.audit import Audit
    from mlnb.registry.registry import Registry
    from mlnb.registry.version import Approval, Promotion

_DAY = timedelta(days=1)
_LAST = datetime.max.replace(tzinfo=UTC) - _DAY
_LEAP_YEARS = 9  # from 1896 to 1904: so long there may be no 29 February
_FORMATS = ("%d %B %Y", "%d %b %Y", "%B %d %Y", "%b %d %Y")
_ENDING = re.compile(r"(?<=\d)[snrt][tdh]\b")


@dataclass(frozen=True, slots=True)
class Span:
    """A moment, or a day: from `begin` on and before `end`; a moment's end is its begin. Both aware UTC."""

    begin: datetime
    end: datetime

    @property
    def is_day(self) -> bool:
        """Whether it is more than a moment."""
        return self.end > self.begin

    def __str__(self) -> str:
        return f"{self.begin:%Y-%m-%d}" if self.is_day else f"{self.begin:%Y-%m-%d %H:%M:%S}Z"


@dataclass(frozen=True, slots=True)
class Tenure:
    """A version while it held an alias.

    Attributes
    ----------
    begun : Promotion
        The move that gave it the alias: who, when, why, on what verdicts.
    ended : Promotion or None
        The move that took it away; None where it holds the alias still.
    """

    begun: Promotion
    ended: Promotion | None = None

    @property
    def ref(self) -> str:
        """The version as ``delays/7``."""
        return self.begun.to_ref

    def meets(self, span: Span) -> bool:
        """Say whether the version held the alias at some moment of the span."""
        over = self.ended is not None and self.ended.at <= span.begin
        return not over and (self.begun.at < span.end or self.begun.at <= span.begin)

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell."""
        return {
            "version": self.ref,
            "since": time_text(self.begun.at),
            "until": time_text(self.ended.at) if self.ended else None,
            "put_there": self.begun.to_json(),
            "taken_away": self.ended.to_json() if self.ended else None,
        }


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a tenure rests on.

    Attributes
    ----------
    tenure : Tenure
    numbers : mapping of str to float
        What had been measured of the version when it was promoted, by the last judgement before.
    row, digest : int, str
        The audit row of the move; 0 and empty where there is none.
    approvals : tuple of Approval
        Who had approved of the version for the alias by then.
    """

    tenure: Tenure
    numbers: Mapping[str, float]
    row: int
    digest: str
    approvals: tuple[Approval, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell."""
        return {
            **self.tenure.to_json(),
            "evidence": dict(self.numbers),
            "audit_row": self.row,
            "audit_digest": self.digest,
            "approvals": [one.to_json() for one in self.approvals],
        }


@dataclass(frozen=True, slots=True)
class Held:
    """Who held an alias in a span.

    Attributes
    ----------
    model, alias : str
    span : Span
    found : tuple of Evidence
        The versions that held it then, the first one first; empty where none did.
    first : Tenure
        The first version that ever held it.
    now : str
        The version that holds it now.
    """

    model: str
    alias: str
    span: Span
    found: tuple[Evidence, ...]
    first: Tenure
    now: str

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell."""
        return {
            "model": self.model,
            "alias": self.alias,
            "begin": time_text(self.span.begin),
            "end": time_text(self.span.end),
            "held": [one.to_json() for one in self.found],
            "now": self.now,
        }


def tenures(moves: Sequence[Promotion]) -> tuple[Tenure, ...]:
    """Return who held an alias when, from all its moves, the oldest first."""
    following = [*moves[1:], None]
    return tuple(Tenure(move, after) for move, after in zip(moves, following, strict=True))


def held(registry: Registry, audit: Audit, reference: Reference, span: Span) -> Held:
    """Return which versions held an alias in a span, and on what evidence.

    Raises
    ------
    RegistryError
        If there is no such model, or nothing has ever held the alias.
    """
    known = registry.aliases(reference.model)
    if reference.alias not in known:
        registry.history(reference.model, last=1)  # refuses an unknown model
        raise RegistryError(
            f"Nothing has ever held {reference}.",
            hint(reference.alias, known),
            model=reference.model,
            alias=reference.alias,
        )
    oldest, *moves = registry.moves(reference.model, reference.alias, span.begin, span.end)
    met = [one for one in tenures(moves) if one.meets(span)]
    found = tuple(_evidence(registry, audit, one) for one in met)
    now = f"{reference.model}/{known[reference.alias]}"
    return Held(reference.model, reference.alias, span, found, Tenure(oldest), now)


def lanes(registry: Registry, model: str) -> dict[str, tuple[Tenure, ...]]:
    """Return who held each alias of a model when."""
    return {alias: tenures(registry.history(model, alias)) for alias in registry.aliases(model)}


def read_span(text: str, now: datetime) -> Span:
    """Read a day or a moment: ``2026-03-03``, ``2026-03-03T14:00+01:00``, ``3 March``, ``yesterday``, ``now``.

    A day without a year is the last one that has begun; a time without a zone is of UTC.

    Raises
    ------
    UsageError
        If `text` is none of them.

    Examples
    --------
    >>> str(read_span("3 March", datetime(2026, 11, 23, tzinfo=UTC)))
    '2026-03-03'
    """
    words = " ".join(text.replace(",", " ").split()).casefold()
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if words in ("now", ""):
        return Span(now.astimezone(UTC), now.astimezone(UTC))
    if words in ("today", "yesterday"):
        begin = today if words == "today" else today - _DAY
        return Span(begin, begin + _DAY)
    try:
        return _iso(" ".join(text.split()))
    except (ValueError, OverflowError):
        day = _spoken(words, today)
    if day is None or day > _LAST:
        raise UsageError(
            f"{text!r} is neither a day nor a moment.", "Write it as 2026-03-03, 2026-03-03T14:00 (UTC) or '3 March'."
        )
    return Span(day, day + _DAY)


def _iso(text: str) -> Span:
    at = datetime.fromisoformat(text)
    whole = len(text) <= len("2026-03-03")
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return Span(at, at + _DAY) if whole else Span(at, at)


def _spoken(words: str, today: datetime) -> datetime | None:
    """Return the beginning of a day as people say it; None where it is none."""
    plain = " ".join(word for word in _ENDING.sub("", words).split() if word not in ("on", "the", "of"))
    for year in ("", *(f" {today.year - back}" for back in range(_LEAP_YEARS))):
        for form in _FORMATS:
            try:
                day = datetime.strptime(plain + year, form).replace(tzinfo=UTC)
            except ValueError:
                continue
            if not year or day <= today:
                return day
    return None


def _evidence(registry: Registry, audit: Audit, tenure: Tenure) -> Evidence:
    move = tenure.begun
    row = audit.of_move(f"{move.model}@{move.alias}", move.kind, move.at, move.to_number)
    judged = [one for one in audit.log(tenure.ref, action="judge") if one.at <= move.at]
    numbers = _numbers(judged[-1].detail.get("evidence")) if judged else {}
    approvals = tuple(one for one in registry.approvals(tenure.ref, move.alias) if one.at <= move.at)
    return Evidence(tenure, numbers, row.id if row else 0, row.digest if row else "", approvals)


def _numbers(found: object) -> dict[str, float]:
    if not isinstance(found, dict):
        return {}
    return {str(name): float(value) for name, value in found.items() if isinstance(value, int | float | str)}
