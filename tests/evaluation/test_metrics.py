"""Metrics: every value by hand, against a slow count from its definition, and at its chance level."""

from __future__ import annotations

import itertools
import math
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from gexplain.evaluation.cases import Case
from gexplain.evaluation.curves import FRACTIONS, Curves
from gexplain.evaluation.metrics import (
    CHANCE,
    METRICS,
    PAIR_METRICS,
    SHARES,
    Metric,
    cosine,
    is_higher_better,
    pearson,
    spearman,
    top_k_iou,
)

NAN = float("nan")
LOCALISATION = ("mass accuracy", "rank accuracy", "auroc", "auprc", "pointing game")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def measure(metric, relevance, **parts):
    """The values of a metric for relevance at the nucleotide level."""
    return METRICS[metric].function(Case("nucleotide", np.asarray(relevance), **parts))


def localise(relevance, inside):
    return measure("localisation", np.asarray(relevance, dtype=float), inside=np.asarray(inside, dtype=bool))


def full_case(rng, n=40):
    """A case with all its parts."""
    fractions = np.array(FRACTIONS)
    return Case(
        "nucleotide",
        rng.normal(size=n),
        inside=np.arange(n) % 5 == 0,
        curves=Curves(fractions, rng.normal(size=len(fractions)), rng.normal(size=len(fractions))),
        other_strand=rng.normal(size=n),
        randomised={1: rng.normal(size=n), 12: rng.normal(size=n)},
        mutants=[(3, rng.normal(size=n)), (n - 1, rng.normal(size=n))],
    )


# ---- METRICS as a table ----


def test_a_metric_is_one_function_and_one_line(monkeypatch):
    def positive_share(case):
        return {"positive share": float((case.relevance > 0).mean())}

    monkeypatch.setitem(METRICS, "positive-share", Metric(positive_share, higher_is_better={"positive share": True}))
    assert measure("positive-share", [1.0, -1, 2, 0]) == {"positive share": 0.5}
    assert is_higher_better("positive share") is True


def test_values_have_one_name_each_a_direction_and_what_is_asked_of_them(rng):
    names = []
    for metric in METRICS.values():
        values = metric.function(full_case(rng))
        assert values
        assert np.isfinite(list(values.values())).all()
        assert all(type(value) is float for value in values.values())
        names += values
        for name in values:
            if name.endswith(CHANCE):
                assert name.removesuffix(CHANCE) in values
                assert is_higher_better(name) is None
            else:
                assert is_higher_better(name) is not None
    assert len(set(names)) == len(names)
    assert not set(names) & set(PAIR_METRICS)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_without_what_it_needs_has_no_values(rng, name):
    values = measure(name, rng.normal(size=9))
    assert bool(values) == (not METRICS[name].needs)


@pytest.mark.parametrize(
    ("value", "higher"),
    [
        ("delta", True),
        ("aopc lerf", False),
        ("comprehensiveness 5%", True),
        ("sufficiency", False),
        ("entropy share", False),
        ("auroc", True),
        ("sanity pearson 3", False),
        ("sanity spearman 12", False),
        ("strand agreement spearman", True),
        ("pearson", None),
        ("auroc chance", None),
    ],
)
def test_which_direction_is_better(value, higher):
    assert is_higher_better(value) is higher


@pytest.mark.parametrize("n", [3, 40])
def test_scaling_changes_no_value_but_signs_do(rng, n):
    relevance = rng.normal(size=n)
    for metric in ("gini", "entropy"):
        assert measure(metric, relevance) == pytest.approx(measure(metric, -7 * relevance))
    inside = np.arange(n) < 2
    once, scaled, turned = (localise(factor * relevance, inside) for factor in (1, 7, -1))
    assert scaled == pytest.approx(once)
    assert turned["auroc"] == pytest.approx(1 - once["auroc"])


