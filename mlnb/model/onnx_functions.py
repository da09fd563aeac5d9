"""Functions of numpy become operations of an ONNX graph in float64, as exact near zero as numpy's own.

``log1p`` and ``expm1`` lose their digits near zero if they are written as they are read; they are corrected as in
Kahan's note in D. Goldberg, "What every computer scientist should know about floating-point arithmetic" (1991), th. 4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from onnx import TensorProto

from mlnb.model.onnx_blocks import refusal
from mlnb.model.onnx_graph import Graph

_ALL_NUMBERS = dict.fromkeys(("expm1", "exp", "exp2", "cbrt", "tanh"), True)
#: Those that never fall, and whose last digit libraries do not compute alike; and whether all numbers have an answer.
RISING: Mapping[str, bool] = _ALL_NUMBERS | dict.fromkeys(("log1p", "log", "log2", "log10"), False)
_HALF = np.array([0.5])
_ONE = np.ones(1)


def apply(graph: Graph, function: Any, tensor: str, options: Mapping[str, Any] | None = None) -> str:
    """Append a function of numpy, or of scipy.special, to the graph.

    Raises
    ------
    ModelError
        If it is another function: Python code, which ONNX does not hold.
    """
    name = str(getattr(function, "__name__", function))
    if function is np.clip:
        return _clip(graph, tensor, dict(options or {}))
    own = isinstance(function, np.ufunc) or getattr(np, name, None) is function
    if options or not own or name not in _FUNCTIONS:
        raise refusal(f"the function {name} is Python code")
    graph.repaired(f"{name} in float64")
    return _FUNCTIONS[name](graph, tensor)


def log1p(graph: Graph, tensor: str) -> str:
    """Append ``log(1 + x)``."""
    above = graph.add("Add", tensor, _ONE)
    plain = graph.add("Log", above)
    grown = graph.add("Sub", above, _ONE)
    near = graph.add("Div", graph.add("Mul", plain, tensor), grown)
    exact = graph.add("Where", graph.add("Equal", grown, np.zeros(1)), tensor, near)
    return graph.add("Where", graph.add("Less", graph.add("Abs", tensor), _HALF), exact, plain)


def expm1(graph: Graph, tensor: str) -> str:
    """Append ``exp(x) - 1``."""
    power = graph.add("Exp", tensor)
    plain = graph.add("Sub", power, _ONE)
    near = graph.add("Div", graph.add("Mul", plain, tensor), graph.add("Log", power))
    exact = graph.add("Where", graph.add("Equal", power, _ONE), tensor, near)
    return graph.add("Where", graph.add("Less", graph.add("Abs", tensor), _HALF), exact, plain)


def _clip(graph: Graph, tensor: str, options: dict[str, Any]) -> str:
    names = {"a_min": "Max", "min": "Max", "a_max": "Min", "max": "Min"}
    if not options or not options.keys() <= names.keys():
        raise refusal("the function clip has other bounds than numbers")
    for name, bound in options.items():
        if bound is None:
            continue
        if np.ndim(bound):
            raise refusal("the function clip has other bounds than numbers")
        apart = graph.add(names[name], tensor, np.array([float(bound)]))
        tensor = graph.add("Where", graph.add("IsNaN", tensor), tensor, apart)
    graph.repaired("clip in float64")
    return tensor


def _one(operator: str) -> Callable[[Graph, str], str]:
    return lambda graph, tensor: graph.add(operator, tensor)


def _scaled(operator: str, factor: float) -> Callable[[Graph, str], str]:
    return lambda graph, tensor: graph.add("Div", graph.add(operator, tensor), np.array([factor]))


def _square(graph: Graph, tensor: str) -> str:
    return graph.add("Mul", tensor, tensor)


def _cbrt(graph: Graph, tensor: str) -> str:
    root = graph.add("Pow", graph.add("Abs", tensor), np.array([1 / 3]))
    return graph.add("Mul", graph.add("Sign", tensor), root)


def _exp2(graph: Graph, tensor: str) -> str:
    return graph.add("Pow", np.array([2.0]), tensor)


def _isnan(graph: Graph, tensor: str) -> str:
    return graph.cast(graph.add("IsNaN", tensor), TensorProto.DOUBLE)


_FUNCTIONS: Mapping[str, Callable[[Graph, str], str]] = {
    "log1p": log1p,
    "expm1": expm1,
    "log": _one("Log"),
    "log2": _scaled("Log", float(np.log(2))),
    "log10": _scaled("Log", float(np.log(10))),
    "exp": _one("Exp"),
    "exp2": _exp2,
    "sqrt": _one("Sqrt"),
    "cbrt": _cbrt,
    "square": _square,
    "abs": _one("Abs"),
    "absolute": _one("Abs"),
    "fabs": _one("Abs"),
    "sign": _one("Sign"),
    "negative": _one("Neg"),
    "floor": _one("Floor"),
    "ceil": _one("Ceil"),
    "rint": _one("Round"),
    "round": _one("Round"),
    "sin": _one("Sin"),
    "cos": _one("Cos"),
    "tanh": _one("Tanh"),
    "isnan": _isnan,
}
