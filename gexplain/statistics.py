"""Statistics of a track, gathered block by block: what stats.tsv says, in memory that does not grow."""

from __future__ import annotations

import numpy as np

from gexplain.arrays import FloatArray, IntArray

QUANTILES = (0.001, 0.01, 0.5, 0.99, 0.999)

# Values are counted by the top bits of their float32 pattern: bins are 2**-9 of a value wide (0.2 %), over all
# magnitudes and both signs.
_BITS = 18


class TrackStatistics:
    """Bases, sum, extremes and quantiles of the values added; NaN is no value.

    Quantiles are those of the sorted values at rank ceil(q n), rounded towards 0 by at most 0.2 % of their size
    (small whole numbers, such as coverage, are exact).
    """

    def __init__(self) -> None:
        self.n_bases = 0
        self.sum = 0.0
        self.min = np.nan
        self.max = np.nan
        self._counts = np.zeros(1 << _BITS, dtype=np.int64)
        self._pending: list[FloatArray] = []
        self._n_pending = 0

    def add(self, values: FloatArray) -> None:
        """Count a block of values (n,)."""
        values = values[~np.isnan(values)]
        if not len(values):
            return
        self.n_bases += len(values)
        self.sum += float(values.sum(dtype=np.float64))
        self.min = float(np.fmin(self.min, values.min()))
        self.max = float(np.fmax(self.max, values.max()))
        self._pending.append(values.astype(np.float32))
        self._n_pending += len(values)
        if self._n_pending >= 1 << _BITS:  # counting costs as much as there are bins, however few the values
            self._count()

    def quantiles(self) -> FloatArray:
        """The values at QUANTILES; NaN where nothing was added."""
        if not self.n_bases:
            return np.full(len(QUANTILES), np.nan)
        self._count()
        ranks = np.ceil(np.array(QUANTILES) * self.n_bases).clip(1)
        values = _values(np.searchsorted(np.cumsum(self._counts), ranks))
        return np.clip(values, self.min, self.max)

    def _count(self) -> None:
        if self._pending:
            self._counts += np.bincount(_bins(np.concatenate(self._pending)), minlength=1 << _BITS)
        self._pending, self._n_pending = [], 0


def _bins(values: FloatArray) -> IntArray:
    """The values' bins, in the order of the values."""
    bits = values.view(np.uint32)
    ordered = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))  # negative floats sort backwards
    return (ordered >> np.uint32(32 - _BITS)).astype(np.int64)


def _values(bins: IntArray) -> FloatArray:
    """The value of each bin that is nearest to 0."""
    ordered = bins.astype(np.uint32) << np.uint32(32 - _BITS)
    bits = np.where(ordered >> 31, ordered & np.uint32((1 << 31) - 1), ~(ordered | np.uint32((1 << 32 - _BITS) - 1)))
    return bits.astype(np.uint32).view(np.float32).astype(np.float64)
