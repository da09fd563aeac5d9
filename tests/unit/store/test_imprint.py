from __future__ import annotations

import collections
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from mlnb.store.codec import changed, decode, encode, hand_out
from mlnb.store.files import FileStore
from mlnb.store.imprint import imprint

ROWS = np.random.default_rng(0).normal(size=(60, 2))
LARGE = 20_000


@dataclass
class Box:
    """A class of the notebook's own."""

    held: list[int] = field(default_factory=list)


def large() -> pd.DataFrame:
    frame = pd.DataFrame(np.arange(2.0 * LARGE).reshape(LARGE, 2), columns=["a", "b"])
    return frame.assign(s=[f"{number}" for number in range(LARGE)], k=pd.Categorical(["x", "y"] * (LARGE // 2)))


def append(name: str) -> Callable[[Any], None]:
    return lambda value: getattr(value, name).append(1)


def set_item(key: Any, item: Any) -> Callable[[Any], None]:
    def change(value: Any) -> None:
        value[key] = item

    return change


def refit(model: Any) -> None:
    model.fit(ROWS, ROWS[:, 1] > 0)


def set_row(frame: Any) -> None:
    frame.loc[7, "a"] = -1.0


def set_while_shared(frame: Any) -> None:
    column = frame["a"]
    frame.loc[7, "a"] = -1.0
    assert column[7] == 14.0


def set_text(frame: Any) -> None:
    frame.loc[7, "s"] = "seven"


def set_index(frame: Any) -> None:
    frame.index = frame.index + 1


CHANGES: list[tuple[Callable[[], object], Callable[[Any], object]]] = [
    (lambda: [1, [2]], lambda value: value[1].append(3)),
    (lambda: {"a": 1}, set_item("b", 2)),
    (lambda: ({1, 2}, "x"), lambda value: value[0].add(3)),
    (lambda: collections.OrderedDict(a=1), lambda value: value.move_to_end("a", last=False) or value.update(b=2)),
    (lambda: np.arange(10), set_item(3, 9)),
    (lambda: np.arange(100_000), set_item(3, 9)),
    (
        lambda: {"deep": (np.arange(100_000.0), 1)},
        lambda value: value["deep"][0].sort() or set_item(0, -1)(value["deep"][0]),
    ),
    (lambda: np.array([[1], None], dtype=object), lambda value: value[0].append(2)),
    (large, set_row),
    (large, set_while_shared),
    (large, set_text),
    (large, set_index),
    (large, lambda value: value.pop("b")),
    (large, lambda value: value.insert(0, "new", 1)),
    (large, lambda value: value.attrs.update(source="x")),
    (lambda: large()["a"], set_item(5, 0.5)),
    (lambda: pd.Series([1, None], dtype="Int64"), set_item(0, 5)),
    (lambda: scipy.sparse.random(50, 50, 0.5, format="csr", random_state=0), lambda value: value.data.fill(1)),
    (lambda: np.random.default_rng(0), lambda value: value.normal()),
    (lambda: pl.DataFrame({"a": [1, 2]}), lambda value: value.insert_column(0, pl.Series("b", [1, 2]))),
    (lambda: LogisticRegression().fit(ROWS, ROWS[:, 0] > 0), refit),
    (lambda: LogisticRegression(), lambda value: value.set_params(C=2.0)),
    (
        lambda: make_pipeline(FunctionTransformer(lambda rows: rows), StandardScaler()).fit(ROWS),
        lambda value: value.fit(ROWS * 2),
    ),
    (lambda: Box([1]), append("held")),
]

READS: list[tuple[Callable[[], object], Callable[[Any], object]]] = [
    (
        large,
        lambda value: (
            value.describe(),
            value.to_numpy(),
            value["a"].sum(),
            value.groupby("k", observed=True)["a"].mean(),
        ),
    ),
    (large, lambda value: value.copy().drop(columns="a")),
    (large, lambda value: set_item(("a", 3), 5.0)(value.copy())),
    (lambda: np.arange(100_000.0), lambda value: (value.sum(), value[::2] + 1, value.copy().sort())),
    (lambda: scipy.sparse.random(50, 50, 0.5, format="csr", random_state=0), lambda value: value.sum_duplicates()),
    (
        lambda: make_pipeline(StandardScaler(), LogisticRegression()).fit(ROWS, ROWS[:, 0] > 0),
        lambda value: value.predict(ROWS),
    ),
    (lambda: make_pipeline(FunctionTransformer(lambda rows: rows)).fit(ROWS), lambda value: value.transform(ROWS)),
    (
        lambda: pl.DataFrame({"a": list(range(LARGE)), "s": ["x"] * LARGE}),
        lambda value: value.filter(pl.col("a") > 3).sum(),
    ),
    (lambda: Box([1, 2]), lambda value: sum(value.held)),
]


@pytest.mark.parametrize(("make", "change"), CHANGES)
def test_a_change_of_any_kind_of_value_is_seen(
    store: FileStore, make: Callable[[], object], change: Callable[[Any], object]
) -> None:
    artifact = encode("value", make(), store, "")
    value = decode(artifact, store)
    taken = hand_out(artifact, value)
    assert not changed(taken, store)
    change(value)
    assert changed(taken, store)
    assert not changed(hand_out(artifact, again := decode(artifact, store)), store), again


@pytest.mark.parametrize(("make", "read"), READS)
def test_looking_at_a_value_is_no_change(
    store: FileStore, make: Callable[[], object], read: Callable[[Any], object]
) -> None:
    artifact = encode("value", make(), store, "")
    value = decode(artifact, store)
    taken = hand_out(artifact, value)
    read(value)
    assert not changed(taken, store)


def test_what_is_changed_and_changed_back_is_as_it_was(store: FileStore) -> None:
    artifact = encode("value", large(), store, "")
    value: Any = decode(artifact, store)
    taken = hand_out(artifact, value)
    value.loc[7, "a"] = 0.0
    value.loc[7, "a"] = 14.0
    value["new"] = 1
    del value["new"]
    assert not changed(taken, store)


def test_a_large_frame_that_nobody_touched_is_not_read(store: FileStore) -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(LARGE, 20)))
    artifact = encode("value", frame, store, "")
    taken = hand_out(artifact, value := decode(artifact, store))
    place = store.path(artifact.digest)
    place.unlink()
    assert not changed(taken, store), value


def test_what_cannot_be_seen_through_stands_for_itself() -> None:
    lock, held = threading.Lock(), [1]
    before = imprint({"lock": lock, "held": held, "module": sys, "class": Path})
    assert before
    assert imprint({"lock": lock, "held": held, "module": sys, "class": Path}) == before
    held.append(2)
    assert imprint({"lock": lock, "held": held, "module": sys, "class": Path}) != before
    assert imprint({"lock": threading.Lock(), "held": [1], "module": sys, "class": Path}) != before
    loop: list[object] = []
    loop.append(np.array([loop, None], dtype=object))
    assert imprint(loop) == b""


def test_a_value_that_nobody_has_any_more_is_let_go(store: FileStore) -> None:
    artifact = encode("value", pd.DataFrame({"a": [1]}), store, "")
    value = decode(artifact, store)
    taken = hand_out(artifact, value)
    assert taken.value() is value
    del value
    assert taken.value() is None
    assert not changed(taken, store)
