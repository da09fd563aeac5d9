"""What a version's run has measured becomes every number that a gate may name, with the rows behind it."""

from __future__ import annotations

from collections.abc import Mapping

from mlnb.model.evaluation import Evaluation
from mlnb.registry.gates import Finding
from mlnb.registry.registry import Registry
from mlnb.registry.version import Version


def measured_by_run(version: Version, registry: Registry) -> dict[str, Finding]:
    """Return the numbers of a version's evaluations and of its metrics by every name that they have.

    Raises
    ------
    CorruptError
        If the bytes of its evaluations are not in the store.
    """
    by_stage: dict[str, dict[str, Evaluation]] = {}
    for spelt, evaluation in registry.evaluations(version).items():
        stage, _, variable = spelt.partition(".")
        by_stage.setdefault(stage, {})[variable] = evaluation
    found: dict[str, dict[str, Finding]] = {
        stage: {
            f"{variable}.{name}" if len(several) > 1 else name: one
            for variable, evaluation in several.items()
            for name, one in _numbers(f"{stage}.{variable}", evaluation).items()
        }
        for stage, several in by_stage.items()
    }
    return {**_short(found), **_kept(version.metrics, _short(found))}


def _kept(metrics: Mapping[str, float], found: Mapping[str, Finding]) -> dict[str, Finding]:
    """Return the metrics that are no evaluation's, or other than its: those count."""
    return {name: Finding(value) for name, value in metrics.items() if name not in found or found[name].value != value}


def _numbers(spelt: str, evaluation: Evaluation) -> dict[str, Finding]:
    rows = {part.name: part.rows for part in evaluation.slices}
    found = {}
    for name, value in evaluation.named().items():
        part = name[name.index("[") :] if "[" in name else ""
        count = f"{rows.get(part, evaluation.rows):,} rows"
        ends = name.partition("[")[0].partition("@")[0].endswith(("_low", "_high"))
        level = f", {100 * evaluation.interval.level:g} % interval" if ends else ""
        found[name] = Finding(value, f"{count} ({spelt}{level})")
    return found


def _short(found: Mapping[str, Mapping[str, Finding]]) -> dict[str, Finding]:
    """Return each number under ``stage.name``, and under ``name`` alone where only one stage gives it."""
    givers: dict[str, list[str]] = {}
    for stage, numbers in found.items():
        for name in numbers:
            givers.setdefault(name, []).append(stage)
    long = {f"{stage}.{name}": one for stage, numbers in found.items() for name, one in numbers.items()}
    return long | {name: found[stages[0]][name] for name, stages in givers.items() if len(stages) == 1}
