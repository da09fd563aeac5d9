"""Garbage collection on a project that has run, registered and served: what is needed stays, whatever else goes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from mlnb.errors import StateError, UsageError
from mlnb.faces.cli import main
from mlnb.garbage import Collected, collect
from mlnb.notebook.document import read_document
from mlnb.pipeline.build import build_pipeline
from mlnb.project import Project
from mlnb.registry.lineage import Lineage
from mlnb.registry.version import Draft
from mlnb.run.engine import run_pipeline
from mlnb.run.executor import Deferred, session_of
from mlnb.run.options import RunOptions
from mlnb.service.process import ProcessMark
from mlnb.service.started import Started, write_started
from mlnb.settings import Settings
from mlnb.store.files import FileStore
from mlnb.store.folder import StateFolder

CELLS = ["a: int = 1", "%%stage first\nrows = list(range(a, 3000 + a))", "%%stage second\ntotal = sum(rows)"]
OLD_S = 40 * 86_400


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose notebook ran with 1, 2 and 3; a version was made of the first run."""
    root = tmp_path_factory.mktemp("lived")
    cells = [
        {
            "cell_type": "code",
            "id": f"c{number}",
            "metadata": {"tags": ["parameters"]} if number == 0 else {},
            "execution_count": None,
            "outputs": [],
            "source": source,
        }
        for number, source in enumerate(CELLS)
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    (root / "nb.ipynb").write_text(json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))
    project, options = Project(root), RunOptions(kernel="fork")
    document = read_document(root / "nb.ipynb")
    pipeline, settings = build_pipeline(document), project.settings
    with Deferred(session_of(project.state, settings, options), document) as executor:
        records = [
            run_pipeline(pipeline, {"a": number}, project.state, settings, lambda _: None, options, executor=executor)
            for number in (1, 2, 3)
        ]
    store = project.state.files
    listed, _ = store.put(json.dumps({"inside": store.put(b"named by what is named")[0]}).encode())
    files = {"package.json": listed, "model.onnx": store.put(b"weights")[0]}
    lineage = Lineage(run=records[0].id, stages={stage.name: stage.key for stage in records[0].stages})
    project.models.register(Draft("delays", "anna", "onnx", files, lineage=lineage))
    project.models.promote("delays/1", "production", by="anna")
    project.ledger.close()
    return root


@pytest.fixture
def project(lived: Path, tmp_path: Path) -> Project:
    shutil.copytree(lived, tmp_path / "project")
    return Project(tmp_path / "project")


def age(*paths: Path, seconds: float = OLD_S) -> None:
    for path in paths:
        about = path.stat()
        os.utime(path, (about.st_atime - seconds, about.st_mtime - seconds))


def age_all(project: Project) -> None:
    age(*(path for path in project.state.root.rglob("*") if path.name != "digests.json"))
    for path in project.state.runs.glob("*/run.json"):
        told = json.loads(path.read_text())
        path.write_text(json.dumps({**told, "started_at": "2013" + told["started_at"][4:]}))
        age(path)


def names(collected: Collected, kind: str) -> list[str]:
    return [piece.name for piece in collected.pieces if piece.kind == kind]


def whole(project: Project) -> None:
    """Look that nothing is missing of what the ledger and the runs that are there name."""
    version = project.models.get("delays@production")
    project.models.unpack(version, project.root / "unpacked")
    store = project.state.files
    inside = json.loads(store.read(version.files["package.json"]))["inside"]
    assert store.read(inside) == b"named by what is named"
    assert project.audit.verify(store).ok
    assert project.runs.read(version.lineage.run).state == "done"
    for record in project.runs.list():
        for stage in record.stages:
            for artifact in stage.artifacts:
                store.verify(artifact.digest)


def test_what_is_needed_stays_and_what_nothing_names_goes(project: Project) -> None:
    store = project.state.files
    old, young = store.put(b"o" * 70_000)[0], store.put(b"of a run that goes on")[0]
    age_all(project)
    age(store.path(young), seconds=-OLD_S)
    half = project.state.artifacts / ".tmp-0123456789abcdef"
    half.write_bytes(b"half")
    age(half)

    dry = collect(project.state, project.ledger, dry=True)
    assert dry.dry
    assert store.path(old).is_file()
    done = collect(project.state, project.ledger)
    assert done.pieces == dry.pieces
    assert names(done, "artifact") == [f"artifacts/sha256/{old[7:9]}/{old[7:]}"]
    assert names(done, "leftover") == ["artifacts/.tmp-0123456789abcdef"]
    assert len(done.pieces) == 2
    assert done.size_bytes == 70_004
    assert not list((project.state.artifacts / "stamps").rglob(old[7:]))
    assert store.read(young)
    whole(project)
    assert len(project.runs.list()) == 3
    assert collect(project.state, project.ledger).pieces == ()


