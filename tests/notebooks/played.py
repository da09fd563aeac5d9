"""A tutorial that asks a service or a registry between its cells is played from the first cell to the last."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from mlnb.project import Project

EXAMPLES = Path(__file__).parents[2] / "example_notebooks"
SOONER = {"--every 5s": "--every 1s", "monotonic() + 12": "monotonic() + 3"}  # the canary's two steps, and their end


def play(notebook: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Execute all cells of a copy in a kernel, and return what each has left, by its first line."""
    (folder / "pyproject.toml").write_text("[tool.mlnb]\nenvironment = 'installed'\nlatency_requests = 50\n")
    copy = Path(shutil.copy(notebook, folder))
    monkeypatch.setenv("JPY_SESSION_NAME", str(copy))
    played = nbformat.read(copy, 4)
    for cell in played.cells:
        if cell.source.startswith("%%deploy"):  # a live cell offers a button, which nobody can click here
            cell.source = f"%mlnb deploy {copy.name}"
        for written, sooner in SOONER.items():
            cell.source = cell.source.replace(written, sooner)
    services = Project(folder).services
    try:
        NotebookClient(played, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    finally:
        for service in services.list():
            services.stop(service.name)
    return {
        cell.source.splitlines()[0].strip(): json.dumps(cell.outputs)
        for cell in played.cells
        if cell.cell_type == "code"
    }
