"""A scikit-learn estimator becomes a PMML file, for scoring engines in Java and databases, checked by such an engine.

The extra `mlnb[pmml]` brings `sklearn2pmml`, which writes the file, and `jpmml-evaluator`, which reads it back; both
run Java 11 or newer, and both are under the AGPL 3.0, so that who gives away or serves a work that contains them must
look at that licence (their maker sells others). sklearn2pmml knows scikit-learn up to 1.9.0. mlnb's own service never
scores PMML, so that it is no exporter of a package: it is written beside one, where a person asks for it, and only if
it agrees with the estimator as every export must (`mlnb.model.trial`).

See https://dmg.org/pmml/v4-4-1/GeneralStructure.html and https://github.com/jpmml/sklearn2pmml.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from packaging.version import Version

from mlnb.errors import ModelError, ParityError
from mlnb.model.answers import Scores
from mlnb.model.inference import Specimen
from mlnb.model.kinds import Column, Values
from mlnb.model.parity import Parity
from mlnb.model.signature import Signature
from mlnb.model.trial import Trial
from mlnb.store.disk import storing, write_bytes

_NEWEST = "1.9.0"  # the newest scikit-learn that sklearn2pmml 0.133 reads
_TARGET = "prediction"
_TASKS = ("classifier", "regressor")
_FAULTS = "errors"  # the column in which the engine tells why it could not score a row
_FAULT = re.compile(r"^[\w.]+Exception: (.+)$", re.MULTILINE)
_REMEDY = "Keep the model in ONNX, or change what is named."


def export_pmml(estimator: Any, specimen: Specimen, path: Path, limit: float) -> Parity:
    """Write an estimator as PMML, if what was written agrees with it.

    Raises
    ------
    ModelError
        If something is missing here, or PMML cannot hold the estimator.
    ParityError
        If the file answers otherwise; it is not kept then.
    """
    check_place()
    if specimen.signature.task not in _TASKS:
        raise _refusal(f"PMML is written of one label or one number, and the model is a {specimen.signature.task}")
    with tempfile.TemporaryDirectory(prefix="mlnb-pmml-") as folder:
        made = Path(folder) / "model.pmml"
        _convert(estimator, specimen, made)
        parity = Trial(estimator, specimen, limit).judge(PmmlRuntime(made, specimen.signature))
        if not parity.passed:
            raise ParityError(
                f"The PMML does not reproduce the model: {parity.sentence()}.", _REMEDY, name="model", exporter="pmml"
            )
        with storing(path):
            write_bytes(path, made.read_bytes())
    return parity


def check_place() -> None:
    """Raise `ModelError` where Java, a library, or a scikit-learn that is old enough is missing."""
    if shutil.which("java") is None:
        raise ModelError(
            "PMML needs Java, and there is no `java` on the path.",
            "Install a Java runtime, 11 or newer, such as Debian's default-jre-headless.",
            name="pmml",
        )
    lacking = [name for name in ("sklearn2pmml", "jpmml_evaluator") if find_spec(name) is None]
    if lacking:
        raise ModelError(
            f"PMML needs {' and '.join(lacking)}, which are not installed.",
            "pip install 'mlnb[pmml]' in an environment of its own; the licence of both is the AGPL 3.0.",
            name="pmml",
        )
    try:
        found = version("scikit-learn")
    except PackageNotFoundError:
        found = "0"
    if Version(found) > Version(_NEWEST):
        raise ModelError(
            f"sklearn2pmml reads scikit-learn up to {_NEWEST}, and {found} is installed.",
            f"Fit and export the model in an environment with scikit-learn=={_NEWEST}.",
            name="pmml",
        )


class PmmlRuntime:
    """Scores a PMML file with jpmml-evaluator, in a Java machine inside this process."""

    def __init__(self, path: Path, signature: Signature) -> None:
        from jpmml_evaluator import make_evaluator
        from jpmml_evaluator.jpype import JPypeBackend

        self._evaluator = make_evaluator(str(path), backend=_backend(JPypeBackend))
        self._taken = [field.name for field in self._evaluator.getInputFields()]
        self._signature = signature

    def score(self, columns: Mapping[str, Values]) -> Scores:
        """Return the engine's answers."""
        count = len(next(iter(columns.values())))
        if not count:
            return Scores([], [] if self._signature.probabilities else None)
        rows = pd.DataFrame({name: _sendable(columns[name]) for name in self._taken})
        told = self._answers(rows)
        labels = told[_TARGET].tolist()
        if self._signature.task == "regressor":
            return Scores([float(one) for one in labels])
        known = {_spelled(label): label for label in self._signature.classes}
        answers = [known.get(_spelled(one), one) for one in labels]
        if not self._signature.probabilities:
            return Scores(answers)
        names = [f"probability({one})" for one in known]
        lacking = [one for one in names if one not in told.columns]
        if lacking:
            raise _refusal(f"it gives no {lacking[0]}")
        return Scores(answers, told[names].to_numpy(dtype=np.float64).tolist())

    def _answers(self, rows: pd.DataFrame) -> pd.DataFrame:
        told = self._evaluator.evaluateAll(rows)
        wrong = told[_FAULTS].dropna().tolist() if _FAULTS in told.columns else []
        if wrong:
            raise _refusal(f"the engine cannot score a row: {_short(str(wrong[0]))}")
        return told


_MACHINES: list[Any] = []


def _backend(kind: Any) -> Any:
    """Return the one Java machine that a process can have."""
    if not _MACHINES:
        _MACHINES.append(kind())
    return _MACHINES[0]


def _convert(estimator: Any, specimen: Specimen, path: Path) -> None:
    from sklearn2pmml import make_pmml_pipeline, sklearn2pmml

    columns: Sequence[Column] = specimen.signature.features or specimen.signature.inputs
    said = StringIO()  # what Java says, and an advertisement
    try:
        with redirect_stdout(said):
            named = [one.name for one in columns]
            pipeline = make_pmml_pipeline(estimator, active_fields=named, target_fields=[_TARGET])
            sklearn2pmml(pipeline, str(path))
    except (RuntimeError, TypeError, ValueError, AttributeError, OSError) as error:
        found = _FAULT.search(said.getvalue())
        raise _refusal(_short(found[1] if found else f"{type(error).__name__}: {error}")) from error


def _spelled(label: object) -> str:
    """Return a label as PMML writes it: Java's ``true`` is not Python's."""
    return str(label).lower() if isinstance(label, bool | np.bool_) else str(label)


def _short(text: str) -> str:
    return " ".join(text.split()).removesuffix(".")[:200]


def _sendable(values: Values) -> list[object]:
    """Return values as the engine takes them: what is missing is None."""
    return [None if one is None or one != one else one for one in values.tolist()]


def _refusal(why: str) -> ModelError:
    return ModelError(f"The model cannot be written as PMML ({why}).", _REMEDY, name="pmml")
