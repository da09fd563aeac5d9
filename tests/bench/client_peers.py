"""The clients of other servers ask our service; each form of theirs that gets the right answer has passed.

Run by a Python that has the client: ``client_peers.py NAME CASE.json`` prints ``{form: "passed" or what went wrong}``.
The case names the port, the model, the sample's columns (name, datatype and values) and what scikit-learn itself
answered. What is imported here must be light: the clients' libraries come inside functions.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Case = dict[str, Any]
Outcomes = dict[str, str]


class Forms:
    """Collects what became of each form."""

    def __init__(self) -> None:
        self.found: Outcomes = {}

    def tried(self, name: str, work: Callable[[], object]) -> None:
        """Note whether the work returns something true."""
        try:
            outcome = work()
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"[:300]
        self.found[name] = "passed" if outcome is True else f"{outcome!r}"


def triton(case: Case) -> Outcomes:
    """Ask through ``tritonclient.http``."""
    import numpy as np
    import tritonclient.http as client
    from tritonclient.utils import InferenceServerException

    forms, model = Forms(), case["model"]
    kinds = {
        "FP64": np.float64,
        "FP32": np.float32,
        "FP16": np.float16,
        "INT64": np.int64,
        "INT32": np.int32,
        "INT8": np.int8,
        "BOOL": np.bool_,
        "BYTES": np.object_,
    }
    server = client.InferenceServerClient(f"127.0.0.1:{case['port']}")

    def tensors(rows: int, binary: bool, wide: bool = False, **datatypes: str) -> list[Any]:
        made = []
        for column in case["columns"]:
            datatype = datatypes.get(column["name"], column["datatype"])
            values = [np.nan if one is None else one for one in column["values"][:rows]]
            array = np.array(values, dtype=kinds[datatype]).reshape((rows, 1) if wide else (rows,))
            tensor = client.InferInput(column["name"], list(array.shape), datatype)
            tensor.set_data_from_numpy(array, binary_data=binary)
            made.append(tensor)
        return made

    def right(answer: Any, rows: int, off: float = 1e-8) -> bool:
        labels = [one.decode() if isinstance(one, bytes) else one for one in answer.as_numpy("predictions").tolist()]
        chances = answer.as_numpy("probabilities")
        told = answer.get_response()
        close = chances is None or np.allclose(chances, case["probabilities"][:rows], rtol=1e-5, atol=off)
        same = labels == case["predictions"][:rows]
        return close and same and (told["model_name"], told["model_version"]) == (model, case["version"])

    def asked(rows: int, binary: bool, answered: str = "", **more: Any) -> bool:
        outputs = None
        if answered:
            names = ("predictions", "probabilities")
            outputs = [client.InferRequestedOutput(one, binary_data=answered == "binary") for one in names]
        return right(server.infer(model, tensors(rows, binary), outputs=outputs, **more), rows)

    count = len(case["predictions"])
    forms.tried("live, ready, model ready", lambda: (
        server.is_server_live() and server.is_server_ready() and server.is_model_ready(model, case["version"])
    ))  # fmt: skip
    forms.tried("server metadata", lambda: "binary_tensor_data" in server.get_server_metadata()["extensions"])
    forms.tried("model metadata", lambda: (
        [(one["name"], one["datatype"]) for one in server.get_model_metadata(model)["inputs"]]
        == [(one["name"], one["datatype"]) for one in case["columns"]]
    ))  # fmt: skip
    forms.tried("repository index", lambda: (
        {"name": model, "version": case["version"], "state": "READY"}.items()
        <= server.get_model_repository_index()[0].items()
    ))  # fmt: skip
    for rows in (1, 2, count):
        forms.tried(f"binary to binary, {rows} rows", lambda rows=rows: asked(rows, True))
        forms.tried(f"JSON to JSON, {rows} rows", lambda rows=rows: asked(rows, False, "JSON"))
    forms.tried("JSON to binary", lambda: asked(count, False, "binary"))
    forms.tried("binary to JSON", lambda: asked(count, True, "JSON"))
    forms.tried("version in the path", lambda: asked(count, True, model_version=case["version"]))
    forms.tried("shape [rows, 1]", lambda: right(server.infer(model, tensors(count, True, wide=True)), count))
    for name, datatype in (("hour", "INT32"), ("hour", "INT8"), ("hour", "FP64"), ("wind", "FP64"), ("wind", "FP16")):
        forms.tried(
            f"{name} as {datatype}",
            lambda name=name, datatype=datatype: right(
                server.infer(model, tensors(count, True, **{name: datatype})),
                count,
                off=1e-3 if datatype == "FP16" else 1e-8,  # what was rounded before it was sent
            ),
        )
    forms.tried("request id", lambda: (
        server.infer(model, tensors(1, True), request_id="trip-7").get_response()["id"] == "trip-7"
    ))  # fmt: skip
    forms.tried("parameters, priority, timeout, sequence", lambda: asked(
        count, True, parameters={"team": "night"}, priority=1, timeout=1000, sequence_id=3, sequence_start=True
    ))  # fmt: skip
    forms.tried("one requested output", lambda: (
        [one["name"] for one in server.infer(
            model, tensors(2, True), outputs=[client.InferRequestedOutput("predictions")]
        ).get_response()["outputs"]] == ["predictions"]
    ))  # fmt: skip
    forms.tried("query parameters, headers", lambda: asked(1, True, query_params={"a": "b"}, headers={"X-Trip": "7"}))
    forms.tried("async_infer", lambda: right(server.async_infer(model, tensors(count, True)).get_result(), count))

    def told(work: Callable[[], object], status: str, *words: str) -> bool | str:
        try:
            work()
        except InferenceServerException as error:
            fits = error.status() == status and all(word in str(error.message()) for word in words)
            return fits or f"{error.status()} {error.message()}"
        return "no error"

    def strange(name: str, shape: list[int], array: Any, datatype: str) -> list[Any]:
        tensor = client.InferInput(name, shape, datatype)
        tensor.set_data_from_numpy(array)
        return [*tensors(1, True)[1:], tensor]

    one, text = np.zeros(1), np.array(["x"], dtype=np.object_)
    forms.tried("unknown name is told", lambda: told(
        lambda: server.infer(model, strange("distanse", [1], one, "FP64")), "422", "distanse", "did you mean"
    ))  # fmt: skip
    forms.tried("missing column is told", lambda: told(
        lambda: server.infer(model, tensors(1, True)[1:]), "422", case["columns"][0]["name"], "missing"
    ))  # fmt: skip
    forms.tried("wrong datatype is told", lambda: told(
        lambda: server.infer(model, strange("distance", [1], text, "BYTES")), "422", "distance", "must be a number"
    ))  # fmt: skip
    forms.tried("wrong shape is told", lambda: told(
        lambda: server.infer(model, strange("distance", [2], np.zeros(2), "FP64")), "400", "equally many rows"
    ))  # fmt: skip
    forms.tried("unknown output is told", lambda: told(
        lambda: server.infer(model, tensors(1, True), outputs=[client.InferRequestedOutput("x")]), "400", "no output"
    ))  # fmt: skip
    forms.tried("unknown model is told", lambda: told(lambda: server.infer("other", tensors(1, True)), "404", "other"))
    forms.tried("unknown version is told", lambda: told(lambda: server.get_model_metadata(model, "99"), "404", "99"))
    server.close()
    return forms.found


def kserve(case: Case) -> Outcomes:
    """Ask through KServe's ``InferenceRESTClient``."""
    import numpy as np
    from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
    from kserve.protocol.infer_type import RequestedOutput

    forms, model, count = Forms(), case["model"], len(case["predictions"])
    url = f"http://127.0.0.1:{case['port']}"
    rows = [
        dict(zip([one["name"] for one in case["columns"]], values, strict=True))
        for values in zip(*(one["values"] for one in case["columns"]), strict=True)
    ]

    def run(protocol: str, ask: Callable[[Any], Any]) -> Any:
        async def work() -> Any:
            async with InferenceRESTClient(RESTConfig(protocol=protocol, retries=1)) as client:
                return await ask(client)

        return asyncio.run(work())

    def request(binary: bool) -> Any:
        tensors = []
        for column in case["columns"]:
            tensor = InferInput(column["name"], [count], column["datatype"])
            values = [
                None if one is None and not binary else np.nan if one is None else one for one in column["values"]
            ]
            if binary:
                kind = {"BYTES": np.object_, "FP32": np.float32, "BOOL": np.bool_}.get(column["datatype"])
                tensor.set_data_from_numpy(np.array(values, dtype=kind), binary_data=True)
            else:
                tensor.data = values
            tensors.append(tensor)
        wanted = [RequestedOutput(one, {"binary_data": binary}) for one in ("predictions", "probabilities")]
        return InferRequest(model_name=model, infer_inputs=tensors, request_id="trip-7", request_outputs=wanted)

    def second(binary: bool) -> bool | str:
        answer = run("v2", lambda client: client.infer(url, data=request(binary), model_name=model))
        labels, chances = (one.as_numpy() for one in answer.outputs)
        texts = [one.decode() if isinstance(one, bytes) else one for one in labels.tolist()]
        same = texts == case["predictions"] and answer.id == "trip-7"
        return (same and np.allclose(chances, case["probabilities"], rtol=1e-5)) or f"{answer}"

    for protocol in ("v1", "v2"):
        forms.tried(f"{protocol} live", lambda p=protocol: run(p, lambda client: client.is_server_live(url)))
        forms.tried(f"{protocol} model ready", lambda p=protocol: run(p, lambda c: c.is_model_ready(url, model)))
    forms.tried("v2 ready", lambda: run("v2", lambda client: client.is_server_ready(url)))
    for name, data in (("objects", rows), ("lists", [list(row.values()) for row in rows])):
        forms.tried(f"v1 :predict, {name}", lambda data=data: (
            run("v1", lambda client: client.infer(url, data={"instances": data}, model_name=model))["predictions"]
            == case["predictions"]
        ))  # fmt: skip
    forms.tried("v2 infer, JSON", lambda: second(False))
    forms.tried("v2 infer, binary", lambda: second(True))
    return forms.found


