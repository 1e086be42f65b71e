"""Negatives: sequences of the class "background", drawn anew whenever they are asked for.

Dinucleotide shuffles have the composition of the positives and nothing else; random windows of the genome have what
genomes are made of; a BED has what its author knows to be unbound. Each teaches a model to pass over something else.
A draw depends on its generator alone, and on no draw before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gexplain.arrays import IntArray
from gexplain.errors import InputError, UsageError, count
from gexplain.genome.fasta import Genome
from gexplain.genome.shuffle import dinucleotide_shuffle
from gexplain.training.overlaps import merge_intervals, overlap_any

DINUC_SHUFFLE, RANDOM_GENOME = "dinuc-shuffle", "random-genome"

# A random window may have so large a share of N, and must be found in so many rounds of drawing.
MAX_N_SHARE = 0.1
MAX_ROUNDS = 10_000


class NegativeSource(Protocol):
    """Where negatives come from."""

    @property
    def name(self) -> str:
        """As the user named it: dinuc-shuffle, random-genome, or a BED's file name."""
        ...

    def draw(self, n: int, rng: np.random.Generator, positives: Sequence[str]) -> list[str]:
        """As many negatives for these positive windows, of which there is at least one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Negatives:
    """Which negatives are asked for. sources: dinuc-shuffle, random-genome and paths of BEDs, in equal shares.

    per_positive: negatives of all sources together for one positive.
    """

    sources: tuple[str, ...] = ()
    per_positive: float = 1.0

    def __post_init__(self) -> None:
        # Also false for NaN.
        if not 0 < self.per_positive < float("inf"):
            raise UsageError(f"{self.per_positive} negatives per positive; expected more than 0", hint="1, say")
        twice = sorted({source for source in self.sources if self.sources.count(source) > 1})
        if twice:
            raise UsageError(f"negatives {twice[0]!r} are asked for twice", hint="name each source once")

    @property
    def beds(self) -> tuple[str, ...]:
        """The sources that are paths."""
        return tuple(source for source in self.sources if source not in (DINUC_SHUFFLE, RANDOM_GENOME))

    def n_for(self, n_positives: int) -> int:
        """Negatives for so many positives: at least one of each source, none without a source."""
        return max(round(self.per_positive * n_positives), len(self.sources)) if self.sources else 0


def draw_evenly(
    sources: Sequence[NegativeSource], n: int, rng: np.random.Generator, positives: Sequence[str]
) -> list[str]:
    """Negatives from the sources in equal shares; the first give one more each where n cannot be shared."""
    drawn: list[str] = []
    for source, share in zip(sources, np.array_split(np.arange(n), len(sources)), strict=True):
        drawn += source.draw(len(share), rng, positives)
    return drawn


@dataclass(frozen=True, slots=True)
class DinucleotideShuffles:
    """Shuffles of the positives that keep their dinucleotide counts."""

    name: str = DINUC_SHUFFLE

    def draw(self, n: int, rng: np.random.Generator, positives: Sequence[str]) -> list[str]:
        """Shuffles of n positives chosen at random; of each before any is shuffled again."""
        return dinucleotide_shuffle([positives[index] for index in draw_indices(len(positives), n, rng)], rng)


class BedWindows:
    """The windows of a BED, held in memory. margin: bases on each side of them; a draw takes a random sub-window."""

    def __init__(self, name: str, sequences: Sequence[str], margin: int = 0) -> None:
        if not sequences:
            raise ValueError(f"no windows of {name}")
        self.name = name
        self._sequences = sequences
        self._margin = margin

    def __len__(self) -> int:
        return len(self._sequences)

    def draw(self, n: int, rng: np.random.Generator, positives: Sequence[str]) -> list[str]:
        """As many of the windows; each before any is drawn again."""
        chosen = [self._sequences[index] for index in draw_indices(len(self._sequences), n, rng)]
        shifts = rng.integers(2 * self._margin + 1, size=n).tolist()
        trimmed = 2 * self._margin
        return [one[shift : len(one) - trimmed + shift] for one, shift in zip(chosen, shifts, strict=True)]


class RandomGenome:
    """Windows of the positives' widths at random places of a genome; every place is as likely.

    chroms: the chromosomes to draw from. avoid: by chromosome, (n, 2) intervals that no window may overlap.
    A window with more than MAX_N_SHARE of N is drawn again. Only the windows drawn are ever in memory.
    """

    name = RANDOM_GENOME

    def __init__(self, genome: Genome, chroms: Sequence[str], avoid: Mapping[str, IntArray] | None = None) -> None:
        if not chroms:
            raise ValueError("no chromosomes to draw from")
        self._genome = genome
        self._chroms = list(chroms)
        # The chromosomes end to end, on one axis: chromosome k is [borders[k], borders[k + 1]).
        lengths = np.array([genome.chroms[chrom] for chrom in chroms], dtype=np.int64)
        self._borders = np.concatenate([[0], np.cumsum(lengths)])
        avoid = avoid or {}
        shifted = [
            avoid[chrom] + border for chrom, border in zip(chroms, self._borders[:-1], strict=True) if chrom in avoid
        ]
        self._avoid = merge_intervals(np.concatenate([np.zeros((0, 2), dtype=np.int64), *shifted]))

    def draw(self, n: int, rng: np.random.Generator, positives: Sequence[str]) -> list[str]:
        """Windows, each of the width of a positive chosen at random. InputError where there is no room for one."""
        lengths = np.array([len(sequence) for sequence in positives], dtype=np.int64)
        width_N = lengths[draw_indices(len(lengths), n, rng)]
        drawn = [""] * n
        pending = np.arange(n)
        for _ in range(MAX_ROUNDS):
            if not len(pending):
                return drawn
            # A start anywhere; one whose window leaves its chromosome is drawn again, so that all are as likely.
            start = rng.integers(self._borders[-1], size=len(pending))
            end = start + width_N[pending]
            chrom = np.searchsorted(self._borders, start, side="right") - 1
            fits = (end <= self._borders[chrom + 1]) & ~overlap_any(start, end, self._avoid)
            for row, where in zip(pending[fits].tolist(), np.flatnonzero(fits).tolist(), strict=True):
                border = int(self._borders[chrom[where]])
                window = self._genome.fetch(
                    self._chroms[int(chrom[where])], int(start[where]) - border, int(end[where]) - border
                )
                if window.count("N") <= MAX_N_SHARE * len(window):
                    drawn[row] = window
            pending = np.array([row for row in pending.tolist() if not drawn[row]], dtype=np.int64)
        raise self._no_room(int(width_N[pending].max()))

    def _no_room(self, width: int) -> InputError:
        return InputError(
            f"{self._genome.path}: no random window of {width:,} bases found in {MAX_ROUNDS:,} draws from"
            f" {count(len(self._chroms), 'chromosome')} of {int(self._borders[-1]):,} bases: they are shorter,"
            " more than a tenth N, or overlap a labelled region",
            hint="give other chromosomes to the split, a shorter window, or other negatives (dinuc-shuffle)",
        )


def draw_indices(n_all: int, n: int, rng: np.random.Generator) -> IntArray:
    """Indices below n_all, (n,) in random order: each as often as all fit into n, the rest without replacement."""
    whole, rest = divmod(n, n_all)
    drawn = np.concatenate([np.tile(np.arange(n_all), whole), rng.choice(n_all, rest, replace=False)])
    rng.shuffle(drawn)
    return drawn
