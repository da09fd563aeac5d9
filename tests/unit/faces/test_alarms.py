"""`mlnb alarms`: check, list, show and acknowledge on a real log, and the people who are told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from mlnb.project import Project
from mlnb.service.log import PredictionLog, Record
from tests.unit.faces.conftest import Mlnb

HOUR = 3_600_000_000_000
START = 1_356_998_400_000_000_000  # 2013-01-01T00:00:00Z
LATER = 4_102_444_800_000_000_000  # 2100-01-01


def asked(folder: Path, count: int, *, far: bool, begin: int = START, per_hour: int = 100) -> None:
    """Log rows that production, which is version 2, was asked; `far` flights are beyond the middle of the sample."""
    log = PredictionLog(folder / ".mlnb" / "predictions" / "delays")
    rows = [
        {"distance": float(at * 37 % 450 + (450 if far or at % 2 else 0)), "carrier": "AA" if at % 2 else "UA"}
        for at in range(count)
    ]
    records = [
        Record(
            f"{begin}-{at:06}", f"r{at}", begin + at // per_hour * HOUR + at, begin, "delays", 2, "production", 200, 1.0,
            json.dumps(row), json.dumps(row["distance"] > 450), None, None,
        )
        for at, row in enumerate(rows)
    ]  # fmt: skip

    async def write() -> None:
        await log.append(records)

    try:
        asyncio.run(write())
    finally:
        log.close()


@pytest.fixture
def told(registered: Path) -> Iterator[list[dict[str, object]]]:
    """What people are told."""
    events: list[dict[str, object]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            events.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        lines = f'notify_url = "http://127.0.0.1:{server.server_address[1]}/"\n[tool.mlnb.monitor]\nspan = "hour"\n'
        (registered / "pyproject.toml").write_text(f"[tool.mlnb]\n{lines}")
        yield events
        server.shutdown()
        thread.join()


def test_an_alarm_is_raised_told_shown_and_acknowledged(
    mlnb: Mlnb, registered: Path, told: list[dict[str, object]]
) -> None:
    asked(registered, 300, far=False)
    calm = mlnb("alarms", "check", "delays", cwd=registered)
    assert (calm.code, calm.err) == (0, "")
    assert "delays/2: 3 windows were judged, 0 alarms raised." in calm.out
    assert "No alarm is open." in calm.out and "No bound on false alarms can be claimed" in calm.out

    asked(registered, 400, far=True, begin=START + 10 * HOUR)
    for raised in (2, 0):  # the second look finds what stands
        ran = mlnb("alarms", "check", "delays", cwd=registered)
        assert ran.code == 1
        assert f"delays/2: 7 windows were judged, {raised} alarms raised." in ran.out
    assert "drift of distance" in ran.out and "    distance is at most " in ran.out

    alarms = mlnb("alarms", "list", "--json", cwd=registered).json()
    assert [(one["what"], one["kind"], one["version"]) for one in alarms] == [
        ("distance", "drift", "delays/2"),
        ("prediction", "prediction", "delays/2"),
    ]
    shown = mlnb("alarms", "show", "1", cwd=registered)
    assert "e_value: " in shown.out and "window 2013-01-01T1" in shown.out

    monitored = mlnb("monitor", "delays", "--span", "hour", cwd=registered)
    assert "! alarm 1, drift of distance: distance is at most " in monitored.out
    told_there = mlnb("monitor", "delays", "--span", "hour", "--json", cwd=registered).json()["alarms"]
    assert told_there == alarms

    done = mlnb("alarms", "acknowledge", "1", "--note", "summer flights", cwd=registered)
    assert (done.code, done.out.startswith("alarm 1 (drift of distance) is acknowledged by ")) == (0, True)
    again = mlnb("alarms", "acknowledge", "1", cwd=registered)
    assert (again.code, again.out) == (2, "") and "The alarm 1 was acknowledged by " in again.err
    assert mlnb("alarms", "list", "delays", cwd=registered).out.startswith("2  ")
    assert ": summer flights" in mlnb("alarms", "list", "--all", cwd=registered).out

    assert [(one["event"], one["state"], one["what"]) for one in told] == [
        ("alarm", "open", "distance"),
        ("alarm", "open", "prediction"),
        ("alarm", "acknowledged", "distance"),
    ]
    assert told[0]["text"] == alarms[0]["reason"]
    assert mlnb("audit", "verify", cwd=registered).code == 0


def test_what_was_acknowledged_comes_again_only_by_new_windows(mlnb: Mlnb, registered: Path) -> None:
    (registered / "pyproject.toml").write_text('[tool.mlnb.monitor]\nspan = "hour"\n')
    asked(registered, 400, far=True)
    project = Project(registered, "anna")
    found = project.alarms.check("delays")
    for alarm in found.standing:
        project.alarms.acknowledge(alarm.id)
    assert project.alarms.check("delays").standing == ()
    asked(registered, 400, far=True, begin=LATER)
    again = project.alarms.check("delays")
    assert {alarm.place for alarm in again.raised} == {alarm.place for alarm in found.raised}
    assert all(str(alarm.evidence["since"]).startswith("2100") for alarm in again.raised)
    project.ledger.close()


def test_a_plain_rule_of_the_settings_alarms(mlnb: Mlnb, registered: Path) -> None:
    (registered / "pyproject.toml").write_text(
        '[tool.mlnb.monitor]\nrules = ["distance.ks > 0.4"]\ntolerance = 1.0\nrare = 1.0\n'
    )
    asked(registered, 100, far=True)
    ran = mlnb("alarms", "check", "delays", "--json", cwd=registered)
    (alarm,) = ran.json()["raised"]
    assert (ran.code, alarm["kind"], alarm["what"]) == (1, "threshold", "distance")
    assert "which the plain rule 'distance.ks > 0.4' alarms on" in alarm["reason"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("alarms", "check", "nobody"), "nobody"),
        (("alarms", "check", "delays", "--alias", "nowhere"), "nowhere"),
        (("alarms", "check", "delays"), "No prediction of delays has been logged"),
        (("alarms", "show", "4"), "There is no alarm 4."),
        (("alarms", "acknowledge", "x"), "'x' is not a valid integer"),
    ],
)
def test_what_is_not_there_is_refused_in_two_sentences(
    mlnb: Mlnb, registered: Path, words: tuple[str, ...], said: str
) -> None:
    ran = mlnb(*words, cwd=registered)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err and len(ran.err.strip().splitlines()) == 2


def test_a_mistake_in_the_settings_is_told_when_alarms_are_asked_for(mlnb: Mlnb, registered: Path) -> None:
    asked(registered, 10, far=False)
    (registered / "pyproject.toml").write_text("[tool.mlnb.monitor]\nbudget = 7\n")
    ran = mlnb("alarms", "check", "delays", cwd=registered)
    assert (ran.code, ran.err.startswith("budget in [tool.mlnb.monitor] is 7, which is no share.")) == (2, True)


def test_a_look_of_the_retrainer_checks_for_alarms_and_each_fires_once(
    mlnb: Mlnb, registered: Path, told: list[dict[str, object]]
) -> None:
    with (registered / "pyproject.toml").open("a") as settings:
        settings.write('[tool.mlnb.retrain.delays]\nnotebook = "gone.ipynb"\non_alarm = ["drift"]\n')
    calm = mlnb("retrain", "delays", "--once", cwd=registered)
    assert (calm.code, calm.out) == (0, "delays: nothing is due\n")  # nothing was asked yet
    asked(registered, 400, far=True)
    fired = mlnb("retrain", "delays", "--once", cwd=registered)
    assert fired.code == 1 and "gone.ipynb" in fired.out
    (done,) = Project(registered).retraining.docket.list("delays")
    (trigger,) = Project(registered).retraining.docket.served(done.id)
    assert trigger.cause.reason.startswith("Alarm 1 (drift of distance) is open: distance is at most ")
    assert [one["event"] for one in told] == ["alarm", "alarm", "retraining"]
    assert mlnb("retrain", "delays", "--once", cwd=registered).out == "delays: nothing is due\n"


def test_an_alarm_whose_teller_was_killed_is_told_by_the_next_verb(
    mlnb: Mlnb, registered: Path, told: list[dict[str, object]], killed: Callable[[str, Path], int]
) -> None:
    asked(registered, 400, far=True)
    code = """
import os, signal, sys
from mlnb.project import Project
from mlnb.registry.alarms import Alarms
project = Project(sys.argv[1])
found = project.alarms.judge("delays")
with project.effects.planned("delays", "alarm") as effects:
    Alarms(project.ledger).raise_all(found.alarms, by="cron", effects=effects)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert killed(code, registered) == -9
    assert told == []
    mlnb("alarms", "list", cwd=registered)
    assert [one["event"] for one in told] == ["alarm", "alarm"]


@pytest.fixture
def killed() -> Callable[[str, Path], int]:
    import subprocess
    import sys

    def run(code: str, folder: Path) -> int:
        return subprocess.run([sys.executable, "-c", code, str(folder)], timeout=120).returncode

    return run
