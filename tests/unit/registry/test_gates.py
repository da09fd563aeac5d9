from __future__ import annotations

import json
import math
import operator
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mlnb.errors import UsageError
from mlnb.registry.gates import Gate, Verdict, judge, parse_gate

PYTHON = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
    "==": operator.eq,
    "!=": operator.ne,
}
SIGNS = st.sampled_from(sorted(PYTHON))
FINITE = st.floats(allow_nan=False, allow_infinity=False)
METRICS = st.from_regex(
    r"[a-z_][a-z0-9_]{0,8}(\.[a-z_][a-z0-9_-]{0,8})?(@[0-9]{1,3})?(\[[a-z ]{1,5}=[A-Za-z0-9 .<-]{1,8}\])?",
    fullmatch=True,
)


def verdict_of(gate: str, measured: float) -> Verdict:
    parsed = parse_gate(gate)
    (verdict,) = judge([parsed], {parsed.metric: measured})
    return verdict


@given(METRICS, SIGNS, FINITE, st.text(" \t", max_size=2))
def test_a_gate_is_read_whatever_the_blanks(metric: str, sign: str, limit: float, blank: str) -> None:
    gate = parse_gate(f"{blank}{metric}{blank}{sign}{blank}{limit!r}{blank}")
    assert gate == Gate(metric, sign, limit, repr(limit))
    assert str(gate) == f"{metric} {sign} {limit!r}"
    assert parse_gate(str(gate)) == gate


@given(SIGNS, st.one_of(FINITE, st.sampled_from([math.inf, -math.inf])), FINITE)
def test_a_verdict_is_what_python_says(sign: str, measured: float, limit: float) -> None:
    verdict = verdict_of(f"x {sign} {limit!r}", measured)
    assert verdict.passed == PYTHON[sign](measured, limit)
    assert (verdict.measured, verdict.limit) == (measured, limit)


@given(SIGNS, FINITE)
def test_a_number_that_equals_its_limit_is_judged_as_python_does(sign: str, limit: float) -> None:
    assert verdict_of(f"x {sign} {limit!r}", limit).passed == PYTHON[sign](limit, limit)


@given(SIGNS, FINITE)
def test_what_is_not_a_number_never_passes(sign: str, limit: float) -> None:
    verdict = verdict_of(f"x {sign} {limit!r}", math.nan)
    assert not verdict.passed
    assert "not a number" in verdict.sentence


@given(SIGNS, st.floats(-1e300, 1e300), st.floats(-1e300, 1e300))
def test_the_sentence_never_contradicts_the_numbers(sign: str, measured: float, limit: float) -> None:
    assume(measured != limit)
    sentence = verdict_of(f"x {sign} {limit!r}", measured).sentence
    match = re.match(r"x is (\S+), (\S+) (above|below) the limit (\S+?)(, and must .*)?\.$", sentence)
    assert match is not None, sentence
    shown, distance, side, written = float(match[1]), float(match[2]), match[3], float(match[4])
    assert written == limit
    assert (side == "above") == (measured > limit) == (shown > limit)
    assert shown == pytest.approx(measured, rel=1e-5)
    assert distance == pytest.approx(abs(measured - limit), rel=1e-3)


@given(SIGNS, st.floats(), FINITE)
def test_a_verdict_survives_json(sign: str, measured: float, limit: float) -> None:
    verdict = verdict_of(f"x {sign} {limit!r}", measured)
    read = Verdict.from_json(json.loads(json.dumps(verdict.to_json(), allow_nan=False)))
    assert repr(read) == repr(verdict)


@pytest.mark.parametrize(
    ("gate", "measured", "sentence"),
    [
        ("auc >= 0.80", 0.731, "auc is 0.731, 0.069 below the limit 0.80."),
        ("auc >= 0.80", 0.86, "auc is 0.86, 0.06 above the limit 0.80."),
        ("auc >= 0.80", 0.80, "auc is exactly the limit 0.80."),
        ("auc > 0.80", 0.80, "auc is exactly the limit 0.80, and must be above it."),
        ("latency_p99_ms < 20", 20, "latency_p99_ms is exactly the limit 20, and must be below it."),
        ("latency_p99_ms <= 20", 23.4567891, "latency_p99_ms is 23.4568, 3.457 above the limit 20."),
        ("auc >= 0.80", 0.79999999999, "auc is 0.79999999999, 1e-11 below the limit 0.80."),
        ("rows == 1000", 1001, "rows is 1001, 1 above the limit 1000, and must be equal to it."),
        ("rows != 0", 0, "rows is exactly the limit 0, and must differ from it."),
        ("parity_max_abs <= 1e-4", math.inf, "parity_max_abs is inf, above the limit 1e-4."),
        ("auc >= 0.80", math.nan, "auc is not a number, so it cannot meet the limit 0.80."),
    ],
)
def test_the_sentence_says_by_how_much(gate: str, measured: float, sentence: str) -> None:
    assert verdict_of(gate, measured).sentence == sentence


def test_verdicts_come_in_the_order_of_the_gates() -> None:
    gates = [parse_gate("evaluate.auc >= 0.8"), parse_gate("f1 > 0.5"), parse_gate("evaluate.auc <= 1")]
    verdicts = judge(gates, {"f1": 0.4, "evaluate.auc": 0.9})
    assert [(verdict.gate, verdict.passed) for verdict in verdicts] == [
        ("evaluate.auc >= 0.8", True),
        ("f1 > 0.5", False),
        ("evaluate.auc <= 1", True),
    ]
    assert judge([], {}) == ()


def test_a_number_that_nobody_measured_is_a_mistake_of_the_gate() -> None:
    with pytest.raises(UsageError, match=r"The gate 'acu >= 0\.8' needs 'acu', which nothing measured\.") as caught:
        judge([parse_gate("acu >= 0.8")], {"auc": 0.9, "f1": 0.5})
    assert caught.value.remedy == "Did you mean 'auc'?"
    with pytest.raises(UsageError, match=r"Known: auc, f1\."):
        judge([parse_gate("recall > 0")], {"auc": 0.9, "f1": 0.5})


@pytest.mark.parametrize(
    "text",
    ["", "auc", "auc >=", ">= 0.8", "auc >= high", "auc >= 80%", "auc >= nan", "auc >= inf", "auc >= 0.8 0.9", "1a > 2",
     "a..b > 1", "a. > 1", "auc >= 0,8", "auc >= ٣", "auc >>> 1", "0.8 <= auc", "auc >= 1_0"],
)  # fmt: skip
def test_what_is_no_gate_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"is not a gate\. Write METRIC OPERATOR NUMBER"):
        parse_gate(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [("auc => 0.8", "auc >= 0.8"), ("auc = 0.8", "auc == 0.8"), ("auc ≥ 0.8", "auc >= 0.8"), ("a <> 1", "a != 1")],
)
def test_a_misspelt_operator_is_answered_with_what_was_meant(text: str, meant: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_gate(text)
    assert caught.value.remedy == f"Did you mean '{meant}'?"


def test_a_limit_beyond_every_number_is_refused() -> None:
    with pytest.raises(UsageError, match="too large for a number"):
        parse_gate("auc >= 1e999")
