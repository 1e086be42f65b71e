"""Metrics: what is good about one explanation of one sequence, in numbers.

A metric is a function of a Case that gives values by name, and a line in METRICS. A value is NaN where it is
undefined for the case: a correlation with what is flat, a share of nothing. What "VALUE chance" holds is what VALUE
is on average for relevance that knows nothing: the same numbers, shuffled over the positions. A metric whose needs
the case lacks gives no values.

faithfulness      Does the explained value f fall as relevant positions are taken away? AOPC (Samek et al. 2017,
                  https://doi.org/10.1109/TNNLS.2016.2599820), comprehensiveness and sufficiency (DeYoung et al.
                  2020, https://arxiv.org/abs/1911.03429).
gini, entropy     Is it few positions that matter? (Chalasani et al. 2020, https://arxiv.org/abs/1810.06583; Bhatt et
                  al. 2020, https://arxiv.org/abs/2005.00631)
localisation      Is relevance where the true sites are? Mass and rank accuracy (Arras et al. 2022,
                  https://arxiv.org/abs/2003.07258), pointing game (Zhang et al. 2016,
                  https://arxiv.org/abs/1608.00507), areas under the ROC and the precision-recall curve.
sanity            Does it change with the weights? (Adebayo et al. 2018, https://arxiv.org/abs/1810.03292)
robustness        Does it stay where one base elsewhere is substituted?
strand-agreement  Does the other strand say the same?

Of positions of equal relevance none is first: where a value asks for ranks, it is the expectation over all orders
of equals. Relevance counts with its sign, but where a formula says |R|.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from gexplain.arrays import FloatArray
from gexplain.evaluation.cases import Case

Values = Mapping[str, float]
Need = Literal["curves", "truth", "strand", "randomised", "mutants"]

# n positions: tokens that spell bases, or nucleotides

CHANCE = " chance"
"""What follows the name of a value in that of its chance level."""
SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)
"""Of the positions: those that comprehensiveness takes away and sufficiency keeps."""
TOP = 0.1
"""Of the positions: the highest, whose overlap top-k-iou measures."""

# Relevance that varies by no more than this share of itself is flat: what is left is rounding.
_FLAT = 1e-12


@dataclass(frozen=True, slots=True)
class Metric:
    """How values are made of a case.

    function: a case to values by name. needs: the parts of the case without which there are none. higher_is_better:
    of each value, or False if lower is; a value that it does not name is neither better nor worse. "N" at the end of
    a name stands for any number. across_models: whether the values of two models can be held against one another.
    """

    function: Callable[[Case], Values]
    needs: frozenset[Need] = frozenset()
    higher_is_better: Mapping[str, bool] = field(default_factory=dict)
    across_models: bool = True


def is_higher_better(value: str) -> bool | None:
    """Whether more of a value, of any of METRICS, is better; False if less is, None if neither."""
    name = re.sub(r" \d+$", " N", value)
    for metric in METRICS.values():
        if name in metric.higher_is_better:
            return metric.higher_is_better[name]
    return None


def compares_models(value: str) -> bool:
    """Whether a value of one model can be held against that of another; not where it is in the logits of each."""
    name = re.sub(r" \d+$", " N", value)
    return all(metric.across_models for metric in METRICS.values() if name in metric.higher_is_better)


# ---- faithfulness ----


def faithfulness(case: Case) -> Values:
    """What the curves say; f(x) is the value of the sequence, f(x_s) that with a share s of it perturbed.

    aopc morf, aopc lerf: the mean of f(x) - f(x_s) over s from 0 to the last fraction, by trapezoids: each fraction
    weighs as much as the stretch around it, not as every other fraction. delta: the area between the curves, aopc
    morf - aopc lerf. comprehensiveness S%: f(x) - f(without the most relevant S %). sufficiency S%: f(x) - f(without
    all but these). comprehensiveness, sufficiency: their means over SHARES. All in logit units.

    Raises ValueError where a curve has no point at one of SHARES or at what they leave.
    """
    if case.curves is None:
        return {}
    fractions = case.curves.fractions
    falls = {"morf": case.curves.morf[0] - case.curves.morf, "lerf": case.curves.lerf[0] - case.curves.lerf}
    aopc = {order: _mean_over(fractions, fall) for order, fall in falls.items()}
    without = [_at(fractions, falls["morf"], share) for share in SHARES]
    alone = [_at(fractions, falls["lerf"], 1 - share) for share in SHARES]
    return {
        "aopc morf": aopc["morf"],
        "aopc lerf": aopc["lerf"],
        "delta": aopc["morf"] - aopc["lerf"],
        "delta" + CHANCE: 0.0,
        "comprehensiveness": float(np.mean(without)),
        **{f"comprehensiveness {share:.0%}": fall for share, fall in zip(SHARES, without, strict=True)},
        "sufficiency": float(np.mean(alone)),
        **{f"sufficiency {share:.0%}": fall for share, fall in zip(SHARES, alone, strict=True)},
    }


def _mean_over(fractions: FloatArray, values: FloatArray) -> float:
    from scipy.integrate import trapezoid

    return float(trapezoid(values, fractions) / (fractions[-1] - fractions[0]))


def _at(fractions: FloatArray, values: FloatArray, fraction: float) -> float:
    where = np.flatnonzero(np.isclose(fractions, fraction, rtol=0, atol=1e-9))
    if len(where) != 1:
        raise ValueError(f"no point of the curves at {fraction:g}; there are {fractions.tolist()}")
    return float(values[where[0]])


# ---- sparsity and complexity ----


def gini(case: Case) -> Values:
    """gini: of |R|. 0 where all are equal, 1 - 1/n where one position has all; NaN where all are 0."""
    sizes = np.sort(np.abs(case.relevance.astype(np.float64)))
    n, whole = len(sizes), sizes.sum()
    if not whole:
        return {"gini": math.nan}
    return {"gini": float((2 * np.arange(1, n + 1) - n - 1) @ sizes / (n * whole))}


def entropy(case: Case) -> Values:
    """entropy: of |R| / sum |R|, in nats: 0 where one position has all, log n where all are equal.

    entropy share: of log n, so that sequences of any length compare; NaN for n = 1. NaN where all are 0.
    """
    from scipy.special import entr

    sizes = np.abs(case.relevance.astype(np.float64))
    n, whole = len(sizes), sizes.sum()
    nats = float(entr(sizes / whole).sum()) if whole else math.nan
    return {"entropy": nats, "entropy share": nats / math.log(n) if n > 1 else math.nan}


# ---- localisation ----


def localisation(case: Case) -> Values:
    """Whether relevance is inside the true sites; K positions of n are. Each value has its chance level.

    mass accuracy: the share of the positive relevance that is inside; NaN where none is positive. rank accuracy: the
    share of the K highest positions that are inside. auroc: how often a position inside is higher than one outside.
    auprc: the average precision. pointing game: whether the highest position is inside, 0 or 1, and between where
    some of the highest are. All are NaN where K is 0 or n: there is nothing to tell apart. The chance level of a
    value that is NaN is NaN, so that the means of both are over the same sequences.
    """
    if case.inside is None:
        return {}
    relevance, inside = case.relevance.astype(np.float64), case.inside
    n, n_inside = len(inside), int(inside.sum())
    if n_inside in (0, n):
        return dict.fromkeys((name for value in _LOCALISATION for name in (value, value + CHANCE)), math.nan)
    from sklearn.metrics import average_precision_score, roc_auc_score

    positive = np.maximum(relevance, 0)
    mass = positive.sum()
    share = n_inside / n
    return {
        "mass accuracy": float(positive[inside].sum() / mass) if mass else math.nan,
        "mass accuracy" + CHANCE: share if mass else math.nan,
        "rank accuracy": float(_top_shares(relevance, n_inside)[inside].sum() / n_inside),
        "rank accuracy" + CHANCE: share,
        "auroc": float(roc_auc_score(inside, relevance)),
        "auroc" + CHANCE: 0.5,
        "auprc": float(average_precision_score(inside, relevance)),
        "auprc" + CHANCE: _expected_average_precision(relevance, n_inside),
        "pointing game": float(_top_shares(relevance, 1)[inside].sum()),
        "pointing game" + CHANCE: share,
    }


_LOCALISATION = ("mass accuracy", "rank accuracy", "auroc", "auprc", "pointing game")


def _top_shares(values: FloatArray, k: int) -> FloatArray:
    """(n,): how likely each is among the k highest, if equals are put in a random order; they sum to k."""
    border = np.partition(values, len(values) - k)[len(values) - k]
    above, level = values > border, values == border
    shares: FloatArray = above + level * ((k - above.sum()) / level.sum())
    return shares


def _expected_average_precision(relevance: FloatArray, n_inside: int) -> float:
    """The mean average precision of these values, shuffled over the positions.

    It is more than the share inside: the first positions of a ranking are few, and their precision varies, but
    counts only where it is not 0. With c_j values at least as high as the j-th distinct one, m_j of them equal, and K
    of n inside, the sum over j of E(inside among the m_j * inside among the c_j) / (K c_j).
    """
    n = len(relevance)
    m = np.unique(relevance, return_counts=True)[1][::-1]
    c = np.cumsum(m)
    return float((m / (n * c) * (1 + (c - 1) * (n_inside - 1) / (n - 1))).sum())


# ---- sanity, robustness, strands ----


def sanity(case: Case) -> Values:
    """How much of |R| stays when the N top blocks have random weights: sanity pearson N, sanity spearman N.

    Correlations of |R| of the model with |R| of the other; an explanation that keeps them high has not seen the
    weights. The chance level is 0.
    """
    size = np.abs(case.relevance)
    values: dict[str, float] = {}
    for n_blocks, relevance in sorted(case.randomised.items()):
        for name, correlate in (("pearson", pearson), ("spearman", spearman)):
            value = f"sanity {name} {n_blocks}"
            values |= {value: correlate(size, np.abs(relevance)), value + CHANCE: 0.0}
    return values


def robustness(case: Case) -> Values:
    """What single substitutions leave as it was on the other bases: means over the mutants.

    robustness pearson: the correlation of relevance before and after, without the substituted base; NaN where one
    mutant's is. robustness top kept: whether the highest base, the substituted one left out, is the one that was
    highest before; equals share that place, and count by what the two have in common. The chance level is that of
    shuffled bases, and rises with the equals. All are NaN for a sequence of one base.
    """
    if not len(case.mutants):
        return {}
    if len(case.relevance) == 1:
        return dict.fromkeys(("robustness pearson", "robustness top kept"), math.nan)
    correlations, kept, by_chance = [], [], []
    for position, relevance in case.mutants:
        before, after = np.delete(case.relevance, position), np.delete(relevance, position)
        correlations.append(pearson(before, after))
        kept.append(np.minimum(_top_shares(before, 1), _top_shares(after, 1)).sum())
        by_chance.append(min((values == values.max()).sum() for values in (before, after)) / len(before))
    return {
        "robustness pearson": float(np.mean(correlations)),
        "robustness pearson" + CHANCE: 0.0,
        "robustness top kept": float(np.mean(kept)),
        "robustness top kept" + CHANCE: float(np.mean(by_chance)),
    }


def strand_agreement(case: Case) -> Values:
    """How far the relevance as read on both strands agrees: strand agreement pearson, strand agreement spearman.

    The chance level is 0.
    """
    if case.other_strand is None:
        return {}
    return {
        "strand agreement pearson": pearson(case.relevance, case.other_strand),
        "strand agreement pearson" + CHANCE: 0.0,
        "strand agreement spearman": spearman(case.relevance, case.other_strand),
        "strand agreement spearman" + CHANCE: 0.0,
    }


# ---- two explanations ----


def pearson(one: FloatArray, other: FloatArray) -> float:
    """Pearson's correlation, -1 to 1; NaN where one of the two, (n,) each, is flat."""
    if _is_flat(one) or _is_flat(other):
        return math.nan
    return float(np.corrcoef(one.astype(np.float64), other.astype(np.float64))[0, 1])


