"""A NumPy array or scalar becomes an npy file; a note behind the data tells a scalar from an array of no dimension.

The bytes are those of ``numpy.save``. Reading gives an array over private pages of the file. The round trip of arrays
without fields is exact by construction: their memory is written as it is and not compared again.
"""

from __future__ import annotations

import io
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlnb.store.equality import same
from mlnb.store.hashed import HashedFile
from mlnb.store.mapped import open_private

if TYPE_CHECKING:
    import numpy as np

_SCALAR = b"mlnb:scalar"
_PIECE_BYTES = 4 << 20


class NpyCodec:
    """Arrays (exact type, no objects) and scalars <-> npy, format 1 to 3, without pickle."""

    name = "npy"
    rank = 10
    canonical = True
    executes_code = False

    def handles(self, value: object) -> bool:
        """Say whether it is an array or scalar that holds no Python objects."""
        numpy = sys.modules.get("numpy")
        if numpy is None or not (type(value) is numpy.ndarray or isinstance(value, numpy.generic)):
            return False
        return not value.dtype.hasobject  # type: ignore[attr-defined]  # numpy's, which is not imported here

    def write(self, value: np.ndarray[Any, Any] | np.generic, file: HashedFile) -> None:
        """Write the array, and the note if it is a scalar."""
        import numpy as np

        array = np.asarray(value)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a dtype's metadata is dropped: the comparison decides
            header = _header(array)
            if not header:
                np.save(file, array, allow_pickle=False)
        if header:
            file.write(header)
            for piece in _pieces(array.T if array.flags.f_contiguous and not array.flags.c_contiguous else array):
                file.lend(piece.view("u1") if piece.nbytes else b"")
        if isinstance(value, np.generic):
            file.write(_SCALAR)

    def read(self, path: Path) -> object:
        """Return the array over private pages, or the scalar."""
        return self.read_view(open_private(path))

    def read_view(self, view: memoryview) -> object:
        """Return the array or scalar that lies in `view`."""
        import numpy as np

        head = io.BytesIO(view[: 1 << 16])
        version = np.lib.format.read_magic(head)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
        if read is None:
            array = np.load(head := io.BytesIO(view), allow_pickle=False)
        else:
            shape, fortran, dtype = read(head)
            array = np.ndarray(shape, dtype, view, head.tell(), order="F" if fortran else "C")
            head = io.BytesIO(view[head.tell() + array.nbytes :])
        return array[()] if head.read() == _SCALAR else array

    def faithful(self, value: Any, copy: Any) -> bool:
        """Say whether dtype and shape are the same, and where the dtype has fields, their content."""
        if type(value) is not type(copy) or value.dtype != copy.dtype or value.shape != copy.shape:
            return False
        return value.dtype.names is None or same(value, copy)


def _header(array: np.ndarray[Any, Any]) -> bytes:
    """Return what ``numpy.save`` writes before the data, nothing where only it can: names of fields not in Latin-1."""
    import numpy as np

    stream = io.BytesIO()
    fields = np.lib.format.header_data_from_array_1_0(array)
    try:
        np.lib.format.write_array_header_1_0(stream, fields)
    except UnicodeEncodeError:
        return b""
    except ValueError:
        stream = io.BytesIO()
        np.lib.format.write_array_header_2_0(stream, fields)
    return stream.getvalue()


def _pieces(array: np.ndarray[Any, Any]) -> Any:
    """Yield the content in C order as contiguous arrays: the array itself, or copies of a few rows at a time."""
    import numpy as np

    if array.flags.c_contiguous or array.ndim == 0:
        yield np.ascontiguousarray(array).reshape(-1)
    elif array.size and array.nbytes // len(array) > _PIECE_BYTES:
        for part in array:
            yield from _pieces(part)
    elif array.size:
        step = max(1, _PIECE_BYTES * len(array) // array.nbytes)
        for at in range(0, len(array), step):
            yield np.ascontiguousarray(array[at : at + step]).reshape(-1)
