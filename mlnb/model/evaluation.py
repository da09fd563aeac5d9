"""What was measured of some answers becomes an `Evaluation`: metrics with intervals, slices and curves, never rows.

Its size depends on metrics, slices and classes, up to limits, not on the number of rows. Standard library only: gates,
cards and reports read it without numpy. How it is kept is the matter of `mlnb.model.evaluation_codec`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlnb.errors import HandoffError, UsageError
from mlnb.model.metric_names import ALIASES, bounded, candidates, remedy

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@dataclass(frozen=True, slots=True)
class Metric:
    """One number, and how well it is known.

    Attributes
    ----------
    name : str
        ``roc_auc``, ``ndcg@10``.
    value : float
        NaN where it is not defined, such as the area where only one class occurs.
    low, high : float
        Ends of the interval; NaN where none can be given.
    """

    name: str
    value: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True, slots=True)
class Slice:
    """The metrics of some of the rows, or of one class.

    Attributes
    ----------
    column, value : str
        ``origin`` and ``JFK``; ``class`` and its name; ``horizon`` and the steps ahead.
    rows : int
        Number of its rows.
    small : bool
        Whether there are too few (see `mlnb.model.evaluate`) to lean on its numbers.
    """

    column: str
    value: str
    rows: int
    small: bool
    metrics: tuple[Metric, ...]

    @property
    def name(self) -> str:
        """Return how gates write it: ``[origin=JFK]``."""
        return f"[{self.column}={self.value}]"


@dataclass(frozen=True, slots=True)
class Curve:
    """Points that draw how answers and truth go together.

    Attributes
    ----------
    kind : str
        ``roc``, ``precision_recall``, ``calibration``, ``residuals``, ``qq``, ``binned`` or ``cut_off``.
    label : str
        The class or metric that it is of; empty where there is only one.
    x, y : tuple of float, shape (points,)
        At most 101 points.
    rows : tuple of int, shape (points,)
        Rows behind each point; empty where that says nothing.
    """

    kind: str
    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    rows: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often each class (row) was answered as each class (column)."""

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Interval:
    """How intervals were made.

    Attributes
    ----------
    method : str
        ``BCa bootstrap``.
    level : float
        Nominal coverage, 0.95.
    resamples : int
        Resamples of the whole; 0 for no intervals.
    seed : int
        Of the resamples.
    unit : str
        What was drawn: ``row``, ``query``, ``series`` or ``block of 12 rows``.
    """

    method: str
    level: float
    resamples: int
    seed: int
    unit: str


