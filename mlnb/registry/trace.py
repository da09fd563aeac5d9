"""A finished run becomes a version's `Lineage`: what ran in which stage, on what, where, with its texts in a store.

The notebook is the run's own copy. A module's text is taken from the working tree if it is still what the stage's key
says; git's difference is the one at registration, beside which the modules' texts are exact.
"""

from __future__ import annotations

import ast
import json
import platform
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlnb.pipeline.modules import tree_digest
from mlnb.registry.lineage import Lineage, Step
from mlnb.run import cache
from mlnb.run.notebooks import source_path
from mlnb.run.surroundings import git_difference

if TYPE_CHECKING:
    from mlnb.pipeline.graph import Deploy, Input
    from mlnb.run.record import RunRecord, StageRecord
    from mlnb.run.result import CachedStage
    from mlnb.store.files import FileStore
    from mlnb.store.folder import StateFolder

_LARGEST_DIFF_BYTES = 5_000_000


def trace(record: RunRecord, deploy: Deploy | None, state: StateFolder) -> Lineage:
    """Return where the values of a run come from; texts that are named by digest are stored.

    Parameters
    ----------
    record : RunRecord
        The run.
    deploy : Deploy, optional
        What of it is deployed.
    state : StateFolder
        The project's state: the run's folder, the cache, the store.

    Raises
    ------
    StorageError
        If they cannot be stored.
    """
    store = state.files
    results = {stage.name: cache.peek(state, stage.key) if stage.key else None for stage in record.stages}
    modules = dict[str, str]()
    for result in results.values():
        modules.update((path, str(digest)) for path, digest in _part(result, "modules").items())
    notebook = state.project / record.notebook
    return Lineage(
        run=record.id,
        notebook=record.notebook,
        notebook_digest=record.notebook_digest,
        git_commit=record.git_commit,
        git_dirty=record.git_dirty,
        parameters=record.parameters,
        data=record.data,
        environment=record.environment,
        stages={stage.name: stage.key for stage in record.stages},
        notebook_source=_kept_file(source_path(state.runs / record.id, notebook), store),
        git_diff=_difference(record, notebook, store) if record.git_dirty else "",
        modules=tuple(_texts_of(modules, state.project, store)),
        steps=tuple(_step(stage, results[stage.name], record.stages) for stage in record.stages),
        model=_spelt(deploy.model) if deploy else "",
        sample=_spelt(deploy.sample) if deploy else "",
        place=_place(record),
        started_at=record.started_at,
    )


def _step(stage: StageRecord, result: CachedStage | None, stages: Iterable[StageRecord]) -> Step:
    return Step(
        name=stage.name,
        kind=stage.kind,
        key=stage.key,
        run=result.run if result else "",
        started_at=stage.started_at,
        seconds=stage.seconds,
        notebook=result.notebook if result else "",
        parameters=tuple(_part(result, "parameters")),
        takes=tuple(_taken(_part(result, "inputs"), stages)),
        gives=tuple((artifact.name, artifact.digest) for artifact in stage.artifacts),
        reads=tuple(_part(result, "files")),
        modules=tuple(_part(result, "modules")),
        cases=tuple((case.name, case.state) for case in stage.cases),
    )


def _taken(inputs: Mapping[str, object], stages: Iterable[StageRecord]) -> Iterator[tuple[str, str]]:
    """Yield who gave each input: the stage with a value of that name and identity."""
    for name, identity in inputs.items():
        for stage in stages:
            if any(one.name == name and one.identity == identity for one in stage.artifacts):
                yield stage.name, name
                break


def _part(result: CachedStage | None, name: str) -> dict[str, object]:
    """Return one part of a key that is an object; empty where it is not known."""
    found = json.loads(result.parts.get(name, "{}")) if result else {}
    return found if isinstance(found, dict) else {}


def _texts_of(modules: Mapping[str, str], project: Path, store: FileStore) -> Iterator[tuple[str, str]]:
    for path, digest in sorted(modules.items()):
        yield path, _kept_module(project / path, digest, store)


def _kept_module(path: Path, digest: str, store: FileStore) -> str:
    try:
        content = path.read_bytes()
        same = tree_digest([ast.parse(content)]) == digest
    except (OSError, SyntaxError, ValueError):
        return ""
    return store.put(content)[0] if same else ""


def _kept_file(path: Path, store: FileStore) -> str:
    return store.put(path)[0] if path.is_file() else ""


def _difference(record: RunRecord, notebook: Path, store: FileStore) -> str:
    text = git_difference(notebook.parent, record.git_commit, without=notebook.name)
    content = text.encode("utf-8", "surrogateescape")
    if len(content) > _LARGEST_DIFF_BYTES:
        content = f"{content[:_LARGEST_DIFF_BYTES].decode('utf-8', 'ignore')}\n... cut off\n".encode()
    return store.put(content)[0] if content else ""


def _place(record: RunRecord) -> dict[str, str]:
    found = {
        "host": record.process.partition("/")[0],
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "kernel": record.kernel,
        "executor": record.executor,
    }
    return {name: said for name, said in found.items() if said}


def _spelt(given: Input) -> str:
    return f"{given.giver}.{given.name}"
