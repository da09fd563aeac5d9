"""A proposed schema is source that runs, and means what the frame shows."""

from __future__ import annotations

import pandas as pd
import pandera.errors
import pytest

from mlnb import propose_schema
from mlnb.errors import UsageError

FRAME = pd.DataFrame(
    {
        "count": [1, 2] * 20,
        "wind": [1.5, None] * 20,
        "origin": ["EWR", "JFK"] * 20,
        "kind": pd.Categorical(["jet", "prop"] * 20),
        "late": [True, False] * 20,
        "at": pd.date_range("2013-01-01", periods=40, freq="h", tz="UTC"),
        "tail": [f"N{at}" for at in range(40)],
        'odd "name"\n': [0.0, -2.5] * 20,
    }
)


def test_the_proposed_schema_takes_its_own_rows_and_refuses_others() -> None:
    namespace: dict[str, object] = {}
    exec(propose_schema(FRAME, "rows"), namespace)
    schema = namespace["rows"]
    assert schema.validate(FRAME, lazy=True).equals(FRAME)  # type: ignore[attr-defined]
    strange = {
        "count": [1, 3] * 20,
        "wind": [1.5, 9.0] * 20,
        "origin": ["EWR", "XXX"] * 20,
        "late": ["yes", "no"] * 20,
        "tail": [None] * 40,
    }
    for name, values in strange.items():
        with pytest.raises((pandera.errors.SchemaError, pandera.errors.SchemaErrors), match=name):
            schema.validate(FRAME.assign(**{name: values}))  # type: ignore[attr-defined]
    with pytest.raises(pandera.errors.SchemaErrors, match="more"):
        schema.validate(FRAME.assign(more=1))  # type: ignore[attr-defined]


def test_many_different_texts_are_no_categories() -> None:
    source = propose_schema(FRAME)
    assert "\"origin\": pa.Column(\"str\", pa.Check.isin(['EWR', 'JFK']))," in source
    assert '"tail": pa.Column("str"),' in source
    assert '"wind": pa.Column("float64", pa.Check.in_range(1.5, 1.5), nullable=True),' in source


@pytest.mark.parametrize("name", ["", "1st", "class", "a b", "x=1;y"])
def test_the_name_must_be_one_of_a_variable(name: str) -> None:
    with pytest.raises(UsageError, match="is no name of a variable"):
        propose_schema(FRAME, name)
