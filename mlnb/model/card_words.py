"""The Markdown cells of a notebook become a person's own words for the sections of a model card.

A cell counts if it is tagged ``model-card``, or if its first heading is ``# Model card`` of any level;
``# Model card: delays`` (or the tags ``model-card`` and ``delays``) is for the model of that name alone. The headings
inside name the card's sections: those of Mitchell et al. (2019), of the Hugging Face template and of the Model Card
Toolkit are understood. A heading that is none of them stays a section of its own, and words before the first heading
open the card: nothing that a person wrote is left out.

References
----------
Mitchell et al., Model Cards for Model Reporting, FAT* 2019, section 4.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

TAG = "model-card"
_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_TITLE = re.compile(r"model[ _-]?card\b[ \t]*[:\u2013\u2014-]?[ \t]*(.*)", re.I)
_SENSITIVE = re.compile(
    r"\s*(?:[-*+]\s+)?\W{0,3}(?:sensitive|protected) (?:columns?|features?|attributes?)\W*:\W*(.+)", re.I
)
_SECTIONS: Mapping[str, tuple[str, ...]] = {
    "model_details": ("model details", "overview", "model description", "details", "owners", "authors"),
    "intended_use": ("intended use", "intended uses", "uses", "use", "direct use", "use cases", "users", "primary use"),
    "out_of_scope": ("out of scope use", "out of scope uses", "out of scope", "misuse", "what it is not for"),
    "factors": ("factors", "relevant factors", "groups"),
    "metrics": ("metrics", "decision thresholds", "testing metrics"),
    "evaluation_data": ("evaluation data", "testing data", "test data"),
    "training_data": ("training data", "training details", "data", "datasets", "dataset"),
    "quantitative_analyses": ("quantitative analyses", "quantitative analysis", "evaluation", "results", "performance"),
    "fairness": ("fairness", "bias", "fairness considerations", "sensitive columns"),
    "explanations": ("explanations", "explainability", "interpretability", "explanation"),
    "ethical_considerations": ("ethical considerations", "ethics", "risks", "considerations"),
    "caveats": (
        "caveats and recommendations",
        "caveats",
        "limitations",
        "limits",
        "recommendations",
        "tradeoffs",
        "bias risks and limitations",
        "known limitations",
    ),
    "licence": ("licence", "license"),
    "lineage": ("lineage", "provenance"),
    "how_to_use": ("how to get started with the model", "how to use", "get started", "usage"),
    "citation": ("citation", "references", "bibtex"),
    "contact": ("contact", "model card contact", "model card authors"),
}
_KEYS = {name: key for key, names in _SECTIONS.items() for name in (key.replace("_", " "), *names)}


@dataclass(frozen=True, slots=True)
class Words:
    """What a person wrote under one heading.

    Attributes
    ----------
    key : str
        The section of the card: ``intended_use``; empty for words before the first heading, and for a heading that
        is none of the card's.
    heading : str
        As it was written; empty before the first heading.
    markdown : str
        What stands below it, as it was written.
    """

    key: str
    heading: str
    markdown: str

    def to_json(self) -> dict[str, object]:
        """Return the words as JSON."""
        return {"key": self.key, "heading": self.heading, "markdown": self.markdown}

    @classmethod
    def from_json(cls, fields: Mapping[str, object]) -> Words:
        """Return the words that `to_json` wrote."""
        return cls(str(fields["key"]), str(fields["heading"]), str(fields["markdown"]))


def words_for(model: str, cells: Iterable[tuple[str, tuple[str, ...]]]) -> tuple[Words, ...]:
    r"""Return a person's words for the card of a model.

    Parameters
    ----------
    model : str
        Name of the model.
    cells : iterable of (source, tags)
        The notebook's Markdown cells in order.

    Examples
    --------
    >>> words_for("delays", [("# Model card\n## Uses\nFor planners.", ())])
    (Words(key='intended_use', heading='Uses', markdown='For planners.'),)
    """
    found: list[Words] = []
    for source, tags in cells:
        meant = _meant(source, tags)
        if meant is not None and (not meant or meant == {model}):
            found += _parts(source)
    return tuple(found)


def sensitive_columns(words: Iterable[Words]) -> tuple[str, ...]:
    """Return the columns that a line ``Sensitive columns: sex, age`` names, in order.

    Examples
    --------
    >>> sensitive_columns([Words("fairness", "Fairness", "Sensitive columns: `sex`, age.")])
    ('sex', 'age')
    """
    lines = (line for part in words for line in (part.heading, *part.markdown.split("\n")))
    named = (match[1] for line in lines if (match := _SENSITIVE.fullmatch(line)))
    return tuple(dict.fromkeys(name for text in named for name in _names(text)))


def licence_of(words: Iterable[Words]) -> str:
    """Return the first line that a person wrote under ``Licence``; empty for none."""
    texts = (part.markdown.strip() for part in words if part.key == "licence")
    return next((text.partition("\n")[0].strip() for text in texts if text), "")


def _names(text: str) -> Iterator[str]:
    for name in text.split(","):
        plain = name.strip().strip("`*_\"'").rstrip(".").strip("`*\"'")
        if plain:
            yield plain


def _meant(source: str, tags: tuple[str, ...]) -> set[str] | None:
    """Return the models that the cell is for, an empty set for all, None if it is no card."""
    heading = next((text for _, text in _headings(source) if text is not None), "")
    title = _TITLE.fullmatch(heading)
    if title is None and TAG not in tags:
        return None
    name = title[1].strip("`*_ \"'") if title else ""
    return {name} if name else set(tags) - {TAG}


def _parts(source: str) -> Iterator[Words]:
    heading, lines, begun = "", list[str](), False
    for line, text in _headings(source):
        if text is None:
            lines.append(line)
            continue
        if begun or _TITLE.fullmatch(text) is None:
            yield from _part(heading, lines)
            heading, lines = text, []
        begun = True
    yield from _part(heading, lines)


def _part(heading: str, lines: list[str]) -> Iterator[Words]:
    text = "\n".join(lines).strip("\n")
    if heading or text.strip():
        yield Words(_KEYS.get(_plain(heading), ""), heading, text)


def _plain(heading: str) -> str:
    return " ".join(re.sub(r"[^a-z ]", " ", heading.lower()).split())


def _headings(source: str) -> Iterator[tuple[str, str | None]]:
    """Yield each line, and its text if it is a heading: what stands in a fence is none."""
    fence = ""
    for line in source.split("\n"):
        mark = _FENCE.match(line)
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence) and not line[mark.end() :].strip():
            fence = ""
        match = None if mark or fence else _HEADING.fullmatch(line)
        yield line, match[2] if match else None
