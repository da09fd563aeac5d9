"""`mlnb plan`, `run`, `test` and `runs` on a real notebook, with real kernels: what CI and people get from them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

CELLS = (
    ("trees: int = 3", "parameters"),
    "%%stage prepare\nrows = list(range(trees))\nprint('prepared', len(rows))",
    "look = rows[:1]",
    "%%stage train --metrics score\nscore = float(sum(rows))",
    "%%test train\nassert score >= 0\ndef test_sum():\n    assert score == sum(rows)",
)
FAILING = (
    "%%stage one\na = 1\nprint('kept')",
    "%%stage two\nb = a\nb / 0",
    "%%stage three\nc = b",
    "%%test one\ndef test_good():\n    assert a == 1\ndef test_bad():\n    assert a == 2, 'a is one'",
)


@pytest.fixture(scope="module")
def ran(tmp_path_factory, command):
    """A notebook that was run once, with every report."""
    folder = tmp_path_factory.mktemp("ran")
    command.notebook(*CELLS, path=folder / "nb.ipynb")
    words = ("run", "nb.ipynb", "-p", "trees=4", "--junitxml", "out.xml", "--html", "out.html")
    return folder, command.spawn(*words, cwd=folder)


@pytest.fixture(scope="module")
def failed(tmp_path_factory, command):
    """A notebook whose second stage and whose test fail."""
    folder = tmp_path_factory.mktemp("failed")
    command.notebook(*FAILING, path=folder / "nb.ipynb")
    return folder, command.spawn("run", "nb.ipynb", "--junitxml", "out.xml", "--html", "out.html", cwd=folder)


def test_plan_tells_stages_and_what_will_not_run(mlnb, ran):
    folder, _ = ran
    text = mlnb("plan", "nb.ipynb", cwd=folder).out
    assert "prepare" in text and "takes rows from prepare" in text and "not run: cell 3" in text
    told = mlnb("plan", "nb.ipynb", "--json", cwd=folder).json()
    assert [stage["name"] for stage in told["stages"]] == ["prepare", "train", "test-train"]
    assert told["not_run"] == [3]


def test_plan_draws_a_picture(mlnb, ran, tmp_path):
    folder, _ = ran
    assert mlnb("plan", "nb.ipynb", "--svg", str(tmp_path / "plan.svg"), cwd=folder).code == 0
    root = ET.parse(tmp_path / "plan.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert {"prepare", "train"} <= {text.text for text in root.iter("{http://www.w3.org/2000/svg}text")}


def test_run_tells_each_stage_and_test(ran):
    _, done = ran
    assert done.code == 0
    assert "done" in done.out and "✓ test-train: test_sum" in done.out and "parameters: trees=4" in done.out
    assert [line.split()[1] for line in done.err.splitlines() if line[:1] in "✓✗="] == [
        "prepare",
        "train",
        "test-train",
    ]


def test_the_junit_report_has_a_case_for_each_stage_and_test(ran):
    folder, _ = ran
    root = ET.parse(folder / "out.xml").getroot()
    cases = {case.get("name") for case in root.iter("testcase")}
    assert {"prepare", "train", "test_sum"} <= cases
    assert root.get("failures") == "0"


def test_the_page_holds_outputs_and_needs_no_network(ran):
    folder, _ = ran
    page = (folder / "out.html").read_text()
    assert "prepared 4" in page and "test_sum" in page
    for reference in ('src="http', "src='http", 'href="http', "@import"):
        assert reference not in page


def test_nothing_changed_means_everything_is_cached(mlnb, ran):
    folder, _ = ran
    again = mlnb("run", "nb.ipynb", "-p", "trees=4", "--json", cwd=folder).json()
    assert [stage["state"] for stage in again["stages"]] == ["cached", "cached", "cached"]


def test_a_run_that_does_nothing_loads_nothing_heavy(ran):
    folder, _ = ran
    code = (
        "import sys\n"
        "from mlnb.faces.cli import main\n"
        "main(['run', 'nb.ipynb', '-p', 'trees=4', '-q'])\n"
        "heavy = 'sqlalchemy nbformat papermill pandas numpy sklearn jupyter_client IPython nbclient rich'.split()\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_runs_are_listed_shown_and_their_prints_read(mlnb, ran):
    folder, _ = ran
    first = mlnb("runs", "list", "--json", cwd=folder).json()[-1]
    assert first["parameters"] == {"trees": 4}
    assert first["id"] in mlnb("runs", "list", cwd=folder).out
    assert "prepare" in mlnb("runs", "show", first["id"], cwd=folder).out
    assert mlnb("runs", "logs", first["id"], "prepare", "--json", cwd=folder).json() == [
        {"stage": "prepare", "cell": 2, "text": "prepared 4\n"}
    ]
    assert mlnb("runs", "logs", first["id"], cwd=folder).out.startswith("--- prepare, cell 2\nprepared 4\n")
    assert mlnb("runs", "logs", first["id"], "no-such", cwd=folder).code == 2


def test_a_failing_stage_names_the_users_cell_and_line_and_keeps_what_was_before(failed, mlnb):
    folder, done = failed
    assert done.code == 1
    assert "cell 2" in done.out.lower() and "ZeroDivisionError" in done.out and "line 3" in done.out
    record = mlnb("runs", "show", "last", "--json", cwd=folder).json()
    states = {stage["name"]: stage["state"] for stage in record["stages"]}
    assert states == {"one": "done", "two": "failed", "three": "skipped", "test-one": "failed"}
    fault = next(stage["error"] for stage in record["stages"] if stage["name"] == "two")
    assert (fault["cell"], fault["line"], fault["ename"]) == (2, 3, "ZeroDivisionError")
    assert "ZeroDivisionError" in mlnb("runs", "logs", "last", "two", cwd=folder).out


def test_a_failed_run_leaves_its_reports_too(failed):
    folder, _ = failed
    root = ET.parse(folder / "out.xml").getroot()
    failures = {case.get("name") for case in root.iter("testcase") if case.find("failure") is not None}
    assert "two" in failures and "test_bad" in failures and "test_good" not in failures
    page = (folder / "out.html").read_text()
    assert "kept" in page and "ZeroDivisionError" in page


def test_events_are_one_json_object_a_line_and_end_with_the_result(ran, command):
    folder, _ = ran
    done = command.spawn("run", "nb.ipynb", "-p", "trees=4", "--events", cwd=folder)
    events = [json.loads(line) for line in done.out.splitlines()]
    assert [event["event"] for event in events] == [
        "run-started",
        "stage-finished",
        "stage-finished",
        "stage-finished",
        "run-finished",
        "result",
    ]
    assert (events[-1]["code"], events[-1]["result"]["state"]) == (0, "done")
    assert "trees=4" in events[-1]["text"]


def test_an_error_is_an_event_too(mlnb, tmp_path):
    done = mlnb("run", "no-such.ipynb", "--events")
    event = json.loads(done.out)
    assert (event["event"], event["code"], done.code) == ("error", 2, 2)
    assert "no-such.ipynb" in event["problem"] and event["remedy"]


def test_tests_alone_are_run_with_what_they_need(mlnb, ran):
    folder, _ = ran
    told = mlnb("test", "nb.ipynb", "-p", "trees=4", "--json", cwd=folder).json()
    assert [stage["name"] for stage in told["stages"]] == ["prepare", "train", "test-train"]


def test_a_notebook_without_tests_is_told_so(mlnb, write_notebook):
    write_notebook("%%stage one\na = 1")
    ran = mlnb("test", "nb.ipynb")
    assert ran.code == 2 and "%%test" in ran.err


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_run_that_is_stopped_leaves_a_consistent_state_and_is_gone_on_with(command, tmp_path, mlnb, how):
    cells = ("%%stage one\na = 1", "%%stage two\nimport time\nb = a\ntime.sleep(600)")
    command.notebook(*cells, path=tmp_path / "nb.ipynb")
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "mlnb", "run", "nb.ipynb", "--events"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    last = {}
    with process:
        for line in process.stdout:
            last = json.loads(line)
            if last["event"] == "cell-started" and last["stage"] == "two":
                process.send_signal(how)
                process.send_signal(how)
    assert (process.returncode, last["event"], last["type"]) == (1, "error", "CancelledError")
    record = mlnb("runs", "show", "last", "--json").json()
    assert record["state"] == "cancelled"
    assert [stage["state"] for stage in record["stages"]] == ["done", "cancelled"]
    command.notebook(cells[0], "%%stage two\nb = a", path=tmp_path / "nb.ipynb")
    again = mlnb("run", "--resume", "--json").json()
    assert (again["state"], again["resumed"]) == ("done", record["id"])
    assert [stage["state"] for stage in again["stages"]] == ["cached", "done"]
    assert f"goes on from {record['id']}" in mlnb("runs", "show", "last").out
    refused = mlnb("run", "--resume", "nb.ipynb")
    assert refused.code == 2 and "there is nothing to resume" in refused.err


def test_parts_of_a_pipeline_are_run_by_name(mlnb, ran):
    folder, _ = ran

    def states(*words):
        told = mlnb("run", "nb.ipynb", "-p", "trees=4", *words, "--json", cwd=folder).json()
        return {stage["name"]: stage["state"] for stage in told["stages"]}

    assert states("--until", "prepare") == {"prepare": "cached"}
    assert states("--only", "prepare,train") == {"prepare": "cached", "train": "cached"}
    refused = mlnb("run", "nb.ipynb", "--from", "tarin", cwd=folder)
    assert refused.code == 2 and "Did you mean 'train'?" in refused.err
    assert "NOTEBOOK" in mlnb("run").err


def test_a_summary_is_added_for_github(mlnb, ran):
    folder, _ = ran
    (folder / "summary.md").write_text("before\n")
    for _ in range(2):
        summary = {"GITHUB_STEP_SUMMARY": str(folder / "summary.md")}
        assert mlnb("run", "nb.ipynb", "-p", "trees=4", cwd=folder, env=summary).code == 0
    text = (folder / "summary.md").read_text()
    assert text.startswith("before\n### ✅ nb.ipynb: done")
    assert text.count("| ♻️ | train | cached |") == 2 and "| train.score | 6 |" in text


def test_the_starter_and_the_workflow_fit_each_other():
    templates = Path(__file__).parents[3] / "templates"
    workflow = (templates / "ci" / "mlnb.yml").read_text()
    starter = json.loads((templates / "starter" / "starter.ipynb").read_text())
    assert "NOTEBOOK: starter.ipynb" in workflow
    parameters = next(cell for cell in starter["cells"] if cell["metadata"].get("tags") == ["parameters"])
    assert "regularisation: float" in "".join(parameters["source"])
    assert all(not cell.get("outputs") for cell in starter["cells"])


def test_the_workflow_passes_zizmor():
    workflow = Path(__file__).parents[3] / "templates" / "ci" / "mlnb.yml"
    zizmor = Path(sys.executable).parent / "zizmor"
    words = [zizmor, "--offline", "--no-progress", "--persona", "pedantic", workflow]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_starter_is_a_pipeline(mlnb, tmp_path):
    starter = Path(__file__).parents[3] / "templates" / "starter" / "starter.ipynb"
    told = mlnb("plan", str(starter), "--json", "--project", str(tmp_path)).json()
    assert [stage["name"] for stage in told["stages"]] == ["prepare", "train", "evaluate", "test-evaluate"]
    assert [deploy["name"] for deploy in told["deploys"]] == ["cancer"]
    assert told["not_run"] == [10]
