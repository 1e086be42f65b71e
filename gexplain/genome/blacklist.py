"""Blacklists: regions that are not to be scored, such as ENCODE's (Amemiya et al. 2019)."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gexplain.errors import InputError, preview
from gexplain.genome.bed import BedReader


def blacklisted(
    chroms: Sequence[str],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    path: str | os.PathLike[str],
    names: Callable[[Collection[str]], Mapping[str, str]] | None = None,
) -> NDArray[np.bool_]:
    """Which of n intervals share a base with a region of the blacklist, (n,).

    chroms, starts, ends: (n,) each, 0-based, half-open; an empty interval shares none. names: gives, of the
    blacklist's names of chromosomes, those in `chroms`; equal names, if None. Raises InputError as BedReader does.
    """
    import pandas as pd
    import pyranges as pr

    bad = [region.interval for region in BedReader(path) if region.interval.width > 0]
    seen = {interval.chrom for interval in bad}
    matches = {chrom: chrom for chrom in seen} if names is None else names(seen)
    if seen and not matches:
        raise InputError(
            f"none of the chromosomes of the blacklist {path} are in the FASTA: {preview(sorted(seen))}",
            hint="give the blacklist of the FASTA's assembly, or --chrom-alias",
        )
    is_bad = np.zeros(len(starts), dtype=bool)
    # pyranges reads an empty interval as one that touches what it lies in.
    filled = np.flatnonzero(ends > starts)
    if not bad or len(filled) == 0:
        return is_bad
    intervals = pd.DataFrame(
        {
            "Chromosome": np.asarray(chroms, dtype=object)[filled],
            "Start": starts[filled],
            "End": ends[filled],
            "number": filled,
        }
    )
    overlapping = pr.PyRanges(intervals).overlap(
        pr.PyRanges(
            pd.DataFrame(
                {
                    "Chromosome": [matches.get(interval.chrom, interval.chrom) for interval in bad],
                    "Start": [interval.start for interval in bad],
                    "End": [interval.end for interval in bad],
                }
            )
        )
    )
    if len(overlapping) > 0:
        is_bad[overlapping.df["number"].to_numpy()] = True
    return is_bad
