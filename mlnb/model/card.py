"""What is known of a version becomes a short model card in Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from mlnb.model.parity import Parity
from mlnb.model.signature import Column, Signature


def model_card(
    title: str,
    signature: Signature,
    parity: Parity,
    metrics: Mapping[str, float],
    lineage: Mapping[str, object],
    *,
    reason: str = "",
) -> str:
    """Return the card.

    Parameters
    ----------
    title : str
        The version, such as ``delays/7``.
    signature, parity, reason
        Of the export.
    metrics : mapping of str to float
        What the run measured.
    lineage : mapping of str to object
        Where the version comes from; inner mappings are shown as ``key=value``.
    """
    given = f"one of {', '.join(f'`{_cell(one)}`' for one in signature.classes)}" if signature.classes else "a number"
    chances = ", with probabilities" if signature.probabilities else ""
    lines = [
        f"# {_cell(title)}",
        "",
        f"A {signature.task} that answers {given}{chances}.",
        "",
        "## Takes",
        "",
        "| column | type | may be missing | in the sample |",
        "|---|---|---|---|",
        *(_row(column) for column in signature.inputs),
        "",
        "## Metrics",
        "",
        *_table(("metric", "value"), [(name, f"{value:.6g}") for name, value in sorted(metrics.items())]),
        "",
        "## Fidelity",
        "",
        reason or f"{parity.sentence()[0].upper()}{parity.sentence()[1:]}.",
        "",
        "## Lineage",
        "",
        *_table(("what", "value"), [(name, _told(value)) for name, value in lineage.items()]),
    ]
    return "\n".join(lines) + "\n"


def _row(column: Column) -> str:
    seen = ""
    if column.categories:
        more = ", ..." if column.categories[8:] else ""
        seen = ", ".join(_cell(one) for one in column.categories[:8]) + more
    elif column.minimum is not None and column.maximum is not None:
        seen = f"{column.minimum:g} to {column.maximum:g}"
    return f"| `{_cell(column.name)}` | {column.dtype} | {'yes' if column.nullable else 'no'} | {seen} |"


def _table(head: tuple[str, str], rows: list[tuple[str, str]]) -> list[str]:
    if not rows:
        return ["None recorded."]
    return [
        f"| {head[0]} | {head[1]} |",
        "|---|---|",
        *(f"| {_cell(name)} | {_cell(value)} |" for name, value in rows),
    ]


def _told(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={_told(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_told(inner) for inner in value)
    return str(value)


def _cell(value: object) -> str:
    return " ".join(str(value).replace("|", "\\|").replace("`", "'").split())
