"""What a plan knows of evaluations: whether a stage makes one, which metrics it may name, what gates may say."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mlnb.errors import PlanError
from mlnb.pipeline.fingerprint import fingerprint
from mlnb.pipeline.graph import Pipeline

Plan = Callable[..., Pipeline]
DATA = "%%stage data\ny = [0, 1]\nscores = [0.2, 0.7]\nmodel = X = 1"
CALLS = {
    "function": ("from mlnb import evaluate", "found = evaluate(y, scores)"),
    "other name": ("from mlnb import evaluate as measured", "found = measured(y, scores)"),
    "module": ("import mlnb", "found = mlnb.evaluate(y, scores)"),
    "in setup": (
        "from mlnb import evaluate\ndef judged(y, s):\n    return evaluate(y, s)",
        "found = judged(y, scores)",
    ),
    "in the stage": ("import json", "from mlnb import evaluate\nfound = evaluate(y, scores)"),
}


@pytest.mark.parametrize("how", CALLS)
def test_a_stage_that_evaluates_may_name_metrics_that_it_does_not_bind(plan: Plan, how: str) -> None:
    setup, call = CALLS[how]
    stage = plan(setup, DATA, f"%%stage evaluate --metrics auc,ndcg@10 --slices origin\n{call}").stage("evaluate")
    assert (stage.metrics, stage.outputs, stage.slices) == (("auc", "ndcg@10"), ("auc", "ndcg@10"), ("origin",))


@pytest.mark.parametrize(
    ("setup", "line", "call", "problem", "remedy"),
    [
        ("", "--metrics auc", "x = 1", "lists `auc` in `--metrics`, but does not bind it", "Bind `auc`"),
        ("def evaluate(y):\n    return y", "--metrics auc", "x = evaluate(y)", "does not bind it", "Bind `auc`"),
        (CALLS["function"][0], "--metrics auk", CALLS["function"][1], "no metric has that name", "Did you mean `auc`?"),
        (CALLS["function"][0], "--metrics roc_acu", CALLS["function"][1], "no metric has", "Did you mean `roc_auc`?"),
        (
            "",
            "--slices origin",
            "x = y",
            "slices by `origin`, but calls no `evaluate(...)`",
            "from mlnb import evaluate",
        ),
    ],
)
def test_a_mark_that_nothing_can_answer_is_refused(
    plan: Plan, setup: str, line: str, call: str, problem: str, remedy: str
) -> None:
    with pytest.raises(PlanError) as refused:
        plan(setup, DATA, f"%%stage evaluate {line}\n{call}")
    assert problem in refused.value.problem
    assert remedy in refused.value.remedy
    assert (refused.value.cell, refused.value.stage) == (3, "evaluate")


@pytest.mark.parametrize(
    "gate",
    ["auc >= .8", "evaluate.auc_low >= .8", "auc[origin=New York] > .7", "evaluate.f1[class=a] > 0", "found.auc > 0"],
)
def test_a_gate_may_name_what_an_evaluation_knows(plan: Plan, gate: str) -> None:
    deploy = f"%%deploy d --model model --sample X --gate '{gate}'"
    pipeline = plan(CALLS["function"][0], DATA, f"%%stage evaluate\n{CALLS['function'][1]}", deploy)
    assert pipeline.deploys[0].gates == (gate,)


def test_a_gate_on_a_metric_of_two_stages_must_say_which(plan: Plan) -> None:
    cells = [CALLS["function"][0], DATA, "%%stage a\nfound = evaluate(y, scores)", "%%stage b\nf = evaluate(y, scores)"]
    with pytest.raises(PlanError) as refused:
        plan(*cells, "%%deploy d --model model --sample X --gate 'auc > .8'")
    assert refused.value.remedy == "Say which one: `a.auc`, `b.auc`."
    plan(*cells, "%%deploy d --model model --sample X --gate 'b.auc > .8'")
    cells[2] = cells[2].replace("%%stage a", "%%stage a --metrics auc")
    plan(*cells, "%%deploy d --model model --sample X --gate 'auc > .8'")


def test_slices_are_part_of_the_key(plan: Plan) -> None:
    keys = set()
    for line in ("", " --slices a", " --slices a,b"):
        pipeline = plan(CALLS["function"][0], DATA, f"%%stage evaluate{line}\n{CALLS['function'][1]}")
        stage = pipeline.stage("evaluate")
        keys.add(fingerprint(pipeline, stage, {}, dict.fromkeys(("y", "scores"), "same")).digest)
    assert len(keys) == 3
