from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics

from mlnb.errors import MonitorError
from mlnb.model.signature import Column, Signature
from mlnb.monitor.bars import bars
from mlnb.monitor.reference import Reference, summarise
from mlnb.monitor.report import Report, build_report
from mlnb.monitor.trend import drift_over, periods
from mlnb.service.log import PredictionLog, Record
from mlnb.service.log_reader import Batch, read_predictions

AT = datetime(2026, 11, 22, tzinfo=UTC)
Rows = list[dict[str, object]]
Draw = Callable[..., Rows]
Log = Callable[..., Batch]


def report(reference: Reference, *batches: Batch, **options: object) -> Report:
    return build_report(reference, batches, model="delays", version=7, at=AT, **options)  # type: ignore[arg-type]


async def logged(log: PredictionLog, records: list[Record]) -> None:
    await log.append(records)


def sentences(made: Report, kind: str) -> list[str]:
    return [finding.sentence for finding in made.findings if finding.kind == kind]


def test_what_moved_most_is_ranked_first(reference: Reference, draw: Draw, batch: Log) -> None:
    made = report(reference, batch(draw(1000, 2, older=15)))
    assert made.features[0].name == "age"
    assert [column.name for column in made.drifted] == ["age"]
    assert made.features[0].drift.wasserstein == pytest.approx(1.5, abs=0.1)
    assert "1 of 3 features drifted by more than 0.10, most of all age" in made.summary()
    assert "delays/7 answered 1,000 rows from 2013-01-01 to 2013-01-10" in made.summary()
    assert sentences(made, "drift")[0].startswith("age drifted by 0.5")
    assert sentences(made, "prediction")


def test_the_same_source_does_not_drift(reference: Reference, draw: Draw, batch: Log) -> None:
    made = report(reference, batch(draw(2000, 9)))
    assert made.drifted == ()
    assert made.findings == ()
    assert "None of its 3 features drifted" in made.summary()


def test_days_without_predictions_are_there_and_empty(reference: Reference, draw: Draw, batch: Log) -> None:
    early, late = batch(draw(100, 2)), batch(draw(400, 3), prefix="q")
    late = Batch(*(getattr(late, name)[300:] for name in Batch.__dataclass_fields__))
    made = report(reference, early, late)
    assert [window.rows for window in made.windows] == [100, 0, 0, 100]
    assert np.isnan(made.features[0].trend).tolist() == [False, True, True, False]
    json.dumps(made.to_json(), allow_nan=False)


def test_one_stray_time_does_not_make_a_million_windows(reference: Reference, draw: Draw, batch: Log) -> None:
    usual = batch(draw(100, 2))
    values = {name: getattr(usual, name) for name in Batch.__dataclass_fields__}
    stray = Batch(**{**values, "event_at": (0, *usual.event_at[1:])})
    assert len(report(reference, stray, span="hour").windows) == 2


def test_windows_of_rows_follow_the_event_time_over_all_batches(reference: Reference, draw: Draw, batch: Log) -> None:
    one, two = batch(draw(250, 2)), batch(draw(250, 3), prefix="q")
    made = report(reference, two, one, span="200 rows")
    assert [window.rows for window in made.windows] == [200, 200, 100]
    assert all(a.last <= b.first for a, b in zip(made.windows, made.windows[1:], strict=False))


def test_realised_performance_joins_by_prediction_id(reference: Reference, draw: Draw, batch: Log) -> None:
    made_batch = batch(draw(300, 2))
    truth = np.random.default_rng(0).choice(["no", "yes"], 300)
    labels = dict(zip(made_batch.id, truth.tolist(), strict=True))
    scores = np.array([json.loads(text)[1] for text in made_batch.probabilities if text])
    made = report(reference, made_batch, labels={**labels, "unknown": "yes"})
    day = slice(100, 200)
    assert made.performance[1].metrics["auc"] == pytest.approx(metrics.roc_auc_score(truth[day] == "yes", scores[day]))
    assert made.overall.metrics["auc"] == pytest.approx(metrics.roc_auc_score(truth == "yes", scores))
    assert made.overall.rows == 300
    assert sentences(made, "labels") == ["1 of 301 labels belong to none of the predictions read."]


