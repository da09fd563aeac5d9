"""Names of benches and a count become tables: ``python -m tests.bench [help run scale crash service ...] --count N``.

Everything is on loopback and bounded; every process that a bench starts is stopped, and the folders are removed. Trust
the ratios: the seconds belong to the machine and to whatever else runs on it. A bench that
aborts does not keep the others from being measured. Exits 1 where a limit does not hold or a bench has aborted.
"""

from __future__ import annotations

import argparse
import sys
import traceback
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
    "batching",
    "log",
    "log_find",
    "log_modes",
    "log_soak",
    "kills",
    "retrain_kills",
    "swap",
    "sequential",
    "alarms",
    "streams",
    "gates",
    "overload",
    "environment",
    "monitor",
    "windows",
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
    missed, aborted = list[str](), list[str]()
    with Place(asked.count) as place:
        for name in asked.benches or BENCHES:
            try:
                outcome = import_module(f"tests.bench.{name}").bench(place)
            except Exception:  # the others are measured all the same
                print(f"\n{name}: ABORTED\n{traceback.format_exc()}", flush=True)
                aborted.append(name)
                continue
            print(outcome.text(f"python -m tests.bench {name} --count {asked.count}"), flush=True)
            if not outcome.held:
                missed.append(name)
    if place.remained:
        print("Had to be killed at the end: " + "; ".join(place.remained))
    for what, names in (("A limit does not hold in", missed), ("Aborted", aborted)):
        if names:
            print(f"{what}: {', '.join(names)}")
    return 1 if missed or aborted or place.remained else 0


sys.exit(main())
