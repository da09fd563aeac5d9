"""`%mlnb runs debug` and `%mlnb verify` in a real kernel, as a person uses them; the runs are real ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

FAILING = (
    "%load_ext mlnb",
    ("size: int = 3", "parameters"),
    "import math\ndef scale(x):\n    y = x * 2 + offset\n    return 1 / (y - 6 - offset)",
    "%%stage one\na = list(range(size))\nclass_name = 'kept'",
    "%%stage two\npassword = 'hunter2hunter2'\noffset = 100\na.append(9)\ntotal = 0\nfor n in a:\n    total += scale(n)",
)


@pytest.fixture(scope="module")
def failed(tmp_path_factory, command):
    """A notebook whose second stage has failed, with other parameters than its own."""
    folder = tmp_path_factory.mktemp("failed")
    command.notebook(*FAILING, path=folder / "nb.ipynb")
    assert command.spawn("run", "nb.ipynb", "-p", "size=5", cwd=folder).code == 1
    return folder


@pytest.fixture
def live(new_kernel):
    """A kernel that belongs to a notebook, with the extension loaded."""

    def start(path: Path):
        kernel = new_kernel(env={"JPY_SESSION_NAME": str(path)})
        assert kernel.run(f"%cd -q {path.parent}").status == "ok"
        assert kernel.run("%load_ext mlnb", cell="load").status == "ok"
        return kernel

    return start


def test_a_person_stands_where_a_stage_failed_and_goes_back(failed, live, tmp_path):
    kernel = live(failed / "nb.ipynb")
    kernel.run("a = 'mine'\nsize = 5\nown = [1]")
    before = kernel.run("sorted(n for n in globals() if n[0] != '_')").text
    shown = kernel.run("%mlnb runs debug last two")
    assert shown.status == "ok", shown.error
    assert "You stand before the first cell of stage two" in shown.text and "ZeroDivisionError" in shown.text
    assert "a (from one)" in shown.text and "a was yours: 'mine' (str) became a list (list)" in shown.text
    assert "size was yours" not in shown.text
    assert "-->   7      total += scale(n)" in shown.text and "-->   4      return 1 / (y - 6 - offset)" in shown.text
    assert "not password: its name says that it is a secret" in shown.text
    # what the stage saw, and its functions live in the user's namespace
    assert kernel.run("a, size, math.floor(1.5)").data[0]["text/plain"] == "([0, 1, 2, 3, 4], 5, 1)"
    assert kernel.run("offset = 100\nscale(3)").error["ename"] == "ZeroDivisionError"
    # the frames, the innermost first
    told = "mlnb_frame.x, mlnb_frame['y'], sorted(mlnb_frame.outer), mlnb_frame.outer.a"
    assert kernel.run(told).data[0]["text/plain"] == "(3, 106, ['a', 'n', 'offset', 'total'], [0, 1, 2, 3, 4, 9])"
    assert "was not kept: its name says" in str(kernel.run("mlnb_frame.outer.password").error["evalue"])
    # with their names
    framed = kernel.run("%mlnb runs debug last two --frame")
    assert "You stand where stage two" in framed.text
    assert kernel.run("x, n, a").data[0]["text/plain"] == "(3, 3, [0, 1, 2, 3, 4, 9])"
    # and back: the user's own come again, what was bound goes
    assert "given back: " in kernel.run("%mlnb runs debug --back").text
    assert kernel.run("a, size, own, offset").data[0]["text/plain"] == "('mine', 5, [1], 100)"
    assert kernel.run("mlnb_frame").error["ename"] == "NameError"
    kernel.run("del offset")
    assert kernel.run("sorted(n for n in globals() if n[0] != '_')").text == before
    assert "stands in no stage" in str(kernel.run("%mlnb runs debug --back").error["evalue"])


def test_any_stage_of_any_run_may_be_stood_in_and_a_refusal_says_what_to_do(failed, live):
    kernel = live(failed / "nb.ipynb")
    assert kernel.run("%mlnb runs debug last one").status == "ok"
    assert kernel.run("size").data[0]["text/plain"] == "5"
    refused = kernel.run("%mlnb runs debug last one --frame")
    assert "No frame of stage 'one'" in str(refused.error["evalue"]) and "--frame" in str(refused.error["evalue"])
    assert "has no stage 'three'" in str(kernel.run("%mlnb runs debug last three").error["evalue"])
    assert {"one", "two"} <= set(kernel.complete("%mlnb runs debug last "))
    assert {"last", "last~1"} <= set(kernel.complete("%mlnb runs diff "))


HIDDEN = (
    "%load_ext mlnb",
    "%%stage one\nrows = [1.0, 2.0, 3.0]",
    "%%stage two --metrics score\nscore = sum(rows) / 10\nprint('score', score)",
)


def test_verify_tells_what_a_clean_run_does_not_share_and_stops_nobody(live, write_notebook):
    path = write_notebook(*HIDDEN)
    content = json.loads(path.read_text())
    content["cells"][2]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "score 0.7\n"}]
    content["cells"][2]["execution_count"] = 4
    path.write_text(json.dumps(content))
    kernel = live(path)
    kernel.run(HIDDEN[1], cell="cell-1")
    kernel.run("rows.append(4.0)", cell="gone")
    kernel.run(HIDDEN[2], cell="cell-2")
    shown = kernel.run("%mlnb verify")
    assert shown.status == "ok", shown.error
    text = shown.data[-1]["text/plain"]
    assert "rows.append(4.0) was executed and is no longer in the file; it gave rows." in text
    assert "`rows` (stage one) is not what a clean run gives: 3 items became 4." in text
    assert "`score` (stage two) is not what a clean run gives: 0.6 became 1.0 (+66.7 %)." in text
    assert "Cell 3 (stage two), output 1 (printed text): saved `score 0.7`, the clean run gave `score 0.6`" in text
    kernel.run(HIDDEN[1], cell="cell-1")
    kernel.run(HIDDEN[2], cell="cell-2")
    text = kernel.run("%mlnb verify --tolerance 0.2").data[-1]["text/plain"]
    assert "2 of 2 values that stages give are what a clean run gives." in text
    assert "1 of 1 checks are reproducible" in text


def test_a_cell_that_makes_stages_stale_says_so_in_one_line_and_can_be_told_not_to(live, write_notebook):
    kernel = live(write_notebook(*HIDDEN))
    for number in (1, 2):
        assert kernel.run(HIDDEN[number], cell=f"cell-{number}").data == []
    assert kernel.run(HIDDEN[1], cell="cell-1").data == []
    shown = kernel.run("%%stage one\nrows = [5.0]", cell="cell-1")
    (hint,) = shown.data
    assert hint["text/plain"].startswith("mlnb: two is stale") and len(hint["text/plain"].splitlines()) == 1
    assert 'class="mlnb-hint"' in hint["text/html"]
    kernel.run(HIDDEN[2], cell="cell-2")
    assert kernel.run("%mlnb verify --warn off").status == "ok"
    assert kernel.run("%%stage one\nrows = [6.0]", cell="cell-1").data == []
    kernel.run(HIDDEN[2], cell="cell-2")
    assert kernel.run("%mlnb verify --warn on").status == "ok"
    assert len(kernel.run("%%stage one\nrows = [7.0]", cell="cell-1").data) == 1
    assert "`on` or `off`" in str(kernel.run("%mlnb verify --warn maybe").error["evalue"])
