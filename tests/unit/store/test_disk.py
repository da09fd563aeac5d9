from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlnb.errors import StorageError
from mlnb.store.disk import replacing, storing, write_bytes


def python(code: str, *arguments: object) -> str:
    """Run `code` in another process, which may take other limits or another user, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """Give a folder that its user can read and enter but not write."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    above = [parent for parent in tmp_path.parents if len(parent.parts) > 2]
    modes = [(parent, parent.stat().st_mode) for parent in [tmp_path, *above]]
    for parent, mode in modes:
        parent.chmod(mode | 0o055)
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)
    for parent, mode in modes:
        parent.chmod(mode)


def test_a_file_is_replaced_whole_and_nothing_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_bytes(path, b"old")
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_a_block_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as file:
        file.write(b"half of the n")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    write_bytes(tmp_path / "file", b"old")
    said = python(
        """
        import resource, sys
        from pathlib import Path
        from mlnb.errors import StorageError
        from mlnb.store.disk import write_bytes
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            write_bytes(Path(sys.argv[1]), b"x" * 100_000)
        except StorageError as error:
            print(error)
        """,
        tmp_path / "file",
    )
    assert said.startswith(f"{tmp_path / 'file'} cannot be written: the file is larger than the system allows here.")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_read_only_folder_is_named(read_only: Path) -> None:
    said = python(
        """
        import os, sys
        from pathlib import Path
        from mlnb.errors import StorageError
        from mlnb.store.disk import write_bytes
        if os.geteuid() == 0:  # permissions do not bind root
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        try:
            write_bytes(Path(sys.argv[1]), b"x")
        except StorageError as error:
            print(error)
        """,
        read_only / "file",
    )
    assert said.startswith(f"{read_only / 'file'} cannot be written: you have no permission.")
    assert list(read_only.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ("ENOSPC", "the disk is full"),
        ("EROFS", "the file system is read-only"),
        ("EDQUOT", "your disk quota is used up"),
        ("ENOTDIR", "a file is where a folder should be"),
        ("EIO", "Input/output error"),
    ],
)
def test_every_failure_of_the_system_names_path_and_reason(tmp_path: Path, number: str, words: str) -> None:
    import errno

    code = getattr(errno, number)
    with pytest.raises(StorageError) as caught, storing(tmp_path / "file"):
        raise OSError(code, os.strerror(code))
    assert caught.value.problem == f"{tmp_path / 'file'} cannot be written: {words}."
    assert caught.value.path == str(tmp_path / "file")
    assert caught.value.exit_code == 2
