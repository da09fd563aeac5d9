"""Windows over one reference become bytes that are merged as they are: two rows of numbers, added up.

All windows of a reference have the same bins. A *packed* window is a MessagePack array: times of the first and the last
event; whole numbers (rows, errors, bins of the latency; of each column its bins, then missing, unusable, below, above
and redacted), four bytes each where all fit, else eight; sums of the bins of the numeric columns; smallest and largest
values of those, and the largest latency; what has no fixed width: versions, statuses, messages, unseen categories.
Numbers are little-endian. A window that is mostly zeros is compressed (zlib): the first byte says so. The format has
the number of the file that holds it (`mlnb.monitor.stored`).
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from mlnb.monitor.feature import Feature, Numeric
from mlnb.monitor.reference import Reference
from mlnb.monitor.tally import UNSEEN_NAMES, Tally
from mlnb.monitor.values import Floats, Ints
from mlnb.monitor.window import LATENCY_EDGES_MS, MESSAGES, Window

_FACTS = 5
_HEAD = 2 + LATENCY_EDGES_MS.size + 1
_WIDE = 2**32
_AT_ONCE = 50
_PLAIN, _COMPRESSED = b"\x00", b"\x01"
_DENSE = 0.25  # of the numbers that are not 0; from there on compressing costs more than it saves


class _Body(msgspec.Struct, array_like=True, gc=False):
    """One window; see the module's text."""

    first: int
    last: int
    numbers: memoryview
    sums: memoryview
    lowest: memoryview
    highest: memoryview
    versions: dict[int, int]
    statuses: dict[int, int]
    messages: tuple[str, ...]
    unseen: dict[int, dict[str, int]]


_ENCODER, _DECODER = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(_Body)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the numbers of each column stand.

    Attributes
    ----------
    columns : tuple of Numeric or Categorical
        The features, the prediction and, where there is one, the score.
    scored : bool
        Whether the last one is the score.
    starts : tuple of int
        Where each column's bins begin among the whole numbers; behind the last one, how many numbers there are.
    """

    columns: tuple[Feature, ...]
    scored: bool
    starts: tuple[int, ...]

    @classmethod
    def of(cls, reference: Reference) -> Layout:
        """Return the layout of a reference's windows."""
        score = () if reference.score is None else (reference.score,)
        columns = (*reference.features, reference.prediction, *score)
        starts = [_HEAD]
        for column in columns:
            starts.append(starts[-1] + _bins(column) + _FACTS)
        return cls(columns, bool(score), tuple(starts))

    def pack(self, window: Window) -> bytes:
        """Return a window's bytes."""
        tallies = self._tallies(window)
        pieces: list[Ints] = [np.array([window.rows, window.errors]), window.latency]
        for tally in tallies:
            facts = (tally.missing, tally.unusable, tally.below, tally.above, tally.redacted)
            pieces += [tally.counts, np.array(facts)]
        numeric = [tally for column, tally in zip(self.columns, tallies, strict=True) if isinstance(column, Numeric)]
        return _encoded(
            _Body(
                window.first,
                window.last,
                _whole(np.concatenate(pieces)),
                _floats(np.concatenate([np.empty(0), *(tally.sums for tally in numeric)])),
                _floats(np.array([tally.minimum for tally in numeric])),
                _floats(np.array([*(tally.maximum for tally in numeric), window.slowest_ms])),
                dict(window.versions),
                dict(window.statuses),
                window.messages,
                {place: dict(tally.unseen) for place, tally in enumerate(tallies) if tally.unseen},
            )
        )

    def merge(self, packed: Sequence[bytes]) -> bytes:
        """Return the bytes of all windows together; at least one is needed."""
        if len(packed) == 1:
            return packed[0]
        bodies = [_decoded(one) for one in packed]
        unseen: dict[int, Counter[str]] = {}
        for body in bodies:
            for place, names in body.unseen.items():
                unseen.setdefault(place, Counter()).update(names)
        return _encoded(
            _Body(
                min(body.first for body in bodies),
                max(body.last for body in bodies),
                _whole(_counted([body.numbers for body in bodies], self.starts[-1])),
                _floats(_added([body.sums for body in bodies], "<f8")),
                _outmost(np.fmin, [body.lowest for body in bodies]),
                _outmost(np.fmax, [body.highest for body in bodies]),
                _total(body.versions for body in bodies),
                _total(body.statuses for body in bodies),
                tuple(dict.fromkeys(text for body in bodies for text in body.messages))[:MESSAGES],
                {place: dict(names.most_common(UNSEEN_NAMES)) for place, names in unseen.items()},
            )
        )

    def unpack(self, packed: bytes, start: int, end: int) -> Window:
        """Return the window of these bounds, in nanoseconds since 1970, from its bytes."""
        body = _decoded(packed)
        numbers = _numbers(body.numbers, self.starts[-1]).astype(np.int64)
        sums = np.frombuffer(body.sums, "<f8")
        lowest, highest = (np.frombuffer(part, "<f8").tolist() for part in (body.lowest, body.highest))
        told = numbers[[place for start in self.starts[1:] for place in range(start - _FACTS, start)]].tolist()
        tallies, at, numeric = [], 0, 0
        for place, column in enumerate(self.columns):
            begin, facts = self.starts[place], self.starts[place + 1] - _FACTS
            missing, unusable, below, above, redacted = told[place * _FACTS : place * _FACTS + _FACTS]
            width, low, high, of_bins = facts - begin, math.nan, math.nan, np.zeros(facts - begin)
            if isinstance(column, Numeric):
                of_bins = sums[at : at + width]
                low, high = lowest[numeric], highest[numeric]
                at, numeric = at + width, numeric + 1
            unseen = body.unseen.get(place, {})
            counts = numbers[begin:facts]
            tallies.append(Tally(counts, of_bins, missing, unusable, below, above, low, high, unseen, redacted))
        features = len(self.columns) - 1 - self.scored
        return Window(
            start=start,
            end=end,
            first=body.first,
            last=body.last,
            rows=int(numbers[0]),
            errors=int(numbers[1]),
            latency=numbers[2:_HEAD],
            slowest_ms=highest[-1],
            versions=body.versions,
            statuses=body.statuses,
            messages=body.messages,
            features=tuple(tallies[:features]),
            prediction=tallies[features],
            score=tallies[-1] if self.scored else None,
        )

    def _tallies(self, window: Window) -> list[Tally]:
        score = [window.score] if self.scored and window.score is not None else []
        return [*window.features, window.prediction, *score]


