"""What is encrypted is what Tink encrypts, opens only whole, under its own digest, with one of the keys."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path

import pytest

from mlnb.errors import CorruptError, SecretError, SettingsError
from mlnb.settings import Settings
from mlnb.store.files import FileStore
from mlnb.store.vault import Vault, is_sealed, sealed_bytes, vault_of

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
SEGMENT = 1 << 20
BY_TINK = bytes.fromhex(  # tink 1.x: AesGcmHkdfStreaming, SHA-256, segments of 1 MiB, of b"ten bytes!" under KEY
    "2839ff15b2a47844b69b8b19ac276656e139ece1cf5bca35c67ac615281fc9a97ad4915d9d989b8aee352c71ff"
    "ded5158cceefec285b8de4aa35626ef6d7bee4e43b"
)


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def sealed(vault: Vault, content: bytes, folder: Path) -> Path:
    target = folder / "sealed"
    vault.seal(io.BytesIO(content), digest(content), target)
    return target


def test_what_tink_has_encrypted_is_opened(tmp_path: Path) -> None:
    ours = sealed(Vault([KEY]), b"anything", tmp_path).read_bytes()[: 9 + 8]
    (tmp_path / "theirs").write_bytes(ours + BY_TINK)
    opened = Vault([KEY]).open(tmp_path / "theirs", digest(b"ten bytes!"))
    assert opened.read_bytes() == b"ten bytes!"
    assert opened.stat().st_mode & 0o077 == 0
    assert opened.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("size", [0, 1, SEGMENT - 56, SEGMENT - 55, 2 * SEGMENT - 72, 2 * SEGMENT - 71, 3 * SEGMENT])
def test_every_size_comes_back_and_is_known_before(size: int, tmp_path: Path) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    file = sealed(Vault([KEY]), content, tmp_path)
    assert file.stat().st_size == sealed_bytes(size)
    assert is_sealed(file)
    assert Vault([KEY]).open(file, digest(content)).read_bytes() == content


def test_any_changed_byte_cut_or_swapped_segment_is_found(tmp_path: Path) -> None:
    content = bytes(3 * SEGMENT)
    whole = sealed(Vault([KEY]), content, tmp_path).read_bytes()
    first, second, third = 17 + SEGMENT, 17 + 2 * SEGMENT, 17 + 3 * SEGMENT
    changed = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in (17, 30, 55, 60, first, len(whole) - 1)]
    swapped = whole[:first] + whole[second:third] + whole[first:second] + whole[third:]
    for number, broken in enumerate([*changed, whole[:first], whole[:-1], whole + b"x", swapped, whole[:20]]):
        (tmp_path / "broken").write_bytes(broken)
        with pytest.raises(CorruptError) as caught:
            Vault([KEY]).open(tmp_path / "broken", digest(content))
        assert caught.value.digest == digest(content), number


def test_a_file_under_the_name_of_another_is_not_opened(tmp_path: Path) -> None:
    file = sealed(Vault([KEY]), b"of version 1", tmp_path)
    with pytest.raises(CorruptError, match="put under another name"):
        Vault([KEY]).open(file, digest(b"of version 2"))


def test_a_new_key_on_top_seals_and_the_old_one_still_opens(tmp_path: Path) -> None:
    old = sealed(Vault([KEY]), b"old", tmp_path)
    both = Vault([OTHER, KEY])
    assert both.open(old, digest(b"old")).read_bytes() == b"old"
    new = sealed(both, b"new", tmp_path)
    assert Vault([OTHER]).open(new, digest(b"new")).read_bytes() == b"new"
    with pytest.raises(SecretError, match="which is not among yours"):
        Vault([KEY]).open(new, digest(b"new"))


def test_nothing_that_is_kept_for_a_version_can_be_read_from_the_disk(tmp_path: Path) -> None:
    secret = b"the weights of the model"
    store = FileStore(tmp_path / "artifacts", vault=Vault([KEY]))
    plain, size = FileStore(store.folder).put(b"written before there was a key: " + secret)
    put, _ = store.put(secret)
    (tmp_path / "fetched").write_bytes(b"data that was fetched: " + secret)
    fetched, _ = store.adopt(tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()
    store.keep([plain, put])
    on_disk = [path.read_bytes() for path in store.folder.rglob("*") if path.is_file()]
    assert len(on_disk) == 3
    assert not any(secret in content for content in on_disk)
    assert store.read(put) == secret
    assert store.read(fetched) == b"data that was fetched: " + secret
    assert store.has(plain, size)
    assert store.trusted(plain).read_bytes() == store.verify(plain).read_bytes()
    with pytest.raises(SecretError, match="is encrypted, and no key is known"):
        FileStore(store.folder).read(put)


def test_the_key_comes_from_a_private_file_outside_the_project_or_from_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, file = tmp_path / "project", tmp_path / "team.key"
    project.mkdir()
    line = base64.b64encode(KEY).decode()
    assert vault_of(Settings(), project) is None
    with pytest.raises(SecretError, match=r"There is no file .*openssl rand -base64 32"):
        vault_of(Settings(encryption_key=str(file)), project)
    file.write_text(f"# of 2026\n{line}\n")
    file.chmod(0o644)
    with pytest.raises(SecretError, match="may be read by others"):
        vault_of(Settings(encryption_key=str(file)), project)
    file.chmod(0o600)
    assert vault_of(Settings(encryption_key=str(file)), project)
    (project / "mine.key").write_text(line)
    for inside in (str(project / "mine.key"), "./mine.key"):
        with pytest.raises(SettingsError, match="not outside the project"):
            vault_of(Settings(encryption_key=inside), project)
    monkeypatch.setenv("TEAM_KEY", line)
    assert vault_of(Settings(encryption_key="TEAM_KEY"), project)
    monkeypatch.setenv("TEAM_KEY", "much too short")
    with pytest.raises(SecretError, match="does not hold encryption keys of 32 bytes") as caught:
        vault_of(Settings(encryption_key="TEAM_KEY"), project)
    assert "much too short" not in str(caught.value)
