"""Shares of answers become tables for the terminal, and bars, a swarm or a waterfall in a notebook."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlnb.errors import MlnbError, UsageError
from mlnb.faces.tables import table
from mlnb.model.card import Drawing
from mlnb.model.explain import BACKGROUND, BUDGET, explain_rows
from mlnb.model.explain_figures import (
    Bar,
    Swarm,
    bars_figure,
    bars_svg,
    swarm_figure,
    swarm_svg,
    waterfall_figure,
    waterfall_svg,
)
from mlnb.model.explanation import Explanation

if TYPE_CHECKING:
    from mlnb.faces.verb import Asked
    from mlnb.model.scorer import Scorer
    from mlnb.model.signature import Values
    from mlnb.project import Project
    from mlnb.registry.version import Version

ROWS = 100
_MOST_GIVEN = 20
_DRAWN = 15


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be explained.

    Attributes
    ----------
    row : str
        Number of a row of the frozen sample, or a JSON file of rows; empty explains the sample as a whole.
    output : str
        Which part of the answer is shown; empty for the first.
    budget : int
        Rows that the model may be asked about; 0 for the usual number.
    """

    row: str = ""
    output: str = ""
    budget: int = 0


@dataclass(frozen=True, slots=True)
class Explained:
    """The explanation of a version.

    Attributes
    ----------
    ref : str
    explanation : Explanation
    output : int
        Which part of its answers is shown.
    names : tuple of str
        Those of rows that were asked for.
    chances : bool
        Whether the parts of an answer are probabilities of classes.
    """

    ref: str
    explanation: Explanation
    output: int
    names: tuple[str, ...] = ()
    chances: bool = False

    @property
    def unit(self) -> str:
        """What the shares are shares of."""
        name = self.explanation.outputs[self.output]
        if self.chances:
            return f"probability of {name}"
        return "prediction" if name == "prediction" else f"answer {name}"

    def to_json(self) -> dict[str, object]:
        """Return it as JSON."""
        return {**self.explanation.to_json(), "shown": self.explanation.outputs[self.output]}


def answer_explain(asked: Asked, ref: str, wanted: Wanted) -> int:
    """Print what moved a version's answers."""
    return asked.answer(explained(asked.project(), ref, wanted), lines)


def explained(project: Project, ref: str, wanted: Wanted) -> Explained:
    """Explain the answers of a version's package.

    Raises
    ------
    UsageError
        If there is no such row, file or part of the answer, or the budget is too small.
    """
    from mlnb.batch.trust import load_trusted

    version = project.models.get(ref)
    with tempfile.TemporaryDirectory(prefix="mlnb-explain-") as folder:
        package = Path(folder) / "package"
        project.models.unpack(version, package)
        scorer = load_trusted(package)
        sample = _sample(package, scorer)
        total = len(next(iter(sample.values())))
        rows = _chosen(wanted.row, scorer, sample, total)
        background = _take(sample, np.arange(min(BACKGROUND, total)) * total // min(BACKGROUND, total))
        estimator = _estimator(project, version, scorer)
        found = explain_rows(scorer, rows, background, budget=wanted.budget or BUDGET, estimator=estimator)
    if wanted.output and wanted.output not in found.outputs:
        raise UsageError(
            f"{version.ref} does not answer {wanted.output!r}.", f"Name one of: {', '.join(found.outputs)}."
        )
    output = found.outputs.index(wanted.output) if wanted.output else 0
    names = tuple(_names(wanted.row, len(found.answers)))
    return Explained(version.ref, found, output, names, scorer.signature.probabilities)


def lines(told: Explained) -> Iterator[str]:
    """Yield the shares: of each row that was asked for, or their mean size over the sample."""
    found, at = told.explanation, told.output
    yield f"{told.ref}, {told.unit}: {found.sentence()}"
    if not told.names:
        yield from table(("column", "mean absolute SHAP value"), found.ranking(at))
        return
    for row in range(len(found.answers)):
        yield ""
        yield f"{told.names[row]}: {found.answers[row, at]:.6g}, on average {found.base[row, at]:.6g}"
        order = np.argsort(-np.abs(found.values[row, :, at]), kind="stable")
        yield from table(
            ("column", "value", "SHAP value", "standard error"),
            [
                (name := found.columns[place], _text(found.inputs[name][row]), *_share(found, row, place, at))
                for place in order.tolist()
            ],
        )


def drawings(told: Explained) -> list[Drawing]:
    """Return the pictures: a waterfall for each row that was asked for, or bars and a swarm of the sample."""
    found, at = told.explanation, told.output
    if told.names:
        return [_waterfall(told, row) for row in range(len(found.answers))]
    ranked = found.ranking(at)[:_DRAWN]
    bars = [Bar(name, size) for name, size in ranked]
    title, unit = f"{told.ref}: what moves the {told.unit}", f"mean absolute SHAP value (part of the {told.unit})"
    places = {name: place for place, name in enumerate(found.columns)}
    swarms = [_swarm(found, name, places[name], at) for name, _ in ranked]
    coloured = any(height == height for one in swarms for height in one.heights)
    rows = f"{told.ref}: SHAP values of {len(found.answers):,} rows"
    spread = f"{rows} (the column's value: blue is low, red is high)" if coloured else rows
    said = f"SHAP value (part of the {told.unit})"
    return [
        Drawing(title, bars_svg(bars, title, unit), bars_figure(bars, title, unit)),
        Drawing(spread, swarm_svg(swarms, spread, said), swarm_figure(swarms, spread, said)),
    ]


def show(told: Explained) -> None:
    """Display the pictures in a notebook, and what they rest on."""
    from IPython.display import display

    from mlnb.faces.card import show_drawing
    from mlnb.faces.html import bundle, text_html

    for drawing in drawings(told):
        show_drawing(drawing)
    said = f"{told.ref}, {told.unit}: {told.explanation.sentence()}"
    display(bundle(text_html(said), "\n".join(lines(told))), raw=True)


def _sample(package: Path, scorer: Scorer) -> dict[str, Values]:
    sample = json.loads((package / "sample.json").read_bytes())
    rows = [dict(zip(sample["columns"], row, strict=True)) for row in sample["data"]]
    return scorer.signature.check(rows)


def _chosen(row: str, scorer: Scorer, sample: Mapping[str, Values], total: int) -> dict[str, Values]:
    """Return the rows to explain."""
    if not row:
        count = min(ROWS, total)
        return _take(sample, np.arange(count) * total // count)
    if row.isdecimal():
        if int(row) >= total:
            raise UsageError(f"The sample has no row {row}.", f"Rows are counted from 0 to {total - 1:,}.")
        return _take(sample, np.array([int(row)]))
    return scorer.signature.check(_read(Path(row)))


def _names(row: str, count: int) -> list[str]:
    if not row:
        return []
    return [f"row {row} of the sample"] if row.isdecimal() else [f"row {at} of {row}" for at in range(count)]


def _read(path: Path) -> list[dict[str, object]]:
    try:
        given = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}.", "Give --row the number of a row, or a JSON file of rows."
        ) from error
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}.", 'Write {"rows": [{...}]}, as /predict takes it.') from error
    rows = given.get("rows", [given]) if isinstance(given, dict) else given
    if not isinstance(rows, list) or not rows or not all(isinstance(one, dict) for one in rows):
        raise UsageError(f"{path} holds no rows.", 'Write {"rows": [{...}]}, as /predict takes it.')
    return rows[:_MOST_GIVEN]


