"""The e-detector against its definition, and its bets against the bound that they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from mlnb.monitor.evidence import GAPS, course

ONE = np.ones(1)


def test_the_detector_is_the_sum_over_all_beginnings_of_the_products_of_likelihood_ratios() -> None:
    counts, rows = np.array([52.0, 61.0, 0.0, 58.0]), np.array([100.0, 100.0, 0.0, 90.0])
    found = course(counts[:, None], rows, np.array([0.5]), np.array([0.03]), np.ones(4))
    bets = []
    for up in (True, False):
        inside = counts if up else rows - counts
        for gap in GAPS:
            ratios = binom.pmf(inside, rows, 0.53 + gap) / binom.pmf(inside, rows, 0.53)
            detector, course_of = 0.0, []
            for ratio, size in zip(ratios, rows, strict=True):
                detector = (detector + 1.0) * ratio if size else detector
                course_of.append(detector)
            bets.append(course_of)
    assert found.log_e == pytest.approx(np.log(np.mean(bets, axis=0)))
    assert found.begun.tolist()[-1] == 1  # the first window spoke against it


@pytest.mark.parametrize("share", [0.47, 0.5, 0.53])
def test_a_bet_wins_at_most_nothing_on_average_as_long_as_the_share_is_within_its_tolerance(share: float) -> None:
    outcomes = np.arange(41.0)
    chances = binom.pmf(outcomes, 40, share)
    gains = [
        math.exp(course(np.array([[x]]), np.array([40.0]), np.array([0.5]), np.array([0.03]), ONE).log_e[0])
        for x in outcomes
    ]
    assert float(chances @ np.array(gains)) <= 1.0 + 1e-9


def test_a_window_whose_rows_count_for_less_moves_the_evidence_less() -> None:
    counts, rows = np.array([[700.0]]), np.array([1000.0])
    plain, divided = (
        course(counts, rows, np.array([0.5]), np.array([0.03]), np.array([factor])).log_e[0] for factor in (1.0, 10.0)
    )
    tenth = course(counts / 10, rows / 10, np.array([0.5]), np.array([0.03]), ONE).log_e[0]
    assert divided == pytest.approx(tenth) and divided < plain


def test_where_no_share_can_leave_its_tolerance_there_is_no_evidence() -> None:
    found = course(np.array([[90.0]]), np.array([100.0]), np.array([0.5]), np.array([0.6]), ONE)
    assert found.log_e.tolist() == [-math.inf]
    assert course(np.zeros((0, 1)), np.zeros(0), np.array([0.5]), np.array([0.03]), np.zeros(0)).log_e.size == 0
