"""The gRPC clients of other servers ask our service; see `tests.bench.client_peers`, which runs this with their Pythons.

What is imported here must be light: the clients' libraries come inside functions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

Case = dict[str, Any]
Tried = Callable[[str, Callable[[], object]], None]
_TYPED = {
    "FP64": "fp64_contents",
    "FP32": "fp32_contents",
    "INT64": "int64_contents",
    "INT32": "int_contents",
    "BOOL": "bool_contents",
    "BYTES": "bytes_contents",
}


class _Triton:
    """tritonclient's gRPC client, with what is asked and what is right."""

    def __init__(self, case: Case) -> None:
        import tritonclient.grpc as client

        self.case, self.client, self.model = case, client, case["model"]
        self.server = client.InferenceServerClient(f"127.0.0.1:{case['grpc_port']}")

    def tensors(self, rows: int, wide: bool = False, **datatypes: str) -> list[Any]:
        """Return the sample's columns as it sends them: raw."""
        import numpy as np

        kinds = {
            **{"FP64": np.float64, "FP32": np.float32, "FP16": np.float16, "BOOL": np.bool_, "BYTES": np.object_},
            **{f"INT{bits}": np.dtype(f"int{bits}").type for bits in (8, 32, 64)},
        }
        made = []
        for column in self.case["columns"]:
            datatype = datatypes.get(column["name"], column["datatype"])
            values = [np.nan if one is None else one for one in column["values"][:rows]]
            array = np.array(values, dtype=kinds[datatype]).reshape((rows, 1) if wide else (rows,))
            tensor = self.client.InferInput(column["name"], list(array.shape), datatype)
            tensor.set_data_from_numpy(array)
            made.append(tensor)
        return made

    def infer(self, rows: int, **more: Any) -> bool:
        """Ask with raw tensors; say whether the answer is right."""
        return self.right(self.server.infer(self.model, self.tensors(rows), **more), rows)

    def typed(self, rows: int, **parameters: bool) -> Any:
        """Return the answer to typed contents, by its own stub."""
        from tritonclient.grpc import service_pb2 as messages

        request = messages.ModelInferRequest(model_name=self.model, id="trip-7")
        for column in self.case["columns"]:
            tensor = request.inputs.add(name=column["name"], datatype=column["datatype"], shape=[rows])
            values = [float("nan") if one is None else one for one in column["values"][:rows]]
            told = [one.encode() for one in values] if column["datatype"] == "BYTES" else values
            getattr(tensor.contents, _TYPED[column["datatype"]]).extend(told)
        for name, value in parameters.items():
            request.parameters[name].bool_param = value
        return self.server._client_stub.ModelInfer(request)

    def in_raw(self, answer: Any, rows: int) -> bool:
        """Say whether an answer of its stub is raw, and right."""
        return len(answer.raw_output_contents) == 2 and self.right(self.client.InferResult(answer), rows)

    def in_contents(self, answer: Any, rows: int) -> bool:
        """Say whether an answer of its stub is typed, and right; its own reader of those fails with NumPy 2."""
        labels, chances = answer.outputs
        whole = list(chances.contents.fp64_contents)
        pairs = [whole[at : at + 2] for at in range(0, len(whole), 2)]
        known = (labels.name, list(labels.shape), chances.name, list(chances.shape), len(answer.raw_output_contents))
        shaped = known == ("predictions", [rows], "probabilities", [rows, 2], 0)
        return shaped and self.same([one.decode() for one in labels.contents.bytes_contents], pairs, answer)

    def right(self, answer: Any, rows: int, off: float = 1e-5) -> bool:
        """Say whether an answer is scikit-learn's."""
        labels = [one.decode() if isinstance(one, bytes) else one for one in answer.as_numpy("predictions").tolist()]
        return len(labels) == rows and self.same(
            labels, answer.as_numpy("probabilities").tolist(), answer.get_response(), off
        )

    def same(self, labels: list[str], chances: list[list[float]], told: Any, off: float = 1e-5) -> bool:
        """Say whether values are scikit-learn's, and the answer names the model and an id for each row."""
        rows = len(labels)
        close = all(
            abs(found - known) < off
            for row, expected in zip(chances, self.case["probabilities"][:rows], strict=True)
            for found, known in zip(row, expected, strict=True)
        )
        ids = told.parameters["prediction_ids"].string_param.split(",")
        fits = labels == self.case["predictions"][:rows] and len(set(ids)) == rows
        return close and fits and (told.model_name, told.model_version) == (self.model, self.case["version"])

    def later(self, rows: int) -> bool:
        """Ask without waiting; say whether the answer that comes is right."""
        answers: SimpleQueue[Any] = SimpleQueue()
        self.server.async_infer(self.model, self.tensors(rows), lambda result, error: answers.put(error or result))
        return self.right(answers.get(timeout=10), rows)

    def strange(self, name: str, shape: list[int], datatype: str) -> Callable[[], object]:
        """Return what asks with a first tensor that does not fit."""
        import numpy as np

        array = np.array(["x"], dtype=np.object_) if datatype == "BYTES" else np.zeros(shape)
        tensor = self.client.InferInput(name, shape, datatype)
        tensor.set_data_from_numpy(array)
        return lambda: self.server.infer(self.model, [*self.tensors(1)[1:], tensor])

    def told(self, work: Callable[[], object], status: str, *words: str) -> bool | str:
        """Say whether an error is told with a status and words."""
        from tritonclient.utils import InferenceServerException

        try:
            work()
        except InferenceServerException as error:
            fits = error.status() == f"StatusCode.{status}" and all(word in str(error.message()) for word in words)
            return fits or f"{error.status()} {error.message()}"
        return "no error"


