"""Calibration: empirical p-values, q-values by the definition, and in memory that does not grow with the tests."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gexplain.motifs import calibration
from gexplain.motifs.calibration import (
    EmpiricalNull,
    SpanNull,
    StreamingBH,
    benjamini_hochberg,
    score_of_q,
    step_up,
    sum_spans,
)

RNG = np.random.default_rng


def slow_q_values(p: list[float]) -> list[float]:
    """The lowest rate alpha at which each test is rejected, by the procedure as Benjamini and Hochberg state it.

    At alpha, the k smallest p-values are rejected, k the largest with p_(k) <= alpha k / m. That changes only where
    alpha is p_(k) m / k, so these are the rates to try.
    """
    m, ordered = len(p), sorted(p)
    found = [1.0] * m
    for alpha in sorted({ordered[k - 1] * m / k for k in range(1, m + 1)}, reverse=True):
        if alpha > 1:
            continue
        largest = -1.0
        for k in range(1, m + 1):
            if ordered[k - 1] * m / k <= alpha:
                largest = ordered[k - 1]
        for i in range(m):
            if p[i] <= largest:
                found[i] = alpha
    return found


def discrete_p(rng: np.random.Generator, m: int) -> np.ndarray:
    """p-values of a small null, with ties; half of them extreme."""
    n = int(rng.integers(1, 60))
    levels = np.where(rng.random(m) < 0.5, rng.integers(0, n + 1, m), rng.integers(0, 1 + n // 6, m))
    return (1 + levels) / (1 + n)


# The empirical null


@pytest.mark.parametrize("seed", range(20))
def test_levels_count_the_null_at_least_as_large(seed):
    rng = RNG(seed)
    null, values = rng.integers(-4, 5, rng.integers(0, 30)) / 2, rng.integers(-5, 6, 25) / 2
    found = EmpiricalNull(null)
    expected = [sum(1 for one in null if one >= value) for value in values]
    assert found.levels(values).tolist() == expected
    assert found.levels(values).dtype == np.int64
    assert found.p_values(values).tolist() == [(1 + level) / (1 + len(null)) for level in expected]


def test_p_values_are_uniform_over_their_levels_under_exchangeability():
    # Any of n + 1 exchangeable draws is as likely to be at each rank: put each of them to the test in turn.
    draws = RNG(0).standard_normal(50)
    p = [float(EmpiricalNull(np.delete(draws, i)).p_values(draws[i : i + 1])[0]) for i in range(50)]
    np.testing.assert_allclose(sorted(p), np.arange(1, 51) / 50)


def test_without_a_null_nothing_is_known():
    assert EmpiricalNull(np.empty(0)).p_values(np.array([-np.inf, 0.0, np.inf])).tolist() == [1, 1, 1]


def test_float32_and_float64_of_one_value_tie():
    value = np.array([0.1], dtype=np.float32)
    assert EmpiricalNull(value).levels(value.astype(np.float64)).tolist() == [1]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_null_statistics_are_finite(bad):
    with pytest.raises(ValueError, match="finite"):
        EmpiricalNull(np.array([1.0, bad]))


def test_nan_has_no_level():
    with pytest.raises(ValueError, match="NaN"):
        EmpiricalNull(np.array([1.0])).levels(np.array([np.nan]))


# q-values


@pytest.mark.parametrize("seed", range(30))
def test_q_values_are_those_of_the_step_up_procedure(seed):
    rng = RNG(seed)
    p = discrete_p(rng, int(rng.integers(1, 40))) if seed % 2 else rng.random(int(rng.integers(1, 40))) ** 3
    np.testing.assert_allclose(benjamini_hochberg(p), slow_q_values(p.tolist()), rtol=1e-13)


def test_q_values_rise_with_p_and_equal_p_have_equal_q():
    p = discrete_p(RNG(1), 5_000)
    q = benjamini_hochberg(p)
    assert (np.diff(q[np.argsort(p)]) >= 0).all()
    assert q.max() <= 1
    assert (q >= p).all()
    assert len(np.unique(np.stack([p, q], axis=1), axis=0)) == len(np.unique(p))


def test_no_tests_have_no_q_values():
    assert benjamini_hochberg(np.empty(0)).shape == (0,)


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.1])
def test_p_values_outside_0_and_1_are_refused(bad):
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        benjamini_hochberg(np.array([0.5, bad]))
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        StreamingBH().add(np.array([0.5, bad]))


@pytest.mark.parametrize("seed", range(30))
def test_the_step_up_of_counted_p_values_is_that_of_the_expanded_ones(seed):
    rng = RNG(seed)
    counts = rng.integers(0, 4, rng.integers(1, 40))
    unlisted = int(rng.integers(0, 30))
    distinct = np.arange(1, len(counts) + 1) / (len(counts) + int(rng.integers(0, 50)))
    p = np.concatenate([np.repeat(distinct, counts), np.ones(unlisted)])
    q = step_up(distinct, counts, len(p))
    np.testing.assert_array_equal(np.repeat(q, counts), benjamini_hochberg(p)[: counts.sum()])


def test_a_p_value_that_no_test_has_is_given_the_q_value_of_the_next_above():
    p = np.arange(1, 11) / 10
    assert step_up(p, np.array([0, 0, 9, 0, 0, 0, 0, 0, 0, 0]), 9).tolist() == [0.3] * 3 + [1] * 7
    assert step_up(p[:2], np.array([0, 0]), 0).tolist() == [1, 1]


@pytest.mark.parametrize("seed", range(12))
def test_streamed_q_values_are_those_of_all_at_once(seed, monkeypatch):
    monkeypatch.setattr(calibration, "_PENDING", int(RNG(seed).integers(1, 50)))
    p = discrete_p(RNG(seed), 400)
    streamed = StreamingBH()
    cuts = np.sort(RNG(seed).integers(0, 401, 30))
    for chunk in np.split(p, cuts):
        streamed.add(chunk)
    assert streamed.n_tests == 400
    for chunk, expected in zip(np.split(p, cuts), np.split(benjamini_hochberg(p), cuts), strict=True):
        np.testing.assert_array_equal(streamed.q_values(chunk), expected)


def test_p_values_added_later_count():
    streamed = StreamingBH()
    streamed.add(np.array([0.01]))
    assert streamed.q_values(np.array([0.01])).tolist() == [0.01]
    streamed.add(np.array([1.0]))
    assert streamed.q_values(np.array([0.01])).tolist() == [0.02]


@pytest.mark.parametrize("absent", [0.25, 0.75, np.nan])
def test_a_p_value_that_was_not_added_has_no_q_value(absent):
    streamed = StreamingBH()
    streamed.add(np.array([0.125, 0.5]))
    with pytest.raises(ValueError, match="not added"):
        streamed.q_values(np.array([0.5, absent]))


def test_nothing_added_has_no_q_values():
    assert StreamingBH().q_values(np.empty(0)).shape == (0,)


# The null of spans


@pytest.mark.parametrize("seed", range(15))
def test_span_p_values_count_all_places_inside_the_stretches(seed):
    rng = RNG(seed)
    widths = rng.integers(0, 12, 6)
    stretches = [(rng.integers(-3, 4, width) / 4).astype(np.float32) for width in widths]
    null = SpanNull(stretches)
    for width in (1, 2, 5, 11, 12):
        places = [
            sum(float(one) for one in stretch[start : start + width])
            for stretch in stretches
            for start in range(len(stretch) - width + 1)
        ]
        assert null.null(width).n == len(places)
        sums = np.array([*places, -3.0, 0.0, 3.0])
        expected = [(1 + sum(1 for place in places if place >= one)) / (1 + len(places)) for one in sums]
        np.testing.assert_array_equal(null.p_values(sums, width), expected)


def test_a_width_that_no_stretch_has_gives_p_of_1():
    assert SpanNull([np.ones(3), np.ones(4)]).p_values(np.array([100.0]), 5).tolist() == [1]
    assert SpanNull([]).p_values(np.array([100.0]), 5).tolist() == [1]


def test_places_are_thinned_regularly_over_all_stretches(monkeypatch):
    monkeypatch.setattr(calibration, "MAX_PLACES", 10)
    stretches = [np.arange(start, start + width, dtype=np.float32) for start, width in ((0, 7), (7, 1), (8, 17))]
    # Widths of 2: 6 + 0 + 16 places, of which every third is kept.
    places = [(start, start + 1) for start in [*range(6), *range(8, 24)]][::3]
    null = SpanNull(stretches).null(2)
    assert null.n == len(places) == 8
    for threshold in range(50):
        assert null.levels(np.array([threshold]))[0] == sum(1 for place in places if sum(place) >= threshold)


def test_thinned_p_values_are_close_to_those_of_all_places(monkeypatch):
    stretches = [RNG(0).standard_normal(400) for _ in range(100)]
    sums = np.linspace(-12, 12, 49)
    whole = SpanNull(stretches).p_values(sums, 12)
    monkeypatch.setattr(calibration, "MAX_PLACES", 5_000)
    thinned = SpanNull(stretches)
    assert 4_000 < thinned.null(12).n <= 5_000
    np.testing.assert_allclose(thinned.p_values(sums, 12), whole, atol=0.02)


def test_equal_spans_tie_wherever_they_lie():
    # Differences of a running sum would not: they round with what comes before.
    motif = np.array([0.1, 0.7, -0.3, 1 / 3], dtype=np.float32)
    stretches = [np.concatenate([RNG(i).standard_normal(50).astype(np.float32) * 1e6, motif]) for i in range(40)]
    sums = sum_spans(motif, np.array([0]), 4)
    assert sum(float(sums[0]) == float(sum_spans(one, np.array([50]), 4)[0]) for one in stretches) == 40
    flat = SpanNull([np.full(1000, 0.1, dtype=np.float32)])
    assert flat.p_values(sum_spans(np.full(7, 0.1, dtype=np.float32), np.array([0]), 7), 7).tolist() == [1]


def test_a_stretch_with_a_gap_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        SpanNull([np.array([1.0, np.nan])])


@pytest.mark.parametrize(("starts", "width"), [([-1], 2), ([3], 2), ([0], 0)])
def test_spans_past_the_ends_are_refused(starts, width):
    with pytest.raises(ValueError, match=r"leave \[0, 4\)"):
        sum_spans(np.zeros(4), np.array(starts), width)


# The score


def test_scores_are_whole_numbers_a_browser_takes():
    q = np.array([1.0, 0.05, 0.1, 1e-4, 1e-9, 0.999])
    expected = [0, 325, 250, 1000, 1000, 0]
    assert score_of_q(q).tolist() == expected == [min(1000, round(-250 * math.log10(one))) for one in q]
    assert score_of_q(q).dtype == np.int64


@pytest.mark.parametrize("bad", [0.0, np.nan, 1.5])
def test_there_is_no_q_value_of_0(bad):
    with pytest.raises(ValueError, match="outside"):
        score_of_q(np.array([0.5, bad]))
