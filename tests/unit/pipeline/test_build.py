"""An annotated notebook becomes stages with the inputs and outputs that its code implies."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlnb.pipeline.graph import Input, Pipeline

Plan = Callable[..., Pipeline]


def _edges(pipeline: Pipeline) -> set[tuple[str, str, str]]:
    return {(taken.giver, taken.name, stage.name) for stage in pipeline.stages for taken in stage.inputs}


def _numbers(cells: tuple[object, ...]) -> list[int]:
    return [cell.number for cell in cells]  # type: ignore[attr-defined]


def test_a_whole_notebook_becomes_a_pipeline(plan: Plan) -> None:
    pipeline = plan(
        "md:# Flights",
        "import numpy as np\nimport pandas as pd\nfrom sklearn.linear_model import LogisticRegression",
        ("seed: int = 7\npath = 'flights.csv'", ["parameters"]),
        "%matplotlib inline\nnp.random.seed(0)",
        "FEATURES = ['a', 'b']\ndef clean(df):\n    return df[FEATURES].dropna()",
        "%%stage prepare\ndf = clean(pd.read_csv(path))\nX, y = df, df['a']",
        "df.head()",
        "%%stage train\nmodel = LogisticRegression(random_state=seed).fit(X, y)",
        "#| stage: evaluate\n#| metrics: auc\nauc = model.score(X, y)",
        "%%test evaluate\ndef test_auc():\n    assert auc > 0.5",
        "%%deploy delays --model model --sample X --gate 'auc >= 0.8' --gate 'latency_p99_ms <= 20' --to production\n"
        "def preprocess(rows):\n    return clean(pd.DataFrame(rows))",
    )
    assert [stage.name for stage in pipeline.stages] == ["prepare", "train", "evaluate", "test-evaluate"]
    assert _edges(pipeline) == {
        ("prepare", "X", "train"),
        ("prepare", "y", "train"),
        ("train", "model", "evaluate"),
        ("prepare", "X", "evaluate"),
        ("prepare", "y", "evaluate"),
        ("evaluate", "auc", "test-evaluate"),
    }
    assert [stage.outputs for stage in pipeline.stages] == [("X", "y"), ("model",), ("auc",), ()]
    assert [stage.parameters for stage in pipeline.stages] == [("path",), ("seed",), (), ()]
    assert pipeline.stage("evaluate").metrics == ("auc",)
    assert pipeline.stage("test-evaluate").kind == "test"
    assert pipeline.stage("test-evaluate").tested == "evaluate"
    assert _numbers(pipeline.setup) == [2, 4, 5]
    assert pipeline.not_run == (7,)
    deploy = pipeline.deploys[0]
    assert (deploy.model, deploy.sample) == (Input("model", "train"), Input("X", "prepare"))
    assert (deploy.gates, deploy.to) == (("auc >= 0.8", "latency_p99_ms <= 20"), "production")
    assert [stage.name for stage in pipeline.upstream_of(["train"])] == ["prepare", "train"]


def test_a_stage_that_changes_a_name_gives_it_to_those_after_it(plan: Plan) -> None:
    pipeline = plan(
        "%%stage load\ndf = read()".replace("read()", "{'a': 1}"),
        "%%stage add\ndf['b'] = 2",
        "%%stage use\nprint(df)",
    )
    assert _edges(pipeline) == {("load", "df", "add"), ("add", "df", "use")}
    assert [stage.outputs for stage in pipeline.stages] == [("df",), ("df",), ()]


def test_a_function_of_setup_that_changes_its_argument_makes_its_caller_a_giver(plan: Plan) -> None:
    pipeline = plan(
        "def add(frame):\n    frame['b'] = 2",
        "%%stage load\ndf = {'a': 1}",
        "%%stage more\nadd(df)",
        "%%stage use\nprint(df)",
    )
    assert ("more", "df", "use") in _edges(pipeline)


def test_what_a_setup_function_reads_is_taken_by_the_stage_that_calls_it(plan: Plan) -> None:
    pipeline = plan(
        "def score():\n    return model['auc'] * weight",
        ("weight = 2.0", ["parameters"]),
        "%%stage train\nmodel = {'auc': 1}",
        "%%stage evaluate\nauc = score()",
        "%%stage other\nprint(1)",
    )
    assert _edges(pipeline) == {("train", "model", "evaluate")}
    assert pipeline.stage("evaluate").parameters == ("weight",)
    assert pipeline.stage("other").parameters == ()


def test_a_stage_may_have_several_cells_with_others_between(plan: Plan) -> None:
    pipeline = plan(
        "%%stage load --metrics n\nx = 1",
        "%%stage side\nz = x",
        "%%stage load\nn = x + 1",
        "%%stage use\nprint(n, z)",
    )
    load = pipeline.stage("load")
    assert _numbers(load.cells) == [1, 3]
    assert (load.inputs, load.outputs, load.metrics) == ((), ("x", "n"), ("n",))
    assert [stage.name for stage in pipeline.stages] == ["load", "side", "use"]


def test_a_module_imported_in_a_stage_is_imported_again_not_handed_over(plan: Plan) -> None:
    pipeline = plan(
        "%%stage a\nimport json\nfrom math import sqrt as root\nx = 1", "%%stage b\ny = json.dumps(root(4))\njson.x = 1"
    )
    stage = pipeline.stage("b")
    assert (stage.inputs, stage.upstream) == ((), ())
    assert stage.imports == ("import json", "from math import sqrt as root")
    assert pipeline.stage("a").outputs == ()


def test_an_optional_name_is_taken_only_where_somebody_gives_it(plan: Plan) -> None:
    pipeline = plan(
        "%%stage a\nbest = 1\nfor i in range(3):\n    pass",
        "%%stage b\nfor i in range(2):\n    if i > 5:\n        best = i\nprint(best, i)",
        "%%stage c\nfor k in []:\n    last = k\nprint(last)",
    )
    assert _edges(pipeline) == {("a", "best", "b"), ("a", "i", "b")}


def test_a_loop_variable_of_parallel_stages_makes_no_trouble(plan: Plan) -> None:
    pipeline = plan(
        "%%stage a\nfor i in range(3):\n    x = i",
        "%%stage b\nfor i in range(3):\n    y = x",
        "%%stage a\nfor i in range(3):\n    z = i\nprint(i)",
    )
    assert _edges(pipeline) == {("a", "x", "b")}


def test_setup_between_a_giver_and_a_taker_wins_as_in_the_notebook(plan: Plan) -> None:
    pipeline = plan("%%stage a\nlimit = 1", "limit = 5", "%%stage b\nprint(limit)")
    assert _edges(pipeline) == set()
    again = plan("limit = 5", "%%stage a\nlimit = 1", "%%stage b\nprint(limit)")
    assert _edges(again) == {("a", "limit", "b")}


def test_a_parameter_changed_by_a_stage_comes_from_that_stage(plan: Plan) -> None:
    pipeline = plan(
        ("options = {'a': 1}\nn = 1", ["parameters"]),
        "%%stage a\noptions['b'] = n\nn = 5",
        "%%stage b\nprint(options, n)",
    )
    assert _edges(pipeline) == {("a", "options", "b"), ("a", "n", "b")}
    assert pipeline.stage("b").parameters == ()
    assert pipeline.stage("a").parameters == ("n", "options")


def test_changing_a_module_or_function_of_setup_gives_nothing(plan: Plan) -> None:
    pipeline = plan(
        "import os\ndef f(): ...\nCONFIG = {'a': 1}",
        "%%stage a\nos.environ['A'] = '1'\nf.cache = 2\nCONFIG['b'] = 2",
        "%%stage b\nprint(os, f, CONFIG)",
    )
    assert _edges(pipeline) == {("a", "CONFIG", "b")}


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        ("import numpy as np\nfrom os import path", "setup"),
        ("def f(x=1):\n    return x", "setup"),
        (
            "from dataclasses import dataclass, field\n@dataclass\nclass A:\n    x: list = field(default_factory=list)",
            "setup",
        ),
        ("LIMIT = 3\nNAMES = ['a', *('b',)]\nOPTIONS: dict = {'a': -1, 'b': {1, 2}}", "setup"),
        ("A = 60 * 60\nB = A + 1\nC = f'{A}s'", "setup"),
        ("from pathlib import Path\nDATA = Path('data') / 'x.csv'", "setup"),
        ("import warnings\nwarnings.filterwarnings('ignore')", "setup"),
        ("import numpy as np\nnp.random.seed(0)\nDTYPE = np.float32", "setup"),
        ("%load_ext autoreload\n%autoreload 2\n%matplotlib inline", "setup"),
        ("try:\n    import json\nexcept ImportError:\n    json = None", "setup"),
        ("import sys\nif sys.version_info > (3, 11):\n    X = 1\nelse:\n    X = 2", "setup"),
        ("square = lambda x: x * x", "setup"),
        ("'''About this notebook'''", "setup"),
        ("# nothing but a comment", "neither"),
        ("", "neither"),
        ("import pandas as pd\ndf = pd.read_csv('x.csv')", "exploration"),
        ("import pandas as pd\npd.read_csv('x.csv')", "exploration"),
        ("print('hello')", "exploration"),
        ("n = len([1]) + sum([2])", "exploration"),
        ("!pip install x", "exploration"),
        ("%pip install x", "exploration"),
        ("%mlnb run", "exploration"),
        ("%%bash\nls", "exploration"),
        ("for i in range(3):\n    pass", "exploration"),
        ("import numpy as np\nnp.random.seed(seed_of_nobody)", "exploration"),
        ("def f(x=unknown): ...", "exploration"),
        ("class A(Unknown): ...", "exploration"),
        ("given", "exploration"),
        ("def f(): ...\nf()", "exploration"),
    ],
)
def test_an_unmarked_cell_is_setup_only_if_it_sets_up(plan: Plan, cell: str, kind: str) -> None:
    pipeline = plan(cell, "%%stage a\ngiven = 1")
    assert _numbers(pipeline.setup) == ([1] if kind == "setup" else [])
    assert pipeline.not_run == ((1,) if kind == "exploration" else ())


def test_the_setup_mark_forces_a_cell_into_every_stage(plan: Plan) -> None:
    pipeline = plan("%%setup\ntable = sum([1, 2])", "total = table * 2", "%%stage a\nprint(table, total)")
    assert _numbers(pipeline.setup) == [1, 2]
    assert pipeline.not_run == ()


def test_skipped_cells_never_run(plan: Plan) -> None:
    pipeline = plan(("%%stage a\nbroken syntax here", ["skip"]), ("n = 9", ["injected-parameters"]), "%%stage a\nx = 1")
    assert _numbers(pipeline.stage("a").cells) == [3]
    assert pipeline.not_run == (1, 2)


def test_inputs_and_outputs_may_be_said_instead_of_inferred(plan: Plan) -> None:
    pipeline = plan(
        ("n = 1", ["parameters"]),
        "%%stage a --outputs x,y\nx = 1\ny = 2\nz = 3",
        "%%stage b --inputs x\nprint(x, n, globals()['y'])",
    )
    assert pipeline.stage("a").outputs == ("x", "y")
    assert pipeline.stage("b").inputs == (Input("x", "a"),)
    assert pipeline.stage("b").parameters == ("n",)


def test_a_test_sees_names_as_its_stage_leaves_them(plan: Plan) -> None:
    pipeline = plan(
        "%%stage prepare\ndf = {'a': 1}",
        "%%stage enrich\ndf['b'] = 2",
        "%%test prepare\nassert 'b' not in df",
        "%%test enrich\nassert 'b' in df",
        "%%test prepare\ndef test_more():\n    assert df",
    )
    assert [stage.name for stage in pipeline.stages] == ["prepare", "test-prepare", "enrich", "test-enrich"]
    assert pipeline.stage("test-prepare").inputs == (Input("df", "prepare"),)
    assert pipeline.stage("test-enrich").inputs == (Input("df", "enrich"),)
    assert _numbers(pipeline.stage("test-prepare").cells) == [3, 5]


def test_a_test_without_a_name_tests_the_stage_above(plan: Plan) -> None:
    pipeline = plan("%%stage a\nx = 1", "%%stage b\ny = 2", "%%test\nassert y")
    assert pipeline.stage("test-b").upstream == ("b",)


def test_stages_may_be_ordered_without_names(plan: Plan) -> None:
    pipeline = plan("%%stage late --after early\nprint(1)", "%%stage early\nprint(2)")
    assert [stage.name for stage in pipeline.stages] == ["early", "late"]
    assert pipeline.stage("late").upstream == ("early",)


def test_an_order_that_is_said_settles_who_gives(plan: Plan) -> None:
    cells = ["%%stage a\nx = 1", "%%stage b{}\nx = 2", "%%stage c{}\nprint(x)"]
    ordered = plan(cells[0], cells[1].format(" --after a"), cells[2].format(""))
    assert _edges(ordered) == {("b", "x", "c")}
    chosen = plan(cells[0], cells[1].format(""), cells[2].format(" --after a"))
    assert _edges(chosen) == {("a", "x", "c")}


def test_numbers_that_gates_name_are_demanded(plan: Plan) -> None:
    pipeline = plan(
        "%%stage train\nmodel = 1\nX = 2\nauc = 3",
        "%%stage evaluate\nauc = model\nf1 = 2",
        "%%deploy m --model model --sample X --gate 'evaluate.auc >= 0.5' --gate 'f1 > 0' --gate 'parity_flips == 0'",
    )
    assert pipeline.stage("evaluate").outputs == ("auc", "f1")
    assert pipeline.stage("train").outputs == ("model", "X")
    assert pipeline.deploys[0].to == "staging"
    assert pipeline.deploys[0].hooks == ""


def test_a_kale_notebook_runs_unchanged(plan: Plan) -> None:
    pipeline = plan(
        ("import json", ["imports"]),
        "import math",
        ("def double(x):\n    return 2 * x", ["functions"]),
        ("n = 3", ["pipeline-parameters"]),
        ("rows = list(range(n))", ["block:load"]),
        "rows = rows + [1]",
        ("print('not this')", ["skip"]),
        ("left = [double(r) for r in rows]\nrows = []", ["step:left", "prev:load"]),
        ("right = [math.sqrt(r) for r in rows]", ["step:right", "prev:load"]),
        "right.append(1)",
        (
            "total = sum(left) + sum(right)\ntext = json.dumps(total)",
            ["step:join", "prev:left", "prev:right", "my-tag"],
        ),
        ("print(total)", ["pipeline-metrics"]),
    )
    assert _edges(pipeline) == {
        ("load", "rows", "left"),
        ("load", "rows", "right"),
        ("left", "left", "join"),
        ("right", "right", "join"),
    }
    assert _numbers(pipeline.setup) == [1, 2, 3]
    assert _numbers(pipeline.stage("load").cells) == [5, 6]
    assert _numbers(pipeline.stage("right").cells) == [9, 10]
    assert pipeline.stage("join").metrics == ("total",)
    assert pipeline.stage("join").outputs == ("total",)
    assert pipeline.stage("load").parameters == ("n",)
    assert pipeline.not_run == (7,)


def test_untagged_cells_join_nothing_without_kale_tags(plan: Plan) -> None:
    pipeline = plan("%%stage a\nx = 1", "x.bit_length()", ("y = 1", ["skip"]))
    assert _numbers(pipeline.stage("a").cells) == [1]
    assert pipeline.not_run == (2, 3)


def test_ipython_syntax_in_stages_is_understood(plan: Plan) -> None:
    pipeline = plan(
        "%%stage load\n%%time\nfiles = [1]",
        "%%stage use\n%time count = len(files)\nlisting = !ls {count}\n",
        "%%stage more\n%%capture shown\nprint(listing, count)",
        "%%stage last\nshown.show()",
    )
    assert _edges(pipeline) == {
        ("load", "files", "use"),
        ("use", "listing", "more"),
        ("use", "count", "more"),
        ("more", "shown", "last"),
    }


def test_a_notebook_of_nested_folders_is_planned_without_running_anything(plan: Plan) -> None:
    pipeline = plan("%%stage a\nraise SystemExit(3)\nopen('made', 'w')")
    assert not (pipeline.document.path.parent / "made").exists()


_LETTERS = "abcdef"
_bodies = st.lists(
    st.tuples(st.sampled_from(_LETTERS), st.lists(st.sampled_from(_LETTERS), max_size=3)), min_size=1, max_size=6
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(_bodies, st.data())
def test_the_order_is_one_in_which_every_stage_finds_its_givers_done(
    plan: Plan, bodies: list[tuple[str, list[str]]], data: st.DataObject
) -> None:
    cells, known = [], []
    for number, (bound, read) in enumerate(bodies):
        reads = [name for name in read if name in known]
        cells.append(f"%%stage s{number}\n{bound}{number} = [{', '.join(reads)}]")
        known.append(f"{bound}{number}")
    notes = data.draw(st.lists(st.integers(0, len(cells)), max_size=3))
    pipeline = plan(*cells)
    names = [stage.name for stage in pipeline.stages]
    assert sorted(names) == sorted(f"s{number}" for number in range(len(bodies)))
    for stage in pipeline.stages:
        assert all(names.index(giver) < names.index(stage.name) for giver in stage.upstream)
    for place in sorted(notes, reverse=True):
        cells.insert(place, "md:a remark")
    again = plan(*cells)
    assert [stage.name for stage in again.stages] == names
    assert _edges(again) == _edges(pipeline)