def triton(case: Case, tried: Tried) -> None:
    """Ask through ``tritonclient.grpc``: raw tensors as it sends them, and typed ones by its own stub."""
    asked, model, count = _Triton(case), case["model"], len(case["predictions"])
    server, client = asked.server, asked.client
    tried("live, ready, model ready", lambda: (
        server.is_server_live() and server.is_server_ready() and server.is_model_ready(model)
        and server.is_model_ready(model, case["version"])
    ))  # fmt: skip
    tried("server metadata", lambda: server.get_server_metadata().name == "mlnb")
    tried("model metadata", lambda: (
        [(one.name, one.datatype, list(one.shape)) for one in server.get_model_metadata(model).inputs]
        == [(one["name"], one["datatype"], [-1]) for one in case["columns"]]
    ))  # fmt: skip
    tried("repository index", lambda: (
        (model, case["version"], "READY")
        in [(one.name, one.version, one.state) for one in server.get_model_repository_index().models]
    ))  # fmt: skip
    for rows in (1, 2, count):
        tried(f"raw, {rows} rows", lambda rows=rows: asked.infer(rows))
        tried(f"typed, {rows} rows", lambda rows=rows: asked.in_contents(asked.typed(rows), rows))
    tried("typed to raw", lambda: asked.in_raw(asked.typed(count, binary_data_output=True), count))
    tried("version", lambda: asked.infer(2, model_version=case["version"]))
    tried("shape [rows, 1]", lambda: asked.right(server.infer(model, asked.tensors(count, wide=True)), count))
    for name, datatype in (("hour", "INT32"), ("hour", "INT8"), ("hour", "FP64"), ("wind", "FP64"), ("wind", "FP16")):
        tried(f"{name} as {datatype}", lambda name=name, datatype=datatype: asked.right(
            server.infer(model, asked.tensors(count, **{name: datatype})), count, 1e-3 if datatype == "FP16" else 1e-5
        ))  # fmt: skip
    tried("parameters, priority, timeout, sequence", lambda: asked.infer(
        1, parameters={"team": "night"}, priority=1, timeout=1000, sequence_id=3, sequence_start=True
    ))  # fmt: skip
    tried("request id, headers, deadline", lambda: (
        server.infer(model, asked.tensors(1), request_id="trip-7", headers={"x-trip": "7"}, client_timeout=10)
        .get_response().id == "trip-7"
    ))  # fmt: skip
    tried("compressed", lambda: asked.infer(count, compression_algorithm="gzip"))
    tried("one requested output", lambda: (
        [one.name for one in server.infer(
            model, asked.tensors(2), outputs=[client.InferRequestedOutput("predictions")]
        ).get_response().outputs] == ["predictions"]
    ))  # fmt: skip
    tried("async_infer", lambda: asked.later(count))
    _refusals(asked, tried)
    server.close()


