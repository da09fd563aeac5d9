"""A single fitted step becomes an ONNX model of one matrix, by skl2onnx; so does, as a last try, a whole estimator."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mlnb.errors import ModelError
from mlnb.model.onnx_graph import OPSETS
from mlnb.model.scorer import load_onnxruntime
from mlnb.model.signature import Column


def faults() -> tuple[type[Exception], ...]:
    """Return what skl2onnx, onnx and onnxruntime raise where they cannot convert, write or load a model."""
    from onnx.checker import ValidationError

    state = load_onnxruntime().capi.onnxruntime_pybind11_state

    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException")
    own = tuple(getattr(state, name) for name in names)
    usual = (ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError)
    return (ModelError, *usual, RuntimeError, TypeError, ValueError, ValidationError, *own)


def convert(step: Any, width: int) -> tuple[Any, bool]:
    """Convert in doubles if onnxruntime can load that, else in floats.

    Returns
    -------
    model : onnx.ModelProto
        Of one input of shape (rows, width).
    double : bool
        Whether the input is double.
    """
    try:
        model = convert_as(step, width, double=True)
        loads(model.SerializeToString())
    except faults():
        return convert_as(step, width, double=False), False
    return model, True


def convert_as(step: Any, width: int, *, double: bool) -> Any:
    """Convert in doubles or in floats."""
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    kind = DoubleTensorType if double else FloatTensorType
    options = {id(step): {"zipmap": False}} if _zips(step) else None
    with _quiet():
        return convert_sklearn(
            step, name="step", initial_types=[("X", kind([None, width]))], options=options, target_opset=dict(OPSETS)
        )


def convert_whole(estimator: Any, columns: Sequence[Column]) -> bytes:
    """Convert an estimator with all its steps by skl2onnx alone, in floats."""
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    options = {id(estimator): {"zipmap": False}} if _zips(estimator) else None
    types = [(c.name, (StringTensorType if c.dtype == "string" else FloatTensorType)([None, 1])) for c in columns]
    with _quiet():
        model = convert_sklearn(estimator, name="mlnb", initial_types=types, options=options, target_opset=dict(OPSETS))
    return bytes(model.SerializeToString(deterministic=True))


def loads(content: bytes) -> None:
    """Raise one of `faults` if onnxruntime cannot load the model."""
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _zips(step: Any) -> bool:
    """Say whether skl2onnx would give its probabilities as dictionaries."""
    return hasattr(step, "predict_proba") and hasattr(step, "classes_")


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what skl2onnx asks scikit-learn and numpy for although they have deprecated it: its own affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield
