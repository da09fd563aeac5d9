"""Errors of pandera, told in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pandera.errors
import pandera.pandas as pa
import pytest

from mlnb.run.fault import fault_of
from mlnb.run.kernels.job import Job
from mlnb.run.kernels.open import open_kernels
from mlnb.run.schemas import is_schema_error, sentence_of
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder

ERRORS = (pandera.errors.SchemaError, pandera.errors.SchemaErrors)
HOURS = pa.DataFrameSchema(
    {"t": pa.Column(float, pa.Check.in_range(0, 50)), "o": pa.Column("str"), "k": pa.Column(int)}, name="hours"
)
RIGHT = pd.DataFrame({"t": [1.0, 2.0, 3.0], "o": ["a", "b", "c"], "k": [1, 2, 3]})
STRICT = pa.DataFrameSchema({"k": pa.Column(int, unique=True)}, strict=True, name="strict")


class Model(pa.DataFrameModel):
    t: float = pa.Field(le=50)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    ("schema", "rows", "told"),
    [
        (HOURS, RIGHT.drop(columns="k"), "'hours': column 'k' is missing"),
        (STRICT, RIGHT[["k", "o"]], "'strict': column 'o' is unexpected"),
        (STRICT, RIGHT[["k"]].assign(k=7), "'strict': column 'k' repeats values in 3 rows (0, 1, 2)"),
        (HOURS, RIGHT.assign(o=["a", None, "c"]), "'hours': column 'o' holds null in 1 row (1)"),
        (HOURS, RIGHT.assign(k=1.5), "'hours': column 'k' is float64, not int64"),
        (
            HOURS,
            RIGHT.assign(t=[1.0, 99.0, -5.0]),
            "'hours': column 't' fails in_range(0, 50) in 2 rows (1, 2) with 99.0, -5.0",
        ),
        (
            HOURS,
            pd.concat([RIGHT.assign(t=90.0)] * 3, ignore_index=True),
            "'hours': column 't' fails in_range(0, 50) in 9 rows (0, 1, 2, 3, 4, ...) with 90.0",
        ),
        (
            Model,
            RIGHT.assign(t=[1.0, 51.5, 3.0]),
            "'Model': column 't' fails less_than_or_equal_to(50) in 1 row (1) with 51.5",
        ),
    ],
)
def test_an_error_names_schema_column_and_rows(
    schema: pa.DataFrameSchema | type[Model], rows: pd.DataFrame, told: str, lazy: bool
) -> None:
    with pytest.raises(ERRORS) as caught:
        schema.validate(rows, lazy=lazy)
    assert is_schema_error(caught.value)
    found = sentence_of(caught.value)
    assert found == f"the data do not fit the schema {told}" or (not lazy and found.endswith(told.partition(": ")[2]))


def test_all_columns_are_told_of_a_lazy_error() -> None:
    with pytest.raises(ERRORS) as caught:
        HOURS.validate(RIGHT.assign(t=60.0, o=None).drop(columns="k"), lazy=True)
    found = sentence_of(caught.value)
    assert all(words in found for words in ("'k' is missing", "'t' fails in_range(0, 50) in 3 rows", "'o' holds null"))


def test_another_error_is_none_of_panderas() -> None:
    assert not is_schema_error(ValueError("SchemaError"))
    assert not is_schema_error(None)


def test_a_stage_fails_with_the_sentence(
    tmp_path: Path, write_notebook: Callable[..., Path], cell: Callable[..., dict[str, object]]
) -> None:
    source = (
        "import pandas as pd\nimport pandera.pandas as pa\n"
        "schema = pa.DataFrameSchema({'hour': pa.Column(int, pa.Check.le(23))}, name='hours')\n"
        "schema.validate(pd.DataFrame({'hour': [5, 30]}), lazy=True)"
    )
    path = write_notebook(cell(source, 4, "cells", 2))
    with open_kernels("spawn", StateFolder.open(tmp_path / "state"), Settings()) as kernels:
        executed = kernels.execute(Job(path, tmp_path, {}), lambda number: None)
    fault = fault_of("load", executed, None)
    assert fault is not None
    assert fault.problem == (
        "Stage 'load' failed in cell 4, line 5: SchemaErrors: the data do not fit the schema 'hours': "
        "column 'hour' fails less_than_or_equal_to(23) in 1 row (1) with 30."
    )
