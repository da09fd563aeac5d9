"""Boosted trees of any library as one kind of value: nodes, leaves, and what is done to their sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(slots=True)
class Tree:
    """One tree; node 0 is its root.

    Attributes
    ----------
    left, right : list of int
        Where a node leads to; -1 for leaves.
    feature, threshold, missing_left, value : list
        What a node compares, whether a missing number goes left, what a leaf gives.
    members : list of array or None
        The categories that go left, where a node splits by categories.
    target : int
        Where the leaf's value is added.
    """

    left: list[int] = field(default_factory=list)
    right: list[int] = field(default_factory=list)
    feature: list[int] = field(default_factory=list)
    threshold: list[float] = field(default_factory=list)
    missing_left: list[bool] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    members: list[Floats | None] = field(default_factory=list)
    target: int = 0

    def node(
        self,
        feature: int = 0,
        threshold: float = 0.0,
        *,
        missing_left: bool = False,
        value: float = 0.0,
        members: Floats | None = None,
    ) -> int:
        """Append a node that leads nowhere yet, and return its number."""
        self.left.append(-1)
        self.right.append(-1)
        self.feature.append(feature)
        self.threshold.append(threshold)
        self.missing_left.append(missing_left)
        self.value.append(value)
        self.members.append(members)
        return len(self.left) - 1


@dataclass(frozen=True, slots=True)
class Forest:
    """A fitted model of one of the libraries.

    Attributes
    ----------
    trees : tuple of Tree
        In the order in which they are summed.
    start : tuple of float
        What each target's sum begins with.
    divisor : float
        By what the sum of the leaves is divided.
    less : bool
        Whether a node goes left below its threshold, rather than below or at it.
    single : bool
        Whether numbers are rounded to float32 first.
    link : str
        What is done to the sum: ``identity``, ``exp``, ``sigmoid``, ``softmax``, ``sigmoids`` (of several classes, each
        its own), ``square`` (with its sign) or ``softplus``.
    scale : float
        By what the sum is multiplied before a sigmoid.
    categories : mapping of int to list
        The labels of a feature of categories, in the order of their codes; empty where codes are sent, or in `labels`.
    labels : tuple of list
        LightGBM's: the labels of all columns of categories, ordered ones included, in the order of the columns.
    missing : float
        The number that means missing, beside NaN.
    zero_missing : bool
        Whether 0 means missing, too.
    """

    trees: tuple[Tree, ...]
    start: tuple[float, ...]
    divisor: float = 1.0
    less: bool = False
    single: bool = False
    link: str = "identity"
    scale: float = 1.0
    categories: Mapping[int, Sequence[object]] = field(default_factory=dict)
    labels: tuple[Sequence[object], ...] = ()
    missing: float = float("nan")
    zero_missing: bool = False
