"""Rows against signatures: what is accepted, and what each fault says."""

from __future__ import annotations

import json
import string
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from mlnb.errors import CorruptError, NewerFormatError, SignatureError
from mlnb.model.signature import Column, Signature

FLIGHT = Signature(
    (
        Column("distance", "float64", minimum=80.0, maximum=4983.0),
        Column("month", "int8"),
        Column("carrier", "string", nullable=True),
        Column("night", "bool"),
        Column("delay", "float64", nullable=True),
        Column("seats", "int64", nullable=True),
        Column("at", "datetime", nullable=True),
        Column("origin", "string", categories=("EWR", "JFK")),
    ),
    "classifier",
    (0, 1),
    True,
    "int64",
)
ROW: dict[str, object] = {
    "distance": 12.5,
    "month": 3,
    "carrier": "AA",
    "night": True,
    "delay": 1.5,
    "seats": 7,
    "at": "2013-01-01T05:15:00",
    "origin": "LGA",
}

names = st.text(string.ascii_letters + " _é'", min_size=1, max_size=8)
labels = st.one_of(st.text(max_size=5), st.integers(-9, 9), st.booleans())
columns = st.builds(
    Column,
    names,
    st.sampled_from(["float64", "float32", "int64", "uint8", "bool", "string", "datetime"]),
    st.booleans(),
    st.lists(labels, max_size=3).map(tuple),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["nan", "none"]),
)
signatures = st.builds(
    Signature,
    st.lists(columns, min_size=1, max_size=4, unique_by=lambda column: column.name).map(tuple),
    st.sampled_from(["classifier", "regressor"]),
    st.lists(labels, max_size=3).map(tuple),
    st.booleans(),
    st.sampled_from(["float64", "string"]),
    st.lists(columns, max_size=2).map(tuple),
    st.booleans(),
)


def faults_of(rows: object, signature: Signature = FLIGHT) -> tuple[str, ...]:
    with pytest.raises(SignatureError) as caught:
        signature.check(rows)  # type: ignore[arg-type]  # wrong shapes are the point
    return caught.value.faults


@given(signatures)
def test_a_signature_survives_json(signature: Signature) -> None:
    assert Signature.from_json(json.loads(json.dumps(signature.to_json()))) == signature


def test_a_fitting_row_becomes_typed_columns() -> None:
    checked = FLIGHT.check([ROW])
    assert list(checked) == [column.name for column in FLIGHT.inputs]
    assert {name: str(array.dtype) for name, array in checked.items()} == {
        "distance": "float64",
        "month": "int8",
        "carrier": "object",
        "night": "bool",
        "delay": "float64",
        "seats": "float64",
        "at": "datetime64[us]",
        "origin": "object",
    }
    assert checked["at"].tolist() == [datetime.fromisoformat("2013-01-01T05:15:00")]
    assert checked["origin"].tolist() == ["LGA"]


def test_null_is_missing_where_the_sample_lacked_values() -> None:
    rows = [ROW, ROW | dict.fromkeys(["carrier", "delay", "seats", "at"])]
    checked = FLIGHT.check(rows)
    assert checked["carrier"].tolist() == ["AA", None]
    np.testing.assert_array_equal(checked["delay"], [1.5, np.nan])
    np.testing.assert_array_equal(checked["seats"], [7, np.nan])
    assert checked["at"].tolist()[1] is None


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"distance": "12"}, "rows[1]: column 'distance' must be a number, but is the string '12'"),
        ({"distance": True}, "rows[1]: column 'distance' must be a number, but is true"),
        ({"distance": None}, "rows[1]: column 'distance' may not be null: no row of the model's sample lacked it"),
        ({"distance": [1.0]}, "rows[1]: column 'distance' must be a number, but is a list"),
        ({"distance": {"a": 1}}, "rows[1]: column 'distance' must be a number, but is an object"),
        ({"distance": float("nan")}, "rows[1]: column 'distance' is nan, which is not JSON: send null where"),
        ({"delay": float("nan")}, "rows[1]: column 'delay' is nan, which is not JSON"),
        ({"distance": float("inf")}, "rows[1]: column 'distance' is inf, which is not JSON"),
        ({"distance": 10**400}, "which is beyond float64"),
        ({"month": 1.5}, "rows[1]: column 'month' must be a whole number, but is 1.5"),
        ({"month": 300}, "rows[1]: column 'month' is 300, which is beyond int8"),
        ({"seats": 2**63}, "rows[1]: column 'seats' is 9223372036854775808, which is beyond int64"),
        ({"month": True}, "rows[1]: column 'month' must be a whole number, but is true"),
        ({"carrier": 3}, "rows[1]: column 'carrier' must be a string, but is the number 3"),
        ({"night": 1}, "rows[1]: column 'night' must be true or false, but is the number 1"),
        ({"night": "yes"}, "rows[1]: column 'night' must be true or false, but is the string 'yes'"),
        ({"at": "yesterday"}, "rows[1]: column 'at' must be an ISO 8601 date and time, but is the string 'yesterday'"),
        ({"at": 5}, "rows[1]: column 'at' must be an ISO 8601 date and time, but is the number 5"),
        ({"origin": None}, "rows[1]: column 'origin' may not be null"),
    ],
)
def test_a_wrong_value_is_told_with_row_column_and_reason(change: dict[str, object], fault: str) -> None:
    faults = faults_of([ROW, ROW | change])
    assert len(faults) == 1
    assert fault in faults[0]


