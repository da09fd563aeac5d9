"""A version's package becomes a folder that MLflow calls a model: ``MLmodel``, its environment, code and an example.

Layout::

    MLmodel                 flavors, signature, where it comes from
    package/                the version's files, byte for byte
    code/mlnb_<digest>/     the modules that answer, under a name of their own: `mlnb.platforms.mlflow_scoring`
    requirements.txt        what they need, as the version was locked; conda.yaml and python_env.yaml say the same
    input_example.json      some rows of the version's sample

Every model has the flavor ``python_function``, which answers exactly as the service does, hooks included. A model that
MLflow's own loaders can hold has their flavor too, which holds the estimator alone: ``onnx``, or ``sklearn``.

References
----------
https://mlflow.org/docs/latest/ml/model/#storage-format
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from mlnb.model.kinds import NESTED
from mlnb.model.scorer import read_package
from mlnb.model.signature import Signature
from mlnb.service.bento import carried
from mlnb.service.lock import FILE as LOCK
from mlnb.service.lock import read_lock
from mlnb.service.needs import requirements
from mlnb.store.disk import make_folder

if TYPE_CHECKING:
    from mlnb.model.kinds import Column
    from mlnb.registry.version import Version

_ENTRY = "platforms/mlflow_scoring.py"
_IMPORT = re.compile(r"^(\s*from )mlnb\.", re.MULTILINE)
_SERVICE_ONLY = ("httptools", "msgspec", "uvicorn", "uvloop")
_EXAMPLE_ROWS = 5
_TYPES: Mapping[str, str] = {"string": "string", "bool": "boolean", "datetime": "datetime"}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model belongs on its server.

    Attributes
    ----------
    run_id, model_id : str
        MLflow's ids of its run and of itself.
    server : str
        The server's version, for which the model is written.
    """

    run_id: str
    model_id: str
    server: str


def write_mlflow_model(version: Version, package: Path, folder: Path, origin: Origin) -> None:
    """Write the MLflow model of an unpacked, verified package to a new folder.

    Parameters
    ----------
    version : Version
        Whose package it is.
    package : Path
        Its files, unpacked by the registry.
    folder : Path
        What is to be the model.
    origin : Origin
        The server's ids.
    """
    shutil.copytree(package, folder / "package")
    module = _write_code(folder / "code")
    python = platform.python_version()
    needed = [f"mlflow=={origin.server}", *_requirements(package)]
    (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in needed), "utf-8")
    _write_yaml(folder / "python_env.yaml", {"python": python, "dependencies": ["-r requirements.txt"]})
    _write_yaml(
        folder / "conda.yaml",
        {
            "name": "mlflow-env",
            "channels": ["conda-forge"],
            "dependencies": [f"python={python}", "pip", {"pip": needed}],
        },
    )
    example = _write_example(package, folder)
    signature = Signature.from_json(json.loads((package / "signature.json").read_bytes()))
    function = {
        "loader_module": module,
        "code": "code",
        "data": "package",
        "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
        "python_version": python,
    }
    model = {
        "artifact_path": "model",
        "flavors": {"python_function": function, **_own_flavor(package)},
        "mlflow_version": origin.server,
        "model_id": origin.model_id,
        "model_uuid": origin.model_id,
        "run_id": origin.run_id,
        "utc_time_created": _moment(version.created_at),
        "metadata": {"mlnb": {"version": version.ref, "content": version.content, "files": dict(version.files)}},
        "signature": mlflow_signature(signature),
        **example,
    }
    _write_yaml(folder / "MLmodel", model)


