"""A run of a notebook in a folder becomes its record, once its reports have been looked at."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path


def reported(notebook: Path, folder: Path) -> set[str]:
    """Run the copy of a notebook, check tests and reports, and return the states of its stages."""
    command = [sys.executable, "-m", "mlnb", "run", notebook.name, "--json"]
    told = subprocess.run(
        [*command, "--junitxml", "report.xml", "--html", "report.html"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    record = json.loads(told.stdout)
    cases = [case["state"] for stage in record["stages"] for case in stage["cases"]]
    assert cases
    assert set(cases) == {"passed"}
    assert (folder / notebook.name).read_bytes() == notebook.read_bytes()
    assert "<testcase" in (folder / "report.xml").read_text("utf-8")
    page = (folder / "report.html").read_text("utf-8")
    assert not re.search(r"""<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=["']?(?:https?:)?//""", page)
    return {stage["state"] for stage in record["stages"]}
