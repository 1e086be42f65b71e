"""The pipeline: every stage between a plan of regions and the tracks, on one page.

    plan -> windows -> sequences -> readings (model and relevance) -> WindowResult
                                                                          | values_of
                                     tracks, block by block  <- blend <- (2K, L) per window

Nothing here grows with the number of regions or the genome: windows are read in pools, tracks leave in blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Literal

import numpy as np

from gexplain.aggregation import Track, blend
from gexplain.arrays import FloatArray
from gexplain.attribution.explainers import Explainer, Reading
from gexplain.attribution.target import Target
from gexplain.errors import RunError
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval, Strand, format_region
from gexplain.genome.sequence import count_ambiguous
from gexplain.models.model import Model
from gexplain.windows import Window

Weight = Literal["none", "probability"]

# Windows sorted by length together: enough that batches of like length form, few enough to lose little in a crash.
MIN_POOL, BATCHES_PER_POOL = 64, 4

# The columns of WindowResult.books, all in the model's units: the value explained; the relevance of all tokens; the
# part of it on [CLS] and [SEP]; what biases and norms, attention (softmax and ALiBi) and the token type took.
BOOKS = ("explained", "words", "special", "constants", "attention", "token_type")


@dataclass(frozen=True, slots=True, eq=False)
class WindowResult:
    """What the model says of one window, and why.

    logits: (N,) float64. relevance: (K, L) float32. books: (K, 6) float64, see BOOKS; NaN where the method
    keeps no ledger. All three are None for a window of N alone, which is not scored.
    """

    window: Window
    n_ambiguous: int
    logits: FloatArray | None = None
    relevance: FloatArray | None = None
    books: FloatArray | None = None


def pool_size(explainer: Explainer) -> int:
    """Windows of a pool: those that may share a batch, and that a crash loses at most."""
    return max(MIN_POOL, BATCHES_PER_POOL * explainer.batch_size)


def read_windows(
    windows: Iterable[Window], genome: Genome, explainer: Explainer, target: Target
) -> Iterator[list[WindowResult]]:
    """Results of all windows, in order, a pool at a time."""
    stream = iter(windows)
    n_pool = pool_size(explainer)
    while pool := list(islice(stream, n_pool)):
        sequences = {window: genome.fetch(window.chrom, window.start, window.end) for window in pool}
        ambiguous = {window: count_ambiguous(sequence) for window, sequence in sequences.items()}
        results = {}
        for strand in dict.fromkeys(window.strand for window in pool):
            scored = [
                window
                for window in pool
                if window.strand == strand and sequences[window].count("N") < len(sequences[window])
            ]
            for window, reading in zip(scored, _read(explainer, scored, sequences, target, strand), strict=True):
                results[window] = WindowResult(
                    window,
                    ambiguous[window],
                    logits=reading.logits,
                    relevance=reading.relevance.astype(np.float32),
                    books=_books(reading),
                )
        yield [results.get(window, WindowResult(window, ambiguous[window])) for window in pool]


def values_of(result: WindowResult, model: Model, target: Target, weight: Weight) -> FloatArray:
    """(2K, L): the K relevance values of every base, then the window's K predictions, the same at every base."""
    assert result.logits is not None
    assert result.relevance is not None
    predictions = model.probabilities(result.logits)
    chosen = list(target.classes) if target.classes else [int(result.logits.argmax())]
    predicted = predictions[chosen][:, None]
    relevance = result.relevance * predicted if weight == "probability" else result.relevance
    return np.concatenate([relevance, np.broadcast_to(predicted, relevance.shape)])


def tracks_of(
    results: Iterable[WindowResult], model: Model, target: Target, weight: Weight
) -> Iterator[tuple[Strand, Track]]:
    """Tracks of 2K values a base (see `values_of`), in genome order, from results sorted by chrom, strand, start."""
    scored = (result for result in results if result.relevance is not None)
    for (chrom, strand), group in groupby(scored, lambda result: (result.window.chrom, result.window.strand)):
        values = ((result.window.start, values_of(result, model, target, weight)) for result in group)
        for track in blend(chrom, values, 2 * target.n_explained):
            yield strand, track


def _read(
    explainer: Explainer,
    windows: list[Window],
    sequences: dict[Window, str],
    target: Target,
    strand: Strand,
) -> list[Reading]:
    try:
        return explainer.read([sequences[window] for window in windows], target, strand)
    except RunError as error:
        first = Interval(windows[0].chrom, windows[0].start, windows[0].end)
        raise RunError(f"at the windows from {format_region(first)} on: {error.message}", hint=error.hint) from error


def _books(reading: Reading) -> FloatArray:
    ledger = dict(reading.ledger)
    nothing = np.full(len(reading.explained), 0.0 if ledger else np.nan)
    token_type, attention = ledger.pop("token_type", nothing), ledger.pop("attention", nothing)
    constants = np.sum(list(ledger.values()), axis=0) if ledger else nothing
    return np.stack([reading.explained, reading.words, reading.special, constants, attention, token_type], axis=1)
