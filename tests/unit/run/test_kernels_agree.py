from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mlnb.project import Project
from mlnb.run.options import RunOptions

PREPARE = """%%stage prepare
import random
import numpy as np
import pandas as pd
table = pd.DataFrame(np.random.rand(300, 4), columns=list('abcd'))
table['label'] = (table['a'] + 0.3 * np.random.randn(300) > 0.5).astype(int)
chosen = table.sample(frac=0.8)
words = list({'north', 'south', 'east', 'west'})
picked = random.sample(range(1000), 5)
"""
TRAIN = """%%stage train --outputs chances,weights,said,product
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
X, y = chosen[list('abcd')], chosen['label']
model = RandomForestClassifier(5, n_jobs=2).fit(X, y)
linear = LogisticRegression().fit(X, y)
product = np.linalg.inv(X.to_numpy().T @ X.to_numpy())
chances = model.predict_proba(table[list('abcd')])
weights = linear.coef_ @ product
said = ''.join(words) + str(picked)
"""
CANONICAL = {"arrow", "json", "npy"}


def given(notebook: Path, how: str) -> dict[str, str]:
    """Run everything in kernels of a kind; return the digest of every artifact whose bytes stand for its value."""
    record = Project(notebook.parent).run(notebook, options=RunOptions(force=True, kernel=how))
    assert {stage.state for stage in record.stages} == {"done"}
    return {one.name: one.digest for stage in record.stages for one in stage.artifacts if one.codec in CANONICAL}


def test_kernels_of_every_kind_give_the_same_bytes(user_notebook: Callable[..., Path]) -> None:
    notebook = user_notebook(PREPARE, TRAIN)
    spawned = given(notebook, "spawn")
    assert {"table", "chosen", "words", "picked", "chances", "weights", "said", "product"} <= set(spawned)
    assert given(notebook, "fork") == spawned
    assert given(notebook, "pool") == spawned
