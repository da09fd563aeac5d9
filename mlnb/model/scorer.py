"""A package folder becomes a `Scorer`: checked columns in, plain predictions and probabilities out.

Carried into the service: standard library, numpy, onnxruntime (imported with the first ONNX model), `mlnb.errors` and
the modules that it imports. skops, cloudpickle, scikit-learn and pandas are imported only for a
package that was exported as skops or native.

Every file that ``package.json`` lists is compared with its digest. A file that can execute code when it is loaded (a
pickle, a skops file, ``hooks.py``) is loaded only if the caller allows its digest; who may allow it is the store's
matter, which knows the user's keys: ``code_files`` tells what there is to allow.

The service's whole use of it::

    scorer = load_scorer(folder, allow_code=digests)
    scores = scorer.score(scorer.signature.check(rows))  # hooks included
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, TypeAlias, cast

import numpy as np

from mlnb.errors import CorruptError, MlnbError, ModelError, NewerFormatError, SignatureError, UntrustedError
from mlnb.model.answers import Scores, ask, plain_answers, plain_chances, settle
from mlnb.model.damage import damages
from mlnb.model.hooks import Hooks, build_frame, compile_hooks
from mlnb.model.kinds import lay_out
from mlnb.model.signature import Label, Signature, Table, Values

__all__ = [
    "MISSING_TEXT",
    "AllowCode",
    "CodeFile",
    "EstimatorRuntime",
    "OnnxRuntime",
    "Runtime",
    "Scorer",
    "Scores",
    "code_files",
    "file_digest",
    "load_onnxruntime",
    "load_runtime",
    "load_scorer",
    "read_package",
]

FORMAT = 2
#: Stands for a missing text in ONNX, whose strings cannot be missing; from Unicode's private use area.
MISSING_TEXT = "\uf8ffmissing"
AllowCode: TypeAlias = Collection[str] | Callable[[str, str, str], bool] | None


@dataclass(frozen=True, slots=True)
class CodeFile:
    """A file of a package that can execute code when it is loaded, and who signed it."""

    name: str
    digest: str
    signature: str
    key: str


class Runtime(Protocol):
    """What scores the columns that the estimator itself takes."""

    def score(self, columns: Mapping[str, Values]) -> Scores:
        """Return the answers, in the order of the rows."""


class Scorer:
    """A loaded model.

    Parameters
    ----------
    signature : Signature
        Of the rows that a caller sends.
    runtime : Runtime
        Knows the model file.
    exporter : str
        Who made it: ``onnx``, ``skops`` or ``native``.
    hooks : Hooks or None
        Prepares the rows for the model.
    """

    __slots__ = ("_features", "_runtime", "exporter", "hooks", "signature")

    def __init__(self, signature: Signature, runtime: Runtime, exporter: str, hooks: Hooks | None) -> None:
        self.signature = signature
        self.exporter = exporter
        self.hooks = hooks
        self._runtime = runtime
        self._features = Table(signature.features) if signature.features else None

    def score(self, columns: Mapping[str, Values]) -> Scores:
        """Return the answers to the columns that ``signature.check`` gave.

        Raises
        ------
        ModelError
            If the hook fails or gives what the model does not take: not the caller's fault.
        """
        if self.hooks is None and self._features is not None:
            columns = lay_out(columns, self.signature.inputs)
        elif self.hooks is not None and self._features is not None:
            made = self.hooks.preprocess(columns, self.signature.inputs)
            try:
                columns = self._features.check_columns(made)
            except SignatureError as error:
                raise ModelError(
                    f"The hook preprocess gave what the model does not take: {'; '.join(error.faults)}.",
                    "Correct preprocess in the deploy cell, or deploy with a sample that has such rows.",
                    name="preprocess",
                ) from error
        try:
            return self._runtime.score(columns)
        except MlnbError:
            raise
        except damages() as error:
            told = " ".join(str(error).split())[:200]
            raise ModelError(
                f"The model fails on these rows: {type(error).__name__}: {told}.",
                "Send rows like those of the model's sample, or deploy the model again.",
                name=self.exporter,
            ) from error


def load_scorer(folder: Path, *, allow_code: AllowCode = None) -> Scorer:
    """Load the package in `folder`.

    Parameters
    ----------
    folder : Path
        A package of format 1 or 2; the second may hold answers of several values.
    allow_code : collection of str, callable or None
        Digests that may be loaded although they can execute code, or a judge of (digest, signature, key).

    Raises
    ------
    CorruptError
        If a file is missing or its bytes are not those that were recorded.
    UntrustedError
        If a file that can execute code is not allowed; nothing of it has been read then but its digest.
    NewerFormatError
        If a newer mlnb wrote the package.
    ModelError
        If no runtime for the model is known or installed.
    """
    try:
        return _load(folder, allow_code)
    except MlnbError:
        raise
    except ImportError as error:
        raise ModelError(
            f"The model in {folder} needs {error.name or error}, which is not installed.",
            "Install what the model was made with.",
            name=str(error.name or ""),
        ) from error
    except damages() as error:
        told = " ".join(str(error).split())[:200]
        raise _corrupt(
            folder, "", f"is damaged, so that the model cannot be loaded ({type(error).__name__}: {told})"
        ) from error


def _load(folder: Path, allow_code: AllowCode) -> Scorer:
    package = read_package(folder)
    for code in code_files(folder):
        if not _allowed(allow_code, code):
            raise UntrustedError(
                f"{code.name} in {folder} can execute code when it is loaded, and nobody you trust has signed it.",
                "Deploy the model again, or trust its signer's key with `mlnb doctor --trust FILE.pub`.",
                path=str(folder / code.name),
                digest=code.digest,
                key=code.key,
            )
    for name, digest in package["files"].items():
        _check_digest(folder / name, digest)
    signature = Signature.from_json(json.loads((folder / "signature.json").read_bytes()))
    hooks = None
    if "hooks.py" in package["files"]:
        hooks = compile_hooks((folder / "hooks.py").read_text("utf-8"), str(folder / "hooks.py"))
    exporter = str(package["exporter"])
    return Scorer(signature, load_runtime(exporter, folder / package["model_file"], signature), exporter, hooks)


def read_package(folder: Path) -> dict[str, Any]:
    """Return ``package.json`` of a package folder.

    Raises
    ------
    CorruptError, NewerFormatError
        If it is not there, or of a format that is not known here.
    """
    path = folder / "package.json"
    try:
        package = json.loads(path.read_bytes())
        found = int(package["format"])
        whole = all(isinstance(package[key], kind) for key, kind in _PACKAGE_KEYS.items())
        whole = whole and all(isinstance(digest, str) for digest in package["files"].values())
        whole = whole and all(isinstance(signed, dict) for signed in package["signatures"].values())
        inside = whole and all(Path(name).name == name for name in [*package["files"], package["model_file"]])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise _corrupt(path, "", f"cannot be read ({type(error).__name__})") from error
    NewerFormatError.check(str(path), found, FORMAT)
    if not inside or not {"signature.json", package["model_file"]} <= package["files"].keys():
        raise _corrupt(path, "", "does not list a package's files")
    return dict(package)


def code_files(folder: Path) -> tuple[CodeFile, ...]:
    """Return the package's files that can execute code: what a caller must trust before it lets them be loaded."""
    package = read_package(folder)
    runtime = _RUNTIMES.get(str(package["exporter"]))
    names = [] if runtime is OnnxRuntime else [package["model_file"]]
    names += [name for name in package["files"] if name.endswith(".py")]
    signed = package["signatures"]
    return tuple(
        CodeFile(
            name,
            str(package["files"][name]),
            str(signed.get(name, {}).get("signature", "")),
            str(signed.get(name, {}).get("key", "")),
        )
        for name in names
    )


