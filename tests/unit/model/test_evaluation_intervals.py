"""Intervals against scipy's bootstrap, and how often they hold the truth."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from mlnb import evaluate
from mlnb.model.bootstrap import Resampling, intervals
from mlnb.model.evaluate import paired_difference
from mlnb.model.evaluation import Evaluation
from mlnb.model.metrics_numbers import NumberSample


def bca(statistic: Callable[..., np.ndarray], *samples: np.ndarray) -> tuple[float, float]:
    random = np.random.default_rng(4)
    found = stats.bootstrap(samples, statistic, paired=True, n_resamples=4000, method="BCa", rng=random)
    return found.confidence_interval  # low and high


def ends(evaluation: Evaluation, name: str) -> tuple[float, float]:
    return evaluation[f"{name}_low"], evaluation[f"{name}_high"]


def test_intervals_are_those_of_scipy() -> None:
    random = np.random.default_rng(1)
    truth = random.normal(size=80)
    answers = truth + random.gamma(1, 1, 80)  # skewed errors, so that the correction counts
    found = evaluate(truth, answers, resamples=8000, seed=3)
    for name, power in (("mae", 1), ("rmse", 2)):

        def mean(error: np.ndarray, axis: int, power: int = power) -> np.ndarray:
            return np.mean(np.abs(error) ** power, axis=axis) ** (1 / power)

        expected = bca(mean, answers - truth)
        width = expected[1] - expected[0]
        assert ends(found, name) == pytest.approx(tuple(expected), abs=0.06 * width)


def test_an_area_has_the_interval_of_scipy() -> None:
    random = np.random.default_rng(2)
    truth = random.random(120) < 0.4
    scores = random.normal(truth * 1.2, 1)

    def area(good: np.ndarray, given: np.ndarray, axis: int) -> np.ndarray:
        positives = good.sum(axis=axis)
        ranks = (stats.rankdata(given, axis=axis) * good).sum(axis=axis)
        return (ranks - positives * (positives + 1) / 2) / (positives * (good.shape[axis] - positives))

    assert area(truth, scores, 0) == pytest.approx(metrics.roc_auc_score(truth, scores))
    expected = bca(area, truth, scores)
    found = evaluate(truth, scores, resamples=8000)
    assert ends(found, "auc") == pytest.approx(tuple(expected), abs=0.06 * (expected[1] - expected[0]))


def test_many_rows_counted_in_groups_have_the_interval_of_all_rows() -> None:
    random = np.random.default_rng(3)
    truth = random.random(30_000) < 0.3
    scores = 1 / (1 + np.exp(-random.normal(truth * 1.0, 1)))
    found = evaluate(truth, scores, resamples=2000)
    area = metrics.roc_auc_score(truth, scores)
    assert found["auc"] == pytest.approx(area, abs=1e-12)
    good, bad = scores[truth], scores[~truth]
    above = stats.rankdata(scores)[truth] - stats.rankdata(good)  # DeLong, DeLong and Clarke-Pearson (1988)
    below = stats.rankdata(scores)[~truth] - stats.rankdata(bad)
    error = math.sqrt(np.var(above / bad.size) / good.size + np.var(1 - below / good.size) / bad.size)
    assert ends(found, "auc") == pytest.approx((area - 1.96 * error, area + 1.96 * error), abs=0.15 * error)
    losses = -np.log(np.where(truth, scores, 1 - scores))
    error = losses.std() / math.sqrt(losses.size)
    assert ends(found, "log_loss") == pytest.approx(
        (losses.mean() - 1.96 * error, losses.mean() + 1.96 * error), abs=0.2 * error
    )


@pytest.mark.parametrize(("name", "truth"), [("mae", 1.0), ("rmse", math.sqrt(2)), ("bias", 0.0)])
def test_intervals_hold_the_truth_about_as_often_as_they_say(name: str, truth: float) -> None:
    random = np.random.default_rng(7)
    how, held = Resampling(400, 0.9, 0), 0
    for stream in range(300):
        error = random.laplace(size=100)
        sample = NumberSample(np.zeros(100), error)
        low, high = intervals(sample, how, stream)
        place = sample.names.index(name)
        held += bool(low[place] <= truth <= high[place])
    assert 0.84 <= held / 300 <= 0.95  # three standard errors are 0.05


def test_rows_that_depend_on_each_other_get_wider_intervals() -> None:
    random = np.random.default_rng(8)
    noise = random.normal(size=2000)
    error = np.convolve(noise, np.ones(20) / 20, mode="same")
    held = {
        "rows": evaluate(np.zeros(2000), error, task="regression"),
        "blocks": evaluate(np.zeros(2000), error, season=60),
    }
    widths = {name: found["bias_high"] - found["bias_low"] for name, found in held.items()}
    true_width = 2 * 1.96 / math.sqrt(2000)  # of the mean of moving averages of white noise
    assert widths["rows"] < 0.4 * true_width
    assert widths["blocks"] == pytest.approx(true_width, rel=0.25)
    assert held["blocks"].interval.unit == "block of 60 rows"


def test_whole_queries_and_whole_series_are_drawn() -> None:
    random = np.random.default_rng(9)
    group = np.repeat(np.arange(40), 10)
    effect = np.repeat(random.normal(size=40), 10)
    series = evaluate(np.zeros(400), effect, series=group)
    assert (series.interval.unit, series.units) == ("series", 40)
    expected = 2 * 1.96 * effect[::10].std() / math.sqrt(40)
    assert series["bias_high"] - series["bias_low"] == pytest.approx(expected, rel=0.15)
    ranking = evaluate(random.integers(0, 2, 400), random.random(400), groups=group)
    assert (ranking.interval.unit, ranking.units) == ("query", 40)


def test_the_same_seed_gives_the_same_intervals() -> None:
    random = np.random.default_rng(10)
    truth, scores = random.random(200) < 0.5, random.random(200)
    assert evaluate(truth, scores, seed=1) == evaluate(truth, scores, seed=1)
    assert evaluate(truth, scores, seed=1)["auc_low"] != evaluate(truth, scores, seed=2)["auc_low"]


def test_what_no_resample_changes_has_no_interval() -> None:
    found = evaluate([0, 1] * 50, [0.1, 0.9] * 50)
    assert found["accuracy"] == 1
    assert "accuracy_low" not in found
    assert any(note.startswith("No interval, because resamples were alike") for note in found.notes)


def test_a_huge_sample_gets_fewer_resamples_and_says_so() -> None:
    assert Resampling(1000, 0.95, 0).affordable(10**6) == 300
    assert Resampling(1000, 0.95, 0).affordable(10**9) == 200
    assert Resampling(0, 0.95, 0).affordable(10**9) == 0


def test_the_difference_of_two_models_is_known_better_than_each_alone() -> None:
    random = np.random.default_rng(11)
    truth = random.random(800) < 0.5
    hard = random.normal(size=800)
    first = truth + 1.5 * hard
    second = first + 0.15 * truth
    found = {one.name: one for one in paired_difference(truth, first, second)}
    gain = metrics.roc_auc_score(truth, second) - metrics.roc_auc_score(truth, first)
    assert found["roc_auc"].value == pytest.approx(gain)
    assert found["roc_auc"].low > 0
    alone = evaluate(truth, first)
    assert found["roc_auc"].high - found["roc_auc"].low < (alone["auc_high"] - alone["auc_low"]) / 3
