"""Scanning: where sequence matches a motif, on both strands, with the p-value of FIMO.

A match is scored by the log-odds of its letters, and its p-value is the chance that a random word of that width, its
letters uniform and independent, scores as high (Grant, Bailey and Noble 2011, https://doi.org/10.1093/bioinformatics/btr064).
The work is memelite's, which no other module knows: the letters of a call are joined, and its answers divided again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gexplain.arrays import IntArray
from gexplain.errors import RunError, UsageError
from gexplain.motifs.database import BASES, Motif

if TYPE_CHECKING:
    import pandas as pd

MATCH = np.dtype(
    [
        ("sequence", "i8"),
        ("motif", "i4"),
        ("start", "i8"),
        ("end", "i8"),
        ("strand", "i1"),
        ("score", "f8"),
        ("p", "f8"),
    ]
)
"""One match. sequence, motif: 0-based indices. start, end: 0-based, half-open, on the forward strand.
strand: 1 or -1. score: log-odds in bits."""

# Bases that memelite is given at a time: each call makes its p-value tables anew, and takes about 20 bytes a base.
CALL_BASES = 1 << 20

# FIMO's own: what a score is rounded to for its p-value, in bits, and what is added to every probability.
BIN_BITS = 0.1
PSEUDOCOUNT = 1e-4

_NO_BASE = len(BASES)
_CODES = np.full(256, _NO_BASE, dtype=np.uint8)
_CODES[np.frombuffer(BASES.encode(), np.uint8)] = np.arange(len(BASES))

# sequence, start and end of what a call scans for matches that start there: a whole sequence, or a piece of one.
_Piece = tuple[int, int, int]


class Scanner:
    """Finds the matches of motifs with a p-value below `p`.

    motifs: at least one. p: in (0, 1]; UsageError otherwise. A motif that is too short to have such a match has none.
    """

    def __init__(self, motifs: Sequence[Motif], p: float = 1e-4) -> None:
        if not 0 < p <= 1:
            raise UsageError(f"a p-value threshold of {p:g}, expected 0 < p <= 1", hint="1e-4 is usual")
        if not motifs:
            raise ValueError("a scanner needs at least one motif")
        self.p = p
        self.widest = max(motif.width for motif in motifs)
        """In nucleotides."""
        self._matrices = {str(index): motif.probabilities.T for index, motif in enumerate(motifs)}
        self._least_p = np.array([_least_p(motif) for motif in motifs])
        self._fimo = _load_fimo()

    def scan(self, sequences: Sequence[str]) -> NDArray[np.void]:
        """The matches in these sequences: (n,) of MATCH, sorted by sequence, start, end, motif and strand.

        sequences: of any length each, upper case; ValueError for a lower-case letter. A match holds A, C, G and T
        only, as MEME's own FIMO has it: where memelite gives another letter a log-odds of 0, what it finds is left
        out. And where it gives a p-value of 0, to a score above all that it counted, the match has that of the best
        word instead. How sequences are cut into calls changes no match. Memory: that of a call and of the matches.
        """
        found = [self._scan_call(sequences, pieces) for pieces in _calls(sequences)]
        matches = np.concatenate([np.empty(0, MATCH), *found])
        order = np.lexsort([matches[field] for field in ("strand", "motif", "end", "start", "sequence")])
        return matches[order]

    def _scan_call(self, sequences: Sequence[str], pieces: Sequence[_Piece]) -> NDArray[np.void]:
        """The matches that start in these pieces."""
        # A match may reach past its piece. One letter that is no base parts neighbours.
        texts = [sequences[index][start : end + self.widest - 1] for index, start, end in pieces]
        codes, place = _encode("N".join(texts), pieces)
        if not len(codes):
            return np.empty(0, MATCH)
        frames = self._fimo(
            self._matrices,
            (codes == np.arange(len(BASES), dtype=np.uint8)[:, None]).view(np.int8)[None],
            bin_size=BIN_BITS,
            eps=PSEUDOCOUNT,
            threshold=self.p,
        )
        # Of a frame without rows the columns have other types.
        filled = [(motif, frame) for motif, frame in enumerate(frames) if len(frame)]
        matches = np.empty(sum(len(frame) for _, frame in filled), MATCH)
        at = 0
        for motif, frame in filled:
            self._fill(matches[at : at + len(frame)], motif, frame)
            at += len(frame)
        matches = matches[(matches["p"] < self.p) & _holds_bases_only(codes, matches["start"], matches["end"])]

        offsets = np.cumsum([0, *(len(text) + 1 for text in texts)])[:-1]
        index, start, end = np.array(pieces, dtype=np.int64).T
        width = matches["end"] - matches["start"]
        joined_start = place[matches["start"]]
        piece = np.searchsorted(offsets, joined_start, side="right") - 1
        matches["sequence"] = index[piece]
        matches["start"] = joined_start - offsets[piece] + start[piece]
        matches["end"] = matches["start"] + width
        # What starts past the end of its piece is found in the next one.
        owned: NDArray[np.void] = matches[matches["start"] < end[piece]]
        return owned

    def _fill(self, matches: NDArray[np.void], motif: int, frame: pd.DataFrame) -> None:
        """One motif's frame as matches, with places in the codes."""
        p = frame["p-value"].to_numpy(np.float64)
        matches["motif"] = motif
        matches["start"] = frame["start"].to_numpy()
        matches["end"] = frame["end"].to_numpy()
        matches["strand"] = np.where((frame["strand"] == "-").to_numpy(), -1, 1)
        matches["score"] = frame["score"].to_numpy()
        matches["p"] = np.where(p > 0, p, self._least_p[motif])


