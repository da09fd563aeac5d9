"""Stored windows hold each row of the log once: whatever is rolled, removed, late, killed or done at the same time."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from mlnb.errors import MonitorError, NewerFormatError, StorageError
from mlnb.faces.view import report_lines
from mlnb.model.signature import Signature
from mlnb.monitor.reference import Reference
from mlnb.monitor.report import build_report
from mlnb.monitor.span import Span, parse_span
from mlnb.monitor.stored import LEVELS, SCHEMA, StoredWindows, stored_at
from mlnb.monitor.watch import watch
from mlnb.registry.version import Lineage, Version
from mlnb.service.log import PredictionLog, Record
from mlnb.service.log_reader import Batch, read_predictions
from mlnb.service.log_roll import roll
from mlnb.store.folder import StateFolder

Rows = list[dict[str, object]]
Draw = Callable[..., Rows]
Log = Callable[..., Batch]
DAY = 86_400_000_000_000
NOW = 1_400_000_000_000_000_000
AT = datetime(2026, 11, 23, tzinfo=UTC)


def write(folder: Path, batch: Batch, labels: dict[str, object] | None = None, **changed: object) -> None:
    """Log a batch as the service does; `changed` replaces fields of every record."""
    columns = [getattr(batch, name) for name in Record._fields]
    records = [Record(*row)._replace(**changed) for row in zip(*columns, strict=True)]

    async def append() -> None:
        log = PredictionLog(folder)
        await log.append(records)
        await log.label({key: json.dumps(value) for key, value in (labels or {}).items()}, NOW)
        log.close()

    asyncio.run(append())


def part(batch: Batch, start: int, end: int) -> Batch:
    return Batch(*(getattr(batch, name)[start:end] for name in Batch.__dataclass_fields__))


def opened(folder: Path, reference: Reference, digest: str = "d") -> StoredWindows:
    return StoredWindows(stored_at(folder, 7), reference, version=7, digest=digest)


def updated(folder: Path, reference: Reference, **how: object) -> int:
    with opened(folder, reference) as stored:
        return stored.update(folder, **how)  # type: ignore[arg-type]


def rows_stored(folder: Path, reference: Reference) -> int:
    with opened(folder, reference) as stored:
        totals = {unit: stored.total(Span(unit)) for unit in LEVELS}
    (rows,) = {total.rows if total else 0 for total in totals.values()}
    return rows


@pytest.mark.parametrize("span", ["hour", "day", "week", "month"])
def test_stored_windows_are_those_that_a_scan_of_the_whole_log_counts(
    tmp_path: Path, reference: Reference, draw: Draw, batch: Log, span: str
) -> None:
    odd: Rows = [{"age": None, "price": "much", "city": "Q"}, {"mlnb:redacted": ["age"], "city": None}, {}]
    log = batch([*draw(900, 2, cities="ABXYZ"), *odd], per_day=40)
    write(tmp_path, log)
    write(tmp_path, batch(draw(30, 3), prefix="e"), status=422, error="age is missing", version=0)
    write(tmp_path, batch(draw(20, 4), prefix="o"), version=6)
    assert updated(tmp_path, reference, rows=97) == 953
    scanned = build_report(reference, read_predictions(tmp_path), model="m", version=7, at=AT, span=span)
    with opened(tmp_path, reference) as stored:
        windows = stored.windows(parse_span(span))
        total = stored.total(parse_span(span))
    assert total is not None and total.rows == 953
    expected = [window for window in scanned.windows if window.rows]
    for one, two in zip([*windows.values(), total], [*expected, scanned.total], strict=True):
        assert (one.start, one.end, one.first, one.last) == (two.start, two.end, two.first, two.last)
        assert (one.rows, one.errors, one.versions, one.statuses) == (two.rows, two.errors, two.versions, two.statuses)
        assert (one.messages, one.slowest_ms) == (two.messages, two.slowest_ms)
        assert one.latency.tolist() == two.latency.tolist()
        for a, b in zip((*one.features, one.prediction), (*two.features, two.prediction), strict=True):
            assert a.counts.tolist() == b.counts.tolist()
            assert a.sums == pytest.approx(b.sums)
            facts = ("missing", "unusable", "below", "above", "redacted", "unseen")
            assert [getattr(a, name) for name in facts] == [getattr(b, name) for name in facts]
            assert np.array_equal([a.minimum, a.maximum], [b.minimum, b.maximum], equal_nan=True)


def test_only_what_is_new_is_added(tmp_path: Path, reference: Reference, draw: Draw, batch: Log) -> None:
    log = batch(draw(300, 2))
    write(tmp_path, part(log, 0, 120))
    assert [updated(tmp_path, reference) for _ in range(2)] == [120, 0]
    write(tmp_path, part(log, 120, 300))
    assert [updated(tmp_path, reference) for _ in range(2)] == [180, 0]
    assert rows_stored(tmp_path, reference) == 300


def test_a_late_row_goes_to_the_window_of_its_event(
    tmp_path: Path, reference: Reference, draw: Draw, batch: Log
) -> None:
    log = batch(draw(300, 2))
    write(tmp_path, part(log, 100, 300))
    updated(tmp_path, reference)
    write(tmp_path, part(log, 0, 10))
    assert updated(tmp_path, reference) == 10
    with opened(tmp_path, reference) as stored:
        assert [window.rows for window in stored.windows(Span("day")).values()] == [10, 100, 100]


def test_a_part_of_time_is_asked_for_by_where_its_windows_begin(
    tmp_path: Path, reference: Reference, draw: Draw, batch: Log
) -> None:
    write(tmp_path, batch(draw(500, 2)))
    updated(tmp_path, reference)
    with opened(tmp_path, reference) as stored:
        first, *_, last = stored.windows(Span("day")).values()
        middle = stored.windows(Span("day"), since=first.start + 1, until=last.start)
        total = stored.total(Span("day"), since=last.start)
    assert [window.start for window in middle.values()] == [first.start + DAY * at for at in (1, 2, 3)]
    assert total is not None and (total.rows, total.start) == (100, last.start)


def test_rows_that_were_counted_are_not_counted_again_from_segments(
    tmp_path: Path, reference: Reference, draw: Draw, batch: Log
) -> None:
    log = batch(draw(500, 2))
    write(tmp_path, part(log, 0, 100))
    updated(tmp_path, reference)
    roll(tmp_path, at=NOW)  # all counted; rowids begin anew
    write(tmp_path, part(log, 100, 150))
    assert updated(tmp_path, reference) == 50
    write(tmp_path, part(log, 150, 300))
    roll(tmp_path, at=NOW)  # a segment of 50 that were counted and 150 that were not
    write(tmp_path, part(log, 300, 310))
    assert updated(tmp_path, reference) == 160
    roll(tmp_path, at=NOW)
    write(tmp_path, part(log, 310, 500))
    roll(tmp_path, at=NOW)
    (tmp_path / "worker-0.db").unlink()  # segments without a database
    assert updated(tmp_path, reference) == 190
    assert (updated(tmp_path, reference), rows_stored(tmp_path, reference)) == (0, 500)


def test_what_the_log_removes_stays_counted(tmp_path: Path, reference: Reference, draw: Draw, batch: Log) -> None:
    log = batch(draw(300, 2))
    write(tmp_path, part(log, 0, 100), logged_at=NOW)
    updated(tmp_path, reference)
    roll(tmp_path, at=NOW)
    write(tmp_path, part(log, 100, 200), logged_at=NOW)
    updated(tmp_path, reference)
    roll(tmp_path, at=NOW + 40 * DAY, closed_s=1e9, keep_days=30)
    assert list(read_predictions(tmp_path)) == []
    assert (updated(tmp_path, reference), rows_stored(tmp_path, reference)) == (0, 200)
    write(tmp_path, part(log, 200, 300), logged_at=NOW + 40 * DAY)
    assert (updated(tmp_path, reference), rows_stored(tmp_path, reference)) == (100, 300)


def test_shadow_answers_are_passed_over(tmp_path: Path, reference: Reference, draw: Draw, batch: Log) -> None:
    write(tmp_path, batch(draw(20, 2)))
    write(tmp_path, batch(draw(20, 2), prefix="s"), role="shadow", shadow_of="p0")
    assert updated(tmp_path, reference) == 20
    roll(tmp_path, at=NOW)
    write(tmp_path, batch(draw(5, 3), prefix="n"))
    assert (updated(tmp_path, reference), rows_stored(tmp_path, reference)) == (5, 25)


_SCHEMA_1 = """
CREATE TABLE predictions (
    id TEXT PRIMARY KEY, request_id TEXT NOT NULL, event_at INTEGER NOT NULL, logged_at INTEGER NOT NULL,
    model TEXT NOT NULL, version INTEGER NOT NULL, alias TEXT NOT NULL, status INTEGER NOT NULL,
    latency_ms REAL NOT NULL, inputs TEXT, prediction TEXT, probabilities TEXT, error TEXT
);
CREATE INDEX predictions_event_at ON predictions (event_at);
CREATE TABLE labels (id TEXT PRIMARY KEY, value TEXT NOT NULL, labelled_at INTEGER NOT NULL);
INSERT INTO predictions VALUES ('old', 'r', 1, 2, 'delays', 7, 'staging', 200, 0.5, '{"age":1}', '"no"', '[1,0]', NULL);
PRAGMA user_version = 1;
"""


def test_a_log_that_is_migrated_is_not_counted_again(
    tmp_path: Path, reference: Reference, draw: Draw, batch: Log
) -> None:
    with closing(sqlite3.connect(tmp_path / "worker-0.db")) as connection:
        connection.executescript(_SCHEMA_1)
    assert updated(tmp_path, reference) == 1
    write(tmp_path, batch(draw(9, 2)))
    assert updated(tmp_path, reference) == 9
    roll(tmp_path, at=NOW)
    assert (updated(tmp_path, reference), rows_stored(tmp_path, reference)) == (0, 10)


_KILLED = """
import os, signal, sys
from pathlib import Path
import json
import pyarrow.dataset, pyarrow.parquet
from mlnb.monitor.reference import Reference
from mlnb.monitor.stored import StoredWindows, stored_at

