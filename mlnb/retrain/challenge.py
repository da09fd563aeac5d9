"""A retraining becomes a run, the run a version at ``challenger``, and that version is measured beside the champion.

Each step looks for what an earlier process has left before it died: a run that is done is not run again, an unfinished
one is resumed, a version that is registered is found by its content, an alias that has moved is not moved again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlnb.errors import CancelledError, GateError, MlnbError, ServiceError, StateError, UsageError
from mlnb.judging.case import Bench, Case
from mlnb.judging.judgement import Judgement, reconsider, undisturbed
from mlnb.model.gate_words import family
from mlnb.registry.gates import Verdict, parse_gate
from mlnb.retrain.commit import refusal
from mlnb.retrain.docket import Docket
from mlnb.retrain.record import EVALUATED, FAILED, PROMOTED, REFUSED, UNCHANGED, Outcome, Retraining
from mlnb.retrain.terms import CHALLENGER, Plain, Terms
from mlnb.run.events import RunStarted
from mlnb.run.history import read_run
from mlnb.run.launch import Launch, launch
from mlnb.run.options import RunOptions
from mlnb.ship import Yard, check_done, chosen, ship

if TYPE_CHECKING:
    from mlnb.model.gains import Gain, Gains
    from mlnb.registry.version import Promotion, Version
    from mlnb.run.record import RunRecord


@dataclass(frozen=True, slots=True)
class Challenge:
    """One retraining, and where it is done.

    Attributes
    ----------
    act : Retraining
        The row.
    terms : Terms
        Those of its model.
    yard : Yard
        The project's parts.
    docket : Docket
        Where the row is.
    why : str
        The causes, in a sentence: the reason of the promotion.
    """

    act: Retraining
    terms: Terms
    yard: Yard
    docket: Docket
    why: str

    @property
    def bench(self) -> Bench:
        """Where gates look things up."""
        yard = self.yard
        return Bench(yard.registry, yard.audit, yard.state, yard.settings)


def carry_out(asked: Challenge) -> Outcome:
    """Do a retraining, or go on with it; return what it came to, an error of the pipeline or a refusal included.

    Raises
    ------
    CancelledError
        If the user stopped it: it goes on later.
    StateError
        If the disk or the ledger cannot be used now: it goes on later.
    """
    terms, tries = asked.terms, asked.act.attempts
    if tries > terms.tries:
        return Outcome(FAILED, f"Its process died {tries - 1} times, and tries = {terms.tries} allows no more.")
    try:
        before = _holder(asked)
        said = _unfit(asked, before)
        if said:
            return Outcome(REFUSED, said)
        record = _run(asked)
        check_done(record)
        version, failed = _ship(asked, record)
    except (CancelledError, StateError):
        raise
    except MlnbError as error:
        return Outcome(FAILED, f"{error.problem} {error.remedy}", evidence={"run": asked.docket.get(asked.act.id).run})
    facts = _facts(record, before)
    if version is None or failed:
        return Outcome(REFUSED, failed, version.number if version else 0, facts)
    return _decide(asked, version, record, facts)


def _holder(asked: Challenge) -> Version | None:
    """Return the version that holds the champion's alias; None where none does."""
    registry, model = asked.yard.registry, asked.terms.model
    number = registry.aliases(model).get(asked.terms.champion, 0)
    return registry.get(f"{model}/{number}") if number else None


def _unfit(asked: Challenge, champion: Version | None) -> str:
    from mlnb.notebook.document import read_document

    root = asked.yard.state.project
    return refusal(read_document(root / asked.terms.notebook), champion, asked.terms.code, root)


def _run(asked: Challenge) -> RunRecord:
    """Return the run of a retraining: what is left of it, resumed if need be, or a new one."""
    yard, left = asked.yard, _left(asked)
    if left is not None and left.state in ("done", "failed"):
        return left

    def heard(event: object) -> None:
        if isinstance(event, RunStarted):
            asked.docket.note(asked.act.id, event.run)
        yard.notify(event)

    notebook = yard.state.project / asked.terms.notebook
    words = [_assignment(name, value) for name, value in asked.act.parameters.items()]
    wanted = Launch(notebook, words) if left is None else Launch(notebook, options=RunOptions(resume=left.id))
    return launch(wanted, yard.state, yard.settings, heard)


def _left(asked: Challenge) -> RunRecord | None:
    """Return the run that an earlier process began, if it can be gone on from."""
    run = asked.docket.get(asked.act.id).run
    if not run:
        return None
    try:
        record = read_run(asked.yard.state, run)
    except UsageError:  # its process died before it wrote the record
        return None
    return record if record.state in ("done", "failed", "cancelled") else None


def _ship(asked: Challenge, record: RunRecord) -> tuple[Version | None, str]:
    """Register and try what the run has made, and make it the challenger; else say which gate failed."""
    from mlnb.notebook.document import read_document
    from mlnb.pipeline.build import build_pipeline
    from mlnb.service.bento import builder_for

    yard, terms = asked.yard, asked.terms
    pipeline = build_pipeline(read_document(yard.state.project / terms.notebook))
    (deploy,) = chosen(pipeline, terms.model)
    with builder_for(yard.state) as builder, yard.state.in_use():
        try:
            return ship(deploy, record, yard, builder, to=CHALLENGER).version, ""
        except GateError as error:
            made = yard.registry.newest(terms.model, 1)[0]
            return made if made.lineage.run == record.id else None, " ".join(error.verdicts) or error.problem