def file_digest(path: Path) -> str:
    """Return ``sha256:<hex>`` of a file."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def load_runtime(exporter: str, path: Path, signature: Signature) -> Runtime:
    """Return what scores the model file; the caller has checked its digest and its signature.

    Raises
    ------
    ModelError
        If no runtime of that name is known.
    """
    if exporter not in _RUNTIMES:
        raise ModelError(
            f"The model was exported as {exporter!r}, which this mlnb cannot score.", "Upgrade mlnb.", name=exporter
        )
    return _RUNTIMES[exporter](path, signature)


def load_onnxruntime() -> ModuleType:
    """Import onnxruntime, the only place that does, with its reports to its maker (1.32 sends some) turned off."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return cast(ModuleType, onnxruntime)


class OnnxRuntime:
    """Scores an ONNX model: one thread, because one row at a time is the common case.

    The graph's inputs are columns of shape (rows, 1), or (rows, length) for lists of fixed length: doubles, floats or
    strings. Its first output is the label or the number, of shape (rows,) or (rows, outputs). Its second, the
    probabilities, has the shape (rows, classes); of several outputs (rows, outputs) or, as skl2onnx writes it,
    (outputs, rows, classes) or a sequence of (rows, classes).
    """

    def __init__(self, path: Path, signature: Signature) -> None:
        onnxruntime = load_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
        whole = {one.name for one in signature.features or signature.inputs if not one.nullable}
        self._inputs = [(one.name, _NUMPY.get(one.type), one.name in whole) for one in self._session.get_inputs()]
        self._outputs = [one.name for one in self._session.get_outputs()][: 1 + signature.probabilities]
        self._signature = signature
        self._classes: dict[Label, Label] | None = None
        known = [*signature.classes, *(label for output in signature.outputs for label in output.classes)]
        if not all(type(one) in (int, str) for one in known):
            self._classes = {one if type(one) is str else int(one): one for one in known}

    def score(self, columns: Mapping[str, Values]) -> Scores:
        """Return the graph's answers."""
        feed = {name: _fed(columns[name], kind, whole) for name, kind, whole in self._inputs}
        answers = self._session.run(self._outputs, feed)
        labels = plain_answers(answers[0])
        if self._classes is not None:
            labels = [self._label(label) for label in labels]
        chances = plain_chances(answers[1]) if len(answers) == 2 else None
        return settle(Scores(labels, chances), self._signature, columns)

    def _label(self, label: Any) -> Any:
        known = self._classes or {}
        return [known[one] for one in label] if isinstance(label, list) else known[label]


