"""The notebook that a run left becomes one HTML page that needs no network, in the nbconvert template ``mlnb``.

`RunReport` is the template's preprocessor: ``jupyter nbconvert --to html --template mlnb`` and `report_html` make the
same page. Widgets are shown as their static form: the library that draws them lives on a network.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from mlnb.errors import NotebookError, PlanError, StateError
from mlnb.model.evaluation_view import html
from mlnb.notebook.document import read_document
from mlnb.pipeline.build import build_pipeline
from mlnb.pipeline.drawing import svg
from mlnb.run.notebooks import source_path
from mlnb.run.record import FORMAT, RunRecord
from mlnb.run.values import evaluations, numbers
from mlnb.store.files import FileStore
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

    It sets ``resources["mlnb"]`` to ``run`` (a `RunRecord` or None), ``graph`` (SVG), ``metrics`` (names with numbers),
    ``evaluations`` (names with HTML),
    ``bars`` (by stage: left edge and width in percent of the run) and ``plotly_js`` (empty if no output is a plot), and
    takes the state of the widgets out of the notebook.
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
            "graph": _graph(run, folder) if run else "",
            "metrics": _metrics(run, folder) if run else {},
            "evaluations": _evaluations(run, folder) if run else {},
            "bars": _bars(run) if run else {},
            "plotly_js": _plotly_js() if plotted else "",
        }
        return notebook, resources


def _run_of(notebook: Any, folder: Path) -> RunRecord | None:
    try:
        record = RunRecord.from_json(read_json(folder / "run.json", FORMAT))
    except (OSError, StateError):
        return None
    return record if notebook.metadata.get("mlnb", {}).get("run") == record.id else None


def _graph(run: RunRecord, folder: Path) -> str:
    """Draw the pipeline that the run's own copy of the source makes, with what became of each stage."""
    source = source_path(folder, Path(run.notebook))
    try:
        pipeline = build_pipeline(read_document(source))
    except (NotebookError, PlanError):  # a record whose source is gone is still a report
        return ""
    return svg(pipeline, {stage.name: stage.state for stage in run.stages})


def _metrics(run: RunRecord, folder: Path) -> dict[str, float]:
    """Return what the stages measured, under ``stage.name``."""
    store = FileStore(folder.parents[1] / "artifacts")
    try:
        return {name: value for name, value in numbers(run, store).items() if "." in name}
    except StateError:
        return {}


def _evaluations(run: RunRecord, folder: Path) -> dict[str, str]:
    """Return tables and static pictures of what the stages have evaluated."""
    try:
        found = evaluations(run, FileStore(folder.parents[1] / "artifacts"))
    except StateError:  # a record whose artifacts are gone is still a report
        return {}
    return {name: html(evaluation) for name, evaluation in found.items()}


def _bars(run: RunRecord) -> dict[str, tuple[float, float]]:
    """Return where each executed stage's time lies in the run's, as left edge and width in percent."""
    begun = datetime.fromisoformat(run.started_at)
    found: dict[str, tuple[float, float]] = {}
    for stage in run.stages:
        if stage.state in ("done", "failed") and stage.started_at and run.seconds:
            left = (datetime.fromisoformat(stage.started_at) - begun).total_seconds() / run.seconds * 100
            left = min(max(left, 0.0), 99.0)
            found[stage.name] = (left, max(min(stage.seconds / run.seconds * 100, 100 - left), 0.5))
    return found


def _plotly_js() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())