# ---- cases ----


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"relevance": np.zeros((2, 3))}, r"expected \(n,\)"),
        ({"relevance": np.zeros(0)}, "n at least 1"),
        ({"relevance": np.array([1, NAN, 0])}, "finite"),
        ({"inside": np.zeros(4, dtype=bool)}, "inside"),
        ({"inside": np.zeros(3)}, "expected bool"),
        ({"other_strand": np.zeros(4)}, r"expected \(3,\)"),
        ({"randomised": {1: np.zeros(4)}}, r"expected \(3,\)"),
        ({"mutants": [(0, np.array([0, np.inf, 0]))]}, "finite"),
        ({"mutants": [(3, np.zeros(3))]}, r"leaves \[0, 3\)"),
        ({"level": "token", "other_strand": np.zeros(3)}, "by nucleotide, not by token"),
        ({"level": "token", "mutants": [(0, np.zeros(3))]}, "by nucleotide, not by token"),
    ],
)
def test_a_case_whose_parts_do_not_fit_is_refused(parts, message):
    Case("nucleotide", np.zeros(3))
    with pytest.raises(ValueError, match=message):
        Case(**{"level": "nucleotide", "relevance": np.zeros(3), **parts})


# ---- gini and entropy ----


def slow_gini(relevance):
    """Half the mean difference of two positions, over the mean."""
    sizes = [abs(value) for value in relevance]
    n = len(sizes)
    mean_difference = sum(abs(one - other) for one in sizes for other in sizes) / n**2
    return mean_difference / (2 * sum(sizes) / n)


def slow_entropy(relevance):
    sizes = [abs(value) for value in relevance]
    shares = [size / sum(sizes) for size in sizes]
    return -sum(share * math.log(share) for share in shares if share)


@pytest.mark.parametrize("n", [1, 2, 7, 200])
def test_gini_and_entropy_are_slow_counts(rng, n):
    relevance = np.where(rng.random(n) < 0.2, 0, rng.normal(size=n)).astype(np.float32)
    relevance[0] = 1
    assert measure("gini", relevance)["gini"] == pytest.approx(slow_gini(relevance.tolist()))
    values = measure("entropy", relevance)
    assert values["entropy"] == pytest.approx(slow_entropy(relevance.tolist()))
    if n > 1:
        assert values["entropy share"] == pytest.approx(values["entropy"] / math.log(n))
    else:
        assert math.isnan(values["entropy share"])


def test_gini_and_entropy_by_hand():
    assert measure("gini", [0.0, 0, -3, 0])["gini"] == pytest.approx(0.75)
    assert measure("gini", [1.0, -3])["gini"] == pytest.approx(0.25)
    assert measure("gini", [-2.0, 2, 2])["gini"] == pytest.approx(0)
    assert measure("entropy", [0.0, 0, -3, 0]) == {"entropy": 0, "entropy share": 0}
    assert measure("entropy", [-2.0, 2, 2]) == pytest.approx({"entropy": math.log(3), "entropy share": 1})
    assert measure("entropy", [1.0, 1, 2])["entropy"] == pytest.approx(1.5 * math.log(2))


def test_no_relevance_at_all_is_neither_sparse_nor_complex():
    assert math.isnan(measure("gini", np.zeros(4))["gini"])
    assert np.isnan(list(measure("entropy", np.zeros(4)).values())).all()


# ---- localisation ----


def orders(relevance):
    """All orders of positions, highest relevance first: equals in every order."""
    for order in itertools.permutations(range(len(relevance))):
        if all(relevance[a] >= relevance[b] for a, b in itertools.pairwise(order)):
            yield order


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def slow_localisation(relevance, inside):
    sites = {i for i, is_inside in enumerate(inside) if is_inside}
    rest = set(range(len(inside))) - sites
    positive = sum(value for value in relevance if value > 0)
    pairs = [(relevance[i] > relevance[j]) + (relevance[i] == relevance[j]) / 2 for i in sites for j in rest]
    # Average precision: recall climbs at each distinct value, and is weighed by the precision there.
    precision_recall = 0.0
    recall_before = 0.0
    for border in sorted(set(relevance), reverse=True):
        called = {i for i, value in enumerate(relevance) if value >= border}
        recall = len(called & sites) / len(sites)
        precision_recall += (recall - recall_before) * len(called & sites) / len(called)
        recall_before = recall
    return {
        "mass accuracy": sum(relevance[i] for i in sites if relevance[i] > 0) / positive if positive else NAN,
        "rank accuracy": mean(len(set(order[: len(sites)]) & sites) / len(sites) for order in orders(relevance)),
        "auroc": mean(pairs),
        "auprc": precision_recall,
        "pointing game": mean(order[0] in sites for order in orders(relevance)),
    }


