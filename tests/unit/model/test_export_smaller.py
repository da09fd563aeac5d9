"""Smaller models: what becomes of constants, matrices and trees, and how far each is off."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlnb.errors import ModelError
from mlnb.model.answers import Scores
from mlnb.model.export import Export
from mlnb.model.scorer import Scorer
from mlnb.model.smaller import Candidate, compare, lines, make

Tumours = tuple[pd.DataFrame, pd.Series]
Exported = Callable[..., tuple[Export, Scorer, Path]]


def measured(model: Any, data: pd.DataFrame, exported: Exported) -> tuple[dict[str, Candidate], bytes]:
    export, scorer, folder = exported(model, data)
    assert export.exporter == "onnx"
    content = (folder / "model.onnx").read_bytes()
    expected = Scores.from_json(json.loads((folder / "expected.json").read_bytes()))
    found = compare(scorer, content, scorer.signature.check(data.to_dict("records")), expected, 1e-4)
    assert len(lines(found)) == 4
    return {one.name: one for one in found}, content


def test_a_network_shrinks_to_a_quarter_and_what_that_costs_is_said(tumours: Tumours, exported: Exported) -> None:
    network = MLPClassifier((64, 64), max_iter=5, random_state=0)
    with pytest.warns(ConvergenceWarning):
        model = make_pipeline(StandardScaler(), network).fit(*tumours)
    found, _ = measured(model, tumours[0], exported)
    whole, single, half, byte = (found[name] for name in ("as it is", "float32", "float16", "int8"))
    assert whole.size_bytes > 1.7 * single.size_bytes > 2.5 * half.size_bytes
    assert byte.size_bytes < half.size_bytes
    differences = [one.parity.max_abs for one in (whole, single, half, byte) if one.parity is not None]
    assert differences == sorted(differences)
    assert differences[0] < 1e-12 < differences[1] < 1e-5 < differences[2] < 1e-2
    assert byte.parity is not None
    assert not byte.parity.passed
    assert byte.note == ""


def test_trees_hold_no_matrices(tumours: Tumours, exported: Exported) -> None:
    model = RandomForestClassifier(10, random_state=0).fit(*tumours)
    found, _ = measured(model, tumours[0], exported)
    assert found["float32"].size_bytes < found["as it is"].size_bytes
    assert found["int8"].note == "it holds no matrices, so that nothing was quantized"


def test_a_smaller_model_is_a_model(tumours: Tumours, exported: Exported) -> None:
    model = RandomForestClassifier(3, random_state=0).fit(*tumours)
    _, content = measured(model, tumours[0], exported)
    onnx.checker.check_model(onnx.load_from_string(make("float32", content)))
    with pytest.raises(ModelError, match="There is no smaller model 'int4'"):
        make("int4", content)
    with pytest.raises(ModelError, match="The model cannot be written as float32"):
        make("float32", content[:50])
