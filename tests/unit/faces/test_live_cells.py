"""Marked cells in a real kernel beside the same cells without a mark: they differ in nothing but the mark."""

from __future__ import annotations

import ast
import re

import pytest

CELLS = {
    "the last expression": "x = 41\nx + 1",
    "output": "print('one')\nimport sys\nprint('two', file=sys.stderr)",
    "rich display": "from IPython.display import HTML, display\ndisplay(HTML('<b>1</b>'))\nHTML('<i>2</i>')",
    "top-level await": "import asyncio\nawait asyncio.sleep(0, 'slept')",
    "a line magic": "y = 3\n%who_ls int",
    "a shell command": "!echo from the shell",
    "assigned magic": "z = !echo kept\nz",
    "a suppressed result": "5;",
    "a nested cell magic": "%%capture caught\nprint('into the variable')",
    "a nested cell magic below a blank line": "\n%%capture caught\nprint('into the variable')",
    "a string that looks like a mark": "text = '''\n%%stage inner\n'''\ntext",
    "help": "len?",
}
FAULTS = {
    "an error": "a = 1\nb = 0\na / b",
    "an error in a function": "def f():\n    return missing\n\nf()",
    "a syntax error": "a = 1\nb = = 2",
    "an error after await": "import asyncio\nawait asyncio.sleep(0)\nraise KeyError('late')",
}
MARKS = ("%%stage train", "%%stage train --metrics auc", "%%setup", "#| stage: train")


def _comparable(outputs: list[dict[str, object]]) -> list[dict[str, object]]:
    """Drop what must differ: prompt numbers and the file name that holds them, in tracebacks."""
    ansi = re.compile(r"\x1b\[[0-9;]*m")
    kept = []
    for output in outputs:
        one = {key: value for key, value in output.items() if key not in {"execution_count", "transient"}}
        if "traceback" in one:
            text = ansi.sub("", "\n".join(map(str, one["traceback"])))  # type: ignore[call-overload]
            one["traceback"] = re.sub(r"(In|Cell In)\s?\[\d+\]", "In[n]", text)
            one["evalue"] = re.sub(r"\d+\.py", "n.py", str(one["evalue"]))
        kept.append(one)
    return kept


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("code", CELLS.values(), ids=CELLS)
def test_a_marked_cell_shows_what_the_plain_cell_shows(kernel, code, mark):
    plain, marked = kernel.run(code), kernel.run(f"{mark}\n{code}")
    assert marked.status == plain.status == "ok"
    assert _comparable(marked.outputs) == _comparable(plain.outputs)


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("code", FAULTS.values(), ids=FAULTS)
def test_a_marked_cell_fails_as_the_plain_cell_does_in_the_same_line(kernel, code, mark):
    comment = f"# {mark}" if mark.startswith("%%") else mark
    plain, marked = kernel.run(f"{comment}\n{code}"), kernel.run(f"{mark}\n{code}")
    assert marked.status == plain.status == "error"
    assert _comparable([marked.error]) == _comparable([plain.error])


def test_names_of_a_stage_live_in_the_users_namespace(kernel):
    kernel.run("%%stage prepare\nrows = [1, 2, 3]")
    assert kernel.run("sum(rows)").data[0]["text/plain"] == "6"


def test_a_mark_alone_runs(kernel):
    assert kernel.run("%%stage empty").status == "ok"
    assert kernel.run("%%setup").status == "ok"


def test_a_misspelt_option_is_refused_in_two_sentences_and_runs_nothing(kernel):
    kernel.run("ran = False")
    shown = kernel.run("%%stage train --metric auc\nran = True")
    assert shown.status == "error"
    assert shown.error["ename"] == "MarkError"
    assert "--metrics" in "".join(shown.error["traceback"])
    assert "Traceback" not in "".join(shown.error["traceback"])
    assert kernel.run("ran").data[0]["text/plain"] == "False"


def test_the_help_of_a_mark_says_what_it_does(kernel):
    reply = kernel.client.inspect("%%stage", reply=True, timeout=30)
    assert "Make this cell a stage of the pipeline" in reply["content"]["data"]["text/plain"]


def test_a_mark_called_as_a_magic_runs_its_cell(kernel):
    assert kernel.run("get_ipython().run_cell_magic('stage', 'train', 'called = 5')").status == "ok"
    assert kernel.run("called").data[0]["text/plain"] == "5"


def test_a_test_cell_calls_its_functions_and_lists_them(kernel):
    shown = kernel.run(
        "%%test train\nassert 1\ndef test_good():\n    assert True\nasync def test_soon():\n    assert True"
    )
    assert shown.status == "ok"
    assert shown.data[0]["text/plain"].splitlines() == ["✓ test_good", "✓ test_soon"]
    assert shown.data[0]["text/html"].count('data-state="done"') == 2


def test_a_failing_test_function_is_an_error_that_names_its_line(kernel):
    shown = kernel.run(
        "%%test train\ndef test_good():\n    pass\n\ndef test_bad():\n    assert 1 == 2, 'one is not two'"
    )
    assert shown.status == "error"
    assert "✗ test_bad  AssertionError: one is not two (line 6)" in shown.data[0]["text/plain"]
    assert shown.error["evalue"].startswith("1 of 2 tests of train failed: test_bad.")
    assert "Traceback" not in "".join(shown.error["traceback"])


def test_functions_of_an_unmarked_cell_are_not_called(kernel):
    assert kernel.run("def test_bad():\n    assert False").outputs == []


def test_the_state_of_stages_is_noted(kernel):
    kernel.run("%%stage noted\n1", cell="n1")
    kernel.run("%%stage broken\n1/0", cell="n2")
    kernel.run("%%test noted\nassert True", cell="n3")
    code = "from mlnb.faces.magics import _LOADED\n_LOADED[get_ipython()].cells.states()"
    states = ast.literal_eval(kernel.run(code).data[0]["text/plain"])
    assert (states["noted"], states["broken"], states["test-noted"]) == ("done", "failed", "done")
    kernel.run("%%stage broken\n1", cell="n2")
    assert ast.literal_eval(kernel.run(code).data[0]["text/plain"])["broken"] == "done"


def test_unloading_gives_the_kernel_back_as_it_was(new_kernel):
    kernel = new_kernel()
    count = "len(get_ipython().input_transformers_cleanup), len(get_ipython().events.callbacks['post_run_cell'])"
    before = kernel.run(count).data
    kernel.run("%load_ext mlnb")
    assert kernel.run("%%stage train\n1").status == "ok"
    kernel.run("%reload_ext mlnb")
    assert kernel.run("%%stage train\n1").status == "ok"
    kernel.run("%unload_ext mlnb")
    assert kernel.run(count).data == before
    assert "Cell magic `%%stage` not found" in kernel.run("%%stage train\n1").text


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("%%stage train --", ["--metrics", "--slices", "--inputs", "--outputs", "--after"]),
        ("%%deploy delays --ga", ["--gate"]),
        ("%mlnb pro", ["promote"]),
        ("%mlnb models li", ["list", "lineage"]),
        ("x = 1\n%mlnb run --ju", ["--junitxml"]),
        ("%mlnb promote delays/1 prod", ["production"]),
    ],
)
def test_tab_offers_what_can_be_typed(kernel, typed, offered):
    assert set(offered) <= set(kernel.complete(typed))
