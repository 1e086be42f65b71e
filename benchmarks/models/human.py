"""The human data: ChIP-seq peaks of five factors into train, dev and test, and a background genome.

Peaks lie in the files in the order of their rank. The B files hold the peaks of even rank among the 1,000 strongest,
and their shuffles: they are test. Where there is no B file, the peaks of odd rank among the 1,000 strongest are test
instead, which are the first 500 lines of the AC file. Of the rest, some at random are dev, and all others train.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from genome_like import join_flanks, markov_sequences, peak_flanks

from gexplain.genome.sequence import reverse_complement
from gexplain.genome.shuffle import dinucleotide_shuffle

BACKGROUND = "background"
# The CTCF peaks are of a CTCFL experiment: CTCF's paralogue, which binds the same motif.
FILES = {
    "CTCF": "CTCFL_K562_CTCFL_SC-98982_HudsonAlpha",
    "FOXA1": "FOXA1_HepG2_FOXA1_SC-101058_HudsonAlpha",
    "GABPA": "GABPA_GM12878_GABP_HudsonAlpha",
    "REST": "REST_GM12878_NRSF_HudsonAlpha",
    "USF1": "USF1_HepG2_USF-1_HudsonAlpha",
}
PEAK_WIDTH = 101
N_TEST = 500
N_DEV = 400
# No two places of the genome share as many, but repeats.
SHARED_BASES = 30
SPLIT_SEED = 7
BACKGROUND_SEED = 1
# Bases of either kind of background.fa; the pieces of a Markov chromosome have a composition each.
BACKGROUND_BASES = 4_000_000
CHROM_BASES = 200_000
PIECE_BASES = 500


@dataclass(frozen=True, slots=True)
class FactorSplit:
    """The peaks of one factor, and a dinucleotide shuffle of each dev and test peak (a B file has its own)."""

    train: list[str]
    dev: list[str]
    dev_shuffles: list[str]
    test: list[str]
    test_shuffles: list[str]


def split_peaks(data: Path) -> dict[str, FactorSplit]:
    """Factor to its split, always the same; data: the folder human_tf."""
    # One generator for all, in the order of FILES: another order, or another shuffle, is another split.
    rng = np.random.default_rng(SPLIT_SEED)
    splits = {}
    for factor, name in FILES.items():
        rest, _ = read_sequences(data / f"{name}_AC.seq.gz")
        b_file = data / f"{name}_B.seq.gz"
        if b_file.exists():
            test, test_shuffles = read_sequences(b_file)
        else:
            test, rest = rest[:N_TEST], rest[N_TEST:]
            test_shuffles = dinucleotide_shuffle(test, rng)
        held = set(rng.permutation(len(rest))[:N_DEV].tolist())
        dev = [rest[index] for index in held]
        splits[factor] = FactorSplit(
            train=[peak for index, peak in enumerate(rest) if index not in held],
            dev=dev,
            dev_shuffles=dinucleotide_shuffle(dev, rng),
            test=test,
            test_shuffles=test_shuffles,
        )
    return splits


def read_sequences(path: Path) -> tuple[list[str], list[str]]:
    """(bound, unbound) sequences of a .seq.gz file, in the order of its lines."""
    bound: list[str] = []
    unbound: list[str] = []
    with gzip.open(path, "rt", encoding="ascii", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            (bound if row["Bound"] == "1" else unbound).append(row["seq"])
    return bound, unbound


def without_shared(peaks: Iterable[str], held: Iterable[str], width: int = SHARED_BASES) -> list[str]:
    """The peaks that share no stretch of `width` bases, on either strand, with any of `held`."""

    def stretches(sequence: str) -> Iterator[str]:
        return (sequence[start : start + width] for start in range(len(sequence) - width + 1))

    seen = {stretch for peak in held for strand in (peak, reverse_complement(peak)) for stretch in stretches(strand)}
    return [peak for peak in peaks if not any(stretch in seen for stretch in stretches(peak))]


def prepare_human(
    data: Path,
    out: Path,
    *,
    disjoint: bool = False,
    strongest: int | None = None,
    n_background: int = BACKGROUND_BASES,
) -> dict[str, int]:
    """Write train.csv, dev.csv, test.csv, test_pairs.tsv and background.fa; returns rows per file and class.

    Train has peaks only: its negatives are drawn anew in training. Dev and test have shuffles of every factor as
    background, as many in all as one factor has peaks, so that the six classes are balanced.
    disjoint: leave out training peaks that share SHARED_BASES with a dev or test peak. Peaks of one factor hardly
    overlap, but factors bind at the same places: a place held out for one may be in the training peaks of another.
    strongest: train on so many peaks of a factor at most, those of the highest rank; the background is that of all.
    n_background: bases of either kind of background.
    """
    splits = split_peaks(data)
    out.mkdir(parents=True, exist_ok=True)
    peaks = {factor: split.train for factor, split in splits.items()}
    if disjoint:
        held = [peak for split in splits.values() for peak in (*split.dev, *split.test)]
        peaks = {factor: without_shared(of_factor, held) for factor, of_factor in peaks.items()}
    rows = {
        "train.csv": list(_labelled({factor: of_factor[:strongest] for factor, of_factor in peaks.items()})),
        "dev.csv": list(_balanced({factor: (split.dev, split.dev_shuffles) for factor, split in splits.items()})),
        "test.csv": list(_balanced({factor: (split.test, split.test_shuffles) for factor, split in splits.items()})),
    }
    counts: dict[str, int] = {}
    for name, labelled in rows.items():
        _write_rows(out / name, ("sequence", "label"), labelled, delimiter=",")
        for _, label in labelled:
            counts[f"{name} {label}"] = counts.get(f"{name} {label}", 0) + 1
    pairs = [
        (factor, kind, sequence)
        for factor, split in splits.items()
        for kind, sequences in (("peak", split.test), ("shuffle", split.test_shuffles))
        for sequence in sequences
    ]
    _write_rows(out / "test_pairs.tsv", ("factor", "kind", "sequence"), pairs, delimiter="\t")
    counts["test_pairs.tsv"] = len(pairs)
    chroms = background_chroms([peak for of_factor in peaks.values() for peak in of_factor], n_background)
    with (out / "background.fa").open("w", encoding="ascii", newline="\n") as file:
        for name, sequence in chroms.items():
            file.write(f">{name}\n")
            file.writelines(f"{sequence[start : start + 60]}\n" for start in range(0, len(sequence), 60))
    counts["background.fa bases"] = sum(map(len, chroms.values()))
    return counts


def background_chroms(train_peaks: list[str], n_bases: int) -> dict[str, str]:
    """Chromosome to sequence: markov1 ... and flanks1 ..., n_bases of either kind.

    Each flank of a training peak is used at most once, and a ValueError where there are too few.
    """
    rng = np.random.default_rng(BACKGROUND_SEED)
    markov = "".join(markov_sequences(-(-n_bases // PIECE_BASES), PIECE_BASES, rng))
    flanks = join_flanks(peak_flanks(train_peaks), rng)
    if len(flanks) < n_bases:
        raise ValueError(f"the flanks of {len(train_peaks)} peaks are {len(flanks):,} bases, fewer than {n_bases:,}")
    return {
        f"{kind}{number}": sequence[start : min(start + CHROM_BASES, n_bases)]
        for kind, sequence in (("markov", markov), ("flanks", flanks))
        for number, start in enumerate(range(0, n_bases, CHROM_BASES), 1)
    }


def _labelled(sequences: Mapping[str, Iterable[str]]) -> Iterator[tuple[str, str]]:
    for label, of_label in sequences.items():
        for sequence in of_label:
            yield sequence, label


def _balanced(pairs: Mapping[str, tuple[list[str], list[str]]]) -> Iterator[tuple[str, str]]:
    """Rows of all peaks, and of the first shuffles of each factor under the one label of all."""
    yield from _labelled({factor: peaks for factor, (peaks, _) in pairs.items()})
    for peaks, shuffles in pairs.values():
        yield from _labelled({BACKGROUND: shuffles[: len(peaks) // len(pairs)]})


def _write_rows(path: Path, header: tuple[str, ...], rows: Iterable[tuple[str, ...]], *, delimiter: str) -> None:
    with path.open("w", encoding="ascii", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
