"""Two versions' answers and the labels that came later become who is better, however often one asks.

Each unit that was assigned at random counts once: a caller where there is a key, else a request; by the label of it
that came first, so that no later label changes what was counted. Where the second version was a shadow of the first,
both have answered the same rows, and the pairs are compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlnb.errors import MonitorError
from mlnb.model.kinds import LABELLED, NESTED
from mlnb.model.naming import name_of
from mlnb.monitor import sequential
from mlnb.monitor.performance import class_index, regressor_performance
from mlnb.monitor.sequential import Confidence
from mlnb.monitor.several import several_performance
from mlnb.monitor.values import Floats
from mlnb.monitor.window import REFUSED, parse_texts
from mlnb.service.log_reader import LabelValue, read_predictions

Dated = Mapping[str, tuple[int, LabelValue]]
"""When each label came, nanoseconds since the epoch, and the label; by prediction id."""
Score = Callable[[object, object], float]
_ASSIGNED = ("ab", "canary")


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two versions: how many units were labelled, and its mean."""

    ref: str
    units: int
    mean: float

    def to_json(self) -> dict[str, object]:
        """Return the fields as JSON values."""
        return {"version": self.ref, "units": self.units, "mean": _finite(self.mean)}


@dataclass(frozen=True, slots=True, eq=False)
class Versus:
    """What is known of two versions.

    Attributes
    ----------
    metric : str
        ``accuracy``, ``hit_at_1`` or ``absolute error``.
    unit : str
        What counts once: ``caller``, ``request`` or ``pair``.
    first, second : Side
        The versions.
    confidence : Confidence
        Of the second's mean less the first's.
    alpha : float
        Chance that a difference is claimed where there is none, over all looks together.
    further : int
        About how many further units it takes; 0 where it is decided or there is no saying.
    """

    metric: str
    unit: str
    first: Side
    second: Side
    confidence: Confidence
    alpha: float
    further: int

    @property
    def difference(self) -> tuple[float, float, float]:
        """Estimate, lower and upper end."""
        found = self.confidence
        return float(found.estimate[-1]), float(found.lower[-1]), float(found.upper[-1])

    @property
    def better(self) -> str:
        """The version that is better; "" where that is not decided."""
        _, lower, upper = self.difference
        sign = -1 if self.metric == "absolute error" else 1
        if lower > 0.0 or upper < 0.0:
            return self.second.ref if (lower > 0.0) == (sign > 0) else self.first.ref
        return ""

    def sentences(self) -> Iterator[str]:
        """Yield what was found, in plain words."""
        estimate, lower, upper = self.difference
        span = f"{estimate:+.4g} ({lower:+.4g} to {upper:+.4g})"
        what = f"{self.metric} of {self.second.ref} less that of {self.first.ref}"
        count = f"{self.first.units + self.second.units:,} labelled {self.unit}s"
        if self.unit == "pair":
            count = f"{self.first.units:,} labelled pairs"
        if self.better:
            worse = self.first.ref if self.better == self.second.ref else self.second.ref
            at = self.confidence.first_without()
            yield f"{self.better} is better than {worse}: {what} is {span}; decided after {at:,} of {count}."
        else:
            more = f"; about {self.further:,} more would decide it, if the difference stays so" if self.further else ""
            yield f"Not decided yet: {what} is {span} after {count}{more}."
        if not self.confidence.consistent:
            yield "The difference has changed while it was measured: no single one fits all looks."
        if self.unit == "caller":
            yield "Each caller counts once, by its first label: callers, not rows, were assigned at random."
        chance = f"at most {self.alpha:.3g} of the times where there is no difference"
        yield f"The interval holds at all times together: looking again and again errs {chance}."

    def to_json(self) -> dict[str, object]:
        """Return everything, the intervals over time included, as JSON values."""
        estimate, lower, upper = self.difference
        found = self.confidence
        looks = zip(found.counts.tolist(), found.estimate, found.lower, found.upper, strict=True)
        return {
            "metric": self.metric,
            "unit": self.unit,
            "first": self.first.to_json(),
            "second": self.second.to_json(),
            "difference": {"estimate": _finite(estimate), "lower": _finite(lower), "upper": _finite(upper)},
            "alpha": self.alpha,
            "better": self.better or None,
            "decided_after": found.first_without() or None,
            "further": self.further or None,
            "consistent": found.consistent,
            "sequence": [[count, *map(_finite, map(float, rest))] for count, *rest in looks],
            "sentences": list(self.sentences()),
        }


@dataclass(frozen=True, slots=True)
class _Answer:
    """A labelled answer: when its label came, its unit, and whether it is of the second version."""

    labelled_at: int
    id: str
    unit: str
    second: bool
    value: float


