"""Eight real processes on one ledger that does not exist when they begin."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

from mlnb.registry.audit import Audit
from mlnb.registry.registry import Registry
from mlnb.store.files import FileStore
from mlnb.store.ledger import Ledger

PROCESSES, ROUNDS = 8, 10


def outcomes(folder: Path) -> list[dict[str, list[int]]]:
    worker = Path(__file__).with_name("competitor.py")
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", worker, folder, f"p{number}", str(ROUNDS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate() for process in processes]
    assert [errors for _, errors in said] == [""] * PROCESSES
    return [json.loads(text) for text, _ in said]


def test_eight_processes_register_promote_and_roll_back_without_gap_or_loss(tmp_path: Path) -> None:
    results = outcomes(tmp_path)
    with Ledger(tmp_path / "ledger.db") as ledger:
        registry = Registry(ledger, FileStore(tmp_path / "artifacts"))
        given = sorted(number for result in results for number in result["mine"])
        assert given == list(range(1, PROCESSES * ROUNDS + 1))
        assert [version.number for version in registry.list("delays")] == given

        assert all(result["shared"] == results[0]["shared"] for result in results)
        assert [version.number for version in registry.list("shared")] == list(range(1, ROUNDS + 1))

        moves = registry.history("delays", "production")
        assert sum(move.kind == "promote" for move in moves) == PROCESSES * ROUNDS
        assert moves[0].from_number == 0
        assert all(after.from_number == before.to_number for before, after in pairwise(moves))
        assert registry.aliases("delays") == {"production": moves[-1].to_number}

        stack: list[int] = []
        for move in moves:
            if move.kind == "promote":
                stack.append(move.to_number)
            else:
                stack.pop()
            assert move.to_number == stack[-1]

        report = Audit(ledger).verify()
        assert report.ok, report.sentence
        assert report.rows == PROCESSES * ROUNDS + ROUNDS + len(moves)
