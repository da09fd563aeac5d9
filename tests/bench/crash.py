"""kill -9 of the engine, of a kernel and of the zygote at random moments: the next run is right and nothing remains."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.bench.notebook import write_notebook
from tests.bench.place import Place
from tests.bench.table import Table

VICTIMS = ("engine", "kernel", "zygote")
_ENDED_S = 15.0
_STAGES = [
    "import time",
    "%%stage rows\ntime.sleep(0.1)\nrows = list(range(1, 21))",
    "%%stage squares\ntime.sleep(0.2)\nsquares = [row * row for row in rows]",
    "%%stage odd\ntime.sleep(0.1)\nodd = [row for row in rows if row % 2]",
    "%%stage both\ntime.sleep(0.1)\nanswer = sum(squares) + sum(odd)",
    "%%stage told\nimport json\nfrom pathlib import Path\nPath('answer.json').write_text(json.dumps(answer))\ndone = 1",
]
_ANSWER = 20 * 21 * 41 // 6 + 10 * 10  # the sums of the first 20 squares and of the first 10 odd numbers


@dataclass(frozen=True, slots=True)
class Crash:
    """What one kill left.

    Attributes
    ----------
    killed : bool
        Whether the victim was there at that moment.
    state : str
        Of the next run.
    right : bool
        Whether its result is.
    remained : tuple of str
        Processes and temporary files that were still there when it had ended.
    """

    killed: bool
    state: str
    right: bool
    remained: tuple[str, ...]

    @property
    def well(self) -> bool:
        """Whether nothing is wrong."""
        return self.state == "done" and self.right and not self.remained


def crash(folder: Path, victim: str, moment_s: float, environ: Mapping[str, str], since: str = "") -> Crash:
    """Run a small pipeline in a new folder, kill one of its processes after a while, and run it again.

    A victim that is not there at that moment is killed when it comes, if it comes.

    Parameters
    ----------
    victim : str
        One of `VICTIMS`.
    moment_s : float
        Seconds to the kill.
    environ : mapping of str to str
        For the runs; must hold a ``MLNB_BENCH`` that nobody else has and a ``TMPDIR`` of its own.
    since : str
        The event from which the seconds count, such as ``cell-started``; empty for the start of the process.
    """
    (folder / "pyproject.toml").write_text("[tool.mlnb]\n", "utf-8")
    write_notebook(folder / "nb.ipynb", _STAGES)
    words = [sys.executable, "-m", "mlnb", "run", "nb.ipynb"]
    with subprocess.Popen(
        [*words, "--events"], cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        while since and json.loads(process.stdout.readline())["event"] != since:
            pass
        reading = threading.Thread(target=process.stdout.read)
        reading.start()
        time.sleep(moment_s)
        killed = False
        while not killed and process.poll() is None:
            killed = _kill(victim, process, environ["MLNB_BENCH"])
        reading.join()
    again = subprocess.run([*words, "--json"], cwd=folder, env=environ, capture_output=True, text=True, check=False)
    state = json.loads(again.stdout).get("state", again.stdout) if again.stdout else again.stderr
    answer = folder / "answer.json"
    right = answer.is_file() and json.loads(answer.read_text("utf-8")) == _ANSWER
    return Crash(killed, state, right, _remained(environ))


def bench(place: Place) -> Table:
    """Kill `place.count` times each, at moments drawn over the time that the pipeline takes."""
    draw = random.Random(20261122)
    rows = []
    whole_s = _undisturbed(place)
    for victim in VICTIMS:
        moments = [draw.uniform(0, whole_s) for _ in range(place.count)]
        crashes = []
        for moment in moments:
            folder = place.make(f"crash-{victim}-{len(crashes)}")
            crashes.append(crash(folder, victim, moment, place.environ))
        wrong = [f"{moment:.3f} s: {one}" for moment, one in zip(moments, crashes, strict=True) if not one.well]
        rows.append([victim, *(str(sum(map(of, crashes))) for of in _COUNTS.values()), "; ".join(wrong)])
    return Table(
        f"crash: kill -9 at random moments of a run of five stages, then the run again ({place.count} of each)",
        ["victim", *_COUNTS, "not well"],
        rows,
        [
            f"An undisturbed run takes {whole_s:.1f} s, over which the moments are spread.",
            "Right: the next run is done and its answer is what arithmetic says. Clean: no process of ours and no "
            "temporary file was left when it had ended.",
        ],
        held=all(not row[-1] for row in rows),
    )


def _undisturbed(place: Place) -> float:
    folder = place.make("crash-none")
    (folder / "pyproject.toml").write_text("[tool.mlnb]\n", "utf-8")
    write_notebook(folder / "nb.ipynb", _STAGES)
    return place.spend(sys.executable, "-m", "mlnb", "run", "nb.ipynb", "-q", cwd=folder).wall_s


_COUNTS: Mapping[str, Callable[[Crash], bool]] = {
    "killed": lambda one: one.killed,
    "right": lambda one: one.state == "done" and one.right,
    "clean": lambda one: not one.remained,
}


def _kill(victim: str, engine: subprocess.Popen[str], session: str) -> bool:
    if victim == "engine":
        engine.kill()
        return True
    others = [one for one in _ours(session) if one.pid != engine.pid]
    ours = {one.pid for one in others}
    for one in others:
        with suppress(psutil.NoSuchProcess):
            forked = one.ppid() in ours
            if "zygote" in " ".join(one.cmdline()) and forked == (victim == "kernel"):
                os.kill(one.pid, signal.SIGKILL)
                return True
    return False


def _remained(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return what is left once processes that are just ending have ended."""
    deadline = time.monotonic() + _ENDED_S
    while (left := _ours(environ["MLNB_BENCH"])) and time.monotonic() < deadline:
        time.sleep(0.05)
    found = []
    for one in left:
        with suppress(psutil.NoSuchProcess):
            found.append(f"{one.pid} {' '.join(one.cmdline())}")
    return (*found, *(str(path) for path in Path(environ["TMPDIR"]).iterdir()))


def _ours(session: str) -> list[psutil.Process]:
    found = []
    for one in psutil.process_iter():
        with suppress(psutil.Error):
            if one.environ().get("MLNB_BENCH") == session and one.status() != psutil.STATUS_ZOMBIE:
                found.append(one)
    return found
