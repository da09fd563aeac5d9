"""The example in a real JupyterLab: the button runs it, its cells deploy, promote and watch it, and the alias moves.

`tests/road/test_wheel.py` runs it from the installed wheel; by hand: ``pytest tests/e2e/first_pipeline.py``.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

EXAMPLE = Path(__file__).parents[2] / "example_notebooks" / "01_first_pipeline.ipynb"


def mlnb(*words: str, folder: Path) -> object:
    """Return what a command answers in JSON."""
    command = [sys.executable, "-P", "-m", "mlnb", *words, "--json"]
    return json.loads(subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout)


@pytest.fixture
def stopped_services(server):
    """Stop, at the end, the service that the notebook has started: it is made to survive the notebook."""
    yield
    for service in mlnb("services", "list", folder=server.root):
        mlnb("services", "stop", service["name"], folder=server.root)


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("stopped_services")
def test_the_example_runs_deploys_and_is_promoted_by_a_click(server, open_notebook):
    content = json.loads(EXAMPLE.read_text("utf-8"))
    for verb in ("card", "explain"):
        cell = {"cell_type": "code", "id": verb, "metadata": {}, "outputs": [], "execution_count": None}
        content["cells"].append({**cell, "source": f"%mlnb models {verb} delays@staging"})
    (server.root / EXAMPLE.name).write_text(json.dumps(content), "utf-8")
    notebook = open_notebook(EXAMPLE.name)
    notebook.wait_for_kernel()
    notebook.run_pipeline()
    notebook.expect_status(re.compile(r"^\d+ stages in"), timeout_s=400)
    ran = {mark: state for mark, state in notebook.states().items() if mark.startswith("stage ")}
    assert len(ran) == 4
    assert all(state.startswith("done") for state in ran.values()), ran
    notebook.picture("01-run")

    notebook.execute("%load_ext mlnb")
    notebook.execute("%%deploy delays", timeout_s=400)
    notebook.picture("02-deployed")
    before = mlnb("models", "show", "delays@staging", folder=server.root)
    assert before["ref"] == "delays/1"

    cell = notebook.execute("%mlnb promote delays")
    button = cell.get_by_role("button", name=re.compile("^Promote"))
    expect(button).to_be_enabled(timeout=60_000)
    button.scroll_into_view_if_needed()
    notebook.picture("03-before-promotion")
    button.click()
    expect(cell).to_contain_text(re.compile(r"production\W.*delays/1", re.DOTALL), timeout=120_000)
    notebook.picture("04-promoted")
    assert mlnb("models", "show", "delays@production", folder=server.root)["ref"] == "delays/1"
    (service,) = mlnb("services", "list", folder=server.root)
    assert service["aliases"]["production"] == "delays/1"

    told = notebook.execute("%mlnb models card")
    expect(told.locator(".mlnb-card").first).to_contain_text(re.compile("Model details.*Metrics of the run", re.DOTALL))
    told.locator(".js-plotly-plot .main-svg").first.scroll_into_view_if_needed()
    notebook.picture("06-card")
    told = notebook.execute("%mlnb models explain")
    expect(told.locator(".js-plotly-plot")).to_have_count(2, timeout=120_000)
    expect(told).to_contain_text("mean absolute SHAP value")
    told.scroll_into_view_if_needed()
    notebook.picture("07-explained")

    for start in ("late_minutes", "from importlib", "NUMERIC =", "%%stage prepare", "%%stage split"):
        notebook.execute(start)
    replayed = notebook.execute("import json", timeout_s=400)
    expect(replayed).to_contain_text("6236 flights answered by delays/1")
    watched = notebook.execute("%mlnb monitor delays", timeout_s=120)
    expect(watched.locator(".js-plotly-plot .main-svg").first).to_be_visible(timeout=120_000)
    expect(watched).to_contain_text("temp drifted")
    watched.scroll_into_view_if_needed()
    notebook.picture("05-watched")
