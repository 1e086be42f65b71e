"""Intervals on a chromosome: 0-based and half-open everywhere, but in the text a person types or reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gexplain.errors import InputError

Strand = Literal["+", "-", "."]

# BED's coordinates are unsigned 32-bit in the kent tools, and so are bigWig's.
MAX_COORDINATE = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Interval:
    """A stretch of one chromosome: 0-based, half-open. An empty one (start == end) is allowed."""

    chrom: str
    start: int
    end: int
    name: str = "."
    strand: Strand = "."

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise ValueError(f"not an interval: {self.chrom}:{self.start}-{self.end} (0-based, half-open)")

    @property
    def width(self) -> int:
        """Nucleotides covered."""
        return self.end - self.start


def parse_region(text: str, chroms: Mapping[str, int]) -> Interval:
    """The interval that a person writes as chrom:first-last, 1-based and inclusive, commas allowed.

    "chr1:1,001-2,000" is [1000, 2000); "chr1:5" is the one base [4, 5); a name of `chroms` (name to length)
    alone is that whole chromosome, colons in it and all (HLA-A*01:01).
    Raises InputError where the text is no such region.
    """
    if text.strip() in chroms:
        return Interval(text.strip(), 0, chroms[text.strip()])
    match = re.fullmatch(r"(?P<chrom>\S+):(?P<start>\d[\d,]{0,18})(?:-(?P<end>\d[\d,]{0,18}))?", text.strip())
    if match is None:
        raise InputError(
            f"not a region: {text!r}; expected chrom:first-last, 1-based and inclusive",
            hint="write it as chr1:1,001-2,000, or name a whole chromosome of the FASTA",
        )
    first = int(match["start"].replace(",", ""))
    last = int(match["end"].replace(",", "")) if match["end"] else first
    if not 1 <= first <= last <= MAX_COORDINATE:
        raise InputError(
            f"not a region: {text!r}; expected 1 <= first <= last, found {first:,} and {last:,}",
            hint="the first base of a chromosome is 1, and the last base belongs to the region",
        )
    return Interval(match["chrom"], first - 1, last)


def format_region(interval: Interval) -> str:
    """The interval as a person reads it: chr1:1,001-2,000, 1-based and inclusive."""
    return f"{interval.chrom}:{interval.start + 1:,}-{interval.end:,}"
