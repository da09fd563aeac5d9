"""A CSV or JSON file becomes labels by prediction id.

CSV: a header with ``id`` and ``label`` (or ``value``), in any order, other columns ignored; UTF-8. JSON:
``{"<id>": label}``, the same under ``"labels"`` (the body of ``POST /labels``), or a list of
``{"id": ..., "label": ...}``. A repeated id must repeat its label. An empty CSV cell and a JSON null are refused: a
label that is not there is a row that is not there.

Where an answer has several values, a label is a list with a value for each, null where it is not known yet, or an
object with some of them by the output's name. In CSV it is such JSON text in the label's column; or, without that
column, each output has a column of its own, empty where it is not known yet.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import TypeGuard

from mlnb.errors import MonitorError
from mlnb.service.log_reader import LabelValue

_ID = "id"
_VALUES = ("label", "value")


def read_labels(path: Path) -> dict[str, LabelValue]:
    """Return the labels of a file by prediction id.

    Raises
    ------
    MonitorError
        If the file is missing, of another form, or contradicts itself; the line or id is named.
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise MonitorError(f"The label file {path} cannot be read: {error.strerror}.", "Check the path.") from error
    except UnicodeDecodeError as error:
        raise MonitorError(f"The label file {path} is not UTF-8: {error.reason}.", "Save it as UTF-8.") from error
    pairs = _from_json(path, text) if path.suffix.lower() == ".json" else _from_csv(path, text)
    return _unique(path, pairs)


def _from_csv(path: Path, text: str) -> Iterator[tuple[str, str, object]]:
    reader = csv.DictReader(StringIO(text, newline=""))
    header = [name.strip().lower() for name in reader.fieldnames or ()]
    value = next((name for name in _VALUES if name in header), "")
    named = [name for name in reader.fieldnames or () if name.strip().lower() != _ID]
    if _ID in header and not value and named:
        yield from _by_output(reader, header, named)
        return
    if _ID not in header or not value:
        raise MonitorError(
            f"The label file {path} has the columns {', '.join(header) or 'none'}, not id and label.",
            "Give it a header line with the columns id and label, or id and the names of several outputs.",
        )
    reader.fieldnames = header
    for row in reader:
        yield f"line {reader.line_num}", (row[_ID] or "").strip(), (row[value] or "").strip()


def _by_output(
    reader: csv.DictReader[str], header: Sequence[str], named: Sequence[str]
) -> Iterator[tuple[str, str, object]]:
    key = list(reader.fieldnames or ())[list(header).index(_ID)]
    for row in reader:
        told = {name.strip(): (row[name] or "").strip() for name in named}
        yield f"line {reader.line_num}", (row[key] or "").strip(), {n: text for n, text in told.items() if text} or ""


def _from_json(path: Path, text: str) -> Iterator[tuple[str, str, object]]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise MonitorError(f"The label file {path} is not JSON: {error}.", "Correct the file.") from error
    if isinstance(document, dict):
        inner = document.get("labels")
        table = inner if isinstance(inner, dict) and len(document) == 1 else document
        yield from ((f"id {key!r}", key, value) for key, value in table.items())
        return
    if not isinstance(document, list):
        raise MonitorError(
            f"The label file {path} holds a {type(document).__name__}, not labels by prediction id.",
            'Write {"<prediction id>": <label>, ...}.',
        )
    for place, entry in enumerate(document, start=1):
        if not isinstance(entry, dict) or _ID not in entry or not any(name in entry for name in _VALUES):
            raise MonitorError(
                f"Entry {place} of the label file {path} has no id and label.",
                'Write each entry as {"id": "<prediction id>", "label": <label>}.',
            )
        yield f"entry {place}", str(entry[_ID]), next(entry[name] for name in _VALUES if name in entry)


def _unique(path: Path, pairs: Iterable[tuple[str, str, object]]) -> dict[str, LabelValue]:
    labels: dict[str, LabelValue] = {}
    for place, key, value in pairs:
        if not key:
            raise MonitorError(f"The label file {path} has no prediction id at {place}.", "Add the id or drop the row.")
        if value == "" or not _is_label(value):
            raise MonitorError(
                f"The label file {path} has the label {value!r} at {place}, which is not a text, number or boolean, "
                "nor a list or object of them.",
                "Correct the label, or drop the row if there is none.",
            )
        if key in labels and labels[key] != value:
            raise MonitorError(
                f"The label file {path} gives the prediction {key} two labels, {labels[key]!r} and {value!r}.",
                "Keep the right one.",
            )
        labels[key] = value
    if not labels:
        raise MonitorError(f"The label file {path} holds no labels.", "Add at least one id and label.")
    return labels


def _is_label(value: object) -> TypeGuard[LabelValue]:
    parts = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else [value]
    known = [one for one in parts if one is not None]
    return bool(known) and all(isinstance(one, str | int | float) for one in known)
