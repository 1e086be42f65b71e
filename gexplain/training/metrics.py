"""Metrics: how well logits tell the classes of examples apart. No torch here; scikit-learn is loaded when used.

    accuracy           share of examples whose highest logit is that of their class (the first of equal ones)
    MCC                Gorodkin's R_K (2004, https://doi.org/10.1016/j.compbiolchem.2004.09.006)
    AUROC, AUPRC       of one class against all others, ranked by the class's softmax probability
    AUROC vs           of one class against the class of negatives alone, ranked by the difference
    background         of their logits

What a split cannot tell is None, and `missing` says why.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gexplain.arrays import FloatArray, IntArray
from gexplain.errors import RunError, count
from gexplain.training.labels import BACKGROUND_NAMES

# B examples, N classes, P positives, M negatives

_Z95 = 1.959964
"""The normal deviate that 95 % lie within."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassMetrics:
    """The figures of one class, of n examples. auroc_95: the 95 % interval of `auroc`, after DeLong.

    missing: figure to the reason why there is none.
    """

    n: int
    auroc: float | None = None
    auroc_95: tuple[float, float] | None = None
    auprc: float | None = None
    auroc_vs_background: float | None = None
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """The figures of n examples. classes: by label, in logit order.

    mcc: 0 where all examples are given one class, which tells nothing; None where all are of one class. mean_auroc:
    over the classes that have one.
    """

    n: int
    accuracy: float
    mcc: float | None
    mean_auroc: float | None
    classes: Mapping[str, ClassMetrics]
    missing: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """The figures as JSON can hold them; every key is there, whatever is None."""
        return {
            "n": self.n,
            "accuracy": self.accuracy,
            "mcc": self.mcc,
            "mean_auroc": self.mean_auroc,
            "missing": dict(self.missing),
            "classes": {
                label: {
                    "n": one.n,
                    "auroc": one.auroc,
                    "auroc_95": None if one.auroc_95 is None else list(one.auroc_95),
                    "auprc": one.auprc,
                    "auroc_vs_background": one.auroc_vs_background,
                    "missing": dict(one.missing),
                }
                for label, one in self.classes.items()
            },
        }


def evaluate_logits(
    logits: FloatArray, classes: IntArray, labels: Sequence[str], *, background: str | None = None
) -> Metrics:
    """The figures of logits (B, N), given the class of each example (B,), an index into the labels.

    background: the label of negatives; by default the first label, where it is called so (`BACKGROUND_NAMES`).

    Raises RunError for logits that are not finite, ValueError for arrays that do not fit.
    """
    logits_BN = np.asarray(logits, dtype=np.float64)
    _check(logits_BN, classes, labels, background)
    if background is None and labels[0].lower() in BACKGROUND_NAMES:
        background = labels[0]
    by_label = {
        label: _measure_class(logits_BN, classes, labels, index, background) for index, label in enumerate(labels)
    }
    areas = [one.auroc for one in by_label.values() if one.auroc is not None]
    predicted = logits_BN.argmax(1)
    only = _only_class(classes, labels)
    return Metrics(
        n=len(classes),
        accuracy=float((predicted == classes).mean()),
        mcc=_matthews(classes, predicted) if only is None else None,
        mean_auroc=math.fsum(areas) / len(areas) if areas else None,
        classes=by_label,
        missing={} if only is None else dict.fromkeys(("mcc", "mean_auroc"), f"all examples are of class {only}"),
    )


def _check(logits_BN: FloatArray, classes: IntArray, labels: Sequence[str], background: str | None) -> None:
    n_classes = len(labels)
    if logits_BN.shape != (len(classes), n_classes) or not len(classes) or n_classes < 2:
        raise ValueError(f"logits {logits_BN.shape} for {len(classes)} examples of {n_classes} classes")
    if classes.min() < 0 or classes.max() >= n_classes:
        raise ValueError(f"classes from {classes.min()} to {classes.max()}, and {n_classes} labels")
    if background is not None and background not in labels:
        raise ValueError(f"background {background!r} is none of {labels}")
    n_broken = int((~np.isfinite(logits_BN)).any(1).sum())
    if n_broken:
        raise RunError(
            f"the model's logits are not finite for {n_broken:,} of {count(len(classes), 'example')}",
            hint="lower the learning rate, and train again",
        )


