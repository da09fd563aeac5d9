"""The forms of other model servers, asked of a real service; what it must answer is what scikit-learn answered."""

from __future__ import annotations

import csv
import io
import json
import struct
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlnb.service.bento import Bento
from mlnb.service.local import LocalTarget
from mlnb.service.log_reader import read_predictions
from mlnb.service.skew import read_sample
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder

Ask = Callable[..., tuple[int, dict[str, str], bytes]]
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory, bento: Bento, packages: dict[int, Path]) -> Iterator[Ask]:
    """Ask a service whose production is version 1, and whose staging is version 2."""
    state = StateFolder.open(tmp_path_factory.mktemp("service"))
    target = LocalTarget(state, Settings(service={"max_rows": 50}))
    target.route("delays", packages, {"production": 1, "staging": 2})
    started = target.start("delays", bento.path)

    def answer(
        path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        if path == "log":
            ids = {one for batch in read_predictions(state.predictions / "delays") for one in batch.id}
            return 200, {}, json.dumps(sorted(ids)).encode()
        connection = HTTPConnection("127.0.0.1", started.port, timeout=30)
        try:
            sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            connection.request("GET" if body is None else "POST", path, sent, headers or JSON)
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.headers.items()}, response.read()
        finally:
            connection.close()

    yield answer
    target.stop("delays")


@pytest.fixture(scope="module")
def frame(packages: dict[int, Path]) -> pd.DataFrame:
    return pd.DataFrame(read_sample(packages[1])[:5])


@pytest.fixture(scope="module")
def expected(packages: dict[int, Path]) -> dict[int, list[int]]:
    """The labels that scikit-learn gave."""
    return {
        number: json.loads((package / "expected.json").read_bytes())["predictions"][:5]
        for number, package in packages.items()
    }


@pytest.fixture(scope="module")
def second(packages: dict[int, Path]) -> pd.DataFrame:
    """What version 2 was asked."""
    return pd.DataFrame(read_sample(packages[2])[:5])


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.astype(object).where(frame.notna(), None)


def split(frame: pd.DataFrame) -> dict[str, Any]:
    return {"columns": list(frame), "index": list(range(len(frame))), "data": plain(frame).to_numpy().tolist()}


BODIES: dict[str, tuple[str, Callable[[pd.DataFrame], object]]] = {
    "MLflow, split": ("/invocations", lambda frame: {"dataframe_split": split(frame), "params": {}}),
    "MLflow, split, other order": (
        "/invocations",
        lambda frame: {"dataframe_split": split(frame[frame.columns[::-1]])},
    ),
    "MLflow, records": ("/invocations", lambda frame: {"dataframe_records": plain(frame).to_dict("records")}),
    "MLflow, inputs by column": ("/invocations", lambda frame: {"inputs": plain(frame).to_dict("list")}),
    "MLflow, instances": ("/invocations", lambda frame: {"instances": plain(frame).to_dict("records")}),
    "our own there": ("/invocations", lambda frame: {"rows": plain(frame).to_dict("records")}),
    "KServe v1": ("/v1/models/delays:predict", lambda frame: {"instances": plain(frame).to_numpy().tolist()}),
    "Vertex AI": (
        "/v1/models/delays/versions/1:predict",
        lambda frame: {"instances": plain(frame).to_dict("records"), "parameters": {"sampleCount": 3}},
    ),
}


@pytest.mark.parametrize("form", BODIES)
def test_each_form_of_rows_gets_the_same_predictions(
    form: str, ask: Ask, frame: pd.DataFrame, expected: dict[int, list[int]]
) -> None:
    path, body = BODIES[form]
    status, headers, content = ask(path, body(frame))
    assert (status, headers["x-model-version"]) == (200, "delays/1"), content
    assert json.loads(content)["predictions"] == expected[1]
    if form != "our own there":
        assert list(json.loads(content)) == ["predictions"]
    ids = headers["x-prediction-ids"].split(",")
    assert len(ids) == len(frame)
    assert set(ids) <= set(json.loads(ask("log")[2]))


