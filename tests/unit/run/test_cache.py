"""A result counts while all of it is there, on this machine or shared, and from elsewhere only if it can be trusted."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mlnb.notebook.document import read_document
from mlnb.pipeline.build import build_pipeline
from mlnb.run import cache
from mlnb.run.cache import CachedStage, commit, look_up
from mlnb.run.engine import run_pipeline
from mlnb.run.record import RunRecord
from mlnb.settings import Settings
from mlnb.store import signing
from mlnb.store.codec import decode, encode
from mlnb.store.folder import StateFolder

KEY = "sha256:" + "a" * 64


class Opaque:
    """Only pickle can hold it."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque)

    __hash__ = None  # type: ignore[assignment]


@pytest.fixture(autouse=True)
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every test a user of its own."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "me"))


@pytest.fixture
def machine(tmp_path: Path) -> Callable[[str], StateFolder]:
    """Return the state folder of a machine; all of them share a folder."""
    return lambda name: StateFolder.open(tmp_path / name, f"file://{tmp_path}/share")


def result_in(state: StateFolder, *values: object, writes: dict[str, str] | None = None) -> CachedStage:
    digest, size = state.files.put(b'{"cells": []}')
    artifacts = [encode(f"v{number}", value, state.files, KEY) for number, value in enumerate(values)]
    parts = {"writes": json.dumps(writes or {}), "parameters": "{}"}
    return CachedStage(KEY, "train", "stage", parts, tuple(artifacts), (), (), "run-1", "", 1.5, digest, size)


def test_a_result_is_found_under_its_key_until_a_part_of_it_is_gone(tmp_path: Path) -> None:
    state = StateFolder.open(tmp_path)
    result = result_in(state, [1, 2], {"a": 1})
    assert look_up(state, KEY) is None
    commit(state, result)
    assert look_up(state, KEY) == result
    assert look_up(state, "sha256:" + "b" * 64) is None
    state.files.path(result.artifacts[1].digest).unlink()
    assert look_up(state, KEY) is None
    assert cache.peek(state, KEY) == result


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"format": 2}'])
def test_a_damaged_manifest_counts_as_absent(tmp_path: Path, damage: str) -> None:
    state = StateFolder.open(tmp_path)
    commit(state, result_in(state))
    next(state.cache.glob("*.json")).write_text(damage, "utf-8")
    assert look_up(state, KEY) is None


def test_the_first_format_is_still_read(tmp_path: Path) -> None:
    state = StateFolder.open(tmp_path)
    result = result_in(state, [1])
    commit(state, result)
    path = next(state.cache.glob("*.json"))
    fields = json.loads(path.read_text("utf-8"))
    assert fields.pop("written") == {} and fields["format"] == 2
    path.write_text(json.dumps({**fields, "format": 1}), "utf-8")
    assert look_up(state, KEY) == result


def test_bytes_that_changed_under_their_stamp_are_found_when_all_are_read(tmp_path: Path) -> None:
    state = StateFolder.open(tmp_path)
    result = result_in(state, "x" * 200_000)
    commit(state, result)
    path = state.files.path(result.artifacts[0].digest)
    path.chmod(0o644)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"?")
    assert look_up(state, KEY, verify=True) is None


def test_a_file_that_a_stage_has_written_must_be_there_and_as_it_was_where_others_read_it(tmp_path: Path) -> None:
    state = StateFolder.open(tmp_path)
    for name in ("clean.csv", "figure.png"):
        (tmp_path / name).write_text("first", "utf-8")
    commit(state, result_in(state, writes={"clean.csv": "read", "figure.png": "kept", "never.csv": "read"}))
    assert look_up(state, KEY) is not None
    (tmp_path / "figure.png").write_text("other", "utf-8")
    assert look_up(state, KEY) is not None
    (tmp_path / "clean.csv").write_text("other", "utf-8")
    found = cache.peek(state, KEY)
    assert look_up(state, KEY) is None and found is not None
    assert cache.undone(state, found) == ("clean.csv",)
    (tmp_path / "clean.csv").write_text("first", "utf-8")
    (tmp_path / "figure.png").unlink()
    assert look_up(state, KEY) is None
    assert cache.undone(state, found) == ("figure.png",)


def test_a_machine_takes_what_another_has_shared(machine: Callable[[str], StateFolder]) -> None:
    here, there = machine("here"), machine("there")
    result = result_in(here, [1, 2], Opaque())
    assert look_up(there, KEY) is None
    commit(here, result)
    assert cache.peek(there, KEY) == result
    assert list(there.cache.iterdir()) == []
    found = look_up(there, KEY)
    assert found == result
    assert decode(found.artifacts[0], there.files) == [1, 2]
    assert decode(found.artifacts[1], there.files) == Opaque()
    assert look_up(StateFolder(there.root), KEY) == result
    assert cache.said(there) == ()


