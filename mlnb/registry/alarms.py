"""What monitoring has found becomes a row that stands until a person acknowledges it, with its record in the audit log.

There is one open row for a model, alias, version, column and kind: an alarm that goes on is not raised again, by
nobody. Raising and acknowledging are a row, an audit row and the messages to people in one transaction.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Select, insert, select, update
from sqlalchemy.engine import Connection, RowMapping

from mlnb.errors import CorruptError, RegistryError
from mlnb.registry.audit import append
from mlnb.registry.canonical import canonical, storable, time_text, utc_now
from mlnb.registry.outbox import Effect, enqueue
from mlnb.registry.rows import lock_model
from mlnb.registry.signed import record_of
from mlnb.store.ledger import Ledger
from mlnb.store.tables import ALARM

EVENT = "alarm"
_OPEN = ALARM.c.acknowledged_at == ""
_SAME = ("model", "alias", "number", "what", "kind")


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm.

    Attributes
    ----------
    model, alias, number : str, str, int
        Whose answers were watched: ``delays``, ``production``, 7.
    what : str
        The column, ``prediction``, ``score``, or ``performance:<metric>``.
    kind : str
        ``drift``, ``missing``, ``unseen``, ``range``, ``prediction``, ``performance``, ``concept`` or ``threshold``.
    window : str
        Bounds of the window in which it was found, ISO 8601 with a slash between; the end is excluded.
    reason : str
        What was found, in one sentence.
    evidence : mapping of str to JSON value
        ``effect``, ``tolerance``, ``e_value``, ``budget``, ``n``, and what else the finder knows.
    id : int
        1, 2, 3; 0 where it was not raised yet.
    raised_at, acknowledged_at : str
        UTC as `mlnb.registry.canonical.time_text` writes it; empty where that has not happened.
    acknowledged_by, note : str
        By whom, and what they said.
    """

    model: str
    alias: str
    number: int
    what: str
    kind: str
    window: str
    reason: str
    evidence: Mapping[str, object] = field(default_factory=dict)
    id: int = 0
    raised_at: str = ""
    acknowledged_at: str = ""
    acknowledged_by: str = ""
    note: str = ""

    @property
    def open(self) -> bool:
        """Whether nobody has acknowledged it."""
        return not self.acknowledged_at

    @property
    def place(self) -> tuple[str, str]:
        """What is alarmed, and how."""
        return self.what, self.kind

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell."""
        return {
            "id": self.id,
            "model": self.model,
            "alias": self.alias,
            "version": f"{self.model}/{self.number}",
            "what": self.what,
            "kind": self.kind,
            "window": self.window,
            "reason": self.reason,
            "evidence": dict(self.evidence),
            "raised_at": self.raised_at,
            "acknowledged_at": self.acknowledged_at,
            "acknowledged_by": self.acknowledged_by,
            "note": self.note,
        }


class Alarms:
    """The alarms of a ledger.

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

    def list(self, model: str = "", *, everything: bool = False) -> tuple[Alarm, ...]:
        """Return the open alarms of a model, or of all; with `everything` the acknowledged ones, too. Oldest first."""
        with self._ledger.read() as connection:
            return _found(connection, select(ALARM) if everything else select(ALARM).where(_OPEN), model)

    def get(self, id: int) -> Alarm:
        """Return one alarm.

        Raises
        ------
        RegistryError
            If there is none of that number.
        """
        with self._ledger.read() as connection:
            return _alarm(_row(connection, id))

    def raise_all(self, alarms: Iterable[Alarm], *, by: str, effects: Iterable[Effect] = ()) -> tuple[Alarm, ...]:
        """Raise alarms, all of them or none; return those that did not stand already."""
        told = tuple(effects)
        with self._ledger.write() as connection:
            raised = [raise_alarm(connection, alarm, at=self._clock(), by=by, effects=told) for alarm in alarms]
        return tuple(one for one in raised if one is not None)

    def acknowledge(self, id: int, *, by: str, note: str = "", effects: Iterable[Effect] = ()) -> Alarm:
        """Write down that a person has seen an alarm; what is found after that is a new one.

        Raises
        ------
        RegistryError
            If there is no such alarm, or somebody was faster.
        """
        with self._ledger.write() as connection:
            return acknowledge(connection, id, at=self._clock(), by=by, note=note, effects=effects)