def spearman(one: FloatArray, other: FloatArray) -> float:
    """Spearman's rank correlation, -1 to 1; equals share the mean of their ranks. NaN as for `pearson`."""
    from scipy.stats import rankdata

    if _is_flat(one) or _is_flat(other):
        return math.nan
    return pearson(rankdata(one), rankdata(other))


def cosine(one: FloatArray, other: FloatArray) -> float:
    """The cosine of the angle between the two, (n,) each, -1 to 1; NaN where one is all 0."""
    lengths = float(np.linalg.norm(one.astype(np.float64)) * np.linalg.norm(other.astype(np.float64)))
    return float(one.astype(np.float64) @ other.astype(np.float64)) / lengths if lengths else math.nan


def top_k_iou(one: FloatArray, other: FloatArray) -> float:
    """Intersection over union of the highest of the two, (n,) each: 0 to 1; k is TOP of n, and at least 1.

    Where equals are at the border, each is in the set by the share that a random order gives it; the intersection is
    then the sum of the smaller shares and the union that of the larger.
    """
    k = max(1, round(TOP * len(one)))
    first, second = _top_shares(one, k), _top_shares(other, k)
    return float(np.minimum(first, second).sum() / np.maximum(first, second).sum())


def _is_flat(values: FloatArray) -> bool:
    return not len(values) or bool(np.ptp(values) <= _FLAT * np.abs(values).max())


