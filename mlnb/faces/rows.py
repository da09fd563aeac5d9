"""Rows as a person types or saves them, JSON, become the list of rows that a model scores."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mlnb.errors import UsageError

_REMEDY = 'Give {"rows": [{"column": value, ...}]} or {"columns": [...], "data": [[...], ...]}.'


def read_rows(text: str | None, file: Path | None) -> list[dict[str, object]]:
    """Return the rows in `text` (the value of ``--rows``) or in `file` (``-`` is the standard input).

    Raises
    ------
    UsageError
        If neither or both are given, the file cannot be read, or the JSON is not rows.
    """
    if (text is None) == (file is None):
        raise UsageError("Rows come from --rows or from one file, and exactly one of them is needed.", _REMEDY)
    try:
        found = json.loads(text if text is not None else _read(file))
    except json.JSONDecodeError as error:
        raise UsageError(f"The rows are not JSON: {error}.", _REMEDY) from error
    rows = _rows(found)
    if rows is None:
        raise UsageError("The JSON is not rows.", _REMEDY)
    return rows


def _read(file: Path | None) -> str:
    if file is None or str(file) == "-":
        return sys.stdin.read()
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The rows cannot be read from {file}: {error}.", "Name a readable JSON file.") from error


def _rows(found: object) -> list[dict[str, object]] | None:
    if isinstance(found, dict) and isinstance(found.get("columns"), list) and isinstance(found.get("data"), list):
        columns, data = found["columns"], found["data"]
        if not all(isinstance(row, list) and len(row) == len(columns) for row in data):
            return None
        return [dict(zip(map(str, columns), row, strict=True)) for row in data]
    if isinstance(found, dict):
        found = found.get("rows")
    if isinstance(found, list) and all(isinstance(row, dict) for row in found):
        return found
    return None
