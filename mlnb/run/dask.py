"""Stages run on the workers of a Dask cluster: ``--executor dask://host:8786`` (extra ``mlnb[dask]``).

What stages hand over travels through the shared cache (the setting ``shared_cache``), never through Dask: the client
pushes inputs, the project's own modules and the data files that a stage reads; the worker fetches them into a folder of
its own, runs the stage in a kernel there, and commits the result; the client fetches it. A worker first looks whether
the result is committed already, so that a stage whose worker was lost after that is not run twice. Dask itself gives a
stage whose worker died to another one.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import logging
import os
import threading
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from mlnb.errors import MlnbError, RunError
from mlnb.pipeline.modules import module_folders, trace_imports
from mlnb.pipeline.setup import tree_of
from mlnb.run import cache
from mlnb.run.cluster import CONNECT_TIMEOUT_S, connect, fetch, result_of, shared_bucket, unshared
from mlnb.run.executor import Session
from mlnb.run.record import StageRecord
from mlnb.run.stage import OnPosition, StageTask, execute_stage, notebook_path
from mlnb.settings import Settings
from mlnb.store.bucket import Bucket, bucket_at
from mlnb.store.disk import make_folder, write_bytes
from mlnb.store.folder import StateFolder
from mlnb.store.manifest import Fields, write_json

if TYPE_CHECKING:
    from distributed import Client

    from mlnb.run.kernels.open import Kernels

_TOPIC = "mlnb-cells"


@dataclass(frozen=True, slots=True)
class Parcel:
    """What a worker needs to run one stage; its pipeline's path is relative to the project.

    Attributes
    ----------
    run, project : str
        Names of folders on the worker: of the run, and of the project's files as they are.
    task : StageTask
        With paths that mean nothing there yet.
    files : Mapping[str, tuple of (str, int)]
        Digest and size of every file of the project that the stage needs, by path relative to the project.
    settings : Settings
    kernel : str
    """

    run: str
    project: str
    task: StageTask
    files: Mapping[str, tuple[str, int]]
    settings: Settings
    kernel: str


class DaskExecutor:
    """Executes stages on a cluster's workers, each in a fresh kernel there.

    Raises
    ------
    SettingsError
        If no shared cache is set.
    PluginError
        If ``distributed`` is not installed.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._bucket = shared_bucket(session.settings)
        self._lock = threading.Lock()
        self._connected: Client | None = None
        self._refusal: MlnbError | None = None
        self._listening: dict[str, OnPosition] = {}
        self._run = uuid.uuid4().hex[:12]
        self._log = logging.getLogger("distributed.client")
        self._log_level = self._log.level

    def __enter__(self) -> Self:
        """Return the executor itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def prepare(self, modules: Sequence[str]) -> None:
        """Connect in the background; workers keep their own kernels warm."""
        threading.Thread(target=self._connect_quietly, daemon=True).start()

    def execute(self, task: StageTask, on_cell: OnPosition) -> tuple[StageRecord, Mapping[str, object]]:
        """Execute one stage on whichever worker Dask chooses.

        Raises
        ------
        RunError
            If the scheduler cannot be reached or was lost, or every worker that tried the stage died.
        """
        client = self._client()
        parcel = self._packed(task)
        key = f"mlnb-{task.stage.name}-{uuid.uuid4().hex}"
        self._listening[key] = on_cell
        try:
            future = client.submit(run_parcel, parcel, key, self._run, key=key, pure=False)
            told = cast("Mapping[str, Any]", result_of(future, f"the stage {task.stage.name!r}", self._session.address))
        finally:
            self._listening.pop(key, None)
        return self._received(task, told)

    def cancel(self) -> None:
        """Kill the kernels of this run on all workers and forget what has not begun."""
        if self._connected is not None:
            with suppress(OSError, TimeoutError):  # a scheduler that is gone has nothing to cancel
                self._connected.run(cancel_on_worker, self._run, on_error="ignore")

    def close(self) -> None:
        """Leave the cluster."""
        if self._connected is not None:
            self._connected.close(timeout=CONNECT_TIMEOUT_S)
            self._connected = None
            self._log.setLevel(self._log_level)

    def _client(self) -> Client:
        with self._lock:
            if self._refusal is not None:  # of the first attempt: nobody waits twice
                raise self._refusal
            if self._connected is None:
                try:
                    self._connected = connect(self._session.address)
                except MlnbError as error:
                    self._refusal = error
                    raise
                self._log_level = self._log.level
                self._log.setLevel(logging.CRITICAL)  # a lost scheduler is told in our own two sentences
                self._connected.subscribe_topic(_TOPIC, self._heard)
            return self._connected

    def _connect_quietly(self) -> None:
        with suppress(MlnbError):  # the first stage says it
            self._client()

    def _heard(self, event: tuple[object, Mapping[str, Any]]) -> None:
        _, told = event
        listener = self._listening.get(str(told.get("key")))
        if listener is not None:
            listener(*told["cell"])

    def _packed(self, task: StageTask) -> Parcel:
        """Push what the stage needs to the shared cache, and describe it."""
        state = self._session.state
        for artifact in task.inputs:
            self._push(artifact.digest, artifact.size_bytes)
        files: dict[str, tuple[str, int]] = {}
        for path in _needed_files(task, state.project):
            digest, size = state.files.put(path)
            self._push(digest, size)
            files[path.relative_to(state.project).as_posix()] = (digest, size)
        document = task.pipeline.document
        inside = Path(os.path.relpath(document.path, state.project))
        packed = replace(
            task,
            pipeline=replace(task.pipeline, document=replace(document, path=inside, content=b"")),
            folder=Path(task.folder.name),
        )
        name = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:16]
        return Parcel(task.folder.name, name, packed, files, self._session.settings, self._session.kernel)

    def _push(self, digest: str, size_bytes: int) -> None:
        if not self._bucket.push(digest, size_bytes, self._session.state.files):
            raise unshared(self._bucket)

    def _received(self, task: StageTask, told: Mapping[str, Any]) -> tuple[StageRecord, Mapping[str, object]]:
        state = self._session.state
        notebook = cast("Mapping[str, object]", told["notebook"])
        path = notebook_path(task.folder, task.pipeline, task.stage.name)
        write_json(path, notebook)
        record = StageRecord.from_json(Fields("the worker's answer", json.loads(told["record"])))
        for artifact in record.artifacts:
            fetch(self._bucket, artifact.digest, artifact.size_bytes, state)
        for name, (digest, size) in told["written"].items():
            fetch(self._bucket, digest, size, state)
            write_bytes(state.project / name, state.files.read(digest))
        return replace(record, notebook=str(path.relative_to(state.root))), notebook


def run_parcel(parcel: Parcel, key: str, client: str) -> dict[str, object]:
    """Run a stage on this worker, or return what an earlier attempt has committed."""
    from distributed import get_worker

    worker = get_worker()
    home = make_folder(Path(worker.local_directory) / "mlnb")
    settings = parcel.settings
    project = home / parcel.project
    state = StateFolder.open(home, settings.shared_cache)
    bucket = bucket_at(settings.shared_cache)
    task = _unpacked(parcel, project, state, bucket)
    hit = cache.look_up(state, task.key)
    if hit is not None and not task.seed:
        return _answer(hit.as_record("done"), json.loads(state.files.read(hit.notebook)), {})
    for artifact in task.inputs:
        fetch(bucket, artifact.digest, artifact.size_bytes, state)

    def on_cell(cell: int, position: int, total: int) -> None:
        worker.log_event(_TOPIC, {"key": key, "cell": (cell, position, total)})

    kernels = _kernels_of(client, parcel.kernel, state, settings)
    record, notebook = execute_stage(task, kernels, state, settings, on_cell)
    if record.state != "done":
        return _answer(record, notebook, {})
    written = {}
    for name in json.loads(task.parts.get("writes", "{}")):
        if (project / name).is_file():
            written[name] = state.files.put(project / name)
            bucket.push(*written[name], state.files)
    if not task.seed:
        digest, size = state.files.put(state.root / record.notebook)
        cache.commit(state, cache.cached(record, parcel.run, task.parts, digest, size))
    return _answer(record, notebook, written)


def cancel_on_worker(client: str) -> None:
    """Kill the kernels that this worker process runs for a client."""
    for (owner, *_), kernels in list(_kernels.items()):
        if owner == client:
            kernels.cancel()


_kernels: dict[tuple[str, str], Kernels] = {}
_kernels_lock = threading.Lock()


def _kernels_of(client: str, how: str, state: StateFolder, settings: Settings) -> Kernels:
    """Return this process's kernels for a client; they end with the process, and are warm for its next stage."""
    from mlnb.run.kernels.open import open_kernels

    with _kernels_lock:
        if (client, how) not in _kernels:
            _kernels[client, how] = opened = open_kernels(how, state, settings)
            atexit.register(opened.close)
        return _kernels[client, how]


