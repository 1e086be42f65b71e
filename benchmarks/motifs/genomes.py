"""Genomes and tracks of which the truth is known: shuffled sequence, noise, and sites planted in unscrubbed sequence.

All are drawn from seeds: the same files every time, so that an interrupted run over them goes on.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from gexplain.arrays import FloatArray, IntArray
from gexplain.genome.bigwig import BigWigWriter
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval
from gexplain.genome.shuffle import dinucleotide_shuffle

LINE_WIDTH = 60
# Shuffled sequence is of pieces of so many bases, each with the composition of its own place in the genome.
PIECE_BASES = 300
# A piece with a larger share of letters that are no base is not used.
MOST_N = 0.5
# A token has 3 to 9 bases, all of one value.
TOKEN_BASES = (3, 9)

DEMO_MAKER = Path(__file__).resolve().parents[2] / "test_data" / "make_demo_data.py"
UNSCRUBBED_SEED = 17


def write_fasta(path: Path, chroms: Mapping[str, str]) -> Path:
    """The FASTA of these chromosomes; left as it is where it is there already, its index with it."""
    lines = (
        part
        for name, sequence in chroms.items()
        for part in (
            f">{name}\n",
            *(f"{sequence[at : at + LINE_WIDTH]}\n" for at in range(0, len(sequence), LINE_WIDTH)),
        )
    )
    data = "".join(lines).encode("ascii")
    if not path.exists() or path.read_bytes() != data:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(path.name + ".fai").unlink(missing_ok=True)
        path.write_bytes(data)
    return path


def write_track(path: Path, chroms: Mapping[str, int], draw: Callable[[int], FloatArray]) -> Path:
    """A bigWig with a value at every base; draw: gives so many of them."""
    with BigWigWriter(path, chroms) as writer:
        for chrom, length in chroms.items():
            writer.write(chrom, 0, draw(length).astype(np.float32))
    return path


def whole_chromosomes(fasta: Path) -> list[Interval]:
    """Every chromosome as one region, named as it is."""
    with Genome(fasta) as genome:
        return [Interval(name, 0, length, name=name) for name, length in genome.chroms.items()]


# ---- Shuffled sequence ----


def shuffled_genome(source: Path, n_bases: int, chrom_bases: int, seed: int) -> dict[str, str]:
    """Chromosome to sequence: pieces of a FASTA in random order, dinucleotides shuffled within each, n_bases in all.

    Where the FASTA is smaller, its pieces are shuffled again and again. A genome without PIECE_BASES in a row that
    can be used is a ValueError.
    """
    rng = np.random.default_rng(seed)
    pieces = _pieces(source, -(-n_bases // PIECE_BASES), rng)
    text = "".join(dinucleotide_shuffle(pieces, rng))
    return {
        f"chr{number}": text[start : min(start + chrom_bases, n_bases)]
        for number, start in enumerate(range(0, n_bases, chrom_bases), 1)
    }


def _pieces(source: Path, n_pieces: int, rng: np.random.Generator) -> list[str]:
    """So many pieces of a FASTA, no place twice before every place was there once."""
    with Genome(source) as genome:
        # Where a chromosome is no multiple of a piece, another offset leaves other bases out.
        starts = [
            (name, int(start))
            for name, length in genome.chroms.items()
            for start in np.arange(rng.integers(length % PIECE_BASES + 1), length - PIECE_BASES + 1, PIECE_BASES)
        ]
        kept: list[str] = []
        while len(kept) < n_pieces:
            n_before = len(kept)
            for index in rng.permutation(len(starts))[: 2 * (n_pieces - n_before)].tolist():
                chrom, start = starts[index]
                piece = genome.fetch(chrom, start, start + PIECE_BASES)
                if sum(map(piece.count, "ACGT")) >= (1 - MOST_N) * PIECE_BASES:
                    kept.append(piece)
            if len(kept) == n_before:
                raise ValueError(f"{source} has no {PIECE_BASES} bases in a row, or they are N")
    return kept[:n_pieces]


def random_sequence(n_bases: int, rng: np.random.Generator) -> str:
    """Independent, uniform letters."""
    return np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, n_bases)].tobytes().decode("ascii")


# ---- Noise ----


def normal_noise(n_bases: int, rng: np.random.Generator) -> FloatArray:
    """(n_bases,): an independent standard normal value at each."""
    return rng.standard_normal(n_bases)


def token_noise(n_bases: int, rng: np.random.Generator) -> FloatArray:
    """(n_bases,): runs of TOKEN_BASES, each an independent standard normal value that its bases share equally."""
    least, most = TOKEN_BASES
    widths = rng.integers(least, most + 1, n_bases // least + 1)
    return np.repeat(rng.standard_normal(len(widths)) / widths, widths)[:n_bases]


NOISES: dict[str, Callable[[int, np.random.Generator], FloatArray]] = {
    "normal": normal_noise,
    "token-like": token_noise,
}


# ---- Planted sites where chance matches stay ----


def unscrubbed_genome(n_kb: int) -> tuple[dict[str, str], list[Interval], list[Interval]]:
    """(chromosome to sequence, sites, decoys): a genome as the demo's, but nothing is removed and nothing avoided.

    Composition, motifs, and the density of sites and decoys are the demo's. Chance matches stay, and planting looks
    at the sites alone: a decoy still matches its own motif nowhere. n_kb: thousands of bases, a multiple of 10, so
    that sites and decoys fill their blocks; ValueError otherwise.
    """
    if n_kb < 10 or n_kb % 10:
        raise ValueError(f"{n_kb} kb; expected 10, 20, 30 ...")
    demo: Any = _demo_maker()
    demo.SEED = UNSCRUBBED_SEED
    demo.CHROMS = {
        f"chr{number}": 1_000 * min(100, n_kb - start) for number, start in enumerate(range(0, n_kb, 100), 1)
    }
    demo.SITES_PER_FACTOR = n_kb * demo.SITES_PER_FACTOR // 100
    demo.fits = lambda codes, start, bases, motif, motifs, *, is_decoy: (
        not is_decoy or _matches_nowhere(demo, codes, start, bases, motif)
    )
    motifs = demo.read_motifs((demo.HERE / "demo_motifs.meme").read_text(encoding="ascii"))
    genome = demo.make_genome()
    planted, _ = demo.choose_blocks()
    truth, decoys, _ = demo.plant(genome, motifs, planted)
    sequences = {chrom: "".join("ACGT"[code] for code in codes.tolist()) for chrom, codes in genome.items()}
    return sequences, _intervals(demo.in_fasta_order(truth)), _intervals(demo.in_fasta_order(decoys))


def _demo_maker() -> ModuleType:
    """The script that makes the demo's genome: a module of our own, whose constants may be set."""
    spec = importlib.util.spec_from_file_location("_unscrubbed_demo", DEMO_MAKER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def _matches_nowhere(demo: ModuleType, codes: IntArray, start: int, bases: IntArray, motif: object) -> bool:
    """Whether a decoy, and what it makes with its neighbours, matches its motif no better than a decoy may."""
    reach = len(bases) - 1
    around = np.concatenate([codes[max(0, start - reach) : start], bases, codes[start + len(bases) :][:reach]])
    return bool((demo.scan(around, motif) <= demo.MOST_DECOY_SCORE).all())


def _intervals(features: Iterable[object]) -> list[Interval]:
    return [
        Interval(one.chrom, one.start, one.end, name=one.name, strand=one.strand)  # type: ignore[attr-defined]
        for one in features
    ]


def of_factor(intervals: Sequence[Interval], factor: str) -> list[Interval]:
    """Those of the planted things that are a factor's, by their names: CTCF_site_7."""
    return [one for one in intervals if one.name.partition("_")[0] == factor]
