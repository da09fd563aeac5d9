"""One process of the bench `handoff`: a frame is handed over by each contestant in turn; prints JSON.

``python -m tests.bench.hand_over costs|peak numbers|mixed FOLDER COUNT``
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlnb.run.handoff import give, take
from mlnb.run.spec import Result, Spec
from mlnb.store.artifact import Artifact
from mlnb.store.codec import decode, encode
from mlnb.store.files import FileStore
from mlnb.store.manifest import read_json, write_json

ROWS = 1_000_000
_PIECE_BYTES = 8 << 20


def frame_of(kind: str) -> pd.DataFrame:
    """Return a million rows of 20 numbers, and in the mixed one of two texts, categories and times as well."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(ROWS, 20)), columns=[f"x{at}" for at in range(20)])
    if kind == "mixed":
        frame["carrier"] = pd.Series(random.integers(0, 900, ROWS)).astype("str")
        frame["tail"] = pd.Series(random.integers(0, 10**6, ROWS)).astype("str")
        frame["origin"] = pd.Categorical(random.choice(["EWR", "JFK", "LGA"], ROWS))
        frame["dest"] = pd.Categorical(random.integers(0, 105, ROWS).astype("str"))
        frame["scheduled"] = pd.date_range("2013-01-01", periods=ROWS, freq="min")
        frame["local"] = frame["scheduled"].dt.tz_localize("UTC").dt.tz_convert("America/New_York")
        frame.loc[::7, "x3"] = np.nan
    return frame


def costs(kind: str, folder: Path, count: int) -> dict[str, object]:
    """Return, in ms, medians and single figures of giving and of taking to the sum of one column."""
    frame, store = frame_of(kind), FileStore(folder / "artifacts")
    artifact = encode("frame", frame, store, "key")
    content = store.path(artifact.digest).read_bytes()

    def fresh() -> FileStore:
        """Return a store that does not have it yet."""
        store.path(artifact.digest).unlink()
        return store

    def raw(*, durable: bool) -> None:
        _write(folder / "raw", [content], durable=durable)
        hashlib.sha256(content).hexdigest()

    def pickled() -> None:
        buffers: list[pickle.PickleBuffer] = []
        head = pickle.dumps(frame, protocol=5, buffer_callback=buffers.append)
        _write(folder / "pickle", [head, *(buffer.raw() for buffer in buffers)], durable=True)
        (folder / "sizes").write_text(json.dumps([len(head), *(buffer.raw().nbytes for buffer in buffers)]))

    def parquet() -> None:
        frame.to_parquet(folder / "parquet")
        with (folder / "parquet").open("rb") as file:
            os.fsync(file.fileno())

    def unpickled() -> pd.DataFrame:
        view, at, parts = memoryview((folder / "pickle").read_bytes()), 0, []
        for size in json.loads((folder / "sizes").read_text()):
            parts.append(view[at : at + size])
            at += size
        value: pd.DataFrame = pickle.loads(parts[0], buffers=parts[1:])
        return value

    gives: dict[str, Callable[[], object]] = {
        "raw write + sha256, fsync": lambda: raw(durable=True),
        "raw write + sha256, no fsync": lambda: raw(durable=False),
        "mlnb": lambda: encode("frame", frame, fresh(), "key"),
        "pickle 5, fsync": pickled,
        "parquet, fsync": parquet,
    }
    takes: dict[str, Callable[[], Any]] = {
        "mlnb": lambda: decode(artifact, store),
        "pickle 5, fsync": unpickled,
        "parquet, fsync": lambda: pd.read_parquet(folder / "parquet"),
    }
    found: dict[str, dict[str, list[float]]] = {name: {"give": [], "cpu": [], "take": []} for name in gives}
    for _ in range(count):
        for name, act in gives.items():
            wall, cpu = time.perf_counter(), time.process_time()
            act()
            found[name]["give"].append(1e3 * (time.perf_counter() - wall))
            found[name]["cpu"].append(1e3 * (time.process_time() - cpu))
        for name, act in takes.items():
            wall = time.perf_counter()
            act()["x3"].sum()
            found[name]["take"].append(1e3 * (time.perf_counter() - wall))
    return {
        "bytes": len(content),
        "median": {
            name: {what: statistics.median(times) for what, times in times_of.items() if times}
            for name, times_of in found.items()
        },
        "quickest": min(found["mlnb"]["take"]),
    }


def peak(kind: str, folder: Path) -> dict[str, object]:
    """Return how much memory a stage needs that takes a frame, reads all of it and gives another one as large."""
    store = FileStore(folder / "artifacts")
    if not (folder / "given.json").exists():
        write_json(folder / "given.json", {"format": 1, **encode("frame", frame_of(kind), store, "key").to_json()})
        return {}
    given = Artifact.from_json(read_json(folder / "given.json"))
    spec = Spec(
        str(store.folder), "double", "key", (given,), {"doubled": ("stage 'next'",)}, (), str(folder / "r.json")
    )
    path = folder / "runs" / "run" / "handoff" / "double" / "spec.json"
    write_json(path, spec.to_json())
    small = pd.DataFrame({"x": [1.0], "s": ["a"], "k": pd.Categorical(["a"]), "t": [pd.Timestamp("2013", tz="UTC")]})
    decode(encode("warm", small, store, "key"), store)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    frame: Any = take(str(path))["frame"]
    doubled = frame.copy()
    doubled.loc[:, "x0"] *= 2
    give(str(path), {"frame": frame, "doubled": doubled})
    result = Result.from_json(read_json(folder / "r.json"))
    data = given.size_bytes + sum(one.size_bytes for one in result.artifacts)
    return {"data": data, "peak": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - before}


def _write(path: Path, parts: list[Any], *, durable: bool) -> None:
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        for part in parts:
            view = memoryview(part).cast("B")
            while view:
                view = view[os.write(handle, view[:_PIECE_BYTES]) :]
        if durable:
            os.fsync(handle)
    finally:
        os.close(handle)


if __name__ == "__main__":
    _, what, which, where, times = sys.argv
    print(json.dumps(costs(which, Path(where), int(times)) if what == "costs" else peak(which, Path(where))))
