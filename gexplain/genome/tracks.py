"""What the writers of bigWig and bedGraph share: values in order, and a file that is whole or absent."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gexplain.errors import RunError


class WriteOrder:
    """Checks that stretches of values come sorted, do not overlap and lie on their chromosomes."""

    def __init__(self, chroms: Mapping[str, int]) -> None:
        self._lengths = dict(chroms)
        self._ranks = {chrom: rank for rank, chrom in enumerate(chroms)}
        self._last = (-1, 0)

    def check(self, chrom: str, start: int, values: NDArray[np.float32]) -> None:
        """Raise ValueError unless `values`, (n,), of [start, start + n) may follow what came before.

        NaN is a gap; infinities are refused.
        """
        if values.ndim != 1 or values.dtype != np.float32:
            raise ValueError(f"expected (n,) float32, found {values.shape} {values.dtype}")
        if chrom not in self._ranks:
            raise ValueError(f"no chromosome {chrom!r} in the header")
        end = start + len(values)
        if not 0 <= start <= end <= self._lengths[chrom]:
            raise ValueError(f"[{start}, {end}) is not inside {chrom}, of {self._lengths[chrom]} nucleotides")
        if (self._ranks[chrom], start) < self._last:
            raise ValueError(f"{chrom}:{start} comes after what was written: not sorted, or overlapping")
        if np.isinf(values).any():
            raise ValueError(f"an infinite value in {chrom}:[{start}, {end})")
        self._last = self._ranks[chrom], end


def partial_path(path: Path) -> Path:
    """A name beside `path` to write to until the file is whole: no reader sees half a track."""
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def write_error(path: Path, error: Exception) -> RunError:
    """The RunError for a file that could not be written."""
    reason = getattr(error, "strerror", None) or str(error)
    return RunError(
        f"cannot write {path}: {reason[:1].lower()}{reason[1:]}",
        hint="check that the folder exists, that you can write in it and that the disk has room",
    )
