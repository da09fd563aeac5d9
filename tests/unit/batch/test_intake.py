"""The way through Arrow and the way through JSON give the same arrays, or the same faults."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from mlnb.batch.intake import check
from mlnb.batch.piece import Piece
from mlnb.errors import SignatureError
from mlnb.model.kinds import Column
from mlnb.model.table import Table

_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "float64": st.floats(allow_nan=False) | st.integers(-5, 5).map(float),
    "float32": st.floats(allow_nan=False, width=64),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "uint8": st.integers(-3, 300),
    "bool": st.booleans(),
    "string": st.text(max_size=3),
    "datetime": st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)),  # noqa: DTZ001  # as files hold them
}
_COLUMNS = st.sampled_from(sorted(_VALUES)).flatmap(
    lambda kind: st.tuples(
        st.builds(Column, st.just("x"), st.just(kind), st.booleans()),
        st.lists(st.none() | _VALUES[kind], min_size=1, max_size=8),
    )
)


@settings(max_examples=150, deadline=None)
@given(_COLUMNS, st.booleans())
def test_a_column_of_arrow_is_what_it_is_in_json(drawn: tuple[Column, list[Any]], coded: bool) -> None:
    column, values = drawn
    array = pa.array(values)
    if coded and column.dtype == "string":
        array = array.dictionary_encode()
    arrays, faults = check(Piece("f", 10, len(values), {"x": array}), [column])
    table = Table((column,))
    wrong = {}
    for at, value in enumerate(values):
        try:
            table.check_columns({"x": [value]})
        except SignatureError as error:
            wrong[10 + at] = error.faults[0].removeprefix("rows[0]: column 'x' ")
    assert {fault.row: fault.reason for fault in faults} == wrong
    good = [at for at in range(len(values)) if 10 + at not in wrong]
    if good:
        expected = table.check_columns({"x": [values[at] for at in good]})["x"]
        np.testing.assert_array_equal(arrays["x"][good], expected)
        assert arrays["x"].dtype == expected.dtype


@settings(max_examples=100, deadline=None)
@given(_COLUMNS.filter(lambda drawn: not any(isinstance(one, str) for one in drawn[1])))
def test_a_column_of_text_is_what_its_words_mean(drawn: tuple[Column, list[Any]]) -> None:
    column, values = drawn
    words = [None if one is None else one.isoformat() if isinstance(one, datetime) else repr(one) for one in values]
    text = Piece("f", 0, len(values), {"x": pa.array(words, pa.string())}, text=True)
    arrays, faults = check(text, [column])
    others, expected = check(Piece("f", 0, len(values), {"x": list(values)}), [column])
    assert [fault.row for fault in faults] == [fault.row for fault in expected]
    good = [at for at in range(len(values)) if at not in {fault.row for fault in faults}]
    np.testing.assert_array_equal(arrays["x"][good], others["x"][good])
