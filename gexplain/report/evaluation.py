"""evaluation.html and plots/: what an evaluation found, as figures, tables and words.

The page is one file: figures are SVG inside it, and it asks nothing of the network. What was not measured leaves its
figure and its column out, and is listed at the end.
"""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from gexplain.genome.tracks import partial_path, write_error
from gexplain.report.evaluation_plots import (
    LEVELS,
    draw_agreement,
    draw_comparison,
    draw_curves,
    draw_quality_and_cost,
    draw_sanity,
    draw_similarity,
    drawing,
    save,
)
from gexplain.report.evaluation_results import (
    COST,
    CURVES,
    MANIFEST,
    METRICS,
    SUMMARY,
    Results,
    SummaryRow,
    read_results,
)
from gexplain.report.evaluation_values import BASELINES, KEY_VALUES, MEANINGS, KeyValue, Meaning, better, family

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure

PAGE, PLOTS = "evaluation.html", "plots"
_TEMPLATE = "evaluation.html.jinja"

_CAPTIONS = {
    "comparison": "Dots are means over the sequences, lines 95 % bootstrap intervals of the mean; black ticks are"
    " what chance gives, where there is such a value.",
    "curves": "The explained value as positions are perturbed, the most relevant first (solid: it should fall soon)"
    " or the least relevant first (dashed: it should stay up). Means over the sequences; bands are 95 % bootstrap"
    " intervals of the mean, of the first method and the baselines. Δ is the area between a method's two curves.",
    "similarity": "Pearson correlation of what two methods say of a sequence, by nucleotide where that was measured,"
    " else by token; mean over the sequences.",
    "agreement": "Pearson correlation of the two models' relevance of a sequence, by nucleotide, under the same"
    " method or the two that are named; means over the sequences with 95 % bootstrap intervals.",
    "sanity": "Rank correlation of |relevance| with that of the same model, its topmost blocks randomised; with none,"
    " it is 1. Means over the sequences; bands are 95 % bootstrap intervals of the mean, of the first method and the"
    " baselines. A method whose line stays up explains the sequence or the architecture, not what was learnt.",
    "cost": "A forward equivalent is one forward pass of one sequence; a backward pass with frozen weights counts as"
    " one. Lines are 95 % bootstrap intervals of the mean. Methods of equal cost are drawn a little apart; one that"
    " asks the model nothing is a line across.",
}
"""What is said below the figures of a section."""

_FILES = {
    METRICS: "one row per sequence, method and value",
    SUMMARY: "one row per method and value, over all sequences, with intervals and tests",
    CURVES: "the points of the curves",
    COST: "what each method asks of the model",
    MANIFEST: "settings, versions and warnings",
}

_FACTS = ("data", "sequences", "with truth", "target", "seed", "versions")
"""What the page says of the manifest, beside the command, models and warnings."""

_UNKNOWN = Meaning("not described here", "see the column chance")

NONE = "–"
"""Where there is no number."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """A figure to draw: its file's stem, its title, and the section of the page that it stands in."""

    stem: str
    title: str
    section: str
    draw: Callable[[Results], Figure | None]


@dataclass(frozen=True, slots=True)
class _Picture:
    """A figure of the page."""

    title: str
    section: str
    svg: Markup
    files: Sequence[str]


def write_report(folder: str | os.PathLike[str]) -> list[Path]:
    """Write evaluation.html, and each figure as PNG and SVG into plots/; returns the paths, the page first.

    folder: with the manifest.json, metrics.tsv, summary.tsv, curves.tsv and cost.tsv of an evaluation. Raises
    InputError where one is missing or not what it should be; RunError where nothing can be written.
    """
    folder = Path(folder)
    results = read_results(folder)
    page, plots = folder / PAGE, folder / PLOTS
    written, pictures = [page], []
    try:
        plots.mkdir(exist_ok=True)
        with drawing():
            for plan in _plans(results):
                figure = plan.draw(results)
                if figure is None:
                    continue
                paths = save(figure, plots / plan.stem)
                svg = inline_svg(paths[1].read_text(encoding="utf-8"), plan.stem, plan.title)
                names = [f"{PLOTS}/{path.name}" for path in paths]
                pictures.append(_Picture(plan.title, plan.section, svg, names))
                written += paths
        partial_page = partial_path(page)
        partial_page.write_text(_page(results, pictures), encoding="utf-8", newline="\n")
        partial_page.replace(page)
    except OSError as error:
        raise write_error(Path(error.filename or page), error) from error
    return written


