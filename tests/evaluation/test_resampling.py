"""Resampling: intervals, tests and q-values against exact counts."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from gexplain.errors import InputError
from gexplain.evaluation.resampling import (
    MIN_SEQUENCES,
    N_RESAMPLES,
    Mean,
    bootstrap_mean,
    check_n_sequences,
    compare,
    q_values,
)
from gexplain.motifs.calibration import benjamini_hochberg

NAN = float("nan")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


# ---- the interval of a mean ----


def test_the_interval_holds_the_middle_of_all_samples_that_can_be_drawn():
    values = np.array([0.3, 1.7, -2.2, 8.1, 0.9])
    means = [sum(sample) / 5 for sample in itertools.product(values.tolist(), repeat=5)]
    found = bootstrap_mean(values, what="delta")
    slack = 4 * math.sqrt(0.025 * 0.975 / N_RESAMPLES)
    for border, sign in ((found.low, 1), (found.high, -1)):
        beyond = sum(sign * mean < sign * border - 1e-9 for mean in means) / len(means)
        beyond_or_at = sum(sign * mean < sign * border + 1e-9 for mean in means) / len(means)
        assert beyond < 0.025 + slack
        assert beyond_or_at > 0.025 - slack
    assert found.mean == pytest.approx(sum(values.tolist()) / 5)
    assert found.n == 5


def test_the_interval_covers_the_true_mean_as_often_as_it_says(rng):
    n_covered = 0
    for seed in range(400):
        found = bootstrap_mean(rng.normal(3, 2, size=60), what="delta", seed=seed)
        n_covered += found.low < 3 < found.high
    assert abs(n_covered / 400 - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 400)


def test_many_sequences_have_the_interval_of_a_normal_mean(rng):
    values = rng.normal(size=3000)  # more than one block of draws
    found = bootstrap_mean(values, what="delta")
    error = values.std() / math.sqrt(3000)
    assert found.high - found.mean == pytest.approx(1.96 * error, rel=0.1)
    assert found.mean - found.low == pytest.approx(1.96 * error, rel=0.1)


def test_shift_and_scale_carry_over(rng):
    values = rng.normal(size=20)
    found, moved = bootstrap_mean(values, what="x"), bootstrap_mean(5 - 2 * values, what="x")
    np.testing.assert_allclose(
        [moved.mean, moved.high, moved.low], 5 - 2 * np.array([found.mean, found.low, found.high])
    )


def test_the_seed_decides(rng):
    values = rng.normal(size=20)
    assert bootstrap_mean(values, what="x", seed=1) == bootstrap_mean(values, what="x", seed=1)
    assert bootstrap_mean(values, what="x", seed=1) != bootstrap_mean(values, what="x", seed=2)


def test_nan_is_no_value(rng):
    values = rng.normal(size=20)
    assert bootstrap_mean(np.insert(values, [0, 7, 20], NAN), what="x") == bootstrap_mean(values, what="x")


def test_equal_values_have_no_width():
    assert bootstrap_mean(np.full(7, 2.5), what="x") == Mean(7, 2.5, 2.5, 2.5)


@pytest.mark.parametrize(("n", "found"), [(0, "0 sequences"), (1, "1 sequence"), (4, "4 sequences")])
def test_too_few_sequences_are_refused(n, found):
    values = np.array([1.0] * n + [NAN] * 10)
    for make in (
        lambda: bootstrap_mean(values, what="auroc of attnlrp"),
        lambda: compare(values, np.zeros(len(values)), what="auroc of attnlrp"),
        lambda: check_n_sequences(n, "auroc of attnlrp"),
    ):
        with pytest.raises(InputError, match=f"auroc of attnlrp: {found}; .* needs at least 5") as error:
            make()
        assert error.value.hint == "give more sequences"
    check_n_sequences(MIN_SEQUENCES, "x")


def test_an_infinity_is_refused():
    with pytest.raises(ValueError, match="infinity"):
        bootstrap_mean(np.array([1, 2, 3, 4, 5, np.inf]), what="x")


# ---- two methods on the same sequences ----


def slow_signed_rank_p(differences):
    """The share of all ways to sign the ranks that are at least as far from their mean, by counting rank sums."""
    differences = [one for one in differences if one != 0]
    sizes = [abs(one) for one in differences]
    # Twice the rank: halves, where equals share one, become whole.
    ranks = [2 * sum(other < size for other in sizes) + sum(other == size for other in sizes) + 1 for size in sizes]
    ways = {0: 1}
    for rank in ranks:
        more: dict[int, int] = {}
        for total, n in ways.items():
            for new in (total, total + rank):
                more[new] = more.get(new, 0) + n
        ways = more
    observed = sum(rank for rank, one in zip(ranks, differences, strict=True) if one > 0)
    far = abs(2 * observed - sum(ranks))
    return sum(n for total, n in ways.items() if abs(2 * total - sum(ranks)) >= far) / 2 ** len(ranks)


@pytest.mark.parametrize(
    "differences",
    [
        [1, 2, 3, 4, 5],
        [1, -2, 3, 4, 5, 6, -7],
        [1, 1, -1, 2, 2, -3, 4],  # ties
        [0, 0, 1, -2, 3, 4, 5, 6],  # no difference at all
        [0, 0, 0, 0, 3],
        [2, -2, 2, -2, 2, -2],
    ],
)
def test_p_is_that_of_a_count_over_all_signs(differences):
    reference = np.arange(len(differences)) * 0.7
    found = compare(reference + np.array(differences), reference, what="x")
    assert found.p == pytest.approx(slow_signed_rank_p(differences))
    assert found.difference == pytest.approx(sum(differences) / len(differences))
    assert found.n == len(differences)


@pytest.mark.parametrize(("n", "rel"), [(30, 1e-9), (200, 0.02)], ids=["exact", "approximate"])
def test_p_of_more_sequences(rng, n, rel):
    reference = rng.normal(size=n)
    values = reference + rng.normal(0.2, 1, size=n)
    expected = slow_signed_rank_p((values - reference).tolist())
    assert 0.001 < expected < 0.5
    assert compare(values, reference, what="x").p == pytest.approx(expected, rel=rel)


def test_five_of_one_sign_have_the_least_p():
    assert compare(np.arange(5) + 1.0, np.zeros(5), what="x").p == pytest.approx(1 / 16)


def test_no_difference_has_p_1(rng):
    values = rng.normal(size=9)
    for reference in (values, values * (1 + 1e-15)):
        found = compare(values, reference, what="x")
        assert found.p == 1
        assert found.difference == pytest.approx(0, abs=1e-14)
    assert compare(np.zeros(6), np.zeros(6), what="x").p == 1


def test_rounding_hides_no_tie():
    values, reference = np.array([0.3, 0.5, 0.9, 0.1, 1.3]), np.array([0.1, 0.3, 1.1, 0.3, 1.0])
    assert len(set(np.abs(values - reference).tolist())) > 2  # .2 four times, but for rounding
    assert compare(values, reference, what="x").p == pytest.approx(slow_signed_rank_p([2, 2, -2, -2, 3]))


def test_the_interval_is_that_of_the_differences(rng):
    values, reference = rng.normal(size=15), rng.normal(size=15)
    found, alone = compare(values, reference, what="x", seed=3), bootstrap_mean(values - reference, what="x", seed=3)
    assert (found.n, found.difference, found.low, found.high) == (alone.n, alone.mean, alone.low, alone.high)


def test_a_comparison_turned_round_has_the_other_sign(rng):
    values, reference = rng.normal(size=15), rng.normal(size=15)
    one, other = compare(values, reference, what="x"), compare(reference, values, what="x")
    assert one.p == pytest.approx(other.p)
    np.testing.assert_allclose([one.difference, one.low, one.high], [-other.difference, -other.high, -other.low])


def test_sequences_without_one_of_the_two_values_are_left_out(rng):
    values, reference = rng.normal(size=15), rng.normal(size=15)
    gaps, other_gaps = values.copy(), reference.copy()
    gaps[[2, 5]] = other_gaps[[5, 11]] = NAN
    kept = np.setdiff1d(np.arange(15), [2, 5, 11])
    assert compare(gaps, other_gaps, what="x") == compare(values[kept], reference[kept], what="x")


def test_values_of_other_sequences_are_refused():
    with pytest.raises(ValueError, match="not of the same sequences"):
        compare(np.zeros(6), np.zeros(7), what="x")


# ---- q-values ----


def slow_q_values(p):
    """The lowest rate at which the step-up procedure calls each: all rates that matter, one by one."""
    m = len(p)
    rates = sorted({min(1.0, one * m / k) for one in p for k in range(1, m + 1)} | {1.0})
    q = [NAN] * m
    for rate in reversed(rates):
        n_called = max((k for k in range(1, m + 1) if sorted(p)[k - 1] <= rate * k / m * (1 + 1e-12)), default=0)
        for index in sorted(range(m), key=lambda i: p[i])[:n_called]:
            q[index] = rate
    return q


def test_q_is_what_the_procedure_gives_rate_by_rate(rng):
    for p in (rng.random(12), rng.random(12) ** 3, np.array([0.01, 0.01, 0.02, 1, 1])):
        np.testing.assert_allclose(q_values(p), slow_q_values(p.tolist()), rtol=1e-9)


def test_q_is_that_of_motif_calls(rng):
    p = rng.random(200) ** 2
    np.testing.assert_allclose(q_values(p), benjamini_hochberg(p), rtol=1e-12)


def test_no_test_is_no_q_and_counts_for_none(rng):
    p = rng.random(10)
    q = q_values(np.insert(p, [0, 4], NAN))
    assert np.flatnonzero(np.isnan(q)).tolist() == [0, 5]
    np.testing.assert_array_equal(q[~np.isnan(q)], q_values(p))
    assert np.isnan(q_values(np.full(3, NAN))).all()
    assert q_values(np.empty(0)).shape == (0,)


@pytest.mark.parametrize("bad", [-0.1, 1.1])
def test_what_is_no_p_value_is_refused(bad):
    with pytest.raises(ValueError, match="between 0 and 1"):
        q_values(np.array([0.5, bad]))
