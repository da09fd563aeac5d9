"""Drafts become versions, and aliases move between them: one transaction for the act, its history, its audit row."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

from sqlalchemy import insert, select, update

from mlnb.errors import GateError, RegistryError, UsageError
from mlnb.model.evaluation import Evaluation
from mlnb.model.evaluation_codec import FILE as EVALUATIONS
from mlnb.model.evaluation_codec import read_all
from mlnb.registry.audit import append, utc_now
from mlnb.registry.canonical import time_text
from mlnb.registry.gates import Verdict
from mlnb.registry.move import Move
from mlnb.registry.package import unpack
from mlnb.registry.reconcile import record_of
from mlnb.registry.reference import check_name, parse_reference
from mlnb.registry.rows import (
    check_known,
    fields_of,
    lock_model,
    promotion_of,
    resolve,
    version_of,
    version_where,
)
from mlnb.registry.version import Draft, Promotion, Version
from mlnb.store.files import FileStore
from mlnb.store.ledger import ALIAS, MODEL, PROMOTION, VERSION, Ledger


class Registry:
    """The versions and aliases of a project.

    Parameters
    ----------
    ledger : Ledger
        Where the rows are.
    store : FileStore
        Where the bytes of the packages are.
    clock : callable
        Returns the present time, aware.
    """

    def __init__(self, ledger: Ledger, store: FileStore, clock: Callable[[], datetime] = utc_now) -> None:
        self._ledger = ledger
        self._store = store
        self._clock = clock

    def register(self, draft: Draft) -> Version:
        """Return the version that has the draft's content: the one that is there, or a new one with the next number.

        Raises
        ------
        RegistryError
            If the model's or a file's name is not allowed, or the package is empty.
        CorruptError
            If the bytes of a file are not in the store.
        """
        check_name("model", draft.model)
        _check_actor(draft.by)
        if not draft.files:
            raise RegistryError(
                f"The package of {draft.model} is empty.", "Export the model into it first.", model=draft.model
            )
        for name, digest in draft.files.items():
            check_name("file", name)
            self._store.path(digest)
        fields = fields_of(draft)
        with self._ledger.write() as connection:
            at = self._clock()
            model = {"name": draft.model, "last_number": 0, "created_at": time_text(at)}
            self._ledger.insert_missing(connection, MODEL, model)
            last_number = lock_model(connection, draft.model)
            same = version_where(connection, draft.model, VERSION.c.content == fields["content"])
            if same is not None:
                return version_of(same)
            row = {**fields, "number": last_number + 1, "created_at": time_text(at)}
            connection.execute(insert(VERSION), row)
            connection.execute(update(MODEL).where(MODEL.c.name == draft.model), {"last_number": row["number"]})
            detail = {"content": row["content"], "run": draft.lineage.run, "record": record_of(row)}
            append(connection, at, draft.by, "register", f"{draft.model}/{row['number']}", detail)
        return version_of(row)

    def find(self, model: str, content: str) -> Version | None:
        """Return the model's version with that content, so that nobody need export it again."""
        with self._ledger.read() as connection:
            row = version_where(connection, model, VERSION.c.content == content)
        return None if row is None else version_of(row)

    def get(self, ref: str) -> Version:
        """Return the version that ``delays/7`` or ``delays@production`` means now.

        Raises
        ------
        RegistryError
            If there is no such model, version or alias.
        """
        reference = parse_reference(ref)
        with self._ledger.read() as connection:
            return version_of(resolve(connection, reference))

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
            return tuple(version_of(row) for row in connection.execute(query).mappings())

    def models(self) -> tuple[str, ...]:
        """Return the names of all models, sorted."""
        with self._ledger.read() as connection:
            return tuple(connection.scalars(select(MODEL.c.name).order_by(MODEL.c.name)))

    def aliases(self, model: str) -> dict[str, int]:
        """Return where each alias of the model points to, sorted by name; empty for a model without any."""
        query = select(ALIAS.c.name, ALIAS.c.number).where(ALIAS.c.model == model).order_by(ALIAS.c.name)
        with self._ledger.read() as connection:
            return {row.name: row.number for row in connection.execute(query)}

    def history(self, model: str, alias: str = "") -> tuple[Promotion, ...]:
        """Return every move of one alias, or of all of the model, the oldest first.

        Raises
        ------
        RegistryError
            If there is no such model.
        """
        query = select(PROMOTION).where(PROMOTION.c.model == model).order_by(PROMOTION.c.id)
        if alias:
            query = query.where(PROMOTION.c.alias == alias)
        with self._ledger.read() as connection:
            check_known(connection, model)
            return tuple(promotion_of(row) for row in connection.execute(query).mappings())

    def unpack(self, version: Version, folder: Path) -> None:
        """Write the package's files to `folder`, wholly or not at all; a folder that holds just them already is left.

        Raises
        ------
        CorruptError
            If stored bytes are not what was registered.
        StorageError
            If the folder cannot be written, or holds something else.
        """
        unpack(version.files, self._store, folder)

    def promote(
        self, ref: str, alias: str, *, by: str, reason: str = "", verdicts: Iterable[Verdict] = (), force: bool = False
    ) -> Promotion:
        """Point `alias` to the version that `ref` means.

        Parameters
        ----------
        ref : str
            ``delays/7``, or ``delays@staging`` for what that alias points to at this moment.
        alias : str
            The alias to move; made where it is new.
        by, reason : str
            Who, and why.
        verdicts : iterable of Verdict
            What the gates found; kept as evidence.
        force : bool
            Go ahead although a gate failed. Needs a reason, and is written down.

        Returns
        -------
        Promotion
            With ``changed=False`` where the alias was there already; it is then the move that had put it there.

        Raises
        ------
        GateError
            If a gate failed and `force` is not set, even where the alias is there already; the refusal is in the log.
        RegistryError
            If there is no such version, or the alias cannot have that name.
        UsageError
            If `force` comes without a reason.
        """
        reference = parse_reference(ref)
        check_name("alias", alias)
        _check_actor(by)
        if force and not reason.strip():
            raise UsageError(
                f"Promoting {ref} to {alias} by force needs a reason.", "Say why, for the audit log: --reason TEXT."
            )
        evidence = tuple(verdicts)
        with self._ledger.write() as connection:
            at = self._clock()
            lock_model(connection, reference.model)
            number: int = resolve(connection, reference)["number"]
            refused = not force and not all(verdict.passed for verdict in evidence)
            if refused:
                detail = {"alias": alias, "verdicts": [verdict.to_json() for verdict in evidence]}
                append(connection, at, by, "gate-failed", f"{reference.model}/{number}", detail)
            else:
                return Move(connection, at, by, reason, evidence, force).promote(reference.model, alias, number)
        raise _gate_error(f"{reference.model}/{number}", alias, evidence)

    def rollback(self, model: str, alias: str, *, by: str, reason: str = "") -> Promotion:
        """Undo the last promotion of `alias` that is not undone yet.

        The promotions of an alias lie on each other; a rollback takes the top one away. So after promotions of 1, 2 and
        3 the first rollback leads to 2, the second to 1, and the third is refused; after a rollback to 2 and a
        promotion of 4, a rollback leads to 2 again.

        Raises
        ------
        RegistryError
            If there is no such alias, or nothing to go back to.
        """
        check_name("model", model)
        check_name("alias", alias)
        _check_actor(by)
        with self._ledger.write() as connection:
            at = self._clock()
            lock_model(connection, model)
            return Move(connection, at, by, reason).rollback(model, alias)


def _check_actor(by: str) -> None:
    if not by.strip():
        raise UsageError("Nobody is named as the one who does this.", "Say who: the audit log keeps the name.")


def _gate_error(ref: str, alias: str, verdicts: tuple[Verdict, ...]) -> GateError:
    failed = [verdict.sentence for verdict in verdicts if not verdict.passed]
    count = "A gate" if len(failed) == 1 else f"{len(failed)} gates"
    return GateError(
        f"{count} of {alias} failed for {ref}: {' '.join(failed)}",
        "Improve the model, change the gate, or override it with --force --reason TEXT.",
        verdicts=failed,
    )
