"""A candidate that is no better, one that is, and one that loses a slice meet the relative gates; how often do they err?

Beside them two rules of thumb on the same answers: MLflow's own (`mlflow.validate_evaluation_results` with
``MetricThreshold(min_absolute_change=0, greater_is_better=True)``: the candidate's number is at least the baseline's)
and each slice by its own 95 % interval. Candidates that do not differ from the champion may be called better in at most
2.5 % of the cases, and called worse on some slice in at most 2.5 %.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlnb.model.answers import Scores
from mlnb.model.gains import Gains, paired_gains
from mlnb.model.kinds import Column
from mlnb.model.signature import Signature
from tests.bench.table import Table

if TYPE_CHECKING:
    from tests.bench.place import Place

_EACH = 60
_ROWS = 1_000
_SLICES = 8
_ALPHA = 0.025
_Answers = tuple[np.ndarray, np.ndarray, Scores, Scores]
_SIGNATURE = Signature(
    inputs=(Column("part", "string"),), task="classifier", classes=(0, 1), probabilities=True, output="int64"
)


@dataclass(frozen=True, slots=True)
class _Kind:
    """Noise of the champion's scores, of the candidate's, and of the candidate's in the slice that it loses."""

    name: str
    champion: float
    candidate: float
    lost: float
    same: bool


_KINDS = (
    _Kind("no difference", 1.0, 1.0, 1.0, same=True),
    _Kind("better", 1.0, 0.4, 0.4, same=False),
    _Kind("better, but for one slice of 8", 1.0, 0.4, 6.0, same=False),
)


def bench(place: Place) -> Table:
    """Judge 60 pairs that do not differ, and 15 of each other kind, for each repetition."""
    random = np.random.default_rng(11)
    rows, held = [], True
    for kind in _KINDS:
        trials = (_EACH if kind.same else _EACH // 4) * place.count
        counts, began = np.zeros(5), time.perf_counter()
        for _ in range(trials):
            answers = _answers(kind, random)
            gains = _gains(answers, 0.95)
            whole = gains.of("auc")
            slices = [one for one in gains.slices("auc") if not one.small]
            alone = [one for one in _gains(answers, 1 - 0.05 * _SLICES).slices("auc") if not one.small]
            assert whole is not None
            counts += [
                whole.ends[0] > 0,
                whole.gain >= 0,
                any(one.ends[1] < 0 for one in slices),
                any(one.ends[1] < 0 for one in alone),
                any(one.gain < 0 for one in slices),
            ]
        took = (time.perf_counter() - began) / trials
        shares = counts / trials
        if kind.same:
            limit = _ALPHA + 4 * (_ALPHA * (1 - _ALPHA) / trials) ** 0.5
            held = held and shares[0] <= limit and shares[2] <= limit
        rows.append([kind.name, str(trials), *(f"{share:.1%}" for share in shares), f"{took * 1000:.0f} ms"])
    return Table(
        f"gates: what pairs of models are called, {_ROWS:,} rows and {_SLICES} slices each",
        ("", "pairs", "better_than", "MLflow's rule", "no_worse_slice", "each slice alone", "any loss", "one pair"),
        rows,
        [
            "better_than: better_than_champion auc passes. MLflow's rule: auc is not below the baseline's.",
            "no_worse_slice: it fails. Each slice alone: some slice's own 95 % interval lies below 0. Any loss: some does.",
            f"Without a difference, ours may err in {_ALPHA:.1%} (4 sd of chance are granted).",
        ],
        held,
    )


def _answers(kind: _Kind, random: np.random.Generator) -> _Answers:
    x = random.normal(size=_ROWS)
    truth = (x + random.normal(size=_ROWS) > 0).astype(int)
    part = random.integers(0, _SLICES, _ROWS)
    noise = np.where(part == 0, kind.lost, kind.candidate)
    first = x + random.normal(size=_ROWS) * kind.champion
    second = x + random.normal(size=_ROWS) * noise
    return truth, part.astype(str), _scores(first), _scores(second)


def _gains(answers: _Answers, level: float) -> Gains:
    """Compare; the level of each slice is ``1 - (1 - level) / slices``, which is 95 % where level is 0.6 for 8."""
    truth, part, first, second = answers
    return paired_gains(_SIGNATURE, truth, {"part": part}, first, second, slices=["part"], level=level)


def _scores(linear: np.ndarray) -> Scores:
    chances = 1 / (1 + np.exp(-linear))
    return Scores((chances > 0.5).astype(int).tolist(), np.column_stack([1 - chances, chances]).tolist())
