"""`mlnb runs list`, `logs`, `diff`, `debug` on real runs, and `mlnb verify` on notebooks that were saved by a kernel."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

CELLS = (
    ("size: int = 4\nscale: float = 1.0", "parameters"),
    "def weigh(x):\n    return x * scale",
    "%%stage prepare\nlines = open('rows.txt').read().split()\nrows = [float(line) for line in lines[:size]]",
    "%%stage train --metrics score\nmodel = {'weights': [weigh(x) for x in rows]}\nscore = sum(model['weights']) / size\nprint('score', score)",
)


@pytest.fixture(scope="module")
def two(tmp_path_factory, command):
    """A project with two runs: other data, another parameter, another line of code; and a third that failed."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "rows.txt").write_text("1 2 3 4 5")
    command.notebook(*CELLS, path=folder / "nb.ipynb")
    assert command.spawn("run", "nb.ipynb", cwd=folder).code == 0
    (folder / "rows.txt").write_text("1 2 3 4.5 5")
    command.notebook(*CELLS[:-1], CELLS[-1].replace("/ size", "/ len(rows)"), path=folder / "nb.ipynb")
    assert command.spawn("run", "nb.ipynb", "-p", "scale=2", cwd=folder).code == 0
    command.notebook("%%stage bad\nx = 1\nx / 0", path=folder / "other.ipynb")
    assert command.spawn("run", "other.ipynb", cwd=folder).code == 1
    return folder


def test_runs_are_filtered_by_notebook_state_and_number(two, mlnb):
    every = mlnb("runs", "list", "--json", cwd=two).json()
    assert [run["notebook"] for run in every] == ["other.ipynb", "nb.ipynb", "nb.ipynb"]
    for words, kept in (
        (("--notebook", "nb.ipynb"), every[1:]),
        (("--notebook", str(two / "other.ipynb")), every[:1]),
        (("--state", "failed"), every[:1]),
        (("-n", "2"), every[:2]),
        (("--state", "done", "-n", "1"), every[1:2]),
    ):
        assert mlnb("runs", "list", "--json", *words, cwd=two).json() == kept
    assert mlnb("runs", "list", "--state", "broken", cwd=two).code == 2


def test_a_run_is_known_by_its_place_and_by_the_beginning_of_its_id(two, mlnb):
    every = [run["id"] for run in mlnb("runs", "list", "--json", cwd=two).json()]
    for word, id in (("last", every[0]), ("last~1", every[1]), ("last~2", every[2]), (every[1][:-2], every[1])):
        assert mlnb("runs", "show", word, "--json", cwd=two).json()["id"] == id
    for word in ("last~3", every[0][:4], "no-such"):
        refused = mlnb("runs", "show", word, cwd=two)
        assert refused.code == 2 and len(refused.err.splitlines()) == 2, refused.err


def test_a_difference_names_parameters_code_data_metrics_and_outputs(two, mlnb):
    told = mlnb("runs", "diff", "last~2", "last~1", "--json", cwd=two).json()
    assert [(one["name"], one["before"], one["after"]) for one in told["parameters"]] == [("scale", 1.0, 2.0)]
    assert [one["name"] for one in told["data"]] == ["rows.txt"]
    assert told["environment"] == []
    assert told["metrics"] == [{"name": "score", "before": 2.5, "after": 5.25, "difference": 2.75}]
    (code,) = told["code"]
    assert code["stage"] == "train"
    assert "-score = sum(model['weights']) / size" in code["diff"]
    assert "+score = sum(model['weights']) / len(rows)" in code["diff"]
    outputs = {f"{one['stage']}.{one['name']}": one["how"] for one in told["outputs"]}
    assert outputs["prepare.rows"] == "[3]: 4.0 became 4.5 (+12.5 %)"
    assert outputs["train.score"] == "2.5 became 5.25 (+110 %)"
    because = {one["stage"]: set(one["because"]) for one in told["stages"]}
    assert because["prepare"] == {"files"}
    assert {"code", "parameters", "inputs"} <= because["train"]
    text = mlnb("runs", "diff", "last~2", "last~1", cwd=two).out
    assert "scale: 1.0 -> 2.0" in text and "  prepare: other files" in text
    assert "train.score" not in text, "the metric above says it"
    assert "+score = sum(model['weights']) / len(rows)" in text


def test_a_run_does_not_differ_from_itself(two, mlnb):
    text = mlnb("runs", "diff", "last~1", "last~1", cwd=two).out
    assert "Nothing differs" in text and len(text.splitlines()) == 2


