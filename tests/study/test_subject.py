"""Subjects: what a method says of a sequence, at both levels, is what `explain` says of it."""

from __future__ import annotations

import math
from importlib.util import find_spec

import numpy as np
import pytest
import torch

import gexplain
from gexplain.attribution.explainers import METHODS
from gexplain.genome.sequence import reverse_complement
from gexplain.models.randomise import n_blocks, randomise
from gexplain.study.subject import RANDOMISED, Subject, first_views

SEQUENCES = ["ACGTTGCATTAGGCATCGACGTGTA", "TTTTAGCTATAAGGC", "CACGTGNNTGACTATAA", "GGGTACACGTGCCCATTGA"]
CLASSES = np.array([2, 0, 1, 0])
LABELS = ("none", "promoter", "enhancer")
VALUES = {"sum": sum, "mean": lambda values: sum(values) / len(values), "max": max}


def subject(model, methods, **changed) -> Subject:
    usual = {
        "name": "m",
        "explained": "logit",
        "projections": ("uniform", "copy"),
        "aggregations": ("max", "sum", "mean"),
        "batch_size": 64,
        "seed": 0,
    }
    return Subject(model=model, methods=methods, **{**usual, **changed})


def explain(model, sequence: str, index: int, method: str, projection: str = "uniform", explained: str = "logit"):
    """One sequence alone."""
    (one,) = gexplain.explain(
        model, [sequence], LABELS[index], method=method, projection=projection, explained=explained
    )
    return one


def assert_same(found, expected) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-10)


# ---- both levels ----


@pytest.mark.parametrize("method", ["attnlrp", "occlusion-token", "random"])
def test_a_token_method_is_native_to_tokens_and_projected_to_nucleotides(bert, method):
    one = subject(bert, [method])
    views, _ = one.explain(method, one.passage(SEQUENCES, CLASSES))
    for sequence, index, of_one in zip(SEQUENCES, CLASSES, views, strict=True):
        alone = explain(bert, sequence, index, method)
        spelling = [
            relevance
            for relevance, (start, end) in zip(alone.token_relevance, alone.token_spans, strict=True)
            if end > start
        ]
        assert list(of_one) == [("token", "native"), ("nucleotide", "uniform"), ("nucleotide", "copy")]
        assert_same(of_one["token", "native"], spelling)
        for projection in ("uniform", "copy"):
            expected = explain(bert, sequence, index, method, projection).relevance
            assert_same(of_one["nucleotide", projection], expected)


def test_a_nucleotide_method_is_native_to_nucleotides_and_aggregated_to_tokens(bert):
    one = subject(bert, ["occlusion-base"])
    views, _ = one.explain("occlusion-base", one.passage(SEQUENCES, CLASSES))
    for sequence, index, of_one in zip(SEQUENCES, CLASSES, views, strict=True):
        relevance = explain(bert, sequence, index, "occlusion-base").relevance
        assert list(of_one) == [("token", "max"), ("token", "sum"), ("token", "mean"), ("nucleotide", "native")]
        assert_same(of_one["nucleotide", "native"], relevance)
        (tokens,) = bert.tokens([sequence])
        for aggregation, value in VALUES.items():
            expected = [
                value([relevance[position] for position in range(start, end)])
                for start, end in tokens.spans
                if end > start
            ]
            assert_same(of_one["token", aggregation], expected)


@pytest.mark.parametrize("method", ["deeplift", "ism"])
def test_a_cnn_has_nucleotides_alone(cnn, method):
    one = subject(cnn, [method])
    views, _ = one.explain(method, one.passage(SEQUENCES, CLASSES))
    for sequence, index, of_one in zip(SEQUENCES, CLASSES, views, strict=True):
        assert list(of_one) == [("nucleotide", "native")]
        assert_same(of_one["nucleotide", "native"], explain(cnn, sequence, index, method).relevance)


def test_the_first_of_each_level_is_what_methods_are_compared_by(bert):
    one = subject(bert, ["attnlrp", "occlusion-base"])
    passage = one.passage(SEQUENCES[:1], CLASSES[:1])
    first = [first_views(one.explain(method, passage)[0][0]) for method in one.methods]
    assert first[0] == {"token": ("token", "native"), "nucleotide": ("nucleotide", "uniform")}
    assert first[1] == {"token": ("token", "max"), "nucleotide": ("nucleotide", "native")}


