"""Windows of a small model are judged: what alarms, what does not, and what is said about it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pytest

from mlnb.errors import SettingsError
from mlnb.monitor.alarm import Judgement, Subject, judge
from mlnb.monitor.reference import Reference, summarise
from mlnb.monitor.report import Report, build_report
from mlnb.monitor.rules import Rules, read_rules
from mlnb.service.log_reader import Batch
from tests.bench import alarms as bench

Draw = Callable[..., list[dict[str, object]]]
Log = Callable[..., Batch]
USUAL = Rules()
SUBJECT = Subject("delays", "production", 7)
AT = datetime(2026, 11, 22, tzinfo=UTC)


def report(reference: Reference, batch: Batch) -> Report:
    return build_report(reference, [batch], model="delays", version=7, at=AT)


def judged(
    reference: Reference, batch: Batch, rules: Rules = USUAL, since: dict[tuple[str, str], int] | None = None
) -> Judgement:
    made = report(reference, batch)
    return judge(made.reference, made.windows, rules, SUBJECT, since)


def test_what_moved_is_alarmed_once_with_effect_evidence_and_a_sentence(
    reference: Reference, draw: Draw, batch: Log
) -> None:
    calm, moved = draw(800, 2), draw(800, 3, older=8)
    found = judged(reference, batch(calm + moved))
    by_place = {alarm.place: alarm for alarm in found.alarms}
    assert set(by_place) == {("age", "drift"), ("score", "prediction"), ("prediction", "prediction")}
    alarm = by_place["age", "drift"]
    assert (alarm.model, alarm.alias, alarm.number) == ("delays", "production", 7)
    assert alarm.window.startswith("2013-01-") and alarm.window > "2013-01-09"
    evidence = dict(alarm.evidence)
    assert evidence["effect"] > evidence["tolerance"] > 0.03  # 2,000 reference rows: widened
    assert evidence["e_value"] >= evidence["needed"] == pytest.approx(5 / 0.8 / 0.001)  # 3 features, prediction, score
    assert evidence["budget"] == 0.001 and evidence["n"] % 100 == 0
    assert alarm.reason.startswith("age is at most ") and alarm.reason.endswith(").") and ". " not in alarm.reason
    assert "widened from 3.0 points because the sample is small" in alarm.reason
    assert evidence["since"].startswith("2013-01-")
    json.dumps(evidence, allow_nan=False)


def test_the_same_source_alarms_nothing_and_the_bound_is_claimed(reference: Reference, draw: Draw, batch: Log) -> None:
    found = judged(reference, batch(draw(3000, 9)))
    assert (found.alarms, found.bounded) == ((), True)
    assert found.bound == (
        "At least 1,000 windows pass on average until a false alarm among 11 watched processes, as long as windows vary "
        "independently and no more than the sample's chunks did."
    )
    assert all(course.size == 30 and (course < found.limits[place]).all() for place, course in found.log_e.items())


def test_windows_longer_than_a_twentieth_of_the_sample_are_judged_but_bound_nothing(
    reference: Reference, draw: Draw, batch: Log
) -> None:
    found = judged(reference, batch(draw(900, 3, older=12), per_day=300))
    assert not found.bounded
    assert found.bound == (
        "No bound on false alarms can be claimed: that takes 20 chunks of the sample as long as a window, and its "
        "2,000 rows are 6 of 300."
    )
    assert found.alarms[0].reason.endswith("; no bound on false alarms can be claimed).")
    assert found.alarms[0].evidence["bounded"] is False


def test_a_reference_of_an_older_mlnb_is_judged_but_bounds_nothing(
    reference: Reference, draw: Draw, batch: Log
) -> None:
    document = json.loads(json.dumps(reference.to_json()))
    assert Reference.from_json(document).dispersion == reference.dispersion
    del document["dispersion"]
    older = Reference.from_json(document)
    found = judged(older, batch(draw(400, 3, older=12)))
    assert "the reference does not say how its chunks vary" in found.bound
    assert ("age", "drift") in [alarm.place for alarm in found.alarms]


def test_missing_unseen_and_out_of_range_values_are_alarms_of_their_own(
    reference: Reference, draw: Draw, batch: Log
) -> None:
    rows = draw(300, 5)
    for place, row in enumerate(rows):
        if place % 3 == 0:
            row["city"] = "Zürich"
        if place % 5 == 0:
            row["price"] = None
        if place % 7 == 0:
            row["age"] = 400.0
    found = {alarm.place: alarm.reason for alarm in judged(reference, batch(rows)).alarms}
    assert found["city", "unseen"].startswith("city is a value that the reference never had in ")
    assert found["price", "missing"].startswith("price is missing in ")
    assert found["age", "range"].startswith("age is outside the reference's range of ")


def test_evidence_begins_anew_after_an_acknowledgement(reference: Reference, draw: Draw, batch: Log) -> None:
    log = batch(draw(300, 2) + draw(1700, 3, older=8))
    place = ("age", "drift")
    first = next(alarm for alarm in judged(reference, log).alarms if alarm.place == place)
    end = datetime.fromisoformat(first.window.partition("/")[2])
    since = {place: int(end.timestamp()) * 1_000_000_000}
    again = next(alarm for alarm in judged(reference, log, since=since).alarms if alarm.place == place)
    assert again.window > first.window
    assert again.evidence["since"] >= first.window.partition("/")[2]
    far = {place: 2**62}
    assert place not in [alarm.place for alarm in judged(reference, log, since=far).alarms]


def test_a_tolerance_of_one_column_is_its_own(reference: Reference, draw: Draw, batch: Log) -> None:
    log = batch(draw(800, 3, older=8))
    calm = Rules(tolerances={"age": 1.0, "score": 1.0, "prediction": 1.0})
    assert judged(reference, log, calm).alarms == ()


def test_a_plain_threshold_alarms_at_once_and_says_that_it_bounds_nothing(
    reference: Reference, draw: Draw, batch: Log
) -> None:
    rules = read_rules({"rules": ["psi > 0.2", "city.missing >= 0.5"], "tolerance": 1.0, "rare": 1.0})
    rows = draw(100, 3, older=8)
    (age, city, *_rest) = judged(reference, batch([{**row, "city": None} for row in rows]), rules).alarms
    assert (age.place, city.place) == (("age", "threshold"), ("city", "threshold"))
    assert "which the plain rule 'psi > 0.2' alarms on; it bounds no false alarms." in age.reason
    assert age.evidence["tolerance"] == 0.2 and age.evidence["effect"] > 0.2
    assert age.evidence["e_value"] is None


def test_nothing_but_empty_and_null_windows_is_judged_without_a_word(reference: Reference, batch: Log) -> None:
    found = judge(reference, (), Rules(), SUBJECT)
    assert (found.alarms, found.bounded) == ((), False)
    assert found.bound == "No bound on false alarms can be claimed before a window has rows."
    one = judged(reference, batch([{}]))
    assert one.alarms == ()


def test_a_sample_of_one_row_or_of_nothing_but_nulls_is_judged(signature: object, batch: Log, draw: Draw) -> None:
    for ages in ([40.0], [None] * 30):
        columns = {"age": ages, "price": [None] * len(ages), "city": [None] * len(ages)}
        reference = summarise(signature, columns, ["no"] * len(ages))  # type: ignore[arg-type]
        found = judged(reference, batch(draw(500, 3)))
        assert not found.bounded
        assert all(math.isfinite(float(str(alarm.evidence["effect"]))) for alarm in found.alarms)


@pytest.mark.parametrize("kind", bench.NULLS)
def test_a_sample_of_the_bench_holds_no_false_alarm(kind: str) -> None:
    hits = bench.run(np.random.default_rng(11), kind, 500, 50).hits
    assert not hits["ours"].any()
    assert hits["KS p < .05"].any(axis=1).mean() > 0.5  # the rule that people leave


@pytest.mark.parametrize(("rows", "within"), [(2000, 3), (500, 10)])
def test_a_change_of_ks_08_is_seen(rows: int, within: int) -> None:
    random = np.random.default_rng(12)
    seen = [bench.run(random, "change", rows, within).hits["ours"][:, 0].any() for _ in range(2)]
    assert all(seen)


def test_the_first_windows_can_say_how_windows_vary_where_the_sample_was_shuffled() -> None:
    rules = read_rules({"calibrate": 20})
    plain, calibrated = (
        bench.run(np.random.default_rng(13), bench.SHUFFLED, 2000, 50, chosen).hits["ours"] for chosen in (USUAL, rules)
    )
    assert plain.any() and not calibrated.any()


def test_nothing_is_judged_before_the_windows_have_said_how_they_vary(
    reference: Reference, draw: Draw, batch: Log
) -> None:
    rules = Rules(calibrate=20)
    begun = judged(reference, batch(draw(1900, 2, older=12)), rules)
    assert (begun.alarms, begun.bounded) == ((), False)
    assert begun.bound.endswith("is judged, before 20 windows have said how windows vary; 19 have.")
    done = judged(reference, batch(draw(2000, 2) + draw(600, 3, older=12)), rules)
    assert done.bounded and "or the first 20 windows, did." in done.bound
    assert ("age", "drift") in [alarm.place for alarm in done.alarms]


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"tolerence": 0.1}, "unknown key 'tolerence'"),
        ({"budget": 0}, "budget in [tool.mlnb.monitor] is 0, which is no share."),
        ({"tolerances": {"age": "much"}}, "tolerances.age in [tool.mlnb.monitor] is 'much'"),
        ({"calibrate": 12}, "calibrate in [tool.mlnb.monitor] is 12, which is no number of windows."),
        ({"tolerances": 3}, "tolerances in [tool.mlnb.monitor] is not a table."),
        ({"span": "fortnight"}, "'fortnight' is not a span"),
        ({"rules": "psi > 0.2"}, "rules in [tool.mlnb.monitor] is not a list of texts."),
        ({"rules": ["psi over 0.2"]}, "'psi over 0.2' is not a gate."),
        ({"rules": ["psy > 0.2"]}, "about 'psy', which is not measured."),
    ],
)
def test_settings_that_cannot_be_used_are_refused(table: dict[str, object], problem: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read_rules(table)
    assert problem in refused.value.problem
