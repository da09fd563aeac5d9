from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mlnb.errors import NewerFormatError, StorageError
from mlnb.service.log import Ids, PredictionLog, Record, moment, nanoseconds
from mlnb.service.log_reader import Batch, read_dated_labels, read_labels, read_predictions
from mlnb.service.log_tables import SCHEMA


def record(name: str, *, event_at: int = 0, version: int = 1, status: int = 200) -> Record:
    return Record(name, "r", event_at, 9, "delays", version, "staging", status, 0.5, '{"a":1}', "1", "[0,1]", None)


def write(folder: Path, records: Sequence[Record]) -> None:
    async def append() -> None:
        log = PredictionLog(folder)
        await log.append(records)
        log.close()

    asyncio.run(append())


def logged(folder: Path, **chosen: datetime | int) -> list[str]:
    return [name for batch in read_predictions(folder, **chosen) for name in batch.id]  # type: ignore[arg-type]


def test_what_was_appended_is_read_back_by_column(tmp_path: Path) -> None:
    write(tmp_path, [record("a", event_at=2), record("b", event_at=1, version=0, status=422)])
    (batch,) = read_predictions(tmp_path)
    assert [field.name for field in fields(Batch)] == list(Record._fields)
    assert len(batch) == 2
    assert batch.id == ("b", "a")  # by event time
    assert batch.status == (422, 200)
    assert batch.inputs == ('{"a":1}', '{"a":1}')


def test_rows_are_chosen_by_event_time_and_version(tmp_path: Path) -> None:
    start = datetime(2013, 1, 1, tzinfo=UTC)
    days = [nanoseconds(start + timedelta(days=day)) for day in range(4)]
    write(tmp_path, [record(str(day), event_at=at, version=day % 2) for day, at in enumerate(days)])
    assert logged(tmp_path, since=start + timedelta(days=1), until=start + timedelta(days=3)) == ["1", "2"]
    assert logged(tmp_path, version=1) == ["1", "3"]
    assert logged(tmp_path / "nothing") == []


def test_batches_are_no_larger_than_asked(tmp_path: Path) -> None:
    write(tmp_path, [record(f"{at:03}") for at in range(25)])
    assert [len(batch) for batch in read_predictions(tmp_path, batch_rows=10)] == [10, 10, 5]


def test_the_log_is_read_while_it_is_written_and_a_large_batch_does_not_lose_a_small_one(tmp_path: Path) -> None:
    async def scenario() -> tuple[list[str], list[str]]:
        log = PredictionLog(tmp_path)
        many = [record(f"many-{at}") for at in range(3000)]
        waits = [log.append([record("first")]), log.append(many)]
        await waits[0]
        waits += [log.append([record(f"late-{at}")]) for at in range(5)]
        await asyncio.gather(*waits)
        before = logged(tmp_path)
        await asyncio.gather(*[log.append([record(f"round-{at}-{n}") for n in range(400)]) for at in range(20)])
        log.close()
        return before, logged(tmp_path)

    before, after = asyncio.run(scenario())
    assert len(before) == 3006
    assert len(after) == len(set(after)) == 3006 + 8000


def test_two_processes_write_two_databases(tmp_path: Path) -> None:
    async def scenario() -> None:
        one, other = PredictionLog(tmp_path), PredictionLog(tmp_path)
        await asyncio.gather(one.append([record("a")]), other.append([record("b")]))
        assert one.path.name == "worker-0.db"
        assert other.path.name == "worker-1.db"
        one.close()
        again = PredictionLog(tmp_path)
        assert again.path == one.path
        again.close()
        other.close()

    asyncio.run(scenario())
    assert sorted(logged(tmp_path)) == ["a", "b"]


def test_the_label_that_comes_last_counts_from_when_its_value_was_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = PredictionLog(tmp_path)
        await log.label({"a": "1", "b": '"x"'}, labelled_at=10)
        await log.label({"a": "1"}, labelled_at=20)
        await log.label({"b": "true"}, labelled_at=30)
        log.close()

    asyncio.run(scenario())
    assert read_labels(tmp_path) == {"a": 1, "b": True}
    assert read_dated_labels(tmp_path) == {"a": (20, 1), "b": (30, True)}


def test_the_latest_label_of_several_workers_counts(tmp_path: Path) -> None:
    async def scenario() -> None:
        one, other = PredictionLog(tmp_path), PredictionLog(tmp_path)
        await one.label({"a": "1"}, labelled_at=20)
        await other.label({"a": "0"}, labelled_at=10)
        for log, label, at in ((one, "2", 10), (other, "3", 20), (one, "2", 30), (other, "2", 40)):
            await log.label({"b": label}, labelled_at=at)
        one.close()
        other.close()

    asyncio.run(scenario())
    assert read_dated_labels(tmp_path) == {"a": (20, 1), "b": (30, 2)}


def test_a_log_of_a_newer_schema_is_refused_by_writer_and_reader(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "worker-0.db")
    connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    connection.close()
    with pytest.raises(NewerFormatError) as refused:
        PredictionLog(tmp_path)
    assert (refused.value.found, refused.value.known) == (SCHEMA + 1, SCHEMA)
    with pytest.raises(NewerFormatError):
        list(read_predictions(tmp_path))


