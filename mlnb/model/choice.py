"""Which exporter was taken for a model, in which order they were tried, and why the others were not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlnb.model.parity import Parity


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one exporter was not taken.

    Attributes
    ----------
    exporter : str
        Its name.
    kind : str
        ``unsupported``: the format cannot hold the model; ``differs``: what was written does not agree with it.
    why : str
        What is in the way; no whole sentence.
    remedy : str
        What to change so that it would be taken, a sentence.
    parity : Parity or None
        What was measured of a model that differs.
    """

    exporter: str
    kind: str
    why: str
    remedy: str
    parity: Parity | None = None

    def sentence(self) -> str:
        """Say it in words, without a full stop."""
        if self.kind == "differs":
            return f"{self.exporter} does not agree with the estimator ({self.why})"
        return f"{self.exporter} cannot hold it ({self.why})"

    def to_json(self) -> dict[str, object]:
        """Return the refusal as JSON."""
        return {
            "exporter": self.exporter,
            "kind": self.kind,
            "why": self.why,
            "remedy": self.remedy,
            "parity": None if self.parity is None else self.parity.to_json(),
        }

    @classmethod
    def from_json(cls, mapping: Mapping[str, Any]) -> Refusal:
        """Return the refusal that `to_json` wrote."""
        parity = mapping["parity"]
        return cls(
            mapping["exporter"],
            mapping["kind"],
            mapping["why"],
            mapping["remedy"],
            None if parity is None else Parity.from_json(parity),
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """The exporter that was taken, and how it came to that.

    Attributes
    ----------
    exporter : str
        Its name.
    how : str
        In which way the model was written, with the repairs in it.
    order : tuple of (str, str)
        The names of the exporters in the order of trying, each with why it stands there where that is not the usual
        place.
    refused : tuple of Refusal
        Those that were tried before.
    """

    exporter: str
    how: str
    order: tuple[tuple[str, str], ...]
    refused: tuple[Refusal, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return the choice as JSON: ``choice`` of ``package.json``, since format 2."""
        return {
            "exporter": self.exporter,
            "how": self.how,
            "order": [{"exporter": name, "why": why} for name, why in self.order],
            "refused": [one.to_json() for one in self.refused],
        }

    @classmethod
    def from_json(cls, mapping: Mapping[str, Any]) -> Choice:
        """Return the choice that `to_json` wrote."""
        return cls(
            mapping["exporter"],
            mapping["how"],
            tuple((one["exporter"], one["why"]) for one in mapping["order"]),
            tuple(Refusal.from_json(one) for one in mapping["refused"]),
        )


def choice_of(package: Mapping[str, Any]) -> Choice:
    """Return the choice that ``package.json`` tells of; one of format 1 tells only who was taken."""
    if "choice" in package:
        return Choice.from_json(package["choice"])
    return Choice(str(package["exporter"]), "", ((str(package["exporter"]), ""),))
