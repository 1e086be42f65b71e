"""Measures: every row is what its metric says of parts that are made here one at a time."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

import gexplain
from gexplain.evaluation.cases import Case
from gexplain.evaluation.curves import FRACTIONS, Claim, CurveSettings, nucleotide_curves, token_curves
from gexplain.evaluation.metrics import CHANCE, METRICS, PAIR_METRICS
from gexplain.genome.sequence import reverse_complement
from gexplain.models.randomise import n_blocks, randomise
from gexplain.study.evaluation import _subjects
from gexplain.study.measure import Measurer, mutate
from gexplain.study.samples import Sample
from gexplain.study.settings import EvaluateSettings
from gexplain.study.subject import RANDOMISED

LABELS = ("none", "promoter", "enhancer")


def explain(model, sample: Sample, method: str, sequence: str | None = None, projection: str = "uniform"):
    """The sample's class in the sample's sequence, or in another."""
    (one,) = gexplain.explain(
        model, [sequence or sample.sequence], sample.label, method=method, projection=projection
    )
    return one


def direction(sample: Sample) -> np.ndarray:
    return np.array([float(label == sample.label) for label in LABELS])


def values_of(parts, *where: str) -> dict[str, float]:
    """Metric to value: sequence, model, method, other, level, variant."""
    return {row[6]: row[7] for part in parts for row in part.metrics if tuple(row[:6]) == where}


def assert_same_values(found: dict[str, float], expected: dict[str, float]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-6, abs=1e-9, nan_ok=True), name


def curve_settings(settings) -> CurveSettings:
    return CurveSettings(n_draws=settings.draws, seed=settings.seed)


def nucleotide_curves_alone(model, sample, relevance, settings):
    (curves,) = nucleotide_curves(
        [Claim(sample.sequence, relevance, direction(sample))],
        lambda rows: model.predict(rows, strand="forward"),
        curve_settings(settings),
    )
    return curves


def token_curves_alone(model, sample, relevance, settings):
    (tokens,) = model.tokens([sample.sequence])
    (curves,) = token_curves(
        [Claim(tokens, relevance, direction(sample))],
        model.logits_of_tokens,
        model.tokenizer.mask_id,
        curve_settings(settings),
    )
    return curves


# ---- one explanation ----

WHICH = (0, 2, 7)  # with two sites; with N; without a site, and past the costly ones


@pytest.mark.parametrize("row", WHICH)
def test_nucleotide_values_are_the_metrics_of_parts_made_alone(finished, samples, row):
    sample, model, settings = samples[row], finished.models["bert"], finished.settings
    relevance = explain(model, sample, "attnlrp").relevance
    costly = row < settings.costly
    case = Case(
        level="nucleotide",
        relevance=relevance,
        inside=sample.inside,
        curves=nucleotide_curves_alone(model, sample, relevance, settings),
        other_strand=explain(model, sample, "attnlrp", reverse_complement(sample.sequence)).relevance[::-1],
        randomised={
            n: explain(randomise(model, n, settings.seed), sample, "attnlrp").relevance
            for n in range(1, n_blocks(model) + 1)
            if costly
        },
        mutants=[
            (position, explain(model, sample, "attnlrp", mutant).relevance)
            for position, mutant in mutate(sample, settings.mutants, settings.seed)
            if costly
        ],
    )
    expected = {name: value for metric in METRICS.values() for name, value in metric.function(case).items()}
    found = values_of(finished.parts, sample.name, "bert", "attnlrp", ".", "nucleotide", "uniform")
    assert_same_values(found, expected)
    assert any(name.startswith("sanity") for name in found) == costly
    assert any(name.startswith("robustness") for name in found) == costly
    assert ("auroc" in found) == (sample.inside is not None)
    assert "strand agreement pearson" in found


@pytest.mark.parametrize("row", WHICH)
def test_token_values_are_the_metrics_of_parts_made_alone(finished, samples, row):
    sample, model = samples[row], finished.models["bert"]
    one = explain(model, sample, "attnlrp")
    words = [
        (relevance, start, end)
        for relevance, (start, end) in zip(one.token_relevance, one.token_spans, strict=True)
        if end > start
    ]
    relevance = np.array([word[0] for word in words])
    inside = None
    if sample.inside is not None:
        inside = np.array([sum(sample.inside[start:end]) * 2 >= end - start for _, start, end in words])
    curves = token_curves_alone(model, sample, relevance, finished.settings)
    case = Case(level="token", relevance=relevance, inside=inside, curves=curves)
    expected = {name: value for metric in METRICS.values() for name, value in metric.function(case).items()}
    found = values_of(finished.parts, sample.name, "bert", "attnlrp", ".", "token", "native")
    assert_same_values(found, expected)


@pytest.mark.parametrize(
    ("model", "method", "level", "variant"),
    [
        ("bert", "gradient-x-input", "nucleotide", "copy"),
        ("bert", "occlusion-base", "nucleotide", "native"),
        ("bert", "occlusion-base", "token", "sum"),
        ("cnn", "deeplift", "nucleotide", "native"),
    ],
)
def test_curves_are_those_of_the_explanation_alone(finished, samples, model, method, level, variant):
    """All methods' curves are asked for at once; that is no part of any."""
    found = [
        (morf, lerf)
        for part in finished.parts
        for *where, morf, lerf in part.curves
        if where == [model, method, level, variant]
    ]
    assert len(found) == len(samples)
    of_model = finished.models[model]
    for sample, (morf, lerf) in list(zip(samples, found, strict=True))[::3]:
        projection = variant if variant == "copy" else "uniform"
        relevance = explain(of_model, sample, method, projection=projection).relevance
        if level == "token":
            (tokens,) = of_model.tokens([sample.sequence])
            relevance = np.array([relevance[start:end].sum() for start, end in tokens.spans if end > start])
            curves = token_curves_alone(of_model, sample, relevance, finished.settings)
        else:
            curves = nucleotide_curves_alone(of_model, sample, relevance, finished.settings)
        np.testing.assert_allclose(morf, curves.morf, atol=1e-9)
        np.testing.assert_allclose(lerf, curves.lerf, atol=1e-9)
        assert len(morf) == len(FRACTIONS)


