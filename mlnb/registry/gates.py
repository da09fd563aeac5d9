"""A condition such as ``auc >= 0.80`` and what was measured become a verdict: by how much, of what, on what."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from mlnb.errors import UsageError
from mlnb.model.gate_words import refused, spelled_out
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
class Finding:
    """What was measured for a gate.

    Attributes
    ----------
    value : float
        The number; NaN where it is not known.
    on : str
        On what it was measured, as it stands behind "measured on": ``1,000 rows of the sample of delays/8``.
    told : str
        What a person should know beside the number: a sentence.
    missing : str
        Why it is not known, which fails the gate: a clause.
    waived : str
        Why the gate has nothing to ask here, which passes it: a clause.
    """

    value: float = math.nan
    on: str = ""
    told: str = ""
    missing: str = ""
    waived: str = ""


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
        What was measured, on what, the limit, and by how much it passed or failed.
    on : str
        On what it was measured; empty where the name says it.
    waived : bool
        Whether it passed because there was nothing to ask, such as no champion to be better than.
    """

    gate: str
    measured: float
    limit: float
    passed: bool
    sentence: str
    on: str = ""
    waived: bool = False

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell; a measured NaN or infinity is a string."""
        return {
            "gate": self.gate,
            "measured": self.measured if math.isfinite(self.measured) else canonical(self.measured).strip('"'),
            "limit": self.limit,
            "passed": self.passed,
            "sentence": self.sentence,
            **({"on": self.on} if self.on else {}),
            **({"waived": True} if self.waived else {}),
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
            on=str(fields.get("on", "")),
            waived=fields.get("waived") is True,
        )


def parse_gate(text: str) -> Gate:
    """Read ``METRIC OPERATOR NUMBER``, or the words of `mlnb.model.gate_words` that stand for it.

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
    >>> str(parse_gate("better_than_champion auc"))
    'auc_gain_low > 0'
    """
    match = _GATE.fullmatch(spelled_out(text))
    if match is None:
        remedy = refused(text) or "Write METRIC OPERATOR NUMBER, for instance 'auc >= 0.80' or 'rows > 1000'."
        raise UsageError(f"{text!r} is not a gate.", remedy)
    metric, sign, written = match.groups()
    if sign not in OPERATORS:
        meant = _MISSPELT.get(sign)
        remedy = f"Did you mean '{metric} {meant} {written}'?" if meant else f"Use one of {' '.join(OPERATORS)}."
        raise UsageError(f"The gate {text!r} has an unknown operator {sign!r}.", remedy)
    limit = float(written)
    if not math.isfinite(limit):
        raise UsageError(f"The limit of the gate {text!r} is too large for a number.", "Write a smaller limit.")
    return Gate(metric, sign, limit, written)


def judge(gates: Iterable[Gate], evidence: Mapping[str, float | Finding]) -> tuple[Verdict, ...]:
    """Return one verdict for each gate, in their order.

    Parameters
    ----------
    gates : iterable of Gate
        The conditions.
    evidence : mapping of str to float or Finding
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
        found = evidence[gate.metric]
        verdicts.append(_verdict(gate, found if isinstance(found, Finding) else Finding(float(found))))
    return tuple(verdicts)


def _verdict(gate: Gate, found: Finding) -> Verdict:
    if found.waived:
        sentence = f"{gate} asks nothing here: {found.waived}."
        return Verdict(str(gate), found.value, gate.limit, True, sentence, found.on, waived=True)
    if found.missing:
        sentence = f"{gate.metric} is not known, so it cannot meet the limit {gate.written}: {found.missing}."
        return Verdict(str(gate), math.nan, gate.limit, False, sentence, found.on)
    passed = not math.isnan(found.value) and OPERATORS[gate.operator](found.value, gate.limit)
    sentence = _sentence(gate, found.value)
    if found.on:
        sentence = f"{sentence.removesuffix('.')}; measured on {found.on}."
    told = f"{sentence} {found.told}".rstrip()
    return Verdict(str(gate), found.value, gate.limit, passed, told, found.on)


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
