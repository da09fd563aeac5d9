"""A converted HistGradientBoosting becomes the same ensemble with thresholds in float64, as scikit-learn compares them.

skl2onnx writes thresholds and leaves as floats, so that a real value near a threshold takes the other branch. Since
version 3 of ``ai.onnx.ml`` an ensemble may hold them as tensors of doubles. Other trees of scikit-learn do round their
input to float32, and need none of this.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper, numpy_helper

from mlnb.model.onnx_preprocess import refusal

_HELD = {
    "nodes_values": "nodes_values_as_tensor",
    "nodes_hitrates": "nodes_hitrates_as_tensor",
    "class_weights": "class_weights_as_tensor",
    "target_weights": "target_weights_as_tensor",
    "base_values": "base_values_as_tensor",
}


def is_histogram(estimator: Any) -> bool:
    """Say whether the estimator is a fitted HistGradientBoosting."""
    return hasattr(estimator, "_predictors") and hasattr(estimator, "_baseline_prediction")


def in_doubles(model: Any, estimator: Any) -> Any:
    """Return the model that skl2onnx made of a HistGradientBoosting for doubles, with the estimator's own numbers.

    Raises
    ------
    ModelError
        If the model does not hold the estimator's nodes in their order.
    """
    ensembles = [node for node in model.graph.node if node.op_type.startswith("TreeEnsemble")]
    if len(ensembles) != 1:
        raise refusal("the HistGradientBoosting was not converted to one ensemble")
    (ensemble,) = ensembles
    nodes = np.concatenate([tree.nodes for trees in estimator._predictors for tree in trees])
    leaf = nodes["is_leaf"].astype(bool)
    exact: dict[str, npt.NDArray[np.float64]] = {
        "nodes_values": np.where(leaf, 0.0, nodes["num_threshold"]),
        "class_weights": nodes["value"][leaf],
        "target_weights": nodes["value"][leaf],
        "base_values": np.ravel(estimator._baseline_prediction),
    }
    for held in [one for one in ensemble.attribute if one.name in _HELD]:
        rounded = np.array(held.floats, dtype=np.float64)
        doubles = np.asarray(exact.get(held.name, rounded), dtype=np.float64)
        if doubles.shape != rounded.shape or not np.allclose(doubles, rounded, rtol=1e-6, atol=1e-30):
            raise refusal(f"the converted {held.name} are not the estimator's")
        ensemble.attribute.remove(held)
        tensor = numpy_helper.from_array(doubles, _HELD[held.name])
        ensemble.attribute.append(helper.make_attribute(_HELD[held.name], tensor))
    for output in model.graph.output:
        if output.type.tensor_type.elem_type == TensorProto.DOUBLE:
            output.type.tensor_type.elem_type = TensorProto.FLOAT  # what an ensemble gives, whatever it takes
    return model
