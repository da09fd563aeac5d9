"""Values become plain JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlnb.errors import GateError, PlanError
from mlnb.faces.plain import fault, json_text, plain


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Point:
    x: int
    path: Path

    @property
    def ref(self) -> str:
        return f"p/{self.x}"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Point(1, Path("a/b")), {"ref": "p/1", "x": 1, "path": "a/b"}),
        (datetime(2026, 11, 22, 20, tzinfo=timezone(timedelta(hours=1))), "2026-11-22T19:00:00Z"),
        (datetime(2026, 11, 22, 20, 0, 0, 123456, tzinfo=UTC), "2026-11-22T20:00:00.123456Z"),
        ({"b": {3, 1, 2}, 1: (True, None)}, {"b": [1, 2, 3], "1": [True, None]}),
        ([float("nan"), float("inf"), 0.5], [None, None, 0.5]),
        (np.float64(0.25), 0.25),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (Colour.RED, "red"),
    ],
)
def test_values_become_plain(value, expected):
    assert plain(value) == expected
    assert type(plain(value)) is type(expected)


def test_an_error_tells_its_attributes():
    told = fault(PlanError("No stage.", "Add one.", cell=4, stage="train", name="x"))
    assert told == {
        "problem": "No stage.",
        "remedy": "Add one.",
        "type": "PlanError",
        "cell": 4,
        "stage": "train",
        "name": "x",
    }
    assert fault(GateError("A.", "B.", verdicts=["auc 0.1"]))["verdicts"] == ["auc 0.1"]


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.frozensets(_SCALARS)
)


@given(_VALUES)
def test_whatever_goes_in_strict_json_comes_out(value):
    json.loads(json_text(value), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


@given(_VALUES)
def test_what_is_plain_stays(value):
    assert plain(plain(value)) == plain(value)
