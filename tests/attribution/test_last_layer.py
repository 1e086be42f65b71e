"""The last layer for [CLS] alone: the same logits, relevance, ledger and gradients as for every row."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import tiny_config

from gexplain.attribution.attnlrp import relevance_of_batch
from gexplain.attribution.explainers import METHODS, TokenExplainer
from gexplain.attribution.target import Target
from gexplain.models import rules as rules_module
from gexplain.models.dnabert2 import DnaBert2
from gexplain.models.rules import PLAIN, Rules

RULE_SETS = {name: value for name, value in vars(rules_module).items() if isinstance(value, Rules)}
ALL = Target((0, 1, 2), ("a", "b", "c"))
SEQUENCES = ["ACGTTGCATTAGGCATCGACGTGTA", "TTTTAGC", "CACGTGNNACGTTATAACGTGACCATGACA"]


def forward_of_every_row(network, embedding, mask=None, rules=PLAIN, ledger=None):
    """The forward pass as the architecture has it: no row of the last layer is left out."""
    return network.read_out(network.encode(embedding, mask, rules, ledger), rules, ledger)


def random_network(n_layers: int = 2) -> DnaBert2:
    torch.manual_seed(0)
    network = DnaBert2(tiny_config(n_targets=3, n_layers=n_layers)).double()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.9)
    return network.eval().requires_grad_(False)


def batch(n_tokens: int = 17, *, padded: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
    ids = torch.randint(5, 40, (3, n_tokens), generator=torch.Generator().manual_seed(1))
    mask = torch.ones(3, n_tokens)
    mask[1, 11:] = 0
    mask[2, 1:] = 0  # [CLS] sees itself alone
    return ids, mask if padded else None


def both_ways(compute, monkeypatch):
    """What `compute` returns with the shortcut, and with every row of the last layer."""
    short = compute()
    with monkeypatch.context() as patch:
        patch.setattr(DnaBert2, "forward", forward_of_every_row)
        return short, compute()


def test_rule_sets_are_those_that_are_there():
    assert set(RULE_SETS) == {"PLAIN", "ATTN_LRP", "ATTN_LRP_STEPWISE", "CP_LRP"}


@pytest.mark.parametrize("n_layers", [1, 3])
def test_only_the_last_layer_is_computed_for_one_row(n_layers):
    network, (ids, mask) = random_network(n_layers), batch(padded=True)
    rows: dict[str, int] = {}
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(lambda _, __, output, name=name: rows.update({name: output.shape[1]}))
    network(network.embed(ids), mask)
    for layer in range(n_layers):
        expected = 1 if layer == n_layers - 1 else 17
        at = f"bert.encoder.layer.{layer}."
        assert rows[at + "attention.self.Wqkv"] == 17  # keys and values of all rows
        assert [rows[at + name] for name in ("attention.output.dense", "mlp.gated_layers", "mlp.wo")] == [
            expected
        ] * 3


@pytest.mark.parametrize("n_tokens", [17, 60])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("n_layers", [1, 3])
@pytest.mark.parametrize("name", RULE_SETS)
def test_logits_relevance_and_every_ledger_entry_are_those_of_all_rows(name, n_layers, padded, n_tokens, monkeypatch):
    network, (ids, mask) = random_network(n_layers), batch(n_tokens, padded=padded)
    short, full = both_ways(lambda: relevance_of_batch(network, ids, mask, ALL, rules=RULE_SETS[name]), monkeypatch)
    np.testing.assert_allclose(short.logits, full.logits, rtol=0, atol=1e-12)
    size = float(full.token_relevance.abs().max())
    np.testing.assert_allclose(short.token_relevance, full.token_relevance, rtol=0, atol=1e-12 * max(1.0, size))
    assert set(short.ledger) == set(full.ledger)
    assert bool(short.ledger) == RULE_SETS[name].conserves
    for entry, amount in full.ledger.items():
        size = max(1.0, float(amount.abs().max()))
        np.testing.assert_allclose(short.ledger[entry], amount, rtol=0, atol=1e-12 * size, err_msg=entry)


@pytest.mark.parametrize("method", METHODS["DNABERT-2"])
def test_every_method_says_what_it_says_of_all_rows(method, exact_model, monkeypatch):
    explainer = TokenExplainer(exact_model, method)
    short, full = both_ways(lambda: explainer.read(SEQUENCES, ALL, "."), monkeypatch)
    for one, other in zip(short, full, strict=True):
        np.testing.assert_allclose(one.logits, other.logits, rtol=0, atol=1e-12)
        np.testing.assert_allclose(one.relevance, other.relevance, rtol=1e-11, atol=1e-12)


def test_training_learns_from_the_same_gradients(monkeypatch):
    network, (ids, mask) = random_network(), batch(padded=True)
    network.train().requires_grad_(True)

    def gradients():
        network.zero_grad()
        torch.nn.functional.cross_entropy(network(network.embed(ids), mask), torch.tensor([0, 2, 1])).backward()
        return {name: parameter.grad.clone() for name, parameter in network.named_parameters()}

    short, full = both_ways(gradients, monkeypatch)
    for name, gradient in full.items():
        size = max(1.0, float(gradient.abs().max()))
        np.testing.assert_allclose(short[name], gradient, rtol=0, atol=1e-12 * size, err_msg=name)


class _Adapted(torch.nn.Linear):
    """As LoRA stands in a linear layer's place: its matrix is not all that it does."""

    def forward(self, x):
        return super().forward(x) + 0.1 * x.sum(-1, keepdim=True)


@pytest.mark.parametrize("name", RULE_SETS)
def test_what_stands_in_a_layers_place_is_asked(name):
    network, (ids, mask) = random_network(), batch(padded=False)
    before = network(network.embed(ids), mask, RULE_SETS[name])
    for layer in network.bert.encoder.layer:
        layer.attention.self.Wqkv.__class__ = _Adapted
    found = network(network.embed(ids), mask, RULE_SETS[name])
    assert float((found - before).abs().max()) > 1e-3
    np.testing.assert_allclose(found, network(network.embed(ids), mask, PLAIN), rtol=0, atol=1e-12)
