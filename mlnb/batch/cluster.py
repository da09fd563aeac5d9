"""A table is scored by the workers of a Dask cluster, a share of it in each task: ``--executor dask://host:8786``.

The package travels to the workers, and answers back, through the shared cache (the setting ``shared_cache``), as
stages' values do. The table itself does not travel: a worker reads its share where it lies, at an address or in a
folder that all machines see under the same name. Parquet is shared out by row groups, other formats by files.

A task's answers lie under names of its own attempt, and count when the client has its result: a share whose worker died
is scored again by another one, and what the dead one has left is removed at the end.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pyarrow as pa

from mlnb.batch.piece import Fault
from mlnb.batch.places import is_remote
from mlnb.batch.reading import Share, pieces_of, shares_of
from mlnb.batch.scoring import FAULTS_TOLD, Answered, Manner, TableScorer, schema_of
from mlnb.batch.table import Batch, Scored, check_columns, kinds_of_kept, look, needed, total_of, write_answers
from mlnb.errors import RemoteError, RunError
from mlnb.model.signature import Signature
from mlnb.registry.package import unpack
from mlnb.registry.version import Version
from mlnb.run.cluster import connect, fetch, result_of, shared_bucket, unshared
from mlnb.settings import Settings
from mlnb.store.bucket import Bucket, bucket_at
from mlnb.store.disk import make_folder
from mlnb.store.folder import StateFolder
from mlnb.store.remote import open_address, reaching

if TYPE_CHECKING:
    from distributed import Client

SHARE_ROWS = 250_000
_PARCEL_ROWS = 250_000


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker needs to score one share.

    Attributes
    ----------
    share : Share
    package : mapping of str to (str, int)
        Digest and size in bytes of every file of the version.
    manner : Manner
    kinds : mapping of str to pyarrow.DataType
        Types of the kept columns.
    columns, texts : tuple of str
        What is read.
    cache : str
        Address of the shared cache.
    folder : str
        Where the answers go in it.
    """

    share: Share
    package: Mapping[str, tuple[str, int]]
    manner: Manner
    kinds: Mapping[str, pa.DataType]
    columns: tuple[str, ...]
    texts: tuple[str, ...]
    cache: str
    folder: str


@dataclass(frozen=True, slots=True)
class Done:
    """What a worker tells: the names of its answers in the shared cache, or the faults that stop all."""

    names: tuple[str, ...]
    faults: tuple[Fault, ...]
    faulty: int
    rows: int
    stopped: bool


def score_on_cluster(
    version: Version, batch: Batch, state: StateFolder, settings: Settings, notify: Callable[[object], None]
) -> Scored:
    """Score a table on the workers of ``batch.executor``; otherwise as `mlnb.batch.table.score_table`.

    Raises
    ------
    SettingsError
        If no shared cache is set.
    RunError
        If the cluster cannot be reached or was lost, or a worker does not see the table.
    """
    bucket = shared_bucket(settings)
    files = tuple(file if is_remote(file) else str(Path(file).resolve()) for file in look(batch))
    signature, manner = Signature.from_json(version.signature), Manner(version.ref, batch.keep, batch.spare)
    kinds = kinds_of_kept(files, batch.keep)
    check_columns(files, signature)
    schema = schema_of(signature, manner, kinds)
    folder = f"batch/{uuid.uuid4().hex}"
    common = (_pushed(version, state, bucket), manner, kinds, *needed(signature, batch.keep))
    client = connect(batch.executor)
    try:
        _check_seen(client, files)
        shares = (share for file in files for share in shares_of(file, SHARE_ROWS))
        tasks = (Task(share, *common, settings.shared_cache, folder) for share in shares)
        made = _answers(client, tasks, bucket, batch.executor)
        return write_answers(made, schema, batch, version.ref, total_of(files), notify)
    finally:
        client.close()
        _remove(settings.shared_cache, folder)


def score_share(task: Task) -> Done:
    """Score a share on this worker."""
    from distributed import get_worker

    scorer = _scorer(task, make_folder(Path(get_worker().local_directory) / "mlnb"))
    bucket = bucket_at(task.cache)
    names: list[str] = []
    faults: list[Fault] = []
    faulty = rows = 0
    held: list[pa.RecordBatch] = []
    for piece in pieces_of(task.share, task.columns, task.texts):
        answered = scorer.answer(piece)
        if answered.batch is None:
            return Done((), answered.faults, answered.faulty, answered.rows, stopped=True)
        faults += answered.faults[: FAULTS_TOLD - len(faults)]
        faulty, rows = faulty + answered.faulty, rows + answered.rows
        held.append(answered.batch)
        if sum(one.num_rows for one in held) >= _PARCEL_ROWS:
            names.append(_written(held, scorer.schema, task.folder, bucket))
            held = []
    if held:
        names.append(_written(held, scorer.schema, task.folder, bucket))
    return Done(tuple(names), tuple(faults), faulty, rows, stopped=False)


