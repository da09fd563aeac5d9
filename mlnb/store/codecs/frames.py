"""A pandas DataFrame, Series, Index or array becomes an Arrow file, and is the same again, lying in private pages.

How the bytes are laid out is the matter of `mlnb.store.codecs.layout`. The round trip of NumPy's numbers, booleans,
dates and durations, and of columns that Arrow itself holds (``str``, ``string[pyarrow]``, ``ArrowDtype``), is exact by
construction: their bytes are not compared again. Everything else is: other dtypes, indexes, labels and attributes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlnb.store.codecs.layout import NOTE, is_plain, read_frame, write_frame
from mlnb.store.equality import same, same_axis, same_column
from mlnb.store.hashed import HashedFile
from mlnb.store.mapped import open_private

if TYPE_CHECKING:
    import pandas as pd

_OLD_NOTE = b"mlnb"


class ArrowCodec:
    """DataFrames, Series (exact types: a subclass has more to lose), indexes, extension arrays <-> Arrow IPC."""

    name = "arrow"
    rank = 10
    canonical = True
    executes_code = False

    def handles(self, value: object) -> bool:
        """Say whether it is a DataFrame, a Series, an Index or an extension array."""
        pandas = sys.modules.get("pandas")
        if pandas is None:
            return False
        return type(value) in (pandas.DataFrame, pandas.Series) or isinstance(
            value, (pandas.Index, pandas.api.extensions.ExtensionArray)
        )

    def write(self, value: object, file: HashedFile) -> None:
        """Write one record batch; what Arrow cannot hold is a ValueError or TypeError."""
        import pandas as pd

        if isinstance(value, pd.DataFrame):
            write_frame(value, file)
        elif isinstance(value, pd.Series):
            frame = value.to_frame(name="value")
            frame.attrs = value.attrs
            write_frame(frame, file, "series", value.name)
        elif isinstance(value, pd.Index):
            write_frame(pd.DataFrame(index=value), file, "index")
        else:
            write_frame(pd.DataFrame({"value": value}, copy=False), file, "array")

    def read(self, path: Path) -> object:
        """Return the value over private pages of the file."""
        return self.read_view(open_private(path))

    def read_view(self, view: memoryview) -> object:
        """Return the value that lies in `view`."""
        import pyarrow as pa

        if NOTE not in (pa.ipc.open_file(pa.BufferReader(pa.py_buffer(view))).schema.metadata or {}):
            return _read_old(view)
        frame, note = read_frame(view)
        if note.kind == "frame":
            return frame
        if note.kind == "index":
            return frame.index
        series = frame.iloc[:, 0]
        if note.kind == "array":
            return series.array
        series.name = note.name
        series.attrs = frame.attrs
        return series

    def faithful(self, value: Any, copy: Any) -> bool:
        """Say whether both are equal in every respect that is not exact by construction."""
        import pandas as pd

        if isinstance(value, pd.DataFrame):
            return _faithful_frame(value, copy)
        if isinstance(value, pd.Series):
            return (
                same(value.name, copy.name)
                and same_axis(value.index, copy.index)
                and same(dict(value.attrs), dict(copy.attrs))
                and value.flags == copy.flags
                and _faithful_column(value, copy)
            )
        return same(value, copy)


def _faithful_frame(value: pd.DataFrame, copy: pd.DataFrame) -> bool:
    return (
        value.shape == copy.shape
        and same_axis(value.columns, copy.columns)
        and same_axis(value.index, copy.index)
        and same(dict(value.attrs), dict(copy.attrs))
        and value.flags == copy.flags
        and all(_faithful_column(value.iloc[:, at], copy.iloc[:, at]) for at in range(value.shape[1]))
    )


def _faithful_column(value: pd.Series, copy: pd.Series) -> bool:
    if is_plain(value.dtype) or hasattr(value.array, "_pa_array"):
        return bool(value.dtype == copy.dtype and type(value.array) is type(copy.array))
    return same_column(value, copy)


def _read_old(view: memoryview) -> object:
    """Read format 1: Arrow's own conversion of a whole frame, or of a Series as a column ``value``."""
    import pyarrow as pa

    table = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(view))).read_all()
    note = json.loads(table.schema.metadata[_OLD_NOTE])
    frame = table.to_pandas().copy(deep=True)
    if note["kind"] == "frame":
        return frame
    series = frame["value"].rename(note["name"])
    series.attrs = frame.attrs
    return series
