from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlnb.errors import CorruptError, StorageError
from mlnb.store.files import FileStore

PUT_MANY = """
import sys
from pathlib import Path
from mlnb.store.files import FileStore
store = FileStore(Path(sys.argv[1]))
sys.stdin.readline()
for number in range(60):
    store.put(b"%d" % number * 5000)
    digest, _ = store.put(Path(sys.argv[2]))
    store.verify(digest)
"""


def everything_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "stamps" not in path.parts]


@given(content=st.binary(max_size=2000))
def test_bytes_come_back_under_the_digest_that_hashlib_gives(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    store = FileStore(tmp_path_factory.mktemp("store"))
    digest, size = store.put(content)
    assert digest == "sha256:" + hashlib.sha256(content).hexdigest()
    assert size == len(content)
    assert store.read(digest) == content
    assert store.put(content) == (digest, size)
    assert len(everything_below(store.folder)) == 1


def test_a_file_is_copied_and_the_same_content_is_kept_once(store: FileStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * 3_000_000)
    assert store.put(source) == store.put(b"x" * 3_000_000)
    assert source.exists()
    assert len(everything_below(store.folder)) == 1


def test_an_adopted_file_moves_even_if_its_bytes_are_there_already(store: FileStore, tmp_path: Path) -> None:
    for _ in range(2):
        source = tmp_path / "source"
        source.write_bytes(b"moved")
        digest, _ = store.adopt(source)
        assert not source.exists()
        assert store.read(digest) == b"moved"


def test_a_changed_byte_is_found(store: FileStore) -> None:
    digest, size = store.put(b"honest bytes")
    path = store.path(digest)
    path.chmod(0o644)
    path.write_bytes(b"hOnest bytes")
    assert not store.has(digest, size)
    with pytest.raises(CorruptError, match="is damaged: its bytes have the digest sha256:"):
        store.read(digest)


def test_a_missing_file_is_said_to_be_missing(store: FileStore) -> None:
    digest, size = store.put(b"gone soon")
    store.path(digest).unlink()
    assert not store.has(digest, size)
    with pytest.raises(CorruptError, match="is missing") as caught:
        store.verify(digest)
    assert caught.value.digest == digest


@pytest.mark.parametrize("digest", ["sha256:../../etc/passwd", "md5:" + "a" * 32, "sha256:" + "G" * 64, ""])
def test_a_digest_cannot_lead_out_of_the_folder(store: FileStore, digest: str) -> None:
    with pytest.raises(CorruptError, match="is not a digest"):
        store.path(digest)


def test_a_truncated_file_is_replaced_by_the_next_put(store: FileStore) -> None:
    digest, _ = store.put(b"whole content")
    store.path(digest).chmod(0o644)
    store.path(digest).write_bytes(b"who")
    store.put(b"whole content")
    assert store.read(digest) == b"whole content"


def test_processes_that_put_the_same_bytes_at_once_all_find_them_whole(store: FileStore, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.write_bytes(os.urandom(200_000))
    command = [sys.executable, "-c", PUT_MANY, str(store.folder), str(shared)]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)]
    outcomes = [worker.communicate(b"go\n") for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4, outcomes
    files = everything_below(store.folder)
    assert len(files) == 61
    for file in files:
        assert hashlib.sha256(file.read_bytes()).hexdigest() == file.name


def bytes_read() -> int:
    """Return how many bytes this process has read so far, as the operating system counts them."""
    return int(Path("/proc/self/io").read_text().split()[1])


def test_what_this_machine_wrote_is_known_by_its_stamp_and_not_read_again(store: FileStore) -> None:
    digest, size = store.put(os.urandom(4_000_000))
    before = bytes_read()
    assert store.has(digest, size)
    assert store.trusted(digest) == store.path(digest)
    assert bytes_read() - before < 100_000
    store.trusted(digest, verify=True)
    assert bytes_read() - before >= size


def test_what_comes_from_elsewhere_is_read_once(store: FileStore, tmp_path: Path) -> None:
    digest, size = store.put(os.urandom(4_000_000))
    shutil.copytree(store.folder, tmp_path / "copy", copy_function=shutil.copy2)
    copied = FileStore(tmp_path / "copy")
    before = bytes_read()
    assert copied.has(digest, size)
    assert bytes_read() - before >= size
    before = bytes_read()
    assert copied.has(digest, size)
    assert bytes_read() - before < 100_000


def test_a_stamp_of_another_user_proves_nothing(
    store: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, size = store.put(os.urandom(1_000_000))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "other"))
    before = bytes_read()
    store.trusted(digest)
    assert bytes_read() - before >= size


def test_changed_bytes_are_found_though_size_and_time_are_as_before(store: FileStore) -> None:
    digest, size = store.put(bytes(1_000_000))
    path = store.path(digest)
    found = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.write(b"x")
    path.chmod(0o444)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert not store.has(digest, size)
    with pytest.raises(CorruptError, match="is damaged"):
        store.trusted(digest)
    store.put(bytes(1_000_000))
    assert store.has(digest, size)


def test_without_a_place_for_stamps_files_are_read_every_time(store: FileStore) -> None:
    store.folder.mkdir()
    (store.folder / "stamps").write_text("in the way")
    digest, size = store.put(bytes(1_000_000))
    before = bytes_read()
    assert store.has(digest, size)
    assert bytes_read() - before >= size


def test_what_is_written_but_not_kept_vanishes(store: FileStore) -> None:
    with store.writing() as new:
        new.file.write(b"x" * 100_000)
    with pytest.raises(KeyError), store.writing() as new:
        new.file.write(b"x" * 100_000)
        raise KeyError
    assert everything_below(store.folder) == []
    with store.writing() as new:
        new.file.write(b"kept")
        digest, size = new.keep()
    assert (store.read(digest), size) == (b"kept", 4)
    assert store.path(digest).stat().st_mode & 0o777 == 0o444


def test_a_file_where_the_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("in the way")
    with pytest.raises(StorageError, match="a file is where a folder should be") as caught:
        FileStore(tmp_path / "artifacts").put(b"content")
    assert str(tmp_path / "artifacts") in caught.value.problem
