"""What an act must still cause elsewhere becomes a row beside it, and is repeated until it is done.

A promotion writes its effects in its own transaction: there is no promotion without them, and none of them without the
promotion. Whoever delivers them holds the ledger's lock for that, so one process at a time does; a process that dies
there lets the lock go, and the next one goes on. An effect may thus be tried again after it was done: each carries
a key, `Due.key`, by which the one that is asked can tell.

References
----------
Chris Richardson, *Microservices Patterns*, 2018, section 3.3: transactional outbox.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Select, insert, select, update
from sqlalchemy.engine import Connection

from mlnb.registry.canonical import canonical, storable, time_text, utc_now
from mlnb.registry.signed import effect_record
from mlnb.store.ledger import Ledger
from mlnb.store.tables import OUTBOX

_LONGEST_WAIT_S = 300
_NOT_DONE = OUTBOX.c.done_at == ""


@dataclass(frozen=True, slots=True)
class Effect:
    """What an act must cause outside the ledger.

    Attributes
    ----------
    kind : str
        What is to be done, such as ``route`` or ``notify``.
    payload : mapping of str to JSON value
        With what; no secrets. The act that causes it is added to it, as ``promotion`` or ``alarm``.
    """

    kind: str
    payload: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Due:
    """An effect that is to be done now.

    Attributes
    ----------
    id : int
        Its row.
    model : str
        The model that moved.
    kind, payload
        As in `Effect`.
    created_at : datetime.datetime
        When the act was done, aware UTC.
    attempts : int
        Tries that failed.
    problem : str
        Why the last one did.
    key : str
        The same at every try, and of no other effect of any ledger: a digest of the effect and of the act.
    """

    id: int
    model: str
    kind: str
    payload: Mapping[str, object]
    created_at: datetime
    attempts: int
    problem: str
    key: str

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell."""
        return {
            "id": self.id,
            "model": self.model,
            "kind": self.kind,
            "payload": dict(self.payload),
            "created_at": time_text(self.created_at),
            "attempts": self.attempts,
            "problem": self.problem,
        }


class Outbox:
    """The effects of a ledger that are still to be done.

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
    def delivering(self, wait_s: float = 0.0) -> Iterator[bool]:
        """Hold the right to deliver; yields False where another process has had it for `wait_s` seconds."""
        with self._ledger.alone("outbox", wait_s) as alone:
            yield alone

    def due(self) -> tuple[Due, ...]:
        """Return what is to be done now, the oldest first."""
        now = time_text(self._clock())
        query = select(OUTBOX).where(_NOT_DONE, OUTBOX.c.not_before <= now).order_by(OUTBOX.c.id)
        return self._found(query)

    def waiting(self) -> tuple[Due, ...]:
        """Return everything that is not done yet, what is tried again later included, the oldest first."""
        return self._found(select(OUTBOX).where(_NOT_DONE).order_by(OUTBOX.c.id))

    def done(self, id: int) -> None:
        """Write down that an effect was done."""
        with self._ledger.write() as connection:
            connection.execute(
                update(OUTBOX).where(OUTBOX.c.id == id), {"done_at": time_text(self._clock()), "problem": ""}
            )

    def failed(self, id: int, problem: str) -> None:
        """Write down why an effect failed; it becomes due again after 1, 2, 4, ... at most 300 seconds."""
        with self._ledger.write() as connection:
            attempts = int(connection.scalar(select(OUTBOX.c.attempts).where(OUTBOX.c.id == id)) or 0)
            wait = timedelta(seconds=min(2 ** min(attempts, 16), _LONGEST_WAIT_S))
            fields = {
                "attempts": attempts + 1,
                "not_before": time_text(self._clock() + wait),
                "problem": storable(problem),
            }
            connection.execute(update(OUTBOX).where(OUTBOX.c.id == id), fields)

    def _found(self, query: Select[*tuple[object, ...]]) -> tuple[Due, ...]:
        with self._ledger.read() as connection:
            return tuple(
                Due(
                    id=row["id"],
                    model=row["model"],
                    kind=row["kind"],
                    payload=json.loads(row["payload"]),
                    created_at=datetime.fromisoformat(row["created_at"]),
                    attempts=row["attempts"],
                    problem=row["problem"],
                    key=effect_record(row),
                )
                for row in connection.execute(query).mappings()
            )


def enqueue(
    connection: Connection,
    at: datetime,
    model: str,
    effects: Iterable[Effect],
    cause: Mapping[str, object],
) -> dict[str, str]:
    """Add the effects of an act in the caller's writing transaction; return what the audit log keeps of each, by id.

    Parameters
    ----------
    cause : mapping of str to JSON value
        What people are told of the act: the payload's ``event``.
    """
    records = {}
    for effect in effects:
        row = {
            "model": model,
            "kind": effect.kind,
            "payload": canonical({**effect.payload, "event": cause}),
            "created_at": time_text(at),
            "attempts": 0,
            "not_before": time_text(at),
            "done_at": "",
            "problem": "",
        }
        id = connection.scalar(insert(OUTBOX).returning(OUTBOX.c.id), row)
        records[str(id)] = effect_record(row)
    return records