def _unpacked(parcel: Parcel, project: Path, state: StateFolder, bucket: Bucket) -> StageTask:
    for name, (digest, size) in parcel.files.items():
        target = (project / name).resolve()
        if not target.is_relative_to(project.resolve()):
            raise RunError(f"The file {name!r} lies outside the project.", "Move it into the project's folder.")
        if not target.exists():
            fetch(bucket, digest, size, state)
            write_bytes(target, state.files.read(digest))
    document = parcel.task.pipeline.document
    here = replace(document, path=(project / document.path))
    make_folder(here.path.parent)
    return replace(
        parcel.task,
        pipeline=replace(parcel.task.pipeline, document=here),
        folder=make_folder(state.runs / parcel.run),
    )


def _needed_files(task: StageTask, project: Path) -> list[Path]:
    """Return the project's modules and data files that the stage's key names, and the modules of the whole setup.

    All of the setup runs in every stage, though only what the stage uses of it is part of its key.
    """
    path = task.pipeline.document.path
    folder = path.parent
    setup = trace_imports(map(tree_of, task.pipeline.setup), module_folders(path, project), project)
    places = [project / name for name in {**json.loads(task.parts.get("modules", "{}")), **setup.sources}]
    places += [folder / name for name in json.loads(task.parts.get("files", "{}")) if "://" not in name]
    found = [Path(os.path.normpath(place)) for place in places]
    return [path for path in dict.fromkeys(found) if path.is_file() and path.is_relative_to(project)]


def _answer(
    record: StageRecord, notebook: Mapping[str, object], written: Mapping[str, tuple[str, int]]
) -> dict[str, object]:
    return {"record": json.dumps(asdict(record)), "notebook": notebook, "written": dict(written)}