def test_old_runs_go_but_not_the_newest_nor_what_a_version_was_made_of(project: Project) -> None:
    age_all(project)
    newest, middle, first = (record.id for record in project.runs.list())
    done = collect(project.state, project.ledger, older_than=timedelta(days=30))
    assert names(done, "run") == [f"runs/{middle}"]
    assert len(names(done, "cache")) == 2
    assert len(names(done, "artifact")) >= 2
    assert [record.id for record in project.runs.list()] == [newest, first]
    whole(project)
    for number in (1, 3):
        again = project.reuse(project.root / "nb.ipynb", [f"a={number}"])
        assert again is not None
        assert {stage.state for stage in again.stages} == {"cached"}
    assert project.reuse(project.root / "nb.ipynb", ["a=2"]) is None


def test_young_runs_stay_whatever_age_is_asked_for(project: Project) -> None:
    assert collect(project.state, project.ledger, older_than=timedelta(0)).pieces == ()


def test_bentos_stay_that_a_service_was_started_from_or_that_are_the_newest(project: Project) -> None:
    home = project.state.root / "bentoml" / "bentos" / "delays"
    for number, letter in enumerate("abcd"):
        bento = home / (letter * 16)
        bento.mkdir(parents=True)
        (bento / "model.onnx").write_bytes(b"weights")
        (bento / "bento.yaml").write_text("x")
        age(bento / "bento.yaml", seconds=OLD_S - number * 86_400)
    half = home / ("e" * 16)
    half.mkdir()
    age(half)
    service = project.state.services / "delays"
    service.mkdir()
    mark = ProcessMark(1, 0.0)
    write_started(service, Started(str(home / ("b" * 16)), "127.0.0.1", 8000, mark, "2013-03-03T09:00:00Z", True))
    done = collect(project.state, project.ledger)
    assert names(done, "bento") == [f"bentoml/bentos/delays/{letter * 16}" for letter in "ac"]
    assert names(done, "leftover") == [f"bentoml/bentos/delays/{'e' * 16}"]
    assert sorted(path.name[0] for path in home.iterdir()) == ["b", "d"]


def test_a_run_that_goes_on_holds_it_off(project: Project) -> None:
    with (
        project.state.in_use(),
        project.state.in_use(),
        pytest.raises(StateError, match="A run or a deployment is going on"),
    ):
        collect(project.state, project.ledger)
    with project.state.alone(), pytest.raises(StateError):
        collect(project.state, project.ledger)
    collect(project.state, project.ledger)


def test_the_depot_is_looked_through_only_when_asked_and_only_what_is_a_day_old_goes(
    project: Project, tmp_path: Path
) -> None:
    elsewhere = StateFolder.open(project.root, "", Settings(artifacts=str(tmp_path / "team")))
    files: FileStore = elsewhere.files
    version = project.models.get("delays/1")
    old, young = files.put(b"old")[0], files.put(b"young")[0]
    files.keep([*version.files.values(), old, young])
    place = next((tmp_path / "team").rglob(old[7:]))
    half = place.with_name(f"{place.name}.tmp-00112233aabbccdd")  # of a machine that died while it put it
    half.write_bytes(b"ol")
    everything = [path for path in (tmp_path / "team").rglob("*") if path.is_file()]
    age(*(path for path in everything if path.name != young[7:]))
    assert names(collect(elsewhere, project.ledger), "object") == []
    done = collect(elsewhere, project.ledger, depot=True)
    assert names(done, "object") == [f"sha256/{old[7:9]}/{old[7:]}", f"sha256/{old[7:9]}/{half.name}"]
    left = {path.name for path in (tmp_path / "team").rglob("*") if path.is_file()}
    assert left == {path.name for path in everything} - {old[7:], half.name}
    with pytest.raises(UsageError, match="no depot"):
        collect(project.state, project.ledger, depot=True)


@pytest.mark.parametrize("days", ["nan", "inf", "1000000"])
def test_an_age_that_is_none_is_refused(project: Project, capsys: pytest.CaptureFixture[str], days: str) -> None:
    assert main(["gc", "--older-than", days, "--project", str(project.root)]) == 2
    assert "is no number of days" in capsys.readouterr().err


def test_the_verb_says_what_it_frees_and_writes_it_down(project: Project) -> None:
    project.state.files.put(b"o" * 70_000)
    age_all(project)
    words = [sys.executable, "-m", "mlnb", "gc", "--json", "--project", str(project.root)]
    told = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert [(piece["kind"], piece["size_bytes"]) for piece in told["pieces"]] == [("artifact", 70_000)]
    row = project.audit.log()[-1]
    assert (row.action, dict(row.detail)) == ("gc", {"artifact": 1})
