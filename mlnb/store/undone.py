"""An act whose effects are still to be done becomes a file, so that whoever comes after a death sees it at once.

One file for each act, named ``<pid>-<start of the process>-<random>.<host>``; ``left-<random>`` says that an effect
failed and is to be tried again. To look costs one call of the system and opens no database.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable
from pathlib import Path
from secrets import token_hex

from mlnb.store.disk import storing, write_bytes
from mlnb.store.process import HIDDEN, started_at

_LEFT = "left"
_FORGOTTEN_S = 3600.0


class Undone:
    """What the acts of a folder have left to be done.

    Parameters
    ----------
    folder : Path
        Where the files are; made at the first act.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def left(self) -> tuple[Path, ...]:
        """Return the files of processes that are no more, and those of effects that are to be tried again."""
        try:
            paths = [Path(entry.path) for entry in os.scandir(self._folder)]
        except FileNotFoundError:
            return ()
        return tuple(path for path in paths if not _acting(path.name, path))

    def begin(self) -> Path:
        """Say that this process acts; return the file that says so, one of this act alone."""
        mark = self._folder / f"{os.getpid()}-{_start(os.getpid())}-{token_hex(4)}.{platform.node()}"
        write_bytes(mark, b"")
        return mark

    def end(self, done: Iterable[Path], *, again: bool = False) -> None:
        """Say that what some files stand for is done.

        Parameters
        ----------
        again : bool
            Whether something is to be tried again.
        """
        if again:
            write_bytes(self._folder / f"{_LEFT}-{token_hex(4)}", b"")
        for path in done:
            with storing(path, "removed"):
                path.unlink(missing_ok=True)


def _acting(name: str, path: Path) -> bool:
    """Say whether the process of a file is at it; one of another machine is believed to be for an hour."""
    act, _, host = name.partition(".")
    pid, *rest = act.split("-")
    if pid == _LEFT:
        return False
    if pid.isdigit() and host == platform.node():
        start = _start(int(pid))
        known = rest[0] if len(rest) > 1 else start  # an older mlnb wrote none
        return bool(start) and start in (known, HIDDEN)
    try:
        return time.time() - path.stat().st_mtime < _FORGOTTEN_S
    except FileNotFoundError:
        return True


def _start(pid: int) -> str:
    return started_at(pid).replace(".", "")
