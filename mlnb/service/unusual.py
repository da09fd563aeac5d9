"""A version's signature and sample become warnings about rows that fit the signature, and are unlike what it has seen.

Carried into the service: the standard library and numpy. Two things are unusual: a number beyond the sample's smallest
or largest one, and a text or category that the sample has not. Texts are taken for categories where the sample shows
all there is, as far as a sample can: by Good and Turing the next row brings a new text with the probability (texts seen
once) / (rows), which must be at most one in a hundred.

A row without warnings costs a comparison for each column, less than a tenth of a microsecond; many rows are looked at
column by column, as arrays.

References
----------
I. J. Good, "The population frequencies of species and the estimation of population parameters", Biometrika 40 (1953).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlnb.model.signature import Column, Signature, Values

TOLD = 20
_HEADER_TOLD = 5
_TEXT_SHOWN = 60
_FEW_ROWS = 16
_LEAST_ROWS = 30
_MOST_TEXTS = 1000
_MOST_NEW = 0.01
_MISSING = frozenset({None})


@dataclass(frozen=True, slots=True)
class Warned:
    """One unusual value.

    Attributes
    ----------
    row : int
        Counted from 0, as in the request.
    column : str
        Its name.
    problem : str
        A sentence without its end: ``unseen category 'XX'``, ``12.5 is above 10, the largest of the sample``.
    kind : str
        ``unseen``, ``below`` or ``above``, as it is counted in the metrics.
    """

    row: int
    column: str
    problem: str
    kind: str

    def to_json(self) -> dict[str, object]:
        """Return what a caller is told."""
        return {"row": self.row, "column": self.column, "problem": self.problem}


class Usual:
    """What a version has seen.

    Parameters
    ----------
    signature : Signature
        Its columns, with their ranges and categories.
    texts : Mapping of str to sequence
        Texts of its sample by column, missing ones left out.
    """

    __slots__ = ("_known", "_ranges")

    def __init__(self, signature: Signature, texts: Mapping[str, Sequence[object]]) -> None:
        plain = [column for column in signature.inputs if not column.many]
        self._ranges = tuple(
            (column.name, column.minimum, column.maximum)
            for column in plain
            if column.minimum is not None and column.maximum is not None
        )
        known = {column.name: _known(column, texts.get(column.name, ())) for column in plain}
        self._known = tuple((name, values) for name, values in known.items() if values)

    def look(self, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Values]) -> list[Warned]:
        """Return what is unusual about rows that were checked, in their order.

        Parameters
        ----------
        rows : sequence of mapping
            As they were sent.
        columns : Mapping of str to array
            The same, as `Signature.check` has returned them.
        """
        if len(rows) > _FEW_ROWS:
            return self._look_at_many(columns)
        found: list[Warned] = []
        for at, row in enumerate(rows):
            for name, least, most in self._ranges:
                value = row[name]
                if value is not None and not least <= value <= most:
                    found.append(_beyond(at, name, value, least, most))
            for name, known in self._known:
                value = row[name]
                if value not in known and value is not None:
                    found.append(_unseen(at, name, value))
        return found

    def _look_at_many(self, columns: Mapping[str, Values]) -> list[Warned]:
        found: list[Warned] = []
        for name, least, most in self._ranges:
            values = columns[name]
            wrong = (values < least) | (values > most)
            if wrong.any():
                found += [_beyond(int(at), name, values[at].item(), least, most) for at in np.flatnonzero(wrong)]
        for name, known in self._known:
            each = columns[name].tolist()
            new = set(each) - known - _MISSING
            if new:
                found += [_unseen(at, name, value) for at, value in enumerate(each) if value in new]
        return sorted(found, key=lambda one: one.row)


def usual_of(package: Path, signature: Signature) -> Usual:
    """Return what the version of a package has seen; its texts are those of the package's sample."""
    wanted = {one.name for one in signature.inputs if one.dtype == "string" and not one.categories and not one.many}
    texts: dict[str, list[object]] = {}
    if wanted:
        sample = json.loads((package / "sample.json").read_bytes())
        for place, name in enumerate(sample["columns"]):
            if name in wanted:
                texts[name] = [row[place] for row in sample["data"] if row[place] is not None]
    return Usual(signature, texts)


def told(found: Sequence[Warned]) -> list[dict[str, object]]:
    """Return the first warnings, as they are in an answer of our own form."""
    return [one.to_json() for one in found[:TOLD]]


def told_in_header(found: Sequence[Warned]) -> bytes:
    """Return the first few as JSON in ASCII, for answers in a form that has no place for them."""
    return json.dumps([one.to_json() for one in found[:_HEADER_TOLD]]).replace("\x7f", r"\u007f").encode("ascii")


def by_row(found: Sequence[Warned]) -> dict[int, str]:
    """Return the warnings of each row that has some, as JSON for the log."""
    rows: dict[int, list[dict[str, str]]] = {}
    for one in found:
        rows.setdefault(one.row, []).append({"column": one.column, "problem": one.problem})
    return {at: json.dumps(each, ensure_ascii=False) for at, each in rows.items()}


def count_warnings(found: Sequence[Warned], count: Callable[[str, float], None]) -> None:
    """Count warnings in the metrics, by column and kind."""
    for (column, kind), times in Counter((one.column, one.kind) for one in found).items():
        label = column.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
        count(f'mlnb_warnings_total{{column="{label}",problem="{kind}"}}', times)


def _known(column: Column, texts: Sequence[object]) -> frozenset[object]:
    if column.categories:
        return frozenset(column.categories)
    counts = Counter(texts)
    once = sum(count == 1 for count in counts.values())
    closed = len(texts) >= _LEAST_ROWS and len(counts) <= _MOST_TEXTS and once <= _MOST_NEW * len(texts)
    return frozenset(counts) if closed else frozenset()


def _beyond(at: int, column: str, value: float, least: float, most: float) -> Warned:
    if value < least:
        return Warned(at, column, f"{value} is below {least:g}, the smallest of the sample", "below")
    return Warned(at, column, f"{value} is above {most:g}, the largest of the sample", "above")


def _unseen(at: int, column: str, value: object) -> Warned:
    return Warned(at, column, f"unseen category {str(value)[:_TEXT_SHOWN]!r}", "unseen")
