"""A run record becomes Markdown for the summary of a CI job: stages, times, metrics, and where it failed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from mlnb.run.record import RunRecord, StageRecord

_SIGNS = {"done": "✅", "cached": "♻️", "failed": "❌", "skipped": "⏭️", "cancelled": "⏹️"}
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+|~!-])")


def markdown(record: RunRecord, numbers: Mapping[str, float]) -> str:
    """Return the summary, which ends with an empty line: several may follow each other.

    Parameters
    ----------
    numbers : mapping of str to float
        What the stages gave, as `mlnb.run.values.numbers` names them; those with a stage's name are shown.
    """
    return "\n".join([*_head(record), *_stages(record), *_metrics(numbers), *_faults(record), "", ""])


def _head(record: RunRecord) -> Iterator[str]:
    yield f"### {_SIGNS.get(record.state, '')} {_text(record.notebook)}: {record.state} in {record.seconds:.1f} s"
    yield ""
    facts = [f"run `{record.id}`"]
    if record.resumed:
        facts.append(f"goes on from `{record.resumed}`")
    if record.git_commit:
        facts.append(f"commit `{record.git_commit[:12]}`{' with local changes' if record.git_dirty else ''}")
    facts.extend(f"{_text(name)} = {_text(repr(value))}" for name, value in record.parameters.items())
    yield ", ".join(facts)


def _stages(record: RunRecord) -> Iterator[str]:
    yield ""
    yield "| | stage | state | time | memory | tests |"
    yield "|---|---|---|---:|---:|---|"
    for stage in record.stages:
        time = f"{stage.seconds:.1f} s" if stage.state in ("done", "failed") else ""
        memory = f"{stage.peak_bytes / 1e6:.0f} MB" if stage.peak_bytes else ""
        cells = (_SIGNS.get(stage.state, ""), _text(stage.name), stage.state, time, memory, _tests(stage))
        yield f"| {' | '.join(cells)} |"


def _tests(stage: StageRecord) -> str:
    if not stage.cases:
        return ""
    passed = sum(case.state == "passed" for case in stage.cases)
    return f"{passed} of {len(stage.cases)} passed"


def _metrics(numbers: Mapping[str, float]) -> Iterator[str]:
    full = {name: value for name, value in numbers.items() if "." in name}
    if full:
        yield ""
        yield "| metric | value |"
        yield "|---|---:|"
        yield from (f"| {_text(name)} | {value:.6g} |" for name, value in full.items())


def _faults(record: RunRecord) -> Iterator[str]:
    for stage in record.stages:
        for case in stage.cases:
            if case.state == "failed":
                yield ""
                yield f"**{_text(stage.name)}: {_text(case.name)}** (cell {case.cell}): {_text(case.message)}"
        if stage.error is not None:
            yield ""
            yield f"**{_text(stage.error.problem)}** {_text(stage.error.remedy)}"
            if stage.error.traceback:
                yield from ("", "<details><summary>Traceback</summary>", "")
                yield from (f"    {line}" for line in stage.error.traceback.splitlines())
                yield from ("", "</details>")


def _text(text: str) -> str:
    """Return a text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
