"""Names that a plan cannot simply read: those of builtins that somebody binds, and those of code that is not there."""

from __future__ import annotations

from collections.abc import Callable

from mlnb.pipeline.graph import Input, Pipeline

Plan = Callable[..., Pipeline]


def test_a_stage_that_binds_a_builtins_name_gives_it_to_those_that_read_it(plan: Plan) -> None:
    pipeline = plan("%%stage a\nsum = [1]", "%%stage b\nx = sum", "%%stage c\nx = max([1])")
    assert pipeline.stage("b").inputs == (Input("sum", "a"),)
    assert pipeline.stage("c").inputs == ()


def test_a_parameter_with_a_builtins_name_reaches_the_stage_that_reads_it(plan: Plan) -> None:
    pipeline = plan(("max = 3", ["parameters"]), "%%stage a\nx = max + 1", "%%stage b\ny = 1")
    assert pipeline.stage("a").parameters == ("max",)
    assert pipeline.stage("b").parameters == ()


def test_a_stage_that_changes_a_view_part_or_loop_item_gives_what_holds_it(plan: Plan) -> None:
    pipeline = plan(
        "%%stage load\ntrain, test = {}, {}",
        "%%stage widen\nfor frame in (train, test):\n    frame['x'] = 1",
        "%%stage fit\nmodel = len(train) + len(test)",
    )
    assert pipeline.stage("fit").inputs == (Input("train", "widen"), Input("test", "widen"))


def test_code_that_only_exists_when_it_runs_is_warned_of(plan: Plan) -> None:
    pipeline = plan("%%stage a\ntext = 'x = 1'\nexec(text)", "%%stage b\nexec('y = 1')\nprint(y)")
    assert pipeline.warnings == (
        "Stage `a` runs code by `exec` (cell 1, line 3), whose names cannot be read: say what it takes and gives with "
        "--inputs and --outputs.",
    )