def _shared(tmp_path: Path) -> Path:
    return next((tmp_path / "share/cache").glob("*.json"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: text.replace("run-1", "run-2"),
        lambda text: json.dumps({**json.loads(text), "format": 99}),
        lambda text: json.dumps({**json.loads(text), "signature": ""}),
        lambda text: json.dumps({**json.loads(text), "key": "0" * 16}),
    ],
    ids=["empty", "partial", "another thing", "changed", "newer", "unsigned", "of a stranger"],
)
def test_a_shared_document_that_is_not_as_it_was_signed_counts_as_absent(
    tmp_path: Path, machine: Callable[[str], StateFolder], damage: Callable[[str], str]
) -> None:
    commit(machine("here"), result_in(machine("here"), [1]))
    path = _shared(tmp_path)
    path.write_text(damage(path.read_text("utf-8")), "utf-8")
    there = machine("there")
    assert look_up(there, KEY) is None
    assert [path for path in there.artifacts.rglob("*") if path.is_file()] == []


def test_a_document_under_another_key_counts_as_absent(tmp_path: Path, machine: Callable[[str], StateFolder]) -> None:
    commit(machine("here"), result_in(machine("here"), [1]))
    _shared(tmp_path).rename(tmp_path / "share/cache" / f"{'b' * 64}.json")
    assert look_up(machine("there"), "sha256:" + "b" * 64) is None


def test_an_artifact_that_is_partial_or_changed_counts_as_absent_and_is_healed(
    tmp_path: Path, machine: Callable[[str], StateFolder]
) -> None:
    here, there = machine("here"), machine("there")
    result = result_in(here, [1, 2])
    commit(here, result)
    digest = result.artifacts[0].digest[7:]
    place = tmp_path / "share/sha256" / digest[:2] / digest
    whole = place.read_bytes()
    place.write_bytes(whole[:-1] + b"?")
    assert look_up(there, KEY) is None
    commit(here, result)  # whoever computes it again puts it right
    assert place.read_bytes() == whole
    assert look_up(there, KEY) == result


def test_nothing_of_a_stranger_is_used_until_the_key_is_trusted(
    tmp_path: Path, machine: Callable[[str], StateFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "stranger"))
    here, there = machine("here"), machine("there")
    result = result_in(here, Opaque())
    commit(here, result)
    public, public_id = signing.own_public_key(), signing.sign("")[1]
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "me"))
    assert look_up(there, KEY) is None
    (said,) = cache.said(there)
    assert f"you do not trust the key {public_id}" in said and "mlnb doctor --trust FILE.pub" in said
    assert look_up(there, KEY) is None
    assert cache.said(there) == ()
    signing.trust(public)
    assert look_up(there, KEY) == result


def test_code_that_nobody_signed_is_not_taken_even_in_a_signed_result(
    machine: Callable[[str], StateFolder],
) -> None:
    here, there = machine("here"), machine("there")
    result = result_in(here, Opaque())
    unsigned = replace(result.artifacts[0], signature="", key="")
    commit(here, replace(result, artifacts=(unsigned,)))
    assert look_up(there, KEY) is None
    assert "signed by nobody" in cache.said(there)[0]


def test_without_its_bucket_a_machine_goes_on_and_says_so_once(tmp_path: Path) -> None:
    state = StateFolder.open(tmp_path / "here", "ftp://me:hunter2@127.0.0.1:9/cache")
    result = result_in(state, [1])
    assert look_up(state, KEY) is None
    commit(state, result)
    assert look_up(state, KEY) == result
    assert look_up(state, "sha256:" + "c" * 64) is None
    said = cache.said(state)
    assert [sentence.split(",")[0] for sentence in said] == [
        "The shared cache ftp://127.0.0.1:9/cache cannot be read",
        "The shared cache ftp://127.0.0.1:9/cache cannot be written",
    ]
    assert "hunter2" not in " ".join(said)
    assert cache.said(state) == ()


def test_a_run_takes_stages_that_ran_elsewhere_and_says_once_that_a_bucket_is_gone(
    tmp_path: Path, user_notebook: Callable[..., Path]
) -> None:
    def run(name: str, address: str) -> RunRecord:
        (tmp_path / name).mkdir()
        path = user_notebook("%%stage one\nx = [1]", "%%stage two --metrics y\ny = len(x)", folder=tmp_path / name)
        state = StateFolder.open(tmp_path / name, address)
        return run_pipeline(build_pipeline(read_document(path)), {}, state, Settings(), lambda event: None)

    shared = f"file://{tmp_path}/share"
    assert [stage.state for stage in run("here", shared).stages] == ["done", "done"]
    assert [stage.state for stage in run("there", shared).stages] == ["cached", "cached"]
    alone = run("alone", "ftp://127.0.0.1:9/cache")
    assert [stage.state for stage in alone.stages] == ["done", "done"]
    said = [warning for stage in alone.stages for warning in stage.warnings]
    assert sum("cannot be read, so this run goes on without" in sentence for sentence in said) == 1
    assert sum("cannot be written, so this run goes on without" in sentence for sentence in said) == 1
