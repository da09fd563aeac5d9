"""A notebook becomes an executed one without the waits that are fixed in the stack: papermill's engine ``mlnb``.

``papermill --engine mlnb nb.ipynb out.ipynb`` works with every kernel of protocol 5. nbclient listens 0.2 s into the
silence before the first cell; here the kernel has proved to be heard as soon as its answer arrives on both channels. At
the end the stack looks every 0.1 s whether the kernel is gone; here every 5 ms.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty
from typing import Any

from jupyter_client.utils import run_sync
from nbclient.util import ensure_async, run_hook
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine
from papermill.log import logger
from papermill.utils import merge_kwargs, remove_args

_LOOK_S = 0.25
_LISTEN_S = 0.05
_POLL_S = 0.005
_RECONNECT_MS = 5


class PromptClient(PapermillNotebookClient):  # type: ignore[misc]  # papermill has no types
    """papermill's client that waits for events instead of for time."""

    async def async_start_new_kernel_client(self) -> Any:
        """Return a client whose channels are all heard."""
        self.km.context.reconnect_ivl = _RECONNECT_MS
        try:
            self.kc = self.km.client()
            await ensure_async(self.kc.start_channels())
            await _heard(self.kc, self.startup_timeout)
        except BaseException:
            await self._async_cleanup_kernel()
            raise
        self.kc.allow_stdin = False
        await run_hook(self.on_notebook_start, notebook=self.nb)
        return self.kc

    start_new_kernel_client = run_sync(async_start_new_kernel_client)

    @contextmanager
    def setup_kernel(self, **kwargs: Any) -> Iterator[None]:
        """Kill the kernel at the end where it cannot go on, without asking it."""
        with super().setup_kernel(**kwargs):
            try:
                yield
            except BaseException:
                self.shutdown_kernel = "immediate"
                raise

    async def _async_cleanup_kernel(self) -> None:
        if await ensure_async(self.km.is_alive()):
            if self.shutdown_kernel == "immediate":
                await self.km.provisioner.kill()
                while await ensure_async(self.km.is_alive()):
                    await asyncio.sleep(_POLL_S)
            else:
                await ensure_async(self.km.interrupt_kernel())
                await ensure_async(self.km.request_shutdown())
                await ensure_async(self.km.finish_shutdown(pollinterval=_POLL_S))
        await super()._async_cleanup_kernel()

    _cleanup_kernel = run_sync(_async_cleanup_kernel)


class PromptEngine(NBClientEngine):  # type: ignore[misc]
    """papermill's own engine with `PromptClient`."""

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: Any,
        kernel_name: str,
        log_output: bool = False,
        stdout_file: Any = None,
        stderr_file: Any = None,
        start_timeout: int = 60,
        execution_timeout: int | None = None,
        cleanup_kc: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Execute a notebook; the arguments are those of papermill's engine, and `cleanup_kc` as of nbclient."""
        kept = remove_args(["input_path", "timeout", "startup_timeout"], **kwargs)
        options = merge_kwargs(
            kept,
            timeout=execution_timeout or kwargs.get("timeout"),
            startup_timeout=start_timeout,
            kernel_name=kernel_name,
            log=logger,
            log_output=log_output,
            stdout_file=stdout_file,
            stderr_file=stderr_file,
        )
        client = PromptClient(nb_man, **options)
        return client.execute(cleanup_kc=client.owns_km if cleanup_kc is None else cleanup_kc)


async def _heard(client: Any, timeout_s: float) -> None:
    """Return when an answer to one question has arrived on the shell and on the iopub channel."""
    deadline = time.monotonic() + timeout_s
    asked, answered = client.kernel_info(), False
    while True:
        try:
            if not answered:
                answer = await ensure_async(client.get_shell_msg(timeout=_LOOK_S))
                answered = answer["parent_header"].get("msg_id") == asked
                if answered:
                    client._handle_kernel_info_reply(answer)
                continue
            news = await ensure_async(client.get_iopub_msg(timeout=_LISTEN_S))
            if news["parent_header"].get("msg_id") == asked and news["content"].get("execution_state") == "idle":
                return
        except Empty:
            if answered:  # it spoke before we were subscribed: ask again
                asked, answered = client.kernel_info(), False
            elif not await ensure_async(client.parent.is_alive()):
                raise RuntimeError("Kernel died before replying to kernel_info") from None
            elif time.monotonic() > deadline:
                raise RuntimeError(f"Kernel didn't respond in {timeout_s:g} seconds") from None