@pytest.mark.parametrize("seed", range(15))
def test_localisation_is_a_slow_count_over_all_orders_of_equals(seed):
    rng = np.random.default_rng(seed)
    relevance = rng.integers(-2, 3, 7).astype(float) if seed % 3 else rng.normal(size=7)
    inside = np.zeros(7, dtype=bool)
    inside[rng.choice(7, size=1 + seed % 5, replace=False)] = True
    values = localise(relevance, inside)
    expected = slow_localisation(relevance.tolist(), inside.tolist())
    assert {name: values[name] for name in LOCALISATION} == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("relevance", [[3, 1, 0.5, -1, 7], [2, 2, 1, 1, 0], [4, 4, 4, 4, 4], [3, 3, 1, -1, -1]])
@pytest.mark.parametrize("n_inside", [1, 2, 4])
def test_chance_is_the_mean_over_all_ways_to_shuffle(relevance, n_inside):
    inside = np.arange(5) < n_inside
    shuffled = [localise(one, inside) for one in set(itertools.permutations(relevance))]
    for name in LOCALISATION:
        assert len({values[name + CHANCE] for values in shuffled}) == 1
        assert mean(values[name] for values in shuffled) == pytest.approx(shuffled[0][name + CHANCE])


def test_localisation_by_hand():
    values = localise([3, -1, 1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0])
    assert values == pytest.approx(
        {
            "mass accuracy": 0.75,
            "mass accuracy chance": 0.25,
            "rank accuracy": 0.5,
            "rank accuracy chance": 0.25,
            "auroc": 0.5,  # 6 of the 12 pairs
            "auroc chance": 0.5,
            "auprc": 0.5 * 1 + 0.5 * 2 / 8,
            "auprc chance": (1 * (1 + 0 / 7) / 1 + 1 * (1 + 1 / 7) / 2 + 5 * (1 + 6 / 7) / 7 + 1 * (1 + 7 / 7) / 8)
            / 8,
            "pointing game": 1,
            "pointing game chance": 0.25,
        }
    )


def test_a_perfect_explainer_scores_1(rng):
    inside = np.arange(500) // 10 == 7
    relevance = inside + rng.uniform(0, 1e-6, 500)
    values = localise(relevance, inside)
    assert [values[name] for name in LOCALISATION] == pytest.approx([1] * 5, abs=1e-3)


@pytest.mark.parametrize("ties", [False, True])
def test_a_random_explainer_scores_its_chance_level(rng, ties):
    inside = np.arange(120) // 8 == 3
    draws = rng.normal(size=(200, 120))
    values = [localise(np.round(one) if ties else one, inside) for one in draws]
    for name in LOCALISATION:
        excess = np.array([one[name] - one[name + CHANCE] for one in values])
        assert excess.std() > 0
        assert abs(excess.mean()) < 4 * excess.std() / math.sqrt(len(excess)), name


def test_an_adversarial_explainer_scores_below_chance(rng):
    inside = np.arange(200) // 10 == 7
    values = localise(rng.uniform(0, 0.1, 200) - inside + 0.5, inside)
    for name in LOCALISATION:
        assert values[name] < values[name + CHANCE] / 2, name


def test_a_flat_explainer_scores_its_chance_level():
    values = localise(np.full(20, 0.3), np.arange(20) < 3)
    for name in LOCALISATION:
        assert values[name] == pytest.approx(values[name + CHANCE]), name


def test_without_positive_relevance_there_is_no_mass_and_ranks_remain():
    values = localise([-1, -2, 0], [1, 0, 0])
    assert math.isnan(values["mass accuracy"])
    assert math.isnan(values["mass accuracy chance"])
    assert values["auroc"] == 0.5


