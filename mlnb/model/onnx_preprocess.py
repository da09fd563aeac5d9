"""A fitted preprocessing of scikit-learn becomes operations of an ONNX graph that compute in float64, as it does.

Stock conversions compute in float32, which moves real values across the split thresholds of trees. Here all numbers
are doubles, and texts stay texts. Encoders become tables: a value's place among the categories picks a row, and the
rows are what the fitted encoder itself answers to each category and to an unknown value, so that ``drop``, rare
categories and the like need no second implementation. A missing text is `MISSING_TEXT`.

Transformers that are not known here are converted by skl2onnx, in doubles where onnxruntime can load that.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from onnx import TensorProto
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectorMixin
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

from mlnb.model.onnx_blocks import Block, Function, all_single, held, matrix, refusal, scaled, singles
from mlnb.model.onnx_convert import convert
from mlnb.model.onnx_graph import ML, Graph
from mlnb.model.onnx_numeric import NUMERIC, selector
from mlnb.model.scorer import MISSING_TEXT

_Emitter: TypeAlias = Callable[[Graph, Any, Sequence[Block]], list[Block]]
_UNKNOWN_TEXT = "\uf8ffunknown"


def emit(graph: Graph, transformer: Any, blocks: Sequence[Block]) -> list[Block]:
    """Append a fitted transformer to the graph.

    Parameters
    ----------
    graph : Graph
        Grows by the transformer's operations.
    transformer : object
        A fitted transformer, or ``passthrough``.
    blocks : sequence of Block
        The columns that it takes, in order.

    Returns
    -------
    list of Block
        The columns that it gives, in order.

    Raises
    ------
    ModelError
        If it cannot be expressed.
    """
    if transformer is None or transformer == "passthrough":
        return list(blocks)
    known = _EMITTERS.get(type(transformer)) or _numeric(transformer)
    return known(graph, transformer, blocks) if known is not None else [_stock(graph, transformer, blocks)]


def _numeric(transformer: Any) -> _Emitter | None:
    if not type(transformer).__module__.startswith("sklearn."):
        return None
    return selector if isinstance(transformer, SelectorMixin) else NUMERIC.get(type(transformer).__name__)


def _pipeline(graph: Graph, pipeline: Any, blocks: Sequence[Block]) -> list[Block]:
    made = list(blocks)
    for _, step in pipeline.steps:
        made = emit(graph, step, made)
    return made


def _union(graph: Graph, union: Any, blocks: Sequence[Block]) -> list[Block]:
    if union.transformer_weights:
        raise refusal("the FeatureUnion has weights")
    parts = [part for _, part in union.transformer_list if part != "drop"]
    return [block for part in parts for block in emit(graph, part, blocks)]


def _column_transformer(graph: Graph, transformer: Any, blocks: Sequence[Block]) -> list[Block]:
    columns = singles(graph, blocks)
    made: list[Block] = []
    for name, part, _ in transformer.transformers_:
        places = list(transformer._transformer_to_input_indices[name])
        if part == "drop" or not places:
            continue
        given = emit(graph, part, [columns[at] for at in places])
        weight = (transformer.transformer_weights or {}).get(name)
        if weight is not None:
            block = matrix(graph, given)
            weighed = graph.add("Mul", block.tensor, graph.constant(np.array([float(weight)])))
            given = [Block(held(graph, weighed, single=block.single), block.width, single=block.single)]
        made += given
    return made


def _scale(graph: Graph, block: Block, shift: object, scale: object) -> Block:
    """Return ``(x - shift) / scale``, each of them per column or None."""
    tensor, single = block.tensor, block.single
    down = np.zeros(block.width) if shift is None else np.asarray(shift, dtype=np.float64)
    by = np.ones(block.width) if scale is None else np.asarray(scale, dtype=np.float64)
    if shift is not None:
        tensor = held(graph, graph.add("Sub", tensor, graph.constant(down)), single=single)
    if scale is not None:
        tensor = held(graph, graph.add("Div", tensor, graph.constant(by)), single=single)
    origin = block.origin and block.origin.then(scaled(down, by, single=single))
    return Block(tensor, block.width, origin=origin, single=single)


def _standard(graph: Graph, scaler: Any, blocks: Sequence[Block]) -> list[Block]:
    block = matrix(graph, blocks)
    given = [scaler.mean_ if scaler.with_mean else None, scaler.scale_]
    if block.single:  # it rounds what it has learnt, too
        given = [one if one is None else np.asarray(one, dtype=np.float32) for one in given]
    return [_scale(graph, block, *given)]


def _robust(graph: Graph, scaler: Any, blocks: Sequence[Block]) -> list[Block]:
    return [_scale(graph, matrix(graph, blocks), scaler.center_, scaler.scale_)]


def _max_abs(graph: Graph, scaler: Any, blocks: Sequence[Block]) -> list[Block]:
    if getattr(scaler, "clip", False):
        raise refusal("the MaxAbsScaler clips")
    return [_scale(graph, matrix(graph, blocks), None, scaler.scale_)]


def _min_max(graph: Graph, scaler: Any, blocks: Sequence[Block]) -> list[Block]:
    block = matrix(graph, blocks)
    single = block.single
    by, shift = (np.asarray(one, dtype=np.float64) for one in (scaler.scale_, scaler.min_))
    tensor = held(graph, graph.add("Mul", block.tensor, graph.constant(by)), single=single)
    tensor = held(graph, graph.add("Add", tensor, graph.constant(shift)), single=single)
    low, high = (float(one) for one in scaler.feature_range)
    if scaler.clip:
        tensor = graph.add("Min", graph.add("Max", tensor, np.array(low)), np.array(high))
    origin = None
    if block.origin is not None and not single:
        ends = (low, high) if scaler.clip else (-np.inf, np.inf)
        origin = block.origin.then([_min_max_of(float(a), float(b), ends) for a, b in zip(by, shift, strict=True)])
    return [Block(tensor, block.width, origin=origin, single=single)]


def _min_max_of(scale: float, shift: float, ends: tuple[float, float]) -> Function:
    return lambda numbers: np.clip(numbers * scale + shift, *ends)


def _imputer(graph: Graph, imputer: Any, blocks: Sequence[Block]) -> list[Block]:
    columns = singles(graph, blocks)
    single = all_single(columns)
    made, absent = [], []
    for column, fill in zip(columns, imputer.statistics_, strict=True):
        mask = _is_missing(graph, column, imputer.missing_values)
        absent.append(mask)
        if pd.isna(fill):
            if imputer.keep_empty_features:
                raise refusal("the SimpleImputer keeps a column that was empty when it was fitted")
            continue
        number = column.kind != "text"
        filled = graph.constant(np.array([[(float(np.float32(fill) if single else fill) if number else str(fill))]]))
        made.append(Block(graph.add("Where", mask, filled, column.tensor), 1, column.kind, single=single))
    if imputer.add_indicator:
        told = [graph.cast(absent[at], TensorProto.DOUBLE) for at in imputer.indicator_.features_]
        made += [Block(one, 1, single=single) for one in told]
    return made


def _is_missing(graph: Graph, column: Block, missing: Any) -> str:
    """Return a tensor of booleans of shape (rows, 1)."""
    if column.kind == "text":
        key = MISSING_TEXT if pd.isna(missing) else str(missing)
        place = graph.add(
            "LabelEncoder", column.tensor, domain=ML, keys_strings=[key], values_int64s=[1], default_int64=0
        )
        return graph.cast(place, TensorProto.BOOL)
    tensor = matrix(graph, [column]).tensor
    if pd.isna(missing):
        return graph.add("IsNaN", tensor)
    return graph.add("Equal", tensor, graph.constant(np.array([[float(missing)]])))


def _one_hot(graph: Graph, encoder: Any, blocks: Sequence[Block]) -> list[Block]:
    ends = np.cumsum(encoder._n_features_outs)
    starts = ends - encoder._n_features_outs
    made = []
    for at, column in enumerate(singles(graph, blocks)):
        table = _answers(encoder, at)[:, starts[at] : ends[at]]
        if encoder.handle_unknown == "error":
            table = np.vstack([table, np.zeros((1, table.shape[1]))])
        if table.shape[1]:
            made.append(_look_up(graph, column, encoder.categories_[at], table))
    return made


def _ordinal(graph: Graph, encoder: Any, blocks: Sequence[Block]) -> list[Block]:
    made = []
    for at, column in enumerate(singles(graph, blocks)):
        table = _answers(encoder, at)[:, [at]]
        if encoder.handle_unknown == "error":
            table = np.vstack([table, [[np.nan]]])
        made.append(_look_up(graph, column, encoder.categories_[at], table))
    return made


def _target(graph: Graph, encoder: Any, blocks: Sequence[Block]) -> list[Block]:
    """Write a TargetEncoder: a category's place picks what it stands for."""
    means = np.atleast_1d(np.asarray(encoder.target_mean_, dtype=np.float64))
    made = []
    for at, column in enumerate(singles(graph, blocks)):
        own = encoder.encodings_[at * len(means) : (at + 1) * len(means)]
        table = np.vstack([np.column_stack(own), means])
        made.append(_look_up(graph, column, encoder.categories_[at], table))
    graph.repaired("TargetEncoder in float64")
    return made


