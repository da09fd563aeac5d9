"""A version and what was measured of it become a model card in Markdown: what it is, how good, from what.

Only facts that were recorded; whatever needs judgement (intended use, ethics) has its heading and waits for a person.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from mlnb.faces.view import lineage_lines, moment
from mlnb.model.evaluation_view import markdown

if TYPE_CHECKING:
    from mlnb.model.evaluation import Evaluation
    from mlnb.registry.gates import Verdict
    from mlnb.registry.version import Version


def card(
    version: Version,
    evidence: Mapping[str, float],
    verdicts: Sequence[Verdict],
    evaluations: Mapping[str, Evaluation] = MappingProxyType({}),
) -> str:
    """Return the card's text."""
    return "\n".join(_lines(version, evidence, verdicts, evaluations))


def _lines(
    version: Version,
    evidence: Mapping[str, float],
    verdicts: Sequence[Verdict],
    evaluations: Mapping[str, Evaluation],
) -> Iterator[str]:
    task, exporter = version.signature.get("task", "model"), version.exporter
    yield f"# {version.ref}"
    yield f"\nA {task}, packaged as {exporter}, registered {moment(version.created_at)} by {version.created_by}."
    yield "\n## Intended use\n\n_To be written by a person: for whom, for what, and for what not._"
    yield "\n## What was measured\n"
    yield from _table(
        ("number", "value"), ((name, f"{value:.6g}") for name, value in (evidence or version.metrics).items())
    )
    for name, evaluation in evaluations.items():
        yield f"\n## How well it does: `{name}`\n"
        yield from markdown(evaluation)
    if verdicts:
        yield "\n## Gates\n"
        yield from (f"- {'passed' if verdict.passed else '**failed**'}: {verdict.sentence}" for verdict in verdicts)
    yield "\n## Rows it scores\n"
    yield from _table(("column", "type", "may be missing", "values"), _columns(version.signature))
    classes = version.signature.get("classes")
    if isinstance(classes, Sequence) and classes:
        yield f"\nIt answers one of: {', '.join(map(str, classes))}."
    yield "\n## Where it comes from\n"
    yield from (f"- {line}" for line in lineage_lines(version.lineage))


def _columns(signature: Mapping[str, object]) -> Iterator[tuple[str, str, str, str]]:
    inputs = signature.get("inputs")
    for column in inputs if isinstance(inputs, list) else ():
        categories, low, high = column.get("categories") or (), column.get("minimum"), column.get("maximum")
        values = ", ".join(map(str, categories[:10])) + (", ..." if len(categories) > 10 else "")
        if not categories and low is not None:
            values = f"{low:.6g} to {high:.6g}"
        yield str(column["name"]), str(column["dtype"]), "yes" if column.get("nullable") else "no", values


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(headers)} |"
    yield f"|{'---|' * len(headers)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |"
