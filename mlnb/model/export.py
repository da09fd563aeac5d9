"""An estimator, real rows and a deploy cell's code become a package folder that proves what it answers.

Layout, format 1::

    package.json     format, model, exporter, reason, model_file, task, parity, files (digests), signatures
    signature.json   what the model takes and gives
    model.onnx       or model.skops, model.pkl
    hooks.py         the deploy cell's code, if it defines ``preprocess``
    sample.json      at most 1000 of the raw rows, spread evenly: {"columns": [...], "data": [[...], ...]}
    expected.json    the estimator's own answers to them

``signatures`` holds ``{"signature", "key"}`` for each file that can execute code when it is loaded. To raise the
format: teach `mlnb.model.scorer` the new one, keep its reader of the old one and the test, then write it here.

Exporters are tried by rank; the first whose file, loaded again as the service loads it, agrees with the estimator on
the sample is taken, and what the earlier ones failed at is told.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from mlnb.errors import ModelError, ParityError
from mlnb.model.exporters import Exporter
from mlnb.model.hooks import USER_FAULTS, compile_hooks
from mlnb.model.inference import Specimen, examine
from mlnb.model.parity import Parity, measure
from mlnb.model.scorer import FORMAT, Scores, file_digest, load_runtime
from mlnb.model.signature import Signature
from mlnb.plugins import load, names
from mlnb.store.disk import make_folder, storing, sync_folder, write_bytes

SAMPLE_ROWS = 1000
_GROUP = "mlnb.exporters"
Sign = Callable[[str], tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Export:
    """A package that was written.

    Attributes
    ----------
    exporter : str
        Who wrote the model file.
    reason : str
        Why this one, in sentences.
    signature : Signature
        What the model takes and gives.
    parity : Parity
        How faithful the model file is, on all rows of the sample.
    files : tuple of (str, str, int)
        Name, digest and size in bytes of every file.
    """

    exporter: str
    reason: str
    signature: Signature
    parity: Parity
    files: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True, slots=True)
class _Written:
    exporter: Exporter
    reason: str
    parity: Parity


def export_model(
    estimator: Any,
    sample: object,
    folder: Path,
    *,
    model: str,
    variable: str = "model",
    sample_name: str = "sample",
    hooks: str = "",
    parity_limit: float = 1e-4,
    sign: Sign | None = None,
) -> Export:
    """Write the package of a model: whole, or not at all.

    Parameters
    ----------
    estimator : object
        Fitted, with ``predict``.
    sample : DataFrame or array, shape (rows, columns)
        Real rows as a caller of the service will send them, before any hook.
    folder : Path
        Where the package will be; nothing may be there.
    model : str
        Name of the model in the registry.
    variable, sample_name : str
        What the notebook calls both, for messages.
    hooks : str
        Source of the deploy cell.
    parity_limit : float
        Largest accepted difference, as `mlnb.model.parity` defines it.
    sign : callable
        digest -> (signature, key id); the user's own key if it is not given.

    Raises
    ------
    ModelError
        If the value is no model, the sample does not fit it, or the hook fails.
    ParityError
        If no exporter reproduces the estimator.
    StorageError
        If the folder cannot be written.
    """
    compiled = compile_hooks(hooks)
    specimen = examine(estimator=estimator, sample=sample, hooks=compiled, variable=variable, sample_name=sample_name)
    make_folder(folder.parent)
    with storing(folder):
        if folder.exists():
            raise FileExistsError(17, "something is there already")
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        with storing(folder):
            written = _write_model(estimator, specimen, draft, parity_limit, variable)
            if compiled is not None:
                write_bytes(draft / "hooks.py", hooks.encode())
            _write_rest(specimen, draft)
            _write_manifest(written, specimen, draft, model, sign)
            draft.chmod(0o755)
            draft.rename(folder)
            sync_folder(folder.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    files = tuple((path.name, file_digest(path), path.stat().st_size) for path in sorted(folder.iterdir()))
    return Export(written.exporter.name, written.reason, specimen.signature, written.parity, files)


def exporters() -> list[Exporter]:
    """Return the installed exporters, by rank."""
    made = [cast(type[Exporter], load(_GROUP, name))() for name in names(_GROUP)]
    return sorted(made, key=lambda exporter: (exporter.rank, exporter.name))


def _write_model(estimator: Any, specimen: Specimen, draft: Path, limit: float, variable: str) -> _Written:
    refused: list[str] = []
    signature = specimen.signature
    for exporter in exporters():
        path = draft / exporter.file
        try:
            how = exporter.write(estimator, specimen, path, limit)
            got = load_runtime(exporter.name, path, signature).score(specimen.features)
        except (ModelError, *USER_FAULTS) as error:
            told = error.problem if isinstance(error, ModelError) else f"{type(error).__name__}: {error}"
            refused.append(f"{exporter.name} cannot hold it ({told})")
            path.unlink(missing_ok=True)
            continue
        parity = measure(specimen.expected, got, signature.task, limit)
        if parity.passed:
            before = f" Not otherwise, because {'; '.join(refused)}." if refused else ""
            return _Written(exporter, f"Exported as {exporter.name} ({how}): {parity.sentence()}.{before}", parity)
        refused.append(f"{exporter.name} does not agree with the estimator ({parity.sentence()})")
        path.unlink(missing_ok=True)
    raise ParityError(
        f"No export of {variable} reproduces it: {'; '.join(refused)}.",
        "Deploy an estimator whose answers do not change from call to call, or raise parity_limit in [tool.mlnb].",
        name=variable,
        exporter="; ".join(exporter.name for exporter in exporters()),
    )


def _write_rest(specimen: Specimen, draft: Path) -> None:
    count = len(specimen.expected.predictions)
    kept = range(count) if count <= SAMPLE_ROWS else [at * count // SAMPLE_ROWS for at in range(SAMPLE_ROWS)]
    columns = list(specimen.rows)
    data = [[specimen.rows[name][at] for name in columns] for at in kept]
    answers, chances = specimen.expected.predictions, specimen.expected.probabilities
    expected = Scores([answers[at] for at in kept], None if chances is None else [chances[at] for at in kept])
    write_bytes(draft / "signature.json", _json(specimen.signature.to_json()))
    write_bytes(draft / "sample.json", _json({"format": FORMAT, "columns": columns, "data": data}))
    write_bytes(draft / "expected.json", _json(expected.to_json()))


def _write_manifest(written: _Written, specimen: Specimen, draft: Path, model: str, sign: Sign | None) -> None:
    digests = {path.name: file_digest(path) for path in sorted(draft.iterdir())}
    code = [written.exporter.file] * written.exporter.executes_code + ["hooks.py"] * ("hooks.py" in digests)
    signatures = {}
    for name in code:
        signature, key = (sign or _own_signature)(digests[name])
        signatures[name] = {"signature": signature, "key": key}
    manifest = {
        "format": FORMAT,
        "model": model,
        "exporter": written.exporter.name,
        "reason": written.reason,
        "model_file": written.exporter.file,
        "task": specimen.signature.task,
        "parity": written.parity.to_json(),
        "files": digests,
        "signatures": signatures,
    }
    write_bytes(draft / "package.json", _json(manifest))


def _own_signature(digest: str) -> tuple[str, str]:
    from mlnb.store import signing

    return signing.sign(digest)


def _json(mapping: Mapping[str, object]) -> bytes:
    return (json.dumps(mapping, ensure_ascii=False, allow_nan=False) + "\n").encode()
