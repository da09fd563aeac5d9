"""An error of pandera becomes one sentence: the schema, and each column with what it fails and in which rows.

pandera is not imported here: its errors are known by their module, so a stage without it pays nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from traceback import walk_tb
from typing import Any

_ROWS = 5
_VALUES = 3
#: Checks that name a column as what has failed.
_WHOLE: Mapping[str, str] = {
    "column_in_dataframe": "missing",
    "column_in_schema": "unexpected",
    "column_ordered": "out of order",
}
_SPOKEN: Mapping[str, str] = {
    "not_nullable": "holds null",
    "field_uniqueness": "repeats values",
    "multiple_fields_uniqueness": "repeats values",
}


def tell_plainly(shell: Any) -> None:
    """Let a shell show errors of pandera as sentences."""
    show = shell.showtraceback

    def showtraceback(exc_tuple: Any = None, *args: Any, **options: Any) -> None:
        error = (exc_tuple or sys.exc_info())[1]
        if is_schema_error(error):
            _speak(error, sentence_of(error))
        show(exc_tuple, *args, **options)

    shell.showtraceback = showtraceback


def _speak(error: Any, sentence: str) -> None:
    """Let this one error say the sentence; its class writes what it says by itself, so it gets one that does not."""
    kind = type(error)
    error.__class__ = type(kind.__name__, (kind,), {"__module__": kind.__module__, "__str__": lambda _: sentence})


def is_schema_error(error: object) -> bool:
    """Say whether an exception is pandera's that data do not fit a schema."""
    return any(
        kind.__module__ == "pandera.errors" and kind.__name__ in {"SchemaError", "SchemaErrors"}
        for kind in type(error).__mro__
    )


def sentence_of(error: Any) -> str:
    """Return the sentence, without its full stop."""
    name = _name(error)
    told = list(_parts(error))
    return f"the data do not fit the schema{f' {name!r}' if name else ''}: {'; '.join(told) or 'no reason was told'}"


def _name(error: Any) -> str:
    """Return the name of the frame's schema; where the error knows only the column's, from where it was raised."""
    if type(error.schema).__name__ == "DataFrameSchema":
        return str(error.schema.name or "")
    for frame, _ in walk_tb(error.__traceback__):
        schema: Any = frame.f_locals.get("self")
        if type(schema).__name__ == "DataFrameSchema" and type(schema).__module__.startswith("pandera."):
            return str(schema.name or "")
    return ""


def _parts(error: Any) -> Iterator[str]:
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for case in _cases(error):
        found.setdefault((str(case["column"]), str(case["check"])), []).append(case)
    for (column, check), cases in found.items():
        if check.startswith("dtype("):
            yield _other_type(error, column, check, cases[0]["failure_case"])
        else:
            yield _part(column, check, cases)


def _cases(error: Any) -> Iterable[Mapping[str, Any]]:
    """Return each failure: column, check, failure_case and index."""
    cases = error.failure_cases
    check = getattr(error, "check", None)
    check = getattr(check, "error", None) or getattr(check, "name", None) or check
    column = getattr(error, "column_name", None) or getattr(error.schema, "name", None)
    if not hasattr(cases, "columns"):  # a whole column's failure
        whole = check in _WHOLE
        yield {"column": cases if whole else column, "check": check, "failure_case": cases, "index": None}
        return
    rows = cases.to_dicts() if hasattr(cases, "to_dicts") else cases.to_dict("records")
    for row in rows:
        whole = row.get("check") in _WHOLE
        told = {"column": row.get("column") or column, "check": row.get("check") or check, "index": row.get("index")}
        yield {**told, "failure_case": row["failure_case"]} | ({"column": row["failure_case"]} if whole else {})


def _other_type(error: Any, column: str, check: str, case: object) -> str:
    wanted = check.removeprefix("dtype(").removesuffix(")").strip("'")
    data = error.data
    held = data[column] if column in getattr(data, "columns", ()) else data
    return f"column {column!r} is {getattr(held, 'dtype', case)}, not {wanted}"


def _part(column: str, check: str, cases: list[Mapping[str, Any]]) -> str:
    rows = [case["index"] for case in cases if case["index"] is not None and case["index"] == case["index"]]
    if check in _WHOLE:
        return f"column {column!r} is {_WHOLE[check]}"
    what = _SPOKEN.get(check, f"fails {check}")
    if not rows:
        return f"column {column!r} {what}"
    shown = ", ".join(str(row) for row in rows[:_ROWS]) + ", ..." * (len(rows) > _ROWS)
    values = list(dict.fromkeys(repr(case["failure_case"]) for case in cases))
    told = "" if check in _SPOKEN else f" with {', '.join(values[:_VALUES])}{', ...' * (len(values) > _VALUES)}"
    return f"column {column!r} {what} in {len(rows)} row{'s' * (len(rows) > 1)} ({shown}){told}"
