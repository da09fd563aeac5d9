"""Register, promote, look up by alias, roll back and verify, beside MLflow's registry on the same kind of file.

The ledger is a SQLite file as by default: WAL, ``synchronous=NORMAL``. An answered act survives the death of any
process; a power cut may take the last ones, whole. MLflow's store is what ``sqlite:///`` gives its client.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.mlflow_peer import mlflow_python
from tests.bench.place import Place
from tests.bench.table import Table, ratio

_ACTS = 300
_VERSIONS, _ROWS = 10_000, 100_000
_PAIR_MS, _LOOK_UP_MS, _BESIDE, _GROWN = 5.0, 1.0, 8.0, 2.0
_MEASURES = ("register + promote", "look up by alias", "roll back")


def bench(place: Place) -> Table:
    """Measure in a process of its own each; the limits are those of the issue."""
    folder = place.make("registry")
    ours = [_run(place, sys.executable, "ours", folder / f"ours-{number}") for number in range(place.count)]
    python = mlflow_python(place.folder)
    peer = Path(__file__).with_name("mlflow_registry_peer.py")
    theirs = [_run(place, python, peer, folder / f"mlflow-{number}") for number in range(place.count)]
    grown = _run(place, sys.executable, "grown", folder / "grown")
    rows = []
    for name in _MEASURES:
        ms, peer_ms = _median(ours, name), _median(theirs, name)
        rows.append([name, f"{ms:.2f}", f"{peer_ms:.2f}", ratio(peer_ms, ms), f"{grown[name]:.2f}"])
    pair, look_up = _median(ours, _MEASURES[0]), _median(ours, _MEASURES[1])
    linear, slower = grown["verify"] / grown["verify half"], grown[_MEASURES[1]] / look_up
    held = (
        pair <= _PAIR_MS
        and look_up < _LOOK_UP_MS
        and grown[_MEASURES[1]] < _LOOK_UP_MS
        and slower < _GROWN
        and _median(theirs, _MEASURES[0]) >= _BESIDE * pair
        and linear < 2.6
    )
    return Table(
        f"registry: milliseconds, medians of {_ACTS} acts ({place.count} processes each)",
        ["act", "mlnb", "MLflow", "ratio", f"mlnb, {_VERSIONS:,} versions, {_ROWS:,} rows"],
        rows,
        [
            "mlnb: each act with its audit row and signatures, versions signed and read before they are promoted.",
            f"Limits: {_PAIR_MS:g} ms register + promote, {_LOOK_UP_MS:g} ms look-up, {_BESIDE:g}x beside MLflow.",
            f"A look-up does not grow with the ledger: {slower:.2f}x that of a small one (less than {_GROWN:g}x).",
            f"audit verify of {_ROWS:,} rows, {_VERSIONS:,} signatures: {grown['verify']:.1f} s; of half of them "
            f"{grown['verify half']:.1f} s ({linear:.2f}x).",
        ],
        held=held,
    )


def _run(place: Place, python: str, what: str | Path, folder: Path) -> dict[str, float]:
    folder.mkdir(parents=True)
    words = [what] if isinstance(what, Path) else ["-m", "tests.bench.registry", what]
    process = subprocess.run(
        [python, *map(str, words), str(folder)], env=place.environ, capture_output=True, text=True, check=False
    )
    if process.returncode:
        raise RuntimeError(process.stderr)
    found: dict[str, float] = json.loads(process.stdout)
    return found


def _median(runs: list[dict[str, float]], name: str) -> float:
    return statistics.median(run[name] for run in runs)


def timed(act: Callable[[], object]) -> float:
    """Return the milliseconds that an act takes."""
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1000


def _acts(folder: Path) -> dict[str, float]:
    from mlnb.registry.registry import Registry
    from mlnb.registry.version import Draft
    from mlnb.store.files import FileStore
    from mlnb.store.ledger import Ledger

    store = FileStore(folder / "artifacts")
    pairs, look_ups, back = list[float](), list[float](), list[float]()
    with Ledger(folder / "ledger.db") as ledger:
        registry = Registry(ledger, store)

        def pair(draft: Draft) -> None:
            registry.promote(registry.register(draft).ref, "production", by="anna", reason="better")

        for number in range(_ACTS):
            files = {"model.onnx": store.put(os.urandom(20_000))[0], "package.json": store.put(b"%d" % number)[0]}
            pairs.append(timed(lambda files=files: pair(Draft("delays", "anna", "onnx", files, {"auc": 0.8}))))
            look_ups.append(timed(lambda: registry.get("delays@production")))
        back = [timed(lambda: registry.rollback("delays", "production", by="anna")) for _ in range(_ACTS // 3)]
    figures = (pairs[20:], look_ups[20:], back)
    return {name: statistics.median(figure) for name, figure in zip(_MEASURES, figures, strict=True)}


def _grown(folder: Path) -> dict[str, float]:
    """Measure the same on a ledger of 10,000 versions and 100,000 rows, and verify it at its half and at its end."""
    from mlnb.registry.audit import Audit, append
    from mlnb.registry.canonical import utc_now
    from mlnb.registry.registry import Registry
    from mlnb.registry.version import Draft
    from mlnb.store.files import FileStore
    from mlnb.store.ledger import Ledger

    store = FileStore(folder / "artifacts")
    files = {"model.onnx": store.put(b"model")[0]}
    found: dict[str, float] = {}
    with Ledger(folder / "ledger.db") as ledger:
        registry, audit = Registry(ledger, store), Audit(ledger)
        for half in ("verify half", "verify"):
            for number in range(_VERSIONS // 2):
                draft = Draft(f"m{number % 10}", "anna", "onnx", files, {"auc": 0.8}, content=f"{half} {number}")
                registry.promote(registry.register(draft).ref, "production", by="anna")
            with ledger.write() as connection:
                for number in range(_ROWS // 2 - _VERSIONS):
                    detail = {"evidence": {"auc": 0.8, "latency_p99_ms": 3.5}, "verdicts": []}
                    append(connection, utc_now(), "anna", "judge", f"m1/{number + 1}", detail)
            found[half] = timed(lambda: _well(audit.verify(store).ok)) / 1000
    return {**_acts(folder), **found}


def _well(ok: bool) -> None:
    if not ok:
        raise RuntimeError("The ledger does not verify.")


if __name__ == "__main__":
    print(json.dumps({"ours": _acts, "grown": _grown}[sys.argv[1]](Path(sys.argv[2]))))
