from __future__ import annotations

import collections
import math
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from mlnb.errors import CorruptError, HandoffError, UntrustedError
from mlnb.store.artifact import Artifact
from mlnb.store.codec import codecs, decode, encode
from mlnb.store.equality import same
from mlnb.store.files import FileStore
from mlnb.store.hashed import HashedFile
from mlnb.store.manifest import Fields

ONCE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def through(value: object, store: FileStore) -> tuple[Artifact, object]:
    artifact = encode("value", value, store, "sha256:key")
    return artifact, decode(artifact, store)


def exact(left: object, right: object) -> bool:
    """Compare plain values in another way than the product does: by their text, which shows types, order and signs."""
    return repr(left) == repr(right)


@ONCE
@given(value=PLAIN)
def test_plain_values_come_back_exactly(store: FileStore, value: object) -> None:
    artifact, copy = through(value, store)
    assert exact(copy, value)
    assert artifact.codec in ("json", "tree", "pickle")
    assert (artifact.signature == "") == (artifact.codec != "pickle")


def test_plain_values_are_json(store: FileStore) -> None:
    for value in (None, True, 3, 10**30, 0.1, math.inf, "é\ud800", ["a", {"b": [1.0]}], {}, []):
        artifact, copy = through(value, store)
        assert (artifact.codec, artifact.identity) == ("json", artifact.digest)
        assert exact(copy, value)
    assert math.isnan(through(math.nan, store)[1])  # type: ignore[arg-type]


def test_what_json_and_trees_would_change_is_left_to_pickle(store: FileStore) -> None:
    shared = [1]
    for value in (
        collections.OrderedDict(a=1),
        {"a": collections.Counter("aab")},
        [shared, shared],
        (shared, {"again": shared}),
        "\ud83d\ude00",  # two surrogates that JSON would join to one character
    ):
        artifact, copy = through(value, store)
        assert artifact.codec == "pickle"
        assert type(copy) is type(value)
        assert copy == value
    first, second = through([shared, shared], store)[1]  # type: ignore[misc]
    assert first is second


@ONCE
@given(
    rows=st.lists(
        st.tuples(
            st.floats(),
            st.integers(-(2**63), 2**63 - 1),
            st.text(st.characters(exclude_categories=["Cs"])),
            st.none() | st.booleans(),
        ),
        max_size=8,
    ),
    label=st.sampled_from(["range", "text", "dates", "two levels"]),
)
def test_frames_come_back_exactly(store: FileStore, rows: list[tuple[object, ...]], label: str) -> None:
    frame = pd.DataFrame(rows, columns=["real", "whole", "text", "maybe"])
    if label == "text":
        frame.index = pd.Index([f"row {number}" for number in range(len(frame))], name="named")
    elif label == "dates":
        frame.index = pd.date_range("2013-01-01", periods=len(frame), tz="America/New_York")
    elif label == "two levels":
        frame.index = pd.MultiIndex.from_arrays([range(len(frame)), ["x"] * len(frame)], names=["a", None])
    artifact, copy = through(frame, store)
    assert isinstance(copy, pd.DataFrame)
    pd.testing.assert_frame_equal(copy, frame, check_exact=True, check_freq=True)
    assert artifact.codec in ("arrow", "pickle")
    if label in ("range", "text") and all(row[3] is not None for row in rows):
        assert artifact.codec == "arrow"


@pytest.mark.parametrize(
    "series",
    [
        pd.Series([1, 2, None], dtype="Int64", name="whole"),
        pd.Series(pd.Categorical(["b", "a", None], categories=["b", "a", "c"], ordered=True)),
        pd.Series([0.5, float("nan"), -0.0], index=[3, 1, 2], name="real"),
        pd.Series(["a", None, "ü"], dtype="str"),
        pd.Series(pd.to_datetime(["2013-01-01", None]), name="when"),
        pd.Series([True, False], name=""),
        pd.Series([], dtype="float32", name="none"),
        pd.Series(["a", None], dtype=object),
        pd.Series([1.5, 2.5], index=pd.date_range("2013-01-01", periods=2, freq="D")),
        pd.Series(pd.array([1.5, None], dtype="float64[pyarrow]")),
    ],
    ids=str,
)
def test_series_are_arrow_and_come_back_exactly(store: FileStore, series: pd.Series) -> None:
    artifact, copy = through(series, store)
    assert artifact.codec == "arrow"
    assert isinstance(copy, pd.Series)
    pd.testing.assert_series_equal(copy, series, check_exact=True)


