"""Fitted transformers of numbers become operations of an ONNX graph that compute in float64, as scikit-learn does.

What it looks up among sorted edges (bins, quantiles, knots) a balanced tree looks up here: `onnx_trees.search`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from mlnb.model.onnx_blocks import (
    Block,
    Function,
    all_single,
    held,
    held_by_numpy,
    inexact,
    matrix,
    refusal,
    scaled,
    singles,
    started,
)
from mlnb.model.onnx_functions import RISING, apply, expm1, log1p
from mlnb.model.onnx_graph import Graph
from mlnb.model.onnx_trees import search

_ONE = np.ones(1)


def function(graph: Graph, transformer: Any, blocks: Sequence[Block]) -> list[Block]:
    """Write a FunctionTransformer of a function of numpy."""
    if transformer.func is None:
        return list(blocks)
    block = matrix(graph, blocks)
    made = held(graph, apply(graph, transformer.func, block.tensor, transformer.kw_args), single=block.single)
    name = str(getattr(transformer.func, "__name__", ""))
    origin = None
    if name in RISING and block.width:
        own = held_by_numpy(transformer.func, single=block.single)
        origin = started(block).then([own] * block.width, everywhere=RISING[name])
    return [Block(made, block.width, origin=origin, single=block.single)]


def selector(graph: Graph, transformer: Any, blocks: Sequence[Block]) -> list[Block]:
    """Write any selection of columns."""
    kept = transformer.get_support(indices=True)
    columns = singles(graph, blocks)
    return [columns[at] for at in kept]


def polynomial(graph: Graph, transformer: Any, blocks: Sequence[Block]) -> list[Block]:
    """Write products of columns, multiplied in scikit-learn's order."""
    block = matrix(graph, blocks)
    wanted = [tuple(chain(*([at] * power for at, power in enumerate(row)))) for row in transformer.powers_]
    known: dict[tuple[int, ...], int] = {(at,): at for at in range(transformer.n_features_in_)}
    layers, count = [block.tensor], len(known)
    lower, lower_at = block.tensor, dict(known)
    for degree in range(2, max((len(one) for one in wanted), default=0) + 1):
        made = sorted({one[len(one) - degree :] for one in wanted if len(one) >= degree})
        before = graph.add("Gather", lower, np.array([lower_at[one[1:]] for one in made]), axis=1)
        first = graph.add("Gather", block.tensor, np.array([one[0] for one in made]), axis=1)
        lower = held(graph, graph.add("Mul", before, first), single=block.single)
        lower_at = {one: at for at, one in enumerate(made)}
        layers.append(lower)
        known |= {one: count + at for at, one in enumerate(made)}
        count += len(made)
    if () in wanted:
        first = graph.add("Gather", block.tensor, np.array([0]), axis=1)
        nothing = graph.cast(graph.add("IsInf", graph.cast(first, TensorProto.FLOAT)), TensorProto.DOUBLE)
        layers.append(graph.add("Add", graph.add("Mul", nothing, np.zeros(1)), _ONE))
        known[()] = count
    whole = layers[0] if len(layers) == 1 else graph.add("Concat", *layers, axis=1)
    graph.repaired("PolynomialFeatures in float64")
    tensor = graph.add("Gather", whole, np.array([known[one] for one in wanted]), axis=1)
    return [Block(tensor, len(wanted), single=block.single)]


def bins(graph: Graph, transformer: Any, blocks: Sequence[Block]) -> list[Block]:
    """Write a KBinsDiscretizer."""
    made, single = [], all_single(blocks)
    for column, edges, count in zip(singles(graph, blocks), transformer.bin_edges_, transformer.n_bins_, strict=True):
        place = search(graph, matrix(graph, [column]).tensor, edges[1:-1], right=True)
        if transformer.encode == "ordinal":
            made.append(Block(place, 1, single=single))
        else:
            equal = graph.add("Equal", place, np.arange(float(count))[None, :])
            made.append(Block(graph.cast(equal, TensorProto.DOUBLE), int(count), single=single))
    graph.repaired("KBinsDiscretizer in float64")
    return made


