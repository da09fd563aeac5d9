"""Eight real processes on one ledger that does not exist when they begin."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.unit.registry.competitor import Given, faults

PROCESSES, ROUNDS = 8, 10


def outcomes(folder: Path) -> list[Given]:
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
    outcome = faults(tmp_path, "", outcomes(tmp_path), ROUNDS)
    assert outcome.wrong == ()
    assert outcome.acts > 2 * PROCESSES * ROUNDS
