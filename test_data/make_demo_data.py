"""The genome of `gexplain demo`: human-like composition, planted motif sites of five factors, shuffled decoys.

    python test_data/make_demo_data.py [--out DIR]

The motifs are demo_motifs.meme, beside this script: five matrices of JASPAR 2024 (CC BY 4.0). The same bytes on
every run and machine, for the reasons told in make_test_data.py: chance comes from `Generator.random` alone, scores
are whole thousandths of a bit, nothing is compressed.

Truth is complete: nowhere but at its own planted sites does the genome match a factor's motif as well as the weakest
site may. It is made of blocks of one thousand bases, planted ones and empty ones in random order.
"""

from __future__ import annotations

import argparse
import math
import re
from bisect import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
SEED = 3
STREAMS = ("genome", "clean", "blocks", "sites")

CHROMS = {"chr1": 45_000, "chr2": 35_000, "chr3": 20_000}
LINE_WIDTH = 60

# Rows: the base before, in ACGT order; columns: the base after. CpG is depleted, GC is 41 %, as in human.
MARKOV = ((33, 17, 24, 26), (35, 26, 5, 34), (29, 21, 26, 24), (22, 20, 25, 33))
# Isochores: stretches in which G and C are these times as likely as in the table, GC about 33 to 55 %.
TILTS = (0.7, 0.9, 1.1, 1.4, 1.9)
ISOCHORE_WIDTHS = (3_000, 9_000)
BACKGROUND = (0.29, 0.21, 0.21, 0.29)

SITES_PER_FACTOR = 30
REGION_WIDTH = 101  # a window of human-tf
BLOCK_WIDTH = 1_000
SLOTS_PER_BLOCK = 6  # one planted thing each, in a planted block
OFF_CENTRE = 20  # at most, in bases: a model must not find a site by where it lies in the window
# Of the regions of an empty block: 200 bases or more from the next planted thing.
EMPTY_STARTS = range(146, 753, REGION_WIDTH)
LEAST_SITE_SCORE, MOST_DECOY_SCORE = 600, 400  # thousandths of the motif's best score
NEARBY = 40  # bases on either side in which planting must make no other match

Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Motif:
    """A factor's matrix, (width, 4), and its log-odds in whole thousandths of a bit."""

    factor: str
    shares: NDArray[np.float64]
    log_odds: Codes

    @property
    def width(self) -> int:
        return len(self.log_odds)


@dataclass(frozen=True, slots=True)
class Feature:
    """One BED6 line."""

    chrom: str
    start: int
    end: int
    name: str
    score: int = 0
    strand: str = "."

    def __str__(self) -> str:
        return f"{self.chrom}\t{self.start}\t{self.end}\t{self.name}\t{self.score}\t{self.strand}"


def main() -> None:
    """Write all files."""
    parser = argparse.ArgumentParser(description="Make the data of `gexplain demo`.")
    default = HERE.parent / "gexplain" / "demo_data"
    parser.add_argument("--out", type=Path, default=default, help="folder to write to")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for name, text in make_files().items():
        (out / name).write_bytes(text.encode("ascii"))


def make_files() -> dict[str, str]:
    """Every file's content, by its name."""
    motifs = read_motifs((HERE / "demo_motifs.meme").read_text(encoding="ascii"))
    genome = make_genome()
    clean_genome(genome, motifs)
    planted, empty = choose_blocks()
    truth, decoys, regions = plant(genome, motifs, planted)
    starts = [(chrom, block + start) for chrom, block in empty for start in EMPTY_STARTS]
    regions += [
        Feature(chrom, start, start + REGION_WIDTH, f"empty_{i}") for i, (chrom, start) in enumerate(starts, 1)
    ]
    return {
        "genome.fa": format_fasta(genome),
        "genome.fa.fai": format_fai(),
        "truth.bed": format_bed(truth),
        "decoys.bed": format_bed(decoys),
        "regions.bed": format_bed(regions),
    }


def make_stream(part: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([SEED, STREAMS.index(part)]))