def _estimator(project: Project, version: Version, scorer: Scorer) -> object:
    """Return the estimator that was packaged, where shap's TreeExplainer may explain it; None where not."""
    from mlnb.model.explain_trees import may_fit
    from mlnb.registry.card_words import facts_of
    from mlnb.run.values import artifact_of

    stage, _, variable = facts_of(version, project.state.files).model.rpartition(".")
    if not variable:
        return None
    try:
        record = project.runs.read(version.lineage.run)
        if not may_fit(scorer, artifact_of(record, variable, stage).type_name):
            return None
        return project.runs.load(variable, record.id, stage)
    except MlnbError:  # the run is gone: the package explains itself
        return None


def _take(columns: Mapping[str, Values], places: Values) -> dict[str, Values]:
    return {name: values[places] for name, values in columns.items()}


def _share(found: Explanation, row: int, place: int, at: int) -> Sequence[str]:
    error = found.error[row, place, at]
    told = "exact" if found.method == "exact" else "" if found.method == "shap trees" else f"{error:.2g}"
    return f"{found.values[row, place, at]:+.4g}", told


def _waterfall(told: Explained, row: int) -> Drawing:
    found, at = told.explanation, told.output
    order = np.argsort(-np.abs(found.values[row, :, at]), kind="stable").tolist()
    shown, rest = (order, []) if len(order) <= _DRAWN else (order[: _DRAWN - 1], order[_DRAWN - 1 :])
    bars = [
        Bar(
            f"{found.columns[place]} = {_text(found.inputs[found.columns[place]][row])}",
            float(found.values[row, place, at]),
        )
        for place in shown
    ]
    if rest:
        bars.append(Bar(f"{len(rest)} others", float(found.values[row, rest, at].sum())))
    title = f"{told.ref}, {told.unit}, {told.names[row]}"
    base = float(found.base[row, at])
    return Drawing(title, waterfall_svg(bars, base, title), waterfall_figure(bars, base, title))


def _swarm(found: Explanation, name: str, place: int, at: int) -> Swarm:
    values = found.inputs[name]
    heights = np.full(len(values), np.nan)
    if values.ndim == 1 and values.dtype.kind in "iufb":
        numbers = values.astype(np.float64)
        known = np.isfinite(numbers)
        if known.any():
            ranks = np.searchsorted(np.sort(numbers[known]), numbers[known], side="left")
            heights[known] = ranks / max(int(ranks.max()), 1)
    return Swarm(
        name, tuple(found.values[:, place, at].tolist()), tuple(heights.tolist()), tuple(_text(one) for one in values)
    )


def _text(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"[{', '.join(_text(one) for one in value[:5].tolist())}{', ...' if value.size > 5 else ''}]"
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and value != value):
        return "missing"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