def _load_fimo() -> Callable[..., list[pd.DataFrame]]:
    # memelite brings numba and pandas.
    try:
        from memelite import fimo
    except RuntimeError as error:
        # numba keeps compiled code beside memelite, else in the user's cache folder; it raises where neither will do.
        if "cannot cache" not in str(error):
            raise
        raise RunError(
            f"the motif scanner finds no folder for its compiled code: {error}",
            hint="set NUMBA_CACHE_DIR to a folder of your own that can be written",
        ) from error
    function: Callable[..., list[pd.DataFrame]] = fimo
    return function


def _calls(sequences: Sequence[str]) -> Iterator[list[_Piece]]:
    """What each call scans: together, all of every sequence, in order, fewer than 2 CALL_BASES a call."""
    pieces: list[_Piece] = []
    n_bases = 0
    for index, sequence in enumerate(sequences):
        for start in range(0, len(sequence), CALL_BASES):
            end = min(start + CALL_BASES, len(sequence))
            pieces.append((index, start, end))
            n_bases += end - start
            if n_bases >= CALL_BASES:
                yield pieces
                pieces, n_bases = [], 0
    if pieces:
        yield pieces


def _encode(text: str, pieces: Sequence[_Piece]) -> tuple[NDArray[np.uint8], IntArray]:
    """The codes of the letters, 0 to 3 for A, C, G, T and 4 for a run of others, and where in the text each is.

    memelite is ten times slower where nothing is known than where something is: a gap is one letter to it. Both are
    empty where there is no base at all.
    """
    letters = np.frombuffer(text.encode("ascii", "replace"), np.uint8)
    if (letters >= ord("a")).any():
        raise ValueError(
            f"lower-case letters in the sequences {pieces[0][0]} to {pieces[-1][0]} (from 0); "
            "soft-masked bases are bases: give upper case"
        )
    codes = _CODES[letters]
    is_kept = codes != _NO_BASE
    if is_kept.any():
        is_kept[1:] |= codes[:-1] != _NO_BASE
    place = np.flatnonzero(is_kept)
    return codes[place], place


def _holds_bases_only(codes: NDArray[np.uint8], start: IntArray, end: IntArray) -> NDArray[np.bool_]:
    n_before = np.concatenate([[0], np.cumsum(codes == _NO_BASE)])
    holds: NDArray[np.bool_] = n_before[start] == n_before[end]
    return holds


def _least_p(motif: Motif) -> float:
    """The p-value of the best word: the share of words that reach the highest sum of rounded log-odds."""
    bins = np.round((np.log2(motif.probabilities + PSEUDOCOUNT) - np.log2(1 / len(BASES))) / BIN_BITS)
    n_best = (bins == bins.max(1, keepdims=True)).sum(1)
    return float(np.prod(n_best / len(BASES)))
