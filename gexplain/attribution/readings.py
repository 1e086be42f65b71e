"""Readings: what the relevance of a batch says of each sequence in it, laid on nucleotides of the DNA as given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gexplain.arrays import FloatArray, IntArray
from gexplain.attribution.batches import Batch
from gexplain.attribution.relevance import BatchRelevance
from gexplain.errors import RunError
from gexplain.projection import Projection

# W sequences, S strands of each, B = W S rows, T tokens, K explained values, N tokens (or bases) of all rows in a row


@dataclass(frozen=True, slots=True)
class Reading:
    """All that one pass over one sequence says of K explained values.

    relevance: (K, L) per nucleotide of the sequence as given. token_relevance: (K, T) and token_spans: (T, 2),
    of the strand read first, in the coordinates of the sequence as given. logits: (n_targets,) float64, the
    mean of the strands. explained: (K,) the value explained. words: (K,) the sum over all tokens; special:
    (K,) the part of it on [CLS] and [SEP], which no nucleotide receives. ledger: name to (K,), what the rules
    leave with constants; empty for a method that keeps no ledger. completeness_error: (K,), what the explained value
    is more than the baseline's, less `words`; None for a method that follows no path from a baseline. At the level of
    nucleotides, as of every method of a CNN, the tokens are the bases: T is L, each has a span of one, none is
    special.
    """

    relevance: FloatArray
    token_relevance: FloatArray
    token_spans: IntArray
    logits: FloatArray
    explained: FloatArray
    words: FloatArray
    special: FloatArray
    ledger: Mapping[str, FloatArray]
    completeness_error: FloatArray | None = None


def readings_of(
    batch: Batch, result: BatchRelevance, project: Projection, of_nucleotides: bool, dtype: np.dtype[np.floating]
) -> list[Reading]:
    """One reading per sequence of a batch, in its order, from its relevance in the memory of the CPU.

    of_nucleotides: the relevance is that of bases, and not of tokens. Raises RunError where it is not finite.
    """
    n_strands = len(batch.strands)
    relevance_KBT = result.token_relevance.numpy().astype(dtype, copy=False)
    if not np.isfinite(relevance_KBT).all():
        raise RunError("the relevance of a window is not finite", hint="use --dtype float32, if you did not")
    widths_B = np.repeat([len(sequence) for sequence in batch.sequences], n_strands)
    lengths_B = widths_B if of_nucleotides else np.array([len(one.ids) for one in batch.tokens])
    spans = [_spans_of_bases(width) for width in widths_B] if of_nucleotides else [one.spans for one in batch.tokens]
    # All rows one after another, as if they were one sequence: projected in one go.
    ends_B = np.cumsum(widths_B)
    spans_N2 = np.concatenate(spans) + np.repeat(ends_B - widths_B, lengths_B)[:, None]
    is_token_BT = np.arange(relevance_KBT.shape[2]) < lengths_B[:, None]
    values = project(relevance_KBT[:, is_token_BT], spans_N2, int(ends_B[-1]))
    is_base_BT = np.zeros_like(is_token_BT)
    is_base_BT[is_token_BT] = spans_N2[:, 1] > spans_N2[:, 0]
    words_KW = _mean_of_strands(relevance_KBT.sum(-1, dtype=np.float64), n_strands)
    bases_KW = _mean_of_strands((relevance_KBT * is_base_BT).sum(-1, dtype=np.float64), n_strands)
    logits_WN = result.logits.double().numpy()
    explained_KW = result.explained.double().numpy()
    ledger = {name: amount_KW.numpy() for name, amount_KW in result.ledger.items()}
    error_KW = None if result.completeness_error is None else result.completeness_error.double().numpy()
    readings = []
    for w in range(len(batch.sequences)):
        first, width = w * n_strands, int(widths_B[w * n_strands])
        per_strand = []
        for row, strand in enumerate(batch.strands, start=first):
            values_KL = values[:, ends_B[row] - width : ends_B[row]]
            per_strand.append(values_KL[:, ::-1] if strand == "-" else values_KL)
        is_reverse = batch.strands[0] == "-"
        readings.append(
            Reading(
                relevance=per_strand[0] if n_strands == 1 else sum(per_strand[1:], per_strand[0]) / n_strands,
                token_relevance=relevance_KBT[:, first, : lengths_B[first]],
                token_spans=width - spans[first][:, ::-1] if is_reverse else spans[first],
                logits=logits_WN[w],
                explained=explained_KW[:, w],
                words=words_KW[:, w],
                special=words_KW[:, w] - bases_KW[:, w],
                ledger={name: amount_KW[:, w] for name, amount_KW in ledger.items()},
                completeness_error=None if error_KW is None else error_KW[:, w],
            )
        )
    return readings


def _mean_of_strands(rows_KB: FloatArray, n_strands: int) -> FloatArray:
    mean_KW: FloatArray = rows_KB.reshape(len(rows_KB), -1, n_strands).mean(-1)
    return mean_KW


def _spans_of_bases(width: int) -> IntArray:
    """(L, 2): every base a token of its own."""
    borders = np.arange(width + 1)
    return np.stack([borders[:-1], borders[1:]], axis=1)