def test_only_the_variant_that_methods_are_compared_by_is_explained_again(finished):
    """Other projections, averages and tokens have what one explanation says, and the baseline has no baseline."""
    again = ("sanity", "robustness", "strand agreement")
    found = {tuple(row[1:6]) for part in finished.parts for row in part.metrics if row[6].startswith(again)}
    of_bert = {
        ("bert", method, ".", "nucleotide", "native" if method == "occlusion-base" else "uniform")
        for method in ("attnlrp", "gradient-x-input", "occlusion-base", "random")
    }
    of_cnn = {
        ("cnn", method, ".", "nucleotide", "native")
        for method in ("deeplift", "gradient-x-input", "occlusion-base", "random")
    }
    assert found == of_bert | of_cnn


def test_sanity_is_of_every_number_of_blocks(finished):
    for name, model in finished.models.items():
        found = {
            row[6]
            for part in finished.parts
            for row in part.metrics
            if row[1] == name and row[6].startswith("sanity")
        }
        expected = {f"sanity {what} {n + 1}" for what in ("pearson", "spearman") for n in range(n_blocks(model))}
        assert found == expected | {value + CHANCE for value in expected}


def test_the_default_method_has_averages_too(finished):
    variants: dict[tuple[str, str], list[str]] = {}
    for part in finished.parts:
        for _, model, method, other, level, variant, *_ in part.metrics:
            if other == "." and level == "nucleotide" and variant not in variants.setdefault((model, method), []):
                variants[model, method].append(variant)
    averages = ["both strands", "3 shifts", "both strands, 3 shifts"]
    assert variants["bert", "attnlrp"] == ["uniform", "copy", *(f"uniform, {one}" for one in averages)]
    assert variants["cnn", "deeplift"] == ["native", *(f"native, {one}" for one in averages)]
    assert variants["bert", "gradient-x-input"] == ["uniform", "copy"]
    assert variants["bert", RANDOMISED] == ["uniform", "copy"]


# ---- two explanations ----


def test_methods_of_a_model_are_compared_each_with_each_at_both_levels(finished, samples):
    n_methods = 5  # four, and the one of random weights
    found = Counter(
        tuple(row[1:5]) for part in finished.parts for row in part.metrics if row[3] != "." and ":" not in row[3]
    )
    pairs = n_methods * (n_methods - 1) // 2
    assert sum(key[0] == "bert" for key in found) == 2 * pairs
    assert sum(key[0] == "cnn" for key in found) == pairs
    assert set(found.values()) == {len(samples) * len(PAIR_METRICS)}
    model, sample = finished.models["bert"], samples[1]
    one, other = (explain(model, sample, method).relevance for method in ("attnlrp", "occlusion-base"))
    expected = {name: function(one, other) for name, function in PAIR_METRICS.items()}
    where = (sample.name, "bert", "attnlrp", "occlusion-base", "nucleotide", ".")
    assert_same_values(values_of(finished.parts, *where), expected)


def test_models_are_compared_by_their_defaults_and_by_methods_of_one_name(finished, samples):
    found = {tuple(row[1:6]) for part in finished.parts for row in part.metrics if ":" in row[3]}
    shared = ("gradient-x-input", "occlusion-base", "random", RANDOMISED)
    pairs = [("attnlrp", "deeplift"), *((name, name) for name in shared)]
    assert found == {("bert", one, f"cnn:{other}", "nucleotide", ".") for one, other in pairs}
    sample = samples[1]
    one = explain(finished.models["bert"], sample, "attnlrp").relevance
    other = explain(finished.models["cnn"], sample, "deeplift").relevance
    expected = {name: function(one, other) for name, function in PAIR_METRICS.items()}
    where = (sample.name, "bert", "attnlrp", "cnn:deeplift", "nucleotide", ".")
    assert_same_values(values_of(finished.parts, *where), expected)


