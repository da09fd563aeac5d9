"""The gates of a mark and those of an alias, and all that can be measured of a version, become a `Judgement`.

What the run and the trial of its Bento have measured is kept in the audit log, action ``judge``; what compares with the
champion, or may change from day to day, is measured each time somebody asks for the alias.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, cast

from mlnb import plugins
from mlnb.errors import OvertakenError, SettingsError
from mlnb.judging.case import Bench, Case, Measure
from mlnb.judging.measures import measure_of
from mlnb.judging.sources import measured_by_run
from mlnb.model.gate_words import TRIAL, family, is_ours
from mlnb.registry.audit import Audit
from mlnb.registry.canonical import canonical
from mlnb.registry.gates import Finding, Verdict, judge, parse_gate
from mlnb.registry.version import Version
from mlnb.settings import Settings

GROUP = "mlnb.gates"
ACTION = "judge"
EVERY = "*"
_TRIES = 5
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the gates of an alias found.

    Attributes
    ----------
    alias : str
        The alias that was asked for.
    evidence : mapping of str to float
        What is known of the version, and what the gates looked at.
    verdicts : tuple of Verdict
        One for each gate: those of the mark, then those of the alias.
    mark : tuple of str
        The gates of the ``%%deploy`` cell, which hold for every alias.
    held : int
        Number of the version that held the alias meanwhile; 0 for none.
    fresh : tuple of str
        Names in `evidence` that were measured for this judgement alone.
    """

    alias: str = ""
    evidence: Mapping[str, float] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()
    mark: tuple[str, ...] = ()
    held: int = 0
    fresh: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every gate lets the version through."""
        return all(verdict.passed for verdict in self.verdicts)

    @property
    def text(self) -> str:
        """What was found, as one text: equal where nothing new was."""
        return canonical([self.alias, dict(self.evidence), [verdict.to_json() for verdict in self.verdicts]])

    def to_json(self) -> dict[str, object]:
        """Return what the audit log keeps."""
        return {
            "alias": self.alias,
            "evidence": dict(self.evidence),
            "verdicts": [verdict.to_json() for verdict in self.verdicts],
            "mark": list(self.mark),
            "held": self.held,
            "fresh": list(self.fresh),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, object]) -> Judgement:
        """Return what the audit log has kept, also of an mlnb that knew no gates of aliases."""
        evidence = cast("Mapping[str, object]", fields["evidence"])
        verdicts = tuple(Verdict.from_json(one) for one in cast("list[Mapping[str, object]]", fields["verdicts"]))
        mark = cast("Sequence[str]", fields.get("mark", [verdict.gate for verdict in verdicts]))
        return cls(
            alias=str(fields.get("alias", "")),
            evidence={str(name): float(str(number)) for name, number in evidence.items()},
            verdicts=verdicts,
            mark=tuple(mark),
            held=int(str(fields.get("held", 0))),
            fresh=tuple(cast("Sequence[str]", fields.get("fresh", ()))),
        )


def last_judgement(version: Version, audit: Audit) -> Judgement:
    """Return what the gates found when the version was deployed last; an empty one if it never was."""
    for row in reversed(audit.log(version.ref)):
        if row.action == ACTION and row.subject == version.ref:
            return Judgement.from_json(row.detail)
    return Judgement()


def judged(version: Version, audit: Audit) -> tuple[dict[str, float], tuple[Verdict, ...]]:
    """Return what was measured of a version when it was last judged, and what its gates found; both empty if never."""
    last = last_judgement(version, audit)
    return dict(last.evidence), last.verdicts


def gates_of(alias: str, model: str, settings: Settings) -> tuple[str, ...]:
    """Return the gates that ``[tool.mlnb.gates]`` sets before an alias, and before every alias (``*``).

    An alias has a list of gates, or a table of such lists by model, ``*`` for all of them.

    Raises
    ------
    SettingsError
        If it has something else.
    """
    return tuple(
        dict.fromkeys(text for key in (EVERY, alias) for text in _listed(settings.gates.get(key, []), key, model))
    )


def judge_version(
    version: Version, alias: str, mark: Sequence[str], evidence: Mapping[str, float], by: str, bench: Bench
) -> Judgement:
    """Measure what the gates of a mark and of an alias ask, and compare it with their limits.

    Parameters
    ----------
    version : Version
        The candidate.
    alias : str
        The alias that it is to hold.
    mark : sequence of str
        The gates of its ``%%deploy`` cell.
    evidence : mapping of str to float
        Every number of its run and of the trial of its Bento.
    by : str
        Who asks.
    bench : Bench
        Where to look things up.

    Raises
    ------
    UsageError
        If a gate names a number that nobody measures.
    SettingsError
        If a gate of the alias cannot be read.
    """
    texts = (*mark, *gates_of(alias, version.model, bench.settings))
    gates = list({str(gate): gate for gate in map(parse_gate, texts)}.values())
    held = bench.registry.aliases(version.model).get(alias, 0)
    champion = bench.registry.get(f"{version.model}/{held}") if held not in (0, version.number) else None
    case = Case(version, alias, by, champion, evidence, bench)
    kept = _standing(version, alias, bench.audit) if held == version.number else {}
    sources = measured_by_run(version, bench.registry) if gates else {}
    found = {gate.metric: _found(gate.metric, case, sources) for gate in gates if str(gate) not in kept}
    known: dict[str, float | Finding] = {**evidence, **{name: one for name, one in found.items() if one is not None}}
    verdicts = tuple(kept.get(str(gate)) or judge([gate], known)[0] for gate in gates)
    values = {parse_gate(verdict.gate).metric: verdict.measured for verdict in verdicts}
    looked_at = {name: value for name, value in values.items() if not math.isnan(value) and evidence.get(name) != value}
    return Judgement(alias, {**evidence, **looked_at}, verdicts, tuple(mark), held, tuple(looked_at))


def reconsider(version: Version, alias: str, by: str, bench: Bench, further: Sequence[str] = ()) -> Judgement:
    """Judge a version that was deployed before, for an alias that it may not have been deployed to.

    Parameters
    ----------
    further : sequence of str
        Gates of whoever asks, beside those of its mark and of the alias.
    """
    last = last_judgement(version, bench.audit)
    recorded = {name: value for name, value in last.evidence.items() if name not in last.fresh}
    untried = {name: value for name, value in version.metrics.items() if not TRIAL.fullmatch(name)}
    return judge_version(version, alias, (*last.mark, *further), recorded or untried, by, bench)


def undisturbed(judge: Callable[[], Judgement], act: Callable[[Judgement], T]) -> T:
    """Act on a judgement; judge again where another version has come to hold the alias meanwhile.

    Raises
    ------
    OvertakenError
        If that happens again and again.
    """
    for _ in range(_TRIES - 1):
        try:
            return act(judge())
        except OvertakenError:
            continue
    return act(judge())


def _found(name: str, case: Case, sources: Mapping[str, Finding]) -> Finding | None:
    """Return what was measured: a notebook cannot give the numbers that mlnb or a plug-in measures to control it."""
    plugin = _plugin(name)
    ours = plugin is not None or is_ours(name, {*case.evidence, *sources})
    if not ours and name in case.evidence:
        value, source = case.evidence[name], sources.get(name)
        return Finding(value, source.on if source is not None and source.value == value else "")
    if not ours and name in sources:
        return sources[name]
    measure = measure_of(name) or plugin
    if measure is None:
        return None
    found: object = measure(name, case)
    return found if isinstance(found, Finding) else Finding(float(cast(float, found)))


def _plugin(name: str) -> Measure | None:
    head = name.partition(".")[0]
    return cast(Measure, plugins.load(GROUP, head)) if head in plugins.names(GROUP) else None


def _standing(version: Version, alias: str, audit: Audit) -> dict[str, Verdict]:
    """Return the verdicts by which a version came to hold its alias: nothing else is compared with it now."""
    last = last_judgement(version, audit)
    if last.alias != alias:
        return {}
    kinds = {verdict.gate: family(parse_gate(verdict.gate).metric) for verdict in last.verdicts}
    return {verdict.gate: verdict for verdict in last.verdicts if kinds[verdict.gate] in ("champion", "drift")}


def _listed(value: object, alias: str, model: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key in (EVERY, model):
            yield from _listed(value.get(key, []), alias, model)
    elif isinstance(value, list) and all(isinstance(text, str) for text in value):
        yield from cast("Iterable[str]", value)
    else:
        raise SettingsError(
            f"[tool.mlnb.gates] {alias} is no list of gates.",
            f'Write {alias} = ["auc >= 0.80", "better_than_champion auc"].',
            key=f"gates.{alias}",
        )