def test_sequences_of_several_classes_are_each_explained_as_of_its_own(bert):
    one = subject(bert, ["attnlrp"])
    together, _ = one.explain("attnlrp", one.passage(SEQUENCES, CLASSES))
    for index in range(3):
        rows = np.flatnonzero(index == CLASSES).tolist()
        alone, _ = one.explain("attnlrp", one.passage([SEQUENCES[row] for row in rows], CLASSES[rows]))
        for row, of_one in zip(rows, alone, strict=True):
            assert together[row].keys() == of_one.keys()
            for view, values in of_one.items():
                assert_same(together[row][view], values)
    other, _ = one.explain("attnlrp", one.passage(SEQUENCES, (CLASSES + 1) % 3))
    assert all(
        np.abs(together[row]["token", "native"] - other[row]["token", "native"]).max() > 1e-3 for row in range(4)
    )


def test_the_margin_is_explained_where_it_is_asked_for(bert):
    one = subject(bert, ["attnlrp"], explained="margin")
    views, _ = one.explain("attnlrp", one.passage(SEQUENCES, CLASSES))
    for sequence, index, of_one in zip(SEQUENCES, CLASSES, views, strict=True):
        expected = explain(bert, sequence, index, "attnlrp", explained="margin").relevance
        assert_same(of_one["nucleotide", "uniform"], expected)


@pytest.mark.parametrize("explained", ["logit", "margin"])
def test_the_direction_makes_the_explained_value_of_logits(bert, explained):
    one = subject(bert, ["attnlrp"], explained=explained)
    logits = bert.predict(SEQUENCES, strand="forward")
    for sequence, index, row in zip(SEQUENCES, CLASSES, logits, strict=True):
        expected = explain(bert, sequence, index, "attnlrp", explained=explained).explained
        assert one.direction(index) @ row == pytest.approx(expected)


@pytest.mark.parametrize("fixture", ["bert", "cnn"])
def test_integrated_gradients_say_how_far_they_miss_their_sum(request, fixture):
    model = request.getfixturevalue(fixture)
    one = subject(model, ["integrated-gradients", "gradient-x-input"])
    passage = one.passage(SEQUENCES, CLASSES)
    missed = 0.0
    for sequence, index in zip(SEQUENCES, CLASSES, strict=True):
        relevance = explain(model, sequence, index, "integrated-gradients").token_relevance
        ids, mask = model.pad(model.tokens([sequence]))
        at_baseline = model.logits(model.baseline(ids), mask)[0, index].item()
        missed += abs(model.predict([sequence], strand="forward")[0, index] - at_baseline - relevance.sum())
    assert one.explain("integrated-gradients", passage)[1].completeness_error == pytest.approx(missed, rel=1e-6)
    assert math.isnan(one.explain("gradient-x-input", passage)[1].completeness_error)


# ---- strands, shifts, random weights ----


@pytest.mark.parametrize("both_strands", [False, True])
@pytest.mark.parametrize("shifts", [1, 4])
@pytest.mark.parametrize(("fixture", "method"), [("bert", "attnlrp"), ("cnn", "deeplift")])
def test_an_average_is_of_all_readings_that_hold_a_base(request, fixture, method, both_strands, shifts):
    model = request.getfixturevalue(fixture)
    one = subject(model, [method, "random"])
    found, cost = one.averaged(one.passage(SEQUENCES, CLASSES), both_strands=both_strands, shifts=shifts)
    plain = one.explain(method, one.passage(SEQUENCES, CLASSES))[1]
    n_readings = shifts * (2 if both_strands else 1)
    assert (cost.forward, cost.backward) == (n_readings * plain.forward, n_readings * plain.backward)
    for sequence, index, values in zip(SEQUENCES, CLASSES, found, strict=True):
        readings: list[list[float]] = [[] for _ in sequence]
        for shift in range(shifts):
            rest = sequence[shift:]
            for position, value in enumerate(explain(model, rest, index, method).relevance):
                readings[shift + position].append(value)
            if both_strands:
                backwards = explain(model, reverse_complement(rest), index, method).relevance
                for position in range(len(rest)):
                    readings[shift + position].append(backwards[len(rest) - 1 - position])
        assert_same(values, [sum(of_base) / len(of_base) for of_base in readings])


