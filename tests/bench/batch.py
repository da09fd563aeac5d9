"""A table is scored by `mlnb predict REF IN OUT` and by mlflow pyfunc: the same pipeline, the same Parquet file.

Four million rows by default after one million; with a count of 5 or more, 20 million: only memory is asked of those.
One million is scored as often as asked, at the most three times.
The peer's Python is MLFLOW_PYTHON, or an environment that is made for the bench.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.bench.cost import spend
from tests.bench.mlflow_peer import median, mlflow_python
from tests.bench.place import Place
from tests.bench.table import Table, ratio

_MILLION = 1_000_000
_LEAST_TIMES = 1.4
_MOST_GROWTH_MB = 100.0
_MANY_COUNT = 5
_MOST_RUNS = 3
_PREPARE = """
import sys
import joblib
from pathlib import Path
from mlnb.model.export import export_model
from tests.bench.mixed import fitted, frame
folder = Path(sys.argv[1])
model = fitted()
export_model(model, frame(2000, seed=3), folder / "package", model="late")
joblib.dump(model, folder / "model.joblib")
"""
_ROWS = """
import sys
import pyarrow as pa, pyarrow.parquet as pq
from tests.bench.mixed import frame
count = int(sys.argv[2]) // 250_000
tables = [pa.Table.from_pandas(frame(250_000, seed=seed), preserve_index=False) for seed in range(min(count, 8))]
with pq.ParquetWriter(sys.argv[1], tables[0].schema) as writer:
    for at in range(count):
        writer.write_table(tables[at % 8])
"""
_SCORE = """
import json, resource, sys
from pathlib import Path
from mlnb.batch.table import Batch, score_table
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
before = cpu()
scored = score_table(Path(sys.argv[1]), "late/1", Batch(sys.argv[2], sys.argv[3]), lambda event: None)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
print(json.dumps({"rows": scored.rows, "seconds": scored.seconds, "cpu_s": cpu() - before, "peak_mb": peak}))
"""
_ROOT = Path(__file__).parents[2]


def bench(place: Place) -> Table:
    """Measure each in a process of its own, in turn."""
    folder = place.make("batch")
    _python(place, _PREPARE, str(folder))
    turns = min(place.count, _MOST_RUNS)
    sizes = (1, 20 if place.count >= _MANY_COUNT else 4)
    for size in sizes:
        print(f"(writing {size} million rows ...)", file=sys.stderr, flush=True)
        _python(place, _ROWS, str(folder / f"{size}.parquet"), str(size * _MILLION))
    peer = mlflow_python(place.folder)
    script = str(Path(__file__).with_name("mlflow_peer.py"))
    ours, theirs = [], []
    for at in range(turns):
        source = str(folder / "1.parquet")
        ours.append(_python(place, _SCORE, str(folder / "package"), source, str(folder / f"ours{at}.parquet")))
        command = (peer, script, "score", str(folder / "model.joblib"), source, str(folder / f"theirs{at}.parquet"))
        theirs.append(json.loads(spend(command, folder, place.environ)[1]))
    large = _python(
        place, _SCORE, str(folder / "package"), str(folder / f"{sizes[1]}.parquet"), str(folder / "l.parquet")
    )
    rates = {name: median([one["rows"] / one["seconds"] for one in runs]) for name, runs in _named(ours, theirs)}
    growth = large["peak_mb"] - ours[0]["peak_mb"]
    rows = [
        [
            name,
            f"{rates[name]:,.0f}",
            ratio(rates["mlnb"], rates[name]),
            f"{median([one['cpu_s'] for one in runs]):.2f}",
            f"{median([one['peak_mb'] for one in runs]):.0f}",
        ]
        for name, runs in _named(ours, theirs)
    ]
    rows.append(
        [f"mlnb, {sizes[1]}M rows", f"{large['rows'] / large['seconds']:,.0f}", "", "", f"{large['peak_mb']:.0f}"]
    )
    times = rates["mlnb"] / rates["mlflow pyfunc"]
    notes = [
        f"mlnb scores {times:.2f} times the rows of mlflow pyfunc (at least {_LEAST_TIMES:g}).",
        f"From 1M to {sizes[1]}M rows the peak grows by {growth:.0f} MB (at most {_MOST_GROWTH_MB:g}).",
        "mlnb writes labels, probabilities and version; pyfunc probabilities alone. Loading is not counted.",
    ]
    return Table(
        f"batch: 1,000,000 rows of 9 numbers and 2 words, imputed, scaled, encoded, HistGradientBoosting of 100 trees "
        f"(medians of {turns})",
        ["contestant", "rows/s", "mlnb is", "CPU s", "peak MB"],
        rows,
        notes,
        times >= _LEAST_TIMES and growth <= _MOST_GROWTH_MB,
    )


def _named(
    ours: list[dict[str, float]], theirs: list[dict[str, float]]
) -> tuple[tuple[str, list[dict[str, float]]], tuple[str, list[dict[str, float]]]]:
    return ("mlnb", ours), ("mlflow pyfunc", theirs)


def _python(place: Place, script: str, *words: str) -> dict[str, float]:
    told = spend((sys.executable, "-c", script, *words), _ROOT, place.environ)[1]
    return dict(json.loads(told)) if told.strip() else {}
