"""Heads and cells become a table of HTML that looks the same on every page and in every front end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

FONT = "font:13px system-ui,'Segoe UI','DejaVu Sans',sans-serif"
_CELL = "text-align:left;vertical-align:top;padding:3px 18px 3px 0;background:none"
_CELL += ";border-bottom:1px solid rgba(125,135,150,.25)"
_HEAD = f"{_CELL};opacity:.65;font-weight:500"


def html_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return the table.

    Parameters
    ----------
    heads : sequence of str
        Plain texts.
    rows : iterable of sequence of str
        Cells in HTML, escaped where they are anybody's words.
    """
    head = "".join(f'<th style="{_HEAD}">{escape(one)}</th>' for one in heads)
    body = "".join("<tr>" + "".join(f'<td style="{_CELL}">{cell}</td>' for cell in row) + "</tr>" for row in rows)
    return (
        '<div style="overflow-x:auto"><table style="border-collapse:collapse;margin:0;font-size:13px">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