def test_the_other_strand_is_told_in_forward_coordinates(bert):
    one = subject(bert, ["attnlrp", "occlusion-base"])
    passage = one.passage(SEQUENCES, CLASSES)
    for method in one.methods:
        found = one.nucleotides(method, passage, strand="-")
        for sequence, index, values in zip(SEQUENCES, CLASSES, found, strict=True):
            assert_same(values, explain(bert, reverse_complement(sequence), index, method).relevance[::-1])


def test_random_blocks_are_nested_and_from_the_top(bert):
    one = subject(bert, ["attnlrp"], seed=3)
    passage = one.passage(SEQUENCES[:2], CLASSES[:2])
    for n in range(1, one.n_blocks + 1):
        values = one.nucleotides("attnlrp", passage, model=one.randomised(n))
        expected = [explain(randomise(bert, n, 3), SEQUENCES[row], CLASSES[row], "attnlrp") for row in range(2)]
        for found, of_one in zip(values, expected, strict=True):
            assert_same(found, of_one.relevance)
        fewer, more = one.randomised(n - 1).network.state_dict(), one.randomised(n).network.state_dict()
        own = bert.network.state_dict()
        is_random = {name for name in own if not torch.equal(own[name], fewer[name])}
        assert all(torch.equal(fewer[name], more[name]) for name in is_random)
        assert not all(torch.equal(fewer[name], more[name]) for name in own)


def test_the_randomised_baseline_is_the_default_method_of_all_random_weights(bert):
    one = subject(bert, ["cplrp", "attnlrp"], seed=1)
    assert one.default == "cplrp"
    views, _ = one.explain(RANDOMISED, one.passage(SEQUENCES, CLASSES))
    everything = randomise(bert, n_blocks(bert), 1)
    for sequence, index, of_one in zip(SEQUENCES, CLASSES, views, strict=True):
        assert_same(of_one["nucleotide", "uniform"], explain(everything, sequence, index, "cplrp").relevance)


# ---- cost ----


def test_the_cost_is_of_rows_through_the_network(bert, cnn):
    """One gradient is a row forward and one back; to leave a base out is a row for it, and one for the whole."""
    n, n_bases = len(SEQUENCES), sum(sequence.count(base) for sequence in SEQUENCES for base in "ACGT")
    expected = {
        "attnlrp": (n, n),
        "saliency": (n, n),
        RANDOMISED: (n, n),
        "attention": (n, 0),
        "occlusion-base": (n + n_bases, 0),
        "ism": (n + 3 * n_bases, 0),
    }
    one = subject(bert, ["attnlrp"])
    passage = one.passage(SEQUENCES, CLASSES)
    for method, rows in expected.items():
        _, cost = one.explain(method, passage)
        assert (cost.sequences, cost.forward, cost.backward) == (n, *rows), method
        assert cost.seconds > 0
    other = subject(cnn, ["deeplift"])
    _, cost = other.explain("ism", other.passage(SEQUENCES, CLASSES))
    assert (cost.sequences, cost.forward, cost.backward) == (n, n + 3 * n_bases, 0)


def test_batches_change_nothing(bert):
    views = []
    for batch_size in (1, 3, 64):
        one = subject(bert, ["attnlrp", "occlusion-base"], batch_size=batch_size)
        passage = one.passage(SEQUENCES, CLASSES)
        views.append([of_one for method in one.methods for of_one in one.explain(method, passage)[0]])
    for some in views[1:]:
        for of_one, expected in zip(some, views[0], strict=True):
            assert of_one.keys() == expected.keys()
            for view in of_one:
                assert_same(of_one[view], expected[view])


def test_every_method_says_something_of_every_nucleotide(bert, cnn):
    for model in (bert, cnn):
        methods = [
            name for name, method in METHODS[model.kind].items() if not method.needs or find_spec(method.needs)
        ]
        one = subject(model, methods)
        for method in methods:
            (of_one,), _ = one.explain(method, one.passage(SEQUENCES[1:2], CLASSES[1:2]))
            values = of_one[first_views(of_one)["nucleotide"]]
            assert values.shape == (15,)
            assert values.any(), method
