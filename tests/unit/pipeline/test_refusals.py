"""Every notebook that cannot be a pipeline is refused with the cell, the name and the remedy."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mlnb.errors import MarkError, NotebookError, PlanError
from mlnb.pipeline.graph import Pipeline

Plan = Callable[..., Pipeline]
STAGE = "%%stage a\nx = 1"


@pytest.mark.parametrize(
    ("cells", "cell", "name", "problem", "remedy"),
    [
        pytest.param(
            [STAGE, "%%stage b\n\nprint(frame)"],
            2,
            "frame",
            "Stage `b` (cell 2, line 3) needs `frame`, which nobody gives.",
            "Bind it in a stage above",
            id="nobody gives it",
        ),
        pytest.param(
            ["%%stage a\nframe = 1", "%%stage b\nprint(frme)"],
            2,
            "frme",
            "needs `frme`, which nobody gives",
            "Did you mean `frame`?",
            id="misspelt",
        ),
        pytest.param(
            ["df = dict(a=input())", STAGE, "%%stage b\nprint(df)"],
            3,
            "df",
            "Stage `b` (cell 3, line 2) needs `df`, which only exploration gives (cell 1).",
            "Mark cell 1 as a stage (`%%stage NAME`), or as `%%setup`",
            id="only exploration",
        ),
        pytest.param(
            ["def show():\n    return palette", "palette = print(1)", "%%stage a\nshow()"],
            3,
            "palette",
            "needs `palette`, which only exploration gives (cell 2)",
            "Mark cell 2",
            id="only exploration, through a function of setup",
        ),
        pytest.param(
            ["%%stage a\nprint(y)", "%%stage b\ny = 1"],
            1,
            "y",
            "Stage `a` (cell 1, line 2) needs `y`, which only stage `b` gives, below it (cell 2).",
            "Move cell 2 above cell 1.",
            id="only below",
        ),
        pytest.param(
            [STAGE, "%%test a\nz = 1\nassert x", "%%stage b\nprint(z)"],
            3,
            "z",
            "needs `z`, which only the tests of `a` bind (cell 2)",
            "tests give nothing",
            id="only a test",
        ),
        pytest.param(
            ["%%stage a --outputs x\nx = y = 1", "%%stage b\nprint(y)"],
            2,
            "y",
            "needs `y`, which stage `a` binds (cell 1) but does not list in `--outputs`",
            "Add `y` to `--outputs` of stage `a`.",
            id="not listed in outputs",
        ),
        pytest.param(
            ["%%stage a --outputs x,yy\nx = y = 1"],
            1,
            "yy",
            "Stage `a` (cell 1) lists `yy` in `--outputs`, but does not bind it.",
            "Did you mean `y`?",
            id="outputs that are not bound",
        ),
        pytest.param(
            ["%%stage a --metrics aux\nauc = 1"],
            1,
            "aux",
            "lists `aux` in `--metrics`, but does not bind it",
            "Did you mean `auc`?",
            id="metrics that are not bound",
        ),
        pytest.param(
            ["%%stage a\nx = 1", "%%stage b\ny = x", "%%stage a\nprint(y)"],
            3,
            "y",
            "The stages `a` (cells 1, 3) and `b` (cell 2) need each other: `a` takes `y` from `b`, `b` takes `x` from `a`.",
            "Give cell 3 a stage of its own, or move it above what it needs.",
            id="cycle",
        ),
        pytest.param(
            ["%%stage a\nx = [1]", "%%stage b\nx.append(2)", "%%stage a\nprint(x)"],
            3,
            "x",
            "need each other: `a` takes `x` from `b`, `b` takes `x` from `a`",
            "Give cell 3 a stage of its own",
            id="cycle through a change",
        ),
        pytest.param(
            [("x = 1", ["step:a", "prev:b"]), ("y = 1", ["step:b", "prev:a"])],
            2,
            "",
            "need each other: `a` is after `b`, `b` is after `a`",
            "Correct their order",
            id="cycle of Kale's tags",
        ),
        pytest.param(
            ["%%stage a\nx = 1", "%%stage b\nx = 2", "%%stage c\nprint(x)"],
            3,
            "x",
            "Stage `c` (cell 3, line 2) needs `x`, and stages `a` (cell 1) and `b` (cell 2) both give it on parallel "
            "branches.",
            "Rename `x` in one of them, or order them: `%%stage b --after a`.",
            id="two writers",
        ),
        pytest.param(
            ["%%stage s\nx = [1]", "%%stage a\nx.append(1)", "%%stage b --after s\nx = x + [2]", "%%stage c\nprint(x)"],
            4,
            "x",
            "stages `a` (cell 2) and `b` (cell 3) both give it on parallel branches",
            "%%stage b --after a",
            id="two writers below a common one",
        ),
        pytest.param(
            ["%%stage a\nx = 1", "%%stage b\nx = 2", "%%stage a\nprint(x)"],
            3,
            "x",
            "stages `a` (cell 1) and `b` (cell 2) both give it on parallel branches",
            "Rename `x`",
            id="two writers, one of them the reader",
        ),
        pytest.param(
            ["from os import *", STAGE], 1, "*", "Setup has `import *` in cell 1, line 1", "Import the names", id="star"
        ),
        pytest.param(
            ["%%stage a\nx = 1\nfrom os import *"],
            1,
            "*",
            "Stage `a` (cell 1) has `import *` in cell 1, line 3",
            "Import the names",
            id="star in a stage",
        ),
        pytest.param(
            ["%%setup\nprint(x)", STAGE],
            1,
            "x",
            "Setup (cell 1, line 2) needs `x`, which only stage `a` gives (cell 2); setup runs before all stages.",
            "Make cell 1 a stage",
            id="setup that needs a stage",
        ),
        pytest.param(
            ["%%setup\nprint(zzz)", STAGE],
            1,
            "zzz",
            "Setup (cell 1, line 2) needs `zzz`, which nobody",
            "Bind",
            id="setup",
        ),
        pytest.param(
            ["RATE = 1", "%%stage a\nx = RATE", "RATE = 2"],
            3,
            "RATE",
            "Stage `a` (cell 2) uses `RATE`, which the setup cells 1 and 3 define differently.",
            "tag cell 3 `skip`",
            id="setup that differs below",
        ),
        pytest.param(
            [("n = 1", ["parameters"]), "n = 2", "%%stage a\nx = n"],
            2,
            "n",
            "Cell 2 is setup and binds the parameter `n` of cell 1 again, so `-p n=...` would have no effect.",
            "Rename `n` in cell 2",
            id="setup that rebinds a parameter",
        ),
        pytest.param(
            [("n = 1\nm = n * 2", ["parameters"]), STAGE],
            1,
            "n",
            "Cell 1 computes `m` from the parameter `n` inside the parameters cell",
            "Move the line to another cell",
            id="computed parameter",
        ),
        pytest.param(
            [("n: int = 'a'", ["parameters"]), STAGE],
            1,
            "n",
            "Cell 1 annotates the parameter `n` as int, but its default is 'a'.",
            "agree",
            id="contradictory parameter",
        ),
        pytest.param(
            ["%%stage a\ndef f():\n    return free", "%%stage b\nf()"],
            2,
            "free",
            "takes the function `f` from stage `a`, and `f` reads `free`, which nobody gives to `a`",
            "Pass `free` to `f` as an argument",
            id="function without its globals",
        ),
        pytest.param(
            [STAGE, "%%deploy m --model model --sample x"],
            2,
            "model",
            "The deploy of `m` (cell 2, `--model`) needs `model`, which nobody gives.",
            "Bind it in a stage",
            id="deploy of nothing",
        ),
        pytest.param(
            ["LIMIT = 3", STAGE, "%%deploy m --model x --sample LIMIT"],
            3,
            "LIMIT",
            "takes `LIMIT`, which no stage gives: it is setup",
            "Bind `LIMIT` in a stage.",
            id="deploy of setup",
        ),
        pytest.param(
            [STAGE, "%%deploy m --model x --sample x --gate 'auc is fine'"],
            2,
            "auc is fine",
            "Cell 2 has the gate `auc is fine`, which does not compare a name with a number.",
            'Write it as in `--gate "auc >= 0.80"`.',
            id="gate that compares nothing",
        ),
        pytest.param(
            ["%%stage a\nx = auc = 1", "%%deploy m --model x --sample x --gate 'acu > 1'"],
            2,
            "acu",
            "Cell 2 has a gate on `acu`, which no stage gives.",
            "Did you mean `auc`?",
            id="gate on nothing",
        ),
        pytest.param(
            ["%%stage a\nx = auc = 1", "%%stage b\nauc = x", "%%deploy m --model x --sample x --gate 'auc > 1'"],
            3,
            "auc",
            "Cell 3 has a gate on `auc`, which 2 stages give: `a`, `b`.",
            "Say which one: `a.auc`, `b.auc`.",
            id="gate on two",
        ),
        pytest.param(
            ["%%stage train\nx = auc = 1", "%%deploy m --model x --sample x --gate 'trian.auc > 1'"],
            2,
            "auc",
            "and there is no stage `trian`",
            "Did you mean `train.auc`?",
            id="gate on no stage",
        ),
        pytest.param(
            ["%%stage train\nx = auc = 1", "%%deploy m --model x --sample x --gate 'train.acu > 1'"],
            2,
            "acu",
            "which stage `train` does not give",
            "Did you mean `train.auc`?",
            id="gate on what its stage does not give",
        ),
        pytest.param(
            [("x = 1", ["step:a"]), ("print(auc)", ["pipeline-metrics"])],
            2,
            "auc",
            "The metrics (cell 2) needs `auc`, which nobody gives.".replace("needs", "needs"),
            "Bind",
            id="Kale metrics of nobody",
        ),
    ],
)
def test_what_cannot_be_a_pipeline_is_refused(
    plan: Plan, cells: list[object], cell: int, name: str, problem: str, remedy: str
) -> None:
    with pytest.raises(PlanError) as refused:
        plan(*cells)
    error = refused.value
    assert problem in error.problem
    assert remedy in error.remedy
    assert (error.cell, error.name) == (cell, name)
    assert error.exit_code == 2


@pytest.mark.parametrize(
    ("cells", "cell", "problem", "remedy"),
    [
        (
            ["%%stage a --metrics x\nx = 1", "md:text", "%%stage a --metrics y\ny = 1"],
            3,
            "Stage `a` (cells 1, 3) says `metrics: x` (cell 1) and `metrics: y` (cell 3).",
            "Say it once",
        ),
        (["%%stage train\nx = 1", "%%test trian\nassert x"], 2, "Cell 2 tests `trian`", "Did you mean `train`?"),
        (["%%stage a --after bb\nx = 1", "%%stage b\ny = 1"], 1, "Cell 1 comes after `bb`", "Did you mean `b`?"),
        (
            [("x = 1", ["step:a", "prev:zz"])],
            1,
            "Cell 1 comes after `zz`, and there is no such stage",
            "stages are `a`",
        ),
        (["%%test\nassert True", STAGE], 1, "Cell 1 is a `%%test` without a name", "Name the stage"),
        (
            [STAGE, "%%stage test-a\ny = 1", "%%test a\nassert x"],
            3,
            "the name of a stage and of the tests",
            "another name",
        ),
        (
            [STAGE, "%%deploy m --model x --sample x", "%%deploy m --model x --sample x"],
            3,
            "Cells 2 and 3 both deploy `m`.",
            "Keep one",
        ),
        (["%%stge a\nx = 1"], 1, "Cell 1 has an unknown mark `%%stge`.", "Did you mean `%%stage`?"),
    ],
)
def test_marks_that_do_not_fit_together_are_refused(
    plan: Plan, cells: list[object], cell: int, problem: str, remedy: str
) -> None:
    with pytest.raises(MarkError) as refused:
        plan(*cells)
    assert problem in refused.value.problem
    assert remedy in refused.value.remedy
    assert refused.value.cell == cell


@pytest.mark.parametrize(
    "cells", [[], ["x = 1"], ["md:text", "%%setup\nimport os"], ["%%deploy m --model a --sample b"]]
)
def test_a_notebook_without_a_stage_is_refused(plan: Plan, cells: list[str]) -> None:
    with pytest.raises(PlanError) as refused:
        plan(*cells)
    assert refused.value.problem == "nb.ipynb has no stage."
    assert "%%stage train" in refused.value.remedy


@pytest.mark.parametrize(
    ("cells", "cell", "line"),
    [
        (["%%stage a\nx = 1\ny = = 2"], 1, 3),
        (["md:text", "%%stage a\nx = 1", "unfinished("], 3, 1),
        (["%%stage a\n%%time\n\nx = (1"], 1, 4),
        (["%%stage a\nreturn 1"], 1, 2),
    ],
)
def test_a_syntax_error_is_told_with_cell_and_line(plan: Plan, cells: list[str], cell: int, line: int) -> None:
    with pytest.raises(NotebookError) as refused:
        plan(*cells)
    assert f"Cell {cell} has a syntax error in line {line}" in refused.value.problem
    assert (refused.value.cell, refused.value.line) == (cell, line)
    assert refused.value.remedy == "Correct the cell, or tag it `skip`."


def test_a_repeated_stage_may_repeat_its_options(plan: Plan) -> None:
    pipeline = plan(
        "%%stage a --metrics x\nx = 1", "%%stage a --metrics x --slices s\nimport mlnb\ny = mlnb.evaluate([x], [x])"
    )
    assert pipeline.stage("a").slices == ("s",)
