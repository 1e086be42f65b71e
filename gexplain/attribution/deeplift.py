"""DeepLIFT of a CNN, from one reference or many: what each base adds to what the explained value is there.

DeepLIFT: Shrikumar et al. 2017 (arXiv 1704.02685), the Rescale rule, from the sequence of N alone, as captum computes
it. DeepLIFT/SHAP: the mean over shuffled references (Lundberg and Lee 2017, arXiv 1705.07874), as tangermeme computes
it. Nothing else in gexplain knows the two packages.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gexplain.attribution.chance import seeded_by
from gexplain.attribution.relevance import BatchRelevance, mean_of_strands
from gexplain.attribution.target import Target
from gexplain.genome.shuffle import dinucleotide_shuffle
from gexplain.models.cnn import BASES, Cnn
from gexplain.models.model import CnnModel, Model

# B rows (a sequence read on S strands is S rows in a run), W = B / S sequences, K explained values, N classes,
# L nucleotides, F filters, R references of a row

N_REFERENCES = 20
"""Shuffled references of each sequence in `deeplift_shap`, as is usual in the field."""


def deeplift(
    model: Model, ids_BT: Tensor, mask_BT: Tensor | None, target: Target, n_strands: int = 1
) -> BatchRelevance:
    """DeepLIFT of a CNN from the sequence of N alone: Rescale for ReLU; a maximum gives all to the base it is at.

    Each explained value costs a forward and a backward pass over twice the rows. Where a filter is above its bias
    nowhere, and the bias above 0, its loss goes to the bases under the filter's first place, ten of a filter of 19:
    all places of the baseline are equal, and the first of them counts as the maximum.
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
                target=0,
                additional_forward_args=(mask_BL, direction_WN.repeat_interleave(n_strands, 0)),
            )
        relevance.append(contributions_B4L.detach().sum(1))
    return BatchRelevance(logits_WN, torch.stack(relevance), (directions_KWN * logits_WN).sum(-1), {})


def deeplift_shap(
    model: Model, rows: Sequence[str], target: Target, n_strands: int = 1, batch_size: int = 16
) -> BatchRelevance:
    """DeepLIFT/SHAP of a CNN: the mean of DeepLIFT from N_REFERENCES shuffles of each row, with its dinucleotides.

    The shuffles depend on the row alone. A base gets what the multipliers say of it in place of the reference's base
    there; a letter that is no base gets 0, and what it is less than the references' bases goes to nobody. Each
    explained value costs a forward and a backward pass over two rows a reference.
    """
    from tangermeme.deep_lift_shap import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
        deep_lift_shap,
    )

    assert isinstance(model, CnnModel)
    ids_BL, mask_BL = model.pad(model.tokens(rows))
    one_hot_B4L = model.embed(ids_BL).mT.contiguous()
    mask_BL = torch.ones_like(ids_BL) if mask_BL is None else mask_BL
    with torch.no_grad():
        row_logits_BN = model.network(one_hot_B4L, mask_BL)
    logits_WN = mean_of_strands(row_logits_BN, n_strands)
    directions_KWN = target.directions(logits_WN)
    layers = _Layers(model.network, ids_BL.shape[1])
    references_BR4L = _references(model, rows, ids_BL.shape[1])
    relevance = []
    for direction_WN in directions_KWN:
        with warnings.catch_warnings():
            # It takes columns of zeros, which N and padding are, and says that it was not made for them.
            warnings.filterwarnings("ignore", "X must be one-hot encoded")
            contributions_B4L = deep_lift_shap(
                layers,
                one_hot_B4L,
                args=(mask_BL, direction_WN.repeat_interleave(n_strands, 0)),
                references=references_BR4L,
                batch_size=batch_size,
                device=model.device,
                only_warn=True,
            )
        relevance.append(contributions_B4L.to(logits_WN.device).sum(1))
    return BatchRelevance(logits_WN, torch.stack(relevance), (directions_KWN * logits_WN).sum(-1), {})


def _references(model: CnnModel, rows: Sequence[str], width: int) -> Tensor:
    """One-hot references (B, R, 4, L): shuffles of each row, zeros past its end."""
    texts = [re.sub(f"[^{BASES}]", "N", row) for row in rows]  # as the network reads them
    shuffles = [
        shuffle
        for row in texts
        for shuffle in dinucleotide_shuffle([row] * N_REFERENCES, seeded_by(row.encode("ascii")))
    ]
    ids_PL, _ = model.pad(model.tokens(shuffles))
    assert ids_PL.shape[1] == width
    return model.embed(ids_PL).mT.reshape(len(rows), N_REFERENCES, len(BASES), width)


class _Layers(nn.Module):
    """A CNN with the network's own weights and its non-linear steps as the modules that captum has rules for."""

    def __init__(self, network: Cnn, width: int) -> None:
        super().__init__()
        self.conv, self.dense, self.classifier = network.conv, network.dense, network.classifier
        self.conv_relu, self.dense_relu = nn.ReLU(), nn.ReLU()
        self.pool = nn.MaxPool1d(width)

    def forward(self, one_hot_B4L: Tensor, mask_BL: Tensor, direction_BN: Tensor) -> Tensor:
        """The explained value (B, 1) of each row."""
        # Past ReLU nothing is below 0: times 0 keeps padding out of the maximum, by a step that is linear.
        matches_BFL = self.conv_relu(self.conv(one_hot_B4L)) * mask_BL[:, None]
        pooled_BF = self.pool(matches_BFL).squeeze(-1)
        logits_BN: Tensor = self.classifier(self.dense_relu(self.dense(pooled_BF)))
        return (logits_BN * direction_BN).sum(-1, keepdim=True)
