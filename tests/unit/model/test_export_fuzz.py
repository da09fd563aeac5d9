"""Spoiled packages are refused with a sentence, and nothing in them is executed; `tests/bench/fuzz_package` has more."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlnb.errors import CorruptError, ModelError
from mlnb.model.scorer import file_digest, load_scorer
from tests.bench.fuzz_package import SPOILS, Packages


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    return Packages(tmp_path_factory.mktemp("packages"))


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(sorted(SPOILS)), seed=st.integers(0, 2**32))
def test_a_spoiled_package_is_refused_or_answers_and_runs_nothing(packages: Packages, kind: str, seed: int) -> None:
    outcome = packages.attempt(kind, seed)
    assert outcome in {"refused", "answered"}
    assert outcome == "refused" or kind != "hostile"


def test_what_is_refused_names_the_folder_and_the_damage(packages: Packages, tmp_path: Path) -> None:
    folder = tmp_path / "package"
    shutil.copytree(packages.whole["plain"], folder)
    manifest = json.loads((folder / "package.json").read_bytes())
    (folder / "model.onnx").write_bytes(b"no model")
    with pytest.raises(CorruptError, match=r"model\.onnx was changed after it was written\."):
        load_scorer(folder)
    manifest["files"]["model.onnx"] = file_digest(folder / "model.onnx")
    (folder / "package.json").write_text(json.dumps(manifest))
    with pytest.raises(CorruptError, match=r"package is damaged, so that the model cannot be loaded \("):
        load_scorer(folder)
    (folder / "package.json").write_text(json.dumps({**manifest, "exporter": "joblib"}))
    with pytest.raises(ModelError, match="exported as 'joblib', which this mlnb cannot score"):
        load_scorer(folder, allow_code=lambda *_: True)


def test_a_model_whose_library_is_missing_names_it(packages: Packages, tmp_path: Path) -> None:
    folder = tmp_path / "package"
    shutil.copytree(packages.whole["pickled"], folder)
    (folder / "model.pkl").write_bytes(b"cno_such_library\nModel\n.")
    manifest = json.loads((folder / "package.json").read_bytes())
    manifest["files"]["model.pkl"] = file_digest(folder / "model.pkl")
    (folder / "package.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="needs no_such_library, which is not installed"):
        load_scorer(folder, allow_code=[file_digest(folder / "model.pkl")])
