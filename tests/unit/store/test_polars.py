from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from polars.testing import assert_frame_equal, assert_series_equal
from polars.testing.parametric import dataframes

from mlnb.errors import HandoffError
from mlnb.store.artifact import Artifact
from mlnb.store.codec import decode, encode
from mlnb.store.files import FileStore

ONCE = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=40, deadline=None
)


def through(value: object, store: FileStore) -> tuple[Artifact, Any]:
    artifact = encode("value", value, store, "")
    return artifact, decode(artifact, store)


@ONCE
@given(frame=dataframes(max_cols=5, max_size=8, allow_null=True))
def test_frames_of_any_schema_come_back_exactly(store: FileStore, frame: pl.DataFrame) -> None:
    artifact, copy = through(frame, store)
    unknown_to_arrow = "Int128" in str(frame.schema)  # UInt128 as well
    assert artifact.codec == ("pickle" if unknown_to_arrow else "polars")
    assert_frame_equal(copy, frame, check_exact=True, categorical_as_str=True)
    assert copy.schema == frame.schema


@pytest.mark.parametrize("frame", [pl.DataFrame(), pl.DataFrame(height=3), pl.DataFrame({"a": []})], ids=str)
def test_frames_without_rows_or_columns_keep_their_shape(store: FileStore, frame: pl.DataFrame) -> None:
    assert through(frame, store)[1].shape == frame.shape


def test_a_series_stays_a_series(store: FileStore) -> None:
    series = pl.Series("name", [1.5, None, float("nan")])
    artifact, copy = through(series, store)
    assert artifact.codec == "polars"
    assert_series_equal(copy, series)


def test_equal_frames_give_equal_bytes_whatever_the_process_has_seen_before(store: FileStore) -> None:
    pl.Series(["z", "b", "a"], dtype=pl.Categorical)
    whole = pl.DataFrame(
        {
            "a": range(10),
            "s": [str(number) for number in range(10)],
            "k": pl.Series(["a", "b"] * 5, dtype=pl.Categorical),
        }
    )
    joined = pl.concat([whole[:4], whole[4:]], rechunk=False)
    first, copy = through(whole, store)
    assert first.digest == through(joined, store)[0].digest == through(copy, store)[0].digest


def test_a_large_frame_is_private_and_can_be_worked_on(store: FileStore) -> None:
    frame = pl.DataFrame({"a": range(50_000), "s": ["text"] * 50_000})
    artifact, copy = through(frame, store)
    copy[3, "a"] = 7
    assert copy.filter(pl.col("a") == 7).height == 2
    assert_frame_equal(decode(artifact, store), frame)  # type: ignore[arg-type]
    store.verify(artifact.digest)


def test_python_objects_inside_polars_are_named(store: FileStore) -> None:
    with pytest.raises(HandoffError, match=r"of type polars.*cannot be stored"):
        encode("value", pl.DataFrame({"o": pl.Series([object()])}), store, "")
