"""When an answer may be sent, and what happens where nothing can be written."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from collections.abc import Coroutine, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from mlnb.errors import RequestError, SettingsError, StorageError
from mlnb.service.answering import committed
from mlnb.service.configuration import Configuration, configure
from mlnb.service.log import UNLOGGED, PredictionLog, Record
from mlnb.service.log_reader import read_labels, read_predictions
from mlnb.service.log_tables import LogDatabase


def record(name: str) -> Record:
    return Record(name, "r", 0, 9, "delays", 1, "staging", 200, 0.5, '{"a":1}', "1", "[0,1]", None)


def logged(folder: Path) -> list[str]:
    return [name for batch in read_predictions(folder) for name in batch.id]


@contextmanager
def full_disk(log: Path) -> Iterator[None]:
    """Let no file of this process grow beyond the write-ahead log: what the kernel says then is real."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.with_name(f"{log.name}-wal").stat().st_size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def run(scenario: Coroutine[None, None, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 30))


def test_a_full_disk_fails_the_request_and_the_next_one_is_logged_when_there_is_room(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = PredictionLog(tmp_path)
        await log.append([record("a")])
        with full_disk(log.path):
            refused = await asyncio.gather(log.append([record("b")]), return_exceptions=True)
            await asyncio.wait([log.probe()])  # who asks for readiness does so; it is told the truth
        assert isinstance(refused[0], StorageError)
        assert "disk I/O error" in str(refused[0]) or "full" in str(refused[0])
        states = [log.stopped]
        await log.append([record("c")])
        assert [*states, log.stopped] == [True, False]
        log.close()

    run(scenario())
    assert logged(tmp_path) == ["a", "c"]


def test_a_service_that_is_to_serve_answers_on_a_full_disk_counts_what_it_left_out_and_resumes(tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []

    async def scenario() -> None:
        log = PredictionLog(
            tmp_path, Configuration(log_failure="serve"), lambda sample, amount: told.append((sample, amount))
        )
        await log.append([record("a")])
        with full_disk(log.path):
            await log.append([record("b"), record("c")])
            with pytest.raises(RequestError) as refused:  # a label can be sent again, so it is not lost in silence
                await committed(log.label({"a": "1"}, 5))
            assert (refused.value.status, refused.value.retry_after_s) == (503, 1)
            assert log.problem and not log.stopped
            assert log.told["unlogged"] == 2
        await log.append([record("d")])
        assert not log.problem
        log.close()

    run(scenario())
    assert logged(tmp_path) == ["a", "d"]
    assert told == [(UNLOGGED, 2)]


def test_a_log_that_cannot_be_opened_stops_the_service_or_is_opened_when_it_can_be(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        PredictionLog(folder)

    async def scenario() -> None:
        log = PredictionLog(folder, Configuration(log_failure="serve"))
        await log.append([record("a")])
        assert (log.unlogged, log.path) == (1, folder)
        folder.unlink()
        while log.problem:
            await log.append([record(f"b{log.unlogged}")])
        await log.append([record("c")])
        log.close()

    run(scenario())
    assert logged(folder)[-1] == "c"


def test_a_fast_log_answers_before_the_commit_which_comes_within_the_window(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = PredictionLog(tmp_path, Configuration(log="fast", log_window_ms=20))
        assert log.append([record("a")]).done()
        assert log.append([record("b")]).done()
        assert (log.waiting, logged(tmp_path)) == (2, [])
        while log.waiting:
            await asyncio.sleep(0.001)
        assert logged(tmp_path) == ["a", "b"]
        await log.label({"a": "1"}, 5)  # labels are committed in every mode
        assert read_labels(tmp_path) == {"a": 1}
        assert log.append([record("c")]).done()
        log.close()

    run(scenario())
    assert logged(tmp_path) == ["a", "b", "c"]  # a stop leaves nothing out


def test_a_fast_log_keeps_what_a_full_disk_did_not_take_and_refuses_more(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = PredictionLog(tmp_path, Configuration(log="fast", log_window_ms=1))
        await log.label({"a": "1"}, 5)
        with full_disk(log.path):
            assert log.append([record("a")]).done()
            while not log.problem:
                await asyncio.sleep(0.001)
            with pytest.raises(StorageError, match="cannot be written"):
                await log.append([record("b")])
        while log.stopped:
            await asyncio.sleep(0.001)
        log.close()

    run(scenario())
    assert logged(tmp_path) == ["a"]


def test_a_strict_log_lets_sqlite_synchronise_each_commit(tmp_path: Path) -> None:
    strict, durable = LogDatabase(tmp_path, strict=True), LogDatabase(tmp_path)
    assert (strict.synchronous, durable.synchronous) == (2, 1)  # FULL and NORMAL, as SQLite counts them
    strict.close()
    durable.close()

    async def scenario() -> None:
        log = PredictionLog(tmp_path, Configuration(log="strict"))
        await asyncio.gather(*[log.append([record(str(at))]) for at in range(20)])
        log.close()

    run(scenario())
    assert len(logged(tmp_path)) == 20


def test_a_log_that_is_off_writes_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = PredictionLog(tmp_path / "none", Configuration(log="off"))
        assert log.append([record("a")]).done()
        assert log.told["mode"] == "off"
        log.close()

    run(scenario())
    assert not (tmp_path / "none").exists()


def test_another_writer_delays_a_commit_and_not_the_loop(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = PredictionLog(tmp_path)
        with closing(sqlite3.connect(log.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            commit = log.append([record("a")])
            await asyncio.sleep(0.05)  # the loop turns
            assert not commit.done()
            other.execute("COMMIT")
        await commit
        log.close()

    run(scenario())
    assert logged(tmp_path) == ["a"]


@pytest.mark.parametrize(("key", "word"), [("log", "quick"), ("log_failure", "go")])
def test_a_word_that_is_none_of_the_known_ones_is_refused(key: str, word: str) -> None:
    with pytest.raises(SettingsError, match=f"{key} is '{word}'") as refused:
        configure({key: word}, {})
    assert "It is one of" in refused.value.remedy
    assert configure({}, {f"MLNB_{key.upper()}": "durable" if key == "log" else "serve"})
