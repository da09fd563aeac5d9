"""A long walk of the machine that acts and tampers (`tests/unit/registry/tampering.py`): everything is found."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.bench.place import Place
from tests.bench.table import Table

_EXAMPLES, _STEPS = 40, 25


def bench(place: Place) -> Table:
    """Walk `place.count` times 40 examples of 25 steps."""
    began = time.perf_counter()
    root = Path(__file__).parents[2]
    process = subprocess.run(
        [sys.executable, "-m", "tests.bench.tampering", str(_EXAMPLES * place.count)],
        cwd=root,
        env={**place.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - began
    found = process.stdout.strip() or "0"
    return Table(
        f"tampering: edits, deletions, additions, exchanges, forgeries and flipped bits ({_EXAMPLES * place.count} walks)",
        ["", "tampered", "not found", "seconds"],
        [["mlnb audit verify", found, "0" if not process.returncode else "see below", f"{seconds:.0f}"]],
        [] if not process.returncode else process.stderr.strip().splitlines()[-40:],
        held=not process.returncode,
    )


def walk(examples: int) -> int:
    """Walk; return how often something was tampered with and found."""
    from hypothesis import HealthCheck, settings
    from hypothesis.stateful import run_state_machine_as_test

    from tests.unit.registry.tampering import Tampering

    found = 0

    class Counted(Tampering):
        def teardown(self) -> None:
            nonlocal found
            found += self.found
            super().teardown()

    limits = settings(
        max_examples=examples,
        stateful_step_count=_STEPS,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Counted, settings=limits)
    return found


if __name__ == "__main__":
    print(walk(int(sys.argv[1])))
