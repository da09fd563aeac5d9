"""Rows become a table: drawn by rich where a terminal shows it, aligned by spaces everywhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return the table's lines."""
    texts = [[_text(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        return _drawn(headers, texts)
    widths = [max(len(line[n]) for line in [list(headers), *texts]) for n in range(len(headers))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [list(headers), *texts]
    ]


def size_text(size_bytes: int) -> str:
    """Return a size as people read it.

    Examples
    --------
    >>> size_text(0), size_text(1_234_567)
    ('0 bytes', '1.2 MB')
    """
    value, units = float(size_bytes), iter(("bytes", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while value >= 1000 and unit != "TB":
        value, unit = value / 1000, next(units)
    return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"


def _drawn(headers: Sequence[str], texts: Sequence[Sequence[str]]) -> list[str]:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*headers, box=SIMPLE_HEAD, pad_edge=False)
    for line in texts:
        drawn.add_row(*(Text(cell) for cell in line))
    console = Console()
    with console.capture() as captured:
        console.print(drawn)
    return captured.get().rstrip("\n").split("\n")


def _text(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:.4g}"
    return "" if cell is None else str(cell)
