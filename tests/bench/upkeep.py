"""`mlnb gc` killed at random moments loses nothing; and what it, a backup and a restore of a large store take."""

from __future__ import annotations

import os
import random
import secrets
import shutil
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from mlnb.backup import back_up
from mlnb.garbage import collect
from mlnb.project import Project
from mlnb.registry.version import Draft
from mlnb.restore import restore
from mlnb.settings import Settings
from tests.bench.place import Place
from tests.bench.table import Table

VERSIONS, GARBAGE = 20, 2_000
LARGE_VERSIONS, LARGE_GARBAGE, LARGE_BYTES = 500, 10_000, 200_000
KILLS = 200
_OLD_S = 7 * 86_400


@dataclass(frozen=True, slots=True)
class Kill:
    """What one kill of the collector has left.

    Attributes
    ----------
    killed : bool
        Whether it had not ended by itself.
    failed : bool
        Whether it had ended by itself because of an error.
    removed : int
        How many of the garbage was gone by then.
    whole : bool
        Whether all that versions need was there, and the audit log intact.
    finished : bool
        Whether the next collection has removed the rest.
    """

    killed: bool
    failed: bool
    removed: int
    whole: bool
    finished: bool


def furnish(root: Path, versions: int, garbage: int, size_bytes: int) -> Project:
    """Make a project with so many versions and so many artifacts that nothing names, all of them old."""
    root.mkdir(parents=True)
    project = Project(root)
    store = project.state.files
    for number in range(versions):
        files = {
            "model.onnx": store.put(secrets.token_bytes(size_bytes))[0],
            "n.json": store.put(f"[{number}]".encode())[0],
        }
        project.models.promote(
            project.models.register(Draft("delays", "anna", "onnx", files)).ref, "production", by="a"
        )
    folder = project.state.artifacts / "sha256"
    for number in range(1, garbage + 1):  # 0 would be the digest before the first audit row, which the ledger names
        place = folder / f"{number % 256:02x}" / f"{number % 256:02x}{number:062x}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"garbage")
    for path in folder.rglob("*"):
        os.utime(path, (time.time() - _OLD_S,) * 2)
    project.ledger.close()
    return project


def kill(template: Path, folder: Path, after_s: float) -> Kill:
    """Copy a project, kill a collector of the copy after a while, and look what is left."""
    shutil.copytree(template, folder)
    child = _collecting(folder)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    killed = os.WIFSIGNALED(status)
    project = Project(folder)
    removed = GARBAGE - len(_garbage(project))
    whole = _whole(project)
    collect(project.state, project.ledger)
    finished = not _garbage(project) and _whole(project)
    project.ledger.close()
    shutil.rmtree(folder)
    return Kill(killed, not killed and status != 0, removed, whole, finished)


def bench(place: Place) -> Table:
    """Kill the collector `KILLS` times `place.count`; then measure on a large store."""
    os.environ["JUPYTER_DATA_DIR"] = place.environ["JUPYTER_DATA_DIR"]
    furnish(place.folder / "small", VERSIONS, GARBAGE, 1000)
    draw = random.Random(20261123)
    shutil.copytree(place.folder / "small", place.folder / "once")
    whole_s = _timed(lambda: _ended_well(_collecting(place.folder / "once")))
    folders = (place.folder / f"kill-{number}" for number in range(KILLS * place.count))
    kills = [kill(place.folder / "small", folder, draw.uniform(whole_s / 3, whole_s)) for folder in folders]
    midway = sum(0 < one.removed < GARBAGE for one in kills)
    lost = sum(not one.whole for one in kills)
    stuck, failed = sum(not one.finished for one in kills), sum(one.failed for one in kills)
    found = f"{midway} midway, {lost} lost something, {stuck} not finished, {failed} ended with an error"
    rows = [["kill -9 of gc", f"{len(kills)} times", f"{whole_s:.2f} undisturbed", found]]
    rows += _large(place.folder)
    return Table(
        f"upkeep: gc killed at random moments; {LARGE_VERSIONS} versions and {LARGE_GARBAGE} artifacts of nobody",
        ["what", "how much", "seconds", "found"],
        rows,
        [
            "Midway: some of the garbage was gone and some was there; where no kill was, nothing is proved.",
            "Lost: a file of a version is missing or another, or the audit log is not intact.",
        ],
        held=midway > 0 and not lost and not stuck and not failed,
    )


def _collecting(folder: Path) -> int:
    child = os.fork()
    if not child:
        code = 1
        try:
            project = Project(folder)
            collect(project.state, project.ledger, older_than=timedelta(days=1))
            code = 0
        except BaseException:  # the process that measures must not go on twice
            traceback.print_exc()
        finally:
            os._exit(code)
    return child


def _ended_well(child: int) -> None:
    if os.waitpid(child, 0)[1]:
        raise RuntimeError("The collector has failed though nobody killed it.")


def _large(folder: Path) -> list[list[str]]:
    project = furnish(folder / "large", LARGE_VERSIONS, LARGE_GARBAGE, LARGE_BYTES)
    megabytes = LARGE_VERSIONS * LARGE_BYTES / 1e6
    removed = []
    gc_s = _timed(lambda: removed.extend(collect(project.state, project.ledger).pieces))
    backup_s = _timed(lambda: back_up(project.state, project.ledger, folder / "large.mlnb", by="anna"))
    restore_s = _timed(lambda: restore(folder / "large.mlnb", folder / "again", Settings(), by="ben"))
    again = _whole(Project(folder / "again"))
    return [
        ["gc", f"{LARGE_GARBAGE} artifacts", f"{gc_s:.2f}", f"{len(removed)} removed"],
        ["backup, read again", f"{megabytes:.0f} MB", f"{backup_s:.2f}", f"{megabytes / backup_s:.0f} MB/s"],
        ["restore, verified", f"{megabytes:.0f} MB", f"{restore_s:.2f}", "whole" if again else "NOT whole"],
    ]


def _garbage(project: Project) -> list[Path]:
    return [path for path in project.state.artifacts.glob("sha256/??/*") if path.name[2:52] == "0" * 50]


def _whole(project: Project) -> bool:
    return project.audit.verify(project.state.files).ok and len(project.models.list()) in (VERSIONS, LARGE_VERSIONS)


def _timed(do: Callable[[], object]) -> float:
    begun = time.perf_counter()
    do()
    return time.perf_counter() - begun
