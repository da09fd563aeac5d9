"""``mlnb annotate`` at the command line and in a live kernel."""

from __future__ import annotations

import json
from pathlib import Path

SOURCES = ("import random", "SEED = 3", "random.seed(SEED)\nrows = [random.random() for _ in range(9)]", "rows[:3]")


def _written(command, tmp_path: Path) -> Path:
    return command.notebook(*SOURCES, path=tmp_path / "nb.ipynb")


def test_the_diff_is_shown_and_nothing_is_written_until_it_is_asked_for(mlnb, command, tmp_path):
    path = _written(command, tmp_path)
    before = path.read_bytes()
    ran = mlnb("annotate", "nb.ipynb")
    assert ran.code == 0
    assert "+++ nb.ipynb: cell 3\n@@ -1 +1,2 @@\n+%%stage prepare" in ran.out
    assert "Nothing is written." in ran.out
    told = mlnb("annotate", "nb.ipynb", "--json").json()
    assert [(one["cell"], one["lines"], one["tags"]) for one in told["cells"]] == [
        (2, [], ["parameters"]),
        (3, ["%%stage prepare"], []),
    ]
    assert told["written"] == []
    assert path.read_bytes() == before


def test_it_is_written_where_it_is_asked_for_and_the_result_is_a_pipeline(mlnb, command, tmp_path):
    path = _written(command, tmp_path)
    before = path.read_bytes()
    assert mlnb("annotate", "nb.ipynb", "--output", "marked.ipynb").code == 0
    assert path.read_bytes() == before
    assert mlnb("annotate", "nb.ipynb", "--write").code == 0
    assert path.read_bytes() == (tmp_path / "marked.ipynb").read_bytes()
    assert [stage["name"] for stage in mlnb("plan", "nb.ipynb", "--json").json()["stages"]] == ["prepare"]
    again = mlnb("annotate", "nb.ipynb")
    assert again.code == 2
    assert "has stages already: `prepare`" in again.err


def test_a_live_kernel_annotates_its_own_notebook(new_kernel, command, tmp_path):
    path = _written(command, tmp_path)
    kernel = new_kernel(env={"JPY_SESSION_NAME": str(path)})
    kernel.run("%load_ext mlnb")
    assert "+%%stage prepare" in kernel.run("%mlnb annotate").text
    assert json.loads(kernel.run("%mlnb annotate --json").text)["written"] == []
