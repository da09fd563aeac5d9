"""Our explanations of real packages beside shap's: agreement, evaluations and seconds.

shap's exact explainer is the second source where it can be asked (8 columns); its TreeExplainer is what ours is tried
against. Every share must add up to the package's own answer.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.place import Place
from tests.bench.table import Table, ratio

ROWS, BACKGROUND, COLUMNS = 5, 20, 8
AGREES, ADDS_UP = 1e-6, 1e-6


def bench(place: Place) -> Table:
    """Measure; where shap is not installed, say so."""
    title = f"explain: {ROWS} rows of {COLUMNS} columns against {BACKGROUND} background rows"
    heads = ["model", "ours s", "shap exact s", "times ours", "ours apart", "trees apart", "believed"]
    if find_spec("shap") is None:
        return Table(title, heads, [], ["Not measured: pip install 'mlnb[explain]' first."])
    rows, worst, sums = [], 0.0, 0.0
    with tempfile.TemporaryDirectory(prefix="mlnb-bench-") as folder:
        for name, estimator, data, target in _cases():
            cells, off, gap = _one(Path(folder) / name, name, estimator.fit(data, target), data)
            rows.append(cells)
            worst, sums = max(worst, off), max(sums, gap)
    held = worst < AGREES and sums < ADDS_UP
    notes = [
        f"Ours against shap's exact explainer: at most {worst:.2g} of the answers' spread apart (limit {AGREES:g}); "
        f"shares and base miss the package's answer by at most {sums:.2g} (limit {ADDS_UP:g}): "
        f"{'holds' if held else 'DOES NOT HOLD'}.",
        "'trees apart' is how far shap's TreeExplainer is from its own exact explainer, in the answers' spread.",
    ]
    return Table(title, heads, rows, notes, held)


def _cases() -> list[tuple[str, Any, Any, Any]]:
    from sklearn.datasets import load_breast_cancer, load_diabetes
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.tree import DecisionTreeRegressor

    tumours, kinds = load_breast_cancer(return_X_y=True, as_frame=True)
    patients, progress = load_diabetes(return_X_y=True, as_frame=True)
    tumours, patients = tumours.iloc[:, :COLUMNS], patients.iloc[:, :COLUMNS]
    return [
        ("logistic", make_pipeline(StandardScaler(), LogisticRegression()), tumours, kinds),
        ("forest of classes", RandomForestClassifier(30, random_state=0), tumours, kinds),
        ("forest", RandomForestRegressor(30, random_state=0), patients, progress),
        ("boosting", HistGradientBoostingRegressor(max_iter=30), patients, progress),
        ("tree", DecisionTreeRegressor(max_depth=4), patients, progress),
    ]


def _one(folder: Path, name: str, estimator: Any, data: Any) -> tuple[list[str], float, float]:
    from mlnb.model.answer_numbers import answer_numbers
    from mlnb.model.explain import explain_rows
    from mlnb.model.export import export_model
    from mlnb.model.scorer import load_scorer

    export_model(estimator, data, folder, model="m", sign=lambda _: ("", ""))
    scorer = load_scorer(folder, allow_code=lambda *_: True)
    columns = {column: data[column].to_numpy() for column in data}
    rows = {column: values[:: len(data) // ROWS][:ROWS] for column, values in columns.items()}
    background = {column: values[1 : 1 + BACKGROUND] for column, values in columns.items()}
    started = time.perf_counter()
    ours = explain_rows(scorer, rows, background, budget=ROWS * BACKGROUND * 2**COLUMNS)
    took = time.perf_counter() - started

    def asked(matrix: Any) -> Any:
        return answer_numbers(scorer.score(dict(zip(columns, matrix.T, strict=True))), scorer.signature)[:, 0]

    started = time.perf_counter()
    theirs = _exact(asked, _matrix(rows), _matrix(background))
    shap_s = time.perf_counter() - started
    spread = float(np.abs(ours.answers - ours.base).max()) or 1.0
    off = float(np.abs(ours.values[:, :, 0] - theirs).max()) / spread
    gap = float(np.abs(ours.base + ours.values.sum(axis=1) - ours.answers).max()) / spread
    tried = explain_rows(scorer, rows, background, budget=ROWS * BACKGROUND * 2**COLUMNS, estimator=estimator)
    trees = _trees(estimator, rows, background)
    apart = "-" if trees is None else f"{float(np.abs(trees - theirs).max()) / spread:.1e}"
    believed = "yes" if tried.method == "shap trees" else "no"
    return [name, f"{took:.3f}", f"{shap_s:.3f}", ratio(shap_s, took), f"{off:.1e}", apart, believed], off, gap


def _exact(asked: Any, rows: Any, background: Any) -> Any:
    from shap import maskers
    from shap.explainers import ExactExplainer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ExactExplainer(asked, maskers.Independent(background, max_samples=len(background)))(rows).values


def _trees(estimator: Any, rows: Any, background: Any) -> Any:
    if hasattr(estimator, "steps"):
        return None
    from shap import TreeExplainer

    output = "probability" if hasattr(estimator, "predict_proba") else "raw"
    explainer = TreeExplainer(
        estimator, _matrix(background), feature_perturbation="interventional", model_output=output
    )
    shares = np.asarray(explainer.shap_values(_matrix(rows), check_additivity=False))
    return shares[:, :, -1] if shares.ndim == 3 else shares


def _matrix(columns: Any) -> Any:
    return np.column_stack(list(columns.values()))
