"""A pandas frame becomes an Arrow file whose number columns are the frame's own bytes, and is the frame again.

One record batch. First come the plain columns, those of NumPy's numbers, booleans, dates and durations, grouped by
dtype: their memory is written as it is, without nulls (a missing one is NaN or NaT), so that reading gives one block
for each dtype over the file's private pages. Then come the columns that Arrow holds (``ArrowDtype``), then all others
and the index as pandas and Arrow convert them. The schema's metadata ``mlnb.frame`` (format 2) says which column is
where, and holds the column labels as an Arrow file of their own. Nothing in it tells when or by which version it was
written: equal frames give equal bytes.

Format 1, which `mlnb.store.codecs.frames` still reads, was Arrow's own conversion of the whole frame. To raise the
number: keep the reader of the old one and its test.
"""

from __future__ import annotations

import base64
import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

from mlnb.store.codecs.sink import ArrowSink
from mlnb.store.hashed import HashedFile

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

FORMAT = 2
NOTE = b"mlnb.frame"

PLAIN = frozenset(
    ["|b1", "|i1", "|u1", *(f"<{kind}" for kind in ("i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"))]
    + [f"<{kind}8[{unit}]" for kind in "Mm" for unit in ("s", "ms", "us", "ns")]
)
"""Dtypes whose bytes are written and read as they are."""

_LEAST_ROOM_BYTES = 4 << 20
_TILE_ROWS = 8192
_MOST_BLOCKS = 100


