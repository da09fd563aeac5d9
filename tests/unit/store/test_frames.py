from __future__ import annotations

import datetime
import decimal
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlnb.store.artifact import Artifact
from mlnb.store.codec import decode, encode
from mlnb.store.codecs.layout import PLAIN, _assembled, _of_columns
from mlnb.store.files import FileStore

ONCE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80, deadline=None)
LAYOUTS: dict[str, Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]] = {
    "columns": lambda table: np.asfortranarray(table),
    "rows": lambda table: np.ascontiguousarray(table),
    "backwards": lambda table: table[::-1],
    "every other": lambda table: table[::2],
}


def through(value: object, store: FileStore) -> tuple[Artifact, Any]:
    artifact = encode("value", value, store, "")
    return artifact, decode(artifact, store)


def column_bits(frame: pd.DataFrame) -> list[tuple[str, bytes]]:
    return [(str(frame.iloc[:, at].dtype), frame.iloc[:, at].to_numpy().tobytes()) for at in range(frame.shape[1])]


@ONCE
@given(
    dtypes=st.lists(st.sampled_from(sorted(PLAIN)), min_size=1, max_size=6),
    rows=st.sampled_from([0, 1, 7, 64, 5000, 9000]),
    seed=st.integers(0, 2**32 - 1),
    layout=st.sampled_from(sorted(LAYOUTS)),
)
def test_plain_columns_come_back_to_the_last_bit(
    store: FileStore, dtypes: list[str], rows: int, seed: int, layout: str
) -> None:
    """Any bits: NaN of every payload, NaT, signed zeros, denormals; columns lie in memory in several ways."""
    random = np.random.default_rng(seed)
    parts = []
    for dtype in dtypes:
        bits = random.integers(0, 256, (rows, 2 * np.dtype(dtype).itemsize), "u1")
        table = (bits % 2 if dtype == "|b1" else bits).view(dtype)
        parts.append(pd.DataFrame(LAYOUTS[layout](table), copy=False))
    frame = pd.concat(parts, axis=1)
    artifact, copy = through(frame, store)
    assert artifact.codec == "arrow"
    assert column_bits(copy) == column_bits(frame)
    pd.testing.assert_index_equal(copy.index, frame.index, exact=True)
    pd.testing.assert_index_equal(copy.columns, frame.columns, exact=True)


