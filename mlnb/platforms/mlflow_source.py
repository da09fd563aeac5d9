"""What a person names of an MLflow server (a run, ``models:/delays/7``) becomes a model's files and its run's numbers.

Only files are fetched; nothing of them is executed or believed here: names are checked
(`mlnb.platforms.mlflow_artifacts`) and ``MLmodel`` is read as plain YAML.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import yaml

from mlnb.errors import PlatformError, UsageError
from mlnb.platforms.mlflow_artifacts import ArtifactPlace, artifact_place, member
from mlnb.platforms.mlflow_server import part, tags_of, text
from mlnb.store.disk import make_folder
from mlnb.store.remote import shown

if TYPE_CHECKING:
    from mlnb.platforms.mlflow_server import MlflowServer

_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,255}")
_MODEL = re.compile(r"models:/([^/@]+)(?:/([1-9]\d*)|@([\w-]+))")
_LOGGED = re.compile(r"models:/(?=m-[^/]+$)")
_LONGEST_DESCRIPTION = 10_000_000


@dataclass(frozen=True, slots=True)
class MlflowModel:
    """A model as MLflow keeps it.

    Attributes
    ----------
    name : str
        Of the registered model, or of the model in its run; empty for none.
    run_id, model_id : str
        MLflow's ids; the second is empty where it has none.
    started_ms : int
        When its run began, Unix time in milliseconds; 0 where it is not known.
    metrics : mapping of str to float
        The last value of each of the run's metrics.
    params, tags : mapping of str to str
        The run's.
    place : ArtifactPlace
        Where its files are.
    files : tuple of str
        Their names.
    about : mapping
        What ``MLmodel`` says.
    """

    name: str
    run_id: str
    model_id: str
    started_ms: int
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    tags: Mapping[str, str]
    place: ArtifactPlace
    files: tuple[str, ...]
    about: Mapping[str, object] = field(default_factory=dict)

    def flavor(self, name: str) -> Mapping[str, object] | None:
        """Return what ``MLmodel`` says of a flavor; None where the model has not got it."""
        flavors = self.about.get("flavors")
        found = flavors.get(name) if isinstance(flavors, Mapping) else None
        return found if isinstance(found, Mapping) else None

    def flavors(self) -> tuple[str, ...]:
        """Return the names of the flavors, sorted."""
        flavors = self.about.get("flavors")
        return tuple(sorted(str(name) for name in flavors)) if isinstance(flavors, Mapping) else ()

    def fetch(self, name: object, folder: Path) -> Path:
        """Copy a file that ``MLmodel`` names into a folder, under its last name alone."""
        checked = member(dict.fromkeys(self.files), name)
        target = make_folder(folder) / PurePosixPath(checked).name
        self.place.get(checked, target)
        return target


@dataclass(frozen=True, slots=True)
class _Place:
    name: str
    uri: str
    model_id: str = ""


def find_model(server: MlflowServer, named: str, model: str, scratch: Path) -> MlflowModel:
    """Return the model that `named` means.

    Parameters
    ----------
    server : MlflowServer
        Who is asked.
    named : str
        The id of a run, ``models:/delays/7`` or ``models:/delays@champion``.
    model : str
        Which model of the run, by its name in MLflow; empty where there is one.
    scratch : Path
        An empty folder for what is read.

    Raises
    ------
    UsageError
        If it names nothing, or the run has several models.
    PlatformError
        If the server does not know it, or what it lists is no model.
    """
    registered = _MODEL.fullmatch(named)
    if registered is not None:
        version = _registered(server, *registered.groups(default=""))
        run = _run(server, text(version, "run_id"))
        source = text(version, "source")
        model_id = str(version.get("model_id") or "") or _LOGGED.sub("", source) * bool(_LOGGED.match(source))
        uri = _uri_of(server, model_id) if model_id else _inside_run(source, run)
        place = _Place(registered[1], uri, model_id)
    elif _RUN.fullmatch(named):
        run = _run(server, named)
        place = _chosen(server, run, model)
    else:
        raise UsageError(
            f"{named!r} names no model of MLflow.",
            "Write the id of a run, models:/NAME/VERSION or models:/NAME@ALIAS.",
        )
    files = artifact_place(place.uri, server)
    names = tuple(files.names())
    if "MLmodel" not in names:
        raise _no_model(f"{place.name or named} holds no file MLmodel at {shown(place.uri)}")
    path = scratch / "MLmodel"
    files.get("MLmodel", path)
    info = part(run, "info")
    started = info.get("start_time", 0)
    return MlflowModel(
        name=place.name,
        run_id=text(info, "run_id"),
        model_id=place.model_id,
        started_ms=int(started) if isinstance(started, int | str) and str(started).isdecimal() else 0,
        metrics=_metrics(part(run, "data")),
        params=tags_of(part(run, "data"), "params"),
        tags=tags_of(part(run, "data")),
        place=files,
        files=names,
        about=_about(path),
    )


def _registered(server: MlflowServer, name: str, number: str, alias: str) -> Mapping[str, object]:
    if alias:
        return part(server.get("registered-models/alias", name=name, alias=alias), "model_version")
    return part(server.get("model-versions/get", name=name, version=number), "model_version")


def _run(server: MlflowServer, run_id: str) -> Mapping[str, object]:
    return part(server.get("runs/get", run_id=run_id), "run")


def _uri_of(server: MlflowServer, model_id: str) -> str:
    if not _RUN.fullmatch(model_id):
        raise _no_model(f"{model_id[:80]!r} is no id of a model")
    return text(server.get(f"logged-models/{model_id}"), "model", "info", "artifact_uri")


def _inside_run(source: str, run: Mapping[str, object]) -> str:
    """Return the address of ``runs:/ID/model``, as MLflow 2 registers it; every other one is an address already."""
    prefix = f"runs:/{text(run, 'info', 'run_id')}/"
    if not source.startswith(prefix):
        return source
    return f"{text(run, 'info', 'artifact_uri').rstrip('/')}/{source.removeprefix(prefix)}"


def _chosen(server: MlflowServer, run: Mapping[str, object], wanted: str) -> _Place:
    """Return the run's model: those of MLflow 3 are its outputs, those of MLflow 2 lie among its own files."""
    found: list[_Place] = []
    outputs = run.get("outputs")
    listed = outputs.get("model_outputs", []) if isinstance(outputs, Mapping) else []
    for output in listed if isinstance(listed, list) else []:
        model_id = text(output, "model_id")
        if not _RUN.fullmatch(model_id):
            raise _no_model(f"{model_id[:80]!r} is no id of a model")
        info = part(server.get(f"logged-models/{model_id}"), "model", "info")
        found.append(_Place(str(info.get("name", "")), text(info, "artifact_uri"), model_id))
    if not found:
        root = text(run, "info", "artifact_uri")
        history = tags_of(part(run, "data")).get("mlflow.log-model.history", "[]")
        found = [_Place(path, f"{root.rstrip('/')}/{path}") for path in _logged(history)]
    of_name = [one for one in found if wanted in ("", one.name)]
    if len(of_name) != 1:
        names = ", ".join(sorted(one.name for one in found)) or "none"
        raise UsageError(
            f"The run {text(run, 'info', 'run_id')} has {len(of_name)} models{f' {wanted!r}' * bool(wanted)} "
            f"(models: {names}).",
            "Name one with --model, or another run.",
        )
    return of_name[0]


def _logged(history: str) -> list[str]:
    try:
        rows = json.loads(history)
    except ValueError:
        return []
    paths = [row.get("artifact_path") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return list(dict.fromkeys(path for path in paths if isinstance(path, str) and path))


def _metrics(data: Mapping[str, object]) -> dict[str, float]:
    rows = data.get("metrics", [])
    found: dict[str, float] = {}
    for row in rows if isinstance(rows, list) else []:
        try:
            found[str(row["key"])] = float(row["value"])
        except (KeyError, TypeError, ValueError) as error:
            raise _no_model("the run's metrics cannot be read") from error
    return found


def _about(path: Path) -> Mapping[str, object]:
    try:
        if path.stat().st_size > _LONGEST_DESCRIPTION:
            raise ValueError("it is too long")
        about = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise _no_model(f"the file MLmodel cannot be read ({type(error).__name__})") from error
    if not isinstance(about, dict):
        raise _no_model("the file MLmodel says nothing")
    return about


def _no_model(why: str) -> PlatformError:
    return PlatformError(f"This is no model of MLflow: {why}.", "Name another run or version.", platform="mlflow")
