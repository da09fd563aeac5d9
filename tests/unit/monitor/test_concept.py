"""A rise of the error is told by our own detector and by river's, with the time since when; a fall is not."""

from __future__ import annotations

import numpy as np
import pytest
from river import drift
from scipy import integrate, stats

from mlnb.monitor.answered import Answered
from mlnb.monitor.concept import FEWEST, errors_of, find_changes
from mlnb.monitor.reference import Reference
from mlnb.monitor.rise import certain_at
from mlnb.monitor.values import Floats

NAN = float("nan")
ALL = {"sequential", "ADWIN", "Page-Hinkley", "DDM", "HDDM"}


def stream(*parts: tuple[int, float], seed: int = 0) -> Floats:
    """Return zeros and ones: so many with such a share of ones, one part after another."""
    random = np.random.default_rng(seed)
    return np.concatenate([(random.random(rows) < share).astype(float) for rows, share in parts])


def times(rows: int) -> np.ndarray:
    return np.arange(rows, dtype=np.int64) * 1_000


def test_every_detector_tells_of_a_rise_once_with_the_time_since_when() -> None:
    errors = stream((1500, 0.1), (1500, 0.35))
    found = find_changes(errors, times(3000), share=True, usual=NAN)
    assert {one.detector for one in found} == ALL and len(found) == 5
    for one in found:
        assert 1500 < one.seen < 2200 and one.told_at == (one.seen - 1) * 1_000
        assert abs(one.since / 1_000 - 1500) < 60
        assert one.before == pytest.approx(0.1, abs=0.03) and one.after > 0.2
    sentence = next(one.finding().sentence for one in found if one.detector == "ADWIN")
    assert sentence.startswith("Concept drift since about 1970-01-01 00:00: wrong answers went from ")


def test_adwin_tells_when_river_s_own_does() -> None:
    errors = stream((800, 0.15), (800, 0.5), seed=3)
    theirs = drift.ADWIN()
    alone = next(place for place, value in enumerate(errors) if theirs.update(value) or theirs.drift_detected)
    ours = next(one for one in find_changes(errors, times(1600), share=True, usual=NAN) if one.detector == "ADWIN")
    assert ours.seen == alone + 1


def test_a_fall_is_no_alarm_and_a_rise_after_it_is() -> None:
    fallen = find_changes(stream((1500, 0.4), (2500, 0.1), seed=1), times(4000), share=True, usual=NAN)
    assert {one.detector for one in fallen} <= {"DDM"}  # river's own false alarm, if any
    again = find_changes(stream((1200, 0.4), (2000, 0.1), (1500, 0.4), seed=1), times(4700), share=True, usual=NAN)
    told = {one.detector: one for one in again}
    assert {"sequential", "ADWIN"} <= set(told)
    assert all(abs(told[name].since / 1_000 - 3200) < 80 for name in ("sequential", "ADWIN"))


def test_our_own_is_silent_on_streams_that_do_not_change() -> None:
    alarms = [certain_at(stream((2000, 0.05 + 0.01 * seed), seed=seed), 0.001) for seed in range(40)]
    assert alarms == [0] * 40


def test_the_evidence_of_our_own_is_that_of_integrals_done_by_numbers() -> None:
    values = stream((60, 0.1), (40, 0.7), seed=5)

    def marginal(part: Floats) -> float:
        return integrate.quad(lambda x: np.prod(np.where(part > 0, x, 1 - x)) * stats.beta(0.5, 0.5).pdf(x), 0, 1)[0]

    def evidence(seen: int) -> float:
        share = values[:seen].mean()
        best = np.prod(np.where(values[:seen] > 0, share, 1 - share))
        splits = [(k, 20 * k) for k in range(1, seen // 20) if 20 * k < seen]
        return sum(marginal(values[:at]) * marginal(values[at:seen]) / best / (k * (k + 1)) for k, at in splits)

    found = {seen: evidence(seen) for seen in (40, 60, 80, 100)}
    assert found[80] > max(found[40], found[60])
    assert certain_at(values, 1.0001 / found[80]) == 80
    assert certain_at(values[:80], 0.9999 / found[80]) == 0


def test_errors_of_a_regressor_are_compared_with_the_usual_one() -> None:
    random = np.random.default_rng(4)
    errors = np.abs(np.concatenate([random.normal(0, 2, 1500), random.normal(0, 5, 1500)]))
    found = {one.detector: one for one in find_changes(errors, times(3000), share=False, usual=1.6)}
    assert {"sequential", "ADWIN", "HDDM"} <= set(found)
    for one in found.values():
        assert one.seen > 1500
        assert one.finding().sentence.count("the mean absolute error went from 1.") == 1
    assert find_changes(errors[: FEWEST - 1], times(FEWEST - 1), share=False, usual=1.6) == ()
    assert find_changes(np.zeros(500), times(500), share=False, usual=NAN) == ()


def test_errors_are_made_of_labels_and_answers_of_whatever_spelling(reference: Reference) -> None:
    rows = Answered(
        event_at=times(4),
        inputs=[None] * 4,
        predictions=["yes", "no", "no", "yes"],
        probabilities=np.full((4, 2), NAN),
        labels=["yes", "yes", None, "perhaps"],
    )
    errors, at, share = errors_of(reference, rows)
    assert errors.tolist() == [0.0, 1.0, 1.0] and at.tolist() == [0, 1_000, 3_000] and share
