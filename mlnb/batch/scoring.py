"""A version's package becomes a `TableScorer`: a piece of a table in, a record batch of answers out.

The fast way is that of an ONNX model of one output without a hook: arrays of Arrow go to onnxruntime and its arrays to
Arrow. Everything else is scored through `mlnb.model.scorer.Scorer`, as the service does it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from mlnb.batch.intake import check
from mlnb.batch.layout import answer_fields, arrays_of_scores, arrays_of_tensors
from mlnb.batch.piece import Cells, Fault, Piece
from mlnb.batch.trust import load_trusted
from mlnb.errors import MlnbError, ModelError, UsageError
from mlnb.model.hooks import USER_FAULTS
from mlnb.model.kinds import Values
from mlnb.model.scorer import MISSING_TEXT, Scorer, load_onnxruntime, read_package
from mlnb.model.signature import Signature

FAULTS_TOLD = 20
_NUMPY = {"tensor(double)": np.float64, "tensor(float)": np.float32, "tensor(int64)": np.int64}
Compute = Callable[[Mapping[str, Values]], list[pa.Array]]


@dataclass(frozen=True, slots=True)
class Manner:
    """How a table is scored.

    Attributes
    ----------
    ref : str
        The version, ``delays/7``: the column ``version``.
    keep : tuple of str
        Columns of the table that stand before the answers.
    spare : bool
        Whether a row that cannot be scored gets nulls and its reason in the column ``fault``; else it stops all.
    """

    ref: str
    keep: tuple[str, ...] = ()
    spare: bool = False


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of a piece.

    Attributes
    ----------
    batch : pyarrow.RecordBatch or None
        The answers in the order of the rows; None where a fault stops all.
    faults : tuple of Fault
        The first `FAULTS_TOLD`, in the order of the rows.
    faulty : int
        How many rows could not be scored, as far as was looked.
    rows : int
        Of the piece.
    """

    batch: pa.RecordBatch | None
    faults: tuple[Fault, ...]
    faulty: int
    rows: int


class TableScorer:
    """A loaded version that scores pieces. Threads may share one.

    Parameters
    ----------
    folder : Path
        The package. What of it can execute code must be signed by a key that this user trusts.
    manner : Manner
        How.
    kinds : mapping of str to pyarrow.DataType
        Types of the kept columns.
    """

    def __init__(self, folder: Path, manner: Manner, kinds: Mapping[str, pa.DataType]) -> None:
        scorer = load_trusted(folder)
        self.signature = scorer.signature
        self.frees_threads = _is_plain(scorer)
        self._compute = _tensors(folder, scorer) if self.frees_threads else _plainly(scorer)
        self._faults = _faults_of(scorer)
        self._manner = manner
        self._kinds = dict(kinds)
        self.schema = schema_of(self.signature, manner, kinds)

    def answer(self, piece: Piece) -> Answered:
        """Score a piece."""
        spare = self._manner.spare
        columns, faults = check(piece, self.signature.inputs, most=None if spare else FAULTS_TOLD)
        if faults and not spare:
            return Answered(None, tuple(faults[:FAULTS_TOLD]), len({fault.row for fault in faults}), piece.count)
        bad = {fault.row - piece.row for fault in faults}
        good = np.array([at for at in range(piece.count) if at not in bad]) if bad else np.arange(piece.count)
        if bad:
            columns = {name: values[good] for name, values in columns.items()}
        parts, failed = self._isolated(columns, good, piece) if good.size else ([], [])
        if failed and not spare:
            return Answered(None, tuple(failed), len(failed), piece.count)
        faults = sorted([*faults, *failed], key=lambda fault: fault.row)
        arrays = self._spread(parts, piece.count)
        told = self._told(piece, arrays, faults)
        return Answered(told, tuple(faults[:FAULTS_TOLD]), len({fault.row for fault in faults}), piece.count)

    def _isolated(
        self, columns: Mapping[str, Values], rows: Values, piece: Piece
    ) -> tuple[list[tuple[Values, list[pa.Array]]], list[Fault]]:
        """Return answers by rows, and the rows that make the model or its hook fail: halved until they are found."""
        try:
            return [(rows, self._compute(columns))], []
        except self._faults as error:
            if len(rows) == 1:
                told = error.problem if isinstance(error, MlnbError) else f"the model fails: {_first_line(error)}"
                return [], [Fault(piece.file, piece.row + int(rows[0]), "", told.rstrip("."))]
        half = len(rows) // 2
        done, failed = self._isolated({name: values[:half] for name, values in columns.items()}, rows[:half], piece)
        if failed and not self._manner.spare:
            return done, failed
        more, worse = self._isolated({name: values[half:] for name, values in columns.items()}, rows[half:], piece)
        if not failed and not worse and not self._manner.spare:
            return [*done, *more], [Fault(piece.file, piece.row, "", "the model or its hook fails on several rows")]
        return [*done, *more], [*failed, *worse]

    def _spread(self, parts: list[tuple[Values, list[pa.Array]]], count: int) -> list[pa.Array]:
        """Return the answers at their rows, null between."""
        if len(parts) == 1 and len(parts[0][0]) == count:
            return parts[0][1]
        fields = answer_fields(self.signature)
        if not parts:
            return [pa.nulls(count, field.type) for field in fields]
        rows = np.concatenate([rows for rows, _ in parts])
        places, known = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=bool)
        places[rows], known[rows] = np.arange(len(rows)), True
        indices = pa.array(places, mask=~known)
        return [pa.concat_arrays([arrays[at] for _, arrays in parts]).take(indices) for at in range(len(fields))]

    def _told(self, piece: Piece, arrays: Sequence[pa.Array], faults: Sequence[Fault]) -> pa.RecordBatch:
        kept = [_kept(piece, name, self._kinds[name]) for name in self._manner.keep]
        ref = pa.DictionaryArray.from_arrays(pa.array(np.zeros(piece.count, dtype=np.int32)), [self._manner.ref])
        made = [*kept, *arrays, ref]
        if self._manner.spare:
            reasons: list[str | None] = [None] * piece.count
            for fault in faults:
                before = reasons[fault.row - piece.row]
                reasons[fault.row - piece.row] = f"{before}; {fault.about()}" if before else fault.about()
            made.append(pa.array(reasons, pa.string()))
        return pa.RecordBatch.from_arrays(made, schema=self.schema)