_SCHEMA_1 = """
CREATE TABLE predictions (
    id TEXT PRIMARY KEY, request_id TEXT NOT NULL, event_at INTEGER NOT NULL, logged_at INTEGER NOT NULL,
    model TEXT NOT NULL, version INTEGER NOT NULL, alias TEXT NOT NULL, status INTEGER NOT NULL,
    latency_ms REAL NOT NULL, inputs TEXT, prediction TEXT, probabilities TEXT, error TEXT
);
CREATE INDEX predictions_event_at ON predictions (event_at);
CREATE TABLE labels (id TEXT PRIMARY KEY, value TEXT NOT NULL, labelled_at INTEGER NOT NULL);
INSERT INTO predictions VALUES ('old', 'r', 1, 2, 'delays', 3, 'staging', 200, 0.5, '{"a":1}', '1', '[0,1]', NULL);
INSERT INTO labels VALUES ('old', '1', 5);
PRAGMA user_version = 1;
"""


def test_a_log_of_schema_1_is_read_as_it_is_and_migrated_when_it_is_written(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "worker-0.db")
    connection.executescript(_SCHEMA_1)
    connection.close()
    (before,) = read_predictions(tmp_path)
    write(tmp_path, [record("new", event_at=2)._replace(role="canary", caller="c0ffee", warnings='["far"]')])
    (after,) = read_predictions(tmp_path)
    assert (before.id, before.role, before.caller, before.inputs) == (("old",), ("",), (None,), ('{"a":1}',))
    assert (after.id, after.role, after.caller) == (("old", "new"), ("", "canary"), (None, "c0ffee"))
    assert after.warnings == (None, '["far"]')
    assert read_labels(tmp_path) == {"old": 1}


def test_shadow_answers_are_read_only_where_they_are_asked_for(tmp_path: Path) -> None:
    write(tmp_path, [record("a"), record("b")._replace(role="shadow", shadow_of="a")])
    assert logged(tmp_path) == ["a"]
    (both,) = read_predictions(tmp_path, shadow=True)
    assert (both.id, both.shadow_of) == (("a", "b"), (None, "a"))


def test_a_commit_that_fails_fails_its_request_and_the_next_one_goes_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = PredictionLog(tmp_path)
        await log.append([record("a")])
        with pytest.raises(StorageError, match="UNIQUE"):
            await log.append([record("b"), record("a")])
        with pytest.raises(StorageError, match="too large to convert"):
            await log.append([record("c")._replace(event_at=2**63)])
        with pytest.raises(StorageError, match="surrogates not allowed"):
            await log.append([record("d")._replace(inputs="\ud800")])
        assert log.problem == ""  # the rows were wrong, the log is not
        await log.append([record("e")])
        log.close()

    asyncio.run(scenario())
    assert logged(tmp_path) == ["a", "e"]  # a failed group left nothing


def test_one_row_that_cannot_be_logged_fails_its_own_request_only(tmp_path: Path) -> None:
    async def scenario() -> list[object]:
        log = PredictionLog(tmp_path)
        await log.append([record("a")])
        appended = [log.append([record(name)]) for name in ("b", "a", "c")]  # committed together
        found = await asyncio.gather(*appended, return_exceptions=True)
        log.close()
        return list(found)

    first, second, third = asyncio.run(scenario())
    assert (first, third) == (None, None)
    assert isinstance(second, StorageError)
    assert logged(tmp_path) == ["a", "b", "c"]


def test_a_folder_that_is_a_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        PredictionLog(tmp_path / "file")


_WRITER = """
import asyncio, sys
from pathlib import Path
from mlnb.service.log import Ids, PredictionLog, Record

async def main():
    log, ids = PredictionLog(Path(sys.argv[1])), Ids()
    while True:
        name = ids.take(1)[0]
        await log.append([Record(name, "r", 0, 0, "m", 1, "a", 200, 0.1, "{}", "1", None, None)])
        print(name, flush=True)

asyncio.run(main())
"""


def test_whatever_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline().strip() for _ in range(400)]
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged += [line.strip() for line in writer.stdout.read().splitlines() if len(line.strip()) == 24]
        writer.wait()
        writer.stdout.close()
        kept = logged(tmp_path)
        assert len(kept) == len(set(kept))
        assert set(acknowledged) <= set(kept)


def test_ids_are_unique_over_makers_and_sort_in_the_order_they_were_made() -> None:
    one, other = Ids(), Ids()
    made = [*one.take(1000), *one.take(1), *one.take(1000)]
    assert made == sorted(made)
    assert len({*made, *other.take(2000)}) == 4001
    assert all(len(name) == 24 and int(name, 16) for name in made)


def test_times_are_exact_to_the_microsecond_both_ways() -> None:
    at = datetime(2013, 4, 1, 5, 15, 0, 123457, tzinfo=UTC)
    assert moment(nanoseconds(at)) == at
    assert nanoseconds(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)) == 10**9