def test_whole_numbers_may_be_written_as_floats_and_floats_as_whole_numbers() -> None:
    checked = FLIGHT.check([ROW | {"month": 4.0, "distance": 3, "seats": 2.0}])
    assert (checked["month"].tolist(), checked["month"].dtype) == ([4], np.dtype("int8"))
    assert checked["distance"].tolist() == [3.0]
    assert checked["seats"].tolist() == [2.0]


def test_numpy_scalars_count_as_their_plain_values() -> None:
    checked = FLIGHT.check([ROW | {"distance": np.float32(1.5), "night": np.bool_(False), "month": np.int64(2)}])
    assert [checked[name].tolist() for name in ("distance", "night", "month")] == [[1.5], [False], [2]]


def test_an_offset_becomes_utc() -> None:
    checked = FLIGHT.check([ROW | {"at": "2013-01-01T05:15:00+02:00"}])
    assert checked["at"].tolist() == [datetime.fromisoformat("2013-01-01T03:15:00")]


def test_missing_and_unexpected_columns_are_named_with_a_near_name() -> None:
    row = {("distances" if name == "distance" else name): value for name, value in ROW.items()}
    assert faults_of([ROW, row]) == (
        "rows[1]: column 'distance' is missing",
        "rows[1]: unexpected column 'distances' (did you mean 'distance'?)",
    )


@pytest.mark.parametrize("rows", [{}, "rows", None, ({"a": 1},), 5])
def test_what_is_no_list_of_rows_is_told(rows: object) -> None:
    assert faults_of(rows) == ("rows is not a list of objects",)


def test_no_rows_and_rows_that_are_no_objects_are_told() -> None:
    assert faults_of([]) == ("there are no rows",)
    assert faults_of([ROW, [1, 2]]) == ("rows[1] is a list, not an object with a value for each column",)


def test_only_the_first_twenty_faults_are_told() -> None:
    assert len(faults_of([ROW | {"distance": "x"}] * 50)) == 20
    with pytest.raises(SignatureError, match=r"and 19 more \(the first 20 faults are told\)"):
        FLIGHT.check([{}] * 50)


def test_a_single_column_is_checked_like_many() -> None:
    one = Signature((Column("x", "float64"),), "regressor")
    assert one.check([{"x": 1.0}, {"x": 2}])["x"].tolist() == [1.0, 2.0]
    assert faults_of([{"y": 1.0}], one)[0] == "rows[0]: column 'x' is missing"


@given(
    st.lists(st.fixed_dictionaries({"x": st.floats(allow_nan=False, allow_infinity=False) | st.none()}), min_size=1),
)
def test_numbers_and_nulls_arrive_as_they_were_sent(rows: list[dict[str, float | None]]) -> None:
    signature = Signature((Column("x", "float64", nullable=True),), "regressor")
    got = signature.check(rows)["x"].tolist()
    assert [None if value != value else value for value in got] == [row["x"] for row in rows]


junk = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.lists(st.integers(), max_size=2)
)


@given(st.lists(st.dictionaries(st.sampled_from(["x", "n", "t", "z"]), junk, max_size=4), max_size=4))
def test_anything_is_either_typed_or_refused_with_faults(rows: list[dict[str, object]]) -> None:
    signature = Signature((Column("x", "float32"), Column("n", "uint8", True), Column("t", "string")), "regressor")
    try:
        checked = signature.check(rows)
    except SignatureError as error:
        assert error.faults
        return
    assert [str(checked[name].dtype) for name in ("x", "n", "t")] == ["float32", "float64", "object"]
    assert np.isfinite(checked["x"]).all()
    assert all(len(array) == len(rows) for array in checked.values())


