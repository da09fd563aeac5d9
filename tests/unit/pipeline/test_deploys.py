"""Gates on what mlnb or a plug-in measures demand nothing of a stage; those on what a stage gives still do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mlnb.errors import PlanError
from mlnb.pipeline.graph import Pipeline

Plan = Callable[..., Pipeline]
STAGE = "%%stage a\nX = [1]\nm = 1\nauc = 0.5\nsize_mb = 3.0"


@pytest.mark.parametrize(
    "gate",
    [
        "better_than_champion auc",
        "no_worse_slice auc within 0.1",
        "auc_gain_low[origin=JFK] > 0",
        "signature_compatible",
        "approved by 2",
        "tests_passed",
        "drift_max <= 0.1",
        "selection_rate_gap[column=sex] <= 0.1",
        "model_mb <= 5",
        "load_rps >= 10",
    ],
)
def test_what_mlnb_measures_demands_nothing_of_a_stage(plan: Plan, gate: str) -> None:
    pipeline = plan(STAGE, f"%%deploy d --model m --sample X --gate '{gate}'")
    assert pipeline.deploys[0].gates == (gate,)
    assert pipeline.stages[0].outputs == ("X", "m")


def test_a_stage_that_gives_a_number_of_that_name_gives_the_gate_its_number(plan: Plan) -> None:
    pipeline = plan(STAGE, "%%deploy d --model m --sample X --gate 'size_mb <= 5' --gate 'a.auc > 0'")
    assert set(pipeline.stages[0].outputs) == {"X", "m", "auc", "size_mb"}


@pytest.mark.parametrize(
    ("gate", "sentence"),
    [
        ("carbon <= 5", "which no stage gives"),
        ("better_than_champion", r"Write it as 'better_than_champion METRIC \[by NUMBER\]'"),
    ],
)
def test_what_nobody_measures_is_refused_before_anything_runs(plan: Plan, gate: str, sentence: str) -> None:
    with pytest.raises(PlanError, match=sentence):
        plan(STAGE, f"%%deploy d --model m --sample X --gate '{gate}'")
