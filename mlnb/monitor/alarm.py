"""A reference, windows of counts and rules become alarms: an effect beyond its tolerance, with evidence for it.

*Effect*: a watched share of a column differs from the reference's by more than the column's tolerance. *Evidence*: the
e-detector of `mlnb.monitor.evidence` has reached its limit. *Budget*: one for everything. A process
(`mlnb.monitor.process`) with the share w of the budget has to reach 1 / (w budget), which is Bonferroni's rule for
e-values, weighted: the mean over all processes, with those weights, is an e-detector itself, and has reached 1 / budget
when the first of them alarms. Distributions share four fifths of the budget evenly, the rest is for what is rare. So at
least 1 / budget windows pass on average before a false alarm. That rests on three things: a window's rows vary as
chunks of the sample did; windows do so independently of each other; and the sample is no unluckier than 1 in 20 samples
are. A tolerance is widened where the sample is so small that it may itself be further from its source than two thirds
of it.

Nothing here knows a ledger: what stands already, and what was acknowledged, is the caller's to say.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlnb.monitor import reason
from mlnb.monitor.compare import Drift, compare
from mlnb.monitor.dispersion import CHUNKS
from mlnb.monitor.evidence import Course, course
from mlnb.monitor.feature import Feature
from mlnb.monitor.process import Process, processes
from mlnb.monitor.reference import Reference
from mlnb.monitor.rules import Rules, measure_of
from mlnb.monitor.span import instant
from mlnb.monitor.text import counted, number
from mlnb.monitor.values import Floats
from mlnb.monitor.window import Tally, Window
from mlnb.registry.alarms import Alarm
from mlnb.registry.gates import OPERATORS

_LARGEST_LOG = 690.0
_COMMON = 0.8  # fixed in advance: what is rare shows itself in few rows and can do with less

Place = tuple[str, str]
"""What is watched, and the kind of alarm: ``("age", "drift")``."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose windows are judged: model, alias and number of the version."""

    model: str
    alias: str
    number: int


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """What windows gave.

    Attributes
    ----------
    alarms : tuple of Alarm
        Not raised yet, in the order of their windows; one for each place at the most.
    windows : tuple of Window
        Those that had rows; the others say nothing.
    log_e : mapping of Place to ndarray of float64, shape (windows,)
        Natural logarithm of each process' e-detector after each of them.
    limits : mapping of Place to float
        Natural logarithm of what each has to reach.
    bound : str
        Which bound on false alarms can be claimed, or that none can, in a sentence.
    bounded : bool
        Whether one can.
    """

    alarms: tuple[Alarm, ...]
    windows: tuple[Window, ...]
    log_e: Mapping[Place, Floats]
    limits: Mapping[Place, float]
    bound: str
    bounded: bool


def judge(
    reference: Reference,
    windows: Sequence[Window],
    rules: Rules,
    subject: Subject,
    since: Mapping[Place, int] | None = None,
) -> Judgement:
    """Return what is to be raised.

    Parameters
    ----------
    reference : Reference
        Of the version.
    windows : sequence of Window
        In order of time, all since the version began to answer.
    rules : Rules
        Tolerances, budget, thresholds.
    subject : Subject
        Whose windows they are.
    since : mapping of Place to int, optional
        Of places whose last alarm was acknowledged: when, nanoseconds since 1970. Evidence begins anew with the first
        window that begins after that.
    """
    held = tuple(window for window in windows if window.rows)
    watched = processes(reference, held, rules)
    limits = _limits(watched, rules.budget)
    bounded = bool(watched) and min(process.chunks for process in watched if process.rows.any() or not held) >= CHUNKS
    case = _Case(held, rules, subject, limits, bounded, since or {})
    found: list[tuple[int, Alarm]] = []
    logs = {}
    for process in watched:
        first = min(max(case.first(process.place), rules.calibrate), len(held))
        reached = _course(process, first)
        logs[process.place] = np.concatenate([np.full(first, -math.inf), reached.log_e])
        over = np.flatnonzero(reached.log_e >= limits[process.place])
        if over.size:
            found.append((first + int(over[0]), case.alarm(process, reached, first, int(over[0]))))
    found += case.plain(reference)
    ordered = tuple(alarm for _, alarm in sorted(found, key=lambda one: one[0]))
    longest = max((int(process.rows.max(initial=0.0)) for process in watched), default=0)
    if len(held) < rules.calibrate:
        claim = reason.calibrating_sentence(len(held), rules)
        return Judgement(ordered, held, logs, limits, claim, bounded=False)
    claim = reason.bound_sentence(
        longest, reference.rows, len(watched), rules, frozen=any(reference.dispersion.values()), bounded=bounded
    )
    return Judgement(ordered, held, logs, limits, claim, bounded)


