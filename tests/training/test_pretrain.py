"""Masking: which tokens are to be told, and what is shown in their place."""

from __future__ import annotations

import torch

from gexplain.training.pretrain import mask_tokens

# Special ids on both sides of those that spell bases.
PLAIN, MASK = torch.arange(5, 500), 4
SPECIAL = torch.tensor([0, 1, 2, 3, 4, 500, 501])


def masked(n: int = 100_000, seed: int = 0):
    torch.manual_seed(seed)
    ids = torch.randint(5, 500, (n // 100, 100))
    ids[:, 0], ids[:, -1] = 1, 2
    return ids, mask_tokens(ids, PLAIN, MASK)


def test_labels_are_the_true_ids_and_the_rest_is_untouched():
    ids, (shown, labels) = masked()
    told = labels != -100
    assert torch.equal(labels[told], ids[told])
    assert torch.equal(shown[~told], ids[~told])


def test_special_tokens_are_never_masked():
    _, (shown, labels) = masked()
    assert (labels[:, [0, -1]] == -100).all()
    assert (shown[:, 0] == 1).all()


def test_shares_are_those_of_bert():
    ids, (shown, labels) = masked()
    told = labels != -100
    plain = torch.zeros_like(told)
    plain[:, 1:-1] = True
    assert abs(told[plain].float().mean() - 0.15) < 0.005
    assert abs((shown[told] == MASK).float().mean() - 0.8) < 0.01
    kept = (shown[told] == ids[told]).float().mean()
    assert abs(kept - 0.1) < 0.01
    assert not torch.isin(shown[told & (shown != MASK)], SPECIAL).any()


def test_a_batch_has_something_to_tell_however_small():
    for seed in range(20):
        torch.manual_seed(seed)
        _, labels = mask_tokens(torch.tensor([[1, 7, 2]]), PLAIN, MASK)
        assert labels[0, 1] == 7
