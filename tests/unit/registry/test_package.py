from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mlnb.errors import CorruptError, RegistryError, StorageError
from mlnb.registry.package import unpack
from mlnb.registry.registry import Registry
from mlnb.registry.version import Draft
from mlnb.store.files import FileStore


@pytest.fixture
def files(store: FileStore) -> dict[str, str]:
    return {name: store.put(name.encode() * 1000)[0] for name in ("package.json", "model.onnx", "hooks.py")}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_version_becomes_a_folder_of_its_files(
    registry: Registry, draft: Callable[..., Draft], tmp_path: Path
) -> None:
    version = registry.register(draft("the model"))
    registry.unpack(version, tmp_path / "services" / "delays" / "1")
    assert contents(tmp_path / "services" / "delays" / "1") == {"package.json": b"{}", "model.onnx": b"the model"}
    assert [path.name for path in (tmp_path / "services" / "delays").iterdir()] == ["1"]


def test_unpacking_again_leaves_the_folder_as_it_is(files: dict[str, str], store: FileStore, tmp_path: Path) -> None:
    unpack(files, store, tmp_path / "out")
    before = {path.name: path.stat().st_ino for path in (tmp_path / "out").iterdir()}
    unpack(files, store, tmp_path / "out")
    assert {path.name: path.stat().st_ino for path in (tmp_path / "out").iterdir()} == before


def test_an_empty_folder_is_filled(files: dict[str, str], store: FileStore, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    unpack(files, store, tmp_path / "out")
    assert set(contents(tmp_path / "out")) == set(files)


def test_a_folder_with_something_else_is_not_touched(files: dict[str, str], store: FileStore, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("ten years")
    with pytest.raises(StorageError, match="holds other files than the package"):
        unpack(files, store, tmp_path / "home")
    assert contents(tmp_path / "home") == {"thesis.tex": b"ten years"}
    assert not list(tmp_path.glob(".home*"))


def test_a_changed_file_in_the_folder_is_not_taken_for_the_package(
    files: dict[str, str], store: FileStore, tmp_path: Path
) -> None:
    unpack(files, store, tmp_path / "out")
    (tmp_path / "out" / "hooks.py").write_text("import os")
    with pytest.raises(StorageError, match="holds other files"):
        unpack(files, store, tmp_path / "out")


def test_a_file_is_in_the_way(files: dict[str, str], store: FileStore, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(StorageError, match="out"):
        unpack(files, store, tmp_path / "out")
    with pytest.raises(StorageError, match="out"):
        unpack(files, store, tmp_path / "out" / "1")


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_damaged_bytes_are_never_unpacked(damage: str, files: dict[str, str], store: FileStore, tmp_path: Path) -> None:
    path = store.path(files["model.onnx"])
    whole = path.read_bytes()
    path.unlink()
    if damage != "remove":
        path.write_bytes(whole[:-1] + (b"" if damage == "cut" else bytes([whole[-1] ^ 1])))
    with pytest.raises(CorruptError) as caught:
        unpack(files, store, tmp_path / "out")
    assert caught.value.digest == files["model.onnx"]
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/b", "..", ".hidden", "a\\b", "", "C:evil"])
def test_a_name_cannot_leave_the_folder(name: str, files: dict[str, str], store: FileStore, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="cannot be the name of a file"):
        unpack({**files, name: files["hooks.py"]}, store, tmp_path / "deep" / "out")
    assert not (tmp_path / "deep").exists()


def test_several_may_unpack_to_one_folder_at_once(files: dict[str, str], store: FileStore, tmp_path: Path) -> None:
    failures: list[BaseException] = []
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        try:
            unpack(files, store, tmp_path / "out")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert set(contents(tmp_path / "out")) == set(files)
    assert not list(tmp_path.glob(".out*"))
