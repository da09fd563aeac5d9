"""A version and an alias become a move: the row that tells of it, the alias, the effects, the signed audit row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Integer, String, bindparam, insert, select, update
from sqlalchemy.engine import Connection

from mlnb.errors import OvertakenError, RegistryError
from mlnb.registry.audit import append
from mlnb.registry.canonical import canonical, storable, time_text
from mlnb.registry.gates import Verdict
from mlnb.registry.outbox import Effect, enqueue
from mlnb.registry.reference import hint
from mlnb.registry.rows import promotion_of
from mlnb.registry.signed import record_of, sign_head
from mlnb.registry.version import Promotion
from mlnb.store.prepared import Prepared, Row
from mlnb.store.tables import ALIAS, PROMOTION

_ADD = Prepared(insert(PROMOTION).returning(PROMOTION.c.id))
_BY_ID = Prepared(select(PROMOTION).where(PROMOTION.c.id == bindparam("of_id", type_=Integer)))
_THIS = (ALIAS.c.model == bindparam("of_model", type_=String)) & (ALIAS.c.name == bindparam("of_name", type_=String))
_STANDING, _POINT = Prepared(select(ALIAS).where(_THIS)), Prepared(update(ALIAS).where(_THIS))


@dataclass(frozen=True, slots=True)
class Deed:
    """Who moves an alias, and what for.

    Attributes
    ----------
    at : datetime.datetime
        When, aware.
    by, reason : str
        Who, and why.
    verdicts : tuple of Verdict
        What the gates found.
    forced : bool
        Whether it goes ahead whatever they found.
    effects : tuple of Effect
        What the move must cause elsewhere.
    policy : str
        Digest of the policy that allows it; empty for none.
    """

    at: datetime
    by: str
    reason: str = ""
    verdicts: tuple[Verdict, ...] = ()
    forced: bool = False
    effects: tuple[Effect, ...] = ()
    policy: str = ""


class Move:
    """One move of an alias, made inside a writing transaction that holds the model's lock.

    Parameters
    ----------
    connection : sqlalchemy.engine.Connection
        The transaction.
    deed : Deed
        Who moves it, and what for.
    """

    def __init__(self, connection: Connection, deed: Deed) -> None:
        self._connection = connection
        self._deed = deed

    def promote(self, model: str, alias: str, number: int) -> Promotion:
        """Lay a promotion of `number` on the one that holds the alias now."""
        standing = standing_of(self._connection, model, alias)
        if standing is not None and standing["number"] == number:
            return promotion_of(_promotion(self._connection, standing["promotion"]), changed=False)
        row = self._written(
            model=model,
            alias=alias,
            kind="promote",
            from_number=0 if standing is None else standing["number"],
            to_number=number,
            beneath=None if standing is None else standing["promotion"],
            undoes=None,
        )
        self._point(model, alias, number, row["id"], new=standing is None)
        return promotion_of(row)

    def rollback(self, model: str, alias: str, target: Row) -> Promotion:
        """Take promotions away until `target`, which `target_of` has found, holds the alias again."""
        standing = standing_of(self._connection, model, alias)
        if standing is None or standing["promotion"] == target["id"]:
            return promotion_of(target, changed=False)
        row = self._written(
            model=model,
            alias=alias,
            kind="rollback",
            from_number=standing["number"],
            to_number=target["to_number"],
            beneath=target["id"],
            undoes=standing["promotion"],
        )
        self._point(model, alias, target["to_number"], target["id"], new=False)
        return promotion_of(row)

    def _written(self, **fields: str | int | None) -> dict[str, object]:
        deed = self._deed
        row: dict[str, object] = {
            "at": time_text(deed.at),
            "by": storable(deed.by),
            "reason": storable(deed.reason.strip()),
            "verdicts": canonical([verdict.to_json() for verdict in deed.verdicts]),
            "forced": deed.forced,
            **fields,
        }
        row["id"] = _ADD.value(self._connection, row)
        detail: dict[str, object] = {
            "promotion": row["id"],
            "from": row["from_number"],
            "to": row["to_number"],
            "reason": row["reason"],
            "forced": row["forced"],
            "record": record_of(row),
            "signed": True,
        }
        if deed.policy:
            detail["policy"] = deed.policy
        if deed.effects:
            cause = {**promotion_of(row).to_json(), "id": row["id"]}
            detail["effects"] = enqueue(self._connection, deed.at, str(row["model"]), deed.effects, cause)
        subject = f"{row['model']}@{row['alias']}"
        act = append(self._connection, deed.at, deed.by, str(row["kind"]), subject, detail)
        sign_head(self._connection, deed.at, act["id"], act["digest"])
        return row

    def _point(self, model: str, alias: str, number: int, promotion: object, *, new: bool) -> None:
        place = {"number": number, "promotion": promotion}
        if new:
            self._connection.execute(insert(ALIAS), {"model": model, "name": alias, **place})
        else:
            _POINT.rows(self._connection, {"of_model": model, "of_name": alias, **place})


def standing_of(connection: Connection, model: str, alias: str) -> Row | None:
    """Return the row of an alias; None where it does not exist."""
    return _STANDING.row(connection, {"of_model": model, "of_name": alias})


def check_held(connection: Connection, model: str, alias: str, held: int | None) -> None:
    """Refuse to move an alias that another version holds by now than `held`; None does not ask, 0 is for none.

    Raises
    ------
    OvertakenError
        If one does.
    """
    if held is None:
        return
    standing = standing_of(connection, model, alias)
    now = 0 if standing is None else int(standing["number"])
    if now != held:
        before = f"{model}/{held}" if held else "nothing"
        raise OvertakenError(
            f"{model}@{alias} is {f'{model}/{now}' if now else 'nothing'} by now, and not {before}, as was decided on.",
            "Somebody else has moved it: look at its history, then decide again.",
            model=model,
            version=now,
            alias=alias,
        )


def target_of(connection: Connection, model: str, alias: str, number: int) -> Row:
    """Return the row of the promotion that a rollback leads to.

    Parameters
    ----------
    number : int
        The version to go back to: one that has held the alias. 0 for the one before the present.

    Raises
    ------
    RegistryError
        If there is no such alias, nothing lies beneath, or that version has never held it.
    """
    standing = standing_of(connection, model, alias)
    if standing is None:
        known = connection.scalars(select(ALIAS.c.name).where(ALIAS.c.model == model))
        raise RegistryError(f"{model} has no alias {alias!r}.", hint(alias, known), model=model, alias=alias)
    if number == standing["number"]:
        return _promotion(connection, standing["promotion"])
    found = _held_by(connection, model, alias, standing["promotion"], number)
    if found is not None:
        return _promotion(connection, found)
    if number:
        problem = f"{model}/{number} has never held {alias}, so there is no way back to it."
        remedy = f"Promote it, through the gates: mlnb promote {model}/{number} {alias}."
    else:
        problem = f"{model}@{alias} cannot be rolled back: nothing held it before {model}/{standing['number']}."
        remedy = f"Promote another version: mlnb promote {model}/N {alias}."
    raise RegistryError(problem, remedy, model=model, version=number or standing["number"], alias=alias)


def _held_by(connection: Connection, model: str, alias: str, top: int, number: int) -> int | None:
    """Return the promotion to go back to: the nearest beneath the top, else the last one that was taken away."""
    if not number:
        beneath = _promotion(connection, top)["beneath"]
        return None if beneath is None else int(beneath)
    query = select(PROMOTION.c.id, PROMOTION.c.to_number, PROMOTION.c.beneath)
    rows = connection.execute(
        query.where(PROMOTION.c.model == model, PROMOTION.c.alias == alias, PROMOTION.c.kind == "promote")
    ).all()
    beneath_of = {row.id: row.beneath for row in rows}
    right: Iterable[int] = {row.id for row in rows if row.to_number == number}
    down = beneath_of.get(top)
    while down is not None and down not in right:
        down = beneath_of.get(down)
    return max(right, default=None) if down is None else down


def _promotion(connection: Connection, number: int) -> Row:
    (row,) = _BY_ID.rows(connection, {"of_id": number})
    return row
