"""What the values of an evaluation are called, what they mean, and which of them are compared first."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gexplain.evaluation.metrics import is_higher_better

BASELINES = ("random", "randomised-weights")
"""Methods that look at no model, or at none that has learnt."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """One line on a value. chance: what an explanation has that knows nothing."""

    meaning: str
    chance: str


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A value that is compared first: a metric at a level. needs: what it takes to measure it."""

    metric: str
    level: str
    label: str
    needs: str

    @property
    def better(self) -> str:
        """Which way is better."""
        return better(self.metric)


def better(metric: str) -> str:
    """Which way a value is better: "higher" or "lower"; "" where neither is."""
    return {True: "higher", False: "lower", None: ""}[is_higher_better(metric)]


def family(metric: str) -> str:
    """The name under which MEANINGS has a value, if it has: without its share, and N for a number of blocks."""
    return re.sub(r" \d+%$", "", re.sub(r" \d+$", " N", metric))


_SHARE = "the share of the sequence that lies in sites"
_RANDOM = "as random has"
_NONE = "none"

MEANINGS = {
    "delta": Meaning(
        "area between the two perturbation curves, in logits: how much longer the explained value stays up when the"
        " least relevant positions are perturbed first than when the most relevant are",
        "0",
    ),
    "aopc morf": Meaning(
        "how far the explained value falls as the most relevant are perturbed first, mean over all shares", _RANDOM
    ),
    "aopc lerf": Meaning(
        "how far the explained value falls as the least relevant are perturbed first, mean over all shares", _RANDOM
    ),
    "comprehensiveness": Meaning(
        "how far the explained value falls without the most relevant 1, 5, 10, 20 or 50 %; without a number, their"
        " mean",
        _RANDOM,
    ),
    "sufficiency": Meaning(
        "how far the explained value falls with the most relevant 1, 5, 10, 20 or 50 % alone; without a number, their"
        " mean",
        _RANDOM,
    ),
    "mass accuracy": Meaning("share of the positive relevance that lies in known sites", _SHARE),
    "rank accuracy": Meaning(
        "of the most relevant positions, as many as lie in known sites: the share that does", _SHARE
    ),
    "auroc": Meaning("how often a position in a site is more relevant than one outside", "0.5"),
    "auprc": Meaning(
        "average precision, if positions are called sites by falling relevance", f"a little over {_SHARE}"
    ),
    "pointing game": Meaning("how often the most relevant position lies in a known site", _SHARE),
    "gini": Meaning("sparsity of |relevance|: 0 if all positions are alike, nearly 1 if one has it all", _NONE),
    "entropy": Meaning("complexity of |relevance|, in nats: 0 if one position has it all", _NONE),
    "entropy share": Meaning("the entropy, as a share of that of positions that are all alike", _NONE),
    "robustness pearson": Meaning(
        "Pearson correlation of the relevance with that after one base was substituted, over the other bases", "0"
    ),
    "robustness top kept": Meaning(
        "whether the most relevant base stays so after a base elsewhere was substituted; equals count by what"
        " the two have in common",
        "in the column: 1 over the bases, more with equals",
    ),
    "strand agreement pearson": Meaning("Pearson correlation of the relevance as read on the two strands", "0"),
    "strand agreement spearman": Meaning("rank correlation of the relevance as read on the two strands", "0"),
    "sanity spearman N": Meaning(
        "rank correlation of |relevance| with that of the same model, its N topmost blocks randomised", "0"
    ),
    "sanity pearson N": Meaning(
        "Pearson correlation of |relevance| with that of the same model, its N topmost blocks randomised", "0"
    ),
    "pearson": Meaning("similarity of two methods: Pearson correlation of their relevance", "0"),
    "spearman": Meaning("similarity of two methods: rank correlation of their relevance", "0"),
    "cosine": Meaning("similarity of two methods: cosine of the angle between their relevance", "about 0"),
    "top-k-iou": Meaning(
        "similarity of two methods: of the most relevant tenths, the share of positions that is in both", "about 0.05"
    ),
}
"""One line on each value or family of values, in the order of the page."""

_TRUTH = "sites that are known (--truth)"
_RELEVANCE = "relevance by nucleotide"

KEY_VALUES = (
    KeyValue("delta", "token", "Δ", "perturbation curves by token"),
    KeyValue("delta", "nucleotide", "Δ", "perturbation curves by nucleotide"),
    KeyValue("robustness pearson", "nucleotide", "robustness", "mutants of the sequences"),
    KeyValue("strand agreement pearson", "nucleotide", "strand agreement", "a reading of the other strand"),
    KeyValue("mass accuracy", "nucleotide", "mass accuracy", _TRUTH),
    KeyValue("rank accuracy", "nucleotide", "rank accuracy", _TRUTH),
    KeyValue("auroc", "nucleotide", "AUROC", _TRUTH),
    KeyValue("auprc", "nucleotide", "AUPRC", _TRUTH),
    KeyValue("pointing game", "nucleotide", "pointing game", _TRUTH),
    KeyValue("gini", "nucleotide", "Gini", _RELEVANCE),
    KeyValue("entropy share", "nucleotide", "entropy share", _RELEVANCE),
)
"""The values that are compared first, in the order of panels and columns."""
