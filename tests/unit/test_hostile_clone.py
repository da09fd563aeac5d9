"""A project that somebody else made, state, services and keys included, executes nothing in the hands of who looks at it.

Whoever made it could write anything below the project's folder, and sign it with keys of their own; they could not write
the user's Jupyter data folder, where trust lies. Bombs that leave a file where they are executed are in every place from
which mlnb could load code. (A notebook's own code is executed by ``mlnb run``: that is what it is asked for.)
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from mlnb.faces.cli import main
from mlnb.model.export import export_model
from mlnb.project import Project
from mlnb.registry.lineage import Lineage
from mlnb.registry.version import Draft
from mlnb.service.bento_seal import FILE as BENTO_SEAL
from mlnb.service.bento_seal import seal_bento
from mlnb.service.process import ProcessMark
from mlnb.service.routing_files import place
from mlnb.service.started import Started, write_started
from mlnb.store.hashed import digest_of
from mlnb.store.seal import seal
from mlnb.store.signing import sign

SHADOWED = ("bentoml", "click", "json", "mlnb", "numpy", "onnxruntime", "sqlalchemy", "sitecustomize", "yaml")


class Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.marker),)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the project with the keys of its maker."""
    place = tmp_path_factory.mktemp("hostile")
    marker = place / "executed"
    explode = f"import os\nos.mkdir({str(marker)!r})\n"
    with pytest.MonkeyPatch.context() as maker:
        maker.setenv("JUPYTER_DATA_DIR", str(place / "maker"))
        return _make(place / "made", explode, marker)


@pytest.fixture
def marker(made: Path) -> Path:
    return made.with_name("executed")


