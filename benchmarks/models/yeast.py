"""The yeast data: ChIP-exo sites, unbound promoters and Rhee's Reb1 peaks into BED files of windows.

Chromosomes IV and XVI are test; the sites of VII and XIII are held out and not here, so nothing of those two is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gexplain.genome.bed import BedReader
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval

FACTORS = ("Reb1", "Rap1", "Abf1")
TEST_CHROMS = ("chrIV", "chrXVI")
UNUSED_CHROMS = ("chrVII", "chrXIII")
WINDOW = 128
# Of a test window: how far at most a site is from its centre.
MAX_OFFSET = 32
# A negative window keeps this far from every site: half a motif in it would be no honest negative.
SITE_MARGIN = 16
# Windows tiled from the TSS upstream: the nucleosome-free region, which unbound_promoters.bed marks, and its borders.
TILES_PER_PROMOTER = 3
N_RANDOM = 2_000
SEED = 11


def prepare_yeast(data: Path, out: Path) -> dict[str, int]:
    """Write the BED files of training and, in eval/, of the test chromosomes; returns intervals per file.

    data: the folder yeast. reb1.bed, rap1.bed, abf1.bed: windows with a site at their centre, of all chromosomes
    but those held out (`gexplain train --test-chroms` splits them off). unbound.bed: promoter windows without any
    site. eval/: windows with a site off the centre, unbound windows, random windows of the test chromosomes, and
    rhee_reb1.bed, Rhee's peaks merged.
    """
    rng = np.random.default_rng(SEED)
    with Genome(data / "sacCer3.fa.gz") as genome:
        chroms = {chrom: length for chrom, length in genome.chroms.items() if chrom not in UNUSED_CHROMS}
    sites = [site for site in read_intervals(data / "chipexo_sites.bed") if site.chrom in chroms]
    is_free = site_free(sites)
    unbound = list(unbound_windows(data, chroms, is_free))
    files: dict[str, list[Interval]] = {"unbound.bed": unbound, "eval/unbound.bed": _on_test_chroms(unbound)}
    for factor in FACTORS:
        of_factor = [site for site in sites if site.name == factor]
        files[f"{factor.lower()}.bed"] = list(site_windows(of_factor, chroms))
        test_sites = _on_test_chroms(of_factor)
        offsets = rng.integers(-MAX_OFFSET, MAX_OFFSET + 1, len(test_sites)).tolist()
        files[f"eval/{factor.lower()}.bed"] = list(site_windows(test_sites, chroms, offsets))
    test_chroms = {chrom: chroms[chrom] for chrom in TEST_CHROMS}
    files["eval/random.bed"] = random_windows(test_chroms, N_RANDOM, is_free, rng)
    rhee = merge(_on_test_chroms(read_intervals(data / "reb1_peaks_rhee2011.bed")))
    files["eval/rhee_reb1.bed"] = [replace(one, name="Reb1") for one in rhee]
    for name, intervals in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = sorted(intervals, key=lambda one: (list(chroms).index(one.chrom), one.start))
        lines = (f"{one.chrom}\t{one.start}\t{one.end}\t{one.name}\t0\t{one.strand}\n" for one in rows)
        path.write_text("".join(lines), encoding="ascii")
    return {name: len(intervals) for name, intervals in files.items()}


def read_intervals(path: Path) -> list[Interval]:
    """The intervals of a BED file, in its order."""
    return [region.interval for region in BedReader(path)]


def site_windows(
    sites: Sequence[Interval], chroms: Mapping[str, int], offsets: Sequence[int] | None = None
) -> Iterator[Interval]:
    """A window for each site, with its name and strand, shifted inward at the ends of chromosomes.

    offsets: how far right of the site's centre that of its window is; by default nowhere.
    """
    for site, offset in zip(sites, offsets or [0] * len(sites), strict=True):
        start = (site.start + site.end) // 2 + offset - WINDOW // 2
        start = min(max(start, 0), chroms[site.chrom] - WINDOW)
        yield replace(site, start=start, end=start + WINDOW)


def site_free(sites: Iterable[Interval], margin: int = SITE_MARGIN) -> Callable[[str, int, int], bool]:
    """A test of (chrom, start, end): whether no site lies in it, or within `margin` of it."""
    by_chrom: dict[str, list[int]] = {}
    for site in sites:
        by_chrom.setdefault(site.chrom, []).append(site.start)
    positions = {chrom: np.sort(starts) for chrom, starts in by_chrom.items()}

    def is_free(chrom: str, start: int, end: int) -> bool:
        low, high = np.searchsorted(positions.get(chrom, np.empty(0, dtype=np.int64)), (start - margin, end + margin))
        return bool(low == high)

    return is_free


def unbound_windows(
    data: Path, chroms: Mapping[str, int], is_free: Callable[[str, int, int], bool]
) -> Iterator[Interval]:
    """Windows tiled upstream from the TSS of each unbound promoter: without any site, none over another.

    A line of unbound_promoters.bed is one base in the promoter, 60 to 250 bases upstream of the gene's TSS and most
    often 150; the windows are tiled from the TSS itself. Divergent genes share a promoter: the first has it.
    """
    tss = {gene.name: gene for gene in read_intervals(data / "tss.bed")}
    taken: dict[str, list[tuple[int, int]]] = {}
    for promoter in read_intervals(data / "unbound_promoters.bed"):
        gene = tss[promoter.name]
        for tile in range(TILES_PER_PROMOTER):
            start = gene.start - (tile + 1) * WINDOW if gene.strand == "+" else gene.end + tile * WINDOW
            end = start + WINDOW
            others = taken.setdefault(gene.chrom, [])
            if gene.chrom not in chroms or start < 0 or end > chroms[gene.chrom]:
                continue
            if is_free(gene.chrom, start, end) and all(end <= low or start >= high for low, high in others):
                others.append((start, end))
                yield replace(gene, start=start, end=end)


def random_windows(
    chroms: Mapping[str, int],
    n: int,
    is_free: Callable[[str, int, int], bool],
    rng: np.random.Generator,
    width: int = WINDOW,
) -> list[Interval]:
    """n windows drawn uniformly from the chromosomes, those that a site is in or near drawn again."""
    names = list(chroms)
    n_starts = np.array([chroms[name] - width + 1 for name in names])
    ends = n_starts.cumsum()
    windows: list[Interval] = []
    while len(windows) < n:
        draw = int(rng.integers(ends[-1]))
        chrom = int(np.searchsorted(ends, draw, side="right"))
        start = draw - int(ends[chrom] - n_starts[chrom])
        if is_free(names[chrom], start, start + width):
            windows.append(Interval(names[chrom], start, start + width))
    return windows


def merge(intervals: Iterable[Interval]) -> list[Interval]:
    """Clusters: intervals that overlap or touch, taken together, of either strand."""
    merged: list[Interval] = []
    for one in sorted(intervals, key=lambda one: (one.chrom, one.start)):
        if merged and one.chrom == merged[-1].chrom and one.start <= merged[-1].end:
            merged[-1] = replace(merged[-1], end=max(one.end, merged[-1].end))
        else:
            merged.append(Interval(one.chrom, one.start, one.end))
    return merged


def _on_test_chroms(intervals: Iterable[Interval]) -> list[Interval]:
    return [one for one in intervals if one.chrom in TEST_CHROMS]
