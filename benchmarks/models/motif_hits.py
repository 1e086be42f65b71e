"""Motif hits: where a JASPAR matrix fits best, in many sequences of one width at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gexplain.arrays import FloatArray, IntArray

BoolArray: TypeAlias = npt.NDArray[np.bool_]

# B sequences, L bases, W width of a motif, P = L - W + 1 places, S strands (forward, reverse)

# Added to each probability before the logarithm, so that a base never seen costs much and not everything.
PSEUDOCOUNT = 0.001
_CODES = np.full(256, 4, dtype=np.intp)
_CODES[np.frombuffer(b"ACGT", dtype=np.uint8)] = range(4)


@dataclass(frozen=True, slots=True, eq=False)
class Motif:
    """A JASPAR matrix: its id with the version, its name, and the probabilities of A, C, G and T, (W, 4)."""

    id: str
    name: str
    probabilities: FloatArray

    def log_odds(self) -> FloatArray:
        """(W, 4) in bits, against a background in which the four bases are alike."""
        smoothed_W4 = (self.probabilities + PSEUDOCOUNT) / (1 + 4 * PSEUDOCOUNT)
        log_odds_W4: FloatArray = np.log2(smoothed_W4 / 0.25)
        return log_odds_W4


@dataclass(frozen=True, slots=True, eq=False)
class BestHits:
    """Each sequence's best hit: start (B,) on the sequence as given, score (B,) as a share of the best possible."""

    start: IntArray
    score: FloatArray
    width: int


def read_motif(path: Path, base_id: str) -> Motif:
    """The newest version of a matrix ("MA0093") in a MEME file; ValueError where there is none."""
    versions = {}
    for block in path.read_text(encoding="ascii").split("\nMOTIF ")[1:]:
        header, *lines = block.splitlines()
        motif_id, name = header.split()[:2]
        if motif_id.partition(".")[0] != base_id:
            continue
        matrix = next(index for index, line in enumerate(lines) if line.startswith("letter-probability matrix"))
        width = int(lines[matrix].split("w=")[1].split()[0])
        rows = [[float(value) for value in line.split()] for line in lines[matrix + 1 : matrix + 1 + width]]
        versions[int(motif_id.partition(".")[2])] = Motif(motif_id, name, np.array(rows))
    if not versions:
        raise ValueError(f"{path} has no motif {base_id}")
    return versions[max(versions)]


def scan_motif(sequences: Sequence[str], motif: Motif) -> FloatArray:
    """Scores of the motif at every place of sequences of one width, as shares of its best score: (B, P, S).

    A place is the first base of the motif's span on the sequence as given, for both strands. A letter that is no
    base scores as the worst one.
    """
    forward_W4 = motif.log_odds()
    codes_BL = _CODES[np.frombuffer("".join(sequences).encode("ascii"), dtype=np.uint8)].reshape(len(sequences), -1)
    width = len(forward_W4)
    n_places = codes_BL.shape[1] - width + 1
    scores_BPS = np.zeros((len(sequences), n_places, 2))
    # The reverse complement of a matrix, with bases in the order A C G T, is the matrix turned by half a turn.
    for strand, log_odds_W4 in enumerate((forward_W4, forward_W4[::-1, ::-1])):
        log_odds_W5 = np.column_stack([log_odds_W4, log_odds_W4.min(1)])
        for column, row in enumerate(log_odds_W5):
            scores_BPS[:, :, strand] += row[codes_BL[:, column : column + n_places]]
    scores_BPS /= forward_W4.max(1).sum()
    return scores_BPS


def best_hits(scores_BPS: FloatArray, motif: Motif) -> BestHits:
    """The best hit of each sequence, on either strand; of equal ones the first."""
    best_BP = scores_BPS.max(2)
    start_B = best_BP.argmax(1)
    return BestHits(start_B, np.take_along_axis(best_BP, start_B[:, None], axis=1)[:, 0], len(motif.probabilities))


def covered_by_hits(scores_BPS: FloatArray, motif: Motif, threshold: float, *, margin: int = 0) -> BoolArray:
    """Whether each base lies in a hit of at least `threshold`, or within `margin` bases of one: (B, L) bool."""
    is_hit_BP = scores_BPS.max(2) >= threshold
    width = len(motif.probabilities)
    n_bases = is_hit_BP.shape[1] + width - 1
    covered_BL = np.zeros((len(is_hit_BP), n_bases), dtype=bool)
    for shift in range(-margin, width + margin):
        low, high = max(0, shift), min(n_bases, is_hit_BP.shape[1] + shift)
        covered_BL[:, low:high] |= is_hit_BP[:, low - shift : high - shift]
    return covered_BL
