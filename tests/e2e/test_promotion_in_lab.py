"""Two people with the promotion panel open: each sees what the other does, and the audit log names both."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from mlnb.identity import system_user

pytestmark = pytest.mark.browser

USER = system_user()
POLICY = f"""
[tool.mlnb.policy.production]
promote = ["jupyter:*", "{USER}"]
approvals = 1
"""
REGISTER = """
import json
from hashlib import sha256
from pathlib import Path
from mlnb.project import Project
from mlnb.registry.gates import judge, parse_gate
from mlnb.registry.lineage import Lineage
from mlnb.registry.version import Draft

for name in ("model.onnx", "signature.json"):
    Path(name).write_bytes(b"{}")  # never loaded: no service runs
digest = "sha256:" + sha256(Path("model.onnx").read_bytes()).hexdigest()
package = {"format": 2, "exporter": "onnx", "model_file": "model.onnx", "files": {"model.onnx": digest, "signature.json": digest}, "signatures": {}}
Path("package.json").write_text(json.dumps(package))
project = Project(".")
files = {name: project.state.files.put(Path(name))[0] for name in ("package.json", "model.onnx", "signature.json")}
for auc in (0.71, 0.72, 0.60, 0.78):
    evidence = {"auc": auc, "latency_p99_ms": 9 / auc}
    lineage = Lineage(run="r", notebook="nb.ipynb", notebook_digest="sha256:00")
    version = project.models.register(Draft("delays", "jupyter:ada", "onnx", files, {"auc": auc}, lineage))
    verdicts = [verdict.to_json() for verdict in judge([parse_gate("auc >= 0.7")], evidence)]
    project.audit.record("ada", "judge", version.ref, {"evidence": evidence, "verdicts": verdicts})
