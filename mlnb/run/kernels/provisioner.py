"""A kernelspec's wish becomes a forked or a waiting kernel: jupyter_client's provisioners, for papermill and everybody.

``mlnb-fork`` is an entry point of ``jupyter_client.kernel_provisioners``. A kernelspec asks for it in its metadata::

    "metadata": {"kernel_provisioner": {"provisioner_name": "mlnb-fork",
                                        "config": {"preload": ["pandas", "sklearn"], "idle_s": 600}}}

papermill, nbclient and Jupyter Server then start that kernelspec's kernels as before, only sooner.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

from jupyter_client.provisioning import LocalProvisioner
from traitlets import Float, List, Unicode

from mlnb.run.kernels.forking import ForkedProcess, UnforkableError, Zygote
from mlnb.run.kernels.fresh import Request
from mlnb.run.kernels.place import private_folder
from mlnb.run.kernels.say import say_once

Take = Callable[[Request, Sequence[int]], ForkedProcess | subprocess.Popen[bytes]]
"""Makes a kernel of a request; the descriptors are its standard output and error."""

_LAUNCHER = "ipykernel_launcher"


class PreparedProvisioner(LocalProvisioner):  # type: ignore[misc]  # jupyter_client is untyped here
    """Gets its kernel from a function instead of starting a process."""

    take: Take

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        """Ask for the kernel that `cmd` would start; wait for it without blocking the event loop."""
        environ = dict(kwargs.get("env") or os.environ)
        environ["JPY_PARENT_PID"] = str(os.getpid())
        arguments = tuple(cmd[cmd.index(_LAUNCHER) + 1 :])
        self.cwd = str(kwargs.get("cwd") or Path.cwd())
        debugger = bool((self.kernel_spec.metadata or {}).get("debugger"))
        request = Request(arguments, environ, self.cwd, os.getpid(), debugger)
        output = [_descriptor(kwargs.get("stdout"), 1), _descriptor(kwargs.get("stderr"), 2)]
        self.process = await asyncio.to_thread(self.take, request, output)
        self.pid = self.process.pid
        self.pgid = self.pid if hasattr(os, "killpg") else None
        return self.connection_info


class ForkProvisioner(PreparedProvisioner):
    """Forks the kernels of a kernelspec from a zygote; where that cannot be, they are started as ever, said once.

    Attributes
    ----------
    preload : list of str
        Modules that the zygote imports.
    idle_s : float
        Seconds that the zygote outlives its last kernel.
    """

    preload = List(Unicode()).tag(config=True)
    idle_s = Float(0).tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._sockets = ExitStack()

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Move the kernel's sockets from TCP ports into a private folder, unless somebody chose the ports."""
        manager = self.parent
        ports = ("shell_port", "iopub_port", "stdin_port", "hb_port", "control_port")
        if manager and manager.transport == "tcp" and not any(getattr(manager, port) for port in ports):
            folder = self._sockets.enter_context(private_folder())
            manager.transport, manager.ip, manager.cache_ports = "ipc", str(folder / "k"), False
        prepared: dict[str, Any] = await super().pre_launch(**kwargs)
        return prepared

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        """Fork the kernel, or start it where it cannot be forked."""
        if _LAUNCHER in cmd:
            zygote = Zygote(Path(kwargs.get("cwd") or Path.cwd()), self.idle_s)
            self.take = lambda request, output: _forked(zygote, self.preload, request, output)
            try:
                return await super().launch_kernel(cmd, **kwargs)
            except UnforkableError as error:
                say_once(f"Kernels are started afresh instead of forked: {error}.")
        return await LocalProvisioner.launch_kernel(self, cmd, **kwargs)

    async def cleanup(self, restart: bool = False) -> None:
        """Remove the folder of the sockets."""
        await super().cleanup(restart)
        if not restart:
            self._sockets.close()


class Source(Protocol):
    """Where kernels come from.

    Attributes
    ----------
    ahead : bool
        Whether it pays to start a kernel before there is a notebook for it.
    """

    ahead: bool

    def prepare(self, modules: Sequence[str], environ: Mapping[str, str]) -> None:
        """Start to load modules for kernels with this environment."""

    def provision(self, manager: Any, log: Path) -> None:
        """Let a kernel manager get its kernel from here; `log` is where its output goes."""

    def abort(self) -> None:
        """Let nobody wait for a kernel any more."""

    def close(self) -> None:
        """Let go of what was prepared."""


def provide(manager: Any, take: Take) -> None:
    """Let a kernel manager get its kernel from `take`."""
    provisioner = PreparedProvisioner(kernel_id="", kernel_spec=manager.kernel_spec, parent=manager)
    provisioner.take = take
    manager.provisioner = provisioner


def _forked(zygote: Zygote, modules: Sequence[str], request: Request, output: Sequence[int]) -> ForkedProcess:
    zygote.prepare(
        [*modules, *(["debugpy.server.api"] if request.debugger else [])], Path(request.folder), request.environ
    )
    process = zygote.fork(request, output)
    held = zygote.release()
    if held is not None:
        held.close()
    return process


def _descriptor(file: Any, default: int) -> int:
    if file is None:
        return default
    return file if isinstance(file, int) else int(file.fileno())
