"""A real Jupyter server with the installed extension, and a real chromium in front of it."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Locator, Page, Request, expect, sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SETTINGS = {
    "@jupyterlab/apputils-extension/notification.jupyterlab-settings": {"fetchNews": "false", "checkForUpdates": False},
}


PEOPLE = """
from jupyter_server.auth.identity import IdentityProvider, User

class People(IdentityProvider):
    # "<token>.ada" logs ada in, as an identity provider of an organisation does; the token alone somebody

    async def get_user_token(self, handler):
        secret, _, person = self.get_token(handler).partition(".") if self.get_token(handler) else ("", "", "")
        if person and secret == self.token:
            return User(person)
        return await super().get_user_token(handler)

c.ServerApp.identity_provider_class = People
"""  # a config file, because the class must be imported from nowhere


@dataclass(frozen=True, slots=True)
class Server:
    """A running Jupyter server: where it is, its token, its root, the folder of a test, its settings."""

    url: str
    token: str
    top: Path
    folder: str
    settings: Path

    @property
    def root(self) -> Path:
        """The test's own folder."""
        return self.top / self.folder

    def theme(self, name: str) -> None:
        """Choose the theme of the pages that are opened from now on."""
        file = self.settings / "@jupyterlab" / "apputils-extension" / "themes.jupyterlab-settings"
        file.write_text(json.dumps({"theme": name}))

    def write(self, name: str, *cells: tuple[str, str]) -> Path:
        """Write a notebook of code cells, each a source and a tag."""
        made = [
            {
                "cell_type": "code",
                "id": f"cell-{number}",
                "metadata": {"tags": [tag]} if tag else {},
                "source": source,
                "outputs": [],
                "execution_count": None,
            }
            for number, (source, tag) in enumerate(cells, 1)
        ]
        metadata = {
            "kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"},
            "language_info": {"name": "python"},
        }
        file = self.root / name
        file.write_text(json.dumps({"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}), "utf-8")
        return file

    def lab(self, path: str, person: str = "") -> str:
        """Return the address that opens a notebook in a fresh JupyterLab workspace, for a person of that name."""
        token = f"{self.token}.{person}" if person else self.token
        return f"{self.url}lab/tree/{self.folder}/{path}?token={token}&reset"

    def notebook7(self, path: str) -> str:
        """Return the address that opens a notebook in Notebook 7."""
        return f"{self.url}notebooks/{self.folder}/{path}?token={self.token}"


@dataclass(frozen=True, slots=True)
class Opened:
    """An open notebook, as a person sees it."""

    page: Page
    pictures: Path

    def chip(self, name: str) -> Locator:
        """Return the chip of a stage or of another named mark; of several cells the first."""
        return self.page.locator(f'.mlnb-ChipRow[data-name="{name}"]').first

    def states(self) -> dict[str, str]:
        """Return what the chips say, for a screen reader, by their marks."""
        labels = self.page.locator(".mlnb-ChipRow").evaluate_all(
            "all => all.map(one => one.getAttribute('aria-label'))"
        )
        return {mark: state for mark, _, state in (str(label).partition(": ") for label in labels)}

    def run_pipeline(self) -> None:
        """Click the button in the toolbar."""
        self.page.get_by_role("button", name="Run pipeline").click()

    def expect_status(self, text: str | re.Pattern[str], timeout_s: float = 120) -> None:
        """Wait until the words beside the button say so."""
        expect(self.page.locator(".mlnb-RunStatus")).to_have_text(text, timeout=1000 * timeout_s)

    def cell(self, start: str) -> Locator:
        """Return the code cell whose text has `start`."""
        return self.page.locator(".jp-CodeCell").filter(has=self.page.locator(".cm-content", has_text=start)).first

    def execute(self, start: str, timeout_s: float = 240) -> Locator:
        """Run a cell in the kernel, wait until it has ended, and return it."""
        cell = self.cell(start)
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")
        expect(cell.locator(".jp-InputPrompt").first).to_have_text(re.compile(r"\[\d+\]:"), timeout=1000 * timeout_s)
        return cell

    def wait_for_kernel(self) -> None:
        """Wait until the kernel listens."""
        self.page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=120_000)

    def picture(self, name: str) -> None:
        """Take a screenshot, for people to look at."""
        self.page.screenshot(path=self.pictures / f"{name}.png")


@dataclass
class Seen:
    """What a page did that nobody should see: script errors, and requests to elsewhere."""

    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def console(self, message: ConsoleMessage) -> None:
        """Keep errors of the console that are ours."""
        if message.type == "error" and "mlnb" in message.text:
            self.errors.append(message.text)

    def uncaught(self, error: Error) -> None:
        """Keep errors that nobody caught and that went through our code; Notebook 7 has one of its own at start."""
        if "/extensions/mlnb/" in (error.stack or ""):
            self.errors.append(str(error.stack))

    def request(self, request: Request) -> None:
        """Keep what leaves this machine."""
        if "127.0.0.1" not in request.url and not request.url.startswith(("data:", "blob:")):
            self.foreign.append(request.url)


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start a Jupyter server with its own config and data."""
    _installed_bundle_is_the_built_one()
    home = tmp_path_factory.mktemp("jupyter")
    (home / "root").mkdir()
    for name, settings in SETTINGS.items():
        file = home / "config" / "lab" / "user-settings" / name
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(settings))
    (home / "config" / "jupyter_server_config.py").write_text(PEOPLE)
    environment = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
    }
    token = secrets.token_hex(16)
    words = ["--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", "--port=0"]
    words += [f"--ServerApp.root_dir={home / 'root'}", f"--People.token={token}"]
    with (home / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyter", "lab", *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        address = _address(home / "runtime", process, home / "server.log")
        yield Server(address, token, home / "root", "", home / "config" / "lab" / "user-settings")
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise


@pytest.fixture
def server(jupyter: Server, tmp_path: Path) -> Iterator[Server]:
    """Give the test an empty folder of the server, which is a project of its own, and end its kernels afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="test-", dir=jupyter.top))
    yield replace(jupyter, folder=folder.name)
    headers = {"Authorization": f"token {jupyter.token}"}
    with httpx.Client(base_url=f"{jupyter.url}api/", headers=headers, timeout=60, trust_env=False) as api:
        for session in api.get("sessions").json():
            api.delete(f"sessions/{session['id']}").raise_for_status()
    jupyter.theme("JupyterLab Light")


