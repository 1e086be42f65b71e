"""Explainers: strings in, one relevance a nucleotide out, whatever the batch and the strand."""

from __future__ import annotations

import numpy as np
import pytest

import gexplain
from gexplain.attribution.explainers import TokenExplainer
from gexplain.attribution.target import Target, parse_target
from gexplain.errors import UsageError
from gexplain.genome.sequence import reverse_complement

SEQUENCES = ["ACGTTGCATTAGGCATCGACGTGTA", "TTTTAGC", "CACGTGNNACGTTATAACGTGACCATGACA", "CACGTG"]
LABELS = ("none", "promoter", "enhancer")
PROMOTER = Target((1,), ("promoter",))


def assert_same(one, other, atol=1e-12):
    for name in ("relevance", "token_relevance", "token_spans", "logits"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=atol, err_msg=name)


def test_explanation_has_one_value_per_nucleotide_and_token(exact_model):
    for sequence, one in zip(SEQUENCES, gexplain.explain(exact_model, SEQUENCES, "promoter"), strict=True):
        assert one.relevance.shape == (len(sequence),)
        assert one.token_relevance.shape == (len(one.token_spans),)
        assert one.logits.shape == (3,)
        assert (one.target, one.explained) == ("promoter", one.logits[1])


def test_token_spans_spell_the_sequence(exact_model):
    for sequence, one in zip(SEQUENCES, gexplain.explain(exact_model, SEQUENCES, 1), strict=True):
        assert "".join(sequence[a:b] for a, b in one.token_spans) == sequence


def test_tokens_and_ledger_sum_to_the_explained_value(exact_model):
    for method in ("attnlrp", "cplrp"):
        for one in gexplain.explain(exact_model, SEQUENCES, "enhancer", method=method):
            assert one.token_relevance.sum() + sum(one.ledger.values()) == pytest.approx(one.explained, abs=1e-10)
            assert one.unexplained == pytest.approx(sum(one.ledger.values()), abs=1e-10)


def test_nucleotides_of_a_uniform_projection_hold_what_tokens_with_a_span_hold(exact_model):
    for one in gexplain.explain(exact_model, SEQUENCES, 1):
        is_spelled = one.token_spans[:, 1] > one.token_spans[:, 0]
        assert one.relevance.sum() == pytest.approx(one.token_relevance[is_spelled].sum(), abs=1e-12)


def test_logits_of_an_explanation_are_those_predicted(exact_model):
    explained = np.stack([one.logits for one in gexplain.explain(exact_model, SEQUENCES, 0)])
    np.testing.assert_allclose(explained, exact_model.predict(SEQUENCES, strand="forward"), atol=1e-12)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_batch_size_does_not_matter(exact_model, batch_size):
    together = gexplain.explain(exact_model, SEQUENCES, 1)
    for one, other in zip(gexplain.explain(exact_model, SEQUENCES, 1, batch_size=batch_size), together, strict=True):
        assert_same(one, other)


def test_order_of_sequences_does_not_matter(exact_model):
    forward = gexplain.explain(exact_model, SEQUENCES, 1)
    backward = gexplain.explain(exact_model, SEQUENCES[::-1], 1)[::-1]
    for one, other in zip(forward, backward, strict=True):
        assert_same(one, other)


def test_reverse_strand_is_the_reverse_complement_mapped_back(exact_model):
    explainer = TokenExplainer(exact_model)
    reverse = explainer.read(SEQUENCES, PROMOTER, "-")
    complement = explainer.read([reverse_complement(one) for one in SEQUENCES], PROMOTER, "+")
    for one, other in zip(reverse, complement, strict=True):
        np.testing.assert_allclose(one.relevance, other.relevance[:, ::-1], atol=1e-12)
        np.testing.assert_allclose(one.logits, other.logits, atol=1e-12)


def test_both_strands_are_the_mean_of_the_two(exact_model):
    explainer = TokenExplainer(exact_model)
    forward, reverse, both = (explainer.read(SEQUENCES, PROMOTER, strand) for strand in ("+", "-", "."))
    for plus, minus, one in zip(forward, reverse, both, strict=True):
        for name in ("relevance", "logits", "explained", "words", "special"):
            mean = (getattr(plus, name) + getattr(minus, name)) / 2
            np.testing.assert_allclose(getattr(one, name), mean, atol=1e-12, err_msg=name)
        for name, amount in one.ledger.items():
            np.testing.assert_allclose(amount, (plus.ledger[name] + minus.ledger[name]) / 2, atol=1e-12)


