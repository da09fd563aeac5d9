from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mlnb.errors import CorruptError, NewerFormatError, UntrustedError
from mlnb.store import signing
from mlnb.store.seal import FILE, check_seal, seal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    folder.mkdir()
    for name in ("package.json", "model.onnx", "card.json"):
        (folder / name).write_text(name)
    return folder


def test_a_seal_holds_for_the_files_as_they_were(folder: Path) -> None:
    assert check_seal(folder) is None
    seal(folder)
    found = check_seal(folder)
    assert found is not None
    assert (found.key, found.trusted) == (signing.sign("any")[1], True)


def change(folder: Path) -> None:
    (folder / "card.json").write_text("harmless")


def remove(folder: Path) -> None:
    (folder / "card.json").unlink()


def add(folder: Path) -> None:
    (folder / "hooks.py").write_text("import os")


def list_also(folder: Path) -> None:
    """Change a file and its line in the list, which is signed."""
    change(folder)
    told = json.loads((folder / FILE).read_text())
    other = folder.with_name("other")
    other.mkdir()
    (other / "card.json").write_text("harmless")
    seal(other)
    told["files"] |= json.loads((other / FILE).read_text())["files"]
    (folder / FILE).write_text(json.dumps(told))


@pytest.mark.parametrize(
    ("damage", "error", "said"),
    [
        (change, CorruptError, "card.json was changed"),
        (remove, CorruptError, "card.json is missing"),
        (add, CorruptError, "hooks.py was added"),
        (list_also, UntrustedError, "its signature is not of the key"),
    ],
)
def test_whatever_is_changed_later_breaks_it(
    folder: Path, damage: Callable[[Path], None], error: type[Exception], said: str
) -> None:
    seal(folder)
    damage(folder)
    with pytest.raises(error, match=said):
        check_seal(folder)


def test_a_strangers_seal_holds_and_is_not_trusted(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "stranger"))
    seal(folder)
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "mine"))
    found = check_seal(folder)
    assert found is not None
    assert not found.trusted


def test_nobody_can_seal_under_the_id_of_another_key(folder: Path) -> None:
    seal(folder)
    told = json.loads((folder / FILE).read_text())
    other = Ed25519PrivateKey.generate()
    told["public"] = base64.b64encode(other.public_key().public_bytes_raw()).decode()
    (folder / FILE).write_text(json.dumps(told))
    with pytest.raises(UntrustedError):
        check_seal(folder)


def test_a_seal_of_a_newer_mlnb_is_not_guessed_at(folder: Path) -> None:
    seal(folder)
    told = json.loads((folder / FILE).read_text())
    (folder / FILE).write_text(json.dumps({**told, "format": 2}))
    with pytest.raises(NewerFormatError):
        check_seal(folder)
