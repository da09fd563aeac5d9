"""What there is to decide about an alias becomes the message that panels show, and their requests become acts.

The Jupyter server and the widget of a live kernel both answer with this; so what is shown, and what a click does, is
the same in both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from html import escape
from typing import TYPE_CHECKING, Literal

from mlnb.errors import MlnbError, UsageError
from mlnb.faces import view
from mlnb.faces.messages import (
    API_VERSION,
    AliasMove,
    ComparedNumber,
    GateVerdict,
    GivenApproval,
    PromotionBoard,
    PromotionRevision,
    PromotionVersion,
)
from mlnb.identity import Identity
from mlnb.model.metric_names import better, candidates
from mlnb.registry.canonical import time_text
from mlnb.registry.reference import parse_reference

if TYPE_CHECKING:
    from mlnb.pending import Pending
    from mlnb.project import Project
    from mlnb.registry.version import Approval, Promotion, Version

PROMOTION = "application/vnd.mlnb.promotion+json"
USUAL_ALIASES = ("production", "staging", "challenger")
LONGEST_REASON = 2000
_EFFECTS = {"route": "the running service takes up the new versions", "notify": "a notification is sent"}


def board(project: Project, model: str, alias: str = "", ref: str = "", *, named: bool = True) -> PromotionBoard:
    """Return everything that a panel shows of a model and an alias.

    Parameters
    ----------
    alias, ref : str
        What a person has chosen; empty for ``production`` and the newest version.
    named : bool
        Whether it is known which person looks.
    """
    pending = project.pending(model, alias or USUAL_ALIASES[0], ref)
    standing, judgement = pending.standing, pending.judgement
    champion = standing.champion.ref if standing.champion else ""
    by_ref: dict[int, list[str]] = {}
    for name, number in standing.aliases.items():
        by_ref.setdefault(number, []).append(name)
    return {
        "api": API_VERSION,
        "revision": pending.revision,
        "project": str(project.root),
        "model": model,
        "alias": standing.alias,
        "candidate": standing.candidate.ref,
        "champion": champion,
        "previous": f"{model}/{standing.previous}" if standing.previous else "",
        "earlier": [f"{model}/{number}" for number in standing.earlier],
        "you": Identity.parse(project.actor).name if named else project.actor,
        "actor": project.actor,
        "named": named,
        "aliases": list(dict.fromkeys((*USUAL_ALIASES, *standing.aliases))),
        "versions": [_version(version, by_ref.get(version.number, [])) for version in standing.versions],
        "numbers": list(_numbers(pending)),
        "verdicts": [
            GateVerdict(gate=one.gate, passed=one.passed, sentence=one.sentence) for one in judgement.verdicts
        ],
        "unjudged": pending.unjudged,
        "approvals": list(_approvals(standing.approvals, pending.counted)),
        "approvals_needed": pending.approvals_needed,
        "refusal": pending.refusals["promote"],
        "no_rollback": pending.refusals["rollback"],
        "no_approval": pending.refusals["approve"],
        "history": [_move(promotion) for promotion in standing.history],
        "waiting": [_waiting(due.kind, due.attempts, due.problem) for due in pending.waiting],
    }


def revision(project: Project) -> PromotionRevision:
    """Return a text that is another one as soon as the board is; what earlier acts have left undone is tried again."""
    if project.left_undone:
        with suppress(MlnbError):  # the board tells what still waits, and why
            project.effects.deliver(0.0)
    return {"revision": project.revision()}


def promote(project: Project, words: Mapping[str, object]) -> Promotion:
    """Promote as a panel asks for it: ``ref``, ``alias``, and perhaps ``reason``, ``force``, ``held``, ``project``."""
    _check_project(project, words)
    held = _held(words, _text(words, "ref").partition("/")[0])
    force = words.get("force") is True
    return project.promote(_text(words, "ref"), _text(words, "alias"), reason=_reason(words), force=force, held=held)


def rollback(project: Project, words: Mapping[str, object]) -> Promotion:
    """Roll back as a panel asks for it: ``model``, ``alias``, and perhaps ``to``, ``reason``, ``held``, ``project``."""
    _check_project(project, words)
    model, alias = _text(words, "model"), _text(words, "alias")
    to = _number(_text(words, "to"), model) if words.get("to") else 0
    return project.rollback(model, alias, reason=_reason(words), to=to, held=_held(words, model))


def approve(project: Project, words: Mapping[str, object]) -> Approval:
    """Approve as a panel asks for it: ``ref``, ``alias``, and perhaps ``reason`` and ``project``."""
    _check_project(project, words)
    return project.approve(_text(words, "ref"), _text(words, "alias"), reason=_reason(words))


def static_html(shown: PromotionBoard) -> str:
    """Return what a reader without a kernel and without our front end sees."""
    versions = [
        (one["ref"], ", ".join(one["aliases"]), one["metrics"], one["exporter"], _moment(one["created_at"]))
        for one in shown["versions"]
    ]
    gates = [("✓" if one["passed"] else "✗", one["gate"], one["sentence"]) for one in shown["verdicts"]]
    moves = [
        (_moment(one["at"]), one["kind"], f"{one['from_ref'] or 'nothing'} → {one['to_ref']}", one["by"], one["reason"])
        for one in shown["history"]
    ]
    return (
        _table(f"Versions of {shown['model']}", ("version", "aliases", "metrics", "exporter", "created"), versions)
        + _table(f"Gates of {shown['candidate']}", ("", "gate", "found"), gates)
        + _table(f"History of {shown['alias']}", ("when", "what", "from and to", "who", "why"), moves)
    )


def _version(version: Version, aliases: list[str]) -> PromotionVersion:
    return {
        "ref": version.ref,
        "aliases": aliases,
        "metrics": view.metrics_text(version.metrics),
        "exporter": version.exporter,
        "created_at": time_text(version.created_at),
        "created_by": version.created_by,
    }


def _numbers(pending: Pending) -> Iterator[ComparedNumber]:
    """Yield every number of the candidate and the champion, once: ``evaluate.auc`` is not repeated where ``auc`` is."""
    standing = pending.standing
    first = {**standing.candidate.metrics, **pending.judgement.evidence}
    second = {**(standing.champion.metrics if standing.champion else {}), **pending.measured}
    for name in dict.fromkeys((*first, *second)):
        short = name.rpartition(".")[2]
        if short != name and (short in first or short in second):
            continue
        mine, other = first.get(name), second.get(name)
        difference = None if mine is None or other is None else mine - other
        yield {
            "name": name,
            "candidate": "" if mine is None else f"{mine:.4g}",
            "champion": "" if other is None else f"{other:.4g}",
            "difference": "" if difference is None or math.isnan(difference) else f"{difference:+.3g}",
            "ahead": _ahead(name, difference),
        }


def _ahead(name: str, difference: float | None) -> Literal["candidate", "champion", "neither", ""]:
    """Return who is ahead by a number, where it is known which values are the better ones."""
    known = (better(one) for one in candidates(name.rpartition(".")[2]))
    side = "lower" if name.endswith("_ms") else next(filter(None, known), "")
    if difference is None or math.isnan(difference) or side not in ("higher", "lower"):
        return ""
    if difference == 0:
        return "neither"
    return "candidate" if (difference > 0) == (side == "higher") else "champion"


def _approvals(given: Sequence[Approval], counted: Sequence[str]) -> Iterator[GivenApproval]:
    """Yield each approval; it counts if it is the first of a second person."""
    left = set(counted)
    for one in given:
        yield {"by": one.by, "at": time_text(one.at), "reason": one.reason, "counts": one.by in left}
        left.discard(one.by)


def _move(promotion: Promotion) -> AliasMove:
    return {
        "kind": "rollback" if promotion.kind == "rollback" else "promote",
        "from_ref": promotion.from_ref,
        "to_ref": promotion.to_ref,
        "at": time_text(promotion.at),
        "by": promotion.by,
        "reason": promotion.reason,
        "failed": [verdict.sentence for verdict in promotion.verdicts if not verdict.passed],
    }


def _waiting(kind: str, attempts: int, problem: str) -> str:
    what = _EFFECTS.get(kind, f"{kind} of an earlier act")
    tried = f" It was tried {attempts} times: {problem}" if attempts else ""
    return f"Still to be done: {what}.{tried}"


def _check_project(project: Project, words: Mapping[str, object]) -> None:
    """Refuse an act that was decided on another project's board: the same names mean other versions there."""
    if words.get("project", str(project.root)) != str(project.root):
        raise UsageError(
            f"This was decided for the project {words['project']}, but the notebook belongs to {project.root}.",
            "Run the cell again, in the notebook of the project that you mean.",
        )


