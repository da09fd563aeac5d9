"""What is missing for PMML is said; the export itself, which needs an older scikit-learn, is run by `tests.bench.boosters`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from mlnb.errors import ModelError
from mlnb.model.inference import examine
from mlnb.model.pmml import export_pmml

Tumours = tuple[pd.DataFrame, pd.Series]


@pytest.mark.parametrize(
    ("java", "said"),
    [
        (False, "PMML needs Java, and there is no `java` on the path."),
        (True, "PMML needs sklearn2pmml and jpmml_evaluator, which are not installed."),
    ],
    ids=["no java", "no libraries"],
)
def test_what_is_missing_is_told_and_nothing_is_written(
    java: bool, said: str, tumours: Tumours, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, target = tumours
    model = LogisticRegression(max_iter=10_000).fit(data[["mean area"]], target)
    if java:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin/java").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(ModelError) as caught:
        export_pmml(model, examine(data[["mean area"]], model), tmp_path / "model.pmml", 1e-4)
    assert caught.value.problem == said
    assert "AGPL" in caught.value.remedy or "default-jre-headless" in caught.value.remedy
    assert not (tmp_path / "model.pmml").exists()
