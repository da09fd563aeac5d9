"""Versions are swapped and taken back under full load; every answer is checked against the model that it names.

Two models that disagree stand behind one alias in turn, by ``mlnb promote`` and `Project.rollback`, while callers keep
all workers busy. An answer must have the values of the version it names, and that version must have been live at some
moment between the request and its answer.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.deployed import MODEL, Deployed
from tests.bench.rows import draw
from tests.bench.table import Table

if TYPE_CHECKING:
    from tests.bench.place import Place

_MOVES_EACH = 100
_WORKERS = 2
_CALLERS = 8
_VISIBLE_MS, _ROLLBACK_S = 100.0, 1.0
_QUIET = 5


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer: when it was asked for and when it came, in seconds of the wall clock, and what it said."""

    asked: float
    came: float
    status: int
    version: str
    values: object


@dataclass(frozen=True, slots=True)
class Move:
    """One swap or rollback.

    Attributes
    ----------
    version : str
        That is live from now on.
    written : float
        When ``aliases.json`` was replaced.
    told : float
        When the command said that all workers answer with it.
    back : bool
        Whether it was a rollback.
    """

    version: str
    written: float
    told: float
    back: bool


@dataclass(slots=True)
class Outcome:
    """What the callers heard while versions moved."""

    moves: list[Move]
    heard: list[Heard] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def failed(self) -> int:
        """Count the requests that were not answered."""
        return len(self.faults) + sum(one.status != 200 for one in self.heard)

    def mixed(self, right: Mapping[str, object]) -> int:
        """Count the answers that are not the values of the version they name."""
        return sum(one.status == 200 and one.values != right.get(one.version) for one in self.heard)

    def untimely(self) -> int:
        """Count the answers from a version that was not live between the request and its answer."""
        ends = [after.told for _, after in pairwise(self.moves)] + [float("inf")]
        spans: dict[str, list[tuple[float, float]]] = {}
        for move, end in zip(self.moves, ends, strict=True):
            spans.setdefault(move.version, []).append((move.written, end))
        return sum(
            not any(begin <= one.came and one.asked <= end for begin, end in spans.get(one.version, []))
            for one in self.heard
            if one.status == 200
        )

    def visible_ms(self, *, back: bool) -> list[float]:
        """Return for each swap or rollback how long after it was written a new request still met the old version."""
        found = []
        # From the next move on the old one may be live again.
        ends = [*(after.written for after in self.moves[2:]), float("inf")]
        for (before, move), end in zip(pairwise(self.moves), ends, strict=True):
            if move.back == back:
                until = min(move.told + 1.0, end)
                late = [
                    one.asked - move.written
                    for one in self.heard
                    if one.version == before.version and move.written <= one.asked < until
                ]
                found.append(max(late, default=0.0) * 1000.0)
        return found


def under_load(url: str, body: bytes, callers: int, work: Callable[[], list[Move]]) -> Outcome:
    """Ask all the time from so many callers while `work` moves versions."""
    done = threading.Event()
    heard: list[list[Heard]] = [[] for _ in range(callers)]
    faults: list[str] = []
    host, port = url.removeprefix("http://").split(":")

    def ask(place: int) -> None:
        connection = HTTPConnection(host, int(port), timeout=30)
        while not done.is_set():
            asked = time.time()
            try:
                connection.request("POST", "/predict", body)
                response = connection.getresponse()
                answer = json.loads(response.read())
            except (OSError, HTTPException, ValueError) as error:
                faults.append(repr(error))
                connection.close()
                continue
            version = str(answer.get("version"))
            heard[place].append(Heard(asked, time.time(), response.status, version, answer.get("predictions")))
            if len(heard[place]) % 50 == 0:  # another connection, and perhaps another worker
                connection.close()
        connection.close()

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(callers)]
    for thread in threads:
        thread.start()
    try:
        moves = work()
        time.sleep(0.2)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    return Outcome(moves, [one for each in heard for one in each], faults)


def moved(aliases: Path, version: str, back: bool, act: Callable[[], object]) -> Move:
    """Move an alias and say when the pointer was written, and when all workers answered with it."""
    act()
    return Move(version, aliases.stat().st_mtime, time.time(), back)


def bench(place: Place) -> Table:
    """Swap and take back, 50 times each for each repetition."""
    with Deployed(place, "swap") as deployed:
        return _moved_under_load(place, deployed)


