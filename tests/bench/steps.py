"""The six steps that the benches of runs give to every contestant, and how they hand their values over in files."""

from __future__ import annotations

from dataclasses import dataclass

IMPORTS = """\
from pathlib import Path
import pandas as pd
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler"""


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its name, the values that it takes and gives, its code."""

    name: str
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    source: str


STEPS = (
    Step(
        "load",
        (),
        ("table",),
        "X, y = make_classification(2000, 12, random_state=0)\n"
        'table = pd.DataFrame(X, columns=[f"x{i}" for i in range(12)]).assign(label=y)',
    ),
    Step("clean", ("table",), ("clean",), 'clean = table[table["x0"].abs() < 3].reset_index(drop=True)'),
    Step("split", ("clean",), ("fitted_to", "held"), "fitted_to, held = train_test_split(clean, random_state=0)"),
    Step(
        "linear",
        ("fitted_to",),
        ("linear",),
        "linear = make_pipeline(StandardScaler(), LogisticRegression())\n"
        'linear.fit(fitted_to.drop(columns="label"), fitted_to["label"])',
    ),
    Step(
        "forest",
        ("fitted_to",),
        ("forest",),
        "forest = RandomForestClassifier(20, random_state=0)\n"
        'forest.fit(fitted_to.drop(columns="label"), fitted_to["label"])',
    ),
    Step(
        "evaluate",
        ("linear", "forest", "held"),
        ("aucs",),
        'rows = held.drop(columns="label")\n'
        'aucs = [float(roc_auc_score(held["label"], m.predict_proba(rows)[:, 1])) for m in (linear, forest)]\n'
        'Path("aucs.txt").write_text(repr(aucs))',
    ),
)


def hand_over(step: Step) -> list[str]:
    """Return the cells of a step as people write it by hand: its imports and inputs, its work, its outputs."""
    takes = [f'{name} = joblib.load("{name}.joblib")' for name in step.takes]
    gives = [f'joblib.dump({name}, "{name}.joblib")' for name in step.gives]
    return ["\n".join([IMPORTS, "import joblib", *takes]), step.source, "\n".join(gives)]
