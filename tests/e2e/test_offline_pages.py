"""Every page that mlnb leaves shows its pictures in a chromium without a network, and asks for nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbconvert import HTMLExporter
from playwright.sync_api import Browser, sync_playwright
from playwright.sync_api import Page as Tab

from mlnb.model.signature import Column, Signature
from mlnb.monitor.drawing import static
from mlnb.monitor.figures import figure, page
from mlnb.monitor.reference import summarise
from mlnb.monitor.report import Report, build_report
from mlnb.run.report import report_html
from mlnb.service.log_reader import Batch

pytestmark = pytest.mark.browser
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DAY = 24 * 3_600_000_000_000


@dataclass
class Seen:
    """An open page, what it asked for and what went wrong in it."""

    tab: Tab
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def open(self, folder: Path, text: str) -> None:
        path = folder / "page.html"
        path.write_text(text, "utf-8")
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)))
        self.tab.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)
        self.tab.goto(path.as_uri())

    @property
    def foreign(self) -> list[str]:
        return [url for url in self.requests if not url.startswith(("file:", "data:", "blob:"))]


@pytest.fixture
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def seen(chromium: Browser) -> Iterator[Seen]:
    context = chromium.new_context(offline=True, viewport={"width": 1280, "height": 1200})
    yield Seen(context.new_page())
    context.close()


@pytest.fixture(scope="module")
def report() -> Report:
    random = np.random.default_rng(0)
    signature = Signature((Column("age", "float64"), Column("city", "string")), "classifier", (0, 1), True, "int64")

    def columns(older: float) -> dict[str, list[object]]:
        return {"age": random.normal(40 + older, 10, 600).tolist(), "city": random.choice(list("ABC"), 600).tolist()}

    scores = np.linspace(0, 1, 600)
    table = np.column_stack([1 - scores, scores]).tolist()
    answers = (scores > 0.5).astype(int).tolist()
    reference = summarise(signature, columns(0), answers, table)
    rows = [dict(zip(("age", "city"), row, strict=True)) for row in zip(*columns(12).values(), strict=True)]
    at = tuple(1_356_998_400_000_000_000 + place // 60 * DAY for place in range(600))
    ids = tuple(f"p{place}" for place in range(600))
    log = Batch(
        *(ids, ids, at, at, ("delays",) * 600, (7,) * 600, ("production",) * 600, (200,) * 600, (1.5,) * 600),
        *(tuple(json.dumps(value) for value in values) for values in (rows, answers, table)),
        (None,) * 600,
    )
    labels = dict(zip(ids, random.integers(0, 2, 600).tolist(), strict=True))
    at_time = datetime(2026, 11, 22, tzinfo=UTC)
    return build_report(reference, [log], model="delays", version=7, at=at_time, labels=labels)


def bar_heights(tab: Tab) -> list[float]:
    """Return the heights of the bars of the current side of the distribution."""
    heights: list[float] = tab.evaluate(
        "[...document.querySelectorAll('.x2y2 .trace.bars')].at(-1)"
        ".querySelectorAll('path').values().map(path => path.getBBox().height).toArray()"
    )
    return heights


def overlapping(tab: Tab) -> list[str]:
    """Return the pairs of texts of the plot whose boxes overlap by more than a little."""
    pairs: list[str] = tab.evaluate(
        """() => {
          const texts = [...document.querySelectorAll('.js-plotly-plot .main-svg text')]
            .filter(text => text.textContent.trim() && text.getBoundingClientRect().width)
            .map(text => [text.textContent, text.getBoundingClientRect()]);
          const found = [];
          texts.forEach(([name, a], i) => texts.slice(i + 1).forEach(([other, b]) => {
            const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
            const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
            if (width > 2 && height > 4) found.push(name + ' / ' + other);
          }));
          return found;
        }"""
    )
    return pairs


def test_the_monitor_page_draws_all_panels_without_a_network(seen: Seen, report: Report, tmp_path: Path) -> None:
    seen.open(tmp_path, page(report))
    seen.tab.wait_for_selector(".js-plotly-plot .main-svg .barlayer path")
    assert seen.tab.locator(".js-plotly-plot .heatmaplayer image").count() == 1
    assert seen.tab.locator(".js-plotly-plot .scatterlayer path.js-line").count() == 2 + len(report.overall.metrics)
    assert sum(bar_heights(seen.tab)) > 100
    assert overlapping(seen.tab) == []
    assert (seen.foreign, seen.errors) == ([], [])


def test_the_menu_of_the_page_changes_the_distribution(seen: Seen, report: Report, tmp_path: Path) -> None:
    seen.open(tmp_path, page(report))
    seen.tab.wait_for_selector(".js-plotly-plot .main-svg .barlayer path")
    before = len(bar_heights(seen.tab))
    seen.tab.locator(".updatemenu-header").click()
    seen.tab.locator(".updatemenu-dropdown-button", has_text="city").click()
    seen.tab.wait_for_function("document.querySelector('.annotation-text').closest('svg').textContent.includes('city')")
    assert len(bar_heights(seen.tab)) == 3 < before
    assert (seen.foreign, seen.errors) == ([], [])


def run_folder(folder: Path, outputs: list[dict[str, object]]) -> Path:
    cell = nbformat.v4.new_code_cell(
        "show()", outputs=[nbformat.v4.new_output("display_data", data=data) for data in outputs]
    )
    path = folder / "n.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    return path


def test_plots_of_a_run_report_are_drawn_without_a_network(seen: Seen, report: Report, tmp_path: Path) -> None:
    drawn = json.loads(figure(report).to_json())
    path = run_folder(tmp_path, [{"application/vnd.plotly.v1+json": drawn}] * 2)
    seen.open(tmp_path, report_html(path))
    seen.tab.wait_for_function("document.querySelectorAll('.js-plotly-plot .heatmaplayer image').length === 2")
    assert (seen.foreign, seen.errors) == ([], [])


def test_what_a_widget_leaves_is_a_picture_in_any_export(seen: Seen, report: Report, tmp_path: Path) -> None:
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "0", "version_major": 2}, "text/plain": ""}
    path = run_folder(tmp_path, [{"text/html": static(report)}, view])
    exported, _ = HTMLExporter().from_filename(str(path))
    seen.open(tmp_path, exported)
    drawn = seen.tab.locator("svg path").evaluate_all("paths => paths.filter(p => p.getBBox().height > 5).length")
    assert drawn >= 2 * 4
    assert seen.tab.get_by_text("age drifted by").first.is_visible()
