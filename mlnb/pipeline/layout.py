"""The nodes and edges of a graph become places: layers from top to bottom, long edges bent around what is between.

References
----------
Sugiyama, Tagawa, Toda: Methods for visual understanding of hierarchical system structures. IEEE Transactions on
Systems, Man, and Cybernetics 11 (1981), 109-125.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

_SWEEPS = 8
_BEND_WIDTH = 24.0


@dataclass(frozen=True, slots=True)
class Box:
    """A node to place: its name and its size in pixels."""

    name: str
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything is, in pixels from the top left corner.

    Attributes
    ----------
    centres : mapping of str to (float, float)
        Middle of each box.
    paths : mapping of (str, str) to sequence of (float, float)
        Points of each edge: the middle of the giver, one for each layer between, the middle of the taker.
    width, height : float
        Size of the whole.
    """

    centres: Mapping[str, tuple[float, float]]
    paths: Mapping[tuple[str, str], Sequence[tuple[float, float]]]
    width: float
    height: float


@dataclass(slots=True)
class _Grid:
    """Boxes and bends by layer; a bend is a place where a long edge crosses a layer."""

    layers: list[list[str]]
    widths: dict[str, float]
    links: list[tuple[str, str]] = field(default_factory=list)
    chains: dict[tuple[str, str], list[str]] = field(default_factory=dict)


def place(boxes: Sequence[Box], edges: Sequence[tuple[str, str]], *, gap: float, layer_gap: float) -> Layout:
    """Return a layout of an acyclic graph.

    Parameters
    ----------
    boxes : sequence of Box
        In an order in which givers come before takers; nodes of one layer keep it where nothing speaks against it.
    edges : sequence of (str, str)
        Giver and taker.
    gap, layer_gap : float
        Room between neighbours and between layers, in pixels.
    """
    if not boxes:
        return Layout({}, {}, 0.0, 0.0)
    grid = _grid(boxes, edges)
    _uncross(grid)
    xs = _across(grid, gap)
    heights = {box.name: box.height for box in boxes}
    ys: dict[str, float] = {}
    top = 0.0
    for layer in grid.layers:
        height = max(heights.get(name, 0.0) for name in layer)
        ys.update(dict.fromkeys(layer, top + height / 2))
        top += height + layer_gap
    paths = {edge: [(xs[name], ys[name]) for name in chain] for edge, chain in grid.chains.items()}
    width = max(xs[name] + grid.widths[name] / 2 for name in xs)
    return Layout({box.name: (xs[box.name], ys[box.name]) for box in boxes}, paths, width, top - layer_gap)


def _grid(boxes: Sequence[Box], edges: Sequence[tuple[str, str]]) -> _Grid:
    ranks: dict[str, int] = {}
    for box in boxes:
        ranks[box.name] = max((ranks[giver] + 1 for giver, taker in edges if taker == box.name), default=0)
    layers: list[list[str]] = [[] for _ in range(max(ranks.values()) + 1)]
    for box in boxes:
        layers[ranks[box.name]].append(box.name)
    grid = _Grid(layers, {box.name: box.width for box in boxes})
    for giver, taker in edges:
        bends = [f"{giver}\0{taker}\0{rank}" for rank in range(ranks[giver] + 1, ranks[taker])]
        for rank, bend in enumerate(bends, ranks[giver] + 1):
            layers[rank].append(bend)
            grid.widths[bend] = _BEND_WIDTH
        grid.chains[giver, taker] = [giver, *bends, taker]
        grid.links.extend(pairwise(grid.chains[giver, taker]))
    return grid


def _uncross(grid: _Grid) -> None:
    """Order each layer by the mean place of its neighbours above, then below, in turns."""
    for sweep in range(_SWEEPS):
        downward = sweep % 2 == 0
        for before, layer in pairwise(grid.layers if downward else grid.layers[::-1]):
            places = {name: float(place) for place, name in enumerate(before)}
            own = {name: float(place) for place, name in enumerate(layer)}
            means = {name: _mean(_neighbours(grid, name, downward), places, own[name]) for name in layer}
            layer.sort(key=means.__getitem__)


def _neighbours(grid: _Grid, name: str, above: bool) -> list[str]:
    return [a if above else b for a, b in grid.links if (b if above else a) == name]


def _mean(names: Sequence[str], places: Mapping[str, float], otherwise: float) -> float:
    return sum(places[name] for name in names) / len(names) if names else otherwise


def _across(grid: _Grid, gap: float) -> dict[str, float]:
    """Return the horizontal middle of everything: as near to the neighbours' as room allows, the layers centred."""
    xs: dict[str, float] = {}
    for layer in grid.layers:
        total = sum(grid.widths[name] for name in layer) + gap * (len(layer) - 1)
        left = -total / 2
        for name in layer:
            xs[name] = left + grid.widths[name] / 2
            left += grid.widths[name] + gap
    for sweep in range(_SWEEPS):
        downward = sweep % 2 == 0
        for layer in (grid.layers if downward else grid.layers[::-1])[1:]:
            wanted = {name: _mean(_neighbours(grid, name, downward), xs, xs[name]) for name in layer}
            _settle(layer, wanted, grid.widths, gap, xs)
    left = min(xs[name] - grid.widths[name] / 2 for name in xs)
    return {name: x - left for name, x in xs.items()}


def _settle(
    layer: Sequence[str], wanted: Mapping[str, float], widths: Mapping[str, float], gap: float, xs: dict[str, float]
) -> None:
    """Put a layer's boxes at the wanted places, pushed apart to both sides alike where they would overlap."""
    right = _pushed(layer, wanted, widths, gap, 1.0)
    left = _pushed(layer[::-1], wanted, widths, gap, -1.0)
    for name in layer:
        xs[name] = (right[name] + left[name]) / 2


def _pushed(
    layer: Sequence[str], wanted: Mapping[str, float], widths: Mapping[str, float], gap: float, direction: float
) -> dict[str, float]:
    found: dict[str, float] = {}
    edge: float | None = None
    for name in layer:
        half = widths[name] / 2
        place = wanted[name] * direction
        if edge is not None:
            place = max(place, edge + gap + half)
        found[name] = place * direction
        edge = place + half
    return found