def power(graph: Graph, transformer: Any, blocks: Sequence[Block]) -> list[Block]:
    """Write a PowerTransformer."""
    from scipy.special import boxcox
    from scipy.stats import yeojohnson

    yeo = transformer.method == "yeo-johnson"
    made, single = [], all_single(blocks)
    for column, exponent in zip(singles(graph, blocks), transformer.lambdas_, strict=True):
        if np.isnan(exponent):
            made.append(replace(column, single=single))
            continue
        tensor = matrix(graph, [column]).tensor
        own = held_by_numpy(_powered(yeojohnson if yeo else boxcox, exponent), single=single)
        tensor = held(graph, (_yeo_johnson if yeo else _box_cox)(graph, tensor, float(exponent)), single=single)
        made.append(Block(tensor, 1, origin=started(column).then([own], everywhere=yeo), single=single))
    graph.repaired("PowerTransformer in float64")
    if not transformer.standardize:
        return made
    scaler = transformer._scaler
    dtype = np.float32 if single else np.float64
    shift, scale = (np.asarray(one, dtype=dtype).astype(np.float64) for one in (scaler.mean_, scaler.scale_))
    whole = matrix(graph, made)
    moved = held(graph, graph.add("Sub", whole.tensor, shift), single=single)
    moved = held(graph, graph.add("Div", moved, scale), single=single)
    origin = whole.origin and whole.origin.then(scaled(shift, scale, single=single))
    return [Block(moved, whole.width, origin=origin, single=single)]


def _powered(transform: Any, exponent: float) -> Function:
    return lambda numbers: np.asarray(transform(numbers, exponent))


def _box_cox(graph: Graph, tensor: str, exponent: float) -> str:
    logarithm = graph.add("Log", tensor)
    if exponent == 0:
        return logarithm
    grown = expm1(graph, graph.add("Mul", logarithm, np.array([exponent])))
    return graph.add("Div", grown, np.array([exponent]))


def _yeo_johnson(graph: Graph, tensor: str, exponent: float) -> str:
    logarithm = log1p(graph, graph.add("Abs", tensor))
    sides = []
    for one, sign in [(exponent, 1.0), (2 - exponent, -1.0)]:
        side = logarithm
        if abs(one) >= np.spacing(1.0):
            grown = expm1(graph, graph.add("Mul", logarithm, np.array([one])))
            side = graph.add("Div", grown, np.array([one]))
        sides.append(graph.add("Mul", side, np.array([sign])))
    return graph.add("Where", graph.add("GreaterOrEqual", tensor, np.zeros(1)), *sides)


