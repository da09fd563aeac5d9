"""Names of benches and a count become tables: ``python -m tests.bench [help run scale crash service ...] --count N``.

Everything is on loopback and bounded; every process that a bench starts is stopped, and the folders are removed. Trust
the ratios: the seconds belong to the machine and to whatever else runs on it. Exits 1 where a limit does not hold.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from tests.bench.place import Place

BENCHES = (
    "help",
    "explain",
    "fidelity",
    "boosters",
    "torch",
    "run",
    "kernels",
    "agree",
    "pipeline",
    "scale",
    "handoff",
    "crash",
    "service",
    "log",
    "log_find",
    "log_modes",
    "log_soak",
    "kills",
    "swap",
    "sequential",
    "gates",
    "overload",
    "environment",
    "monitor",
    "batch",
    "package",
    "fuzz_package",
    "clients",
    "calls",
    "fuzz_calls",
    "fuzz_service",
    "registry",
    "asked",
    "race",
    "acts",
    "tampering",
    "mirror",
    "upkeep",
)


def main() -> int:
    """Run the chosen benches and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure mlnb beside its peers.")
    parser.add_argument("benches", nargs="*", metavar="BENCH", help=f"of {', '.join(BENCHES)}; all where none is given")
    parser.add_argument("--count", type=int, default=1, metavar="N", help="repetitions; medians are shown (default 1)")
    asked = parser.parse_args()
    unknown = sorted(set(asked.benches) - set(BENCHES))
    if unknown or asked.count < 1:
        parser.error(f"no bench {unknown[0]}; there are {', '.join(BENCHES)}" if unknown else "--count starts at 1")
    held = True
    with Place(asked.count) as place:
        for name in asked.benches or BENCHES:
            outcome = import_module(f"tests.bench.{name}").bench(place)
            print(outcome.text(f"python -m tests.bench {name} --count {asked.count}"), flush=True)
            held = held and outcome.held
    if place.remained:
        print("Had to be killed at the end: " + "; ".join(place.remained))
    return 0 if held and not place.remained else 1


sys.exit(main())
