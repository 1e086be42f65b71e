"""Gradients, integrated gradients and DeepLIFT: equal to their definitions, complete, and the same in any batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import CnnOracle
from tiny import tiny_checkpoint, tiny_cnn

import gexplain
from gexplain.attribution.explainers import METHODS, TokenExplainer
from gexplain.attribution.gradients import deeplift, gradient_x_input, integrated_gradients
from gexplain.attribution.target import Target
from gexplain.errors import UsageError
from gexplain.genome.sequence import reverse_complement
from gexplain.inputs import CHOICES
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


def test_special_tokens_lie_on_their_baseline(exact_model):
    for tokens, row in zip(
        exact_model.tokens(SEQUENCES), relevance(integrated_gradients, exact_model)[0], strict=True
    ):
        assert row[0] == row[len(tokens.ids) - 1] == 0
        assert (row[1 : len(tokens.ids) - 1] != 0).all()


# -- DeepLIFT -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_deeplift_equals_the_slow_oracle(tmp_path, seed):
    cnn = gexplain.load_model(tiny_cnn(tmp_path / "cnn", seed=seed), device="cpu", dtype="float64")
    oracle = CnnOracle(cnn.network.state_dict())
    sequences = [*SEQUENCES, "A", "TG", "GAT"]  # short ones have filters that are below their bias everywhere
    found = relevance(deeplift, cnn, sequences, ALL)
    below = 0
    for b, sequence in enumerate(sequences):
        for k in range(3):
            expected = oracle.deeplift(sequence, k)
            np.testing.assert_allclose(found[k, b, : len(sequence)], expected, atol=1e-12)
            assert (found[k, b, len(sequence) :] == 0).all()
        below += (oracle.pooled < np.maximum(cnn.network.conv.bias.numpy(), 0)).sum()
    assert below


def test_deeplift_sums_to_what_the_logit_is_more_than_that_of_n_alone(exact_cnn):
    rise = exact_cnn.predict(SEQUENCES, strand="forward") - of_the_baseline(exact_cnn)
    np.testing.assert_allclose(relevance(deeplift, exact_cnn, target=ALL).sum(-1).T, rise, atol=1e-12)


def test_deeplift_leaves_no_trace_on_the_network(exact_cnn):
    before = {name: tensor.clone() for name, tensor in exact_cnn.network.state_dict().items()}
    first = relevance(deeplift, exact_cnn)
    for module in exact_cnn.network.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._backward_hooks
    assert not any(parameter.requires_grad for parameter in exact_cnn.network.parameters())
    for name, tensor in exact_cnn.network.state_dict().items():
        assert torch.equal(tensor, before[name])
    np.testing.assert_array_equal(relevance(deeplift, exact_cnn), first)


# -- laws of every method -----------------------------------------------------------------------------------

CASES = [(kind, method) for kind, methods in METHODS.items() for method in methods]


@pytest.fixture(params=CASES, ids=[f"{kind}-{method}" for kind, method in CASES])
def explainer(request, exact_model, exact_cnn) -> TokenExplainer:
    """Each method of each kind of model, in float64."""
    kind, method = request.param
    return TokenExplainer({"DNABERT-2": exact_model, "CNN": exact_cnn}[kind], method)


def assert_readings(found, expected, *names) -> None:
    for one, other in zip(found, expected, strict=True):
        for name in names:
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-12, err_msg=name)


FIELDS = ("relevance", "token_relevance", "token_spans", "logits", "explained", "words", "special")


def test_a_sequence_alone_is_explained_as_in_a_batch(explainer):
    alone = [explainer.read([sequence], ALL, ".")[0] for sequence in SEQUENCES]
    assert_readings(explainer.read(SEQUENCES, ALL, "."), alone, *FIELDS)


def test_logits_are_those_predicted(explainer):
    for strand, name in ((".", "both"), ("+", "forward"), ("-", "reverse")):
        logits = [one.logits for one in explainer.read(SEQUENCES, PROMOTER, strand)]
        np.testing.assert_allclose(logits, explainer.model.predict(SEQUENCES, strand=name), atol=1e-12)


def test_both_strands_are_the_mean_of_the_two(explainer):
    forward, reverse, both = (explainer.read(SEQUENCES, PROMOTER, strand) for strand in ("+", "-", "."))
    complement = explainer.read([reverse_complement(one) for one in SEQUENCES], PROMOTER, "+")
    for plus, minus, turned, one in zip(forward, reverse, complement, both, strict=True):
        np.testing.assert_allclose(minus.relevance, turned.relevance[:, ::-1], atol=1e-12)
        for name in ("relevance", "explained", "words", "special"):
            mean = (getattr(plus, name) + getattr(minus, name)) / 2
            np.testing.assert_allclose(getattr(one, name), mean, atol=1e-12, err_msg=name)


def test_the_margin_is_the_class_less_the_mean_of_the_others(explainer):
    each = np.stack([one.relevance for one in explainer.read(SEQUENCES[:1], ALL)])[0]
    (margin,) = explainer.read(SEQUENCES[:1], Target((1,), ("promoter",), "margin"))
    # A product with a ReLU's slope is linear in what is explained, and so is every method here.
    np.testing.assert_allclose(margin.relevance[0], each[1] - (each[0] + each[2]) / 2, atol=1e-12)


def test_every_sequence_is_explained_for_the_class_that_both_strands_predict(explainer):
    sequences = [*SEQUENCES, "GGGGGGCCGGG", "TATATTTATA", "GACCATGACCAT"]
    predicted = explainer.read(sequences, Target((), ("predicted",)), ".")
    classes = [int(one.logits.argmax()) for one in predicted]
    assert len(set(classes)) > 1
    for one, every, k in zip(predicted, explainer.read(sequences, ALL, "."), classes, strict=True):
        np.testing.assert_allclose(one.explained[0], one.logits[k], atol=1e-12)
        np.testing.assert_allclose(one.relevance[0], every.relevance[k], atol=1e-12)


# -- a CNN's readings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS["CNN"])
def test_every_base_of_a_cnn_is_a_token(exact_cnn, method):
    for sequence, one in zip(
        SEQUENCES, gexplain.explain(exact_cnn, SEQUENCES, "promoter", method=method), strict=True
    ):
        assert "".join(sequence[a:b] for a, b in one.token_spans) == sequence
        assert len(one.token_spans) == len(sequence)
        np.testing.assert_array_equal(one.relevance, one.token_relevance)
        assert (one.relevance[[base == "N" for base in sequence]] == 0).all()
        assert one.ledger == {}


def test_projections_are_the_same_for_a_cnn(exact_cnn):
    uniform, copy = (
        gexplain.explain(exact_cnn, SEQUENCES, 1, projection=projection) for projection in ("uniform", "copy")
    )
    for one, other in zip(uniform, copy, strict=True):
        np.testing.assert_array_equal(one.relevance, other.relevance)


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


def test_float32_relevance_is_that_of_float64(cnn_dir, exact_cnn, device):
    there = gexplain.load_model(cnn_dir, device=device)
    for method in METHODS["CNN"]:
        for one, exact in zip(
            gexplain.explain(there, SEQUENCES, 1, method=method),
            gexplain.explain(exact_cnn, SEQUENCES, 1, method=method),
            strict=True,
        ):
            assert one.relevance.dtype == np.float32
            np.testing.assert_allclose(one.relevance, exact.relevance, atol=1e-4 * np.abs(exact.relevance).max())


# -- which method -------------------------------------------------------------------------------------------


def test_every_method_is_a_choice_of_score_and_none_is_made_up():
    assert set(CHOICES["method"]) == {"auto", *(name for methods in METHODS.values() for name in methods)}


def test_auto_is_the_method_of_the_kind(exact_model, exact_cnn):
    assert TokenExplainer(exact_model).method == "attnlrp"
    assert TokenExplainer(exact_cnn).method == "deeplift"
    for model, method in ((exact_model, "attnlrp"), (exact_cnn, "deeplift")):
        for one, other in zip(
            gexplain.explain(model, SEQUENCES, 1), gexplain.explain(model, SEQUENCES, 1, method=method), strict=True
        ):
            np.testing.assert_array_equal(one.relevance, other.relevance)


@pytest.mark.parametrize(
    ("fixture", "method", "told"),
    [
        ("exact_model", "deeplift", "no method 'deeplift' for a DNABERT-2"),
        ("exact_cnn", "attnlrp", "no method 'attnlrp' for a CNN"),
        ("exact_cnn", "magic", "no method 'magic' for a CNN"),
    ],
)
def test_a_method_of_the_other_kind_is_told_with_those_there_are(request, fixture, method, told):
    model = request.getfixturevalue(fixture)
    with pytest.raises(UsageError, match=told) as raised:
        gexplain.explain(model, SEQUENCES, 1, method=method)
    assert raised.value.hint == f"one of {', '.join(METHODS[model.kind])}"


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
