"""Workers and supervisors are killed under load; what callers were told is in the log exactly once, each time again.

`Callers` and `kills` are also what `tests/unit/service/test_workers.py` uses for its few kills.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psutil

from mlnb.service.log_reader import read_predictions
from tests.bench.deployed import MODEL, Deployed
from tests.bench.place import Place
from tests.bench.rows import draw
from tests.bench.table import Table

_KILLS_EACH = 100
_WORKERS = 2
_CALLERS = 8
_EVERY = 4  # that many kills, one is of the supervisor
_LIMIT_S = 60.0


class Callers:
    """Keep-alive callers in threads, for the time of a ``with`` block.

    Parameters
    ----------
    port : int
        Of the service, on loopback.
    bodies : sequence of bytes
        What is posted to ``/predict``, in turn.
    count : int
        How many call at once.
    may_break : bool
        Whether a connection may be reset: the caller connects again. Otherwise that is a fault.

    Attributes
    ----------
    told : dict of str to object
        Prediction by its id, of every answer.
    faults : list
        Answers with another status than 200, and connections that broke and may not.
    """

    def __init__(self, port: int, bodies: Sequence[bytes], count: int = 4, *, may_break: bool = False) -> None:
        self.told: dict[str, object] = {}
        self.faults: list[object] = []
        self._port, self._bodies, self._may_break = port, bodies, may_break
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(count)]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def go_on(self, answers: int = 40) -> None:
        """Wait for so many answers more, or for a fault."""
        wanted = len(self.told) + answers
        until(lambda: len(self.told) >= wanted or bool(self.faults))

    def _call(self, number: int) -> None:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=_LIMIT_S)
        while not self._done.is_set():
            number += 1
            try:
                connection.request("POST", "/predict", self._bodies[number % len(self._bodies)])
                response = connection.getresponse()
                content = response.read()
            except (OSError, HTTPException) as error:
                connection.close()
                if not self._may_break:
                    self.faults.append(repr(error))
                    return
                time.sleep(0.01)
                continue
            if response.status != 200:
                self.faults.append((response.status, content))
                return
            answer = json.loads(content)
            self.told.update(zip(answer["ids"], answer["predictions"], strict=True))
        connection.close()


@dataclass(slots=True)
class Killed:
    """What a number of kills came to.

    Attributes
    ----------
    workers, supervisors : int
        How many were killed.
    outages_s : list of float
        After each kill: until a fresh connection was answered again.
    told, logged : Mapping of str to object
        Prediction by its id: what callers were told, and what is in the log.
    twice : int
        Ids that are in the log more than once.
    """

    workers: int = 0
    supervisors: int = 0
    outages_s: list[float] = field(default_factory=list)
    told: Mapping[str, object] = field(default_factory=dict)
    logged: Mapping[str, object] = field(default_factory=dict)
    twice: int = 0

    @property
    def wrong(self) -> int:
        """How many ids are not in the log exactly once with what was told."""
        return sum(self.logged.get(key) != value for key, value in self.told.items()) + self.twice


def kills(
    count: int, pid: int, port: int, bodies: Sequence[bytes], log: Path, start: Callable[[], int], seed: int = 0
) -> Killed:
    """Kill a worker, or every few times the supervisor, at random moments under load.

    Parameters
    ----------
    count : int
        How often.
    pid, port : int
        Of the service's supervisor, and where it answers.
    bodies : sequence of bytes
        What is asked.
    log : Path
        Folder of the prediction log.
    start : callable
        Starts the service again on its port after its supervisor was killed, and returns the new one's id.
    """
    chance, killed = random.Random(seed), Killed()
    with Callers(port, bodies, _CALLERS, may_break=True) as callers:
        for number in range(count):
            callers.go_on(_CALLERS)
            time.sleep(chance.uniform(0.05, 0.5))
            supervisor = psutil.Process(pid)
            crew = supervisor.children()
            at = time.monotonic()
            if number % _EVERY == _EVERY - 1:
                supervisor.kill()
                killed.supervisors += 1
                _, alive = psutil.wait_procs(crew, timeout=_LIMIT_S)
                assert not alive, f"orphaned: {alive}"
                pid = start()
            else:
                chance.choice(crew).kill()
                killed.workers += 1
            until(lambda: _answers(port, bodies[0]))
            killed.outages_s.append(time.monotonic() - at)
            until(lambda: len(psutil.Process(pid).children()) >= len(crew))  # noqa: B023  # waited for here
    assert not callers.faults, callers.faults[:3]
    killed.told = callers.told
    rows = [pair for batch in read_predictions(log) for pair in zip(batch.id, batch.prediction, strict=True)]
    killed.twice = sum(times - 1 for times in Counter(key for key, _ in rows).values())
    killed.logged = {key: json.loads(value) if isinstance(value, str) else value for key, value in rows}
    return killed


def bench(place: Place) -> Table:
    """Kill 100 times for each repetition, every fourth time the supervisor."""
    with Deployed(place, "kills") as deployed:  # of its own: a number of workers is remembered
        deployed.stop()

        def start() -> int:
            [started] = place.mlnb(deployed.project, "services", "start", MODEL, "--workers", str(_WORKERS))
            return int(started["pid"])

        pid = start()
        bodies = [json.dumps({"rows": [row]}).encode() for row in draw(200, seed=5)]
        port = int(deployed.url.rpartition(":")[2])
        killed = kills(_KILLS_EACH * place.count, pid, port, bodies, deployed.log, start)
    held = killed.wrong == 0 and bool(killed.told)
    outages = sorted(killed.outages_s)
    middle, longest = outages[len(outages) // 2], outages[-1]
    return Table(
        f"kills: kill -9 under {_CALLERS} callers, {_WORKERS} workers ({_KILLS_EACH * place.count} kills)",
        ["killed", "workers", "supervisors", "answered", "not in the log exactly once", "answers again after (median)"],
        [
            [
                "mlnb",
                *(f"{number:,}" for number in (killed.workers, killed.supervisors, len(killed.told), killed.wrong)),
                f"{middle:.2f} s",
            ]
        ],
        [
            f"Every answered prediction is in the log exactly once: {'holds' if held else 'DOES NOT HOLD'}.",
            f"Longest until a fresh connection was answered: {longest:.2f} s; a killed supervisor is started by the verb.",
        ],
        held,
    )


def until(true: Callable[[], bool], seconds: float = _LIMIT_S) -> None:
    """Wait until something is true; fail where it is not in time."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _answers(port: int, body: bytes) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=_LIMIT_S)
    try:
        connection.request("POST", "/predict", body)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