def _moved_under_load(place: Place, deployed: Deployed) -> Table:
    project = deployed.project
    settings = f"[tool.mlnb]\n[tool.mlnb.service]\nworkers = {_WORKERS}\n"
    (project / "pyproject.toml").write_text(settings, "utf-8")
    notebook = project / "late.ipynb"
    second = notebook.read_text("utf-8").replace("n_estimators=50", "n_estimators=3, max_depth=1")
    notebook.write_text(second, "utf-8")
    body = json.dumps({"rows": draw(200, seed=9)}).encode()
    right = {f"{MODEL}/1": _answers(deployed.url, body)}
    [shipment] = place.mlnb(project, "deploy", notebook)
    place.mlnb(project, "services", "restart", MODEL)
    right[f"{MODEL}/2"] = _answers(deployed.url, body)
    if right[f"{MODEL}/1"] == right[f"{MODEL}/2"] or shipment["version"] != f"{MODEL}/2":
        raise RuntimeError("The two models of the bench do not differ.")
    aliases = project / ".mlnb" / "services" / MODEL / "aliases.json"
    taken_s: list[float] = []

    def back() -> None:
        taken_s.append(_rolled_back(place, project))

    def forth() -> None:
        place.mlnb(project, "promote", f"{MODEL}/2", "production")

    def work() -> list[Move]:
        moves = [Move(f"{MODEL}/2", 0.0, 0.0, back=False)]
        for _ in range(_MOVES_EACH * place.count // 2):
            moves.append(moved(aliases, f"{MODEL}/1", True, back))
            moves.append(moved(aliases, f"{MODEL}/2", False, forth))
        return moves

    outcome = under_load(deployed.url, body, _CALLERS, work)
    for _ in range(_QUIET):
        back()
        forth()
    return _table(outcome, right, taken_s[:-_QUIET], taken_s[-_QUIET:])


def _rolled_back(place: Place, project: Path) -> float:
    """Take the version back in a process of its own; return the seconds of the whole verb, without the imports."""
    words = [sys.executable, "-m", "tests.bench.swap", str(project)]
    root = Path(__file__).parents[2]
    done = subprocess.run(words, cwd=root, env=place.environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return float(done.stdout)


def _table(outcome: Outcome, right: Mapping[str, object], taken_s: Sequence[float], quiet_s: Sequence[float]) -> Table:
    failed, mixed, untimely = outcome.failed(), outcome.mixed(right), outcome.untimely()
    back, forth = outcome.visible_ms(back=True), outcome.visible_ms(back=False)
    each = Counter(one.version for one in outcome.heard if one.status == 200)
    clean = failed == mixed == untimely == 0 and min(each[ref] for ref in right) > 0
    held = clean and max(back) < _VISIBLE_MS and max(forth) < _VISIBLE_MS and max(quiet_s) < _ROLLBACK_S
    answers = f"{len(outcome.heard):,}"
    return Table(
        f"swap: versions moved under {_CALLERS} callers, {_WORKERS} workers ({len(back) + len(forth)} moves)",
        ("", "moves", "answers", "failed", "mixed", "not live", "visible p50", "visible max", "verb p50", "verb max"),
        [
            ["rollback", str(len(back)), answers, *map(str, (failed, mixed, untimely)), *_ms(back), *_s(taken_s)],
            ["swap", str(len(forth)), "", "", "", "", *_ms(forth), "", ""],
            ["rollback, nobody asks", str(len(quiet_s)), *[""] * 6, *_s(quiet_s)],
        ],
        [
            "Failed, mixed and not live must be 0, both versions must have answered, and a move is visible to every new",
            f"request within {_VISIBLE_MS:g} ms of its being written. Both models are asked by themselves first; an",
            "answer must have all 200 values of the one it names. The load is made by threads of one process on the",
            f"same cores. Verb: the whole of `Project.rollback`; below {_ROLLBACK_S:g} s where nobody asks.",
        ],
        held,
    )


def _ms(values: Sequence[float]) -> list[str]:
    return [f"{statistics.median(values):.0f} ms", f"{max(values):.0f} ms"]


def _s(values: Sequence[float]) -> list[str]:
    return [f"{statistics.median(values):.2f} s", f"{max(values):.2f} s"]


def _answers(url: str, body: bytes) -> object:
    host, port = url.removeprefix("http://").split(":")
    connection = HTTPConnection(host, int(port), timeout=60)
    connection.request("POST", "/predict", body)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer["predictions"]


def _roll_back(folder: Path) -> float:
    from mlnb.project import Project

    project = Project(folder)
    began = time.perf_counter()
    project.rollback(MODEL, "production")
    return time.perf_counter() - began


if __name__ == "__main__":
    print(_roll_back(Path(sys.argv[1])))