def stat_files(files: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Return size and time of change of every file, as this machine sees it; nothing where one is missing."""
    try:
        return tuple((about.st_size, about.st_mtime_ns) for about in map(os.stat, files))
    except OSError:
        return ()


_scorers: dict[str, TableScorer] = {}
_scorers_lock = threading.Lock()


def _scorer(task: Task, home: Path) -> TableScorer:
    """Return this process's scorer of a version and manner; it is loaded once."""
    told = json.dumps([task.package, task.manner.ref, task.manner.keep, task.manner.spare, str(task.kinds)])
    key = hashlib.sha256(told.encode()).hexdigest()[:16]
    with _scorers_lock:
        if key not in _scorers:
            state = StateFolder.open(home, task.cache)
            for digest, size in task.package.values():
                fetch(bucket_at(task.cache), digest, size, state)
            package = home / "packages" / key
            unpack({name: digest for name, (digest, _) in task.package.items()}, state.files, package)
            _scorers.clear()
            _scorers[key] = TableScorer(package, task.manner, task.kinds)
        return _scorers[key]


def _written(batches: Sequence[pa.RecordBatch], schema: pa.Schema, folder: str, bucket: Bucket) -> str:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4", unify_dictionaries=True)
    with pa.ipc.new_file(sink, schema, options=options) as writer:
        for batch in batches:
            writer.write_batch(batch)
    name = f"{folder}/{uuid.uuid4().hex}.arrow"
    if not bucket.write(name, sink.getvalue().to_pybytes()):
        raise unshared(bucket)
    return name


def _answers(client: Client, tasks: Iterator[Task], bucket: Bucket, address: str) -> Generator[Answered, None, None]:
    """Yield the answers of all tasks in order, with few of them ahead of what is written."""
    most = 2 * sum(client.nthreads().values()) + 1
    waiting: deque[object] = deque()
    for task in tasks:
        key = f"mlnb-batch-{uuid.uuid4().hex}"
        waiting.append(client.submit(score_share, task, key=key, pure=False))
        if len(waiting) >= most:
            yield from _received(waiting.popleft(), bucket, address)
    while waiting:
        yield from _received(waiting.popleft(), bucket, address)


def _received(future: object, bucket: Bucket, address: str) -> Iterator[Answered]:
    done = cast(Done, result_of(future, "a share of the table", address))
    if done.stopped:
        yield Answered(None, done.faults, done.faulty, done.rows)
        return
    faults, faulty = done.faults, done.faulty
    for name in done.names:
        content = bucket.read(name)
        if content is None:
            raise unshared(bucket)
        reader = pa.ipc.open_file(content)
        for at in range(reader.num_record_batches):
            batch = reader.get_batch(at)
            yield Answered(batch, faults, faulty, batch.num_rows)
            faults, faulty = (), 0


def _pushed(version: Version, state: StateFolder, bucket: Bucket) -> dict[str, tuple[str, int]]:
    """Put the version's files into the shared cache."""
    found = {}
    for name, digest in version.files.items():
        size = state.files.path(digest).stat().st_size
        if not bucket.push(digest, size, state.files):
            raise unshared(bucket)
        found[name] = (digest, size)
    return found


def _check_seen(client: Client, files: Sequence[str]) -> None:
    here = [file for file in files if not is_remote(file)]
    if not here:
        return
    own = stat_files(here)
    for worker, seen in client.run(stat_files, here).items():
        if tuple(map(tuple, seen)) != own:
            raise RunError(
                f"The Dask worker {worker} does not see {here[0]} as it is here.",
                "Put the table where all machines see it under the same name, or at an address such as s3://.",
            )


def _remove(cache: str, folder: str) -> None:
    """Take the answers out of the shared cache: they are in the target, or nobody wants them."""
    place = f"{cache.rstrip('/')}/{folder}"
    with suppress(RemoteError), reaching(place):
        system, path = open_address(place)
        if system.exists(path):
            system.rm(path, recursive=True)