@pytest.fixture
def clone(made: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give it to a user who has other keys."""
    folder, user = made.with_name("clone"), made.with_name("user")
    shutil.copytree(made, folder, symlinks=True)
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(user))
    yield folder
    for path in (folder, user):
        shutil.rmtree(path, ignore_errors=True)


def _make(folder: Path, explode: str, marker: Path) -> Path:
    folder.mkdir()
    (folder / "pyproject.toml").write_text('[tool.mlnb]\nenvironment = "installed"\n')
    cells = [
        {"cell_type": "code", "metadata": {}, "source": source, "outputs": [], "execution_count": None}
        for source in ("%%stage a\nx = object()", "%%stage b\nprint(x)")
    ]
    book = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "train.ipynb").write_text(json.dumps(book))
    _poison_cache(folder, marker)
    for name in SHADOWED:
        (folder / f"{name}.py").write_text(explode)
    (folder / ".git").mkdir()  # what git itself would start
    (folder / ".git" / "config").write_text(f'[core]\n\tfsmonitor = "mkdir {marker}"\n\trepositoryformatversion = 0\n')
    project = Project(folder)
    for number, exporter in ((1, "native"), (2, "onnx")):
        package = _package(folder.parent / f"package{number}", exporter, explode, marker)
        files = {path.name: project.state.files.put(path)[0] for path in package.iterdir()}
        told = json.loads((package / "signature.json").read_text())
        lineage = Lineage(
            run="20130303-090000-aaaaaa", notebook="train.ipynb", data=(("../../evil.csv", "sha256:../../x"),)
        )
        project.models.register(Draft("delays", "maker", exporter, files, {"auc": 0.9}, lineage, told))
        project.models.promote(f"delays/{number}", "production", by="maker")
    services = project.state.services / "delays"
    place(services, "delays", {2: folder.parent / "package2"}, {"production": 2})
    bento = project.state.root / "bentoml" / "bentos" / "delays" / "0123456789abcdef"
    for name in ("service.py", "mlnb/__init__.py", "mlnb/service/__init__.py", "mlnb/service/serve.py"):
        path = bento / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(explode)
    (bento / "bento.yaml").write_text("name: delays\n")
    seal_bento(bento)
    (project.state.root / "bentoml" / "bentoml.py").write_text(explode)
    # The maker would aim at the clone's own folder.
    aimed = folder.parent / "clone" / bento.relative_to(folder)
    write_started(
        services, Started(str(aimed), "127.0.0.1", 1, ProcessMark(2**22 - 1, 0.0), "2013-03-03T09:00:00Z", True)
    )
    project.ledger.close()
    return folder


def _poison_cache(folder: Path, marker: Path) -> None:
    """Run the notebook, and put a bomb with the maker's signature in the place of what its first stage has given."""
    project = Project(folder)
    assert project.run(folder / "train.ipynb").state == "done"
    content = pickle.dumps(Bomb(marker))
    packed = b"mlnbpkl1" + struct.pack("<2Q", 1, len(content))  # see mlnb.store.codecs.objects
    digest, size = project.state.files.put(packed + b"\0" * (-len(packed) % 64) + content)
    signature, key = sign(digest)
    results = {(told := json.loads(path.read_text()))["stage"]: (path, told) for path in project.state.cache.iterdir()}
    results["b"][0].unlink()  # so that it has to take the value
    path, told = results["a"]
    assert [one["codec"] for one in told["artifacts"]] == ["pickle"]
    told["artifacts"][0] |= {"digest": digest, "size_bytes": size, "signature": signature, "key": key}
    path.write_text(json.dumps(told))
    project.ledger.close()


def _package(folder: Path, exporter: str, explode: str, marker: Path) -> Path:
    """Write a package that is whole, signed and sealed by its maker, and executes a bomb when it is loaded."""
    rows = pd.DataFrame({"hour": np.arange(40.0), "wind": np.arange(40.0) % 7})
    export_model(LogisticRegression().fit(rows, rows.hour > 20), rows, folder, model="delays")
    manifest = json.loads((folder / "package.json").read_text())
    names = ["hooks.py"]
    (folder / "hooks.py").write_text(f"{explode}\ndef preprocess(rows: list[dict]):\n    return rows\n")
    if exporter == "native":
        (folder / "model.onnx").unlink()
        (folder / "model.pkl").write_bytes(pickle.dumps(Bomb(marker)))
        names.append("model.pkl")
        manifest |= {"exporter": "native", "model_file": "model.pkl"}
    (folder / "package.json").unlink()
    manifest["files"] = {path.name: digest_of(path) for path in folder.iterdir()}
    signed = {name: sign(manifest["files"][name]) for name in names}
    manifest["signatures"] = {name: {"signature": one, "key": key} for name, (one, key) in signed.items()}
    (folder / "package.json").write_text(json.dumps(manifest))
    seal(folder)
    return folder


VERBS = """
run train.ipynb
plan train.ipynb
runs list
models list
models show delays/1
models lineage delays@production
models card delays/1
models card delays/2 --html card.html
models compare delays/1 delays/2
models at delays@production 2030-01-01
models search auc>=0.1
models judge delays/2 production
models explain delays/1
models explain delays/2
models smaller delays/2
models sbom delays/2
models mirror --to http://127.0.0.1:9
services list
services start delays
services restart delays
services logs delays
services export delays systemd
services stop delays
services image delays/2
audit log
audit verify
monitor delays
promote delays/1 production
promote delays/2 staging
rollback delays production
predict delays/1 rows.csv out.csv
predict delays/2 rows.csv out.csv
gc
doctor
"""


def test_a_clone_with_keys_of_its_own_executes_nothing_whatever_is_asked_of_it(
    clone: Path, marker: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(clone)
    (clone / "rows.csv").write_text("hour,wind\n1.0,2.0\n")
    before = {path.name for path in clone.parent.iterdir()}
    answers = {}
    for line in VERBS.strip().splitlines():
        code = main(line.split())
        said = capsys.readouterr()
        answers[line] = code, said.out + said.err
        assert not marker.exists(), line
        assert "Traceback" not in answers[line][1], line
    assert {path.name for path in clone.parent.iterdir()} - before <= {"user"}
    refused = (
        "run train.ipynb",
        "services start delays",
        "services restart delays",
        "promote delays/1 production",
        "predict delays/1 rows.csv out.csv",
    )
    for line in refused:
        code, told = answers[line]
        assert code != 0 and "trust" in told, (line, told)


def test_a_bento_without_a_seal_or_with_one_that_somebody_changed_is_not_started_either(
    clone: Path, marker: Path
) -> None:
    bento = next((clone / ".mlnb/bentoml/bentos/delays").iterdir())
    said = json.loads((bento / BENTO_SEAL).read_text())
    for content in (None, said | {"key": ""}, said | {"signature": ""}, [], {"format": 1}):
        (bento / BENTO_SEAL).unlink(missing_ok=True)
        if content is not None:
            (bento / BENTO_SEAL).write_text(json.dumps(content))
        assert main(["services", "start", "delays", "--project", str(clone)]) != 0
        assert not marker.exists()


def test_modules_that_lie_in_the_project_are_not_imported_by_the_command(clone: Path, marker: Path) -> None:
    mlnb = Path(sys.executable).with_name("mlnb")
    for words in (["models", "list"], ["plan", "train.ipynb"]):
        done = subprocess.run([mlnb, *words], cwd=clone, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert not marker.exists()
