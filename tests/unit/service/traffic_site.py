"""A project whose service answers from two processes, and versions of its model that fail or wait at will."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from http.client import HTTPConnection
from pathlib import Path

from mlnb.faces.cli import main
from mlnb.model.scorer import file_digest
from mlnb.project import Project
from mlnb.registry.version import Draft
from mlnb.service.bento import Bento
from mlnb.service.log_reader import read_predictions
from mlnb.service.skew import read_sample
from mlnb.store.signing import sign

SETTINGS = "[tool.mlnb]\n[tool.mlnb.service]\nworkers = 2\n"
BROKEN_HOOKS = """
def preprocess(rows: list[dict]):
    raise RuntimeError("out of order")
"""
LED_HOOKS = """
import os
import time

LEAD = {lead!r}

def preprocess(rows: list[dict]):
    open(os.path.join(LEAD, f"asked-{{os.getpid()}}"), "w").close()
    while os.path.exists(os.path.join(LEAD, "held")):
        time.sleep(0.01)
    if os.path.exists(os.path.join(LEAD, "broken")):
        raise RuntimeError("out of order")
    return rows
"""


def hooked(folder: Path, package: Path, hooks: str) -> Path:
    """Return a copy of a package that has other hooks."""
    shutil.copytree(package, folder)
    (folder / "hooks.py").write_text(hooks)
    document = json.loads((folder / "package.json").read_text())
    digest = file_digest(folder / "hooks.py")
    document["files"]["hooks.py"] = digest
    signature, key = sign(digest)
    document["signatures"]["hooks.py"] = {"signature": signature, "key": key}
    (folder / "package.json").write_text(json.dumps(document))
    return folder


class Led:
    """A version that waits or fails at each request for as long as a test wants it to.

    Attributes
    ----------
    package : Path
        To be registered.
    """

    def __init__(self, folder: Path, package: Path) -> None:
        self._lead = folder / "lead"
        self._lead.mkdir()
        self.package = hooked(folder / "package", package, LED_HOOKS.format(lead=str(self._lead)))

    def asked(self) -> set[int]:
        """Return the processes that have asked it."""
        return {int(path.name.removeprefix("asked-")) for path in self._lead.glob("asked-*")}

    @contextmanager
    def made(self, what: str) -> Iterator[None]:
        """Let it be ``held`` or ``broken`` for the time of a ``with`` block; who asked before is forgotten."""
        for path in self._lead.glob("asked-*"):
            path.unlink()
        (self._lead / what).touch()
        try:
            yield
        finally:
            (self._lead / what).unlink()


class Site:
    """A project with versions of a model, the first of which answers from two processes.

    Parameters
    ----------
    folder : Path
        Of the project.
    packages : mapping of int to Path
        Of the versions, by number.
    bento : Bento
        Of the first.
    """

    def __init__(self, folder: Path, packages: Mapping[int, Path], bento: Bento) -> None:
        self.settings = folder / "pyproject.toml"
        self.settings.write_text(SETTINGS)
        self.project = Project(folder)
        for _, package in sorted(packages.items()):
            files = {path.name: self.project.state.files.put(path)[0] for path in sorted(package.iterdir())}
            signature = json.loads((package / "signature.json").read_bytes())
            self.project.models.register(Draft("delays", "ada", "onnx", files, signature=signature))
        self.project.promote("delays/1", "production")
        self.url = self.project.services.start("delays", bento.path)
        self.rows = read_sample(packages[1])
        self._connection = HTTPConnection("127.0.0.1", self.url.port, timeout=30)

    def close(self) -> None:
        self._connection.close()
        self.project.services.stop("delays")

    def mlnb(self, *words: str, code: int = 0) -> str:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            found = main([*words, "--project", str(self.project.root)])
        assert found == code, (words, out.getvalue(), err.getvalue())
        return out.getvalue() + err.getvalue()

    def traffic(self, *words: str) -> dict[str, dict[str, object]]:
        return json.loads(self.mlnb("services", "traffic", "delays", *words, "--json"))["traffic"]

    def ask(self, caller: str = "", header: str = "X-Caller-Id", rows: Sequence[object] = ()) -> tuple[int, dict]:
        body = json.dumps({"rows": rows or self.rows[:1]})
        self._connection.request("POST", "/predict", body, {header: caller} if caller else {})
        response = self._connection.getresponse()
        return response.status, json.loads(response.read())

    def version(self, caller: str = "", header: str = "X-Caller-Id") -> str:
        status, answer = self.ask(caller, header)
        assert status == 200, answer
        return str(answer["version"])

    def logged(self, *, shadow: bool = False) -> list[dict[str, object]]:
        """Every row of the log, as mappings."""
        names = ("id", "version", "status", "role", "caller", "shadow_of", "prediction", "probabilities", "request_id")
        folder = self.project.state.predictions / "delays"
        return [
            dict(zip(names, row, strict=True))
            for batch in read_predictions(folder, shadow=shadow)
            for row in zip(*(getattr(batch, name) for name in names), strict=True)
        ]
