"""Localisation: does relevance lie on sites that are known?

Three questions. Is the base of highest relevance at the site (`top_base_near`)? How much of the positive relevance
lies inside it (`mass_inside`)? Does the site stand out from the genome (`call_peaks`)? The first two look at one
sequence at a time, and say nothing of sequences without a site; the third has a null, so that sites and decoys can
be counted by one rule.

NaN is a base without relevance: never the highest, part of no sum.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gexplain.arrays import FloatArray, IntArray
from gexplain.genome.bigwig import bigwig_chroms, read_bigwig
from gexplain.genome.intervals import Interval

BoolArray = npt.NDArray[np.bool_]

# N sequences or sites, L nucleotides

SMOOTHING = 7
"""Bases of the running mean: about a token, so that one lone base makes no peak."""
NULL_QUANTILE = 0.99
"""A peak is higher than all but 1 in 100 places of the background; rarer ones would rest on a handful of windows."""


@dataclass(frozen=True, slots=True, eq=False)
class Peaks:
    """Which sites have a relevance peak. heights: (N,), NaN where a site has no relevance; thresholds: (N,).

    is_peak: (N,), whether the height is above the threshold; never where it is NaN.
    """

    heights: FloatArray
    thresholds: FloatArray

    @property
    def is_peak(self) -> BoolArray:
        """(N,): the sites with a peak."""
        above: BoolArray = self.heights > self.thresholds
        return above


def top_base_near(relevance: FloatArray, starts: IntArray, ends: IntArray, *, slack: int = 0) -> BoolArray:
    """(N,): whether the base of highest relevance lies in the site, or at most `slack` bases from it.

    relevance: (N, L). starts, ends: (N,), of one site a row, 0-based, half-open, in the row's coordinates. Of several
    highest bases the first counts, as in regions.tsv. A row of NaN alone has no highest base: False.
    """
    _check_sites(relevance, starts, ends)
    top = np.where(np.isnan(relevance), -np.inf, relevance).argmax(1)
    near: BoolArray = (starts - slack <= top) & (top < ends + slack) & ~np.isnan(relevance).all(1)
    return near


def mass_inside(relevance: FloatArray, starts: IntArray, ends: IntArray) -> FloatArray:
    """(N,): the share of the positive relevance that lies inside the site, 0 to 1.

    Arguments as for `top_base_near`. NaN for a row without any positive relevance.
    """
    _check_sites(relevance, starts, ends)
    positive = np.where(relevance > 0, relevance, 0).astype(np.float64)
    at = np.arange(relevance.shape[1])
    inside = np.where((starts[:, None] <= at) & (at < ends[:, None]), positive, 0).sum(1)
    whole = positive.sum(1)
    shares: FloatArray = np.divide(inside, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return shares


def relevance_around(
    path: str | os.PathLike[str], sites: Sequence[Interval], width: int
) -> tuple[FloatArray, IntArray, IntArray]:
    """What `top_base_near` and `mass_inside` take, of `width` bases of a bigWig around the middle of each site.

    Returns relevance (N, width), NaN in gaps and past the chromosome's ends, and where the sites start and end in
    it, (N,) each. Raises ValueError for a site that is not on the bigWig's chromosomes.
    """
    chroms = bigwig_chroms(path)
    relevance = np.full((len(sites), width), np.nan, dtype=np.float32)
    firsts = np.array([(site.start + site.end) // 2 - width // 2 for site in sites], dtype=np.int64)
    for row, first, site in zip(relevance, firsts.tolist(), sites, strict=True):
        low, high = max(0, first), min(first + width, chroms.get(site.chrom, 0))
        row[low - first : high - first] = read_bigwig(path, site.chrom, low, high)
    starts = np.array([site.start for site in sites], dtype=np.int64) - firsts
    ends = np.array([site.end for site in sites], dtype=np.int64) - firsts
    return relevance, starts, ends


def call_peaks(
    relevance: Mapping[str, FloatArray], sites: Sequence[Interval], background: Mapping[str, BoolArray]
) -> Peaks:
    """Which sites have a relevance peak.

    A site's height is the highest value inside it of relevance smoothed by a running mean of SMOOTHING bases. The
    null of a site is the height of every place of the background that is as wide as the site, and its threshold the
    NULL_QUANTILE of that null, or 0 if that is negative: a peak is higher.

    relevance: chromosome to (length,), NaN where nothing was scored; the running mean of a window with a NaN is NaN.
    background: chromosome to (length,), the bases that belong to no site and are not seen together with one.
    Raises ValueError where the background has too few places for that quantile.
    """
    smoothed = {chrom: smooth(values, SMOOTHING) for chrom, values in relevance.items()}
    heights = np.array([_highest(smoothed[site.chrom][site.start : site.end]) for site in sites])
    quiet = {chrom: np.where(background[chrom], values, np.nan) for chrom, values in smoothed.items()}
    thresholds = {width: _threshold(quiet, width) for width in {site.width for site in sites}}
    return Peaks(heights, np.array([thresholds[site.width] for site in sites]))


def away_from(sites: Sequence[Interval], chroms: Mapping[str, int], distance: int) -> dict[str, BoolArray]:
    """Chromosome to (length,): the bases with no base of a site fewer than `distance` bases away.

    chroms: names to lengths. With the model's window as distance, no window over such a base holds a site.
    """
    away = {chrom: np.ones(length, dtype=bool) for chrom, length in chroms.items()}
    for site in sites:
        away[site.chrom][max(0, site.start - distance + 1) : site.end + distance - 1] = False
    return away


def smooth(values: FloatArray, width: int) -> FloatArray:
    """(n,): the mean of the `width` bases around each; NaN where one of them is NaN or past the ends. width: odd."""
    if width % 2 != 1 or width < 1:
        raise ValueError(f"a running mean of {width} bases has no middle")
    means = np.full(len(values), np.nan)
    if len(values) >= width:
        windows = np.lib.stride_tricks.sliding_window_view(values.astype(np.float64), width)
        means[width // 2 : len(values) - width // 2] = windows.mean(1)
    return means


def _highest(values: FloatArray) -> float:
    """The highest value; NaN where there is none."""
    known = values[~np.isnan(values)]
    return float(known.max()) if len(known) else math.nan


def _threshold(quiet: Mapping[str, FloatArray], width: int) -> float:
    """The NULL_QUANTILE of the highest value in every place of `width` bases without a NaN, or 0 if negative."""
    places = [
        np.lib.stride_tricks.sliding_window_view(values, width).max(1)  # NaN where one is
        for values in quiet.values()
        if len(values) >= width
    ]
    null = np.concatenate([*places, np.empty(0)])
    null = null[~np.isnan(null)]
    if len(null) < 1 / (1 - NULL_QUANTILE):
        raise ValueError(f"{len(null):,} places of background: too few for the quantile {NULL_QUANTILE:g} of a null")
    return max(0.0, float(np.quantile(null, NULL_QUANTILE, method="higher")))


def _check_sites(relevance: FloatArray, starts: IntArray, ends: IntArray) -> None:
    if relevance.ndim != 2 or starts.shape != ends.shape or starts.shape != relevance.shape[:1]:
        raise ValueError(f"relevance {relevance.shape}, starts {starts.shape}, ends {ends.shape}; one site a row")
    if relevance.shape[1] == 0 or (starts >= ends).any():
        raise ValueError("no bases, or an empty site")
