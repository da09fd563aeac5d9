from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import uuid
import zoneinfo
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import polars as pl
import pytest
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlnb.store.artifact import Artifact
from mlnb.store.codec import decode, encode
from mlnb.store.files import FileStore

ONCE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
ZONES = st.none() | st.sampled_from(
    [datetime.UTC, zoneinfo.ZoneInfo("Europe/Paris"), datetime.timezone(datetime.timedelta(hours=2), "X")]
)
ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    TEXT,
    st.binary(),
    st.complex_numbers(),
    st.dates(),
    st.times(timezones=ZONES),
    st.datetimes(timezones=ZONES),
    st.timedeltas(),
    st.decimals().filter(lambda number: not number.is_snan()),
    st.fractions(),
    st.uuids(),
    TEXT.filter(lambda text: "\0" not in text).map(Path),
    st.floats(width=32).map(np.float32),
    st.integers(-128, 127).map(np.int8),
)
HASHABLE = st.recursive(ATOMS, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=4)
NESTED = st.recursive(
    HASHABLE,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(HASHABLE, inner, max_size=3),
        st.sets(HASHABLE, max_size=3),
        st.frozensets(HASHABLE, max_size=3),
    ),
    max_leaves=8,
)


def through(value: object, store: FileStore) -> tuple[Artifact, Any]:
    artifact = encode("value", value, store, "")
    return artifact, decode(artifact, store)


def shown(value: object) -> object:
    """Return plain text that shows types, order, signs and zones; sets, which have no order, sorted by it."""
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *map(shown, value)]
    if isinstance(value, dict):
        return [(shown(key), shown(item)) for key, item in value.items()]
    if isinstance(value, (set, frozenset)):
        return type(value).__name__, sorted(repr(shown(item)) for item in value)
    return type(value).__name__, repr(value), str(getattr(value, "fold", ""))


@ONCE
@given(value=NESTED)
def test_nested_values_come_back_exactly_and_without_pickle(store: FileStore, value: object) -> None:
    artifact, copy = through(value, store)
    assert artifact.codec in ("json", "npy", "tree")
    assert artifact.identity == artifact.digest
    assert shown(copy) == shown(value)
    assert through(copy, store)[0].digest == artifact.digest


def test_sets_that_are_equal_give_equal_bytes(store: FileStore) -> None:
    names = [f"name {number}" for number in range(50)]
    forward, backward = set(names), set(range(1000))
    backward.difference_update(range(1000))
    backward.update(names[::-1])
    assert list(forward) != list(backward)
    assert through({"names": forward}, store)[0].digest == through({"names": backward}, store)[0].digest


def test_results_with_arrays_and_frames_inside_lie_in_private_memory(store: FileStore) -> None:
    result = {
        "auc": np.float64(0.9),
        "curve": (np.linspace(0, 1, 20_000), np.arange(20_000)),
        "table": pd.DataFrame({"a": [1.5, None], "s": ["x", None]}),
        "rows": pl.DataFrame({"a": [1, None]}),
        ("by", 2013): pd.Series([1, 2], name="n"),
        "until": pd.Timestamp("2013-10-27 00:30", tz="UTC").tz_convert("Europe/Paris"),
        "step": pd.Timedelta("1h"),
        "missing": [pd.NaT, pd.NA],
        "columns": pd.Index(["a", "b"]),
    }
    artifact, copy = through(result, store)
    assert artifact.codec == "tree"
    assert list(copy) == list(result)
    assert (copy["auc"], type(copy["auc"])) == (0.9, np.float64)
    np.testing.assert_array_equal(copy["curve"][0], result["curve"][0])  # type: ignore[index]
    pd.testing.assert_frame_equal(copy["table"], result["table"])  # type: ignore[arg-type]
    assert copy["rows"].equals(result["rows"])
    pd.testing.assert_series_equal(copy["by", 2013], result["by", 2013])  # type: ignore[call-overload]
    assert (copy["until"], copy["until"].fold, copy["until"].unit) == (result["until"], 0, result["until"].unit)  # type: ignore[attr-defined]
    assert repr(copy["until"]) == repr(result["until"])
    assert (copy["step"], copy["missing"]) == (result["step"], result["missing"])
    copy["curve"][0][:] = 7
    copy["table"].loc[0, "a"] = 7
    assert decode(artifact, store)["curve"][0][1] != 7  # type: ignore[index]
    store.verify(artifact.digest)


@pytest.mark.parametrize("layout", ["csr", "csc", "bsr", "coo", "dia"])
@pytest.mark.parametrize("make", [scipy.sparse.random, scipy.sparse.random_array])
def test_sparse_matrices_come_back_without_pickle(store: FileStore, layout: str, make: Any) -> None:
    shape = ((40, 30),) if make is scipy.sparse.random_array else (40, 30)
    matrix = make(*shape, density=0.3, format=layout, dtype="f4", rng=np.random.default_rng(0))
    artifact, copy = through(matrix, store)
    assert artifact.codec == "tree"
    assert type(copy) is type(matrix)
    assert (copy.dtype, copy.shape, copy.format) == (matrix.dtype, matrix.shape, layout)
    np.testing.assert_array_equal(copy.toarray(), matrix.toarray())
    copy.data[:] = 0
    np.testing.assert_array_equal(decode(artifact, store).toarray(), matrix.toarray())  # type: ignore[attr-defined]


@pytest.mark.parametrize("bits", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_generators_go_on_where_they_were(store: FileStore, bits: str) -> None:
    generator = np.random.Generator(getattr(np.random, bits)(7))
    generator.normal(size=3)
    artifact, copy = through(generator, store)
    assert artifact.codec == "tree"
    assert generator.spawn(1)[0].normal() == copy.spawn(1)[0].normal()
    np.testing.assert_array_equal(copy.normal(size=9), generator.normal(size=9))
    old = np.random.RandomState(7)
    old.normal()
    artifact, copy = through(old, store)
    assert artifact.codec == "tree"
    np.testing.assert_array_equal(copy.normal(size=9), old.normal(size=9))


def test_figures_are_drawn_the_same(store: FileStore) -> None:
    figure = go.Figure(go.Scatter(x=[1, 2], y=np.arange(2.0), name="line"), layout_title="Title")
    artifact, copy = through(figure, store)
    assert artifact.codec == "tree"
    assert copy == figure
    assert through(copy, store)[0].digest == artifact.digest


def test_what_has_more_to_it_is_left_to_pickle(store: FileStore) -> None:
    array = np.arange(3)

    class Pair(tuple):  # type: ignore[type-arg]
        pass

    for value in ([array, array], collections.Counter("aab"), (Pair((1,)),), {"a": {1: "\ud83d\ude00"}}, {"f": len}):
        artifact, copy = through(value, store)
        assert artifact.codec == "pickle"
        assert type(copy) is type(value)


def test_numbers_that_python_takes_for_equal_stay_apart(store: FileStore) -> None:
    values = [(1,), (True,), (1.0,), (decimal.Decimal(1),), (fractions.Fraction(1),), (np.int64(1),), (-0.0,), (0.0,)]
    assert len({through(value, store)[0].digest for value in values}) == len(values)
    assert through(uuid.UUID(int=5), store)[1] == uuid.UUID(int=5)
