"""What has fired becomes rows: triggers that wait, and retrainings that each serve some of them exactly once.

::

    trigger (waits) --begin--> retraining "running" --end--> "promoted", "challenger", "refused", "unchanged", "failed"

Firing writes a trigger and, in the same transaction, what was seen (the schedule's instant, the data's digests): a
death before it leaves both as they were, so the next look fires; a death after it finds the trigger. Beginning takes
all waiting triggers that ask for the same into one retraining. A retraining that is running while nobody holds the
model's lock belongs to a process that died: it is taken up again, under the same number. Ending writes the outcome, the
audit row and what people are to be told together, and only once.

Whoever calls `begin`, `left`, `note` or `end` holds the model's lock, see `alone`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import RowMapping, Select, func, insert, select, update
from sqlalchemy.engine import Connection

from mlnb.registry.audit import append
from mlnb.registry.canonical import canonical, storable, time_text, utc_now
from mlnb.registry.outbox import Effect, enqueue
from mlnb.retrain.record import RUNNING, Cause, Outcome, Retraining, Trigger
from mlnb.retrain.terms import Plain
from mlnb.store.ledger import Ledger
from mlnb.store.process import this_process
from mlnb.store.tables import RETRAIN_SEEN, RETRAIN_TRIGGER, RETRAINING

ACTION = "retrain"
_WAITS = RETRAIN_TRIGGER.c.retraining == 0


class Docket:
    """The triggers and retrainings of a ledger.

    Parameters
    ----------
    ledger : Ledger
        Where the rows are.
    clock : callable
        Returns the present time, aware.
    """

    def __init__(self, ledger: Ledger, clock: Callable[[], datetime] = utc_now) -> None:
        self._ledger = ledger
        self._clock = clock

    @contextmanager
    def alone(self, model: str, wait_s: float = 0.0) -> Iterator[bool]:
        """Hold a model's lock, one process at a time on any machine; yields False where another one holds it."""
        with self._ledger.alone(f"retrain-{model}", wait_s) as alone:
            yield alone

    def seen(self, model: str) -> dict[str, str]:
        """Return what was seen of a model at the last look, by kind of trigger."""
        query = select(RETRAIN_SEEN).where(RETRAIN_SEEN.c.model == model)
        with self._ledger.read() as connection:
            return {row["kind"]: row["value"] for row in connection.execute(query).mappings()}

    def fire(self, model: str, causes: Iterable[Cause], seen: Mapping[str, str]) -> int:
        """Write down causes and what was seen, all or nothing; return how many had not fired before."""
        with self._ledger.write() as connection:
            before = _count(connection, model)
            for cause in causes:
                row = {
                    "model": model,
                    "kind": cause.kind,
                    "key": storable(cause.key),
                    "at": time_text(self._clock()),
                    "reason": storable(cause.reason),
                    "evidence": canonical(cause.evidence),
                    "parameters": canonical(cause.parameters),
                }
                self._ledger.insert_missing(connection, RETRAIN_TRIGGER, row)
            for kind, value in seen.items():
                self._ledger.insert_missing(connection, RETRAIN_SEEN, {"model": model, "kind": kind, "value": value})
                mine = (RETRAIN_SEEN.c.model == model) & (RETRAIN_SEEN.c.kind == kind)
                connection.execute(update(RETRAIN_SEEN).where(mine), {"value": value})
            return _count(connection, model) - before

    def fired(self, model: str, kind: str) -> frozenset[str]:
        """Return the keys of all triggers of a kind."""
        mine = (RETRAIN_TRIGGER.c.model == model) & (RETRAIN_TRIGGER.c.kind == kind)
        with self._ledger.read() as connection:
            return frozenset(connection.scalars(select(RETRAIN_TRIGGER.c.key).where(mine)))

    def triggers(self, model: str = "", last: int = 0) -> tuple[Trigger, ...]:
        """Return triggers, the oldest first; of one model, and the newest so many, where that is asked."""
        query = select(RETRAIN_TRIGGER).order_by(RETRAIN_TRIGGER.c.id.desc())
        if model:
            query = query.where(RETRAIN_TRIGGER.c.model == model)
        with self._ledger.read() as connection:
            return _triggers(connection, query.limit(last) if last else query)[::-1]

    def waiting(self, model: str) -> tuple[Trigger, ...]:
        """Return the triggers of a model that no retraining serves yet, the oldest first."""
        with self._ledger.read() as connection:
            return _triggers(connection, _waiting(model))

    def served(self, id: int) -> tuple[Trigger, ...]:
        """Return the triggers that a retraining serves, the oldest first."""
        with self._ledger.read() as connection:
            return _triggers(connection, _served(id))

    def get(self, id: int) -> Retraining:
        """Return one retraining as it is now."""
        with self._ledger.read() as connection:
            return _one(connection, id)

    def list(self, model: str = "", last: int = 0) -> tuple[Retraining, ...]:
        """Return retrainings, the oldest first; of one model, and the newest so many, where that is asked."""
        query = select(RETRAINING).order_by(RETRAINING.c.id.desc())
        if model:
            query = query.where(RETRAINING.c.model == model)
        with self._ledger.read() as connection:
            rows = connection.execute(query.limit(last) if last else query).mappings()
            return tuple(_retraining(row) for row in rows)[::-1]

    def begun(self, model: str) -> tuple[datetime, ...]:
        """Return when the retrainings of a model began, the oldest first."""
        query = select(RETRAINING.c.begun_at).where(RETRAINING.c.model == model).order_by(RETRAINING.c.id)
        with self._ledger.read() as connection:
            return tuple(datetime.fromisoformat(at) for at in connection.scalars(query))

    def begin(
        self, model: str, chosen: Sequence[Trigger], values: Callable[[Mapping[str, Plain], datetime], dict[str, Plain]]
    ) -> Retraining:
        """Begin a retraining that serves waiting triggers which ask for the same.

        Parameters
        ----------
        values : callable
            Gives the parameters of the retraining from those of the triggers and its beginning.
        """
        with self._ledger.write() as connection:
            at = self._clock()
            row = {
                "model": model,
                "begun_at": time_text(at),
                "state": RUNNING,
                "attempts": 1,
                "process": this_process(),
                "parameters": canonical(values(chosen[0].cause.parameters, at)),
                "reason": "",
                "evidence": "{}",
            }
            id = int(connection.scalar(insert(RETRAINING).returning(RETRAINING.c.id), row) or 0)
            mine = RETRAIN_TRIGGER.c.id.in_([one.id for one in chosen]) & _WAITS
            connection.execute(update(RETRAIN_TRIGGER).where(mine), {"retraining": id})
            return _one(connection, id)

    def left(self, model: str) -> Retraining | None:
        """Take up the retraining of a process that has died; None where there is none."""
        query = select(RETRAINING.c.id).where(RETRAINING.c.model == model, RETRAINING.c.state == RUNNING)
        with self._ledger.write() as connection:
            id = connection.scalar(query.order_by(RETRAINING.c.id).limit(1))
            if id is None:
                return None
            again = {"attempts": RETRAINING.c.attempts + 1, "process": this_process()}
            connection.execute(update(RETRAINING).where(RETRAINING.c.id == id).values(again))
            return _one(connection, id)

    def note(self, id: int, run: str) -> None:
        """Write down which run a retraining has begun, so that whoever takes it up goes on from there."""
        with self._ledger.write() as connection:
            connection.execute(update(RETRAINING).where(RETRAINING.c.id == id), {"run": run})

    def end(self, act: Retraining, outcome: Outcome, by: str, effects: Iterable[Effect]) -> Retraining:
        """End a retraining with an audit row, and what people are to be told; a second time changes nothing."""
        with self._ledger.write() as connection:
            at = self._clock()
            fields = {
                "ended_at": time_text(at),
                "state": outcome.state,
                "number": outcome.number,
                "reason": storable(outcome.reason),
                "evidence": canonical(outcome.evidence),
            }
            mine = (RETRAINING.c.id == act.id) & (RETRAINING.c.state == RUNNING)
            if connection.execute(update(RETRAINING).where(mine), fields).rowcount:
                served = _triggers(connection, _served(act.id))
                subject = f"{act.model}/{outcome.number}" if outcome.number else act.model
                detail: dict[str, object] = {
                    "retraining": act.id,
                    "state": outcome.state,
                    "reason": fields["reason"],
                    "triggers": [{"id": one.id, "kind": one.cause.kind, "reason": one.cause.reason} for one in served],
                    "attempts": act.attempts,
                    "evidence": dict(outcome.evidence),
                }
                event = {
                    "event": "retraining",
                    "text": f"Retraining {act.id} of {act.model} ended {outcome.state}: {outcome.reason}",
                    "id": act.id,
                    "model": act.model,
                    "version": subject if outcome.number else "",
                    "state": outcome.state,
                    "reason": outcome.reason,
                    "by": by,
                    "at": time_text(at),
                }
                told = enqueue(connection, at, act.model, effects, event)
                append(connection, at, by, ACTION, subject, {**detail, **({"effects": told} if told else {})})
            return _one(connection, act.id)