def draw_integer(rng: np.random.Generator, low: int, high: int) -> int:
    """A whole number in [low, high). numpy promises no stable stream for `Generator.integers`."""
    return low + int(rng.random() * (high - low))


def draw_order(rng: np.random.Generator, n: int) -> list[int]:
    """A random order of n things."""
    draws = rng.random(n).tolist()
    return sorted(range(n), key=draws.__getitem__)


# Motifs


def read_motifs(text: str) -> list[Motif]:
    """The matrices of a MEME file; one pseudo-site of background keeps log-odds finite."""
    found = re.findall(r"^MOTIF \S+ (\S+)\n.* w= (\d+) nsites= (\d+) .*\n((?:[\d. ]+\n)+)", text, re.MULTILINE)
    motifs = []
    for factor, width, n_sites, rows in found:
        shares = np.array(rows.split(), np.float64).reshape(int(width), 4)
        shares = (shares * int(n_sites) + np.array(BACKGROUND)) / (int(n_sites) + 1)
        bits = [[math.log2(share / base) for share, base in zip(row, BACKGROUND, strict=True)] for row in shares]
        motifs.append(Motif(factor, shares, np.rint(1000 * np.array(bits)).astype(np.int64)))
    return motifs


def scan(codes: Codes, motif: Motif) -> Codes:
    """(n - width + 1,): at each start, the better strand's score in thousandths of the motif's best."""
    n = len(codes) - motif.width + 1
    strands = [
        sum((table[j][codes[j : j + n]] for j in range(motif.width)), np.zeros(n, np.int64))
        for table in (motif.log_odds, motif.log_odds[::-1, ::-1])
    ]
    return 1000 * np.maximum(*strands) // int(motif.log_odds.max(axis=1).sum())


def sample_instance(rng: np.random.Generator, motif: Motif) -> Codes:
    """A draw from the motif that scores well, as a bound site does."""
    while True:
        draws = rng.random(motif.width).tolist()
        rows = [list(accumulate(row)) for row in motif.shares]
        codes = np.array([min(3, bisect(row, draw)) for row, draw in zip(rows, draws, strict=True)])
        if scan(codes, motif)[0] >= LEAST_SITE_SCORE:
            return codes


# The genome


def make_genome() -> dict[str, Codes]:
    """Each chromosome as codes 0 to 3, of A, C, G and T."""
    rng = make_stream("genome")
    tilted = []
    for tilt in TILTS:
        rows = [[row[0], row[1] * tilt, row[2] * tilt, row[3]] for row in MARKOV]
        tilted.append([[share / sum(row) for share in accumulate(row)] for row in rows])
    genome = {}
    for chrom, width in CHROMS.items():
        code, codes = 0, []
        while len(codes) < width:
            cumulated = tilted[draw_integer(rng, 0, len(tilted))]
            for draw in rng.random(draw_integer(rng, *ISOCHORE_WIDTHS)).tolist():
                code = min(3, bisect(cumulated[code], draw))
                codes.append(code)
        genome[chrom] = np.array(codes[:width])
    return genome


def clean_genome(genome: dict[str, Codes], motifs: Sequence[Motif]) -> None:
    """Change a base of every chance match that scores as a site does, until there is none."""
    rng = make_stream("clean")
    for codes in genome.values():
        matched = True
        while matched:
            matched = False
            for motif in motifs:
                for start in np.flatnonzero(scan(codes, motif) >= LEAST_SITE_SCORE).tolist():
                    codes[start + draw_integer(rng, 0, motif.width)] = draw_integer(rng, 0, 4)
                    matched = True


def choose_blocks() -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """(chrom, start) of the blocks to plant in, and of those that stay empty."""
    blocks = [(chrom, start) for chrom, width in CHROMS.items() for start in range(0, width, BLOCK_WIDTH)]
    order = draw_order(make_stream("blocks"), len(blocks))
    n_planted = 2 * SITES_PER_FACTOR * 5 // SLOTS_PER_BLOCK
    return [blocks[i] for i in order[:n_planted]], sorted(blocks[i] for i in order[n_planted:])


