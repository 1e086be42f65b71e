"""AttnLRP and its kin for one batch: one forward pass, and one backward pass per explained value.

The rules sit in the model's own steps (models/rules.py), so the backward pass is `autograd.grad` with respect
to the word embeddings alone: the parameters are frozen, and relevance is embedding * gradient.
"""

from __future__ import annotations

from torch import Tensor

from gexplain.attribution.relevance import BatchRelevance, relevance_by_gradient
from gexplain.attribution.target import Target
from gexplain.models.dnabert2 import DnaBert2
from gexplain.models.rules import Ledger, Rules

# B rows (a sequence read on S strands is S rows in a run), T tokens


def relevance_of_batch(
    network: DnaBert2,
    ids_BT: Tensor,
    mask_BT: Tensor | None,
    target: Target,
    *,
    rules: Rules,
    n_strands: int = 1,
) -> BatchRelevance:
    """Relevance of every token for every explained value, from one forward pass (see `relevance_by_gradient`)."""
    ledger = Ledger() if rules.conserves else None
    return relevance_by_gradient(
        network.embed(ids_BT),
        lambda embedding_BTC: network(embedding_BTC, mask_BT, rules, ledger),
        target,
        n_strands=n_strands,
        ledger=ledger,
    )
