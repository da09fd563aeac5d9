"""The notebook that a run left becomes one HTML page that needs no network, in the nbconvert template ``mlnb``.

`RunReport` is the template's preprocessor: ``jupyter nbconvert --to html --template mlnb`` and `report_html` make the
same page. Widgets are shown as their static form: the library that draws them lives on a network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlnb.errors import NotebookError, StateError
from mlnb.run.record import RunRecord
from mlnb.store.manifest import read_json

PLOTLY = "application/vnd.plotly.v1+json"
_TEMPLATES = Path(__file__).parent.parent / "templates"
_TEMPLATE = "report"


def report_html(notebook: Path) -> str:
    """Return the page of a run's assembled notebook, or of any other notebook.

    Parameters
    ----------
    notebook : Path
        ``.mlnb/runs/<id>/<name>.ipynb``: the head of the page is made from the ``run.json`` beside it.

    Raises
    ------
    NotebookError
        If the notebook is missing or cannot be read.
    """
    import nbformat
    from nbconvert import HTMLExporter

    try:
        document = nbformat.read(notebook, as_version=4)
    except (OSError, ValueError, nbformat.ValidationError) as error:
        raise NotebookError(
            f"{notebook} cannot be read as a notebook: {error}.", "Run the pipeline again.", path=str(notebook)
        ) from error
    exporter = HTMLExporter(template_name=_TEMPLATE, extra_template_basedirs=[str(_TEMPLATES)], embed_images=True)
    place = {"metadata": {"name": notebook.stem, "path": str(notebook.parent)}}
    page, _ = exporter.from_notebook_node(document, resources=place)
    return str(page)


class RunReport:
    """Preprocessor of the template ``mlnb``: finds the run, and plotly.js where a plot needs it.

    It sets ``resources["mlnb"]`` to ``run`` (a `RunRecord` or None), ``longest`` (seconds of the longest stage) and
    ``plotly_js`` (empty if no output is a plot), and takes the state of the widgets out of the notebook.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        self.enabled = enabled

    def __call__(self, notebook: Any, resources: Any) -> tuple[Any, Any]:
        """Return the notebook and the resources that the template is rendered with (both are nbconvert's own types)."""
        folder = Path(resources.get("metadata", {}).get("path") or ".")
        run = _run_of(notebook, folder)
        notebook.metadata.pop("widgets", None)
        plotted = any(PLOTLY in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", []))
        resources["mlnb"] = {
            "run": run,
            "longest": max((stage.seconds for stage in run.stages), default=0.0) if run else 0.0,
            "plotly_js": _plotly_js() if plotted else "",
        }
        return notebook, resources


def _run_of(notebook: Any, folder: Path) -> RunRecord | None:
    try:
        record = RunRecord.from_json(read_json(folder / "run.json"))
    except (OSError, StateError):
        return None
    return record if notebook.metadata.get("mlnb", {}).get("run") == record.id else None


def _plotly_js() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())