def _count(connection: Connection, model: str) -> int:
    query = select(func.count()).select_from(RETRAIN_TRIGGER).where(RETRAIN_TRIGGER.c.model == model)
    return int(connection.scalar(query) or 0)


def _waiting(model: str) -> Select[*tuple[object, ...]]:
    return select(RETRAIN_TRIGGER).where(RETRAIN_TRIGGER.c.model == model, _WAITS).order_by(RETRAIN_TRIGGER.c.id)


def _served(id: int) -> Select[*tuple[object, ...]]:
    return select(RETRAIN_TRIGGER).where(RETRAIN_TRIGGER.c.retraining == id).order_by(RETRAIN_TRIGGER.c.id)


def _triggers(connection: Connection, query: Select[*tuple[object, ...]]) -> tuple[Trigger, ...]:
    return tuple(
        Trigger(
            row["id"],
            row["model"],
            datetime.fromisoformat(row["at"]),
            Cause(row["kind"], row["key"], row["reason"], json.loads(row["evidence"]), json.loads(row["parameters"])),
            row["retraining"],
        )
        for row in connection.execute(query).mappings()
    )


def _one(connection: Connection, id: int) -> Retraining:
    return _retraining(connection.execute(select(RETRAINING).where(RETRAINING.c.id == id)).mappings().one())


def _retraining(row: RowMapping) -> Retraining:
    ended = row["ended_at"]
    return Retraining(
        row["id"],
        row["model"],
        datetime.fromisoformat(row["begun_at"]),
        datetime.fromisoformat(ended) if ended else None,
        row["attempts"],
        row["process"],
        json.loads(row["parameters"]),
        row["run"],
        Outcome(row["state"], row["reason"], row["number"], json.loads(row["evidence"])),
    )