def _answers(encoder: Any, at: int) -> npt.NDArray[np.float64]:
    """Return what the encoder answers to each category of a column, and to an unknown value if it takes one."""
    asked: dict[str, pd.Series] = {}
    names = getattr(encoder, "feature_names_in_", [f"x{n}" for n in range(len(encoder.categories_))])
    for place, (name, categories) in enumerate(zip(names, encoder.categories_, strict=True)):
        values = list(categories) if place == at else [categories[0]] * len(encoder.categories_[at])
        if encoder.handle_unknown != "error":
            values.append(_unknown(categories) if place == at else categories[0])
        asked[name] = pd.Series(values, dtype=object if categories.dtype.kind in "OUb" else categories.dtype)
    rows: Any = pd.DataFrame(asked)
    if not hasattr(encoder, "feature_names_in_"):
        rows = rows.to_numpy()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Found unknown categories", category=UserWarning)
        answers = encoder.transform(rows)
    dense = answers.toarray() if hasattr(answers, "toarray") else answers
    return np.asarray(dense, dtype=np.float64)


def _unknown(categories: npt.NDArray[Any]) -> object:
    if categories.dtype.kind in "OU":
        return _UNKNOWN_TEXT if any(isinstance(one, str) for one in categories) else -1
    known = categories[~np.isnan(categories)] if categories.dtype.kind == "f" else categories
    return known.max() + 1 if known.size and categories.dtype != bool else -1