@ONCE
@given(data=st.data(), rows=st.integers(0, 9))
def test_columns_that_arrow_holds_come_back_exactly(store: FileStore, data: st.DataObject, rows: int) -> None:
    texts = data.draw(
        st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"])), min_size=rows, max_size=rows)
    )
    numbers = data.draw(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=rows, max_size=rows))
    cut = data.draw(st.integers(0, rows))
    frame = pd.DataFrame(
        {
            "str": pd.Series(texts, dtype="str"),
            "string": pd.Series(texts, dtype="string"),
            "arrow": pd.Series(texts, dtype=pd.ArrowDtype(pa.string())),
            "whole": pd.Series(numbers, dtype="Int64"),
            "whole of arrow": pd.Series(numbers, dtype="int64[pyarrow]"),
            "lists": pd.Series([[n] for n in numbers], dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
            "categories": pd.Categorical(["abc"[len(text or "") % 3] for text in texts], ["b", "a", "c"]),
            "zone": pd.Series(pd.date_range("2013-03-30 22:00", periods=rows, freq="h", tz="Europe/Paris")),
        }
    )
    cut_and_joined = pd.concat([frame.iloc[:cut], frame.iloc[cut:]])
    artifact, copy = through(frame, store)
    assert artifact.codec == "arrow"
    pd.testing.assert_frame_equal(copy, frame, check_exact=True)
    assert through(cut_and_joined, store)[0].digest == artifact.digest
    if rows:
        copy.loc[0, ["str", "string", "arrow", "whole", "categories"]] = ["x", "x", "x", 1, "c"]
        copy.loc[0, "zone"] = pd.Timestamp("2020-01-01", tz="Europe/Paris")
        pd.testing.assert_frame_equal(decode(artifact, store), frame)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value",
    [
        pd.DataFrame(np.eye(3)),
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        pd.DataFrame({("a", 1): [1], ("a", 2): [2.0]}),
        pd.DataFrame({0: [1], 5: [2]}),
        pd.DataFrame({"complex": [1j], "half": np.array([1.5], "f2")}),
        pd.DataFrame(index=range(3, 9, 2)),
        pd.DataFrame({"a": [1.0, 2.0]}, index=pd.date_range("2013", periods=2, freq="W")),
        pd.DataFrame({"a": [1]}, index=pd.MultiIndex.from_tuples([(1, "x")], names=["n", None])),
        pd.DataFrame({"day": [datetime.date(2013, 1, 1)], "price": [decimal.Decimal("1.10")], "raw": [b"x"]}),
        pd.DataFrame({"text": pd.Series(["a", None], dtype=object)}),
        pd.DataFrame(np.eye(2), columns=np.array(["x", "y"], dtype=object)),
        pd.RangeIndex(3, name="n"),
        pd.Index(["a", "b"]),
        pd.date_range("2013", periods=3, freq="h", tz="UTC"),
        pd.MultiIndex.from_product([[1, 2], ["a", "b"]]),
        pd.Categorical(["a", "b"], ["b", "a"]),
        pd.array([1, None]),
    ],
    ids=lambda value: f"{type(value).__name__} {getattr(value, 'columns', '')}"[:60],
)
def test_labels_indexes_and_arrays_are_arrow_too(store: FileStore, value: Any) -> None:
    artifact, copy = through(value, store)
    assert artifact.codec == "arrow"
    if isinstance(value, pd.DataFrame):
        pd.testing.assert_frame_equal(copy, value, check_exact=True, check_freq=True, check_column_type="exact")
    elif isinstance(value, pd.Index):
        pd.testing.assert_index_equal(copy, value, exact=True)
    else:
        pd.testing.assert_extension_array_equal(copy, value)
    assert through(copy, store)[0].digest == artifact.digest


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"span": pd.interval_range(0, 3)}),
        pd.DataFrame({"month": pd.period_range("2013", periods=3, freq="M")}),
        pd.DataFrame({"a": [1.0]}).set_flags(allows_duplicate_labels=False),
    ],
    ids=str,
)
def test_what_another_process_would_read_otherwise_is_left_to_pickle(store: FileStore, frame: pd.DataFrame) -> None:
    artifact, copy = through(frame, store)
    assert artifact.codec == "pickle"
    pd.testing.assert_frame_equal(copy, frame, check_flags=True)


def test_what_lies_under_missing_numbers_does_not_count(store: FileStore) -> None:
    left, right = pd.array([1, None, 3]), pd.array([1, 2, 3])
    right[1] = pd.NA
    right._data[1] = 77
    assert through(pd.DataFrame({"a": left}), store)[0].digest == through(pd.DataFrame({"a": right}), store)[0].digest


def test_a_frame_of_rows_and_one_of_columns_give_the_same_bytes(store: FileStore) -> None:
    table = np.random.default_rng(0).normal(size=(9000, 7))
    found = {
        encode("x", pd.DataFrame(LAYOUTS[how](table), copy=False), store, "").digest for how in ("rows", "columns")
    }
    assert len(found) == 1


def test_mixed_columns_come_back_as_one_block_for_each_dtype_over_the_stored_file(store: FileStore) -> None:
    frame = pd.DataFrame({f"c{at}": np.arange(9000).astype(("f8", "i4", "?")[at % 3]) for at in range(12)})
    artifact, copy = through(frame, store)
    pd.testing.assert_frame_equal(copy, frame)
    assert sorted(str(block.dtype) for block in copy._mgr.blocks) == ["bool", "float64", "int32"]
    copy.loc[:, "c0"] *= 2
    copy.iloc[5, 1] = -1
    copy["new"] = 1
    pd.testing.assert_frame_equal(decode(artifact, store), frame)  # type: ignore[arg-type]
    store.verify(artifact.digest)


