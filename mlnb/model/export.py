"""An estimator, real rows and a deploy cell's code become a package folder that proves what it answers.

Layout, format 2::

    package.json     format, model, exporter, choice, reason, model_file, task, parity, files (digests), signatures
    signature.json   what the model takes and gives
    model.onnx       or model.skops, model.pkl
    hooks.py         the deploy cell's code, if it defines ``preprocess``
    sample.json      at most 1000 of the raw rows, spread evenly: {"columns": [...], "data": [[...], ...]}
    expected.json    the estimator's own answers to them

``signatures`` holds ``{"signature", "key"}`` for each file that can execute code when it is loaded. Format 1 had no
``choice`` and a ``parity`` without ``parts``; `mlnb.model.choice.choice_of` and `Parity.from_json` read it. To raise
the format: teach `mlnb.model.scorer` the new one, keep its reader of the old one and the test, then write it here.

Exporters are tried in the order that suits the estimator; the first whose file, loaded again as the service loads it,
agrees with the estimator on the sample and on the edges is taken, and what the earlier ones failed at is told.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sized
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlnb.errors import ModelError, ParityError
from mlnb.model.answers import as_estimator
from mlnb.model.choice import Choice, Refusal
from mlnb.model.damage import damages
from mlnb.model.edges import faults
from mlnb.model.exporters import Exporter, exporters
from mlnb.model.hooks import compile_hooks
from mlnb.model.inference import Specimen, examine
from mlnb.model.parity import Parity
from mlnb.model.scorer import FORMAT, file_digest, load_runtime
from mlnb.model.signature import Signature
from mlnb.model.trial import MANY, Trial
from mlnb.store.disk import make_folder, storing, sync_folder, write_bytes

SAMPLE_ROWS = 1000
_DIFFERS = "Raise parity_limit in [tool.mlnb] if that is near enough; until then another exporter is taken."
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
        How faithful the model file is, on all rows of the sample and on the edges.
    choice : Choice
        The same as data: which exporters were tried, and why the others were not taken.
    files : tuple of (str, str, int)
        Name, digest and size in bytes of every file.
    """

    exporter: str
    reason: str
    signature: Signature
    parity: Parity
    choice: Choice
    files: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True, slots=True)
class _Written:
    exporter: Exporter
    choice: Choice
    parity: Parity

    def reason(self) -> str:
        """Say in sentences why this exporter."""
        refused = [one.sentence() for one in self.choice.refused]
        before = f" Not otherwise, because {'; '.join(refused)}." if refused else ""
        return f"Exported as {self.exporter.name} ({self.choice.how}): {self.parity.sentence()}.{before}"


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
    estimator = as_estimator(estimator)
    with _few_threads(sample):
        compiled = compile_hooks(hooks)
        specimen = examine(
            estimator=estimator, sample=sample, hooks=compiled, variable=variable, sample_name=sample_name
        )
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
    told = written.reason()
    return Export(written.exporter.name, told, specimen.signature, written.parity, written.choice, files)


def _few_threads(sample: object) -> AbstractContextManager[object]:
    """Return a context in which one thread of OpenMP answers few rows: on a busy machine several wait in vain."""
    from threadpoolctl import threadpool_limits

    few = isinstance(sample, Sized) and len(sample) <= MANY
    return threadpool_limits(1, user_api="openmp") if few else nullcontext()


def _write_model(estimator: Any, specimen: Specimen, draft: Path, limit: float, variable: str) -> _Written:
    refused: list[Refusal] = []
    trial = Trial(estimator, specimen, limit)
    placed = exporters(estimator)
    refusing: tuple[type[Exception], ...] = (ModelError, *faults(), *damages())
    order = tuple((exporter.name, place.why) for exporter, place in placed)
    for exporter, _ in placed:
        path = draft / exporter.file
        try:
            how = exporter.write(estimator, specimen, path, limit)
            parity = trial.judge(load_runtime(exporter.name, path, specimen.signature))
        except refusing as error:
            told = error.problem if isinstance(error, ModelError) else f"{type(error).__name__}: {error}"
            refused.append(Refusal(exporter.name, "unsupported", told, exporter.remedy))
            path.unlink(missing_ok=True)
            continue
        if parity.passed:
            return _Written(exporter, Choice(exporter.name, how, order, tuple(refused)), parity)
        refused.append(Refusal(exporter.name, "differs", parity.sentence(), _DIFFERS, parity))
        path.unlink(missing_ok=True)
    raise ParityError(
        f"No export of {variable} reproduces it: {'; '.join(one.sentence() for one in refused)}.",
        "Deploy an estimator whose answers do not change from call to call, or raise parity_limit in [tool.mlnb].",
        name=variable,
        exporter="; ".join(name for name, _ in order),
    )


def _write_rest(specimen: Specimen, draft: Path) -> None:
    count = len(specimen.expected.predictions)
    kept = range(count) if count <= SAMPLE_ROWS else [at * count // SAMPLE_ROWS for at in range(SAMPLE_ROWS)]
    columns = list(specimen.rows)
    data = [[specimen.rows[name][at] for name in columns] for at in kept]
    expected = specimen.expected.take(kept)
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
        "choice": written.choice.to_json(),
        "reason": written.reason(),
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
