from __future__ import annotations

import gc
import os
from pathlib import Path

import numpy as np
import pytest

from mlnb.store import mapped
from mlnb.store.mapped import PAGEMAP, open_private, region, touched

NOWHERE = Path("/proc/self/no-such-pagemap")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(1_000_000))
    return path


def mapped_array(path: Path) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.ndarray(125_000, "i8", open_private(path))


@pytest.mark.parametrize("size", [0, 100, 1_000_000])
def test_what_is_written_to_private_memory_never_reaches_the_file(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a" * size)
    path.chmod(0o444)
    view = open_private(path)
    assert bytes(view) == b"a" * size
    view[:] = b"b" * size
    assert path.read_bytes() == b"a" * size
    assert bytes(open_private(path)) == b"a" * size


@pytest.mark.parametrize("pagemap", [PAGEMAP, NOWHERE])
def test_only_what_was_changed_counts_as_touched(file: Path, pagemap: Path) -> None:
    array = mapped_array(file)
    array.sum()
    places = {at: region(array[at:].ctypes.data, 8) for at in (0, 60_000, 124_999)}
    assert not any(touched(place, pagemap) for place in places.values() if place)
    old = array[60_000]
    array[60_000] = 1
    assert [at for at, place in places.items() if place and touched(place, pagemap)] == [60_000]
    array[60_000] = old
    assert not any(touched(place, pagemap) for place in places.values() if place)


def test_this_system_knows_an_untouched_mapping_without_reading_the_file(file: Path) -> None:
    array = mapped_array(file)
    place = region(array.ctypes.data, array.nbytes)
    assert place is not None
    file.unlink()
    assert not touched(place)
    array[5] = 1
    assert touched(place)


def test_other_memory_is_of_no_file_and_a_mapping_ends_with_its_last_view(file: Path) -> None:
    array = mapped_array(file)
    place = region(array.ctypes.data, array.nbytes)
    assert place is not None
    assert (place.path, place.start, place.stop) == (file, 0, 1_000_000)
    assert region(np.ones(100_000).ctypes.data, 800_000) is None
    assert region(array[124_999:].ctypes.data, 9) is None
    del array
    gc.collect()
    assert touched(place)
    assert not [one for one in mapped._live if one.path == file]
