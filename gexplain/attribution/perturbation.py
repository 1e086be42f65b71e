"""Relevance by trial: how much the explained value falls where a token or a base is taken away or exchanged.

Occlusion: Zeiler and Fergus 2014 (arXiv 1311.2901). In-silico mutagenesis: Zhou and Troyanskaya 2015 (doi
10.1038/nmeth.3547). f is the explained value, x the sequence. No sum is kept; each number is a fact about the model.
There are up to 3 L changed sequences of one: they are made as they are read, pool by pool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, repeat

import numpy as np
import numpy.typing as npt
import torch

from gexplain.attribution.relevance import BatchRelevance, mean_of_strands
from gexplain.attribution.target import Target
from gexplain.models.cnn import BASES
from gexplain.models.model import DEFAULT_BATCH_SIZE, DnaBert2Model, Model
from gexplain.tokens import Tokens

# B rows (a sequence read on S strands is S rows in a run), W = B / S sequences, T tokens, L nucleotides, N classes,
# K explained values, M places of a row that are changed, A changes of each, P = M A changed rows

Letters = npt.NDArray[np.str_]

Changed = Iterable[tuple[int, int, Tokens]]
"""Changed rows: which row, at which token or base, and what the model reads in its place."""

# Of a pool, batches of like length are formed; the letters of one row's changes that are held at once.
_BATCHES_PER_POOL = 16
_MOST_LETTERS = 1 << 20

_BASES = np.array(list(BASES))


def occlusion_token(
    model: Model, rows: Sequence[str], target: Target, n_strands: int = 1, batch_size: int = DEFAULT_BATCH_SIZE
) -> BatchRelevance:
    """f(x) - f(x with [MASK] in the token's place): (K, B, T), 0 for [CLS] and [SEP].

    All other tokens stay, though another sequence might be cut otherwise.
    """
    assert isinstance(model, DnaBert2Model)
    tokens = model.tokens(rows)
    width = max(len(one.ids) for one in tokens)
    changed = _masked(tokens, model.tokenizer.mask_id)
    return _mean_drop(model, tokens, changed, width, target=target, n_strands=n_strands, batch_size=batch_size)


def occlusion_base(
    model: Model, rows: Sequence[str], target: Target, n_strands: int = 1, batch_size: int = DEFAULT_BATCH_SIZE
) -> BatchRelevance:
    """f(x) - f(x with N in the base's place, tokenised anew): (K, B, L), 0 for a letter that is no base.

    DNABERT-2 reads N as [UNK], which it hardly ever met: the fall is that of a base unknown, of the tokens around it
    cut otherwise, and of a sequence unlike any it was trained on. A CNN reads zeros there.
    """
    return _of_substitutions(
        model, rows, lambda letters_M: np.full((len(letters_M), 1), "N"), target, n_strands, batch_size
    )


def ism(
    model: Model, rows: Sequence[str], target: Target, n_strands: int = 1, batch_size: int = DEFAULT_BATCH_SIZE
) -> BatchRelevance:
    """f(x) - the mean of f(x with another base in the base's place, tokenised anew): (K, B, L).

    3 L + 1 forward passes. A letter that is no base has no three others, and gets 0.
    """
    return _of_substitutions(model, rows, _other_bases, target, n_strands, batch_size)


def _other_bases(bases_M: Letters) -> Letters:
    """The three other bases (M, 3) of each."""
    code_M = (bases_M[:, None] == _BASES).argmax(1)
    others_M3: Letters = _BASES[(code_M[:, None] + np.arange(1, len(_BASES))) % len(_BASES)]
    return others_M3


def _masked(tokens: Sequence[Tokens], mask_id: int) -> Iterator[tuple[int, int, Tokens]]:
    """Every row with every token that spells something masked, one at a time."""
    for row, one in enumerate(tokens):
        for place in np.flatnonzero(one.spans[:, 1] > one.spans[:, 0]).tolist():
            ids_T = one.ids.copy()
            ids_T[place] = mask_id
            yield row, place, Tokens(ids_T, one.spans)


def _substituted(
    model: Model, rows: Sequence[str], others: Callable[[Letters], Letters]
) -> Iterator[tuple[int, int, Tokens]]:
    """Every row with every base in turn exchanged for each of what `others` (M) -> (M, A) gives for it."""
    for row, text in enumerate(rows):
        letters_L = np.array(list(text))
        place_M = np.flatnonzero(np.isin(letters_L, _BASES))
        other_MA = others(letters_L[place_M])
        place_P, other_P = place_M.repeat(other_MA.shape[1]), other_MA.ravel()
        n_at_once = max(1, _MOST_LETTERS // len(text))
        for start in range(0, len(place_P), n_at_once):
            place, other = place_P[start : start + n_at_once], other_P[start : start + n_at_once]
            changed_PL = letters_L[None].repeat(len(place), 0)
            changed_PL[np.arange(len(place)), place] = other
            texts = changed_PL.view(f"U{len(text)}").ravel().tolist()
            yield from zip(repeat(row), place.tolist(), model.tokens(texts), strict=False)


def _of_substitutions(
    model: Model,
    rows: Sequence[str],
    others: Callable[[Letters], Letters],
    target: Target,
    n_strands: int,
    batch_size: int,
) -> BatchRelevance:
    tokens, width = model.tokens(rows), max(len(row) for row in rows)
    changed = _substituted(model, rows, others)
    return _mean_drop(model, tokens, changed, width, target=target, n_strands=n_strands, batch_size=batch_size)


def _mean_drop(
    model: Model,
    tokens: Sequence[Tokens],
    changed: Changed,
    width: int,
    *,
    target: Target,
    n_strands: int,
    batch_size: int,
) -> BatchRelevance:
    """f(row) less the mean of f over the row's changes at each of `width` places; 0 where there are none."""
    row_logits_BN = model.logits_of_tokens(tokens, batch_size=batch_size)
    logits_WN = mean_of_strands(torch.from_numpy(row_logits_BN), n_strands)
    directions_KWN = target.directions(logits_WN)
    direction_KBN = directions_KWN.repeat_interleave(n_strands, 1).numpy()
    drop_BTK = np.zeros((len(tokens), width, target.n_explained), dtype=row_logits_BN.dtype)
    n_changes_BT = np.zeros((len(tokens), width), dtype=np.int64)
    stream = iter(changed)
    while pool := list(islice(stream, _BATCHES_PER_POOL * batch_size)):
        row_P, place_P = np.array([one[:2] for one in pool]).T
        logits_PN = model.logits_of_tokens([one[2] for one in pool], batch_size=batch_size)
        drop_PK = np.einsum("kpn,pn->pk", direction_KBN[:, row_P], row_logits_BN[row_P] - logits_PN)
        np.add.at(drop_BTK, (row_P, place_P), drop_PK)
        np.add.at(n_changes_BT, (row_P, place_P), 1)
    drop_BTK /= np.maximum(n_changes_BT, 1)[..., None]
    return BatchRelevance(
        logits=logits_WN,
        token_relevance=torch.from_numpy(np.moveaxis(drop_BTK, -1, 0)),
        explained=(directions_KWN * logits_WN).sum(-1),
        ledger={},
    )