def plant(
    genome: dict[str, Codes], motifs: Sequence[Motif], blocks: Sequence[tuple[str, int]]
) -> tuple[list[Feature], list[Feature], list[Feature]]:
    """Sites and decoys, written into the genome, and the region around each.

    A site is a draw from the motif, on either strand. A decoy is such a draw, shuffled until it matches the motif
    nowhere near. Neither makes a match to another factor.
    """
    rng = make_stream("sites")
    slot_width = BLOCK_WIDTH // SLOTS_PER_BLOCK
    slots = [(chrom, block + i * slot_width) for chrom, block in blocks for i in range(SLOTS_PER_BLOCK)]
    free = iter([slots[i] for i in draw_order(rng, len(slots))])
    truth: list[Feature] = []
    decoys: list[Feature] = []
    regions: list[Feature] = []
    for motif in motifs:
        for i in range(2 * SITES_PER_FACTOR):
            chrom, slot = next(free)
            centre = slot + slot_width // 2
            is_decoy = bool(i % 2)
            strand = "." if is_decoy else "+-"[draw_integer(rng, 0, 2)]
            start = -1
            while start < 0:
                bases = sample_instance(rng, motif)
                if strand == "-":
                    bases = 3 - bases[::-1]
                if is_decoy:
                    bases = bases[draw_order(rng, motif.width)]
                at = centre - motif.width // 2 + draw_integer(rng, -OFF_CENTRE, OFF_CENTRE + 1)
                if fits(genome[chrom], at, bases, motif, motifs, is_decoy=is_decoy):
                    start = at
            genome[chrom][start : start + motif.width] = bases
            name = f"{motif.factor}_{'decoy' if is_decoy else 'site'}_{i // 2 + 1}"
            score = max(0, int(scan(bases, motif)[0]))
            feature = Feature(chrom, start, start + motif.width, name, score, strand)
            (decoys if is_decoy else truth).append(feature)
            first = centre - REGION_WIDTH // 2
            regions.append(Feature(chrom, first, first + REGION_WIDTH, name))
    return truth, decoys, regions


def fits(codes: Codes, start: int, bases: Codes, motif: Motif, motifs: Sequence[Motif], *, is_decoy: bool) -> bool:
    """Whether planting the bases makes no match, around them, but that of the site itself."""
    low = max(0, start - NEARBY)
    around = codes[low : start + len(bases) + NEARBY].copy()
    around[start - low : start - low + len(bases)] = bases
    for other in motifs:
        scores = scan(around, other)
        starts = low + np.arange(len(scores))
        overlaps = (starts < start + len(bases)) & (start < starts + other.width)
        if other is motif and is_decoy:
            if (scores[overlaps] > MOST_DECOY_SCORE).any():
                return False
        elif other is motif:
            overlaps = starts == start
            scores[overlaps] = 0
        if (scores >= LEAST_SITE_SCORE).any():
            return False
    return True


# Formats


def in_fasta_order(features: Iterable[Feature]) -> list[Feature]:
    return sorted(features, key=lambda feature: (list(CHROMS).index(feature.chrom), feature.start, feature.end))


def format_fasta(genome: dict[str, Codes]) -> str:
    lines = []
    for chrom, codes in genome.items():
        sequence = "".join("ACGT"[code] for code in codes)
        lines.append(f">{chrom}")
        lines += [sequence[i : i + LINE_WIDTH] for i in range(0, len(sequence), LINE_WIDTH)]
    return format_lines(lines)


def format_fai() -> str:
    rows, offset = [], 0
    for chrom, width in CHROMS.items():
        offset += len(f">{chrom}\n")
        rows.append(f"{chrom}\t{width}\t{offset}\t{LINE_WIDTH}\t{LINE_WIDTH + 1}")
        offset += width + -(-width // LINE_WIDTH)
    return format_lines(rows)


def format_bed(features: Iterable[Feature]) -> str:
    return format_lines(in_fasta_order(features))


def format_lines(lines: Iterable[object]) -> str:
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main()
