from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlnb.errors import CorruptError, ServiceError, SettingsError
from mlnb.model.exporters import Exporter, NativeExporter, SkopsExporter
from mlnb.model.inference import examine
from mlnb.service.environment import environment_of, site_packages
from mlnb.service.lock import KEPT_S, cache_folder, lock, read_lock
from mlnb.service.needs import installed_closure, requirements
from mlnb.service.sbom import components, freeze_environment, make_bill

NEEDED = [f"{name}=={metadata.version(name)}" for name in ("msgspec", "uvicorn")]


def test_a_lock_pins_what_is_needed_in_turn_each_file_by_its_digest() -> None:
    pins = {pin.name: pin for pin in read_lock(lock(NEEDED, "locked", "delays"))}
    assert {"msgspec", "uvicorn", "click", "h11"} <= pins.keys()
    assert {name: pin.version for name, pin in pins.items() if not pin.marker} == {
        name: metadata.version(name) for name, pin in pins.items() if not pin.marker
    }
    assert all(pin.hashes for pin in pins.values())


def test_a_lock_without_an_index_pins_what_is_installed() -> None:
    pins = read_lock(lock(NEEDED, "installed", "delays"))
    assert [f"{pin.name}=={pin.version}" for pin in pins] == installed_closure(NEEDED)
    told = subprocess.run(  # a second source: what pip's own resolver of metadata says of one of them
        [sys.executable, "-c", "from importlib.metadata import requires; print(*requires('uvicorn'), sep='\\n')"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    asked = {Requirement(row).name for row in told.split("\n") if row and "extra" not in row and ";" not in row}
    assert asked <= {pin.name for pin in pins}


def test_what_nobody_publishes_cannot_be_locked() -> None:
    with pytest.raises(ServiceError, match=r"environment of delays cannot be locked.*Set|set environment"):
        lock(["msgspec==0.0.0.dev999"], "locked", "delays")


@pytest.mark.parametrize("text", ["", "numpy==1.0\n", "# mlnb lock 1\nnumpy>=1\n", "# mlnb lock 1\n-r other.txt\n"])
def test_a_damaged_lock_is_refused(text: str) -> None:
    with pytest.raises(CorruptError, match="A lock is damaged"):
        read_lock(text)


def test_an_environment_holds_its_lock_and_nothing_more_and_is_made_once() -> None:
    text = lock(NEEDED, "locked", "delays")
    python = environment_of(text, "delays")
    found = {one.name: one.version for one in metadata.distributions(path=[str(site_packages(python))])}
    assert found == {pin.name: pin.version for pin in read_lock(text) if not pin.marker}
    made = python.parents[1].stat().st_ino
    assert environment_of(text, "delays") == python
    assert python.parents[1].stat().st_ino == made
    told = subprocess.run([python, "-I", "-c", "import sklearn"], capture_output=True, text=True, check=False).stderr
    assert "No module named 'sklearn'" in told


def test_another_file_than_the_locked_one_is_not_installed() -> None:
    text = lock(NEEDED, "locked", "delays")
    digests = {digest for pin in read_lock(text) if pin.name == "h11" for digest in pin.hashes}
    for digest in digests:
        text = text.replace(digest, "sha256:" + "0" * 64)
    with pytest.raises(ServiceError, match=r"cannot be made from its lock.*[Hh]ash"):
        environment_of(text, "delays")


def test_the_bill_lists_exactly_the_lock_in_the_published_form(packages: dict[int, Path], tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    for path in packages[1].iterdir():
        (package / path.name).write_bytes(path.read_bytes())
    freeze_environment(package, "locked", "delays")
    content = (package / "sbom.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(content) is None
    bill = json.loads(content)
    listed = {row["purl"] for row in bill["components"] if "purl" in row}
    pins = read_lock((package / "lock.txt").read_text())
    assert listed == {f"pkg:pypi/{pin.name}@{pin.version}" for pin in pins if not pin.marker}
    licences = {one.name: one.licence for one in components(bill)}
    assert licences["numpy"].startswith("BSD-3-Clause")
    assert licences["mlnb"] == "Apache-2.0"
    freeze_environment(package, "locked", "delays")
    files = {row["name"] for row in bill["metadata"]["component"]["components"]}
    assert {"model.onnx", "package.json"} <= files


def test_a_bill_of_another_environment_than_the_locks_is_refused() -> None:
    with pytest.raises(ServiceError, match="not what its lock says: msgspec"):
        make_bill("# mlnb lock 1\nmsgspec==0.0.1\n", "delays", {}, None)


def test_what_a_pickle_names_is_found_without_loading_it(tmp_path: Path) -> None:
    import scipy.sparse

    for number, value in enumerate((scipy.sparse.eye(2), [scipy.sparse.eye(2), pickle.PickleError])):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "package.json").write_text('{"exporter": "native", "model_file": "model.pkl"}')
        (folder / "model.pkl").write_bytes(cloudpickle.dumps(value, protocol=2 if number else 5))
        assert f"scipy=={metadata.version('scipy')}" in requirements([folder])


@pytest.mark.parametrize("exporter", [SkopsExporter(), NativeExporter()], ids=lambda one: one.name)
def test_a_booster_brings_the_library_that_reads_it(exporter: Exporter, tmp_path: Path) -> None:
    from lightgbm import LGBMRegressor
    from xgboost import XGBRegressor

    rows = np.arange(40.0).reshape(20, 2)
    for name, booster in (
        ("lightgbm", LGBMRegressor(n_estimators=2, verbose=-1)),
        ("xgboost", XGBRegressor(max_depth=1)),
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "package.json").write_text(json.dumps({"exporter": exporter.name, "model_file": exporter.file}))
        fitted = make_pipeline(StandardScaler(), booster).fit(rows, rows[:, 0])
        exporter.write(fitted, examine(rows, fitted), folder / exporter.file, 1e-4)
        assert [row for row in requirements([folder]) if row.startswith(name)]


def test_a_way_that_does_not_exist_is_a_setting_to_correct() -> None:
    with pytest.raises(SettingsError, match=r"environment is 'lokced'.*'locked' or 'installed'"):
        lock(NEEDED, "lokced", "delays")


def test_the_same_needs_are_locked_once_and_nobody_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = lock(NEEDED, "locked", "delays")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
    monkeypatch.setenv("UV_OFFLINE", "1")
    assert lock(NEEDED[::-1], "locked", "delays") == before
    with pytest.raises(ServiceError, match="cannot be locked"):
        lock(NEEDED[:1], "locked", "delays")
    [kept] = (cache_folder() / "locks").iterdir()
    month_ago = time.time() - KEPT_S - 60
    os.utime(kept, (month_ago, month_ago))
    with pytest.raises(ServiceError, match="cannot be locked"):
        lock(NEEDED, "locked", "delays")


def test_a_damaged_lock_is_not_taken_for_a_known_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = lock(NEEDED, "locked", "delays")
    [kept] = (cache_folder() / "locks").iterdir()
    for damage in ("", kept.read_text().partition("    --hash")[0], "\0"):
        kept.write_text(damage)
        assert lock(NEEDED, "locked", "delays") == before


def test_without_a_network_what_uv_has_cached_is_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = lock(NEEDED, "locked", "delays")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # where no lock is known yet
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert lock(NEEDED, "locked", "delays") == before
