"""Sequence that looks like genome and holds no peak: what a model of binding must call background.

Two kinds, since each lacks something. A Markov chain has the composition of a human genome (mostly A and T, varying
from place to place, few CpG) and no structure beyond. Flanks of ChIP-seq peaks are real, with the repeats and the
phrasing of a genome, but open chromatin only, and short: several are joined to fill a window.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gexplain.genome.sequence import reverse_complement

_LETTERS = np.frombuffer(b"ACGT", dtype=np.uint8)
_C, _G = 1, 2

# GC content of a piece: normal, clipped. Human chromosomes in windows of 100 to 1,000 bases.
GC_MEAN, GC_SD, GC_RANGE = 0.42, 0.07, (0.28, 0.66)
# The share of the CpG that composition alone would give: methylated C decays to T.
CPG_KEPT = (0.15, 0.6)
# A base is followed by itself this much more often: A and T runs.
REPEATED = 1.15


def markov_sequences(n: int, width: int, rng: np.random.Generator) -> list[str]:
    """n sequences of `width` bases from first-order Markov chains, each with its own GC content and CpG depletion."""
    gc_B = np.clip(rng.normal(GC_MEAN, GC_SD, n), *GC_RANGE)
    base_B4 = np.stack([(1 - gc_B) / 2, gc_B / 2, gc_B / 2, (1 - gc_B) / 2], axis=1)
    next_B44 = np.repeat(base_B4[:, None, :], 4, axis=1)
    next_B44[:, _C, _G] *= rng.uniform(*CPG_KEPT, n)
    next_B44[:, range(4), range(4)] *= REPEATED
    next_B44 /= next_B44.sum(2, keepdims=True)
    # The last sum may fall short of 1 by rounding, and a draw above it would be a fifth letter.
    first_B4, cumulative_B44 = base_B4.cumsum(1)[:, :3], next_B44.cumsum(2)[:, :, :3]
    draw_BL = rng.random((n, width))
    code_BL = np.empty((n, width), dtype=np.intp)
    rows = np.arange(n)
    for position in range(width):
        below_B3 = first_B4 if position == 0 else cumulative_B44[rows, code_BL[:, position - 1]]
        code_BL[:, position] = (draw_BL[:, position, None] >= below_B3).sum(1)
    text = _LETTERS[code_BL].tobytes().decode("ascii")
    return [text[start : start + width] for start in range(0, n * width, width)]


def peak_flanks(peaks: Sequence[str], width: int = 26) -> list[str]:
    """The first and the last `width` bases of each peak: outside the motif, which lies at a peak's centre."""
    return [flank for peak in peaks for flank in (peak[:width], peak[-width:])]


def join_flanks(flanks: Sequence[str], rng: np.random.Generator) -> str:
    """All flanks in random order, each on a random strand, as one sequence."""
    order = rng.permutation(len(flanks)).tolist()
    is_reverse = (rng.random(len(flanks)) < 0.5).tolist()
    return "".join(
        reverse_complement(flanks[index]) if reverse else flanks[index]
        for index, reverse in zip(order, is_reverse, strict=True)
    )


def joined_sequences(flanks: Sequence[str], n: int, width: int, rng: np.random.Generator) -> list[str]:
    """n sequences of `width` bases: flanks drawn at random (with replacement) and joined, on either strand."""
    per_sequence = -(-width // min(map(len, flanks)))
    return [
        join_flanks([flanks[index] for index in row], rng)[:width]
        for row in rng.integers(len(flanks), size=(n, per_sequence)).tolist()
    ]
