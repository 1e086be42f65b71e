"""Pages: a relevance track and the sequence below it, read together in pieces of bounded size.

A page is a piece of one chromosome. Its sequence has N where nothing was scored: no motif is looked for there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gexplain.arrays import FloatArray, IntArray
from gexplain.errors import InputError, preview
from gexplain.genome.bigwig import BigWig
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval

PAGE_BASES = 1 << 20
"""Bases of a chromosome that are looked at together."""


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """Bases [start, start + n) of a chromosome, and what follows them as far as a motif may reach.

    values: (n + m,) float32, relevance, NaN where nothing was scored. sequence: n + m letters, N where values is NaN.
    n_own: n; what begins in the last m bases belongs to the next page.
    """

    chrom: str
    start: int
    values: FloatArray
    sequence: str
    n_own: int


@dataclass(frozen=True, slots=True, eq=False)
class Inside:
    """The bases inside any of some regions. borders: of each chromosome, where stretches of them start and end, in
    turn.
    """

    borders: Mapping[str, IntArray]

    @classmethod
    def of(cls, regions: Sequence[Interval]) -> Inside:
        """The bases of these regions, which may overlap and come in any order."""
        by_chrom: dict[str, list[tuple[int, int]]] = {}
        for region in regions:
            by_chrom.setdefault(region.chrom, []).append((region.start, region.end))
        borders = {}
        for chrom, on_chrom in by_chrom.items():
            starts, ends = np.array(sorted(on_chrom), dtype=np.int64).T
            reached = np.maximum.accumulate(ends)
            is_apart = starts[1:] > reached[:-1]
            firsts, lasts = np.append(True, is_apart), np.append(is_apart, True)
            borders[chrom] = np.column_stack([starts[firsts], reached[lasts]]).ravel()
        return cls(borders)

    def mask(self, chrom: str, start: int, end: int) -> npt.NDArray[np.bool_]:
        """(end - start,): whether each base of [start, end) is inside."""
        borders = self.borders.get(chrom, _NO_BORDERS)
        first, last = np.searchsorted(borders, start, "right"), np.searchsorted(borders, end, "left")
        widths = np.diff(borders[first:last], prepend=start, append=end)
        return np.repeat((first + np.arange(len(widths))) % 2 == 1, widths)


_NO_BORDERS = np.empty(0, dtype=np.int64)


def read_pages(
    path: str | os.PathLike[str], genome: Genome, *, reach: int = 0, inside: Inside | None = None
) -> Iterator[Page]:
    """The pages of a bigWig that hold any value, in the order of the FASTA; each reaches `reach` bases further.

    inside: all other bases are as if they had not been scored. Raises InputError where the bigWig and the FASTA do
    not fit.
    """
    return _read(path, genome, PAGE_BASES, reach, inside)


def read_null_pages(path: str | os.PathLike[str], genome: Genome) -> list[Page]:
    """Every chromosome of a null that holds any value, as one page: all of them are held anyway, and none is cut.

    Raises InputError where the bigWig and the FASTA do not fit, or there is no value.
    """
    pages = list(_read(path, genome, max(genome.chroms.values()), 0, None))
    if not pages:
        raise InputError(
            f"{path} has no values: a null without any tells nothing from noise",
            hint="give the track of shuffled sequence, made as the track itself was",
        )
    return pages


def read_page(
    track: BigWig, genome: Genome, place: tuple[str, int, int], *, reach: int = 0, inside: Inside | None = None
) -> Page:
    """The page of a place (chrom, start, end), with or without a value; inside: as in `read_pages`."""
    chrom, start, end = place
    n_bases = min(end + reach, track.chroms[chrom]) - start
    wanted = None if inside is None else inside.mask(chrom, start, start + n_bases)
    if wanted is not None and not wanted.any():  # a genome is read in no time where there are few regions
        return Page(chrom, start, np.full(n_bases, np.nan, dtype=np.float32), "N" * n_bases, end - start)
    values = track.values(chrom, start, start + n_bases)
    if wanted is not None:
        values = np.where(wanted, values, np.float32(np.nan))
    if np.isinf(values).any():
        at = start + int(np.flatnonzero(np.isinf(values))[0])
        raise InputError(
            f"{track.path} has an infinite value at {chrom}:{at + 1:,}", hint="give a track of finite numbers"
        )
    letters = np.full(len(values), ord("N"), dtype=np.uint8)
    known = ~np.isnan(values)
    if known.any():
        fetched = genome.fetch(chrom, start, start + len(values)).encode("ascii")
        letters[known] = np.frombuffer(fetched, np.uint8)[known]
    return Page(chrom, start, values, letters.tobytes().decode("ascii"), end - start)


def batches(pages: Iterable[Page]) -> Iterator[list[Page]]:
    """The pages in lists of about PAGE_BASES: a genome of many small chromosomes is not scanned one by one."""
    batch: list[Page] = []
    held = 0
    for page in pages:
        batch.append(page)
        held += len(page.values)
        if held >= PAGE_BASES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def _read(
    path: str | os.PathLike[str], genome: Genome, page_bases: int, reach: int, inside: Inside | None
) -> Iterator[Page]:
    with BigWig(path) as track:
        _check_same_chroms(track, genome)
        for chrom, length in genome.chroms.items():
            if chrom not in track.chroms:
                continue
            for start in range(0, length, page_bases):
                end = min(start + page_bases, length)
                page = read_page(track, genome, (chrom, start, end), reach=reach, inside=inside)
                if not np.isnan(page.values[: page.n_own]).all():
                    yield page


def _check_same_chroms(track: BigWig, genome: Genome) -> None:
    missing = [name for name in track.chroms if name not in genome.chroms and track.has_values(name)]
    mend = "give the FASTA that the track was made with"
    if missing:
        raise InputError(
            f"{track.path} has values on chromosomes that {genome.path} lacks: {preview(missing)}",
            detail=f"{genome.path} has {preview(list(genome.chroms))}",
            hint=mend,
        )
    differ = [name for name, length in track.chroms.items() if genome.chroms.get(name, length) != length]
    if differ:
        name = differ[0]
        raise InputError(
            f"{track.path} and {genome.path} are of different assemblies: {name} has {track.chroms[name]:,} bases in"
            f" the track and {genome.chroms[name]:,} in the FASTA",
            hint=mend,
        )
