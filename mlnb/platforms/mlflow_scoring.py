"""A version's package inside an MLflow model becomes what ``mlflow.pyfunc`` asks: it answers as the service does.

Carried in the model's own ``code`` folder: standard library, numpy, pandas (MLflow's), `mlnb.model.scorer` and the
modules that it imports, under a name of their own (`mlnb.platforms.mlflow_model`), so that neither an installed mlnb
nor another version's code is mixed up with it. MLflow imports this module and calls `_load_pyfunc`
(https://mlflow.org/docs/latest/api_reference/python_api/mlflow.pyfunc.html, "Filesystem format").
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlnb.errors import SignatureError, UntrustedError
from mlnb.model.answers import Scores
from mlnb.model.hooks import plain
from mlnb.model.kinds import NESTED
from mlnb.model.scorer import Scorer, code_files, load_scorer
from mlnb.model.signature import Table

#: MLflow's own switch against models that can execute code when they are loaded.
_SWITCH = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"


class Answering:
    """What ``mlflow.pyfunc.load_model`` holds.

    Parameters
    ----------
    scorer : Scorer
        The package, loaded.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._table = Table(scorer.signature.inputs)

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Return the answers to a table, whose missing values count as ``null`` does in a request.

        Parameters
        ----------
        model_input : DataFrame, or what makes one
            Raw rows, as the service takes them, before any hook. Columns that the model does not know are left out, as
            MLflow does where a signature is enforced.
        params : mapping
            ``{"output": "probabilities"}`` for a classifier's chances, one column a class; ``"predictions"`` is the
            default.

        Returns
        -------
        array, DataFrame or list
            One answer a row: labels or numbers; a column for each output where there are several; lists of items for a
            ranker.

        Raises
        ------
        SignatureError
            If the rows do not fit the signature, or there are no such outputs.
        """
        wanted = str((params or {}).get("output", "predictions"))
        frame = self._frame(model_input)
        known = [column.name for column in self._scorer.signature.inputs if column.name in frame]
        columns = self._table.check_columns({name: _values(frame[name]) for name in known})
        return self._told(self._scorer.score(columns), wanted)

    def _frame(self, given: Any) -> pd.DataFrame:
        if isinstance(given, pd.DataFrame):
            return given
        names = [column.name for column in self._scorer.signature.inputs]
        if isinstance(given, np.ndarray):
            return pd.DataFrame(given, columns=names if given.ndim == 2 and given.shape[1] == len(names) else None)
        return pd.DataFrame(given)

    def _told(self, scores: Scores, wanted: str) -> Any:
        signature = self._scorer.signature
        if wanted == "probabilities" and signature.task == "classifier" and scores.probabilities is not None:
            return pd.DataFrame(scores.probabilities, columns=[str(label) for label in signature.classes])
        if wanted != "predictions":
            raise SignatureError(
                f"The model has no output {wanted!r}: it is a {signature.task}.",
                'Ask for {"output": "predictions"}.',
                name="output",
                faults=[f"output {wanted!r}"],
            )
        if signature.task in NESTED:
            return pd.DataFrame(scores.predictions, columns=[output.name for output in signature.outputs])
        return scores.predictions if signature.task == "ranker" else np.asarray(scores.predictions)


def _load_pyfunc(path: str) -> Answering:
    """Return the package in `path`: MLflow's entry.

    Raises
    ------
    UntrustedError
        If it can execute code and MLflow's switch forbids that.
    CorruptError
        If a file is not what the version's manifest says.
    """
    folder = Path(path)
    code = code_files(folder)
    if code and os.environ.get(_SWITCH, "true").lower() in ("false", "0"):
        raise UntrustedError(
            f"{code[0].name} can execute code when it is loaded, which {_SWITCH} forbids.",
            f"Set {_SWITCH} to true if you trust the server that the model comes from.",
            path=path,
            digest=code[0].digest,
            key=code[0].key,
        )
    return Answering(load_scorer(folder, allow_code=[one.digest for one in code]))


def _values(series: pd.Series) -> list[object]:
    values: list[object] = series.tolist()
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "biu":
        return values
    return [plain(value) for value in values]
