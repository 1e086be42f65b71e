"""An evaluation's folder with made-up numbers: what write_report reads, without any model."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gexplain.evaluation.curves import FRACTIONS

METRICS_COLUMNS = ["sequence", "model", "method", "other", "level", "variant", "metric", "value"]
SUMMARY_COLUMNS = [
    "model",
    "method",
    "other",
    "level",
    "variant",
    "metric",
    "n",
    "mean",
    "low",
    "high",
    "chance",
    "reference",
    "difference",
    "difference_low",
    "difference_high",
    "p",
    "q",
]
CURVES_COLUMNS = ["model", "method", "level", "variant", "order", "fraction", "n", "mean", "low", "high"]
COST_COLUMNS = [
    *("model", "method", "sequences", "forward", "backward", "forward_equivalents", "seconds"),
    "completeness_error",
]

FORWARD_EQUIVALENTS = {
    "attnlrp": 2,
    "cplrp": 2,
    "lrp": 2,
    "gradient-x-input": 2,
    "saliency": 2,
    "integrated-gradients": 100,
    "attention": 1,
    "rollout": 1,
    "occlusion-token": 41,
    "occlusion-base": 201,
    "ism": 601,
    "deeplift": 4,
    "deepshap": 40,
    "random": 0,
    "randomised-weights": 2,
}
OF_TOKENS = (
    "attnlrp", "cplrp", "gradient-x-input", "saliency", "integrated-gradients", "attention", "rollout",
    "occlusion-token", "occlusion-base", "ism", "random", "randomised-weights",
)  # fmt: skip
OF_CNN = (
    "lrp",
    "deeplift",
    "deepshap",
    "gradient-x-input",
    "integrated-gradients",
    "ism",
    "random",
    "randomised-weights",
)
BASELINES = ("random", "randomised-weights")
NATIVE_NUCLEOTIDE = {"occlusion-base", "ism"}

ALONE = {"gini": 0.0, "entropy": 4.0, "entropy share": 0.8}
CURVED = {"delta": 0.0, "aopc morf": 1.0, "aopc lerf": 1.0, "comprehensiveness 10%": 0.4, "sufficiency 10%": 0.5}
LOCATED = {"mass accuracy": 0.07, "rank accuracy": 0.07, "auroc": 0.5, "auprc": 0.08, "pointing game": 0.07}
OF_STRAND = {"robustness pearson": 0.0, "strand agreement pearson": 0.0}


@dataclass
class Made:
    """The four tables as lists of rows, and the manifest."""

    metrics: list[list[Any]] = field(default_factory=list)
    summary: list[list[Any]] = field(default_factory=list)
    curves: list[list[Any]] = field(default_factory=list)
    cost: list[list[Any]] = field(default_factory=list)
    manifest: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, columns, rows in (
            ("metrics", METRICS_COLUMNS, self.metrics),
            ("summary", SUMMARY_COLUMNS, self.summary),
            ("curves", CURVES_COLUMNS, self.curves),
            ("cost", COST_COLUMNS, self.cost),
        ):
            lines = ["\t".join(columns), *("\t".join(map(cell, row)) for row in rows)]
            (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (folder / "manifest.json").write_text(json.dumps(self.manifest), encoding="utf-8")
        return folder

    def keep(self, wanted: Callable[[dict[str, Any]], bool]) -> Made:
        """Only those rows of summary.tsv."""
        self.summary = [row for row in self.summary if wanted(dict(zip(SUMMARY_COLUMNS, row, strict=True)))]
        return self


def cell(value: object) -> str:
    if value is None:
        return "."
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def made(models: dict[str, Sequence[str]] | None = None, *, n: int = 200, seed: int = 1) -> Made:
    """Plausible results of all metrics; models: name to methods, the first of which is one that reads tokens."""
    models = models or {"dnabert2-tf": OF_TOKENS, "cnn-tf": OF_CNN}
    rng = np.random.default_rng(seed)
    result = Made()
    kinds = zip(models, ["DNABERT-2", "CNN"], strict=False)
    result.manifest = {
        "command": ["gexplain", "evaluate", "peaks.bed", "genome.fa", "-m", next(iter(models))],
        "models": {name: {"kind": kind, "sha256": kind[0].lower() * 64} for name, kind in kinds},
        "sequences": n,
        "target": "CTCF",
        "seed": 7,
        "versions": {"gexplain": "0.1.0", "torch": "2.13.0"},
        "warnings": ["3 of 203 regions were skipped: N"],
    }  # fmt: skip
    for model, methods in models.items():
        for rank, method in enumerate(methods):
            skill = 0.0 if method in BASELINES else 1 - 0.55 * rank / len(methods)
            for level, variants in variants_of(method, reads_tokens=model == next(iter(models))).items():
                for shift, variant in enumerate(variants):
                    key = [model, method, None, level, variant]
                    _add_values(result, rng, key, n, skill - 0.03 * shift)
                    _add_curves(result, [model, method, level, variant], n, skill - 0.03 * shift)
            n_forward = FORWARD_EQUIVALENTS[method]
            error = 0.03 if method == "integrated-gradients" else math.nan
            seconds = 0.021 * n_forward * n
            result.cost.append([model, method, n, n_forward / 2, n_forward / 2, n_forward, seconds, error])
    _add_similarity(result, rng, models, n)
    return result


def variants_of(method: str, *, reads_tokens: bool) -> dict[str, tuple[str, ...]]:
    if not reads_tokens:
        return {"nucleotide": ("native",)}
    if method in NATIVE_NUCLEOTIDE:
        return {"token": ("sum", "mean", "max"), "nucleotide": ("native",)}
    averaged = ("uniform, both strands", "uniform, 8 shifts") if method == "attnlrp" else ()
    return {"token": ("native",), "nucleotide": ("uniform", "copy", *averaged)}


def _add_values(result: Made, rng: np.random.Generator, key: list[Any], n: int, skill: float) -> None:
    level = key[3]
    values = {**CURVED, **LOCATED, **ALONE, **(OF_STRAND if level == "nucleotide" else {})}
    values |= {f"sanity spearman {blocks}": 0.0 for blocks in range(1, 5 if "cnn" in key[0] else 13)}
    for metric, base in values.items():
        if metric == "delta":
            mean, chance = 2.4 * skill, 0.0
        elif metric in LOCATED:
            mean, chance = base + (0.93 - base) * 0.7 * skill, base
        elif metric.startswith("sanity"):
            blocks = int(metric.split(" ")[2])
            mean, chance = float(np.exp(-blocks * max(skill, 0.05) / 2)), 0.0
        elif metric in OF_STRAND:
            mean, chance = 0.95 * skill, None
        else:
            mean, chance = base + 0.4 * skill, None
        mean += float(rng.normal(0, 0.02))
        width = 0.03 + 0.03 * float(rng.random())
        is_reference = key[1] == "attnlrp"
        difference = None if is_reference else mean - 2.4
        result.summary.append(
            [*key, metric, n, mean, mean - width, mean + width, chance]
            + (
                [None] * 6
                if is_reference
                else ["attnlrp", difference, difference - 0.1, difference + 0.1, 2e-9, 0.031]
            )
        )
        result.metrics.append([f"peak{1}", *key, metric, mean])


def _add_curves(result: Made, key: list[str], n: int, skill: float) -> None:
    for order, sign in (("morf", 1), ("lerf", -1)):
        for fraction in FRACTIONS:
            mean = 4.2 - 5 * fraction ** np.exp(-1.3 * sign * skill)
            mean = float(mean)
            result.curves.append([*key, order, float(fraction), n, mean, mean - 0.12, mean + 0.12])


def _add_similarity(result: Made, rng: np.random.Generator, models: dict[str, Sequence[str]], n: int) -> None:
    first, *rest = models
    pairs = [
        (model, one, two)
        for model, methods in models.items()
        for index, one in enumerate(methods)
        for two in methods[index + 1 :]
    ]
    for other in rest:
        shared = [(method, method) for method in models[first] if method in models[other]]
        pairs += [(first, one, f"{other}:{two}") for one, two in [(models[first][0], models[other][0]), *shared]]
    for model, one, other in pairs:
        for metric in ("pearson", "spearman", "cosine", "top-k-iou"):
            r = 0.0 if "random" in one + other else 0.9 - 0.8 * float(rng.random())
            r += float(rng.normal(0, 0.04))
            result.summary.append(
                [model, one, other, "nucleotide", None, metric, n, r, r - 0.02, r + 0.02] + [None] * 7
            )
