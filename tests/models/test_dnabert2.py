"""The forward pass: equal to the published code, whatever the batch, the rules and the length."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from oracles import AttnLrpOracle, slopes
from paths import SHARED, needs_shared
from safetensors.torch import load_file
from tiny import tiny_config

from gexplain.models.dnabert2 import DnaBert2, alibi_slopes
from gexplain.models.rules import ATTN_LRP, ATTN_LRP_STEPWISE, CP_LRP, PLAIN

GOLDEN = SHARED / "golden" / "dnabert2"


def random_network(seed: int = 0, **sizes: int) -> DnaBert2:
    torch.manual_seed(seed)
    network = DnaBert2(tiny_config(**sizes)).double()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return network.eval().requires_grad_(False)


def logits_of(network: DnaBert2, ids: torch.Tensor, mask: torch.Tensor | None = None, **how) -> np.ndarray:
    with torch.no_grad():
        return network(network.embed(ids), mask, **how).numpy()


@pytest.fixture(scope="module")
def golden():
    io = load_file(GOLDEN / "io.safetensors")
    config = json.loads((GOLDEN / "config.json").read_text())
    state = load_file(GOLDEN / "model.safetensors")
    network = DnaBert2(
        tiny_config(
            vocab_size=config["vocab_size"],
            hidden_size=config["hidden_size"],
            n_layers=config["num_hidden_layers"],
            n_heads=config["num_attention_heads"],
            intermediate_size=config["intermediate_size"],
            n_targets=len(config["id2label"]),
        )
    )
    network.load_state_dict(state)
    return network.eval().requires_grad_(False), io


@needs_shared
def test_float32_logits_are_those_of_the_published_code(golden):
    network, io = golden
    logits = logits_of(network.float(), io["input_ids"], io["attention_mask"])
    np.testing.assert_allclose(logits, io["logits"].numpy(), atol=1e-5)


@needs_shared
def test_float64_logits_are_those_of_the_published_code(golden):
    network, io = golden
    logits = logits_of(network.double(), io["input_ids"], io["attention_mask"])
    np.testing.assert_allclose(logits, io["logits_f64"].numpy(), atol=1e-10)


@needs_shared
def test_700_tokens_are_read_as_the_published_code_reads_them(golden):
    network, io = golden
    logits = logits_of(network.double(), io["long_ids"])
    np.testing.assert_allclose(logits, io["long_logits_f64"].numpy(), atol=1e-10)


@pytest.mark.parametrize("n_heads", [2, 4, 6, 12])
def test_slopes_are_those_of_the_alibi_paper(n_heads):
    np.testing.assert_allclose(alibi_slopes(n_heads), slopes(n_heads), rtol=1e-15)


@pytest.mark.parametrize("n_heads", [4, 6])
def test_logits_equal_the_slow_oracle(n_heads):
    network = random_network(n_heads=n_heads, hidden_size=24)
    ids = torch.randint(5, 40, (1, 13), generator=torch.Generator().manual_seed(1))
    oracle = AttnLrpOracle(network.state_dict(), n_heads)
    np.testing.assert_allclose(logits_of(network, ids)[0], oracle.forward(ids[0].numpy()), atol=1e-12)


def test_padding_changes_no_logit():
    network = random_network()
    ids = torch.randint(5, 40, (2, 15), generator=torch.Generator().manual_seed(1))
    mask = torch.ones(2, 15)
    mask[1, 9:] = 0
    padded = logits_of(network, ids, mask)
    np.testing.assert_allclose(padded[1], logits_of(network, ids[1:, :9])[0], atol=1e-12)


@pytest.mark.parametrize("rules", [ATTN_LRP, ATTN_LRP_STEPWISE, CP_LRP], ids=["attnlrp", "stepwise", "cplrp"])
def test_rules_change_no_logit(rules):
    network = random_network()
    ids = torch.randint(5, 40, (3, 11), generator=torch.Generator().manual_seed(2))
    np.testing.assert_allclose(logits_of(network, ids, rules=rules), logits_of(network, ids, rules=PLAIN), atol=1e-12)
