"""Tiny genomes, tracks and motifs for the tests of seqlets and hits: real files, made on the spot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gexplain.genome.bigwig import BigWigWriter
from gexplain.motifs.database import Motif


def random_letters(rng: np.random.Generator, n: int) -> str:
    return "".join(rng.choice(list("ACGT"), n))


def write_fasta(path: Path, chroms: Mapping[str, str]) -> Path:
    path.write_text("".join(f">{name}\n{letters}\n" for name, letters in chroms.items()))
    return path


def write_bigwig(path: Path, lengths: Mapping[str, int], values: Mapping[str, np.ndarray]) -> Path:
    """values: all of a chromosome's, in the order of `lengths`."""
    with BigWigWriter(path, lengths) as writer:
        for chrom, of_chrom in values.items():
            writer.write(chrom, 0, of_chrom.astype(np.float32))
    return path


def noise(rng: np.random.Generator, n: int) -> np.ndarray:
    """(n,) float32: noise whose neighbours are alike, as relevance is."""
    return np.convolve(rng.normal(size=n + 4), np.ones(5), mode="valid").astype(np.float32)


def gaps(rng: np.random.Generator, values: np.ndarray, n_gaps: int = 3) -> np.ndarray:
    """The values with some stretches of NaN."""
    values = values.copy()
    for start in rng.integers(0, len(values), n_gaps).tolist():
        values[start : start + int(rng.integers(1, 1 + len(values) // 10))] = np.nan
    return values


def word_motif(identifier: str, word: str, name: str = "", sure: float = 0.97) -> Motif:
    """The motif of a word; N asks for nothing."""
    rows = [[sure if base == letter else (1 - sure) / 3 for base in "ACGT"] for letter in word]
    matrix = np.array([[0.25] * 4 if letter == "N" else row for letter, row in zip(word, rows, strict=True)])
    return Motif(identifier, name or identifier, matrix)


def write_meme(path: Path, motifs: Sequence[Motif]) -> Path:
    blocks = [
        f"MOTIF {one.id} {one.name}\nletter-probability matrix: alength= 4 w= {one.width} nsites= 20 E= 0\n"
        + "".join(" ".join(f"{share:.6f}" for share in row) + "\n" for row in one.probabilities)
        for one in motifs
    ]
    path.write_text("MEME version 4\n\nALPHABET= ACGT\n\n" + "\n".join(blocks))
    return path
