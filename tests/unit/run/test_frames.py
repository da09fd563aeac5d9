"""A stage that raises leaves the variables of the user's frames, and nothing else: real runs, read back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlnb.project import Project

SECRET = "s3cr3t-value-of-the-database"
HELPER = """
def ratio(pairs, by):
    for pair in pairs:
        return pair[0] / by
"""
STAGES = (
    "%%stage one\nrows = [(1, 2), (3, 4)]\nkept = {'n': 1}",
    """%%stage two
from helper import ratio
from mlnb import secret
url = "postgres://me:" + secret("DB") + "@db"
parts = [url.split(":")]
api_key = "abcd"
large = bytes(70 << 20)
lazy = (n for n in rows)
class Odd:
    def __reduce__(self):
        raise RuntimeError("no")
odd = Odd()
kept["n"] = 2
def outer(depth):
    here = [depth] * 2
    return outer(depth - 1) if depth else ratio(rows, 0)
outer(2)""",
    "%%stage three\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    calm = True\nraise KeyboardInterrupt",
    "%%test one\ndef test_a():\n    seen = rows[0]\n    assert seen == 7\ndef test_b():\n    other = 1\n    assert other == 2",
)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one failed run."""
    folder = tmp_path_factory.mktemp("frames")
    (folder / "helper.py").write_text(HELPER)
    cells = [
        {"cell_type": "code", "id": f"c{n}", "metadata": {}, "source": source, "outputs": [], "execution_count": None}
        for n, source in enumerate(STAGES)
    ]
    content = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "nb.ipynb").write_text(json.dumps(content))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "mlnb", "run", "nb.ipynb"],
        cwd=folder,
        env={**os.environ, "MLNB_SECRET_DB": SECRET},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "Stage 'two' failed" in done.stdout, done.stdout + done.stderr
    return folder


def test_the_frames_of_cells_and_modules_are_kept_outermost_first_with_their_places(ran):
    here = Project(ran).runs.standpoint("last", "two")
    assert [frame.title for frame in here.frames] == [
        "cell 2, line 17",
        "cell 2, line 16, in outer",
        "cell 2, line 16, in outer",
        "cell 2, line 16, in outer",
        f"{ran / 'helper.py'}, line 4, in ratio",
    ]
    load = {frame.title: {one.name for one in frame.artifacts} for frame in here.frames}
    assert load[here.frames[-1].title] == {"pairs", "by", "pair"}
    assert load["cell 2, line 16, in outer"] == {"depth", "here"}


def test_of_the_cell_itself_what_the_stage_has_bound_or_changed_is_kept(ran):
    project = Project(ran)
    frame = project.runs.standpoint("last", "two").frames[0]
    from mlnb.store.codec import decode

    names = {one.name for one in frame.artifacts}
    assert {"kept", "outer", "Odd"} <= names and not {"rows", "ratio_", "In", "get_ipython"} & names
    kept = next(one for one in frame.artifacts if one.name == "kept")
    assert decode(kept, project.state.files) == {"n": 2}


def test_secrets_and_what_cannot_be_kept_are_named_with_the_reason_and_never_stored(ran):
    left_out = Project(ran).runs.standpoint("last", "two").frames[0].left_out
    assert left_out["url"] == left_out["parts"] == "it holds the secret 'DB'"
    assert left_out["api_key"] == "its name says that it is a secret"
    assert left_out["large"] == "it is larger than the room of 64 MiB that was left"
    assert left_out["lazy"] == "a value of type generator cannot be stored"
    assert left_out["odd"].startswith("a value of type ")
    for path in (ran / ".mlnb").rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def test_an_interrupt_leaves_no_frame(ran):
    assert Project(ran).runs.standpoint("last", "three").frames == ()


def test_of_a_test_the_first_failing_function_is_kept(ran):
    frames = Project(ran).runs.standpoint("last", "test-one").frames
    assert [(frame.function, {one.name for one in frame.artifacts}) for frame in frames] == [("test_a", {"seen"})]
