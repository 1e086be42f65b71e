"""AttnLRP and its kin for one batch: one forward pass, and one backward pass per explained value.

The rules sit in the model's own steps (models/rules.py), so the backward pass is `autograd.grad` with respect
to the word embeddings alone: the parameters are frozen, and relevance is embedding * gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gexplain.attribution.target import Target
from gexplain.models.dnabert2 import DnaBert2
from gexplain.models.rules import Ledger, Rules

# B rows (a sequence read on S strands is S rows in a run), W = B / S sequences, K explained values, N classes


@dataclass(frozen=True, slots=True)
class BatchRelevance:
    """One batch's relevance.

    logits: (W, N), the mean of the strands. token_relevance: (K, B, T), 0 on padding. explained: (K, W), the
    value explained. ledger: name to (K, W), what each kind of constant took; the mean of the strands.
    """

    logits: Tensor
    token_relevance: Tensor
    explained: Tensor
    ledger: dict[str, Tensor]


def relevance_of_batch(
    network: DnaBert2,
    ids_BT: Tensor,
    mask_BT: Tensor | None,
    target: Target,
    *,
    rules: Rules,
    n_strands: int = 1,
) -> BatchRelevance:
    """Relevance of every token for every explained value, from one forward pass.

    Rows i * n_strands ... are the strands of sequence i: their logits are averaged before the predicted class
    is picked, so that both strands explain the same class. Parameters must not require gradients.
    """
    ledger = Ledger() if rules.conserves else None
    embedding_BTC = network.embed(ids_BT).detach().requires_grad_(True)
    with torch.enable_grad():
        row_logits_BN = network(embedding_BTC, mask_BT, rules, ledger)
    logits_WN = _mean_of_strands(row_logits_BN.detach(), n_strands)
    directions_KWN = target.directions(logits_WN)
    relevance, books = [], []
    for k, direction_WN in enumerate(directions_KWN):
        (gradient_BTC,) = torch.autograd.grad(
            row_logits_BN,
            embedding_BTC,
            grad_outputs=direction_WN.repeat_interleave(n_strands, 0),
            retain_graph=k + 1 < len(directions_KWN),
        )
        relevance.append(torch.linalg.vecdot(embedding_BTC.detach(), gradient_BTC))
        books.append({} if ledger is None else ledger.close())
    return BatchRelevance(
        logits=logits_WN,
        token_relevance=torch.stack(relevance),
        explained=(directions_KWN * logits_WN).sum(-1),
        ledger={name: torch.stack([_mean_of_strands(book[name], n_strands) for book in books]) for name in books[0]},
    )


def _mean_of_strands(rows: Tensor, n_strands: int) -> Tensor:
    return rows.reshape(-1, n_strands, *rows.shape[1:]).mean(1)
