"""Questions about the log are answered from databases and segments alike."""

from __future__ import annotations

import asyncio
import csv
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import time_ns

import pyarrow.parquet as pq
import pytest

from mlnb.faces.cli import main
from mlnb.service.log import Ids, PredictionLog, Record, nanoseconds
from mlnb.service.log_choice import Choice
from mlnb.service.log_export import write_csv, write_parquet
from mlnb.service.log_query import Condition, find, find_newest
from mlnb.service.log_roll import roll

START = datetime(2026, 11, 20, tzinfo=UTC)
FEW = [
    ("00", 1, 200, "", '{"age":20,"origin":"JFK"}'),
    ("01", 1, 200, "canary", '{"age":30,"origin":"LGA"}'),
    ("02", 2, 422, "", "{broken"),
    ("03", 2, 200, "shadow", '{"age":41.5,"origin":null}'),
    ("04", 2, 200, "", '{"age":40,"origin":"JFK"}'),
    ("05", 2, 503, "", None),
]


def records() -> Iterator[Record]:
    for number, (name, version, status, role, inputs) in enumerate(FEW):
        at = nanoseconds(START + timedelta(hours=number))
        fine = status == 200
        answer, shares, error = (str(number % 2), "[0.5,0.5]", None) if fine else (None, None, f"no {status}")
        request, model = f"r{number // 2}", "delays"
        yield Record(name, request, at, at, model, version, "staging", status, 1.5, inputs, answer, shares, error, role)


@pytest.fixture(scope="module", params=["live", "rolled", "both"])
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose log has the same rows in its database, in segments, or in both."""
    root = tmp_path_factory.mktemp("project")
    folder = root / ".mlnb" / "predictions" / "delays"
    rows = list(records())

    async def write(part: list[Record]) -> None:
        log = PredictionLog(folder)
        await log.append(part)
        log.close()

    half = {"live": 0, "rolled": len(rows), "both": 3}[request.param]
    for part in (rows[:half], rows[half:]):
        if part:
            asyncio.run(write(part))
        if part == rows[:half]:
            roll(folder, at=0)
    return root


Ask = Callable[..., str]


@pytest.fixture
def ask(project: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Ask the command line and return what it wrote; its code must be as expected."""

    def run(*words: str, code: int = 0) -> str:
        assert main(["services", "logs", "delays", *words, "--project", str(project)]) == code
        told = capsys.readouterr()
        return told.err if code else told.out

    return run


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("--predictions", "00 01 02 04 05"),
        ("--predictions -n 2", "04 05"),
        ("--predictions -n 0", ""),
        ("--since 800000d", "00 01 02 04 05"),
        ("--since 0001-01-01T00:00Z --until 9999-12-31T00:00Z", "00 01 02 04 05"),
        ("--until 99999999999999999999d", ""),
        ("--id 01", "01"),
        ("--id 03", "03"),
        ("--request-id r2", "04 05"),
        ("--since 2026-11-20T02:00Z --until 2026-11-20T05:00Z", "02 04"),
        ("--version 1", "00 01"),
        ("--version delays/2 --role all", "02 03 04 05"),
        ("--alias nobody", ""),
        ("--status 4xx", "02"),
        ("--status error", "02 05"),
        ("--status 503", "05"),
        ("--role shadow", "03"),
        ("--role plain", "00 02 04 05"),
        ("--where age>=30", "01 04"),
        ("--where origin=JFK --where age<40", "00"),
        ("--where prediction=1 --role all", "01 03"),
        ("--where age!=20 --status 200", "01 04"),
        ("--where origin=null --role all --status 200", "03"),
    ],
)
def test_rows_are_found_by_what_is_asked(ask: Ask, words: str, names: str) -> None:
    lines = ask(*words.split(), "--json").splitlines()
    assert [json.loads(line)["id"] for line in lines] == names.split()


def test_json_lines_hold_decoded_values_and_a_table_holds_what_a_person_reads(ask: Ask) -> None:
    first = json.loads(ask("--id", "00", "--json"))
    assert first["inputs"] == {"age": 20, "origin": "JFK"}
    assert (first["event_at"], first["probabilities"]) == ("2026-11-20T00:00:00+00:00", [0.5, 0.5])
    assert json.loads(ask("--id", "02", "--json"))["inputs"] == "{broken"
    header, line = ask("--id", "02").splitlines()
    assert header.split() == ["at", "(UTC)", "status", "version", "alias", "ms", "prediction", "inputs", "id"]
    assert line.split()[:3] == ["2026-11-20", "02:00:00", "422"]
    assert "no 422" in line
    assert ask("--id", "none") == "No such predictions.\n"


