"""A run record becomes JUnit XML: the stages are one suite, each test another, its functions and cells the cases."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePath
from xml.etree import ElementTree as ET

from mlnb.run.record import CaseRecord, RunRecord, StageRecord

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(record: RunRecord) -> str:
    """Return the document, in the form that Jenkins, GitLab and GitHub's reporters read."""
    stem = PurePath(record.notebook).stem
    root = ET.Element("testsuites", name=stem)
    stages = [stage for stage in record.stages if stage.kind == "stage"]
    _add_suite(root, record, stem, [_stage_case(stem, stage) for stage in stages])
    for test in (stage for stage in record.stages if stage.kind == "test"):
        cases = [_case(f"{stem}.{test.name}", case) for case in test.cases]
        if (test.error is not None and all(case.state == "passed" for case in test.cases)) or not cases:
            cases.append(_stage_case(stem, test))
        _add_suite(root, record, f"{stem}.{test.name}", cases)
    for count in ("tests", "failures", "skipped"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in root)))
    root.set("errors", "0")
    root.set("time", f"{record.seconds:.3f}")
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _add_suite(root: ET.Element, record: RunRecord, name: str, cases: Iterable[ET.Element]) -> None:
    suite = ET.SubElement(root, "testsuite", name=name)
    suite.extend(cases)
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("errors", "0")
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    suite.set("time", f"{sum(float(case.get('time', '0')) for case in suite):.3f}")
    suite.set("timestamp", record.started_at[:19])


def _stage_case(stem: str, stage: StageRecord) -> ET.Element:
    seconds = 0.0 if stage.state == "cached" else stage.seconds
    case = ET.Element("testcase", classname=stem, name=stage.name, time=f"{seconds:.3f}")
    if stage.state in ("skipped", "cancelled"):
        why = "something before it failed" if stage.state == "skipped" else "the run was stopped"
        ET.SubElement(case, "skipped", message=why)
    elif stage.error is not None:
        fault = stage.error
        _fail(case, fault.problem, fault.ename, "\n".join(filter(None, (fault.remedy, fault.traceback))))
    elif stage.state == "failed":
        _fail(case, f"{stage.name} failed.", "", "")
    return case


def _case(classname: str, case: CaseRecord) -> ET.Element:
    element = ET.Element("testcase", classname=classname, name=case.name, time=f"{case.seconds:.3f}")
    if case.state == "failed":
        _fail(element, case.message, case.message.partition(":")[0], f"cell {case.cell}")
    return element


def _fail(case: ET.Element, message: str, kind: str, text: str) -> None:
    failure = ET.SubElement(case, "failure", message=_clean(message), type=_clean(kind))
    failure.text = _clean(text)


def _clean(text: str) -> str:
    return _NOT_XML.sub("�", text)
