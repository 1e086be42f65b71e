"""AttnLRP: equal to the explicit rules, closed ledgers, and the laws that relevance keeps."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from oracles import AttnLrpOracle, gelu
from paths import SHARED, needs_shared
from tiny import tiny_config

from gexplain.attribution.attnlrp import relevance_of_batch
from gexplain.attribution.target import Target
from gexplain.models.dnabert2 import DnaBert2
from gexplain.models.rules import (
    _CACHED_VALUES,
    ATTN_LRP,
    ATTN_LRP_STEPWISE,
    CP_LRP,
    PLAIN,
    Ledger,
    _ShortAttention,
    attend_attnlrp,
    attend_one_attnlrp,
    glu_identity_uniform,
    layer_norm_constant_sigma,
    tanh_identity,
)

GOLDEN = SHARED / "golden" / "attnlrp"
FIRST = Target((1,), ("class 1",))
RULES = {"attnlrp": ATTN_LRP, "cplrp": CP_LRP}


def random_network(seed: int = 0, *, biases: bool = True, **sizes: int) -> DnaBert2:
    torch.manual_seed(seed)
    network = DnaBert2(tiny_config(**{"n_targets": 3, **sizes})).double()
    for name, parameter in network.named_parameters():
        if not biases and (name.endswith("bias") or "token_type" in name):
            torch.nn.init.zeros_(parameter)
        else:
            torch.nn.init.normal_(parameter, std=0.9)
    return network.eval().requires_grad_(False)


def random_ids(n_rows: int, n_tokens: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(5, 40, (n_rows, n_tokens), generator=torch.Generator().manual_seed(seed))


def explain(network, ids, mask=None, target=FIRST, rules=ATTN_LRP, **how):
    return relevance_of_batch(network, ids, mask, target, rules=rules, **how)


def tokens_of(result) -> np.ndarray:
    return result.token_relevance.numpy()


def word_relevance(network, ids, rules) -> np.ndarray:
    """R_word (T, C) of class 1, before it is summed over the width of the model."""
    embedding = network.embed(ids).requires_grad_(True)
    network(embedding, None, rules)[0, 1].backward()
    return (embedding * embedding.grad)[0].detach().numpy()


# -- against explicit rules ---------------------------------------------------------------------------------


@needs_shared
@pytest.mark.parametrize(
    ("name", "rules"),
    [("tiny_h4_bias", ATTN_LRP), ("tiny_h4_bias", ATTN_LRP_STEPWISE), ("tiny_nobias_cplrp", CP_LRP)],
)
def test_relevance_equals_the_golden_oracle(name, rules):
    golden = np.load(GOLDEN / f"{name}.npz")
    config = json.loads(str(golden["cfg"]))
    network = DnaBert2(
        tiny_config(
            hidden_size=48, n_layers=3, n_heads=config["num_attention_heads"], intermediate_size=64, n_targets=3
        )
    ).double()
    network.load_state_dict({key[2:]: torch.tensor(golden[key]) for key in golden.files if key.startswith("w/")})
    network.requires_grad_(False)
    ids = torch.tensor(golden["ids"])[None]
    result = explain(network, ids, rules=rules)
    np.testing.assert_allclose(result.logits[0], golden["logits"], atol=1e-10)
    np.testing.assert_allclose(tokens_of(result)[0, 0], golden["R_token"], atol=1e-10)
    np.testing.assert_allclose(word_relevance(network, ids, rules), golden["R_word"], atol=1e-10)
    ledger = json.loads(str(golden["ledger"]))
    if rules is ATTN_LRP:  # fused attention books its two constants together
        ledger["attention"] = ledger.pop("softmax") + ledger.pop("alibi")
    assert set(result.ledger) == set(ledger)
    for entry, amount in result.ledger.items():
        np.testing.assert_allclose(amount[0, 0], ledger[entry], atol=1e-10)


@pytest.mark.parametrize("n_heads", [4, 6])
@pytest.mark.parametrize("method", list(RULES))
@pytest.mark.parametrize("seed", [0, 1])
def test_relevance_equals_the_slow_oracle(method, n_heads, seed):
    network = random_network(seed, n_heads=n_heads, hidden_size=24)
    ids = random_ids(1, 12, seed)
    oracle = AttnLrpOracle(network.state_dict(), n_heads, attention=method)
    expected = oracle.relevance(ids[0].numpy(), target=1)
    np.testing.assert_allclose(word_relevance(network, ids, RULES[method]), expected, rtol=1e-8, atol=1e-10)


def test_every_ledger_entry_equals_the_slow_oracle():
    network = random_network()
    ids = random_ids(1, 12)
    oracle = AttnLrpOracle(network.state_dict(), 4)
    oracle.relevance(ids[0].numpy(), target=1)
    ledger = explain(network, ids, rules=ATTN_LRP_STEPWISE).ledger
    assert set(ledger) == set(oracle.ledger)
    for name, amount in ledger.items():
        np.testing.assert_allclose(amount[0, 0], oracle.ledger[name], rtol=1e-8, atol=1e-10, err_msg=name)


def test_relevance_at_every_layer_equals_the_slow_oracle():
    network = random_network(n_layers=3)
    ids = random_ids(1, 9)
    oracle = AttnLrpOracle(network.state_dict(), 4)
    oracle.relevance(ids[0].numpy(), target=1)
    embedding = network.embed(ids).requires_grad_(True)
    bias = network.attention_bias(embedding, None)
    hidden = [network.bert.embeddings(embedding, ATTN_LRP, None)]
    for layer in network.bert.encoder.layer:
        hidden.append(layer(hidden[-1], bias, ATTN_LRP, None))
    gradients = torch.autograd.grad(network.read_out(hidden[-1], ATTN_LRP)[0, 1], hidden)
    for state, gradient, expected in zip(hidden, gradients, oracle.hidden, strict=True):
        np.testing.assert_allclose((state * gradient).sum(-1)[0].detach(), expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("n_tokens", [2, 40, 129])
def test_fused_attention_explains_as_step_by_step_attention_does(n_tokens, padded):
    network, ids, mask = random_network(), random_ids(2, n_tokens), torch.ones(2, n_tokens)
    mask[1, n_tokens // 2 :] = 0
    fused, stepwise = (
        explain(network, ids, mask if padded else None, rules=r) for r in (ATTN_LRP, ATTN_LRP_STEPWISE)
    )
    np.testing.assert_allclose(tokens_of(fused), tokens_of(stepwise), atol=1e-12)
    constants = stepwise.ledger["softmax"] + stepwise.ledger["alibi"]
    np.testing.assert_allclose(fused.ledger["attention"], constants, atol=1e-10)


@pytest.mark.parametrize("n_asking", [1, 9])
@pytest.mark.parametrize("n_biases", [1, 4])
def test_short_attention_gives_the_gradient_of_fused_attention(n_asking, n_biases):
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(4, 9, 3 * 3 * 5, dtype=torch.float64, generator=generator, requires_grad=True)
    bias = -3 * torch.rand(n_biases, 3, n_asking, 9, dtype=torch.float64, generator=generator)
    gradient = torch.randn(4, n_asking, 15, dtype=torch.float64, generator=generator)
    fused, short = attend_attnlrp(qkv, 3, bias, None), _ShortAttention.apply(qkv, 3, bias)
    np.testing.assert_allclose(short.detach(), fused.detach(), atol=1e-12)
    (expected,), (found,) = (torch.autograd.grad(one, qkv, gradient) for one in (fused, short))
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("n_biases", [1, 4])
@pytest.mark.parametrize("booked", [False, True])
def test_attention_of_one_token_needs_no_keys_and_no_values(n_biases, booked):
    generator = torch.Generator().manual_seed(0)
    hidden, weight, qkv_bias, alibi, gradient = (
        torch.randn(*shape, dtype=torch.float64, generator=generator)
        for shape in ((4, 9, 15), (45, 15), (45,), (n_biases, 3, 1, 9), (4, 1, 15))
    )
    hidden.requires_grad_(True)
    ledgers = (Ledger(), Ledger()) if booked else (None, None)
    qkv = torch.nn.functional.linear(hidden, weight, qkv_bias)
    if booked:
        qkv = ledgers[0].constant("Wqkv.bias", qkv, qkv_bias)
    whole = attend_attnlrp(qkv, 3, alibi, ledgers[0])
    one = attend_one_attnlrp(hidden, weight, qkv_bias, alibi, ledgers[1])
    np.testing.assert_allclose(one.detach(), whole.detach(), atol=1e-12)
    (expected,), (found,) = (torch.autograd.grad(output, hidden, gradient) for output in (whole, one))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    if booked:
        for name in ("Wqkv.bias", "attention"):
            np.testing.assert_allclose(ledgers[1].entries[name], ledgers[0].entries[name], atol=1e-11)


@pytest.mark.parametrize("n_tokens", [40, 300])  # the short one takes the way of short attention
def test_bfloat16_relevance_is_nearly_that_of_float64(n_tokens):
    network, ids = random_network(), random_ids(2, n_tokens)
    for parameter in network.parameters():
        parameter.mul_(0.3)
    exact = tokens_of(explain(network, ids))
    network.float()
    for module in network.bert.encoder.modules():
        if isinstance(module, torch.nn.Linear):
            module.bfloat16()
    rough = explain(network, ids)
    assert rough.token_relevance.dtype == torch.float32
    assert np.corrcoef(tokens_of(rough).ravel(), exact.ravel())[0, 1] > 0.99


# -- the ledger ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rules", [ATTN_LRP, ATTN_LRP_STEPWISE, CP_LRP], ids=["attnlrp", "stepwise", "cplrp"])
@pytest.mark.parametrize("seed", range(3))
def test_ledger_closes_with_every_bias_on(rules, seed):
    network = random_network(seed)
    result = explain(network, random_ids(4, 21, seed), target=Target((0, 2), ("a", "c")), rules=rules)
    explained = result.token_relevance.sum(-1) + sum(result.ledger.values())
    np.testing.assert_allclose(explained, result.explained, atol=1e-10)


def test_ledger_of_a_padded_batch_closes_per_sequence():
    network = random_network()
    mask = torch.ones(3, 18)
    mask[1, 11:] = 0
    mask[2, 5:] = 0
    result = explain(network, random_ids(3, 18), mask)
    np.testing.assert_allclose(
        result.token_relevance.sum(-1) + sum(result.ledger.values()), result.explained, atol=1e-10
    )


def test_attnlrp_relevance_does_not_sum_to_the_logit():
    result = explain(random_network(biases=False), random_ids(1, 15))
    assert abs(float(result.token_relevance.sum() - result.explained)) > 1e-3


def test_cplrp_relevance_sums_to_the_logit_without_constants():
    result = explain(random_network(biases=False), random_ids(2, 15), rules=CP_LRP)
    np.testing.assert_allclose(result.token_relevance.sum(-1), result.explained, atol=1e-12)


def test_plain_gradients_keep_no_ledger():
    assert explain(random_network(), random_ids(1, 8), rules=PLAIN).ledger == {}


def test_value_gets_half_and_query_and_key_get_equal_sums_per_head():
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(1, 9, 3 * 3 * 5, dtype=torch.float64, generator=generator, requires_grad=True)
    bias = -torch.rand(1, 3, 9, 9, dtype=torch.float64, generator=generator)
    output = attend_attnlrp(qkv, 3, bias, None)
    gradient = torch.randn(output.shape, dtype=torch.float64, generator=generator)
    (qkv_gradient,) = torch.autograd.grad(output, qkv, gradient)
    r_query, r_key, r_value = (qkv * qkv_gradient).view(9, 3, 3, 5).sum((0, 3)).detach()
    np.testing.assert_allclose(r_value, (output * gradient).view(9, 3, 5).sum((0, 2)).detach() / 2, atol=1e-12)
    np.testing.assert_allclose(r_query, r_key, atol=1e-12)


# -- laws ---------------------------------------------------------------------------------------------------


def test_relevance_is_linear_in_the_target():
    network, ids = random_network(), random_ids(2, 14)
    each = tokens_of(explain(network, ids, target=Target((0, 1, 2), ("a", "b", "c"))))
    margin = tokens_of(explain(network, ids, target=Target((1,), ("b",), "margin")))
    np.testing.assert_allclose(margin[0], each[1] - (each[0] + each[2]) / 2, atol=1e-12)


@pytest.mark.parametrize("rules", [ATTN_LRP, CP_LRP, PLAIN], ids=["attnlrp", "cplrp", "plain"])
def test_padding_changes_no_relevance_and_receives_none(rules):
    network, ids = random_network(), random_ids(2, 16)
    mask = torch.ones(2, 16)
    mask[1, 7:] = 0
    padded = tokens_of(explain(network, ids, mask, rules=rules))[0, 1]
    alone = tokens_of(explain(network, ids[1:, :7], rules=rules))[0, 0]
    np.testing.assert_allclose(padded[:7], alone, atol=1e-12)
    assert (padded[7:] == 0).all()


def balanced_network(ids: torch.Tensor) -> DnaBert2:
    """A random network that predicts several classes among these sequences."""
    network = random_network()
    network.classifier.bias -= explain(network, ids).logits.mean(0)
    return network


def test_predicted_target_is_the_largest_logit_of_each_sequence():
    ids = random_ids(6, 10)
    network = balanced_network(ids)
    result = explain(network, ids, target=Target((), ("predicted",)))
    assert len(set(result.logits.argmax(1).tolist())) > 1
    np.testing.assert_allclose(result.explained[0], result.logits.max(1).values)


def test_strands_of_a_sequence_are_averaged_before_a_class_is_picked():
    ids = random_ids(6, 10)
    network = balanced_network(ids)
    single = explain(network, ids, target=Target((), ("predicted",)))
    paired = explain(network, ids, target=Target((), ("predicted",)), n_strands=2)
    np.testing.assert_allclose(paired.logits, single.logits.reshape(3, 2, 3).mean(1))
    np.testing.assert_allclose(paired.explained[0], paired.logits.max(1).values)
    words = paired.token_relevance.sum(-1).reshape(3, 2).mean(1)
    np.testing.assert_allclose(words + sum(paired.ledger.values())[0], paired.explained[0], atol=1e-10)
    of_strands = single.logits.argmax(1).reshape(3, 2)
    assert (of_strands[:, 0] != of_strands[:, 1]).any()  # else nothing was to be averaged


def test_gradient_x_input_is_embedding_times_gradient():
    network, ids = random_network(), random_ids(1, 9)
    embedding = network.embed(ids).requires_grad_(True)
    network(embedding)[0, 1].backward()
    expected = (embedding * embedding.grad).sum(-1)[0].detach()
    np.testing.assert_allclose(tokens_of(explain(network, ids, rules=PLAIN))[0, 0], expected, atol=1e-12)


# -- single rules -------------------------------------------------------------------------------------------


def gradient_at(function, values: list[float]) -> np.ndarray:
    x = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    function(x).sum().backward()
    return x.grad.numpy()


def test_gate_and_up_get_half_of_the_relevance_each_over_gelus_whole_range():
    gates = [-9.0, -3.0, -1e-10, 0.0, 1e-10, 0.7, 9.0]
    values = np.array([*gates, *[1.7] * len(gates)])
    relevance = values * gradient_at(glu_identity_uniform, values.tolist())
    half = [gelu(gate) * 1.7 / 2 for gate in gates]
    np.testing.assert_allclose(relevance, [*half, *half], rtol=1e-12)


def test_many_tokens_are_explained_as_each_alone():
    # More than a CPU takes at once, and no multiple of it.
    gate_up = torch.randn(2, 203, 6144, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert gate_up.numel() > 2 * _CACHED_VALUES
    gradient = torch.randn(2, 203, 3072, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for given in (gradient, gradient.mT.contiguous().mT):  # whatever its strides
        point = gate_up.requires_grad_(True)
        (whole,) = torch.autograd.grad(glu_identity_uniform(point), point, given)
        for row, token in ((0, 0), (0, 169), (0, 170), (0, 171), (1, 137), (1, 202)):
            alone = gate_up[row, token].detach().requires_grad_(True)
            (expected,) = torch.autograd.grad(glu_identity_uniform(alone), alone, gradient[row, token])
            np.testing.assert_allclose(whole[row, token], expected, rtol=1e-13)
        assert whole.abs().sum(-1).min() > 0  # every token was written


def test_tanh_passes_relevance_unchanged_and_its_factor_at_zero_is_one():
    values = [-4.0, -1e-12, 0.0, 2.0]
    factors = gradient_at(tanh_identity, values)
    assert factors[2] == 1.0
    np.testing.assert_allclose(np.array(values) * factors, np.tanh(values), rtol=1e-12)


def test_layer_norm_keeps_relevance_but_for_beta():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 8, dtype=torch.float64, generator=generator, requires_grad=True)
    weight, bias, gradient = (
        torch.randn(shape, dtype=torch.float64, generator=generator) for shape in (8, 8, (4, 8))
    )
    output = layer_norm_constant_sigma(x, weight, bias, 1e-12)
    (x_gradient,) = torch.autograd.grad(output, x, gradient)
    arriving = (output * gradient).sum(-1).detach()
    np.testing.assert_allclose((x * x_gradient).sum(-1).detach(), arriving - (bias * gradient).sum(-1), atol=1e-12)


def test_a_rule_set_is_a_value_and_one_step_can_be_exchanged():
    network, ids = random_network(), random_ids(1, 9)
    plain_norm = replace(ATTN_LRP, normalise=PLAIN.normalise)
    changed = tokens_of(explain(network, ids, rules=plain_norm)) - tokens_of(explain(network, ids))
    assert np.abs(changed).max() > 1e-3


# -- precision and devices ----------------------------------------------------------------------------------


def test_float32_relevance_is_that_of_float64(device):
    network, ids = random_network(n_layers=3), random_ids(4, 60)
    exact = tokens_of(explain(network, ids))
    single = explain(network.float().to(device), ids.to(device)).token_relevance.cpu().numpy()
    np.testing.assert_allclose(single, exact, atol=1e-4 * np.abs(exact).max())
