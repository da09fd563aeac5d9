"""The text and the tags of a cell become one `Mark`, whatever the spelling.

Three spellings say the same: the magic ``%%stage train --metrics auc`` as the first line; comment lines ``#| stage:
train`` and ``#| metrics: auc`` at the top; and Kale's tags ``step:train``, ``prev:prepare``, ``imports``,
``functions``, ``pipeline-parameters``, ``pipeline-metrics``, ``skip``. Papermill's ``parameters`` tag is read too.
Tags, comment keys and magics of others are never refused, unless they look like a misspelt one of ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from mlnb.errors import MarkError
from mlnb.notebook.document import Cell
from mlnb.notebook.grammar import FOREIGN_KEYS, KINDS, OPTIONS, Refuse, read_line
from mlnb.notebook.header import Entry, read_header
from mlnb.notebook.spelling import closest, listed

__all__ = ["KINDS", "OPTIONS", "Mark", "is_kale", "mark_of", "parse_mark"]

_NEAR = 0.75
_STEP = re.compile(r"(?:step|block):(.+)$")
_PREVIOUS = re.compile(r"prev:(.+)$")
_TAGS = {
    "parameters": "parameters",
    "pipeline-parameters": "parameters",
    "pipeline-metrics": "metrics",
    "imports": "setup",
    "functions": "setup",
    "skip": "skip",
    "injected-parameters": "skip",
}
"""Papermill leaves a cell tagged ``injected-parameters`` in what it ran; it would undo the values of the next run."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a cell says about its part in the pipeline.

    Attributes
    ----------
    kind : str
        ``setup``, ``stage``, ``test``, ``deploy``, ``parameters``, ``metrics`` (Kale's) or ``skip``.
    name : str
        The stage, the tested stage (``""``: the one above), or the model; ``""`` where the kind has none.
    options : mapping of str to tuple of str
        Values by option, lists already parted; only options that were written.
    spelling : str
        ``magic``, ``comment`` or ``tag``.
    body : str
        The source with the magic's line turned into a comment, so that line numbers stay.
    """

    kind: str
    name: str
    options: Mapping[str, tuple[str, ...]]
    spelling: str
    body: str

    def one(self, option: str) -> str:
        """Return the single value of an option, ``""`` where it was not written."""
        return self.options.get(option, ("",))[0]


@dataclass(frozen=True, slots=True)
class _Claim:
    """A mark as one spelling gives it."""

    kind: str
    name: str
    spelling: str
    options: Mapping[str, tuple[str, ...]]

    def __str__(self) -> str:
        shape = {"magic": "%%{} {}", "comment": "#| {}: {}", "tag": "{} {} (a tag)"}[self.spelling]
        return " ".join(shape.format(self.kind, self.name).split())


def mark_of(cell: Cell) -> Mark | None:
    """Return the mark of a cell, None for an unmarked one. Only code cells have marks.

    Raises
    ------
    MarkError
        If the mark or an option is unknown, malformed, misplaced, or said twice differently.
    """
    return parse_mark(cell.source, cell.tags, cell=cell.number) if cell.kind == "code" else None


def parse_mark(source: str, tags: tuple[str, ...] = (), *, cell: int = 0) -> Mark | None:
    r"""Return the mark that a source and its tags spell, None where there is none.

    Parameters
    ----------
    source : str
        Text of the cell.
    tags : tuple of str, default ()
        ``metadata.tags`` of the cell.
    cell : int, default 0
        Its number, for messages; 0 in a live kernel, where it is not known.

    Examples
    --------
    >>> mark = parse_mark("%%deploy delays --model m --sample X --gate 'auc >= 0.8'\npass")
    >>> mark.kind, mark.name, mark.options["gate"]
    ('deploy', 'delays', ('auc >= 0.8',))
    """
    if any(_TAGS.get(tag) == "skip" for tag in tags):
        return Mark("skip", "", MappingProxyType({}), "tag", source)

    def refuse(problem: str, remedy: str) -> MarkError:
        return MarkError(f"{f'Cell {cell}' if cell else 'The cell'} {problem}.", remedy, cell=cell)

    header = read_header(source, refuse)
    claims: list[_Claim] = []
    if header.magic:
        name, options = read_line(header.line, header.magic, refuse)
        claims.append(_Claim(header.magic, name, "magic", options))
    for entry in header.entries:
        if entry.key in KINDS:
            bare = entry.key in {"setup", "test"} and entry.value.lower() in {"true", "yes"}
            name = "" if bare else entry.value
            claims.append(_Claim(entry.key, name, "comment", {}))
    claims.extend(_tagged(tags, written=bool(claims)))
    if not claims:
        return None
    _refuse_two(claims, refuse)
    options = _merged(
        [*(claim.options for claim in claims), _commented(header.entries, claims[0].kind, refuse)], refuse
    )
    mark = Mark(claims[0].kind, claims[0].name, MappingProxyType(options), claims[0].spelling, header.body)
    _check(mark, refuse)
    return mark


def is_kale(tags: tuple[str, ...]) -> bool:
    """Say whether the tags name a Kale step: in such a notebook, untagged cells join the step before."""
    return any(_STEP.match(tag) for tag in tags)


def _tagged(tags: tuple[str, ...], *, written: bool) -> list[_Claim]:
    """Return what the tags say; beside a written mark, tags other than a step or ``parameters`` may be foreign."""
    previous = tuple(found[1] for tag in tags if (found := _PREVIOUS.match(tag)))
    claims: list[_Claim] = []
    for tag in tags:
        if found := _STEP.match(tag):
            claims.append(_Claim("stage", found[1], "tag", {"after": previous} if previous else {}))
        elif tag in _TAGS and (not written or _TAGS[tag] == "parameters"):
            claims.append(_Claim(_TAGS[tag], "", "tag", {}))
    return claims


def _commented(entries: Sequence[Entry], kind: str, refuse: Refuse) -> dict[str, tuple[str, ...]]:
    """Return the options among ``#|`` lines; keys of others pass unless they nearly are one of ours."""
    known = OPTIONS[kind]
    written: dict[str, list[str]] = {}
    for entry in entries:
        if entry.key in known:
            written.setdefault(entry.key, []).append(_unquoted(entry.value))
        elif entry.key not in {*KINDS, *FOREIGN_KEYS} and (near := closest(entry.key, known, _NEAR)):
            raise refuse(f"has an unknown option `#| {entry.key}:`", f"Did you mean `#| {near}:`?")
    return {option: known[option].values(texts, f"#| {option}:", refuse) for option, texts in written.items()}


def _refuse_two(claims: Sequence[_Claim], refuse: Refuse) -> None:
    for claim in claims[1:]:
        if (claim.kind, claim.name) != (claims[0].kind, claims[0].name):
            raise refuse(f"has two marks, `{claims[0]}` and `{claim}`", "Keep one of them.")


def _merged(sources: Sequence[Mapping[str, tuple[str, ...]]], refuse: Refuse) -> dict[str, tuple[str, ...]]:
    options: dict[str, tuple[str, ...]] = {}
    for source in sources:
        for option, values in source.items():
            if options.setdefault(option, values) != values:
                before = ", ".join(options[option])
                raise refuse(f"says `{option}` twice, {listed([before, ', '.join(values)])}", "Keep one of them.")
    return options


def _check(mark: Mark, refuse: Refuse) -> None:
    if mark.kind in {"stage", "deploy"} and not mark.name:
        example = "%%stage train" if mark.kind == "stage" else "%%deploy delays --model model --sample X_test"
        raise refuse(f"has the mark `{mark.kind}` without a name", f"Write it as in `{example}`.")
    if mark.kind == "setup" and mark.name:
        raise refuse(f"gives the mark `setup` the name `{mark.name}`", "Leave the name out: there is only one setup.")
    if mark.name and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}", mark.name):
        thing = "model" if mark.kind == "deploy" else "stage"
        remedy = "Use letters, digits, `_`, `-` and `.`, beginning with a letter."
        raise refuse(f"has the mark `{mark.kind}` with `{mark.name}`, which cannot name a {thing}", remedy)
    for needed in ("model", "sample") if mark.kind == "deploy" else ():
        if needed not in mark.options:
            remedy = f"Name the variable: `%%deploy {mark.name} --model model --sample X_test`."
            raise refuse(f"deploys `{mark.name}` without `--{needed}`", remedy)


def _unquoted(value: str) -> str:
    for opening, closing in ("[]", '""', "''"):
        if len(value) > 1 and value[0] == opening and value[-1] == closing:
            return value[1:-1].strip()
    return value