@dataclass(frozen=True, slots=True)
class Note:
    """What the schema's metadata tells about a frame.

    Attributes
    ----------
    kind : str
        ``frame``, or what the frame was made of: ``series``, ``index``, ``array``.
    name : object
        A Series' name.
    rows : int
        The number of rows.
    plain : sequence of (dtype, positions)
        Which columns of the frame the file's first columns are.
    held : sequence of int
        Which columns of the frame come then: those that Arrow holds.
    others : sequence of (dtype, position)
        Which columns of the frame come then; the index comes last.
    labels : str
        The frame's columns axis: an Arrow file in base64.
    frequency : str
        That of the index, where it has one.
    pandas : object
        What pandas' conversion says about index and other columns.
    """

    kind: str
    name: object
    rows: int
    plain: Sequence[tuple[str, Sequence[int]]]
    held: Sequence[int]
    others: Sequence[tuple[str, int]]
    labels: str
    frequency: str
    pandas: object

    def to_metadata(self) -> dict[bytes, bytes]:
        """Return it as the metadata of a schema; a name that JSON does not know is a TypeError."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return {NOTE: json.dumps({"format": FORMAT, **fields}, separators=(",", ":")).encode("utf-8")}

    @classmethod
    def from_metadata(cls, metadata: dict[bytes, bytes]) -> Note:
        """Read it from the metadata of a schema."""
        fields = json.loads(metadata[NOTE])
        if fields.pop("format") != FORMAT:
            raise ValueError("the frame was written by a newer mlnb")
        return cls(**fields)


def write_frame(frame: pd.DataFrame, file: HashedFile, kind: str = "frame", name: object = None) -> None:
    """Write a frame; what Arrow cannot hold is a ValueError or TypeError.

    Columns that are not contiguous in memory are gathered a few at a time: nothing as large as the frame is made.
    """
    import pandas as pd
    import pyarrow as pa

    columns = [frame.iloc[:, at] for at in range(frame.shape[1])]
    plain: dict[str, list[int]] = {}
    held: list[int] = []
    others: list[int] = []
    for at, column in enumerate(columns):
        if is_plain(column.dtype):
            plain.setdefault(str(getattr(column.dtype, "str", "")), []).append(at)
        else:
            (held if isinstance(column.dtype, pd.ArrowDtype) else others).append(at)
    converted = _converted(frame, others)
    note = Note(
        kind=kind,
        name=name,
        rows=len(frame),
        plain=list(plain.items()),
        held=held,
        others=[(str(columns[at].dtype), at) for at in others],
        labels=base64.b64encode(_axis_bytes(frame.columns)).decode(),
        frequency=getattr(frame.index, "freqstr", None) or "",
        pandas=_lasting(json.loads(converted.schema.metadata[b"pandas"])),
    )
    first = [at for positions in plain.values() for at in positions]
    source = _Source([columns[at].to_numpy() for at in first])
    rest = [*(pa.chunked_array(pa.array(columns[at].array)) for at in held), *converted.columns]
    arrays = [*source.arrays, *(_canonical(_one_chunk(column)) for column in rest)]
    names = [str(frame.columns[at]) for at in (*first, *held, *others)] + converted.column_names[len(others) :]
    schema = _schema(names, arrays, note)
    with pa.ipc.new_file(ArrowSink(file, source.pieces), schema) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))


def read_frame(view: memoryview) -> tuple[pd.DataFrame, Note]:
    """Return the frame in `view`, which has its plain columns there, and the note.

    The frame is writable where `view` is; what is written to it is written to `view`.
    """
    import pandas as pd
    import pyarrow as pa

    whole = pa.py_buffer(view)
    batch = pa.ipc.open_file(pa.BufferReader(whole)).get_batch(0)
    note = Note.from_metadata(batch.schema.metadata)
    blocks: list[tuple[Any, Sequence[int]]] = []
    first = 0
    for dtype, positions in note.plain:
        found = batch.columns[first : first + len(positions)]
        blocks += _plain_blocks(dtype, positions, [column.buffers()[1] for column in found], note.rows, view, whole)
        first += len(positions)
    for position in note.held:
        blocks.append((pd.arrays.ArrowExtensionArray(pa.chunked_array([batch.column(first)])), [position]))
        first += 1
    rest = _rest(batch, first, note)
    if note.frequency:
        cast(Any, rest.index).freq = note.frequency  # it is an index of dates or durations
    labels = _axis(base64.b64decode(note.labels))
    for at, (dtype, position) in enumerate(note.others):
        blocks.append((_other_values(rest.iloc[:, at], batch.column(first + at), dtype), [position]))
    frame = _assembled(blocks, rest.index, labels)
    frame.attrs = dict(rest.attrs)
    return frame, note


def is_plain(dtype: object) -> bool:
    """Say whether a column of this dtype is written as it is, so that its round trip is exact by construction."""
    return getattr(dtype, "str", "") in PLAIN and type(dtype).__module__.partition(".")[0] == "numpy"


def contiguous(columns: Sequence[np.ndarray[Any, Any]]) -> Iterator[Iterable[np.ndarray[Any, Any]]]:
    """Yield the content of each column as contiguous pieces, made when they are asked for and not kept.

    Columns of a row-major table are gathered several at a time in tiles of rows, which costs one walk through the
    table's memory for several columns; a tenth of the table (4 MiB at least) is in hand at a time.
    """
    import numpy as np

    room = max(_LEAST_ROOM_BYTES, sum(column.nbytes for column in columns) // 10)
    at = 0
    while at < len(columns):
        column = columns[at]
        if column.flags.c_contiguous:
            yield [column]
            at += 1
            continue
        if column.nbytes > room:
            step = max(1, room // column.itemsize)
            yield (np.ascontiguousarray(column[row : row + step]) for row in range(0, len(column), step))
            at += 1
            continue
        together = columns[at : at + max(1, room // column.nbytes)]
        gathered = [np.empty(len(each), each.dtype) for each in together]
        for row in range(0, len(column), _TILE_ROWS):
            for target, each in zip(gathered, together, strict=True):
                target[row : row + _TILE_ROWS] = each[row : row + _TILE_ROWS]
        at += len(together)
        for target in gathered:
            yield [target]
        del target, gathered


class _Source:
    """Plain columns as Arrow arrays; one that is not contiguous is represented by memory that nobody ever touches."""

    def __init__(self, columns: Sequence[np.ndarray[Any, Any]]) -> None:
        import numpy as np
        import pyarrow as pa

        stand_ins = [column if column.flags.c_contiguous else np.empty(len(column), column.dtype) for column in columns]
        buffers = [pa.py_buffer(column.view("u1")) for column in stand_ins]
        self.arrays = [
            pa.Array.from_buffers(_arrow_type(column.dtype), len(column), [None, buffer])
            for column, buffer in zip(columns, buffers, strict=True)
        ]
        scattered = [at for at, column in enumerate(columns) if not column.flags.c_contiguous]
        self._awaited = {buffers[at].address for at in scattered}
        self._pieces = contiguous([columns[at] for at in scattered])

    def pieces(self, buffer: pa.Buffer) -> Iterable[Any]:
        """Return what is to be written for a buffer; the columns are asked for in their order."""
        if buffer.address not in self._awaited:
            return (buffer,)
        return (piece.view("u1") for piece in next(self._pieces))


def _arrow_type(dtype: np.dtype[Any]) -> pa.DataType:
    import pyarrow as pa

    if dtype.kind == "b":
        return pa.uint8()
    return pa.binary(dtype.itemsize) if dtype.kind == "c" else pa.from_numpy_dtype(dtype)


def _converted(frame: pd.DataFrame, others: Sequence[int]) -> pa.Table:
    """Return those columns, named by their position, and the index, as pandas and Arrow convert them."""
    import pandas as pd
    import pyarrow as pa

    chosen = {str(at): frame.iloc[:, at] for at in others}
    rest = pd.DataFrame(chosen, index=frame.index, copy=False) if chosen else pd.DataFrame(index=frame.index)
    rest.attrs = frame.attrs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Arrow only warns of, the comparison finds
        return pa.Table.from_pandas(rest, nthreads=1)


def _schema(names: Sequence[str], arrays: Sequence[pa.Array], note: Note) -> pa.Schema:
    import pyarrow as pa

    for array in arrays:
        if isinstance(array.type, pa.BaseExtensionType):  # a process that does not know it would read its storage
            raise TypeError(f"{array.type} is known only where it has been registered")
    fields = [pa.field(name, array.type) for name, array in zip(names, arrays, strict=True)]
    return pa.schema(fields, metadata=note.to_metadata())


def _lasting(metadata: dict[str, object]) -> dict[str, object]:
    """Leave out who wrote it: the same frame is the same bytes with the next version of pandas and Arrow."""
    return {name: value for name, value in metadata.items() if name not in ("creator", "pandas_version")}


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    if column.num_chunks == 1:
        return column.chunk(0)
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        raise ValueError("a column is too large for one Arrow array")
    return array


def _canonical(array: pa.Array) -> pa.Array:
    """Let what lies under the nulls of numbers be zero: it cannot be seen, and may be anything."""
    import pyarrow as pa

    if not array.null_count or not pa.types.is_primitive(array.type):
        return array
    import pyarrow.compute as pc

    wide = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}
    bits = array.type.bit_width
    filled = pc.fill_null(array, False) if bits == 1 else pc.fill_null(array.view(wide[bits]), 0)
    valid = pc.is_valid(array)
    if filled.offset or valid.offset:
        return array
    return pa.Array.from_buffers(array.type, len(array), [valid.buffers()[1], filled.buffers()[1]])


def _axis_bytes(axis: pd.Index) -> bytes:
    import pandas as pd
    import pyarrow as pa

    table = pa.Table.from_pandas(pd.DataFrame(index=axis), nthreads=1)
    metadata = _lasting(json.loads(table.schema.metadata[b"pandas"]))
    table = table.replace_schema_metadata({b"pandas": json.dumps(metadata).encode()}).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _axis(content: bytes) -> pd.Index:
    import pyarrow as pa

    return _pandas_of(pa.ipc.open_file(pa.BufferReader(content)).read_all()).index


def _pandas_of(table: pa.Table) -> pd.DataFrame:
    """Return what Arrow makes of a table; one without columns has forgotten how many rows it had."""
    import pandas as pd

    if table.num_columns:
        frame: pd.DataFrame = table.to_pandas(use_threads=False)
        return frame
    metadata = json.loads(table.schema.metadata[b"pandas"])
    (axis,) = metadata["index_columns"]
    bare = pd.DataFrame(index=pd.RangeIndex(axis["start"], axis["stop"], axis["step"], name=axis["name"]))
    bare.attrs = metadata.get("attributes", {})
    return bare


def _rest(batch: pa.RecordBatch, first: int, note: Note) -> pd.DataFrame:
    import pyarrow as pa

    part = batch.select(list(range(first, batch.num_columns)))
    names = [str(at) for _, at in note.others] + part.schema.names[len(note.others) :]
    table = pa.Table.from_batches([part.rename_columns(names)])
    return _pandas_of(table.replace_schema_metadata({b"pandas": json.dumps(note.pandas).encode()}))


def _other_values(column: pd.Series, array: pa.Array, dtype_name: str) -> Any:
    """Return a column's values, private and writable; what Arrow itself holds is immutable and stays as it is."""
    if dtype_name == "object" and str(column.dtype) != "object":  # pandas 3 makes all text a str
        return array.to_numpy(zero_copy_only=False).copy().reshape(1, -1)
    if hasattr(column.array, "_pa_array"):
        return column.array
    values = column.array.copy()
    return values.to_numpy().reshape(1, -1) if str(column.dtype) in ("object", "bool") else values