folder, points = Path(sys.argv[1]), sys.argv[3:]
reference = Reference.from_json(json.loads(Path(sys.argv[2]).read_text()))

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
        with StoredWindows(stored_at(folder, 7), reference, version=7, digest="d") as stored:
            stored.update(folder, rows=50, step=dying(point))
        os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
"""


def test_a_kill_at_any_step_loses_no_row_and_counts_none_twice(
    tmp_path: Path, reference: Reference, draw: Draw, batch: Log
) -> None:
    folder, log = tmp_path / "log", batch(draw(1000, 2))
    described = tmp_path / "reference.json"
    described.write_text(json.dumps(reference.to_json()))
    write(folder, part(log, 0, 300))
    roll(folder, at=NOW)
    write(folder, part(log, 300, 1000))
    points = ["read*1", "count*1", "mark*1", "commit*1", "committed*1", "mark*2", "commit*2", "committed*2", "mark*1"]
    ran = subprocess.run(
        [sys.executable, "-c", _KILLED, str(folder), str(described), *points, "never*1"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ran.stdout.split() == [f"{signal.SIGKILL:d}"] * len(points) + ["0"]
    assert rows_stored(folder, reference) == 1000


def test_rows_are_counted_once_while_others_write_roll_and_count(
    tmp_path: Path, reference: Reference, draw: Draw, batch: Log
) -> None:
    log, done = batch(draw(600, 2)), threading.Event()
    added: list[int] = []

    def keep_counting() -> None:
        while not done.is_set():
            added.append(updated(tmp_path, reference, rows=40))

    tmp_path.mkdir(exist_ok=True)
    counters = [threading.Thread(target=keep_counting) for _ in range(2)]
    for counter in counters:
        counter.start()
    for start in range(0, 600, 60):
        write(tmp_path, part(log, start, start + 60))
        if start % 120:
            roll(tmp_path, at=NOW)
    done.set()
    for counter in counters:
        counter.join()
    added.append(updated(tmp_path, reference))
    assert sum(added) == rows_stored(tmp_path, reference) == 600


def test_the_workers_of_a_service_are_counted_together(
    tmp_path: Path, reference: Reference, draw: Draw, batch: Log
) -> None:
    log = batch(draw(200, 2))

    async def append() -> None:
        logs = [PredictionLog(tmp_path), PredictionLog(tmp_path)]
        for one, rows in zip(logs, (part(log, 0, 100), part(log, 100, 200)), strict=True):
            columns = [getattr(rows, name) for name in Record._fields]
            await one.append([Record(*row) for row in zip(*columns, strict=True)])
        for one in logs:
            one.close()

    asyncio.run(append())
    assert (updated(tmp_path, reference), updated(tmp_path, reference)) == (200, 0)


def test_another_reference_counts_anew(tmp_path: Path, reference: Reference, draw: Draw, batch: Log) -> None:
    write(tmp_path, batch(draw(50, 2)))
    updated(tmp_path, reference)
    other = replace(reference, features=reference.features[:1])
    with opened(tmp_path, other, digest="other") as stored:
        assert stored.windows(Span("day")) == {}
        assert stored.update(tmp_path) == 50
        assert [len(window.features) for window in stored.windows(Span("day")).values()] == [1]


def test_a_file_that_a_newer_mlnb_wrote_or_that_is_none_is_told(tmp_path: Path, reference: Reference) -> None:
    with opened(tmp_path, reference):
        pass
    with closing(sqlite3.connect(stored_at(tmp_path, 7))) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    with pytest.raises(NewerFormatError, match=r"windows/7\.db has format 2"):
        opened(tmp_path, reference)
    stored_at(tmp_path, 8).write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError, match="cannot be read or written") as told:
        StoredWindows(stored_at(tmp_path, 8), reference, version=8, digest="d")
    assert "remove it" in told.value.remedy


def test_labels_are_joined_late_changed_and_after_the_log_has_forgotten(
    tmp_path: Path, reference: Reference, draw: Draw, batch: Log
) -> None:
    log = batch(draw(300, 2))
    truth = np.random.default_rng(0).choice(["no", "yes"], 300).tolist()
    given = [json.loads(text or "") for text in log.prediction]
    known = dict(zip(log.id[:200], truth, strict=False))
    write(tmp_path, part(log, 0, 200), known, logged_at=NOW)
    roll(tmp_path, at=NOW)
    write(tmp_path, part(log, 200, 300), logged_at=NOW)
    with opened(tmp_path, reference) as stored:
        stored.update(tmp_path)
        first = stored.realised(tmp_path, known, {}, Span("day"))
        assert [len(pairs.labels) for pairs in first.pairs.values()] == [100, 100]
        roll(tmp_path, at=NOW + 40 * DAY, keep_days=30)
        assert list(read_predictions(tmp_path)) == []
        later = {**known, log.id[0]: "no", "stranger": "yes"}
        found = stored.realised(tmp_path, later, {log.id[1]: "yes"}, Span("day"))
        again = stored.realised(tmp_path, {}, {}, Span("day"))
    assert (found.given, found.found) == (201, 200)
    wanted = ["no", "yes", *truth[2:100]]
    measured = found.pairs[min(found.pairs)].measure(reference, ())
    assert measured.metrics["accuracy"] == pytest.approx(accuracy_score(wanted, given[:100]))
    unsent = again.pairs[min(again.pairs)].measure(reference, ())
    assert unsent.metrics["accuracy"] == pytest.approx(accuracy_score(["no", *truth[1:100]], given[:100]))


def test_the_report_of_a_version_outlives_its_log(
    tmp_path: Path, signature: Signature, reference: Reference, draw: Draw, batch: Log
) -> None:
    state = StateFolder.open(tmp_path)
    digest, _ = state.files.put(json.dumps(reference.to_json()).encode())
    lineage = Lineage()
    files = {"reference.json": digest}
    version = Version("delays", 7, AT, "me", "c", "onnx", files, {}, lineage, signature.to_json(), {})
    folder = state.predictions / "delays"
    with pytest.raises(MonitorError, match="No prediction of delays has been logged"):
        watch(version, state, at=AT, span="day", labels=None)
    log = batch(draw(400, 2, older=15))
    write(folder, part(log, 0, 300), {"p1": "yes"}, logged_at=NOW)
    scanned = build_report(reference, read_predictions(folder), model="delays", version=7, at=AT, labels={"p1": "yes"})
    assert watch(version, state, at=AT, span="day", labels=None).to_json() == scanned.to_json()
    assert watch(version, state, at=AT, span="100 rows", labels=None).to_json()["rows"] == 300
    roll(folder, at=NOW + 40 * DAY, keep_days=30)
    write(folder, part(log, 300, 400), logged_at=NOW + 40 * DAY)
    later = watch(version, state, at=AT, span="week", labels=None)
    assert (later.total.rows, later.overall.rows) == (400, 1)
    assert [column.name for column in later.drifted] == ["age"]


def test_all_columns_are_compared_with_the_sample_where_that_is_asked(
    tmp_path: Path, signature: Signature, reference: Reference, draw: Draw, batch: Log
) -> None:
    state = StateFolder.open(tmp_path)
    columns = ["age", "price", "city"]
    sample = {"columns": columns, "data": [[row[name] for name in columns] for row in draw(300, 1)]}
    contents = {"reference.json": reference.to_json(), "sample.json": sample}
    files = {name: state.files.put(json.dumps(content).encode())[0] for name, content in contents.items()}
    version = Version("delays", 7, AT, "me", "c", "onnx", files, {}, Lineage(), signature.to_json(), {})
    rows = [{**row, "city": None, "mlnb:redacted": ["city"]} for row in draw(300, 2, older=15)]
    write(state.predictions / "delays", batch(rows))
    found = watch(version, state, at=AT, span="day", labels=None, joint=True)
    assert found.joint is not None and found.joint.domain_drifted
    assert [finding.kind for finding in found.findings].count("joint") == len(found.joint.findings())
    assert found.to_json()["joint"] == found.joint.to_json()
    assert any(line.startswith("all columns together, 300 rows of each side") for line in report_lines(found))
