"""A NumPy array or scalar becomes an npy file; a note behind the data tells a scalar from an array of no dimension."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlnb.store.equality import same

if TYPE_CHECKING:
    import numpy as np

_SCALAR = b"mlnb:scalar"


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

    def write(self, value: np.ndarray[Any, Any] | np.generic, path: Path) -> None:
        """Write the array, and the note if it is a scalar."""
        import numpy as np

        with path.open("wb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a dtype's metadata is dropped: the comparison decides
            np.save(file, np.asarray(value), allow_pickle=False)
            if isinstance(value, np.generic):
                file.write(_SCALAR)

    def read(self, path: Path) -> object:
        """Return the array or scalar."""
        import numpy as np

        with path.open("rb") as file:
            array = np.load(file, allow_pickle=False)
            return array[()] if file.read() == _SCALAR else array

    def faithful(self, value: object, copy: object) -> bool:
        """Say whether dtype, shape and bytes are the same."""
        return same(value, copy)