@pytest.mark.parametrize("inside", [np.zeros(5, dtype=bool), np.ones(5, dtype=bool)])
def test_a_truth_that_tells_nothing_apart_is_undefined(rng, inside):
    values = localise(rng.normal(size=5), inside)
    assert values.keys() == localise(rng.normal(size=5), np.arange(5) < 2).keys()
    assert np.isnan(list(values.values())).all()


# ---- faithfulness ----


def slow_faithfulness(fractions, morf, lerf):
    def area(values):
        total = 0.0
        for i in range(1, len(fractions)):
            total += (fractions[i] - fractions[i - 1]) * (values[i] + values[i - 1]) / 2
        return total / (fractions[-1] - fractions[0])

    at = {round(fraction, 6): i for i, fraction in enumerate(fractions)}
    values = {
        "aopc morf": morf[0] - area(morf),
        "aopc lerf": lerf[0] - area(lerf),
        "delta": area(lerf) - area(morf),
        "delta chance": 0,
    }
    for share in SHARES:
        values[f"comprehensiveness {round(100 * share)}%"] = morf[0] - morf[at[share]]
        values[f"sufficiency {round(100 * share)}%"] = lerf[0] - lerf[at[round(1 - share, 6)]]
    for name in ("comprehensiveness", "sufficiency"):
        values[name] = mean(value for key, value in values.items() if key.startswith(f"{name} "))
    return values


def faithful(fractions, morf, lerf):
    curves = Curves(np.array(fractions, dtype=float), np.array(morf, dtype=float), np.array(lerf, dtype=float))
    return measure("faithfulness", np.zeros(3), curves=curves)


def test_faithfulness_is_a_slow_sum_over_the_curves(rng):
    for _ in range(5):
        morf, lerf = rng.normal(size=(2, len(FRACTIONS))).tolist()
        lerf[0] = morf[0]
        assert faithful(FRACTIONS, morf, lerf) == pytest.approx(slow_faithfulness(FRACTIONS, morf, lerf))


def test_faithfulness_by_hand():
    # All of a value of 2 is lost with the first hundredth, or kept to the last.
    lost = [2] + [0] * (len(FRACTIONS) - 1)
    kept = [2] * (len(FRACTIONS) - 1) + [0]
    values = faithful(FRACTIONS, lost, kept)
    assert values["aopc morf"] == pytest.approx(2 * 0.995)
    assert values["aopc lerf"] == pytest.approx(2 * 0.005)
    assert values["delta"] == pytest.approx(2 * 0.99)
    assert all(values[f"comprehensiveness {share}"] == 2 for share in ("1%", "5%", "10%", "20%", "50%"))
    assert all(values[f"sufficiency {share}"] == 0 for share in ("1%", "5%", "10%", "20%", "50%"))
    assert (values["comprehensiveness"], values["sufficiency"]) == (2, 0)


def test_a_value_that_falls_evenly_has_half_its_fall(rng):
    even = [3 - 4 * fraction for fraction in FRACTIONS]
    values = faithful(FRACTIONS, even, even)
    assert values["aopc morf"] == pytest.approx(2)
    assert values["delta"] == 0
    assert values["comprehensiveness 20%"] == pytest.approx(0.8)
    assert values["sufficiency 20%"] == pytest.approx(3.2)


def test_more_points_on_the_same_lines_change_no_area():
    few = [0, 0.01, 0.05, 0.1, 0.2, 0.5, 0.8, 0.9, 0.95, 0.99, 1]
    coarse = faithful(few, [2 - 1 * one for one in few], [2 - 0.5 * one for one in few])
    fine = faithful(FRACTIONS, [2 - 1 * one for one in FRACTIONS], [2 - 0.5 * one for one in FRACTIONS])
    assert coarse == pytest.approx(fine)


def test_curves_turned_round_have_the_opposite_delta(rng):
    morf, lerf = rng.normal(size=(2, len(FRACTIONS)))
    lerf[0] = morf[0]
    one, other = faithful(FRACTIONS, morf, lerf), faithful(FRACTIONS, lerf, morf)
    assert one["delta"] == pytest.approx(-other["delta"])
    assert one["aopc morf"] == pytest.approx(other["aopc lerf"])