def _refusals(asked: _Triton, tried: Tried) -> None:
    server, model, bad = asked.server, asked.model, "INVALID_ARGUMENT"
    for name, work, words in (
        ("unknown name", asked.strange("distanse", [1], "FP64"), ("distanse", "did you mean")),
        ("missing column", lambda: server.infer(model, asked.tensors(1)[1:]), ("distance", "missing")),
        ("wrong datatype", asked.strange("distance", [1], "BYTES"), ("distance", "must be a number")),
        ("wrong shape", asked.strange("distance", [2], "FP64"), ("equally many rows",)),
        (
            "unknown output",
            lambda: server.infer(model, asked.tensors(1), outputs=[asked.client.InferRequestedOutput("x")]),
            ("no output",),
        ),
    ):
        tried(f"{name} is told", lambda work=work, words=words: asked.told(work, bad, *words))
    tried("unknown model is told", lambda: (
        asked.told(lambda: server.infer("other", asked.tensors(1)), "NOT_FOUND", "other")
    ))  # fmt: skip
    tried("unknown version is told", lambda: (
        asked.told(lambda: server.get_model_metadata(model, "99"), "NOT_FOUND", "99")
    ))  # fmt: skip
    tried("what is not there is told", lambda: asked.told(server.get_inference_statistics, "UNIMPLEMENTED"))


def kserve(case: Case, tried: Tried) -> None:
    """Ask through KServe's ``InferenceGRPCClient``."""
    import numpy as np
    from kserve import InferenceGRPCClient, InferInput, InferRequest

    model, count = case["model"], len(case["predictions"])

    def run(ask: Callable[[Any], Any]) -> Any:
        async def work() -> Any:
            async with InferenceGRPCClient(f"127.0.0.1:{case['grpc_port']}") as client:
                return await ask(client)

        return asyncio.run(work())

    def request(binary: bool) -> Any:
        tensors = []
        for column in case["columns"]:
            tensor = InferInput(column["name"], [count], column["datatype"])
            values = [np.nan if one is None else one for one in column["values"]]
            kind = {"BYTES": np.object_, "FP32": np.float32, "BOOL": np.bool_}.get(column["datatype"])
            tensor.set_data_from_numpy(np.array(values, dtype=kind), binary_data=binary)
            tensors.append(tensor)
        return InferRequest(model_name=model, infer_inputs=tensors, request_id="trip-7")

    def right(binary: bool) -> bool | str:
        answer = run(lambda client: client.infer(request(binary)))
        labels, chances = (one.as_numpy() for one in answer.outputs)
        texts = [one.decode() if isinstance(one, bytes) else one for one in labels.ravel().tolist()]
        same = texts == case["predictions"] and answer.id == "trip-7"
        return bool(same and np.allclose(chances, case["probabilities"], rtol=1e-5)) or f"{answer}"

    def refused() -> bool | str:
        import grpc

        try:
            run(lambda client: client.is_model_ready("other"))
        except grpc.RpcError as error:
            return bool(error.code() is grpc.StatusCode.NOT_FOUND) or str(error)
        return "no error"

    tried("live", lambda: run(lambda client: client.is_server_live()))
    tried("ready", lambda: run(lambda client: client.is_server_ready()))
    tried("model ready", lambda: run(lambda client: client.is_model_ready(model)))
    tried("infer, typed", lambda: right(False))
    tried("infer, raw", lambda: right(True))
    tried("unknown model is told", refused)
