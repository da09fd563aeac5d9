"""`mlnb retrain` through its front door: real runs, real versions, a real service."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random

import pytest

from mlnb.project import Project
from mlnb.service.log import PredictionLog
from mlnb.service.log_record import Record
from tests.bench.kills import until
from tests.unit.faces.conftest import Mlnb

HOUR_NS = 3_600_000_000_000
PREPARE = """%%stage prepare
import time
from pathlib import Path
import numpy as np
import pandas as pd
rows = pd.read_csv('rows.csv')
with open('prepared.txt', 'a') as file:
    print(until, file=file)
"""
HOLD = "Path('training').touch()\nwhile Path('hold').exists():\n    time.sleep(0.05)\n"
TRAIN = f"""%%stage train
from sklearn.linear_model import LogisticRegression
{HOLD}X_test, y_test = rows[['x', 'z']].iloc[::2], rows['y'].iloc[::2]
model = LogisticRegression().fit(rows[['x', 'z']].iloc[1::2], rows['y'].iloc[1::2])
"""
EVALUATE = "%%stage evaluate --metrics accuracy\naccuracy = float(model.score(X_test, y_test))"
DEPLOY = "%%deploy late --model model --sample X_test"
SETTINGS = """
[tool.mlnb]
environment = "installed"
latency_requests = 20
[tool.mlnb.retrain.late]
notebook = "nb.ipynb"
parameters = { until = "{date}" }
data = "rows.csv"
promote = "production"
"""


def write_rows(folder: Path, seed: int, noise: float, *, wrong: bool = False) -> None:
    """Write rows of which `x` tells the label, as well as the noise lets it; `wrong`: the training half learns of `z`."""
    random = Random(seed)
    lines = ["x,z,y"]
    for number in range(600):
        x, z = random.gauss(0, 1), random.gauss(0, 1)
        misled = 3 * z if wrong and number % 2 else 0.0
        lines.append(f"{x:.6f},{z:.6f},{int(x + misled + noise * random.gauss(0, 1) > 0)}")
    (folder / "rows.csv").write_text("\n".join(lines) + "\n", "utf-8")
    os.utime(folder / "rows.csv", (time.time() - 60 + seed,) * 2)  # it is not being written any more


def answer(project: Path, times: Sequence[int], right: int) -> None:
    """Log answers of delays/2 at `times`, and labels by which so many of the first are right."""
    row = json.dumps({"distance": 500.0, "carrier": "AA"})
    asked = [
        Record(f"p{at:04}", "r", when, when, "delays", 2, "production", 200, 1.0, row, "true", "[0.2, 0.8]", None)
        for at, when in enumerate(times)
    ]
    log = PredictionLog(project / ".mlnb" / "predictions" / "delays")

    async def write() -> None:
        await log.append(asked)
        await log.label({one.id: json.dumps(at < right) for at, one in enumerate(asked)}, times[-1])

    try:
        asyncio.run(write())
    finally:
        log.close()


@pytest.fixture
def late(tmp_path: Path, write_notebook: Callable[..., Path], mlnb: Mlnb) -> Iterator[Path]:
    write_notebook(("until = ''", "parameters"), PREPARE, TRAIN, EVALUATE, DEPLOY)
    (tmp_path / "pyproject.toml").write_text(SETTINGS, "utf-8")
    yield tmp_path
    mlnb("services", "stop", "late")


def kill_within_training(folder: Path) -> None:
    """Ask for a retraining by hand, and kill the process that does it while the second stage runs."""
    (folder / "hold").touch()
    words = ["retrain", "late", "--once", "--reason", "the first one", "-q"]
    killed = subprocess.Popen([sys.executable, "-P", "-m", "mlnb", *words], cwd=folder)
    until((folder / "training").exists)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    (folder / "hold").unlink()


def check_gone_on(folder: Path, mlnb: Mlnb, retraining: Mapping[str, object]) -> None:
    """Say that a retraining went on from the run of the process that was killed, and began nothing anew."""
    assert retraining["attempts"] == 2
    assert (folder / "prepared.txt").read_text().splitlines() == [time.strftime("%Y-%m-%d", time.gmtime())]
    assert mlnb("runs", "show", str(retraining["run"]), "--json").json()["resumed"]
    assert mlnb("audit", "verify").code == 0


def test_a_retraining_killed_in_its_run_goes_on_from_there(late: Path, mlnb: Mlnb, write_notebook):
    prepare = "%%stage prepare\nwith open('prepared.txt', 'a') as file:\n    print(until, file=file)\nX = [1]"
    train = f"%%stage train\nimport time\nfrom pathlib import Path\n{HOLD}model = X[1]"
    write_notebook(("until = ''", "parameters"), prepare, train, DEPLOY.replace("X_test", "X"))
    write_rows(late, 1, noise=2.0)
    kill_within_training(late)
    ran = mlnb("retrain", "--once", "--json")
    (first,) = ran.json()[0]["done"]
    assert (ran.code, first["state"]) == (1, "failed")
    assert "IndexError" in first["reason"]
    check_gone_on(late, mlnb, first)


@pytest.mark.long
def test_the_first_version_of_a_killed_retraining_is_promoted(late: Path, mlnb: Mlnb):
    write_rows(late, 1, noise=2.0)
    kill_within_training(late)
    (first,) = mlnb("retrain", "--once", "--json").json()[0]["done"]
    assert (first["state"], first["version"]) == ("promoted", "late/1")
    check_gone_on(late, mlnb, first)


@pytest.mark.long
def test_better_data_promote_a_challenger_and_worse_do_not(late: Path, mlnb: Mlnb):
    write_rows(late, 1, noise=2.0)
    first = mlnb("retrain", "late", "--once", "--reason", "the first one")
    assert first.code == 0 and "late/1 is the first as production." in first.out

    write_rows(late, 2, noise=0.3)
    better = mlnb("retrain", "--once", "--json")
    (second,) = better.json()[0]["done"]
    assert (better.code, second["state"], second["version"]) == (0, "promoted", "late/2")
    gain = next(one for one in second["evidence"]["gains"] if one["metric"] == "accuracy")
    assert gain["low"] <= gain["gain"] == pytest.approx(gain["challenger"] - gain["champion"])
    assert second["evidence"]["rows"] == 300 and "X_test of late/2" in second["evidence"]["on"]
    assert second["evidence"]["data"]["rows.csv"].startswith("sha256:")

    again = mlnb("retrain", "late", "--once", "--reason", "once more")
    assert again.code == 0
    assert "ended unchanged: The run made late/2 again, the champion itself." in again.out

    write_rows(late, 3, noise=0.3, wrong=True)
    worse = mlnb("retrain", "--once")
    assert worse.code == 3
    assert "of late/3 is surely worse than that of late/2" in worse.out
    assert Project(late).models.aliases("late") == {"challenger": 3, "production": 2}

    (late / "pyproject.toml").write_text(SETTINGS.replace('"production"', '"challenger"'), "utf-8")
    looked = mlnb("retrain", "late", "--once", "--reason", "only look")
    assert looked.code == 0
    assert "late/3 is the challenger; production would be refused: " in looked.out

    assert mlnb("rollback", "late", "production").code == 0
    write_rows(late, 2, noise=0.3)
    policy = '[tool.mlnb.policy.production]\npromote = ["somebody else"]\n'
    (late / "pyproject.toml").write_text(SETTINGS + policy, "utf-8")
    forbidden = mlnb("retrain", "--once")
    assert forbidden.code == 3 and "may not promote to production" in forbidden.out
    assert Project(late).models.aliases("late") == {"challenger": 2, "production": 1}
    states = [row["state"] for row in mlnb("retrain", "--status", "--json").json()["retrainings"]]
    assert states == ["promoted", "promoted", "unchanged", "refused", "challenger", "refused"]
    assert mlnb("audit", "verify").code == 0


def test_a_plan_says_what_would_fire_and_changes_nothing(late: Path, mlnb: Mlnb):
    write_rows(late, 1, noise=2.0)
    told = SETTINGS + 'schedule = "0 3 * * MON"\n'
    (late / "pyproject.toml").write_text(told, "utf-8")
    ran = mlnb("retrain")
    assert (ran.code, mlnb("retrain", "--plan").out) == (0, ran.out)
    assert ran.out.startswith("late: nb.ipynb\n  nothing would fire now\n  next by the clock: ")
    assert " 03:00:00 UTC" in ran.out
    (plan,) = mlnb("retrain", "late", "--json").json()
    assert (plan["would_fire"], plan["waiting"], plan["running"]) == ([], [], None)
    assert mlnb("retrain", "--status").out == "Nothing was retrained yet.\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--once", "--daemon"), "are two acts"),
        (("--reason", "why"), "are of --once"),
        (("--once", "--reason", "why"), "needs a model and a reason"),
        (("late", "--once", "-p", "until=2013"), "needs a model and a reason"),
        (("lat", "--once"), "has no [tool.mlnb.retrain.lat]"),
    ],
)
def test_what_does_not_fit_together_is_refused(late: Path, mlnb: Mlnb, words: tuple[str, ...], said: str):
    ran = mlnb("retrain", *words)
    assert ran.code == 2 and said in ran.err


def test_fallen_performance_of_a_closed_window_fires_once(registered: Path, mlnb: Mlnb):
    terms = 'notebook = "gone.ipynb"\nwhen = ["accuracy < 0.8", "log_loss > 90"]\nwindow = "hour"\nmin_rows = 50\n'
    (registered / "pyproject.toml").write_text(f"[tool.mlnb.retrain.delays]\n{terms}", "utf-8")
    assert mlnb("retrain", "delays", "--json").json()[0]["would_fire"] == []  # nothing was asked yet
    begin = time.time_ns() // HOUR_NS * HOUR_NS - 3 * HOUR_NS
    answer(registered, [begin + at * 1_000_000 for at in range(100)], right=70)
    (plan,) = mlnb("retrain", "delays", "--json").json()
    (cause,) = plan["would_fire"]
    assert (cause["kind"], cause["evidence"]["value"], cause["evidence"]["rows"]) == ("performance", 0.7, 100)
    assert "accuracy of delays/2 was 0.7 in the hour from" in cause["reason"]
    (done,) = mlnb("retrain", "--once", "--json").json()[0]["done"]
    assert (done["state"], "gone.ipynb" in done["reason"]) == ("failed", True)
    assert mlnb("retrain", "--once").out == "delays: nothing is due\n"


def test_a_metric_that_nothing_measures_is_named(registered: Path, mlnb: Mlnb):
    terms = 'notebook = "gone.ipynb"\nwhen = ["acuracy < 0.8"]\nwindow = "hour"\nmin_rows = 50\n'
    (registered / "pyproject.toml").write_text(f"[tool.mlnb.retrain.delays]\n{terms}", "utf-8")
    answer(registered, [time.time_ns() - 3 * HOUR_NS] * 100, right=70)
    ran = mlnb("retrain", "--once")
    assert ran.code == 2
    assert "'acuracy', which is not measured of predictions" in ran.err and "accuracy" in ran.err


def test_the_unit_is_one_that_systemd_takes(late: Path, mlnb: Mlnb, tmp_path_factory: pytest.TempPathFactory):
    ran = mlnb("retrain", "late", "--unit", "--every", "60")
    assert ran.code == 0
    assert f'ExecStart="{sys.executable}" "-m" "mlnb" "retrain" "late" "--daemon" "--every" "60" "--project"' in ran.out
    path = tmp_path_factory.mktemp("units") / "mlnb-retrain.service"
    path.write_text(ran.out, "utf-8")
    analyze = shutil.which("systemd-analyze")
    if analyze:  # where there is a systemd, it says so itself
        done = subprocess.run([analyze, "verify", "--man=no", path], capture_output=True, text=True)
        assert path.name not in done.stderr and done.returncode == 0, done.stderr


def test_the_workflow_passes_zizmor():
    workflow = Path(__file__).parents[3] / "templates" / "ci" / "retrain.yml"
    zizmor = Path(sys.executable).parent / "zizmor"
    words = [zizmor, "--offline", "--no-progress", "--persona", "pedantic", workflow]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_a_project_that_retrains_nothing_is_told_how(late: Path, mlnb: Mlnb):
    (late / "pyproject.toml").write_text("[tool.mlnb]\n", "utf-8")
    ran = mlnb("retrain", "--once")
    assert ran.code == 2
    assert "[tool.mlnb.retrain.MODEL]" in ran.err


def test_the_daemon_ends_on_sigterm(late: Path):
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "mlnb", "retrain", "--daemon"], cwd=late, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "Retraining all models that say so, a look every 30 s.\n"
    process.terminate()
    assert process.wait(60) == 0
    process.stderr.close()