def test_attributes_and_column_labels_of_frames_survive(store: FileStore) -> None:
    frame = pd.DataFrame({"a": [1.0]})
    frame.attrs = {"source": "nycflights13", "rows": 1}
    frame.columns.name = "columns"
    artifact, copy = through(frame, store)
    assert artifact.codec == "arrow"
    assert copy.attrs == frame.attrs  # type: ignore[attr-defined]
    assert copy.columns.name == "columns"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        pd.DataFrame({"mixed": [1, "one", 1.0]}, dtype=object),
        pd.DataFrame({"flags": pd.Series([True, 1], dtype=object)}),
        pd.DataFrame({"missing": pd.Series([None, float("nan"), "x"], dtype=object)}),
        pd.DataFrame({"tuples": [(1,), (2,)]}),
        pd.DataFrame({0: [1], 1: [2]}),
        pd.DataFrame({("a", 1): [1], ("a", 2): [2]}),
        pd.DataFrame({"complex": [1j]}),
        pd.DataFrame(index=range(3)),
    ],
    ids=lambda frame: str(frame.columns.tolist()),
)
def test_what_arrow_cannot_hold_still_comes_back_exactly(store: FileStore, frame: pd.DataFrame) -> None:
    _, copy = through(frame, store)
    assert isinstance(copy, pd.DataFrame)
    pd.testing.assert_frame_equal(copy, frame, check_exact=True, check_column_type="exact")
    for ours, theirs in zip(copy.to_numpy().ravel(), frame.to_numpy().ravel(), strict=True):
        assert type(ours) is type(theirs)
        assert exact(ours, theirs)


def test_equal_frames_give_equal_bytes_however_they_were_made(store: FileStore) -> None:
    whole = pd.DataFrame({"a": np.arange(10.0), "s": [f"{number}" for number in range(10)]})
    joined = pd.concat([whole.iloc[:4], whole.iloc[4:]])
    joined.index = pd.RangeIndex(10)
    assert encode("x", whole, store, "").digest == encode("y", joined, store, "").digest


@ONCE
@given(data=st.data())
def test_arrays_come_back_with_dtype_shape_and_bits(store: FileStore, data: st.DataObject) -> None:
    from hypothesis.extra import numpy as hnp

    array = data.draw(hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)))
    artifact, copy = through(array, store)
    assert isinstance(copy, np.ndarray)
    assert artifact.codec == "npy"
    assert (copy.dtype, copy.shape) == (array.dtype, array.shape)
    assert copy.tobytes() == array.tobytes()


@pytest.mark.parametrize(
    "scalar",
    [np.float64(0.1), np.int8(3), np.bool_(True), np.str_("ä"), np.datetime64("2013-01-01"), np.float32("nan")],
)
def test_scalars_of_numpy_stay_scalars_of_their_type(store: FileStore, scalar: np.generic) -> None:
    artifact, copy = through(scalar, store)
    assert artifact.codec == "npy"
    assert type(copy) is type(scalar)
    assert copy.tobytes() == scalar.tobytes()  # type: ignore[attr-defined]


def test_an_array_of_objects_is_never_npy(store: FileStore) -> None:
    artifact, copy = through(np.array(["a", None, 1], dtype=object), store)
    assert artifact.codec == "pickle"
    assert copy.tolist() == ["a", None, 1]  # type: ignore[attr-defined]


def test_a_taken_value_is_private_and_can_be_changed(store: FileStore) -> None:
    frame = pd.DataFrame({"a": np.arange(4.0)})
    held = {"array": np.arange(100_000.0), "tuple": (1,)}
    for value in (frame, np.arange(4.0), held):
        artifact = encode("value", value, store, "")
        first = decode(artifact, store)
        if isinstance(first, pd.DataFrame):
            first.iloc[0, 0] = 99.0
            first["b"] = 1
        elif isinstance(first, np.ndarray):
            first[0] = 99.0
        elif isinstance(first, dict):
            assert first["tuple"] == (1,)
            first["array"][0] = 99.0
        assert same(decode(artifact, store), value)


ROWS = np.random.default_rng(0).normal(size=(80, 3))
LABELS = (ROWS[:, 0] > 0).astype(int)


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        RandomForestClassifier(5, random_state=0),
        HistGradientBoostingClassifier(max_iter=5),
        make_pipeline(StandardScaler(), RandomForestClassifier(3, random_state=0)),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_fitted_estimators_are_signed_and_predict_the_same(store: FileStore, estimator: object) -> None:
    estimator.fit(ROWS, LABELS)  # type: ignore[attr-defined]
    artifact, copy = through(estimator, store)
    assert artifact.codec == "pickle"
    assert artifact.signature
    assert artifact.identity == "sha256:key:value"
    np.testing.assert_array_equal(copy.predict_proba(ROWS), estimator.predict_proba(ROWS))  # type: ignore[attr-defined]


def test_an_estimator_with_a_function_of_the_notebook_comes_back(store: FileStore) -> None:
    model = make_pipeline(FunctionTransformer(lambda rows: rows * 2), LogisticRegression()).fit(ROWS, LABELS)
    artifact, copy = through(model, store)
    assert artifact.codec == "pickle"
    np.testing.assert_array_equal(copy.predict_proba(ROWS), model.predict_proba(ROWS))  # type: ignore[attr-defined]


def test_an_estimators_random_state_goes_on_where_it_was(store: FileStore) -> None:
    forest = RandomForestClassifier(2, random_state=np.random.RandomState(3)).fit(ROWS, LABELS)
    _, copy = through(forest, store)
    assert copy.random_state.get_state()[2] == forest.random_state.get_state()[2]  # type: ignore[attr-defined]


