"""A seed becomes rows of twelve features, ten numbers and two words, and what is to be learned of them."""

from __future__ import annotations

import numpy as np

NUMBERS = tuple(f"number_{place}" for place in range(10))
WORDS = ("carrier", "origin")
Row = dict[str, float | str]


def draw(count: int, seed: int, *, shift: float = 0.0) -> list[Row]:
    """Return `count` rows; `shift` moves ``number_3``, in standard deviations."""
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(count, len(NUMBERS)))
    numbers[:, 3] += shift
    carriers = random.choice(["AA", "B6", "DL", "UA", "WN"], count)
    origins = random.choice(["EWR", "JFK", "LGA"], count)
    return [
        dict(zip(NUMBERS + WORDS, [*values, carrier, origin], strict=True))
        for values, carrier, origin in zip(numbers.round(4).tolist(), carriers.tolist(), origins.tolist(), strict=True)
    ]


def late(rows: list[Row], seed: int) -> list[int]:
    """Return a label for each row."""
    random = np.random.default_rng(seed)
    score = [float(r["number_0"]) - float(r["number_3"]) + (r["origin"] == "JFK") for r in rows]
    return (np.array(score) + random.normal(size=len(rows)) > 0.3).astype(int).tolist()
