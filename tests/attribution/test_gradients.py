"""Gradient x input, saliency and integrated gradients: equal to their definitions, and complete."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import CnnOracle
from tiny import tiny_checkpoint

import gexplain
from gexplain.attribution.explainers import TokenExplainer
from gexplain.attribution.gradients import IG_STEPS, gradient_x_input, integrated_gradients, saliency
from gexplain.attribution.target import Target
from gexplain.genome.sequence import reverse_complement
from gexplain.models.cnn import one_hot

SEQUENCES = ["ACGTTGCATTAGGCATCGACGTGTA", "TTTTAGC", "CACGTGNNACGTTATAACGTGACCATGACA", "CACGTG"]
PROMOTER, ALL = Target((1,), ("promoter",)), Target((0, 1, 2), ("none", "promoter", "enhancer"))


def batch(method, model, sequences=SEQUENCES, target=PROMOTER, **how):
    return method(model, *model.pad(model.tokens(sequences)), target, **how)


def relevance(method, model, sequences=SEQUENCES, target=PROMOTER, **how) -> np.ndarray:
    """(K, B, T)."""
    return batch(method, model, sequences, target, **how).token_relevance.numpy()


@pytest.fixture(params=["exact_model", "exact_cnn"])
def either(request):
    """One model of each kind, in float64."""
    return request.getfixturevalue(request.param)


def of_the_baseline(model, sequences=SEQUENCES) -> np.ndarray:
    """Logits (B, N) of the baselines, each alone and written out: N for a CNN, [MASK] tokens for DNABERT-2."""
    if model.kind == "CNN":
        return np.stack([CnnOracle(model.network.state_dict()).forward("N" * len(one)) for one in sequences])
    rows = []
    for tokens in model.tokens(sequences):
        ids = [int(tokens.ids[0]), *[model.tokenizer.mask_id] * (len(tokens.ids) - 2), int(tokens.ids[-1])]
        rows.append(model.network(model.network.embed(torch.tensor([ids])))[0].numpy())
    return np.stack(rows)


# -- gradient x input ---------------------------------------------------------------------------------------


def test_gradient_x_input_of_a_cnn_is_the_slope_at_the_base_that_is_there(exact_cnn):
    found = relevance(gradient_x_input, exact_cnn)[0]
    for sequence, row in zip(SEQUENCES, found, strict=True):
        one_hot_B4L = one_hot([sequence])[0].double()
        for place, base in enumerate(sequence):
            if base not in "ACGT":
                assert row[place] == 0
                continue
            step = torch.zeros_like(one_hot_B4L)
            step[0, "ACGT".index(base), place] = 1e-6
            above, below = (exact_cnn.network(one_hot_B4L + sign * step)[0, 1] for sign in (1, -1))
            assert row[place] == pytest.approx(float(above - below) / 2e-6, abs=1e-7)


# -- saliency -----------------------------------------------------------------------------------------------


def test_saliency_is_the_norm_of_the_slopes_of_all_channels(either):
    """Each slope by a step to both sides; past its end, a padded sequence has none."""
    found = relevance(saliency, either, SEQUENCES[:2])[0]
    for tokens, row in zip(either.tokens(SEQUENCES[:2]), found, strict=True):
        point_1TC = either.embed(torch.tensor(tokens.ids)[None])
        for place in range(len(tokens.ids)):
            squares = 0.0
            for channel in range(point_1TC.shape[2]):
                step = torch.zeros_like(point_1TC)
                step[0, place, channel] = 1e-6
                above, below = (either.logits(point_1TC + sign * step, None)[0, 1] for sign in (1, -1))
                squares += float((above - below) / 2e-6) ** 2
            assert row[place] == pytest.approx(squares**0.5, abs=1e-6)
        assert (row[len(tokens.ids) :] == 0).all()
    assert (found >= 0).all()


def test_saliency_of_a_margin_is_of_the_margin_and_no_difference(exact_cnn):
    margin = relevance(saliency, exact_cnn, target=Target((1,), ("promoter",), "margin"))[0]
    each = relevance(saliency, exact_cnn, target=ALL)
    assert (margin >= 0).all()
    assert (margin[0] <= each[1, 0] + (each[0, 0] + each[2, 0]) / 2 + 1e-12).all()  # the triangle's inequality
    assert np.abs(margin[0] - (each[1, 0] - (each[0, 0] + each[2, 0]) / 2)).max() > 1e-3


# -- integrated gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 4, 16])
def test_integrated_gradients_equal_the_definition(either, steps):
    """One sequence at a time, one point after another, by backward() of its logit."""
    found = relevance(integrated_gradients, either, steps=steps)[0]
    for tokens, row in zip(either.tokens(SEQUENCES), found, strict=True):
        ids = torch.tensor(tokens.ids)[None]
        if either.kind == "CNN":
            start, end = torch.zeros(1, len(tokens.ids), 4).double(), torch.eye(5, 4).double()[ids]
        else:
            masked = torch.tensor([[ids[0, 0], *[either.tokenizer.mask_id] * (ids.shape[1] - 2), ids[0, -1]]])
            table = either.network.bert.embeddings.word_embeddings.weight
            start, end = table[masked], table[ids]
        total = torch.zeros_like(end)
        for step in range(steps):
            point = (start + (2 * step + 1) / (2 * steps) * (end - start)).requires_grad_()
            either.network(point.mT if either.kind == "CNN" else point)[0, 1].backward()
            total += point.grad / steps
        expected = ((end - start) * total).sum(-1)[0]
        np.testing.assert_allclose(row[: len(expected)], expected, atol=1e-12)
        assert (row[len(expected) :] == 0).all()


@pytest.mark.parametrize("steps", [2, IG_STEPS])  # captum rounds 1 / steps to float32: powers of two
def test_integrated_gradients_equal_captums(either, steps):
    """The same points and weights: captum calls the midpoint rule "riemann_middle"."""
    from captum.attr import IntegratedGradients

    found = relevance(integrated_gradients, either, steps=steps)[0]
    for tokens, row in zip(either.tokens(SEQUENCES), found, strict=True):
        ids = torch.tensor(tokens.ids)[None]
        contributions = IntegratedGradients(lambda point_BTC: either.logits(point_BTC, None)).attribute(
            either.embed(ids), either.baseline(ids), target=1, n_steps=steps, method="riemann_middle"
        )
        np.testing.assert_allclose(row[: ids.shape[1]], contributions.detach()[0].sum(-1), atol=1e-12)


def test_integrated_gradients_are_complete_with_many_steps(either):
    rise = either.predict(SEQUENCES, strand="forward") - of_the_baseline(either)
    errors = [
        np.abs(relevance(integrated_gradients, either, target=ALL, steps=steps).sum(-1).T - rise).max()
        for steps in (16, 512)
    ]
    # The midpoint rule is of second order, but a CNN's gradient jumps where another base takes over: there of first.
    tolerance, order = (5e-3, 1) if either.kind == "CNN" else (1e-5, 2)
    assert errors[1] < tolerance * np.abs(rise).max()
    assert errors[1] < errors[0] / 32**order * 4


def test_the_completeness_error_is_what_the_sum_lacks_for_the_rise(either):
    explainer = TokenExplainer(either, "integrated-gradients")
    sequences = [*SEQUENCES, *map(reverse_complement, SEQUENCES)]
    rise = either.predict(sequences, strand="forward") - of_the_baseline(either, sequences)
    errors = []
    for one, expected in zip(explainer.read(sequences, ALL), rise, strict=True):
        np.testing.assert_allclose(one.completeness_error, expected - one.words, atol=1e-12)
        errors.append(one.completeness_error)
    assert np.abs(errors).max() > 1e-6
    for b, one in enumerate(explainer.read(SEQUENCES, ALL, ".")):
        np.testing.assert_allclose(one.completeness_error, (errors[b] + errors[b + 4]) / 2, atol=1e-12)


def test_a_method_without_a_path_has_no_completeness_error(either):
    (one,) = TokenExplainer(either, "gradient-x-input").read(SEQUENCES[:1], ALL)
    assert one.completeness_error is None


def test_special_tokens_lie_on_their_baseline(exact_model):
    for tokens, row in zip(
        exact_model.tokens(SEQUENCES), relevance(integrated_gradients, exact_model)[0], strict=True
    ):
        assert row[0] == row[len(tokens.ids) - 1] == 0
        assert (row[1 : len(tokens.ids) - 1] != 0).all()


def test_integrated_gradients_of_bfloat16_follow_float32(tmp_path):
    folder = tiny_checkpoint(tmp_path / "model", n_targets=3)
    sequences = ["".join(np.random.default_rng(seed).choice(list("ACGT"), 200)) for seed in range(2)]
    rough, fine = (
        gexplain.explain(
            gexplain.load_model(folder, device="cpu", dtype=dtype), sequences, 1, method="integrated-gradients"
        )
        for dtype in ("bfloat16", "float64")
    )
    for one, exact in zip(rough, fine, strict=True):
        assert np.corrcoef(one.token_relevance, exact.token_relevance)[0, 1] > 0.95
