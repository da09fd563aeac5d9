"""The rows and bytes of the registry become versions, aliases and packages: what can be asked without changing any."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from sqlalchemy import select

from mlnb.model.evaluation import Evaluation
from mlnb.model.evaluation_codec import FILE as EVALUATIONS
from mlnb.model.evaluation_codec import read_all
from mlnb.registry.canonical import time_text
from mlnb.registry.move import standing_of
from mlnb.registry.package import unpack
from mlnb.registry.reference import Reference, parse_reference
from mlnb.registry.remarks import approvals_of, key_of, tags_of, with_tags
from mlnb.registry.rows import check_known, files_of, promotion_of, resolve, version_of, version_with
from mlnb.registry.search import Query, search
from mlnb.registry.signed import check_recorded, check_version
from mlnb.registry.version import Approval, Promotion, Version
from mlnb.store.files import FileStore
from mlnb.store.ledger import Ledger
from mlnb.store.prepared import Row
from mlnb.store.tables import ALIAS, MODEL, PROMOTION, VERSION


class Catalogue:
    """What the registry of a project knows.

    Parameters
    ----------
    ledger : Ledger
        Where the rows are.
    store : FileStore
        Where the bytes of the packages are.
    """

    def __init__(self, ledger: Ledger, store: FileStore) -> None:
        self._ledger = ledger
        self._store = store

    def find(self, model: str, content: str) -> Version | None:
        """Return the model's version with that content, so that nobody need export it again."""
        with self._ledger.read() as connection:
            row = version_with(connection, model, content)
            return None if row is None else with_tags(connection, row)

    def get(self, ref: str) -> Version:
        """Return the version that ``delays/7`` or ``delays@production`` means now.

        Raises
        ------
        RegistryError
            If there is no such model, version or alias.
        """
        reference = parse_reference(ref)
        with self._ledger.read() as connection:
            return with_tags(connection, resolve(connection, reference))

    def evaluations(self, version: Version) -> dict[str, Evaluation]:
        """Return what the run of a version has measured, by ``stage.variable``; empty where it evaluated nothing.

        Raises
        ------
        CorruptError
            If the bytes are not in the store.
        """
        digest = version.files.get(EVALUATIONS)
        return read_all(self._store.verify(digest)) if digest else {}

    def list(self, model: str = "") -> tuple[Version, ...]:
        """Return the versions of one model, or of all, by model and number.

        Raises
        ------
        RegistryError
            If there is no such model.
        """
        query = select(VERSION).order_by(VERSION.c.model, VERSION.c.number)
        with self._ledger.read() as connection:
            if model:
                check_known(connection, model)
                query = query.where(VERSION.c.model == model)
            tags = tags_of(connection, model)
            return tuple(version_of(row, tags.get(key_of(row))) for row in connection.execute(query).mappings())

    def search(self, query: Query) -> tuple[Version, ...]:
        """Return the versions of which the query (see `mlnb.registry.search`) is true, by model and number."""
        with self._ledger.read() as connection:
            return search(connection, query)

    def models(self) -> tuple[str, ...]:
        """Return the names of all models, sorted."""
        with self._ledger.read() as connection:
            return tuple(connection.scalars(select(MODEL.c.name).order_by(MODEL.c.name)))

    def aliases(self, model: str) -> dict[str, int]:
        """Return where each alias of the model points to, sorted by name; empty for a model without any."""
        query = select(ALIAS.c.name, ALIAS.c.number).where(ALIAS.c.model == model).order_by(ALIAS.c.name)
        with self._ledger.read() as connection:
            return {row.name: row.number for row in connection.execute(query)}

    def newest(self, model: str, count: int) -> tuple[Version, ...]:
        """Return the newest versions of a model, the newest first.

        Raises
        ------
        RegistryError
            If there is no such model.
        """
        query = select(VERSION).where(VERSION.c.model == model).order_by(VERSION.c.number.desc()).limit(count)
        with self._ledger.read() as connection:
            check_known(connection, model)
            return tuple(with_tags(connection, row) for row in connection.execute(query).mappings().all())

    def history(self, model: str, alias: str = "", last: int = 0) -> tuple[Promotion, ...]:
        """Return every move of one alias, or of all of the model, the oldest first; only the newest `last`, if given.

        Raises
        ------
        RegistryError
            If there is no such model.
        """
        query = select(PROMOTION).where(PROMOTION.c.model == model).order_by(PROMOTION.c.id.desc())
        if alias:
            query = query.where(PROMOTION.c.alias == alias)
        if last:
            query = query.limit(last)
        with self._ledger.read() as connection:
            check_known(connection, model)
            return tuple(promotion_of(row) for row in connection.execute(query).mappings())[::-1]

    def moves(self, model: str, alias: str, begin: datetime, end: datetime) -> tuple[Promotion, ...]:
        """Return the first move of an alias, then all by which it stood where it did in a span, the oldest first.

        Those are the last one until `begin`, those before `end`, and the next one, which ended what they began.
        """
        mine = select(PROMOTION).where(PROMOTION.c.model == model, PROMOTION.c.alias == alias)
        rising, falling = mine.order_by(PROMOTION.c.id), mine.order_by(PROMOTION.c.id.desc())
        since, until = time_text(begin), time_text(end)
        with self._ledger.read() as connection:
            oldest = connection.execute(rising.limit(1)).mappings().all()
            before = connection.execute(falling.where(PROMOTION.c.at <= since).limit(1)).mappings().all()
            inside = rising.where(PROMOTION.c.at > since, PROMOTION.c.at < until)
            after = rising.where(PROMOTION.c.at > since, PROMOTION.c.at >= until).limit(1)
            rows = [*oldest, *before, *(row for one in (inside, after) for row in connection.execute(one).mappings())]
        return tuple(promotion_of(row) for row in rows)

    def previous(self, model: str, alias: str) -> int:
        """Return the version that a rollback of the alias would lead to; 0 where it leads nowhere."""
        with self._ledger.read() as connection:
            standing = standing_of(connection, model, alias)
            if standing is None:
                return 0
            beneath = select(PROMOTION.c.beneath).where(PROMOTION.c.id == standing["promotion"]).scalar_subquery()
            return int(connection.scalar(select(PROMOTION.c.to_number).where(PROMOTION.c.id == beneath)) or 0)

    def unpack(self, version: Version, folder: Path) -> None:
        """Write the package's files to `folder`, wholly or not at all; a folder that holds just them already is left.

        Raises
        ------
        UntrustedError
            If the version's signature is wrong, or it is not what the audit log tells of; a stranger's version may be
            read, as long as it executes no code.
        CorruptError
            If stored bytes are not what was registered.
        StorageError
            If the folder cannot be written, or holds something else.
        """
        with self._ledger.read() as connection:
            row = resolve(connection, parse_reference(version.ref))
            check_version(row, stranger=True)
            check_recorded(connection, row)
        unpack(version_of(row).files, self._store, folder)

    def verify(self, version: Version) -> None:
        """Refuse a version that is not, byte for byte, what somebody whom this user trusts has signed.

        Raises
        ------
        UntrustedError
            If its signature is missing or wrong, or of a key that this user does not trust.
        CorruptError
            If stored bytes are not what was registered.
        """
        self._sound(parse_reference(version.ref))

    def approvals(self, ref: str, alias: str) -> tuple[Approval, ...]:
        """Return who has approved of a version for an alias, the oldest first.

        Raises
        ------
        RegistryError
            If there is no such version.
        """
        reference = parse_reference(ref)
        with self._ledger.read() as connection:
            return approvals_of(connection, key_of(resolve(connection, reference)), alias)

    def _sound(self, reference: Reference) -> dict[str, object]:
        """Return the row of a version after its signature and its bytes were checked; no lock is held meanwhile."""
        with self._ledger.read() as connection:
            row = resolve(connection, reference)
            if not row["seal"]:
                check_recorded(connection, row)
        check_version(row, stranger=False)
        self._check_bytes(row)
        return dict(row)

    def _check_bytes(self, row: Row) -> None:
        for digest in files_of(row).values():
            self._store.trusted(digest)