def _held(words: Mapping[str, object], model: str) -> int | None:
    """Return the number of the version that a person saw holding the alias: 0 for none, None where nobody says."""
    if not isinstance(words.get("held"), str):
        return None
    return _number(str(words["held"]), model) if words["held"] else 0


def _number(ref: str, model: str) -> int:
    reference = parse_reference(ref)
    if reference.model != model or not reference.number:
        raise UsageError(f"{ref} is no version of {model}.", f"Write it as {model}/7.")
    return reference.number


def _text(words: Mapping[str, object], key: str) -> str:
    value = words.get(key)
    if not isinstance(value, str) or not value:
        raise UsageError(f"The request has no {key}.", f"Send {key} as a text.")
    return value


def _reason(words: Mapping[str, object]) -> str:
    value = words.get("reason", "")
    if not isinstance(value, str) or len(value) > LONGEST_REASON:
        raise UsageError(
            f"The reason is no text of at most {LONGEST_REASON:,} characters.", "Say it shorter, or link to it."
        )
    return value


def _moment(at: str) -> str:
    return f"{at[:10]} {at[11:19]}Z"


def _table(caption: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    body = "".join(_row("td", row) for row in rows)
    return f"<table><caption>{escape(caption)}</caption>{_row('th', head)}{body}</table>"


def _row(tag: str, texts: tuple[str, ...]) -> str:
    cells = "".join(
        f'<{tag} style="text-align:left;vertical-align:top;padding:2px 14px 2px 0">{escape(text)}</{tag}>'
        for text in texts
    )
    return f"<tr>{cells}</tr>"
