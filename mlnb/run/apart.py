"""Two values become one clause that says how far they are apart, or nothing where they are equal.

Numbers may be apart by a relative tolerance, wherever in a value they stand: in a frame's columns, an array, a list,
an estimator's fitted attributes. NaN equals NaN. Functions and classes are equal if they were made by the same code.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from types import CodeType, FunctionType, ModuleType
from typing import Any, cast

from mlnb.store.codec import type_name
from mlnb.store.equality import same

FLOOR = 1e-12
"""Absolute difference below which two numbers are equal: both are rounding noise around zero."""
_DEPTH = 6
_MORE = re.compile(r"; (\d+) more differ$")
_SHOWN = 60
_NAMED = 3


def apart(before: object, after: object, tolerance: float = 0.0) -> str:
    """Return how `after` differs from `before`, ``""`` where it does not.

    Parameters
    ----------
    tolerance : float, default 0.0
        Relative difference (0.01 is one per cent) up to which numbers count as equal.

    Examples
    --------
    >>> apart({"auc": 0.5}, {"auc": 0.25})
    "['auc']: 0.5 became 0.25 (-50 %)"
    >>> apart([1.0, float("nan")], [1.0 + 1e-9, float("nan")], tolerance=1e-6)
    ''
    """
    try:
        return "" if same(before, after) else _apart(before, after, tolerance, _DEPTH)
    except RecursionError:
        return f"two values of type {type_name(after)} that are not equal"


def close(before: float, after: float, tolerance: float) -> bool:
    """Say whether two numbers are equal within a relative tolerance; NaN equals NaN."""
    if before == after or (before != before and after != after):
        return True
    largest = max(abs(before), abs(after))
    return largest < float("inf") and abs(before - after) <= max(tolerance * largest, FLOOR if tolerance else 0.0)


def number_change(before: float, after: float, written: tuple[str, str] | None = None) -> str:
    """Return ``0.5 became 0.25 (-50 %)``, the numbers as they were `written` where somebody has written them."""
    percent = f" ({(after - before) / abs(before) * 100:+.3g} %)" if before and abs(before) < float("inf") else ""
    one, other = written or (repr(before), repr(after))
    return f"{one} became {other}{percent}"


def _apart(before: Any, after: Any, tolerance: float, depth: int) -> str:
    one, other = _number(before), _number(after)
    if one is not None and other is not None:
        return "" if close(one, other, tolerance) else number_change(_plain(before), _plain(after))
    if type(before) is not type(after) and not _made_again(type(before), type(after)):
        return f"{_brief(before)} ({type_name(before)}) became {_brief(after)} ({type_name(after)})"
    if isinstance(after, str | bytes | bool | type(None)):
        return f"{_brief(before)} became {_brief(after)}"
    if isinstance(after, FunctionType | type | ModuleType):
        return "" if _same_code(before, after) else f"{_kind(after)} {after.__name__!r} was made by other code"
    table = _tabular(before, after, tolerance)
    if table is not None:
        return table
    if depth == 0:
        return f"two values of type {type_name(after)} that are not equal"
    return _parts(before, after, tolerance, depth - 1)


def _number(value: Any) -> float | None:
    numpy = sys.modules.get("numpy")
    real = isinstance(value, int | float) or (numpy is not None and isinstance(value, numpy.number))
    if not real or isinstance(value, bool | complex) or getattr(value, "dtype", None) in ("complex64", "complex128"):
        return None
    return float(value) if not isinstance(value, int) or abs(value) < 2**53 else None


def _plain(value: Any) -> float:
    return value if type(value) in (int, float) else value.item()  # type: ignore[no-any-return]  # numpy's scalar


def _parts(before: Any, after: Any, tolerance: float, depth: int) -> str:
    """Compare what two values of one type are made of."""
    if isinstance(after, Mapping):
        return _mappings(before, after, tolerance, depth, "[{!r}]")
    if isinstance(after, Sequence):
        if len(before) != len(after):
            return f"{len(before):,} items became {len(after):,}"
        return _first(
            (f"[{at}]", _deeper(one, other, tolerance, depth))
            for at, (one, other) in enumerate(zip(before, after, strict=True))
        )
    if isinstance(after, set | frozenset):
        return f"{len(before - after)} items are gone, {len(after - before)} are new" if before != after else ""
    ours, theirs = _state(before), _state(after)
    if ours is None or theirs is None:
        return f"two values of type {type_name(after)} that are not equal"
    return _mappings(ours, theirs, tolerance, depth, ".{}")


def _deeper(before: object, after: object, tolerance: float, depth: int) -> str:
    return "" if same(before, after) else _apart(before, after, tolerance, depth)


def _mappings(
    before: Mapping[Any, object], after: Mapping[Any, object], tolerance: float, depth: int, place: str
) -> str:
    gone = [key for key in before if key not in after]
    new = [key for key in after if key not in before]
    if gone or new:
        return ", ".join(
            [
                *(f"{place.format(k)} is gone" for k in gone[:_NAMED]),
                *(f"{place.format(k)} is new" for k in new[:_NAMED]),
            ]
        )
    return _first((place.format(key), _deeper(before[key], after[key], tolerance, depth)) for key in before)


def _first(found: Iterable[tuple[str, str]]) -> str:
    """Tell the first difference, and how many others there are."""
    differing = [(place, clause) for place, clause in found if clause]
    if not differing:
        return ""
    place, told = differing[0]
    within = _MORE.search(told)
    clause = told[: within.start()] if within else told
    joint = "" if clause.startswith(("[", ".")) else ": "
    others = len(differing) - 1 + (int(within[1]) if within else 0)
    return f"{place}{joint}{clause}{f'; {others} more differ' if others else ''}"


def _state(value: Any) -> Mapping[Any, object] | None:
    """Return what an object is made of: its fields or attributes, else the state that pickle would keep."""
    if is_dataclass(value):
        return {field.name: getattr(value, field.name, None) for field in fields(value)}
    if hasattr(value, "__dict__"):
        return cast("Mapping[Any, object]", vars(value))
    try:
        reduced = value.__reduce_ex__(4)
    except Exception:  # noqa: BLE001  # a foreign object raises what it likes
        return None
    state = reduced[2] if isinstance(reduced, tuple) and len(reduced) > 2 else None
    return state if isinstance(state, Mapping) else None


def _tabular(before: Any, after: Any, tolerance: float) -> str | None:
    """Compare frames, series and arrays; None for what is none of them."""
    numpy, pandas = sys.modules.get("numpy"), sys.modules.get("pandas")
    if pandas is not None and isinstance(after, pandas.DataFrame):
        return _frames(before, after, tolerance)
    if pandas is not None and isinstance(after, pandas.Series | pandas.Index):
        return _frames(before.to_frame(), after.to_frame(), tolerance)
    if numpy is not None and isinstance(after, numpy.ndarray):
        if before.shape != after.shape:
            return f"shape {before.shape} became {after.shape}"
        if before.dtype != after.dtype:
            return f"dtype {before.dtype} became {after.dtype}"
        count, largest = _column(before.ravel(), after.ravel(), tolerance)
        return f"{count:,} of {after.size:,} values differ{_by(largest)}" if count else ""
    polars = sys.modules.get("polars")
    if polars is not None and isinstance(after, polars.DataFrame):
        return _frames(before.to_pandas(), after.to_pandas(), tolerance)
    return None


def _frames(before: Any, after: Any, tolerance: float) -> str:
    said = []
    gone = [str(name) for name in before.columns if name not in after.columns]
    new = [str(name) for name in after.columns if name not in before.columns]
    if gone:
        said.append(f"without {_listed(gone)}")
    if new:
        said.append(f"with the new {_listed(new)}")
    if len(before) != len(after):
        said.append(f"{len(before):,} rows became {len(after):,}")
    elif before.columns.is_unique and after.columns.is_unique:
        said.extend(_columns(before, after, tolerance))
        if not same(before.index, after.index):
            said.append("its index differs")
        if not said and list(before.columns) != list(after.columns):
            said.append("its columns are in another order")
    elif not same(before, after):
        said.append("its values differ")
    return "; ".join(said)


def _columns(before: Any, after: Any, tolerance: float) -> Iterator[str]:
    counts: dict[str, tuple[int, float]] = {}
    for name in before.columns:
        if name in after.columns:
            ours, theirs = before[name], after[name]
            if ours.dtype != theirs.dtype:
                yield f"column {name!r} is {theirs.dtype}, no longer {ours.dtype}"
                continue
            count, largest = _column(_values(ours), _values(theirs), tolerance)
            if count:
                counts[str(name)] = count, largest
    if counts:
        total = sum(count for count, _ in counts.values())
        told = ", ".join(f"{name}{_by(largest)}" for name, (_, largest) in list(counts.items())[:_NAMED])
        more = f" and {len(counts) - _NAMED} more" if len(counts) > _NAMED else ""
        yield f"{total:,} of {before.size:,} values differ ({told}{more})"


def _values(series: Any) -> Any:
    numeric = getattr(series.dtype, "kind", "O") in "iufb" and not series.isna().any()
    return series.to_numpy() if numeric or series.dtype.kind == "f" else series.to_numpy(dtype=object)


def _column(before: Any, after: Any, tolerance: float) -> tuple[int, float]:
    """Return how many values differ, and by how much at the most (NaN where they are no numbers)."""
    numpy = sys.modules["numpy"]
    if before.dtype.kind in "iuf" and after.dtype.kind in "iuf":
        ours, theirs = before.astype("float64"), after.astype("float64")
        with numpy.errstate(invalid="ignore", over="ignore"):
            gap = numpy.abs(theirs - ours)
            allowed = numpy.maximum(tolerance * numpy.maximum(abs(ours), abs(theirs)), FLOOR if tolerance else 0.0)
            equal = (ours == theirs) | (numpy.isnan(ours) & numpy.isnan(theirs)) | (gap <= allowed)
        apart_by = gap[~equal]
        finite = apart_by[numpy.isfinite(apart_by)]
        return int((~equal).sum()), float(finite.max()) if len(finite) else float("nan")
    if before.dtype.kind != "O" and before.dtype.names is None:
        return int((before != after).sum()), float("nan")
    count = sum(not same(one, other) for one, other in zip(before.tolist(), after.tolist(), strict=True))
    return count, float("nan")


def _by(largest: float) -> str:
    return f" by up to {largest:.4g}" if largest == largest else ""


def _made_again(before: type, after: type) -> bool:
    """Say whether two classes are one of a notebook, which each stage that hands it over makes anew."""
    return before.__qualname__ == after.__qualname__ and before.__module__ == "__main__" and _same_code(before, after)


def _same_code(before: Any, after: Any) -> bool:
    if isinstance(after, ModuleType):
        return bool(before.__name__ == after.__name__)
    if isinstance(after, FunctionType):
        return (
            _code(before.__code__) == _code(after.__code__)
            and same(before.__defaults__, after.__defaults__)
            and same(before.__kwdefaults__, after.__kwdefaults__)
        )
    ours, theirs = _members(before), _members(after)
    return (
        [base.__qualname__ for base in before.__bases__] == [base.__qualname__ for base in after.__bases__]
        and ours.keys() == theirs.keys()
        and all(not apart(ours[name], theirs[name]) for name in ours)
    )


def _members(kind: type) -> dict[str, object]:
    return {
        name: getattr(member, "__func__", member)
        for name, member in vars(kind).items()
        if isinstance(getattr(member, "__func__", member), FunctionType | str | int | float | tuple)
        and name not in {"__module__", "__firstlineno__", "__static_attributes__"}
    }


def _code(code: CodeType) -> tuple[object, ...]:
    """Return what a code object does, without where it stands."""
    inner = tuple(_code(const) if isinstance(const, CodeType) else (type(const), const) for const in code.co_consts)
    return code.co_code, inner, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars


def _kind(value: object) -> str:
    return {FunctionType: "the function", ModuleType: "the module"}.get(type(value), "the class")


def _brief(value: object) -> str:
    """Return a value as it may stand in a sentence; large ones by their type alone."""
    if isinstance(value, str | bytes | int | float | complex | type(None)):
        text = repr(value)
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return f"a {type(value).__name__}"


def _listed(names: Sequence[str]) -> str:
    word = "column" if len(names) == 1 else "columns"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{word} {', '.join(names[:_NAMED])}{more}"
