"""A model's versions, aliases and tags become the same on an MLflow server, and stay so when it is repeated.

A version becomes a run (parameters, metrics, the notebook and its commit), a logged model with the package in it, and a
version of the registered model of that name. What makes it known again is the tag ``mlnb.content`` on each: a second
mirroring writes only what is new, and one that was interrupted removes what it has left half done. Nothing is written
that mlnb does not own: aliases, tags and versions that others made on the server stay as they are.

An alias that MLflow cannot have (it knows no ``.`` in one, and reserves ``latest`` and ``v7``) is told, not renamed; so
is one that points there to a version of others, which is not moved.
Who moved which alias when, which MLflow does not keep (mlflow#2169), is the tag ``mlnb.moves`` of the registered model,
and ``mlnb.audit`` there is the head of the audit log: who later rewrites the log contradicts what the server has seen.
"""

from __future__ import annotations

import json
import math
import re
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from mlnb.errors import PlatformError
from mlnb.platforms.mlflow_artifacts import artifact_place
from mlnb.platforms.mlflow_model import Origin, write_mlflow_model
from mlnb.platforms.mlflow_server import part, tags_of, text

if TYPE_CHECKING:
    from mlnb.platforms.mlflow_server import MlflowServer
    from mlnb.registry.registry import Registry
    from mlnb.registry.version import Promotion, Version

