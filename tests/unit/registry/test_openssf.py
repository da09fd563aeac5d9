from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from mlnb.errors import StorageError, UntrustedError, UsageError
from mlnb.registry.openssf import sign_version, verify_folder
from mlnb.registry.registry import Registry
from mlnb.registry.version import Draft


def write_keys(folder: Path, key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey) -> tuple[Path, Path]:
    private, public = folder / "key.pem", folder / "key.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


def test_others_tools_can_check_a_signed_version(
    registry: Registry, draft: Callable[..., Draft], tmp_path: Path
) -> None:
    private, public = write_keys(tmp_path, ec.generate_private_key(ec.SECP256R1()))
    signature = sign_version(registry.register(draft("the model")), registry, tmp_path / "out", private)
    package = tmp_path / "out" / "1"
    assert signature == tmp_path / "out" / "1.sig"
    verify_folder(package, signature, public)
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(package)]
    command += ["--signature", str(signature), "--public_key", str(public)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)  # its own command line
    assert told.returncode == 0, told.stderr
    (package / "model.onnx").chmod(0o644)
    (package / "model.onnx").write_text("another")
    with pytest.raises(UntrustedError, match=r"does not hold.*model\.onnx"):
        verify_folder(package, signature, public)


def test_a_key_that_cannot_sign_is_told(registry: Registry, draft: Callable[..., Draft], tmp_path: Path) -> None:
    version = registry.register(draft("the model"))
    private, _ = write_keys(tmp_path, Ed25519PrivateKey.generate())
    with pytest.raises(UsageError, match=r"key\.pem is no elliptic-curve private key.*openssl ecparam"):
        sign_version(version, registry, tmp_path / "out", private)
    with pytest.raises(StorageError, match="absent"):
        sign_version(version, registry, tmp_path / "out", tmp_path / "absent.pem")
