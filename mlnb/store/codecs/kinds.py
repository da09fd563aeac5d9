"""A value of a known kind becomes plainer values that say all about it, and they the value again.

Known are Python's times, exact numbers, bytes and ranges; pandas' times; NumPy's random generators; SciPy's
compressed, coordinate and diagonal sparse matrices; plotly figures. Making them executes nothing but their own
constructors. A kind's tag stays in files for ever.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import fractions  # noqa: F401  # `_of_parts` looks it up
import pathlib
import sys
import uuid
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Kind:
    """One type of values.

    Attributes
    ----------
    tag : str
        Its name in files.
    module, name : str
        Where the type is; values of subclasses are of another kind.
    take : callable
        Returns lists, tuples, dicts, arrays and values of other kinds; a TypeError says that this one has more to it.
    make : callable
        Returns the value.
    mutable : bool
        Whether it can be changed, so that it matters who else has it.
    """

    tag: str
    module: str
    name: str
    take: Callable[[Any], object]
    make: Callable[[Any], object]
    mutable: bool = False


def kind_of(value: object) -> Kind | None:
    """Return the kind of a value, without importing anything."""
    kind = type(value)
    if kind not in _found:
        for each in KINDS.values():
            module = sys.modules.get(each.module)
            if module is not None and getattr(module, each.name, None) is kind:
                _found[kind] = each
                break
        else:
            return None
    return _found[kind]


_found: dict[type, Kind] = {}


def _take_datetime(value: datetime.datetime) -> object:
    day = [value.year, value.month, value.day]
    return [*day, value.hour, value.minute, value.second, value.microsecond, value.tzinfo, value.fold]


def _make_datetime(parts: list[Any]) -> object:
    return datetime.datetime(*parts[:8]).replace(fold=parts[8])  # noqa: DTZ001  # the user's may have no zone


def _take_time(value: datetime.time) -> object:
    return [value.hour, value.minute, value.second, value.microsecond, value.tzinfo, value.fold]


def _make_time(parts: list[Any]) -> object:
    return datetime.time(*parts[:5]).replace(fold=parts[5])


def _take_timezone(value: Any) -> object:
    return list(value.__getinitargs__())


def _make_timezone(parts: list[Any]) -> object:
    return datetime.UTC if parts == [datetime.timedelta(0)] else datetime.timezone(*parts)


def _take_zone(value: zoneinfo.ZoneInfo) -> object:
    if not value.key:
        raise TypeError("a time zone without a name")
    return value.key


def _take_timestamp(value: Any) -> object:
    return [value.asm8.astype("i8").item(), value.unit, value.fold, value.tzinfo]


def _make_timestamp(parts: list[Any]) -> object:
    import numpy as np
    import pandas as pd

    ticks, unit, fold, zone = parts
    stamp = pd.Timestamp(np.datetime64(ticks, unit))
    return stamp if zone is None else stamp.tz_localize("UTC").tz_convert(zone).replace(fold=fold)


def _make_duration(parts: list[Any]) -> object:
    import numpy as np
    import pandas as pd

    return pd.Timedelta(np.timedelta64(*parts))


def _make_nat(_: object) -> object:
    import pandas as pd

    return pd.NaT


def _make_na(_: object) -> object:
    import pandas as pd

    return pd.NA


def _take_seeds(value: Any) -> object:
    return dict(value.state)


def _make_seeds(state: dict[str, Any]) -> object:
    import numpy as np

    return np.random.SeedSequence(**state)


def _take_bits(value: Any) -> object:
    return [value.seed_seq, dict(value.state)]


def _bits(name: str) -> Kind:
    def make(parts: list[Any]) -> object:
        import numpy as np

        bits = getattr(np.random, name)(parts[0])
        bits.state = parts[1]
        return bits

    return Kind(f"numpy.{name}", "numpy.random", name, _take_bits, make, mutable=True)


def _take_generator(value: Any) -> object:
    return value.bit_generator


def _make_generator(bits: Any) -> object:
    import numpy as np

    return np.random.Generator(bits)


def _take_random_state(value: Any) -> object:
    state = value.get_state(legacy=False)
    if value._bit_generator.seed_seq is not None:
        raise TypeError("a RandomState that was not seeded by a number")
    return state


def _make_random_state(state: Any) -> object:
    import numpy as np

    made = np.random.RandomState(0)
    made.set_state(state)
    return made


def _sparse(name: str, *parts: str) -> Kind:
    """Return the kind of a sparse matrix, which consists of its shape and those arrays."""

    def take(value: Any) -> object:
        return [value.shape, *(getattr(value, part) for part in parts)]

    def make(found: list[Any]) -> object:
        import scipy.sparse

        shape, *arrays = found
        matrix = getattr(scipy.sparse, name)(shape, dtype=arrays[0].dtype)
        for part, array in zip(parts, arrays, strict=True):
            setattr(matrix, part, array)
        return matrix

    return Kind(f"scipy.{name}", "scipy.sparse", name, take, make, mutable=True)


def _take_figure(value: Any) -> object:
    return _sorted(value.__reduce__()[1][0])


def _sorted(properties: Any) -> Any:
    """Sort names at every level: plotly keeps no order of its own when it makes a figure."""
    if isinstance(properties, dict):
        return {name: _sorted(properties[name]) for name in sorted(properties)}
    return [_sorted(item) for item in properties] if isinstance(properties, list) else properties


def _make_figure(properties: dict[str, Any]) -> object:
    import plotly.graph_objects as go

    return go.Figure(properties)


def _of_parts(module: str, name: str, *parts: str) -> Kind:
    """Return the kind of a type whose values are made of what their attributes say, in this order."""

    def take(value: Any) -> object:
        return [getattr(value, part) for part in parts]

    def make(found: list[Any]) -> object:
        return getattr(sys.modules[module], name)(*found)

    return Kind(name.lower(), module, name, take, make)


def _take_bytes(value: bytes | bytearray) -> object:
    return base64.b64encode(value).decode()


def _make_bytearray(text: str) -> object:
    return bytearray(base64.b64decode(text))


def _take_duration(value: Any) -> object:
    return [value.asm8.astype("i8").item(), value.unit]


def _take_nothing(_: object) -> object:
    return None


_ALL = (
    _of_parts("builtins", "complex", "real", "imag"),
    _of_parts("builtins", "range", "start", "stop", "step"),
    _of_parts("builtins", "slice", "start", "stop", "step"),
    _of_parts("datetime", "date", "year", "month", "day"),
    _of_parts("datetime", "timedelta", "days", "seconds", "microseconds"),
    _of_parts("fractions", "Fraction", "numerator", "denominator"),
    Kind("bytes", "builtins", "bytes", _take_bytes, base64.b64decode),
    Kind("bytearray", "builtins", "bytearray", _take_bytes, _make_bytearray, mutable=True),
    Kind("datetime", "datetime", "datetime", _take_datetime, _make_datetime),
    Kind("time", "datetime", "time", _take_time, _make_time),
    Kind("timezone", "datetime", "timezone", _take_timezone, _make_timezone),
    Kind("zone", "zoneinfo", "ZoneInfo", _take_zone, zoneinfo.ZoneInfo),
    Kind("decimal", "decimal", "Decimal", str, decimal.Decimal),
    Kind("uuid", "uuid", "UUID", str, uuid.UUID),
    Kind("path", "pathlib", type(pathlib.Path()).__name__, str, pathlib.Path),
    Kind("pandas.Timestamp", "pandas", "Timestamp", _take_timestamp, _make_timestamp),
    Kind("pandas.Timedelta", "pandas", "Timedelta", _take_duration, _make_duration),
    Kind("pandas.NaT", "pandas._libs.tslibs.nattype", "NaTType", _take_nothing, _make_nat),
    Kind("pandas.NA", "pandas._libs.missing", "NAType", _take_nothing, _make_na),
    Kind("numpy.SeedSequence", "numpy.random", "SeedSequence", _take_seeds, _make_seeds, mutable=True),
    *(_bits(name) for name in ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")),
    Kind("numpy.Generator", "numpy.random", "Generator", _take_generator, _make_generator, mutable=True),
    Kind("numpy.RandomState", "numpy.random", "RandomState", _take_random_state, _make_random_state, mutable=True),
    *(
        _sparse(f"{layout}_{form}", "data", "indices", "indptr")
        for layout in ("csr", "csc", "bsr")
        for form in ("array", "matrix")
    ),
    *(_sparse(f"dia_{form}", "data", "offsets") for form in ("array", "matrix")),
    *(_sparse(f"coo_{form}", "data", "coords") for form in ("array", "matrix")),
    Kind("plotly.Figure", "plotly.graph_objs._figure", "Figure", _take_figure, _make_figure, mutable=True),
)
KINDS = {kind.tag: kind for kind in _ALL}
