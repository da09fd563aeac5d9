"""Versions that do not differ are compared after every few labels; how often is one called better?

At most alpha of the comparisons may, over all looks together. Beside it what happens to who looks as often at the usual
test of two shares (z, 1.96).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from mlnb.monitor.sequential import asymptotic_difference, difference_confidence
from tests.bench.table import Table

if TYPE_CHECKING:
    from tests.bench.place import Place

_EACH = 500
_LABELS = 2000
_ALPHA = 0.05
_Z = 1.959964


def bench(place: Place) -> Table:
    """Compare what is the same, 500 times for each repetition and kind."""
    random = np.random.default_rng(7)
    trials = _EACH * place.count
    rows, held = [], True
    for kind, share in (("shares, 50:50", 0.5), ("shares, 90:10", 0.1), ("any values, 50:50", 0.5)):
        alarms = usual = 0
        began = time.perf_counter()
        for _ in range(trials):
            second = random.random(_LABELS) < share
            if kind.startswith("any"):
                values = random.exponential(size=_LABELS)
                found = asymptotic_difference(values, second, _ALPHA)
            else:
                values = (random.random(_LABELS) < 0.2).astype(float)
                found = difference_confidence(values, second, _ALPHA)
            alarms += found.first_without() > 0
            usual += _usual(values, second, found.counts)
        took = (time.perf_counter() - began) / trials
        limit = _ALPHA + 4.0 * (_ALPHA * (1.0 - _ALPHA) / trials) ** 0.5
        held = held and alarms / trials <= limit
        rows.append([kind, f"{alarms / trials:.2%}", f"{usual / trials:.2%}", f"{took * 1000:.0f} ms"])
    return Table(
        f"sequential: false alarms of {trials:,} comparisons of {_LABELS:,} labels, alpha {_ALPHA:g}",
        ("", "ours", "usual test", "one comparison"),
        rows,
        ["Looked at after each growth of the labels by 6 %. Ours must stay below alpha (4 sd of chance are granted)."],
        held,
    )


def _usual(values: np.ndarray, second: np.ndarray, looks: np.ndarray) -> bool:
    for look in looks.tolist():
        one, other = values[:look][~second[:look]], values[:look][second[:look]]
        if min(one.size, other.size) < 20:
            continue
        error = (one.var(ddof=1) / one.size + other.var(ddof=1) / other.size) ** 0.5
        if error and abs(other.mean() - one.mean()) > _Z * error:
            return True
    return False
