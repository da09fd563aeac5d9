"""A question about a prediction log becomes the rows that answer it: the newest few, or all of them one after another.

Conditions on the log's own columns are SQLite's and Arrow's to answer; those on the content of a row (``age>=30``) are
looked at row by row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import heappush, heappushpop
from operator import eq, ge, gt, le, lt, ne
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from mlnb.errors import StorageError, UsageError
from mlnb.service.log_choice import Choice
from mlnb.service.log_reader import (
    Batch,
    listed_segments,
    live,
    of_segment,
    read_chosen,
    reading,
    segments_without_database,
)
from mlnb.service.log_record import Record
from mlnb.service.log_segments import Segment
from mlnb.service.log_tables import databases, schema_of

_CONDITION = re.compile(r"\s*(?P<name>.+?)\s*(?P<sign>!=|<=|>=|=|<|>)\s*(?P<value>.*?)\s*", re.DOTALL)
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {"=": eq, "!=": ne, "<": lt, "<=": le, ">": gt, ">=": ge}
_OWN = ("prediction", "latency_ms", "error", "caller", "model")
_BATCH_ROWS = 5_000
_Heap: TypeAlias = list[tuple[int, str, Record]]


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition on the content of a row.

    Attributes
    ----------
    name : str
        An input; ``prediction``, ``latency_ms``, ``error``, ``caller`` or ``model`` where there is no such input.
    sign : {"=", "!=", "<", "<=", ">", ">="}
    value : object
        A JSON value; null is what is missing as well. Only values of one kind are less or greater.
    """

    name: str
    sign: str
    value: object

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Return the condition that somebody wrote.

        Raises
        ------
        UsageError
            If it is none.

        Examples
        --------
        >>> Condition.parse("age >= 30")
        Condition(name='age', sign='>=', value=30)
        >>> Condition.parse("origin=JFK").value
        'JFK'
        """
        found = _CONDITION.fullmatch(text)
        if found is None:
            raise UsageError(
                f"{text!r} is no condition.", "Write COLUMN=VALUE, or !=, <, <=, > or >= between them: age>=30."
            )
        try:
            value = msgspec.json.decode(found["value"])
        except msgspec.DecodeError:
            value = found["value"]
        return cls(found["name"], found["sign"], value)

    def holds(self, record: Record) -> bool:
        """Say whether a row meets it."""
        inputs = _decoded(record.inputs)
        if isinstance(inputs, dict) and self.name in inputs:
            value = inputs[self.name]
        elif self.name in _OWN:
            value = getattr(record, self.name)
            value = _decoded(value) if self.name == "prediction" else value
        else:
            value = None
        if self.sign in ("<", "<=", ">", ">=") and not _comparable(value, self.value):
            return False
        return _SIGNS[self.sign](value, self.value)


def find(folder: Path, choice: Choice, conditions: Sequence[Condition] = ()) -> Iterator[Record]:
    """Yield all rows that are chosen and meet the conditions, in no order.

    Raises
    ------
    StorageError, RemoteError, NewerFormatError
        As `mlnb.service.log_reader.read_predictions`.
    """
    for batch in read_chosen(folder, choice, _BATCH_ROWS):
        yield from _meeting(batch, conditions)


def find_newest(folder: Path, choice: Choice, conditions: Sequence[Condition], count: int) -> list[Record]:
    """Return the newest rows that are chosen and meet the conditions, the oldest of them first.

    Segments that end before the newest rows found so far are not opened.

    Raises
    ------
    StorageError, RemoteError, NewerFormatError
        As `mlnb.service.log_reader.read_predictions`.
    """
    heap: _Heap = []
    segments = segments_without_database(folder, "predictions")
    for path in databases(folder):
        with reading(path) as connection:
            schema = schema_of(connection, path)
            if not schema:  # made a moment ago
                continue
            connection.execute("BEGIN")
            if schema > 1:
                segments += listed_segments(connection, "predictions")
            for row in live(connection, schema, choice, "event_at DESC, id DESC"):
                record = Record(*row)
                if not all(condition.holds(record) for condition in conditions):
                    continue
                if not _pushed(heap, record, count):
                    break
    for segment in sorted(segments, key=lambda one: one.last_at, reverse=True):
        if len(heap) == count and segment.last_at < heap[0][0]:
            break
        for part in _late_and_early(segment, choice, heap, count):
            for batch in _still_there(folder, segment, part):
                for record in _meeting(batch, conditions):
                    _pushed(heap, record, count)
    return [record for _, _, record in sorted(heap, key=lambda one: one[:2])]


def _late_and_early(segment: Segment, choice: Choice, heap: _Heap, count: int) -> Iterator[Choice]:
    """Yield the end of a segment's span, where so many rows should be, and the rest only if they were not there."""
    span = segment.last_at - segment.first_at
    share = min(1.0, 2 * count / max(segment.rows, 1))
    late = heap[0][0] if len(heap) == count else segment.last_at - int(span * share)
    late = max(choice.since, late)
    yield replace(choice, since=late)
    if len(heap) < count or heap[0][0] < late:
        yield replace(choice, until=min(choice.until, late))


def _pushed(heap: _Heap, record: Record, count: int) -> bool:
    """Keep a record if it is among the newest so far, and say whether it is."""
    entry = (record.event_at, record.id, record)
    if len(heap) < count:
        heappush(heap, entry)
        return True
    return heappushpop(heap, entry) is not entry


def _still_there(folder: Path, segment: Segment, choice: Choice) -> Iterator[Batch]:
    """Yield the batches of a segment; one that has expired meanwhile holds nothing."""
    try:
        yield from of_segment(folder, segment, choice, _BATCH_ROWS)
    except StorageError:
        for path in databases(folder):
            with reading(path) as connection:
                if schema_of(connection, path) > 1 and segment in listed_segments(connection, segment.kind):
                    raise


def _meeting(batch: Batch, conditions: Sequence[Condition]) -> Iterator[Record]:
    for row in zip(*(getattr(batch, name) for name in Record._fields), strict=True):
        record = Record(*row)
        if all(condition.holds(record) for condition in conditions):
            yield record


def _comparable(one: object, other: object) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return isinstance(one, bool) and isinstance(other, bool)
    return (isinstance(one, int | float) and isinstance(other, int | float)) or (
        isinstance(one, str) and isinstance(other, str)
    )


def _decoded(text: str | None) -> object:
    if text is None:
        return None
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:  # the body of a refused request
        return None
