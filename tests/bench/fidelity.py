"""Estimators and pipelines become packages, and their answers to real, difficult and fresh rows are compared.

The cases are those of `tests.bench.fidelity_cases` and `tests.bench.fidelity_pipelines`.

Each case says who has to export it: one that has to be ONNX and falls to another exporter fails the bench, as does a
difference. The columns: who exported it and with which repairs; the largest difference and the labels that flipped (exact ties
apart) on the held-out sample, on the generated edges (`mlnb.model.edges`), and on fresh rows, 100,000 of them: real
flights that nothing was fitted with, or, marked ``*``, held-out rows of a small data set drawn again. Differences are as
`mlnb.model.parity` defines them.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mlnb.errors import MlnbError
from mlnb.model.answers import ask, settle
from mlnb.model.edges import joined
from mlnb.model.export import export_model
from mlnb.model.inference import as_frame, checked_columns
from mlnb.model.parity import Parity, Part, measure_part
from mlnb.model.scorer import Scorer, load_scorer
from tests.bench.fidelity_cases import Case, estimators
from tests.bench.fidelity_pipelines import pipelines
from tests.bench.place import Place
from tests.bench.table import Table

FRESH = 100_000
LIMIT = 1e-4
_CHUNK = 10_000
_CALLS = 50
_WIDE = 300


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one case.

    Attributes
    ----------
    name, exporter, how : str
        The case, who holds it, and the repairs in it.
    wanted : str
        Who has to hold it.
    refused : str
        Why others were not taken.
    parity : Parity
        How it agrees on the sample and on generated edges.
    fresh : Part
        How it agrees on rows that neither the estimator nor the export has seen.
    size : int
        Bytes of the model file.
    milliseconds : float
        Median of a call with one row.
    real : bool
        Whether the fresh rows are all real and different.
    """

    name: str
    exporter: str
    how: str
    wanted: str
    refused: str
    parity: Parity
    fresh: Part
    size: int
    milliseconds: float
    real: bool

    @property
    def passed(self) -> bool:
        """Whether nothing that is judged differs beyond the limit."""
        return self.parity.passed and self.fresh.passed


def find(case: Case, fresh: int = FRESH) -> Finding:
    """Fit, export and compare one case."""
    rows = case.rows()
    with warnings.catch_warnings(action="ignore"):
        estimator = case.fit()
        with tempfile.TemporaryDirectory(prefix="mlnb-fidelity-") as folder:
            package = Path(folder) / "package"
            export = export_model(
                estimator, rows.sample, package, model="bench", parity_limit=LIMIT, sign=lambda _: ("", "")
            )
            scorer = load_scorer(package, allow_code=lambda *_: True)
            sizes = [path.stat().st_size for path in package.glob("model.*")]
            one = rows.sample.iloc[:1]
            return Finding(
                case.name,
                export.exporter,
                export.choice.how,
                case.exporter,
                "; ".join(one.sentence() for one in export.choice.refused),
                export.parity,
                _fresh(estimator, scorer, rows.fresh(fresh)),
                sum(sizes),
                _milliseconds(scorer, checked_columns(as_frame(one, "row"), scorer.signature.inputs)),
                rows.real,
            )


def bench(place: Place) -> Table:
    """Return the table over all cases."""
    del place  # nothing is started
    found: list[Finding] = []
    refused: list[tuple[str, str]] = []
    for case in [*estimators(), *pipelines()]:
        try:
            found.append(find(case))
        except MlnbError as error:
            refused.append((case.name, error.problem))
    wrong = [one.name for one in found if not one.passed]
    notes = [
        f"{len(found)} cases; {sum(one.exporter == 'onnx' for one in found)} of them in ONNX. A difference above {LIMIT:g} "
        f"or a flipped label on the sample, the edges or {FRESH:,} fresh rows: {', '.join(wrong) or 'none'}.",
        "* few rows are known: its fresh rows are held-out ones drawn again.",
    ]
    fallen = [one for one in found if one.exporter != one.wanted]
    notes += [f"Has to be {one.wanted}, but is {one.exporter}: {one.name}." for one in fallen]
    notes += [f"Not in ONNX: {one.name}: {one.refused[:_WIDE]}." for one in found if one.exporter != "onnx"]
    notes += [f"Not exported: {name}: {why}" for name, why in refused]
    for part in sorted({part.name for one in found for part in one.parity.parts if not part.judged}):
        told = [made for one in found for made in one.parity.parts if made.name == part and made.rows]
        apart = [made for made in told if not made.passed]
        if told:
            notes.append(f"Told, not judged: the rows {part!r} of {len(told)} cases; those of {len(apart)} differ.")
    columns = ["case", "exporter", "sample", "edges", "fresh", "flips", "ties", "bytes", "ms/row", "repairs"]
    title = f"ONNX and other exports against the estimator, {FRESH:,} fresh rows each"
    return Table(title, columns, [_row(one) for one in found], notes, not (wrong or refused or fallen))


def _row(found: Finding) -> Sequence[str]:
    judged = [part for part in found.parity.parts if part.judged]
    parts = [found.parity, found.fresh, *judged]
    return [
        found.name,
        found.exporter,
        f"{found.parity.max_abs:.0e}",
        f"{max((part.max_abs for part in judged), default=0.0):.0e}",
        f"{found.fresh.max_abs:.0e}{'' if found.real else '*'}",
        str(sum(part.flips for part in parts)),
        str(sum(part.ties for part in parts)),
        f"{found.size:,}",
        f"{found.milliseconds:.3f}",
        found.how,
    ]


def _fresh(estimator: Any, scorer: Scorer, rows: pd.DataFrame) -> Part:
    signature = scorer.signature
    expected, got = [], []
    for start in range(0, len(rows), _CHUNK):
        chunk = as_frame(rows.iloc[start : start + _CHUNK], "rows")
        columns = checked_columns(chunk, signature.inputs)
        given = chunk if signature.frame else chunk.to_numpy()
        expected.append(settle(ask(estimator, given, signature.probabilities), signature, columns))
        got.append(scorer.score(columns))
    return measure_part("fresh", joined(expected), joined(got), signature.task, LIMIT)


def _milliseconds(scorer: Scorer, columns: Any) -> float:
    one = {name: values[:1] for name, values in columns.items()}
    took = []
    for _ in range(_CALLS):
        before = time.perf_counter()
        scorer.score(one)
        took.append(time.perf_counter() - before)
    return sorted(took)[_CALLS // 2] * 1000
