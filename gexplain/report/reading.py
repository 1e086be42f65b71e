"""How to read a report: what its numbers are, and what they are not, as far as it concerns the run at hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gexplain.report.methods_text import is_of_tokens

UNSIGNED = ("saliency", "attention", "attention-rollout")
"""Methods whose values are never negative."""
LEDGERS = ("attnlrp", "cplrp")
"""Methods that tell where the rest of the explained value went."""
WITH_SUM = (*LEDGERS, "integrated-gradients", "deeplift", "deeplift-shap")
"""Methods whose sum means something, and so the share that it leaves unexplained."""


def how_to_read(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(what it is about, what to know), in the order in which a reader asks."""
    settings = manifest["settings"]
    is_regression = manifest["model"]["head"] == "regression"
    told = [_relevance(settings["method"], is_regression=is_regression)]
    if settings["method"] != "random":
        told.append(_MODEL_ALONE)
    if is_of_tokens(manifest):
        told.append(_TOKENS_COPY if settings["projection"] == "copy" else _TOKENS)
    if settings["method"] in WITH_SUM:
        told.append(_UNEXPLAINED_LEDGER if settings["method"] in LEDGERS else _UNEXPLAINED)
    if settings["target"] == ["predicted"]:
        told.append(_PREDICTED_OUTPUT if is_regression else _PREDICTED)
    told.append(_REGRESSION if is_regression else _PROBABILITIES)
    if "calls" in manifest:
        told += [_Q, _HITS] if "motifs" in manifest["calls"] else [_Q]
    else:
        told.append(("No significance", _NO_NULL.format(why_no_null(manifest))))
    if settings["strand"] == "region":
        told.append(_BY_STRAND)
    return [*told, _SPARKLINES, _GAPS]


def why_no_null(manifest: Mapping[str, Any]) -> str:
    """Why a run without calls has none."""
    if manifest["settings"].get("null regions") == 0:
        return "no null was made (--null-regions 0)"
    return "there is no null, for no piece of the regions could be shuffled"


def heights(manifest: Mapping[str, Any]) -> tuple[str, str]:
    """What it means for a letter to stand above the line, and below it, upside down; "" where none does."""
    method, what = manifest["settings"]["method"], _explained(manifest["model"]["head"] == "regression")
    if method == "random":
        return "letters above the line are noise", "and so are letters below it, upside down"
    if method in UNSIGNED:
        return "the higher a letter, the more it mattered, for or against", ""
    return f"letters above the line speak for {what}", "letters below it, upside down, speak against it"


def _explained(is_regression: bool) -> str:
    return "a higher value" if is_regression else "the explained class"


def _relevance(method: str, *, is_regression: bool) -> tuple[str, str]:
    if method == "random":
        return ("Values", "These are random numbers, a floor for comparisons. No peak here means anything.")
    if method in UNSIGNED:
        return (
            "Relevance",
            "A high value says that the base mattered to the model. It does not say which way: this method has no"
            " sign, and attention says nothing of a class.",
        )
    return (
        "Relevance",
        f"Above zero, a base spoke for {_explained(is_regression)}; below zero, against it. The unit is that of the"
        f" model's {'output' if is_regression else 'logits'}. Heights can be compared within one model, method and"
        f" {'output' if is_regression else 'class'}, and not between two models.",
    )


_MODEL_ALONE = (
    "About the model, not about biology",
    "A peak says that this model used these bases. It is no measurement of binding and no effect of a mutation, and"
    " a wrong prediction is explained as readily as a right one: look at the prediction before the peak.",
)
_TOKENS = (
    "Why neighbouring letters are equally high",
    "The model reads tokens of several bases, and a token's relevance is shared equally by its bases. Steps in a"
    " logo are therefore borders of tokens. The two strands are cut into different tokens, so their average has"
    " finer steps; a single high letter inside a plateau is not resolved.",
)
_TOKENS_COPY = (
    "Why neighbouring letters are equally high",
    "The model reads tokens of several bases, and here every base has the whole relevance of its token. Long tokens"
    " weigh more in sums, and nothing is resolved inside a token.",
)
_UNEXPLAINED_LEDGER = (
    "Unexplained share",
    "The part of the explained value that no token received: biases, normalisation and the attention's softmax keep"
    " it. Amounts have signs and can cancel, so shares can exceed 1. Where the share is high, the letters account"
    " for little of the prediction; be careful there.",
)
_UNEXPLAINED = (
    "Unexplained share",
    "The part of the explained value that the baseline has already, without the sequence. Where it is high, the"
    " letters account for little of the prediction; be careful there.",
)
_PREDICTED = (
    "One track, several classes",
    "The track “predicted” explains in each window the class that the model predicts there. Neighbouring windows may"
    " explain different classes, and where two of them meet, heights cannot be compared.",
)
_PREDICTED_OUTPUT = (
    "One track, several outputs",
    "The track “predicted” explains in each window the output that is highest there. Neighbouring windows may explain"
    " different outputs, and where two of them meet, heights cannot be compared.",
)
_PROBABILITIES = (
    "Probabilities",
    "Those of the table are means over a region's windows. They are what the model says, and need not be calibrated."
    " A long region with one short site can be called background by most of its windows.",
)
_REGRESSION = (
    "Predicted values",
    "Those of the table are means over a region's windows, in the units of the training data.",
)
_Q = (
    "q-values",
    "Seqlets and hits are told from shuffled sequence that the same model read, and each is counted for one region:"
    " of those that overlap there, the one that starts last. q is the share of false ones to"
    " expect in the list down to this one; it is about the list and about the model, and says nothing of binding. No"
    " seqlets or hits does not mean that there is nothing: a small null cannot give a small q, and a warning says so"
    " where that is the reason.",
)
_HITS = (
    "Motif hits",
    "A hit is a match of a known motif in bases of high relevance. Of similar motifs on the same bases, the best is"
    " the primary hit and gives the site its name. Which protein of a family binds, no sequence can tell.",
)
_NO_NULL = "In this run {}: nothing here tells a peak from chance, and no seqlets or hits were called."
_BY_STRAND = (
    "Strands",
    "Each region was read on its own strand, and is shown from the track of that strand.",
)
_SPARKLINES = (
    "Sparklines",
    "Up to 48 bars a region, each the most extreme value of its share of the bases, in the order of the genome. A row"
    " has its own scale unless the box above the table is ticked; the number beside it is its highest bar.",
)
_GAPS = ("Gaps", "A base that no window read has no value. That is not the same as zero.")
