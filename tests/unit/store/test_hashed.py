from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlnb.store.hashed import HashedFile

SIZES = st.sampled_from([0, 1, 7, 65_535, 65_536, 200_000, 9_000_000])


@settings(max_examples=20, deadline=None)
@given(pieces=st.lists(st.tuples(st.booleans(), SIZES), max_size=6))
def test_the_digest_is_that_of_the_file_however_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[bool, int]]
) -> None:
    path = tmp_path_factory.mktemp("hashed") / "file"
    file = HashedFile(path)
    for number, (lent, size) in enumerate(pieces):
        data = bytes([number]) * size
        assert (file.lend(data) if lent else file.write(data)) == size
    assert file.tell() == sum(size for _, size in pieces)
    digest, size = file.finish()
    content = path.read_bytes()
    assert content == b"".join(bytes([number]) * size for number, (_, size) in enumerate(pieces))
    assert (digest, size) == ("sha256:" + hashlib.sha256(content).hexdigest(), len(content))
    assert not [thread for thread in threading.enumerate() if thread.name == "mlnb-hash"]


def test_what_was_written_may_be_changed_afterwards(tmp_path: Path) -> None:
    file = HashedFile(tmp_path / "file")
    data = bytearray(9_000_000)
    for number in range(4):
        data[:] = bytes([number]) * len(data)
        file.write(data)
    digest, _ = file.finish()
    assert digest == "sha256:" + hashlib.sha256((tmp_path / "file").read_bytes()).hexdigest()


def test_what_was_flushed_can_be_read_by_others(tmp_path: Path) -> None:
    file = HashedFile(tmp_path / "file")
    file.write(b"few")
    file.flush()
    assert (tmp_path / "file").read_bytes() == b"few"
    file.close()


TOO_LARGE = """
import resource, sys, threading
from pathlib import Path
import numpy as np
from mlnb.errors import StorageError
from mlnb.store.codec import encode
from mlnb.store.files import FileStore
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    encode("value", np.ones(1_000_000), FileStore(Path(sys.argv[1])), "")
except StorageError as error:
    print(error.problem)
print(threading.active_count())
"""


def test_a_file_that_finds_no_room_is_said_and_leaves_neither_file_nor_thread(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TOO_LARGE, str(tmp_path)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert told[0].endswith("cannot be written: the file is larger than the system allows here.")
    assert told[1:] == ["1"]
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
