"""A drift report over 100,000 logged rows of twelve features, against what a person would write with scipy.

The peer reads the same log with pandas and asks `scipy.stats` about each feature, one test for the whole time. Ours
makes daily windows, several distances, the predictions' drift, latency and errors as well.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.request import Request, urlopen

from tests.bench.cost import medians, spend
from tests.bench.deployed import MODEL, Deployed
from tests.bench.place import Place
from tests.bench.rows import NUMBERS, WORDS, draw
from tests.bench.table import Table, ratio

_ROWS = 100_000
_ROWS_EACH = 1000
_DAYS = 50
_SHIFT = 0.5
_PEER = f"""
import glob, json, sqlite3, sys
import pandas as pd
from scipy.stats import chi2_contingency, ks_2samp
reference = pd.read_csv(sys.argv[1])
logged = pd.concat([
    *(pd.read_sql_query("SELECT inputs FROM predictions WHERE status = 200", sqlite3.connect(path))
      for path in glob.glob(sys.argv[2] + "/*.db")),
    *(pd.read_parquet(path, columns=["inputs"], filters=[("status", "==", 200)])
      for path in glob.glob(sys.argv[2] + "/segments/predictions-*.parquet")),
])
current = pd.DataFrame([json.loads(text) for text in logged["inputs"]])
found = {{name: ks_2samp(reference[name], current[name]).statistic for name in {NUMBERS}}}
for name in {WORDS}:
    counts = pd.concat([reference[name].value_counts(), current[name].value_counts()], axis=1).fillna(0)
    chi2_contingency(counts)
print(json.dumps({{"rows": len(current), "ks": found}}))
"""
_OURS, _THEIRS = "mlnb monitor --json", "pandas + ks_2samp, chi2"


def bench(place: Place) -> Table:
    """Measure whole processes, imports included; the page is measured beside."""
    deployed = place.deployed
    _fill(deployed)
    ours = (sys.executable, "-m", "mlnb", "monitor", MODEL, "--json")
    page = (sys.executable, "-m", "mlnb", "monitor", MODEL, "--html", place.folder / "page.html")
    peer = (sys.executable, "-c", _PEER, deployed.project / "flights.csv", deployed.log)
    imports = (sys.executable, "-c", "import pandas, scipy.stats")
    commands = {_OURS: ours, "mlnb monitor --html": page, _THEIRS: peer, "import pandas, scipy.stats": imports}
    costs = medians(
        place.count, {name: partial(place.spend, *words, cwd=deployed.project) for name, words in commands.items()}
    )
    report = json.loads(spend(ours, deployed.project, place.environ)[1])
    told = json.loads(spend(peer, deployed.project, place.environ)[1])
    features = {feature["name"]: feature for feature in report["features"]}
    apart = max(abs(features[name]["ks"] - told["ks"][name]) for name in NUMBERS)
    if told["rows"] != _ROWS or sum(window["rows"] for window in report["windows"]) != _ROWS:
        raise RuntimeError(f"The peer read {told['rows']} rows, not {_ROWS}, or mlnb did.")
    rows = [
        [name, f"{c.cpu_s:.2f}", f"{c.wall_s:.2f}", ratio(c.cpu_s, costs[_OURS].cpu_s)] for name, c in costs.items()
    ]
    found = [name for name, feature in features.items() if feature["drifted"]]
    return Table(
        f"monitor: {_ROWS:,} logged rows x {len(features)} features (medians of {place.count})",
        ["command", "CPU s", "wall s", "CPU, times ours"],
        rows,
        [
            f"{len(report['windows'])} daily windows; drifted: {', '.join(found) or 'none'} (number_3 was moved by "
            f"{_SHIFT} sd, nothing else).",
            f"Largest difference between our KS (from counts) and scipy's (exact): {apart:.4f}.",
        ],
        held=found == ["number_3"],
    )


def _fill(deployed: Deployed) -> None:
    """Ask the service itself, so that its log is a real one."""
    deployed.forget()
    first = datetime(2026, 1, 1, tzinfo=UTC)
    step = timedelta(days=_DAYS) / _ROWS
    for start in range(0, _ROWS, _ROWS_EACH):
        rows = draw(_ROWS_EACH, seed=1000 + start, shift=_SHIFT)
        times = [(first + step * place).isoformat() for place in range(start, start + _ROWS_EACH)]
        body = json.dumps({"rows": rows, "timestamps": times}).encode()
        with urlopen(
            Request(f"{deployed.url}/predict", body, {"Content-Type": "application/json"}), timeout=60
        ) as told:
            told.read()
    deployed.stop()
