"""``mlnb models approve`` and ``judge``: a second person's yes, and what stands in the way of an alias right now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from mlnb.faces.complete import aliases, refs
from mlnb.faces.verb import Asked, Verb

if TYPE_CHECKING:
    from mlnb.pending import Pending
    from mlnb.registry.version import Approval

_ref = click.argument("ref", shell_complete=refs)
_alias = click.argument("alias", shell_complete=aliases)


@click.command("approve", cls=Verb)
@_ref
@_alias
@click.option("--reason", default="", help="What you have looked at; kept in the audit log.")
@click.pass_obj
def approve(asked: Asked, ref: str, alias: str, reason: str) -> int:
    """Approve of a version for an alias, as a second person: mlnb models approve delays/7 production."""
    return asked.answer(asked.project().approve(ref, alias, reason=reason), _approved_lines)


@click.command("judge", cls=Verb)
@_ref
@_alias
@click.pass_obj
def judge(asked: Asked, ref: str, alias: str) -> int:
    """Say what the gates of an alias and the policy find in a version now, and move nothing; 3 where one refuses it."""
    from mlnb.registry.policy import approvers
    from mlnb.registry.reference import parse_reference

    project = asked.project()
    found = project.pending(parse_reference(ref).model, alias, ref)
    candidate = found.standing.candidate
    counted = approvers(found.standing.approvals, project.actor, candidate.created_by)
    refusal = found.unjudged or found.refusals["promote"]
    facts = {
        "version": candidate.ref,
        "alias": alias,
        "actor": project.actor,
        "champion": found.standing.champion.ref if found.standing.champion else "",
        "passed": found.judgement.passed and not refusal,
        "verdicts": found.judgement.verdicts,
        "refusal": refusal,
        "approvals": found.standing.approvals,
        "counted": counted,
    }
    return asked.answer(facts, lambda _: _judged_lines(found, project.actor, counted), code=0 if facts["passed"] else 3)


def _approved_lines(approval: Approval) -> Iterator[str]:
    yield f"{approval.model}/{approval.number} is approved for {approval.alias} by {approval.by}"


def _judged_lines(found: Pending, actor: str, counted: tuple[str, ...]) -> Iterator[str]:
    from mlnb.faces.view import verdict_lines

    standing = found.standing
    champion = standing.champion.ref if standing.champion else "nothing"
    yield f"{standing.candidate.ref} for {standing.alias}, which {champion} holds; {actor} asks"
    yield from verdict_lines(found.judgement.verdicts)
    if not found.judgement.verdicts and not found.unjudged:
        yield "  no gates: neither the deploy cell nor [tool.mlnb.gates] sets one"
    if standing.approvals or found.approvals_needed:
        names = ", ".join(counted) or "nobody who counts"
        needed = f", {found.approvals_needed} needed" if found.approvals_needed else ""
        yield f"  approved by {names}{needed}"
    yield from (f"  refused: {why}" for why in (found.unjudged, found.refusals["promote"]) if why)
