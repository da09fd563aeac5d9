"""Two versions become a comparison: metrics on the same rows, slices, parameters, data, code, callers, size, latency.

The rows are those with known truth of the second version, the newer one as a rule: all of its sample where the run is
there, else those that its package holds. Both packages answer them, so what makes a row hard for both does not widen
the intervals (`mlnb.model.gains`). Where they cannot both answer, the comparison says why and tells the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from mlnb.errors import CorruptError, MlnbError, UsageError
from mlnb.model.compatibility import Change as CallerChange
from mlnb.model.compatibility import changes as caller_changes
from mlnb.model.difference import compare as apart
from mlnb.model.gains import TASKS, Gains, paired_gains
from mlnb.model.kinds import LABELLED
from mlnb.model.signature import Signature
from mlnb.registry.canonical import time_text
from mlnb.registry.champion import check_alike, labelled_rows, sliced_by
from mlnb.registry.labelled import Labelled
from mlnb.registry.sources import sources_of_version
from mlnb.run.difference import Change, CodeChange, MetricChange, code_changes, number_changes, read_lock, value_changes

if TYPE_CHECKING:
    from mlnb.model.answers import Scores
    from mlnb.model.scorer import Scorer
    from mlnb.registry.registry import Registry
    from mlnb.registry.version import Version
    from mlnb.store.files import FileStore
    from mlnb.store.folder import StateFolder

Load: TypeAlias = "Callable[[Path], Scorer]"
_TIMED_ROWS = 100
_WARM_ROWS = 10


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two versions.

    Attributes
    ----------
    ref, exporter, by, at : str
        Which, packaged how, registered by whom and when.
    metrics : mapping of str to float
        What its own run has measured, on its own rows.
    evidence : mapping of str to float
        What was measured when it was judged: latency and throughput of its service, load, skew.
    size_bytes : int
        Of the package; 0 where bytes of it are missing here.
    """

    ref: str
    exporter: str
    by: str
    at: str
    metrics: Mapping[str, float]
    evidence: Mapping[str, float]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What both packages were asked now.

    Attributes
    ----------
    where : str
        Which rows.
    same_rows : bool
        Whether both runs have held out these very rows; otherwise one of them may have learned from some.
    gains : Gains
        Second less first, with intervals.
    answered_alike : float
        Share of the rows with the same label; of numbers, with equal ones up to 1e-6.
    row_ms : tuple of float
        Median time in which each answers a single row in this process, asked in turn; milliseconds.
    """

    where: str
    same_rows: bool
    gains: Gains
    answered_alike: float
    row_ms: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two versions beside each other; every change is from the first to the second."""

    first: Side
    second: Side
    measured: Measured | None
    metrics: tuple[MetricChange, ...]
    parameters: tuple[Change, ...]
    data: tuple[Change, ...]
    environment: tuple[Change, ...]
    code: tuple[CodeChange, ...]
    callers: tuple[CallerChange, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def headline(self) -> str:
        """Say which is better, by the first metric that the rows were measured with."""
        first, second = self.first.ref, self.second.ref
        if self.measured is None:
            return f"{second} and {first} were not measured on the same rows."
        lead = self.measured.gains.gains[0]
        low, high = lead.ends
        told = f"{lead.metric} {lead.first:.4g} -> {lead.second:.4g}, gain {lead.gain:+.2g}"
        told += f" [{low:+.2g}, {high:+.2g}]" if low == low else ""
        said = {"better": "is better than", "worse": "is worse than"}.get(lead.verdict, "cannot be told from")
        against = [
            gain.metric
            for gain in self.measured.gains.gains
            if not gain.part and {lead.verdict, gain.verdict} == {"better", "worse"}
        ]
        but = f" By {', '.join(against)} it is {'worse' if lead.verdict == 'better' else 'better'}." if against else ""
        return f"{second} {said} {first}: {told} on {self.measured.gains.rows:,} rows.{but}"

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell once its dataclasses are."""
        found = self.measured
        return {
            "first": self.first,
            "second": self.second,
            "headline": self.headline,
            "measured": found
            and {
                "where": found.where,
                "same_rows": found.same_rows,
                "rows": found.gains.rows,
                "level": found.gains.level,
                "slice_level": found.gains.slice_level,
                "gains": [_told(gain) for gain in found.gains.gains],
                "answered_alike": found.answered_alike,
                "row_ms": list(found.row_ms),
            },
            "metrics": self.metrics,
            "parameters": self.parameters,
            "data": self.data,
            "environment": self.environment,
            "code": self.code,
            "callers": [change.to_json() for change in self.callers],
            "notes": self.notes,
        }


@dataclass(frozen=True, slots=True)
class Desk:
    """Where versions are compared: the project's registry, its state, the store of packages, and who loads them."""

    registry: Registry
    state: StateFolder
    store: FileStore
    load: Load


def compare(
    desk: Desk, first: Version, second: Version, evidence: tuple[Mapping[str, float], Mapping[str, float]]
) -> Comparison:
    """Compare two versions, of one model or of two with the same task.

    Parameters
    ----------
    desk : Desk
    first, second : Version
        From which to which.
    evidence : tuple of mapping of str to float
        What was measured of each when it was judged.

    Raises
    ------
    UsageError
        If they are one version.
    """
    if first.ref == second.ref:
        raise UsageError(f"{first.ref} is one version.", "Name two: mlnb models compare delays/7 delays/8.")
    notes: list[str] = []
    old, new = first.lineage, second.lineage
    callers: tuple[CallerChange, ...] = ()
    if first.signature and second.signature:
        callers = caller_changes(Signature.from_json(first.signature), Signature.from_json(second.signature))
    locks = [_lock(version, desk.store, notes) for version in (first, second)]
    codes = [sources_of_version(version, desk.state, desk.store) for version in (first, second)]
    notes += [
        f"The code of {ref} is not kept." for ref, code in zip((first.ref, second.ref), codes, strict=True) if not code
    ]
    return Comparison(
        first=_side(first, evidence[0], desk.store),
        second=_side(second, evidence[1], desk.store),
        measured=_measure(desk, first, second, notes),
        metrics=number_changes(_short(first.metrics), _short(second.metrics)),
        parameters=value_changes(old.parameters, new.parameters),
        data=value_changes(dict(old.data), dict(new.data)),
        environment=value_changes(*locks) if all(locks) else (),
        code=code_changes((first.ref, codes[0]), (second.ref, codes[1])) if all(codes) else (),
        callers=callers,
        notes=tuple(notes),
    )


def _measure(desk: Desk, first: Version, second: Version, notes: list[str]) -> Measured | None:
    """Ask both packages about the second's labelled rows; what speaks against it becomes a note."""
    try:
        return _measured(desk, first, second, notes)
    except MlnbError as error:
        notes.append(f"They were not measured on the same rows: {error.problem.removesuffix('.')}. {error.remedy}")
        return None


def _measured(desk: Desk, first: Version, second: Version, notes: list[str]) -> Measured | None:
    with TemporaryDirectory(prefix="mlnb-compare-") as name:
        folders = [Path(name) / side for side in ("first", "second")]
        for version, folder in zip((first, second), folders, strict=True):
            desk.registry.unpack(version, folder)
        scorers = [desk.load(folder) for folder in folders]
        check_alike(*((one.ref, scorer.signature) for one, scorer in zip((first, second), scorers, strict=True)))
        task = scorers[1].signature.task
        if task not in TASKS:
            notes.append(f"They were not measured on the same rows: a {task} has no answers to compare row by row.")
            return None
        rows = [labelled_rows(second, folders[1], scorer.signature, desk.state) for scorer in scorers]
    answers = [scorer.score(one.columns) for scorer, one in zip(scorers, rows, strict=True)]
    labelled = rows[1]
    evaluated = [one for version in (first, second) for one in desk.registry.evaluations(version).values()]
    slices = sliced_by(evaluated, labelled.columns)
    gains = paired_gains(scorers[1].signature, labelled.truth, labelled.columns, *answers, slices=slices)
    same = _held_out(first) == _held_out(second) != ""
    if not same:
        notes.append(
            f"The rows are those that {second.ref} was tested on; {first.ref} was tested on others, and may have "
            "learned from some of these."
        )
    return Measured(labelled.where, same, gains, _alike(answers, task), _row_ms(scorers, rows))


def _held_out(version: Version) -> str:
    """Return the digest of the rows that a version was tried on; empty where that is not known."""
    stage, _, variable = version.lineage.sample.rpartition(".")
    step = version.lineage.step(stage)
    return dict(step.gives).get(variable, "") if step else ""


def _alike(answers: Sequence[Scores], task: str) -> float:
    found = apart(answers[0], answers[1], task)
    different = found.flipped if task in LABELLED else found.differences > 1e-6
    return float(1 - np.mean(different))


def _row_ms(scorers: Sequence[Scorer], rows: Sequence[Labelled]) -> tuple[float, float]:
    """Time single rows, the two in turn, so that what else the machine does falls on both."""
    taken: tuple[list[float], list[float]] = ([], [])
    count = min(_TIMED_ROWS, len(rows[0].truth))
    for at in range(count):
        for scorer, labelled, times in zip(scorers, rows, taken, strict=True):
            row = {name: values[at : at + 1] for name, values in labelled.columns.items()}
            begun = time.perf_counter()
            scorer.score(row)
            times.append((time.perf_counter() - begun) * 1000)
    first, second = (median(times[min(_WARM_ROWS, count - 1) :]) for times in taken)
    return first, second


def _side(version: Version, evidence: Mapping[str, float], store: FileStore) -> Side:
    return Side(
        ref=version.ref,
        exporter=version.exporter,
        by=version.created_by,
        at=time_text(version.created_at),
        metrics=version.metrics,
        evidence=evidence,
        size_bytes=_size(version, store),
    )


def _size(version: Version, store: FileStore) -> int:
    try:
        return sum(store.path(digest).stat().st_size for digest in version.files.values())
    except CorruptError:
        return 0


def _lock(version: Version, store: FileStore, notes: list[str]) -> dict[str, str]:
    try:
        return read_lock(store.read(version.lineage.environment))
    except CorruptError:
        notes.append(f"The environment of {version.ref} is not kept.")
        return {}


def _short(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the numbers by their shortest names."""
    return {name: value for name, value in metrics.items() if "." not in name or name.rpartition(".")[2] not in metrics}


def _told(gain: object) -> dict[str, object]:
    names = ("metric", "part", "rows", "small", "first", "second", "value", "low", "high", "gain", "verdict")
    return {name: getattr(gain, name) for name in names}
