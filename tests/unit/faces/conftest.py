"""Real kernels and real command lines for the tests of the faces."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command line has answered."""

    code: int
    out: str
    err: str

    def json(self) -> object:
        return json.loads(self.out)


Mlnb = Callable[..., Ran]


@pytest.fixture
def mlnb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mlnb:
    """Run the command line in this process, in `tmp_path` or another folder."""
    from mlnb.faces.cli import main

    def run(*words: str, cwd: Path = tmp_path, env: Mapping[str, str] | None = None, stdin: str = "") -> Ran:
        with monkeypatch.context() as patch:
            patch.chdir(cwd)
            patch.setattr("sys.stdin", io.StringIO(stdin))
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            out, err = io.StringIO(), io.StringIO()
            with redirect_stdout(out), redirect_stderr(err):
                code = main(words)
        return Ran(code, out.getvalue(), err.getvalue())

    return run


def _spawn(*words: str, cwd: Path, env: Mapping[str, str] | None = None, stdin: str = "") -> Ran:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "mlnb", *words],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=280,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def spawn(tmp_path: Path) -> Mlnb:
    """Run the command line in a process of its own, in `tmp_path`."""
    return partial(_spawn, cwd=tmp_path)


@pytest.fixture(scope="session")
def command() -> SimpleNamespace:
    """What fixtures of a wider scope need: `spawn` in a given folder, and `notebook` at a given path."""
    return SimpleNamespace(spawn=_spawn, notebook=notebook)


