"""A log of millions of rows is rolled, and an id, the newest rows, a content and all rows are found in it.

``--count`` is how many millions. SQLite alone, as the log is before it is rolled, stands beside it.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from mlnb.service.log import Ids, PredictionLog
from mlnb.service.log_choice import Choice
from mlnb.service.log_query import Condition, find, find_newest
from mlnb.service.log_reader import read_predictions
from mlnb.service.log_roll import roll
from tests.bench.log_modes import make_record
from tests.bench.place import Place
from tests.bench.table import Table

_MILLION = 1_000_000
_AT_ONCE = 2_000
_ID_S = 1.0


def bench(place: Place) -> Table:
    """Find rows among so many millions, before and after they are rolled, in a process that does nothing else."""
    words = [sys.executable, "-m", "tests.bench.log_find", str(place.folder / "find"), str(place.count * _MILLION)]
    root = Path(__file__).parents[2]
    done = subprocess.run(words, cwd=root, env=place.environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return Table(**json.loads(done.stdout))


def measure(folder: Path, rows: int) -> Table:
    """Find rows among so many, before and after they are rolled."""
    name = asyncio.run(_filled(folder, rows))
    conditions = [Condition.parse("distance>2000")]
    questions: dict[str, Callable[[], object]] = {
        "the prediction of an id": lambda: [one.id for one in find(folder, Choice(id=name))] == [name],
        "the newest 20": lambda: len(find_newest(folder, Choice(), [], 20)) == 20,
        "all by content": lambda: not any(True for _ in find(folder, Choice(), conditions)),
        "all, as monitoring reads them": lambda: sum(len(batch) for batch in read_predictions(folder)) == rows,
    }
    before = {asked: _seconds(answer) for asked, answer in questions.items()}
    rolling = _seconds(lambda: roll(folder, at=0).predictions == rows)
    after = {asked: _seconds(answer) for asked, answer in questions.items()}
    sizes = [sum(path.stat().st_size for path in folder.glob(kind)) / 1e6 for kind in ("*.db*", "segments/*")]
    held = after["the prediction of an id"] <= _ID_S
    return Table(
        f"log_find: {rows:,} rows",
        ["what", "in SQLite, s", "in segments, s"],
        [[asked, f"{before[asked]:.3f}", f"{after[asked]:.3f}"] for asked in questions],
        [
            f"Rolled in {rolling:.0f} s ({rows / rolling:,.0f} rows/s): {sizes[0]:.0f} MB of SQLite became "
            f"{sizes[1]:.0f} MB of Parquet.",
            f"Largest memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB.",
            f"An id is found within {_ID_S:g} s: {'holds' if held else 'DOES NOT HOLD'}.",
        ],
        held,
    )


async def _filled(folder: Path, rows: int) -> str:
    """Log so many rows and return the id of one in the middle."""
    log, ids = PredictionLog(folder), Ids()
    chosen = ""
    for at in range(0, rows, _AT_ONCE):
        names = ids.take(_AT_ONCE)
        await log.append([make_record(name) for name in names])
        chosen = names[7] if at <= rows // 2 else chosen
    log.close()
    return chosen


def _seconds(answer: Callable[[], object]) -> float:
    started = time.perf_counter()
    if not answer():
        raise RuntimeError("The log does not hold what was written.")
    return time.perf_counter() - started


if __name__ == "__main__":
    print(json.dumps(asdict(measure(Path(sys.argv[1]), int(sys.argv[2])))))
