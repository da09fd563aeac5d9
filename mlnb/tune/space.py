"""What is written as ``C=log(1e-3,10)`` becomes an `Axis`: the values that a parameter may take in a study."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import cast

from mlnb.errors import MlnbError, UsageError
from mlnb.notebook.spelling import did_you_mean, listed
from mlnb.pipeline.graph import Json, Parameter
from mlnb.pipeline.parameters import checked

_FORMS = (
    "Write NAME=uniform(LOW,HIGH), NAME=log(LOW,HIGH) or NAME=[VALUE,VALUE], "
    'in a shell between quotes: "C=log(1e-3,10)".'
)
_KINDS = ("uniform", "log")


@dataclass(frozen=True, slots=True)
class Axis:
    """One parameter of the search.

    Attributes
    ----------
    name : str
        The parameter.
    kind : str
        ``uniform`` or ``log`` (uniform in the logarithm) between two bounds, or ``choice``.
    low, high : float
        Bounds, both possible; 0 for a choice.
    step : float
        Distance of neighbouring values, 0 for none.
    whole : bool
        Only whole numbers: the parameter is an int.
    choices : tuple of str
        The values of a choice, each as JSON.
    """

    name: str
    kind: str
    low: float = 0.0
    high: float = 0.0
    step: float = 0.0
    whole: bool = False
    choices: tuple[str, ...] = ()

    @property
    def size(self) -> float:
        """How many values there are; infinite for a continuous axis."""
        if self.kind == "choice":
            return len(self.choices)
        if self.whole or self.step:
            return int((self.high - self.low) / (self.step or 1)) + 1
        return float("inf")


def read_space(parameters: Sequence[Parameter], texts: Sequence[str]) -> tuple[Axis, ...]:
    """Return the axes that `texts` write, each checked against its parameter's type.

    Examples
    --------
    >>> read_space((Parameter("C", "float", 1.0, 1),), ["C=log(1e-3,10)"])[0].high
    10.0

    Raises
    ------
    UsageError
        If a text cannot be read, a parameter is unknown or named twice, or a value is not of its type.
    """
    known = {parameter.name: parameter for parameter in parameters}
    axes: dict[str, Axis] = {}
    for text in texts:
        name, equals, written = text.partition("=")
        name = name.strip()
        if not equals or not written.strip():
            raise UsageError(f"`{text}` does not say which values to try.", _FORMS)
        if name not in known:
            every = f"It has {listed(known)}." if known else "It has none: tag a cell `parameters`."
            raise UsageError(f"The notebook has no parameter `{name}`.", did_you_mean(name, known, every))
        if name in axes:
            raise UsageError(f"The parameter `{name}` is searched twice.", "Keep one of the two.")
        axes[name] = _axis(known[name], written.strip())
    if not axes:
        raise UsageError("No parameter is to be searched.", _FORMS)
    return tuple(axes.values())


def digest_of_space(axes: Sequence[Axis], *more: object) -> str:
    """Return 12 hexadecimal digits that differ wherever two searches differ."""
    content = json.dumps([[asdict(axis) for axis in axes], more], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _axis(parameter: Parameter, text: str) -> Axis:
    try:
        node = ast.parse(text, mode="eval").body
    except SyntaxError:
        raise UsageError(f"`{parameter.name}={text}` cannot be read.", _FORMS) from None
    match node:
        case ast.List(elts=[_, *_] as parts) | ast.Tuple(elts=[_, *_] as parts):
            return _choice(parameter, [_literal(parameter, part) for part in parts])
        case ast.Call(func=ast.Name(id=kind), args=arguments, keywords=[]) if kind in _KINDS:
            return _span(parameter, kind, [_literal(parameter, part) for part in arguments])
    raise UsageError(f"`{parameter.name}={text}` is not a set of values.", _FORMS)


def _choice(parameter: Parameter, values: Sequence[object]) -> Axis:
    texts = [json.dumps(_typed(parameter, value), sort_keys=True) for value in values]
    return Axis(parameter.name, "choice", choices=tuple(dict.fromkeys(texts)))


def _span(parameter: Parameter, kind: str, numbers: Sequence[object]) -> Axis:
    base = parameter.type.removesuffix(" | None")
    if base not in {"int", "float", "any"}:
        raise UsageError(
            f"The parameter `{parameter.name}` is of type {parameter.type}, which has no {kind} range.",
            f"List the values to try: {parameter.name}=[...].",
        )
    bounds = [float(cast(float, _typed(parameter, number))) for number in numbers]
    if not 2 <= len(bounds) <= (3 if kind == "uniform" else 2):
        raise UsageError(f"`{kind}` of `{parameter.name}` takes two bounds, not {len(bounds)}.", _FORMS)
    low, high, step = (*bounds, 0.0)[:3]
    if not low < high or step < 0:
        raise UsageError(
            f"The range of `{parameter.name}` from {low:g} to {high:g} is empty.", "Write the lower bound first."
        )
    if kind == "log" and low <= 0:
        raise UsageError(
            f"The logarithmic range of `{parameter.name}` begins at {low:g}.", "Begin above 0, or use uniform(...)."
        )
    return Axis(parameter.name, kind, low, high, step, whole=base == "int")


def _typed(parameter: Parameter, value: object) -> Json:
    try:
        return checked(parameter, value)
    except MlnbError as error:
        raise UsageError(error.problem, "Give values of the parameter's own type.") from None


def _literal(parameter: Parameter, node: ast.expr) -> object:
    """Return the value that a part writes; a bare word is a text, as ``model=[forest,logistic]``."""
    if isinstance(node, ast.Name):
        words: Mapping[str, object] = {"true": True, "false": False, "null": None, "none": None}
        return words.get(node.id.lower(), node.id)
    try:
        return cast(object, ast.literal_eval(node))
    except ValueError:
        raise UsageError(f"`{ast.unparse(node)}` of `{parameter.name}` is not a plain value.", _FORMS) from None