def open_alarms(connection: Connection, model: str = "") -> tuple[Alarm, ...]:
    """Return the open alarms of a model, or of all, the oldest first."""
    return _found(connection, select(ALARM).where(_OPEN), model)


def raise_alarm(
    connection: Connection, alarm: Alarm, *, at: datetime, by: str, effects: Iterable[Effect] = ()
) -> Alarm | None:
    """Raise an alarm in the caller's writing transaction; None where the same one is open.

    Raises
    ------
    RegistryError
        If there is no such model.
    """
    lock_model(connection, alarm.model)
    same = [ALARM.c[name] == getattr(alarm, name) for name in _SAME]
    if connection.scalar(select(ALARM.c.id).where(_OPEN, *same)) is not None:
        return None
    fields = {
        **{name: getattr(alarm, name) for name in _SAME},
        "raised_at": time_text(at),
        "window": alarm.window,
        "reason": storable(alarm.reason),
        "evidence": canonical(alarm.evidence),
        "acknowledged_at": "",
        "acknowledged_by": "",
        "note": "",
    }
    row = connection.execute(insert(ALARM).returning(*ALARM.c), fields).mappings().one()
    _tell(connection, at, by, "alarm", row, effects, row["reason"])
    return _alarm(row)


def acknowledge(
    connection: Connection, id: int, *, at: datetime, by: str, note: str = "", effects: Iterable[Effect] = ()
) -> Alarm:
    """Acknowledge an alarm in the caller's writing transaction.

    Raises
    ------
    RegistryError
        If there is no such alarm, or it was acknowledged.
    """
    lock_model(connection, _row(connection, id)["model"])
    row = _row(connection, id)
    if row["acknowledged_at"]:
        raise RegistryError(
            f"The alarm {id} was acknowledged by {row['acknowledged_by']} at {row['acknowledged_at']}.",
            "There is nothing left to do.",
            model=row["model"],
            version=row["number"],
            alias=row["alias"],
        )
    said = {"acknowledged_at": time_text(at), "acknowledged_by": storable(by), "note": storable(note.strip())}
    statement = update(ALARM).where(ALARM.c.id == id).returning(*ALARM.c)
    row = connection.execute(statement, said).mappings().one()
    ending = f": {said['note']}" if said["note"] else "."
    text = f"{by} acknowledged alarm {id} of {row['model']}@{row['alias']} ({row['kind']} of {row['what']}){ending}"
    _tell(connection, at, by, "acknowledge", row, effects, text)
    return _alarm(row)


def _tell(
    connection: Connection, at: datetime, by: str, act: str, row: RowMapping, effects: Iterable[Effect], text: str
) -> None:
    """Write the audit row of an act, and the messages that tell people of it."""
    detail: dict[str, object] = {
        "alarm": row["id"],
        "what": row["what"],
        "kind": row["kind"],
        "version": row["number"],
        "reason": row["reason"] if act == "alarm" else row["note"],
        "record": record_of(row),
    }
    event = {"event": EVENT, **_alarm(row).to_json(), "state": "open" if act == "alarm" else "acknowledged"}
    told = enqueue(connection, at, row["model"], effects, {**event, "text": text, "by": by})
    if told:
        detail["effects"] = told
    append(connection, at, by, act, f"{row['model']}@{row['alias']}", detail)


def _found(connection: Connection, query: Select[*tuple[object, ...]], model: str) -> tuple[Alarm, ...]:
    wanted = query.where(ALARM.c.model == model) if model else query
    return tuple(_alarm(row) for row in connection.execute(wanted.order_by(ALARM.c.id)).mappings())


def _row(connection: Connection, id: int) -> RowMapping:
    row = connection.execute(select(ALARM).where(ALARM.c.id == id)).mappings().one_or_none()
    if row is None:
        raise RegistryError(f"There is no alarm {id}.", "See what there is: mlnb alarms list.")
    return row


def _alarm(row: RowMapping) -> Alarm:
    try:
        evidence = dict(json.loads(row["evidence"]))
    except (ValueError, TypeError) as error:
        raise CorruptError(
            f"The evidence of alarm {row['id']} cannot be read.",
            "Run mlnb audit verify, and put a backup of the ledger in its place.",
            digest=record_of(row),
        ) from error
    return Alarm(**{**row, "evidence": evidence})
