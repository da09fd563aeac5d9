"""The signatures of two versions become what a caller of the old one would notice if the new one answered.

A change is *compatible* where every row that the old version takes is taken by the new one, and every answer of the new
one means what the old one's meant: the substitution principle (Liskov and Wing 1994), inputs contravariant, answers
covariant. What only the estimator sees (a hook's features) is nobody's matter here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mlnb.model.kinds import Column, Label
from mlnb.model.signature import Signature

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that differs.

    Attributes
    ----------
    compatible : bool
        Whether a caller of the old version can stay as it is.
    subject : str
        The column, or ``task``, ``classes``, ``outputs``, ``probabilities`` or ``prediction`` of the answer.
    sentence : str
        What differs and what that means for the caller.
    """

    compatible: bool
    subject: str
    sentence: str

    def to_json(self) -> dict[str, object]:
        """Return the change as JSON."""
        return {"compatible": self.compatible, "subject": self.subject, "sentence": self.sentence}


def changes(old: Signature, new: Signature) -> tuple[Change, ...]:
    """Return what differs for a caller of `old`; incompatible changes first, then in the order of the signature.

    Parameters
    ----------
    old, new : Signature
        Of the version that callers know, and of the one that would answer them.
    """
    found = [*_inputs(old, new), *_answers(old, new)]
    return tuple(sorted(found, key=lambda change: change.compatible))


def _inputs(old: Signature, new: Signature) -> Iterator[Change]:
    before, after = ({column.name: column for column in one.inputs} for one in (old, new))
    for name in before:
        if name not in after:
            yield Change(False, name, f"The column {name!r} is gone: rows that still hold it are refused.")
        else:
            yield from _column(before[name], after[name])
    for name in after:
        if name not in before:
            yield Change(False, name, f"The column {name!r} is new: rows without it are refused.")


def _column(old: Column, new: Column) -> Iterator[Change]:
    name = old.name
    if old.many != new.many:
        told = "a list of values" if new.many else "one value"
        yield Change(False, name, f"The column {name!r} takes {told} now, and refuses what it took before.")
        return
    yield from _dtype(old, new)
    yield from _length(old, new)
    if old.nullable and not new.nullable:
        yield Change(False, name, f"The column {name!r} may not be null any more.")
    elif new.nullable and not old.nullable:
        yield Change(True, name, f"The column {name!r} may be null now.")
    gone = [one for one in old.categories if one not in new.categories] if new.categories else []
    come = [one for one in new.categories if one not in old.categories] if old.categories else []
    if gone:
        told = f"The column {name!r} does not know {_few(gone)} any more, and answers as for an unknown category."
        yield Change(True, name, told)
    if come:
        yield Change(True, name, f"The column {name!r} knows {_few(come)} now.")
    yield from _range(old, new)


def _dtype(old: Column, new: Column) -> Iterator[Change]:
    if old.dtype == new.dtype:
        return
    if _takes(new.dtype, old.dtype):
        yield Change(
            True, old.name, f"The column {old.name!r} is {new.dtype} now, which takes all that {old.dtype} took."
        )
    else:
        told = f"The column {old.name!r} is {new.dtype} now and refuses some of what {old.dtype} took."
        yield Change(False, old.name, told)


def _takes(new: str, old: str) -> bool:
    """Say whether every value of one dtype is one of the other; JSON dates are strings."""
    if "string" in (new, old) or "bool" in (new, old) or "datetime" in (new, old):
        return (new, old) == ("string", "datetime")
    if new.startswith("float"):
        return not old.startswith("float") or np.dtype(new).itemsize >= np.dtype(old).itemsize
    return not old.startswith("float") and bool(np.can_cast(old, new, "safe"))


def _length(old: Column, new: Column) -> Iterator[Change]:
    if not old.many:
        return
    if new.length is not None and new.length != old.length:
        before = "lists of any length" if old.length is None else f"{old.length} values"
        told = f"The column {old.name!r} takes {new.length} values in each list, where it took {before}."
        yield Change(False, old.name, told)
    elif new.length is None and old.length is not None:
        yield Change(True, old.name, f"The column {old.name!r} takes lists of any length now.")
    if old.empty and not new.empty and new.length is None:
        yield Change(False, old.name, f"The column {old.name!r} may not be an empty list any more.")


def _range(old: Column, new: Column) -> Iterator[Change]:
    if None in (old.minimum, old.maximum, new.minimum, new.maximum):
        return
    below, above = (new.minimum or 0) > (old.minimum or 0), (new.maximum or 0) < (old.maximum or 0)
    if below or above:
        told = f"{new.minimum:g} to {new.maximum:g}, where it was {old.minimum:g} to {old.maximum:g}"
        yield Change(True, old.name, f"The sample of {old.name!r} goes from {told}: beyond that the new model guesses.")


def _answers(old: Signature, new: Signature) -> Iterator[Change]:
    if old.task != new.task:
        yield Change(
            False, "task", f"The model is a {new.task} now, where it was a {old.task}: its answers are others."
        )
        return
    if old.probabilities and not new.probabilities:
        yield Change(False, "probabilities", "Answers hold no probabilities any more.")
    elif new.probabilities and not old.probabilities:
        yield Change(True, "probabilities", "Answers hold probabilities now.")
    yield from _classes("classes", "The model", old.classes, new.classes, ordered=old.probabilities)
    if not (old.classes or old.outputs) and not _takes_answer(old.output, new.output):
        yield Change(False, "prediction", f"Predictions are {new.output} now, where they were {old.output}.")
    yield from _outputs(old, new)


def _takes_answer(old: str, new: str) -> bool:
    """Say whether who reads the old type can read the new one: whole numbers are numbers, not the reverse."""
    return old == new or (old, new) == ("float64", "int64")


def _classes(subject: str, who: str, old: Sequence[Label], new: Sequence[Label], *, ordered: bool) -> Iterator[Change]:
    gone, come = [one for one in old if one not in new], [one for one in new if one not in old]
    if gone:
        yield Change(False, subject, f"{who} does not answer {_few(gone)} any more.")
    if come:
        yield Change(False, subject, f"{who} answers {_few(come)}, which callers have never seen.")
    if not gone and not come and ordered and list(old) != list(new):
        yield Change(False, subject, f"{who} gives its probabilities in another order of the classes: {_few(new)}.")


def _outputs(old: Signature, new: Signature) -> Iterator[Change]:
    before, after = [one.name for one in old.outputs], [one.name for one in new.outputs]
    if after[: len(before)] != before:
        told = f"Answers hold {_few(after)}, where they held {_few(before)}."
        yield Change(False, "outputs", f"{told} Their places have moved or gone.")
        return
    if len(after) > len(before):
        yield Change(True, "outputs", f"Answers hold {_few(after[len(before) :])} after what they held before.")
    for one, other in zip(old.outputs, new.outputs, strict=False):
        yield from _classes(one.name, f"The output {one.name!r}", one.classes, other.classes, ordered=old.probabilities)
        if not one.classes and not other.classes and not _takes_answer(one.dtype, other.dtype):
            yield Change(False, one.name, f"The output {one.name!r} is {other.dtype} now, where it was {one.dtype}.")


def _few(values: Sequence[Label]) -> str:
    shown = ", ".join(repr(one) for one in values[:_SHOWN])
    return f"{shown} and {len(values) - _SHOWN} more" if len(values) > _SHOWN else shown