def test_a_frame_pipeline_with_categories_comes_back(store: FileStore) -> None:
    frame = pd.DataFrame({"kind": list("abab") * 20, "size": ROWS[:, 0]})
    columns = ColumnTransformer([("kind", OneHotEncoder(), ["kind"])], remainder="passthrough")
    model = make_pipeline(columns, LogisticRegression()).fit(frame, LABELS)
    _, copy = through(model, store)
    np.testing.assert_array_equal(copy.predict_proba(frame), model.predict_proba(frame))  # type: ignore[attr-defined]


def test_a_value_that_nobody_can_store_is_named_with_its_type(store: FileStore) -> None:
    with pytest.raises(HandoffError, match=r"The variable 'guard' of type _thread\.lock cannot be stored") as caught:
        encode("guard", threading.Lock(), store, "")
    assert caught.value.name == "guard"
    assert not [path for path in store.folder.rglob("*") if path.is_file()]
    assert not list(store.folder.glob(".tmp-*"))


class Trap:
    """Loading it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize(("signature", "key"), [("", ""), ("AAAA", "0123456789abcdef")])
def test_nothing_untrusted_is_loaded(store: FileStore, tmp_path: Path, signature: str, key: str) -> None:
    from mlnb.store.codecs.objects import PickleCodec

    path, mark = tmp_path / "pickled", tmp_path / "loaded"
    file = HashedFile(path)
    PickleCodec().write(Trap(mark), file)
    file.finish()
    digest, size = store.put(path)
    trap = Artifact("trap", "pickle", digest, size, "identity", "Trap", signature, key)
    with pytest.raises(UntrustedError, match="can execute code when it is loaded"):
        decode(trap, store)
    assert not mark.exists()
    PickleCodec().read(path)
    assert mark.exists()  # so the trap works


def test_an_artifact_of_another_user_is_refused_until_their_key_is_trusted(
    store: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlnb.store import signing

    artifact = encode("counts", collections.Counter("aab"), store, "")
    public = signing.own_public_key()
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "other"))
    with pytest.raises(UntrustedError):
        decode(artifact, store)
    signing.trust(public)
    assert decode(artifact, store) == collections.Counter("aab")


def test_damaged_bytes_are_found_before_they_are_decoded(store: FileStore) -> None:
    for value in ((1, 2), "text", np.arange(3), np.arange(30_000), pd.DataFrame({"a": [1]})):
        artifact = encode("value", value, store, "")
        path = store.path(artifact.digest)
        content = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(CorruptError, match="is damaged"):
            decode(artifact, store)


def test_an_artifact_survives_its_manifest() -> None:
    artifact = Artifact("model", "pickle", "sha256:0", 10, "key:model", "sklearn.Pipeline", "c2ln", "0123")
    assert Artifact.from_json(Fields("m", artifact.to_json())) == artifact
    with pytest.raises(CorruptError, match="'size_bytes' is missing or of another type"):
        Artifact.from_json(Fields("m", {**artifact.to_json(), "size_bytes": "10"}))


def test_canonical_codecs_are_asked_before_those_that_execute_code() -> None:
    order = [codec.name for codec in codecs()]
    assert order == ["evaluation", "arrow", "json", "npy", "polars", "tree", "pickle"]
    assert [codec.name for codec in codecs() if codec.executes_code] == ["pickle"]
    assert [codec.name for codec in codecs() if not codec.canonical] == ["pickle"]


CLASSES = """
import sys
from pathlib import Path
from mlnb.store.codec import decode, encode
from mlnb.store.files import FileStore
SOURCE = '''
from enum import Enum
class Taste(Enum):
    SWEET = 1
class Base:
    taste = Taste.SWEET
class Shop(Base):
    class Shelf:
        items = ("tea", "rum")
    def predict(self, rows):
        return [self.Shelf.items[0] for _ in rows], Taste
'''
exec(SOURCE)
first = Shop()
exec(SOURCE)
second = [Shop(), Shop.Shelf()]
store = FileStore(Path(sys.argv[1]))
kept = [encode("a", first, store, "sha256:k"), encode("b", second, store, "sha256:k"), encode("c", first, store, "sha256:k")]
back = [decode(one, store) for one in kept]
assert [type(back[0]), type(back[2])] == [type(first)] * 2, back
assert (type(back[1][0]), type(back[1][1])) == (Shop, Shop.Shelf) and Shop is not type(first)
print(kept[0].digest, kept[2].digest)
"""


def test_a_notebooks_class_has_the_same_bytes_in_every_process(store: FileStore, tmp_path: Path) -> None:
    told = {
        subprocess.run(
            [sys.executable, "-c", CLASSES, str(tmp_path / str(number))], capture_output=True, text=True, check=True
        ).stdout
        for number in range(3)
    }
    assert len(told) == 1
    assert told.pop().count("sha256:") == 2
