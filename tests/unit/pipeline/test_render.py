"""A stage becomes a notebook that nbformat accepts, papermill parametrises and IPython runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nbformat

from mlnb.pipeline.graph import Pipeline
from mlnb.pipeline.render import render_stage

Plan = Callable[..., Pipeline]
SPEC = Path("/tmp/a folder/spec.json")


def _rows(notebook: dict[str, object]) -> list[tuple[str, int, int, str]]:
    return [
        (cell["metadata"]["mlnb"]["role"], cell["metadata"]["mlnb"]["cell"], cell["metadata"]["mlnb"]["first_line"], cell["source"])
        for cell in notebook["cells"]  # type: ignore[attr-defined]
    ]  # fmt: skip


def test_a_stage_is_rendered_in_the_order_in_which_it_must_run(plan: Plan) -> None:
    pipeline = plan(
        "from typing import Optional\nimport json",
        ("n: Optional[int] = 1", ["parameters", "mine"]),
        "LIMIT = n",
        "%%stage a\nimport math\nx = LIMIT",
        "%%stage b\n\n%%time\ny = math.sqrt(x)",
        "#| stage: b\nz = y",
    )
    notebook = render_stage(pipeline, pipeline.stage("b"), SPEC)
    assert _rows(notebook) == [
        ("setup", 1, 1, "from typing import Optional\nimport json"),
        ("parameters", 2, 1, "n: Optional[int] = 1"),
        ("setup", 3, 1, "LIMIT = n"),
        ("imports", 0, 1, "import math"),
        (
            "take",
            0,
            1,
            "from mlnb.run.handoff import take as _mlnb_take\n"
            'globals().update(_mlnb_take(r"/tmp/a folder/spec.json"))\n'
            "del _mlnb_take",
        ),
        ("cells", 5, 3, "%%time\ny = math.sqrt(x)"),
        ("cells", 6, 1, "#| stage: b\nz = y"),
        (
            "give",
            0,
            1,
            'from mlnb.run.handoff import give as _mlnb_give\n_mlnb_give(r"/tmp/a folder/spec.json", globals())',
        ),
    ]
    tags = [cell["metadata"]["tags"] for cell in notebook["cells"]]  # type: ignore[union-attr, call-overload, index]
    assert tags == [[], ["mine", "parameters"], [], ["mlnb"], ["mlnb"], [], [], ["mlnb"]]
    nbformat.validate(nbformat.from_dict(notebook))


def test_a_mark_stays_as_a_comment_so_that_lines_stay(plan: Plan) -> None:
    pipeline = plan("%%setup\nimport os", "%%stage a --metrics x\n\nx = 1")
    rows = _rows(render_stage(pipeline, pipeline.stage("a"), SPEC))
    assert rows[0] == ("setup", 1, 1, "# %%setup\nimport os")
    assert rows[2] == ("cells", 2, 1, "# %%stage a --metrics x\n\nx = 1")


def test_tests_are_run_cell_by_cell_and_judged_at_the_end(plan: Plan) -> None:
    pipeline = plan("%%stage a\nx = 1", "%%test a\nassert x", ("%%test a\ndef test_x(): assert x", ["keep"]))
    notebook = render_stage(pipeline, pipeline.stage("test-a"), SPEC)
    tags = [cell["metadata"]["tags"] for cell in notebook["cells"]]  # type: ignore[union-attr, call-overload, index]
    assert tags == [["mlnb"], ["raises-exception"], ["keep", "raises-exception"], ["mlnb"]]
    assert _rows(notebook)[-1][3] == (
        'from mlnb.run.handoff import run_tests as _mlnb_tests\n_mlnb_tests(r"/tmp/a folder/spec.json", globals())'
    )
    nbformat.validate(nbformat.from_dict(notebook))


def test_papermill_puts_values_behind_all_parameters_and_before_setup(plan: Plan, tmp_path: Path) -> None:
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    pipeline = plan(("n = 1", ["parameters"]), ("m = 2", ["parameters"]), "LIMIT = n + m", "%%stage a\nx = LIMIT")
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps(render_stage(pipeline, pipeline.stage("a"), SPEC)), "utf-8")
    notebook = parameterize_notebook(load_notebook_node(str(path)), {"n": 5, "m": 6})
    sources = [cell.source for cell in notebook.cells]
    place = next(number for number, source in enumerate(sources) if "n = 5" in source)
    assert sources[:place] == ["n = 1", "m = 2"]
    assert sources[place + 1] == "LIMIT = n + m"


def test_the_kernel_of_the_notebook_is_kept(plan: Plan) -> None:
    pipeline = plan("%%stage a\nx = 1")
    notebook = render_stage(pipeline, pipeline.stage("a"), SPEC)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"  # type: ignore[call-overload, index]


def test_every_rendered_cell_compiles_in_ipython(plan: Plan) -> None:
    from IPython.core.inputtransformer2 import TransformerManager

    pipeline = plan(
        "%%setup\n%matplotlib inline\nimport os",
        "%%stage a\n%%capture out\nx = !ls\n",
        "#| stage: a\n%time y = 1",
        "%%stage a\nawait_ = 1",
    )
    for _, _, _, source in _rows(render_stage(pipeline, pipeline.stage("a"), SPEC)):
        compile(TransformerManager().transform_cell(source), "<cell>", "exec")
