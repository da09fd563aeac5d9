"""Ploomber, in a virtual environment of its own: the same stages as scripts, handed over in files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.bench.cost import Cost
from tests.bench.place import Place

_PACKAGES = ("ploomber", "ipykernel", "pandas", "scikit-learn", "setuptools<81")  # it imports pkg_resources


class Ploomber:
    """A pipeline of scripts that Ploomber builds.

    Parameters
    ----------
    place : Place
        Where the environment is made.

    Attributes
    ----------
    missing : str
        Why it could not be installed here, empty where it could.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._python = place.folder / "ploomber" / "bin" / "python"
        self.missing = ""
        uv = Path(sys.executable).parent / "uv"
        for words in (
            ("venv", "-q", "--python", f"{sys.version_info.major}.{sys.version_info.minor}", "ploomber"),
            ("pip", "install", "-q", "--python", str(self._python), *_PACKAGES),
        ):
            done = subprocess.run([str(uv), *words], cwd=place.folder, capture_output=True, text=True, check=False)
            if done.returncode:
                self.missing = (done.stderr.strip().splitlines() or ["uv failed"])[-1]
                return

    def write(self, folder: Path, steps: Sequence[tuple[str, tuple[str, ...], str]]) -> None:
        """Write name, upstream and code of each step as a script, and the pipeline that names them."""
        tasks = []
        for name, upstream, source in steps:
            head = f'# %% tags=["parameters"]\nupstream = {list(upstream) or None}\nproduct = None\n\n# %%\n'
            (folder / f"{name}.py").write_text(head + source + "\n", "utf-8")
            tasks.append(f"  - source: {name}.py\n    product: {{nb: out/{name}.ipynb}}\n")
        (folder / "pipeline.yaml").write_text("tasks:\n" + "".join(tasks), "utf-8")

    def build(self, folder: Path) -> Cost:
        """Run ``ploomber build``."""
        return self._place.spend(self._python.with_name("ploomber"), "build", cwd=folder)
