from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance as spatial

from mlnb.monitor import distance

COUNTS = st.lists(st.integers(0, 10_000), min_size=2, max_size=12).filter(lambda counts: sum(counts) > 0)
PAIRS = st.integers(2, 12).flatmap(
    lambda size: st.tuples(
        *[st.lists(st.integers(0, 5_000), min_size=size, max_size=size).filter(lambda counts: sum(counts) > 0)] * 2
    )
)
BOUNDED = [distance.jensen_shannon, distance.hellinger, distance.total_variation, distance.ks]
ALL = [*BOUNDED, distance.psi]


@given(PAIRS)
def test_jensen_shannon_is_that_of_scipy(pair: tuple[list[int], list[int]]) -> None:
    expected = spatial.jensenshannon(pair[0], pair[1], base=2)
    assert distance.jensen_shannon(*pair) == pytest.approx(0 if math.isnan(expected) else expected, abs=1e-7)


@given(PAIRS)
def test_hellinger_is_the_euclidean_distance_of_root_shares(pair: tuple[list[int], list[int]]) -> None:
    p, q = (np.array(side) / sum(side) for side in pair)
    expected = spatial.euclidean(np.sqrt(p), np.sqrt(q)) / math.sqrt(2)
    assert distance.hellinger(*pair) == pytest.approx(expected, abs=1e-9)


@given(PAIRS)
def test_total_variation_is_half_the_cityblock_distance_of_shares(pair: tuple[list[int], list[int]]) -> None:
    p, q = (np.array(side) / sum(side) for side in pair)
    assert distance.total_variation(*pair) == pytest.approx(spatial.cityblock(p, q) / 2, abs=1e-9)


@given(PAIRS)
def test_psi_is_the_sum_of_both_relative_entropies_where_no_bin_is_empty(pair: tuple[list[int], list[int]]) -> None:
    p, q = (np.array(side) + 1 for side in pair)
    expected = stats.entropy(p, q) + stats.entropy(q, p)
    assert distance.psi(p, q) == pytest.approx(expected, abs=1e-9)


def test_psi_of_a_worked_example() -> None:
    # shares .2 .3 .5 against .3 .3 .4: .1 ln 1.5 + 0 - .1 ln .8
    assert distance.psi([20, 30, 50], [30, 30, 40]) == pytest.approx(0.1 * math.log(1.5) - 0.1 * math.log(0.8))


def test_ks_of_values_that_each_have_their_bin_is_that_of_scipy() -> None:
    random = np.random.default_rng(0)
    one, two = random.integers(0, 12, 500), random.integers(2, 14, 300)
    expected = stats.ks_2samp(one, two).statistic
    assert distance.ks(np.bincount(one, minlength=14), np.bincount(two, minlength=14)) == pytest.approx(expected)


@given(PAIRS, st.integers(0, 2**32 - 1))
def test_wasserstein_is_that_of_scipy(pair: tuple[list[int], list[int]], seed: int) -> None:
    random = np.random.default_rng(seed)
    at, other = np.sort(random.normal(size=len(pair[0]))), np.sort(random.normal(size=len(pair[0])))
    expected = stats.wasserstein_distance(at, other, pair[0], pair[1]) / 2.5
    assert distance.wasserstein(at, pair[0], other, pair[1], deviation=2.5) == pytest.approx(expected, abs=1e-9)


def test_positions_of_empty_bins_do_not_matter() -> None:
    assert distance.wasserstein([1, math.nan], [5, 0], [math.nan, 3], [0, 2], deviation=1) == 2


def test_a_constant_reference_has_no_unit() -> None:
    assert distance.wasserstein([1], [5], [1], [9], deviation=0) == 0
    assert math.isnan(distance.wasserstein([1], [5], [2], [9], deviation=0))


@pytest.mark.parametrize("measure", ALL)
@given(counts=COUNTS, factor=st.integers(1, 50))
def test_equal_shares_are_at_distance_zero(measure: distance.Distance, counts: list[int], factor: int) -> None:
    assert measure(counts, [count * factor for count in counts]) == pytest.approx(0, abs=1e-6) or (
        measure is distance.psi and 0 in counts
    )


