"""A version and an alias become a move: the row that tells of it, the alias, and the audit row, all or none."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import insert, select, update
from sqlalchemy.engine import Connection, RowMapping

from mlnb.errors import RegistryError
from mlnb.registry.audit import append
from mlnb.registry.canonical import canonical, storable, time_text
from mlnb.registry.gates import Verdict
from mlnb.registry.reconcile import record_of
from mlnb.registry.reference import hint
from mlnb.registry.rows import promotion_of
from mlnb.registry.version import Promotion
from mlnb.store.ledger import ALIAS, PROMOTION


class Move:
    """One move of an alias, made inside a writing transaction that holds the model's lock.

    Parameters
    ----------
    connection : sqlalchemy.engine.Connection
        The transaction.
    at : datetime.datetime
        When, aware.
    by, reason : str
        Who, and why.
    verdicts : tuple of Verdict
        What the gates found.
    forced : bool
        Whether it goes ahead whatever they found.
    """

    def __init__(
        self,
        connection: Connection,
        at: datetime,
        by: str,
        reason: str,
        verdicts: tuple[Verdict, ...] = (),
        forced: bool = False,
    ) -> None:
        self._connection = connection
        self._at = at
        self._evidence: dict[str, object] = {
            "at": time_text(at),
            "by": storable(by),
            "reason": storable(reason.strip()),
            "verdicts": canonical([verdict.to_json() for verdict in verdicts]),
            "forced": forced,
        }

    def promote(self, model: str, alias: str, number: int) -> Promotion:
        """Lay a promotion of `number` on the one that holds the alias now."""
        standing = self._standing(model, alias)
        if standing is not None and standing["number"] == number:
            return promotion_of(self._promotion(standing["promotion"]), changed=False)
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

    def rollback(self, model: str, alias: str) -> Promotion:
        """Take the top promotion away, so that the one beneath holds the alias again.

        Raises
        ------
        RegistryError
            If there is no such alias, or nothing lies beneath.
        """
        standing = self._standing(model, alias)
        if standing is None:
            known = self._connection.scalars(select(ALIAS.c.name).where(ALIAS.c.model == model))
            raise RegistryError(f"{model} has no alias {alias!r}.", hint(alias, known), model=model, alias=alias)
        beneath = self._promotion(standing["promotion"])["beneath"]
        if beneath is None:
            raise RegistryError(
                f"{model}@{alias} cannot be rolled back: nothing held it before {model}/{standing['number']}.",
                f"Promote another version: mlnb promote {model}/N {alias}.",
                model=model,
                version=standing["number"],
                alias=alias,
            )
        number = self._promotion(beneath)["to_number"]
        row = self._written(
            model=model,
            alias=alias,
            kind="rollback",
            from_number=standing["number"],
            to_number=number,
            beneath=None,
            undoes=standing["promotion"],
        )
        self._point(model, alias, number, beneath, new=False)
        return promotion_of(row)

    def _standing(self, model: str, alias: str) -> RowMapping | None:
        query = select(ALIAS).where(ALIAS.c.model == model, ALIAS.c.name == alias)
        return self._connection.execute(query).mappings().one_or_none()

    def _promotion(self, number: int) -> RowMapping:
        return self._connection.execute(select(PROMOTION).where(PROMOTION.c.id == number)).mappings().one()

    def _written(self, **fields: str | int | None) -> dict[str, object]:
        row: dict[str, object] = {**self._evidence, **fields}
        row["id"] = self._connection.scalar(insert(PROMOTION).returning(PROMOTION.c.id), row)
        detail = {
            "promotion": row["id"],
            "from": row["from_number"],
            "to": row["to_number"],
            "reason": row["reason"],
            "forced": row["forced"],
            "record": record_of(row),
        }
        subject = f"{row['model']}@{row['alias']}"
        append(self._connection, self._at, str(row["by"]), str(row["kind"]), subject, detail)
        return row

    def _point(self, model: str, alias: str, number: int, promotion: object, *, new: bool) -> None:
        place = {"number": number, "promotion": promotion}
        if new:
            self._connection.execute(insert(ALIAS), {"model": model, "name": alias, **place})
        else:
            self._connection.execute(update(ALIAS).where(ALIAS.c.model == model, ALIAS.c.name == alias), place)
