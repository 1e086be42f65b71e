"""Calibration: how often would the null be as extreme, and how many of the calls made would then be false?

A p-value here is empirical: the share of null statistics that are at least as extreme as the one observed, the
observed one counted among them, so that it is never 0 (Phipson and Smyth 2010,
https://doi.org/10.2202/1544-6115.1585). The least p that a null of n statistics can give is 1 / (1 + n): k calls
among m tests reach a q-value of 0.05 only where n is at least 20 m / k.

A q-value is the lowest false discovery rate at which the step-up procedure of Benjamini and Hochberg (1995,
https://doi.org/10.1111/j.2517-6161.1995.tb02031.x) still makes the call. That all p-values share one null does not
hurt it (Bates et al. 2023, https://doi.org/10.1214/22-AOS2244).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gexplain.arrays import FloatArray, IntArray

MAX_PLACES = 500_000
"""Places that a SpanNull keeps for one width: 4 MB, and p-values down to 2e-6."""

# p-values that StreamingBH gathers before it counts them: sorting a few at a time would cost more.
_PENDING = 1 << 16


class EmpiricalNull:
    """The null distribution that statistics (n,) make; a larger one is more extreme.

    `n` may be 0: nothing is known, and every p-value is 1. Raises ValueError for NaN and infinities.
    """

    def __init__(self, statistics: FloatArray) -> None:
        if statistics.ndim != 1 or not np.isfinite(statistics).all():
            raise ValueError(f"null statistics {statistics.shape}; expected (n,), finite")
        self._sorted = np.sort(statistics.astype(np.float64))

    @property
    def n(self) -> int:
        """How many null statistics there are."""
        return len(self._sorted)

    def levels(self, values: FloatArray) -> IntArray:
        """(m,) int64: how many null statistics are at least as large as each value, 0 to n; ties count."""
        if np.isnan(values).any():
            raise ValueError("NaN has no place in a null distribution")
        return (self.n - np.searchsorted(self._sorted, values.astype(np.float64), side="left")).astype(np.int64)

    def p_values(self, values: FloatArray) -> FloatArray:
        """(m,): (1 + level) / (1 + n), in (0, 1].

        Uniform over its n + 1 values where the value and the null are exchangeable; larger in the mean with ties.
        """
        return (1 + self.levels(values)) / (1 + self.n)


class SpanNull:
    """The null of the relevance inside a span: the sums at all places of its width in the null's stretches.

    stretches: (n,) each, without NaN or infinities; no place crosses a border. Of more than MAX_PLACES places every
    second, third ... is kept. Sums are those of `sum_spans`: take the observed ones from there too, or rounding
    parts what is equal.
    """

    def __init__(self, stretches: Sequence[FloatArray]) -> None:
        self._values = np.concatenate([np.empty(0, np.float32), *stretches])
        if not np.isfinite(self._values).all():
            raise ValueError("NaN or an infinity in a stretch of the null")
        self._widths = np.array([len(stretch) for stretch in stretches], dtype=np.int64)
        self._nulls: dict[int, EmpiricalNull] = {}

    def null(self, width: int) -> EmpiricalNull:
        """The distribution for spans of `width` bases; without a statistic where no stretch is that wide."""
        if width not in self._nulls:
            self._nulls[width] = EmpiricalNull(sum_spans(self._values, self._places(width), width))
        return self._nulls[width]

    def p_values(self, sums: FloatArray, width: int) -> FloatArray:
        """(m,): the p-value of each sum of relevance over `width` bases; high sums are extreme."""
        return self.null(width).p_values(sums)

    def _places(self, width: int) -> IntArray:
        """Where spans of `width` bases start, in the stretches laid end to end."""
        n_places = np.maximum(self._widths - width + 1, 0)  # of each stretch
        before = np.cumsum(n_places) - n_places
        n_all = int(n_places.sum())
        kept = np.arange(0, n_all, max(1, -(-n_all // MAX_PLACES)))
        stretch = np.searchsorted(before + n_places, kept, side="right")
        offsets = np.cumsum(self._widths) - self._widths
        starts: IntArray = (offsets - before)[stretch] + kept
        return starts


class StreamingBH:
    """Benjamini-Hochberg q-values of p-values that come in chunks and are not kept.

    First `add` them all, then ask for `q_values` of any of them: the same as `benjamini_hochberg` gives on all at
    once. Memory is that of the distinct p-values, of which an EmpiricalNull has at most n + 1.
    """

    def __init__(self) -> None:
        self.n_tests = 0
        self._p = np.empty(0)
        self._counts = np.empty(0, dtype=np.int64)
        self._pending: list[FloatArray] = []
        self._n_pending = 0
        self._q: FloatArray | None = None

    def add(self, p: FloatArray) -> None:
        """Count a chunk of p-values (m,)."""
        _check_p_values(p)
        self._q = None
        self.n_tests += len(p)
        self._pending.append(p.astype(np.float64))
        self._n_pending += len(p)
        if self._n_pending >= max(_PENDING, len(self._p)):
            self._count()

    def q_values(self, p: FloatArray) -> FloatArray:
        """(m,): the q-value of each p-value among all that were added. ValueError for one that was not."""
        of_all = self._of_all()
        where = np.searchsorted(self._p, p)
        if (where == len(self._p)).any() or (self._p[where] != p).any():
            raise ValueError("a q-value is asked for a p-value that was not added")
        return of_all[where]

    def least_q(self) -> float:
        """The least q-value of all; 1 where nothing was added."""
        return float(self._of_all().min(initial=1.0))

    def _of_all(self) -> FloatArray:
        """The q-values of the distinct p-values."""
        if self._q is None:
            self._count()
            self._q = step_up(self._p, self._counts, self.n_tests)
        return self._q

    def _count(self) -> None:
        p = np.concatenate([self._p, *self._pending])
        counts = np.ones(len(p), dtype=np.int64)
        counts[: len(self._p)] = self._counts
        self._p, index = np.unique(p, return_inverse=True)
        self._counts = np.zeros(len(self._p), dtype=np.int64)
        np.add.at(self._counts, index, counts)
        self._pending, self._n_pending = [], 0


def benjamini_hochberg(p: FloatArray) -> FloatArray:
    """(m,): the q-values of p-values (m,), which rise with p, at most 1; equal p-values have equal q-values.

    Raises ValueError for p-values outside [0, 1] and NaN.
    """
    _check_p_values(p)
    distinct, index, counts = np.unique(p, return_inverse=True, return_counts=True)
    return step_up(distinct, counts, len(p))[index]


def sum_spans(values: FloatArray, starts: IntArray, width: int) -> FloatArray:
    """(m,) float64: the sum of the `width` values from each start on.

    Added from left to right, not by differences of a running sum: equal values have equal sums wherever they lie.
    """
    if width < 1 or (len(starts) and not 0 <= starts.min() <= starts.max() <= len(values) - width):
        raise ValueError(f"spans of {width} bases that leave [0, {len(values)})")
    sums = np.zeros(len(starts))
    for offset in range(width):
        sums += values[starts + offset]
    return sums


def score_of_q(q: FloatArray) -> IntArray:
    """(m,): the BED score of each q-value, -250 log10 q to the nearest whole number, 0 to 1000.

    q = 0.05 has 325, and 1e-4 or less has 1000. Raises ValueError for q-values outside (0, 1].
    """
    if not ((q > 0) & (q <= 1)).all():
        raise ValueError("q-values outside (0, 1]")
    scores: IntArray = np.rint(-250 * np.log10(q)).clip(0, 1000).astype(np.int64)
    return scores


def step_up(p: FloatArray, counts: IntArray, n_tests: int) -> FloatArray:
    """(k,): the Benjamini-Hochberg q-value of each p (k,), distinct and rising, that counts (k,) of n_tests have.

    The tests that are not counted have larger p-values. A p that no test has is given what one there would inherit
    from the next above it.
    """
    n_below = np.cumsum(counts)
    at = np.divide(p * n_tests, n_below, out=np.full(len(p), np.inf), where=counts > 0)
    # The lowest rate of this p and all above it: who is called here is called there too.
    q: FloatArray = np.minimum(np.minimum.accumulate(at[::-1])[::-1], 1.0)
    return q


def _check_p_values(p: FloatArray) -> None:
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p-values {p.shape}; expected (m,), each in [0, 1]")
