"""Levels: from nucleotides to tokens. The other way is gexplain.projection's.

A token's relevance is made of that of the bases it spells: their `sum`, the opposite of the projection `uniform`;
their `mean`, the opposite of `copy`; or their `max`, for which one strong base makes a strong token. All keep signs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from gexplain.arrays import FloatArray, IntArray

BoolArray = npt.NDArray[np.bool_]
Aggregation = Callable[[FloatArray, IntArray], FloatArray]

# L nucleotides, T tokens, S of them that spell bases


def aggregate_sum(relevance: FloatArray, spans: IntArray) -> FloatArray:
    """(S,) float64: the sum over the bases of each token that spells some.

    relevance: (L,). spans: (T, 2), half-open; tokens with an empty span, the special ones, are left out.

    Raises ValueError if a span leaves [0, L).
    """
    return _reduce(np.add, relevance, spans)


def aggregate_mean(relevance: FloatArray, spans: IntArray) -> FloatArray:
    """(S,) float64: the mean over the bases of each token that spells some; else as `aggregate_sum`."""
    sums = _reduce(np.add, relevance, spans)
    means: FloatArray = sums / _widths(spans[spells(spans)])
    return means


def aggregate_max(relevance: FloatArray, spans: IntArray) -> FloatArray:
    """(S,) float64: the highest of the bases of each token that spells some; else as `aggregate_sum`."""
    return _reduce(np.maximum, relevance, spans)


def inside_tokens(inside: BoolArray, spans: IntArray) -> BoolArray:
    """(S,): whether at least half of the bases of each token that spells some are inside.

    inside: (L,), of nucleotides. spans and errors as for `aggregate_sum`.
    """
    mostly: BoolArray = 2 * _reduce(np.add, inside.astype(np.float64), spans) >= _widths(spans[spells(spans)])
    return mostly


def spells(spans: IntArray) -> BoolArray:
    """(T,): the tokens that spell bases: all but the special ones."""
    has_bases: BoolArray = _widths(spans) > 0
    return has_bases


def _widths(spans: IntArray) -> IntArray:
    widths: IntArray = spans[:, 1] - spans[:, 0]
    return widths


def _reduce(by: np.ufunc, relevance: FloatArray, spans: IntArray) -> FloatArray:
    if (_widths(spans) < 0).any() or (spans < 0).any() or (spans > len(relevance)).any():
        raise ValueError(f"token spans leave the sequence of {len(relevance)} nucleotides")
    spelling = spans[spells(spans)]
    if not len(spelling):
        return np.empty(0)
    # Of the stretches from border to border every second is a token. One more base, that no token has, lets the last
    # token end at L.
    borders = spelling.ravel()
    reduced: FloatArray = by.reduceat(np.append(relevance.astype(np.float64), 0.0), borders)[::2]
    return reduced


AGGREGATIONS: dict[str, Aggregation] = {"sum": aggregate_sum, "mean": aggregate_mean, "max": aggregate_max}