@given(COUNTS)
def test_psi_of_a_sample_with_itself_is_zero(counts: list[int]) -> None:
    assert distance.psi(counts, counts) == 0


@pytest.mark.parametrize("measure", ALL)
@given(pair=PAIRS)
def test_both_directions_are_equally_long(measure: distance.Distance, pair: tuple[list[int], list[int]]) -> None:
    assert measure(*pair) == pytest.approx(measure(*pair[::-1]), abs=1e-9)


@pytest.mark.parametrize("measure", BOUNDED)
@given(pair=PAIRS)
def test_a_bounded_distance_stays_between_0_and_1(
    measure: distance.Distance, pair: tuple[list[int], list[int]]
) -> None:
    assert 0 <= measure(*pair) <= 1


@pytest.mark.parametrize("measure", [*ALL, distance.chance_level])
def test_without_counts_nothing_is_known(measure: distance.Distance) -> None:
    assert math.isnan(measure([0, 0], [1, 2]))
    assert math.isnan(measure([1, 2], [0, 0]))
    assert math.isnan(measure([], []))


@pytest.mark.parametrize("measure", BOUNDED)
def test_disjoint_samples_are_at_distance_one(measure: distance.Distance) -> None:
    assert measure([4, 0], [0, 9]) == pytest.approx(1)


def test_psi_stays_finite_with_empty_bins_and_ignores_bins_that_nobody_uses() -> None:
    assert distance.psi([10, 0], [0, 10]) == pytest.approx(2 * (10.5 - 0.5) / 11 * math.log(21))
    assert distance.psi([10, 20, 0], [20, 10, 0]) == distance.psi([10, 20], [20, 10])


@pytest.mark.parametrize(("bins", "reference", "current"), [(4, 1000, 200), (17, 5000, 500), (17, 1000, 1000)])
def test_the_chance_level_is_exceeded_once_in_twenty(bins: int, reference: int, current: int) -> None:
    random = np.random.default_rng(5)
    shares = random.dirichlet(np.full(bins, 5.0))
    draws = [(random.multinomial(reference, shares), random.multinomial(current, shares)) for _ in range(3000)]
    above = np.mean([distance.jensen_shannon(*pair) > distance.chance_level(*pair) for pair in draws])
    assert above == pytest.approx(0.05, abs=0.016)  # four standard errors


def test_one_bin_leaves_nothing_to_chance() -> None:
    assert distance.chance_level([5, 0], [7, 0]) == 0


@given(st.lists(st.lists(st.integers(0, 50), min_size=4, max_size=4), min_size=2, max_size=6))
def test_many_rows_are_compared_as_each_of_them_is(table: list[list[int]]) -> None:
    reference, *rows = table
    counts = np.array(rows)
    distances = [distance.jensen_shannon(reference, row) for row in rows]
    chances = [distance.chance_level(reference, row) for row in rows]
    assert distance.each_jensen_shannon(reference, counts).tolist() == pytest.approx(distances, nan_ok=True)
    assert distance.each_chance_level(reference, counts).tolist() == pytest.approx(chances, nan_ok=True)


@given(PAIRS)
def test_chi_square_is_that_of_scipy(pair: tuple[list[int], list[int]]) -> None:
    table = np.array(pair)
    table = table[:, table.sum(axis=0) > 0]
    expected = stats.chi2_contingency(table, correction=False)
    found = distance.chi_square(*pair)
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.freedom == expected.dof
    assert found.p_value == pytest.approx(expected.pvalue)


def test_chi_square_of_snedecor_and_cochrans_leprosy_patients() -> None:
    # Snedecor, Cochran (1989), Statistical Methods, 8th ed., table 11.7.1: improvement by degree of infiltration
    found = distance.chi_square([11, 27, 42, 53, 11], [7, 15, 16, 13, 1])
    assert (found.statistic, found.freedom) == (pytest.approx(6.88, abs=0.005), 4)


def test_chi_square_of_an_empty_side_is_unknown_and_of_one_bin_says_nothing() -> None:
    assert math.isnan(distance.chi_square([1, 2], [0, 0]).statistic)
    alone = distance.chi_square([3, 0], [9, 0])
    assert (alone.statistic, alone.freedom, alone.p_value) == (0.0, 0, 1.0)
