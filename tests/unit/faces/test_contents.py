"""What a version consists of, at the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mlnb.project import Project
from mlnb.registry.version import Draft
from mlnb.service.sbom import make_bill


@pytest.fixture
def registered(tmp_path: Path) -> Path:
    """A project whose version 1 has a bill of materials, and version 2 none."""
    project = Project(tmp_path)
    bill = json.dumps(make_bill("# mlnb lock 1\n", "delays", {}, None)).encode()
    for content in ({"package.json": b"{}", "sbom.json": bill}, {"package.json": b"{ }"}):
        files = {name: project.state.files.put(text)[0] for name, text in content.items()}
        project.models.register(Draft(model="delays", by="test", exporter="onnx", files=files))
    return tmp_path


def test_a_versions_parts_are_listed_with_their_licences(registered: Path, mlnb: Callable) -> None:
    listed = mlnb("models", "sbom", "delays/1")
    assert [line.split()[0] for line in listed.out.splitlines()] == ["CPython", "mlnb"]
    assert "Apache-2.0" in listed.out
    assert mlnb("models", "sbom", "delays/1", "--json").json()["specVersion"] == "1.6"
    refused = mlnb("models", "sbom", "delays/2")
    assert refused.code == 2
    assert "delays/2 has no bill of materials" in refused.err


def test_a_version_is_signed_for_others_tools(registered: Path, mlnb: Callable) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    (registered / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    told = mlnb("models", "sign", "delays/1", "out", "--key", "key.pem", "--json").json()
    assert Path(told["signature"]).is_file()
    assert {path.name for path in Path(told["package"]).iterdir()} == {"package.json", "sbom.json"}


def test_an_image_of_no_version_is_told(registered: Path, mlnb: Callable) -> None:
    refused = mlnb("services", "image", "delays/9")
    assert refused.code == 2
    assert "delays" in refused.err
