"""A deploy's hook travels with exactly the setup that it uses, and stands on its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mlnb.errors import PlanError
from mlnb.pipeline.graph import Pipeline

Plan = Callable[..., Pipeline]
STAGE = "%%stage train\nmodel = 1\nX = [2]\nscaler = 3"
MARK = "%%deploy m --model model --sample X"


def test_a_hook_carries_the_setup_it_uses_and_nothing_else(plan: Plan, tmp_path: Path) -> None:
    pipeline = plan(
        "from __future__ import annotations\nimport json, math\nfrom os import path, sep",
        "RATE = 2\nUNUSED = 3\nTABLE = {\n    'a': RATE,  # kept as written\n}",
        "def inner(x):\n    return x * TABLE['a']\n\ndef outer(x):\n    return inner(math.floor(x))\n\ndef other():\n    return UNUSED",
        "import random\nrandom.seed(0)",
        STAGE,
        f"{MARK}\n# one row at a time\ndef preprocess(rows: list[dict]) -> list[dict]:\n"
        "    return [{**row, 'a': outer(row['a'])} for row in rows]\n\ndef spare():\n    return sep",
    )
    hooks = pipeline.deploys[0].hooks
    assert hooks == (
        "from __future__ import annotations\n"
        "import math\n"
        "from os import sep\n"
        "RATE = 2\n"
        "TABLE = {\n    'a': RATE,  # kept as written\n}\n"
        "def inner(x):\n    return x * TABLE['a']\n"
        "def outer(x):\n    return inner(math.floor(x))\n"
        "\n"
        "# one row at a time\n"
        "def preprocess(rows: list[dict]) -> list[dict]:\n"
        "    return [{**row, 'a': outer(row['a'])} for row in rows]\n"
        "\n"
        "def spare():\n    return sep\n"
    )
    (tmp_path / "hooks.py").write_text(hooks, "utf-8")
    code = "import hooks; print(hooks.preprocess([{'a': 1.7}, {'a': 4}]))"
    shown = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[{'a': 2}, {'a': 8}]"


@pytest.mark.parametrize("body", ["", "# nothing", "print('deployed')", "def helper(x):\n    return x"])
def test_a_body_without_a_hook_carries_nothing(plan: Plan, body: str) -> None:
    assert plan(STAGE, f"{MARK}\n{body}").deploys[0].hooks == ""


def test_changing_the_hook_does_not_change_stages(plan: Plan) -> None:
    one = plan(STAGE, f"{MARK}\ndef preprocess(rows):\n    return rows")
    other = plan(STAGE, f"{MARK}\ndef preprocess(rows):\n    return rows[:1]")
    assert one.stages == other.stages
    assert one.deploys[0].hooks != other.deploys[0].hooks


@pytest.mark.parametrize(
    ("body", "name", "problem", "remedy"),
    [
        (
            "def preproces(rows): ...",
            "preproces",
            "defines `preproces`, which is no hook",
            "Did you mean `preprocess`?",
        ),
        ("def preprocess(rows):\n    return scaler", "scaler", "needs `scaler`, which stage `train` gives", "model"),
        ("def preprocess(rows):\n    return rate", "rate", "needs the parameter `rate`", "as a constant in setup"),
        ("def preprocess(rows):\n    return zzz", "zzz", "The hook of `m` (cell 5) needs `zzz`, which nobody", "Bind"),
        ("def preprocess(rows):\n    return seen", "seen", "which only exploration gives (cell 4)", "Mark cell 4"),
        ("def preprocess(rows):\n    return use()", "scaler", "needs `scaler`, which stage `train` gives", "model"),
        ("def preprocess(rows):\n    return json", "json", "needs `json`, which a stage imports", "Import it"),
        ("%time\ndef preprocess(rows): ...", "", "holds IPython syntax in line 2", "plain Python"),
        ("from os import *\ndef preprocess(rows): ...", "*", "has `import *` in line 2", "Import the names"),
    ],
)
def test_a_hook_that_cannot_stand_alone_is_refused(plan: Plan, body: str, name: str, problem: str, remedy: str) -> None:
    with pytest.raises(PlanError) as refused:
        plan(
            ("rate = 1", ["parameters"]),
            "def use():\n    return scaler",
            f"{STAGE}\nimport json",
            "seen = print(1)",
            f"{MARK}\n{body}",
        )
    assert problem in refused.value.problem
    assert remedy in refused.value.remedy
    assert (refused.value.cell, refused.value.name) == (5, name)