def test_the_json_schema_names_types_and_what_is_required() -> None:
    schema = FLIGHT.json_schema()
    properties = schema["properties"]
    assert isinstance(properties, dict)
    assert schema["required"] == list(ROW)
    assert schema["additionalProperties"] is False
    assert properties["distance"] == {"type": "number", "description": "From 80 to 4983 in the sample."}
    assert properties["month"] == {"type": "integer", "minimum": -128, "maximum": 127}
    assert properties["night"] == {"type": "boolean"}
    assert properties["delay"] == {"type": ["number", "null"]}
    assert properties["at"] == {"type": ["string", "null"], "format": "date-time"}
    assert properties["origin"] == {"type": "string", "examples": ["EWR", "JFK"]}


def test_a_newer_or_damaged_signature_is_refused() -> None:
    with pytest.raises(NewerFormatError):
        Signature.from_json(FLIGHT.to_json() | {"format": 3})
    damages: list[dict[str, object]] = [{"inputs": [{"name": "x"}]}, {"classes": None}, {"format": "x"}, {"inputs": []}]
    damages += [{"task": "oracle"}, {"outputs": 3}, {"inputs": [Column("x", "complex").to_json()]}]
    damages += [{"inputs": [Column("x", "string").to_json() | {"length": "7"}]}]
    for damage in damages:
        with pytest.raises(CorruptError):
            Signature.from_json(FLIGHT.to_json() | damage)


TRIP = Signature(
    (
        Column("user", "string"),
        Column("hours", "float32", nullable=True, many=True, length=3),
        Column("seen", "string", many=True, empty=True),
        Column("items", "int64", many=True),
    ),
    "ranker",
    output="int64",
    items="items",
)
LISTS: dict[str, object] = {"user": "u", "hours": [1, None, 2.5], "seen": [], "items": [3, 1]}


def test_lists_of_one_length_are_a_table_and_others_arrays_of_arrays() -> None:
    checked = TRIP.check([LISTS, LISTS | {"seen": ["a"], "items": [7]}])
    np.testing.assert_array_equal(checked["hours"], np.array([[1, np.nan, 2.5]] * 2, dtype=np.float32))
    assert checked["hours"].dtype == np.float32
    assert [one.tolist() for one in checked["seen"]] == [[], ["a"]]
    assert [one.tolist() for one in checked["items"]] == [[3, 1], [7]]
    assert checked["items"][0].dtype == np.int64


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"hours": [1.0, 2.0]}, "rows[1]: column 'hours' must hold 3 values, but holds 2"),
        ({"hours": 1.5}, "rows[1]: column 'hours' must be a list, but is the number 1.5"),
        ({"hours": None}, "rows[1]: column 'hours' must be a list, but is null"),
        ({"hours": [1.0, True, 2.0]}, "rows[1]: column 'hours' at 1 must be a number, but is true"),
        ({"hours": [1.0, 1e300, 2.0]}, "rows[1]: column 'hours' at 1 is 1e+300, which is beyond float32"),
        ({"seen": ["a", None]}, "rows[1]: column 'seen' at 1 may not be null"),
        ({"items": []}, "rows[1]: column 'items' may not be an empty list: none of the sample was"),
        ({"items": [1, 1.5]}, "rows[1]: column 'items' at 1 must be a whole number, but is 1.5"),
        ({"items": [[1]]}, "rows[1]: column 'items' at 0 must be a whole number, but is a list"),
        ({"user": ["u"]}, "rows[1]: column 'user' must be a string, but is a list"),
    ],
)
def test_each_fault_of_a_list_names_row_column_and_place(change: dict[str, object], fault: str) -> None:
    (found,) = faults_of([LISTS, LISTS | change], TRIP)
    assert found.startswith(fault)


def test_a_row_fits_its_json_schema_if_and_only_if_it_is_taken() -> None:
    schema = TRIP.json_schema()
    tried: list[dict[str, object]] = [{}, {"hours": [1, 2]}, {"items": []}, {"seen": ["x"] * 9}, {"items": ["a"]}]
    tried.append({"hours": 3})
    for change in tried:
        row = LISTS | change
        valid = Draft202012Validator(schema).is_valid(row)
        if valid:
            assert TRIP.check([row])
        else:
            faults_of([row], TRIP)


def test_a_signature_of_format_1_is_read() -> None:
    path = Path(__file__).parent / "data" / "signature_format_1.json"
    signature = Signature.from_json(json.loads(path.read_bytes()))
    assert signature == Signature(
        (Column("distance", "float64", minimum=80.0, maximum=4983.0), Column("carrier", "string", True)),
        "classifier",
        (False, True),
        True,
        "bool",
    )
    assert signature.check([{"distance": 100, "carrier": None}])["distance"].tolist() == [100.0]
