"""Laws of every method: batches, order, strands, targets and padding change nothing, and spans are of its level."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from tiny import tiny_cnn

import gexplain
from gexplain.attribution.explainers import METHODS, SequenceMethod, TokenExplainer
from gexplain.attribution.target import Target
from gexplain.errors import UsageError
from gexplain.genome.sequence import reverse_complement
from gexplain.inputs import CHOICES

SEQUENCES = ["ACGTTGCATTAGGCATCGACGTGTA", "TTTTAGC", "CACGTGNNACGTTATAACGTGACCATGACA", "CACGTG"]
PROMOTER, ALL = Target((1,), ("promoter",)), Target((0, 1, 2), ("none", "promoter", "enhancer"))


def needs_package(name: str):
    return [pytest.mark.skipif(find_spec(name) is None, reason=f"needs {name}")] if name else []


CASES = [
    pytest.param((kind, name), marks=needs_package(method.needs), id=f"{kind}-{name}")
    for kind, methods in METHODS.items()
    for name, method in methods.items()
]


def speaks_of_bases(kind: str, name: str) -> bool:
    """Whether the method speaks of the bases that are there, and not of places or of tokens."""
    return METHODS[kind][name].level == "nucleotide" and name not in ("saliency", "random")


# Never negative, whichever class is explained: these are not linear in it.
UNSIGNED = ("saliency", "attention", "attention-rollout")


@pytest.fixture(params=CASES)
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
    (every,) = explainer.read(SEQUENCES[:1], ALL)
    (margin,) = explainer.read(SEQUENCES[:1], Target((1,), ("promoter",), "margin"))
    assert margin.explained[0] == pytest.approx(every.explained[1] - (every.explained[0] + every.explained[2]) / 2)
    if explainer.method in UNSIGNED:
        assert (margin.token_relevance >= 0).all()
        return
    each = every.relevance
    # A product with a ReLU's slope is linear in what is explained, and so is every other method here.
    np.testing.assert_allclose(margin.relevance[0], each[1] - (each[0] + each[2]) / 2, atol=1e-12)


def test_every_sequence_is_explained_for_the_class_that_both_strands_predict(explainer):
    sequences = [*SEQUENCES, "GGGGGGCCGGG", "TATATTTATA", "GACCATGACCAT"]
    predicted = explainer.read(sequences, Target((), ("predicted",)), ".")
    classes = [int(one.logits.argmax()) for one in predicted]
    assert len(set(classes)) > 1
    for one, every, k in zip(predicted, explainer.read(sequences, ALL, "."), classes, strict=True):
        np.testing.assert_allclose(one.explained[0], one.logits[k], atol=1e-12)
        np.testing.assert_allclose(one.relevance[0], every.relevance[k], atol=1e-12)


def test_several_targets_are_what_single_ones_are(explainer):
    together = explainer.read(SEQUENCES, ALL, ".")
    for k in range(3):
        for one, every in zip(explainer.read(SEQUENCES, Target((k,), ("one",)), "."), together, strict=True):
            np.testing.assert_allclose(every.relevance[k], one.relevance[0], atol=1e-12)


def test_neither_the_order_nor_the_batch_size_matters(explainer):
    turned = replace(explainer, batch_size=3).read(SEQUENCES[::-1], PROMOTER, ".")
    assert_readings(turned[::-1], explainer.read(SEQUENCES, PROMOTER, "."), *FIELDS)


def test_padding_gets_nothing(explainer):
    """Two rows, one of them padded: past its end it has zeros, and none is lost on them."""
    method = METHODS[explainer.model.kind][explainer.method]
    sequences = [SEQUENCES[0], "ACGTTGCAAGGA"]
    tokens = explainer.model.tokens(sequences)
    if isinstance(method, SequenceMethod):
        result = method.relevance(explainer.model, sequences, ALL, 1, 16)
    else:
        result = method.relevance(explainer.model, *explainer.model.pad(tokens), ALL, 1)
    relevance_KBT = result.token_relevance.numpy()
    width = len(sequences[1]) if explainer.level == "nucleotide" else len(tokens[1].ids)
    assert width < relevance_KBT.shape[2]
    assert (relevance_KBT[:, 1, width:] == 0).all()
    assert np.abs(relevance_KBT[:, 1, :width]).max() > 0


def test_spans_are_those_of_the_level(explainer):
    tokens = explainer.model.tokens(SEQUENCES)
    for strand in ("+", "-", "."):
        for sequence, one, read in zip(SEQUENCES, explainer.read(SEQUENCES, ALL, strand), tokens, strict=True):
            is_spelled = one.token_spans[:, 1] > one.token_spans[:, 0]
            spelled = [sequence[a:b] for a, b in one.token_spans[is_spelled]]
            assert "".join(spelled if strand != "-" else spelled[::-1]) == sequence
            if explainer.level == "nucleotide":
                assert is_spelled.all()
                assert max(map(len, spelled)) == 1
                np.testing.assert_allclose(one.special, 0, atol=1e-12)
            elif strand != "-":
                np.testing.assert_array_equal(one.token_spans, read.spans)


def test_ledgers_are_kept_by_lrp_of_dnabert2_alone(explainer):
    (one,) = explainer.read(SEQUENCES[:1], PROMOTER)
    assert bool(one.ledger) == (explainer.method in ("attnlrp", "cplrp"))


def test_rules_say_how_in_words(explainer):
    assert explainer.rules
    assert all(isinstance(words, str) and words for words in explainer.rules.values())


def test_unsigned_methods_are_never_negative_and_the_others_are(explainer):
    readings = explainer.read(SEQUENCES, ALL)
    assert (min(one.relevance.min() for one in readings) < 0) == (explainer.method not in UNSIGNED)


@pytest.mark.parametrize("explainer", [one for one in CASES if speaks_of_bases(*one.values[0])], indirect=True)
def test_what_is_no_base_gets_nothing(explainer):
    is_n = np.array([base == "N" for base in SEQUENCES[2]])
    (one,) = explainer.read(SEQUENCES[2:3], ALL)
    assert (one.relevance[:, is_n] == 0).all()
    assert (one.relevance[:, ~is_n] != 0).any()


# -- random -------------------------------------------------------------------------------------------------


def test_random_relevance_is_normal_and_says_nothing_of_the_model(exact_cnn, tmp_path):
    other = gexplain.load_model(tiny_cnn(tmp_path / "cnn", seed=5), device="cpu", dtype="float64")
    sequences = ["".join(np.random.default_rng(seed).choice(list("ACGT"), 500)) for seed in range(8)]
    noise, again = (
        np.stack([one.relevance for one in gexplain.explain(model, sequences, 1, method="random")])
        for model in (exact_cnn, other)
    )
    np.testing.assert_array_equal(noise, again)
    assert abs(noise.mean()) < 0.05
    assert noise.std() == pytest.approx(1, abs=0.05)
    assert np.abs(np.corrcoef(noise) - np.eye(8)).max() < 0.2


# -- a CNN's readings ---------------------------------------------------------------------------------------


def test_every_method_of_a_cnn_is_of_nucleotides():
    assert {method.level for method in METHODS["CNN"].values()} == {"nucleotide"}


def test_of_dnabert2_what_changes_bases_is_of_nucleotides():
    levels = {name: method.level for name, method in METHODS["DNABERT-2"].items()}
    assert {name for name, level in levels.items() if level == "nucleotide"} == {"occlusion-base", "ism"}


@pytest.mark.parametrize(("fixture", "method"), [("exact_cnn", "deeplift"), ("exact_model", "ism")])
def test_projections_are_the_same_where_tokens_are_bases(request, fixture, method):
    model = request.getfixturevalue(fixture)
    uniform, copy = (
        gexplain.explain(model, SEQUENCES, 1, method=method, projection=projection)
        for projection in ("uniform", "copy")
    )
    for one, other in zip(uniform, copy, strict=True):
        np.testing.assert_array_equal(one.relevance, other.relevance)


def test_float32_relevance_is_that_of_float64(explainer, checkpoint_dir, cnn_dir, device):
    there = gexplain.load_model(cnn_dir if explainer.model.kind == "CNN" else checkpoint_dir, device=device)
    rough = TokenExplainer(there, explainer.method)
    for one, exact in zip(
        rough.read(SEQUENCES, PROMOTER, "."), explainer.read(SEQUENCES, PROMOTER, "."), strict=True
    ):
        assert one.relevance.dtype == one.token_relevance.dtype == np.float32
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
