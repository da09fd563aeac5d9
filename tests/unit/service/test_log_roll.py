"""Closed rows move into Parquet: each is read once, whatever is killed and whenever it is read."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mlnb.errors import NewerFormatError, RemoteError, StorageError
from mlnb.service.log import PredictionLog, Record, nanoseconds
from mlnb.service.log_reader import read_labels, read_predictions
from mlnb.service.log_roll import roll
from mlnb.service.log_tables import SCHEMA

NOW = nanoseconds(datetime(2026, 11, 23, tzinfo=UTC))
DAY = 86_400_000_000_000


def record(name: str, *, event_at: int = NOW, version: int = 1, role: str = "") -> Record:
    text = '{"a":1}'
    return Record(name, "r", event_at, NOW, "delays", version, "staging", 200, 0.5, text, "1", "[0,1]", None, role)


def write(folder: Path, *names: str, labels: dict[str, str] | None = None, at: int = NOW) -> None:
    async def append() -> None:
        log = PredictionLog(folder)
        await log.append([record(name)._replace(logged_at=at, event_at=at) for name in names])
        await log.label(labels or {}, at)
        log.close()

    asyncio.run(append())


def logged(folder: Path, **chosen: object) -> list[str]:
    return [name for batch in read_predictions(folder, **chosen) for name in batch.id]  # type: ignore[arg-type]


def rows_left(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "worker-0.db")) as connection:
        return int(connection.execute("SELECT count(*) FROM predictions").fetchone()[0])


def test_rolled_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    rows = [
        record("a", event_at=NOW - DAY)._replace(status=422, error="wrong", prediction=None, probabilities=None),
        record("b", version=2, role="canary")._replace(caller="c0ffee", warnings='["far"]'),
        record("c", role="shadow")._replace(shadow_of="b"),
    ]

    async def append() -> None:
        log = PredictionLog(tmp_path)
        await log.append(rows)
        log.close()

    asyncio.run(append())
    before = list(read_predictions(tmp_path, shadow=True))
    told = roll(tmp_path, at=NOW)
    assert (told.segments, told.predictions, rows_left(tmp_path)) == (1, 3, 0)
    assert list(read_predictions(tmp_path, shadow=True)) == before
    assert logged(tmp_path) == ["a", "b"]
    assert logged(tmp_path, version=2) == ["b"]
    assert logged(tmp_path, until=datetime(2026, 11, 22, 12, tzinfo=UTC)) == ["a"]
    assert roll(tmp_path, at=NOW).segments == 0


def test_a_segment_is_parquet_that_others_read(tmp_path: Path) -> None:
    write(tmp_path, "b", "a")
    roll(tmp_path, at=NOW)
    (path,) = (tmp_path / "segments").glob("*.parquet")
    table = pq.read_table(path)
    assert table.column("id").to_pylist() == ["a", "b"]
    assert table.column("event_at")[0].as_py() == datetime(2026, 11, 23, tzinfo=UTC)
    assert table.schema.metadata[b"mlnb.segment"] == b"1"


def test_rows_that_come_after_a_roll_are_not_taken_for_rolled_ones(tmp_path: Path) -> None:
    write(tmp_path, "a", "b")
    roll(tmp_path, at=NOW)
    write(tmp_path, "c")  # SQLite begins its rowids anew in the emptied table
    assert logged(tmp_path) == ["a", "b", "c"]
    assert roll(tmp_path, at=NOW).predictions == 1
    assert logged(tmp_path) == ["a", "b", "c"]


def test_only_closed_rows_are_rolled_where_that_is_asked(tmp_path: Path) -> None:
    write(tmp_path, "a")
    assert roll(tmp_path, at=NOW + DAY // 2, closed_s=86_400).segments == 0
    assert roll(tmp_path, at=NOW + DAY + 1, closed_s=86_400).segments == 1


def test_labels_are_rolled_too_and_the_latest_counts(tmp_path: Path) -> None:
    write(tmp_path, "a", "b", labels={"a": "1", "b": "2"}, at=NOW)
    assert roll(tmp_path, at=NOW).labels == 2
    write(tmp_path, labels={"b": "3"}, at=NOW + 5)
    assert read_labels(tmp_path) == {"a": 1, "b": 3}
    roll(tmp_path, at=NOW)
    assert read_labels(tmp_path) == {"a": 1, "b": 3}


def test_a_label_that_changes_while_it_is_rolled_is_kept(tmp_path: Path) -> None:
    write(tmp_path, "a", labels={"a": "1"})

    def change(step: str) -> None:
        if step == "labels: delete" and read_labels(tmp_path) == {"a": 1}:
            with closing(sqlite3.connect(tmp_path / "worker-0.db")) as connection:
                through = connection.execute("SELECT value FROM about WHERE name = 'labels_through'").fetchone()[0]
            if through != "0":
                write(tmp_path, labels={"a": "2"}, at=NOW + 5)

    roll(tmp_path, at=NOW, step=change)
    assert read_labels(tmp_path) == {"a": 2}


_KILLED = """
import os, signal, sys
from pathlib import Path
import pyarrow.dataset, pyarrow.parquet
from mlnb.service.log_roll import roll
from mlnb.service.log_reader import read_labels, read_predictions

folder, at, points = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]

