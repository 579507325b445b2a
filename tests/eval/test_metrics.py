import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from robolearn.errors import UserError
from robolearn.eval.metrics import SuccessRate, compare_paired, percentiles, wilson_interval

counts = st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts, st.sampled_from((0.5, 0.8, 0.95, 0.99)))
def test_wilson_agrees_with_scipy(count, confidence):
    successes, n = count
    known = stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    assert wilson_interval(successes, n, confidence=confidence) == pytest.approx((known.low, known.high), abs=1e-9)


def test_wilson_published_example():
    # Newcombe (1998), table I: 81/263 and 1/29
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


@given(counts)
def test_wilson_contains_the_rate_mirrors_and_narrows(count):
    successes, n = count
    low, high = wilson_interval(successes, n)
    assert 0 <= low <= successes / n <= high <= 1
    assert low < high
    assert wilson_interval(n - successes, n) == pytest.approx((1 - high, 1 - low))
    more_low, more_high = wilson_interval(4 * successes, 4 * n)
    assert more_high - more_low < high - low


@pytest.mark.parametrize(("successes", "n"), [(-1, 3), (4, 3)])
def test_impossible_counts(successes, n):
    with pytest.raises(ValueError, match=f"{successes} successes in {n} episodes"):
        SuccessRate(successes, n)


def test_zero_episodes_is_the_users_to_mend():
    with pytest.raises(UserError, match="at least one episode"):
        SuccessRate(0, 0)
    with pytest.raises(UserError, match="at least one episode"):
        compare_paired([], [])


def test_confidence_is_a_probability():
    with pytest.raises(ValueError, match="95"):
        wilson_interval(1, 2, confidence=95)


def test_success_rate_reads_well():
    assert str(SuccessRate(87, 100)) == "87/100 = 0.87 [0.79, 0.92]"
    assert SuccessRate.of(np.array([1, 0, 1, 1], bool)) == SuccessRate(3, 4)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=80))
def test_mcnemar_agrees_with_the_binomial_test_and_is_symmetric(pairs):
    first, second = (list(side) for side in zip(*pairs, strict=True))
    result, swapped = compare_paired(first, second), compare_paired(second, first)
    differ = result.only_first + result.only_second
    known = stats.binomtest(result.only_first, differ, 0.5).pvalue if differ else 1.0
    assert result.p_value == pytest.approx(known)
    assert swapped.p_value == result.p_value
    assert swapped.difference == -result.difference
    assert result.difference == pytest.approx(np.mean(second) - np.mean(first))


def test_mcnemar_by_hand():
    result = compare_paired([1, 0, 0, 0, 0, 0, 1], [1, 1, 1, 1, 1, 1, 0])
    assert (result.only_first, result.only_second) == (1, 5)
    assert result.p_value == 2 * (1 + 6) / 64
    assert str(result) == "+0.57 on 7 shared seeds (5 gained, 1 lost; p = 0.22)"


def test_pairs_must_match():
    with pytest.raises(ValueError, match="no pairs"):
        compare_paired([True], [True, False])


def test_percentiles():
    assert percentiles(np.arange(101)) == {"p50": 50.0, "p99": 99.0}
    assert percentiles([1.0, 2.0], (50, 99.9)) == pytest.approx({"p50": 1.5, "p99.9": 1.999})


@pytest.mark.parametrize("values", [[], [1.0, float("nan")]])
def test_percentiles_of_nothing(values):
    with pytest.raises(ValueError, match="finite"):
        percentiles(values)