def versus(
    folder: Path,
    refs: tuple[str, str],
    task: str,
    outputs: Sequence[str],
    labels: Dated,
    alpha: float = 0.05,
) -> Versus:
    """Compare two versions of a model on what came true.

    Parameters
    ----------
    folder : Path
        The prediction log.
    refs : tuple of str
        ``delays/7`` and ``delays/8``.
    task : str
        Of both versions, see `mlnb.model.kinds.TASKS`.
    outputs : sequence of str
        Names of the values of an answer of several.
    labels : mapping
        What came true, and when.

    Raises
    ------
    MonitorError
        If no labelled answers of both were assigned at random.
    """
    metric, score = scored(task, outputs)
    numbers = int(refs[0].rpartition("/")[2]), int(refs[1].rpartition("/")[2])
    pairs = _pairs(folder, numbers, labels, score)
    assigned, unit = _assigned(folder, numbers, labels, score)
    sides = {one.second for one in assigned}
    if len(sides) < 2 and pairs:
        return _paired(refs, metric, pairs, alpha)
    if len(sides) < 2:
        missing = refs[1] if sides == {False} else refs[0] if sides == {True} else f"{refs[0]} or {refs[1]}"
        raise MonitorError(
            f"There are no labelled answers of {missing} whose version was chosen at random.",
            "Spread callers, mlnb services traffic NAME --split 7=0.5,8=0.5, and send labels to /labels.",
            model=refs[0].rpartition("/")[0],
        )
    values = np.array([one.value for one in assigned])
    second = np.array([one.second for one in assigned])
    bounded = metric != "absolute error"
    make = sequential.difference_confidence if bounded else sequential.asymptotic_difference
    found = make(values, second, alpha)
    groups = values[~second], values[second]
    variance = sum(group.var() / group.size for group in groups) * values.size
    sides_found = [Side(ref, group.size, float(group.mean())) for ref, group in zip(refs, groups, strict=True)]
    return _made(metric, unit, (sides_found[0], sides_found[1]), found, alpha, float(variance))


def scored(task: str, outputs: Sequence[str]) -> tuple[str, Score]:
    """Return the metric of a task, and the function of a label and an answer whose mean it is; NaN leaves a row out."""
    if task == "classifier":
        return "accuracy", lambda label, answer: float(class_index(label, {str(name_of(answer)): 0}) == 0)
    if task == "ranker":
        return "hit_at_1", lambda label, answer: float(
            isinstance(answer, list) and bool(answer) and name_of(answer[0]) == name_of(label)
        )
    if task in NESTED:
        name = "accuracy" if task in LABELLED else "mae"

        def several(label: object, answer: object) -> float:
            found = several_performance(task, outputs, [label], [answer], [None])
            return found.metrics.get(name, math.nan)

        return "accuracy" if task in LABELLED else "absolute error", several
    return "absolute error", lambda label, answer: regressor_performance([label], [answer]).metrics.get("mae", math.nan)


def _assigned(folder: Path, numbers: tuple[int, int], labels: Dated, score: Score) -> tuple[list[_Answer], str]:
    """Return the first labelled answer of each unit, in the order in which the labels came, and what a unit is."""
    answers: list[_Answer] = []
    callers = 0
    for batch in read_predictions(folder):
        places = [
            place
            for place, key in enumerate(batch.id)
            if key in labels
            and batch.role[place] in _ASSIGNED
            and batch.version[place] in numbers
            and batch.status[place] < REFUSED
        ]
        for place, answer in zip(places, parse_texts([batch.prediction[place] for place in places]), strict=True):
            labelled_at, label = labels[batch.id[place]]
            caller = batch.caller[place]
            callers += caller is not None
            value = score(label, answer)
            if not math.isnan(value):
                second = batch.version[place] == numbers[1]
                unit = caller or batch.request_id[place]
                answers.append(_Answer(labelled_at, batch.id[place], unit, second, value))
    answers.sort(key=lambda one: (one.labelled_at, one.id))
    return list(_first_of_each(answers)), "caller" if callers else "request"


def _first_of_each(answers: Iterable[_Answer]) -> Iterator[_Answer]:
    seen: set[tuple[str, bool]] = set()
    for one in answers:
        if (one.unit, one.second) not in seen:
            seen.add((one.unit, one.second))
            yield one


def _pairs(folder: Path, numbers: tuple[int, int], labels: Dated, score: Score) -> list[tuple[int, str, float, float]]:
    """Return for each labelled row that both have answered when its label came, its id, and the values of both."""
    shadows: dict[str, object] = {}
    for batch in read_predictions(folder, version=numbers[1], shadow=True):
        places = [
            place
            for place, of in enumerate(batch.shadow_of)
            if of in labels and batch.role[place] == "shadow" and batch.status[place] < REFUSED
        ]
        found = parse_texts([batch.prediction[place] for place in places])
        shadows |= {str(batch.shadow_of[place]): one for place, one in zip(places, found, strict=True)}
    pairs = []
    for batch in read_predictions(folder, version=numbers[0]) if shadows else ():
        places = [place for place, key in enumerate(batch.id) if key in shadows]
        for place, answer in zip(places, parse_texts([batch.prediction[place] for place in places]), strict=True):
            key = batch.id[place]
            at, label = labels[key]
            values = score(label, answer), score(label, shadows[key])
            if not any(map(math.isnan, values)):
                pairs.append((at, key, *values))
    return sorted(pairs)


def _paired(refs: tuple[str, str], metric: str, pairs: list[tuple[int, str, float, float]], alpha: float) -> Versus:
    first, second = np.array([pair[2] for pair in pairs]), np.array([pair[3] for pair in pairs])
    differences: Floats = second - first
    if metric == "absolute error":
        found = sequential.asymptotic_mean(differences, alpha)
    else:
        halves = sequential.mean_confidence((differences + 1.0) / 2.0, alpha)
        estimate, lower, upper = (2.0 * one - 1.0 for one in (halves.estimate, halves.lower, halves.upper))
        found = Confidence(halves.counts, estimate, lower, upper, halves.consistent)
    sides = (Side(refs[0], first.size, float(first.mean())), Side(refs[1], second.size, float(second.mean())))
    return _made(metric, "pair", sides, found, alpha, float(differences.var()))


def _made(metric: str, unit: str, sides: tuple[Side, Side], found: Confidence, alpha: float, variance: float) -> Versus:
    decided = found.lower[-1] > 0.0 or found.upper[-1] < 0.0
    more = 0 if decided else sequential.further(float(found.estimate[-1]), variance, int(found.counts[-1]), alpha)
    return Versus(metric, unit, sides[0], sides[1], found, alpha, more)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