def test_tensorflow_serving_is_asked_by_column_label_and_version(
    ask: Ask, second: pd.DataFrame, expected: dict[int, list[int]]
) -> None:
    body = {"signature_name": "serving_default", "inputs": plain(second).to_dict("list")}
    assert json.loads(ask("/v1/models/delays/labels/staging:predict", body)[2]) == {"outputs": expected[2]}
    assert json.loads(ask("/v1/models/delays/versions/2:predict", body)[2]) == {"outputs": expected[2]}
    status = json.loads(ask("/v1/models/delays")[2])
    assert (status["name"], status["ready"]) == ("delays", True)
    assert [(one["version"], one["state"]) for one in status["model_version_status"]] == [
        ("1", "AVAILABLE"),
        ("2", "AVAILABLE"),
    ]
    assert json.loads(ask("/v1/models/delays/labels/staging")[2])["model_version_status"][0]["version"] == "2"
    assert json.loads(ask("/v1/models")[2]) == {"models": ["delays"]}


def test_azure_gets_a_bare_list(ask: Ask, frame: pd.DataFrame, expected: dict[int, list[int]]) -> None:
    assert json.loads(ask("/score", {"input_data": split(frame)})[2]) == expected[1]
    assert json.loads(ask("/score", {"input_data": plain(frame).to_dict("list")})[2]) == expected[1]


@pytest.mark.parametrize("header", [True, False])
def test_csv_is_answered_with_csv(header: bool, ask: Ask, frame: pd.DataFrame, expected: dict[int, list[int]]) -> None:
    body = (frame[frame.columns[::-1]] if header else frame).to_csv(index=False, header=header).encode()
    status, headers, content = ask("/invocations", body, {"Content-Type": "text/csv; charset=utf-8"})
    assert (status, headers["content-type"]) == (200, "text/csv; charset=utf-8"), content
    assert [int(line[0]) for line in csv.reader(io.StringIO(content.decode()))] == expected[1]
    asked = ask("/invocations", body, {"Content-Type": "text/csv", "Accept": "application/json"})[2]
    assert json.loads(asked) == {"predictions": expected[1]}


def test_json_lines_are_rows(ask: Ask, frame: pd.DataFrame, expected: dict[int, list[int]]) -> None:
    rows = plain(frame)
    lines = [json.dumps({"features": list(row)}) for row in rows.to_numpy().tolist()[:2]]
    lines += [json.dumps(row) for row in rows.to_dict("records")[2:]]
    answer = ask("/invocations", "\n".join(lines).encode(), {"Content-Type": "application/jsonlines"})[2]
    assert json.loads(answer)["predictions"] == expected[1]


def tensors(frame: pd.DataFrame) -> list[dict[str, Any]]:
    numbers = [
        {"name": name, "shape": [len(frame), 1], "datatype": "FP64", "data": plain(frame)[[name]].to_numpy().tolist()}
        for name in ("age", "wind")
    ]
    return [*numbers, {"name": "origin", "shape": [len(frame)], "datatype": "BYTES", "data": list(frame["origin"])}]


def test_open_inference_in_json(
    ask: Ask, frame: pd.DataFrame, second: pd.DataFrame, expected: dict[int, list[int]], packages: dict[int, Path]
) -> None:
    status, _, content = ask("/v2/models/delays/infer", {"id": "seven", "inputs": tensors(frame)})
    told = json.loads(content)
    assert (status, told["model_name"], told["model_version"], told["id"]) == (200, "delays", "1", "seven")
    assert len(told["parameters"]["prediction_ids"].split(",")) == len(frame)
    labels, chances = told["outputs"]
    assert labels == {"name": "predictions", "datatype": "INT64", "shape": [5], "data": expected[1]}
    assert (chances["name"], chances["datatype"], chances["shape"]) == ("probabilities", "FP64", [5, 2])
    known = json.loads((packages[1] / "expected.json").read_bytes())["probabilities"][:5]
    np.testing.assert_allclose(np.reshape(chances["data"], (5, 2)), known, rtol=1e-6)
    asked = {"inputs": tensors(second), "outputs": [{"name": "predictions"}]}
    other = json.loads(ask("/v2/models/delays/versions/2/infer", asked)[2])
    assert (other["model_version"], [one["name"] for one in other["outputs"]]) == ("2", ["predictions"])
    assert other["outputs"][0]["data"] == expected[2]


