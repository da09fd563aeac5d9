"""Prediction ids become the answers that were logged under them, found by id: no other row is read from a database.

Of the segments only those are opened whose span of ids holds one that is asked for.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mlnb.errors import StorageError
from mlnb.service.log_choice import UNROLLED
from mlnb.service.log_reader import listed_segments, reading, segments_without_database
from mlnb.service.log_segments import Segment, read_segment
from mlnb.service.log_tables import databases, schema_of

_IDS_AT_ONCE = 10_000


class Answer(NamedTuple):
    """What was answered under an id; the fields are those of `mlnb.service.log_record.Record`."""

    id: str
    event_at: int
    version: int
    status: int
    prediction: str | None
    probabilities: str | None


def find_answers(folder: Path, ids: Collection[str]) -> Iterator[Answer]:
    """Yield the answers of some predictions, in no order; of an id that the log does not have, none.

    Parameters
    ----------
    folder : Path
        The service's log folder.
    ids : collection of str

    Raises
    ------
    StorageError, RemoteError, NewerFormatError
        As `mlnb.service.log_reader.read_predictions`.
    """
    wanted = sorted(ids)
    segments: list[tuple[Path | None, Segment]] = []
    if wanted:
        segments += [(None, one) for one in segments_without_database(folder, "predictions")]
    for path in databases(folder) if wanted else ():
        found, listed = _of_database(path, wanted)
        segments += [(path, segment) for segment in listed]
        yield from found
    for database, segment in segments:
        inside = wanted[bisect_left(wanted, segment.first_id) : bisect_right(wanted, segment.last_id)]
        if not inside:
            continue
        try:
            yield from _of_segment(folder, segment, inside)
        except StorageError:
            if database is None or _listed(database, segment):
                raise


def _of_database(path: Path, wanted: Sequence[str]) -> tuple[list[Answer], list[Segment]]:
    """Return the answers that are in no segment and, of the same moment, the segments."""
    with reading(path) as connection:
        schema = schema_of(connection, path)
        if not schema:  # made a moment ago
            return [], []
        connection.execute("BEGIN")
        plain = f" AND role <> 'shadow' AND {UNROLLED}" if schema > 1 else ""
        query = (
            f"SELECT {', '.join(Answer._fields)} FROM predictions "  # noqa: S608  # our own words
            f"WHERE id IN (SELECT value FROM json_each(?)){plain}"
        )
        found: list[Answer] = []
        for at in range(0, len(wanted), _IDS_AT_ONCE):
            found += map(Answer._make, connection.execute(query, (json.dumps(wanted[at : at + _IDS_AT_ONCE]),)))
        return found, listed_segments(connection, "predictions") if schema > 1 else []


def _of_segment(folder: Path, segment: Segment, ids: Sequence[str]) -> Iterator[Answer]:
    import pyarrow.dataset as ds

    where = ds.field("id").isin(ids) & (ds.field("role") != "shadow")
    for columns in read_segment(folder, segment, columns=Answer._fields, where=where):
        yield from map(Answer._make, zip(*columns, strict=True))


def _listed(path: Path, segment: Segment) -> bool:
    with reading(path) as connection:
        return segment in listed_segments(connection, "predictions")