def _decide(asked: Challenge, version: Version, record: RunRecord, facts: Mapping[str, object]) -> Outcome:
    terms, registry = asked.terms, asked.yard.registry
    holder = _holder(asked)
    if holder is not None and holder.number == version.number:
        moved = registry.history(terms.model, terms.champion, last=1)[-1]
        if version.lineage.run != record.id or moved.to_number != version.number:
            return Outcome(UNCHANGED, f"The run made {version.ref} again, the champion itself.", version.number, facts)
        return Outcome(PROMOTED, _moved(moved), version.number, facts)  # by a process that died right after
    judged = reconsider(version, terms.champion, asked.yard.by, asked.bench, terms.gates)
    facts = {**facts, **_compared(asked, version, holder, judged)}
    refused = [verdict.sentence for verdict in judged.verdicts if not verdict.passed]
    refused += _worse(asked, version, holder, judged)
    if terms.promote == CHALLENGER:
        may = f"would be refused: {' '.join(refused)}" if refused else "would be accepted"
        told = f"{version.ref} is the challenger; {terms.champion} {may}."
        return Outcome(EVALUATED, told.replace("..", "."), version.number, facts)
    if refused:
        return Outcome(REFUSED, " ".join(refused), version.number, facts)
    try:
        said = _promote(asked, version)
    except GateError as error:  # the policy, or another champion meanwhile
        return Outcome(REFUSED, f"{error.problem} {error.remedy}", version.number, facts)
    return Outcome(PROMOTED, said, version.number, facts)


def _promote(asked: Challenge, version: Version) -> str:
    yard, alias = asked.yard, asked.terms.champion
    with yard.effects.planned(version.model) as effects:

        def judge() -> Judgement:
            return reconsider(version, alias, yard.by, asked.bench, asked.terms.gates)

        def move(found: Judgement) -> Promotion:
            reason = f"retraining {asked.act.id}: {asked.why}"
            by, verdicts, held = yard.by, found.verdicts, found.held
            return yard.registry.promote(
                version.ref, alias, by=by, reason=reason, verdicts=verdicts, held=held, effects=effects
            )

        promotion = undisturbed(judge, move)
    try:
        yard.effects.settle(promotion)
    except ServiceError as error:  # the alias has moved all the same, and it is tried again
        return f"{_moved(promotion)} {error.problem}"
    return _moved(promotion)


def _moved(promotion: Promotion) -> str:
    before = f" took the place of {promotion.from_ref}" if promotion.from_ref else " is the first"
    return f"{promotion.to_ref}{before} as {promotion.alias}."


def _compared(asked: Challenge, version: Version, holder: Version | None, judged: Judgement) -> dict[str, object]:
    found: dict[str, object] = {"verdicts": [verdict.to_json() for verdict in judged.verdicts]}
    gains = _gains(asked, version, holder, judged)
    if isinstance(gains, str):
        return {**found, "uncompared": gains}
    measured, where = gains
    whole = [_gain_json(one) for one in measured.gains if not one.part]
    return {**found, "rows": measured.rows, "level": measured.level, "on": where, "gains": whole}


def _gains(asked: Challenge, version: Version, holder: Version | None, judged: Judgement) -> tuple[Gains, str] | str:
    return Case(version, asked.terms.champion, asked.yard.by, holder, judged.evidence, asked.bench).gains()


def _worse(asked: Challenge, version: Version, holder: Version | None, judged: Judgement) -> list[str]:
    """Say whether a challenger is surely worse in its first metric, where no gate compares it with the champion."""
    if holder is None or any(_compares(verdict) for verdict in judged.verdicts):
        return []
    found = _gains(asked, version, holder, judged)
    if isinstance(found, str):
        return [f"No gate compares {version.ref} with {holder.ref}, and nothing else can: {found}."]
    gains, where = found
    first = next((one for one in gains.gains if not one.part and one.sign), None)
    if first is None or first.verdict != "worse":
        return []
    low, high = first.ends
    return [
        f"{first.metric} of {version.ref} is surely worse than that of {holder.ref}: a gain of {first.gain:+.4g}, "
        f"{low:+.4g} to {high:+.4g} at {100 * gains.level:.4g} %, on {gains.rows:,} rows: {where}."
    ]


def _compares(verdict: Verdict) -> bool:
    return family(parse_gate(verdict.gate).metric) == "champion"


def _gain_json(gain: Gain) -> dict[str, object]:
    low, high = gain.ends
    numbers = {"champion": gain.first, "challenger": gain.second, "gain": gain.gain, "low": low, "high": high}
    known = {name: number for name, number in numbers.items() if math.isfinite(number)}
    return {"metric": gain.metric, **known, "verdict": gain.verdict}


def _facts(record: RunRecord, champion: Version | None) -> dict[str, object]:
    return {
        "run": record.id,
        "notebook_digest": record.notebook_digest,
        "commit": record.git_commit,
        "data": dict(record.data),
        "champion": champion.ref if champion else "",
    }


def _assignment(name: str, value: Plain) -> str:
    return f"{name}={value}" if isinstance(value, str) else f"{name}={json.dumps(value)}"