def schema_of(signature: Signature, manner: Manner, kinds: Mapping[str, pa.DataType]) -> pa.Schema:
    """Return the columns of the answers' table.

    Raises
    ------
    UsageError
        If a kept column has the name of an answer.
    """
    fields = [pa.field(name, kinds[name]) for name in manner.keep]
    fields += [*answer_fields(signature), pa.field("version", pa.dictionary(pa.int32(), pa.string()))]
    fields += [pa.field("fault", pa.string())] * manner.spare
    names = [field.name for field in fields]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(
            f"The column {twice[0]!r} would stand twice in the answers.", "Leave it out of --keep, or rename it before."
        )
    return pa.schema(fields)


def _is_plain(scorer: Scorer) -> bool:
    signature = scorer.signature
    fits = scorer.exporter == "onnx" and signature.task in {"classifier", "regressor"}
    return fits and scorer.hooks is None and not signature.features and not any(one.many for one in signature.inputs)


def _plainly(scorer: Scorer) -> Compute:
    def compute(columns: Mapping[str, Values]) -> list[pa.Array]:
        return arrays_of_scores(scorer.score(columns), scorer.signature)

    return compute


def _tensors(folder: Path, scorer: Scorer) -> Compute:
    """Return how the graph is asked with one thread for each call: several calls at once use all cores, and best."""
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    model = str(folder / read_package(folder)["model_file"])
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    inputs = [(one.name, _NUMPY.get(one.type)) for one in session.get_inputs()]
    signature = scorer.signature
    outputs = [one.name for one in session.get_outputs()][: 1 + signature.probabilities]

    def compute(columns: Mapping[str, Values]) -> list[pa.Array]:
        feed = {name: _tensor(columns[name], kind) for name, kind in inputs}
        labels, *chances = session.run(outputs, feed)
        return arrays_of_tensors(labels, chances[0] if chances else None, signature)

    return compute


def _tensor(values: Values, kind: type | None) -> Values:
    if kind is not None:
        return values.astype(kind, copy=False).reshape(-1, 1)
    missing = np.asarray(values == None)  # noqa: E711  # elementwise
    return np.where(missing, MISSING_TEXT, values).reshape(-1, 1) if missing.any() else values.reshape(-1, 1)


@lru_cache(maxsize=1)
def _graph_faults() -> tuple[type[Exception], ...]:
    """Return what onnxruntime raises: unlike most libraries' errors they have no base below `Exception`."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return tuple(one for one in vars(state).values() if isinstance(one, type) and issubclass(one, Exception))


def _faults_of(scorer: Scorer) -> tuple[type[Exception], ...]:
    return (*USER_FAULTS, ModelError, *(_graph_faults() if scorer.exporter == "onnx" else ()))


def _kept(piece: Piece, name: str, kind: pa.DataType) -> pa.Array:
    cells: Cells = piece.columns[name]
    try:
        array = pa.array(cells, kind) if isinstance(cells, list) else cells
        return array if array.type == kind else array.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise UsageError(
            f"The kept column {name!r} changes its type in {piece.file} near row {piece.row}: {str(error)[:200]}.",
            "Give it one type in all files, or leave it out of --keep.",
        ) from error


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"