def _limits(watched: Sequence[Process], budget: float) -> dict[Place, float]:
    """Return the logarithm of what each process has to reach; those of one group share its part of the budget."""
    common = sum(process.watched.common for process in watched)
    limits = {}
    for process in watched:
        share = _COMMON / common if process.watched.common else (1.0 - _COMMON) / (len(watched) - common)
        limits[process.place] = -math.log(share * budget)
    return limits


def _course(process: Process, first: int) -> Course:
    return course(
        process.counts[first:], process.rows[first:], process.watched.shares, process.tolerance, process.factors[first:]
    )


@dataclass(frozen=True, slots=True)
class _Case:
    """What every alarm of one judgement shares."""

    windows: tuple[Window, ...]
    rules: Rules
    subject: Subject
    limits: Mapping[Place, float]
    bounded: bool
    since: Mapping[Place, int]

    def first(self, place: Place) -> int:
        """Return the first window that begins after the place's last alarm was acknowledged."""
        begin = self.since.get(place, 0)
        return next((at for at, window in enumerate(self.windows) if window.first >= begin), len(self.windows))

    def alarm(self, process: Process, reached: Course, first: int, over: int) -> Alarm:
        """Return the alarm of a process whose evidence reached the limit in window `over` after `first`."""
        at, begun = first + over, first + int(reached.begun[over])
        log_e = float(reached.log_e[over])
        change = reason.change_of(process, int(reached.share[over]), begun, at, log_e, self.limits[process.place])
        what, kind = process.place
        evidence = {
            "effect": change.effect,
            "tolerance": change.tolerance,
            "e_value": math.exp(min(log_e, _LARGEST_LOG)),
            "needed": math.exp(self.limits[process.place]),
            "budget": self.rules.budget,
            "n": change.rows,
            "windows": change.windows,
            "since": _iso(self.windows[begun].start),
            "before": change.before,
            "after": change.after,
            "dispersion": float(process.factors[at]),
            "chunks": process.chunks,
            "bounded": self.bounded,
        }
        told = reason.sentence(change, self.windows[begun], bounded=self.bounded)
        return self._made(what, kind, self.windows[at], told, evidence)

    def plain(self, reference: Reference) -> Iterator[tuple[int, Alarm]]:
        """Yield the first window of each column in which a plain threshold was met."""
        if not self.rules.thresholds:
            return
        columns: list[tuple[Feature, list[Tally]]] = [
            (feature, [window.features[at] for window in self.windows]) for at, feature in enumerate(reference.features)
        ]
        columns.append((reference.prediction, [window.prediction for window in self.windows]))
        for feature, tallies in columns:
            first = self.first((feature.name, "threshold"))
            for at in range(first, len(tallies)):
                met = self._met(feature, tallies[at])
                if met:
                    told, evidence = met
                    yield at, self._made(feature.name, "threshold", self.windows[at], told, evidence)
                    break

    def _met(self, feature: Feature, tally: Tally) -> tuple[str, Mapping[str, object]] | None:
        if not tally.rows:
            return None
        drift = compare(feature, tally)
        for gate in self.rules.thresholds:
            column, measure = measure_of(gate)
            value = _measured(drift, tally, measure)
            if column in ("", feature.name) and OPERATORS[gate.operator](value, gate.limit):
                rows = counted(tally.rows, "row")
                told = (
                    f"{measure} of {feature.name} is {number(value)} in a window of {rows}, which the plain rule "
                    f"'{gate}' alarms on; it bounds no false alarms."
                )
                evidence = {"effect": value, "tolerance": gate.limit, "rule": str(gate), "n": tally.rows}
                return told, {**evidence, "e_value": None, "budget": None, "bounded": False}
        return None

    def _made(self, what: str, kind: str, window: Window, told: str, evidence: Mapping[str, object]) -> Alarm:
        subject = self.subject
        bounds = f"{_iso(window.start)}/{_iso(window.end)}"
        return Alarm(subject.model, subject.alias, subject.number, what, kind, bounds, told, evidence)


def _measured(drift: Drift, tally: Tally, measure: str) -> float:
    if measure == "missing":
        return (tally.missing + tally.unusable) / tally.rows
    found = {
        "psi": drift.psi,
        "ks": drift.ks,
        "jensen_shannon": drift.distance,
        "hellinger": drift.hellinger,
        "total_variation": drift.total_variation,
        "wasserstein": drift.wasserstein,
    }
    return found[measure]


def _iso(at: int) -> str:
    return instant(at).strftime("%Y-%m-%dT%H:%M:%SZ")
