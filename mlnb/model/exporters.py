"""An estimator becomes one file in a format that a scorer knows: ONNX, else skops, else a pickle.

Each exporter is a plug-in of ``mlnb.exporters``; they are tried by rank. A third party's exporter writes one of the
formats that `mlnb.model.scorer` reads, under its name.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from mlnb.errors import ModelError

if TYPE_CHECKING:
    from mlnb.model.inference import Specimen


class Exporter(Protocol):
    """Writes estimators in one format.

    Attributes
    ----------
    name : str
        The format.
    rank : int
        Lower ones are tried first.
    file : str
        Name of the file in the package.
    executes_code : bool
        Whether loading the file can execute code, so that it must be signed.
    """

    name: ClassVar[str]
    rank: ClassVar[int]
    file: ClassVar[str]
    executes_code: ClassVar[bool]

    def write(self, estimator: Any, specimen: Specimen, path: Path, limit: float) -> str:
        """Write the estimator to `path` and return how, for people; the caller measures the parity of what was written.

        Raises
        ------
        ModelError
            If the format cannot hold the estimator; the problem says why, and is no whole sentence.
        """


class OnnxExporter:
    """Small, fast, needs neither scikit-learn nor trust."""

    name = "onnx"
    rank = 10
    file = "model.onnx"
    executes_code = False

    def write(self, estimator: Any, specimen: Specimen, path: Path, limit: float) -> str:
        """Write the most faithful of several conversions."""
        from mlnb.model.onnx_build import build_onnx

        built = build_onnx(estimator, specimen, limit)
        path.write_bytes(built.content)
        return built.way


class SkopsExporter:
    """scikit-learn's own objects, without pickle; the service needs scikit-learn."""

    name = "skops"
    rank = 50
    file = "model.skops"
    executes_code = True

    def write(self, estimator: Any, specimen: Specimen, path: Path, limit: float) -> str:
        """Write with skops."""
        import skops.io
        from skops.io.exceptions import UnsupportedTypeException

        from mlnb.model.hooks import USER_FAULTS

        try:
            skops.io.dump(estimator, path)
            own = [name for name in skops.io.get_untrusted_types(file=path) if name.startswith("__main__.")]
        except (UnsupportedTypeException, *USER_FAULTS) as error:
            raise ModelError(
                f"{type(error).__name__}: {error}", "Another exporter is tried.", name=self.name
            ) from error
        if own:
            raise _refusal(self.name, f"it holds the notebook's own {', '.join(own)}")
        return "scikit-learn itself scores"


class NativeExporter:
    """Anything that cloudpickle can hold; the service needs all that the estimator imports."""

    name = "native"
    rank = 90
    file = "model.pkl"
    executes_code = True

    def write(self, estimator: Any, specimen: Specimen, path: Path, limit: float) -> str:
        """Write with cloudpickle."""
        import pickle

        import cloudpickle

        from mlnb.model.hooks import USER_FAULTS

        try:
            content = cloudpickle.dumps(estimator, protocol=5)
        except (pickle.PicklingError, *USER_FAULTS) as error:
            raise ModelError(
                f"{type(error).__name__}: {error}", "Another exporter is tried.", name=self.name
            ) from error
        path.write_bytes(content)
        return "the estimator itself scores"


def _refusal(exporter: str, why: str) -> ModelError:
    return ModelError(why, "Another exporter is tried.", name=exporter)