def test_blocks_can_be_put_together_without_the_newest_pandas() -> None:
    numbers, texts = np.arange(6.0).reshape(2, 3), pd.array(["a", None, "c"], dtype="str")
    blocks = [(numbers, [0, 2]), (texts, [1])]
    index, labels = pd.Index([5, 6, 7]), pd.Index(["x", "y", "z"])
    frame = _of_columns(blocks, index, labels)
    pd.testing.assert_frame_equal(frame, _assembled(blocks, index, labels))
    assert np.shares_memory(frame["z"].to_numpy(), numbers)
    many = [(np.zeros((1, 3)), [at]) for at in range(150)]
    assert _of_columns(many, index, pd.RangeIndex(150))._mgr.nblocks == 1


def old_bytes(value: pd.DataFrame | pd.Series) -> bytes:
    """Return what mlnb 0.1 wrote: Arrow's conversion of the frame, one batch, a note in the metadata."""
    note = {"kind": "frame"} if isinstance(value, pd.DataFrame) else {"kind": "series", "name": value.name}
    frame = value if isinstance(value, pd.DataFrame) else value.to_frame(name="value")
    table = pa.Table.from_pandas(frame).combine_chunks()
    table = table.replace_schema_metadata({**table.schema.metadata, b"mlnb": json.dumps(note).encode()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def test_the_first_format_is_still_read(store: FileStore) -> None:
    frame = pd.DataFrame({"a": [1.5, None], "s": ["x", None]}, index=pd.Index(["p", "q"], name="row"))
    for value in (frame, frame["a"].rename("real")):
        digest, size = store.put(old_bytes(value))
        copy: Any = decode(Artifact("value", "arrow", digest, size, digest, "frame"), store)
        compare: Any = pd.testing.assert_frame_equal if copy.ndim == 2 else pd.testing.assert_series_equal
        compare(copy, value, check_exact=True)
        copy.iloc[0] = copy.iloc[1]
        store.verify(digest)


PEAK = """
import resource, sys
from pathlib import Path
import numpy as np, pandas as pd
import pandas.testing
from mlnb.store.codec import changed, decode, encode, hand_out
from mlnb.store.files import FileStore
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
store = FileStore(Path(sys.argv[1]))
for small in (pd.DataFrame(np.eye(3), copy=False), pd.DataFrame({"s": ["a"]})):
    decode(encode("warm", small, store, ""), store)
table = np.random.default_rng(0).normal(size=(400_000, 20))
frame = pd.DataFrame(table if sys.argv[2] == "rows" else np.asfortranarray(table), copy=False)
del table
before = peak()
artifact = encode("frame", frame, store, "")
given = peak() - before
del frame
value = decode(artifact, store)
taken = hand_out(artifact, value)
value.sum()
assert not changed(taken, store)
print(artifact.size_bytes, given, peak() - before)
"""


@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_giving_and_taking_a_frame_needs_little_memory_beside_it(store: FileStore, layout: str) -> None:
    command = [sys.executable, "-c", PEAK, str(store.folder), layout]
    told = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ).stdout
    size, given, all_in_all = map(int, told.split())
    assert size == pytest.approx(64_000_000, rel=0.01)
    assert given < 0.3 * size
    assert all_in_all < 0.3 * size


def test_a_project_folder_is_not_needed_to_read(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    artifact = encode("value", pd.DataFrame({"a": np.arange(30_000)}), store, "")
    value: Any = decode(artifact, store)
    store.path(artifact.digest).unlink()
    assert value["a"].sum() == 30_000 * 29_999 // 2