def inline_svg(svg: str, prefix: str, label: str) -> Markup:
    """An SVG file's text as an element of a page: no metadata, no namespace, and ids of its own.

    prefix: before each id, so that two figures of a page never share one. label: what it is, for who cannot see it.
    """
    from markupsafe import Markup

    root = ElementTree.fromstring(svg)
    for parent in root.iter():
        for child in [one for one in parent if _bare(one.tag) in ("metadata", "style")]:
            parent.remove(child)
    for element in root.iter():
        element.tag = _bare(element.tag)
        attributes = {_bare(name): value for name, value in element.attrib.items()}
        if "id" in attributes:
            attributes["id"] = f"{prefix}-{attributes['id']}"
        if attributes.get("href", "").startswith("#"):
            attributes["href"] = f"#{prefix}-{attributes['href'][1:]}"
        attributes = {name: value.replace("url(#", f"url(#{prefix}-") for name, value in attributes.items()}
        element.attrib.clear()
        element.attrib.update(attributes)
    root.attrib.update({"role": "img", "aria-label": label})
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # parsed, and escaped again as it was written


def format_value(value: float) -> str:
    """A value as the page has it: three decimals, fewer where it is larger."""
    if math.isnan(value):
        return NONE
    size = abs(value)
    decimals = 3 if size < 1 else 2 if size < 100 else 1 if size < 1000 else 0
    text = f"{value:,.{decimals}f}"
    return (text if float(text.replace(",", "")) else text.lstrip("-")).replace("-", "−")


def format_p(value: float) -> str:
    """A p or q value: three decimals, or a power of ten where that would be none."""
    if math.isnan(value):
        return NONE
    return f"{value:.3f}" if value >= 0.001 else f"{value:.0e}".replace("e-0", "e-").replace("-", "−")


def _bare(name: Any) -> str:
    """A name without its namespace."""
    return str(name).rpartition("}")[2]


# ---- Which figures there are ----


def _plans(results: Results) -> list[_Plan]:
    """All figures that there may be, in the order of the page."""
    models = results.models
    stems = dict(zip(models, _stems(models), strict=True))
    plans = [_Plan("comparison", "Methods compared", "comparison", draw_comparison)]
    plans += [
        _Plan(f"curves-{stem}", f"Perturbation curves of {model}", "curves", partial(draw_curves, model=model))
        for model, stem in stems.items()
    ]
    plans += [
        _Plan(
            f"similarity-{stem}",
            f"Similarity of the methods of {model}",
            "similarity",
            partial(draw_similarity, model=model),
        )
        for model, stem in stems.items()
    ]
    plans += [
        _Plan(
            f"agreement-{stems[one]}-{stems[two]}",
            f"Agreement of {one} and {two}",
            "agreement",
            partial(draw_agreement, model=one, other_model=two),
        )
        for one, two in combinations(models, 2)
    ]
    return [
        *plans,
        _Plan("sanity", "Weights randomised", "sanity", draw_sanity),
        _Plan("quality-and-cost", "Quality against cost", "cost", draw_quality_and_cost),
    ]


def _stems(models: Sequence[str]) -> list[str]:
    """A part of a file's name for each model: nothing but letters, digits, dots and dashes, and each its own."""
    stems: list[str] = []
    for model in models:
        stem = re.sub(r"[^\w.-]+", "_", model, flags=re.ASCII).strip(".") or "_"
        while stem in stems:
            stem += "_"
        stems.append(stem)
    return stems


# ---- What the page says ----


def _page(results: Results, pictures: Sequence[_Picture]) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    text = files("gexplain.report").joinpath(_TEMPLATE).read_text(encoding="utf-8")
    sections = {picture.section for picture in pictures}
    return (
        environment.from_string(text).render(
            command=_command(results.manifest.get("command")),
            facts=_facts(results),
            models=_models(results),
            warnings=results.manifest.get("warnings") or [],
            pictures={section: [one for one in pictures if one.section == section] for section in sections},
            captions=_CAPTIONS,
            glance=_glance(results),
            cost=_cost(results),
            details=_details(results),
            meanings=_meanings(results),
            missing=_missing(results, sections),
            files=_FILES,
        )
        + "\n"
    )


def _command(command: Any) -> str:
    return shlex.join(map(str, command)) if isinstance(command, list) else str(command or "")


def _facts(results: Results) -> dict[str, str]:
    """What was evaluated, of what the manifest says."""
    manifest = results.manifest
    return {name: _in_words(manifest[name]) for name in _FACTS if name in manifest}


def _in_words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_in_words(one)}" for name, one in value.items())
    if isinstance(value, list):
        return ", ".join(map(_in_words, value))
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return NONE if value is None else str(value)


def _models(results: Results) -> list[dict[str, str]]:
    described = results.manifest.get("models") or {}
    names = dict.fromkeys([*described, *results.models])
    return [
        {"name": name, **{key: str(described.get(name, {}).get(key) or NONE) for key in ("kind", "sha256")}}
        for name in names
    ]


