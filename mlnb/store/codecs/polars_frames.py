"""A polars DataFrame or Series becomes an Arrow file of one record batch, and is the same again over its pages.

Strings are written in Arrow's plain layout, categories in the order in which they occur, so that equal frames give
equal bytes. The round trip of numbers, booleans, dates, times, strings and binaries is exact by construction where the
schema comes back equal; other types are compared. The schema's metadata ``mlnb.polars`` (format 1) tells a Series from
a frame.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mlnb.store.codecs.sink import ArrowSink
from mlnb.store.hashed import HashedFile
from mlnb.store.mapped import open_private

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

_NOTE = b"mlnb.polars"


class PolarsCodec:
    """polars frames and Series (exact types) <-> Arrow IPC. A LazyFrame is a plan and no value: it is pickled."""

    name = "polars"
    rank = 10
    canonical = True
    executes_code = False

    def handles(self, value: object) -> bool:
        """Say whether it is a DataFrame or a Series of polars."""
        polars = sys.modules.get("polars")
        return polars is not None and type(value) in (polars.DataFrame, polars.Series)

    def write(self, value: pl.DataFrame | pl.Series, file: HashedFile) -> None:
        """Write one record batch; Python objects are a TypeError."""
        import polars as pl
        import pyarrow as pa

        frame = value.to_frame() if isinstance(value, pl.Series) else value
        if any(dtype == pl.Object for dtype in frame.dtypes):
            raise TypeError("polars cannot hand over Python objects")
        table = _in_order(frame.to_arrow()).combine_chunks()
        kind = "series" if isinstance(value, pl.Series) else "frame"
        note = {_NOTE: json.dumps({"format": 1, "kind": kind, "rows": len(frame)}).encode()}
        schema = table.schema.with_metadata(note)
        columns = [column.chunk(0) if column.num_chunks else pa.array([], column.type) for column in table.columns]
        with pa.ipc.new_file(ArrowSink(file), schema) as writer:
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))

    def read(self, path: Path) -> object:
        """Return the value over private pages of the file."""
        return self.read_view(open_private(path))

    def read_view(self, view: memoryview) -> object:
        """Return the value that lies in `view`."""
        import polars as pl
        import pyarrow as pa

        table = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(view))).read_all()
        note = json.loads(table.schema.metadata[_NOTE])
        if note["format"] != 1:
            raise ValueError("the frame was written by a newer mlnb")
        if not table.num_columns:
            return pl.DataFrame(height=note["rows"]) if note["rows"] else pl.DataFrame()
        frame = cast("pl.DataFrame", pl.from_arrow(table, rechunk=False))
        return frame.to_series(0) if note["kind"] == "series" else frame

    def faithful(self, value: Any, copy: Any) -> bool:
        """Say whether schema and shape are equal, and the content where that is not so by construction."""
        import polars as pl

        if isinstance(value, pl.Series):
            return value.name == copy.name and self.faithful(value.to_frame(), copy.to_frame())
        if value.schema != copy.schema or value.columns != copy.columns or value.shape != copy.shape:
            return False
        plain = (pl.String, pl.Binary, pl.Boolean, pl.Date, pl.Datetime, pl.Duration, pl.Time)
        others = [
            name
            for name, dtype in value.schema.items()
            if not (dtype.is_integer() or dtype.is_float() or dtype.base_type() in plain)
        ]
        return all(value[name].equals(copy[name], check_dtypes=True, null_equal=True) for name in others)


def _in_order(table: pa.Table) -> pa.Table:
    """Give categories the order in which they occur in the column: polars has that of the whole process."""
    import pyarrow as pa

    for at, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type) and not field.type.ordered:
            column = table.column(at).combine_chunks()
            chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
            plain = [chunk.cast(field.type.value_type).dictionary_encode().cast(field.type) for chunk in chunks]
            table = table.set_column(at, field, pa.chunked_array(plain, field.type))
    return table
