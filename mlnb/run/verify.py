"""A run of the saved notebook becomes a `Verification`: which saved outputs and metrics it does not give again.

Compared are the cells that ran as parts of a stage; the file's own outputs come from the run's copy of it. nbval's
words are understood: the tags ``nbval-ignore-output``, ``nbval-skip`` and ``raises-exception`` (or
``nbval-raises-exception``), and the comments ``# NBVAL_IGNORE_OUTPUT``, ``# NBVAL_SKIP`` and so on.

References
----------
https://nbval.readthedocs.io/en/latest/
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from mlnb.run.apart import close, number_change
from mlnb.run.debug import source_of_run
from mlnb.run.honesty_finding import Finding
from mlnb.run.notebooks import executed_cells
from mlnb.run.outputs import Json, OutputDifference, compare_outputs
from mlnb.run.record import RunRecord, StageRecord
from mlnb.run.values import numbers
from mlnb.store.folder import StateFolder

TOLERANCE = 1e-6
_IGNORE = {"nbval-ignore-output", "pytest-validate-ignore-output"}
_SKIP = {"nbval-skip"}
_RAISES = {"raises-exception", "nbval-raises-exception"}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was compared.

    Attributes
    ----------
    name : str
        ``cell 4``, ``metric auc`` or ``stage train``.
    stage : str
        The stage that it belongs to; ``""`` for none.
    cell : int
        1-based number in the notebook; 0 for none.
    state : str
        ``same``, ``differs`` or ``not compared``.
    problems : tuple of str
        A sentence for each difference, with what was saved, what came now and why they are not the same.
    reason : str
        Why it was not compared.
    """

    name: str
    stage: str
    cell: int
    state: str
    problems: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Verification:
    """What a clean run says about a saved notebook.

    Attributes
    ----------
    notebook, run, run_state : str
        The notebook, the run that it was compared with, and how that ended.
    tolerance : float
        Relative difference up to which numbers were equal.
    checks : tuple of Check
        In the notebook's order, then stages that failed, then metrics.
    findings : tuple of Finding
        What makes the result look better or firmer than it is, where that was asked for.
    """

    notebook: str
    run: str
    run_state: str
    tolerance: float
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def reproducible(self) -> bool:
        """Whether everything that was compared is the same."""
        return not any(check.state == "differs" for check in self.checks)

    def to_json(self) -> dict[str, object]:
        """Return it as a JSON object that says at once whether all is well."""
        return {
            "notebook": self.notebook,
            "run": self.run,
            "run_state": self.run_state,
            "tolerance": self.tolerance,
            "reproducible": self.reproducible,
            "checks": self.checks,
            "findings": self.findings,
        }

    def of(self, state: str) -> tuple[Check, ...]:
        """Return the checks that ended so."""
        return tuple(check for check in self.checks if check.state == state)


@dataclass(frozen=True, slots=True)
class _Clean:
    """What a cell did in the clean run."""

    stage: str
    kind: str
    outputs: Sequence[Json]


def verification(state: StateFolder, record: RunRecord, earlier: Sequence[RunRecord], tolerance: float) -> Verification:
    """Compare the outputs that a notebook was saved with, and the metrics of earlier runs, with those of a run.

    Parameters
    ----------
    earlier : sequence of RunRecord
        Other runs of the project, the newest first: where a stage ran before with the very same key, its numbers must
        come again.
    tolerance : float
        Relative difference up to which numbers are equal.
    """
    checks = [*_cells(state, record, tolerance), *_failures(record), *_metrics(state, record, earlier, tolerance)]
    return Verification(record.notebook, record.id, record.state, tolerance, tuple(checks))


def _cells(state: StateFolder, record: RunRecord, tolerance: float) -> Iterator[Check]:
    source = source_of_run(state, record)
    if source.suffix != ".ipynb":
        return  # a script has no saved outputs
    clean = _clean_cells(state, record)
    for number, cell in enumerate(json.loads(source.read_bytes())["cells"], 1):
        if cell.get("cell_type") == "code":
            yield _check(number, cell, clean.get(number), tolerance)


