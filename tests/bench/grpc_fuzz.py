"""Messages that are odd or spoiled are sent over gRPC; each is answered rightly or refused, and none breaks anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

Case = dict[str, Any]
_INFER = "/inference.GRPCInferenceService/ModelInfer"
_FIELDS = (
    *("bool_contents", "int_contents", "int64_contents", "uint_contents", "uint64_contents"),
    *("fp32_contents", "fp64_contents", "bytes_contents"),
)
_KINDS = ("FP64", "FP32", "FP16", "BF16", "INT64", "INT8", "UINT64", "BOOL", "BYTES", "", "fp64", "\x00")
_ALLOWED = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED"}


class Fuzzed:
    """Sends messages and counts what became of them.

    Parameters
    ----------
    channel : grpc.Channel
        To a service of the wide model.
    case : dict
        See `tests.bench.client_case`.

    Attributes
    ----------
    counts : Counter
        Of the codes.
    wrong : list of str
        What should not have been.
    """

    def __init__(self, channel: Any, case: Case) -> None:
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._ask = channel.unary_unary(_INFER)
        self._case = case

    def attempt(self, random: Random) -> None:
        """Send one message."""
        import grpc
        from tritonclient.grpc.service_pb2 import ModelInferResponse

        rows = random.choice((1, 1, 2, 3))
        chosen = random.choices(range(len(self._case["predictions"])), k=rows)
        message = self._message(chosen)
        changes = random.choice((0, 1, 1, 1, 2, 3))
        for _ in range(changes):
            _change(random, message)
        body = message.SerializeToString()
        spoiled = random.random() < 0.3
        if spoiled:
            body = _spoil(random, body)
        try:
            answer = ModelInferResponse.FromString(self._ask(body, timeout=20))
        except grpc.RpcError as error:
            code, told = error.code().name, error.details()
        else:
            code, told = "OK", ""
            if not changes and not spoiled and not self._right(answer, chosen):
                told = "not what scikit-learn answers"
        self.counts[code] += 1
        if code not in _ALLOWED or (not changes and not spoiled and code != "OK") or (code == "OK" and told):
            self.wrong.append(f"{code} {told}: {body[:200].hex()}")

    def _right(self, answer: Any, chosen: Sequence[int]) -> bool:
        labels, chances = answer.outputs
        known = [self._case["predictions"][at] for at in chosen]
        expected = [chance for at in chosen for chance in self._case["probabilities"][at]]
        found = chances.contents.fp64_contents
        same = [one.decode() for one in labels.contents.bytes_contents] == known and len(found) == len(expected)
        return same and all(abs(one - other) < 1e-5 for one, other in zip(found, expected, strict=True))

    def _message(self, chosen: Sequence[int]) -> Any:
        from tritonclient.grpc.service_pb2 import ModelInferRequest

        message = ModelInferRequest(model_name=self._case["model"])
        typed = {"FP64": "fp64_contents", "FP32": "fp32_contents", "INT64": "int64_contents", "BOOL": "bool_contents"}
        for column in self._case["columns"]:
            datatype = column["datatype"]
            values = [float("nan") if column["values"][at] is None else column["values"][at] for at in chosen]
            tensor = message.inputs.add(name=column["name"], datatype=datatype, shape=[len(chosen)])
            told = [one.encode() for one in values] if datatype == "BYTES" else values
            getattr(tensor.contents, typed.get(datatype, "bytes_contents")).extend(told)
        return message


def _change(random: Random, message: Any) -> None:
    """Make something of a message odd."""
    if message.inputs:
        random.choice(_CHANGES)(random, message, random.choice(message.inputs))


def _add_values(random: Random, message: Any, tensor: Any) -> None:
    field = random.choice(_FIELDS)
    value = {"bool_contents": True, "bytes_contents": b"\xff\x00"}.get(field, 1)
    getattr(tensor.contents, field).append(value)


def _reshape(random: Random, message: Any, tensor: Any) -> None:
    tensor.shape[:] = random.choices((-1, 0, 1, 2, 51, 2**31, 2**62, -(2**63)), k=random.randrange(5))


def _add_raw(random: Random, message: Any, tensor: Any) -> None:
    count = random.choice((1, len(message.inputs)))
    message.raw_input_contents.extend(random.randbytes(random.randrange(20)) for _ in range(count))


_CHANGES: tuple[Callable[[Random, Any, Any], object], ...] = (
    _add_values,
    _reshape,
    _add_raw,
    lambda random, message, tensor: setattr(tensor, "datatype", random.choice(_KINDS)),
    lambda random, message, tensor: setattr(
        tensor, "name", random.choice(("", "distance", "none", "\x00", "ü" * 3000))
    ),
    lambda random, message, tensor: tensor.contents.Clear(),
    lambda random, message, tensor: message.inputs.append(tensor),
    lambda random, message, tensor: message.inputs.remove(tensor),
    lambda random, message, tensor: message.outputs.add(name=random.choice(("predictions", "", "x" * 3000))),
    lambda random, message, tensor: setattr(
        message, "model_name", random.choice(("", "other", "a/versions/1", "\u2028"))
    ),
    lambda random, message, tensor: setattr(message, "model_version", random.choice(("1", "01", "-1", "x" * 500))),
    lambda random, message, tensor: message.parameters["binary_data_output"].CopyFrom(_parameter(random, message)),
)


def _parameter(random: Random, message: Any) -> Any:
    made = type(message.parameters["binary_data_output"])()
    match random.randrange(3):
        case 0:
            made.bool_param = True
        case 1:
            made.string_param = "yes"
        case _:
            made.uint64_param = 2**64 - 1
    return made


def _spoil(random: Random, body: bytes) -> bytes:
    at = random.randrange(len(body)) if body else 0
    match random.randrange(4):
        case 0:
            return body[:at]
        case 1:
            return body[:at] + random.randbytes(random.randrange(1, 9)) + body[at + 1 :]
        case 2:
            return body + random.randbytes(random.randrange(1, 40))
        case _:
            return random.randbytes(random.randrange(200))