def test_an_output_that_is_asked_for_twice_is_refused(ask: Ask, frame: pd.DataFrame) -> None:
    asked = {"inputs": tensors(frame), "outputs": [{"name": "predictions"}] * 2}
    status, _, content = ask("/v2/models/delays/infer", asked)
    assert (status, json.loads(content)["error"].partition(".")[0]) == (400, "An output is asked for twice")


def binary(frame: pd.DataFrame) -> tuple[bytes, dict[str, str]]:
    """Return a request as Triton's documentation of the extension lays it out."""
    texts = b"".join(struct.pack("<I", len(one)) + one for one in (text.encode() for text in frame["origin"]))
    blobs = [frame["age"].to_numpy("<f8").tobytes(), frame["wind"].to_numpy("<f4").tobytes(), texts]
    inputs = [
        {"name": name, "shape": [len(frame)], "datatype": kind, "parameters": {"binary_data_size": len(blob)}}
        for name, kind, blob in zip(("age", "wind", "origin"), ("FP64", "FP32", "BYTES"), blobs, strict=True)
    ]
    outputs = [{"name": "probabilities", "parameters": {"binary_data": True}}, {"name": "predictions"}]
    head = json.dumps({"inputs": inputs, "outputs": outputs}).encode()
    return b"".join([head, *blobs]), {"Inference-Header-Content-Length": str(len(head))}


