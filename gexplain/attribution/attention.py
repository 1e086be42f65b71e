"""Attention weights as explanation: what [CLS], from which the class is read, takes from each token.

They are what many show, and no relevance: never negative, the same whichever class is explained, and blind to what is
done with what was taken. Raw attention looks at the last layer alone. Rollout (Abnar and Zuidema 2020, arXiv
2005.00928) follows all layers down to the words, as if attention and the residual were all that a layer does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from gexplain.attribution.relevance import BatchRelevance, mean_of_strands
from gexplain.attribution.target import Target
from gexplain.models.model import DnaBert2Model, Model
from gexplain.models.rules import PLAIN, attend_telling

# B rows (a sequence read on S strands is S rows in a run), T tokens, H heads, K explained values, W = B / S sequences


def attention(
    model: Model, ids_BT: Tensor, mask_BT: Tensor | None, target: Target, n_strands: int = 1
) -> BatchRelevance:
    """Raw attention: the weights with which [CLS] takes from each token in the last layer, the mean of its heads."""
    return _of_cls(model, ids_BT, mask_BT, target, n_strands, lambda layers: layers[-1][:, 0])


def attention_rollout(
    model: Model, ids_BT: Tensor, mask_BT: Tensor | None, target: Target, n_strands: int = 1
) -> BatchRelevance:
    """Attention rollout: the row of [CLS] of the product over layers, last to first, of (A + 1), rows summing to 1.

    A is the mean of a layer's heads.
    """

    def roll_out(layers: list[Tensor]) -> Tensor:
        n_tokens = ids_BT.shape[1]
        identity_TT = torch.eye(n_tokens, device=ids_BT.device, dtype=layers[0].dtype)
        # One row is asked for: a row times a matrix, layer by layer from the top, is all there is to do.
        row_B1T = identity_TT[:1].expand(len(ids_BT), 1, n_tokens)
        for weights_BTT in reversed(layers):
            step_BTT = weights_BTT + identity_TT
            row_B1T = row_B1T @ (step_BTT / step_BTT.sum(-1, keepdim=True))
        return row_B1T[:, 0]

    return _of_cls(model, ids_BT, mask_BT, target, n_strands, roll_out)


def _of_cls(
    model: Model,
    ids_BT: Tensor,
    mask_BT: Tensor | None,
    target: Target,
    n_strands: int,
    row_of_cls: Callable[[list[Tensor]], Tensor],
) -> BatchRelevance:
    """What `row_of_cls` makes (B, T) of all layers' weights (B, T, T), the mean of heads; one for all classes."""
    assert isinstance(model, DnaBert2Model)
    layers: list[Tensor] = []
    rules = replace(PLAIN, attend=attend_telling(lambda weights_BHTT: layers.append(weights_BHTT.mean(1))))
    with torch.no_grad():
        # All rows of the last layer, not [CLS] alone as in the forward pass: its weights are a square like others.
        row_logits_BN = model.network.read_out(model.network.encode(model.embed(ids_BT), mask_BT, rules))
        # In bfloat16 the rows would not sum to 1.
        taken_BT = row_of_cls([weights_BTT.to(row_logits_BN.dtype) for weights_BTT in layers])
    logits_WN = mean_of_strands(row_logits_BN, n_strands)
    explained_KW = (target.directions(logits_WN) * logits_WN).sum(-1)
    return BatchRelevance(logits_WN, taken_BT.expand(target.n_explained, *taken_BT.shape), explained_KW, {})