def _clean_cells(state: StateFolder, record: RunRecord) -> dict[int, _Clean]:
    """Return what each cell did; one that runs in several stages, in the first of them."""
    found: dict[int, _Clean] = {}
    for stage in record.stages:
        if not stage.notebook:
            continue
        for cell in executed_cells(json.loads((state.root / stage.notebook).read_bytes())):
            if cell.cell and cell.execution_count:
                found.setdefault(cell.cell, _Clean(stage.name, stage.kind, cell.outputs))
    return found


def _check(number: int, cell: Json, clean: _Clean | None, tolerance: float) -> Check:
    name, stage = f"cell {number}", clean.stage if clean else ""
    words = _words(cell)
    saved = cast("Sequence[Json]", cell.get("outputs") or [])
    reason = ""
    if words & (_IGNORE | _SKIP):
        reason = "it is tagged so"
    elif not saved and cell.get("execution_count") is None:
        reason = "it was saved without outputs"
    elif clean is None:
        reason = "it did not run in the pipeline"
    if reason or clean is None:
        return Check(name, stage, number, "not compared", reason=reason)
    problems = [_sentence(number, clean, one) for one in compare_outputs(saved, clean.outputs, tolerance)]
    if words & _RAISES and not any(output.get("output_type") == "error" for output in clean.outputs):
        problems.append(f"Cell {number} ({_where(clean)}) is tagged to raise an exception, and raised none.")
    return Check(name, stage, number, "differs" if problems else "same", tuple(problems))


def _sentence(number: int, clean: _Clean, one: OutputDifference) -> str:
    saved = f"saved `{one.saved}`" if one.saved else "nothing saved"
    got = f"the clean run gave `{one.got}`" if one.got else "the clean run gave nothing"
    return f"Cell {number} ({_where(clean)}), output {one.output} ({one.kind}): {saved}, {got}: {one.why}."


def _where(clean: _Clean) -> str:
    return f"{clean.kind} {clean.stage}"


def _words(cell: Json) -> set[str]:
    """Return the tags of a cell, and nbval's comments in it spelt as tags."""
    metadata = cell.get("metadata")
    tags = metadata.get("tags", []) if isinstance(metadata, dict) else []
    source = cell.get("source", "")
    text = "".join(source) if isinstance(source, list) else str(source)
    comments = (line.strip().lstrip("#").strip() for line in text.splitlines() if line.strip().startswith("#"))
    return {str(tag).lower() for tag in tags} | {word.lower().replace("_", "-") for word in comments}


def _failures(record: RunRecord) -> Iterator[Check]:
    for stage in record.stages:
        if stage.state == "failed":
            problem = stage.error.problem if stage.error else f"Stage {stage.name!r} failed."
            cell = stage.error.cell if stage.error else 0
            yield Check(f"{stage.kind} {stage.name}", stage.name, cell, "differs", (problem,))
        elif stage.state not in ("done", "cached"):
            reason = f"it was {stage.state}"
            yield Check(f"{stage.kind} {stage.name}", stage.name, 0, "not compared", reason=reason)


def _metrics(state: StateFolder, record: RunRecord, earlier: Sequence[RunRecord], tolerance: float) -> Iterator[Check]:
    """Compare the numbers of stages that were executed with those of the newest earlier run of the same key."""
    found: Mapping[str, float] = {}
    for stage in record.stages:
        before = _earlier(record, stage, earlier) if stage.state == "done" else None
        if before is None:
            continue
        found = found or numbers(record, state.files)
        known = numbers(before, state.files)
        for artifact in stage.artifacts:
            name = f"{stage.name}.{artifact.name}"
            if name in found and name in known:
                yield _metric(stage.name, artifact.name, known[name], found[name], before.id, tolerance)


def _metric(stage: str, name: str, before: float, after: float, run: str, tolerance: float) -> Check:
    if close(before, after, tolerance):
        return Check(f"metric {name}", stage, 0, "same")
    problem = (
        f"Metric {name} (stage {stage}): run {run} gave {before!r} from the same code, parameters and inputs, the "
        f"clean run gave {after!r}: {number_change(before, after)}."
    )
    return Check(f"metric {name}", stage, 0, "differs", (problem,))


def _earlier(record: RunRecord, stage: StageRecord, earlier: Sequence[RunRecord]) -> RunRecord | None:
    return next(
        (
            other
            for other in earlier
            if other.id < record.id and other.notebook == record.notebook and other.options.seed == record.options.seed
            if any(one.key == stage.key and one.name == stage.name and one.artifacts for one in other.stages)
        ),
        None,
    )
