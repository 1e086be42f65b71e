"""The tables of the study, as Markdown, from what `gexplain evaluate` wrote."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tables import markdown_table

from gexplain.evaluation.metrics import is_higher_better
from gexplain.evaluation.resampling import MIN_SEQUENCES, compare
from gexplain.report.evaluation import NONE, format_p, format_value
from gexplain.report.evaluation_results import MISSING, Results, SummaryRow, read_results
from gexplain.report.evaluation_values import BASELINES
from gexplain.study.subject import NUCLEOTIDE, TOKEN

Value = tuple[str, str]
"""A metric and its level."""

QUALITY: dict[Value, str] = {
    ("delta", TOKEN): "Δ, tokens",
    ("delta", NUCLEOTIDE): "Δ, bases",
    ("comprehensiveness", NUCLEOTIDE): "comprehensiveness",
    ("sufficiency", NUCLEOTIDE): "sufficiency",
    ("mass accuracy", NUCLEOTIDE): "mass accuracy",
    ("rank accuracy", NUCLEOTIDE): "rank accuracy",
    ("auroc", NUCLEOTIDE): "AUROC",
    ("auprc", NUCLEOTIDE): "AUPRC",
    ("pointing game", NUCLEOTIDE): "pointing game",
}
PROPERTIES: dict[Value, str] = {
    ("gini", NUCLEOTIDE): "Gini",
    ("entropy share", NUCLEOTIDE): "entropy share",
    ("robustness pearson", NUCLEOTIDE): "robustness",
    ("strand agreement pearson", NUCLEOTIDE): "strand agreement",
}
TESTED: tuple[Value, ...] = (
    ("delta", TOKEN),
    ("delta", NUCLEOTIDE),
    ("rank accuracy", NUCLEOTIDE),
    ("auprc", NUCLEOTIDE),
)
OF_VARIANTS = ("delta", "mass accuracy", "rank accuracy", "auroc", "auprc", "pointing game")
RIVALS = ("gradient-x-input", "integrated-gradients", "ism", "random")
"""What the default method of a model is compared with by name."""

_NAMES = {metric: name.partition(",")[0] for (metric, _), name in QUALITY.items()}

Key = tuple[str, str, str, str, str]
"""model, method, level, variant, metric."""


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """A finished evaluation: its tables, and the values of OF_VARIANTS of each sequence, for differences."""

    results: Results
    values: Mapping[Key, Mapping[str, float]]

    @property
    def models(self) -> tuple[str, str]:
        """The transformer and the CNN."""
        first, second = self.results.models
        return first, second

    def default(self, model: str) -> str:
        """The method that the others of a model are compared with."""
        return str(self.results.manifest["models"][model]["default"])

    def variants(self, model: str, method: str, level: str) -> list[str]:
        """The variants of a method at a level, the usual one first."""
        return list(dict.fromkeys(key[3] for key in self.values if key[:3] == (model, method, level)))


def read_study(folder: Path) -> Study:
    """What `gexplain evaluate` wrote into a folder."""
    values: dict[Key, dict[str, float]] = {}
    with (folder / "metrics.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            if row["metric"] in OF_VARIANTS and row["other"] == MISSING:
                key = (row["model"], row["method"], row["level"], row["variant"], row["metric"])
                value = math.nan if row["value"] == MISSING else float(row["value"])
                values.setdefault(key, {})[row["sequence"]] = value
    return Study(read_results(folder), values)


def study_tables(study: Study) -> list[str]:
    """All tables of one data set."""
    transformer, cnn = study.models
    return [
        *(table(study, model) for model in study.models for table in (quality_table, properties_table)),
        *(rivals_table(study, model) for model in study.models),
        models_table(study),
        *(averaging_table(study, model) for model in study.models),
        projections_table(study, transformer),
        aggregations_table(study, transformer),
        *(similarity_table(study, model) for model in study.models),
        agreement_table(study, transformer, cnn),
        *(sanity_table(study, model) for model in study.models),
    ]


# ---- Each method ----


def quality_table(study: Study, model: str) -> str:
    """Faithfulness and localisation of every method of a model."""
    header, rows = _values(study, model, QUALITY)
    return markdown_table(
        f"**{model}: faithfulness and localisation.** Means over the sequences; localisation over those with a site; "
        "by nucleotide, but the first column. Bold: the best, baselines aside.",
        header,
        rows,
    )


def properties_table(study: Study, model: str) -> str:
    """Sparsity, robustness, strands and passes of every method of a model."""
    header, rows = _values(study, model, PROPERTIES)
    costs = {row.method: row.forward_equivalents for row in study.results.cost if row.model == model}
    for row in rows:
        row.append(f"{costs[row[0]]:,.0f}" if row[0] in costs else NONE)
    return markdown_table(
        f"**{model}: sparsity, robustness, strands, cost.** By nucleotide. Forward equivalents: forward and backward "
        "passes of one sequence.",
        [*header, "forward equivalents"],
        rows,
    )


def _values(study: Study, model: str, columns: Mapping[Value, str]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: each method, chance, and half of the widest interval."""
    found = {
        value: {method: row for (of_model, method), row in study.results.values(*value).items() if of_model == model}
        for value in columns
    }
    found = {value: rows for value, rows in found.items() if rows}
    methods = [name for name in study.results.methods(model) if any(name in rows for rows in found.values())]
    table = [[method] for method in methods]
    chance, halves = ["*chance*"], ["*interval, ± at most*"]
    for (metric, _), rows in found.items():
        best = _best(metric, rows)
        for method, line in zip(methods, table, strict=True):
            text = format_value(rows[method].mean) if method in rows else NONE
            line.append(f"**{text}**" if text == best and method not in BASELINES else text)
        chance.append(_span([row.chance for row in rows.values()]))
        widths = [(row.high - row.low) / 2 for row in rows.values() if not math.isnan(row.high)]
        halves.append(format_value(max(widths)) if widths else NONE)
    marks = {True: " ↑", False: " ↓", None: ""}
    header = ["method", *(f"{columns[value]}{marks[is_higher_better(value[0])]}" for value in found)]
    return header, [*table, chance, halves]


