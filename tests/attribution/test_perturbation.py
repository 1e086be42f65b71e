"""Occlusion and in-silico mutagenesis: brute force, one changed sequence after another, says the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gexplain.attribution import perturbation
from gexplain.attribution.explainers import TokenExplainer
from gexplain.attribution.perturbation import ism, occlusion_base, occlusion_token
from gexplain.attribution.target import Target

SEQUENCES = ["ACGTTGCATTAGGCATCGACGTGTA", "TTTTAGC", "CACGTGNNACGTRATAACGTGACCATGACA", "CACGTG"]
ALL = Target((0, 1, 2), ("none", "promoter", "enhancer"))


@pytest.fixture(params=["exact_model", "exact_cnn"])
def either(request):
    """One model of each kind, in float64."""
    return request.getfixturevalue(request.param)


def logits(model, sequence: str) -> np.ndarray:
    return model.predict([sequence], strand="forward")[0]


def relevance(method, model, **how) -> np.ndarray:
    return method(model, SEQUENCES, ALL, **how).token_relevance.numpy()


def test_ism_equals_brute_force(either):
    found = relevance(ism, either)
    for b, sequence in enumerate(SEQUENCES):
        for place, base in enumerate(sequence):
            expected = np.zeros(3)
            if base in "ACGT":
                mutants = [sequence[:place] + other + sequence[place + 1 :] for other in "ACGT" if other != base]
                assert len(mutants) == 3
                expected = logits(either, sequence) - sum(logits(either, mutant) for mutant in mutants) / 3
            np.testing.assert_allclose(found[:, b, place], expected, atol=1e-12)
        assert (found[:, b, len(sequence) :] == 0).all()


def test_occlusion_by_base_equals_brute_force(either):
    found = relevance(occlusion_base, either)
    for b, sequence in enumerate(SEQUENCES):
        for place, base in enumerate(sequence):
            expected = np.zeros(3)
            if base in "ACGT":
                expected = logits(either, sequence) - logits(either, sequence[:place] + "N" + sequence[place + 1 :])
            np.testing.assert_allclose(found[:, b, place], expected, atol=1e-12)


def test_occlusion_by_base_of_a_cnn_is_occlusion_of_its_token(exact_cnn):
    """A CNN's base is a token; without it the one-hot column is zeros."""
    found = relevance(occlusion_base, exact_cnn)
    for b, tokens in enumerate(exact_cnn.tokens(SEQUENCES)):
        embedding = exact_cnn.embed(torch.tensor(tokens.ids)[None])
        whole = exact_cnn.logits(embedding, None)
        for place in range(len(tokens.ids)):
            without = embedding.clone()
            without[0, place] = 0
            np.testing.assert_allclose(found[:, b, place], (whole - exact_cnn.logits(without, None))[0], atol=1e-12)


def test_occlusion_by_token_equals_brute_force(exact_model):
    found = relevance(occlusion_token, exact_model)
    for b, tokens in enumerate(exact_model.tokens(SEQUENCES)):
        whole = logits(exact_model, SEQUENCES[b])
        for place in range(len(tokens.ids)):
            ids = torch.tensor(tokens.ids)[None]
            expected = np.zeros(3)
            if 0 < place < len(tokens.ids) - 1:
                ids[0, place] = exact_model.tokenizer.mask_id
                expected = whole - exact_model.network(exact_model.network.embed(ids))[0].numpy()
            np.testing.assert_allclose(found[:, b, place], expected, atol=1e-12)
        assert (found[:, b, len(tokens.ids) :] == 0).all()


@pytest.mark.parametrize("method", [ism, occlusion_base])
def test_small_pools_and_pieces_change_nothing(either, method, monkeypatch):
    whole = relevance(method, either)
    monkeypatch.setattr(perturbation, "_BATCHES_PER_POOL", 1)
    monkeypatch.setattr(perturbation, "_MOST_LETTERS", 40)
    np.testing.assert_allclose(relevance(method, either, batch_size=3), whole, atol=1e-12)


@pytest.mark.parametrize("name", ["ism", "occlusion-base", "occlusion-token"])
def test_no_more_rows_than_asked_for_go_through_at_once(exact_model, name, monkeypatch):
    sizes = []
    pad = type(exact_model).pad
    monkeypatch.setattr(type(exact_model), "pad", lambda self, tokens: sizes.append(len(tokens)) or pad(self, tokens))
    TokenExplainer(exact_model, name, batch_size=5).read(SEQUENCES, ALL, ".")
    assert max(sizes) == 5


def test_letters_that_are_no_base_get_nothing_and_need_no_pass(exact_cnn):
    (one,) = TokenExplainer(exact_cnn, "ism").read(["NNNN"], ALL)
    assert (one.relevance == 0).all()
    assert one.relevance.shape == (3, 4)
