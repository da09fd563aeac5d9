"""The sections of a model card, made of sentences, tables, pictures and a person's own words, become one `Card`.

How it looks is the matter of the faces; what it says is that of `mlnb.registry.card`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from mlnb.model.card_words import Words

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Sentence:
    """Plain text; `missing` marks what a person has not written yet."""

    text: str
    missing: bool = False

    def to_json(self) -> dict[str, object]:
        """Return it as JSON."""
        return {"kind": "sentence", "text": self.text, "missing": self.missing}


@dataclass(frozen=True, slots=True)
class Bullets:
    """Plain texts, one an item."""

    items: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Return it as JSON."""
        return {"kind": "bullets", "items": list(self.items)}


@dataclass(frozen=True, slots=True)
class Code:
    """Text in a fixed pitch."""

    text: str

    def to_json(self) -> dict[str, object]:
        """Return it as JSON."""
        return {"kind": "code", "text": self.text}


@dataclass(frozen=True, slots=True)
class Table:
    """Plain texts by row; `caption` stands above and may be empty, `numbers` are the columns set to the right."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    numbers: tuple[int, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return it as JSON."""
        return {
            "kind": "table",
            "caption": self.caption,
            "columns": list(self.heads),
            "rows": [list(row) for row in self.rows],
        }


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture.

    Attributes
    ----------
    title : str
        What it shows, in words: all that Markdown can tell of it.
    svg : str
        Without script or network, every text in it escaped.
    figure : mapping
        Data and layout of the same as a plotly figure.
    """

    title: str
    svg: str
    figure: Mapping[str, object]

    def to_json(self) -> dict[str, object]:
        """Return it as JSON: what it shows, not how it is drawn."""
        return {"kind": "drawing", "title": self.title}


@dataclass(frozen=True, slots=True)
class Written:
    """A person's own words, Markdown."""

    words: Words

    def to_json(self) -> dict[str, object]:
        """Return them as JSON."""
        return {"kind": "words", **self.words.to_json()}


Block: TypeAlias = Sentence | Bullets | Code | Table | Drawing | Written


@dataclass(frozen=True, slots=True)
class Section:
    """One section: `key` is its stable name, empty for one that a person has made up."""

    key: str
    title: str
    blocks: tuple[Block, ...]

    def to_json(self) -> dict[str, object]:
        """Return the section as JSON."""
        return {"key": self.key, "title": self.title, "blocks": [one.to_json() for one in self.blocks]}


@dataclass(frozen=True, slots=True)
class Card:
    """A model card.

    Attributes
    ----------
    ref : str
        The version: ``delays/7``.
    lead : str
        One sentence about it.
    figures : tuple of (value, what)
        The few numbers to see first.
    sections : tuple of Section
        In order.
    metadata : mapping of str to str or tuple of str
        What the Hugging Face Hub reads from the head of a card: ``license``, ``library_name``, ``tags``, ...
    facts : mapping
        The same facts as JSON, for programs.
    """

    ref: str
    lead: str
    figures: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    metadata: Mapping[str, str | tuple[str, ...]]
    facts: Mapping[str, object]

    def to_json(self) -> dict[str, object]:
        """Return the card as JSON, format 1: keys are only added under this number."""
        return {
            "format": FORMAT,
            "ref": self.ref,
            "lead": self.lead,
            "sections": [one.to_json() for one in self.sections],
            "metadata": {key: value if isinstance(value, str) else list(value) for key, value in self.metadata.items()},
            "facts": dict(self.facts),
        }
