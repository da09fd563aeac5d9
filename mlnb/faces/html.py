"""Boards, texts and test results become HTML that a notebook shows live and keeps: no script, no network.

A display handle is updated while a run goes on, so JupyterLab, Notebook, VS Code and Colab all show progress, and the
saved notebook holds its last state.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from html import escape

from mlnb.faces.board import SIGNS, Board, Row, seconds_text

_COLOURS = {"done": "#2e7d32", "cached": "#00838f", "failed": "#c62828", "running": "#ef6c00"}
_REFRESH_S = 0.1


class LiveBoard:
    """A board in a notebook's output, redrawn as events arrive."""

    def __init__(self) -> None:
        from IPython.display import display

        self.board = Board()
        self._handle = display(bundle(board_html(self.board), ""), raw=True, display_id=True)
        self._drawn = 0.0

    def take(self, event: Mapping[str, object]) -> None:
        """Fold an event in and redraw; a stage's start, which its first cell follows, not if that was done just now."""
        self.board.take(event)
        if event.get("event") != "stage-started" or time.monotonic() - self._drawn > _REFRESH_S:
            self.draw()

    def draw(self, text: str = "") -> None:
        """Show the board as it is now, and `text` below it."""
        self._drawn = time.monotonic()
        plain_text = "\n".join(
            [*(f"{SIGNS.get(row.state, '?')} {row.name}: {row.state}" for row in self.board.rows), text]
        )
        self._handle.update(bundle(board_html(self.board) + text_html(text), plain_text), raw=True)


def bundle(html: str, text: str) -> dict[str, str]:
    """Return a MIME bundle that a front end without HTML can show, too."""
    return {"text/html": html, "text/plain": text}


def board_html(board: Board) -> str:
    """Return the board as a table."""
    rows = "".join(_row(row) for row in board.rows) or "<tr><td>starting</td></tr>"
    return (
        '<div class="mlnb-board" role="status" style="font-family:var(--jp-code-font-family,monospace);font-size:13px">'
        f'<table style="border-collapse:collapse;margin:0"><tbody>{rows}</tbody></table></div>'
    )


def text_html(text: str) -> str:
    """Return preformatted text."""
    return f'<pre style="margin:.5em 0;white-space:pre-wrap">{escape(text)}</pre>' if text else ""


def show_hint(text: str) -> None:
    """Show one unobtrusive line."""
    from IPython.display import display

    style = "color:var(--jp-ui-font-color3,#888);font-size:11px"
    display(bundle(f'<div class="mlnb-hint" style="{style}">{escape(text)}</div>', f"mlnb: {text}"), raw=True)


def show_cases(outcomes: Sequence[tuple[str, str]]) -> None:
    """Show test functions with their results: name, and what went wrong ("" for nothing)."""
    from IPython.display import display

    rows = "".join(_row(Row(name, "failed" if fault else "done", note=fault), timed=False) for name, fault in outcomes)
    text = "\n".join(
        f"{SIGNS['failed' if fault else 'done']} {name}{f'  {fault}' if fault else ''}" for name, fault in outcomes
    )
    display(
        bundle(f'<table class="mlnb-tests" style="border-collapse:collapse;margin:0">{rows}</table>', text), raw=True
    )


def _row(row: Row, *, timed: bool = True) -> str:
    colour = _COLOURS.get(row.state, "inherit")
    seconds = seconds_text(row.elapsed_s) if timed and row.state in {"running", "done", "failed"} else ""
    cell = '<td style="text-align:left;padding:1px 12px 1px 0;background:none;white-space:nowrap">'
    note = f'<td style="text-align:left;padding:1px 0;background:none">{escape(row.note)}</td>'
    return (
        f'<tr data-state="{escape(row.state)}" style="background:none">'
        f'<td style="color:{colour};padding:1px 8px 1px 0;background:none">{SIGNS.get(row.state, "?")}</td>'
        f"{cell}{escape(row.name)}</td>{cell}{escape(row.state)}</td>{cell}{seconds}</td>{note}</tr>"
    )
