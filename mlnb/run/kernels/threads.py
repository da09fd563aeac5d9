"""Libraries that would start native threads when they are imported are kept from it before a fork, and let go after.

A fork copies only the thread that forks: locks which others hold stay locked forever. numpy's and scipy's OpenBLAS and
pyarrow's jemalloc start theirs on import, unless the environment forbids it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping
from pathlib import Path

SINGLE = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""The environment in which these libraries start no thread on import."""

_FUNCTIONS = tuple(
    f"{prefix}openblas_set_num_threads{suffix}" for prefix in ("", "scipy_") for suffix in ("", "64_", "_64")
)
_COUNTS = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS")


def native_threads() -> int:
    """Return how many threads the kernel of the system counts in this process."""
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208  # a count, in a process that forks


def openblas_setters() -> list[Callable[[int], object]]:
    """Return a function for each OpenBLAS that is loaded, which sets how many threads it may use."""
    found: list[Callable[[int], object]] = []
    for line in sorted({line.split(None, 5)[-1] for line in Path("/proc/self/maps").read_text("utf-8").splitlines()}):
        if "openblas" not in line:
            continue
        library = ctypes.CDLL(line)
        function = next((getattr(library, name) for name in _FUNCTIONS if hasattr(library, name)), None)
        if function is not None:
            found.append(function)
    return found


def openblas_threads(environ: Mapping[str, str]) -> int:
    """Return how many threads OpenBLAS takes by itself in an environment."""
    for name in _COUNTS:
        text = environ.get(name, "")
        if text.isdigit() and int(text) > 0:
            return int(text)
    return len(os.sched_getaffinity(0))
