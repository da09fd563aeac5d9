"""What a caller of the old version notices: told in sentences, and judged by trying the old rows on the new version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlnb.errors import SignatureError
from mlnb.model.compatibility import changes
from mlnb.model.kinds import Column, Output
from mlnb.model.signature import Signature

OLD = Signature(
    (
        Column("distance", "float64", minimum=80, maximum=4983),
        Column("month", "int16", nullable=True),
        Column("origin", "string", categories=("EWR", "JFK")),
        Column("hours", "float64", many=True, length=24),
        Column("seen", "string", many=True, empty=True),
    ),
    "classifier",
    ("early", "late"),
    True,
    "string",
)
TWO = Signature(OLD.inputs, "multioutput", output="float64", outputs=(Output("a"), Output("b")))


def column(name: str, **changed: object) -> Callable[[Signature], Signature]:
    """Return what changes one column of a signature."""

    def change(signature: Signature) -> Signature:
        made = [replace(one, **changed) if one.name == name else one for one in signature.inputs]  # type: ignore[arg-type]
        return replace(signature, inputs=tuple(made))

    return change


CASES: list[tuple[Callable[[Signature], Signature], bool, str]] = [
    (lambda old: replace(old, inputs=old.inputs[1:]), False, "The column 'distance' is gone: rows that still hold it"),
    (
        lambda old: replace(old, inputs=(*old.inputs, Column("wind", "float64"))),
        False,
        "The column 'wind' is new: rows",
    ),
    (
        column("distance", dtype="float32"),
        False,
        "The column 'distance' is float32 now and refuses some of what float64",
    ),
    (column("distance", dtype="int64"), False, "The column 'distance' is int64 now and refuses some"),
    (column("month", dtype="int8"), False, "The column 'month' is int8 now"),
    (column("month", dtype="uint16"), False, "The column 'month' is uint16 now and refuses"),
    (column("month", dtype="int64"), True, "The column 'month' is int64 now, which takes all that int16 took."),
    (column("month", dtype="float64"), True, "The column 'month' is float64 now, which takes all"),
    (column("month", dtype="string"), False, "The column 'month' is string now"),
    (column("month", nullable=False), False, "The column 'month' may not be null any more."),
    (column("distance", nullable=True), True, "The column 'distance' may be null now."),
    (
        column("distance", minimum=200.0),
        True,
        "The sample of 'distance' goes from 200 to 4983, where it was 80 to 4983",
    ),
    (column("origin", categories=("EWR",)), True, "The column 'origin' does not know 'JFK' any more"),
    (column("origin", categories=("EWR", "JFK", "LGA")), True, "The column 'origin' knows 'LGA' now."),
    (column("hours", length=48), False, "The column 'hours' takes 48 values in each list, where it took 24 values."),
    (column("hours", length=None), True, "The column 'hours' takes lists of any length now."),
    (column("hours", many=False, length=None), False, "The column 'hours' takes one value now"),
    (
        column("seen", length=5, empty=False),
        False,
        "The column 'seen' takes 5 values in each list, where it took lists",
    ),
    (column("seen", empty=False), False, "The column 'seen' may not be an empty list any more."),
    (lambda old: replace(old, task="regressor", classes=()), False, "The model is a regressor now, where it was a"),
    (
        lambda old: replace(old, classes=("early", "late", "lost")),
        False,
        "The model answers 'lost', which callers have",
    ),
    (lambda old: replace(old, classes=("early",)), False, "The model does not answer 'late' any more."),
    (lambda old: replace(old, classes=("late", "early")), False, "The model gives its probabilities in another order"),
    (lambda old: replace(old, probabilities=False), False, "Answers hold no probabilities any more."),
]


@pytest.mark.parametrize(("change", "compatible", "sentence"), CASES, ids=[case[2][:50] for case in CASES])
def test_each_change_is_told_and_judged(
    change: Callable[[Signature], Signature], compatible: bool, sentence: str
) -> None:
    (found,) = changes(OLD, change(OLD))
    assert found.sentence.startswith(sentence)
    assert found.compatible is compatible


def test_outputs_may_be_added_at_the_end_only() -> None:
    more = replace(TWO, outputs=(*TWO.outputs, Output("c")))
    assert [one.compatible for one in changes(TWO, more)] == [True]
    assert [one.compatible for one in changes(more, TWO)] == [False]
    turned = replace(TWO, outputs=TWO.outputs[::-1])
    assert [one.subject for one in changes(TWO, turned) if not one.compatible] == ["outputs"]


def test_the_same_signature_has_no_changes_and_incompatible_ones_come_first() -> None:
    assert changes(OLD, OLD) == ()
    found = changes(OLD, column("origin", nullable=True)(column("seen", empty=False)(OLD)))
    assert [one.compatible for one in found] == [False, True]


_columns = st.builds(
    Column,
    name=st.just("x"),
    dtype=st.sampled_from(["float64", "float32", "int64", "int8", "uint8", "bool", "string"]),
    nullable=st.booleans(),
    many=st.booleans(),
    length=st.sampled_from([None, 2]),
    empty=st.booleans(),
).map(lambda one: one if one.many else replace(one, length=None, empty=False))
_values = st.sampled_from(
    [None, True, 0, 1.5, -3, 255, 1e300, 2**62, "a", [], [1], [1, 2], [None, 1.5], ["a", "b"], [True]]
)


@given(_columns, _columns, st.lists(_values, min_size=1, max_size=12))
def test_no_row_that_the_old_version_takes_is_refused_by_a_compatible_one(
    old: Column, new: Column, values: list[object]
) -> None:
    before, after = (Signature((one,), "regressor") for one in (old, new))
    if not all(change.compatible for change in changes(before, after)):
        return
    for value in values:
        try:
            before.check([{"x": value}])
        except SignatureError:
            continue
        after.check([{"x": value}])
