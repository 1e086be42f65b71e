"""Aggregation: a weighted mean that does not care in which order, or in which blocks, windows come."""

from __future__ import annotations

import numpy as np
import pytest

from gexplain import aggregation
from gexplain.aggregation import Aggregator, blend, taper
from gexplain.genome.intervals import Interval


def slow_mean(windows, width: int) -> np.ndarray:
    """Base by base: sum of weight * value over the windows that cover it, over the sum of weights."""
    out = np.full(width, np.nan)
    for base in range(width):
        total = weights = 0.0
        for start, values in windows:
            if start <= base < start + len(values):
                distance = min(base - start, start + len(values) - 1 - base)
                weight = (distance + 0.5) / (len(values) / 2)
                total += weight * values[base - start]
                weights += weight
        if weights:
            out[base] = total / weights
    return out


def random_windows(seed: int = 0, n_windows: int = 30, chrom_length: int = 600, width: int = 40):
    generator = np.random.default_rng(seed)
    at = np.unique(generator.integers(0, chrom_length - width, n_windows))
    return [(int(start), generator.normal(size=width)) for start in at]


def blended(windows) -> tuple[np.ndarray, np.ndarray]:
    values, depth = np.full(600, np.nan), np.zeros(600, dtype=int)
    for track in blend("chr1", [(start, one[None]) for start, one in windows], 1):
        here = slice(track.interval.start, track.interval.end)
        assert np.isnan(values[here]).all()  # no base is in two tracks
        values[here], depth[here] = track.values[0], track.depth
    return values, depth


@pytest.mark.parametrize("width", [1, 2, 5, 512])
def test_taper_is_symmetric_positive_and_highest_in_the_middle(width):
    weights = taper(width)
    np.testing.assert_array_equal(weights, weights[::-1])
    assert 0 < weights.min() <= weights.max() <= 1
    assert weights.argmax() == (width - 1) // 2


def test_neighbouring_tapers_at_half_a_window_sum_to_a_constant():
    weights = taper(64)
    np.testing.assert_allclose(weights[:32] + weights[32:], 1.0)


def test_blend_is_the_weighted_mean_of_the_windows():
    windows = random_windows()
    np.testing.assert_allclose(blended(windows)[0], slow_mean(windows, 600), rtol=1e-6, atol=1e-7)


def test_bases_without_a_window_are_gaps():
    values, depth = blended(random_windows(n_windows=5))
    assert np.isnan(values).any()
    np.testing.assert_array_equal(np.isnan(values), depth == 0)


def test_depth_counts_the_windows_over_each_base():
    windows = random_windows()
    expected = sum((np.arange(600) >= start) & (np.arange(600) < start + len(one)) for start, one in windows)
    np.testing.assert_array_equal(blended(windows)[1], expected)


def test_order_of_windows_does_not_matter():
    windows = random_windows()
    forward, backward = Aggregator(Interval("chr1", 0, 600), 1), Aggregator(Interval("chr1", 0, 600), 1)
    for start, values in windows:
        forward.add(start, values[None])
    for start, values in reversed(windows):
        backward.add(start, values[None])
    np.testing.assert_allclose(forward.track().values, backward.track().values, rtol=1e-6)


@pytest.mark.parametrize("block", [1, 7, 64])
def test_block_size_does_not_matter(block, monkeypatch):
    whole = blended(random_windows())
    monkeypatch.setattr(aggregation, "BLOCK", block)
    in_blocks = blended(random_windows())
    np.testing.assert_array_equal(in_blocks[0], whole[0])
    np.testing.assert_array_equal(in_blocks[1], whole[1])


def test_a_constant_stays_the_constant():
    windows = [(start, np.full(40, 0.25)) for start, _ in random_windows()]
    values = blended(windows)[0]
    np.testing.assert_array_equal(values[~np.isnan(values)], np.float32(0.25))


def test_what_reaches_beyond_the_interval_is_left_out():
    aggregator = Aggregator(Interval("chr1", 10, 20), 1)
    aggregator.add(5, np.arange(10.0)[None])
    aggregator.add(30, np.ones((1, 4)))
    np.testing.assert_array_equal(aggregator.track().values[0, :5], [5, 6, 7, 8, 9])
    assert aggregator.track().depth.tolist() == [1] * 5 + [0] * 5
