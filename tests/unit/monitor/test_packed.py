from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mlnb.monitor.packed import Layout
from mlnb.monitor.reference import Reference
from mlnb.monitor.span import Span
from mlnb.monitor.window import Window, count, empty_window, merged
from mlnb.service.log_reader import Batch

NO_RANKS = np.empty(0, dtype=np.int64)
Draw = Callable[..., list[dict[str, object]]]
Log = Callable[..., Batch]


def alike(one: Window, two: Window) -> bool:
    """Say whether two windows are equal but for the rounding of sums."""
    for name in Window.__dataclass_fields__:
        a, b = getattr(one, name), getattr(two, name)
        if name in ("features", "prediction", "score"):
            continue
        if not (np.array_equal(a, b, equal_nan=True) if name in ("latency", "slowest_ms") else a == b):
            return False
    pairs = zip((*one.features, one.prediction, one.score), (*two.features, two.prediction, two.score), strict=True)
    return all(
        np.array_equal(a.counts, b.counts)
        and np.allclose(a.sums, b.sums)
        and np.array_equal([a.minimum, a.maximum], [b.minimum, b.maximum], equal_nan=True)
        and (a.missing, a.unusable, a.below, a.above, a.redacted, a.unseen)
        == (b.missing, b.unusable, b.below, b.above, b.redacted, b.unseen)
        for a, b in pairs
        if a and b
    )


@pytest.fixture
def windows(reference: Reference, draw: Draw, batch: Log) -> list[Window]:
    odd: list[dict[str, object]] = [{"age": None, "price": "x", "city": "Q"}, {"mlnb:redacted": ["age"]}]
    found = count(reference, batch([*draw(500, 2), *odd]), Span("day"), NO_RANKS, version=7)
    refused = count(reference, batch(draw(3, 3), status=500, error="boom"), Span("day"), NO_RANKS, version=7)
    return [*found.values(), *refused.values()]


def test_a_window_is_unpacked_as_it_was_packed(reference: Reference, windows: list[Window]) -> None:
    layout = Layout.of(reference)
    for window in windows:
        assert alike(layout.unpack(layout.pack(window), window.start, window.end), window)


def test_a_window_of_few_rows_takes_little_room(reference: Reference, windows: list[Window]) -> None:
    layout = Layout.of(reference)
    empty = empty_window(reference, 0, 1)
    assert len(layout.pack(empty)) < 200 < len(layout.pack(windows[0]))
    assert alike(layout.unpack(layout.pack(empty), 0, 1), empty)


def test_packed_windows_are_merged_as_windows_are_added(reference: Reference, windows: list[Window]) -> None:
    layout = Layout.of(reference)
    added = sum(windows[1:], start=windows[0])
    together = layout.merge([layout.pack(window) for window in windows])
    assert alike(layout.unpack(together, added.start, added.end), added)
    assert alike(merged(windows), added)


def test_counts_beyond_four_bytes_are_kept(reference: Reference, windows: list[Window]) -> None:
    layout = Layout.of(reference)
    large = replace(windows[0], rows=2**31, latency=windows[0].latency + 2**30)
    twice = layout.merge([layout.pack(large)] * 4)
    found = layout.unpack(layout.merge([twice, layout.pack(windows[0])]), 0, 1)
    assert found.rows == 2**33 + windows[0].rows
    assert found.latency.tolist() == (large.latency * 4 + windows[0].latency).tolist()


def test_a_reference_without_probabilities_has_no_score(windows: list[Window], reference: Reference) -> None:
    plain = Reference.from_json({**json.loads(json.dumps(reference.to_json())), "score": None})
    layout = Layout.of(plain)
    packed = layout.pack(replace(windows[0], score=None))
    assert alike(layout.unpack(packed, windows[0].start, windows[0].end), replace(windows[0], score=None))
