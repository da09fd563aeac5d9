"""What a plan warns of."""

from __future__ import annotations

from collections.abc import Callable

from mlnb.pipeline.describe import describe
from mlnb.pipeline.graph import Pipeline

Plan = Callable[..., Pipeline]


def test_a_value_from_a_step_that_no_prev_names_is_warned_of_with_both(plan: Plan) -> None:
    pipeline = plan(
        ("x = 1", ["step:load"]), ("y = x", ["step:clean", "prev:load"]), ("z = x", ["step:report", "limit:gpu:1"])
    )
    assert pipeline.stage("report").upstream == ("load",)
    assert pipeline.warnings == (
        "Stage `report` (cell 3) takes `x` from stage `load` (cell 1), which no `prev:` puts before it: "
        "mlnb follows the data, Kale would not hand it over; tag it `prev:load`.",
    )
    assert f"warning: {pipeline.warnings[0]}" in list(describe(pipeline))


def test_values_that_come_along_a_chain_of_prevs_are_no_contradiction(plan: Plan) -> None:
    pipeline = plan(
        ("x = 1", ["block:load"]),
        "x = x + 1",
        ("y = x", ["block:clean", "prev:load"]),
        ("z = x + y", ["block:report", "prev:clean"]),
        ("print(z)", ["pipeline-metrics"]),
    )
    assert pipeline.warnings == ()
    assert pipeline.stage("report").metrics == ("z",)


def test_our_own_stages_need_no_prev(plan: Plan) -> None:
    assert plan("%%stage a\nx = 1", "%%stage b\ny = x").warnings == ()


def test_a_parameter_that_is_named_as_a_secret_is_warned_of(plan: Plan) -> None:
    declared = "db_password = ''\napi_key = None\npad_token = '[PAD]'\nmax_tokens = 5\ntoken = 3\ntokenizer = 'bpe'"
    pipeline = plan((declared, ["parameters"]), "%%stage a\nx = 1")
    assert [warning.split("`")[1] for warning in pipeline.warnings] == ["db_password", "api_key"]
    assert 'secret("DB_PASSWORD")' in pipeline.warnings[0]
