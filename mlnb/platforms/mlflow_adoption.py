"""A model of an MLflow server becomes a version here: exported with proof, sealed by this user, with its origin.

The estimator is asked for its answers to real rows, and what is packaged must give the same ones, as at every deploy.
The rows are the model's own input example, mostly five, or a file with more. Metrics and parameters are what MLflow
holds of the run: said there, not measured here.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlnb.errors import ModelError, UsageError
from mlnb.model.damage import damages
from mlnb.platforms.mlflow_estimator import Loaded, load_estimator
from mlnb.platforms.mlflow_source import MlflowModel, find_model
from mlnb.registry.lineage import Lineage
from mlnb.registry.reference import check_name
from mlnb.registry.version import Draft, Version
from mlnb.store.hashed import digest_of
from mlnb.store.seal import seal

if TYPE_CHECKING:
    from mlnb.platforms.mlflow_server import MlflowServer
    from mlnb.registry.registry import Registry
    from mlnb.settings import Settings
    from mlnb.store.folder import StateFolder

_FEW_ROWS = 50


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be registered.

    Attributes
    ----------
    named : str
        The id of a run, ``models:/delays/7`` or ``models:/delays@champion``.
    name : str
        The model's name here; empty for the one that it has there.
    model : str
        Which model of the run, where it has several.
    sample : Path or None
        A CSV or Parquet file of real rows; None for the model's input example.
    trusted : str
        The digest of a file that may execute code; empty for none.
    """

    named: str
    name: str = ""
    model: str = ""
    sample: Path | None = None
    trusted: str = ""


@dataclass(frozen=True, slots=True)
class Adopted:
    """What became of it.

    Attributes
    ----------
    version : Version
        The version.
    added : bool
        False where it was here already.
    rows : int
        On how many rows the package was compared with the estimator.
    notes : tuple of str
        What a person must know, sentences.
    """

    version: Version
    added: bool
    rows: int
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell."""
        return {
            "ref": self.version.ref,
            "added": self.added,
            "exporter": self.version.exporter,
            "rows": self.rows,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where versions are registered.

    Attributes
    ----------
    registry, state, settings
        The project's own.
    by : str
        Who registers.
    """

    registry: Registry
    state: StateFolder
    settings: Settings
    by: str


def adopt(wanted: Wanted, server: MlflowServer, shelf: Shelf) -> Adopted:
    """Register a model of an MLflow server; does nothing where the same is registered already.

    Raises
    ------
    UntrustedError
        If its file can execute code and was not named by its digest; nothing of it was loaded.
    PlatformError
        If the server does not answer, or what it has is no model.
    ModelError
        If the model or its rows are none that mlnb takes.
    """
    server.version()
    with tempfile.TemporaryDirectory(prefix="mlnb-mlflow-") as folder:
        scratch = Path(folder)
        found = find_model(server, wanted.named, wanted.model, scratch)
        name = check_name("model", wanted.name or _registered_name(found))
        loaded = load_estimator(found, scratch / "model", wanted.trusted)
        sample, sample_digest = _rows(found, wanted.sample, scratch / "sample")
        identity = json.dumps(["mlflow", 1, loaded.digest, sample_digest, shelf.settings.parity_limit])
        content = "sha256:" + hashlib.sha256(identity.encode()).hexdigest()
        known = shelf.registry.find(name, content)
        notes = (*loaded.notes, *_cautions(sample))
        if known is not None:
            return Adopted(known, False, len(sample), notes)
        origin = Lineage(
            parameters=found.params,
            git_commit=found.tags.get("mlflow.source.git.commit", ""),
            started_at=_moment(found.started_ms),
            place={"mlflow": server.address, "mlflow_run": found.run_id, "mlflow_model": found.model_id},
        )
        version = _register(name, content, (loaded, sample, found.metrics, origin), shelf, scratch)
        return Adopted(version, True, len(sample), notes)


def _register(
    name: str,
    content: str,
    made: tuple[Loaded, Any, Mapping[str, float], Lineage],
    shelf: Shelf,
    scratch: Path,
) -> Version:
    from mlnb.model.export import export_model
    from mlnb.service.sbom import freeze_environment
    from mlnb.ship import freeze_reference

    loaded, sample, metrics, origin = made
    package = scratch / "package"
    export = export_model(
        loaded.estimator,
        sample,
        package,
        model=name,
        sample_name="the rows",
        parity_limit=shelf.settings.parity_limit,
    )
    freeze_reference(package, sample, "the rows")
    freeze_environment(package, shelf.settings.environment, name)
    seal(package)
    files = {path.name: shelf.state.files.put(path)[0] for path in sorted(package.iterdir())}
    return shelf.registry.register(
        Draft(
            model=name,
            by=shelf.by,
            exporter=export.exporter,
            files=files,
            metrics=metrics,
            lineage=origin,
            signature=export.signature.to_json(),
            parity={**export.parity.to_json(), "reason": export.reason, "choice": export.choice.to_json()},
            content=content,
        )
    )


def _registered_name(found: MlflowModel) -> str:
    if not found.name:
        raise UsageError("The model has no name in MLflow.", "Give it one: --name NAME.")
    return found.name


def _rows(found: MlflowModel, file: Path | None, folder: Path) -> tuple[Any, str]:
    """Return real rows as a data frame, or as an array where the example is one, and the digest of their file."""
    import pandas as pd

    if file is None:
        info = found.about.get("saved_input_example_info")
        if not isinstance(info, dict):
            raise UsageError("The model was logged without an input example.", "Give real rows: --sample FILE.")
        file = found.fetch(info.get("artifact_path"), folder)
    try:
        digest = digest_of(file)
        if file.suffix == ".json":
            return _example(json.loads(file.read_text("utf-8"))), digest
        frame = pd.read_parquet(file) if file.suffix in (".parquet", ".pq") else pd.read_csv(file)
        return frame, digest
    except damages() as error:
        raise ModelError(
            f"The rows in {file.name} cannot be read: {type(error).__name__}.",
            "Give a CSV or Parquet file of real rows with --sample.",
            name=file.name,
        ) from error


def _example(content: object) -> Any:
    """Read ``input_example.json`` as MLflow 2 and 3 write it."""
    import numpy as np
    import pandas as pd

    if isinstance(content, dict) and "data" in content:
        return pd.DataFrame(content["data"], columns=content.get("columns"))
    if isinstance(content, dict) and isinstance(content.get("inputs"), list):
        return np.asarray(content["inputs"])
    if isinstance(content, list) and content and isinstance(content[0], list):
        return np.asarray(content)
    return pd.DataFrame(content)


def _cautions(sample: object) -> tuple[str, ...]:
    count = len(sample) if hasattr(sample, "__len__") else 0
    if count >= _FEW_ROWS:
        return ()
    return (f"The package was compared with the model on {count} rows only: --sample FILE gives it more.",)


def _moment(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat() if milliseconds else ""
