"""Territories: which region a place belongs to, so that every seqlet and hit can name one.

A base inside regions belongs to the one of them that starts last; any other base to the nearest. So the scored bases
are divided among the regions, and the shares of a region's relevance never add up to more than one.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gexplain.arrays import FloatArray, IntArray
from gexplain.genome.intervals import Interval, format_region


@dataclass(frozen=True, slots=True, eq=False)
class Territories:
    """Regions by number. borders, owners: of each chromosome, where a territory starts (the first at 0) and whose."""

    regions: Sequence[Interval]
    borders: Mapping[str, IntArray]
    owners: Mapping[str, IntArray]

    @classmethod
    def of(cls, regions: Sequence[Interval]) -> Territories:
        """The territories of these regions, in any order; an empty region is a ValueError."""
        by_chrom: dict[str, list[tuple[int, int, int]]] = {}
        for number, region in enumerate(regions):
            if region.width == 0:
                raise ValueError(f"{region} is empty")
            by_chrom.setdefault(region.chrom, []).append((region.start, region.end, number))
        borders, owners = {}, {}
        for chrom, on_chrom in by_chrom.items():
            divided = list(_divide(on_chrom))
            borders[chrom] = np.array([start for start, _ in divided], dtype=np.int64)
            owners[chrom] = np.array([number for _, number in divided], dtype=np.int64)
        return cls(regions, borders, owners)

    def owner(self, chrom: str, positions: IntArray) -> IntArray:
        """The number of the region that each position (n,) belongs to; -1 on a chromosome without regions."""
        if chrom not in self.borders:
            return np.full(len(positions), -1)
        return self.owners[chrom][np.searchsorted(self.borders[chrom], positions, side="right") - 1]

    def name(self, owner: int) -> str:
        """The name of a region by its number, its place if it has none; "." for -1."""
        if owner < 0:
            return "."
        region = self.regions[owner]
        return region.name if region.name != "." else format_region(region).replace(",", "")

    def add_positive(self, totals: FloatArray, chrom: str, start: int, values: FloatArray) -> None:
        """Add the positive of the values (n,) of [start, start + n) to the totals (n_regions + 1,) of their regions.

        The last total is that of chromosomes without regions.
        """
        positive = np.where(values > 0, values, 0).astype(np.float64)  # NaN is not positive
        if chrom not in self.borders or not len(values):
            totals[-1] += positive.sum()
            return
        borders = self.borders[chrom]
        first = int(np.searchsorted(borders, start, side="right")) - 1
        last = int(np.searchsorted(borders, start + len(values) - 1, side="right"))
        sums = np.add.reduceat(positive, np.maximum(borders[first:last] - start, 0))
        np.add.at(totals, self.owners[chrom][first:last], sums)


def _divide(regions: list[tuple[int, int, int]]) -> Iterator[tuple[int, int]]:
    """(start, number) of each territory, from the regions (start, end, number) of one chromosome."""
    regions.sort()
    ahead = iter(regions)
    coming = next(ahead, None)
    covering: list[tuple[int, int, int]] = []  # a heap: the one that starts last on top, those that ended below it
    last = -1  # the number of the territory before
    at_start = 0
    points = sorted({point for start, end, _ in regions for point in (start, end)})
    for point, following in pairwise(points):
        while coming is not None and coming[0] == point:
            heapq.heappush(covering, (-coming[0], -coming[2], coming[1]))
            coming = next(ahead, None)
        while covering and covering[0][2] <= point:
            heapq.heappop(covering)
        if not covering:  # a gap: up to its middle it is the last one's, then that of the next
            at_start = (point + following + 1) // 2
            continue
        number = -covering[0][1]
        if number != last:
            yield at_start, number
        last, at_start = number, following
