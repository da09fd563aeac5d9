"""A pandas DataFrame or Series becomes an Arrow IPC file, and is the same frame again.

Index, dtypes, column order and attributes travel in the schema's pandas metadata; a Series is a frame of one column
and a note in the metadata. One record batch, so that equal frames give equal bytes.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from mlnb.store.equality import same

if TYPE_CHECKING:
    import pandas as pd

_NOTE = b"mlnb"


class ArrowCodec:
    """DataFrames and Series (exact types: a subclass has more to lose) <-> Arrow IPC."""

    name = "arrow"
    rank = 10
    canonical = True
    executes_code = False

    def handles(self, value: object) -> bool:
        """Say whether it is a DataFrame or a Series."""
        pandas = sys.modules.get("pandas")
        return pandas is not None and type(value) in (pandas.DataFrame, pandas.Series)

    def write(self, value: pd.DataFrame | pd.Series, path: Path) -> None:
        """Write one record batch; what Arrow cannot hold is a ValueError or TypeError."""
        import pandas as pd
        import pyarrow as pa

        note: dict[str, object] = {"kind": "frame"}
        frame = value
        if isinstance(value, pd.Series):
            note = {"kind": "series", "name": value.name}
            frame = value.to_frame(name="value")
            frame.attrs = value.attrs
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Arrow only warns of, the comparison finds
            table = pa.Table.from_pandas(frame).combine_chunks()
        metadata = {**(table.schema.metadata or {}), _NOTE: json.dumps(note).encode()}
        table = table.replace_schema_metadata(metadata)
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)

    def read(self, path: Path) -> object:
        """Return the frame or Series, with blocks of its own."""
        import pyarrow as pa

        with pa.memory_map(str(path)) as file:
            table = pa.ipc.open_file(file).read_all()
        note = json.loads(table.schema.metadata[_NOTE])
        frame = table.to_pandas().copy(deep=True)
        if note["kind"] == "frame":
            return frame
        series = frame["value"].rename(note["name"])
        series.attrs = frame.attrs
        return series

    def faithful(self, value: object, copy: object) -> bool:
        """Say whether both are equal in every respect."""
        return same(value, copy)
