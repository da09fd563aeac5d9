"""Notebooks that were not made for us run: scripts, Kale's, and those that use IPython's own syntax."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlnb.notebook.document import read_document
from mlnb.pipeline.build import build_pipeline

SCRIPT = """\
# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Sums

# %% tags=["parameters"]
count = 3

# %%
#| stage: prepare
rows = list(range(count))
print("prepared", rows)

# %%
# %%stage total --metrics total
total = sum(rows)
# !echo said by a shell
print(f"total {total}")

# %% [markdown]
# A test.

# %%
#| test: total
assert total == 3
"""

CELLS = [
    ("markdown", "# Sums", {}),
    ("code", "count = 3", {"tags": ["parameters"]}),
    ("code", '%%stage prepare\nrows = list(range(count))\nprint("prepared", rows)  # a comment', {}),
    ("code", '%%stage total --metrics total\ntotal = sum(rows)\n!echo said by a shell\nprint(f"total {total}")', {}),
    ("code", "%%test total\nassert total == 3", {}),
]

KALE = [
    ("markdown", "## Kale base example", {"tags": []}),
    ("code", "!pip3 install --user -r requirements.txt", {"tags": ["skip"]}),
    ("code", "import random\nimport statistics as st", {"tags": ["imports"]}),
    ("code", "N = 20\nNAME = 'sum'", {"tags": ["pipeline-parameters"]}),
    ("code", "def grown(values):\n    return [value + 1 for value in values]", {"tags": ["functions"]}),
    (
        "code",
        "x = list(range(N))",
        {"tags": ["step:load_transform", "report:disabled"], "slideshow": {"slide_type": ""}},
    ),
    ("code", "x = grown(x)\nhalf = x[: N // 2]", {"tags": []}),
    ("code", "x[:3]", {"tags": ["skip"]}),
    ("code", "mean = st.mean(x)", {"tags": ["limit:nvidia.com/gpu:2", "step:left", "prev:load_transform"]}),
    ("code", "median = st.median(half)", {"tags": ["block:right", "prev:load_transform"]}),
    ("code", "result = mean - median", {"tags": ["step:join", "prev:left", "prev:right", "cache:enabled"]}),
    ("code", "print(NAME, result)", {"tags": []}),
    ("code", "print(result)\nprint(N)", {"tags": ["pipeline-metrics"]}),
]

MAGICS = [
    "%env MLNB_SAID=by-setup\nimport sys",
    "%%stage all\n%%bash --out listed\necho from bash",
    "#| stage: all\nprint(listed.strip())",
    "%%stage all\n%%sh\necho from sh",
    "%%stage all\n%%writefile made.txt\nwritten by a cell",
    "%%stage all\n%%time\nslow = 1",
    "%%stage all\n%%capture caught\nprint('unseen')",
    "%%stage all\nversion = !{sys.executable} -m pip --version\n%pip --version\n!cat made.txt; echo $MLNB_SAID\nprint(slow, caught.stdout)",
    "%%stage next\nresult = len(version)",
]


def _write(path: Path, cells: list[tuple[str, str, dict[str, object]]], **metadata: object) -> Path:
    made = []
    for number, (kind, source, about) in enumerate(cells):
        code = {"outputs": [], "execution_count": None} if kind == "code" else {}
        made.append({"cell_type": kind, "id": f"c{number}", "metadata": about, "source": source, **code})
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"cells": made, "metadata": {"kernelspec": spec, **metadata}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(notebook))
    return path


@dataclass(frozen=True, slots=True)
class Ran:
    """A run that the command line has made.

    Attributes
    ----------
    record : dict
        What ``--json`` answered.
    printed : str
        Everything in the streams of the assembled notebook.
    notebook : dict
        That notebook.
    folder : Path
        The run's.
    """

    record: dict[str, Any]
    printed: str
    notebook: dict[str, Any]
    folder: Path

    @property
    def states(self) -> list[tuple[str, str]]:
        return [(stage["name"], stage["state"]) for stage in self.record["stages"]]


def _mlnb(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "mlnb", *words], cwd=cwd, capture_output=True, text=True)


def _run(path: Path, *words: str) -> Ran:
    done = _mlnb("run", path.name, "--json", *words, cwd=path.parent)
    assert done.stdout.startswith("{"), done.stderr
    record = json.loads(done.stdout)
    folder = path.parent / ".mlnb" / "runs" / record["id"]
    notebook = json.loads((folder / f"{path.stem}.ipynb").read_text())
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    return Ran(record, "".join("".join(output.get("text", "")) for output in outputs), notebook, folder)


def test_a_script_runs_and_the_same_cells_in_an_ipynb_are_taken_from_its_cache(tmp_path: Path) -> None:
    script = tmp_path / "sums.py"
    script.write_text(SCRIPT)
    first = _run(script)
    assert first.states == [("prepare", "done"), ("total", "done"), ("test-total", "done")], first.record
    assert first.record["notebook"] == "sums.py"
    assert (first.folder / "source.py").read_text() == SCRIPT
    assert "prepared [0, 1, 2]" in first.printed
    assert "said by a shell" in first.printed
    assert "total 3" in first.printed
    other = _run(_write(tmp_path / "other.ipynb", CELLS))
    assert {state for _, state in other.states} == {"cached"}
    assert [stage["key"] for stage in other.record["stages"]] == [stage["key"] for stage in first.record["stages"]]
    assert "total 3" in other.printed

    again = (
        "import sys; from mlnb.faces.cli import main; code = main(['run', 'sums.py', '--json']);"
        "loaded = {'jupytext', 'nbformat', 'papermill', 'jupyter_client'} & set(sys.modules);"
        "assert not loaded, loaded; sys.exit(code)"
    )
    noop = subprocess.run([sys.executable, "-c", again], cwd=tmp_path, capture_output=True, text=True)
    assert noop.returncode == 0, noop.stderr
    assert {stage["state"] for stage in json.loads(noop.stdout)["stages"]} == {"cached"}


def test_a_failing_cell_of_a_script_is_told_with_the_scripts_own_line(tmp_path: Path) -> None:
    script = tmp_path / "sums.py"
    number = SCRIPT.split("\n").index("total = sum(rows)") + 1
    script.write_text(SCRIPT.replace("total = sum(rows)", "total = sum(rowz)"))
    planned = _mlnb("plan", "sums.py", cwd=tmp_path)
    assert planned.returncode == 2
    assert f"(cell 4, line 2 (sums.py:{number})) needs `rowz`" in planned.stderr
    script.write_text(SCRIPT.replace("total = sum(rows)", "total = sum(rows) / 0"))
    fault = next(stage["error"] for stage in _run(script).record["stages"] if stage["error"])
    assert fault["problem"].startswith(f"Stage 'total' failed in cell 4, line 2 (sums.py:{number}): ZeroDivisionError")


def test_a_kale_notebook_runs_unchanged(tmp_path: Path) -> None:
    foreign = {"kubeflow_notebook": {"pipeline_name": "p", "volumes": [{"size": 5}]}, "nteract": {"version": "0.25"}}
    path = _write(tmp_path / "kale.ipynb", KALE, **foreign)
    before = path.read_bytes()
    assert build_pipeline(read_document(path)).warnings == ()
    ran = _run(path, "-p", "N=10")
    assert ran.states == [("load_transform", "done"), ("left", "done"), ("right", "done"), ("join", "done")], ran.record
    assert "sum 2.5" in ran.printed
    assert path.read_bytes() == before
    assert {name: ran.notebook["metadata"][name] for name in foreign} == foreign
    assert [cell["metadata"] for cell in ran.notebook["cells"]] == [metadata for _, _, metadata in KALE]


def test_shells_files_and_timers_of_ipython_work_inside_stages(tmp_path: Path) -> None:
    ran = _run(_write(tmp_path / "magics.ipynb", [("code", source, {}) for source in MAGICS]))
    assert ran.states == [("all", "done"), ("next", "done")], ran.record
    for said in ("from bash", "from sh", "by-setup", "written by a cell", "pip ", "1 unseen", "Wall time"):
        assert said in ran.printed, said
