from __future__ import annotations

import base64
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from mlnb.errors import StorageError, UntrustedError, UsageError
from mlnb.store import signing

DIGEST = "sha256:" + "ab" * 32


def test_a_signature_holds_for_its_digest_only() -> None:
    signature, key = signing.sign(DIGEST)
    signing.verify(DIGEST, signature, key)
    with pytest.raises(UntrustedError, match="its signature is wrong"):
        signing.verify("sha256:" + "cd" * 32, signature, key)
    for broken in ("", "not base64!", base64.b64encode(b"x" * 64).decode()):
        with pytest.raises(UntrustedError, match="its signature is wrong"):
            signing.verify(DIGEST, broken, key)


def test_the_private_key_is_the_users_alone_and_outside_any_project(keys: Path) -> None:
    signing.sign(DIGEST)
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    assert stat.S_IMODE((keys / "mlnb_ed25519").stat().st_mode) == 0o600
    assert signing.own_public_key() == keys / "mlnb_ed25519.pub"
    load_pem_public_key((keys / "mlnb_ed25519.pub").read_bytes())


def test_a_private_key_that_others_can_read_is_refused(keys: Path) -> None:
    signing.sign(DIGEST)
    (keys / "mlnb_ed25519").chmod(0o644)
    with pytest.raises(StorageError, match=r"can be read by others\. Make it yours alone with `chmod 600"):
        signing.sign(DIGEST)


def test_a_damaged_private_key_is_named(keys: Path) -> None:
    signing.sign(DIGEST)
    (keys / "mlnb_ed25519").write_text("rubbish")
    with pytest.raises(StorageError, match="is no Ed25519 private key"):
        signing.sign(DIGEST)


@pytest.mark.parametrize("form", ["pem", "ssh"])
def test_a_colleagues_signature_holds_once_their_key_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "colleague"))
    signature, key = signing.sign(DIGEST)
    public = signing.own_public_key()
    if form == "ssh":
        parsed = load_pem_public_key(public.read_bytes())
        public = tmp_path / "id_ed25519.pub"
        public.write_bytes(parsed.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b" them@there\n")
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "mine"))
    with pytest.raises(UntrustedError, match=f"signed by the key {key}, which you do not trust"):
        signing.verify(DIGEST, signature, key)
    assert signing.trust(public) == key
    signing.verify(DIGEST, signature, key)
    (tmp_path / "mine" / "mlnb" / "keys" / "trusted" / f"{key}.pub").unlink()
    with pytest.raises(UntrustedError, match="which you do not trust"):
        signing.verify(DIGEST, signature, key)


def test_only_ed25519_public_keys_can_be_trusted(tmp_path: Path) -> None:
    rsa = generate_private_key(public_exponent=65537, key_size=2048).public_key()
    for content in (
        b"",
        b"ssh-ed25519 broken",
        rsa.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        Ed25519PrivateKey.generate().private_bytes_raw(),
    ):
        (tmp_path / "key.pub").write_bytes(content)
        with pytest.raises(UsageError, match="holds no Ed25519 public key"):
            signing.trust(tmp_path / "key.pub")
    with pytest.raises(StorageError, match="cannot be read"):
        signing.trust(tmp_path / "absent.pub")


def test_an_unsigned_artifact_is_signed_by_nobody() -> None:
    with pytest.raises(UntrustedError, match="signed by nobody"):
        signing.verify(DIGEST, "", "")


def test_processes_that_need_a_key_at_once_get_the_same(keys: Path) -> None:
    code = f"from mlnb.store.signing import sign; print(sign({DIGEST!r})[1])"
    workers = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = {worker.communicate()[0].strip() for worker in workers}
    assert said == {signing.sign(DIGEST)[1]}
    assert sorted(path.name for path in keys.iterdir()) == ["mlnb_ed25519", "mlnb_ed25519.pub", "trusted"]
