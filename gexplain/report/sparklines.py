"""Sparklines: a region's track in a few dozen characters, and the tracks that they are drawn from.

A point is the most extreme value of its share of the region, as a character: 63 levels, up to the row's own
peak, and a gap.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gexplain.arrays import FloatArray
from gexplain.genome.bigwig import BigWig
from gexplain.genome.intervals import Interval
from gexplain.run_folder import Run

POINTS = 48
LEVELS = 31
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
"""The first is a gap; of the others the middle one is 0, and those before it are negative."""

PIECE = 1 << 20
"""Bases of a region that are read at once."""
_MOST_OPEN = 64


class RelevanceTracks:
    """The bigWigs of a run's relevance, open as they are needed: a context manager.

    stems: by target, and by strand where the regions of each have a track of their own; else by ".", whichever
    strands were read. A model may have more targets than a process may have open files.
    """

    def __init__(self, run: Run) -> None:
        self._paths = run.tracks
        by_strand = run.manifest["settings"]["strand"] == "region"
        self.stems: dict[tuple[str, str], str] = {
            (one["target"], one["strand"] if by_strand else "."): stem
            for stem, one in run.manifest["tracks"].items()
            if one["kind"] == "relevance"
        }
        self._open: OrderedDict[str, BigWig] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            self._open.popitem()[1].__exit__()

    def stem(self, target: str, region: Interval) -> str:
        """The track of a target that has the region's values: that of its strand, where strands have their own."""
        of_strand = self.stems.get((target, region.strand))
        return of_strand if of_strand is not None else self.stems[target, "."]

    def values(self, stem: str, chrom: str, start: int, end: int) -> NDArray[np.float32]:
        """The values of a track over [start, end), (end - start,), NaN where nothing was scored."""
        if stem in self._open:
            self._open.move_to_end(stem)
        else:
            if len(self._open) == _MOST_OPEN:
                self._open.popitem(last=False)[1].__exit__()
            self._open[stem] = BigWig(self._paths[stem])
        return self._open[stem].values(chrom, start, end)

    def extremes(self, stem: str, region: Interval) -> NDArray[np.float32]:
        """The most extreme value of each of POINTS equal shares of a region, in pieces that fit in memory."""
        borders = np.linspace(region.start, region.end, POINTS + 1).astype(np.int64).tolist()
        found = np.full(POINTS, np.nan, dtype=np.float32)
        for i, (low, high) in enumerate(pairwise(borders)):
            pieces = [
                extremes(self.values(stem, region.chrom, at, min(at + PIECE, high)), 1)
                for at in range(low, high, PIECE)
            ]
            found[i] = extremes(np.concatenate(pieces), 1)[0]
        return found


def extremes(values: FloatArray, points: int = POINTS) -> NDArray[np.float32]:
    """The value furthest from 0 in equal shares of values (n,), (min(n, points),); NaN for a share of gaps."""
    n = min(len(values), points)
    if n == 0:
        return np.zeros(0, dtype=np.float32)
    starts = np.arange(n) * len(values) // n
    gaps = np.isnan(values)
    known = np.where(gaps, 0, values)
    high, low = np.maximum.reduceat(known, starts), np.minimum.reduceat(known, starts)
    found = np.where(high >= -low, high, low).astype(np.float32)
    found[np.logical_and.reduceat(gaps, starts)] = np.nan
    return found


def encode(points: FloatArray) -> tuple[str, float]:
    """Points as characters, and the size of the largest, NaN where all are gaps: what ALPHABET's ends stand for."""
    known = np.abs(points[~np.isnan(points)])
    peak = float(known.max()) if len(known) else float("nan")
    scale = LEVELS / peak if known.any() else 0.0
    levels = np.where(np.isnan(points), -LEVELS - 1, np.rint(np.nan_to_num(points) * scale)).astype(np.int64)
    return _CODES[levels + LEVELS + 1].tobytes().decode("ascii"), peak


def decode(text: str, peak: float) -> NDArray[np.float64]:
    """What `encode` was given, to half a level; as report.js draws it."""
    levels = np.array([ALPHABET.index(letter) for letter in text], dtype=np.float64) - LEVELS - 1
    return np.where(levels < -LEVELS, np.nan, levels / LEVELS * peak)


_CODES = np.frombuffer(ALPHABET.encode("ascii"), dtype="S1")
