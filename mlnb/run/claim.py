"""A key becomes a claim on computing its result: of several runs at once, one computes and the others wait for it.

The claim is a lock of the operating system on ``cache/<digest>.lock``: it goes with the process that holds it, however
that ends. It saves work and nothing depends on it: the cache is right without.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event

from mlnb.store.disk import storing
from mlnb.store.folder import StateFolder

_LOOK_S = 0.2


@contextmanager
def claimed(state: StateFolder, key: str, stop: Event) -> Iterator[None]:
    """Hold the claim on a key while the block runs; whoever had it before may have left the result.

    Parameters
    ----------
    stop : Event
        Ends the waiting: the block then runs without the claim.

    Raises
    ------
    StorageError
        If the lock's file cannot be made.
    """
    from filelock import FileLock, Timeout

    place = state.cache / f"{key.removeprefix('sha256:')}.lock"
    lock = FileLock(place)
    with storing(place):
        while not stop.is_set():
            with suppress(Timeout):
                lock.acquire(timeout=_LOOK_S)
                break
    try:
        yield
    finally:
        if lock.is_locked:
            with suppress(OSError):  # whoever waits sees that the file is gone, and makes it anew
                place.unlink()
            lock.release()