def test_open_inference_in_bytes(
    ask: Ask, frame: pd.DataFrame, expected: dict[int, list[int]], packages: dict[int, Path]
) -> None:
    body, length = binary(frame)
    status, headers, content = ask("/v2/models/delays/infer", body, length)
    assert (status, headers["content-type"]) == (200, "application/octet-stream"), content
    at = int(headers["inference-header-content-length"])
    chances, labels = json.loads(content[:at])["outputs"]
    assert (chances["parameters"]["binary_data_size"], labels["data"]) == (80, expected[1])
    known = json.loads((packages[1] / "expected.json").read_bytes())["probabilities"][:5]
    np.testing.assert_allclose(np.frombuffer(content[at:], "<f8").reshape(5, 2), known, rtol=1e-6)


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/invocations", {"dataframe_split": {"columns": ["age"], "data": [[1], [1, 2]]}}, 400, "row 1 has 2 values"),
        ("/invocations", {"dataframe_split": [1]}, 400, 'object with "columns"'),
        ("/invocations", {"dataframe_records": 3}, 400, "is not a list"),
        ("/invocations", {"inputs": {"age": [1, 2], "wind": [1]}}, 400, "'age' has 2 values"),
        ("/v1/models/delays:predict", {"instances": [[1, 2]]}, 400, "row 0 has 2 values for 3 columns"),
        ("/v1/models/delays:predict", {"instances": [5]}, 400, "row 0 has one value"),
        ("/v1/models/delays:predict", {"instances": [], "inputs": []}, 400, "key 'inputs'"),
        ("/v1/models/delays:predict", {"instances": [{}] * 51}, 413, "51 rows"),
        ("/v1/models/other:predict", {"instances": []}, 404, "no model 'other'"),
        ("/v1/models/delays/versions/9:predict", {"instances": []}, 404, "Served are: 1, 2"),
        ("/score", {"data": []}, 400, "input_data"),
        ("/v2/models/delays/infer", {"inputs": []}, 400, "not a list of tensors"),
        ("/v2/models/delays/infer", {"inputs": [{"name": "age", "shape": [1], "data": [1]}]}, 400, "has datatype null"),
        ("/v2/models/delays/infer", {"id": 7, "inputs": []}, 400, "not a string"),
        ("/invocations", {"instances": [[1, 2, "JFK"]], "params": 3}, 400, "not an object"),
        ("/v2/models/delays/infer", {"inputs": [{"name": "age", "datatype": "FP64", "shape": [-1]}]}, 400, "no shape"),
        (
            "/v2/models/delays/infer",
            {"inputs": [{"name": "age", "datatype": "FP64", "shape": [2], "data": [1]}]},
            400,
            "1 values",
        ),
        (
            "/v2/models/delays/infer",
            {"inputs": [{"name": "age", "datatype": "FP64", "shape": [10**9], "data": [1]}]},
            413,
            "rows",
        ),
        (
            "/v2/models/delays/infer",
            {"inputs": [{"name": "a", "shape": [1], "datatype": "BOOL", "parameters": {"binary_data_size": 9}}]},
            400,
            "more binary data than there is",
        ),
        (
            "/v2/models/delays/infer",
            {"inputs": [{"name": "q", "datatype": "FP64", "shape": [1, 2], "data": [1, 2]}]},
            400,
            "neither a column",
        ),
        (
            "/v2/models/delays/infer",
            {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 10**9, 0], "data": []}]},
            400,
            "none along its third",
        ),
        (
            "/v2/models/delays/infer",
            {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1] * 2000, "data": [1]}]},
            400,
            "more than 3 axes",
        ),
        (
            "/v2/models/delays/infer",
            b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": %s}]}' % (b"[" * 600 + b"]" * 600),
            400,
            "0 values for shape [2]",
        ),
        (
            "/v2/models/delays/infer",
            {"inputs": [{"name": "x", "datatype": "FP32", "shape": [50, 0], "data": []}] * 4097},
            400,
            "more than 4096 tensors",
        ),
        (
            "/v2/models/delays/infer",
            {"inputs": [{"name": "x" * 100_000, "datatype": "FP32", "shape": [2], "data": []}]},
            400,
            "The tensor '" + "x" * 59 + " has 0 values",
        ),
        ("/invocations", {"instances": [{"x" * 100_000: 1}]}, 422, "unexpected column '" + "x" * 59),
    ],
)
def test_what_does_not_fit_is_refused_in_the_callers_own_form(
    path: str, body: object, status: int, said: str, ask: Ask
) -> None:
    found, _, content = ask(path, body)
    error = json.loads(content)["error"]
    text = error if path.startswith("/v") else " ".join([error["problem"], *error["faults"]])
    assert (found, said in text) == (status, True), text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda body, length: (body[:-1], length), "more binary data than there is"),
        (lambda body, length: (body + b"x", length), "belong to no tensor"),
        (lambda body, length: (body, "1000000"), "larger than the body"),
        (lambda body, length: (body, "x"), "is no number"),
        (lambda body, length: (body, "9" * 5000), "is no number"),
        (lambda body, length: (body[: int(length)] + b"\xff" * (len(body) - int(length)), length), "within a text"),
    ],
)
def test_damaged_binary_data_are_refused(change, said: str, ask: Ask, frame: pd.DataFrame) -> None:
    body, headers = binary(frame)
    damaged, length = change(body, headers["Inference-Header-Content-Length"])
    status, _, content = ask("/v2/models/delays/infer", damaged, {"Inference-Header-Content-Length": length})
    assert (status, said in json.loads(content)["error"]) == (400, True), content


def test_bad_csv_is_refused(ask: Ask) -> None:
    for body, status, said in (
        (b"\xff\xfe", 400, "UTF-8"),
        (b"1,2\n", 400, "line 1 has 2 values"),
        (b"x,2,JFK\n", 422, "age"),
    ):
        found, _, content = ask("/invocations", body, {"Content-Type": "text/csv"})
        assert (found, said in content.decode()) == (status, True), content