def mlflow(case: Case) -> Outcomes:
    """Ask through MLflow's ``ScoringServerClient``, and with its own writers of bodies."""
    import pandas as pd
    import requests
    from mlflow.deployments import PredictionsResponse
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    forms = Forms()
    client, url = ScoringServerClient("127.0.0.1", case["port"]), f"http://127.0.0.1:{case['port']}"
    frame = pd.DataFrame({one["name"]: one["values"] for one in case["columns"]})
    whole = frame.astype(object).where(frame.notna(), None)

    def right(response: Any) -> bool:
        return response.get_predictions()[0].tolist() == case["predictions"]

    forms.tried("ping, wait_server_ready", lambda: (client.ping(), client.wait_server_ready(10)) == (None, None))
    forms.tried("health", lambda: requests.get(f"{url}/health", timeout=10).status_code == 200)
    forms.tried("dataframe_split", lambda: right(client.invoke(frame)))
    forms.tried("dataframe_split with params", lambda: right(client.invoke(frame, params={"method": "predict"})))
    kind = {"Content-Type": "application/json; charset=utf-8"}

    def posted(body: object) -> bool:
        answer = requests.post(f"{url}/invocations", data=json.dumps(body), timeout=10, headers=kind)
        return right(PredictionsResponse.from_json(answer.text))

    forms.tried("dataframe_records", lambda: posted({"dataframe_records": frame.to_dict("records")}))
    forms.tried("instances", lambda: posted({"instances": frame.to_dict("records")}))
    forms.tried("inputs by column", lambda: posted({"inputs": frame.to_dict("list")}))
    forms.tried("an array", lambda: right(client.invoke(whole.to_numpy(dtype=object))))
    forms.tried("a list", lambda: right(client.invoke(whole.to_dict("records"))))
    forms.tried("CSV", lambda: right(PredictionsResponse.from_json(requests.post(
        f"{url}/invocations", data=frame.to_csv(index=False).encode(), timeout=10,
        headers={"Content-Type": "text/csv", "Accept": "application/json"},
    ).text)))  # fmt: skip

    def refused() -> bool | str:
        try:
            client.invoke(frame.rename(columns={"distance": "distanse"}))
        except Exception as error:
            return ("422" in str(error) and "did you mean" in str(error)) or str(error)
        return "no error"

    forms.tried("wrong column is told", refused)
    return forms.found


if __name__ == "__main__":
    client, path = sys.argv[1:]
    asked = json.loads(Path(path).read_text())
    if client.endswith("-grpc"):
        import grpc_peers  # type: ignore[import-not-found]  # beside this file

        outcomes = Forms()
        getattr(grpc_peers, client.removesuffix("-grpc"))(asked, outcomes.tried)
        print(json.dumps(outcomes.found))
    else:
        print(json.dumps({"triton": triton, "kserve": kserve, "mlflow": mlflow}[client](asked)))
