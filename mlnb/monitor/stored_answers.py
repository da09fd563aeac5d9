"""Labels and the answers they belong to are kept with a version's stored windows: each answer is looked up once.

Table ``answers`` of `mlnb.monitor.stored`: by prediction id the time of the event, the answer as it was logged (null
where another version gave it, or nobody), and the label that the log had last. So realised performance outlives the
rows that it is made from. A label from a file is no part of it: it counts in the report that was given the file.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mlnb.monitor.joined import Realised, pair
from mlnb.monitor.span import Span, window_numbers
from mlnb.monitor.window import REFUSED
from mlnb.service.log_lookup import find_answers
from mlnb.service.log_reader import LabelValue

TABLE = (
    "CREATE TABLE answers (id TEXT PRIMARY KEY, event_at INTEGER NOT NULL, prediction TEXT, probabilities TEXT, "
    "label TEXT)"
)
_INSERT = "INSERT OR IGNORE INTO answers (id, event_at, prediction, probabilities) VALUES (?, ?, ?, ?)"


def keep_answers(connection: sqlite3.Connection, folder: Path, version: int, logged: Mapping[str, LabelValue]) -> None:
    """Keep the answers that labels of the log belong to, within a transaction that is open.

    Parameters
    ----------
    folder : Path
        The service's log folder.
    version : int
        Whose answers are compared with labels.
    logged : mapping of str to label
        All labels in the log.
    """
    there = dict(connection.execute("SELECT id, label FROM answers").fetchall())
    connection.executemany(_INSERT, _looked_up(folder, version, logged.keys() - there.keys()))
    texts = {key: json.dumps(label) for key, label in logged.items()}
    changed = [(text, key) for key, text in texts.items() if there.get(key) != text]
    connection.executemany("UPDATE answers SET label = ? WHERE id = ?", changed)


def join_kept(
    connection: sqlite3.Connection,
    folder: Path,
    version: int,
    logged: Mapping[str, LabelValue],
    given: Mapping[str, LabelValue],
    span: Span,
) -> Realised:
    """Return the labelled answers by window; labels of a file, `given`, go before those of the log."""
    rows = connection.execute("SELECT id, event_at, prediction, probabilities, label FROM answers").fetchall()
    kept = {row[0]: row for row in rows}
    rows += [(*row, None) for row in _looked_up(folder, version, given.keys() - kept.keys())]
    labels = {row[0]: json.loads(row[4]) for row in rows if row[4] is not None}
    labels |= {**logged, **given}
    known = [row for row in rows if row[0] in labels]
    answered = [row for row in known if row[2] is not None]
    realised = Realised(len(labels), len(known))
    numbers = window_numbers(span, np.array([row[1] for row in answered], dtype=np.int64), np.empty(0, dtype=np.int64))
    pair(
        realised.pairs,
        numbers.tolist(),
        [labels[row[0]] for row in answered],
        [row[2] for row in answered],
        [row[3] for row in answered],
    )
    return realised


_Row = tuple[str, int, str | None, str | None]


def _looked_up(folder: Path, version: int, ids: set[str]) -> list[_Row]:
    """Return what the table keeps of the answers of some predictions."""
    found: list[_Row] = []
    for answer in find_answers(folder, ids):
        ours = answer.version == version and answer.status < REFUSED
        found.append(
            (answer.id, answer.event_at, answer.prediction, answer.probabilities)
            if ours
            else (answer.id, answer.event_at, None, None)
        )
    return found