def _best(metric: str, rows: Mapping[str, SummaryRow]) -> str:
    """The best mean, as it is written; "" where neither way is better."""
    means = [row.mean for method, row in rows.items() if method not in BASELINES]
    is_higher = is_higher_better(metric)
    if is_higher is None or not means:
        return ""
    return format_value(max(means) if is_higher else min(means))


def _span(values: Sequence[float]) -> str:
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return NONE
    least, most = format_value(min(known)), format_value(max(known))
    return least if least == most else f"{least} to {most}"


# ---- Tests ----


def rivals_table(study: Study, model: str) -> str:
    """The default method of a model less some others, tested pair by pair."""
    default = study.default(model)
    rows = []
    for rival in RIVALS:
        row = [f"{default} − {rival}"]
        for value in TESTED:
            found = study.results.values(*value).get((model, rival))
            row.append(_tested(found, default, sign=-1))
        rows.append(row)
    return markdown_table(
        f"**{model}: {default} against others.** {_TESTS}",
        ["difference", *(QUALITY[value] for value in TESTED)],
        rows,
    )


def models_table(study: Study) -> str:
    """The default method of the CNN less that of the transformer."""
    transformer, cnn = study.models
    first, second = study.default(transformer), study.default(cnn)
    columns = [value for value in (*QUALITY, *PROPERTIES) if value[1] == NUCLEOTIDE]
    rows = []
    for value in columns:
        found = study.results.values(*value)
        means = [found.get((transformer, first)), found.get((cnn, second))]
        if all(means):
            rows.append(
                [
                    (QUALITY | PROPERTIES)[value],
                    *(format_value(row.mean) for row in means if row),
                    _tested(means[1], f"{transformer}:{first}", sign=1),
                ]
            )
    return markdown_table(
        f"**{cnn}'s {second} against {transformer}'s {first}.** {_TESTS} Each is asked of its own model: Δ, "
        "comprehensiveness and sufficiency are in that model's logits.",
        ["value, by nucleotide", f"{transformer}, {first}", f"{cnn}, {second}", "difference"],
        rows,
    )


_TESTS = (
    "Mean of the differences, sequence by sequence; its 95 % bootstrap interval; q of the signed-rank test "
    "(Benjamini and Hochberg, over all tests of summary.tsv)."
)


def _tested(row: SummaryRow | None, reference: str, *, sign: int) -> str:
    """A row's difference from its reference; sign -1: that of the reference from the row."""
    if row is None or math.isnan(row.difference):
        return NONE
    if row.reference != reference:
        raise ValueError(f"{row.model} {row.method} is compared with {row.reference}, not with {reference}")
    low, high = sorted((sign * row.difference_low, sign * row.difference_high))
    return f"{_signed(sign * row.difference)} ({_signed(low)} to {_signed(high)}), q {format_p(row.q)}"


def _signed(value: float) -> str:
    text = format_value(value)
    return f"+{text}" if value > 0 and text.strip("0.") else text


# ---- Variants ----


def averaging_table(study: Study, model: str) -> str:
    """The default method alone, and averaged over strands and shifts."""
    default = study.default(model)
    variants = study.variants(model, default, NUCLEOTIDE)
    usual = variants[0]
    kept = [usual, *(one for one in variants if one.startswith(f"{usual}, "))]
    return markdown_table(
        f"**{model}: {default} averaged.** {_DIFFERENCES.format(what='the plain reading')}",
        ["reading", *(_NAMES[metric] for metric in OF_VARIANTS)],
        [
            ["plain" if one == usual else one.removeprefix(f"{usual}, "), *_cells(study, model, default, one, usual)]
            for one in kept
        ],
    )


