"""What the log of acts cannot prevent becomes sentences: who could rewrite it, and which acts the policy does not bear.

A chain of digests finds what was altered, removed or reordered by somebody who did not compute all of it anew. Whoever
may write to the ledger can do that. What he cannot do is sign as somebody else: the head is signed at each move of an
alias, and a version when it is registered, by keys outside the project. So a log rewritten by a stranger is signed by a
stranger, and one rewritten by a colleague by that colleague; and a copy kept elsewhere (``mlnb audit export``) shows
what was there before. Who reads a report should know that, so `mlnb audit verify` says it.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from sqlalchemy import make_url

from mlnb.registry.audit import Audit, AuditRow
from mlnb.registry.policy import Act, Policy
from mlnb.registry.verification import AuditReport
from mlnb.store.folder import StateFolder
from mlnb.store.ledger import shown

_SHOWN = 5
_MOVES = ("promote", "rollback")


@dataclass(frozen=True, slots=True)
class _Approved:
    by: str


def reviewed(
    report: AuditReport, state: StateFolder, policy: Policy, audit: Audit, *, strict: bool = False
) -> AuditReport:
    """Return a report with what its reader must know of the place and of the policy.

    Parameters
    ----------
    report : AuditReport
        What verification found.
    state : StateFolder
        The project's state.
    policy : Policy
        As it is now.
    audit : Audit
        The log.
    strict : bool
        Whether a move that the policy would have refused is a fault.
    """
    where, files = state.ledger, [state.project / "pyproject.toml", state.root]
    if isinstance(where, Path):
        place, files = where.name, [where, where.parent, *files]
    else:
        place = shown(make_url(where))
    notes = [*report.notes]
    if report.ok and policy.rules:
        rows = audit.log()
        notes += departures(policy, rows)
        against = refused(policy, rows) if strict else {}
        if against:
            row, sentence = next(iter(against.items()))
            report = replace(report, ok=False, first_bad=row, sentence=sentence, faults=tuple(against.values()))
    return replace(report, notes=(*notes, *exposure(place, files)))


def exposure(place: str, paths: Iterable[Path]) -> tuple[str, ...]:
    """Say who can write where the acts are written down, and what that means.

    Parameters
    ----------
    place : str
        Where the ledger is, without a password.
    paths : iterable of Path
        The files and folders that hold it, the artifacts and the policy.
    """
    who = writers(paths)
    named = f" ({', '.join(who)})" if who else ""
    return (
        f"Whoever can write to {place}{named} can rewrite the whole log, digests included, and edit the policy and the "
        "gates in pyproject.toml; not sign it with another's key. Trust what trusted keys have signed, and compare "
        "with a copy kept elsewhere: mlnb audit export.",
    )


def writers(paths: Iterable[Path]) -> tuple[str, ...]:
    """Return the users and groups that the permissions of some paths let write, most privileged first; root always can.

    Access lists beyond owner, group and others are not looked at. Where the system has no such permissions it is empty.
    """
    users, groups, everybody = dict[str, None](), dict[str, None](), False
    for path in paths:
        if not path.exists() or not hasattr(stat, "S_IWGRP"):
            continue
        status = path.stat()
        users[_name("pwd", "getpwuid", "pw_name", status.st_uid)] = None
        if status.st_mode & stat.S_IWGRP:
            groups[f"the group {_name('grp', 'getgrgid', 'gr_name', status.st_gid)}"] = None
        everybody = everybody or bool(status.st_mode & stat.S_IWOTH)
    return (*users, *groups, *(["everybody"] if everybody else []))


def departures(policy: Policy, rows: Iterable[AuditRow]) -> tuple[str, ...]:
    """Say which moves of aliases were made under another policy than the present one, or would be refused by it.

    Parameters
    ----------
    policy : Policy
        As it is now; without rules there is nothing to depart from.
    rows : iterable of AuditRow
        The whole log, oldest first.
    """
    if not policy.rules:
        return ()
    log = list(rows)
    others = [row.id for row in log if row.action in _MOVES and row.detail.get("policy", "") != policy.digest]
    against = list(refused(policy, log).values())
    found = []
    if others:
        count = "1 move" if len(others) == 1 else f"{len(others)} moves"
        shown = ", ".join(map(str, others[-_SHOWN:]))
        which = "the last ones: rows" if len(others) > _SHOWN else "row" if len(others) == 1 else "rows"
        found.append(f"{count} of aliases came under another policy than that of pyproject.toml now ({which} {shown}).")
    found += against[-_SHOWN:]
    if len(against) > _SHOWN:
        found.append(f"It would have refused {len(against) - _SHOWN} earlier moves as well.")
    return tuple(found)


def refused(policy: Policy, rows: Iterable[AuditRow]) -> dict[int, str]:
    """Return the moves that a policy would have refused: the sentence by the id of the row."""
    found = {}
    for row, act in _moves(rows):
        problem = policy.refusal(act)
        if problem:
            found[row.id] = (
                f"The policy as it is now would have refused row {row.id}, {row.action} of {row.subject} to "
                f"{act.model}/{act.number}: {problem}"
            )
    return found


def _moves(rows: Iterable[AuditRow]) -> Iterator[tuple[AuditRow, Act]]:
    """Yield the moves of aliases, each as the act that a policy is asked about."""
    registered: dict[str, str] = {}
    approved: dict[tuple[str, str], list[_Approved]] = {}
    for row in rows:
        if row.action == "register":
            registered[row.subject] = row.actor
        elif row.action == "approve":
            approved.setdefault((row.subject, str(row.detail.get("alias", ""))), []).append(_Approved(row.actor))
        elif row.action in _MOVES:
            model, _, alias = row.subject.partition("@")
            ref = f"{model}/{row.detail['to']}"
            given = tuple(approved.get((ref, alias), ()))
            forced = row.detail.get("forced") is True
            number = int(str(row.detail["to"]))
            yield row, Act(row.action, model, alias, number, row.actor, registered.get(ref, ""), forced, given)


def _name(module: str, look_up: str, field: str, number: int) -> str:
    try:
        found: str = getattr(getattr(import_module(module), look_up)(number), field)
    except (KeyError, ImportError):
        return str(number)
    return found
