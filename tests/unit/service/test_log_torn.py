"""A machine that stops leaves a write-ahead log cut somewhere: what was committed before the cut is there, once.

Where frames end is read as https://sqlite.org/fileformat2.html#walformat and https://sqlite.org/walformat.html say.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import struct
from collections import Counter
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

import psutil
import pyarrow.parquet as pq

from mlnb.faces.cli import main
from mlnb.service.bento import Bento
from mlnb.service.local import LocalTarget
from mlnb.service.log import PredictionLog, Record
from mlnb.service.log_reader import read_predictions
from mlnb.service.log_roll import roll
from mlnb.service.skew import read_sample
from mlnb.service.target import Deployment
from mlnb.store.folder import StateFolder

DAY_NS = 86_400_000_000_000
_HEADER = 32


def reach(wal: Path) -> int:
    """Return where the last frame of a write-ahead log ends."""
    content = wal.read_bytes()
    salts, size = content[16:24], _frame(content)
    end = _HEADER
    while content[end + 8 : end + 16] == salts:
        end += size
    return end


def durable(wal: Path) -> int:
    """Return where that ends which a checkpoint has copied: it waited for the disk, so that cannot be torn off."""
    (backfilled,) = struct.unpack_from("=I", wal.with_name(wal.name.replace("-wal", "-shm")).read_bytes(), 96)
    return _HEADER + backfilled * _frame(wal.read_bytes()) if backfilled else 0


def _frame(content: bytes) -> int:
    return 24 + int.from_bytes(content[8:12], "big")


@dataclass
class Told:
    """What a caller was told.

    Attributes
    ----------
    ends : dict of str to int
        By prediction: where the write-ahead log ended when its answer had come.
    """

    wal: Path
    ends: dict[str, int] = field(default_factory=dict)

    def ask(self, deployed: Deployment, rows: list[object], sizes: list[int]) -> None:
        connection = HTTPConnection("127.0.0.1", deployed.port, timeout=30)
        for size in sizes:
            connection.request("POST", "/predict", json.dumps({"rows": (rows * 4)[:size]}))
            answer = json.loads(connection.getresponse().read())
            self.ends |= dict.fromkeys(answer["ids"], reach(self.wal))
        connection.close()


def killed(deployed: Deployment) -> None:
    """Kill all processes of a service before one of them can tidy up."""
    supervisor = psutil.Process(deployed.pid)
    supervisor.suspend()
    ours = [*supervisor.children(), supervisor]
    for process in ours:
        os.kill(process.pid, signal.SIGKILL)
    psutil.wait_procs(ours, timeout=30)


def logged(folder: Path) -> Counter[str]:
    return Counter(name for batch in read_predictions(folder) for name in batch.id)


def test_a_log_whose_tail_is_torn_keeps_what_was_committed_before_and_goes_on(
    target: LocalTarget, bento: Bento, state: StateFolder, packages: dict[int, Path], tmp_path: Path
) -> None:
    rows = read_sample(packages[1])
    folder = state.predictions / "delays"
    wal = folder / "worker-0.db-wal"
    deployed = target.start("delays", bento.path, workers=1)
    rolled, told = Told(wal), Told(wal)
    rolled.ask(deployed, rows, [1, 130, 1])
    assert main(["services", "roll", "delays", "--project", str(state.project)]) == 0
    told.ask(deployed, rows, [random.choice((1, 2, 60, 200)) for _ in range(30)])
    killed(deployed)

    begin, end = durable(wal), reach(wal)
    assert begin < end == max(told.ends.values())
    for cut in [begin, end, *(random.randint(begin, end) for _ in range(10))]:
        torn = tmp_path / f"torn-{cut}"
        shutil.copytree(folder, torn, dirs_exist_ok=True)
        os.truncate(torn / wal.name, cut)
        if random.random() < 0.5:  # it is memory: a machine that stops may lose it, one process that dies does not
            (torn / wal.name.replace("-wal", "-shm")).unlink()
        kept = [*rolled.ends, *(key for key, at in told.ends.items() if at <= cut)]
        assert logged(torn) == Counter(kept), cut
        with (torn / wal.name).open("ab") as file:  # a sector that was not written whole
            file.write(random.randbytes(5000))
        assert logged(torn) == Counter(kept), cut

    cut = random.randint(begin, end)
    os.truncate(wal, cut)
    kept = [*rolled.ends, *(key for key, at in told.ends.items() if at <= cut)]
    again = Told(wal)
    again.ask(target.start("delays"), rows, [3, 1])
    assert logged(folder) == Counter([*kept, *again.ends])
    assert main(["services", "roll", "delays", "--project", str(state.project)]) == 0
    assert logged(folder) == Counter([*kept, *again.ends])
    assert len(list((folder / "segments").glob("predictions-*.parquet"))) == 2


def opened(folder: Path, names: list[str]) -> PredictionLog:
    """Return the log of a running service, with rows of 1970 that are on the disk."""
    texts = ("{}", "1", None, None)

    async def append() -> None:
        log = PredictionLog(folder)
        await log.append([Record(name, "r", 0, 0, "delays", 1, "staging", 200, 0.5, *texts) for name in names])
        log.close()

    asyncio.run(append())
    return PredictionLog(folder)


def test_a_segment_that_was_removed_for_its_age_is_missed_by_nobody_after_a_cut(tmp_path: Path) -> None:
    log = opened(tmp_path, ["a", "b"])
    roll(tmp_path, at=0)
    assert roll(tmp_path, at=2 * DAY_NS, keep_days=1).expired == 1
    assert list((tmp_path / "segments").iterdir()) == []
    wal = tmp_path / "worker-0.db-wal"
    shutil.copytree(tmp_path, tmp_path / "torn")
    os.truncate(tmp_path / "torn" / wal.name, durable(wal))
    log.close()
    assert logged(tmp_path / "torn") == Counter()


def test_a_roll_whose_last_transactions_are_torn_off_is_done_again_and_doubles_nothing(tmp_path: Path) -> None:
    folder, names = tmp_path / "log", [f"{at:04}" for at in range(900)]
    wal = folder / "worker-0.db-wal"
    log = opened(folder, names)
    seen: list[Path] = []

    def look(step: str) -> None:
        copy = tmp_path / f"{len(seen)} {step.replace(' ', '-')}"
        shutil.copytree(folder, copy)
        seen.append(copy)

    roll(folder, at=0, step=look)
    log.close()
    for copy in seen:
        begin, end = durable(copy / wal.name), reach(copy / wal.name)
        for cut in {begin, end, *(random.randint(begin, end) for _ in range(4))}:
            torn = tmp_path / f"{copy.name} {cut}"
            shutil.copytree(copy, torn)
            os.truncate(torn / wal.name, cut)
            assert sorted(logged(torn).elements()) == names, torn.name
            roll(torn, at=0)
            assert sorted(logged(torn).elements()) == names, torn.name
            [segment] = (torn / "segments").iterdir()
            assert pq.read_table(segment).num_rows == len(names)
