"""LRP of a CNN under the composite EpsilonPlus: z+ for the convolution, epsilon for the dense layers.

Bach et al. 2015 (doi 10.1371/journal.pone.0130140); z+: Montavon et al. 2017 (arXiv 1512.02479). Relevance is value
times gradient, of a backward pass in which two steps are changed, as in models/rules.py. ReLU passes relevance on,
and a maximum gives it to where it is, in equal shares among equals: both as the ordinary gradient does.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gexplain.attribution.relevance import BatchRelevance, relevance_by_gradient
from gexplain.attribution.target import Target
from gexplain.models.model import CnnModel, Model
from gexplain.models.rules import scale_gradient

# B rows, L nucleotides, 4 bases, F filters, H hidden units, N classes

EPSILON = 1e-6
"""What keeps a share's denominator from 0, in logit units."""


def lrp(model: Model, ids_BL: Tensor, mask_BL: Tensor | None, target: Target, n_strands: int = 1) -> BatchRelevance:
    """LRP of a CNN, from one forward pass; biases and epsilon keep their shares.

    An N gets 0, and so does a base of which no filter that counts has a positive weight.
    """
    assert isinstance(model, CnnModel)
    network = model.network

    def forward(one_hot_BL4: Tensor) -> Tensor:
        matches_BFL = _z_plus(network.conv, one_hot_BL4.mT)
        if mask_BL is not None:
            matches_BFL = matches_BFL.masked_fill(~mask_BL.bool()[:, None], -math.inf)
        hidden_BH = _epsilon(network.dense, F.relu(matches_BFL.amax(-1)))
        return _epsilon(network.classifier, F.relu(hidden_BH))

    return relevance_by_gradient(model.embed(ids_BL), forward, target, n_strands=n_strands)


def _epsilon(layer: nn.Linear, x: Tensor) -> Tensor:
    """The dense layer, under the epsilon rule: R_i = sum_j x_i w_ji R_j / (z_j + epsilon sgn z_j)."""
    z: Tensor = layer(x)
    return scale_gradient(z, (z / _stabilised(z)).detach())


def _z_plus(conv: nn.Conv1d, x: Tensor) -> Tensor:
    """The convolution of x >= 0, under the z+ rule: the same shares, of the positive parts of w and b alone."""
    assert conv.bias is not None
    z: Tensor = conv(x.detach())
    z_plus = F.conv1d(x, conv.weight.clamp(min=0), conv.bias.clamp(min=0), padding=conv.padding)
    way_back = scale_gradient(z_plus, (z / _stabilised(z_plus)).detach())
    return z + (way_back - way_back.detach())  # z exactly: the rest is 0 but for its gradient


def _stabilised(z: Tensor) -> Tensor:
    return z + torch.where(z < 0, -EPSILON, EPSILON)
