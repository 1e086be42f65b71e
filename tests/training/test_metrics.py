"""Metrics: held against slow oracles, written from the definitions."""

from __future__ import annotations

import json
import math
from itertools import product

import numpy as np
import pytest

from gexplain.errors import RunError
from gexplain.training.metrics import Metrics, evaluate_logits

LABELS = ("background", "AP1", "SP1", "Reb1")


# ---- Oracles ----


def share_in_order(positive: list[float], negative: list[float]) -> float:
    """AUROC: the share of pairs in which the positive ranks higher; a tie counts one half."""
    order = [(p > m) + 0.5 * (p == m) for p, m in product(positive, negative)]
    return sum(order) / len(order)


def average_precision(positive: list[float], negative: list[float]) -> float:
    """The sum, over the scores as thresholds, of precision times the recall that each adds."""
    total, recall_before = 0.0, 0.0
    for threshold in sorted({*positive, *negative}, reverse=True):
        true = sum(p >= threshold for p in positive)
        called = true + sum(m >= threshold for m in negative)
        recall = true / len(positive)
        total += (recall - recall_before) * true / called
        recall_before = recall
    return total


def gorodkin(confusion: np.ndarray) -> float:
    """R_K of a confusion matrix, row by column as in Gorodkin 2004, Eq. 8."""
    c, n = confusion, len(confusion)
    above = sum(c[i, i] * c[j, k] - c[i, j] * c[k, i] for i, j, k in product(range(n), repeat=3))
    by_row = sum(c[i].sum() * (c.sum() - c[i].sum()) for i in range(n))
    by_column = sum(c[:, i].sum() * (c.sum() - c[:, i].sum()) for i in range(n))
    return above / math.sqrt(by_row * by_column)


def delong_variance(positive: list[float], negative: list[float]) -> float:
    """Eq. 3 of DeLong et al. 1988 for one score: the variances of its two structural components."""
    of_positive = [share_in_order([p], negative) for p in positive]
    of_negative = [share_in_order(positive, [m]) for m in negative]
    area = share_in_order(positive, negative)
    s10 = sum((v - area) ** 2 for v in of_positive) / (len(positive) - 1)
    s01 = sum((v - area) ** 2 for v in of_negative) / (len(negative) - 1)
    return s10 / len(positive) + s01 / len(negative)


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.array([[math.exp(one) / sum(map(math.exp, row)) for one in row] for row in logits.tolist()])


