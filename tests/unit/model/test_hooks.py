"""The deploy cell's code: what it gets, what it may give, how it fails."""

from __future__ import annotations

import pandas as pd
import pytest

from mlnb.errors import ModelError
from mlnb.model.hooks import Hooks, build_frame, compile_hooks
from mlnb.model.signature import Column, Signature, Values

RAW = Signature(
    (
        Column("x", "float64", nullable=True),
        Column("n", "int64"),
        Column("t", "string", nullable=True),
        Column("at", "datetime"),
        Column("c", "string", nullable=True, categories=("a", "b")),
        Column("f", "bool"),
    ),
    "regressor",
)
ROWS: list[dict[str, object]] = [
    {"x": 1.5, "n": 2, "t": "u", "at": "2013-01-01T05:15:00", "c": "a", "f": True},
    {"x": None, "n": 3, "t": None, "at": "2013-01-02T06:00:00", "c": None, "f": False},
]


def hooks_of(source: str) -> Hooks:
    hooks = compile_hooks(source)
    assert hooks is not None
    return hooks


def columns() -> dict[str, Values]:
    return RAW.check(ROWS)


def test_no_code_and_code_without_preprocess_give_no_hooks() -> None:
    assert compile_hooks("  \n") is None
    assert compile_hooks("answer = 42") is None


def test_rows_arrive_as_plain_dicts_unless_a_frame_is_asked_for() -> None:
    hooks = hooks_of("def preprocess(rows):\n    return [{'seen': repr(row)} for row in rows]")
    assert not hooks.wants_frame
    assert hooks.preprocess(columns(), RAW.inputs)["seen"] == [repr(row) for row in ROWS]


@pytest.mark.parametrize(
    "source",
    [
        "import pandas as pd\ndef preprocess(rows: pd.DataFrame): return rows[['x', 'n']]",
        "from pandas import DataFrame\ndef preprocess(rows: DataFrame): return rows[['x', 'n']]",
        "from __future__ import annotations\ndef preprocess(rows: pd.DataFrame): return rows[['x', 'n']]",
    ],
)
def test_a_frame_arrives_where_the_annotation_asks_for_it(source: str) -> None:
    hooks = hooks_of(source)
    assert hooks.wants_frame
    assert hooks.preprocess(columns(), RAW.inputs) == {"x": [1.5, None], "n": [2, 3]}


def test_a_frame_has_the_dtypes_of_the_sample() -> None:
    frame = build_frame(columns(), RAW.inputs)
    expected = pd.DataFrame(
        {
            "x": [1.5, None],
            "n": [2, 3],
            "t": pd.Series(["u", None], dtype="str"),
            "at": pd.to_datetime(["2013-01-01T05:15:00", "2013-01-02T06:00:00"]).astype("datetime64[us]"),
            "c": pd.Categorical(["a", None], categories=["a", "b"]),
            "f": [True, False],
        }
    )
    pd.testing.assert_frame_equal(frame, expected)


def test_an_unknown_category_is_missing_in_the_frame() -> None:
    frame = build_frame(RAW.check([ROWS[0] | {"c": "z"}]), RAW.inputs)
    assert frame["c"].isna().tolist() == [True]


def test_a_missing_text_is_what_the_sample_had() -> None:
    column = Column("t", "string", nullable=True, missing="none")
    frame = build_frame(Signature((column,), "regressor").check([{"t": None}]), (column,))
    assert frame["t"].dtype == object
    assert frame["t"].tolist() == [None]


def test_dataclasses_and_own_functions_work_in_the_code() -> None:
    source = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass Twice:\n    value: float\n"
        "def double(n): return Twice(2 * n).value\n"
        "def preprocess(rows): return [{'y': double(row['n'])} for row in rows]\n"
    )
    assert hooks_of(source).preprocess(columns(), RAW.inputs) == {"y": [4, 6]}


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("def preprocess(rows): return rows[:1]", "gave 1 rows for 2"),
        ("def preprocess(rows): return []", "gave no rows for 2"),
        ("def preprocess(rows): return None", "gave a NoneType; it must give a list of dicts or a DataFrame"),
        ("def preprocess(rows): return [{'a': 1}, {'b': 1}]", "gave row 1 other columns than row 0: a, b"),
        ("def preprocess(rows): return rows[0]['zz']", "failed: KeyError: 'zz'"),
    ],
)
def test_a_hook_that_fails_or_gives_no_table_is_told(source: str, problem: str) -> None:
    with pytest.raises(ModelError, match=problem.replace("[", r"\[")):
        hooks_of(source).preprocess(columns(), RAW.inputs)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("import no_such_module", "No module named 'no_such_module'"),
        ("def preprocess(rows:", "SyntaxError"),
        ("preprocess = 3", "is of type int, not a function"),
        ("def preprocess(): return []", "takes no argument"),
    ],
)
def test_code_that_cannot_be_a_hook_is_told(source: str, problem: str) -> None:
    with pytest.raises(ModelError, match=problem):
        compile_hooks(source)
