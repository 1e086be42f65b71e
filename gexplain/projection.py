"""From tokens to nucleotides: how the relevance of a token is laid on the bases that it spells."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gexplain.arrays import FloatArray, IntArray

Projection = Callable[[FloatArray, IntArray, int], FloatArray]


def project_uniform(relevance: FloatArray, spans: IntArray, width: int) -> FloatArray:
    """Each token's relevance, shared equally among its nucleotides: (..., width), the same sum.

    relevance: (..., T), one value a token. spans: (T, 2), window-relative, half-open and disjoint; empty for
    special tokens, whose relevance no nucleotide receives. A base that no token spells gets 0.

    Raises ValueError if a span leaves [0, width).
    """
    n_bases = _span_widths(spans, width)
    return _spread(relevance / np.maximum(n_bases, 1).astype(relevance.dtype), spans, n_bases, width)


def project_copy(relevance: FloatArray, spans: IntArray, width: int) -> FloatArray:
    """Each token's relevance, given to every one of its nucleotides: (width,); the sum is not kept.

    Arguments and errors as for `project_uniform`.
    """
    return _spread(relevance, spans, _span_widths(spans, width), width)


def _span_widths(spans: IntArray, width: int) -> IntArray:
    n_bases = spans[:, 1] - spans[:, 0]
    if (n_bases < 0).any() or (spans < 0).any() or (spans > width).any():
        raise ValueError(f"token spans leave the window of {width} nucleotides")
    return n_bases


def _spread(per_base: FloatArray, spans: IntArray, n_bases: IntArray, width: int) -> FloatArray:
    within = np.arange(n_bases.sum()) - np.repeat(np.cumsum(n_bases) - n_bases, n_bases)
    values = np.zeros((*per_base.shape[:-1], width), dtype=per_base.dtype)
    values[..., np.repeat(spans[:, 0], n_bases) + within] = np.repeat(per_base, n_bases, axis=-1)
    return values


PROJECTIONS: dict[str, Projection] = {"uniform": project_uniform, "copy": project_copy}
