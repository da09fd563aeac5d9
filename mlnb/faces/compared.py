"""Comparisons, of two runs or of a notebook with a clean run, become lines of text and JUnit XML."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from mlnb.faces.board import SIGNS
from mlnb.faces.tables import table

if TYPE_CHECKING:
    from mlnb.run.difference import Change, RunDifference
    from mlnb.run.verify import Check, Verification

_RESULTS = {"cached": "done"}  # from the cache or executed, the result is the same
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_DIGEST = re.compile(r"sha256:([0-9a-f]{12})[0-9a-f]{52}")


def difference_lines(difference: RunDifference) -> Iterator[str]:
    """Yield what differs between two runs, part by part; what is the same is not mentioned."""
    yield f"{difference.before} -> {difference.after}"
    if difference.same:
        yield "Nothing differs: parameters, code, data, environment, metrics and outputs are the same."
        return
    yield from changes_lines("parameters", difference.parameters)
    yield from changes_lines("data", difference.data)
    yield from changes_lines("environment", difference.environment)
    if difference.metrics:
        yield "metrics:"
        rows = [(f"  {one.name}", one.before, one.after, one.difference) for one in difference.metrics]
        yield from table(("  metric", "before", "after", "difference"), rows)
    if difference.stages:
        yield "stages:"
    for stage in difference.stages:
        because = f"other {', '.join(stage.because)}" if stage.because else ""
        states = [_RESULTS.get(state, state or "not there") for state in (stage.before, stage.after)]
        became = " -> ".join(states) if states[0] != states[1] or not because else ""
        yield f"  {stage.stage}: {'; '.join(part for part in (became, because) if part)}"
    told = {one.name for one in difference.metrics}
    outputs = [one for one in difference.outputs if not {one.name, f"{one.stage}.{one.name}"} & told]
    if outputs:
        yield "outputs:"
    yield from (f"  {one.stage}.{one.name}: {one.how}" for one in outputs)
    for code in difference.code:
        yield f"code of {code.stage}:"
        yield from (f"  {line}" for line in code.diff)


def verification_lines(verification: Verification) -> Iterator[str]:
    """Yield what a clean run does not give again, in one sentence each, and what was not compared."""
    compared = len(verification.checks) - len(verification.of("not compared"))
    differing = verification.of("differs")
    for check in differing:
        yield from (f"{SIGNS['failed']} {problem}" for problem in check.problems)
    yield from (f"{SIGNS['failed']} {finding.problem} {finding.remedy}" for finding in verification.findings)
    yield from _not_compared(verification.of("not compared"))
    what = f"{compared} of {compared} checks" if not differing else f"{len(differing)} of {compared} checks"
    end = "are reproducible" if not differing else "are not reproducible"
    if not compared:
        what, end = "nothing that was saved", "could be compared"
    yield f"{verification.notebook}: {what} {end} (run {verification.run}, tolerance {verification.tolerance:g})"


def verification_xml(verification: Verification) -> str:
    """Return the checks as JUnit XML, in the form that Jenkins, GitLab and GitHub's reporters read."""
    stem = PurePath(verification.notebook).stem
    root = ET.Element("testsuites", name=stem)
    suite = ET.SubElement(root, "testsuite", name=f"{stem}.verify")
    for check in verification.checks:
        case = ET.SubElement(suite, "testcase", classname=f"{stem}.verify", name=check.name, time="0")
        if check.state == "differs":
            failure = ET.SubElement(case, "failure", message=_clean(check.problems[0]), type="NotReproducible")
            failure.text = _clean("\n".join(check.problems))
        elif check.state == "not compared":
            ET.SubElement(case, "skipped", message=_clean(check.reason))
    for finding in verification.findings:
        name = f"{finding.check} {finding.stage}".strip()
        case = ET.SubElement(suite, "testcase", classname=f"{stem}.honesty", name=name, time="0")
        ET.SubElement(case, "failure", message=_clean(finding.problem), type="NotHonest").text = _clean(finding.remedy)
    for element in (suite, root):
        element.set("tests", str(len(suite)))
        element.set("failures", str(len(suite.findall("testcase/failure"))))
        element.set("skipped", str(len(suite.findall("testcase/skipped"))))
        element.set("errors", "0")
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def changes_lines(what: str, changes: Iterable[Change]) -> Iterator[str]:
    """Yield what differs of one kind, under its name."""
    for place, one in enumerate(changes):
        if not place:
            yield f"{what}:"
        yield f"  {one.name}: {_value(one.before)} -> {_value(one.after)}"


def _value(value: object) -> str:
    if value is None:
        return "not there"
    return _DIGEST.sub(r"\1", value) if isinstance(value, str) else repr(value)


def _not_compared(checks: Iterable[Check]) -> Iterator[str]:
    """Yield a line for each reason why something was not compared."""
    reasons: dict[str, list[str]] = {}
    for check in checks:
        reasons.setdefault(check.reason, []).append(check.name)
    yield from (f"- not compared, {reason}: {_listed(names)}" for reason, names in reasons.items())


def _listed(names: Sequence[str]) -> str:
    """Return ``cells 2, 3, 7`` for what are cells alone."""
    cells = [name.removeprefix("cell ") for name in names]
    if len(names) == 1 or any(not cell.isdigit() for cell in cells):
        return ", ".join(names)
    return f"cells {', '.join(cells)}"


def _clean(text: str) -> str:
    return _NOT_XML.sub("�", text)