def test_curves_without_a_point_that_is_asked_for_are_refused():
    with pytest.raises(ValueError, match=r"no point of the curves at 0\.01"):
        faithful([0, 0.5, 1], [1, 1, 1], [1, 1, 1])


# ---- two explanations ----


def slow_pearson(one, other):
    one_mean, other_mean = mean(one), mean(other)
    both = sum((a - one_mean) * (b - other_mean) for a, b in zip(one, other, strict=True))
    return both / math.sqrt(sum((a - one_mean) ** 2 for a in one) * sum((b - other_mean) ** 2 for b in other))


def slow_ranks(values):
    return [sum(other < one for other in values) + (sum(other == one for other in values) + 1) / 2 for one in values]


def slow_spearman(one, other):
    return slow_pearson(slow_ranks(one), slow_ranks(other))


def slow_cosine(one, other):
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))


def slow_top_k_iou(one, other):
    """Each position is in the set as often as it is in the top of all orders of equals."""
    k = max(1, round(0.1 * len(one)))

    def often(values):
        border = sorted(values, reverse=True)[k - 1]
        level = [i for i, value in enumerate(values) if value == border]
        above = {i for i, value in enumerate(values) if value > border}
        sets = [above | set(some) for some in itertools.combinations(level, k - len(above))]
        return [mean(i in one_set for one_set in sets) for i in range(len(values))]

    first, second = often(one), often(other)
    return sum(map(min, first, second)) / sum(map(max, first, second))


SLOW_PAIRS = {"pearson": slow_pearson, "spearman": slow_spearman, "cosine": slow_cosine, "top-k-iou": slow_top_k_iou}


def test_each_pair_metric_has_an_oracle():
    assert PAIR_METRICS.keys() == SLOW_PAIRS.keys()