def _glance(results: Results) -> dict[str, Any]:
    """The key values that were measured: columns, and for each model a row a method and one of chance."""
    found = {value: results.values(value.metric, value.level) for value in KEY_VALUES}
    found = {value: rows for value, rows in found.items() if rows}
    groups = []
    for model in results.models:
        methods = [name for name in results.methods(model) if any((model, name) in rows for rows in found.values())]
        best = {
            value: _best(value, [row for (name, _), row in rows.items() if name == model])
            for value, rows in found.items()
        }
        lines = []
        for method in methods:
            rows_of = [(value, rows.get((model, method))) for value, rows in found.items()]
            cells = [
                {
                    "mean": format_value(row.mean) if row else NONE,
                    "interval": _interval(row.low, row.high) if row else "",
                    "best": row is not None and row is best[value],
                }
                for value, row in rows_of
            ]
            lines.append({"method": method, "cells": cells})
        chance = [_span(row.chance for (name, _), row in rows.items() if name == model) for rows in found.values()]
        if lines:
            groups.append({"model": model, "lines": lines, "chance": chance})
    return {
        "columns": [{"label": value.label, "level": value.level, "better": value.better} for value in found],
        "groups": groups,
    }


def _best(value: KeyValue, rows: Sequence[SummaryRow]) -> SummaryRow | None:
    """The row with the best mean; none where neither way is better, or there is nothing to choose from."""
    rows = [row for row in rows if row.method not in BASELINES]
    if len(rows) < 2 or not value.better:
        return None
    return (max if value.better == "higher" else min)(rows, key=lambda row: row.mean)


def _interval(low: float, high: float) -> str:
    return "" if math.isnan(low) or math.isnan(high) else f"{format_value(low)} to {format_value(high)}"


def _span(values: Iterable[float]) -> str:
    """One number where all are alike, else the least and the largest."""
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return NONE
    least, largest = format_value(min(known)), format_value(max(known))
    return least if least == largest else f"{least} to {largest}"


def _cost(results: Results) -> list[dict[str, str]]:
    return [
        {
            "model": row.model,
            "method": row.method,
            "sequences": f"{row.sequences:,}",
            "forward": _format_passes(row.forward),
            "backward": _format_passes(row.backward),
            "forward_equivalents": _format_passes(row.forward_equivalents),
            "seconds": format_value(row.seconds),
            "per_thousand": format_value(1000 * row.seconds / row.sequences if row.sequences else math.nan),
            "completeness_error": format_value(row.completeness_error),
        }
        for row in results.cost
    ]


def _format_passes(n: float) -> str:
    """Passes a sequence, which mostly are whole: a decimal only where there is one."""
    return NONE if math.isnan(n) else f"{n:,.1f}".removesuffix(".0")


def _details(results: Results) -> list[dict[str, Any]]:
    """A table for each family of values: every variant of the key values, the main one of all others."""
    key = {value.metric for value in KEY_VALUES}
    by_family: dict[str, list[SummaryRow]] = {}
    for row in results.summary:
        if not row.other:
            by_family.setdefault(family(row.metric), []).append(row)
    order = sorted(by_family, key=lambda name: name not in key)
    return [
        {"name": name, "rows": [_detail(row) for row in (rows if name in key else results.main(rows))]}
        for name, rows in ((name, by_family[name]) for name in order)
    ]


def _detail(row: SummaryRow) -> dict[str, str]:
    return {
        "metric": row.metric,
        "model": row.model,
        "method": row.method,
        "level": row.level,
        "variant": row.variant or NONE,
        "n": f"{row.n:,}",
        "mean": format_value(row.mean),
        "interval": _interval(row.low, row.high) or NONE,
        "chance": format_value(row.chance),
        "reference": row.reference or NONE,
        "difference": format_value(row.difference),
        "difference_interval": _interval(row.difference_low, row.difference_high) or NONE,
        "p": format_p(row.p),
        "q": format_p(row.q),
    }


def _meanings(results: Results) -> list[dict[str, str]]:
    """The lines on what was measured, in the order of MEANINGS; a value that it does not know comes last."""
    used = dict.fromkeys(family(row.metric) for row in results.summary)
    return [
        {"name": name, "meaning": meaning.meaning, "better": better(name) or "neither", "chance": meaning.chance}
        for name, meaning in [(name, MEANINGS[name]) for name in MEANINGS if name in used]
        + [(name, _UNKNOWN) for name in used if name not in MEANINGS]
    ]


def _missing(results: Results, sections: set[str]) -> list[str]:
    """What was not measured, and what it takes."""
    missing: dict[str, list[str]] = {}
    for value in KEY_VALUES:
        if not results.values(value.metric, value.level):
            missing.setdefault(value.needs, []).append(f"{value.label} ({value.level})")
    told = [f"{', '.join(names)}: takes {needs}." for needs, names in missing.items()]
    told += [
        f"Perturbation curves of {model}, by {level}."
        for model in results.models
        for level in LEVELS
        if level in results.levels(model) and not results.curves_of(model, level)
    ]
    if "similarity" not in sections:
        told.append("Similarity between methods: takes two methods or more, and the metric similarity.")
    if "agreement" not in sections:
        told.append("Agreement between models: takes a second one (--against), and the metric similarity.")
    if "sanity" not in sections:
        told.append("Sanity: takes randomised weights, by the metric sanity.")
    if not results.cost:
        told.append("Cost.")
    elif "cost" not in sections:
        told.append("Quality against cost: takes faithfulness or localisation by nucleotide.")
    return told
