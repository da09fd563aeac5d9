"""Boxes of lines and the edges between them become an SVG picture, from top to bottom, labels on the edges.

Nodes bring their own light ground and dark text, lines are of a middle grey, so that the picture reads on white and on
black alike. It holds no script and loads nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape

from mlnb.pipeline.layout import Box, Layout, place

_MARGIN = 16.0
_GAP = 28.0
_LAYER_GAP = 72.0
_PORT_GAP = 22.0
_LINE = 16.0
_PADDING = 9.0
_CHARACTER = 7.3
_LONGEST = 38
_COLOURS = {
    "stage": ("#e8f0fe", "#3b6fd4"),
    "test": ("#e9f6ec", "#3f8f5a"),
    "deploy": ("#fdf1e0", "#c47a1b"),
    "origin": ("#f4f5f7", "#7d8796"),
    "version": ("#efe9fd", "#6d4bc4"),
    "alias": ("#fdf1e0", "#c47a1b"),
}
_STATES = {"done": "#2e7d32", "cached": "#1d5fa8", "failed": "#c62828", "running": "#b45309"}
_STYLE = (
    "text{font:12px system-ui,'Segoe UI','DejaVu Sans',sans-serif;fill:#1c2330;text-anchor:middle}"
    ".name{font-weight:600;font-size:13px}.more{fill:#4a5568;font-size:11px}.edge{fill:none;stroke:#7d8796;stroke-width:1.5}"
    ".badge text{fill:#fff;font-size:10.5px}"
    ".label rect{fill:#f4f5f7;stroke:#c3c9d2}.label text{font-size:11px}.quiet{fill:#7d8796;text-anchor:start}"
)


@dataclass(frozen=True, slots=True)
class Node:
    """A box to draw.

    Attributes
    ----------
    name : str
        In the graph.
    kind : str
        ``stage``, ``test``, ``deploy``, ``origin``, ``version`` or ``alias``; it has a colour.
    lines : tuple of str
        The first is the title.
    state : str
        Stands in the corner: ``done``, ``failed``; empty for nothing.
    """

    name: str
    kind: str
    lines: tuple[str, ...]
    state: str = ""

    @property
    def box(self) -> Box:
        """What it needs of room."""
        width = max(len(self.lines[0]) * (_CHARACTER + 0.7), *(len(line) * _CHARACTER * 0.93 for line in self.lines))
        return Box(self.name, max(110.0, width + 2 * _PADDING), len(self.lines) * _LINE + 2 * _PADDING)


def draw(
    nodes: Sequence[Node], edges: Mapping[tuple[str, str], tuple[str, ...]], title: str, notes: Sequence[str] = ()
) -> str:
    """Return the picture of an acyclic graph.

    Parameters
    ----------
    nodes : sequence of Node
        Givers before takers.
    edges : mapping of (giver, taker) to names
        What travels; () draws a line without a label.
    title : str
        For who cannot see it.
    notes : sequence of str
        Lines below it.
    """
    layout = place([node.box for node in nodes], [*edges], gap=_GAP, layer_gap=_LAYER_GAP)
    notes = [shortened(note, 90) for note in notes]
    width = max([layout.width, *(len(note) * _CHARACTER for note in notes)]) + 2 * _MARGIN
    height = layout.height + 2 * _MARGIN + _LINE * 1.5 * len(notes)
    return "".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width:.0f} {height:.0f}" '
            f'width="{width:.0f}" height="{height:.0f}" class="mlnb-plan">',
            f"<title>{_text(title)}</title><style>{_scoped(_STYLE)}</style>",
            '<defs><marker id="mlnb-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M0 0 8 4 0 8z" fill="#7d8796"/></marker></defs>',
            f'<g transform="translate({_MARGIN:.0f} {_MARGIN:.0f})">',
            *_edge_parts(nodes, edges, layout),
            *(_drawn(node, layout) for node in nodes),
            *(
                f'<text class="quiet" x="0" y="{layout.height + _LINE * 1.5 * (line + 1):.0f}">{_text(note)}</text>'
                for line, note in enumerate(notes)
            ),
            "</g></svg>",
        ]
    )


def _edge_parts(
    nodes: Sequence[Node], edges: Mapping[tuple[str, str], tuple[str, ...]], layout: Layout
) -> Iterator[str]:
    """Yield all lines first and all labels then, so that no line crosses a label."""
    boxes = {node.name: node.box for node in nodes}
    starts, ends = _ports(boxes, edges, layout)
    labels: list[str] = []
    taken: list[tuple[float, float, float]] = []
    for (giver, taker), names in edges.items():
        points = [*layout.paths[giver, taker]]
        points[0] = (starts[giver, taker], points[0][1] + boxes[giver].height / 2)
        points[-1] = (ends[giver, taker], points[-1][1] - boxes[taker].height / 2 - 1)
        yield f'<path class="edge" marker-end="url(#mlnb-arrow)" d="{_curve(points)}"/>'
        if names:
            labels.append(_label(names, points, taken))
    yield from labels


def _ports(
    boxes: Mapping[str, Box], edges: Iterable[tuple[str, str]], layout: Layout
) -> tuple[Mapping[tuple[str, str], float], Mapping[tuple[str, str], float]]:
    """Return where edges leave and enter their boxes: side by side, in the order of where they go and come from."""
    sides: tuple[dict[tuple[str, str], float], dict[tuple[str, str], float]] = ({}, {})
    for side, found in enumerate(sides):
        near, far = (0, 1) if side == 0 else (-1, -2)
        for name, box in boxes.items():
            own = sorted((edge for edge in edges if edge[side] == name), key=partial(_x_at, layout, far))
            step = min(_PORT_GAP, box.width / (len(own) + 1))
            for number, edge in enumerate(own):
                found[edge] = layout.paths[edge][near][0] + (number - (len(own) - 1) / 2) * step
    return sides


def _x_at(layout: Layout, point: int, edge: tuple[str, str]) -> float:
    return layout.paths[edge][point][0]


def _curve(points: Sequence[tuple[float, float]]) -> str:
    x, y = points[0]
    parts = [f"M{x:.1f} {y:.1f}"]
    for next_x, next_y in points[1:]:
        middle = (y + next_y) / 2
        parts.append(f"C{x:.1f} {middle:.1f} {next_x:.1f} {middle:.1f} {next_x:.1f} {next_y:.1f}")
        x, y = next_x, next_y
    return "".join(parts)


def _label(names: Sequence[str], points: Sequence[tuple[float, float]], taken: list[tuple[float, float, float]]) -> str:
    """Return what an edge carries, on its last stretch and clear of the labels already placed."""
    whole = ", ".join(names)
    text = shortened(whole, 26)
    half = len(text) * _CHARACTER * 0.47 + 6
    (x, y), (end_x, end_y) = points[-2:]
    for share in (0.5, 0.7, 0.3, 0.85, 0.15):
        ease = share * share * (3 - 2 * share)
        middle_x, middle_y = x + (end_x - x) * ease, y + (end_y - y) * share
        if not any(abs(middle_x - a) < half + b and abs(middle_y - c) < _LINE + 2 for a, b, c in taken):
            break
    taken.append((middle_x, half, middle_y))
    return (
        f'<g class="label"><title>{_text(whole)}</title><rect x="{middle_x - half:.1f}" y="{middle_y - 8.5:.1f}" '
        f'width="{2 * half:.1f}" height="17" rx="8.5"/><text x="{middle_x:.1f}" y="{middle_y + 4:.1f}">'
        f"{_text(text)}</text></g>"
    )


def _drawn(node: Node, layout: Layout) -> str:
    x, y = layout.centres[node.name]
    box = node.box
    fill, stroke = _COLOURS[node.kind]
    top = y - box.height / 2
    lines = "".join(
        f'<text class="{"more" if number else "name"}" x="{x:.1f}" y="{top + _PADDING + _LINE * (number + 0.75):.1f}">'
        f"{_text(line)}</text>"
        for number, line in enumerate(node.lines)
    )
    return (
        f'<g><rect x="{x - box.width / 2:.1f}" y="{top:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="7" '
        f'fill="{fill}" stroke="{stroke}" stroke-width="1.4"/>{lines}{_badge(node, x, top)}</g>'
    )


def _badge(node: Node, x: float, top: float) -> str:
    """Return the state in the upper right corner of a node, half above its edge."""
    if not node.state:
        return ""
    width = len(node.state) * _CHARACTER * 0.9 + 10
    left = x + node.box.width / 2 - width + 8
    colour = _STATES.get(node.state, "#5f6b7a")
    return (
        f'<g class="badge"><rect x="{left:.1f}" y="{top - 8:.1f}" width="{width:.1f}" height="16" rx="8" '
        f'fill="{colour}"/><text x="{left + width / 2:.1f}" y="{top + 4:.1f}">{_text(node.state)}</text></g>'
    )


def _scoped(style: str) -> str:
    """Put every rule under our class: a page's other pictures must not be touched."""
    rules = [rule for rule in style.split("}") if rule]
    return "".join(f".mlnb-plan {rule}}}" for rule in rules)


def shortened(text: str, longest: int = _LONGEST) -> str:
    """Return a text that is not longer than a node is wide."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _text(text: str) -> str:
    printable = "".join(character if character.isprintable() else " " for character in text)
    return escape(printable, quote=True)
