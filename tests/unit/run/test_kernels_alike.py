from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from mlnb.run.kernels.job import Job
from mlnb.run.kernels.open import open_kernels
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder

LOOK = """
import atexit, gc, json, logging, os, resource, signal, stat, sys, threading, time, warnings
import numpy, pandas, pyarrow, threadpoolctl

def kind(descriptor):
    mode = os.fstat(descriptor).st_mode
    return "socket" if stat.S_ISSOCK(mode) else "pipe" if stat.S_ISFIFO(mode) else "file" if stat.S_ISREG(mode) else "other"

def counted():
    descriptors = [int(name) for name in os.listdir("/proc/self/fd")]
    return [kind(number) for number in descriptors if number > 2 and os.path.lexists(f"/proc/self/fd/{number}")]

opened, since = counted(), time.monotonic()
while time.monotonic() - since < 0.5:  # the client may still be connecting to the channels that it does not wait for
    if len(now := counted()) != len(opened):
        opened, since = now, time.monotonic()
    time.sleep(0.01)
own = {"JPY_PARENT_PID", "_", "PYDEVD_USE_FRAME_EVAL"}  # the last is debugpy's, which a stage does not need
print(json.dumps({
    "argv": [word if "/k-" not in word else "connection file" for word in sys.argv],
    "command": sys.orig_argv[:3],
    "path": sys.path,
    "main": sorted(set(vars(sys.modules["__main__"])) - {"In", "Out"}),
    "main name": [__name__, sys.modules["__main__"] is not None, "__file__" in globals()],
    "folder": os.getcwd(),
    "environ": {name: value for name, value in sorted(os.environ.items()) if name not in own},
    "signals": {str(number): str(signal.getsignal(number)).split(" at ")[0] for number in sorted(signal.valid_signals())},
    "mask": sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))),
    "open": {name: opened.count(name) for name in ("socket", "pipe", "file")},
    "group": [os.getpgid(0) == os.getpid(), os.getsid(0) == os.getpid()],
    "umask": [line for line in open("/proc/self/status") if line.startswith(("Umask", "SigIgn", "SigBlk"))],
    "limits": [resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_AS), os.nice(0)],
    "flags": str(sys.flags),
    "threads": sorted(thread.name.split("-")[0] for thread in threading.enumerate()),
    "pools": sorted([pool["user_api"], pool["num_threads"]] for pool in threadpoolctl.threadpool_info()),
    "logging": [str(logging.getLogger().handlers), logging.getLogger().level, logging.lastResort is not None],
    "collector": [gc.isenabled(), gc.get_threshold()],
    "finders": [getattr(finder, "__name__", type(finder).__name__) for finder in sys.meta_path],
    "columns shown": [pandas.get_option("display.max_columns"), pandas.get_option("display.width")],
    "shell": str(type(get_ipython())),
    "streams": [type(sys.stdout).__name__, sys.__stdout__.encoding, sys.__stdout__.line_buffering],
    "recursion": sys.getrecursionlimit(),
    "alive": threading.main_thread() is threading.current_thread(),
}))
"""


def looked(how: str, folder: Path, path: Path) -> dict[str, object]:
    """Return what a kernel sees of itself."""
    with open_kernels(how, StateFolder.open(folder), Settings()) as kernels:
        kernels.prepare(("numpy", "pandas", "pyarrow", "threadpoolctl"))
        execution = kernels.execute(Job(path, folder, {}), lambda number: None)
    outputs = execution.notebook["cells"][0]["outputs"]  # type: ignore[index]
    seen: dict[str, object] = json.loads("".join(outputs[0]["text"]))
    return seen


def test_a_prepared_kernel_cannot_be_told_from_one_that_was_just_started(
    tmp_path: Path, write_notebook: Callable[..., Path], cell
) -> None:
    path = write_notebook(cell(LOOK, 1))
    spawned = looked("spawn", tmp_path, path)
    assert spawned["argv"][1:3] == ["-f", "connection file"]  # type: ignore[index]
    assert spawned["path"].count("") == 1  # type: ignore[attr-defined]
    assert looked("fork", tmp_path, path) == spawned
    assert looked("pool", tmp_path, path) == spawned