def _look_up(graph: Graph, column: Block, categories: npt.NDArray[Any], table: npt.NDArray[np.float64]) -> Block:
    """Return for each row the table's row of its category; the last one for an unknown value."""
    if column.kind == "date":
        raise refusal("a column of dates reaches an encoder")
    place = _text_place(graph, column, categories) if column.kind == "text" else _place(graph, column, categories)
    rows = graph.add("Gather", graph.constant(table), place, axis=0)
    return Block(graph.add("Reshape", rows, graph.constant(np.array([-1, table.shape[1]]))), table.shape[1])


def _text_place(graph: Graph, column: Block, categories: npt.NDArray[Any]) -> str:
    keys = [MISSING_TEXT if pd.isna(one) else str(one) for one in categories]
    return graph.add(
        "LabelEncoder",
        column.tensor,
        domain=ML,
        keys_strings=keys,
        values_int64s=list(range(len(keys))),
        default_int64=len(keys),
    )


def _place(graph: Graph, column: Block, categories: npt.NDArray[Any]) -> str:
    numbers = np.array([np.nan if pd.isna(one) else float(one) for one in categories])
    equal = graph.cast(graph.add("Equal", column.tensor, graph.constant(numbers[None, :])), TensorProto.DOUBLE)
    if np.isnan(numbers).any():
        absent = graph.cast(graph.add("IsNaN", column.tensor), TensorProto.DOUBLE)
        equal = graph.add("Add", equal, graph.add("Mul", absent, graph.constant(np.isnan(numbers)[None, :] * 1.0)))
    pads = graph.constant(np.array([0, 0, 0, 1]))
    return graph.add("ArgMax", graph.add("Pad", equal, pads, graph.constant(np.array(0.5))), axis=1, keepdims=1)


def _stock(graph: Graph, transformer: Any, blocks: Sequence[Block]) -> Block:
    block = matrix(graph, blocks)
    width = block.width or int(transformer.n_features_in_)
    model, double = convert(transformer, width)
    tensor = block.tensor if double else graph.cast(block.tensor, TensorProto.FLOAT)
    made = graph.embed(model, tensor)[0]
    shape = model.graph.output[0].type.tensor_type.shape.dim
    return Block(graph.cast(made, TensorProto.DOUBLE), int(shape[1].dim_value) if len(shape) == 2 else 0)


_EMITTERS: Mapping[type, _Emitter] = {
    Pipeline: _pipeline,
    FeatureUnion: _union,
    ColumnTransformer: _column_transformer,
    StandardScaler: _standard,
    RobustScaler: _robust,
    MaxAbsScaler: _max_abs,
    MinMaxScaler: _min_max,
    SimpleImputer: _imputer,
    OneHotEncoder: _one_hot,
    OrdinalEncoder: _ordinal,
    TargetEncoder: _target,
}
