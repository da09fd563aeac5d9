"""The button, the chips and the errors in a real JupyterLab and a real Notebook 7, in chromium."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

CELLS = (
    ("rows = 20", "parameters"),
    ("import math", ""),
    ("%%stage load\nnumbers = list(range(rows))", ""),
    ("#| stage: total\ntotal = sum(numbers)", ""),
    ("%%test total\nassert total == rows * (rows - 1) // 2", ""),
    ("mean = total / rows", "step:mean"),
    ("print('only looking')", "skip"),
)
DONE = re.compile(r"^4 stages in .* s$")
WATCH = """
    window.seen = [];
    new MutationObserver(changes => changes.forEach(change => {
        const {name, state} = change.target.dataset;
        if (name) window.seen.push(`${name} ${state}`);
    })).observe(document.body, {subtree: true, attributeFilter: ["data-state"]});
"""


def test_chips_name_the_marked_cells_in_every_spelling(server, open_notebook):
    server.write("nb.ipynb", *CELLS, ("%%deploy delays --model model --sample sample", ""), ("%%stge oops\n1", ""))
    notebook = open_notebook("nb.ipynb")
    expect(notebook.page.locator(".mlnb-ChipRow")).to_have_count(8)
    states = notebook.states()
    fault = states.pop("mark")
    assert states == {
        "parameters": "",
        "stage load": "not run yet",
        "stage total": "not run yet",
        "test total": "not run yet",
        "stage mean": "not run yet",
        "skip": "",
        "deploy delays": "",
    }
    assert "%%stge" in fault
    assert "%%stage" in fault


def test_a_chip_follows_what_is_typed_before_it_is_saved(server, open_notebook):
    server.write("nb.ipynb", ("%%stage load\nx = 1", ""), ("y = 2", ""))
    notebook = open_notebook("nb.ipynb")
    notebook.cell("y = 2").locator(".cm-content").click()
    notebook.page.keyboard.press("Control+Home")
    notebook.page.keyboard.type("%%stage shown\n")
    expect(notebook.chip("shown")).to_have_attribute("aria-label", "stage shown: not run yet")
    notebook.page.keyboard.press("ArrowUp")
    notebook.page.keyboard.press("End")
    notebook.page.keyboard.type("2")
    expect(notebook.chip("shown2")).to_be_visible()
    expect(notebook.chip("shown")).to_have_count(0)


@pytest.mark.parametrize("lab", [True, False], ids=["lab", "notebook7"])
def test_the_button_runs_the_pipeline_and_the_chips_live_through_it(server, open_notebook, lab):
    server.write("nb.ipynb", *CELLS)
    notebook = open_notebook("nb.ipynb", lab=lab)
    expect(notebook.chip("mean")).to_be_visible()
    notebook.page.evaluate(WATCH)
    notebook.run_pipeline()
    expect(notebook.page.get_by_role("button", name="Cancel run")).to_be_visible()
    notebook.expect_status(DONE)
    seen = notebook.page.evaluate("window.seen")
    assert [state for state in seen if state.startswith("load ")] == ["load queued", "load running", "load done"]
    assert {mark: state.partition(" ")[0] for mark, state in notebook.states().items()} == {
        "parameters": "",
        "stage load": "done",
        "stage total": "done",
        "test total": "passed",
        "stage mean": "done",
        "skip": "",
    }
    notebook.picture("done")
    notebook.run_pipeline()
    notebook.expect_status(re.compile(r"^4 stages in .* s, 4 cached$"))
    assert notebook.states()["stage load"] == "cached"


def test_what_was_typed_but_not_saved_is_saved_and_runs(server, open_notebook):
    file = server.write("nb.ipynb", *CELLS[:3], ("%%test load\nassert len(numbers) == 21", ""))
    notebook = open_notebook("nb.ipynb")
    notebook.cell("rows = 20").locator(".cm-content").click()
    notebook.page.keyboard.press("Control+End")
    notebook.page.keyboard.type(" + 1")
    assert "20 + 1" not in file.read_text("utf-8")
    notebook.run_pipeline()
    notebook.expect_status(re.compile("^2 stages in"))
    assert "rows = 20 + 1" in file.read_text("utf-8")
    listed = subprocess.run(
        [sys.executable, "-P", "-m", "mlnb", "runs", "list", "--json"],
        cwd=server.root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert [run["state"] for run in json.loads(listed.stdout)] == ["done"]


def test_a_failing_stage_is_marked_explained_and_one_click_away(server, open_notebook):
    server.write(
        "nb.ipynb",
        *CELLS[:3],
        *((f"# cell {number}" + "\n# a long cell" * 20, "") for number in range(4)),
        ("%%stage total\nx = 3\ntotal = numbers[400]", ""),
        ("%%test total\nassert total == 1", ""),
    )
    notebook = open_notebook("nb.ipynb")
    notebook.run_pipeline()
    notebook.expect_status("failed in total")
    page = notebook.page
    toast = page.get_by_role("alert").filter(has_text="IndexError")
    expect(toast).to_be_visible()
    notebook.picture("failed-notification")
    toast.get_by_role("button", name="Show cell 8").click()
    cell = notebook.cell("total = numbers[400]")
    expect(cell).to_be_in_viewport()
    expect(cell).to_have_class(re.compile("jp-mod-active"))
    expect(cell.locator(".mlnb-Fault")).to_contain_text("line 3")
    expect(cell.locator(".mlnb-Fault")).to_contain_text("IndexError")
    assert notebook.states()["stage total"].startswith("failed")
    assert notebook.states()["test total"] == "skipped"
    notebook.picture("failed-cell")

    cell.locator(".cm-content").click()
    page.keyboard.press("Control+End")
    for _ in range(3):
        page.keyboard.press("Backspace")
    page.keyboard.type("]")
    expect(notebook.chip("total")).to_have_attribute("aria-label", "stage total: edited since its run")
    expect(cell.locator(".mlnb-Fault")).to_have_count(0)


def test_a_notebook_that_cannot_be_planned_says_why_at_the_cell(server, open_notebook):
    server.write("nb.ipynb", ("%%stage load\nx = nowhere", ""))
    notebook = open_notebook("nb.ipynb")
    notebook.run_pipeline()
    notebook.expect_status("refused")
    expect(notebook.cell("nowhere").locator(".mlnb-Fault")).to_contain_text("nowhere", timeout=60_000)


def test_a_run_outlives_a_reload_of_the_page_and_can_be_cancelled(server, open_notebook):
    server.write("nb.ipynb", ("%%stage wait\nimport time\ntime.sleep(600)\nx = 1", ""))
    notebook = open_notebook("nb.ipynb")
    notebook.run_pipeline()
    running = {"name": "data-state", "value": "running"}
    expect(notebook.chip("wait")).to_have_attribute(*running.values(), timeout=60_000)
    notebook = open_notebook("nb.ipynb")
    expect(notebook.chip("wait")).to_have_attribute(*running.values(), timeout=60_000)
    expect(notebook.chip("wait")).to_contain_text(re.compile(r"running \d+(\.\d)? s"))
    notebook.picture("running")
    notebook.page.get_by_role("button", name="Cancel run").click()
    notebook.expect_status("cancelled")
    assert notebook.states()["stage wait"] == "cancelled"
    expect(notebook.page.get_by_role("button", name="Run pipeline")).to_be_visible()


def test_the_palette_runs_the_pipeline_too(server, open_notebook):
    server.write("nb.ipynb", *CELLS)
    notebook = open_notebook("nb.ipynb")
    notebook.wait_for_kernel()
    notebook.cell("rows = 20").locator(".cm-content").click()
    notebook.page.get_by_role("menuitem", name="View", exact=True).click()
    notebook.page.get_by_role("menuitem", name="Activate Command Palette").click()
    notebook.page.get_by_role("listitem").filter(has_text="Run Pipeline").or_(
        notebook.page.locator('.lm-CommandPalette-item[data-command="mlnb:run-pipeline"]')
    ).first.click()
    notebook.expect_status(DONE)


CONTRAST = """all => all.map(node => {
    const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
    const over = ([r, g, b, a = 1], under) => [r, g, b].map((value, i) => value * a + under[i] * (1 - a));
    const linear = value => value <= .03928 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4;
    const light = rgb => rgb.map(value => linear(value / 255))
        .reduce((sum, value, i) => sum + value * [.2126, .7152, .0722][i], 0);
    const ground = numbers(getComputedStyle(node.closest('.mlnb-Chip')).backgroundColor).slice(0, 3);
    const text = over(numbers(getComputedStyle(node).color), ground);
    const [brighter, darker] = [light(text), light(ground)].sort((a, b) => b - a);
    return (brighter + .05) / (darker + .05);
})"""  # WCAG 2.2, "contrast ratio" and "relative luminance"


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_chips_can_be_read_in_both_themes(server, open_notebook, theme):
    server.theme(theme)
    server.write("nb.ipynb", *CELLS)
    notebook = open_notebook("nb.ipynb")
    expect(notebook.chip("mean")).to_be_visible()
    notebook.page.wait_for_selector(f'body[data-jp-theme-name="{theme}"]', state="attached")
    ratios = notebook.page.locator(".mlnb-Chip > span:not(:empty)").evaluate_all(CONTRAST)
    notebook.picture(theme)
    assert min(ratios) >= 4.5, ratios
