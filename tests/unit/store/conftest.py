"""Every test has its own user: a Jupyter data folder, and so keys, that nobody else has."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlnb.store.files import FileStore


@pytest.fixture(autouse=True)
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    return tmp_path / "jupyter" / "mlnb" / "keys"


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "artifacts")
