"""Services are killed under load; every prediction that a caller was told must be in the log afterwards."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from mlnb.service.log_reader import read_predictions
from tests.bench.load import drive
from tests.bench.peer import Peer
from tests.bench.place import Place
from tests.bench.rows import draw
from tests.bench.table import Table

_OUR_KILLS_EACH = 5
_CONNECTIONS = 16
_LIMIT_S = 30.0
_ENDLESS = 10_000_000


@dataclass(slots=True)
class _Soak:
    """What callers were told: id of each row -> the answer."""

    kills: int = 0
    told: dict[str, object] = field(default_factory=dict)
    logged: dict[str, object] = field(default_factory=dict)

    def heard(self, status: int, body: bytes) -> None:
        if status == 200:
            answer = json.loads(body)
            self.told.update(zip(answer["ids"], answer["predictions"], strict=True))

    @property
    def missing(self) -> int:
        return len(self.told.keys() - self.logged.keys())

    @property
    def different(self) -> int:
        return sum(self.logged[key] != value for key, value in self.told.items() if key in self.logged)

    def cells(self) -> list[str]:
        counts = (self.kills, len(self.told), len(self.logged), self.missing, self.different)
        return [f"{count:,}" for count in counts]


def bench(place: Place) -> Table:
    """Kill ours five times for each repetition, BentoML once: it needs much longer to come back."""
    ours, sound = _soak_ours(place)
    theirs = _soak_peer(place)
    held = sound and ours.missing == ours.different == 0 and bool(ours.told)
    return Table(
        f"log: kill -9 under {_CONNECTIONS} connections (repetitions: {place.count})",
        ["log", "kills", "answered", "logged", "answered but missing", "logged otherwise"],
        [["mlnb (SQLite)", *ours.cells()], ["BentoML, bentoml.monitor (JSON lines)", *theirs.cells()]],
        [
            f"No acknowledged prediction of mlnb may be missing: {'holds' if held else 'DOES NOT HOLD'}; "
            f"its databases are {'sound' if sound else 'DAMAGED'} (PRAGMA integrity_check).",
            "Logged but not answered is right: the kill came between the commit and the answer.",
        ],
        held,
    )


def _soak_ours(place: Place) -> tuple[_Soak, bool]:
    deployed = place.deployed
    deployed.forget()
    soak = _Soak()
    for number in range(_OUR_KILLS_EACH * place.count):
        if number:
            deployed.start()
        _kill_under_load(soak, deployed.url, deployed.process.kill, seed=number)
        psutil.wait_procs([deployed.process], timeout=10)
    sound = True
    for path in sorted(deployed.log.glob("*.db")):
        with closing(sqlite3.connect(path)) as connection:
            sound = sound and connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    for batch in read_predictions(deployed.log):
        answers = zip(batch.id, batch.prediction, strict=True)
        soak.logged.update((key, json.loads(prediction)) for key, prediction in answers if prediction is not None)
    deployed.start()
    return soak, sound


def _soak_peer(place: Place) -> _Soak:
    soak = _Soak()
    folder = place.folder
    for number in range(place.count):
        with Peer(place, "PydanticOnnxLogged") as peer:
            folder = peer.folder
            _kill_under_load(soak, peer.url, peer.kill, seed=number)
    for path in folder.rglob("data.*.log*"):
        soak.logged.update(_json_lines(path))
    return soak


def _kill_under_load(soak: _Soak, url: str, kill: Callable[[], None], *, seed: int) -> None:
    after_s = random.Random(seed).uniform(0.3, 2.0)
    bodies = [json.dumps({"rows": [row]}).encode() for row in draw(200, seed=seed)]

    async def loaded() -> None:
        asyncio.get_running_loop().call_later(after_s, kill)
        await drive(url, bodies, connections=_CONNECTIONS, requests=_ENDLESS, limit_s=_LIMIT_S, heard=soak.heard)

    asyncio.run(loaded())
    soak.kills += 1


def _json_lines(path: Path) -> dict[str, object]:
    found = {}
    for line in path.read_text("utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:  # the kill cut the last line
            continue
        found[row["id"]] = row["score"]
    return found
