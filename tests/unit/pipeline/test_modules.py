"""Imports are followed through the project's own modules, as Python itself would find them."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from mlnb.pipeline.modules import module_folders, trace_imports


def _write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


def _traced(root: Path, code: str, notebook: str = "nb.ipynb") -> set[str]:
    folders = module_folders(root / notebook, root)
    return set(trace_imports([ast.parse(code)], folders, root).sources)


def _loaded(root: Path, code: str) -> set[str]:
    """Return the files below `root` that Python really loads."""
    script = (
        f"import sys, json\nsys.dont_write_bytecode = True\n{code}\n"
        "print(json.dumps([m.__file__ for m in list(sys.modules.values()) if getattr(m, '__file__', None)]))"
    )
    shown = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True).stdout
    files = [Path(file) for file in json.loads(shown)]
    return {file.relative_to(root).as_posix() for file in files if file.is_relative_to(root)}


FILES = {
    "helpers.py": "from tools.clean import scrub\n",
    "tools/__init__.py": "from . import names\nVERSION = 1\n",
    "tools/names.py": "import json\n",
    "tools/clean.py": "from .deep.more import thing\nfrom ..tools import names as n\ndef scrub(): ...\n".replace(
        "..tools", "tools"
    ),
    "tools/deep/__init__.py": "",
    "tools/deep/more.py": "from .. import names\nfrom ...other import x\nthing = 1\n".replace(
        "from ...other import x\n", ""
    ),
    "tools/unused.py": "raise ImportError\n",
    "lonely.py": "def late():\n    import helpers\n",
    "spaced/inner.py": "import helpers\n",
}


def test_the_files_that_python_loads_are_the_files_that_are_traced(tmp_path: Path) -> None:
    _write(tmp_path, FILES)
    for code in (
        "import helpers",
        "from tools.clean import scrub",
        "import tools.deep.more",
        "from tools import names",
        "from tools import VERSION",
        "from tools.deep import more as m",
        "import spaced.inner",
        "from spaced import inner",
        "import json",
    ):
        assert _traced(tmp_path, code) == _loaded(tmp_path, code), code


def test_imports_inside_functions_count(tmp_path: Path) -> None:
    _write(tmp_path, FILES)
    assert _traced(tmp_path, "import lonely") == {"lonely.py"} | _traced(tmp_path, "import helpers")


def test_modules_are_looked_for_up_to_the_project_root(tmp_path: Path) -> None:
    _write(tmp_path, {"common.py": "", "src/packed/__init__.py": "", "deep/er/own.py": "", "deep/er/common.py": ""})
    assert _traced(tmp_path, "import common, packed, own", "deep/er/nb.ipynb") == {
        "deep/er/common.py",
        "src/packed/__init__.py",
        "deep/er/own.py",
    }
    assert module_folders(tmp_path / "deep" / "nb.ipynb", tmp_path / "deep") == (
        tmp_path / "deep",
        tmp_path / "deep" / "src",
    )


def test_distributions_are_known_by_their_versions(tmp_path: Path) -> None:
    code = "import sklearn.linear_model, yaml, json, no_such_thing\nfrom numpy import pi"
    found = trace_imports([ast.parse(code)], [tmp_path], tmp_path).distributions
    assert found == {
        "pyyaml": version("PyYAML"),
        "no_such_thing": "not installed",
        "numpy": version("numpy"),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "scikit-learn": version("scikit-learn"),
    }


def test_a_distribution_of_another_name_is_found(tmp_path: Path) -> None:
    found = trace_imports([ast.parse("import dateutil")], [tmp_path], tmp_path).distributions
    assert found["python-dateutil"] == version("python-dateutil")


def test_a_module_that_does_not_parse_counts_by_its_bytes(tmp_path: Path) -> None:
    _write(tmp_path, {"bad.py": "def ("})
    one = trace_imports([ast.parse("import bad")], [tmp_path], tmp_path).sources["bad.py"]
    _write(tmp_path, {"bad.py": "def (("})
    assert trace_imports([ast.parse("import bad")], [tmp_path], tmp_path).sources["bad.py"] != one


def test_modules_that_import_each_other_end(tmp_path: Path) -> None:
    _write(tmp_path, {"a.py": "import b\n", "b.py": "import a\n"})
    assert _traced(tmp_path, "import a") == {"a.py", "b.py"}