@pytest.fixture
def browser() -> Iterator[Browser]:
    """Start chromium with a fresh profile."""
    chromium = shutil.which("chromium")
    assert chromium, "chromium is not installed: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Open a page; at the end nothing of ours has failed in it, and nothing was fetched from elsewhere."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(60_000)
    seen = Seen()
    page.on("console", seen.console)
    page.on("pageerror", seen.uncaught)
    page.on("request", seen.request)
    yield page
    context.close()
    assert seen.errors == []
    assert seen.foreign == []


@pytest.fixture
def open_notebook(server: Server, page: Page, tmp_path: Path) -> Callable[..., Opened]:
    """Open a notebook in JupyterLab, or in Notebook 7 with ``lab=False``, and wait until its chips are there."""

    def open_(path: str, *, lab: bool = True) -> Opened:
        page.goto(server.lab(path) if lab else server.notebook7(path))
        page.wait_for_selector(".mlnb-ChipRow", timeout=120_000)
        return Opened(page, tmp_path)

    return open_


def _address(runtime: Path, process: subprocess.Popen[bytes], log: Path) -> str:
    """Return the server's address: it writes the port that the system gave it into its runtime folder."""
    for _ in range(600):
        if process.poll() is not None:
            break
        for file in runtime.glob("jpserver-*.json"):
            content = file.read_text()
            if not content:  # the server has made it and not yet written it
                continue
            url = json.loads(content)["url"]
            headers = {"Authorization": f"token {json.loads(file.read_text())['token']}"}
            # Lab asks for the exporters; a server that stops while a thread imports them never ends. So: at once.
            httpx.get(f"{url}api/nbconvert", headers=headers, timeout=120, trust_env=False).raise_for_status()
            return str(url)
        time.sleep(0.1)
    raise AssertionError(f"the Jupyter server did not start:\n{log.read_text()[-3000:]}")


def _installed_bundle_is_the_built_one() -> None:
    """An editable install holds a copy of the front end: a stale copy would be tested in place of the code."""
    import mlnb

    installed = Path(sys.prefix, "share/jupyter/labextensions/mlnb/package.json")
    assert installed.exists(), "the front end is not installed: make test, or pip install --no-deps -e ."
    built = Path(mlnb.__file__).parent / "labextension" / "package.json"
    loads = [json.loads(file.read_text())["jupyterlab"]["_build"]["load"] for file in (built, installed)]
    assert loads[0] == loads[1], "the installed front end is older than the built one: pip install --no-deps -e ."
