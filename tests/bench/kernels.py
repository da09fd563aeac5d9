"""Forked kernels beside spawned ones: how soon the first result is there, and whether many forks leave anything behind.

In a run the next kernel is forked while the one before works; alone, nothing was there when it was asked for. Every forked kernel of the soak works with pandas, scikit-learn and pyarrow, whose threads a fork could break; a hang
would end in the time-out of a cell. ``--count 20`` makes the thousand forks.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

from tests.bench.cost import spend
from tests.bench.place import Place
from tests.bench.table import Table, ratio

_FORKS, _ALONE, _SPAWNS = 50, 10, 3
_LIMIT_S = 0.2
_WORK = """\
import time
print(time.time())
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.ensemble import RandomForestClassifier
frame = pd.DataFrame(np.random.rand(2000, 6), columns=list("abcdef"))
grouped = frame.assign(k=frame["a"].round(1)).groupby("k").mean()
table = pa.Table.from_pandas(frame).sort_by("b").filter(pc.field("c") > 0.5)
product = np.linalg.inv(np.random.rand(300, 300)) @ np.random.rand(300, 300)
model = RandomForestClassifier(8, n_jobs=2).fit(frame[["a", "b"]], frame["c"] > 0.5)
print(len(grouped), table.num_rows, product.shape, model.score(frame[["a", "b"]], frame["c"] > 0.5))"""
_MEASURE = """
import json, os, resource, sys, tempfile, time
from pathlib import Path
import psutil
from mlnb.run.kernels.job import Job
from mlnb.run.kernels.open import open_kernels
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder
folder, how, more, count, work = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "more", int(sys.argv[4]), sys.argv[5]
modules = ("numpy", "pandas", "pyarrow.compute", "sklearn.ensemble")
cell = {"cell_type": "code", "id": "a", "metadata": {}, "execution_count": None, "outputs": [], "source": work}
kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
content = {"cells": [cell], "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
path = folder / f"{how}.ipynb"
def once(kernels):
    path.write_text(json.dumps(content))
    started = time.time()
    done = kernels.execute(Job(path, folder, {}, timeout_s=120, more=more), lambda number: None)
    ended = time.time()
    outputs = done.notebook["cells"][0]["outputs"]
    assert not done.crash and all(one.get("name") == "stdout" for one in outputs), (done.crash, outputs)
    first, worked = "".join("".join(one["text"]) for one in outputs).splitlines()
    return float(first) - started, ended - started, worked
def zygotes():
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if "mlnb.run.kernels.zygote" in (process.info["cmdline"] or []) and str(folder) in process.info["cmdline"]:
            found.append(process)
    return found
def left():
    own = psutil.Process()
    counts = {"files here": own.num_fds(), "processes": len(own.children())}
    for process in zygotes():
        counts["files of the zygote"] = process.num_fds()
        counts["processes"] += len(process.children())
    shared = Path(tempfile.gettempdir()) / f"mlnb-{os.getuid()}"
    counts["folders"] = len(list(shared.glob("k-*"))) if shared.is_dir() else 0
    return counts
with open_kernels(how, StateFolder.open(folder), Settings()) as kernels:
    kernels.prepare(modules)
    once(kernels), once(kernels)
    before = left()
    runs = [once(kernels) for _ in range(count)]
    after = left()
    zygote = zygotes()
psutil.wait_procs(zygote, timeout=20)
firsts, wholes = sorted(first for first, _, _ in runs), sorted(whole for _, whole, _ in runs)
def at(values, share):
    return values[min(len(values) - 1, int(share * len(values)))]
print(json.dumps({
    "p50": at(firsts, 0.5), "p95": at(firsts, 0.95), "whole": at(wholes, 0.5), "results": len({one for _, _, one in runs}),
    "before": before, "after": after, "remains": [str(one) for one in Path(tempfile.gettempdir()).glob("mlnb-*")],
}))
"""


@dataclass(frozen=True, slots=True)
class _Found:
    p50_s: float
    p95_s: float
    whole_s: float
    leaks: tuple[str, ...]


def bench(place: Place) -> Table:
    """Measure both, one after the other."""
    counts = {
        "fork, in a run": _FORKS * place.count,
        "fork, alone": _ALONE * place.count,
        "pool": _SPAWNS * place.count,
        "spawn": _SPAWNS * place.count,
    }
    found = {how: _measured(place, how, count) for how, count in counts.items()}
    ours = found["fork, in a run"]
    rows = [
        [
            f"{how} ({counts[how]})",
            f"{one.p50_s:.3f}",
            f"{one.p95_s:.3f}",
            f"{one.whole_s:.3f}",
            ratio(one.p50_s, ours.p50_s),
        ]
        for how, one in found.items()
    ]
    leaks = [f"{how}: {leak}" for how, one in found.items() for leak in one.leaks]
    return Table(
        "kernels: from asking for a kernel to its first result, and to its end after some work",
        ["kernel", "first result, p50 s", "p95 s", "whole notebook, s", "first result, times the first"],
        rows,
        [
            f"A forked kernel's first result in a run within {_LIMIT_S} s (median): {'yes' if ours.p50_s < _LIMIT_S else 'no'}.",
            f"Left behind by {_FORKS * place.count} forks: {'; '.join(leaks) or 'no process, file, socket or folder'}.",
        ],
        held=ours.p50_s < _LIMIT_S and not leaks,
    )


def _measured(place: Place, how: str, count: int) -> _Found:
    kind, _, where = how.partition(", ")
    folder = place.make(f"kernels-{kind}-{where.replace(' ', '-')}")
    command = (sys.executable, "-c", _MEASURE, folder, kind, "more" if where == "in a run" else "", str(count), _WORK)
    told = json.loads(spend(command, folder, place.environ)[1])
    leaks = [
        f"{name}: {told['before'].get(name)} before, {value} after"
        for name, value in told["after"].items()
        if value > told["before"].get(name, 0)
    ]
    leaks += [f"{path} remains" for path in told["remains"]]
    if told["results"] != 1:
        leaks.append(f"{told['results']} different results of the same work")
    return _Found(told["p50"], told["p95"], told["whole"], tuple(leaks))
