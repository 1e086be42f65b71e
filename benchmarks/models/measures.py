"""The gates of the shipped models: how well a model tells bound from unbound, on data it was not trained on.

Every score is that of both strands: the mean of their logits. A factor's score is its logit less the background's.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from genome_like import joined_sequences, markov_sequences, peak_flanks
from human import BACKGROUND, FILES, PEAK_WIDTH
from motif_hits import Motif, best_hits, read_motif, scan_motif
from yeast import FACTORS, random_windows, read_intervals, site_windows

import gexplain
from gexplain.arrays import FloatArray
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval

HUMAN_MOTIFS = {"CTCF": "MA0139", "FOXA1": "MA0148", "GABPA": "MA0062", "REST": "MA0138", "USF1": "MA0093"}
YEAST_MOTIFS = {"Reb1": "MA0363", "Rap1": "MA0359", "Abf1": "MA0265"}
BATCH_SIZE = 256
RHEE = "Reb1 (Rhee)"
N_GENOME_LIKE = 2_000
# Not the seed of background.fa.
GENOME_LIKE_SEED = 99


# ---- The data ----


@dataclass(frozen=True, slots=True, eq=False)
class HumanTest:
    """What `prepare.py human` wrote for tests.

    peaks, shuffles: factor to its sequences, pairwise. sequences, labels: the balanced six classes.
    genome_like: kind to sequences without peaks.
    """

    peaks: dict[str, list[str]]
    shuffles: dict[str, list[str]]
    sequences: list[str]
    labels: list[str]
    genome_like: dict[str, list[str]]


def read_human_test(prepared: Path, genome: Path) -> HumanTest:
    """The human test set; prepared: a folder of prepare.py. genome: the FASTA of yeast, as a real genome."""
    pairs: dict[str, dict[str, list[str]]] = {kind: {factor: [] for factor in FILES} for kind in ("peak", "shuffle")}
    with (prepared / "test_pairs.tsv").open(encoding="ascii", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            pairs[row["kind"]][row["factor"]].append(row["sequence"])
    with (prepared / "test.csv").open(encoding="ascii", newline="") as file:
        rows = list(csv.DictReader(file))
    rng = np.random.default_rng(GENOME_LIKE_SEED)
    flanks = peak_flanks([peak for peaks in pairs["peak"].values() for peak in peaks])
    with Genome(genome) as yeast:
        windows = random_windows(yeast.chroms, N_GENOME_LIKE, lambda *_: True, rng, width=PEAK_WIDTH)
        genome_like = {
            "Markov": markov_sequences(N_GENOME_LIKE, PEAK_WIDTH, rng),
            "flanks of test peaks, joined": joined_sequences(flanks, N_GENOME_LIKE, PEAK_WIDTH, rng),
            "yeast genome": [yeast.fetch(window) for window in windows],
        }
    return HumanTest(
        peaks=pairs["peak"],
        shuffles=pairs["shuffle"],
        sequences=[row["sequence"] for row in rows],
        labels=[row["label"] for row in rows],
        genome_like=genome_like,
    )


@dataclass(frozen=True, slots=True, eq=False)
class YeastTest:
    """Windows of chromosomes IV and XVI: of each factor's sites, of Rhee's clusters, unbound promoters and random.

    unbound_free, random_free: the negatives that no Rhee cluster overlaps.
    """

    sites: dict[str, list[str]]
    rhee: list[str]
    unbound: list[str]
    random: list[str]
    unbound_free: list[str]
    random_free: list[str]

    def counts(self) -> dict[str, int]:
        """How many windows there are of each kind."""
        windows = {**self.sites, RHEE: self.rhee, "unbound": self.unbound, "random": self.random}
        free = {"unbound_free": self.unbound_free, "random_free": self.random_free}
        return {kind: len(sequences) for kind, sequences in (windows | free).items()}


def read_yeast_test(prepared: Path, genome: Path) -> YeastTest:
    """The yeast test set; prepared: a folder of prepare.py. genome: its FASTA."""
    folder = prepared / "eval"
    rhee = read_intervals(folder / "rhee_reb1.bed")
    with Genome(genome) as fasta:

        def fetch(windows: Sequence[Interval]) -> list[str]:
            return [fasta.fetch(window) for window in windows]

        negatives = {name: read_intervals(folder / f"{name}.bed") for name in ("unbound", "random")}
        free = {name: [one for one in windows if not _overlaps(one, rhee)] for name, windows in negatives.items()}
        return YeastTest(
            sites={factor: fetch(read_intervals(folder / f"{factor.lower()}.bed")) for factor in FACTORS},
            rhee=fetch(list(site_windows(rhee, fasta.chroms))),
            unbound=fetch(negatives["unbound"]),
            random=fetch(negatives["random"]),
            unbound_free=fetch(free["unbound"]),
            random_free=fetch(free["random"]),
        )


def read_motifs(folder: Path) -> dict[str, Motif]:
    """Factor to its JASPAR matrix; folder: the one of the MEME files."""
    files = {"vertebrates": HUMAN_MOTIFS, "fungi": YEAST_MOTIFS}
    return {
        factor: read_motif(folder / f"JASPAR2024_CORE_{group}_latest-version.meme", motif_id)
        for group, motifs in files.items()
        for factor, motif_id in motifs.items()
    }


# ---- The measures ----


def auroc(positive: FloatArray, negative: FloatArray) -> float:
    """The chance that a positive scores above a negative, a tie counting half."""
    scores = np.concatenate([positive, negative])
    _, rank, n_equal = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = (n_equal.cumsum() - (n_equal - 1) / 2)[rank]
    n_positive, n_negative = len(positive), len(negative)
    return float((mean_rank[:n_positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


class ModelScores:
    """What a model says of sequences; each is read once."""

    def __init__(self, model: gexplain.Model) -> None:
        self._model = model
        self._column = {label: index for index, label in enumerate(model.labels)}
        self._known: dict[str, FloatArray] = {}

    def logits(self, sequences: Sequence[str]) -> FloatArray:
        """(B, n_targets), the mean of both strands."""
        new = list(dict.fromkeys(one for one in sequences if one not in self._known))
        if new:
            self._known.update(zip(new, self._model.predict(new, strand="both", batch_size=BATCH_SIZE), strict=True))
        return np.stack([self._known[one] for one in sequences])

    def bound(self, sequences: Sequence[str], factor: str) -> FloatArray:
        """(B,): the factor's logit less the background's."""
        logits_BN = self.logits(sequences)
        return logits_BN[:, self._column[factor]] - logits_BN[:, self._column[BACKGROUND]]

    def labels(self, sequences: Sequence[str]) -> list[str]:
        """The class of the highest logit of each sequence."""
        return [self._model.labels[index] for index in self.logits(sequences).argmax(1)]


class MotifScores:
    """The best hit of a factor's motif: what a model must add to."""

    def __init__(self, motifs: Mapping[str, Motif]) -> None:
        self._motifs = motifs

    def bound(self, sequences: Sequence[str], factor: str) -> FloatArray:
        """(B,): the score of the best hit on either strand."""
        motif = self._motifs[factor]
        return best_hits(scan_motif(sequences, motif), motif).score