project.promote("delays/1", "staging")
project.promote("delays/2", "staging")
"""
SHOW = "%load_ext mlnb\n%mlnb promote delays"
SHOW_FROM_KERNEL = """from IPython.display import display
from mlnb.faces.widgets import Promote
widget = Promote("delays", alias="staging")
data = widget._repr_mimebundle_()[0]
display({kind: data[kind] for kind in data if "mlnb" not in kind}, raw=True)
"""


@pytest.fixture
def delays(server) -> str:
    """Register four versions of a model; `staging` was 1 and is 2, delays/3 fails its gate, delays/4 is the newest."""
    environment = {**os.environ, "JUPYTER_DATA_DIR": str(server.settings.parents[2] / "data")}
    subprocess.run([sys.executable, "-P", "-c", REGISTER], cwd=server.root, env=environment, check=True)
    (server.root / "pyproject.toml").write_text(POLICY)
    server.write("nb.ipynb", (SHOW, ""), (SHOW_FROM_KERNEL, ""))
    return "delays"


@pytest.fixture
def enter(browser: Browser, server) -> Iterator[Callable[[str], Page]]:
    """Open the notebook as a person."""
    contexts = []

    def open_(person: str) -> Page:
        contexts.append(browser.new_context(viewport={"width": 1200, "height": 900}))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        page.goto(server.lab("nb.ipynb", person))
        expect(page.locator("#jp-main-statusbar")).to_contain_text("Python 3 (ipykernel) | Idle", timeout=120_000)
        return page

    yield open_
    for context in contexts:
        context.close()


def panel(page: Page, number: int = 0) -> Locator:
    return page.locator(".mlnb-Promotion").nth(number)


def acts(server) -> list[tuple[str, str, str]]:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "mlnb", "audit", "log", "--json"],
        cwd=server.root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    rows = [(row["actor"].partition(" (os ")[0], row["action"], row["subject"]) for row in json.loads(done.stdout)]
    return [row for row in rows if row[1] in ("approve", "promote", "rollback", "policy-refused")]


def execute(page: Page, number: int) -> None:
    page.locator(".jp-CodeCell .cm-content").nth(number).click()
    page.keyboard.press("Control+Enter")


@pytest.mark.usefixtures("delays")
def test_two_people_approve_promote_and_roll_back_before_each_others_eyes(server, enter, tmp_path):
    ada = enter("ada")
    execute(ada, 0)
    hers = panel(ada)
    expect(hers).to_contain_text("delays/4 would be the first production.", timeout=60_000)
    expect(hers).to_contain_text("You are ada")
    expect(hers).to_contain_text("0 of the 1 approvals")
    promote = hers.get_by_role("button", name="Promote delays/4 to production")
    expect(promote).to_be_disabled()
    expect(hers.get_by_role("button", name="Approve")).to_be_disabled()
    for control in (hers.get_by_label("Alias", exact=True), hers.locator("summary").last):
        control.focus()
        ada.keyboard.type("bx")  # would add a cell and cut it: here it is no command of the notebook
        expect(control).to_be_focused()
    ada.keyboard.press("Control+s")
    expect(ada.locator(".jp-mod-current .jp-DirtyIndicator, .jp-mod-dirty")).to_have_count(0)

    bob = enter("bob")  # he has no kernel of his own, and runs nothing
    his = panel(bob)
    expect(his).to_contain_text("You are bob", timeout=60_000)
    his.get_by_label("Reason", exact=True).fill("seen the card")
    his.get_by_role("button", name="Approve delays/4").click()
    expect(his.get_by_role("status")).to_have_text("You approved delays/4 for production.")

    expect(promote).to_be_enabled()
    hers.get_by_label("Reason", exact=True).fill("better & approved")
    promote.focus()
    ada.keyboard.press("Enter")
    expect(hers.get_by_role("status")).to_have_text("production: nothing → delays/4")
    expect(his.get_by_role("status")).to_have_text(re.compile("^jupyter:ada .*moved production: nothing → delays/4"))
    ada.screenshot(path=tmp_path / "promoted.png")

    his.get_by_label("Alias", exact=True).select_option("staging")
    expect(his).to_contain_text("delays/4 against delays/2, staging now.")
    hers.get_by_label("Alias", exact=True).select_option("staging")
    hers.get_by_label("Candidate", exact=True).select_option("delays/3")
    expect(hers).to_contain_text("A gate failed.")
    hers.get_by_label("Promote although").check()
    expect(hers).to_contain_text("Overriding a gate needs a reason.")
    his.get_by_role("button", name="Roll back to delays/1").click()
    expect(his.get_by_role("status")).to_have_text("staging: delays/2 → delays/1")
    expect(hers.get_by_role("status")).to_have_text(
        re.compile(r"^jupyter:bob .*rolled back staging: delays/2 → delays/1")
    )
    expect(hers.get_by_label("Candidate", exact=True)).to_have_value("delays/3")
    hers.get_by_label("Reason", exact=True).fill("to look at it")
    hers.get_by_role("button", name="Promote delays/3 to staging").click()
    expect(hers.get_by_role("status")).to_have_text("staging: delays/1 → delays/3")

    execute(ada, 1)
    from_kernel = panel(ada, 1)
    expect(from_kernel).to_contain_text(f"You act as {USER}", timeout=60_000)
    from_kernel.get_by_role("button", name="Roll back to delays/1").click()
    expect(from_kernel.get_by_role("status")).to_have_text("staging: delays/3 → delays/1")
    expect(his.get_by_role("status")).to_have_text(re.compile(f"^{re.escape(USER)} rolled back staging"))
    ada.screenshot(path=tmp_path / "both.png")

    assert acts(server) == [
        (USER, "promote", "delays@staging"),
        (USER, "promote", "delays@staging"),
        ("jupyter:bob", "approve", "delays/4"),
        ("jupyter:ada", "promote", "delays@production"),
        ("jupyter:bob", "rollback", "delays@staging"),
        ("jupyter:ada", "promote", "delays@staging"),
        (USER, "rollback", "delays@staging"),
    ]
