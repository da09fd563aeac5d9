"""The clock, files, alarms and realised performance become the causes to retrain a model, and what was seen.

Looking changes nothing: `Docket.fire` writes down both together. The first look at a schedule or at files fires
nothing: it is what later ones are compared with. Instants that passed while nobody looked are one cause together.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from mlnb.errors import MonitorError, SettingsError
from mlnb.model.metric_names import candidates
from mlnb.registry.canonical import canonical, time_text
from mlnb.registry.gates import OPERATORS, Gate
from mlnb.registry.reference import hint
from mlnb.retrain.docket import Docket
from mlnb.retrain.record import Cause
from mlnb.retrain.schedule import missed
from mlnb.retrain.terms import Terms
from mlnb.store.digests import RACY_NS, digests_in
from mlnb.store.ledger import Ledger
from mlnb.store.tables import ALARM

if TYPE_CHECKING:
    from mlnb.monitor.report import Report
    from mlnb.registry.registry import Registry
    from mlnb.store.folder import StateFolder

_NAMED = 3
_WRITTEN = timedelta(microseconds=RACY_NS / 1000)
"""A file that was changed so shortly ago may still be being written."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was found.

    Attributes
    ----------
    causes : tuple of Cause
        Those that have not fired yet.
    seen : mapping of str to str
        By kind of trigger, what the next look is compared with.
    """

    causes: tuple[Cause, ...]
    seen: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Ground:
    """Where is looked.

    Attributes
    ----------
    docket, ledger, registry, state
        The project's own.
    """

    docket: Docket
    ledger: Ledger
    registry: Registry
    state: StateFolder


def look(terms: Terms, at: datetime, out: Ground, *, performance: bool = True) -> Look:
    """Return the causes that there are to retrain a model.

    Parameters
    ----------
    at : datetime
        Now, aware.
    performance : bool
        Whether realised performance is looked at: that reads the log of predictions.

    Raises
    ------
    SettingsError
        If the terms name a metric that nothing measures.
    """
    before = out.docket.seen(terms.model)
    causes: list[Cause] = []
    seen: dict[str, str] = {}
    if terms.schedule:
        _by_clock(terms, at, before, causes, seen)
    if terms.data:
        _by_data(terms, at, before, out.state, causes, seen)
    if terms.on_alarm:
        causes += _by_alarms(terms, out)
    if terms.when and performance:
        causes += _by_performance(terms, at, out)
    return Look(tuple(causes), seen)


def _by_clock(terms: Terms, at: datetime, before: Mapping[str, str], causes: list[Cause], seen: dict[str, str]) -> None:
    if "schedule" not in before:
        seen["schedule"] = time_text(at)
        return
    instants = missed(terms.schedule, datetime.fromisoformat(before["schedule"]), at)
    if not instants:
        return
    seen["schedule"] = key = time_text(instants[-1])
    shown = " and ".join(map(str, terms.schedule))
    several = f", the last of {len(instants)} instants since the look before" if len(instants) > 1 else ""
    evidence = {"first": time_text(instants[0]), "last": key, "instants": len(instants)}
    causes.append(Cause("schedule", key, f"The schedule {shown} came to {key}{several}.", evidence))


def _by_data(
    terms: Terms, at: datetime, before: Mapping[str, str], state: StateFolder, causes: list[Cause], seen: dict[str, str]
) -> None:
    paths = sorted({path for pattern in terms.data for path in _found(state.project, pattern)})
    if any(_modified(path) + _WRITTEN.total_seconds() > at.timestamp() for path in paths):
        return
    digests = digests_in(state.root)
    now = {_named(path, state.project): digests.sha256(path) for path in paths}
    if "data" not in before:
        seen["data"] = canonical(now)
        return
    known = json.loads(before["data"])
    if now == known:
        return
    seen["data"] = canonical(now)
    changes = {
        "new": sorted(now.keys() - known.keys()),
        "changed": sorted(name for name in now.keys() & known.keys() if now[name] != known[name]),
        "gone": sorted(known.keys() - now.keys()),
    }
    said = "; ".join(f"{_listed(names)} {_is(names)} {how}" for how, names in changes.items() if names)
    causes.append(Cause("data", time_text(at), f"{said}.", {**changes, "digests": now}))


def _by_alarms(terms: Terms, out: Ground) -> Iterator[Cause]:
    is_open = (ALARM.c.model == terms.model) & (ALARM.c.acknowledged_at == "") & (ALARM.c.alias == terms.champion)
    with out.ledger.read() as connection:
        rows = connection.execute(select(ALARM).where(is_open).order_by(ALARM.c.id)).mappings().all()
    fired = out.docket.fired(terms.model, "alarm") if rows else frozenset()
    for row in rows:
        # Not "an id above the last one": of two that are raised at once the lower may be seen last.
        if str(row["id"]) not in fired and ("*" in terms.on_alarm or row["kind"] in terms.on_alarm):
            told = f"Alarm {row['id']} ({row['kind']} of {row['what']}) is open: {row['reason']}"
            evidence = {"alarm": row["id"], "kind": row["kind"], "what": row["what"], "version": row["number"]}
            yield Cause("alarm", str(row["id"]), told, evidence)


def _by_performance(terms: Terms, at: datetime, out: Ground) -> Iterator[Cause]:
    from mlnb.monitor.watch import watch

    number = out.registry.aliases(terms.model).get(terms.champion, 0)
    if not number:
        return
    try:
        version = out.registry.get(f"{terms.model}/{number}")
        report = watch(version, out.state, at=at, span=terms.window, labels=None)
    except MonitorError:  # nothing was asked yet
        return
    fired = out.docket.fired(terms.model, "performance")
    for gate in terms.when:
        cause = _fallen(gate, terms, report, at)
        if cause is not None and cause.key not in fired:
            yield cause


def _fallen(gate: Gate, terms: Terms, report: Report, at: datetime) -> Cause | None:
    """Return the cause that the newest closed window with enough labels gives."""
    now = int(at.timestamp() * 1e9)
    closed = [
        (window, found)
        for window, found in zip(report.windows, report.performance, strict=True)
        if window.end <= now and found.rows >= terms.min_rows
    ]
    if not closed:
        return None
    window, found = closed[-1]
    metric = next((name for name in (gate.metric, *candidates(gate.metric)) if name in found.metrics), "")
    if not metric:
        raise SettingsError(
            f"[tool.mlnb.retrain.{terms.model}] when names {gate.metric!r}, which is not measured of predictions.",
            hint(gate.metric, found.metrics),
            key=f"retrain.{terms.model}.when",
        )
    value = found.metrics[metric]
    if not OPERATORS[gate.operator](value, gate.limit):
        return None
    begun = datetime.fromtimestamp(window.start / 1e9, at.tzinfo)
    told = f"{metric} of {report.ref} was {value:.4g} in the {terms.window} from {begun:%Y-%m-%d %H:%M} ({gate})."
    evidence = {"metric": metric, "value": value, "rows": found.rows, "from": time_text(begun), "version": report.ref}
    return Cause("performance", f"{report.version} {gate} {time_text(begun)}"[:160], told, evidence)


def _found(root: Path, pattern: str) -> Iterator[Path]:
    path = Path(pattern)
    base, inner = (Path(path.anchor), path.relative_to(path.anchor)) if path.is_absolute() else (root, path)
    yield from (one for one in base.glob(str(inner)) if one.is_file())


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # it went between the list and the look
        return 0.0


def _named(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _is(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
