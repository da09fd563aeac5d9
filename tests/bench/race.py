"""Sixteen processes register, promote and roll back at once on a ledger that does not exist when they begin.

On a SQLite file, on PostgreSQL, and beside them the same number of processes with MLflow's client on its SQLite store.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.bench.mlflow_peer import mlflow_python
from tests.bench.place import Place
from tests.bench.table import Table, ratio

PROCESSES, ROUNDS = 16, 100
_MLFLOW_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class Race:
    """What one race gave.

    Attributes
    ----------
    seconds : float
        From the start signal until the last process has ended.
    acts : int
        Registered, promoted and rolled back, of all.
    faults : tuple of str
        Whatever is not as it must be.
    """

    seconds: float
    acts: int
    faults: tuple[str, ...]


def bench(place: Place) -> Table:
    """Race once for each ground, whatever the count."""
    from tests.unit.store.postgres_server import postgres_server

    with ExitStack() as stack:
        address = stack.enter_context(postgres_server())
        sqlite = race(place, place.make("race-sqlite"), "")
        postgres = race(place, place.make("race-postgres"), address)
    python = mlflow_python(place.folder)
    mlflow = _mlflow(place, python, place.make("race-mlflow"))
    rows = []
    for name, one, rounds in (
        ("mlnb, SQLite", sqlite, ROUNDS),
        ("mlnb, PostgreSQL", postgres, ROUNDS),
        ("MLflow, SQLite", mlflow, _MLFLOW_ROUNDS),
    ):
        each = one.seconds / one.acts * 1000 if one.acts else float("nan")
        beside = ratio(each, sqlite.seconds / sqlite.acts * 1000) if one.acts and sqlite.acts else "-"
        faults = "; ".join(one.faults)[:120] or "none"
        rows.append(
            [name, f"{PROCESSES} x {rounds}", str(one.acts), f"{one.seconds:.1f}", f"{each:.2f}", beside, faults]
        )
    return Table(
        "race: processes that register, promote and roll back at once, starting on a store that does not exist",
        ["registry", "processes x rounds", "acts", "seconds", "ms an act", "ratio", "wrong"],
        rows,
        [
            "Looked at: no error, numbers without a gap or a double, each move starts where the one before ended (one "
            "version held the alias at every instant), the alias is where the last move left it, audit verify passes.",
            "Of MLflow errors and double or missing numbers are counted; it keeps no history of an alias.",
        ],
        held=not sqlite.faults and not postgres.faults,
    )


def race(place: Place, folder: Path, address: str, processes: int = PROCESSES, rounds: int = ROUNDS) -> Race:
    """Let processes of ours race on a file in `folder`, or on the database at `address`."""
    worker = Path(__file__).parents[1] / "unit" / "registry" / "competitor.py"
    words = [[sys.executable, worker, folder, f"p{number}", str(rounds), address] for number in range(processes)]
    said, seconds = _start(words, place)
    errors = [text.strip().rpartition("\n")[2] for _, text in said if text.strip()]
    if errors:
        return Race(seconds, 0, tuple(errors))
    given = folder / "given.json"
    given.write_text(json.dumps([json.loads(text) for text, _ in said]), "utf-8")
    line = [sys.executable, worker, folder, given, str(rounds), address, "look"]
    ((text, error),), _ = _start([line], place)
    if error.strip():
        return Race(seconds, 0, (error.strip().rpartition("\n")[2],))
    found = json.loads(text)
    return Race(seconds, found["acts"], tuple(found["wrong"]))


def _mlflow(place: Place, python: str, folder: Path) -> Race:
    script = Path(__file__).with_name("mlflow_registry_peer.py")
    words = [[python, script, folder, f"p{number}", str(_MLFLOW_ROUNDS)] for number in range(PROCESSES)]
    said, seconds = _start(words, place)
    wrong, numbers = dict[str, int](), list[int]()
    for text, error in said:
        if not text.strip():
            last = error.strip().rpartition("\n")[2]
            wrong[last] = wrong.get(last, 0) + 1
            continue
        found = json.loads(text)
        numbers += found["numbers"]
        for name, count in found["errors"].items():
            wrong[name] = wrong.get(name, 0) + count
    missing = PROCESSES * _MLFLOW_ROUNDS - len(numbers)
    doubles = len(numbers) - len(set(numbers))
    faults = [f"{count} x {name}" for name, count in sorted(wrong.items())]
    faults += [f"{missing} of {PROCESSES * _MLFLOW_ROUNDS} versions not made"] if missing else []
    faults += [f"{doubles} numbers twice"] if doubles else []
    return Race(seconds, 3 * len(numbers), tuple(faults))


def _start(words: Sequence[Sequence[object]], place: Place) -> tuple[list[tuple[str, str]], float]:
    processes = [
        subprocess.Popen(
            [str(word) for word in line],
            cwd=Path(__file__).parents[2],
            env={**place.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for line in words
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    began = time.perf_counter()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate() for process in processes]
    return said, time.perf_counter() - began
