"""What a person writes, ``delays/7`` or ``delays@production``, becomes a checked `Reference`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from mlnb.errors import RegistryError

# The first character keeps ".", ".." and what looks like an option away from paths and command lines.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class Reference:
    """One version, by number or by alias.

    Attributes
    ----------
    model : str
        Name of the model.
    number : int
        Number of the version; 0 where an alias is meant.
    alias : str
        Name of the alias; empty where a number is meant.
    """

    model: str
    number: int = 0
    alias: str = ""

    def __str__(self) -> str:
        return f"{self.model}@{self.alias}" if self.alias else f"{self.model}/{self.number}"


def parse_reference(text: str) -> Reference:
    """Read ``delays/7`` or ``delays@production``.

    Raises
    ------
    RegistryError
        If `text` is neither.

    Examples
    --------
    >>> parse_reference("delays/7")
    Reference(model='delays', number=7, alias='')
    >>> str(parse_reference("delays@production"))
    'delays@production'
    """
    model, at, alias = text.partition("@")
    if at:
        return Reference(check_name("model", model), alias=check_name("alias", alias))
    model, slash, number = text.partition("/")
    if not slash:
        raise RegistryError(
            f"{text!r} names no version.",
            f"Write it as {text or 'delays'}/7 or {text or 'delays'}@production.",
            model=text,
        )
    check_name("model", model)
    if not _NUMBER.fullmatch(number):
        raise RegistryError(
            f"{text!r} names no version: {number!r} is not a version number.",
            f"Write it as {model}/7, or as {model}@production for an alias.",
            model=model,
        )
    return Reference(model, int(number))


def check_name(kind: str, name: str) -> str:
    """Return `name` if it may name a `kind` ("model", "alias", "file").

    Raises
    ------
    RegistryError
        If it is not 1 to 64 letters, digits, ``_``, ``.`` or ``-``, or begins with ``.`` or ``-``.
    """
    if _NAME.fullmatch(name):
        return name
    raise RegistryError(
        f"{name!r} cannot be the name of {'an' if kind[0] in 'aeiou' else 'a'} {kind}.",
        "Use 1 to 64 letters, digits, '_', '.' and '-', not beginning with '.' or '-'.",
        model=name if kind == "model" else "",
        alias=name if kind == "alias" else "",
    )


def hint(name: str, known: Iterable[str]) -> str:
    """Return the sentence that helps whoever wrote `name` where one of `known` was needed."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1) or [other for other in names if name and other.startswith(name)]
    if close:
        return f"Did you mean {close[0]!r}?"
    if not names:
        return "There is none yet."
    return f"Known: {', '.join(names[:20])}{' ...' if len(names) > 20 else ''}."
