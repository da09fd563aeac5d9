"""A row, background rows and a model's answer function become Shapley values: each column's share in the answer.

Carried into a service that explains: the standard library and numpy only.

The game is the interventional one: the worth of a set of columns is the mean answer where these have the row's values
and the others those of the background rows, one after the other. The shares and the base value (the mean answer to the
background) add up to the answer, whatever the budget.

With few columns all sets are asked about, and the values are exact. Else permutations are sampled, each with its
reverse (antithetic), every background row as often as any other; `Shapley.error` is then the standard error of each
value. A budget too small for one such round is spent on fewer background rows, and the base value is that of those.

References
----------
Shapley, A Value for n-Person Games, 1953. Strumbelj, Kononenko, Explaining Prediction Models and Individual
Predictions with Feature Contributions, KAIS 41 (2014), algorithm 1. Mitchell et al., Sampling Permutations for Shapley
Value Estimation, JMLR 23 (2022), section 2.3 (antithetic sampling).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Arrays: TypeAlias = Mapping[str, npt.NDArray[Any]]
Answer: TypeAlias = Callable[[Arrays], Floats]
BATCH = 4_096


@dataclass(frozen=True, slots=True)
class Shapley:
    """The shares of one answer.

    Attributes
    ----------
    columns : tuple of str
        The columns, in the order of the values.
    values : array, shape (columns, outputs)
        Each column's share, in the unit of the answer.
    base : array, shape (outputs,)
        The mean answer to the background rows that were used.
    answer : array, shape (outputs,)
        The answer to the row: ``base + values.sum(axis=0)``.
    error : array, shape (columns, outputs)
        Standard errors of the values; 0 where they are exact.
    exact : bool
        Whether all sets of columns were asked about.
    evaluations : int
        Rows that the model was asked about.
    background : int
        Background rows that were used.
    """

    columns: tuple[str, ...]
    values: Floats
    base: Floats
    answer: Floats
    error: Floats
    exact: bool
    evaluations: int
    background: int


def least_budget(columns: int) -> int:
    """Return the fewest evaluations that `shapley` can do with: one background row, there and back."""
    return 2 * max(columns, 1)


def shapley(answer: Answer, row: Arrays, background: Arrays, *, budget: int, seed: int = 0) -> Shapley:
    """Share out the answer to one row.

    Parameters
    ----------
    answer : callable
        Rows by column -> answers, shape (rows, outputs).
    row : mapping of str to array, each of shape (1, ...)
        The row.
    background : mapping of str to array, each of shape (rows, ...)
        At least one row.
    budget : int
        Rows that `answer` may be asked about; at least `least_budget`.
    seed : int
        Of the permutations.

    Raises
    ------
    ValueError
        If the budget is too small, or there is no background.

    Examples
    --------
    >>> rows = {"a": np.array([0.0]), "b": np.array([1.0])}
    >>> found = shapley(lambda x: (2 * x["a"] + x["b"])[:, None], {"a": np.array([3.0]), "b": np.array([5.0])}, rows,
    ...                 budget=100)
    >>> found.columns, found.values.ravel().tolist(), found.base.tolist(), found.exact
    (('a', 'b'), [6.0, 4.0], [1.0], True)
    """
    names = tuple(row)
    rows = len(background[names[0]])
    if budget < least_budget(len(names)) or not rows:
        raise ValueError(f"a budget of {budget} for {len(names)} columns and {rows} background rows")
    if rows * 2 ** len(names) <= budget:
        return _enumerated(answer, row, background, names)
    used = min(rows, budget // least_budget(len(names)))
    if used < rows:
        places = np.arange(used) * rows // used
        background = {name: background[name][places] for name in names}
        if used * 2 ** len(names) <= budget:
            return _enumerated(answer, row, background, names)
    return _sampled(answer, row, background, names, budget, np.random.default_rng(seed))


def _enumerated(answer: Answer, row: Arrays, background: Arrays, names: tuple[str, ...]) -> Shapley:
    """Ask about every set of columns: Shapley's formula as it stands."""
    count, rows = len(names), len(background[names[0]])
    sets = (np.arange(2**count)[:, None] >> np.arange(count) & 1).astype(bool)
    flags = np.repeat(sets, rows, axis=0)
    worth = _asked(answer, row, background, names, flags, np.tile(np.arange(rows), len(sets)))
    worth = worth.reshape(len(sets), rows, -1).mean(axis=1)
    sizes = sets.sum(axis=1)
    weights = np.array([1 / (count * math.comb(count - 1, size)) for size in range(count)])
    values = np.empty((count, worth.shape[1]))
    for place in range(count):
        without = np.flatnonzero(~sets[:, place])
        gains = worth[without + (1 << place)] - worth[without]
        values[place] = (weights[sizes[without], None] * gains).sum(axis=0)
    return Shapley(names, values, worth[0], worth[-1], np.zeros_like(values), True, flags.shape[0], rows)


