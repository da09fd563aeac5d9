"""`%mlnb` and `%%deploy` in a real kernel, on a saved notebook, as a person uses them."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import psutil
import pytest

SMALL = (
    "%load_ext mlnb",
    ("size: int = 3", "parameters"),
    "%%stage one\na = list(range(size))\nprint('ran')",
    "%%stage two\nb = sum(a)",
)
MODEL = (
    "%%stage train\n"
    "import pandas as pd\n"
    "from sklearn.linear_model import LogisticRegression\n"
    "X = pd.DataFrame({'distance': [float(n) for n in range(40)]})\n"
    "model = LogisticRegression().fit(X, X['distance'] > 20)\n"
    "rows = len(X)"
)
DEPLOY = '%%deploy delays --model model --sample X --gate "rows >= {}" --to production'


@pytest.fixture
def live(new_kernel, tmp_path):
    """A kernel that belongs to a notebook, with the extension loaded."""

    def start(path: Path, **env: str):
        kernel = new_kernel(env={"JPY_SESSION_NAME": str(path), **env})
        assert kernel.run("%load_ext mlnb", cell="load").status == "ok"
        return kernel

    return start


def test_plan_shows_the_picture_and_how_the_stages_stand_here(live, write_notebook):
    kernel = live(write_notebook(*SMALL))
    shown = kernel.run("%mlnb plan").data[0]
    assert "<svg" in shown["text/html"] and "<script" not in shown["text/html"]
    assert shown["text/plain"].startswith("nb.ipynb: 2 stages")
    kernel.run("size: int = 3", cell="cell-1")
    kernel.run(SMALL[2], cell="cell-2")
    assert "In this kernel: one done, two not run." in kernel.run("%mlnb plan").data[0]["text/plain"]
    assert json.loads(kernel.run("%mlnb plan --json").text)["stages"][0]["name"] == "one"
    assert "`one` would run: it has no result yet." in kernel.run("%mlnb plan --why one").text


def test_retrain_shows_a_plan_and_does_what_is_due_in_a_process_of_its_own(live, write_notebook, tmp_path):
    path = write_notebook(*SMALL)
    (tmp_path / "pyproject.toml").write_text('[tool.mlnb.retrain.late]\nnotebook = "nb.ipynb"\n')
    kernel = live(path)
    assert kernel.run("%mlnb retrain").text == "late: nb.ipynb\n  nothing would fire now\n"
    failed = kernel.run("%mlnb retrain late --once --reason look")
    assert failed.status == "error"
    assert "late: retraining 1 ended failed:" in failed.data[0]["text/plain"]
    assert "no %%deploy late" in failed.data[0]["text/plain"]


def test_the_next_run_of_a_live_kernel_finds_its_libraries_loaded(live, write_notebook, tmp_path):
    source = "%%stage one\nimport os, xml.dom.minidom\nsize\nparent = os.getppid()\nprint('child of', parent)"
    kernel = live(write_notebook(SMALL[0], SMALL[1], source))
    parents = set()
    for size in (5, 6):
        assert kernel.run(f"%mlnb run -p size={size}").status == "ok"
        newest = max((tmp_path / ".mlnb/runs").iterdir())
        cells = json.loads((newest / "one.ipynb").read_text())["cells"]
        told = "".join("".join(out.get("text", "")) for cell in cells for out in cell.get("outputs", ()))
        parents.add(int(told.split("child of ")[1]))
    assert len(parents) == 1
    assert psutil.pid_exists(*parents)
    kernel.close()
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in parents if psutil.pid_exists(pid)], timeout=20)
    assert alive == []


def test_run_shows_a_board_that_stays_and_leaves_the_namespace_alone(live, write_notebook, tmp_path):
    kernel = live(write_notebook(*SMALL))
    shown = kernel.run("%mlnb run -p size=5")
    assert shown.status == "ok"
    assert len(shown.data) == 1
    assert shown.data[0]["text/html"].count('data-state="done"') == 2
    assert "done" in shown.data[0]["text/plain"] and "size=5" in shown.data[0]["text/plain"]
    assert "ran" not in shown.text
    assert kernel.run("a").error["ename"] == "NameError"
    assert len(list((tmp_path / ".mlnb" / "runs").iterdir())) == 1


def test_a_failing_run_names_cell_and_line_and_stops_run_all(live, write_notebook):
    kernel = live(write_notebook("%%stage one\na = 1\na / 0"))
    shown = kernel.run("%mlnb run")
    assert shown.status == "error"
    assert "ZeroDivisionError" in shown.data[0]["text/plain"] and 'data-state="failed"' in shown.data[0]["text/html"]
    assert "Traceback" not in "".join(shown.error["traceback"])


def test_cells_that_are_not_saved_are_refused_by_name(live, write_notebook):
    path = write_notebook(*SMALL)
    kernel = live(path)
    kernel.run("%%stage two\nb = sum(a) + 1", cell="cell-3")
    shown = kernel.run("%mlnb run")
    assert shown.status == "error"
    assert "%%stage two" in str(shown.error["evalue"]) and "Save the notebook first" in str(shown.error["evalue"])
    os.utime(path, (time.time() + 5, time.time() + 5))
    assert kernel.run("%mlnb plan").status == "ok"


def test_a_refusal_is_two_sentences_and_an_error(live, write_notebook):
    kernel = live(write_notebook(*SMALL))
    shown = kernel.run("%mlnb run -p saiz=5")
    assert shown.status == "error"
    text = "".join(shown.error["traceback"])
    assert "saiz" in text and "size" in text and "Traceback" not in text
    assert kernel.run("%mlnb models show delays/1").error["ename"] == "UsageError"  # nothing was run here yet
    kernel.run("%mlnb run")
    assert kernel.run("%mlnb models show delays/1").error["ename"] == "RegistryError"


def test_interrupting_the_kernel_stops_the_run_and_leaves_a_consistent_state(live, write_notebook):
    kernel = live(write_notebook("%%stage one\na = 1", "%%stage two\nimport time\nb = a\ntime.sleep(600)"))
    request = kernel.client.execute("%mlnb run")
    while True:
        message = kernel.client.get_iopub_msg(timeout=240)
        html = message["content"].get("data", {}).get("text/html", "")
        if message["msg_type"] == "update_display_data" and "cell 2 (" in html:
            break
    kernel.manager.interrupt_kernel()
    shown = kernel.outputs(request)
    assert shown.status == "error"
    assert shown.error["ename"] in {"CancelledError", "RunError"}
    record = json.loads(kernel.run("%mlnb runs show last --json").text)
    assert record["state"] == "cancelled"
    assert [stage["state"] for stage in record["stages"]] == ["done", "cancelled"]


def test_under_a_headless_runner_deploy_says_one_line_and_does_nothing(new_kernel, write_notebook, tmp_path):
    path = write_notebook(MODEL, DEPLOY.format(10))
    kernel = new_kernel("--HistoryManager.hist_file=:memory:", env={"JPY_SESSION_NAME": str(path)})
    kernel.run("%load_ext mlnb")
    shown = kernel.run(DEPLOY.format(10))
    assert shown.status == "ok"
    assert len(shown.text.splitlines()) == 1 and "%%deploy does nothing here" in shown.text
    assert not (tmp_path / ".mlnb").exists()


def test_deploy_promote_and_monitor_from_the_notebook(live, write_notebook, spawn, tmp_path):
    deploy = DEPLOY.format(10)
    kernel = live(write_notebook(MODEL, deploy))
    try:
        shown = kernel.run(deploy, cell="cell-1")
        assert shown.status == "ok", shown.error
        text = shown.data[-1]["text/plain"]
        assert "delays/1 is new" in text and "running at http://127.0.0.1:" in text
        assert "delays: serve" in shown.data[-1]["text/html"]
        again = kernel.run(deploy, cell="cell-1")
        assert "nothing changed" in again.data[-1]["text/plain"]
        widget = kernel.run("%mlnb promote delays").data[-1]
        assert "application/vnd.jupyter.widget-view+json" in widget and "delays/1" in widget["text/html"]
        assert "No prediction of delays" in str(kernel.run("%mlnb monitor delays").error["evalue"])
        assert json.loads(kernel.run("%mlnb services list --json").text)[0]["state"] == "running"
        (tmp_path / "pyproject.toml").write_text('[tool.mlnb.retrain.delays]\nnotebook = "nb.ipynb"\n')
        retrained = spawn("retrain", "delays", "--once", "--reason", "look")
        assert "ended unchanged: The run made delays/1 again, the champion itself." in retrained.out
    finally:
        assert spawn("services", "stop", "delays").code == 0


def test_a_gate_that_fails_stops_run_all_and_says_by_how_much(live, write_notebook, spawn):
    deploy = DEPLOY.format(1000)
    kernel = live(write_notebook(MODEL, deploy))
    shown = kernel.run(deploy, cell="cell-1")
    assert shown.status == "error"
    assert shown.error["ename"] == "GateError"
    assert "1000" in str(shown.error["evalue"]) and "40" in str(shown.error["evalue"])
    assert spawn("services", "list", "--json").json() == []
