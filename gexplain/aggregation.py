"""Aggregation: how windows become one track again.

Where windows overlap, a base's value is their weighted mean. The weight is a taper, highest at a window's centre:
a base near the edge of a window was read with half of its context missing. At the default stride of half a
window the tapers of two neighbours sum to a constant.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gexplain.arrays import FloatArray, IntArray
from gexplain.genome.intervals import Interval

# Bases per block: what is held in memory at a time, whatever the genome's size.
BLOCK = 65_536


def taper(width: int) -> FloatArray:
    """(width,) weights in (0, 1]: a triangle, symmetric, and nowhere 0, so that no base read is lost."""
    position = np.arange(width)
    return (np.minimum(position, position[::-1]) + 0.5) / (width / 2)


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """Values along an interval: values (K, n) float32, NaN where nothing was scored; depth (n,) windows a base."""

    interval: Interval
    values: npt.NDArray[np.float32]
    depth: IntArray


class Aggregator:
    """A running weighted mean over one interval, of K values a base; the order of windows does not matter."""

    def __init__(self, interval: Interval, n_values: int) -> None:
        self.interval = interval
        self._sum = np.zeros((n_values, interval.width))
        self._weight = np.zeros(interval.width)
        self._depth = np.zeros(interval.width, dtype=np.int32)

    def add(self, start: int, values: FloatArray) -> None:
        """Lay a window's values (K, L) at `start`; what reaches beyond the interval is left out."""
        width = values.shape[1]
        low, high = max(start, self.interval.start), min(start + width, self.interval.end)
        if low >= high:
            return
        there = slice(low - self.interval.start, high - self.interval.start)
        here = slice(low - start, high - start)
        weight = taper(width)[here]
        self._sum[:, there] += values[:, here] * weight
        self._weight[there] += weight
        self._depth[there] += 1

    def track(self) -> Track:
        """The means so far."""
        with np.errstate(invalid="ignore"):  # 0/0 where nothing was scored is the NaN that a gap is
            values = (self._sum / self._weight).astype(np.float32)
        return Track(self.interval, values, self._depth)


def blend(chrom: str, windows: Iterable[tuple[int, FloatArray]], n_values: int) -> Iterator[Track]:
    """Tracks that cover all windows of one chromosome, in order and block by block.

    windows: (start, values (K, L)), sorted by start. A track ends at a gap between windows or after BLOCK
    bases, so memory is bounded; no base is in two tracks.
    """
    held: list[tuple[int, FloatArray]] = []
    block_start = reach = 0
    for start, values in windows:
        if held and (start >= reach or start - block_start >= BLOCK):
            block_end = min(start, reach)
            yield _block(Interval(chrom, block_start, block_end), held, n_values)
            held = [one for one in held if one[0] + one[1].shape[1] > block_end]
            block_start = block_end
        if not held:
            block_start = start
        held.append((start, values))
        reach = max(reach, start + values.shape[1])
    if held:
        yield _block(Interval(chrom, block_start, reach), held, n_values)


def _block(interval: Interval, windows: Iterable[tuple[int, FloatArray]], n_values: int) -> Track:
    aggregator = Aggregator(interval, n_values)
    for start, values in windows:
        aggregator.add(start, values)
    return aggregator.track()
