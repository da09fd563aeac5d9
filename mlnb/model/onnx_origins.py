"""Thresholds of trees become thresholds of what their numbers were before a function that no two libraries round alike.

A logarithm of numpy and one of onnxruntime differ in the last digit, and a tree that compares them takes another branch
where a number lies on its threshold, as the very numbers do of which boosted trees make their thresholds. A function
that never falls needs no second computation: ``f(x) <= t`` just where ``x <= c``, and `c` is found by halving with the
fitted step itself, down to neighbouring doubles. The trees then compare `x`, which is exact. `c` belongs to the numpy
of the machine that exports, as the estimator's answers do, with which the export is compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlnb.model.onnx_blocks import Block, Function
from mlnb.model.onnx_graph import Graph

_HALVINGS = 65
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Cuts:
    """Thresholds by feature and what they are led back to.

    Attributes
    ----------
    known : mapping of int to (array, array)
        For each feature its thresholds, sorted, and for each the number to compare with instead.
    """

    known: dict[int, tuple[Floats, Floats]]

    def of(self, feature: npt.NDArray[np.integer], threshold: Floats) -> Floats:
        """Return what to compare in place of thresholds; those of other features are left as they are."""
        made = np.array(threshold, dtype=np.float64)
        for at, (thresholds, cuts) in self.known.items():
            here = np.asarray(feature) == at
            made[here] = cuts[np.searchsorted(thresholds, made[here])]
        return made


def before_functions(
    graph: Graph,
    block: Block,
    splits: Sequence[tuple[npt.NDArray[np.integer], Floats]],
    *,
    single: bool,
    less: bool = False,
) -> tuple[str, Cuts] | None:
    """Return what trees may compare in place of what functions made, None where no function was.

    Parameters
    ----------
    graph : Graph
        Grows by the choice between a number and a missing one.
    block : Block
        What the trees take.
    splits : sequence of (array, array)
        Features and thresholds of each tree's nodes; the feature of a leaf is negative.
    single : bool
        Whether the trees round what they take to float32.
    less : bool
        Whether a number goes left below a threshold, rather than below it or at it.
    """
    if block.origin is None:
        return None
    feature = np.concatenate([one for one, _ in splits])
    threshold = np.concatenate([np.asarray(one, dtype=np.float64) for _, one in splits])
    alike: dict[Function, list[int]] = {}
    for at in np.unique(feature[feature >= 0]).tolist():
        alike.setdefault(block.origin.through[at], []).append(at)
    known: dict[int, tuple[Floats, Floats]] = {}
    for function, features in alike.items():
        own = np.unique(threshold[np.isin(feature, features)])
        below = np.nextafter(own, -np.inf) if less else own
        cuts = last_left(function, below, single=single)
        known |= dict.fromkeys(features, (own, np.nextafter(cuts, np.inf) if less else cuts))
    graph.repaired("thresholds led back through functions")
    if block.origin.everywhere:
        return block.origin.tensor, Cuts(known)
    missing = graph.add("IsNaN", block.tensor)
    return graph.add("Where", missing, np.array([np.nan]), block.origin.tensor), Cuts(known)


def last_left(function: Function, thresholds: Floats, *, single: bool) -> Floats:
    """Return for each threshold the largest double that a function, never falling, leaves at it or below.

    Where the function has no answer, as below the least number that has a logarithm, a number counts as below.
    Infinite where all numbers, or none, are left.
    """
    low, high = (np.full(len(thresholds), _place(np.array([end]))[0]) for end in (-np.inf, np.inf))
    for _ in range(_HALVINGS):
        middle = (low >> 1) + (high >> 1) + (low & high & 1)
        inside = (middle > low) & (middle < high)
        if not inside.any():
            break
        with np.errstate(all="ignore"):
            made = np.asarray(function(_number(middle)), dtype=np.float64)
            if single:
                made = made.astype(np.float32).astype(np.float64)
            left = ~(made > thresholds)
        low, high = np.where(inside & left, middle, low), np.where(inside & ~left, middle, high)
    return _number(low)


def _place(numbers: Floats) -> Ints:
    """Return where doubles stand among all doubles: neighbours differ by one."""
    bits = numbers.view(np.int64)
    return np.where(bits < 0, np.int64(-(2**63)) - bits, bits)


def _number(places: Ints) -> Floats:
    return np.where(places < 0, np.int64(-(2**63)) - places, places).view(np.float64)
