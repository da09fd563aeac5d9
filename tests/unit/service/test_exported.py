from __future__ import annotations

import configparser
import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import distribution
from pathlib import Path

import pytest
import yaml

from mlnb.errors import ServiceError
from mlnb.service.bento import Bento
from mlnb.service.exported import compose_file, systemd_unit
from mlnb.service.target import Deployment
from mlnb.settings import Settings


def deployed(bento: Path) -> Deployment:
    return Deployment("delays", "http://127.0.0.1:3950", "running", {}, str(bento), 1, 3950, "2026-11-23T09:00:00Z", "")


def parsed(unit: str) -> dict[str, dict[str, list[str]]]:
    """Return the options of each section; one that is given several times has several values."""
    found: dict[str, dict[str, list[str]]] = {}
    for line in unit.splitlines():
        if line.startswith("["):
            section = found.setdefault(line.strip("[]"), {})
        elif "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            section.setdefault(key, []).append(value)
    return found


def test_a_unit_starts_the_service_from_its_bento_and_may_write_two_folders_alone(bento: Bento, tmp_path: Path) -> None:
    folder, predictions = tmp_path / "with space", tmp_path / "100%"
    for path in (folder, predictions):
        path.mkdir()
    text = systemd_unit(deployed(bento.path), folder, predictions, Settings(service={"drain_s": 20}), user=False)
    service = parsed(text)["Service"]
    command = shlex.split(service["ExecStart"][0])
    assert command == [
        *(sys.executable, "-m", "mlnb.service.serve", "--host", "127.0.0.1", "--port", "3950"),
    ]
    assert service["WorkingDirectory"] == [str(bento.source)]
    environment = dict(word.split("=", 1) for word in shlex.split(service["Environment"][0]))
    assert environment["PYTHONPATH"] == str(bento.source)
    assert environment["MLNB_SERVICE_STATE"] == str(folder)
    assert shlex.split(service["ReadWritePaths"][0].replace("%%", "%")) == [str(folder), str(predictions)]
    for key, value in {"ProtectSystem": "strict", "NoNewPrivileges": "yes", "Restart": "on-failure"}.items():
        assert service[key] == [value]
    assert service["CapabilityBoundingSet"] == [""]
    assert int(service["TimeoutStopSec"][0]) > 20
    user = parsed(systemd_unit(deployed(bento.path), folder, predictions, Settings(), user=True))
    assert "User" not in user["Service"] and user["Install"]["WantedBy"] == ["default.target"]
    assert configparser.ConfigParser(strict=False, interpolation=None).read_string(text) is None


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
@pytest.mark.parametrize("user", [False, True], ids=["of the system", "of a user"])
def test_systemd_itself_finds_nothing_wrong_with_a_unit(bento: Bento, tmp_path: Path, user: bool) -> None:
    folder, predictions = tmp_path / "with space", tmp_path / "100%"
    for path in (folder, predictions):
        path.mkdir()
    unit = tmp_path / "mlnb-delays.service"
    unit.write_text(systemd_unit(deployed(bento.path), folder, predictions, Settings(), user=user))
    verify = ["systemd-analyze", *(["--user"] if user else []), "verify", str(unit)]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}  # a manager of a user's own asks for it
    checked = subprocess.run(verify, env=environment, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_a_compose_file_drops_every_right_and_passes_what_is_set(bento: Bento, tmp_path: Path) -> None:
    settings = Settings(service={"workers": 2, "access_log": True, "log_segments": "s3://$x"})
    document = yaml.safe_load(compose_file(deployed(bento.path), tmp_path, tmp_path, "", settings))
    service = document["services"]["delays"]
    assert service["image"] == bento.tag
    assert (Path(service["build"]["context"]) / "Dockerfile").is_file()
    assert (service["read_only"], service["cap_drop"], service["user"]) == (True, ["ALL"], "10001:10001")
    assert service["ports"] == ["127.0.0.1:3950:8080"]
    assert service["environment"] == {
        "MLNB_WORKERS": "2",
        "MLNB_ACCESS_LOG": "true",
        "MLNB_LOG_SEGMENTS": "s3://$$x",
    }
    assert service["volumes"] == ["predictions:/var/lib/mlnb"] and "predictions" in document["volumes"]
    written = next(line for line in (bento.source / "Dockerfile").read_text().splitlines() if "HEALTHCHECK" in line)
    assert service["healthcheck"]["test"] == ["CMD", *json.loads(written.partition(" CMD ")[2])]


def test_a_compose_file_is_guarded_as_the_service_is_and_tells_no_key(bento: Bento, tmp_path: Path) -> None:
    folder = tmp_path / ".mlnb" / "services" / "delays"
    folder.mkdir(parents=True)
    reached = Settings(host="0.0.0.0")
    for refused in (
        lambda: compose_file(deployed(bento.path), tmp_path, folder, "", reached),
        lambda: systemd_unit(deployed(bento.path), folder, tmp_path, reached, user=True),
    ):
        with pytest.raises(ServiceError, match=r"would answer everybody who reaches 0\.0\.0\.0"):
            refused()
    (folder / "tokens.json").write_text("{}")
    chosen = {"tls_cert": "own.pem", "tls_key": "/etc/$key.pem", "log_redact": "age", "log_redact_key": "never told"}
    text = compose_file(deployed(bento.path), tmp_path, folder, "", Settings(host="0.0.0.0", service=chosen))
    service = yaml.safe_load(text)["services"]["delays"]
    mounted = {one["target"]: one["source"] for one in service["volumes"][1:]}
    found = {key: mounted[value] for key, value in service["environment"].items() if value in mounted}
    assert found == {
        "MLNB_TOKENS_FILE": str(folder / "tokens.json"),
        "MLNB_TLS_CERT": str(tmp_path / "own.pem"),
        "MLNB_TLS_KEY": "/etc/$$key.pem",
    }
    assert len(mounted) == 3
    assert all(one["read_only"] and not one["bind"]["create_host_path"] for one in service["volumes"][1:])
    assert service["environment"]["MLNB_LOG_REDACT_KEY"].startswith("${MLNB_LOG_REDACT_KEY:?")
    assert "never told" not in text


def test_compose_files_are_what_the_compose_specification_allows(bento: Bento, tmp_path: Path) -> None:
    """Its own schema (Apache License 2.0) says so; check-jsonschema carries it."""
    from jsonschema import Draft202012Validator

    carried = distribution("check-jsonschema").locate_file("check_jsonschema/builtin_schemas/vendor/compose-spec.json")
    schema = Draft202012Validator(json.loads(Path(str(carried)).read_text("utf-8")))
    folder = tmp_path / ".mlnb" / "services" / "delays"
    folder.mkdir(parents=True)
    (folder / "tokens.json").write_text("{}")
    guarded = {"tls_cert": "own.pem", "tls_key": 'a "b": $key.pem', "log_redact": "age", "log_redact_key": "k"}
    spoken = {"grpc_port": 8081, "drain_s": 2.5, "access_log": True, "log_segments": "s3://$x"}
    other = replace(deployed(bento.path), grpc_port=3951, name="Late.Flights_2")
    for one, image, settings in (
        (deployed(bento.path), "", Settings()),
        (deployed(bento.path), "registry:5000/a/b@sha256:00", Settings(service={"workers": 2})),
        (deployed(bento.path), "", Settings(host="0.0.0.0", service=guarded)),
        (other, "", Settings(host="::1", service=spoken)),
    ):
        text = compose_file(one, tmp_path, folder, image, settings)
        assert [error.message for error in schema.iter_errors(yaml.safe_load(text))] == []
    for right, wrong in (("stop_grace_period", "stop_grace"), ("read_only: true", "read_only: [1]")):
        assert right in text
        assert not schema.is_valid(yaml.safe_load(text.replace(right, wrong)))