def random_case(seed: int, n_classes: int = 4, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Logits with many ties, float32, and classes they tell something of; each class is there."""
    rng = np.random.default_rng(seed)
    classes = np.concatenate([np.arange(n_classes), rng.integers(n_classes, size=n - n_classes)])
    logits = rng.integers(-2, 3, (n, n_classes)) / 2 + np.eye(n_classes)[classes] * rng.random()
    return logits.astype(np.float32), classes


def split(scores: np.ndarray, is_class: np.ndarray) -> tuple[list[float], list[float]]:
    rounded = scores.round(12)  # so that ties of the oracle's softmax are ties
    return rounded[is_class].tolist(), rounded[~is_class].tolist()


# ---- Figures ----


@pytest.mark.parametrize("seed", range(12))
def test_areas_are_those_of_the_softmax_probabilities(seed):
    logits, classes = random_case(seed, n_classes=2 + seed % 3)
    found = evaluate_logits(logits, classes, LABELS[: logits.shape[1]])
    for index, one in enumerate(found.classes.values()):
        positive, negative = split(softmax(logits)[:, index], classes == index)
        assert one.n == len(positive)
        assert one.auroc == pytest.approx(share_in_order(positive, negative), abs=1e-12)
        assert one.auprc == pytest.approx(average_precision(positive, negative), abs=1e-12)
    assert found.mean_auroc == pytest.approx(np.mean([one.auroc for one in found.classes.values()]))


@pytest.mark.parametrize("seed", range(12))
def test_areas_against_background_are_of_the_difference_and_of_the_two_classes_alone(seed):
    logits, classes = random_case(seed)
    found = evaluate_logits(logits, classes, LABELS)
    for index in (1, 2, 3):
        score = logits[:, index] - logits[:, 0]
        expected = share_in_order(score[classes == index].tolist(), score[classes == 0].tolist())
        assert found.classes[LABELS[index]].auroc_vs_background == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(12))
def test_accuracy_and_mcc_are_those_of_the_confusion_matrix(seed):
    logits, classes = random_case(seed, n_classes=2 + seed % 3)
    n_classes = logits.shape[1]
    confusion = np.zeros((n_classes, n_classes))
    for row, label in zip(logits.tolist(), classes, strict=True):
        confusion[label, row.index(max(row))] += 1
    found = evaluate_logits(logits, classes, LABELS[:n_classes])
    assert found.n == len(classes)
    assert found.accuracy == pytest.approx(confusion.trace() / confusion.sum())
    assert found.mcc == pytest.approx(gorodkin(confusion))


def test_examples_of_equal_probability_are_ties():
    # Equal but for the order of the other classes, or a constant: a sum in another order would rank them.
    logits = np.array([[3, 1, 2, 7], [3, 7, 1, 2], [3 + 8, 2 + 8, 7 + 8, 1 + 8]]) / 8
    found = evaluate_logits(logits, np.array([0, 1, 1]), LABELS).classes["background"]
    assert (found.auroc, found.auprc) == (0.5, pytest.approx(1 / 3))


@pytest.mark.parametrize("seed", range(6))
def test_interval_is_delongs_on_the_scale_of_log_odds(seed):
    logits, classes = random_case(seed)
    one = evaluate_logits(logits, classes, LABELS).classes["AP1"]
    positive, negative = split(softmax(logits)[:, 1], classes == 1)
    spread = math.sqrt(delong_variance(positive, negative)) / (one.auroc * (1 - one.auroc))
    odds = [math.log(area / (1 - area)) for area in (one.auroc_95[0], one.auroc, one.auroc_95[1])]
    assert [odds[1] - odds[0], odds[2] - odds[1]] == pytest.approx([1.96 * spread] * 2, rel=1e-4)


def test_interval_holds_the_true_area_about_95_times_in_100():
    rng = np.random.default_rng(0)
    shift = 1.5
    true = 0.5 * (1 + math.erf(shift / 2))  # of two normal scores a shift apart
    n_held, n_draws = 0, 100
    classes = np.repeat([0, 1], [60, 40])
    for _ in range(n_draws):
        score = rng.normal(size=100) + shift * classes
        low, high = evaluate_logits(np.stack([-score, score], axis=1), classes, LABELS[:2]).classes["AP1"].auroc_95
        n_held += low <= true <= high
    assert 0.88 <= n_held / n_draws <= 0.99


# ---- Laws ----


def flat(metrics: Metrics) -> dict[str, float]:
    """All figures there are, by their path."""
    of_classes = {
        (label, name): value
        for label, one in metrics.as_dict()["classes"].items()
        for name, value in one.items()
        if isinstance(value, float)
    }
    return {"accuracy": metrics.accuracy, "mcc": metrics.mcc, "mean_auroc": metrics.mean_auroc, **of_classes}


def test_a_constant_added_to_all_logits_of_an_example_changes_nothing():
    rng = np.random.default_rng(1)
    logits, classes = rng.normal(size=(60, 4)), rng.integers(4, size=60)
    moved = logits + rng.normal(size=(60, 1))
    assert flat(evaluate_logits(moved, classes, LABELS)) == pytest.approx(
        flat(evaluate_logits(logits, classes, LABELS))
    )


def test_the_order_of_examples_does_not_matter():
    logits, classes = random_case(2)
    order = np.random.default_rng(2).permutation(len(classes))
    assert flat(evaluate_logits(logits[order], classes[order], LABELS)) == pytest.approx(
        flat(evaluate_logits(logits, classes, LABELS))
    )


def test_examples_that_are_certain_still_rank():
    # Their probabilities are all 1.0 in float64.
    logits = np.array([[0, 60], [0, 61], [0, 80], [0, 90]], dtype=float)
    found = evaluate_logits(logits, np.array([0, 0, 1, 1]), LABELS[:2])
    assert found.classes["AP1"].auroc == 1


def test_two_classes_have_one_area():
    logits, classes = random_case(4, n_classes=2)
    one, other = evaluate_logits(logits, classes, LABELS[:2]).classes.values()
    assert one.auroc == pytest.approx(other.auroc)
    assert other.auroc_vs_background == pytest.approx(other.auroc)


# ---- What there is none of ----


def test_a_class_without_examples_has_no_figures_and_says_why():
    logits, classes = random_case(5)
    kept = classes != 2
    found = evaluate_logits(logits[kept], classes[kept], LABELS)
    absent = found.classes["SP1"]
    assert (absent.n, absent.auroc, absent.auroc_95, absent.auprc, absent.auroc_vs_background) == (0, *[None] * 4)
    assert absent.missing == dict.fromkeys(
        ("auroc", "auroc_95", "auprc", "auroc_vs_background"), "no examples of SP1"
    )
    present = [found.classes[label].auroc for label in ("background", "AP1", "Reb1")]
    assert found.mean_auroc == pytest.approx(sum(present) / 3)


def test_without_examples_of_background_there_is_no_area_against_it():
    logits, classes = random_case(6)
    kept = classes != 0
    one = evaluate_logits(logits[kept], classes[kept], LABELS).classes["AP1"]
    assert one.auroc is not None
    assert (one.auroc_vs_background, one.missing) == (None, {"auroc_vs_background": "no examples of background"})


def test_examples_of_one_class_have_an_accuracy_only():
    logits, classes = random_case(7)
    kept = classes == 1
    found = evaluate_logits(logits[kept], classes[kept], LABELS)
    assert 0 <= found.accuracy <= 1
    assert (found.mcc, found.mean_auroc) == (None, None)
    assert found.missing == dict.fromkeys(("mcc", "mean_auroc"), "all examples are of class AP1")
    assert found.classes["AP1"].missing["auroc"] == "no examples of other classes"


def test_a_model_that_always_says_one_class_has_an_mcc_of_0():
    classes = np.array([0, 0, 1, 1])
    found = evaluate_logits(np.tile([1.0, 0.0], (4, 1)), classes, LABELS[:2])
    assert (found.mcc, found.accuracy, found.mean_auroc) == (0, 0.5, 0.5)


@pytest.mark.parametrize(
    ("classes", "reason"),
    [([0, 0, 1, 1], "no variance to estimate"), ([0, 0, 0, 1], "needs two examples of either kind")],
)
def test_an_interval_that_cannot_be_estimated_is_none(classes, reason):
    logits = np.stack([np.zeros(4), np.arange(4.0)], axis=1)
    one = evaluate_logits(logits, np.array(classes), LABELS[:2]).classes["AP1"]
    assert (one.auroc, one.auroc_95, one.missing) == (1, None, {"auroc_95": reason})


# ---- Which class is background ----


@pytest.mark.parametrize(
    ("labels", "background", "compared"),
    [
        (("background", "AP1"), None, {"AP1"}),
        (("Unbound", "AP1"), None, {"AP1"}),
        (("0", "1"), None, set()),
        (("0", "1"), "0", {"1"}),
        (("AP1", "none"), "none", {"AP1"}),
        (("AP1", "background"), None, set()),
    ],
)
def test_classes_are_compared_with_background_where_there_is_one(labels, background, compared):
    logits, classes = random_case(8, n_classes=2)
    found = evaluate_logits(logits, classes, labels, background=background)
    assert {label for label, one in found.classes.items() if one.auroc_vs_background is not None} == compared
    assert all("auroc_vs_background" in found.classes[label].missing for label in {*labels} - compared)


# ---- Written out ----


def test_as_dict_is_json_with_every_figure():
    logits, classes = random_case(9)
    kept = classes != 3
    found = evaluate_logits(logits[kept], classes[kept], LABELS).as_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert list(found) == ["n", "accuracy", "mcc", "mean_auroc", "missing", "classes"]
    assert list(found["classes"]) == list(LABELS)
    assert {tuple(one) for one in found["classes"].values()} == {
        ("n", "auroc", "auroc_95", "auprc", "auroc_vs_background", "missing")
    }


def test_every_figure_that_is_none_has_its_reason():
    logits, classes = random_case(10)
    for kept in (classes >= 0, classes != 0, classes != 1, classes == 1, classes < 2):
        found = evaluate_logits(logits[kept], classes[kept], LABELS).as_dict()
        for one in (found, *found["classes"].values()):
            assert {name for name, value in one.items() if value is None} == set(one["missing"])


# ---- Bad input ----


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_logits_that_are_not_finite_are_an_error(value):
    logits, classes = random_case(11)
    logits[[3, 5], 1] = value
    with pytest.raises(RunError, match="not finite for 2 of 60 examples"):
        evaluate_logits(logits, classes, LABELS)


@pytest.mark.parametrize(
    ("shape", "classes", "labels", "background"),
    [
        ((3, 2), [0, 1], ("a", "b"), None),
        ((2, 3), [0, 1], ("a", "b"), None),
        ((0, 2), [], ("a", "b"), None),
        ((2, 1), [0, 0], ("a",), None),
        ((2, 2), [0, 2], ("a", "b"), None),
        ((2, 2), [0, -1], ("a", "b"), None),
        ((2, 2), [0, 1], ("a", "b"), "c"),
    ],
)
def test_arrays_that_do_not_fit_are_an_error(shape, classes, labels, background):
    with pytest.raises(ValueError, match=r"\d|background"):
        evaluate_logits(np.zeros(shape), np.array(classes, dtype=np.int64), labels, background=background)