# ---- mutants ----


def sample_of(sequence: str, number: int = 0) -> Sample:
    return Sample(number, "x", sequence, "none", None)


def test_a_mutant_differs_in_one_base_and_says_which():
    sample = sample_of("ACGTNACGTTGCARYNNACGT")
    for number in range(20):
        mutants = mutate(sample_of(sample.sequence, number), 6, 0)
        assert len(mutants) == 6
        positions = [position for position, _ in mutants]
        assert positions == sorted(set(positions))
        for position, mutant in mutants:
            changed = [
                at for at, (one, other) in enumerate(zip(sample.sequence, mutant, strict=True)) if one != other
            ]
            assert changed == [position]
            assert sample.sequence[position] in "ACGT"
            assert mutant[position] in "ACGT"


def test_every_place_and_every_letter_is_as_likely():
    drawn = Counter(
        (position, mutant[position])
        for number in range(3000)
        for position, mutant in mutate(sample_of("ACGN", number), 1, 0)
    )
    assert len(drawn) == 9
    assert min(drawn.values()) > 0.75 * 3000 / 9
    assert max(drawn.values()) < 1.25 * 3000 / 9


def test_mutants_depend_on_the_seed_and_the_number_of_the_sequence_alone():
    sequence = "ACGTTGCAACGTTTGACCAGT"
    usual = mutate(sample_of(sequence, 3), 4, 7)
    assert mutate(sample_of(sequence, 3), 4, 7) == usual
    assert mutate(sample_of(sequence, 4), 4, 7) != usual
    assert mutate(sample_of(sequence, 3), 4, 8) != usual


def test_a_sequence_of_few_bases_has_a_mutant_for_each():
    mutants = mutate(sample_of("NNACNNG"), 5, 0)
    assert [position for position, _ in mutants] == [2, 3, 6]


# ---- laws ----


def measured(models, samples, size: int, **changed) -> dict[tuple[str, ...], float]:
    """Values by all that names them, of samples in chunks of a size."""
    metrics = ("faithfulness", "gini", "similarity", "sanity", "robustness", "strand-agreement")
    usual = {"metrics": metrics, "draws": 1, "mutants": 1, "shifts": 2, "costly": 5}
    settings = EvaluateSettings(**{**usual, **changed})
    subjects = _subjects(models, settings)
    values: dict[tuple[str, ...], float] = {}
    for start in range(0, len(samples), size):
        chunk = samples[start : start + size]
        classes = np.array([LABELS.index(one.label) for one in chunk])
        part = Measurer(subjects, settings).measure(chunk, {subject.name: classes for subject in subjects})
        values.update({tuple(row[:7]): row[7] for row in part.metrics})
    return values


def assert_all_same(found: dict[tuple[str, ...], float], expected: dict[tuple[str, ...], float]) -> None:
    assert found.keys() == expected.keys()
    keys = list(expected)
    np.testing.assert_allclose([found[key] for key in keys], [expected[key] for key in keys], rtol=1e-6, atol=1e-6)


def test_neither_the_size_of_a_chunk_nor_the_order_changes_a_value(bert, cnn, samples):
    methods = ("attnlrp", "occlusion-base", "deeplift")
    whole = measured([bert, cnn], samples[:5], 16, methods=methods)
    assert sum(not math.isnan(value) for value in whole.values()) > 1000
    assert_all_same(measured([bert, cnn], samples[:5], 3, methods=methods), whole)
    assert_all_same(measured([bert, cnn], samples[4::-1], 2, methods=methods), whole)


def test_what_else_is_asked_changes_no_value(bert, samples):
    both = ("attnlrp", "occlusion-base")
    whole = measured([bert], samples[:2], 16, methods=both)
    fewer = measured([bert], samples[:2], 16, methods=both, metrics=("sanity", "similarity"))
    assert 0 < len(fewer) < len(whole)
    assert_all_same(fewer, {key: whole[key] for key in fewer})
    alone = measured([bert], samples[:2], 16, methods=("attnlrp",))
    assert 0 < len(alone) < len(whole)
    assert_all_same(alone, {key: whole[key] for key in alone})


def test_costs_are_of_every_method_and_chunk(finished, samples):
    totals: Counter[tuple[str, str]] = Counter()
    for part in finished.parts:
        for model, method, cost in part.costs:
            totals[model, method] += cost["sequences"]
            assert set(cost) == {"sequences", "forward", "backward", "seconds", "completeness_error"}
    shared = ("gradient-x-input", "occlusion-base", "random", RANDOMISED)
    expected = [
        ("bert", "attnlrp"),
        ("cnn", "deeplift"),
        *((model, one) for model in ("bert", "cnn") for one in shared),
        *(
            (model, f"{method}, {how}")
            for model, method in (("bert", "attnlrp"), ("cnn", "deeplift"))
            for how in ("both strands", "3 shifts", "both strands, 3 shifts")
        ),
    ]
    assert totals == dict.fromkeys(expected, len(samples))
