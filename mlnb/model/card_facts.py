"""What is known when a version is registered becomes ``card.json``: the facts that only then are at hand.

Format 1. Keys are added under this number; to raise it, teach `CardFacts.from_json` the new one, keep its reader of the
old one and the test, then write it here. What is kept elsewhere (evaluations, importance, parity, lineage) is not
repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from mlnb.errors import CorruptError, NewerFormatError
from mlnb.model.card_words import Words
from mlnb.model.column_summary import ColumnSummary
from mlnb.model.fairness import Fairness

FORMAT = 1
FILE = "card.json"


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a card says that no other file of the version holds.

    Attributes
    ----------
    model, sample : str
        Where both come from: ``train.model``, ``split.X_test``.
    estimator : str
        The estimator as scikit-learn writes it, with the parameters that are not the defaults.
    licence : str
        Of the project; empty where it states none.
    rows : int
        Rows of the sample.
    columns : tuple of ColumnSummary
        The sample's columns.
    words : tuple of Words
        What a person wrote.
    fairness : tuple of Fairness
        One for each sensitive column that could be compared.
    notes : tuple of str
        Sentences about what could not be measured, and why.
    """

    model: str = ""
    sample: str = ""
    estimator: str = ""
    licence: str = ""
    rows: int = 0
    columns: tuple[ColumnSummary, ...] = ()
    words: tuple[Words, ...] = ()
    fairness: tuple[Fairness, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return the facts as JSON, format 1."""
        return {
            "format": FORMAT,
            "model": self.model,
            "sample": self.sample,
            "estimator": self.estimator,
            "licence": self.licence,
            "rows": self.rows,
            "columns": [one.to_json() for one in self.columns],
            "words": [one.to_json() for one in self.words],
            "fairness": [one.to_json() for one in self.fairness],
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, mapping: Mapping[str, object]) -> CardFacts:
        """Return the facts that `to_json` wrote.

        Raises
        ------
        NewerFormatError
            If a newer mlnb wrote them.
        CorruptError
            If they are something else.
        """
        try:
            found = int(cast(int, mapping["format"]))
            NewerFormatError.check(FILE, found, FORMAT)
            return cls(
                model=str(mapping["model"]),
                sample=str(mapping["sample"]),
                estimator=str(mapping["estimator"]),
                licence=str(mapping["licence"]),
                rows=int(cast(int, mapping["rows"])),
                columns=tuple(ColumnSummary.from_json(one) for one in _list(mapping["columns"])),
                words=tuple(Words.from_json(one) for one in _list(mapping["words"])),
                fairness=tuple(Fairness.from_json(one) for one in _list(mapping["fairness"])),
                notes=tuple(str(one) for one in cast("list[str]", mapping["notes"])),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CorruptError(
                f"{FILE} is damaged: {type(error).__name__} {error}.", "Deploy the model again.", path=FILE, digest=""
            ) from error


def _list(value: object) -> list[Mapping[str, object]]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value
