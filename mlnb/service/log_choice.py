"""What is asked of a prediction log becomes conditions of SQLite and of Arrow, and segments that can be skipped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlnb.service.log_segments import Segment, instant

if TYPE_CHECKING:
    import pyarrow.dataset as ds

EARLIEST, LATEST = -(2**63), 2**63 - 1
UNROLLED = "rowid > (SELECT CAST(value AS INTEGER) FROM about WHERE name = 'predictions_through')"
"""Of a row in a database of schema 2: it is in no segment."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rows are read; what is empty or None chooses all.

    Attributes
    ----------
    since, until : int
        Event times from `since` (included) to `until` (excluded), nanoseconds since the epoch.
    version : int or None
        The version that answered.
    shadow : bool
        Shadow answers too, which nobody was sent.
    role, alias, request_id, id : str
        As of `mlnb.service.log_record.Record`.
    statuses : tuple of int, int
        The lowest and the highest HTTP status.
    plain : bool
        Only rows without a role.
    after_id : str
        Only rows whose id is greater.
    """

    since: int = EARLIEST
    until: int = LATEST
    version: int | None = None
    shadow: bool = False
    role: str = ""
    alias: str = ""
    request_id: str = ""
    id: str = ""
    statuses: tuple[int, int] = (0, 999)
    plain: bool = False
    after_id: str = ""

    def where(self, schema: int) -> tuple[str, list[object]]:
        """Return the condition on rows of a database, and its values; schema 1 has neither roles nor segments."""
        parts: list[tuple[str, tuple[object, ...]]] = [("event_at >= ? AND event_at < ?", (self.since, self.until))]
        parts += [(f"{name} = ?", (value,)) for name, value in self._equal(schema)]
        if self.statuses != (0, 999):
            parts.append(("status BETWEEN ? AND ?", self.statuses))
        if self.after_id:
            parts.append(("id > ?", (self.after_id,)))
        if schema > 1:
            parts.append((UNROLLED, ()))
            if self.plain or not self.shadow:
                parts.append(("role = ''" if self.plain else "role <> 'shadow'", ()))
        elif self.role:
            parts.append(("0", ()))
        return " AND ".join(part for part, _ in parts), [value for _, values in parts for value in values]

    def expression(self) -> ds.Expression:
        """Return the same of the rows of a segment."""
        import pyarrow.dataset as ds

        at, status = ds.field("event_at"), ds.field("status")
        found = (at >= instant(self.since)) & (at < instant(self.until))
        for name, value in self._equal(2):
            found &= ds.field(name) == value
        if self.statuses != (0, 999):
            found &= (status >= self.statuses[0]) & (status <= self.statuses[1])
        if self.after_id:
            found &= ds.field("id") > self.after_id
        role = ds.field("role")
        return found & (role == "") if self.plain else found if self.shadow else found & (role != "shadow")

    def skips(self, segment: Segment) -> bool:
        """Say whether a segment can hold none of the rows."""
        return (
            segment.last_at < self.since
            or segment.first_at >= self.until
            or segment.last_id <= self.after_id
            or bool(self.id and not segment.first_id <= self.id <= segment.last_id)
        )

    def _equal(self, schema: int) -> Iterator[tuple[str, object]]:
        if self.version is not None:
            yield "version", self.version
        for name in ("alias", "request_id", "id", *(("role",) if schema > 1 else ())):
            if value := getattr(self, name):
                yield name, value
