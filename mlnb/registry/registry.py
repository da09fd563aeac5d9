"""Drafts become versions, and aliases move between them: one transaction for the act, its history, its audit row."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial

from sqlalchemy import String, bindparam, insert, update
from sqlalchemy.engine import Connection

from mlnb.errors import GateError, PolicyError, RegistryError, UsageError
from mlnb.registry.audit import append
from mlnb.registry.canonical import time_text, utc_now
from mlnb.registry.catalogue import Catalogue
from mlnb.registry.gates import Verdict
from mlnb.registry.move import Deed, Move, check_held, target_of
from mlnb.registry.outbox import Effect
from mlnb.registry.policy import EVERYBODY, Act, Policy
from mlnb.registry.reference import Reference, check_name, parse_reference
from mlnb.registry.remarks import (
    Key,
    add_approval,
    approval_detail,
    approval_of,
    approvals_of,
    drop_tag,
    key_of,
    set_tag,
    tags_of,
    with_tags,
)
from mlnb.registry.rows import (
    check_known,
    counted,
    fields_of,
    lock_model,
    resolve,
    version_of,
    version_with,
)
from mlnb.registry.signed import check_recorded, record_of, seal_of
from mlnb.registry.version import Approval, Draft, Promotion, Version
from mlnb.store.files import FileStore
from mlnb.store.ledger import Ledger
from mlnb.store.prepared import Prepared, Row
from mlnb.store.tables import MODEL, VERSION

_ADD = Prepared(insert(VERSION))
_COUNT = Prepared(update(MODEL).where(MODEL.c.name == bindparam("of_name", type_=String)))


class Registry(Catalogue):
    """The versions and aliases of a project, and every act on them.

    Parameters
    ----------
    ledger : Ledger
        Where the rows are.
    store : FileStore
        Where the bytes of the packages are.
    clock : callable
        Returns the present time, aware.
    policy : Policy
        Who may do what.
    """

    def __init__(
        self,
        ledger: Ledger,
        store: FileStore,
        clock: Callable[[], datetime] = utc_now,
        policy: Policy = EVERYBODY,
    ) -> None:
        super().__init__(ledger, store)
        self._clock = clock
        self._policy = policy

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
        for name in draft.files:
            check_name("file", name)
        self._store.keep([*draft.files.values(), *filter(self._store.stored, draft.lineage.digests())])
        fields = fields_of(draft)
        with self._ledger.write() as connection:
            last_number = counted(connection, draft.model)
            at = self._clock()  # here and below after the lock: times rise with the rows, however long that took
            if last_number is None:
                model = {"name": draft.model, "last_number": 0, "created_at": time_text(at)}
                self._ledger.insert_missing(connection, MODEL, model)
                last_number = counted(connection, draft.model) or 0  # of another process, which was faster
            same = version_with(connection, draft.model, str(fields["content"]))
            if same is not None:
                return version_of(same, tags_of(connection, draft.model, same["number"]).get(key_of(same)))
            row = {**fields, "number": last_number + 1, "created_at": time_text(at)}
            row["seal"], row["key"] = seal_of(row)
            _ADD.rows(connection, row)
            _COUNT.rows(connection, {"of_name": draft.model, "last_number": row["number"]})
            detail = {"content": row["content"], "run": draft.lineage.run, **_sealed(row)}
            append(connection, at, draft.by, "register", f"{draft.model}/{row['number']}", detail)
        return version_of(row)

    def vouch(self, ref: str, *, by: str, reason: str) -> Version:
        """Sign a version that an older mlnb registered, or somebody whose key is not trusted.

        Raises
        ------
        UsageError
            If no reason is given.
        CorruptError
            If stored bytes are not what was registered.
        UntrustedError
            If the version's row is not the one that the audit log tells of: nobody can vouch for that.
        """
        _check_actor(by)
        if not reason.strip():
            raise UsageError(
                f"Vouching for {ref} needs a reason.", "Say how you know where it comes from: --reason TEXT."
            )
        reference = parse_reference(ref)
        with self._ledger.read() as connection:
            found = resolve(connection, reference)
        self._check_bytes(found)
        with self._ledger.write() as connection:
            lock_model(connection, reference.model)
            at = self._clock()
            row = dict(resolve(connection, reference))
            check_recorded(connection, row)
            row["seal"], row["key"] = seal_of(row)
            mine = (VERSION.c.model == row["model"]) & (VERSION.c.number == row["number"])
            connection.execute(update(VERSION).where(mine), {"seal": row["seal"], "key": row["key"]})
            subject, detail = f"{row['model']}/{row['number']}", {"reason": reason.strip(), **_sealed(row)}
            append(connection, at, by, "vouch", subject, detail)
            return version_of(row, tags_of(connection, *key_of(row)).get(key_of(row)))

    def tag(self, ref: str, name: str, value: str, *, by: str) -> Version:
        """Write a tag on a version, in the place of the one that had the name; each change is in the audit log.

        Raises
        ------
        RegistryError
            If there is no such version, or the tag cannot have that name.
        """
        return self._tagged(ref, name, by, partial(set_tag, name=name, value=value))

    def untag(self, ref: str, name: str, *, by: str) -> Version:
        """Take a tag away from a version; one that is not there stays away."""
        return self._tagged(ref, name, by, partial(drop_tag, name=name))

    def approve(self, ref: str, alias: str, *, by: str, reason: str = "") -> Approval:
        """Write down that a person approves of a version for an alias.

        Raises
        ------
        RegistryError
            If there is no such version, or no alias can have that name.
        PolicyError
            If the policy does not let them; that is in the log.
        """
        reference = parse_reference(ref)
        check_name("alias", alias)
        _check_actor(by)
        with self._ledger.write() as connection:
            lock_model(connection, reference.model)
            at = self._clock()
            version = resolve(connection, reference)
            refusal = self._refusal(connection, Deed(at, by), "approve", alias, version)
            if not refusal:
                row = add_approval(connection, at, key_of(version), alias, by, reason)
                detail = approval_detail(row, self._policy.digest)
                append(connection, at, by, "approve", f"{version['model']}/{version['number']}", detail)
                return approval_of(row)
        raise _policy_error(refusal, by, alias)

    def promote(
        self,
        ref: str,
        alias: str,
        *,
        by: str,
        reason: str = "",
        verdicts: Iterable[Verdict] = (),
        force: bool = False,
        effects: Iterable[Effect] = (),
        held: int | None = None,
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
        effects : iterable of Effect
            What the move must cause elsewhere: written with it, done afterwards (`mlnb.registry.outbox`).
        held : int
            Number of the version that held the alias when the gates were judged, 0 for none; None does not ask.

        Returns
        -------
        Promotion
            With ``changed=False`` where the alias was there already; it is then the move that had put it there.

        Raises
        ------
        GateError
            If a gate failed and `force` is not set, even where the alias is there already; the refusal is in the log.
        PolicyError
            If the policy does not let them; the refusal is in the log.
        UntrustedError, CorruptError
            As `verify`.
        OvertakenError
            If another version than `held` holds the alias by now.
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
        evidence, wished = tuple(verdicts), tuple(effects)
        while True:
            sound = self._sound(reference)
            with self._ledger.write() as connection:
                lock_model(connection, reference.model)
                deed = Deed(self._clock(), by, reason, evidence, force, wished, self._policy.digest)
                version = resolve(connection, reference)
                if dict(version) != sound:
                    continue  # the reference has come to mean another one: that must be looked at, too
                number: int = version["number"]
                check_held(connection, reference.model, alias, held)
                refusal = self._refusal(connection, deed, "promote", alias, version)
                if refusal:
                    break
                if force or all(verdict.passed for verdict in evidence):
                    return Move(connection, deed).promote(reference.model, alias, number)
                detail = {"alias": alias, "verdicts": [verdict.to_json() for verdict in evidence]}
                append(connection, deed.at, by, "gate-failed", f"{reference.model}/{number}", detail)
                break
        if refusal:
            raise _policy_error(refusal, by, alias)
        raise _gate_error(f"{reference.model}/{number}", alias, evidence)

    def rollback(
        self,
        model: str,
        alias: str,
        *,
        by: str,
        reason: str = "",
        to: int = 0,
        effects: Iterable[Effect] = (),
        held: int | None = None,
    ) -> Promotion:
        """Undo the last promotion of `alias` that is not undone yet, or all since a version that had held it.

        The promotions of an alias lie on each other; a rollback takes the top one away. So after promotions of 1, 2 and
        3 the first rollback leads to 2, the second to 1, and the third is refused; after a rollback to 2 and a
        promotion of 4, a rollback leads to 2 again.

        Parameters
        ----------
        by, reason : str
            Who, and why.
        to : int
            Number of the version to go back to, one that has held the alias before; 0 for the one beneath.
        effects : iterable of Effect
            As in `promote`.
        held : int
            Number of the version that whoever decides has seen holding the alias; None does not ask.

        Raises
        ------
        RegistryError
            If there is no such alias, or nothing to go back to.
        OvertakenError
            If another version than `held` holds the alias by now.
        PolicyError
            If the policy does not let them; the refusal is in the log.
        UntrustedError, CorruptError
            As `verify`, of the version that it leads to.
        """
        check_name("model", model)
        check_name("alias", alias)
        _check_actor(by)
        wished = tuple(effects)
        while True:
            with self._ledger.read() as connection:
                check_known(connection, model)
                check_held(connection, model, alias, held)
                number = target_of(connection, model, alias, to)["to_number"]
            sound = self._sound(Reference(model, number))
            with self._ledger.write() as connection:
                lock_model(connection, model)
                deed = Deed(self._clock(), by, reason, effects=wished, policy=self._policy.digest)
                check_held(connection, model, alias, held)
                target = target_of(connection, model, alias, to)
                version = resolve(connection, Reference(model, target["to_number"]))
                if dict(version) != sound:
                    continue
                refusal = self._refusal(connection, deed, "rollback", alias, version)
                if not refusal:
                    return Move(connection, deed).rollback(model, alias, target)
            raise _policy_error(refusal, by, alias)

    def _tagged(
        self, ref: str, name: str, by: str, change: Callable[[Connection, datetime, str, Key], object]
    ) -> Version:
        reference = parse_reference(ref)
        check_name("tag", name)
        _check_actor(by)
        with self._ledger.write() as connection:
            lock_model(connection, reference.model)
            at = self._clock()
            row = resolve(connection, reference)
            change(connection, at, by, key_of(row))
            return with_tags(connection, row)

    def _refusal(self, connection: Connection, deed: Deed, kind: str, alias: str, version: Row) -> str:
        """Return why the policy refuses an act, after that is in the log; empty where it allows it."""
        approvals = approvals_of(connection, key_of(version), alias) if self._policy.digest else ()
        act = Act(
            kind=kind,
            model=version["model"],
            alias=alias,
            number=version["number"],
            by=deed.by,
            registered_by=version["created_by"],
            forced=deed.forced,
            approvals=approvals,
        )
        refusal = self._policy.refusal(act)
        if refusal:
            detail = {"kind": kind, "alias": alias, "problem": refusal, "policy": self._policy.digest}
            append(connection, deed.at, deed.by, "policy-refused", f"{act.model}/{act.number}", detail)
        return refusal


def _sealed(row: dict[str, object]) -> dict[str, object]:
    return {"record": record_of(row), "seal": row["seal"], "key": row["key"]}


def _check_actor(by: str) -> None:
    if not by.strip():
        raise UsageError("Nobody is named as the one who does this.", "Say who: the audit log keeps the name.")


def _policy_error(refusal: str, by: str, alias: str) -> PolicyError:
    return PolicyError(
        refusal, "Ask somebody who may, or change [tool.mlnb.policy] in pyproject.toml.", actor=by, alias=alias
    )


def _gate_error(ref: str, alias: str, verdicts: tuple[Verdict, ...]) -> GateError:
    failed = [verdict.sentence for verdict in verdicts if not verdict.passed]
    count = "A gate" if len(failed) == 1 else f"{len(failed)} gates"
    return GateError(
        f"{count} of {alias} failed for {ref}: {' '.join(failed)}",
        "Improve the model, change the gate, or override it with --force --reason TEXT.",
        verdicts=failed,
    )
