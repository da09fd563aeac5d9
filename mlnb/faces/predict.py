"""``mlnb predict`` scores a few rows as an answer, or a table as another table, with a bar while it goes on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlnb.errors import UsageError
from mlnb.faces.complete import refs
from mlnb.faces.tables import table
from mlnb.faces.verb import Asked, Verb

if TYPE_CHECKING:
    from mlnb.batch.table import Scored

_TABLES_ONLY = {"keep": "--keep", "on_error": "--on-error", "executor": "--executor", "jobs": "--jobs"}


@click.command(cls=Verb)
@click.argument("ref", shell_complete=refs)
@click.argument("source", required=False, metavar="[FILE]", type=str)
@click.argument("target", required=False, metavar="[OUT]", type=str)
@click.option("--rows", metavar="JSON", help='The rows themselves: {"rows": [{"column": value}]}.')
@click.option("--keep", multiple=True, metavar="COLUMN", help="A column of FILE that OUT has as well; repeatable.")
@click.option("--on-error", type=click.Choice(["stop", "null"]), help="What a row that cannot be scored does.")
@click.option("--executor", metavar="ADDRESS", help="Where a table is scored: local, or dask://HOST:PORT.")
@click.option("-j", "--jobs", type=click.IntRange(1), help="Pieces of a table at once; default: the cores.")
@click.option("--events", is_flag=True, help="Print progress, then the result, as JSON lines while a table is scored.")
@click.pass_obj
def predict(
    asked: Asked,
    /,
    ref: str,
    source: str | None,
    target: str | None,
    rows: str | None,
    **how: str | tuple[str, ...] | int | None,
) -> int:
    """Score rows or a table: mlnb predict delays@production data.parquet out.parquet.

    Without OUT, the few rows of a JSON file, of --rows or of the standard input (-) are answered at once. With OUT, a
    table of any size is scored piece by piece: FILE is a file, a folder or a pattern of Parquet, CSV, Arrow or JSON
    lines, here or at an address such as s3://bucket/folder; OUT is a file of one of these formats or, without a
    suffix, a folder of Parquet parts. It is written whole, or not at all.
    """
    if source is not None and target is not None:
        if rows is not None:
            raise UsageError("Rows of --rows have no place in a table.", "Leave out --rows, or FILE and OUT.")
        return _score(asked, ref, source, target, how)
    _check_answered(source, how)
    from mlnb.faces.rows import read_rows

    given = read_rows(rows, None if source is None else Path(source))
    return asked.answer(asked.project().predict(ref, given), prediction_lines)


def _check_answered(source: str | None, how: dict[str, str | tuple[str, ...] | int | None]) -> None:
    """Refuse what only fits a table where there is no OUT."""
    given = next((word for name, word in _TABLES_ONLY.items() if how[name]), "")
    if given or (source is not None and source != "-" and _is_table(source)):
        what = f"{given} is for tables, and" if given else f"{source} is a table, and"
        raise UsageError(f"{what} no OUT says where its answers go.", "Name it: mlnb predict REF FILE OUT.")


def _is_table(source: str) -> bool:
    from mlnb.batch.places import is_table

    return is_table(source)


def _score(asked: Asked, ref: str, source: str, target: str, how: dict[str, str | tuple[str, ...] | int | None]) -> int:
    from mlnb.batch.table import Batch
    from mlnb.faces.progress import following

    keep, jobs = how["keep"], how["jobs"]
    batch = Batch(
        source=source,
        target=target,
        keep=keep if isinstance(keep, tuple) else (),
        spare=how["on_error"] == "null",
        executor=str(how["executor"] or ""),
        jobs=jobs if isinstance(jobs, int) else 0,
    )
    with following(replace(asked, quiet=not asked.events)) as notify, _bar(asked, notify) as tell:
        scored = asked.project().score(ref, batch, tell)
    return asked.answer(scored, scored_lines)


def prediction_lines(answer: Mapping[str, object]) -> Iterator[str]:
    """Yield one line for each scored row; an answer of several values, and its probabilities, as a list."""
    parts = [answer.get(name) for name in ("predictions", "probabilities", "scores")]
    columns = [part for part in parts if isinstance(part, Sequence)]
    rows = [tuple(chain.from_iterable(map(_cells, range(len(row)), row))) for row in zip(*columns, strict=True)]
    width = max((len(row) for row in rows), default=1)
    yield from table(("prediction", *(f"p{n}" for n in range(width - 1))), rows)


def _cells(place: int, value: object) -> Sequence[object]:
    """Return a prediction as one cell, and probabilities as a cell each."""
    if isinstance(value, list | tuple) and place:
        return [f"{one:.4f}" if isinstance(one, float) else _listed(one) for one in value]
    return [_listed(value)]


def _listed(value: object) -> object:
    """Return a list as people read it, anything else as it is."""
    if not isinstance(value, list | tuple):
        return value
    return " ".join(f"{one:.4g}" if isinstance(one, float) else str(_listed(one)) for one in value)


def scored_lines(scored: Scored) -> Iterator[str]:
    """Yield what was written, and the rows that could not be scored."""
    rate = f" ({scored.rows / scored.seconds:,.0f} rows/s)" if scored.seconds else ""
    yield f"{scored.rows:,} rows scored with {scored.version} in {scored.seconds:.1f} s{rate}: {scored.target}"
    if scored.faulty:
        yield f"{scored.faulty:,} of them could not be scored: answers are null, the column fault says why"
        yield from (f"  {fault.sentence()}" for fault in scored.faults)
        if scored.faulty > len(scored.faults):
            yield f"  and {scored.faulty - len(scored.faults):,} more"


@contextmanager
def _bar(asked: Asked, notify: Callable[[object], None]) -> Iterator[Callable[[object], None]]:
    """Hand out the function that is told of progress: a bar in a terminal."""
    if asked.events or asked.quiet or asked.as_json or not sys.stderr.isatty():
        yield notify
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from mlnb.batch.table import Progress as Far

    columns = (TextColumn("{task.fields[rows]} rows"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, rows="0")

        def tell(event: object) -> None:
            if isinstance(event, Far):
                bar.update(task, completed=event.rows, total=event.total or None, rows=f"{event.rows:,}")

        yield tell