METRICS: dict[str, Metric] = {
    "faithfulness": Metric(
        faithfulness,
        frozenset({"curves"}),
        {
            "aopc morf": True,
            "aopc lerf": False,
            "delta": True,
            "comprehensiveness": True,
            **{f"comprehensiveness {share:.0%}": True for share in SHARES},
            "sufficiency": False,
            **{f"sufficiency {share:.0%}": False for share in SHARES},
        },
        across_models=False,
    ),
    "gini": Metric(gini, higher_is_better={"gini": True}),
    "entropy": Metric(entropy, higher_is_better={"entropy": False, "entropy share": False}),
    "localisation": Metric(localisation, frozenset({"truth"}), dict.fromkeys(_LOCALISATION, True)),
    "sanity": Metric(
        sanity,
        frozenset({"randomised"}),
        {"sanity pearson N": False, "sanity spearman N": False},
        across_models=False,
    ),
    "robustness": Metric(
        robustness, frozenset({"mutants"}), {"robustness pearson": True, "robustness top kept": True}
    ),
    "strand-agreement": Metric(
        strand_agreement,
        frozenset({"strand"}),
        {"strand agreement pearson": True, "strand agreement spearman": True},
    ),
}

PAIR_METRICS: dict[str, Callable[[FloatArray, FloatArray], float]] = {
    "pearson": pearson,
    "spearman": spearman,
    "cosine": cosine,
    "top-k-iou": top_k_iou,
}
