"""Gradients, and what is made of them: gradient x input, integrated gradients, and DeepLIFT of a CNN.

Integrated gradients: Sundararajan et al. 2017 (arXiv 1703.01365). DeepLIFT: Shrikumar et al. 2017 (arXiv 1704.02685),
the Rescale rule, as captum computes it; nothing else in gexplain knows captum. Both measure from a baseline, the same
sequence with every base unknown ([MASK] tokens, or N), and sum to what the logit is more than there: no ledger.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from gexplain.attribution.relevance import BatchRelevance, gradients, mean_of_strands, value_x_gradient
from gexplain.attribution.target import Target
from gexplain.models.cnn import Cnn
from gexplain.models.model import CnnModel, Model

# B rows (a sequence read on S strands is S rows in a run), W = B / S sequences, T tokens, C model width (of a CNN's
# one-hot rows 4), K explained values, N classes, L nucleotides, F filters

IG_STEPS = 16
"""Points on the way from the baseline to the sequence; each costs a forward and a backward pass."""


def gradient_x_input(
    model: Model, ids_BT: Tensor, mask_BT: Tensor | None, target: Target, n_strands: int = 1
) -> BatchRelevance:
    """Every token's embedding times its ordinary gradient; of a CNN, the gradient at the base that is there."""
    return value_x_gradient(
        model.embed(ids_BT), lambda embedding_BTC: model.logits(embedding_BTC, mask_BT), target, n_strands=n_strands
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

    All rows take a step together, one step after another: memory is that of gradient x input.
    """
    baseline_BTC = model.baseline(ids_BT)
    way_BTC = model.embed(ids_BT) - baseline_BTC
    with torch.no_grad():
        logits_WN = mean_of_strands(model.logits(model.embed(ids_BT), mask_BT), n_strands)
    directions_KWN = target.directions(logits_WN)
    relevance_KBT = torch.zeros(target.n_explained, *ids_BT.shape, device=way_BTC.device, dtype=way_BTC.dtype)
    for step in range(steps):
        point_BTC = (baseline_BTC + (step + 0.5) / steps * way_BTC).requires_grad_(True)
        with torch.enable_grad():
            row_logits_BN = model.logits(point_BTC, mask_BT)
        for k, gradient_BTC in enumerate(gradients(row_logits_BN, point_BTC, directions_KWN, n_strands)):
            relevance_KBT[k] += torch.linalg.vecdot(way_BTC, gradient_BTC) / steps
    return BatchRelevance(logits_WN, relevance_KBT, (directions_KWN * logits_WN).sum(-1), {})


def deeplift(
    model: Model, ids_BT: Tensor, mask_BT: Tensor | None, target: Target, n_strands: int = 1
) -> BatchRelevance:
    """DeepLIFT of a CNN from the sequence of N alone: Rescale for ReLU; a maximum gives all to the base it is at.

    Each explained value costs a forward and a backward pass over twice the rows. Where a filter is above its bias
    nowhere, and the bias above 0, its loss goes to the first base: the baseline has its maximum everywhere.
    """
    from captum.attr import DeepLift  # type: ignore[import-untyped]

    assert isinstance(model, CnnModel)
    one_hot_B4L = model.embed(ids_BT).mT.contiguous()
    mask_BL = torch.ones_like(ids_BT) if mask_BT is None else mask_BT
    with torch.no_grad():
        row_logits_BN = model.network(one_hot_B4L, mask_BL)
    logits_WN = mean_of_strands(row_logits_BN, n_strands)
    directions_KWN = target.directions(logits_WN)
    layers = _Layers(model.network, one_hot_B4L.shape[-1])
    relevance = []
    for direction_WN in directions_KWN:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Setting forward, backward hooks", UserWarning)
            contributions_B4L = DeepLift(layers).attribute(
                one_hot_B4L.requires_grad_(True),
                additional_forward_args=(mask_BL, direction_WN.repeat_interleave(n_strands, 0)),
            )
        relevance.append(contributions_B4L.detach().sum(1))
    return BatchRelevance(logits_WN, torch.stack(relevance), (directions_KWN * logits_WN).sum(-1), {})


class _Layers(nn.Module):
    """A CNN with the network's own weights and its non-linear steps as the modules that captum has rules for."""

    def __init__(self, network: Cnn, width: int) -> None:
        super().__init__()
        self.conv, self.dense, self.classifier = network.conv, network.dense, network.classifier
        self.conv_relu, self.dense_relu = nn.ReLU(), nn.ReLU()
        self.pool = nn.MaxPool1d(width)

    def forward(self, one_hot_B4L: Tensor, mask_BL: Tensor, direction_BN: Tensor) -> Tensor:
        """The explained value (B,) of each row."""
        # Past ReLU nothing is below 0: times 0 keeps padding out of the maximum, by a step that is linear.
        matches_BFL = self.conv_relu(self.conv(one_hot_B4L)) * mask_BL[:, None]
        pooled_BF = self.pool(matches_BFL).squeeze(-1)
        logits_BN: Tensor = self.classifier(self.dense_relu(self.dense(pooled_BF)))
        return (logits_BN * direction_BN).sum(-1)
