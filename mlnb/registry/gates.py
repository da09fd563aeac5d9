"""A condition such as ``auc >= 0.80`` and the numbers that were measured become a verdict that says by how much."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from mlnb.errors import UsageError
from mlnb.model.metric_names import PATTERN, SLICE
from mlnb.registry.canonical import canonical
from mlnb.registry.reference import hint

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_MISSPELT = {"=>": ">=", "=<": "<=", "=": "==", "<>": "!=", "≥": ">=", "≤": "<=", "≠": "!="}
_METRIC = rf"(?:[A-Za-z_][A-Za-z0-9_-]*\.)*{PATTERN}(?:{SLICE})?"
_LIMIT = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_GATE = re.compile(rf"\s*({_METRIC})\s*([<>=!≥≤≠]{{1,2}})\s*({_LIMIT})\s*")


@dataclass(frozen=True, slots=True)
class Gate:
    """A condition on one measured number.

    Attributes
    ----------
    metric : str
        Name of the number: ``auc``, ``evaluate.auc``, ``auc_low`` (the lower end of its interval),
        ``ndcg@10``, ``auc[origin=JFK]`` (of a slice), ``latency_p99_ms``.
    operator : str
        One of ``>= <= == != > <``; the measured number stands on its left.
    limit : float
        The finite number on its right.
    written : str
        The limit as the person wrote it, so that 0.80 stays 0.80.
    """

    metric: str
    operator: str
    limit: float
    written: str

    def __str__(self) -> str:
        return f"{self.metric} {self.operator} {self.written}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a gate found.

    Attributes
    ----------
    gate : str
        The gate as written: ``auc >= 0.80``.
    measured : float
        The number that was measured; may be NaN, which never passes.
    limit : float
        The number it was compared with.
    passed : bool
        Whether the gate lets the version through.
    sentence : str
        What was measured, the limit, and by how much it passed or failed.
    """

    gate: str
    measured: float
    limit: float
    passed: bool
    sentence: str

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell; a measured NaN or infinity is a string."""
        return {
            "gate": self.gate,
            "measured": self.measured if math.isfinite(self.measured) else canonical(self.measured).strip('"'),
            "limit": self.limit,
            "passed": self.passed,
            "sentence": self.sentence,
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, object]) -> Verdict:
        """Return the verdict that `to_json` wrote."""
        return cls(
            gate=str(fields["gate"]),
            measured=float(str(fields["measured"])),
            limit=float(str(fields["limit"])),
            passed=fields["passed"] is True,
            sentence=str(fields["sentence"]),
        )


def parse_gate(text: str) -> Gate:
    """Read ``METRIC OPERATOR NUMBER``.

    Raises
    ------
    UsageError
        If `text` is something else.

    Examples
    --------
    >>> str(parse_gate("evaluate.auc>=0.80"))
    'evaluate.auc >= 0.80'
    >>> parse_gate("auc_low[origin=JFK] >= .7").metric
    'auc_low[origin=JFK]'
    """
    match = _GATE.fullmatch(text)
    if match is None:
        raise UsageError(
            f"{text!r} is not a gate.", "Write METRIC OPERATOR NUMBER, for instance 'auc >= 0.80' or 'rows > 1000'."
        )
    metric, sign, written = match.groups()
    if sign not in OPERATORS:
        meant = _MISSPELT.get(sign)
        remedy = f"Did you mean '{metric} {meant} {written}'?" if meant else f"Use one of {' '.join(OPERATORS)}."
        raise UsageError(f"The gate {text!r} has an unknown operator {sign!r}.", remedy)
    limit = float(written)
    if not math.isfinite(limit):
        raise UsageError(f"The limit of the gate {text!r} is too large for a number.", "Write a smaller limit.")
    return Gate(metric, sign, limit, written)


def judge(gates: Iterable[Gate], evidence: Mapping[str, float]) -> tuple[Verdict, ...]:
    """Return one verdict for each gate, in their order.

    Parameters
    ----------
    gates : iterable of Gate
        The conditions.
    evidence : mapping of str to float
        Everything that was measured, by name.

    Raises
    ------
    UsageError
        If a gate names a number that nobody measured.
    """
    verdicts = []
    for gate in gates:
        if gate.metric not in evidence:
            raise UsageError(
                f"The gate '{gate}' needs {gate.metric!r}, which nothing measured.", hint(gate.metric, evidence)
            )
        measured = float(evidence[gate.metric])
        passed = not math.isnan(measured) and OPERATORS[gate.operator](measured, gate.limit)
        verdicts.append(Verdict(str(gate), measured, gate.limit, passed, _sentence(gate, measured)))
    return tuple(verdicts)


def _sentence(gate: Gate, measured: float) -> str:
    if math.isnan(measured):
        return f"{gate.metric} is not a number, so it cannot meet the limit {gate.written}."
    if measured == gate.limit:
        demand = {">": ", and must be above it", "<": ", and must be below it", "!=": ", and must differ from it"}
        return f"{gate.metric} is exactly the limit {gate.written}{demand.get(gate.operator, '')}."
    side = "above" if measured > gate.limit else "below"
    demand_equal = ", and must be equal to it" if gate.operator == "==" else ""
    shown = f"{gate.metric} is {_shown(measured, gate.limit)}"
    if math.isinf(measured):
        return f"{shown}, {side} the limit {gate.written}{demand_equal}."
    distance = abs(Decimal(repr(measured)) - Decimal(repr(gate.limit)))
    return f"{shown}, {float(distance):.4g} {side} the limit {gate.written}{demand_equal}."


def _shown(measured: float, limit: float) -> str:
    """Round for the eye, but never onto or over the limit that it is compared with."""
    if measured.is_integer() and abs(measured) < 1e15:
        return str(int(measured))
    for digits in range(6, 17):
        text = f"{measured:.{digits}g}"
        if (float(text) > limit) == (measured > limit) and float(text) != limit:
            return text
    return repr(measured)