def _only_class(classes: IntArray, labels: Sequence[str]) -> str | None:
    """The label of all examples, where they have but one."""
    return labels[int(classes[0])] if (classes == classes[0]).all() else None


def _matthews(classes: IntArray, predicted: IntArray) -> float:
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(classes, predicted))


# ---- One class ----


def _measure_class(
    logits_BN: FloatArray, classes: IntArray, labels: Sequence[str], index: int, background: str | None
) -> ClassMetrics:
    from sklearn.metrics import average_precision_score, roc_auc_score

    is_class = classes == index
    n = int(is_class.sum())
    figures: dict[str, float] = {}
    interval = None
    missing: dict[str, str] = {}
    if not n or n == len(classes):
        reason = f"no examples of {labels[index]}" if not n else "no examples of other classes"
        missing |= dict.fromkeys(("auroc", "auroc_95", "auprc"), reason)
    else:
        odds = _log_odds(logits_BN, index)
        figures["auroc"] = float(roc_auc_score(is_class, odds))
        figures["auprc"] = float(average_precision_score(is_class, odds))
        interval = _interval_of_auroc(odds[is_class], odds[~is_class])
        if interval is None:
            missing["auroc_95"] = (
                "needs two examples of either kind" if min(n, len(classes) - n) < 2 else "no variance to estimate"
            )
    no_comparison = _no_comparison(classes, labels, index, background)
    if no_comparison:
        missing["auroc_vs_background"] = no_comparison
    else:
        assert background is not None
        against = labels.index(background)
        chosen = is_class | (classes == against)
        difference = logits_BN[chosen, index] - logits_BN[chosen, against]
        figures["auroc_vs_background"] = float(roc_auc_score(is_class[chosen], difference))
    return ClassMetrics(n=n, auroc_95=interval, missing=missing, **figures)


def _log_odds(logits_BN: FloatArray, index: int) -> FloatArray:
    """Log-odds of a class's softmax probability: they rank alike, but do not run into 1 where the model is certain.

    Of sorted differences, so that examples that are equal but for a constant, or the order of the others, stay equal.
    """
    ahead = np.delete(logits_BN, index, axis=1) - logits_BN[:, [index]]
    return np.asarray(-np.logaddexp.reduce(np.sort(ahead, axis=1), axis=1))


def _no_comparison(classes: IntArray, labels: Sequence[str], index: int, background: str | None) -> str | None:
    """Why there is no AUROC of a class against background, if there is none."""
    if background is None:
        return "no class of negatives"
    if labels[index] == background:
        return "it is the class of negatives"
    absent = [one for one in (labels[index], background) if not (classes == labels.index(one)).any()]
    return f"no examples of {absent[0]}" if absent else None


def _interval_of_auroc(positive_P: FloatArray, negative_M: FloatArray) -> tuple[float, float] | None:
    """The 95 % interval of an AUROC: DeLong et al. 1988 (https://doi.org/10.2307/2531595), on the scale of log-odds.

    There it stays within (0, 1), and is less narrow near 1 (Pepe 2003, section 5.2). None where either kind has fewer
    than two examples, and where no pair, or every pair, is in order: the estimated variance is 0 then, which would
    pass for certainty.
    """
    if min(len(positive_P), len(negative_M)) < 2:
        return None
    placed_P = _share_below(positive_P, negative_M)
    placed_M = 1 - _share_below(negative_M, positive_P)
    area = float(placed_P.mean())
    variance = float(placed_P.var(ddof=1) / len(placed_P) + placed_M.var(ddof=1) / len(placed_M))
    if variance <= 0 or not 0 < area < 1:
        return None
    odds = math.log(area / (1 - area))
    reach = _Z95 * math.sqrt(variance) / (area * (1 - area))
    return _logistic(odds - reach), _logistic(odds + reach)


def _share_below(values: FloatArray, others: FloatArray) -> FloatArray:
    """The share of the others that each value exceeds; of those that equal it, one half."""
    ordered = np.sort(others)
    twice = np.searchsorted(ordered, values, side="left") + np.searchsorted(ordered, values, side="right")
    return np.asarray(twice / (2 * len(others)))


def _logistic(odds: float) -> float:
    return 0.5 * (1 + math.tanh(odds / 2))