def _sampled(
    answer: Answer,
    row: Arrays,
    background: Arrays,
    names: tuple[str, ...],
    budget: int,
    random: np.random.Generator,
) -> Shapley:
    """Walk from background rows to the row, one column after the other, in random orders and their reverses."""
    count, rows = len(names), len(background[names[0]])
    ends = rows + 1
    walk = 2 * (count - 1)
    rounds = max(1, (budget - ends) // (rows * walk)) if walk else 1
    base = _asked(answer, row, background, names, np.zeros((rows, count), bool), np.arange(rows))
    whole = _asked(answer, row, background, names, np.ones((1, count), bool), np.zeros(1, np.intp))[0]
    samples = np.empty((rounds, rows, count, base.shape[1]))
    for turn in range(rounds):
        orders = np.argsort(random.random((rows, count)), axis=1)
        there = _walks(answer, row, background, names, orders, base, whole)
        back = _walks(answer, row, background, names, orders[:, ::-1], base, whole)
        samples[turn] = (there + back) / 2
    values = samples.mean(axis=(0, 1))
    return Shapley(
        names,
        values,
        base.mean(axis=0),
        whole,
        _error(samples),
        False,
        ends + rounds * rows * walk,
        rows,
    )


def _walks(
    answer: Answer,
    row: Arrays,
    background: Arrays,
    names: tuple[str, ...],
    orders: npt.NDArray[np.intp],
    base: Floats,
    whole: Floats,
) -> Floats:
    """Return what each column adds on its walk, shape (background rows, columns, outputs)."""
    rows, count = orders.shape
    ranks = np.argsort(orders, axis=1)
    steps = np.arange(1, count)
    flags = ranks[:, None, :] < steps[None, :, None]
    between = _asked(
        answer, row, background, names, flags.reshape(-1, count), np.repeat(np.arange(rows), max(count - 1, 0))
    ).reshape(rows, count - 1, base.shape[1])
    ends = np.broadcast_to(whole, (rows, 1, whole.size))
    gains = np.diff(np.concatenate([base[:, None, :], between, ends], axis=1), axis=1)
    return np.take_along_axis(gains, ranks[:, :, None], axis=1)


def _asked(
    answer: Answer,
    row: Arrays,
    background: Arrays,
    names: tuple[str, ...],
    flags: npt.NDArray[np.bool_],
    places: npt.NDArray[np.intp],
) -> Floats:
    """Return the answers where a flag takes the row's value, and its background row's otherwise."""
    parts = []
    for start in range(0, len(flags), BATCH):
        chosen, at = flags[start : start + BATCH], places[start : start + BATCH]
        mixed = {}
        for place, name in enumerate(names):
            values = background[name][at]
            taken = chosen[:, place]
            values[taken] = row[name][0]
            mixed[name] = values
        parts.append(answer(mixed))
    return np.concatenate(parts) if parts else np.empty((0, 1))


def _error(samples: Floats) -> Floats:
    """Return the standard error of the mean over rounds and background rows.

    With several rounds it is that of the permutations alone, because every round holds the same background rows. One
    round cannot tell them apart: what the rows differ by is then taken for chance as well, so that it is too large.
    """
    rounds, rows = samples.shape[:2]
    if rounds > 1:
        return np.asarray(np.sqrt(samples.var(axis=0, ddof=1).sum(axis=0) / rounds) / rows)
    if rows > 1:
        return np.asarray(np.sqrt(samples[0].var(axis=0, ddof=1) / rows))
    return np.full(samples.shape[2:], math.nan)
