"""What a good engineer writes by hand: Starlette, msgspec and an ONNX session; nothing is checked, counted or logged."""

import os

import msgspec
import numpy as np
import onnxruntime
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_DTYPES = {"tensor(double)": np.float64, "tensor(float)": np.float32, "tensor(string)": np.object_}
_options = onnxruntime.SessionOptions()
_options.intra_op_num_threads = 1
_session = onnxruntime.InferenceSession(os.environ["ONNX"], _options, ["CPUExecutionProvider"])
_inputs = [(given.name, _DTYPES[given.type]) for given in _session.get_inputs()]
_outputs = [given.name for given in _session.get_outputs()]


def answer(body: bytes) -> bytes:
    """Return the answer to a body: decode, ask the session, encode."""
    rows = msgspec.json.decode(body)["rows"]
    feed = {name: np.array([row[name] for row in rows], dtype)[:, None] for name, dtype in _inputs}
    labels, probabilities = _session.run(_outputs, feed)
    return msgspec.json.encode({"predictions": labels.tolist(), "probabilities": probabilities.tolist()})


async def predict(request: Request) -> Response:
    """Answer one request on the event loop."""
    return Response(answer(await request.body()), media_type="application/json")


async def ready(request: Request) -> Response:
    """Say that the server is there."""
    return Response("ok")


app = Starlette(routes=[Route("/predict", predict, methods=["POST"]), Route("/readyz", ready)])
