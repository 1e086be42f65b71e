"""Spelling: while a model learns, what its tokens spell is part of their embeddings.

A BPE vocabulary hides from a new model that CACGTG, CACGTGA and TCACGTG share a site: each token's embedding starts
at random and learns alone. Here a token's embedding is a row of its own plus the sum of what its letters learn: each
base counted from either end of the token, and every k-mer in it. When the training ends, the sum is folded into the
word embeddings, and what is written is a DNABERT-2 like any other. The idea is that of word embeddings made of
character n-grams (Bojanowski et al. 2017, arXiv 1607.04606).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

# Positions counted from each end, and the widest k-mers that have a row.
N_PLACES = 12
MAX_K = 5


class Spelling(nn.Module):
    """What each token's letters add to its embedding: (n_tokens, width) by `forward`, 0 for special tokens.

    vocabulary: token to id; tokens that are not of A, C, G and T alone are special.
    """

    counts: Tensor

    def __init__(self, vocabulary: Mapping[str, int], n_tokens: int, width: int) -> None:
        super().__init__()
        features: dict[tuple[str, int | str, str], int] = {}
        cells: list[tuple[int, int]] = []
        for token, token_id in sorted(vocabulary.items()):
            if set(token) <= set("ACGT"):
                cells += [(token_id, features.setdefault(one, len(features))) for one in features_of(token)]
        counts_VF = torch.zeros(n_tokens, len(features))
        rows, columns = torch.tensor(cells, dtype=torch.int64).reshape(-1, 2).unbind(1)
        counts_VF.index_put_((rows, columns), torch.ones(len(cells)), accumulate=True)
        self.register_buffer("counts", counts_VF, persistent=False)
        self.learnt = nn.Parameter(torch.zeros(len(features), width))

    def forward(self) -> Tensor:
        """(n_tokens, width)."""
        added_VC: Tensor = self.counts @ self.learnt
        return added_VC


def features_of(token: str) -> list[tuple[str, int | str, str]]:
    """What a token's spelling is made of, repeats included: bases by place from both ends, k-mers of 2 to 5."""
    from_left = [("left", place, base) for place, base in enumerate(token[:N_PLACES])]
    from_right = [("right", place, base) for place, base in enumerate(token[::-1][:N_PLACES])]
    kmers = [
        ("kmer", "", token[start : start + k]) for k in range(2, MAX_K + 1) for start in range(len(token) - k + 1)
    ]
    return [*from_left, *from_right, *kmers]
