"""The events of a verb become live progress: a board in a terminal, lines in a log, JSON for whoever follows."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import click

from mlnb.faces.board import SIGNS, Board, Row, seconds_text
from mlnb.faces.verb import Asked

if TYPE_CHECKING:
    from rich.table import Table

    from mlnb.run.events import Event

Notify = Callable[[object], None]
_COLOURS = {"done": "green", "cached": "cyan", "failed": "red", "running": "yellow"}


@contextmanager
def following(asked: Asked) -> Iterator[Notify]:
    """Show what happens in the way the verb was asked for, and hand out the function that is told.

    Ctrl-C and SIGTERM alike interrupt the block, once.
    """
    with _interrupted_once():
        if asked.events:
            yield _write_event
        elif asked.quiet:
            yield lambda event: None
        elif sys.stderr.isatty():
            yield from _on_terminal()
        else:
            yield _in_lines(show=not asked.as_json)


def _write_event(event: object) -> None:
    print(json.dumps(_facts(event)), flush=True)


def _in_lines(*, show: bool) -> Notify:
    """One line for each stage that has ended: for CI logs and pipes."""
    board = Board()

    def notify(event: object) -> None:
        row = board.take(_facts(event))
        if row and show:
            click.echo(_line(row), err=True)

    return notify


def _on_terminal() -> Iterator[Notify]:
    from rich.console import Console
    from rich.live import Live

    board = Board()

    def notify(event: object) -> None:
        board.take(_facts(event))

    with Live(get_renderable=lambda: _table(board), console=Console(stderr=True), refresh_per_second=8, transient=True):
        yield notify


def _facts(event: object) -> Mapping[str, object]:
    """Return the JSON form of an event; a step of a deployment tells its own (its module is too heavy for a run)."""
    from mlnb.run.events import event_json

    to_json = getattr(event, "to_json", None)
    return cast("Mapping[str, object]", to_json()) if callable(to_json) else event_json(cast("Event", event))


def _table(board: Board) -> Table:
    from rich.spinner import Spinner
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for row in board.rows:
        colour = _COLOURS.get(row.state, "bright_black")
        sign = Spinner("dots", style=colour) if row.state == "running" else f"[{colour}]{SIGNS.get(row.state, '?')}[/]"
        time = seconds_text(row.elapsed_s) if row.state in {"running", "done", "failed"} else ""
        table.add_row(sign, row.name, f"[{colour}]{row.state}[/]", time, row.note.splitlines()[0] if row.note else "")
    return table


def _line(row: Row) -> str:
    note = f"  {row.note.splitlines()[0]}" if row.note else ""
    took = seconds_text(row.seconds) if row.state in {"done", "failed"} else ""
    return f"{SIGNS.get(row.state, '?')} {row.name:<24} {row.state:<8} {took:>8}{note}".rstrip()


@contextmanager
def _interrupted_once() -> Iterator[None]:
    """Let only the first interrupt through, be it Ctrl-C or the SIGTERM of a CI that cancels.

    Whoever follows sends one, and the terminal or Jupyter may send another to the whole process group; a second one
    would interrupt the tidying up.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def first(number: int, frame: object) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    for each in before:
        signal.signal(each, first)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
