"""The retraining daemon is killed at random moments; every trigger is served, by one retraining that ends once.

`Daemons`, `ask`, `served` and `faults` are also what `tests/unit/retrain/test_kills.py` uses for its few kills. Two kinds of work: a
notebook that cannot be read, so that nearly every kill falls into a transaction of triggers and retrainings; and a
pipeline that trains, registers, tries and promotes, so that nearly every kill falls into a run or a shipment.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import psutil
from sqlalchemy import func, select

from mlnb.project import Project
from mlnb.registry.alarms import Alarm, Alarms
from mlnb.registry.version import Draft
from mlnb.store.tables import AUDIT, OUTBOX, RETRAIN_TRIGGER
from tests.bench.kills import until
from tests.bench.place import Place
from tests.bench.table import Table

MODEL = "late"
_QUICK_KILLS, _REAL_KILLS = 100, 10
_ASKED_EACH = 4
_ROUNDS = 2  # real kills for each retraining that is asked for
_LONGEST_S, _LIMIT_S = 8.0, 900.0
_CELLS = (
    "until = ''",
    "%%stage prepare\nimport numpy as np\nimport pandas as pd\nrows = pd.read_csv('rows.csv')\n"
    "with open('log/prepare.txt', 'a') as file:\n    file.write(f'{until}\\n')",
    "%%stage train\nfrom sklearn.linear_model import LogisticRegression\n"
    "X_test, y_test = rows[['x']].iloc[::2], rows['y'].iloc[::2]\n"
    "model = LogisticRegression().fit(rows[['x']].iloc[1::2], rows['y'].iloc[1::2])",
    "%%stage evaluate --metrics accuracy\naccuracy = float(model.score(X_test, y_test))",
    "%%deploy late --model model --sample X_test",
)


_NURSERY = """
import os, signal, sys
from pathlib import Path
from threading import Event
import mlnb.retrain.challenge
from mlnb.project import Project
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("ready", flush=True)
for _ in sys.stdin:
    child = os.fork()
    if not child:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            Project(Path(sys.argv[1])).retraining.serve("", 0.01, Event(), lambda told: None)
        finally:
            os._exit(1)
    print(child, flush=True)
"""
"""Has loaded what a daemon needs, and forks one for each line that it reads."""


class Daemons:
    """The daemon of a project, killed and started again.

    Parameters
    ----------
    root : Path
        The project.
    seed : int
        Of the moments.
    """

    def __init__(self, root: Path, seed: int) -> None:
        self._chance = random.Random(seed)
        command = [sys.executable, "-P", "-c", _NURSERY, str(root)]
        self._nursery = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._line() == "ready"

    def __enter__(self) -> Daemons:
        return self

    def __exit__(self, *_: object) -> None:
        self._nursery.communicate()

    def kill(self, longest_s: float) -> None:
        """Start a daemon and kill it after a random time."""
        pid = self._start()
        time.sleep(self._chance.uniform(0.0, longest_s))
        _kill(pid)

    def finish(self, done: Callable[[], bool], seconds: float = 60.0) -> None:
        """Let a daemon run until everything is done."""
        pid = self._start()
        try:
            until(done, seconds)
        finally:
            _kill(pid)

    def _start(self) -> int:
        assert self._nursery.stdin is not None
        self._nursery.stdin.write("one\n")
        self._nursery.stdin.flush()
        return int(self._line())

    def _line(self) -> str:
        assert self._nursery.stdout is not None
        return self._nursery.stdout.readline().strip()


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(pid))


def ask(project: Project, number: int) -> None:
    """Ask for a retraining by hand, of parameters of its own; every few times raise an alarm as well."""
    project.retraining.ask(MODEL, f"ask {number}", {"until": str(number)})
    if number % _ASKED_EACH:
        return
    raise_alarm(project, f"column {number}")


def raise_alarm(project: Project, what: str, kind: str = "drift", alias: str = "production") -> int:
    """Raise an alarm of the first version, which is registered where there is none; return the alarm's id."""
    project.models.register(Draft(MODEL, "anna", "onnx", {"model.onnx": project.state.files.put(b"model")[0]}))
    found = Alarm(MODEL, alias, 1, what, kind, "", f"The {kind} of {what} is beyond its tolerance.", {})
    return Alarms(project.ledger).raise_all([found], by="cron")[0].id