def dying(point):
    left = [int(point.partition("*")[2])]
    def step(name):
        left[0] -= name == point.partition("*")[0]
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
    return step

for point in points:
    child = os.fork()
    if not child:
        roll(folder, at=at, step=dying(point))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    names = [name for batch in read_predictions(folder) for name in batch.id]
    print(status, len(names), len(set(names)), len(read_labels(folder)), flush=True)
"""


def test_a_roll_that_is_killed_at_any_step_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    names = [f"{at:05}" for at in range(1200)]
    write(tmp_path, *names, labels=dict.fromkeys(names[:700], "1"))
    acts = ("delete*1", "write*1", "write on*1", "commit*1", "delete*2", "delete*2")  # before, and after the commit
    points = [f"{kind}: {act}" for kind in ("predictions", "labels") for act in acts]
    command = [sys.executable, "-c", _KILLED, str(tmp_path), str(NOW), *points, "never*1"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.splitlines() == [f"{signal.SIGKILL:d} 1200 1200 700"] * len(points) + ["0 1200 1200 700"]
    assert logged(tmp_path) == names
    assert rows_left(tmp_path) == 0
    assert len(list((tmp_path / "segments").iterdir())) == 2  # of each table one, and nothing half-written


def test_the_log_is_read_once_while_it_is_written_and_rolled(tmp_path: Path) -> None:
    seen: list[Counter[str]] = []
    done = threading.Event()

    def keep_reading() -> None:
        while not done.is_set():
            seen.append(Counter(logged(tmp_path)))

    async def scenario() -> None:
        log = PredictionLog(tmp_path)
        for turn in range(10):
            await asyncio.gather(*[log.append([record(f"{turn}-{at}")]) for at in range(100)])
            await asyncio.get_running_loop().run_in_executor(None, lambda: roll(tmp_path, at=NOW))
        log.close()

    reader = threading.Thread(target=keep_reading)
    reader.start()
    asyncio.run(scenario())
    done.set()
    reader.join()
    assert len(set(logged(tmp_path))) == len(logged(tmp_path)) == 1000
    sizes = [len(names) for names in seen]
    assert sizes == sorted(sizes)  # what was there stays there
    assert all(count == 1 for names in seen for count in names.values())


def test_segments_go_to_an_address_elsewhere(tmp_path: Path) -> None:
    place = (tmp_path / "bucket").as_uri()
    write(tmp_path / "log", "a", "b")
    told = roll(tmp_path / "log", at=NOW, destination=place)
    assert told.predictions == 2
    assert len(list((tmp_path / "bucket").glob("predictions-*.parquet"))) == 1
    assert logged(tmp_path / "log") == ["a", "b"]


def test_segments_outlive_the_database_they_came_from(tmp_path: Path) -> None:
    write(tmp_path, "a", labels={"a": "1"})
    roll(tmp_path, at=NOW)
    (tmp_path / "worker-0.db").unlink()
    assert (logged(tmp_path), read_labels(tmp_path)) == (["a"], {"a": 1})
    write(tmp_path, "b")
    assert sorted(logged(tmp_path)) == ["a", "b"]


def test_segments_that_are_too_old_are_removed(tmp_path: Path) -> None:
    write(tmp_path, "old", labels={"old": "1"}, at=NOW - 31 * DAY)
    roll(tmp_path, at=NOW, keep_days=0)
    write(tmp_path, "new")
    told = roll(tmp_path, at=NOW, keep_days=30)
    assert told.expired == 2  # predictions and labels
    assert logged(tmp_path) == ["new"]
    assert read_labels(tmp_path) == {}
    assert len(list((tmp_path / "segments").iterdir())) == 1


def test_a_segment_elsewhere_that_cannot_be_removed_is_not_forgotten(tmp_path: Path) -> None:
    log, elsewhere = tmp_path / "log", tmp_path / "elsewhere"
    write(log, "old", at=NOW - 31 * DAY)
    roll(log, destination=elsewhere.as_uri(), at=NOW, keep_days=0)
    (path,) = elsewhere.iterdir()
    path.unlink()
    (path / "in the way").mkdir(parents=True)
    with pytest.raises(RemoteError):
        roll(log, at=NOW, keep_days=30)
    (path / "in the way").rmdir()
    path.rmdir()
    assert roll(log, at=NOW, keep_days=30).expired == 1


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_bytes(b"no")])
def test_a_segment_that_is_missing_or_broken_is_told(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    write(tmp_path, "a")
    roll(tmp_path, at=NOW)
    (path,) = (tmp_path / "segments").iterdir()
    spoil(path)
    with pytest.raises(StorageError, match=path.name):
        logged(tmp_path)


def test_a_database_of_a_newer_schema_is_not_rolled(tmp_path: Path) -> None:
    write(tmp_path, "a")
    with closing(sqlite3.connect(tmp_path / "worker-0.db")) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    with pytest.raises(NewerFormatError):
        roll(tmp_path, at=NOW)


def test_who_does_not_want_to_wait_leaves_a_log_that_is_being_rolled_alone(tmp_path: Path) -> None:
    write(tmp_path, "a")
    inner: list[int] = []
    roll(tmp_path, at=NOW, step=lambda _: inner.append(roll(tmp_path, at=NOW, wait=False).segments))
    assert set(inner) == {0}
    assert logged(tmp_path) == ["a"]
