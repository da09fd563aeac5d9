"""`mlnb predict REF FILE OUT` from the command line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pandas as pd
import pytest

TABLE = pd.DataFrame({"flight": [7, 8, 9], "distance": [100.0, 800.0, 450.5], "carrier": ["AA", "UA", "AA"]})


def test_a_table_is_scored_into_another(mlnb, registered):
    TABLE.to_parquet(registered / "in.parquet")
    told = mlnb("predict", "delays@production", "in.parquet", "out.csv", "--keep", "flight")
    assert told.out.startswith("3 rows scored with delays/2 in ") and told.out.endswith(": out.csv\n")
    answers = pd.read_csv(registered / "out.csv")
    rows = json.loads(TABLE.drop(columns="flight").to_json(orient="records"))
    single = mlnb("predict", "delays@production", "--rows", json.dumps(rows), "--json").json()
    assert answers["flight"].tolist() == [7, 8, 9]
    assert answers["prediction"].tolist() == single["predictions"]
    assert answers[["probability_false", "probability_true"]].to_numpy().tolist() == single["probabilities"]
    lines = mlnb("predict", "delays/1", "in.parquet", "again.jsonl", "--events").out.splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["event"] for event in events] == ["batch", "batch", "result"]
    assert events[1]["rows"] == events[1]["total"] == events[2]["result"]["rows"] == 3


def test_rows_that_cannot_be_scored_stop_or_are_told(mlnb, registered):
    TABLE.assign(distance=["100", "far", "3"]).to_csv(registered / "in.csv", index=False)
    stopped = mlnb("predict", "delays/1", "in.csv", "out.parquet")
    assert stopped.code == 2 and stopped.out == "" and not (registered / "out.parquet").exists()
    assert "row 1 of in.csv: column 'distance' must be a number, but is the string 'far'" in stopped.err
    spared = mlnb("predict", "delays/1", "in.csv", "out.parquet", "--on-error", "null")
    assert spared.code == 0
    assert spared.out.splitlines()[1:] == [
        "1 of them could not be scored: answers are null, the column fault says why",
        "  row 1 of in.csv: column 'distance' must be a number, but is the string 'far'",
    ]
    assert pd.read_parquet(registered / "out.parquet")["prediction"].isna().tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("in.parquet",), "in.parquet is a table, and no OUT says where its answers go"),
        (("rows.json", "--keep", "flight"), "--keep is for tables"),
        (("in.parquet", "out.parquet", "--rows", "[]"), "--rows have no place in a table"),
        (("in.parquet", "out.parquet", "--executor", "ray://x"), "cannot be scored on 'ray://x'"),
        (("in.parquet", "out.parquet", "--executor", "dask://127.0.0.1:1"), "shared cache"),
    ],
)
def test_what_does_not_go_together_is_refused(mlnb, registered, words, named):
    TABLE.to_parquet(registered / "in.parquet")
    ran = mlnb("predict", "delays/1", *words)
    assert ran.code == 2 and ran.out == ""
    assert named in ran.err and "Traceback" not in ran.err


def test_ctrl_c_leaves_no_file(registered):
    rows = 2_000_000
    pd.DataFrame({"distance": [1.0] * rows, "carrier": "AA"}).to_parquet(registered / "in.parquet")
    before = set(registered.iterdir())
    command = [sys.executable, "-P", "-m", "mlnb", "predict", "delays/1", "in.parquet", "out.parquet", "--events"]
    with subprocess.Popen(
        command, cwd=registered, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["rows"] == 0
        process.send_signal(signal.SIGINT)
        said = "".join(process.communicate(timeout=60))
    assert process.returncode == 1 and "Stopped." in said and "Traceback" not in said
    assert set(registered.iterdir()) == before
