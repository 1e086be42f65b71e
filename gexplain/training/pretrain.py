"""Pretraining: masked language modelling of DNABERT-2's encoder on unlabelled sequence.

15 % of a sequence's tokens are to be told from the others; of these 80 % are shown as [MASK], 10 % as a random token
and 10 % as they are (Devlin et al. 2019, arXiv 1810.04805). The head is that of BertForMaskedLM: a dense layer, GELU
and LayerNorm, then the word embeddings themselves and a bias; it is left behind when the classes are learnt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gexplain.models.dnabert2 import DnaBert2
from gexplain.training.batches import Labelled
from gexplain.training.learners import TokenLearner

CHOSEN, SHOWN_AS_MASK, SHOWN_AT_RANDOM = 0.15, 0.8, 0.1
_IGNORED = -100  # what F.cross_entropy passes over


class MaskedLearner(nn.Module):
    """The encoder of a TokenLearner under a masked-LM head."""

    plain_ids: Tensor

    def __init__(self, learner: TokenLearner) -> None:
        super().__init__()
        self.learner = learner
        network = learner.network
        assert isinstance(network, DnaBert2)
        width, n_tokens = network.config.hidden_size, network.config.vocab_size
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=network.config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(n_tokens))
        self.register_buffer("plain_ids", torch.tensor(learner.plain_ids), persistent=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: object) -> dict[str, Tensor]:
        """The mean cross entropy of the tokens to be told.

        Masking is here and not in `collate`, which runs a batch ahead: a resumed training restores torch's generator
        before the forward pass, and so masks what it would have masked.
        """
        input_ids, labels = mask_tokens(input_ids, self.plain_ids, self.learner.mask_id)
        network = self.learner.network
        assert isinstance(network, DnaBert2)
        hidden_BTC = network.encode(self.learner.embed(input_ids), attention_mask)
        told = labels != _IGNORED
        hidden_MC = self.norm(F.gelu(self.dense(hidden_BTC[told])))
        logits_MV = F.linear(hidden_MC, self.learner.embeddings(), self.bias)
        return {"loss": F.cross_entropy(logits_MV.float(), labels[told])}

    def collate(self, examples: Sequence[Labelled]) -> dict[str, Tensor]:
        """A batch for `forward`; the classes are left out."""
        return self.learner.inputs([one.sequence for one in examples])


class Masked(NamedTuple):
    """ids: (B, T) as the model is shown them. labels: (B, T), the true id of each token to be told, else -100."""

    ids: Tensor
    labels: Tensor


def mask_tokens(ids_BT: Tensor, plain_ids: Tensor, mask_id: int) -> Masked:
    """Token ids masked, by torch's own generator; at least one token of a batch is to be told.

    plain_ids: the ids that spell bases: no other is masked, or drawn.
    """
    device = ids_BT.device
    plain_BT = torch.isin(ids_BT, plain_ids)
    chosen_BT = (torch.rand(ids_BT.shape, device=device) < CHOSEN) & plain_BT
    if not chosen_BT.any():
        chosen_BT.view(-1)[plain_BT.view(-1).float().argmax()] = True
    labels_BT = ids_BT.where(chosen_BT, torch.tensor(_IGNORED, device=device))
    lot_BT = torch.rand(ids_BT.shape, device=device)
    random_BT = plain_ids[torch.randint(len(plain_ids), ids_BT.shape, device=device)]
    shown_BT = ids_BT.where(~(chosen_BT & (lot_BT < SHOWN_AS_MASK + SHOWN_AT_RANDOM)), random_BT)
    shown_BT = shown_BT.where(~(chosen_BT & (lot_BT < SHOWN_AS_MASK)), torch.tensor(mask_id, device=device))
    return Masked(shown_BT, labels_BT)
