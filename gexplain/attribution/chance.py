"""Random relevance: what a method that knows nothing of the model says, for others to be measured against."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

from gexplain.attribution.relevance import BatchRelevance, mean_of_strands
from gexplain.attribution.target import Target
from gexplain.models.model import Model

# B rows (a sequence read on S strands is S rows in a run), T tokens, N classes, K explained values, W = B / S

SEED = 0
"""Of everything random in this folder, beside the sequence itself."""


def random_relevance(
    model: Model, ids_BT: Tensor, mask_BT: Tensor | None, target: Target, n_strands: int = 1
) -> BatchRelevance:
    """Normal noise for every token, [CLS] and [SEP] included; that of a class is drawn from the row's tokens alone.

    So it is the same in any batch and any order, and a margin's noise is the margin of the classes' noise.
    """
    with torch.no_grad():
        logits_WN = mean_of_strands(model.logits(model.embed(ids_BT), mask_BT), n_strands)
    n_tokens_B = [ids_BT.shape[1]] * len(ids_BT) if mask_BT is None else mask_BT.sum(1).long().tolist()
    noise_BNT = np.zeros((len(ids_BT), len(model.labels), ids_BT.shape[1]), dtype=model.result_dtype)
    for noise_NT, ids_T, n_tokens in zip(noise_BNT, ids_BT.cpu().numpy(), n_tokens_B, strict=True):
        noise_NT[:, :n_tokens] = seeded_by(ids_T[:n_tokens].tobytes()).standard_normal((len(noise_NT), n_tokens))
    directions_KWN = target.directions(logits_WN)
    relevance_KBT = torch.einsum(
        "kbn,bnt->kbt",
        directions_KWN.repeat_interleave(n_strands, 1),
        torch.from_numpy(noise_BNT).to(directions_KWN),
    )
    return BatchRelevance(logits_WN, relevance_KBT, (directions_KWN * logits_WN).sum(-1), {})


def seeded_by(key: bytes) -> np.random.Generator:
    """A random generator that is the same for the same key, on every machine."""
    return np.random.default_rng([SEED, int.from_bytes(hashlib.sha256(key).digest())])