def _plain_blocks(
    dtype: str, positions: Sequence[int], buffers: Sequence[pa.Buffer], rows: int, view: memoryview, whole: pa.Buffer
) -> list[tuple[np.ndarray[Any, Any], Sequence[int]]]:
    """Return one block over the memory of `view`: Arrow pads all columns of a dtype alike, so they lie evenly."""
    import numpy as np

    if rows == 0:
        return [(np.empty((len(positions), 0), dtype), positions)]
    starts = [buffer.address - whole.address for buffer in buffers]
    steps = {after - before for before, after in pairwise(starts)}
    if len(steps) <= 1:
        size = np.dtype(dtype).itemsize
        strides = (max(steps, default=rows * size), size)
        return [(np.ndarray((len(positions), rows), dtype, view, starts[0], strides), positions)]
    return [(np.ndarray((1, rows), dtype, view, start), [at]) for start, at in zip(starts, positions, strict=True)]


def _assembled(blocks: Sequence[tuple[Any, Sequence[int]]], index: pd.Index, labels: pd.Index) -> pd.DataFrame:
    import numpy as np

    try:
        from pandas.api.internals import create_dataframe_from_blocks
    except ImportError:  # before pandas 3
        return _of_columns(blocks, index, labels)
    placed = [(values, np.asarray(place, np.intp)) for values, place in blocks]
    frame: pd.DataFrame = create_dataframe_from_blocks(placed, index, labels)
    return frame


def _of_columns(blocks: Sequence[tuple[Any, Sequence[int]]], index: pd.Index, labels: pd.Index) -> pd.DataFrame:
    """Return a frame with a block for each column, which older versions of pandas can make; very many are joined."""
    import pandas as pd

    columns = {}
    for values, place in blocks:
        columns.update({at: values[row] if values.ndim == 2 else values for row, at in enumerate(place)})
    frame = pd.DataFrame(dict(sorted(columns.items())), index=index, copy=False)
    frame = frame.copy() if frame.shape[1] > _MOST_BLOCKS else frame
    frame.columns = labels
    return frame
