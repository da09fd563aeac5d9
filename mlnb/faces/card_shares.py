"""A model card and an explanation of the version's sample become the card with SHAP values among its explanations."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mlnb.faces.card import card_of
from mlnb.faces.explain import Explained, Wanted, drawings, explained
from mlnb.model.card import Block, Card, Sentence, Table

if TYPE_CHECKING:
    from mlnb.project import Project

_KEY = "explanations"


def card_for(project: Project, ref: str, *, shap: bool) -> Card:
    """Return a version's card; with `shap`, the package is asked for its SHAP values on the sample."""
    card = card_of(project, ref)
    return with_shares(card, explained(project, ref, Wanted())) if shap else card


def with_shares(card: Card, told: Explained) -> Card:
    """Return the card with the mean size of each column's share of the answers, and each row's."""
    found = told.explanation
    heads = ("column", *(f"mean absolute SHAP value, {name}" for name in found.outputs))
    sizes = [dict(found.ranking(at)) for at in range(len(found.outputs))]
    order = [name for name, _ in found.ranking(told.output)]
    rows = tuple((name, *(f"{one[name]:.4g}" for one in sizes)) for name in order)
    blocks: tuple[Block, ...] = (
        Sentence(f"Shares of the {told.unit}: {found.sentence()}"),
        *drawings(told),
        Table(heads, rows, numbers=tuple(range(1, len(heads)))),
    )
    sections = tuple(replace(one, blocks=(*one.blocks, *blocks)) if one.key == _KEY else one for one in card.sections)
    return replace(card, sections=sections)
