"""Packages that explain themselves, and the pictures of it."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import numpy as np
import plotly.graph_objects as go
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlnb.errors import ModelError, UsageError
from mlnb.model.answer_numbers import answer_names
from mlnb.model.explain import explain_rows
from mlnb.model.explain_figures import (
    Bar,
    Swarm,
    bars_figure,
    bars_svg,
    swarm_figure,
    swarm_svg,
    waterfall_figure,
    waterfall_svg,
)
from mlnb.model.signature import Column, Signature

COLUMNS = ["mean radius", "mean texture", "mean smoothness"]
EVIL = "<b>&</b>"


def rows_of(data: Any, kept: slice) -> dict[str, Any]:
    return {name: data[name].to_numpy()[kept] for name in data}


def test_a_linear_models_shares_are_its_weights_times_the_distance_from_the_mean(exported: Any, tumours: Any) -> None:
    data = tumours[0][COLUMNS]
    model = LinearRegression().fit(data, tumours[0]["mean area"])
    _, scorer, _ = exported(model, data)
    background = rows_of(data, slice(0, 12))
    found = explain_rows(scorer, rows_of(data, slice(50, 53)), background, budget=3 * 12 * 8)
    wanted = model.coef_ * (data.to_numpy()[50:53] - data.to_numpy()[:12].mean(axis=0))
    assert found.method == "exact"
    assert np.allclose(found.values[:, :, 0], wanted)
    assert np.allclose(found.base + found.values.sum(axis=1), found.answers)
    assert found.ranking()[0][0] == COLUMNS[int(np.abs(wanted).mean(axis=0).argmax())]
    assert "all sets of columns were asked about" in found.sentence()


def test_a_classifier_is_explained_by_the_chance_of_its_second_class(exported: Any, tumours: Any) -> None:
    data = tumours[0].iloc[:, :10]
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(data, tumours[1].map({0: "bad", 1: "good"}))
    _, scorer, _ = exported(model, data)
    found = explain_rows(scorer, rows_of(data, slice(0, 4)), rows_of(data, slice(100, 120)), budget=2_000)
    assert (found.outputs, found.method) == (("good",), "sampled")
    assert found.evaluations <= 2_000
    assert np.allclose(found.answers[:, 0], model.predict_proba(data.iloc[:4])[:, 1])
    assert np.allclose(found.base + found.values.sum(axis=1), found.answers)
    assert set(found.to_json()["mean_absolute"]) == {"good"}


def test_too_small_a_budget_and_a_ranking_are_refused(exported: Any, tumours: Any) -> None:
    data = tumours[0][COLUMNS]
    _, scorer, _ = exported(LinearRegression().fit(data, tumours[1]), data)
    with pytest.raises(UsageError, match="at least 24 evaluations"):
        explain_rows(scorer, rows_of(data, slice(0, 4)), rows_of(data, slice(0, 9)), budget=23)
    with pytest.raises(ModelError, match="ranker"):
        answer_names(Signature((Column("a", "int64"),), "ranker"))


def test_pictures_are_figures_that_plotly_takes_and_svg_that_holds_no_markup() -> None:
    bars = [Bar(EVIL, 0.5, 0.1), Bar("b" * 80, -0.2), Bar("c", 0.0)]
    swarms = [Swarm(EVIL, (0.1, -0.2, 0.1), (0.0, float("nan"), 1.0), (EVIL, "2", "3"))]
    for figure in (bars_figure(bars, EVIL, EVIL), swarm_figure(swarms, EVIL, EVIL), waterfall_figure(bars, 1.0, EVIL)):
        assert "<b>" not in go.Figure(figure).to_json().replace("\\u003c", "<")
    for drawn in (bars_svg(bars, EVIL, EVIL), swarm_svg(swarms, EVIL, EVIL), waterfall_svg(bars, 1.0, EVIL)):
        root = ElementTree.fromstring(drawn)
        assert {one.tag.rpartition("}")[2] for one in root.iter()} <= {"svg", "text", "title", "path", "rect", "circle"}
        assert EVIL in "".join(root.itertext())
