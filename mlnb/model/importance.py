"""A packaged model and real rows become the importance of each column: what shuffling it costs.

With labels it is how much worse the score gets (ROC AUC of two classes, accuracy of more, R2 of numbers): what the
model's quality owes to the column. Without labels it is how far the answers move, as a mean absolute difference (of
several outputs the mean over them): what the model looks at, right or wrong. It is measured through the packaged model,
hooks included, so the columns are those that a caller sends.

Where two columns say the same, either one can be shuffled at little cost, and both look unimportant.

``importance.json``, format 1, holds `Importance.to_json`. Keys are added under this number; to raise it, teach
`Importance.from_json` the new one, keep its reader of the old one and the test, then write it here.

References
----------
Fisher, Rudin, Dominici, All Models are Wrong, but Many are Useful, JMLR 20 (2019), section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np

from mlnb.errors import CorruptError, NewerFormatError
from mlnb.model.answer_numbers import answer_numbers

if TYPE_CHECKING:
    from mlnb.model.scorer import Scorer, Scores
    from mlnb.model.signature import Signature, Values

FORMAT = 1
FILE = "importance.json"
REPEATS = 5
ROWS = 500
BUDGET_S = 0.25
_FEWEST_ROWS = 50
_FEWEST_LABELS = 10
_OVERRUN = 4
_SHUFFLES = 20
Measure: TypeAlias = "Callable[[Scores], float]"
_SAID = {
    "roc_auc": "loss of ROC AUC when the column is shuffled",
    "accuracy": "loss of accuracy when the column is shuffled",
    "r2": "loss of R2 when the column is shuffled",
    "answer": "mean absolute change of the answer when the column is shuffled; no labels were known",
}


@dataclass(frozen=True, slots=True)
class ColumnImportance:
    """What shuffling one column costs: mean and standard deviation over the repeats, in the unit of the measure."""

    name: str
    value: float
    deviation: float


@dataclass(frozen=True, slots=True)
class Importance:
    """The columns by importance.

    Attributes
    ----------
    columns : tuple of ColumnImportance
        The most important first.
    measure : str
        ``roc_auc``, ``accuracy`` or ``r2`` where labels are known, else ``answer``.
    score : float
        The measure on the rows as they are; NaN for ``answer``.
    rows, repeats, seed : int
        Rows scored for each shuffle, shuffles of each column, and what they were drawn with.
    labels : str
        Where the labels come from: ``split.y_test``; empty for none.
    unmeasured : tuple of str
        Columns that there was no time for.
    """

    columns: tuple[ColumnImportance, ...]
    measure: str
    score: float
    rows: int
    repeats: int
    seed: int
    labels: str = ""
    unmeasured: tuple[str, ...] = ()

    def shares(self) -> dict[str, float]:
        """Return each measured column's part of the sum, from 0 to 1; what is not above 0 counts as 0.

        All are 0 where no column matters.
        """
        total = sum(max(one.value, 0.0) for one in self.columns)
        return {one.name: max(one.value, 0.0) / total if total else 0.0 for one in self.columns}

    @property
    def unit(self) -> str:
        """What the numbers of the columns are."""
        return _SAID[self.measure].partition(" when ")[0]

    def sentence(self) -> str:
        """Say what was measured, and on what."""
        labels = f", against the labels {self.labels}" if self.labels else ""
        whole = "" if math.isnan(self.score) else f"; unshuffled it is {self.score:.4g}"
        rest = f". There was no time for {len(self.unmeasured)} columns" if self.unmeasured else ""
        return (
            f"{_SAID[self.measure][0].upper()}{_SAID[self.measure][1:]}: {self.rows:,} rows of the sample{labels}, "
            f"{self.repeats} {'shuffle' if self.repeats == 1 else 'shuffles'} of each column{whole}{rest}."
        )

    def to_json(self) -> dict[str, object]:
        """Return it as JSON, format 1."""
        return {
            "format": FORMAT,
            "measure": self.measure,
            "score": None if math.isnan(self.score) else self.score,
            "rows": self.rows,
            "repeats": self.repeats,
            "seed": self.seed,
            "labels": self.labels,
            "columns": [
                {"name": one.name, "importance": one.value, "deviation": one.deviation} for one in self.columns
            ],
            "unmeasured": list(self.unmeasured),
        }

    @classmethod
    def from_json(cls, mapping: Mapping[str, object]) -> Importance:
        """Return what `to_json` wrote.

        Raises
        ------
        NewerFormatError
            If a newer mlnb wrote it.
        CorruptError
            If it is something else.
        """
        try:
            found = int(cast(int, mapping["format"]))
            NewerFormatError.check(FILE, found, FORMAT)
            columns = cast("list[Mapping[str, float]]", mapping["columns"])
            score = mapping["score"]
            return cls(
                tuple(
                    ColumnImportance(str(one["name"]), float(one["importance"]), float(one["deviation"]))
                    for one in columns
                ),
                str(mapping["measure"]) if mapping["measure"] in _SAID else _unknown(mapping["measure"]),
                math.nan if score is None else float(cast(float, score)),
                int(cast(int, mapping["rows"])),
                int(cast(int, mapping["repeats"])),
                int(cast(int, mapping["seed"])),
                str(mapping["labels"]),
                tuple(str(one) for one in cast("list[str]", mapping["unmeasured"])),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptError(
                f"{FILE} is damaged: {type(error).__name__} {error}.", "Deploy the model again.", path=FILE, digest=""
            ) from error


def measure_importance(
    scorer: Scorer,
    columns: Mapping[str, Values],
    labels: Values | None = None,
    *,
    labels_from: str = "",
    seed: int = 0,
    budget_s: float = BUDGET_S,
    clock: Callable[[], float] = perf_counter,
) -> Importance:
    """Shuffle each column in turn and score the packaged model.

    Parameters
    ----------
    scorer : Scorer
        The packaged model.
    columns : mapping of str to array, each of shape (rows, ...)
        Checked rows; at least one.
    labels : array of shape (rows,), optional
        The truth, where the task is ``classifier`` or ``regressor``.
    labels_from : str
        What to call the labels.
    seed : int
        Of the shuffles.
    budget_s : float
        About how long it may take: a slow model is asked about fewer rows and fewer shuffles, and where four times
        the budget has passed the remaining columns are left out.
    clock : callable
        Returns seconds.

    Raises
    ------
    ModelError
        If the answers are no numbers (a ranker's).
    """
    total = len(next(iter(columns.values())))
    kept = _spread(total, min(total, ROWS))
    rows = _take(columns, kept)
    started = clock()
    scorer.score(rows)
    took = max(clock() - started, 1e-6)
    size, repeats = _affordable(took / kept.size, len(columns), kept.size, budget_s)
    kept = _spread(total, size)
    rows = _take(columns, kept)
    scores = scorer.score(rows)
    name, score = _measure(scorer.signature, scores, None if labels is None else np.asarray(labels)[kept])
    whole = score(scores)
    found: list[ColumnImportance] = []
    random = np.random.default_rng(seed)
    started = clock()
    for column, values in rows.items():
        if found and clock() - started > _OVERRUN * budget_s:
            break
        lost = []
        for _ in range(repeats):
            again = score(scorer.score({**rows, column: values[random.permutation(size)]}))
            lost.append(again if name == "answer" else whole - again)
        found.append(ColumnImportance(column, float(np.mean(lost)), float(np.std(lost))))
    ranked = sorted(found, key=lambda one: (-one.value, one.name))
    told = math.nan if name == "answer" else whole
    return Importance(
        tuple(ranked),
        name,
        told,
        size,
        repeats,
        seed,
        labels_from if name != "answer" else "",
        tuple(list(rows)[len(found) :]),
    )


def labels_fit(scorer: Scorer, columns: Mapping[str, Values], labels: Values, *, seed: int = 0) -> bool:
    """Say whether labels go with the rows: the model scores on them clearly better than on 20 shuffles of them.

    Clearly is by more than three standard deviations of the shuffles' scores.

    Labels of another kind than the answers never fit, nor do fewer than ten: they could not be told from chance.
    """
    truth = np.asarray(labels)
    kept = _spread(len(truth), min(len(truth), ROWS))
    truth = truth[kept]
    if (
        truth.size < _FEWEST_LABELS
        or truth.ndim != 1
        or scorer.signature.task not in ("classifier", "regressor")
        or not _of_kind(scorer, truth)
    ):
        return False
    scores = scorer.score(_take(columns, kept))
    random = np.random.default_rng(seed)
    name, score = _measure(scorer.signature, scores, truth)
    others = [_measure(scorer.signature, scores, random.permutation(truth))[1](scores) for _ in range(_SHUFFLES)]
    return name != "answer" and bool(score(scores) > np.mean(others) + 3 * np.std(others))


def _of_kind(scorer: Scorer, truth: Values) -> bool:
    if scorer.signature.task == "classifier":
        return set(truth.tolist()) <= set(scorer.signature.classes)
    return truth.dtype.kind in "iufb" and bool(np.isfinite(truth.astype(np.float64)).all())


def _measure(signature: Signature, scores: Scores, truth: Values | None) -> tuple[str, Measure]:
    """Return the name of the measure and the function that gives it."""
    if truth is None or signature.task not in ("classifier", "regressor"):
        before = answer_numbers(scores, signature)
        return "answer", lambda after: float(np.abs(answer_numbers(after, signature) - before).mean())
    if signature.task == "regressor":
        from sklearn.metrics import r2_score

        known = truth.astype(np.float64)
        return "r2", lambda after: float(r2_score(known, answer_numbers(after, signature)[:, 0]))
    if len(signature.classes) == 2 and scores.probabilities is not None:
        positive = np.array([one == signature.classes[1] for one in truth.tolist()])
        if positive.any() and not positive.all():
            from sklearn.metrics import roc_auc_score

            return "roc_auc", lambda after: float(roc_auc_score(positive, answer_numbers(after, signature)[:, 0]))
    right = truth.tolist()
    return "accuracy", lambda after: float(
        np.mean([answer == one for answer, one in zip(after.predictions, right, strict=True)])
    )


def _affordable(row_s: float, columns: int, most: int, budget_s: float) -> tuple[int, int]:
    """Return rows and repeats: first fewer rows, down to 50, then fewer shuffles."""
    rows = int(budget_s / (row_s * max(columns, 1)))
    repeats = min(REPEATS, max(1, rows // min(_FEWEST_ROWS, most)))
    return max(min(most, _FEWEST_ROWS), min(most, rows // repeats)), repeats


def _spread(total: int, size: int) -> Values:
    return np.arange(size) * total // size


def _take(columns: Mapping[str, Values], kept: Sequence[int] | Values) -> dict[str, Values]:
    return {name: values[kept] for name, values in columns.items()}


def _unknown(measure: object) -> str:
    raise ValueError(f"measure {measure!r}")
