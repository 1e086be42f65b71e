"""Relevance of a batch: what every method returns, and relevance made of gradients, which most of them rest on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from gexplain.attribution.target import Target
from gexplain.models.rules import Ledger

# B rows (a sequence read on S strands is S rows in a run), W = B / S sequences, K explained values, N classes


@dataclass(frozen=True, slots=True)
class BatchRelevance:
    """One batch's relevance.

    logits: (W, N), the mean of the strands. token_relevance: (K, B, T), 0 on padding. explained: (K, W), the
    value explained. ledger: name to (K, W), what each kind of constant took; the mean of the strands.
    completeness_error: (K, W), the explained value's rise over the baseline less the relevance of all tokens, the
    mean of the strands; None for a method that is none of a path from a baseline. A method at the level of
    nucleotides has L bases in place of T tokens.
    """

    logits: Tensor
    token_relevance: Tensor
    explained: Tensor
    ledger: dict[str, Tensor]
    completeness_error: Tensor | None = None


def relevance_by_gradient(
    embedding_BTC: Tensor,
    forward: Callable[[Tensor], Tensor],
    target: Target,
    *,
    n_strands: int,
    of_tokens: Callable[[Tensor, Tensor], Tensor] = torch.linalg.vecdot,
    ledger: Ledger | None = None,
) -> BatchRelevance:
    """Every token's relevance for every explained value, from its embedding and gradient and one forward pass.

    forward: embedding (B, T, C) to logits (B, N), under whatever rules; ledger: the one that it books into.
    of_tokens: embedding and gradient to relevance (B, T), by default the one times the other. Rows i * n_strands ...
    are the strands of sequence i: their logits are averaged before the predicted class is picked, so that both
    strands explain the same class. Parameters must not require gradients.
    """
    point_BTC = embedding_BTC.detach().requires_grad_(True)
    with torch.enable_grad():
        row_logits_BN = forward(point_BTC)
    logits_WN = mean_of_strands(row_logits_BN.detach(), n_strands)
    directions_KWN = target.directions(logits_WN)
    relevance, books = [], []
    for gradient_BTC in gradients(row_logits_BN, point_BTC, directions_KWN, n_strands):
        relevance.append(of_tokens(point_BTC.detach(), gradient_BTC))
        books.append({} if ledger is None else ledger.close())
    return BatchRelevance(
        logits=logits_WN,
        token_relevance=torch.stack(relevance),
        explained=(directions_KWN * logits_WN).sum(-1),
        ledger={name: torch.stack([mean_of_strands(book[name], n_strands) for book in books]) for name in books[0]},
    )


def gradients(row_logits_BN: Tensor, point_BTC: Tensor, directions_KWN: Tensor, n_strands: int) -> Iterator[Tensor]:
    """The gradient (B, T, C) of each explained value in turn; the graph is kept until the last."""
    for k, direction_WN in enumerate(directions_KWN):
        (gradient_BTC,) = torch.autograd.grad(
            row_logits_BN,
            point_BTC,
            grad_outputs=direction_WN.repeat_interleave(n_strands, 0),
            retain_graph=k + 1 < len(directions_KWN),
        )
        yield gradient_BTC


def mean_of_strands(rows: Tensor, n_strands: int) -> Tensor:
    """(W, ...) of rows (B, ...)."""
    return rows.reshape(-1, n_strands, *rows.shape[1:]).mean(1)