def test_labels_of_some_rows_measure_those(reference: Reference, draw: Draw, batch: Log) -> None:
    made = report(reference, batch(draw(300, 2)), labels={"p150": "yes", "p151": "no"})
    assert [part.rows for part in made.performance] == [0, 2, 0]


def test_labels_of_another_version_are_no_strangers_but_do_not_count(
    reference: Reference, draw: Draw, batch: Log
) -> None:
    former = batch(draw(50, 3), version=6, prefix="f")
    made = report(reference, batch(draw(50, 2)), former, labels={"p1": "yes", "f1": "no"})
    assert made.overall.rows == 1
    assert sentences(made, "labels") == []


def test_a_regressor_is_measured_in_the_units_of_its_label(batch: Log) -> None:
    reference = summarise(Signature((Column("age", "float64"),), "regressor"), {"age": [1.0, 2.0]}, [10.0, 20.0])
    base = batch([{"age": 1.0}, {"age": 2.0}])
    values = {name: getattr(base, name) for name in Batch.__dataclass_fields__}
    answered = Batch(**{**values, "prediction": ("11.0", "18.0"), "probabilities": (None, None)})
    made = report(reference, answered, labels={"p0": 10, "p1": "20"})
    assert made.overall.metrics == pytest.approx({"mae": 1.5, "rmse": 2.5**0.5})
    assert [column.name for column in made.answers] == ["prediction"]


def test_a_column_that_falls_silent_is_found_and_drifts(reference: Reference, draw: Draw, batch: Log) -> None:
    rows = [{**row, "age": None} for row in draw(200, 2)]
    for row in rows:
        del row["city"]
    made = report(reference, batch(rows))
    assert sorted(sentences(made, "missing")) == [
        "age is missing in every prediction.",
        "city is missing in every prediction.",
    ]
    assert {column.name: column.drift.distance for column in made.features}["age"] == pytest.approx(1)
    assert "age drifted by 1.00" in " ".join(sentences(made, "drift"))


def test_a_redacted_column_is_said_to_be_redacted_and_does_not_drift(
    reference: Reference, draw: Draw, batch: Log
) -> None:
    made = report(reference, batch([{**row, "city": None, "mlnb:redacted": ["city"]} for row in draw(500, 4)]))
    assert sentences(made, "redacted") == [
        "city is redacted in the log in every prediction, so it is not compared there."
    ]
    assert sentences(made, "missing") == []
    assert made.drifted == ()
    json.dumps(made.to_json(), allow_nan=False)


def test_unseen_categories_ranges_types_and_errors_are_found(reference: Reference, draw: Draw, batch: Log) -> None:
    rows = draw(100, 2, cities="AABCXXYZ")
    rows[0] = {**rows[0], "price": "much"}
    for row in rows[:5]:
        row["age"] = 500.0
    refused = batch(draw(25, 3), status=422, error="rows[0]: age is missing.", prefix="r")
    made = report(reference, batch(rows), refused)
    assert len(sentences(made, "unseen")) == 1
    assert sentences(made, "unseen")[0].startswith("city has 3 values that the reference never had, in ")
    assert sentences(made, "type") == ["price held something that is not a number in 1 prediction."]
    assert "in 5.0 % of the predictions" in sentences(made, "range")[0]
    assert sentences(made, "errors") == [
        "20.0 % of all rows were refused or failed (HTTP 422: 25). Among the messages: rows[0]: age is missing."
    ]


def test_only_errors_make_a_report_too(reference: Reference, draw: Draw, batch: Log) -> None:
    made = report(reference, batch(draw(10, 3), status=500, error="boom"))
    assert made.summary().endswith("There is nothing to compare with the reference.")
    json.dumps(made.to_json(), allow_nan=False)


def test_one_row_makes_a_report(reference: Reference, draw: Draw, batch: Log) -> None:
    made = report(reference, batch(draw(1, 3)))
    assert made.drifted == ()  # chance alone would give as much
    json.dumps(made.to_json(), allow_nan=False)


