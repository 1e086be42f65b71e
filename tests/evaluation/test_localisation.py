"""Localisation: what the measures say is what a slow count from their definitions says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gexplain.evaluation.localisation import (
    NULL_QUANTILE,
    SMOOTHING,
    away_from,
    call_peaks,
    mass_inside,
    relevance_around,
    smooth,
    top_base_near,
)
from gexplain.genome.bigwig import BigWigWriter
from gexplain.genome.intervals import Interval

NAN = float("nan")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def with_gaps(rng, shape, share=0.1):
    """Random relevance of both signs, with NaN here and there."""
    values = rng.normal(size=shape)
    values[rng.random(shape) < share] = NAN
    return values


# ---- one site a sequence ----


def slow_top_base_near(row, start, end, slack):
    best = None
    for position, value in enumerate(row):
        if not math.isnan(value) and (best is None or value > row[best]):
            best = position
    if best is None:
        return False
    distance = max(0, start - best, best - (end - 1))
    return distance <= slack


def slow_mass_inside(row, start, end):
    inside = sum(value for i, value in enumerate(row) if value > 0 and start <= i < end)
    whole = sum(value for value in row if value > 0)
    return inside / whole if whole else NAN


@pytest.mark.parametrize("slack", [0, 3, 10])
def test_the_top_base_is_near_where_a_slow_look_finds_it(rng, slack):
    relevance = with_gaps(rng, (300, 40))
    starts = rng.integers(0, 36, 300)
    ends = starts + rng.integers(1, 5, 300)
    near = top_base_near(relevance, starts, ends, slack=slack)
    expected = [
        slow_top_base_near(row, start, end, slack) for row, start, end in zip(relevance, starts, ends, strict=True)
    ]
    assert near.tolist() == expected
    assert 0 < near.sum() < 300


def test_slack_counts_bases_between_the_site_and_the_top():
    relevance = np.eye(7)[[3] * 4]
    starts, ends = np.array([0, 1, 4, 5]), np.array([2, 3, 6, 7])  # 2, 1, 1 and 2 bases from base 3
    assert top_base_near(relevance, starts, ends, slack=0).tolist() == [False] * 4
    assert top_base_near(relevance, starts, ends, slack=1).tolist() == [False, True, True, False]
    assert top_base_near(relevance, starts, ends, slack=2).tolist() == [True] * 4


def test_of_equal_bases_the_first_is_the_top():
    relevance = np.array([[0.0, 1, 1, 0]])
    assert top_base_near(relevance, np.array([1]), np.array([2])).tolist() == [True]
    assert top_base_near(relevance, np.array([2]), np.array([3])).tolist() == [False]


def test_a_row_without_relevance_has_no_top_and_no_mass():
    relevance = np.full((1, 5), NAN)
    assert top_base_near(relevance, np.array([0]), np.array([5])).tolist() == [False]
    assert np.isnan(mass_inside(relevance, np.array([0]), np.array([5])))


def test_the_top_may_be_negative_and_a_gap_is_never_the_top():
    relevance = np.array([[-5.0, -1.0, NAN]])
    assert top_base_near(relevance, np.array([1]), np.array([2])).tolist() == [True]


def test_mass_inside_is_what_a_slow_sum_gives(rng):
    relevance = with_gaps(rng, (100, 40))
    starts = rng.integers(0, 30, 100)
    ends = starts + rng.integers(1, 11, 100)
    expected = [slow_mass_inside(row, start, end) for row, start, end in zip(relevance, starts, ends, strict=True)]
    np.testing.assert_allclose(mass_inside(relevance, starts, ends), expected, rtol=1e-12)


def test_the_masses_of_sites_that_tile_a_row_add_up_to_one(rng):
    relevance = np.tile(with_gaps(rng, (1, 40)), (4, 1))
    borders = np.array([0, 7, 8, 30, 40])
    assert mass_inside(relevance, borders[:-1], borders[1:]).sum() == pytest.approx(1)


def test_no_positive_relevance_is_no_share():
    assert np.isnan(mass_inside(-np.ones((1, 5)), np.array([0]), np.array([5]))).all()


@pytest.mark.parametrize(
    ("shape", "starts", "ends"), [((2, 5), [0], [1]), ((5,), [0], [1]), ((1, 5), [3], [3]), ((1, 0), [0], [1])]
)
def test_sites_that_do_not_fit_the_rows_are_refused(shape, starts, ends):
    for measure in (top_base_near, mass_inside):
        with pytest.raises(ValueError, match="site"):
            measure(np.zeros(shape), np.array(starts), np.array(ends))


def test_relevance_around_sites_is_that_of_the_bigwig_with_nan_past_the_ends(rng, tmp_path):
    values = rng.normal(size=50).astype(np.float32)
    with BigWigWriter(tmp_path / "track.bw", {"a": 10, "b": 60}) as writer:
        writer.write("b", 5, values)
    sites = [Interval("b", 20, 23), Interval("b", 2, 6), Interval("b", 57, 60), Interval("a", 0, 10)]
    relevance, starts, ends = relevance_around(tmp_path / "track.bw", sites, 21)
    whole = dict(zip(range(5, 55), values.tolist(), strict=True))
    for row, start, end, site in zip(relevance, starts.tolist(), ends.tolist(), sites, strict=True):
        first = site.start - start
        assert end - start == site.width
        assert abs((start + end) / 2 - 10.5) <= 1  # the site is in the middle
        expected = [whole.get(first + i, NAN) if site.chrom == "b" else NAN for i in range(21)]
        np.testing.assert_array_equal(row, np.array(expected, dtype=np.float32))
    with pytest.raises(ValueError, match="has no c"):
        relevance_around(tmp_path / "track.bw", [Interval("c", 5, 6)], 3)


# ---- peaks ----


def slow_smooth(values, width):
    half = width // 2
    return [
        sum(values[i - half : i + half + 1]) / width if half <= i < len(values) - half else NAN
        for i in range(len(values))
    ]


def slow_peak(relevance, site, background):
    """(height, threshold): every place of the site's width, one by one."""
    smoothed = {chrom: slow_smooth(values.tolist(), SMOOTHING) for chrom, values in relevance.items()}
    known = [value for value in smoothed[site.chrom][site.start : site.end] if not math.isnan(value)]
    null = []
    for chrom, values in smoothed.items():
        for start in range(len(values) - site.width + 1):
            place = range(start, start + site.width)
            if all(background[chrom][i] and not math.isnan(values[i]) for i in place):
                null.append(max(values[i] for i in place))
    null.sort()
    # The lowest value with at most 1 - NULL_QUANTILE of the ranks above it.
    threshold = null[math.ceil(NULL_QUANTILE * (len(null) - 1))]
    return (max(known) if known else NAN), max(0.0, threshold)