Scores = ModelScores | MotifScores


def human_aurocs(scores: Scores, test: HumanTest) -> dict[str, float]:
    """Factor to the AUROC of its peaks against their shuffles."""
    return {
        factor: auroc(scores.bound(peaks, factor), scores.bound(test.shuffles[factor], factor))
        for factor, peaks in test.peaks.items()
    }


def human_accuracy(scores: ModelScores, test: HumanTest) -> dict[str, float]:
    """Accuracy on the balanced classes together ("all"), and on each."""
    is_right = np.array(
        [found == label for found, label in zip(scores.labels(test.sequences), test.labels, strict=True)]
    )
    of_class = {name: np.array([label == name for label in test.labels]) for name in dict.fromkeys(test.labels)}
    return {"all": float(is_right.mean())} | {name: float(is_right[rows].mean()) for name, rows in of_class.items()}


def human_called_bound(scores: ModelScores, test: HumanTest) -> dict[str, float]:
    """Kind of sequence without peaks to the share of it in which another class than background is highest."""
    shuffles = {"shuffles of test peaks": [one for of_factor in test.shuffles.values() for one in of_factor]}
    return {
        kind: float(np.mean([label != BACKGROUND for label in scores.labels(sequences)]))
        for kind, sequences in (test.genome_like | shuffles).items()
    }


def share_with_motif(motifs: Mapping[str, Motif], test: HumanTest, threshold: float) -> dict[str, float]:
    """Kind of genome-like sequence to the share of it with a hit of any factor's motif of at least `threshold`."""
    return {
        kind: float(
            np.max(
                [best_hits(scan_motif(sequences, motifs[f]), motifs[f]).score >= threshold for f in FILES], 0
            ).mean()
        )
        for kind, sequences in test.genome_like.items()
    }


def yeast_aurocs(scores: Scores, test: YeastTest, factors: Sequence[str]) -> dict[str, dict[str, float]]:
    """Positives to their AUROC against unbound promoters and random windows ("both"), and against either alone.

    Rhee's clusters, where Reb1 is a factor, against the same, and against those that no cluster overlaps.
    """
    aurocs = {}
    for factor in factors:
        unbound, random = scores.bound(test.unbound, factor), scores.bound(test.random, factor)
        positives = {factor: test.sites[factor]} | ({RHEE: test.rhee} if factor == "Reb1" else {})
        for name, sequences in positives.items():
            positive = scores.bound(sequences, factor)
            aurocs[name] = _against(positive, unbound, random)
            if name == RHEE:
                free = scores.bound(test.unbound_free, factor), scores.bound(test.random_free, factor)
                aurocs[f"{name}, negatives off its clusters"] = _against(positive, *free)
    return aurocs


def _against(positive: FloatArray, unbound: FloatArray, random: FloatArray) -> dict[str, float]:
    return {
        "both": auroc(positive, np.concatenate([unbound, random])),
        "unbound": auroc(positive, unbound),
        "random": auroc(positive, random),
    }


def _overlaps(one: Interval, others: Sequence[Interval]) -> bool:
    return any(one.chrom == other.chrom and one.start < other.end and other.start < one.end for other in others)
