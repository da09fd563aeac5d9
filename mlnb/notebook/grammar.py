"""The words of a mark's line become a name and options, by the one table that says what each kind of mark takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mlnb.errors import MarkError
from mlnb.notebook.spelling import closest, did_you_mean, listed

Refuse = Callable[[str, str], MarkError]
"""Make the error of a problem (what the cell does, without subject and full stop) and a remedy."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a mark.

    Attributes
    ----------
    help : str
        One line for people.
    metavar : str
        What its value is called in help.
    form : {"one", "list", "repeated"}
        A single value; values parted by commas; or a value each time the option is written.
    identifiers : bool
        Whether the values must be Python names.
    cut_offs : bool
        Whether a name may end in a cut-off, as the metric ``ndcg@10`` does.
    """

    help: str
    metavar: str
    form: Literal["one", "list", "repeated"] = "one"
    identifiers: bool = True
    cut_offs: bool = False

    def values(self, texts: Sequence[str], spelled: str, refuse: Refuse) -> tuple[str, ...]:
        """Return the values that `texts`, one for each time the option was written, spell."""
        values = [text.strip() for text in texts]
        if self.form == "list":
            values = [part.strip() for text in texts for part in text.split(",") if part.strip()]
        if not values or not all(values):
            raise refuse(f"gives `{spelled}` no value", f"Write `{spelled} {self.metavar}`, or leave it out.")
        values = list(dict.fromkeys(values))
        if self.form == "one" and len(values) > 1:
            raise refuse(f"says `{spelled}` twice, {listed(values)}", "Keep one of them.")
        names = [_CUT_OFF.sub("", value) if self.cut_offs else value for value in values]
        strange = (value for value, name in zip(values, names, strict=True) if not name.isidentifier())
        wrong = next(strange, "") if self.identifiers else ""
        if wrong:
            raise refuse(f"gives `{spelled}` the value `{wrong}`, which is not the name of a variable", _NAMES)
        return tuple(values)


_CUT_OFF = re.compile(r"@[0-9]+(\.[0-9]+)?$")
_NAMES = "Name variables, as in `--metrics auc,f1`; assign an expression to a name first."

OPTIONS: Mapping[str, Mapping[str, Option]] = {
    "setup": {},
    "stage": {
        "metrics": Option("numbers that the stage gives and a run records", "auc,f1", "list", cut_offs=True),
        "slices": Option(
            "columns by whose values the metrics are also told apart", "origin", "list", identifiers=False
        ),
        "inputs": Option("names that the stage takes, instead of the inferred ones", "X,y", "list"),
        "outputs": Option("names that the stage gives, instead of the inferred ones", "model", "list"),
        "after": Option("stages that must run before, whatever names say", "prepare", "list", identifiers=False),
        "reads": Option(
            "files, folders, patterns or addresses that it reads, where the code does not show it",
            '"data/*.csv"',
            "list",
            identifiers=False,
        ),
        "env": Option("environment variables that its result depends on", "REGION", "list"),
    },
    "test": {},
    "deploy": {
        "model": Option("variable that holds the estimator", "model"),
        "sample": Option("variable that holds raw rows, as the service will get them", "X_test"),
        "gate": Option("condition for the promotion, may be repeated", '"auc >= 0.80"', "repeated", identifiers=False),
        "to": Option("alias that the new version gets", "staging", identifiers=False),
    },
    "parameters": {},
    "metrics": {},
}
"""Options by kind of mark: what parsing accepts and completion offers."""

KINDS = ("setup", "stage", "test", "deploy")
"""Kinds that can be written as a magic or a comment; the others are tags."""

FOREIGN_MAGICS = frozenset({"pytest", "ipytest", "settings"})
"""Cell magics of others that look like one of ours."""

_QUARTO = (
    "eval",
    "echo",
    "output",
    "warning",
    "error",
    "include",
    "label",
    "classes",
    "tags",
    "layout",
    "column",
    "input",
)
_NBDEV = ("export", "exporti", "exports", "hide", "default_exp", "hide_input", "hide_output")
FOREIGN_KEYS = frozenset({*_QUARTO, *_NBDEV})
"""Keys of ``#|`` lines that Quarto and nbdev know."""

_SYNONYMS = {"step": "stage", "steps": "stage", "block": "stage", "deployment": "deploy", "imports": "setup"}
_NEAR = 0.8


def nearest_kind(word: str) -> str:
    """Return the kind that `word` misspells, ``""`` where it is probably somebody else's."""
    if word in FOREIGN_MAGICS or word in FOREIGN_KEYS:
        return ""
    return _SYNONYMS.get(word) or closest(word, KINDS, _NEAR)


def read_line(line: str, kind: str, refuse: Refuse) -> tuple[str, dict[str, tuple[str, ...]]]:
    """Return the name and the options in what follows ``%%stage`` on its line.

    Words are quoted as in a shell; ``--gate "auc >= 0.8"`` and ``--gate=...`` are the same.

    Raises
    ------
    MarkError
        Through `refuse`: a quote is not closed, an option is unknown or without value, a word is too much.
    """
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        raise refuse(f"has a quote that is not closed in `%%{kind} {line}`", "Close the quote.") from None
    name = ""
    written: dict[str, list[str]] = {}
    while words:
        word = words.pop(0)
        if word.startswith("-") and len(word) > 1:
            option, equals, value = word.partition("=")
            _known(option, kind, refuse)
            if not equals:
                value = words.pop(0) if words and not words[0].startswith("--") else ""
            written.setdefault(option[2:], []).append(value)
        elif name or kind == "setup":
            takes = "no name" if kind == "setup" else "one name"
            raise refuse(f"has `{word}` too much in `%%{kind}`, which takes {takes}", _QUOTE)
        else:
            name = word
    table = OPTIONS[kind]
    return name, {option: table[option].values(texts, f"--{option}", refuse) for option, texts in written.items()}


_QUOTE = 'Part several names by commas, and quote a value that holds spaces: `--gate "auc >= 0.80"`.'


def _known(option: str, kind: str, refuse: Refuse) -> None:
    table = OPTIONS[kind]
    if option.startswith("--") and option[2:] in table:
        return
    known = f"It takes {listed(f'--{key}' for key in table)}." if table else f"`%%{kind}` takes no options."
    raise refuse(
        f"has an unknown option `{option}` in `%%{kind}`",
        did_you_mean(option.lstrip("-"), table, known, shape="--{}"),
    )
