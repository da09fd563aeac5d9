"""Versions, verdicts, approvals and the policy become what there is to decide about an alias: a `Pending`.

It only reads. What it says may be out of date by the time somebody decides; the registry looks again inside the
transaction of the act, whatever was shown before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlnb.errors import MlnbError, UsageError
from mlnb.judging.judgement import Judgement, last_judgement, reconsider
from mlnb.registry.policy import Act, Policy, approvers
from mlnb.registry.reference import check_name, parse_reference

if TYPE_CHECKING:
    from mlnb.judging.case import Bench
    from mlnb.registry.audit import Audit
    from mlnb.registry.outbox import Due, Outbox
    from mlnb.registry.registry import Registry
    from mlnb.registry.version import Approval, Promotion, Version

VERSIONS_SHOWN = 100
"""The newest so many versions are offered, beside those that an alias points to."""

MOVES_SHOWN = 200
"""The newest so many moves of the alias are told."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How an alias stands, before anything is judged.

    Attributes
    ----------
    model, alias : str
    versions : tuple of Version
        Those that may be chosen, the newest first.
    aliases : mapping of str to int
        Where every alias of the model points to.
    candidate : Version
        What may be promoted.
    champion : Version or None
        What holds the alias now.
    history : tuple of Promotion
        The newest moves of the alias, the newest first.
    previous : int
        The version that a rollback leads to; 0 where it leads nowhere.
    approvals : tuple of Approval
        Of the candidate for the alias, the oldest first.
    """

    model: str
    alias: str
    versions: tuple[Version, ...]
    aliases: Mapping[str, int]
    candidate: Version
    champion: Version | None
    history: tuple[Promotion, ...]
    previous: int
    approvals: tuple[Approval, ...]

    @property
    def earlier(self) -> tuple[int, ...]:
        """Versions that have held the alias and do not hold it now, the last one first."""
        now = self.champion.number if self.champion else 0
        held = [number for move in self.history for number in (move.to_number, move.from_number)]
        return tuple(dict.fromkeys(number for number in held if number not in (0, now)))


@dataclass(frozen=True, slots=True)
class Pending:
    """What there is to decide about an alias, and what stands in the way of whoever looks.

    Attributes
    ----------
    standing : Standing
        Candidate, champion, history.
    judgement : Judgement
        What the gates of the alias find in the candidate now; empty where `unjudged` says why they find nothing.
    unjudged : str
        Why the candidate cannot be judged; empty where it can.
    measured : mapping of str to float
        What was measured of the champion; empty where there is none.
    counted : tuple of str
        Who counts as a second person, of those who have approved.
    approvals_needed : int
        How many of them the policy asks for.
    refusals : mapping of str to str
        By act (``promote``, ``rollback``, ``approve``), the sentence that says why the policy refuses it to whoever
        looks, or that they have approved already; empty where they may.
    waiting : tuple of Due
        Effects of earlier acts on the model that are not done yet.
    revision : str
        Another text as soon as anything of the ledger is.
    """

    standing: Standing
    judgement: Judgement
    unjudged: str
    measured: Mapping[str, float]
    counted: tuple[str, ...]
    approvals_needed: int
    refusals: Mapping[str, str]
    waiting: tuple[Due, ...]
    revision: str


def look(bench: Bench, outbox: Outbox, policy: Policy, by: str, standing: Standing) -> Pending:
    """Return what there is to decide, and what `by` may.

    Parameters
    ----------
    bench : Bench
        Where judging looks things up.
    outbox : Outbox
        Effects that are not done yet.
    policy : Policy
        Who may do what.
    by : str
        Who looks.
    standing : Standing
        Of the alias, see `standing_of`.
    """
    now = revision(bench.audit, outbox)
    candidate, champion = standing.candidate, standing.champion
    judgement, unjudged = Judgement(), ""
    try:
        judgement = reconsider(candidate, standing.alias, by, bench)
    except MlnbError as error:
        unjudged = f"{error.problem} {error.remedy}"
    return Pending(
        standing=standing,
        judgement=judgement,
        unjudged=unjudged,
        measured=last_judgement(champion, bench.audit).evidence if champion else {},
        counted=approvers(standing.approvals, "", candidate.created_by),
        approvals_needed=policy.rule(standing.alias).approvals,
        refusals={kind: _refusal(kind, standing, policy, by) for kind in ("promote", "rollback", "approve")},
        waiting=tuple(due for due in outbox.waiting() if due.model == standing.model),
        revision=now,
    )


def revision(audit: Audit, outbox: Outbox) -> str:
    """Return a text that is another one as soon as anything of the ledger is; made to be asked for every second."""
    head = [row.id for row in audit.log(last=1)]
    waiting = [(due.id, due.attempts) for due in outbox.waiting()]
    return hashlib.sha256(json.dumps([head, waiting]).encode()).hexdigest()[:16]


def standing_of(registry: Registry, model: str, alias: str, ref: str = "") -> Standing:
    """Return how an alias stands.

    Parameters
    ----------
    ref : str
        The candidate; empty for the newest version.

    Raises
    ------
    RegistryError
        If there is no such model or version, or no alias can have that name.
    UsageError
        If the candidate is of another model.
    """
    check_name("alias", alias)
    if ref and parse_reference(ref).model != model:
        raise UsageError(f"{ref} is no version of {model}.", f"Name one of its own: {model}/N.")
    versions = registry.newest(model, VERSIONS_SHOWN)
    candidate = registry.get(ref) if ref else versions[0]
    aliases = registry.aliases(model)
    known = {version.number: version for version in (*versions, candidate)}
    for number in aliases.values():
        known.setdefault(number, registry.get(f"{model}/{number}"))
    champion = known.get(aliases.get(alias, 0))
    return Standing(
        model=model,
        alias=alias,
        versions=tuple(sorted(known.values(), key=lambda version: -version.number)),
        aliases=aliases,
        candidate=candidate,
        champion=champion,
        history=registry.history(model, alias, last=MOVES_SHOWN)[::-1],
        previous=registry.previous(model, alias) if champion else 0,
        approvals=registry.approvals(candidate.ref, alias),
    )


def _refusal(kind: str, standing: Standing, policy: Policy, by: str) -> str:
    candidate = standing.candidate
    if kind == "approve" and any(approval.by == by for approval in standing.approvals):
        return f"{by} has approved {candidate.ref} for {standing.alias} already."
    act = Act(
        kind=kind,
        model=standing.model,
        alias=standing.alias,
        number=standing.previous if kind == "rollback" else candidate.number,
        by=by,
        registered_by=candidate.created_by,
        approvals=standing.approvals,
    )
    return policy.refusal(act)
