"""Marks are proposed for untagged notebooks, and what is proposed is always a pipeline."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlnb.errors import MlnbError, PlanError, UsageError
from mlnb.notebook.document import read_document
from mlnb.pipeline.amend import unified, write_amended
from mlnb.pipeline.annotate import amended, propose
from mlnb.pipeline.build import build_pipeline

Write = Callable[..., Path]

IRIS = (
    "md:\n# Iris\nA study.",
    "import pandas as pd\nfrom sklearn import datasets\nfrom sklearn.metrics import f1_score",
    "N_ESTIMATORS = 500\nMAX_DEPTH = 2",
    "md:\n## 1. Load the data",
    "frame = datasets.load_iris(as_frame=True).frame",
    "frame.head()",
    "frame.describe()\nframe.hist()",
    "frame = frame.dropna()",
    "md:\n## 2. Split",
    "train, rest = frame[::2], frame[1::2]",
    "assert len(train) >= len(rest)",
    "md:\n## 3. Define and train the *model*",
    "model = Forest(n_estimators=N_ESTIMATORS, max_depth=MAX_DEPTH)",
    "%%time\nmodel.fit(train)",
    "md:\n## 4. Evaluation",
    "guesses = model.predict(rest)",
    "f1 = float(f1_score(rest.target, guesses))\nprint(f1)",
    "rest.plot()",
)


def _forest(path: Path) -> Path:
    """Bind what the notebook calls Forest."""
    notebook = json.loads(path.read_text())
    notebook["cells"][1]["source"] += "\nfrom sklearn.ensemble import RandomForestClassifier as Forest"
    path.write_text(json.dumps(notebook))
    return path


def _marks(path: Path) -> dict[int, tuple[str, ...]]:
    return {one.cell: one.lines or one.tags for one in propose(read_document(path)).suggestions}


def test_headings_and_data_flow_make_stages_and_exploration_is_left_out(write: Write) -> None:
    path = _forest(write(*IRIS))
    assert _marks(path) == {
        3: ("parameters",),
        5: ("%%stage load",),
        8: ("%%stage load",),
        10: ("%%stage split",),
        11: ("%%test split",),
        13: ("%%stage train",),
        14: ("%%stage train",),
        16: ("%%stage evaluate",),
        17: ("%%stage evaluate --metrics f1",),
    }
    pipeline = propose(read_document(path)).pipeline
    assert [stage.name for stage in pipeline.stages] == ["load", "split", "test-split", "train", "evaluate"]
    assert pipeline.not_run == (6, 7, 18)


def test_without_headings_the_phases_make_the_stages(write: Write) -> None:
    path = write(
        "import pandas as pd\nfrom sklearn.linear_model import Ridge\nALPHA = 1.0",
        "df = pd.read_csv('x.csv')\ndf.head()",
        "df['a'] = df.a.fillna(0)",
        "ridge = Ridge(alpha=ALPHA).fit(df[['a']], df.b)",
        "r2 = ridge.score(df[['a']], df.b)",
        "r2",
    )
    assert _marks(path) == {
        1: ("parameters",),
        2: ("%%stage prepare",),
        3: ("%%stage prepare",),
        4: ("%%stage train",),
        5: ("%%stage evaluate --metrics r2",),
    }


def test_a_notebook_that_trains_nothing_keeps_what_binds_and_drops_what_shows(write: Write) -> None:
    path = write(
        "import math", "md:\n## Sums", "total = sum(range(9))", "total", "half = math.sqrt(total)", "print(half)"
    )
    assert _marks(path) == {3: ("%%stage sums",), 5: ("%%stage sums",)}


def test_parts_that_a_plan_would_refuse_are_put_together(write: Write) -> None:
    path = write(
        "md:\n## Configure",
        "class Holder:\n    pass\nholder = Holder()\ndef grow():\n    return base + 1",
        "md:\n## Prepare",
        "base = int(input or 3)",
        "md:\n## Train",
        "holder.model = make.fit(grow())",
    )
    with pytest.raises(PlanError, match="`make`"):
        propose(read_document(path))
    path = write(
        "md:\n## One", "def grow(k): return k + base\nx = [0]", "base = 3", "md:\n## Train", "y = fitter.train(x)"
    )
    with pytest.raises(PlanError, match="fitter"):
        propose(read_document(path))


def test_a_notebook_with_stages_or_without_code_is_told_so(write: Write) -> None:
    with pytest.raises(UsageError, match="has stages already: `a`"):
        propose(read_document(write("%%stage a\nx = 1")))
    with pytest.raises(MlnbError, match="no code that could become a stage"):
        propose(read_document(write("md:\n# Words", "import os")))
    with pytest.raises(MlnbError, match="Cell 1 has a syntax error in line 2"):
        propose(read_document(write("x = 1\ny = (", "z = 1")))


_SOURCES = st.lists(
    st.sampled_from(
        [
            "a = 1", "b = [2]", "a = load_it()", "b = a", "b.append(a)", "c = a + b", "m.fit(c)", "m = Ridge()",
            "s = f1_score(a, b)", "assert a", "def test_a():\n    assert b", "a", "print(b)", "import json", "c.plot()",
            "for i in range(3):\n    b.append(i)", "del a", "a: int = 2", "%time c = 1", "%%bash\nls", "d = c; a = d",
            "def f():\n    return b", "e = f()", "md:\n# Data", "md:\n## Train it", "md:\n## Score", "b = {**json.loads('{}')}",
        ]
    ),
    max_size=12,
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_SOURCES)
def test_whatever_is_proposed_is_a_pipeline_and_its_order_is_the_notebooks(write: Write, sources: list[str]) -> None:
    document = read_document(write("def load_it(): return 1\nfrom q import Ridge, f1_score", *sources))
    try:
        proposal = propose(document)
    except MlnbError as refusal:
        assert refusal.remedy
        return
    pipeline = build_pipeline(amended(document, proposal.suggestions))
    assert pipeline.stages
    assert [stage.name for stage in pipeline.stages] == [stage.name for stage in proposal.pipeline.stages]


def test_writing_changes_the_marked_cells_and_not_one_other_byte(tmp_path: Path, write: Write) -> None:
    notebook = json.loads(_forest(write(*IRIS)).read_text())
    notebook["metadata"]["colab"] = {"toc": [1, 2]}
    for number, cell in enumerate(notebook["cells"]):
        cell["metadata"] = {"editable": True, "slideshow": {"slide_type": "ü"}} if number % 2 else {}
        cell["source"] = cell["source"].splitlines(keepends=True)
        if cell["cell_type"] == "code":
            cell["outputs"] = [{"name": "stdout", "output_type": "stream", "text": ["1\n"]}]
    path = tmp_path / "styled.ipynb"
    for dumped in (
        json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n",
        json.dumps(notebook, indent=4),
        json.dumps(notebook, separators=(",", ":")),
    ):
        path.write_text(dumped)
        document = read_document(path)
        proposal = propose(document)
        write_amended(document, proposal.suggestions, path)
        written = path.read_text()
        for one in proposal.suggestions:
            cell = notebook["cells"][one.cell - 1]
            for line in one.lines:
                written = written.replace(json.dumps(f"{line}\n"), "", 1)
        assert written.replace("parameters", "").count('"') == dumped.count('"') + 4
        expected = json.loads(dumped)
        for one in proposal.suggestions:
            cell = expected["cells"][one.cell - 1]
            cell["source"] = [f"{line}\n" for line in one.lines] + cell["source"]
            if one.tags:
                cell["metadata"]["tags"] = list(one.tags)
        assert json.loads(path.read_text()) == expected
        assert path.read_text().endswith("\n") == dumped.endswith("\n")
        unchanged = set(dumped.splitlines()) - set(path.read_text().splitlines())
        assert dumped.count("\n") == 0 or len(unchanged) <= 1  # the parameters cell's metadata
    nbformat.validate(nbformat.read(path, as_version=4))


def test_text_notebooks_are_marked_in_their_own_text(tmp_path: Path) -> None:
    script = (
        "# %%\nimport json\n\n# %%\nC = 2\n\n# %% [markdown]\n# ## Load\n\n# %%\nrows = json.loads('[1]')\nrows\n\n"
        "# %%\nrows\n\n# %% [markdown]\n# ## Train\n\n# %%\nrows.train(C)\nloss = rows.my_loss()\n"
    )
    path = tmp_path / "train.py"
    path.write_text(script)
    document = read_document(path)
    write_amended(document, propose(document).suggestions, path)
    assert path.read_text() == script.replace("# %%\nC = 2", '# %% tags=["parameters"]\nC = 2').replace(
        "# %%\nrows = json", "# %%\n#| stage: load\nrows = json"
    ).replace("# %%\nrows.train", "# %%\n#| stage: train\n#| metrics: loss\nrows.train")
    myst = "# A\n\n```{code-cell}\nC = 2\n```\n\n```{code-cell}\n:tags: [hide]\n\nx = C.real\n```\n"
    path = tmp_path / "train.md"
    path.write_text(myst)
    document = read_document(path)
    write_amended(document, propose(document).suggestions, path)
    assert path.read_text() == myst.replace("{code-cell}\nC", "{code-cell}\n:tags: [parameters]\nC").replace(
        "x = C.real", "#| stage: prepare\nx = C.real"
    )


def test_the_diff_shows_marks_and_tags_of_each_cell(write: Write) -> None:
    document = read_document(write("K = 3", "x = open('f').read()\nx"))
    assert list(unified(document, propose(document).suggestions)) == [
        "--- nb.ipynb: cell 1",
        "+++ nb.ipynb: cell 1",
        "@@ tags @@",
        "+parameters",
        "--- nb.ipynb: cell 2",
        "+++ nb.ipynb: cell 2",
        "@@ -1 +1,2 @@",
        "+%%stage load",
        " x = open('f').read()",
    ]