def interpolate(graph: Graph, tensor: str, at: npt.ArrayLike, values: npt.ArrayLike) -> str:
    """Append ``np.interp`` for doubles of shape (rows, 1): the value of an end beyond it, exact at a given point."""
    x, y = np.asarray(at, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if len(x) == 1:
        return graph.add("Add", graph.add("Mul", tensor, np.zeros(1)), y)
    with np.errstate(invalid="ignore", divide="ignore"):
        slopes = np.append(np.diff(y) / np.diff(x), 0.0)
    slopes[~np.isfinite(slopes)] = 0.0
    inside = graph.add("Min", graph.add("Max", tensor, x[:1]), x[-1:])
    place = graph.add("Sub", search(graph, inside, x, right=True), _ONE)
    whole = graph.cast(
        graph.add("Min", graph.add("Max", place, np.zeros(1)), np.array([len(x) - 1.0])), TensorProto.INT64
    )
    left, base, slope = (
        graph.add("Reshape", graph.add("Gather", one, whole, axis=0), np.array([-1, 1])) for one in (x, y, slopes)
    )
    found = graph.add("Add", graph.add("Mul", slope, graph.add("Sub", inside, left)), base)
    return graph.add("Where", graph.add("IsNaN", tensor), tensor, found)


def quantile(graph: Graph, transformer: Any, blocks: Sequence[Block]) -> list[Block]:
    """Write a QuantileTransformer to the uniform distribution."""
    from mlnb.model.onnx_normal import BOUND, normal_quantile

    normal = transformer.output_distribution == "normal"
    made, single = [], all_single(blocks)
    for at, column in enumerate(singles(graph, blocks)):
        tensor = matrix(graph, [column]).tensor
        points, references = transformer.quantiles_[:, at], transformer.references_
        rising = interpolate(graph, tensor, points, references)
        falling = interpolate(graph, graph.add("Neg", tensor), -points[::-1], -references[::-1])
        found = graph.add("Mul", graph.add("Sub", rising, falling), np.array([0.5]))
        for bound, shift, compare, value in [(points[-1], BOUND, "Greater", 1.0), (points[0], -BOUND, "Less", 0.0)]:
            reached = graph.add("Equal", tensor, np.array([bound]))
            if normal:
                reached = graph.add(compare, graph.add("Add", tensor, np.array([shift])), np.array([bound]))
            found = graph.add("Where", reached, np.array([value]), found)
        found = held(graph, found, single=single)
        if not normal:
            made.append(Block(found, 1, single=single))
            continue
        origin = started(column).then([held_by_numpy(partial(_quantiles_of, transformer, at), single=single)])
        found = held(graph, normal_quantile(graph, found), single=single)
        made.append(Block(found, 1, origin=origin, single=single))
    graph.repaired("QuantileTransformer in float64")
    return made


def _quantiles_of(transformer: Any, at: int, numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(transformer._transform_col(numbers.copy(), transformer.quantiles_[:, at], False))


def spline(graph: Graph, transformer: Any, blocks: Sequence[Block]) -> list[Block]:
    """Write a SplineTransformer."""
    made, single = [], all_single(blocks)
    for column, curve in zip(singles(graph, blocks), transformer.bsplines_, strict=True):
        found = _curve(graph, transformer, matrix(graph, [column]).tensor, curve)
        made.append(replace(found, tensor=held(graph, found.tensor, single=single), single=single))
    graph.repaired("SplineTransformer in float64")
    return made


def _curve(graph: Graph, transformer: Any, tensor: str, curve: Any) -> Block:
    degree, knots = int(transformer.degree), np.asarray(curve.t, dtype=np.float64)
    inner = knots[degree : len(knots) - degree]  # from the first boundary to the last
    if transformer.extrapolation == "error":
        raise refusal("the SplineTransformer refuses values beyond its knots")
    low, high = inner[:1], inner[-1:]
    inside = graph.add("Min", graph.add("Max", tensor, low), high)
    given = inside
    if transformer.extrapolation == "continue":
        given = tensor
    elif transformer.extrapolation == "periodic":
        given = _wrapped(graph, tensor, low, high)
    found = _basis(graph, given, knots, degree)
    width = int(curve.c.shape[1])
    if transformer.extrapolation == "periodic":  # the last curves are the first ones, come round
        found = graph.add("MatMul", found, np.ascontiguousarray(curve.c, dtype=np.float64))
    if transformer.extrapolation == "linear":
        found = _lines(graph, tensor, inside, found, curve, (low, high))
    if getattr(transformer, "handle_missing", "error") == "zeros":
        found = graph.add("Where", graph.add("IsNaN", tensor), np.zeros(1), found)
    if not transformer.include_bias:
        width -= 1
        found = graph.add("Gather", found, np.arange(width), axis=1)
    return Block(found, width)


def _basis(graph: Graph, tensor: str, knots: npt.NDArray[np.float64], degree: int) -> str:
    """Append the values of all B-splines, by de Boor's recurrence in the order of ``_deBoor_D`` of scipy."""
    inner = knots[degree : len(knots) - degree]
    last, count = len(inner) - 2, len(knots) - degree - 1
    place = graph.add("Min", search(graph, tensor, inner[1:-1], right=True), np.array([float(last)]))
    whole, intervals, shape = graph.cast(place, TensorProto.INT64), np.arange(last + 1), np.array([-1, 1])

    def knot(ahead: int) -> str:
        """Return the knot so many behind the interval's first."""
        return graph.add("Reshape", graph.add("Gather", knots[intervals + degree + ahead], whole, axis=0), shape)

    values = [graph.add("Add", graph.add("Mul", place, np.zeros(1)), np.ones(1))]
    for order in range(1, degree + 1):
        before, values = values, [""] * (order + 1)
        for at in range(1, order + 1):
            above, below = knots[intervals + degree + at], knots[intervals + degree + at - order]
            apart = np.where(above == below, np.inf, above - below)
            width = graph.add("Reshape", graph.add("Gather", apart, whole, axis=0), shape)
            weight = graph.add("Div", before[at - 1], width)
            rising = graph.add("Mul", weight, graph.add("Sub", knot(at), tensor))
            values[at - 1] = graph.add("Add", values[at - 1], rising) if values[at - 1] else rising
            values[at] = graph.add("Mul", weight, graph.add("Sub", tensor, knot(at - order)))
    found = ""
    for at, value in enumerate(values):
        here = graph.cast(
            graph.add("Equal", place, np.arange(count, dtype=np.float64)[None, :] - at), TensorProto.DOUBLE
        )
        part = graph.add("Mul", here, value)
        found = graph.add("Add", found, part) if found else part
    return found


def _wrapped(graph: Graph, tensor: str, low: npt.NDArray[Any], high: npt.NDArray[Any]) -> str:
    """Return the place in a period."""
    moved = graph.add("Sub", tensor, low)
    turns = graph.add("Floor", graph.add("Div", moved, high - low))
    rest = graph.add("Sub", moved, graph.add("Mul", turns, high - low))
    return graph.add("Add", rest, low)


def _lines(graph: Graph, tensor: str, inside: str, found: str, curve: Any, ends: tuple[Any, Any]) -> str:
    """Continue the curves beyond both ends along their tangents."""
    beyond = graph.add("Sub", tensor, inside)
    for end, compare in zip(ends, ("Less", "Greater"), strict=True):
        slope = np.asarray(curve(end, nu=1))
        line = graph.add("Add", found, graph.add("Mul", beyond, slope))
        found = graph.add("Where", graph.add(compare, tensor, end), line, found)
    return found


def normalizer(graph: Graph, transformer: Any, blocks: Sequence[Block]) -> list[Block]:
    """Write a Normalizer."""
    block = matrix(graph, blocks)
    operator = {"l1": "ReduceL1", "l2": "ReduceL2", "max": "ReduceMax"}[transformer.norm]
    given = graph.add("Abs", block.tensor) if transformer.norm == "max" else block.tensor
    norm = graph.add(operator, given, np.array([1]), keepdims=1)
    some = graph.add("Where", graph.add("Equal", norm, np.zeros(1)), _ONE, norm)
    return [
        Block(held(graph, graph.add("Div", block.tensor, some), single=block.single), block.width, single=block.single)
    ]


def binarizer(graph: Graph, transformer: Any, blocks: Sequence[Block]) -> list[Block]:
    """Write a Binarizer."""
    block = matrix(graph, blocks)
    threshold = np.float32(transformer.threshold) if block.single else transformer.threshold
    above = graph.add("Greater", block.tensor, np.array([float(threshold)]))
    return [Block(graph.cast(above, TensorProto.DOUBLE), block.width, single=block.single)]


def indicator(graph: Graph, transformer: Any, blocks: Sequence[Block]) -> list[Block]:
    """Write a MissingIndicator."""
    columns = singles(graph, blocks)
    if not isinstance(transformer.missing_values, float) or not np.isnan(transformer.missing_values):
        raise refusal("the MissingIndicator looks for a value")
    told = [graph.add("IsNaN", matrix(graph, [columns[at]]).tensor) for at in transformer.features_]
    return [Block(graph.cast(one, TensorProto.DOUBLE), 1, single=all_single(blocks)) for one in told]


def projection(graph: Graph, transformer: Any, blocks: Sequence[Block]) -> list[Block]:
    """Write what multiplies by a matrix: principal components and their kin."""
    block = matrix(graph, blocks)
    components = np.asarray(_dense(transformer.components_), dtype=np.float64)
    tensor = graph.add("MatMul", block.tensor, np.ascontiguousarray(components.T))
    centre = getattr(transformer, "mean_", None)
    if centre is not None:
        tensor = graph.add("Sub", tensor, np.reshape(centre, (1, -1)) @ components.T)
    if getattr(transformer, "whiten", False) is True:
        scale = np.sqrt(transformer.explained_variance_)
        tensor = graph.add("Div", tensor, np.maximum(scale, np.finfo(scale.dtype).eps))
    return [Block(held(graph, tensor, single=block.single), components.shape[0], single=block.single)]


def text(graph: Graph, transformer: Any, blocks: Sequence[Block]) -> list[Block]:
    """Refuse words of a text: ONNX lower-cases by the machine's locale, and its patterns know ASCII alone."""
    del graph, blocks
    kind = type(transformer).__name__
    raise inexact(f"the {kind} splits texts by the rules of Unicode, which ONNX has not")


def neighbours(graph: Graph, transformer: Any, blocks: Sequence[Block]) -> list[Block]:
    """Refuse a KNNImputer."""
    del graph, transformer, blocks
    raise inexact("the KNNImputer takes equally near rows in the order in which they lie in memory")


def _dense(values: Any) -> Any:
    return values.toarray() if hasattr(values, "toarray") else values


#: Writers of scikit-learn's classes of these names.
NUMERIC: Mapping[str, Callable[[Graph, Any, Sequence[Block]], list[Block]]] = {
    "FunctionTransformer": function,
    "PolynomialFeatures": polynomial,
    "KBinsDiscretizer": bins,
    "PowerTransformer": power,
    "QuantileTransformer": quantile,
    "SplineTransformer": spline,
    "Normalizer": normalizer,
    "Binarizer": binarizer,
    "MissingIndicator": indicator,
    "PCA": projection,
    "CountVectorizer": text,
    "TfidfVectorizer": text,
    "HashingVectorizer": text,
    "KNNImputer": neighbours,
    "IncrementalPCA": projection,
    "TruncatedSVD": projection,
    "GaussianRandomProjection": projection,
    "SparseRandomProjection": projection,
}