def mlflow_signature(signature: Signature) -> dict[str, str | None]:
    """Return a signature as MLflow spells it: each of inputs, outputs and parameters JSON in a text.

    A whole number that may be missing is a ``double``, because MLflow has no missing whole number.
    """
    inputs = [{**_spelt(column), "required": True} for column in signature.inputs]
    outputs: list[dict[str, object]] | None = [{"type": _type(signature.output), "required": True}]
    if signature.task in NESTED:
        outputs = [{"type": _type(one.dtype), "name": one.name, "required": True} for one in signature.outputs]
    elif signature.task == "ranker":
        outputs = None
    params = None
    if signature.task == "classifier" and signature.probabilities:
        params = [{"name": "output", "type": "string", "default": "predictions", "shape": None}]
    told = {"inputs": inputs, "outputs": outputs, "params": params}
    return {name: None if part is None else json.dumps(part, ensure_ascii=False) for name, part in told.items()}


def _spelt(column: Column) -> dict[str, object]:
    kind = _type(column.dtype)
    if column.nullable and kind == "long":
        kind = "double"
    if column.many:
        return {"type": "array", "items": {"type": kind}, "name": column.name}
    return {"type": kind, "name": column.name}


def _type(dtype: str) -> str:
    return _TYPES.get(dtype) or ("double" if dtype.startswith("float") else "long")


def _write_code(folder: Path) -> str:
    """Copy the modules that answer under a name made of their content; return the name of the one that MLflow loads."""
    source = files("mlnb")
    texts = {name: (source / name).read_text("utf-8") for name in carried(_ENTRY)}
    name = "mlnb_" + hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:12]
    for part in sorted({"", *(module.rpartition("/")[0] for module in texts)}):
        make_folder(folder / name / part)
        (folder / name / part / "__init__.py").write_text('"""The part of mlnb that answers."""\n', "utf-8")
    for module, text in texts.items():
        (folder / name / module).write_text(_IMPORT.sub(rf"\1{name}.", text), "utf-8")
    return f"{name}.{_ENTRY.removesuffix('.py').replace('/', '.')}"


def _requirements(package: Path) -> list[str]:
    """Return the pins of what answering needs, with the versions that the package was locked to."""
    locked: dict[str, str] = {}
    if (package / LOCK).is_file():
        locked = {pin.name: pin.version for pin in read_lock((package / LOCK).read_text("utf-8"))}
    pins = (line.split("==") for line in requirements([package]))
    return [f"{name}=={locked.get(name, found)}" for name, found in pins if name not in _SERVICE_ONLY]


def _own_flavor(package: Path) -> dict[str, dict[str, object]]:
    """Return the flavor of MLflow's own that can hold the model file, which takes features, behind any hook."""
    manifest = read_package(package)
    exporter, file = str(manifest["exporter"]), f"package/{manifest['model_file']}"
    if exporter == "onnx":
        told = {"onnx_version": metadata.version("onnx"), "data": file, "providers": ["CPUExecutionProvider"]}
        return {"onnx": {**told, "code": None}}
    if exporter == "skops":
        import skops.io

        trusted = skops.io.get_untrusted_types(file=package / str(manifest["model_file"]))
        return {"sklearn": _sklearn(file, "skops") | {"skops_trusted_types": trusted}}
    return {"sklearn": _sklearn(file, "cloudpickle")} if exporter == "native" else {}


def _sklearn(file: str, how: str) -> dict[str, object]:
    version = metadata.version("scikit-learn")
    return {"pickled_model": file, "sklearn_version": version, "serialization_format": how, "code": None}


def _write_example(package: Path, folder: Path) -> dict[str, object]:
    sample = json.loads((package / "sample.json").read_bytes())
    rows = {"columns": sample["columns"], "data": sample["data"][:_EXAMPLE_ROWS]}
    (folder / "input_example.json").write_text(json.dumps(rows, ensure_ascii=False), "utf-8")
    served = json.dumps({"dataframe_split": rows}, ensure_ascii=False)
    (folder / "serving_input_example.json").write_text(served, "utf-8")
    told = {"artifact_path": "input_example.json", "type": "dataframe", "pandas_orient": "split"}
    return {"saved_input_example_info": {**told, "serving_input_path": "serving_input_example.json"}}


def _write_yaml(path: Path, content: Mapping[str, object]) -> None:
    path.write_text(yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True), "utf-8")


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S.%f")
