"""``mlnb monitor`` says what performance is to be expected without labels, and with them since when the model errs."""

from __future__ import annotations

import asyncio
import json
from html import escape
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from mlnb.model.export import export_model
from mlnb.monitor.estimate import CAUTION, freeze_estimator
from mlnb.project import Project
from mlnb.registry.version import Draft
from mlnb.service.log import PredictionLog, Record
from mlnb.ship import freeze_reference
from tests.unit.faces.conftest import Mlnb

START = 1_356_998_400_000_000_000  # 2013-01-01T00:00:00Z
HOUR = 3_600_000_000_000


def flights(rows: int, seed: int, *, turned: bool = False) -> tuple[pd.DataFrame, np.ndarray]:
    """Return distances and who was late; `turned` is a world in which the short ones are."""
    random = np.random.default_rng(seed)
    distance = random.normal(500, 200, rows)
    late = random.random(rows) < 1 / (1 + np.exp((distance - 500) / 100 * (1 if turned else -1)))
    return pd.DataFrame({"distance": distance}), late.astype(int)


async def logged(log: PredictionLog, records: list[Record]) -> None:
    await log.append(records)


@pytest.fixture
def watched(tmp_path: Path) -> Path:
    """A project whose model answered 400 rows as it learned them, then 400 in a world that has turned round."""
    rows, late = flights(600, 1)
    model = LogisticRegression().fit(rows, late)
    package = tmp_path / "package"
    export_model(model, rows, package, model="delays", hooks="", parity_limit=1e-4)
    sample, truth = flights(500, 2)
    freeze_estimator(package, *freeze_reference(package, sample, "sample"), truth)
    project = Project(tmp_path)
    files = {path.name: project.state.files.put(path)[0] for path in package.iterdir()}
    signature = json.loads((package / "signature.json").read_bytes())
    project.models.register(Draft("delays", "ada", "onnx", files, signature=signature))
    project.models.promote("delays/1", "production", by="ada")
    (before, early), (after, then) = flights(400, 3), flights(400, 4, turned=True)
    asked, labels = pd.concat([before, after], ignore_index=True), [*early.tolist(), *then.tolist()]
    given = model.predict_proba(asked)
    folder = project.state.predictions / "delays"
    folder.mkdir(parents=True)
    log = PredictionLog(folder)
    try:
        asyncio.run(logged(log, [record(at, asked, given[at]) for at in range(len(asked))]))
    finally:
        log.close()
    project.ledger.close()
    lines = ["id,label", *(f"p{at:04},{label}" for at, label in enumerate(labels))]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    return tmp_path


def record(at: int, asked: pd.DataFrame, given: np.ndarray) -> Record:
    event_at = START + at * HOUR
    fields = dict.fromkeys(Record._fields) | {
        "id": f"p{at:04}", "request_id": f"r{at}", "event_at": event_at, "logged_at": event_at, "model": "delays",
        "version": 1, "alias": "production", "status": 200, "latency_ms": 1.0,
        "inputs": json.dumps({"distance": float(asked["distance"][at])}), "prediction": str(int(given[1] > 0.5)),
        "probabilities": json.dumps(given.tolist()), "role": "",
    }  # fmt: skip
    return Record(**cast("dict[str, Any]", fields))


def test_without_labels_the_expected_performance_stands_beside_unchanged_and_its_caution(
    watched: Path, mlnb: Mlnb
) -> None:
    told = cast("dict[str, Any]", mlnb("monitor", "delays", "--span", "week", "--json").json())
    overall, unchanged = told["estimates"]["overall"], told["estimates"]["unchanged"]
    assert set(overall) == set(unchanged) == {"accuracy", "log_loss", "auc"}
    for name, one in overall.items():
        assert one["lower"] < unchanged[name] < one["upper"]
    assert told["estimates"]["caution"] == CAUTION and told["estimates"]["reference_rows"] == 500
    assert len(told["estimates"]["windows"]) == len(told["windows"]) and told["concept"] == []
    text = mlnb("monitor", "delays").out
    assert "estimated AUC 0." in text and "not realised yet; unchanged would be 0." in text and CAUTION in text


def test_with_labels_the_realised_performance_stands_beside_it_and_concept_drift_has_its_time(
    watched: Path, mlnb: Mlnb
) -> None:
    ran = mlnb("monitor", "delays", "--span", "month", "--labels", "labels.csv", "--html", "page.html", "--json")
    told = cast("dict[str, Any]", ran.json())
    found = {one["detector"]: one for one in told["concept"]}
    assert {"sequential", "ADWIN"} <= set(found)
    for one in found.values():
        assert "2013-01-16" <= one["since"][:10] <= "2013-01-19"  # the world turned after 400 hours
        assert one["before"] < 0.3 < one["after"]
    assert told["performance"]["auc"] < told["estimates"]["overall"]["auc"]["lower"]  # it cannot see that
    kinds = [one["kind"] for one in told["findings"]]
    assert kinds.count("concept") == len(found)
    page = (watched / "page.html").read_text()
    assert "Estimated performance" in page and escape(CAUTION) in page and "Concept drift since about 2013-01-1" in page
    text = mlnb("monitor", "delays", "--labels", "labels.csv").out
    assert "; realised 0.4" in text or "; realised 0.5" in text
