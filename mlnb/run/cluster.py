"""The address of a Dask scheduler becomes a client, and what is lost on the way a sentence.

Values travel through the shared cache (the setting ``shared_cache``), never through Dask.
"""

from __future__ import annotations

import socket
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mlnb.errors import PluginError, RunError, SettingsError
from mlnb.settings import Settings
from mlnb.store.bucket import Bucket, bucket_at
from mlnb.store.folder import StateFolder

if TYPE_CHECKING:
    from distributed import Client

CONNECT_TIMEOUT_S = 20


def shared_bucket(settings: Settings) -> Bucket:
    """Return the shared cache, through which everything travels.

    Raises
    ------
    SettingsError
        If none is set.
    """
    if not settings.shared_cache:
        raise SettingsError(
            "Dask workers hand their results over through a shared cache, and none is set.",
            'Set it in pyproject.toml: [tool.mlnb] shared_cache = "s3://bucket/prefix", or MLNB_SHARED_CACHE.',
            key="shared_cache",
        )
    return bucket_at(settings.shared_cache)


def fetch(bucket: Bucket, digest: str, size_bytes: int, state: StateFolder) -> None:
    """Bring an artifact here from the shared cache, where it is not here yet.

    Raises
    ------
    RunError
        If it cannot be had.
    """
    if not state.files.has(digest, size_bytes) and not bucket.fetch(digest, size_bytes, state.files):
        raise unshared(bucket)


def unshared(bucket: Bucket) -> RunError:
    """Return what to say where the shared cache fails."""
    said = " ".join(bucket.said())
    return RunError(
        f"A value could not be handed over through the shared cache {bucket.name}. {said}".rstrip(),
        "Check that client and workers may read and write there, then run with --resume.",
    )


def connect(address: str) -> Client:
    """Return a client of the cluster at ``dask://HOST:PORT``.

    Raises
    ------
    PluginError
        If ``distributed`` is not installed.
    RunError
        If no scheduler answers, it has no workers, or one of them has another Python or mlnb.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise PluginError(
            f"Dask cannot be imported: {error}.",
            "Install it: pip install 'mlnb[dask]'.",
            group="mlnb.executors",
            plugin="dask",
        ) from error
    place = address.partition("://")[2]
    try:
        _knock(place)
        client = Client(f"tcp://{place}", timeout=CONNECT_TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise RunError(
            f"No Dask scheduler answers at {place}: {error}.", "Start one (dask scheduler), or correct the address."
        ) from error
    _check_workers(client, place)
    return client


def _knock(place: str) -> None:
    """Fail at once where nobody listens: a client would go on trying until its time is over."""
    named = urlsplit(f"//{place}")
    if named.hostname and named.port:
        socket.create_connection((named.hostname, named.port), CONNECT_TIMEOUT_S).close()


def about_worker() -> dict[str, str]:
    """Return what must be the same on client and workers."""
    return {"mlnb": version("mlnb"), "python": ".".join(map(str, sys.version_info[:2]))}


def _check_workers(client: Client, place: str) -> None:
    own, found = about_worker(), client.run(about_worker, on_error="return")
    if not found:
        client.close()
        raise RunError(f"The Dask scheduler at {place} has no workers.", "Start some: dask worker tcp://HOST:PORT.")
    for worker, told in found.items():
        if told != own:
            client.close()
            raise RunError(
                f"The Dask worker {worker} has {told}, but here is {own}.",
                "Install the same Python and the same mlnb on both sides.",
            )


def result_of(future: Any, what: str, address: str) -> object:
    """Wait for a task's result.

    Raises
    ------
    RunError
        If every worker that tried it died, or the scheduler was lost.
    """
    from distributed import CancelledError, KilledWorker
    from distributed.comm import CommClosedError

    try:
        return future.result()
    except KilledWorker as error:
        raise RunError(
            f"Every Dask worker that tried {what} died: {error}.",
            "Look at the workers' logs (out of memory?), then run with --resume.",
        ) from error
    except (CancelledError, CommClosedError, OSError) as error:
        raise _gone(address) from error


def _gone(address: str) -> RunError:
    return RunError(
        f"The Dask scheduler at {address.partition('://')[2]} was lost while it was at work.",
        "Start it again and run with --resume: what was finished is reused.",
    )
