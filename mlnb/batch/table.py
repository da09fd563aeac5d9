"""A version, a table and a target become a table of answers; what is wrong with it is told by file, row and column."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mlnb.batch.piece import Fault, Piece
from mlnb.batch.places import find_files, format_of, opened, reading
from mlnb.batch.pool import answers
from mlnb.batch.reading import Share, count_rows, names_in, pieces_of
from mlnb.batch.scoring import FAULTS_TOLD, Answered, Manner, TableScorer
from mlnb.batch.writing import check_target, same_place, writing
from mlnb.errors import SignatureError, UsageError
from mlnb.model.signature import Signature
from mlnb.store.remote import shown

_TOLD_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class Batch:
    """What is to be scored, and how.

    Attributes
    ----------
    source : str
        A file, a folder, a pattern such as ``2013/*.parquet``, or an address.
    target : str
        A file, an address, or without a suffix a folder of Parquet parts.
    keep : tuple of str
        Columns of the source that stand before the answers.
    spare : bool
        Whether a row that cannot be scored gets nulls and a reason (``--on-error null``); else it stops all.
    executor : str
        ``local``, or ``dask://HOST:PORT``; empty for local.
    jobs : int
        Pieces at once; 0 for the cores.
    """

    source: str
    target: str
    keep: tuple[str, ...] = ()
    spare: bool = False
    executor: str = ""
    jobs: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: `total` is 0 where only reading tells how many rows there are."""

    rows: int
    total: int
    seconds: float

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell."""
        return {"event": "batch", "rows": self.rows, "total": self.total, "seconds": self.seconds}


@dataclass(frozen=True, slots=True)
class Scored:
    """What was written.

    Attributes
    ----------
    version, target : str
    rows : int
        As many as the source has.
    faulty : int
        Rows whose answers are null.
    faults : tuple of Fault
        The first of them.
    seconds : float
    """

    version: str
    target: str
    rows: int
    faulty: int
    faults: tuple[Fault, ...]
    seconds: float

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell."""
        return {
            "version": self.version,
            "target": self.target,
            "rows": self.rows,
            "faulty": self.faulty,
            "faults": [fault.to_json() for fault in self.faults],
            "seconds": self.seconds,
        }


Notify = Callable[[object], None]


def score_table(folder: Path, ref: str, batch: Batch, notify: Notify) -> Scored:
    """Score a table on this machine.

    Parameters
    ----------
    folder : Path
        The version's package.
    ref : str
        The version, ``delays/7``.
    batch : Batch
        What, and how.
    notify : callable
        Told of a `Progress` now and then.

    Raises
    ------
    SignatureError
        If a column is missing, or a row cannot be scored; nothing is written then.
    UsageError
        If there is nothing to score, or a file cannot be read.
    UntrustedError
        If the package can execute code, and nobody whom this user trusts has signed it.
    """
    files = look(batch)
    manner = Manner(ref, batch.keep, batch.spare)
    kinds = kinds_of_kept(files, batch.keep)
    scorer = TableScorer(folder, manner, kinds)
    columns, texts = needed(scorer.signature, batch.keep)
    check_columns(files, scorer.signature)
    pieces = (piece for file in files for piece in pieces_of(Share(file), columns, texts))
    made = answers(scorer, (folder, manner, kinds), pieces, batch.jobs or len(os.sched_getaffinity(0)))
    return write_answers(made, scorer.schema, batch, ref, total_of(files), notify)


def look(batch: Batch) -> tuple[str, ...]:
    """Return the files to be scored, after checking that the target can be written."""
    check_target(batch.target)
    if same_place(batch.source, batch.target):
        raise UsageError(f"{batch.target} is what is to be scored.", "Name another target: it would be replaced.")
    return find_files(batch.source)


def write_answers(
    made: Generator[Answered, None, None], schema: pa.Schema, batch: Batch, ref: str, total: int, notify: Notify
) -> Scored:
    """Write answers in their order, or nothing at all.

    Raises
    ------
    SignatureError
        If a row cannot be scored and that is to stop all.
    """
    began = told = time.monotonic()
    rows = faulty = 0
    faults: list[Fault] = []
    notify(Progress(0, total, 0.0))
    with closing(made), writing(batch.target, schema) as sink:
        for answered in made:
            if answered.batch is None:
                raise _unfit(answered.faults)
            sink.write(answered.batch)
            rows, faulty = rows + answered.rows, faulty + answered.faulty
            faults += answered.faults[: FAULTS_TOLD - len(faults)]
            if time.monotonic() - told > _TOLD_EVERY_S:
                told = time.monotonic()
                notify(Progress(rows, total, told - began))
    seconds = time.monotonic() - began
    notify(Progress(rows, total, seconds))
    return Scored(ref, shown(batch.target), rows, faulty, tuple(faults), seconds)


def total_of(files: Sequence[str]) -> int:
    """Return how many rows the files have, 0 where only reading tells."""
    counts = [count_rows(file) for file in files]
    return 0 if None in counts else sum(count or 0 for count in counts)


def needed(signature: Signature, keep: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns that are read, and those of them that are text."""
    names = tuple(dict.fromkeys([*(column.name for column in signature.inputs), *keep]))
    return names, tuple(one.name for one in signature.inputs if one.dtype == "string" and not one.many)


def check_columns(files: Sequence[str], signature: Signature) -> None:
    """Refuse files that lack a column, before anything is scored.

    Raises
    ------
    SignatureError
        With every column that the model needs and the first such file lacks.
    """
    for file in files:
        names = names_in(file)
        if names is None:
            continue
        wanted = [column.name for column in signature.inputs if column.name not in names]
        if wanted:
            faults = tuple(f"column {name!r} is missing{_hint(name, names)}" for name in wanted)
            raise SignatureError(
                f"{shown(file)} does not fit the model: {faults[0]}{_more(faults)}.",
                "Give a table with the model's columns; `mlnb models show` lists them. It may have others as well.",
                faults=faults,
            )


def kinds_of_kept(files: Sequence[str], keep: Sequence[str]) -> dict[str, pa.DataType]:
    """Return the types of the columns that are kept: the first file's; of CSV all are text.

    Raises
    ------
    UsageError
        If a file lacks one.
    """
    if not keep:
        return {}
    for file in files:
        names = names_in(file)
        lacking = [name for name in keep if names is not None and name not in names]
        if lacking:
            raise UsageError(
                f"{shown(file)} has no column {lacking[0]!r} to keep{_hint(lacking[0], names or ())}.",
                f"It has {', '.join((names or ())[:20])}.",
            )
    file = files[0]
    match format_of(file):
        case "csv":
            return dict.fromkeys(keep, pa.string())
        case "jsonl":
            first = next(iter(pieces_of(Share(file), keep, ())), Piece(file, 0, 0, {name: [] for name in keep}))
            return {name: _kind(name, first) for name in keep}
        case _:
            with opened(file) as source, reading(file):
                schema = pq.read_schema(source) if format_of(file) == "parquet" else pa.ipc.open_file(source).schema
            return {name: schema.field(name).type for name in keep}


def _kind(name: str, piece: Piece) -> pa.DataType:
    try:
        kind = pa.array(piece.columns[name]).type
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise UsageError(
            f"The kept column {name!r} of {shown(piece.file)} mixes types.", "Leave it out of --keep."
        ) from error
    return pa.string() if pa.types.is_null(kind) else kind


def _hint(name: str, names: Sequence[str]) -> str:
    close = get_close_matches(name, names, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _unfit(faults: Sequence[Fault]) -> SignatureError:
    return SignatureError(
        f"A row cannot be scored, so nothing was written: {faults[0].sentence()}{_more(faults)}.",
        "Correct the rows (counted from 0), or score them with --on-error null.",
        faults=tuple(fault.sentence() for fault in faults),
    )


def _more(faults: Sequence[object]) -> str:
    return f" and {len(faults) - 1} more" if faults[1:] else ""
