"""LRP of a CNN: equal to shares written out, and to zennit's EpsilonPlus."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import ModuleType

import numpy as np
import pytest
import torch
from oracles import CnnOracle
from tiny import tiny_cnn

import gexplain
from gexplain.attribution.cnn_lrp import EPSILON, lrp
from gexplain.attribution.target import Target
from gexplain.models.cnn import one_hot

SEQUENCES = ["ACGTTGCATTAGGCATCGACGTGTA", "TTTTAGC", "CACGTGNNACGTTATAACGTGACCATGACA", "CACGTG", "A", "TATATATATA"]
ALL = Target((0, 1, 2), ("none", "promoter", "enhancer"))


@pytest.fixture(params=range(3))
def any_cnn(request, tmp_path):
    """Tiny CNNs of several seeds, in float64."""
    return gexplain.load_model(tiny_cnn(tmp_path / "cnn", seed=request.param), device="cpu", dtype="float64")


def relevance(model, sequences=SEQUENCES, target=ALL) -> np.ndarray:
    return lrp(model, *model.pad(model.tokens(sequences)), target).token_relevance.numpy()


def stabilised(z: float) -> float:
    return z + (EPSILON if z >= 0 else -EPSILON)


def shares(oracle: CnnOracle, sequence: str, target: int) -> np.ndarray:
    """Relevance (L,) of one logit, handed down unit by unit, never by a gradient."""
    logit = oracle.forward(sequence)[target]
    r_pooled = np.zeros(len(oracle.pooled))
    for unit, weight in enumerate(oracle.w["classifier.weight"][target]):
        r_unit = max(oracle.hidden[unit], 0) * weight * logit / stabilised(logit)
        for f, pooled in enumerate(oracle.pooled):
            share = pooled * oracle.w["dense.weight"][unit, f]
            r_pooled[f] += share * r_unit / stabilised(oracle.hidden[unit])
    found = np.zeros(len(sequence))
    for f, pattern in enumerate(oracle.w["conv.weight"]):
        places = [p for p, match in enumerate(oracle.matches[f]) if match == max(oracle.matches[f])]
        for place in places:  # equal maxima share equally
            terms = {}
            for j in range(pattern.shape[1]):
                at = place + j - pattern.shape[1] // 2
                if 0 <= at < len(sequence) and sequence[at] in "ACGT":
                    terms[at] = max(pattern["ACGT".index(sequence[at]), j], 0)
            total = sum(terms.values()) + max(oracle.w["conv.bias"][f], 0)
            for at, term in terms.items():
                found[at] += term * r_pooled[f] / len(places) / stabilised(total)
    return found


def test_lrp_equals_shares_written_out(any_cnn):
    oracle = CnnOracle(any_cnn.network.state_dict())
    found = relevance(any_cnn)
    for b, sequence in enumerate(SEQUENCES):
        for k in range(3):
            np.testing.assert_allclose(found[k, b, : len(sequence)], shares(oracle, sequence, k), atol=1e-10)
        assert (found[:, b, len(sequence) :] == 0).all()
    assert np.abs(found).max() > 0.1


def test_lrp_equals_zennits_epsilon_plus(any_cnn, monkeypatch):
    if find_spec("zennit") is None:
        pytest.skip("needs zennit: pip install --no-deps zennit")
    if find_spec("torchvision") is None:  # zennit imports it for networks that are not asked for here
        resnet = ModuleType("torchvision.models.resnet")
        resnet.Bottleneck = resnet.BasicBlock = type("Block", (), {})
        for module in (ModuleType("torchvision"), ModuleType("torchvision.models"), resnet):
            monkeypatch.setitem(sys.modules, module.__name__, module)
    from zennit.attribution import Gradient
    from zennit.composites import EpsilonPlus

    class Maximum(torch.nn.Module):
        def forward(self, matches_BFL: torch.Tensor) -> torch.Tensor:
            return matches_BFL.amax(-1)

    network = any_cnn.network
    layers = torch.nn.Sequential(
        *(network.conv, Maximum(), torch.nn.ReLU(), network.dense, torch.nn.ReLU(), network.classifier)
    )
    found = relevance(any_cnn)
    for b, sequence in enumerate(SEQUENCES):
        for k in range(3):
            chosen_N = torch.eye(3)[k].double()
            with Gradient(layers, EpsilonPlus(epsilon=EPSILON, stabilizer=EPSILON)) as attributor:
                _, expected = attributor(one_hot([sequence])[0].double(), lambda logits, v=chosen_N: logits * v)
            np.testing.assert_allclose(found[k, b, : len(sequence)], expected[0].sum(0), atol=1e-12)


def test_without_biases_relevance_sums_to_the_logit(exact_cnn, tmp_path):
    """But for epsilon; not one filter may have a maximum of 0, where nothing is left to share."""
    model = gexplain.load_model(tiny_cnn(tmp_path / "cnn", seed=1), device="cpu", dtype="float64")
    for name, tensor in model.network.state_dict().items():
        if name.endswith("bias"):
            tensor.zero_()
    sequences = ["ACGTTGCATTAGGCATCGACGTGTA", "CACGTGTTACGTTATAACGTGACCATGACA"]
    np.testing.assert_allclose(
        relevance(model, sequences).sum(-1).T, model.predict(sequences, strand="forward"), rtol=1e-4
    )


def test_lrp_leaves_no_trace_on_the_network(exact_cnn):
    before = {name: tensor.clone() for name, tensor in exact_cnn.network.state_dict().items()}
    relevance(exact_cnn)
    assert not any(parameter.requires_grad for parameter in exact_cnn.network.parameters())
    for name, tensor in exact_cnn.network.state_dict().items():
        assert torch.equal(tensor, before[name])
