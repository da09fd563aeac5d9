"""Why a stage would run, told before it does; and a run of the past, put back as it was."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlnb.faces.cli import root
from mlnb.notebook.document import read_document
from mlnb.pipeline.build import build_pipeline
from mlnb.pipeline.parameters import read_values
from mlnb.run.engine import run_pipeline
from mlnb.run.options import RunOptions
from mlnb.run.record import RunRecord
from mlnb.run.snapshot import kept_in, restore
from mlnb.run.why import Reason, lines, why
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder

CELLS = (
    "import helper\nLIMIT = 10",
    "# parameters\nn = 3",
    "%%stage load\nrows = [int(x) for x in open('rows.csv').read().split()]\nopen('clean.txt', 'w').write(str(rows))",
    "%%stage total --env REGION\ntext = open('clean.txt').read()\ntotal = len(text) + n + helper.one() + LIMIT",
    "%%stage show --metrics doubled\ndoubled = total * 2",
)


class Place:
    """A project with a notebook that is run, and asked about."""

    def __init__(self, folder: Path, write: Callable[..., Path]) -> None:
        self.folder = folder
        self.write = write
        self.state = StateFolder.open(folder)
        (folder / "rows.csv").write_text("1 2 3", "utf-8")
        (folder / "helper.py").write_text("def one():\n    return 1\n", "utf-8")

    def notebook(self, changes: dict[int, str] | None = None) -> Path:
        return self.write(*[(changes or {}).get(number, cell) for number, cell in enumerate(CELLS)])

    def run(self, *, snapshot: bool = False) -> RunRecord:
        pipeline = build_pipeline(read_document(self.notebook()))
        values = read_values(pipeline.parameters, (), None)
        options = RunOptions(snapshot=snapshot)
        return run_pipeline(pipeline, values, self.state, Settings(), lambda event: None, options)

    def why(self, stage: str, changes: dict[int, str] | None = None, *assignments: str) -> Reason:
        pipeline = build_pipeline(read_document(self.notebook(changes)))
        values = read_values(pipeline.parameters, assignments, None)
        (reason,) = why(pipeline, values, self.state, (stage,))
        return reason


@pytest.fixture
def place(tmp_path: Path, user_notebook: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.delenv("REGION", raising=False)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    made = Place(tmp_path, user_notebook)
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "helper.py"], check=True)
    subprocess.run([*git, "commit", "-qm", "x"], check=True)
    return made


def told(reason: Reason) -> list[str]:
    return [change.sentence for change in reason.changes]


def test_each_change_is_said_in_words(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert place.why("load").sentence == "`load` would run: it has no result yet."
    run = place.run().id
    for stage in ("load", "total", "show"):
        reason = place.why(stage)
        assert (reason.state, reason.run, reason.changes) == ("cached", run, ())
        assert reason.sentence.startswith(f"`{stage}` is taken from the cache")
    assert place.why("total", None, "n=3").state == "cached"
    assert told(place.why("total", None, "n=4")) == ["the parameter n went from 3 to 4"]
    assert place.why("load", None, "n=4").state == "cached"

    code = place.why("total", {3: CELLS[3].replace("len(text)", "len(text) * 2")})
    assert told(code) == ["its code has changed"]
    assert "-total = len(text) + n + helper.one() + LIMIT\n+total = len(text) * 2 + n" in code.changes[0].diff
    setup = place.why("total", {0: "import helper\nLIMIT = 11"})
    assert told(setup) == ["the setup that it uses has changed"]
    assert "-LIMIT = 10\n+LIMIT = 11" in setup.changes[0].diff
    imported = place.why("total", {3: CELLS[3].replace("\ntext", "\nimport numpy\ntext")})
    assert told(imported)[1].startswith("numpy ") and told(imported)[1].endswith(" is imported now")
    asked = place.why("total", {4: "%%stage show --metrics doubled\ndoubled = total * 2 + len(text)"})
    assert told(asked) == ["now text is asked of it"]

    behind = place.why("show", None, "n=4")
    assert (behind.state, behind.changes) == ("waits", ())
    assert behind.sentence == (
        "`show` would run because `total` would run, unless what it takes (total) comes out as it was."
    )
    both = place.why("show", {4: "%%stage show --metrics doubled\ndoubled = total * 3"}, "n=4")
    assert both.sentence.startswith("`show` would run because `total` would run, and because of")
    assert told(both) == ["its code has changed"]

    monkeypatch.setenv("REGION", "hunter2")
    variable = place.why("total")
    assert told(variable) == ["the variable REGION is set now"]
    assert "hunter2" not in json.dumps([*lines([variable]), str(variable)])
    monkeypatch.delenv("REGION")

    (place.folder / "helper.py").write_text("def one():\n    return 2\n", "utf-8")
    module = place.why("total")
    assert told(module) == ["the module helper.py has changed"]
    assert "-    return 1\n+    return 2" in module.changes[0].diff
    (place.folder / "helper.py").write_text("def one():\n    return 1\n", "utf-8")

    (place.folder / "rows.csv").write_text("4 5", "utf-8")
    assert told(place.why("load")) == ["the data rows.csv has changed"]
    (place.folder / "rows.csv").write_text("1 2 3", "utf-8")
    os.truncate(place.folder / "clean.txt", 0)
    assert place.why("load").sentence == "`load` would run: `clean.txt`, which it writes, is gone or changed."


def test_the_command_says_it_in_text_and_in_json_and_makes_nothing(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "fresh"
    path.mkdir()
    (path / "pyproject.toml").write_text("[tool.mlnb]\n", "utf-8")
    place.write("%%stage only\nx = 1", name="nb.ipynb", folder=path)
    asked = CliRunner().invoke(root, ["plan", str(path / "nb.ipynb"), "--why"], standalone_mode=False)
    assert asked.output == "`only` would run: it has no result yet.\n"
    asked = CliRunner().invoke(root, ["plan", str(path / "nb.ipynb"), "--why", "only", "--json"], standalone_mode=False)
    assert json.loads(asked.output)[0]["state"] == "runs"
    assert sorted(file.name for file in path.iterdir()) == ["nb.ipynb", "pyproject.toml"]


def test_a_run_with_a_snapshot_can_be_put_back_when_its_data_are_overwritten(place: Place, tmp_path: Path) -> None:
    record = place.run(snapshot=True)
    assert {one.path for one in kept_in(place.state.runs / record.id)} == {"rows.csv", "clean.txt"}
    for name in ("rows.csv", "clean.txt"):
        (place.folder / name).write_text("other", "utf-8")
    place.notebook({3: "%%stage other\n1"})
    restored = restore(place.state, record, tmp_path / "back")
    assert (restored.files, restored.missing) == (("clean.txt", "rows.csv"), ())
    assert (tmp_path / "back/rows.csv").read_text("utf-8") == "1 2 3"
    assert json.loads((tmp_path / "back/nb.parameters.json").read_text("utf-8")) == {"n": 3}
    assert "helper.one()" in (tmp_path / "back/nb.ipynb").read_text("utf-8")
    again = CliRunner().invoke(
        root, ["runs", "checkout", record.id, str(tmp_path / "back"), "--project", str(tmp_path)]
    )
    assert "is there and not empty" in str(again.exception)


def test_what_was_not_kept_is_named_unless_it_is_as_it_was(place: Place, tmp_path: Path) -> None:
    record = place.run()
    (place.folder / "rows.csv").write_text("other", "utf-8")
    restored = restore(place.state, record, tmp_path / "back")
    assert restored.files == ("clean.txt",)
    assert restored.missing == ("rows.csv was not kept and is no more what it was.",)
