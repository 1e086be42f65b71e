"""The sequences of the study, and where the truth is known: FASTA and BED files, as `gexplain evaluate` takes them.

The factors take turns, so that the first sequences, on which sanity and robustness are measured, are of all of them.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import TypeVar

import numpy as np
from explanations import STRONG
from genomes import write_fasta
from human import FILES, PEAK_WIDTH
from motif_hits import BoolArray, Motif, covered_by_hits, scan_motif
from yeast import WINDOW, read_intervals

from gexplain.genome.intervals import Interval

# Of yeast-tf's three factors: it has not learnt Abf1, and there is little to explain of a class that is not told.
YEAST_FACTORS = ("Reb1", "Rap1")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StudyData:
    """One data set of the study.

    regions: BED of windows, each named as the class that is explained of it. genome: their FASTA. truth: BED of
    sites. window: bases. models: the transformer, and the CNN beside it. counts: what there is, in words.
    """

    name: str
    regions: Path
    genome: Path
    truth: Path
    window: int
    models: tuple[str, str]
    counts: Mapping[str, int]


def human_data(prepared: Path, motifs: Mapping[str, Motif], folder: Path, most: int) -> StudyData:
    """Test peaks, each a contig of its own, and the strong hits of its factor's matrix.

    prepared: a folder of prepare.py human. Peaks without a strong hit stay: faithfulness needs no truth. Localisation
    is measured on the others.
    """
    chosen = in_turn(read_peaks(prepared / "test.csv"), most)
    contigs: dict[str, str] = {}
    sites: list[Interval] = []
    for factor, number, peak in chosen:
        contig = f"{factor}_{number}"
        contigs[contig] = peak
        (covered_L,) = covered_by_hits(scan_motif([peak], motifs[factor]), motifs[factor], STRONG)
        sites += [Interval(contig, start, end, factor) for start, end in stretches(covered_L)]
    regions = [
        Interval(contig, 0, len(peak), factor)
        for (contig, peak), (factor, *_) in zip(contigs.items(), chosen, strict=True)
    ]
    return StudyData(
        name="human",
        regions=write_bed(folder / "peaks.bed", regions),
        genome=write_fasta(folder / "peaks.fa", contigs),
        truth=write_bed(folder / "sites.bed", sites),
        window=PEAK_WIDTH,
        models=("human-tf", "human-tf-cnn"),
        counts=count_regions(regions, sites),
    )


def yeast_data(
    prepared: Path, data: Path, motifs: Mapping[str, Motif], folder: Path, most: int | None = None
) -> StudyData:
    """Windows of the test chromosomes with a ChIP-exo site up to 32 bases off the centre, and those sites.

    prepared: a folder of prepare.py yeast; data: the folder yeast. A site is given as one base in the middle of what
    is bound. It is widened to its matrix's width and a base or two more: the middle of an even number of bases, and
    that of the other strand, may be the next base.
    """
    windows = {factor: read_intervals(prepared / "eval" / f"{factor.lower()}.bed") for factor in YEAST_FACTORS}
    regions = [replace(window, name=factor, strand=".") for factor, _, window in in_turn(windows, most)]
    sites = []
    for site in read_intervals(data / "chipexo_sites.bed"):
        if site.name in YEAST_FACTORS:
            reach = len(motifs[site.name].probabilities) // 2 + 1
            sites.append(replace(site, start=max(0, site.start - reach), end=site.end + reach))
    return StudyData(
        name="yeast",
        regions=write_bed(folder / "windows.bed", regions),
        genome=data / "sacCer3.fa.gz",
        truth=write_bed(folder / "sites.bed", sites),
        window=WINDOW,
        models=("yeast-tf", "yeast-tf-cnn"),
        counts=count_regions(regions, sites),
    )


def read_peaks(path: Path) -> dict[str, list[str]]:
    """Factor to its peaks in the order of the file, without the background."""
    peaks: dict[str, list[str]] = {factor: [] for factor in FILES}
    with path.open(encoding="ascii", newline="") as file:
        for row in csv.DictReader(file):
            if row["label"] in peaks:
                peaks[row["label"]].append(row["sequence"])
    return peaks


def in_turn(groups: Mapping[str, Sequence[T]], most: int | None) -> list[tuple[str, int, T]]:
    """(group, number from 1 in it, member): the first of each group, the second of each ..., at most so many."""
    rounds = zip_longest(*(enumerate(members, 1) for members in groups.values()))
    each = [
        (name, *one) for of_round in rounds for name, one in zip(groups, of_round, strict=True) if one is not None
    ]
    return each[:most]


def stretches(marked_L: BoolArray) -> Iterator[tuple[int, int]]:
    """(start, end) of each run of marked bases."""
    borders = np.flatnonzero(np.diff(marked_L, prepend=False, append=False)).tolist()
    yield from zip(borders[::2], borders[1::2], strict=True)


def count_regions(regions: Sequence[Interval], sites: Sequence[Interval]) -> dict[str, int]:
    """How many regions there are, of each factor, and with a site of it."""
    by_chrom: dict[tuple[str, str], list[Interval]] = {}
    for site in sites:
        by_chrom.setdefault((site.chrom, site.name), []).append(site)
    counts: dict[str, int] = {}
    for region in regions:
        counts[region.name] = counts.get(region.name, 0) + 1
        of_factor = by_chrom.get((region.chrom, region.name), [])
        with_site = f"{region.name} with a site"
        counts[with_site] = counts.get(with_site, 0) + any(
            site.start < region.end and region.start < site.end for site in of_factor
        )
    return counts


def write_bed(path: Path, intervals: Iterable[Interval]) -> Path:
    """BED with names and strands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (f"{one.chrom}\t{one.start}\t{one.end}\t{one.name}\t0\t{one.strand}\n" for one in intervals)
    path.write_text("".join(lines), encoding="ascii")
    return path