def served(project: Project, asked: int) -> bool:
    """Say whether all that was asked for by hand and by alarms has been served, and nothing is under way."""
    docket = project.retraining.docket
    alarms = -(-asked // _ASKED_EACH) if asked else 0
    known = Counter(one.cause.kind for one in docket.triggers(MODEL) if one.retraining)
    ended = all(one.ended_at for one in docket.list(MODEL))
    return known["hand"] == asked and known["alarm"] == alarms and ended


def faults(project: Project, asked: int) -> list[str]:
    """Return what is not as it must be: a trigger lost, one served twice, a retraining that ended twice or not."""
    triggers, acts = project.retraining.docket.triggers(MODEL), project.retraining.docket.list(MODEL)
    found = []
    kinds = Counter(one.cause.kind for one in triggers)
    expected = {"hand": asked, "alarm": -(-asked // _ASKED_EACH)}
    found += [f"{kinds[kind]} {kind} triggers of {count}" for kind, count in expected.items() if kinds[kind] != count]
    found += [f"alarm {key} fired twice" for key, times in _keys(project, "alarm").items() if times > 1]
    instants = [one.cause.evidence for one in triggers if one.cause.kind == "schedule"]
    for before, after in pairwise(instants):
        gap = _time(after["first"]) - _time(before["last"])
        if gap != timedelta(seconds=1):
            found.append(f"between {before['last']} and {after['first']} instants of the schedule are lost or doubled")
    for one in instants:
        if _time(one["last"]) - _time(one["first"]) != timedelta(seconds=int(str(one["instants"])) - 1):
            found.append(f"{one} lacks instants")
    by_act = Counter(one.retraining for one in triggers if one.retraining)
    found += [f"retraining {act.id} serves nothing" for act in acts if not by_act[act.id]]
    found += [f"trigger of a retraining {id} that is not there" for id in by_act.keys() - {act.id for act in acts}]
    with project.ledger.read() as connection:
        rows = [
            json.loads(text) for text in connection.scalars(select(AUDIT.c.detail).where(AUDIT.c.action == "retrain"))
        ]
        told = connection.scalar(select(func.count()).select_from(OUTBOX).where(OUTBOX.c.kind == "notify")) or 0
    written = Counter(row["retraining"] for row in rows)
    ended = [act.id for act in acts if act.ended_at]
    found += [f"retraining {id} is {written[id]} times in the audit log" for id in ended if written[id] != 1]
    if project.settings.notify_url and told < len(ended):
        found.append(f"{told} messages of {len(ended)} retrainings")
    return found + list(project.audit.verify().faults)


def bench(place: Place) -> Table:
    """Kill 100 daemons between transactions, and 10 within real runs and shipments, for each repetition."""
    os.environ.update(place.environ)
    quick, real = place.make("quick"), place.make("real")
    rows = [
        _quick(quick, _QUICK_KILLS * place.count),
        _real(real, _REAL_KILLS * place.count),
    ]
    held = all(row[-1] == "0" for row in rows)
    return Table(
        f"retrain_kills: kill -9 of the retraining daemon ({(_QUICK_KILLS + _REAL_KILLS) * place.count} kills)",
        ["work", "kills", "triggers", "retrainings", "deaths within one", "lost or done twice"],
        rows,
        [f"No trigger is lost, none is done twice: {'holds' if held else 'DOES NOT HOLD'}."],
        held,
    )


def _quick(root: Path, kills: int) -> list[str]:
    (root / "nb.ipynb").write_text('{"cells": "none"}', "utf-8")
    write_settings(root, 'on_alarm = true\nschedule = "* * * * * *"')
    project = Project(root)
    with Daemons(root, seed=0) as daemons:
        for number in range(kills):
            ask(project, number)
            daemons.kill(0.4)
        daemons.finish(lambda: served(project, kills))
    return _row("nothing to run", project, kills, kills)


def _real(root: Path, kills: int) -> list[str]:
    (root / "log").mkdir()
    (root / "rows.csv").write_text("x,y\n" + "".join(f"{n % 17},{int(n % 17 > 8)}\n" for n in range(400)), "utf-8")
    _write_notebook(root / "nb.ipynb")
    write_settings(root, 'on_alarm = true\npromote = "production"\ntries = 1000')
    project, asked = Project(root), -(-kills // _ROUNDS)
    with Daemons(root, seed=1) as daemons:
        for number in range(kills):
            if number % _ROUNDS == 0:
                ask(project, number // _ROUNDS)
            daemons.kill(_LONGEST_S)
        daemons.finish(lambda: served(project, asked), _LIMIT_S)
    for name in [one.name for one in project.services.list()]:
        subprocess.run(
            [sys.executable, "-m", "mlnb", "services", "stop", name], cwd=root, check=True, capture_output=True
        )
    return _row("train, register, try, promote", project, asked, kills)


def write_settings(root: Path, terms: str, settings: str = "") -> None:
    """Write the pyproject.toml of a project whose model is retrained."""
    head = f'[tool.mlnb]\nenvironment = "installed"\nlatency_requests = 20\n{settings}\n'
    text = f'{head}[tool.mlnb.retrain.{MODEL}]\nnotebook = "nb.ipynb"\n{terms}\n'
    (root / "pyproject.toml").write_text(text, "utf-8")


def _write_notebook(path: Path) -> None:
    cells = [
        {
            "cell_type": "code",
            "id": f"cell-{number}",
            "metadata": {"tags": ["parameters"]} if not number else {},
            "source": source,
            "outputs": [],
            "execution_count": None,
        }
        for number, source in enumerate(_CELLS)
    ]
    kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernelspec, "language_info": {"name": "python"}}
    path.write_text(json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}), "utf-8")


def _row(work: str, project: Project, asked: int, kills: int) -> list[str]:
    acts = project.retraining.docket.list(MODEL)
    wrong = faults(project, asked)
    for fault in wrong[:5]:
        print(fault, file=sys.stderr)
    resumed = sum(act.attempts - 1 for act in acts)
    triggers = len(project.retraining.docket.triggers(MODEL))
    return [work, str(kills), str(triggers), str(len(acts)), str(resumed), str(len(wrong))]


def _keys(project: Project, kind: str) -> Counter[str]:
    with project.ledger.read() as connection:
        keys = connection.scalars(select(RETRAIN_TRIGGER.c.key).where(RETRAIN_TRIGGER.c.kind == kind))
        return Counter(keys)


def _time(text: object) -> datetime:
    return datetime.fromisoformat(str(text))