@dataclass(frozen=True, slots=True, repr=False)
class Evaluation:
    """What `mlnb.evaluate` has found.

    ``evaluation["auc"]``, ``["auc_low"]`` and ``["auc[origin=JFK]"]`` are its numbers, as in a gate.

    Attributes
    ----------
    task : str
        ``binary``, ``multiclass``, ``regression``, ``ranking`` or ``forecast``.
    rows, units : int
        Rows, and units that were drawn for the intervals.
    metrics : tuple of Metric
        Of all rows, the most telling first.
    slices : tuple of Slice
        By column, in the column's order.
    curves : tuple of Curve
        What the figure draws.
    confusion : Confusion or None
        Of classes.
    interval : Interval
        How the intervals were made.
    notes : tuple of str
        What was inferred, left out or is doubtful, a sentence each.
    """

    task: str
    rows: int
    units: int
    metrics: tuple[Metric, ...]
    slices: tuple[Slice, ...]
    curves: tuple[Curve, ...]
    confusion: Confusion | None
    interval: Interval
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> float:
        """Return a number by its name.

        Raises
        ------
        UsageError
            If there is no such number; it names those that there are.
        """
        found = self.numbers()
        for candidate in candidates(name):
            if candidate in found:
                return found[candidate]
        raise UsageError(
            f"The evaluation ({self.task}) has no metric {name!r}.", remedy(name, (one.name for one in self.metrics))
        )

    def __contains__(self, name: object) -> bool:
        """Say whether there is a number of that name."""
        found = self.numbers()
        return isinstance(name, str) and any(candidate in found for candidate in candidates(name))

    def numbers(self) -> dict[str, float]:
        """Return every number by name: values, ends of intervals, and those of the slices."""
        found = dict(_numbers(self.metrics, ""))
        for part in self.slices:
            found.update(_numbers(part.metrics, part.name))
        return found

    def named(self) -> dict[str, float]:
        """Return `numbers`, and each once more under the other names that people use: ``auc`` for ``roc_auc``."""
        found = self.numbers()
        others: dict[str, float] = {}
        for alias in ALIASES:
            for whole in ("", *(part.name for part in self.slices)):
                for name in (f"{alias}{whole}", f"{alias}_low{whole}", f"{alias}_high{whole}"):
                    meant = next((other for other in candidates(name) if other in found), name)
                    if meant in found:
                        others[name] = found[meant]
        return found | others

    def figure(self) -> Figure:
        """Return the curves as a plotly figure."""
        from plotly.graph_objects import Figure

        from mlnb.model.evaluation_figures import plotly_figure

        return Figure(plotly_figure(self))

    def __repr__(self) -> str:
        """Return one line: the task, the rows, the first metrics."""
        from mlnb.model.evaluation_view import headline

        return f"<Evaluation {headline(self)}>"

    def __str__(self) -> str:
        """Return the tables as text."""
        from mlnb.model.evaluation_view import text

        return text(self)

    def _repr_html_(self) -> str:
        from mlnb.model.evaluation_view import html

        return html(self)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/html": self._repr_html_(), "text/plain": str(self)}

    def _ipython_display_(self) -> None:
        """Show the tables, and the curves as a plotly figure that is a static picture where nothing draws it."""
        from mlnb.model.evaluation_view import show

        show(self)


def evaluations_in(namespace: Mapping[str, object], taken: Mapping[str, object]) -> dict[str, Evaluation]:
    """Return the evaluations that a stage has bound, each under the first of its names.

    Names with a leading underscore do not count (IPython keeps what cells display under such names), nor does what the
    stage was given and has not bound anew.
    """
    found: dict[str, Evaluation] = {}
    met: set[int] = set()
    for name, value in namespace.items():
        if isinstance(value, Evaluation) and not name.startswith("_") and taken.get(name) is not value:
            if id(value) not in met:
                found[name] = value
            met.add(id(value))
    return found


def metric_of(name: str, stage: str, bound: Mapping[str, Evaluation]) -> float:
    """Return the metric that a stage's mark asks for, from the one evaluation that has it.

    Raises
    ------
    HandoffError
        If none or several have it.
    """
    having = [variable for variable, evaluation in bound.items() if name in evaluation]
    if len(having) == 1:
        return bound[having[0]][name]
    if having:
        problem = f"Stage {stage!r} asks for the metric {name!r}, which {len(having)} evaluations have: "
        problem += f"{', '.join(having)}."
        way = f"Bind the one that you mean: {name.partition('@')[0]} = {having[-1]}[{name!r}]."
    elif bound:
        known = dict.fromkeys(one.name for evaluation in bound.values() for one in evaluation.metrics)
        problem = f"Stage {stage!r} asks for the metric {name!r}, which {' and '.join(bound)} does not have."
        way = remedy(name, known)
    else:
        problem = f"Stage {stage!r} asks for the metric {name!r}, but binds neither it nor an evaluation."
        way = f"Bind it, or bind what evaluate() returns: evaluation = evaluate(...), which gives {name!r}."
    raise HandoffError(problem, way, name=name, giver=stage)


def _numbers(metrics: tuple[Metric, ...], part: str) -> Iterator[tuple[str, float]]:
    for one in metrics:
        yield f"{one.name}{part}", one.value
        if not math.isnan(one.low):
            yield f"{bounded(one.name, 'low')}{part}", one.low
            yield f"{bounded(one.name, 'high')}{part}", one.high