@pytest.mark.parametrize("width", [1, 3, 7])
def test_smoothing_is_a_running_mean_without_values_at_the_ends(rng, width):
    values = with_gaps(rng, 50, share=0.05)
    np.testing.assert_allclose(smooth(values, width), slow_smooth(values.tolist(), width), rtol=1e-12)
    assert np.isnan(smooth(values[: width - 1], width)).all()


def test_a_running_mean_has_a_middle():
    with pytest.raises(ValueError, match="no middle"):
        smooth(np.zeros(9), 4)


@pytest.mark.parametrize("shift", [0, -10])
def test_peaks_are_those_of_a_slow_count_over_all_places(rng, shift):
    relevance = {"a": with_gaps(rng, 1500, share=0.01) + shift, "b": with_gaps(rng, 700, share=0.01) + shift}
    sites = [Interval("a", 100, 108), Interval("b", 300, 315), Interval("b", 0, 3), Interval("a", 900, 908)]
    relevance["a"][100:108] += 20
    background = away_from(sites, {"a": 1500, "b": 700}, 20)
    peaks = call_peaks(relevance, sites, background)
    expected = [slow_peak(relevance, site, background) for site in sites]
    np.testing.assert_allclose(peaks.heights, [height for height, _ in expected], rtol=1e-12)
    np.testing.assert_allclose(peaks.thresholds, [threshold for _, threshold in expected], rtol=1e-12)
    assert peaks.is_peak.tolist() == [height > threshold for height, threshold in expected]
    assert peaks.is_peak[0]
    assert np.isnan(peaks.heights[2])  # the running mean does not reach the first bases


def test_at_most_one_place_in_a_thousand_of_the_background_is_above_the_threshold(rng):
    values = rng.normal(size=20_000)
    site = Interval("a", 0, 10)
    background = away_from([site], {"a": 20_000}, 101)
    threshold = call_peaks({"a": values}, [site], background).thresholds[0]
    places = [Interval("a", start, start + 10) for start in range(110, 19_980)]
    heights = call_peaks({"a": values}, places, background).heights
    # Places that share their highest base are above it together, or not at all: ten at most.
    assert 1 - NULL_QUANTILE - 10 / len(places) < (heights > threshold).mean() <= 1 - NULL_QUANTILE


def test_scaling_relevance_changes_no_peak(rng):
    relevance = {"a": rng.normal(size=3000)}
    sites = [Interval("a", start, start + 9) for start in range(0, 1000, 20)]
    relevance["a"][:500] += 1
    background = away_from(sites, {"a": 3000}, 5)
    peaks = call_peaks(relevance, sites, background).is_peak
    scaled = call_peaks({"a": 8 * relevance["a"]}, sites, background).is_peak
    assert peaks.tolist() == scaled.tolist()
    assert 0 < peaks.sum() < len(sites)


def test_relevance_read_backwards_has_the_same_peaks(rng):
    relevance = with_gaps(rng, 3000, share=0.01)
    sites = [Interval("a", start, start + 9) for start in range(0, 1000, 20)]
    relevance[:500] += 1
    background = away_from(sites, {"a": 3000}, 5)
    mirrored = [Interval("a", 3000 - site.end, 3000 - site.start) for site in sites]
    forward = call_peaks({"a": relevance}, sites, background)
    backward = call_peaks({"a": relevance[::-1]}, mirrored, {"a": background["a"][::-1]})
    np.testing.assert_allclose(forward.heights, backward.heights)
    assert forward.is_peak.tolist() == backward.is_peak.tolist()


def test_too_little_background_is_refused(rng):
    site = Interval("a", 0, 5)
    with pytest.raises(ValueError, match="90 places of background: too few"):
        call_peaks({"a": rng.normal(size=100)}, [site], {"a": np.arange(100) >= 3})


def test_away_is_a_distance_from_every_base_of_a_site():
    sites = [Interval("a", 10, 12), Interval("b", 0, 1)]
    away = away_from(sites, {"a": 30, "b": 6}, 4)
    for chrom, length in (("a", 30), ("b", 6)):
        for base in range(length):
            distances = [
                abs(base - at) for site in sites if site.chrom == chrom for at in range(site.start, site.end)
            ]
            assert away[chrom][base] == (min(distances) >= 4)