def test_what_is_found_becomes_csv_and_parquet(ask: Ask, tmp_path: Path) -> None:
    told = ask("--version", "2", "--csv", str(tmp_path / "a.csv"), "--parquet", str(tmp_path / "a.parquet"))
    assert told.startswith("3 rows -> ")
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["id"] for row in rows) == ["02", "04", "05"]
    assert {row["event_at"] for row in rows if row["id"] == "04"} == {"2026-11-20T04:00:00+00:00"}
    table = pq.read_table(tmp_path / "a.parquet")
    assert sorted(table.column("id").to_pylist()) == ["02", "04", "05"]


@pytest.mark.parametrize("write", [write_csv, write_parquet])
def test_a_file_that_cannot_be_finished_is_left_as_it_was_and_a_link_is_written_through(
    write: Callable[[Iterator[Record], Path], int], tmp_path: Path
) -> None:
    def some(*, break_off: bool) -> Iterator[Record]:
        if break_off:
            raise KeyError
        yield Record("a", "r", 0, 9, "delays", 1, "staging", 200, 0.5, None, "1", None, None)

    path, link = tmp_path / "rows", tmp_path / "link"
    assert write(some(break_off=False), path) == 1
    whole = path.read_bytes()
    with pytest.raises(KeyError):
        write(some(break_off=True), path)
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]
    path.write_bytes(b"")
    link.symlink_to(path)
    assert write(some(break_off=False), link) == 1
    assert (link.is_symlink(), path.read_bytes()) == (True, whole)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--since", "yesterday"], "'yesterday' is no time"),
        (["--status", "teapot"], "'teapot' is no HTTP status"),
        (["--where", "age"], "'age' is no condition"),
        (["--version", "x"], "'x' is no version"),
        (["--since", "2026-13-01"], "'2026-13-01' is no time"),
        (["--csv", "a.csv", "--follow"], "-f and -n are for the screen"),
        (["--parquet", "a.parquet", "-n", "5"], "-f and -n are for the screen"),
    ],
)
def test_what_cannot_be_understood_is_refused_by_name(ask: Ask, words: list[str], told: str) -> None:
    assert told in ask(*words, code=2)


def test_an_id_is_found_by_an_index_and_by_statistics(project: Path) -> None:
    folder = project / ".mlnb" / "predictions" / "delays"
    with closing(sqlite3.connect(folder / "worker-0.db")) as connection:
        where, values = Choice(id="01").where(2)
        plan = connection.execute(f"EXPLAIN QUERY PLAN SELECT * FROM predictions WHERE {where}", values).fetchall()
    assert any("USING INDEX sqlite_autoindex_predictions_1 (id=?)" in step[3] for step in plan)
    assert [record.id for record in find(folder, Choice(id="01"))] == ["01"]
    assert [record.id for record in find_newest(folder, Choice(), [Condition.parse("age>0")], 1)] == ["04"]


def test_the_front_door_rolls_a_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / ".mlnb" / "predictions" / "delays"

    async def write() -> None:
        log = PredictionLog(folder)
        await log.append(list(records()))
        log.close()

    asyncio.run(write())
    assert main(["services", "roll", "delays", "--project", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "6 predictions and 0 labels in 1 new segments\n"
    assert len(list((folder / "segments").glob("predictions-*.parquet"))) == 1


def test_the_front_door_follows_what_is_logged_from_now_on(tmp_path: Path) -> None:
    folder = tmp_path / ".mlnb" / "predictions" / "delays"
    words = ["services", "logs", "delays", "--where", "age>30", "-f", "--json", "--project", str(tmp_path)]

    async def write(log: PredictionLog, ages: list[int]) -> list[str]:
        names = Ids().take(len(ages))
        now = time_ns()
        rows = [
            Record(name, "r", now, now, "delays", 1, "staging", 200, 1.5, f'{{"age":{age}}}', "1", None, None)
            for name, age in zip(names, ages, strict=True)
        ]
        await log.append(rows)
        return names

    log = PredictionLog(folder)
    _, old = asyncio.run(write(log, [20, 40]))
    follower = subprocess.Popen([sys.executable, "-m", "mlnb", *words], stdout=subprocess.PIPE, text=True)
    assert follower.stdout is not None
    told = [json.loads(follower.stdout.readline())["id"]]
    _, new, newest = asyncio.run(write(log, [10, 50, 60]))
    log.close()
    told += [json.loads(follower.stdout.readline())["id"] for _ in range(2)]
    follower.send_signal(signal.SIGINT)
    assert follower.wait(20) == 0
    assert follower.stdout.read() == ""
    follower.stdout.close()
    assert told == [old, new, newest]
