"""A Bento is started only if it is, file by file, what a key that this user trusts has signed."""

from __future__ import annotations

import os
import py_compile
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mlnb.errors import CorruptError, MlnbError, UntrustedError
from mlnb.service.bento import Bento, build_bento
from mlnb.service.bento_seal import FILE, check_bento, seal_bento
from mlnb.service.local import LocalTarget
from mlnb.store.folder import StateFolder


@pytest.fixture
def copy(bento: Bento, tmp_path: Path) -> Path:
    folder = tmp_path / "delays" / "bento"
    shutil.copytree(bento.path, folder)
    return folder


def _changed(source: Path, elsewhere: Path) -> None:
    with (source / "mlnb" / "service" / "serve.py").open("a") as file:
        file.write("\n")


def _added(source: Path, elsewhere: Path) -> None:
    (source / "sitecustomize.py").write_text("")


def _taken_away(source: Path, elsewhere: Path) -> None:
    (source / "mlnb" / "errors.py").unlink()


def _linked(source: Path, elsewhere: Path) -> None:
    (elsewhere / "numpy").mkdir()
    (source / "numpy").symlink_to(elsewhere / "numpy")


def _linked_whole(source: Path, elsewhere: Path) -> None:
    source.rename(elsewhere / "src")
    source.symlink_to(elsewhere / "src")


def _allowed(source: Path, elsewhere: Path) -> None:
    aliases = source / "aliases.json"
    aliases.write_text(aliases.read_text().replace('"code": []', '"code": ["sha256:00"]'))


@pytest.mark.parametrize("spoil", [_changed, _added, _taken_away, _linked, _linked_whole, _allowed])
def test_a_bento_that_was_changed_is_not_started(
    copy: Path, target: LocalTarget, spoil: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    check_bento(copy)
    spoil(copy / "src", tmp_path)
    with pytest.raises(CorruptError, match=r"was changed after it was built|holds a link"):
        target.start("delays", copy)
    with pytest.raises(MlnbError), target.trial(copy):
        pass


def test_a_bento_below_a_folder_of_compiled_files_is_sealed_as_any_other(copy: Path, tmp_path: Path) -> None:
    moved = tmp_path / "__pycache__" / "bento"
    shutil.copytree(copy, moved)
    check_bento(moved)
    _changed(moved / "src", tmp_path)
    with pytest.raises(CorruptError, match="was changed after it was built"):
        check_bento(moved)


def test_a_strangers_bento_and_one_without_a_seal_are_not_started(
    copy: Path, target: LocalTarget, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as stranger:
        stranger.setenv("JUPYTER_DATA_DIR", str(tmp_path / "stranger"))
        seal_bento(copy)
    with pytest.raises(UntrustedError, match="which you do not trust"):
        target.start("delays", copy)
    (copy / FILE).unlink()
    with pytest.raises(UntrustedError, match="nobody has signed it"):
        target.start("delays", copy)


def test_a_compiled_file_beside_the_signed_source_is_not_believed(copy: Path, target: LocalTarget) -> None:
    source = copy / "src" / "mlnb" / "errors.py"
    original, times = source.read_bytes(), source.stat()
    for content in (b"raise SystemExit('the compiled file runs')".ljust(len(original)), original):
        source.write_bytes(content)
        os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
        if content != original:
            py_compile.compile(str(source), doraise=True)
    assert list(copy.rglob("*.pyc"))
    assert target.start("delays", copy).state == "running"
    assert not list(copy.rglob("*.pyc"))


def test_what_lies_where_a_bento_is_to_be_is_built_again_unless_it_is_signed(
    packages: dict[int, Path], bento: Bento, tmp_path: Path
) -> None:
    state = StateFolder.open(tmp_path)
    there = state.root / "bentoml" / "bentos" / "delays" / bento.path.name
    shutil.copytree(bento.path, there)
    _changed(there / "src", tmp_path)
    (state.root / "bentoml" / "bentoml.py").write_text("raise SystemExit('executed')")
    built = build_bento("delays", {1: packages[1]}, {"staging": 1}, state)
    assert built.path == there
    check_bento(there)
    assert (there / "src/mlnb/service/serve.py").read_bytes() == (bento.source / "mlnb/service/serve.py").read_bytes()
