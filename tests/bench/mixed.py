"""A seed becomes a data frame of nine numbers and two words, some missing, and a pipeline that was fitted to one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

_NUMBERS = [f"x{place}" for place in range(8)]


def frame(count: int, seed: int) -> pd.DataFrame:
    """Return `count` rows."""
    random = np.random.default_rng(seed)
    rows = pd.DataFrame(random.normal(size=(count, len(_NUMBERS))), columns=_NUMBERS)
    rows["x3"] = rows["x3"].mask(random.random(count) < 0.1)
    rows["carrier"] = random.choice(["AA", "B6", "DL", "UA", "WN"], count)
    rows["origin"] = random.choice(["EWR", "JFK", "LGA"], count)
    rows["origin"] = rows["origin"].mask(random.random(count) < 0.02)
    rows["hour"] = random.integers(0, 24, count)
    return rows


def fitted(seed: int = 0) -> Any:
    """Return a fitted classifier of such rows."""
    rows = frame(20_000, seed)
    late = rows["x0"] + rows["x1"] * rows["x2"] + (rows["carrier"] == "AA") + rows["hour"] / 10
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    words = make_pipeline(SimpleImputer(strategy="constant", fill_value="none"), OneHotEncoder(handle_unknown="ignore"))
    prepare = make_column_transformer((numbers, [*_NUMBERS, "hour"]), (words, ["carrier", "origin"]))
    model = make_pipeline(prepare, HistGradientBoostingClassifier(max_iter=100, random_state=seed))
    return model.fit(rows, (late > late.median()).astype(int))
