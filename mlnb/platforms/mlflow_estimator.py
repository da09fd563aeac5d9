"""A file of an MLflow model becomes a fitted estimator, without executing anything that its user has not let in.

MLflow executes what it loads: its pickles, and its skops files too, because the list of types that skops may build is
read from the model itself. Here

- a skops file is loaded if it holds only what skops itself calls safe; the model's own list is not read;
- XGBoost's and LightGBM's own formats are data, read by their libraries;
- everything else can execute code and is loaded only by its digest, which the user has been shown and repeats.

References
----------
CVE-2024-37052 to CVE-2024-37060: models of MLflow that execute code when they are loaded.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlnb.errors import ModelError, UntrustedError
from mlnb.model.damage import damages
from mlnb.model.hooks import USER_FAULTS
from mlnb.store.hashed import digest_of

if TYPE_CHECKING:
    from mlnb.platforms.mlflow_source import MlflowModel

_XGBOOST = ("XGBClassifier", "XGBRegressor", "XGBRanker", "XGBRFClassifier", "XGBRFRegressor")


@dataclass(frozen=True, slots=True)
class Loaded:
    """An estimator and where it comes from.

    Attributes
    ----------
    estimator : object
        Fitted.
    digest : str
        Of the file that it was loaded from.
    how : str
        The file's format.
    notes : tuple of str
        What a person must know, sentences.
    """

    estimator: Any
    digest: str
    how: str
    notes: tuple[str, ...] = ()


def load_estimator(model: MlflowModel, folder: Path, trusted: str) -> Loaded:
    """Fetch a model's file and load it.

    Parameters
    ----------
    model : MlflowModel
        Whose.
    folder : Path
        Where the file is put.
    trusted : str
        The digest of a file that may execute code; empty for none.

    Raises
    ------
    UntrustedError
        If it can execute code and is not `trusted`; nothing of it was loaded then.
    ModelError
        If its flavor is none that mlnb takes, or it cannot be loaded.
    """
    sklearn, xgboost, lightgbm = (model.flavor(name) for name in ("sklearn", "xgboost", "lightgbm"))
    if sklearn is not None:
        path = model.fetch(sklearn.get("pickled_model"), folder)
        how = str(sklearn.get("serialization_format", "pickle"))
        return _guarded(path, how if how in ("skops", "cloudpickle") else "pickle", sklearn, trusted)
    if xgboost is not None and str(xgboost.get("data", "")).endswith((".ubj", ".json")):
        return _guarded(model.fetch(xgboost.get("data"), folder), "xgboost", xgboost, trusted)
    if lightgbm is not None and str(lightgbm.get("data", "")).endswith(".pkl"):
        return _guarded(model.fetch(lightgbm.get("data"), folder), "pickle", lightgbm, trusted)
    raise ModelError(
        f"The model has the flavors {', '.join(model.flavors()) or 'none'}, of which mlnb takes none.",
        "mlnb takes sklearn, xgboost and lightgbm (of its scikit-learn interface): log it with one of them.",
        name=model.name,
    )


def _guarded(path: Path, how: str, flavor: Mapping[str, object], trusted: str) -> Loaded:
    digest = digest_of(path)
    unreadable: tuple[type[Exception], ...] = (*damages(), *USER_FAULTS)
    try:
        if how == "xgboost":
            return Loaded(_read_xgboost(path, flavor), digest, how)
        if how == "skops":
            return Loaded(_read_skops(path, digest, trusted), digest, how, _versions(flavor))
        if trusted != digest:
            raise _untrusted(path, digest, f"it is a {how}")
        with path.open("rb") as file:
            estimator = pickle.load(file)  # noqa: S301 -- the user has named this very file
        return Loaded(estimator, digest, how, _versions(flavor))
    except UntrustedError:
        raise
    except unreadable as error:
        told = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{path.name} cannot be loaded: {type(error).__name__}: {told}.",
            "Install what it was made with, see requirements.txt of the model.",
            name=path.name,
        ) from error


def _read_skops(path: Path, digest: str, trusted: str) -> Any:
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    if not zipfile.is_zipfile(path):
        raise ValueError("it is no skops file")
    strange = skops.io.get_untrusted_types(file=path)
    if strange and trusted != digest:
        raise _untrusted(path, digest, f"it holds {', '.join(strange[:5])}")
    try:
        return skops.io.load(path, trusted=strange)
    except UntrustedTypesFoundException as error:
        raise _untrusted(path, digest, str(error)) from error


def _read_xgboost(path: Path, flavor: Mapping[str, object]) -> Any:
    kind = str(flavor.get("model_class", "")).rpartition(".")[2]
    if kind not in _XGBOOST:
        raise ModelError(
            f"The XGBoost model is a {kind or 'nameless class'}, which mlnb does not take.",
            f"Log one of {', '.join(_XGBOOST)}.",
            name=path.name,
        )
    import xgboost

    estimator = getattr(xgboost, kind)()
    estimator.load_model(path)
    return estimator


def _versions(flavor: Mapping[str, object]) -> tuple[str, ...]:
    import sklearn

    made = str(flavor.get("sklearn_version", ""))
    if not made or made == sklearn.__version__:
        return ()
    return (f"It was made with scikit-learn {made}; {sklearn.__version__} is installed here.",)


def _untrusted(path: Path, digest: str, why: str) -> UntrustedError:
    return UntrustedError(
        f"{path.name} can execute code when it is loaded ({why}), and MLflow does not say who wrote it.",
        f"If you trust whoever logged it: --trust {digest}.",
        path=path.name,
        digest=digest,
    )