class EstimatorRuntime:
    """Scores with the estimator itself, given what it was fitted with: a data frame or an array."""

    def __init__(self, estimator: Any, signature: Signature) -> None:
        self._estimator = estimator
        self._frame = signature.frame
        self._columns = signature.features or signature.inputs
        self._signature = signature
        if self._frame:
            build_frame({}, ())  # pandas is loaded now, not with the first request

    def score(self, columns: Mapping[str, Values]) -> Scores:
        """Return the estimator's answers."""
        rows: Any
        if self._frame:
            rows = build_frame(columns, self._columns)
        else:
            rows = np.column_stack([columns[column.name] for column in self._columns])
        return settle(ask(self._estimator, rows, self._signature.probabilities), self._signature, columns)


def _load_skops(path: Path, signature: Signature) -> Runtime:
    import skops.io

    return EstimatorRuntime(skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path)), signature)


def _load_native(path: Path, signature: Signature) -> Runtime:
    import pickle

    with path.open("rb") as file:
        return EstimatorRuntime(pickle.load(file), signature)  # noqa: S301 -- load_scorer has checked the signature


_RUNTIMES: Mapping[str, Callable[[Path, Signature], Runtime]] = {
    "onnx": OnnxRuntime,
    "skops": _load_skops,
    "native": _load_native,
}
_NUMPY: Mapping[str, np.dtype[Any]] = {
    "tensor(double)": np.dtype(np.float64),
    "tensor(float)": np.dtype(np.float32),
    "tensor(int64)": np.dtype(np.int64),
}
_PACKAGE_KEYS = {"files": dict, "exporter": str, "model_file": str, "signatures": dict}


def _fed(values: Values, kind: np.dtype[Any] | None, whole: bool) -> Values:
    """Return a column as the graph takes it; in one that is `whole` no text is missing."""
    if kind is not None:
        typed = values if values.dtype == kind else values.astype(kind)
        return typed[:, None] if typed.ndim == 1 else typed
    if not whole and None in values:
        values = values.copy()
        values[values == None] = MISSING_TEXT  # noqa: E711 -- elementwise
    return values.reshape(-1, 1)


def _allowed(allow_code: AllowCode, code: CodeFile) -> bool:
    if allow_code is None:
        return False
    if callable(allow_code):
        return allow_code(code.digest, code.signature, code.key)
    return code.digest in allow_code


def _check_digest(path: Path, digest: str) -> None:
    try:
        found = file_digest(path)
    except OSError as error:
        raise _corrupt(path, digest, f"cannot be read ({error.strerror})") from error
    if found != digest:
        raise _corrupt(path, digest, "was changed after it was written")


def _corrupt(path: Path, digest: str, how: str) -> CorruptError:
    return CorruptError(f"{path} {how}.", "Deploy the model again, or restore the file.", path=str(path), digest=digest)
