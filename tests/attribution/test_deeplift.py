"""DeepLIFT of a CNN, from N alone and from shuffles: equal to its rules and to tangermeme, and complete."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import CnnOracle
from tiny import tiny_cnn

import gexplain
from gexplain.attribution import explainers
from gexplain.attribution.chance import seeded_by
from gexplain.attribution.deeplift import N_REFERENCES, deeplift, deeplift_shap
from gexplain.attribution.explainers import TokenExplainer
from gexplain.attribution.target import Target
from gexplain.errors import UsageError
from gexplain.genome.shuffle import dinucleotide_shuffle
from gexplain.models.cnn import one_hot

SEQUENCES = ["ACGTTGCATTAGGCATCGACGTGTA", "TTTTAGC", "CACGTGNNACGTTATAACGTGACCATGACA", "CACGTG"]
PROMOTER, ALL = Target((1,), ("promoter",)), Target((0, 1, 2), ("none", "promoter", "enhancer"))


def relevance(model, sequences=SEQUENCES, target=PROMOTER) -> np.ndarray:
    """(K, B, L), of the sequence of N."""
    return deeplift(model, *model.pad(model.tokens(sequences)), target).token_relevance.numpy()


# -- from N alone -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_deeplift_equals_the_slow_oracle(tmp_path, seed):
    cnn = gexplain.load_model(tiny_cnn(tmp_path / "cnn", seed=seed), device="cpu", dtype="float64")
    oracle = CnnOracle(cnn.network.state_dict())
    sequences = [*SEQUENCES, "A", "TG", "GAT"]  # short ones have filters that are below their bias everywhere
    found = relevance(cnn, sequences, ALL)
    below = 0
    for b, sequence in enumerate(sequences):
        for k in range(3):
            expected = oracle.deeplift(sequence, k)
            np.testing.assert_allclose(found[k, b, : len(sequence)], expected, atol=1e-12)
            assert (found[k, b, len(sequence) :] == 0).all()
        below += (oracle.pooled < np.maximum(cnn.network.conv.bias.numpy(), 0)).sum()
    assert below


def test_deeplift_sums_to_what_the_logit_is_more_than_that_of_n_alone(exact_cnn):
    rise = exact_cnn.predict(SEQUENCES, strand="forward") - exact_cnn.predict(
        ["N" * len(one) for one in SEQUENCES], strand="forward"
    )
    np.testing.assert_allclose(relevance(exact_cnn, target=ALL).sum(-1).T, rise, atol=1e-12)


def test_deeplift_leaves_no_trace_on_the_network(exact_cnn):
    before = {name: tensor.clone() for name, tensor in exact_cnn.network.state_dict().items()}
    first = relevance(exact_cnn)
    for module in exact_cnn.network.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._backward_hooks
    assert not any(parameter.requires_grad for parameter in exact_cnn.network.parameters())
    for name, tensor in exact_cnn.network.state_dict().items():
        assert torch.equal(tensor, before[name])
    np.testing.assert_array_equal(relevance(exact_cnn), first)


def test_a_planted_motif_is_where_the_relevance_is(tmp_path):
    """One filter that is CACGTG, one class that is that filter: all relevance lies on the six bases."""
    folder = tiny_cnn(tmp_path / "cnn", labels=["none", "bound"])
    model = gexplain.load_model(folder, device="cpu")
    for tensor in model.network.state_dict().values():
        tensor.zero_()
    model.network.conv.weight[0, :, :6] = one_hot(["CACGTG"])[0][0]
    model.network.conv.bias[0] = -3
    model.network.dense.weight[0, 0] = model.network.classifier.weight[1, 0] = 1
    [why] = gexplain.explain(model, ["TTATTACACGTGAATTA"], "bound")
    np.testing.assert_allclose(why.relevance, [0] * 6 + [0.5] * 6 + [0] * 5, atol=1e-6)
    assert why.explained == 3


# -- from shuffles ------------------------------------------------------------------------------------------


def references(sequence: str) -> list[str]:
    return dinucleotide_shuffle([sequence] * N_REFERENCES, seeded_by(sequence.encode()))


def from_one_reference(oracle: CnnOracle, sequence: str, reference: str, target: int) -> np.ndarray:
    """DeepLIFT (L,) of one logit from any reference, share by share, by the rules of `CnnOracle.deeplift`.

    A maximum hands what it is more than the reference's to where it is, what it is less to where the reference's is.
    """
    oracle.forward(reference)
    before = {name: getattr(oracle, name).copy() for name in ("rectified", "pooled", "hidden", "matches")}
    oracle.forward(sequence)
    relevance = np.zeros(len(sequence))
    patterns = oracle.w["conv.weight"]
    for f, pattern in enumerate(patterns):
        rise = oracle.pooled[f] - before["pooled"][f]
        arriving = 0.0
        for unit, weight in enumerate(oracle.w["classifier.weight"][target]):
            change = oracle.hidden[unit] - before["hidden"][unit]
            if change:
                secant = (max(oracle.hidden[unit], 0) - max(before["hidden"][unit], 0)) / change
                arriving += weight * secant * oracle.w["dense.weight"][unit, f] * rise
        if not rise:
            continue
        place = int((oracle.rectified if rise > 0 else before["rectified"])[f].argmax())
        change = (oracle.matches - before["matches"])[f, place]
        for j in range(pattern.shape[1]):
            at = place + j - pattern.shape[1] // 2
            if 0 <= at < len(sequence) and sequence[at] in "ACGT":
                weight = pattern["ACGT".index(sequence[at]), j]
                if reference[at] in "ACGT":
                    weight = weight - pattern["ACGT".index(reference[at]), j]
                relevance[at] += arriving * weight / change
    return relevance


def tangermeme():
    return pytest.importorskip("tangermeme.deep_lift_shap", reason="needs tangermeme, which deeplift-shap rests on")


def test_deeplift_shap_is_the_mean_of_deeplift_from_shuffles(exact_cnn):
    tangermeme()
    oracle = CnnOracle(exact_cnn.network.state_dict())
    found = deeplift_shap(exact_cnn, SEQUENCES, ALL).token_relevance.numpy()
    for b, sequence in enumerate(SEQUENCES):
        for k in range(3):
            each = [from_one_reference(oracle, sequence, one, k) for one in references(sequence)]
            np.testing.assert_allclose(found[k, b, : len(sequence)], np.mean(each, axis=0), atol=1e-10)
        assert (found[:, b, len(sequence) :] == 0).all()


def test_deeplift_shap_equals_tangermemes_of_a_plain_sequential(exact_cnn):
    """One sequence at a time, without padding, on layers that this test puts together."""
    network = exact_cnn.network
    found = deeplift_shap(exact_cnn, SEQUENCES, ALL, batch_size=7).token_relevance.numpy()
    for b, sequence in enumerate(SEQUENCES):
        if "N" in sequence:
            continue
        layers = torch.nn.Sequential(
            *(network.conv, torch.nn.ReLU(), torch.nn.MaxPool1d(len(sequence)), torch.nn.Flatten()),
            *(network.dense, torch.nn.ReLU(), network.classifier),
        )
        given = one_hot(references(sequence))[0].double()[None]
        for k in range(3):
            expected = tangermeme().deep_lift_shap(
                layers, one_hot([sequence])[0].double(), references=given, target=k, device="cpu"
            )
            np.testing.assert_allclose(found[k, b, : len(sequence)], expected[0].sum(0), atol=1e-12)


def test_deeplift_shap_sums_to_what_the_logit_is_more_than_the_mean_of_the_references(exact_cnn):
    tangermeme()
    sequences = [one for one in SEQUENCES if "N" not in one]
    found = deeplift_shap(exact_cnn, sequences, ALL).token_relevance.numpy().sum(-1)
    for b, sequence in enumerate(sequences):
        rise = exact_cnn.predict([sequence, *references(sequence)], strand="forward")
        np.testing.assert_allclose(found[:, b], rise[0] - rise[1:].mean(0), atol=1e-10)


def test_deeplift_shap_leaves_no_trace_on_the_network(exact_cnn):
    tangermeme()
    names = {module: set(vars(module)) for module in exact_cnn.network.modules()}
    deeplift_shap(exact_cnn, SEQUENCES, ALL)
    for module, before in names.items():
        assert set(vars(module)) == before
        assert not module._forward_hooks
        assert not module._backward_hooks


def test_without_tangermeme_its_method_is_told_before_anything_is_read(exact_cnn, monkeypatch):
    monkeypatch.setattr(explainers, "find_spec", lambda package: None)
    with pytest.raises(UsageError, match="tangermeme, which is not installed") as raised:
        TokenExplainer(exact_cnn, "deeplift-shap")
    assert "pip install tangermeme" in raised.value.hint
    assert TokenExplainer(exact_cnn, "deeplift").read(SEQUENCES, PROMOTER)


def test_other_letters_are_shuffled_as_the_n_that_the_network_reads(exact_cnn):
    tangermeme()
    unknown, other = (deeplift_shap(exact_cnn, [f"ACG{letter}TTGCA"], ALL) for letter in "NÉ")
    np.testing.assert_array_equal(unknown.token_relevance, other.token_relevance)
