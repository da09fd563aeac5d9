"""A data frame becomes the Python source of a pandera schema that it fits, for a person to read and sharpen.

Types, missing values, ranges and few categories are those of `mlnb.model.inference.infer_columns`: what the frame
shows, which is not all that may come. pandera itself is not needed to write it, only to run it (``mlnb[pandera]``).
"""

from __future__ import annotations

import keyword
from collections.abc import Iterator

import pandas as pd

from mlnb.errors import UsageError
from mlnb.model.inference import as_frame, infer_columns
from mlnb.model.signature import Column

#: So many different texts, each in ten rows on average, count as categories.
CATEGORIES = 20
_ROWS_A_CATEGORY = 10


def propose_schema(frame: object, name: str = "schema") -> str:
    """Return the source of a pandera schema that a data frame fits.

    Parameters
    ----------
    frame : DataFrame or two-dimensional array
        Rows that are right.
    name : str
        Of the variable that the source defines, and of the schema in its messages.

    Returns
    -------
    str
        Python: ``schema = pa.DataFrameSchema({...})``. Put it into a setup cell, and ``schema.validate(rows)`` into a
        stage: where rows do not fit, the stage fails with a sentence that names column and rows.

    Raises
    ------
    UsageError
        If `name` is no name of a variable.
    ModelError
        If it is no table, or holds what has no type here.

    Examples
    --------
    >>> import pandas as pd
    >>> print(propose_schema(pd.DataFrame({"hour": [5, 23], "wind": [3.5, None]}), "hours"))
    import pandera.pandas as pa
    <BLANKLINE>
    hours = pa.DataFrameSchema(
        {
            "hour": pa.Column("int64", pa.Check.in_range(5, 23)),
            "wind": pa.Column("float64", pa.Check.in_range(3.5, 3.5), nullable=True),
        },
        strict=True,
        name="hours",
    )
    """
    if not name.isidentifier() or keyword.iskeyword(name):
        raise UsageError(f"{name!r} is no name of a variable.", "Use letters, digits and underscores.")
    table = as_frame(frame, "frame")
    lines = ["import pandera.pandas as pa", "", f"{name} = pa.DataFrameSchema(", "    {"]
    lines += [f"        {_text(one.name)}: {_column(one, table[one.name])}," for one in infer_columns(table, "frame")]
    return "\n".join([*lines, "    },", "    strict=True,", f"    name={_text(name)},", ")"])


def _column(column: Column, series: pd.Series) -> str:
    parts = [_text(str(series.dtype)), *_checks(column, series)]
    return f"pa.Column({', '.join(parts)}{', nullable=True' if column.nullable else ''})"


def _checks(column: Column, series: pd.Series) -> Iterator[str]:
    if column.many:
        return
    if column.categories:
        yield f"pa.Check.isin({list(column.categories)!r})"
    elif column.dtype == "string":
        known = series.dropna().unique().tolist()
        if 0 < len(known) <= min(CATEGORIES, len(series) // _ROWS_A_CATEGORY):
            yield f"pa.Check.isin({sorted(known)!r})"
    elif column.minimum is not None and column.maximum is not None:
        yield f"pa.Check.in_range({_number(column, column.minimum)}, {_number(column, column.maximum)})"


def _number(column: Column, value: float) -> str:
    return repr(value) if column.dtype.startswith("float") else repr(int(value))


def _text(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
