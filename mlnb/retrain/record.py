"""A row of a trigger or a retraining as a value: why a model is to be retrained, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from mlnb.registry.canonical import time_text
from mlnb.retrain.terms import Plain

RUNNING, PROMOTED, REFUSED, UNCHANGED, FAILED = "running", "promoted", "refused", "unchanged", "failed"
EVALUATED = "challenger"
HAND = "hand"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a model is to be retrained.

    Attributes
    ----------
    kind : str
        ``schedule``, ``data``, ``alarm``, ``performance`` or ``hand``.
    key : str
        What fired it: for each it fires once.
    reason : str
        One sentence.
    evidence : mapping of str to JSON value
        What was seen.
    parameters : mapping of str to plain value
        What was given by hand; wins over the terms' own.
    """

    kind: str
    key: str
    reason: str
    evidence: Mapping[str, object] = field(default_factory=dict)
    parameters: Mapping[str, Plain] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell."""
        return {
            "kind": self.kind,
            "key": self.key,
            "reason": self.reason,
            "evidence": dict(self.evidence),
            "parameters": dict(self.parameters),
        }


@dataclass(frozen=True, slots=True)
class Trigger:
    """A cause that has fired.

    Attributes
    ----------
    retraining : int
        The retraining that serves it; 0 while it waits.
    """

    id: int
    model: str
    at: datetime
    cause: Cause
    retraining: int

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell."""
        return {
            "id": self.id,
            "model": self.model,
            "at": time_text(self.at),
            **self.cause.to_json(),
            "retraining": self.retraining,
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a retraining came to.

    Attributes
    ----------
    state : str
        ``promoted``; ``challenger`` (evaluated, and nobody asked for more); ``refused`` by a gate or the policy;
        ``unchanged`` (it made the champion again); ``failed``.
    reason : str
        Why, for people.
    number : int
        Of the version that was registered; 0 for none.
    evidence : mapping of str to JSON value
        Run, notebook, data, gains with their intervals, verdicts.
    """

    state: str
    reason: str
    number: int = 0
    evidence: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Retraining:
    """One retraining.

    Attributes
    ----------
    begun_at, ended_at : datetime.datetime
        Aware, UTC; `ended_at` is None while it runs.
    attempts : int
        Processes that have been at it: all but the last have died.
    process : str
        The last one, see `mlnb.store.process`.
    parameters : mapping of str to plain value
        With the times of its beginning filled in: going on from a death keeps them.
    run : str
        Of the pipeline; empty until it has begun.
    outcome : Outcome
        Its state is ``running`` until it has ended.
    """

    id: int
    model: str
    begun_at: datetime
    ended_at: datetime | None
    attempts: int
    process: str
    parameters: Mapping[str, Plain]
    run: str
    outcome: Outcome

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell."""
        outcome = self.outcome
        return {
            "id": self.id,
            "model": self.model,
            "begun_at": time_text(self.begun_at),
            "ended_at": time_text(self.ended_at) if self.ended_at else "",
            "state": outcome.state,
            "version": f"{self.model}/{outcome.number}" if outcome.number else "",
            "reason": outcome.reason,
            "run": self.run,
            "attempts": self.attempts,
            "parameters": dict(self.parameters),
            "evidence": dict(outcome.evidence),
        }
