"""Drift, weighed by what the columns mean to the model."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from mlnb.monitor.reference import Reference
from mlnb.monitor.report import Report, build_report
from mlnb.monitor.weight import weigh
from mlnb.service.log_reader import Batch

Draw = Callable[..., list[dict[str, object]]]
Log = Callable[..., Batch]


def drifted(reference: Reference, draw: Draw, batch: Log) -> Report:
    """Age has drifted most, the city less."""
    rows = batch(draw(1000, 2, older=15, cities="ABBB"))
    at = datetime(2026, 11, 22, tzinfo=UTC)
    return build_report(reference, [rows], model="delays", version=7, at=at)


def test_of_what_drifted_the_important_comes_first(reference: Reference, draw: Draw, batch: Log) -> None:
    made = drifted(reference, draw, batch)
    assert [column.name for column in made.drifted] == ["age", "city"]
    weighed = weigh(made, {"age": 0.02, "city": 0.5, "price": 0.48})
    assert [column.name for column in weighed.drifted] == ["city", "age"]
    assert {column.name for column in weighed.features} == {column.name for column in made.features}
    assert weighed.to_json()["importance"] == {"age": 0.02, "city": 0.5, "price": 0.48}
    (finding,) = [one for one in weighed.findings if one.kind == "importance"]
    assert finding.sentence == "Of what drifted, city matters most to the model: 50.0 % of its importance."


def test_without_importances_nothing_changes(reference: Reference, draw: Draw, batch: Log) -> None:
    made = drifted(reference, draw, batch)
    assert weigh(made, {}) is made
    assert weigh(made, {"age": 0.0}) is made