def test_both_strands_explain_the_same_whichever_is_given(exact_model):
    explainer = TokenExplainer(exact_model)
    predicted = Target((), ("predicted",))
    given = explainer.read(SEQUENCES, predicted, ".")
    turned = explainer.read([reverse_complement(one) for one in SEQUENCES], predicted, ".")
    for one, other in zip(given, turned, strict=True):
        np.testing.assert_allclose(one.relevance, other.relevance[:, ::-1], atol=1e-12)


def test_all_targets_from_one_pass_are_those_of_single_passes(exact_model):
    explainer = TokenExplainer(exact_model)
    together = explainer.read(SEQUENCES, parse_target("all", LABELS), ".")
    for k in range(3):
        for one, every in zip(explainer.read(SEQUENCES, parse_target(k, LABELS), "."), together, strict=True):
            np.testing.assert_allclose(every.relevance[k], one.relevance[0], atol=1e-12)
            np.testing.assert_allclose(every.explained[k], one.explained[0], atol=1e-12)


def test_copy_gives_every_base_of_a_token_its_relevance(exact_model):
    (one,) = gexplain.explain(exact_model, SEQUENCES[:1], 1, projection="copy")
    for value, (start, end) in zip(one.token_relevance, one.token_spans, strict=True):
        np.testing.assert_array_equal(one.relevance[start:end], value)


def test_gradient_x_input_says_its_unexplained_rest_without_a_ledger(exact_model):
    (one,) = gexplain.explain(exact_model, SEQUENCES[:1], 1, method="gradient-x-input")
    assert one.ledger == {}
    assert one.unexplained == pytest.approx(one.explained - one.token_relevance.sum())


def test_float32_results_are_float32_and_close_to_float64(model, exact_model):
    for one, exact in zip(
        gexplain.explain(model, SEQUENCES, 1), gexplain.explain(exact_model, SEQUENCES, 1), strict=True
    ):
        assert one.relevance.dtype == one.logits.dtype == np.float32
        assert exact.relevance.dtype == exact.logits.dtype == np.float64
        np.testing.assert_allclose(one.relevance, exact.relevance, atol=1e-4 * np.abs(exact.relevance).max())


def test_bfloat16_relevance_follows_float32(checkpoint_dir, exact_model):
    rough = gexplain.load_model(checkpoint_dir, device="cpu", dtype="bfloat16")
    sequences = ["".join(np.random.default_rng(seed).choice(list("ACGT"), 200)) for seed in range(4)]
    for one, exact in zip(
        gexplain.explain(rough, sequences, 1), gexplain.explain(exact_model, sequences, 1), strict=True
    ):
        assert one.relevance.dtype == np.float32
        assert np.corrcoef(one.token_relevance, exact.token_relevance)[0, 1] > 0.99


def test_cpu_and_other_devices_agree(checkpoint_dir, exact_model, device):
    there = gexplain.load_model(checkpoint_dir, device=device)
    for one, exact in zip(
        gexplain.explain(there, SEQUENCES, 1), gexplain.explain(exact_model, SEQUENCES, 1), strict=True
    ):
        np.testing.assert_allclose(one.relevance, exact.relevance, atol=1e-4 * np.abs(exact.relevance).max())


# -- targets ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "labels", "classes"),
    [
        ("promoter", LABELS, (1,)),
        ("2", LABELS, (2,)),
        (0, LABELS, (0,)),
        ("predicted", LABELS, ()),
        ("all", LABELS, (0, 1, 2)),
        (None, LABELS, ()),
        (None, ("no", "yes"), (1,)),
        (None, ("expression",), (0,)),
        ("1", ("1", "0"), (0,)),  # a class called 1 goes before index 1
    ],
)
def test_targets_are_named_in_many_ways(text, labels, classes):
    assert parse_target(text, labels).classes == classes


@pytest.mark.parametrize("text", ["Promoter", "3", "-1", ""])
def test_an_unknown_target_is_told_with_the_classes(text):
    with pytest.raises(UsageError, match="none, promoter, enhancer"):
        parse_target(text, LABELS)


def test_a_margin_needs_another_class():
    with pytest.raises(UsageError, match="at least two classes"):
        parse_target(None, ("expression",), "margin")


@pytest.mark.parametrize("wrong", [{"method": "magic"}, {"projection": "magic"}, {"batch_size": 0}])
def test_wrong_options_are_told(model, wrong):
    with pytest.raises(UsageError):
        gexplain.explain(model, SEQUENCES, 1, **wrong)


def test_lower_case_is_refused_and_not_read_as_unknown(model):
    with pytest.raises(gexplain.InputError, match="sequence 1"):
        gexplain.explain(model, ["ACGT", "ACGtacgt"], 1)


def test_explain_takes_one_target(model):
    with pytest.raises(UsageError, match="one target"):
        gexplain.explain(model, SEQUENCES, "all")
