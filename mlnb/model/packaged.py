"""A package becomes an object that answers as its estimator did: what a notebook's tests are run against once more.

It has ``predict``, ``predict_proba`` and ``classes_``, and takes what the estimator takes: features, behind any hook. A
test that asks for more (coefficients, steps) cannot be asked of a package: it gets an `OnlyPredictsError`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mlnb.model.answers import Scores
from mlnb.model.scorer import Runtime, load_runtime, load_scorer, read_package
from mlnb.model.signature import Signature, Table

_ARRAYS = ("classifier", "regressor", "multilabel", "multioutput", "forecaster")


class OnlyPredictsError(AttributeError):
    """A package was asked for something that only its estimator has."""


class PackagedModel:
    """Stands for the estimator of a package.

    Parameters
    ----------
    folder : str
        The package; it is loaded with the first question. What can execute code must be signed by a key that this user
        trusts.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple[Callable[[str], PackagedModel], tuple[str]]:
        """Travel as the folder's name alone."""
        return PackagedModel, (self._folder,)

    def __getattr__(self, name: str) -> Any:
        """Refuse what only the estimator has."""
        if name.startswith("__"):
            raise AttributeError(name)
        raise OnlyPredictsError(f"A model package has no {name}: it only predicts.")

    @property
    def classes_(self) -> np.ndarray[Any, Any]:
        """The classes, in the order of the probabilities."""
        return np.asarray(self._loaded[0].classes)

    def predict(self, rows: object) -> np.ndarray[Any, Any]:
        """Return the answers to features as the estimator takes them, shape (rows,) or (rows, outputs)."""
        return np.asarray(self._score(rows).predictions)

    def predict_proba(self, rows: object) -> np.ndarray[Any, Any]:
        """Return the probabilities, shape (rows, classes)."""
        scores = self._score(rows)
        if self._loaded[0].task != "classifier" or scores.probabilities is None:
            raise OnlyPredictsError(f"The package of a {self._loaded[0].task} has no predict_proba.")
        return np.asarray(scores.probabilities)

    @cached_property
    def _loaded(self) -> tuple[Signature, Runtime]:
        from mlnb.store.signing import verify

        def trusted(digest: str, signature: str, key: str) -> bool:
            verify(digest, signature, key)
            return True

        folder = Path(self._folder)
        signature = load_scorer(folder, allow_code=trusted).signature
        package = read_package(folder)
        return signature, load_runtime(str(package["exporter"]), folder / package["model_file"], signature)

    def _score(self, rows: object) -> Scores:
        from mlnb.model.inference import as_frame, plain_values

        signature, runtime = self._loaded
        if signature.task not in _ARRAYS:
            raise OnlyPredictsError(f"The package of a {signature.task} gives no array.")
        columns = signature.features or signature.inputs
        frame = as_frame(rows, "rows")
        if isinstance(rows, np.ndarray) and frame.shape[1] == len(columns):
            frame = frame.set_axis([column.name for column in columns], axis=1)
        return runtime.score(Table(tuple(columns)).check_columns(plain_values(frame, columns)))
