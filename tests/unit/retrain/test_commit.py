"""Which notebook may retrain a model: the champion's own, or a later commit of it, asked of a real git."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mlnb.notebook.document import read_document
from mlnb.registry.lineage import Lineage
from mlnb.registry.version import Version
from mlnb.retrain.commit import refusal
from tests.unit.faces.conftest import notebook


@dataclass(frozen=True, slots=True)
class Repository:
    """A folder under git with a notebook in it."""

    folder: Path

    def git(self, *words: str) -> str:
        who = ("-c", "user.name=ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main")
        done = subprocess.run(["git", *who, *words], cwd=self.folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def write(self, source: str) -> None:
        notebook(source, path=self.folder / "nb.ipynb")

    def commit(self, source: str) -> str:
        self.write(source)
        self.git("add", "-A")
        self.git("commit", "-m", source)
        return self.git("rev-parse", "HEAD")

    def says(self, champion: Version | None, code: str = "committed") -> str:
        return refusal(read_document(self.folder / "nb.ipynb"), champion, code, self.folder)


def version(repository: Repository, commit: str) -> Version:
    digest = read_document(repository.folder / "nb.ipynb").digest
    lineage = Lineage(
        run="r", notebook="nb.ipynb", notebook_digest=digest, git_commit=commit, git_dirty=False, parameters={}
    )
    now = datetime.now(UTC)
    return Version("late", 1, now, "ada", digest, "onnx", {}, {}, lineage, {}, {})


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path)
    made.git("init")
    return made


def test_the_champions_own_notebook_may_always_run(repository: Repository):
    champion = version(repository, repository.commit("a = 1"))
    assert [repository.says(champion, code) for code in ("same", "committed", "any")] == ["", "", ""]


def test_a_later_commit_may_run_and_an_edit_that_is_not_committed_may_not(repository: Repository):
    champion = version(repository, repository.commit("a = 1"))
    repository.write("a = 2")
    assert "it or a module has changes that are not committed" in repository.says(champion)
    assert repository.says(champion, "any") == ""
    repository.commit("a = 2")
    assert repository.says(champion) == ""
    assert 'is not the notebook that late/1 is from, and code = "same" asks for that' in repository.says(
        champion, "same"
    )


def test_new_data_that_git_does_not_know_is_no_change_of_code_and_a_module_is(repository: Repository):
    (repository.folder / "helpers.py").write_text("x = 1\n")
    champion = version(repository, repository.commit("a = 1"))
    repository.commit("a = 2")
    (repository.folder / "new.csv").write_text("1")
    assert repository.says(champion) == ""
    (repository.folder / "helpers.py").write_text("x = 2\n")
    assert "not committed" in repository.says(champion)


def test_an_older_or_another_branch_may_not_run(repository: Repository):
    first = repository.commit("a = 1")
    champion = version(repository, repository.commit("a = 2"))
    repository.git("checkout", "-q", first)
    assert f"is at commit {first[:12]}, which does not come after" in repository.says(champion)
    repository.git("checkout", "-q", "-b", "other")
    repository.commit("a = 3")
    assert "which does not come after" in repository.says(champion)


def test_without_git_another_notebook_may_not_run(tmp_path: Path):
    folder = Repository(tmp_path)
    folder.write("a = 1")
    champion = version(folder, "")
    folder.write("a = 2")
    assert "there is no git that could say how" in folder.says(champion)
    assert folder.says(None) == ""
