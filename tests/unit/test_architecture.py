"""The shape of the tree: what a listing and an import may cost, and that nothing goes in circles."""

from __future__ import annotations

import graphlib
import json
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("sklearn", "pandas", "numpy", "papermill", "bentoml", "plotly", "onnxruntime", "IPython", "sqlalchemy", "rich")


def loaded_by(statement: str) -> set[str]:
    script = f"import sys, json; {statement}; print(json.dumps(sorted(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd="/").stdout
    return set(json.loads(told.splitlines()[-1]))


def test_importing_mlnb_loads_nothing_heavy() -> None:
    assert loaded_by("import mlnb").isdisjoint(HEAVY)


def test_the_help_of_the_command_line_loads_nothing_heavy() -> None:
    statement = "from mlnb.faces.cli import call; call(['--help'])"
    assert loaded_by(statement).isdisjoint(HEAVY)


def test_a_heavy_import_would_be_seen() -> None:
    assert "sqlalchemy" in loaded_by("import mlnb.store.ledger")


def test_no_module_is_longer_than_400_lines() -> None:
    modules = [*ROOT.glob("mlnb/**/*.py"), *ROOT.glob("labextension/src/**/*.ts")]
    long = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in modules}
    assert {name: lines for name, lines in long.items() if lines > 400} == {}
    assert len(modules) > 50


def test_no_module_imports_itself_through_others_lazily_or_not() -> None:
    graph = grimp.build_graph("mlnb", exclude_type_checking_imports=True, cache_dir=None)
    edges = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    # `mlnb` itself offers Project and the hooks of IPython, lazily; everybody may ask it for its version.
    edges["mlnb"] = set()
    try:
        tuple(graphlib.TopologicalSorter(edges).static_order())
    except graphlib.CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


def test_the_top_level_holds_only_what_was_agreed() -> None:
    agreed = {
        "pyproject.toml", "mlnb", "labextension", "templates", "tests", "example_notebooks",
        "README.md", "CHANGELOG.md", "LICENSE", "Makefile",
    }  # fmt: skip
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    top = {line.split("/")[0] for line in tracked.splitlines()}
    assert {name for name in top if not name.startswith(".")} <= agreed