CONTENT, REF = "mlnb.content", "mlnb.version"
_MOVES, _AUDIT, _TAGS = "mlnb.moves", "mlnb.audit", "mlnb.tags"
_ALIAS = re.compile(r"(?!latest$|v\d+$)[\w-]{1,255}", re.IGNORECASE | re.ASCII)
_OURS = "mlnb."
_KEY = re.compile(r"[^\w .:/-]")
_LONGEST_MOVES = 90_000
_LONGEST_VALUE = 6_000
_BATCH = 100
Evidence = Callable[["Version"], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What became of one model.

    Attributes
    ----------
    model : str
        Its name, here and there.
    server : str
        The server's address.
    versions : mapping of str to str
        The version of MLflow for each of ours: ``{"delays/7": "7"}``.
    added : tuple of str
        Those that were not there before.
    aliases : mapping of str to str
        What our aliases point to there.
    moved : tuple of str
        Those that were not there, or elsewhere.
    left_out : mapping of str to str
        Aliases that were not mirrored, and why.
    """

    model: str
    server: str
    versions: Mapping[str, str]
    added: tuple[str, ...]
    aliases: Mapping[str, str]
    moved: tuple[str, ...]
    left_out: Mapping[str, str]

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell."""
        return {
            "model": self.model,
            "server": self.server,
            "versions": dict(self.versions),
            "added": list(self.added),
            "aliases": dict(self.aliases),
            "moved": list(self.moved),
            "left_out": dict(self.left_out),
        }


@dataclass(frozen=True, slots=True)
class Mirror:
    """Where a registry is mirrored to.

    Attributes
    ----------
    registry : Registry
        What is mirrored.
    server : MlflowServer
        Where to.
    evidence : callable
        Everything that was measured of a version.
    lock : Path
        A file that one mirroring of this project holds: two would register a version twice.
    """

    registry: Registry
    server: MlflowServer
    evidence: Evidence
    lock: Path

    def mirror(self, model: str, audit: str = "") -> Mirrored:
        """Bring a model on the server up to date.

        Parameters
        ----------
        model : str
            Its name.
        audit : str
            The head of the audit log, ``"<rows> <digest>"``.

        Raises
        ------
        RegistryError
            If there is no such model.
        UntrustedError, CorruptError
            If a version is not what somebody whom this user trusts has signed: who loads it there cannot check that.
        PlatformError
            If the server refuses, or holds another project's model of that name.
        """
        versions = self.registry.list(model)
        with FileLock(self.lock):
            software = self.server.version()
            known = self._known(model)
            for version in versions:
                self._check_same(version, known)
            added = []
            for version in versions:
                if version.ref not in known:
                    known[version.ref] = self._add(version, software)
                    added.append(version.ref)
                self._tag(version, known[version.ref])
            numbers = {version.ref: text(known[version.ref], "version") for version in versions}
            aliases = self.registry.aliases(model)
            there = self._aliases(model)
            left_out = _left_out(aliases, there, set(numbers.values()))
            wanted = {name: numbers[f"{model}/{at}"] for name, at in aliases.items() if name not in left_out}
            moved = tuple(name for name, number in wanted.items() if there.get(name) != number)
            for name in moved:
                self.server.post("registered-models/alias", {"name": model, "alias": name, "version": wanted[name]})
            self._tell(model, self.registry.history(model), audit)
        return Mirrored(model, self.server.address, numbers, tuple(added), wanted, moved, left_out)

    def _known(self, model: str) -> dict[str, Mapping[str, object]]:
        """Return MLflow's versions that were made of ours, by ``delays/7``; make the registered model."""
        if self.server.find("registered-models/get", name=model) is None:
            try:
                self.server.post("registered-models/create", {"name": model})
            except PlatformError as error:
                if "RESOURCE_ALREADY_EXISTS" not in error.problem:  # somebody else was faster
                    raise
        found = self.server.pages("model-versions/search", "model_versions", filter=f"name='{model}'")
        told = {tags_of(one).get(REF, ""): one for one in found}
        return {ref: one for ref, one in told.items() if ref}

    def _check_same(self, version: Version, known: Mapping[str, Mapping[str, object]]) -> None:
        there = known.get(version.ref)
        if there is not None and tags_of(there).get(CONTENT) != version.content:
            raise PlatformError(
                f"{version.model} on {self.server.address} is another project's: its {version.ref} has other content.",
                "Mirror to another server, or rename the model.",
                platform="mlflow",
            )

    def _add(self, version: Version, software: str) -> Mapping[str, object]:
        self.registry.verify(version)
        experiment = self._experiment(version.model)
        self._remove_unfinished(version, experiment)
        run = self._start_run(version, experiment)
        metrics = {**version.metrics, **self.evidence(version)}
        tags = [{"key": name, "value": value} for name, value in _marks(version).items()]
        body = {"experiment_id": experiment, "name": version.model, "source_run_id": run, "tags": tags}
        model = part(self.server.post("logged-models", {**body, "params": _params(version)[:_BATCH]}), "model", "info")
        model_id = text(model, "model_id")
        with tempfile.TemporaryDirectory(prefix="mlnb-mlflow-") as scratch:
            package, folder = Path(scratch) / "package", Path(scratch) / "model"
            self.registry.unpack(version, package)
            write_mlflow_model(version, package, folder, Origin(run, model_id, software))
            artifact_place(text(model, "artifact_uri"), self.server).put(folder)
        self.server.patch(f"logged-models/{model_id}", {"model_id": model_id, "status": "LOGGED_MODEL_READY"})
        self.server.post("runs/outputs", {"run_id": run, "models": [{"model_id": model_id, "step": 0}]})
        self._log(run, model_id, version, metrics)
        at = _milliseconds(version.created_at)
        self.server.post("runs/update", {"run_id": run, "status": "FINISHED", "end_time": at})
        made = self.server.post(
            "model-versions/create",
            {
                "name": version.model,
                "source": f"models:/{model_id}",
                "run_id": run,
                "model_id": model_id,
                "tags": tags,
                "description": _description(version),
            },
        )
        return part(made, "model_version")

    def _experiment(self, model: str) -> str:
        found = self.server.find("experiments/get-by-name", experiment_name=model)
        if found is None:
            return text(self.server.post("experiments/create", {"name": model}), "experiment_id")
        return text(found, "experiment", "experiment_id")

    def _remove_unfinished(self, version: Version, experiment: str) -> None:
        """Remove what a mirroring has left that was interrupted before it had registered the version."""
        query = {"experiment_ids": [experiment], "filter": f"tags.`{CONTENT}` = '{version.content}'"}
        for model in _rows(self.server.post("logged-models/search", query), "models"):
            model_id = text(model, "info", "model_id")
            self.server.delete(f"logged-models/{model_id}", {"model_id": model_id})
        for run in _rows(self.server.post("runs/search", query), "runs"):
            self.server.post("runs/delete", {"run_id": text(run, "info", "run_id")})

    def _start_run(self, version: Version, experiment: str) -> str:
        at = _milliseconds(version.created_at)
        lineage = version.lineage
        told = {
            "mlflow.user": version.created_by,
            "mlflow.source.name": lineage.notebook or "mlnb",
            "mlflow.source.type": "NOTEBOOK" if lineage.notebook else "LOCAL",
            **({"mlflow.source.git.commit": lineage.git_commit} if lineage.git_commit else {}),
            **_marks(version),
        }
        tags = [{"key": name, "value": value} for name, value in told.items()]
        body = {"experiment_id": experiment, "run_name": version.ref, "start_time": at, "tags": tags}
        return text(self.server.post("runs/create", body), "run", "info", "run_id")

    def _log(self, run: str, model_id: str, version: Version, metrics: Mapping[str, float]) -> None:
        at = _milliseconds(version.created_at)
        keys = _keys(metrics)
        rows = [
            {"key": keys[name], "value": _number(value), "timestamp": at, "step": 0, "model_id": model_id}
            for name, value in metrics.items()
        ]
        for kind, items in (("metrics", rows), ("params", _params(version))):
            for first in range(0, len(items), _BATCH):
                self.server.post("runs/log-batch", {"run_id": run, kind: items[first : first + _BATCH]})

    def _tag(self, version: Version, there: Mapping[str, object]) -> None:
        """Give MLflow's version the tags that ours has now, and take back those that ours had when it was mirrored."""
        found, number = tags_of(there), text(there, "version")
        before = _names(found.get(_TAGS, ""))
        tags = {name: value for name, value in version.tags.items() if not name.startswith(_OURS)}
        wanted = {**tags, **({_TAGS: json.dumps(sorted(tags))} if tags or before else {})}
        place = {"name": version.model, "version": number}
        for name, value in wanted.items():
            if found.get(name) != value:
                self.server.post("model-versions/set-tag", {**place, "key": name, "value": value})
        for name in before:
            if name not in tags and name in found:
                self.server.delete("model-versions/delete-tag", {**place, "key": name})

    def _aliases(self, model: str) -> dict[str, str]:
        """Return what each alias points to there."""
        there = part(self.server.get("registered-models/get", name=model), "registered_model")
        return {text(row, "alias"): text(row, "version") for row in _rows(there, "aliases")}

    def _tell(self, model: str, history: Sequence[Promotion], audit: str) -> None:
        there = tags_of(part(self.server.get("registered-models/get", name=model), "registered_model"))
        wanted = {_MOVES: _moves(history), **({_AUDIT: audit} if audit else {})}
        for name, value in wanted.items():
            if there.get(name) != value:
                self.server.post("registered-models/set-tag", {"name": model, "key": name, "value": value})


def _rows(answer: Mapping[str, object], key: str) -> list[object]:
    found = answer.get(key, [])
    return found if isinstance(found, list) else []


def _marks(version: Version) -> dict[str, str]:
    return {REF: version.ref, CONTENT: version.content}


def _params(version: Version) -> list[dict[str, str]]:
    given = version.lineage.parameters
    keys = _keys(given)
    told = ((keys[name], value if isinstance(value, str) else json.dumps(value)) for name, value in given.items())
    return [{"key": key, "value": said[:_LONGEST_VALUE]} for key, said in told]


def _keys(names: Iterable[str]) -> dict[str, str]:
    """Return a key that MLflow can have for each name, and each another one."""
    keys: dict[str, str] = {}
    for name in sorted(names, key=lambda name: bool(_KEY.search(name))):  # who needs no other one keeps its own
        key = plain = _KEY.sub("_", name)
        number = 2
        while key in keys.values():
            key, number = f"{plain}_{number}", number + 1
        keys[name] = key
    return keys


def _number(value: float) -> float | str:
    """Return a metric as MLflow's server reads it: of a bare NaN it drops everything that follows, and says nothing."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _names(said: str) -> list[str]:
    """Return the tags that were ours when the version was mirrored; none where somebody has edited that."""
    try:
        found = json.loads(said or "[]")
    except ValueError:
        return []
    names = found if isinstance(found, list) else []
    return [name for name in names if isinstance(name, str) and not name.startswith(_OURS)]


def _left_out(aliases: Iterable[str], there: Mapping[str, str], ours: Collection[str]) -> dict[str, str]:
    """Return the aliases that are not mirrored, and why."""
    left_out = {name: "MLflow cannot have an alias of that name" for name in aliases if not _ALIAS.fullmatch(name)}
    for name in aliases:
        if name not in left_out and there.get(name) not in (None, *ours):
            left_out[name] = f"there it is the version {there[name]}, which mlnb has not made"
    return left_out


def _moves(history: Sequence[Promotion]) -> str:
    """Return the newest moves as JSON, as many as a tag can hold, the newest first."""
    texts: list[str] = []
    size = 2
    for move in reversed(history):
        said = json.dumps(
            {
                "alias": move.alias,
                "kind": move.kind,
                "from": move.from_ref,
                "to": move.to_ref,
                "at": move.at.isoformat(),
                "by": move.by,
                "reason": move.reason,
                "forced": move.forced,
            }
        )
        size += len(said) + 2
        if size > _LONGEST_MOVES:
            break
        texts.append(said)
    return f"[{', '.join(texts)}]"


def _description(version: Version) -> str:
    lineage = version.lineage
    made = f", made by the run {lineage.run} of {lineage.notebook}" if lineage.run else ""
    commit = f" at {lineage.git_commit[:12]}{' with changes' * lineage.git_dirty}" if lineage.git_commit else ""
    return f"{version.ref} of mlnb, registered by {version.created_by}{made}{commit}."


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)
