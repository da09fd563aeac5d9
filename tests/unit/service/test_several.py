"""A service that answers with more than one value: a ranking and a forecast, end to end through HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from sklearn.linear_model import Ridge

from mlnb.model.export import export_model
from mlnb.service.bento import Bento
from mlnb.service.local import LocalTarget
from mlnb.service.log_reader import read_labels, read_predictions
from mlnb.service.skew import replay
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder

Ask = Callable[..., tuple[int, Any]]
WINDOWS = np.random.default_rng(0).normal(size=(40, 6))
QUESTIONS = pd.DataFrame({"favourite": ["tea", "rum"], "items": [["tea", "coffee"], ["milk", "rum", "ale"]]})
SHOP = """
class Shop:
    def predict(self, rows):
        asked = zip(rows["favourite"], rows["items"])
        return [[len(one) + 100 * (one == favourite) for one in items] for favourite, items in asked]
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Packages of a ranker, a class of a notebook, and of a forecaster."""
    folder = tmp_path_factory.mktemp("several")
    notebook: dict[str, Any] = {"__name__": "__main__"}
    exec(SHOP, notebook)
    export_model(notebook["Shop"](), QUESTIONS, folder / "1", model="delays")
    history = pd.DataFrame({"history": list(WINDOWS)})
    export_model(Ridge().fit(WINDOWS, WINDOWS[:, :3]), history, folder / "2", model="delays")
    return {1: folder / "1", 2: folder / "2"}


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory, bento: Bento, folders: dict[int, Path]) -> Iterator[Ask]:
    """Ask a service whose default is the ranker, and whose staging is the forecaster."""
    state = StateFolder.open(tmp_path_factory.mktemp("service"))
    target = LocalTarget(state, Settings())
    target.route("delays", folders, {"production": 1, "staging": 2})
    started = target.start("delays", bento.path)

    def answer(path: str, body: object = None) -> tuple[int, Any]:
        if path == "log":
            return 200, [
                row for batch in read_predictions(state.predictions / "delays") for row in batch.prediction if row
            ]
        if path == "labels":
            return 200, read_labels(state.predictions / "delays")
        if path == "replay":
            return 200, replay(started.url, folders[1], 1e-6)
        connection = HTTPConnection("127.0.0.1", started.port, timeout=30)
        try:
            connection.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    yield answer
    target.stop("delays")


def test_a_ranking_and_a_forecast_are_answered_logged_and_replayed(ask: Ask) -> None:
    status, told = ask("/predict", {"rows": [{"favourite": "ale", "items": ["tea", "port", "ale"]}]})
    assert (status, list(told)) == (200, ["predictions", "scores", "ids", "version"])
    assert (told["predictions"], told["scores"]) == ([["ale", "port", "tea"]], [[103.0, 4.0, 3.0]])
    status, told = ask("/aliases/staging/predict", {"rows": [{"history": WINDOWS[0].tolist()}]})
    assert (status, list(told)) == (200, ["predictions", "ids", "version"])
    expected = Ridge().fit(WINDOWS, WINDOWS[:, :3]).predict(WINDOWS[:1])
    np.testing.assert_allclose(told["predictions"], expected, rtol=1e-6)
    logged = [json.loads(text) for text in ask("log")[1]]
    assert ["ale", "port", "tea"] in logged
    assert told["predictions"][0] in logged
    assert ask("replay")[1].passed


def test_what_came_true_of_a_forecast_is_kept_by_step(ask: Ask) -> None:
    (known,) = ask("/aliases/staging/predict", {"rows": [{"history": WINDOWS[1].tolist()}]})[1]["ids"]
    for label in ([1.5, None, 2], {"h2": 3.25}, "late"):
        assert ask("/labels", {"labels": {known: label}}) == (200, {"accepted": 1})
        assert ask("labels")[1][known] == label
    for wrong in ([1.5, 2], {"h4": 1}, [None, None, None], [[1], 2, 3]):
        status, told = ask("/labels", {"labels": {known: wrong}})
        assert status == 422 and "list of 3 values (h1, h2, h3)" in told["error"]["remedy"]


def test_lists_that_do_not_fit_are_refused_by_row_column_and_place(ask: Ask) -> None:
    status, told = ask("/aliases/staging/predict", {"rows": [{"history": [1, 2]}]})
    assert (status, told["error"]["faults"]) == (422, ["rows[0]: column 'history' must hold 6 values, but holds 2"])
    status, told = ask("/predict", {"rows": [{"favourite": "ale", "items": ["tea", 3]}]})
    assert told["error"]["faults"] == ["rows[0]: column 'items' at 1 must be a string, but is the number 3"]


def test_the_service_describes_itself_and_keeps_to_it(ask: Ask) -> None:
    status, document = ask("/openapi.json")
    assert (status, document["info"]["title"]) == (200, "delays")
    body = {"rows": [{"favourite": "ale", "items": ["tea"]}]}
    known = {"components": document["components"]}
    Draft202012Validator({**known, "$ref": "#/components/schemas/Predict"}).validate(body)
    Draft202012Validator({**known, "$ref": "#/components/schemas/Answer"}).validate(ask("/predict", body)[1])
    refused = ask("/predict", {"rows": []})[1]
    Draft202012Validator({**known, "$ref": "#/components/schemas/Refusal"}).validate(refused)


def test_the_open_inference_protocols_metadata_are_answered(ask: Ask) -> None:
    assert ask("/v2") == (200, {"name": "mlnb", "version": "2", "extensions": ["binary_tensor_data"]})
    assert ask("/v2/health/live") == (200, {"live": True})
    assert ask("/v2/health/ready") == (200, {"ready": True})
    assert ask("/v2/models/delays/ready") == (200, {"name": "delays", "ready": True})
    status, told = ask("/v2/models/delays/versions/2")
    assert (status, told["versions"], told["platform"]) == (200, ["1", "2"], "onnxruntime_onnx")
    assert told["inputs"] == [{"name": "history", "datatype": "FP64", "shape": [-1, 6]}]
    assert told["outputs"] == [{"name": "predictions", "datatype": "FP64", "shape": [-1, 3]}]
    for path in ("/v2/models/other", "/v2/models/delays/versions/9", "/v2/models/delays/versions/x/ready"):
        assert ask(path)[0] == 404
    assert ask("/v2/models/delays", {})[0] == 405