def test_a_reference_without_any_value_makes_a_report(signature: Signature, draw: Draw, batch: Log) -> None:
    silent = summarise(signature, {"age": [None] * 5}, ["no"] * 5, [[1.0, 0.0]] * 5)
    made = report(silent, batch(draw(50, 3)))
    assert {column.drift.distance for column in made.features} == {1.0}
    assert all(sum(bars(column.feature, column.tally).current) == pytest.approx(1) for column in made.features)


def test_without_a_log_there_is_nothing_to_watch(reference: Reference) -> None:
    with pytest.raises(MonitorError, match=r"No prediction of delays has been logged.*Send rows"):
        report(reference)


def test_json_says_the_same_in_format_1(reference: Reference, draw: Draw, batch: Log) -> None:
    document = json.loads(json.dumps(report(reference, batch(draw(300, 2, older=15))).to_json(), allow_nan=False))
    assert (document["format"], document["version"], document["rows"]) == (1, "delays/7", 300)
    assert document["features"][0]["name"] == "age" and document["features"][0]["drifted"] is True
    assert len(document["features"][0]["trend"]) == len(document["windows"]) == 3
    assert document["windows"][0]["start"] == "2013-01-01T00:00:00.000000Z"
    assert document["windows"][0]["versions"] == {"7": 100}
    assert document["made_at"] == "2026-11-22T00:00:00.000000Z"


def test_periods_merge_neighbours_and_lose_nothing(reference: Reference, draw: Draw, batch: Log) -> None:
    truth = {f"p{place}": "yes" for place in range(500)}
    made = report(reference, batch(draw(1000, 2, older=5)), labels=truth)
    parts = periods(made, 4)
    assert [len(part.places) for part in parts] == [3, 3, 3, 1]
    assert sum(part.window.rows for part in parts) == 1000
    assert sum(part.performance.rows for part in parts) == 500
    whole = periods(made, 1)
    assert drift_over(made.features[0], whole)[0] == pytest.approx(made.features[0].drift.distance)
    assert whole[0].performance.metrics["accuracy"] == pytest.approx(made.overall.metrics["accuracy"])
    assert whole[0].performance.metrics["log_loss"] == pytest.approx(made.overall.metrics["log_loss"])


def test_bars_hold_all_rows_of_both_sides(reference: Reference, draw: Draw, batch: Log) -> None:
    made = report(reference, batch([*draw(500, 2, older=30), {"age": None}]))
    for column in (*made.features, *made.answers):
        shown = bars(column.feature, column.tally)
        assert sum(shown.reference) == pytest.approx(1) and sum(shown.current) == pytest.approx(1)
        assert len(set(shown.labels)) == len(shown.labels) == len(shown.reference) == len(shown.current)
        assert all(-0.5 <= at <= len(shown.labels) for at, _ in shown.ticks)


def test_bars_of_a_number_lie_where_the_values_are(reference: Reference, draw: Draw, batch: Log) -> None:
    made = report(reference, batch(draw(4000, 2, older=30)))
    shown = next(bars(c.feature, c.tally) for c in made.features if c.name == "age")
    bounds = [label.split(" to ") for label in shown.labels if " to " in label and label[0].isdigit()]
    middles = {place: sum(map(float, pair)) / 2 for place, pair in enumerate(bounds, start=1)}
    mean = sum(middles.get(place, 0) * share for place, share in enumerate(shown.current))
    assert mean == pytest.approx(70, abs=1.5)


def test_the_report_of_a_real_log_counts_every_row(
    tmp_path: Path, reference: Reference, draw: Draw, batch: Log
) -> None:
    made = batch(draw(120, 2))
    columns = [getattr(made, name) for name in Record._fields]
    log = PredictionLog(tmp_path)
    try:
        asyncio.run(logged(log, [Record(*row) for row in zip(*columns, strict=True)]))
    finally:
        log.close()
    found = build_report(reference, read_predictions(tmp_path), model="delays", version=7, at=AT)
    assert found.total.prediction.rows == 120
    assert [window.rows for window in found.windows] == [100, 20]