def _bins(column: Feature) -> int:
    return len(column.counts) if isinstance(column, Numeric) else len(column.categories) + 1


def _encoded(body: _Body) -> bytes:
    plain = _ENCODER.encode(body)
    used = np.count_nonzero(np.frombuffer(body.sums, "<f8"))
    if used < _DENSE * body.sums.nbytes / 8:
        return _COMPRESSED + zlib.compress(plain, 1)
    return _PLAIN + plain


def _decoded(packed: bytes) -> _Body:
    plain = memoryview(packed)[1:]
    return _DECODER.decode(zlib.decompress(plain) if packed[:1] == _COMPRESSED else plain)


def _whole(numbers: Ints) -> memoryview:
    return memoryview(numbers.astype("<u4" if numbers.max(initial=0) < _WIDE else "<i8").tobytes())


def _floats(numbers: Floats) -> memoryview:
    return memoryview(numbers.astype("<f8").tobytes())


def _numbers(packed: memoryview, count: int) -> Ints:
    return np.frombuffer(packed, "<u4" if packed.nbytes == 4 * count else "<i8")


def _counted(parts: Sequence[memoryview], count: int) -> Ints:
    """Return the sum of whole numbers, of which none is larger than the first, eight bytes wide only where it must."""
    rows = [int(_numbers(part, count)[0]) for part in parts]
    if {part.nbytes for part in parts} == {4 * count} and sum(rows) < _WIDE:
        return _added(parts, "<u4")
    return _added([memoryview(_numbers(part, count).astype("<i8").tobytes()) for part in parts], "<i8")


def _added(parts: Sequence[memoryview], kind: str) -> npt.NDArray[Any]:
    """Return the sum of rows of numbers; a few are joined at a time, so that they stay in the processor's cache."""
    total = np.zeros(parts[0].nbytes // np.dtype(kind).itemsize, dtype=kind)
    for at in range(0, len(parts), _AT_ONCE):
        several = parts[at : at + _AT_ONCE]
        total += np.frombuffer(b"".join(several), kind).reshape(len(several), total.size).sum(axis=0, dtype=kind)
    return total


def _outmost(least: np.ufunc, parts: Sequence[memoryview]) -> memoryview:
    width = parts[0].nbytes // 8
    return _floats(least.reduce(np.frombuffer(b"".join(parts), "<f8").reshape(len(parts), width), axis=0))


def _total(counts: Iterable[dict[int, int]]) -> dict[int, int]:
    found: dict[int, int] = {}
    for one in counts:
        for key, rows in one.items():
            found[key] = found.get(key, 0) + rows
    return found