@dataclass(slots=True)
class Shown:
    """What a cell has left: the reply's status, and its outputs as the front end got them."""

    status: str = ""
    outputs: list[dict[str, object]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Everything that was printed."""
        return "".join(str(one["text"]) for one in self.outputs if "text" in one)

    @property
    def data(self) -> list[Mapping[str, str]]:
        """The MIME bundles, the latest state of each display."""
        return [one["data"] for one in self.outputs if "data" in one]  # type: ignore[misc]

    @property
    def error(self) -> Mapping[str, object]:
        """The error output, empty where there is none."""
        return next((one for one in self.outputs if "ename" in one), {})


class Kernel:
    """A real ipykernel, spoken to as a front end does."""

    def __init__(self, folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        from jupyter_client.manager import KernelManager

        self._sockets = tempfile.TemporaryDirectory(prefix="mlnb-k-")
        self.manager = KernelManager(kernel_name="python3", transport="ipc", ip=f"{self._sockets.name}/k")
        self.manager.start_kernel(
            cwd=str(folder), extra_arguments=list(arguments), env={**os.environ, "JPY_SESSION_NAME": "", **(env or {})}
        )
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def run(self, code: str, cell: str = "") -> Shown:
        """Execute a cell and wait for its end."""
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": True,
        }
        message = self.client.session.msg("execute_request", content, metadata={"cellId": cell} if cell else {})
        self.client.shell_channel.send(message)
        return self.outputs(message["header"]["msg_id"])

    def outputs(self, request: str) -> Shown:
        """Collect what comes until the kernel is idle again."""
        shown = Shown()
        displays: dict[str, dict[str, object]] = {}
        while True:
            message = self.client.get_iopub_msg(timeout=120)
            kind, content = message["msg_type"], message["content"]
            if message["parent_header"].get("msg_id") != request:
                continue
            if kind == "status" and content["execution_state"] == "idle":
                break
            key = content.get("transient", {}).get("display_id", "")
            if kind == "update_display_data" and key in displays:
                displays[key]["data"] = content["data"]
            elif kind in {"stream", "display_data", "execute_result", "error"}:
                shown.outputs.append({**content, "output_type": kind})
                if key:
                    displays[key] = shown.outputs[-1]
        while True:
            reply = self.client.get_shell_msg(timeout=120)
            if reply["parent_header"].get("msg_id") == request:
                shown.status = reply["content"]["status"]
                return shown

    def complete(self, code: str) -> Sequence[str]:
        """Return what TAB offers at the end of `code`."""
        reply = self.client.complete(code, reply=True, timeout=60)
        return list(reply["content"]["matches"])

    def close(self) -> None:
        """End the kernel."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()
        self._sockets.cleanup()


MakeKernel = Callable[..., Kernel]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """One kernel for a module, with the extension loaded."""
    made = Kernel(tmp_path_factory.mktemp("live"))
    assert made.run("%load_ext mlnb").status == "ok"
    yield made
    made.close()


@pytest.fixture
def new_kernel(tmp_path: Path) -> Iterator[MakeKernel]:
    """Make kernels of one's own, in `tmp_path`."""
    made: list[Kernel] = []

    def make(*arguments: str, env: Mapping[str, str] | None = None) -> Kernel:
        made.append(Kernel(tmp_path, *arguments, env=env))
        return made[-1]

    yield make
    for one in made:
        one.close()


def notebook(*cells: str | tuple[str, str], path: Path) -> Path:
    """Write a notebook of code cells; a pair is a source and a tag."""
    made = []
    for number, cell in enumerate(cells):
        source, tags = (cell, []) if isinstance(cell, str) else (cell[0], [cell[1]])
        made.append(
            {
                "cell_type": "code",
                "id": f"cell-{number}",
                "metadata": {"tags": tags} if tags else {},
                "source": source.splitlines(keepends=True),
                "outputs": [],
                "execution_count": None,
            }
        )
    kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    content = {
        "cells": made,
        "metadata": {"kernelspec": kernelspec, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path.write_text(json.dumps(content), "utf-8")
    return path


@pytest.fixture
def write_notebook(tmp_path: Path) -> Callable[..., Path]:
    """Write a notebook into `tmp_path`."""

    def write(*cells: str | tuple[str, str], name: str = "nb.ipynb") -> Path:
        return notebook(*cells, path=tmp_path / name)

    return write


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model package: does a flight of this distance and carrier arrive late?"""
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    from mlnb.model.export import export_model
    from mlnb.ship import freeze_reference

    rows = pd.DataFrame({"distance": [float(n * 37 % 900) for n in range(80)], "carrier": ["AA", "UA"] * 40})
    columns = make_column_transformer((StandardScaler(), ["distance"]), (OneHotEncoder(), ["carrier"]))
    model = make_pipeline(columns, LogisticRegression()).fit(rows, rows["distance"] > 450)
    folder = tmp_path_factory.mktemp("export") / "package"
    export_model(model, rows, folder, model="delays", hooks="", parity_limit=1e-4)
    freeze_reference(folder, rows, "rows")
    return folder


@pytest.fixture
def registered(tmp_path: Path, package: Path) -> Path:
    """A project with three versions of a model `delays`, judged; `staging` is 3, `production` was 1 and is 2."""
    from mlnb.project import Project
    from mlnb.registry.gates import judge, parse_gate
    from mlnb.registry.lineage import Lineage
    from mlnb.registry.version import Draft

    project = Project(tmp_path)
    files = {path.name: project.state.files.put(path)[0] for path in package.iterdir()}
    signature = json.loads((package / "signature.json").read_bytes())
    for auc in (0.71, 0.72, 0.60):
        draft = Draft(
            model="delays",
            by="ada",
            exporter="onnx",
            files=files,
            metrics={"auc": auc, "evaluate.auc": auc},
            lineage=Lineage(run="r1", notebook="nb.ipynb", notebook_digest="sha256:00", parameters={"x": 1}),
            signature=signature,
            parity={"rows": 100, "max_abs": 1e-7, "flips": 0},
        )
        version = project.models.register(draft)
        verdicts = judge([parse_gate("auc >= 0.7")], {"auc": auc})
        detail = {"evidence": {"auc": auc}, "verdicts": [verdict.to_json() for verdict in verdicts]}
        project.audit.record("ada", "judge", version.ref, detail)
    project.models.promote("delays/1", "production", by="ada")
    project.models.promote("delays/2", "production", by="ada")
    project.models.promote("delays/3", "staging", by="ada", force=True, reason="to look at")
    return tmp_path
