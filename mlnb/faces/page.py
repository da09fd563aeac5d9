"""A run becomes one HTML page that opens without a network: what ran, then the notebook with its outputs.

The assembled notebook goes through nbconvert with the project's own template (`mlnb/templates/report`).
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from mlnb.errors import UsageError
from mlnb.faces import view

if TYPE_CHECKING:
    from mlnb.run.record import RunRecord

_TEMPLATES = Path(__file__).parents[1] / "templates"


def run_page(record: RunRecord, root: Path) -> str:
    """Return the page of a run whose files are below `root`, the ``.mlnb`` folder.

    Raises
    ------
    UsageError
        If the run has left no notebook.
    """
    import nbformat
    from nbconvert import HTMLExporter

    path = root / "runs" / record.id / PurePath(record.notebook).name
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise UsageError(f"The notebook {path} of run {record.id} cannot be read: {error}.", "Run it again.") from error
    notebook = nbformat.from_dict(content)
    notebook.cells.insert(0, nbformat.v4.new_raw_cell(_summary(record), metadata={"raw_mimetype": "text/html"}))
    exporter = HTMLExporter(template_name="report", extra_template_basedirs=[str(_TEMPLATES)])
    title = f"{PurePath(record.notebook).stem}: run {record.id}"
    page, _ = exporter.from_notebook_node(notebook, resources={"metadata": {"name": title}})
    return str(page)


def _summary(record: RunRecord) -> str:
    text = "\n".join(view.run_lines(record))
    return f'<section class="mlnb-run"><h1>{escape(record.notebook)}</h1><pre>{escape(text)}</pre></section>'
