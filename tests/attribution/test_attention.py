"""Attention as explanation: equal to its definition, from weights written out head by head."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import AttnLrpOracle
from tiny import tiny_checkpoint

import gexplain
from gexplain.attribution.attention import attention, attention_rollout
from gexplain.attribution.target import Target
from gexplain.models.rules import PLAIN, attend, attend_telling

SEQUENCES = ["ACGTTGCATTAGGCATCGACGTGTA", "TTTTAGC", "CACGTGNNACGTTATAACGTGACCATGACA", "CACGTG"]
PROMOTER, ALL = Target((1,), ("promoter",)), Target((0, 1, 2), ("none", "promoter", "enhancer"))


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """Three layers, so that the order of the product shows."""
    folder = tiny_checkpoint(tmp_path_factory.mktemp("deep") / "model", n_targets=3, n_layers=3, scale=0.5)
    return gexplain.load_model(folder, device="cpu", dtype="float64")


def weights_of(model, ids) -> list[list[np.ndarray]]:
    """The weights (T, T) of each head of each layer, by the oracle's own forward pass."""
    oracle = AttnLrpOracle(model.network.state_dict(), model.checkpoint.config.n_heads)
    oracle.forward(ids)
    return [[head[-1] for head in layer["heads"]] for layer in oracle.trace["layers"]]


def relevance(method, model, sequences=SEQUENCES, target=PROMOTER) -> np.ndarray:
    return method(model, *model.pad(model.tokens(sequences)), target).token_relevance.numpy()


def test_raw_attention_is_what_cls_takes_in_the_last_layer(deep):
    found = relevance(attention, deep)[0]
    for tokens, row in zip(deep.tokens(SEQUENCES), found, strict=True):
        heads = weights_of(deep, tokens.ids)[-1]
        for place in range(len(tokens.ids)):
            expected = sum(head[0, place] for head in heads) / len(heads)
            assert row[place] == pytest.approx(expected, abs=1e-12)
        assert (row[len(tokens.ids) :] == 0).all()


def test_rollout_equals_the_definition(deep):
    """Abnar and Zuidema 2020: A~(l) = A_hat(l) A~(l - 1), every product written out; the row of [CLS] at the top."""
    found = relevance(attention_rollout, deep)[0]
    for tokens, row in zip(deep.tokens(SEQUENCES), found, strict=True):
        n_tokens = len(tokens.ids)
        rolled = [[float(i == j) for j in range(n_tokens)] for i in range(n_tokens)]
        for heads in weights_of(deep, tokens.ids):
            step = [
                [sum(head[i, j] for head in heads) / len(heads) + (i == j) for j in range(n_tokens)]
                for i in range(n_tokens)
            ]
            step = [[value / sum(line) for value in line] for line in step]
            rolled = [
                [sum(step[i][k] * rolled[k][j] for k in range(n_tokens)) for j in range(n_tokens)]
                for i in range(n_tokens)
            ]
        np.testing.assert_allclose(row[:n_tokens], rolled[0], atol=1e-12)


@pytest.mark.parametrize("method", [attention, attention_rollout])
def test_what_cls_takes_sums_to_one_and_none_of_it_from_padding(deep, method):
    found = relevance(method, deep)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-12)
    for tokens, row in zip(deep.tokens(SEQUENCES), found[0], strict=True):
        assert (row[: len(tokens.ids)] > 0).all()
        assert (row[len(tokens.ids) :] == 0).all()


@pytest.mark.parametrize("method", [attention, attention_rollout])
def test_every_class_has_the_same_attention(deep, method):
    every = relevance(method, deep, target=ALL)
    np.testing.assert_array_equal(every, np.stack([relevance(method, deep)[0]] * 3))


def test_telling_attention_is_attention():
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(2, 9, 3 * 3 * 5, dtype=torch.float64, generator=generator)
    bias = -torch.rand(1, 3, 9, 9, dtype=torch.float64, generator=generator)
    told: list[torch.Tensor] = []
    mixed = attend_telling(told.append)(qkv, 3, bias, None)
    np.testing.assert_allclose(mixed, attend(qkv, 3, bias, None), atol=1e-12)
    assert [one.shape for one in told] == [(2, 3, 9, 9)]
    np.testing.assert_allclose(told[0].sum(-1), 1, atol=1e-12)


def test_the_plain_rules_keep_fused_attention():
    assert PLAIN.attend is attend


def test_bfloat16_rolls_out_rows_that_sum_to_one(tmp_path):
    rough = gexplain.load_model(tiny_checkpoint(tmp_path / "model"), device="cpu", dtype="bfloat16")
    found = relevance(attention_rollout, rough, target=Target((1,), ("LABEL_1",)))
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