def test_in_a_terminal_debugging_says_where_it_failed_and_how_to_stand_there(two, mlnb):
    said = mlnb("runs", "debug", cwd=two)
    assert said.code == 0
    assert "-->   3  x / 0" in said.out and "cell 1, line 3: x" in said.out
    assert "%mlnb runs debug " in said.out and "ipython --ext=mlnb -i -c" in said.out
    assert mlnb("runs", "debug", "--json", cwd=two).json()["fault"]["ename"] == "ZeroDivisionError"
    nothing = mlnb("runs", "debug", "last~1", cwd=two)
    assert nothing.code == 2 and "has failed" in nothing.err and "prepare, train" in nothing.err
    command = next(line for line in said.out.splitlines() if "ipython" in line).partition(": ")[2].strip()
    words = command.split(" ", 4)
    ran = subprocess.run(
        [
            str(Path(sys.executable).parent / "ipython"),
            "--ext=mlnb",
            "--simple-prompt",
            "--quick",
            "-c",
            f"{words[4].strip(chr(39))} --frame\nprint('x is', x)",
        ],
        cwd=two,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "x is 1" in ran.stdout, ran.stdout + ran.stderr


def test_a_followed_run_is_told_cell_by_cell_until_it_ends(command, tmp_path):
    gate = tmp_path / "gate"
    wait = "import pathlib, time\nwhile not pathlib.Path('gate').exists():\n    time.sleep(0.05)"
    command.notebook(
        "%%stage one\na = 1\nprint('first')", f"%%stage one\n{wait}\nprint('second')", path=tmp_path / "nb.ipynb"
    )
    base = [sys.executable, "-P", "-m", "mlnb"]
    with subprocess.Popen(
        [*base, "run", "nb.ipynb"], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as run:
        try:
            while not list((tmp_path / ".mlnb" / "runs").glob("*/run.json")):
                assert run.poll() is None
                time.sleep(0.1)
            follow = subprocess.Popen(
                [*base, "runs", "logs", "-f", "--json"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
            )
            left = subprocess.Popen([*base, "runs", "logs", "-f"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
            with follow, left:
                assert json.loads(follow.stdout.readline()) == {"stage": "one", "cell": 1, "text": "first\n"}
                assert left.stdout.readline() == "--- one, cell 1\n"
                left.send_signal(signal.SIGINT)
                assert left.wait(timeout=60) == 0
                gate.touch()
                assert json.loads(follow.stdout.readline()) == {"stage": "one", "cell": 2, "text": "second\n"}
                assert follow.wait(timeout=120) == 0
        finally:
            gate.touch()
        assert run.wait(timeout=120) == 0


def _saved(path: Path, outputs: dict[int, list[dict[str, object]]], tags: dict[int, str] | None = None) -> None:
    """Put outputs into a notebook, as if a front end had saved it; cells are counted from 1."""
    content = json.loads(path.read_text())
    for number, made in outputs.items():
        content["cells"][number - 1] |= {"outputs": made, "execution_count": number}
    for number, tag in (tags or {}).items():
        content["cells"][number - 1]["metadata"]["tags"] = [tag]
    path.write_text(json.dumps(content))


def _printed(text: str) -> dict[str, object]:
    return {"output_type": "stream", "name": "stdout", "text": text}


SAVED = (
    "%%stage one\nvalue = 0.8125\nprint('value', value, 'at 0x7f3a5c1e8d60')",
    "%%stage two\nimport sys\nprint('warned', file=sys.stderr)\nvalue * 2",
    "%%stage three\nimport time\nprint(time.time_ns())\nlast = value",
    "value + 1",
    "%%stage four\nprint('skipped', time_of_day := 4)",
)


def _result(text: str) -> dict[str, object]:
    return {"output_type": "execute_result", "execution_count": 2, "metadata": {}, "data": {"text/plain": text}}


def test_verify_passes_where_the_outputs_come_again_and_says_what_it_did_not_compare(command, tmp_path, mlnb):
    path = command.notebook(*SAVED, path=tmp_path / "nb.ipynb")
    outputs = {
        1: [_printed("value  0.81250001 at 0x7fffffffff\n")],
        2: [_result("1.625")],
        3: [_printed("1\n")],
        4: [_result("1.8125")],
        5: [_printed("other\n")],
    }
    _saved(path, outputs, {3: "nbval-ignore-output", 5: "nbval-skip"})
    told = mlnb("verify", "nb.ipynb", "--json", "--junitxml", "out.xml")
    assert told.code == 0, told.out
    checks = {check["cell"]: (check["state"], check["reason"]) for check in told.json()["checks"]}
    assert checks == {
        1: ("same", ""),
        2: ("same", ""),
        3: ("not compared", "it is tagged so"),
        4: ("not compared", "it did not run in the pipeline"),
        5: ("not compared", "it is tagged so"),
    }
    root = ET.parse(tmp_path / "out.xml").getroot()
    assert (root.get("tests"), root.get("failures"), root.get("skipped")) == ("5", "0", "3")
    outputs[1] = [_printed("value 0.81 at 0x7fffffffff\n")]
    outputs[2] = []
    _saved(path, outputs)
    failed = mlnb("verify", "nb.ipynb", "--junitxml", "out.xml")
    assert failed.code == 1
    assert (
        "✗ Cell 1 (stage one), output 1 (printed text): saved `value 0.81 at 0x…`, the clean run gave "
        "`value 0.8125 at 0x…`: 0.81 became 0.8125 (+0.309 %)." in failed.out
    )
    assert "✗ Cell 2 (stage two), output 1 (display): nothing saved, the clean run gave `1.625`" in failed.out
    assert "2 of 2 checks are not reproducible" in failed.out
    assert ET.parse(tmp_path / "out.xml").getroot().get("failures") == "2"
    assert mlnb("verify", "nb.ipynb", "--tolerance", "0.01").out.count("✗") == 1


def test_verify_tells_of_a_failing_stage_and_of_metrics_that_do_not_come_again(command, tmp_path, mlnb):
    command.notebook(
        "%%stage one --metrics score\nimport time\nscore = time.time_ns() % 1_000_003", path=tmp_path / "nb.ipynb"
    )
    assert mlnb("verify", "nb.ipynb").code == 0  # the first run: there is nothing to compare with
    told = mlnb("verify", "nb.ipynb", "--force", "--json")
    assert told.code == 1
    (metric,) = [check for check in told.json()["checks"] if check["name"] == "metric score"]
    assert metric["state"] == "differs" and "Metric score (stage one): run " in metric["problems"][0]
    command.notebook("%%stage one\n1 / 0", "%%stage two\ny = 1", path=tmp_path / "nb.ipynb")
    failed = mlnb("verify", "nb.ipynb")
    assert failed.code == 1 and "✗ Stage 'one' failed in cell 1, line 2: ZeroDivisionError" in failed.out


def test_a_notebook_without_outputs_has_nothing_to_verify(command, tmp_path, mlnb):
    command.notebook("%%stage one\nprint(1)", path=tmp_path / "nb.ipynb")
    told = mlnb("verify", "nb.ipynb")
    assert told.code == 0 and "nothing that was saved could be compared" in told.out
    assert "it was saved without outputs: cell 1" in told.out


def test_verify_honours_a_cell_that_is_tagged_to_raise_and_runs_what_follows(command, tmp_path, mlnb):
    path = command.notebook(
        "%%stage one\nx = {}\nx['a']",
        "%%stage one\ny = 1\nprint('after', y)",
        "%%stage two\ny",
        path=tmp_path / "nb.ipynb",
    )
    error = {"output_type": "error", "ename": "KeyError", "evalue": "'a'", "traceback": ["elsewhere"]}
    _saved(path, {1: [error], 2: [_printed("after 1\n")]}, {1: "raises-exception"})
    told = mlnb("verify", "nb.ipynb", "--json")
    assert told.code == 0, told.out
    assert [check["state"] for check in told.json()["checks"]] == ["same", "same", "not compared"]
    content = json.loads(path.read_text())
    content["cells"][0]["source"] = "%%stage one\nx = {'a': 1}\nx['a']"
    path.write_text(json.dumps(content))
    told = mlnb("verify", "nb.ipynb")
    assert told.code == 1 and "Cell 1 (stage one) is tagged to raise an exception, and raised none." in told.out
    content["cells"][0] |= {"source": "%%stage one\nx = {}\nx['a']", "metadata": {}}
    path.write_text(json.dumps(content))
    assert "Stage 'one' failed in cell 1, line 3: KeyError" in mlnb("verify", "nb.ipynb").out  # not from the cache


def test_verify_looks_for_what_makes_results_look_better_than_they_are(command, tmp_path, mlnb):
    leaky = (
        "%%stage one\nimport numpy as np\nfrom sklearn.linear_model import LogisticRegression\n"
        "X = np.arange(80.0).reshape(40, 2)\ny = X[:, 0] > 30\nmodel = LogisticRegression().fit(X, y)\n"
        "score = model.score(X[:10], y[:10])"
    )
    command.notebook(leaky, path=tmp_path / "nb.ipynb")
    told = mlnb("verify", "nb.ipynb", "--honesty", "--json", "--junitxml", "out.xml")
    assert told.code == 1, told.out + told.err
    assert told.json()["reproducible"] and "shared rows" in [one["check"] for one in told.json()["findings"]]
    assert ET.parse(tmp_path / "out.xml").getroot().find(".//failure[@type='NotHonest']") is not None
