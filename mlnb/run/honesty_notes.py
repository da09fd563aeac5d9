"""What estimators did in a stage becomes `Note` values: ``honesty.json`` and ``honesty.npz`` in its handoff folder.

Format 1. Rows are kept as 64-bit digests, each distinct table once; no value of the data is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from mlnb.run.honesty_rows import Digests
from mlnb.run.honesty_targets import Suspect
from mlnb.store.manifest import Fields, read_json, write_json

FORMAT = 1
NAME = "honesty"
TOKEN = "_mlnb_fitted"  # noqa: S105  # an attribute of fitted estimators, in the kernels of observed runs only
_DEPTH = 3


@dataclass(frozen=True, slots=True)
class Note:
    """One call of an estimator's method from a cell.

    Attributes
    ----------
    act : str
        ``fit``, ``score`` (a prediction or score was asked for) or ``transform``.
    estimator : str
        Name of its class.
    token : str
        The same for an estimator as long as it is not fitted again, through copies and hand-overs as well.
    method, code, line : str, str, int
        What was called, and from where: the file name of the cell's code, and the line in it.
    rows, out, columns : str
        Names of arrays: digests of the rows that were given, of the rows that came out of a transformation, and of
        each value of a frame (rows x columns); ``""`` for none.
    names : tuple of str
        The frame's columns.
    supervised : bool
        Whether a target was given.
    predicts : bool
        Whether the estimator can predict.
    learned : bool
        Whether fitting left anything behind.
    suspects : tuple of Suspect
        Columns that give the target away.
    """

    act: str
    estimator: str
    token: str
    method: str
    code: str
    line: int
    rows: str = ""
    out: str = ""
    columns: str = ""
    names: tuple[str, ...] = ()
    supervised: bool = False
    predicts: bool = False
    learned: bool = True
    suspects: tuple[Suspect, ...] = field(default=())

    @classmethod
    def from_json(cls, fields: Fields) -> Note:
        """Read it from a JSON object."""
        return cls(
            **{name: fields.text(name) for name in ("act", "estimator", "token", "method", "code")},
            line=fields.integer("line"),
            rows=fields.text("rows"),
            out=fields.text("out"),
            columns=fields.text("columns"),
            names=fields.texts("names"),
            supervised=fields.truth("supervised"),
            predicts=fields.truth("predicts"),
            learned=fields.truth("learned"),
            suspects=tuple(
                Suspect(one.text("column"), one.text("how"), one.number("strength")) for one in fields.many("suspects")
            ),
        )


def write_notes(folder: Path, notes: Sequence[Note], arrays: Mapping[str, Digests]) -> None:
    """Write what was noted; the arrays first, so that notes never name what is not there."""
    part = folder / f"{NAME}.npz.part"
    with part.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    part.replace(folder / f"{NAME}.npz")
    write_json(folder / f"{NAME}.json", {"format": FORMAT, "notes": [asdict(note) for note in notes]})


def unmarked(value: object, depth: int = _DEPTH) -> object:
    """Take away what observing left in an estimator, those that it holds, and those in a collection; return it."""
    held = getattr(value, "__dict__", None)
    parts: Iterable[object] = ()
    if isinstance(value, Mapping):
        parts = value.values()
    elif isinstance(value, (list, tuple)):
        parts = value
    elif isinstance(held, dict) and held.pop(TOKEN, None):
        parts = held.values()
        for kind in type(value).__mro__[:-1]:
            for name, method in list(vars(kind).items()):
                if hasattr(method, "_mlnb_wrapped"):  # of a class that came along with its methods
                    setattr(kind, name, method.__wrapped__)
    if depth:
        for part in parts:
            unmarked(part, depth - 1)
    return value


def read_notes(folder: Path) -> tuple[tuple[Note, ...], Mapping[str, Digests]]:
    """Return what was noted in a stage; nothing where the stage was not observed."""
    try:
        fields = read_json(folder / f"{NAME}.json", FORMAT)
    except FileNotFoundError:
        return (), {}
    with np.load(folder / f"{NAME}.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return tuple(Note.from_json(one) for one in fields.many("notes")), arrays