def projections_table(study: Study, model: str) -> str:
    """What copying a token's relevance to its bases changes, against sharing it among them."""
    rows = []
    for method in study.results.methods(model):
        variants = study.variants(model, method, NUCLEOTIDE)
        if "copy" in variants and method not in BASELINES:
            usual = variants[0]
            rows += [[f"{method}, {one}", *_cells(study, model, method, one, usual)] for one in (usual, "copy")]
    return markdown_table(
        f"**{model}: from tokens to bases.** {_DIFFERENCES.format(what='uniform')}",
        ["method, projection", *(_NAMES[metric] for metric in OF_VARIANTS)],
        rows,
    )


def aggregations_table(study: Study, model: str) -> str:
    """How the relevance of bases is made that of tokens."""
    rows = []
    for method in study.results.methods(model):
        variants = study.variants(model, method, TOKEN)
        if len(variants) > 1:
            cells = [(one, _cells(study, model, method, one, variants[0], TOKEN)) for one in variants]
            rows += [[f"{method}, {one}", *of_variant] for one, of_variant in cells]
    return markdown_table(
        f"**{model}: from bases to tokens.** Values by token. {_DIFFERENCES.format(what='the sum')}",
        ["method, aggregation", *(_NAMES[metric] for metric in OF_VARIANTS)],
        rows,
    )


_DIFFERENCES = "Means; in brackets the 95 % interval of the differences from {what}, sequence by sequence."


def _cells(study: Study, model: str, method: str, variant: str, usual: str, level: str = NUCLEOTIDE) -> Iterator[str]:
    """The mean of each of OF_VARIANTS, with the interval of its difference from the usual variant."""
    for metric in OF_VARIANTS:
        of_variant = study.values.get((model, method, level, variant, metric), {})
        of_usual = study.values.get((model, method, level, usual, metric), {})
        values, reference = (np.array([of[name] for name in of_variant]) for of in (of_variant, of_usual))
        known = values[~np.isnan(values)]
        if not len(known):
            yield NONE
        elif variant == usual or (~np.isnan(values - reference)).sum() < MIN_SEQUENCES:
            yield format_value(float(known.mean()))
        else:
            of_both = compare(values, reference, what=metric, seed=study.results.manifest["seed"])
            yield f"{format_value(float(known.mean()))} ({_signed(of_both.low)} to {_signed(of_both.high)})"


# ---- Pairs and sanity ----


def similarity_table(study: Study, model: str) -> str:
    """Pearson's correlation of the methods of a model with one another."""
    pairs = study.results.similarity("pearson", model)
    methods = [name for name in study.results.methods(model) if any(name in pair for pair in pairs)]
    return markdown_table(
        f"**{model}: do methods agree?** Pearson correlation by nucleotide, mean over the sequences.",
        ["", *methods],
        [
            [one, *(format_value(pairs[one, other].mean) if (one, other) in pairs else NONE for other in methods)]
            for one in methods
        ],
    )


def agreement_table(study: Study, model: str, other_model: str) -> str:
    """Pearson's correlation of methods of two models."""
    found = {name: study.results.agreement(name, model, other_model) for name in ("pearson", "spearman")}
    return markdown_table(
        f"**Do {model} and {other_model} agree?** Correlations by nucleotide, means over the sequences.",
        [model, other_model, "Pearson (95 %)", "Spearman (95 %)"],
        [[*pair, *(_with_interval(rows.get(pair)) for rows in found.values())] for pair in found["pearson"]],
    )


def sanity_table(study: Study, model: str) -> str:
    """How much of a method's relevance stays as more blocks of weights are made random."""
    prefix = "sanity spearman "
    rows = study.results.main(
        [row for row in study.results.summary if row.model == model and row.metric.startswith(prefix)]
    )
    means = {(row.method, int(row.metric.removeprefix(prefix))): row.mean for row in rows}
    methods = [name for name in study.results.methods(model) if any(name == method for method, _ in means)]
    numbers = sorted({number for _, number in means})
    return markdown_table(
        f"**{model}: does the explanation change with the weights?** Spearman correlation of |relevance| with "
        f"that of the model whose topmost blocks are random, by their number ({max(numbers, default=0)} are all).",
        ["method", *map(str, numbers)],
        [
            [method, *(format_value(means.get((method, number), math.nan)) for number in numbers)]
            for method in methods
        ],
    )


def _with_interval(row: SummaryRow | None) -> str:
    if row is None:
        return NONE
    if math.isnan(row.low):
        return format_value(row.mean)
    return f"{format_value(row.mean)} ({format_value(row.low)} to {format_value(row.high)})"
