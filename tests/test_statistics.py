"""Track statistics: exact counts and sums, quantiles to 0.2 %, in any blocks."""

from __future__ import annotations

import numpy as np
import pytest

from gexplain.statistics import QUANTILES, TrackStatistics


def gather(values: np.ndarray, n_blocks: int = 7) -> TrackStatistics:
    statistics = TrackStatistics()
    for block in np.array_split(values, n_blocks):
        statistics.add(block)
    return statistics


def exact_quantiles(values: np.ndarray) -> np.ndarray:
    ordered = np.sort(values)
    return ordered[[max(1, int(np.ceil(q * len(values)))) - 1 for q in QUANTILES]]


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_quantiles_are_within_their_promise(scale):
    values = (np.random.default_rng(0).standard_cauchy(50_000) * scale).astype(np.float32)
    np.testing.assert_allclose(gather(values).quantiles(), exact_quantiles(values), rtol=2e-3)


def test_zero_is_zero():
    assert gather(np.zeros(100, dtype=np.float32)).quantiles().tolist() == [0] * len(QUANTILES)


def test_count_sum_and_extremes_are_exact():
    values = np.array([3.5, -1.25, 0.0, np.nan, 2.0], dtype=np.float32)
    statistics = gather(values, 2)
    assert (statistics.n_bases, statistics.sum, statistics.min, statistics.max) == (4, 4.25, -1.25, 3.5)


def test_nothing_added_has_no_statistics():
    statistics = gather(np.full(4, np.nan, dtype=np.float32))
    assert statistics.n_bases == 0
    assert np.isnan([statistics.min, statistics.max, *statistics.quantiles()]).all()
