"""Overlaps: which intervals of one axis share a base with any of many others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gexplain.arrays import IntArray


def merge_intervals(intervals: IntArray) -> IntArray:
    """The intervals (n, 2), 0-based and half-open, sorted; those that overlap or touch as one."""
    if not len(intervals):
        return np.zeros((0, 2), dtype=np.int64)
    intervals = intervals[np.argsort(intervals[:, 0], kind="stable")]
    reach = np.maximum.accumulate(intervals[:, 1])
    is_first = np.concatenate([[True], intervals[1:, 0] > reach[:-1]])
    is_last = np.concatenate([is_first[1:], [True]])
    return np.stack([intervals[is_first, 0], reach[is_last]], axis=1)


def overlap_any(starts: IntArray, ends: IntArray, merged: IntArray) -> npt.NDArray[np.bool_]:
    """Whether each of n intervals, none empty, shares a base with one of `merge_intervals`' result, (n,)."""
    if not len(merged):
        return np.zeros(len(starts), dtype=bool)
    last = np.searchsorted(merged[:, 0], ends, side="left") - 1  # the last that begins before the end
    overlaps: npt.NDArray[np.bool_] = (last >= 0) & (merged[last, 1] > starts)
    return overlaps
