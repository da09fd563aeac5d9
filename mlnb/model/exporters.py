"""An estimator becomes one file in a format that a scorer knows: ONNX, else skops, else a pickle.

Each exporter is a plug-in of ``mlnb.exporters``; they are tried in the order that suits the estimator. A third party's
exporter writes one of the formats that `mlnb.model.scorer` reads, under its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from mlnb.errors import ModelError
from mlnb.plugins import load, names

if TYPE_CHECKING:
    from mlnb.model.inference import Specimen

_GROUP = "mlnb.exporters"
_NEIGHBOURS = 5_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where an exporter stands among the others.

    Attributes
    ----------
    rank : int
        Lower ones are tried first: ONNX has 10, skops 50, native 90.
    why : str
        What is particular about the estimator; empty for the usual place.
    """

    rank: int
    why: str = ""


class Exporter(Protocol):
    """Writes estimators in one format.

    Attributes
    ----------
    name : str
        The format.
    file : str
        Name of the file in the package.
    executes_code : bool
        Whether loading the file can execute code, so that it must be signed.
    remedy : str
        What a person can change about a model that the format cannot hold, a sentence.
    """

    name: ClassVar[str]
    file: ClassVar[str]
    executes_code: ClassVar[bool]
    remedy: ClassVar[str]

    def place(self, estimator: Any) -> Place:
        """Return where the exporter stands for this estimator."""

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
    file = "model.onnx"
    executes_code = False
    remedy = (
        "Replace what is named by a step that ONNX can express, or do it in preprocess of the deploy cell; "
        "until then the service carries the libraries of the model."
    )

    def place(self, estimator: Any) -> Place:
        """Come first, but behind skops where a search tree among many neighbours would become a comparison with each.

        ONNX has no search trees: each row is compared with every row of the fit.
        """
        rows = int(getattr(_last(estimator), "n_samples_fit_", 0))
        if rows > _NEIGHBOURS:
            return Place(60, f"ONNX would compare each row with all {rows:,} rows of the fit")
        return Place(10)

    def write(self, estimator: Any, specimen: Specimen, path: Path, limit: float) -> str:
        """Write the most faithful of several conversions."""
        from mlnb.model.onnx_build import build_onnx

        built = build_onnx(estimator, specimen, limit)
        path.write_bytes(built.content)
        return built.way


class SkopsExporter:
    """scikit-learn's own objects, without pickle; the service needs scikit-learn."""

    name = "skops"
    file = "model.skops"
    executes_code = True
    remedy = "Move what is named from the notebook into a module that can be imported."

    def place(self, estimator: Any) -> Place:
        """Come between ONNX and a pickle."""
        return Place(50)

    def write(self, estimator: Any, specimen: Specimen, path: Path, limit: float) -> str:
        """Write with skops."""
        import skops.io
        from skops.io.exceptions import UnsupportedTypeException

        from mlnb.model.hooks import USER_FAULTS

        try:
            skops.io.dump(estimator, path)
            own = [name for name in skops.io.get_untrusted_types(file=path) if name.startswith("__main__.")]
        except (UnsupportedTypeException, *USER_FAULTS) as error:
            raise _refusal(self.name, f"{type(error).__name__}: {error}") from error
        if own:
            raise _refusal(self.name, f"it holds the notebook's own {', '.join(own)}")
        return "the estimator itself scores"


class NativeExporter:
    """Anything that cloudpickle can hold; the service needs all that the estimator imports."""

    name = "native"
    file = "model.pkl"
    executes_code = True
    remedy = "Keep open files, connections and locks out of the estimator."

    def place(self, estimator: Any) -> Place:
        """Come last."""
        return Place(90)

    def write(self, estimator: Any, specimen: Specimen, path: Path, limit: float) -> str:
        """Write with cloudpickle."""
        import pickle

        import cloudpickle

        from mlnb.model.hooks import USER_FAULTS

        try:
            content = cloudpickle.dumps(estimator, protocol=5)
        except (pickle.PicklingError, *USER_FAULTS) as error:
            raise _refusal(self.name, f"{type(error).__name__}: {error}") from error
        path.write_bytes(content)
        return "the estimator itself scores"


def exporters(estimator: object = None) -> list[tuple[Exporter, Place]]:
    """Return the installed exporters in the order that suits an estimator."""
    made = [cast(type[Exporter], load(_GROUP, name))() for name in names(_GROUP)]
    placed = [(exporter, exporter.place(estimator)) for exporter in made]
    return sorted(placed, key=lambda one: (one[1].rank, one[0].name))


def _last(estimator: Any) -> Any:
    from mlnb.model.thresholds import flat

    return flat(estimator)[1]


def _refusal(exporter: str, why: str) -> ModelError:
    return ModelError(why, "Another exporter is tried.", name=exporter)
