"""The bench's model behind BentoML as its guide writes services: the peers of `service` and `log`.

Copied into a folder of its own and served from there; MODEL and ONNX in the environment name the model's files.
"""

import os
import uuid

import bentoml
import joblib
import numpy as np
import onnxruntime
import pandas as pd
import pydantic

NUMBERS = [f"number_{place}" for place in range(10)]
WORDS = ["carrier", "origin"]
Row = pydantic.create_model("Row", **dict.fromkeys(NUMBERS, (float, ...)), **dict.fromkeys(WORDS, (str, ...)))
DTYPES = {"tensor(double)": np.float64, "tensor(float)": np.float32, "tensor(string)": np.object_}


class Session:
    """The ONNX model, one thread for a request as suits single rows."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(os.environ["ONNX"], options, ["CPUExecutionProvider"])
        self._inputs = [(given.name, DTYPES[given.type]) for given in self._session.get_inputs()]
        self._probabilities = self._session.get_outputs()[-1].name

    def score(self, columns: dict[str, list]) -> list[float]:
        """Return the probability of being late for each row."""
        feed = {name: np.asarray(columns[name], dtype).reshape(-1, 1) for name, dtype in self._inputs}
        return self._session.run([self._probabilities], feed)[0][:, 1].tolist()


@bentoml.service(workers=1)
class PandasSklearn:
    """A data frame in, the estimator itself."""

    def __init__(self) -> None:
        self.model = joblib.load(os.environ["MODEL"])

    @bentoml.api
    def predict(self, rows: pd.DataFrame) -> list[float]:
        return self.model.predict_proba(rows)[:, 1].tolist()


@bentoml.service(workers=1)
class PandasOnnx:
    """A data frame in, ONNX."""

    def __init__(self) -> None:
        self.session = Session()

    @bentoml.api
    def predict(self, rows: pd.DataFrame) -> list[float]:
        return self.session.score({name: rows[name].tolist() for name in NUMBERS + WORDS})


@bentoml.service(workers=1)
class PydanticOnnx:
    """Validated rows in, ONNX."""

    def __init__(self) -> None:
        self.session = Session()

    @bentoml.api
    def predict(self, rows: list[Row]) -> list[float]:
        return self.session.score({name: [getattr(row, name) for row in rows] for name in NUMBERS + WORDS})


@bentoml.service(workers=1)
class PydanticOnnxAsync(PydanticOnnx.inner):
    """The same on the event loop, which saves the thread."""

    @bentoml.api
    async def predict(self, rows: list[Row]) -> list[float]:
        return self.session.score({name: [getattr(row, name) for row in rows] for name in NUMBERS + WORDS})


@bentoml.service(workers=1)
class PydanticOnnxLogged(PydanticOnnx.inner):
    """The same, each row logged by `bentoml.monitor` under an id that the caller is told."""

    @bentoml.api
    def predict(self, rows: list[Row]) -> dict:
        scores = self.session.score({name: [getattr(row, name) for row in rows] for name in NUMBERS + WORDS})
        ids = [uuid.uuid4().hex for _ in rows]
        for key, row, score in zip(ids, rows, scores, strict=True):
            with bentoml.monitor("predictions") as monitor:
                monitor.log(key, name="id", role="feature", data_type="categorical")
                for name, value in row:
                    kind = "numerical" if name in NUMBERS else "categorical"
                    monitor.log(value, name=name, role="feature", data_type=kind)
                monitor.log(score, name="score", role="prediction", data_type="numerical")
        return {"predictions": scores, "ids": ids}
