"""Ordinary gradients, and what is made of them: saliency, gradient x input, and integrated gradients.

Saliency: Simonyan et al. 2014 (arXiv 1312.6034), by the norm over a token's channels. Integrated gradients:
Sundararajan et al. 2017 (arXiv 1703.01365), from a baseline, the same sequence with every base unknown ([MASK]
tokens, or N); they sum to what the explained value is more than there, but for the error of the steps: no ledger.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gexplain.attribution.relevance import BatchRelevance, gradients, mean_of_strands, relevance_by_gradient
from gexplain.attribution.target import Target
from gexplain.models.model import Model

# B rows (a sequence read on S strands is S rows in a run), W = B / S sequences, T tokens, C model width (of a CNN's
# one-hot rows 4), K explained values, N classes

IG_STEPS = 16
"""Points on the way from the baseline to the sequence; each costs a forward and a backward pass, and the two ends of
the way a forward pass each."""


def gradient_x_input(
    model: Model, ids_BT: Tensor, mask_BT: Tensor | None, target: Target, n_strands: int = 1
) -> BatchRelevance:
    """Every token's embedding times its ordinary gradient; of a CNN, the gradient at the base that is there."""
    return relevance_by_gradient(
        model.embed(ids_BT), lambda embedding_BTC: model.logits(embedding_BTC, mask_BT), target, n_strands=n_strands
    )


def saliency(
    model: Model, ids_BT: Tensor, mask_BT: Tensor | None, target: Target, n_strands: int = 1
) -> BatchRelevance:
    """The norm of every token's ordinary gradient over its channels: how much it matters, never which way.

    Of a CNN, the four bases of a place are its channels: the ones that are not there count too, and those of an N.
    """

    def norm(_: Tensor, gradient_BTC: Tensor) -> Tensor:
        norm_BT: Tensor = torch.linalg.vector_norm(gradient_BTC, dim=-1)
        # A filter at the end of a sequence has a slope at the padding past it.
        return norm_BT if mask_BT is None else norm_BT * mask_BT

    return relevance_by_gradient(
        model.embed(ids_BT),
        lambda embedding_BTC: model.logits(embedding_BTC, mask_BT),
        target,
        n_strands=n_strands,
        of_tokens=norm,
    )


def integrated_gradients(
    model: Model,
    ids_BT: Tensor,
    mask_BT: Tensor | None,
    target: Target,
    n_strands: int = 1,
    *,
    steps: int = IG_STEPS,
) -> BatchRelevance:
    """The way from the baseline times the mean gradient along it, by the midpoint rule.

    All rows take a step together, one step after another: memory is that of gradient x input. What the sum lacks for
    the rise from the baseline is recorded as the completeness error.
    """
    baseline_BTC = model.baseline(ids_BT)
    way_BTC = model.embed(ids_BT) - baseline_BTC
    with torch.no_grad():
        logits_WN = mean_of_strands(model.logits(model.embed(ids_BT), mask_BT), n_strands)
        rise_WN = logits_WN - mean_of_strands(model.logits(baseline_BTC, mask_BT), n_strands)
    directions_KWN = target.directions(logits_WN)
    relevance_KBT = torch.zeros(target.n_explained, *ids_BT.shape, device=way_BTC.device, dtype=way_BTC.dtype)
    for step in range(steps):
        point_BTC = (baseline_BTC + (step + 0.5) / steps * way_BTC).requires_grad_(True)
        with torch.enable_grad():
            row_logits_BN = model.logits(point_BTC, mask_BT)
        for k, gradient_BTC in enumerate(gradients(row_logits_BN, point_BTC, directions_KWN, n_strands)):
            relevance_KBT[k] += torch.linalg.vecdot(way_BTC, gradient_BTC) / steps
    sums_KW = torch.stack([mean_of_strands(row_B, n_strands) for row_B in relevance_KBT.sum(-1)])
    return BatchRelevance(
        logits=logits_WN,
        token_relevance=relevance_KBT,
        explained=(directions_KWN * logits_WN).sum(-1),
        ledger={},
        completeness_error=(directions_KWN * rise_WN).sum(-1) - sums_KW,
    )
