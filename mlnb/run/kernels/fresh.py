"""A process that has loaded much becomes a kernel which cannot tell that it was not just started.

Forked from a zygote or taken from a pool: it gets its own session, the environment, folder, output and arguments of
whoever asked, Python's own signal handlers, an empty ``__main__`` and random generators of its own.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import io
import os
import random
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from types import ModuleType
from typing import NoReturn, cast

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Request:
    """A kernel that somebody wants.

    Attributes
    ----------
    arguments : tuple of str
        Of ``ipykernel_launcher``.
    environ : mapping of str to str
        The whole environment.
    folder : str
        The working directory.
    parent : int
        Process id of whoever asks; the kernel ends when it is orphaned.
    debugger : bool
        Whether a front end may debug in it.
    """

    arguments: tuple[str, ...]
    environ: Mapping[str, str]
    folder: str
    parent: int
    debugger: bool = False

    def to_json(self) -> dict[str, object]:
        """Return it as a JSON object."""
        return {
            "arguments": list(self.arguments),
            "environ": dict(self.environ),
            "folder": self.folder,
            "parent": self.parent,
            "debugger": self.debugger,
        }

    @classmethod
    def from_json(cls, found: Mapping[str, object]) -> Request:
        """Read what `to_json` wrote."""
        return cls(
            arguments=tuple(cast("list[str]", found["arguments"])),
            environ=cast("dict[str, str]", found["environ"]),
            folder=str(found["folder"]),
            parent=cast("int", found["parent"]),
            debugger=bool(found["debugger"]),
        )


@dataclass(frozen=True, slots=True)
class Origin:
    """What this process was before it loaded anything.

    Attributes
    ----------
    path : tuple of str
        ``sys.path``.
    environ : mapping of str to str
        The environment.
    """

    path: tuple[str, ...]
    environ: Mapping[str, str]

    @classmethod
    def here(cls) -> Origin:
        """Look, and take the working directory off ``sys.path``, which ``python -m`` has put there."""
        if not sys.flags.safe_path:
            del sys.path[0]
        return cls(tuple(sys.path), dict(os.environ))

    def added(self) -> dict[str, str]:
        """Return the variables that modules have set when they were loaded."""
        return {name: value for name, value in os.environ.items() if self.environ.get(name) != value}


def die_with(parent: int) -> None:
    """Let the system kill this process when the one that forked it, `parent`, ends (Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it had ended before
        os._exit(1)


def become(request: Request, output: Sequence[int], origin: Origin) -> None:
    """Take over everything that a new process gets from outside.

    Parameters
    ----------
    output : sequence of int
        Descriptors for standard output and error; they are closed.
    origin : Origin
        What of this process is to be as it was.

    Raises
    ------
    OSError
        If the folder is gone.
    """
    _take_output(output)
    environ = {**origin.added(), **request.environ}
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(request.folder)
    launcher = find_spec("ipykernel_launcher")
    sys.argv = [launcher.origin if launcher and launcher.origin else "ipykernel_launcher", *request.arguments]
    sys.orig_argv = [sys.executable, "-m", "ipykernel_launcher", *request.arguments]
    sys.path[:] = origin.path
    sys.modules["__main__"] = ModuleType("__main__")
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, *((signal.SIGCHLD,) if os.name == "posix" else ())):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    random.seed()
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()


def launch(request: Request) -> NoReturn:
    """Run the kernel to its end, and end the process."""
    from ipykernel import kernelapp

    if request.debugger:
        sys.modules.pop("ipykernel.debugger", None)  # it was loaded without debugpy: the kernel loads it again
    code = 0
    try:
        kernelapp.launch_new_instance(parent_handle=request.parent)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    _end(code)


def _end(code: int) -> NoReturn:
    """Do what Python does at its end, except to take apart what was loaded before the fork.

    That copies every page which a zygote shares with its kernels: 0.13 s for pandas and scikit-learn.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are not daemons
    atexit._run_exitfuncs()
    vars(sys.modules["__main__"]).clear()
    gc.collect()
    for thing in gc.get_objects():  # of this process alone: what was there before the fork is frozen
        if issubclass(type(thing), io.IOBase):
            with suppress(OSError, ValueError):
                thing.flush()
    os._exit(code)


def _take_output(output: Sequence[int]) -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, target in zip((nothing, *output), (0, 1, 2), strict=True):
        os.dup2(descriptor, target)
    for descriptor in {nothing, *output} - {0, 1, 2}:
        os.close(descriptor)