@pytest.mark.parametrize("name", PAIR_METRICS)
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [4, 30])
def test_similarity_is_a_slow_count(rng, name, ties, n):
    for _ in range(5):
        one = rng.normal(size=n)
        other = one + rng.normal(size=n)
        if ties:
            one, other = np.round(one), np.round(other)
        one[:2] = 0, 3  # never flat
        other[:2] = 0, 3
        value = PAIR_METRICS[name](one.astype(np.float32), other.astype(np.float32))
        one, other = one.astype(np.float32).tolist(), other.astype(np.float32).tolist()
        assert value == pytest.approx(SLOW_PAIRS[name](one, other), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", PAIR_METRICS)
def test_similarity_is_symmetric_and_1_with_itself(rng, name):
    one, other = rng.normal(size=(2, 50))
    assert PAIR_METRICS[name](one, other) == pytest.approx(PAIR_METRICS[name](other, one))
    assert PAIR_METRICS[name](one, other) == pytest.approx(PAIR_METRICS[name](one[::-1], other[::-1]))
    assert PAIR_METRICS[name](one, 3 * one) == pytest.approx(1)


def test_similarity_by_hand():
    one = np.array([1.0, 2, 3, 4])
    assert pearson(one, np.array([1.0, 2, 3, 10])) == pytest.approx(14 / math.sqrt(5 * 50))
    assert spearman(one, np.array([1.0, 2, 3, 10])) == pytest.approx(1)
    assert spearman(one, -one) == pytest.approx(-1)
    assert cosine(np.array([1.0, 0]), np.array([1.0, 1])) == pytest.approx(math.sqrt(0.5))
    twenty = np.arange(20.0)
    assert top_k_iou(twenty, twenty) == 1  # 18 and 19
    assert top_k_iou(twenty, np.roll(twenty, 1)) == pytest.approx(1 / 3)  # 19 alone of 0, 18, 19
    assert top_k_iou(twenty, -twenty) == 0
    # Of three that share two places each has 2/3: 19 is in both by that much, of 1 + 2/3 + 2/3 + 0 and 1/3 more.
    level = np.where(twenty >= 17, 1.0, 0.0)
    assert top_k_iou(twenty, level) == pytest.approx((2 / 3 + 2 / 3) / (1 + 1 + 2 / 3))


@pytest.mark.parametrize("value", [0.0, 0.1, -3e10])
def test_what_is_flat_correlates_with_nothing(rng, value):
    flat, other = np.full(30, value), rng.normal(size=30)
    nearly = flat * (1 + 1e-15 * rng.integers(0, 2, 30))
    for one in (flat, nearly, flat.astype(np.float32)):
        for correlation in (pearson, spearman):
            assert math.isnan(correlation(one, other))
            assert math.isnan(correlation(other, one))
            assert math.isnan(correlation(one, one))


def test_no_relevance_has_no_direction(rng):
    assert math.isnan(cosine(np.zeros(5), rng.normal(size=5)))
    assert math.isnan(cosine(rng.normal(size=5), np.zeros(5)))


# ---- sanity, robustness, strands ----


def test_sanity_correlates_sizes_for_each_number_of_blocks(rng):
    relevance, first, second = rng.normal(size=(3, 25))
    values = measure("sanity", relevance, randomised={12: second, 3: first})
    expected = {}
    for n, other in ((3, first), (12, second)):
        sizes, other_sizes = [abs(one) for one in relevance.tolist()], [abs(one) for one in other.tolist()]
        expected |= {f"sanity pearson {n}": slow_pearson(sizes, other_sizes), f"sanity pearson {n} chance": 0}
        expected |= {f"sanity spearman {n}": slow_spearman(sizes, other_sizes), f"sanity spearman {n} chance": 0}
    assert values == pytest.approx(expected)
    assert list(values) == list(expected)


def test_an_explanation_that_only_turns_its_sign_has_not_changed(rng):
    relevance = rng.normal(size=25)
    values = measure("sanity", relevance, randomised={1: -2 * relevance})
    assert values["sanity pearson 1"] == pytest.approx(1)
    assert values["sanity spearman 1"] == pytest.approx(1)


def test_a_random_explainer_passes_sanity_and_agrees_with_no_strand(rng):
    values = [
        {**measure("sanity", one, randomised={1: other}), **measure("strand-agreement", one, other_strand=other)}
        for one, other in rng.normal(size=(300, 2, 30))
    ]
    for name in ("sanity pearson 1", "sanity spearman 1", "strand agreement pearson", "strand agreement spearman"):
        found = np.array([one[name] for one in values])
        assert abs(found.mean() - values[0][name + CHANCE]) < 4 * found.std() / math.sqrt(300), name


def test_robustness_is_a_slow_mean_over_mutants(rng):
    relevance = rng.normal(size=12)
    mutants = [(position, relevance + rng.normal(size=12)) for position in (0, 5, 11)]
    correlations, kept = [], []
    for position, other in mutants:
        rest = [i for i in range(12) if i != position]
        correlations.append(slow_pearson([float(relevance[i]) for i in rest], [float(other[i]) for i in rest]))
        kept.append(max(rest, key=lambda i: relevance[i]) == max(rest, key=lambda i, other=other: other[i]))
    assert measure("robustness", relevance, mutants=mutants) == pytest.approx(
        {
            "robustness pearson": mean(correlations),
            "robustness pearson chance": 0,
            "robustness top kept": mean(kept),
            "robustness top kept chance": 1 / 11,
        }
    )


def test_the_substituted_base_does_not_count(rng):
    relevance = rng.normal(size=12)
    changed = relevance.copy()
    changed[4] += 100
    values = measure("robustness", relevance, mutants=[(4, changed)])
    assert values["robustness pearson"] == pytest.approx(1)
    assert values["robustness top kept"] == 1
    assert measure("robustness", relevance, mutants=[(5, changed)])["robustness pearson"] < 0.9


def test_the_top_is_kept_by_the_share_that_equals_have_in_common():
    relevance = np.array([0, 2, 2, 2, 0, 1.0])  # a token of three bases
    for other, kept in (
        ([0, 2, 2, 2, 0, 1.0], 1),
        (
            [0, 0, 0, 3, 3, 3.0],
            1 / 3,
        ),  # the substituted base, 4, is left out: a half each, of which a third is shared
        ([3, 0, 0, 0, 0, 3.0], 0),
        ([0, 3, 0, 0, 0, 0.0], 1 / 3),
        ([1, 1, 1, 1, 1, 1.0], 3 / 5),
    ):
        found = measure("robustness", relevance, mutants=[(4, np.array(other))])
        assert found["robustness top kept"] == pytest.approx(kept)


@pytest.mark.parametrize(("n_equal", "n_other"), [(1, 1), (3, 1), (3, 4), (12, 2)])
def test_the_chance_that_the_top_is_kept_is_that_of_shuffled_bases(rng, n_equal, n_other):
    one, other = (np.where(np.arange(12) < n, 1.0, 0.0) for n in (n_equal, n_other))
    kept, chances = [], []
    for _ in range(2_000):
        mutant = np.append(rng.permutation(other), 0.0)
        values = measure("robustness", np.append(one, 0.0), mutants=[(12, mutant)])
        kept.append(values["robustness top kept"])
        chances.append(values["robustness top kept chance"])
    assert mean(kept) == pytest.approx(mean(chances), abs=4 * np.std(kept) / math.sqrt(2_000) + 1e-9)


def test_a_mutant_without_a_correlation_leaves_the_sequence_without_one(rng):
    relevance = rng.normal(size=12)
    values = measure("robustness", relevance, mutants=[(0, relevance), (1, np.zeros(12))])
    assert math.isnan(values["robustness pearson"])


def test_a_sequence_of_one_base_has_nothing_left_to_compare():
    values = measure("robustness", np.ones(1), mutants=[(0, np.ones(1))])
    assert math.isnan(values["robustness pearson"])
    assert math.isnan(values["robustness top kept"])


def test_strands_agree_by_correlation(rng):
    one, other = rng.normal(size=(2, 20))
    assert measure("strand-agreement", one, other_strand=other) == pytest.approx(
        {
            "strand agreement pearson": slow_pearson(one.tolist(), other.tolist()),
            "strand agreement pearson chance": 0,
            "strand agreement spearman": slow_spearman(one.tolist(), other.tolist()),
            "strand agreement spearman chance": 0,
        }
    )


# ---- another implementation ----


@pytest.fixture(scope="module")
def quantus():
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        # It imports zennit where there is one, which fails without torchvision; these metrics need neither.
        patch.setitem(sys.modules, "zennit", None)
        warnings.simplefilter("ignore")  # its imports' own
        return pytest.importorskip("quantus", reason="the cross-check with Quantus needs it installed")


def of_quantus(metric, relevance_BL, inside_BL=None):
    """The values of a metric of Quantus, a sequence a row, which it takes for images one pixel high."""
    batch = relevance_BL[:, None, None].copy()
    masks = None if inside_BL is None else inside_BL[:, None, None]
    model = SimpleNamespace()  # none of these metrics asks it
    return metric.evaluate_batch(
        model=model, x_batch=batch, y_batch=np.zeros(len(batch)), a_batch=batch, s_batch=masks
    )


def test_gini_and_entropy_are_those_of_quantus(rng, quantus):
    relevance = rng.standard_t(3, size=(20, 300))
    options = {"abs": True, "normalise": False, "disable_warnings": True}
    for metric, other in (("gini", quantus.Sparseness), ("entropy", quantus.Complexity)):
        ours = [measure(metric, one)[metric] for one in relevance]
        np.testing.assert_allclose(of_quantus(other(**options), np.abs(relevance)), ours, rtol=0, atol=1e-6)


def test_mass_and_rank_accuracy_are_those_of_quantus(rng, quantus):
    relevance = rng.standard_t(3, size=(20, 300))
    inside = np.arange(300) // 12 == rng.integers(0, 25, 20)[:, None]
    options = {"abs": False, "normalise": False, "disable_warnings": True}
    ours = [localise(one, mask) for one, mask in zip(relevance, inside, strict=True)]
    for name, other, given in (
        ("mass accuracy", quantus.RelevanceMassAccuracy, np.maximum(relevance, 0)),  # its mass is that of all signs
        ("rank accuracy", quantus.RelevanceRankAccuracy, relevance),
    ):
        theirs = of_quantus(other(**options), given, inside)
        np.testing.assert_allclose(theirs, [one[name] for one in ours], rtol=0, atol=1e-6)
