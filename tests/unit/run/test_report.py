from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest

from mlnb.errors import NotebookError
from mlnb.run.record import CaseRecord, RunRecord, StageFault, StageRecord
from mlnb.run.report import PLOTLY, report_html

RECORD = RunRecord(
    id="20261122-193000-a1b2c3",
    notebook="work/delays.ipynb",
    notebook_digest="sha256:1",
    git_commit="0123456789abcdef",
    git_dirty=True,
    parameters={"months": 3, "who": "<b>J&J"},
    environment="sha256:2",
    started_at="2026-11-22T19:30:00.000000Z",
    state="failed",
    seconds=12.34,
    stages=(
        StageRecord("train", "stage", "cached", seconds=8.5, warnings=("train changed df without giving it",)),
        StageRecord(
            "test-train",
            "test",
            "failed",
            seconds=0.25,
            cases=(CaseRecord("test_auc", 9, "passed"), CaseRecord("cell 10", 10, "failed", "0.71 < 0.8")),
            error=StageFault(10, 2, "AssertionError", "0.71 < 0.8", "The test in cell 10 failed.", "Look at cell 10."),
        ),
    ),
)
FIGURE = {"data": [{"type": "bar", "x": ["</script>"], "y": [1]}], "layout": {"height": 321}}


class Page(HTMLParser):
    """What a page would fetch, and its text outside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.text = ""
        self._silent = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent = tag in {"script", "style"}
        self.fetched += [value for name, value in attrs if name == "src" and value and not value.startswith("data:")]

    def handle_endtag(self, tag: str) -> None:
        self._silent = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self._silent else data


def notebook(folder: Path, *outputs: dict[str, object], run: str = RECORD.id) -> Path:
    cells = [
        nbformat.v4.new_markdown_cell("# Late arrivals"),
        nbformat.v4.new_code_cell("take('secret plumbing')", metadata={"tags": ["mlnb"]}),
        nbformat.v4.new_code_cell("train()", outputs=[nbformat.v4.new_output("display_data", data=o) for o in outputs]),
    ]
    path = folder / "delays.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"mlnb": {"run": run}}), path)
    (folder / "run.json").write_text(json.dumps(RECORD.to_json()))
    return path


def test_the_head_tells_what_ran_and_what_failed(tmp_path: Path) -> None:
    text = " ".join(Page(report_html(notebook(tmp_path))).text.split())
    assert "work/delays.ipynb failed run 20261122-193000-a1b2c3, started 2026-11-22 19:30:00 UTC, took 12.3 s" in text
    assert "commit 0123456789ab with uncommitted changes" in text
    assert "test-train, cell 10, line 2: The test in cell 10 failed. Look at cell 10." in text
    assert "<b>J&J" in text
    assert "train changed df without giving it" in text
    assert "cell 10 failed 0.71 < 0.8" in text


def test_the_users_cells_are_there_and_ours_are_not(tmp_path: Path) -> None:
    text = Page(report_html(notebook(tmp_path))).text
    assert "Late arrivals" in text and "train" in text
    assert "secret plumbing" not in text


def test_plotly_is_inlined_once_and_only_where_something_is_plotted(tmp_path: Path) -> None:
    bundle = {PLOTLY: FIGURE, "text/html": "<p>instead</p>"}
    with_plots = report_html(notebook(tmp_path, bundle, bundle))
    assert len(re.findall(r"plotly\.js v\d", with_plots)) == 1
    assert with_plots.count("Plotly.newPlot(") >= 2
    assert "<p>instead</p>" not in with_plots
    assert "min-height:321px" in with_plots
    without = report_html(notebook(tmp_path, {"text/plain": "3"}))
    assert "plotly.js v" not in without and len(without) < 1_500_000


def test_the_page_fetches_nothing(tmp_path: Path) -> None:
    text = report_html(notebook(tmp_path, {PLOTLY: FIGURE}))
    assert Page(text).fetched == []
    assert "default-src 'none'" in text


def test_a_notebook_that_is_not_of_the_run_beside_it_has_no_head(tmp_path: Path) -> None:
    text = Page(report_html(notebook(tmp_path, run="another"))).text
    assert "20261122" not in text and "Late arrivals" in text


@pytest.mark.parametrize("content", [None, "{", "{}"])
def test_what_is_no_notebook_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "x.ipynb"
    if content is not None:
        path.write_text(content)
    with pytest.raises(NotebookError, match=r"x\.ipynb cannot be read as a notebook"):
        report_html(path)


def test_the_head_draws_the_pipeline_with_what_became_of_each_stage(tmp_path: Path) -> None:
    source = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell("%%stage train\nmodel = 1"),
            nbformat.v4.new_code_cell("%%test train\nassert model"),
        ]
    )
    nbformat.write(source, tmp_path / "source.ipynb")
    page = report_html(notebook(tmp_path))
    picture = page[page.index('class="mlnb-plan"') : page.index("</svg>")]
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", picture)
    assert [text for text in texts if text in {"train", "test train", "cached", "failed"}] == [
        "train",
        "cached",
        "test train",
        "failed",
    ]
