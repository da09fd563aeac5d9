"""Stages that touch the same files run in the notebook's order, the others side by side."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mlnb.pipeline.graph import Pipeline

Plan = Callable[..., Pipeline]


@pytest.mark.parametrize(
    ("cells", "upstream"),
    [
        (["df.to_csv('a.csv')", "pd.read_csv('a.csv')", "pd.read_csv('a.csv')"], {"s1": ["s0"], "s2": ["s0"]}),
        (["pd.read_csv('a.csv')", "df.to_csv('a.csv')"], {"s1": ["s0"]}),
        (["df.to_csv('a.csv')", "df.to_csv('a.csv')"], {"s1": ["s0"]}),
        (["pd.read_csv('a.csv')", "pd.read_csv('a.csv')"], {}),
        (["df.to_csv('a.csv')", "pd.read_csv('b.csv')"], {}),
        (["df.to_csv('out/a.csv')", "pd.read_parquet('out')"], {"s1": ["s0"]}),
        (["df.to_csv('out/a.csv')", "glob.glob('out/*.csv')", "glob.glob('out/*.txt')"], {"s1": ["s0"]}),
        (["df.to_csv(OUT / f'{n}.csv')", "pd.read_csv(OUT / '3.csv')"], {"s1": ["s0"]}),
        (["save()", "pd.read_csv('saved.csv')"], {"s1": ["s0"]}),
    ],
)
def test_who_reads_a_file_comes_after_who_writes_it(
    plan: Plan, cells: list[str], upstream: dict[str, list[str]]
) -> None:
    setup = (
        "import glob\nimport pandas as pd\nfrom pathlib import Path\nOUT = Path('out')\ndf = None\n"
        "def save():\n    pd.Series().to_csv('saved.csv')"
    )
    stages = [f"%%stage s{number}\n{cell}" for number, cell in enumerate(cells)]
    pipeline = plan(("n = 3", ["parameters"]), f"%%setup\n{setup}", *stages)
    assert {stage.name: list(stage.upstream) for stage in pipeline.stages if stage.upstream} == upstream


def test_a_declared_file_orders_too(plan: Plan) -> None:
    pipeline = plan("%%stage b\nopen('x/1.csv', 'w')", "%%stage a --reads 'x/*.csv'\n1")
    assert pipeline.stage("a").upstream == ("b",)


def test_names_win_over_files_where_both_cannot_be(plan: Plan) -> None:
    pipeline = plan(
        "%%stage late\nopen('a.csv', 'w')", "%%stage early\nx = open('a.csv').read()", "%%stage late --after early\nx"
    )
    assert [stage.name for stage in pipeline.stages] == ["early", "late"]
