"""Trees of scikit-learn become one ensemble of ONNX (``TreeEnsemble`` of ai.onnx.ml 5) that computes in float64.

skl2onnx writes thresholds and leaves as floats, so that a real value near a threshold takes the other branch, and
turns a split by categories into a comparison of numbers. Here a split by categories is a node of set membership
(``BRANCH_MEMBER``), thresholds and leaves are the estimator's doubles, and a sum of leaves is taken in the estimator's
order. See https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsemble.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import numpy_helper

from mlnb.model.onnx_graph import ML, Graph

_LESS_OR_EQUAL, _LESS, _MEMBER = 0, 1, 6
_SUM = 1
_NODE = (
    "nodes_featureids",
    "nodes_trueleafs",
    "nodes_truenodeids",
    "nodes_falseleafs",
    "nodes_falsenodeids",
    "nodes_missing_value_tracks_true",
)
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Trees:
    """Trees under construction; each gives its leaf's number to one target, and targets are sums over trees."""

    def __init__(self) -> None:
        self._parts: dict[str, list[Any]] = {name: [] for name in (*_NODE, "splits", "modes", "targets", "weights")}
        self._members: list[Floats] = []
        self._roots: list[int] = []
        self._nodes = 0
        self._leaves = 0

    def constant(self, value: float, target: int = 0) -> None:
        """Append a tree of one leaf."""
        nothing = np.full(1, -1)
        self.grow(nothing, nothing, np.zeros(1), np.zeros(1), np.zeros(1), np.array([value]), target)

    def grow(
        self,
        left: npt.NDArray[Any],
        right: npt.NDArray[Any],
        feature: npt.NDArray[Any],
        threshold: npt.NDArray[Any],
        missing_left: npt.NDArray[Any],
        value: npt.NDArray[Any],
        target: int = 0,
        members: Sequence[Floats | None] = (),
        *,
        mode: int = _LESS_OR_EQUAL,
    ) -> None:
        """Append a tree whose root is its node 0.

        Parameters
        ----------
        left, right : array of int, length nodes
            Where a node leads to; -1 for leaves.
        feature, threshold, missing_left, value : array, length nodes
            What a node compares, whether a missing value goes left, and what a leaf gives.
        target : int
            Where the leaf's value is added.
        members : sequence of array or None, length nodes
            Values that go left, where a node splits by categories; empty if none does.
        mode : int
            How numbers are compared: less or equal, or less.
        """
        leaf = np.asarray(left) < 0
        if leaf[0]:  # an ensemble has no tree of a leaf alone
            self._append(np.zeros(1, np.int64), np.zeros(1), np.zeros(1, np.int64), [], mode)
            self._branches(np.ones(1), np.zeros(1), np.ones(1), np.zeros(1))
            self._finish(1, np.asarray(value)[:1], target)
            return
        inner = np.flatnonzero(~leaf)
        place = np.where(leaf, np.cumsum(leaf) - 1 + self._leaves, np.cumsum(~leaf) - 1 + self._nodes)
        to_left, to_right = np.asarray(left)[inner], np.asarray(right)[inner]
        sets = [members[at] for at in inner.tolist()] if len(members) else []
        self._append(
            np.asarray(feature)[inner], np.asarray(threshold)[inner], np.asarray(missing_left)[inner], sets, mode
        )
        self._branches(leaf[to_left], place[to_left], leaf[to_right], place[to_right], moved=True)
        self._finish(len(inner), np.asarray(value)[leaf], target)

    def put(self, graph: Graph, tensor: str, targets: int) -> str:
        """Append the ensemble to a graph; its input and its output, of shape (rows, targets), are doubles."""
        whole = {name: np.concatenate(self._parts[name]) for name in self._parts}
        attributes: dict[str, object] = {name: whole[name].astype(np.int64).tolist() for name in _NODE}
        attributes["leaf_targetids"] = whole["targets"].astype(np.int64).tolist()
        for name, values in [("nodes_splits", whole["splits"]), ("leaf_weights", whole["weights"])]:
            attributes[name] = numpy_helper.from_array(values.astype(np.float64), name)
        attributes["nodes_modes"] = numpy_helper.from_array(whole["modes"].astype(np.uint8), "nodes_modes")
        if self._members:
            ended = [np.append(one, np.nan) for one in self._members]
            attributes["membership_values"] = numpy_helper.from_array(np.concatenate(ended), "membership_values")
        return graph.add(
            "TreeEnsemble",
            tensor,
            domain=ML,
            n_targets=targets,
            aggregate_function=_SUM,
            post_transform=0,
            tree_roots=self._roots,
            **attributes,
        )

    def _append(
        self,
        feature: npt.NDArray[Any],
        threshold: npt.NDArray[Any],
        missing_left: npt.NDArray[Any],
        members: Sequence[Floats | None],
        mode: int,
    ) -> None:
        modes = np.full(len(feature), mode)
        splits = np.array(threshold, dtype=np.float64)
        for at, values in enumerate(members):
            if values is not None:
                modes[at], splits[at] = _MEMBER, 0.0
                self._members.append(values)
        self._parts["nodes_featureids"].append(feature)
        self._parts["splits"].append(splits)
        self._parts["modes"].append(modes)
        self._parts["nodes_missing_value_tracks_true"].append(missing_left)

    def _branches(self, true_leaf: Any, true: Any, false_leaf: Any, false: Any, *, moved: bool = False) -> None:
        first = 0 if moved else self._leaves
        self._parts["nodes_trueleafs"].append(true_leaf)
        self._parts["nodes_truenodeids"].append(true + first)
        self._parts["nodes_falseleafs"].append(false_leaf)
        self._parts["nodes_falsenodeids"].append(false + first)

    def _finish(self, nodes: int, values: npt.NDArray[Any], target: int) -> None:
        self._parts["weights"].append(values)
        self._parts["targets"].append(np.full(len(values), target))
        self._roots.append(self._nodes)
        self._nodes += nodes
        self._leaves += len(values)


def search(graph: Graph, tensor: str, edges: npt.ArrayLike, *, right: bool) -> str:
    """Append what ``np.searchsorted`` does, as a balanced tree.

    Parameters
    ----------
    graph : Graph
        Grows by the tree.
    tensor : str
        Doubles of shape (rows, 1).
    edges : array of float
        Sorted.
    right : bool
        Whether a value equal to an edge lies behind it.

    Returns
    -------
    str
        Whole numbers as doubles of shape (rows, 1); a missing value lies behind all edges.
    """
    cuts = np.asarray(edges, dtype=np.float64)
    left: list[int] = []
    after: list[int] = []
    threshold: list[float] = []
    value: list[float] = []

    def grow(low: int, high: int) -> int:
        """Append the subtree that tells the places low to high apart, and return its first node."""
        node = len(left)
        middle = (low + high) // 2
        for held, one in [(left, -1), (after, -1), (threshold, 0.0), (value, float(low))]:
            held.append(one)  # type: ignore[attr-defined]
        if low < high:
            threshold[node] = float(cuts[middle])
            left[node] = grow(low, middle)
            after[node] = grow(middle + 1, high)
        return node

    grow(0, len(cuts))
    trees = Trees()
    nowhere = np.zeros(len(left))
    trees.grow(
        np.array(left),
        np.array(after),
        nowhere,
        np.array(threshold),
        nowhere,
        np.array(value),
        mode=_LESS if right else _LESS_OR_EQUAL,
    )
    return trees.put(graph, tensor, 1)
