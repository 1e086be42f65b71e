"""The figures of an evaluation, without pyplot: no window, and no state left behind.

A method has one colour and mark in all of them; a model is filled or open. Colours are Okabe and Ito's, which no
colour blindness confuses (https://jfly.uni-koeln.de/color/); marks tell methods apart without any colour.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gexplain.report.evaluation_results import CostRow, Results, SummaryRow
from gexplain.report.evaluation_values import BASELINES, KEY_VALUES, KeyValue

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

LEVELS = {"token": "tokens", "nucleotide": "nucleotides"}
"""The levels, and what they count, in the order of the panels."""

_DPI = 150
_WIDTH = 11.4  # inches: 1094 px of a page, as SVG
_PANELS_A_ROW = 4

# Yellow of Okabe and Ito's eight is left out: it is faint on white. Black is chance.
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f4f24", "#332288")
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
_MODEL_COLORS = ("#0072b2", "#d55e00", "#009e73")
# Of BASELINES, in their order.
_BASELINE_STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#777777", "marker": "."},
    {"color": "#999999", "marker": "x"},
)
_INK, _GRID = "#333333", "#dddddd"

_SETTINGS: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 10.5,
    "figure.titlesize": 11,
    "axes.labelsize": 10,
    "legend.fontsize": 10,
    "axes.edgecolor": "#888888",
    "text.parse_math": False,  # a $ in a model's name is a $
    "svg.fonttype": "none",  # text stays text
    "axes.axisbelow": True,
}


@contextmanager
def drawing() -> Iterator[None]:
    """Matplotlib's settings for these figures, while they are drawn and saved."""
    import matplotlib

    with matplotlib.rc_context(_SETTINGS):
        yield


def save(figure: Figure, path: Path) -> list[Path]:
    """Write a figure as PNG and SVG, `path` and a suffix each. The same figure gives the same bytes."""
    import matplotlib

    written = []
    with matplotlib.rc_context({"svg.hashsalt": path.name}):
        for suffix, metadata in ((".png", {"Software": None}), (".svg", {"Date": None, "Creator": None})):
            figure.savefig(path.with_name(path.name + suffix), dpi=_DPI, metadata=metadata)
            figure.set_layout_engine("none")  # the second file is laid out as the first
            written.append(path.with_name(path.name + suffix))
    return written


def draw_curves(results: Results, model: str) -> Figure | None:
    """MoRF and LeRF curves of one model, a panel a level; None where there are none."""
    from matplotlib.lines import Line2D

    curves = {level: results.curves_of(model, level) for level in LEVELS}
    curves = {level: found for level, found in curves.items() if found}
    if not curves:
        return None
    styles = styles_of(results)
    figure = _figure(_WIDTH, 4.6)
    panels = figure.subplots(1, len(curves), squeeze=False)[0]
    for panel, (level, found) in zip(panels, curves.items(), strict=True):
        for (method, order), points in found.items():
            at, mean, low, high = np.array([(row.fraction, row.mean, row.low, row.high) for row in points]).T
            style = styles[method]
            dashes = "--" if order == "lerf" else "-"
            if method in _banded(results, model):
                panel.fill_between(at, low, high, color=style["color"], alpha=0.15, linewidth=0)
            panel.plot(at, mean, linestyle=dashes, linewidth=1.5, markersize=4, markevery=2, **style)
        panel.set(xlabel=f"share of {LEVELS[level]} perturbed", ylabel="explained value (logits)", xlim=(-0.01, 1.01))
        panel.set_title(f"by {level}", loc="left")
        _tidy(panel)
    drawn = {method for found in curves.values() for method, _ in found}
    methods = [method for method in results.methods() if method in drawn]
    handles = [_handle(styles[method], linestyle="-") for method in methods]
    handles += [Line2D([], [], color=_INK), Line2D([], [], color=_INK, linestyle="--")]
    labels = [*methods, "most relevant first", "least relevant first"]
    _legend(figure, handles, labels)
    figure.suptitle(model, x=0.01, horizontalalignment="left")
    return figure


def draw_comparison(results: Results) -> Figure | None:
    """Each key value of every method with its interval, all models in one panel; None where there are none."""
    found = {value: results.values(value.metric, value.level) for value in KEY_VALUES}
    found = {value: rows for value, rows in found.items() if rows}
    if not found:
        return None
    from matplotlib.lines import Line2D

    drawn = {method for rows in found.values() for _, method in rows}
    methods = [method for method in results.methods() if method in drawn]
    n_columns = min(_PANELS_A_ROW, len(found))
    n_rows = math.ceil(len(found) / n_columns)
    figure = _figure(_WIDTH if n_columns > 1 else _WIDTH / 2, n_rows * (1.3 + 0.3 * len(methods)) + 0.4)
    panels = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True).ravel()
    for panel, (value, rows) in zip(panels, found.items(), strict=False):
        _draw_values(panel, value, rows, results.models, methods)
    for panel in panels[len(found) :]:
        panel.remove()
    handles, labels = [_model_handle(index) for index in range(len(results.models))], [*results.models]
    if any(not math.isnan(row.chance) for rows in found.values() for row in rows.values()):
        chance: dict[str, Any] = {"color": "black", "marker": "|", "markersize": 11, "markeredgewidth": 1.6}
        handles, labels = [*handles, Line2D([], [], linestyle="none", **chance)], [*labels, "chance"]
    _legend(figure, handles, labels, below=True)
    return figure


def draw_similarity(results: Results, model: str) -> Figure | None:
    """Pearson correlation of a model's methods with one another, as a heat map; None where there is none."""
    pairs = results.similarity("pearson", model)
    if not pairs:
        return None
    drawn = {method for method, _ in pairs}
    methods = [method for method in results.methods(model) if method in drawn]
    matrix = np.full((len(methods), len(methods)), np.nan)
    for (one, other), row in pairs.items():
        matrix[methods.index(one), methods.index(other)] = row.mean
    cell = 0.52
    figure = _figure(min(_WIDTH, 3.4 + cell * len(methods)), 2.3 + 0.8 * cell * len(methods))
    (panel,) = figure.subplots(1, 1, squeeze=False)[0]
    image = panel.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    for (i, j), value in np.ndenumerate(matrix):
        if i == j:
            continue  # a method is as itself
        text = "–" if math.isnan(value) else f"{round(value, 2) + 0.0:.2f}".replace("-", "−")  # + 0.0: no −0.00
        panel.text(j, i, text, ha="center", va="center", color="white" if abs(value) > 0.6 else "black", fontsize=9)
    panel.set_xticks(range(len(methods)), methods, rotation=40, ha="right", rotation_mode="anchor")
    panel.set_yticks(range(len(methods)), methods)
    panel.spines[:].set_visible(False)
    panel.tick_params(length=0)
    figure.colorbar(image, ax=panel, label="Pearson r", shrink=0.8, ticks=[-1, 0, 1])
    return figure


def draw_agreement(results: Results, model: str, other_model: str) -> Figure | None:
    """Pearson correlation of two models' relevance, a dot a pair of methods; None where there is none."""
    pairs = results.agreement("pearson", model, other_model)
    if not pairs:
        return None
    methods = results.methods(model)
    ordered = sorted(pairs, key=lambda pair: methods.index(pair[0]))
    figure = _figure(0.65 * _WIDTH, 1.2 + 0.3 * len(pairs))
    (panel,) = figure.subplots(1, 1, squeeze=False)[0]
    panel.axvline(0, color="#999999", linewidth=1)
    for at, pair in enumerate(ordered):
        row = pairs[pair]
        panel.plot([row.low, row.high], [at, at], color=_MODEL_COLORS[0], linewidth=2, alpha=0.55)
        panel.plot(row.mean, at, "o", color=_MODEL_COLORS[0], markersize=5.5, zorder=3)
    names = [one if one == other else f"{one} and {other}" for one, other in ordered]
    panel.set_yticks(range(len(names)), names)
    panel.set_ylim(len(names) - 0.4, -0.6)
    panel.tick_params(axis="y", length=0)
    panel.set_xlabel("Pearson r")
    _tidy(panel)
    return figure


def draw_sanity(results: Results) -> Figure | None:
    """Correlation with the original against randomised blocks, a panel a model; None where there are none."""
    lines = {model: sanity_lines(results, model) for model in results.models}
    lines = {model: found for model, found in lines.items() if found}
    if not lines:
        return None
    from matplotlib.ticker import MaxNLocator

    styles = styles_of(results)
    figure = _figure(_WIDTH, 4.2)
    panels = figure.subplots(1, len(lines), squeeze=False, sharey=True)[0]
    for panel, (model, found) in zip(panels, lines.items(), strict=True):
        panel.axhline(0, color="#999999", linewidth=1)
        for method, row_of_n in found.items():
            at = np.array([0, *row_of_n])
            # Nothing randomised is the original itself.
            mean, low, high = np.array([(1, 1, 1), *((row.mean, row.low, row.high) for row in row_of_n.values())]).T
            if method in _banded(results, model):
                panel.fill_between(at, low, high, color=styles[method]["color"], alpha=0.15, linewidth=0)
            panel.plot(at, mean, linewidth=1.5, markersize=5, **styles[method])
        panel.set(xlabel="randomised blocks, from the top", ylabel="Spearman ρ with the original")
        panel.label_outer()
        panel.set_title(model, loc="left")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        _tidy(panel)
    drawn = {method for found in lines.values() for method in found}
    methods = [method for method in results.methods() if method in drawn]
    _legend(figure, [_handle(styles[method], linestyle="-") for method in methods], methods)
    return figure


def draw_quality_and_cost(results: Results) -> Figure | None:
    """Faithfulness and localisation against forward equivalents; None without cost, or without either."""
    cost = {(row.model, row.method): row for row in results.cost}
    wanted = [value for value in KEY_VALUES if (value.metric, value.level) in _COST_VALUES]
    found = {value: results.values(value.metric, value.level) for value in wanted}
    found = {value: {key: row for key, row in rows.items() if key in cost} for value, rows in found.items()}
    found = {value: rows for value, rows in found.items() if rows}
    if not found:
        return None
    styles = styles_of(results)
    figure = _figure(_WIDTH, 4.4)
    for panel, (value, rows) in zip(figure.subplots(1, len(found), squeeze=False)[0], found.items(), strict=True):
        _draw_cost(panel, rows, cost, results.models, styles)
        panel.set(xlabel="forward equivalents a sequence", ylabel=f"{value.label} ({value.level})")
    drawn = {method for rows in found.values() for _, method in rows}
    methods = [method for method in results.methods() if method in drawn]
    is_free = {method for (_, method), row in cost.items() if row.forward_equivalents == 0}
    handles = [
        _handle(styles[method] | {"marker": ""}, linestyle="-") if method in is_free else _handle(styles[method])
        for method in methods
    ]
    labels = [*methods]
    if len(results.models) > 1:
        handles += [
            _handle({"color": _INK, "marker": "o"}, filled=index == 0) for index in range(len(results.models))
        ]
        labels += results.models
    _legend(figure, handles, labels)
    return figure


_SANITY = re.compile(r"sanity spearman (\d+)")
_COST_VALUES = (("delta", "nucleotide"), ("rank accuracy", "nucleotide"))


def sanity_lines(results: Results, model: str) -> dict[str, dict[int, SummaryRow]]:
    """Method to its rows by number of randomised blocks, at the nucleotide level if there is any, else by token."""
    for level in ("nucleotide", "token"):
        lines: dict[str, dict[int, SummaryRow]] = {}
        for row in results.main(row for row in results.summary if (row.model, row.level) == (model, level)):
            matched = _SANITY.fullmatch(row.metric)
            if matched and not math.isnan(row.mean):
                lines.setdefault(row.method, {})[int(matched[1])] = row
        if lines:
            return {method: dict(sorted(rows.items())) for method, rows in lines.items()}
    return {}


def _banded(results: Results, model: str) -> set[str]:
    """Whose intervals are drawn as bands: with all of a dozen methods, none could be told from another."""
    return {results.methods(model)[0], *BASELINES}


def styles_of(results: Results) -> dict[str, dict[str, Any]]:
    """Colour and mark of each method: no two share both (of 88), those of one model a colour only if they must."""
    methods = [method for method in results.methods() if method not in BASELINES]
    neighbours = [set(results.methods(model)) for model in results.models]
    styles = dict(zip(BASELINES, _BASELINE_STYLES, strict=True))
    for index, method in enumerate(methods):
        together = set().union(*(group for group in neighbours if method in group)) & styles.keys()
        taken = [styles[other]["color"] for other in together]
        mark = _MARKS[index % len(_MARKS)]
        free = [color for color in _COLORS if {"color": color, "marker": mark} not in styles.values()]
        styles[method] = {"color": min(free or _COLORS, key=taken.count), "marker": mark}
    return styles


def _draw_values(
    panel: Axes,
    value: KeyValue,
    rows: Mapping[tuple[str, str], SummaryRow],
    models: Sequence[str],
    methods: Sequence[str],
) -> None:
    """Dots with intervals, a line a method; models a little above one another."""
    if any(row.low < 0 < row.high or row.mean < 0 for row in rows.values()):
        panel.axvline(0, color="#999999", linewidth=1)
    for (model, method), row in rows.items():
        index = models.index(model)
        at = methods.index(method) + 0.26 * (index - (len(models) - 1) / 2)
        color = _MODEL_COLORS[index % len(_MODEL_COLORS)]
        panel.plot([row.low, row.high], [at, at], color=color, linewidth=2, alpha=0.55, solid_capstyle="butt")
        face = color if index == 0 else "white"
        panel.plot(row.mean, at, "o", color=color, markerfacecolor=face, markersize=5.5, zorder=3)
        panel.plot(row.chance, at, "|", color="black", markersize=8, markeredgewidth=1.6, zorder=2)
    panel.set_title(f"{value.label}, {value.level}\n{_ARROWS[value.better]}", loc="left")
    panel.set_yticks(range(len(methods)), methods)
    panel.set_ylim(len(methods) - 0.4, -0.6)
    panel.tick_params(axis="y", length=0)
    panel.locator_params(axis="x", nbins=4)
    _tidy(panel)


def _side_by_side(costs: Sequence[float]) -> list[float]:
    """Costs for a logarithmic axis, equal ones a little apart."""
    places = []
    for index, one in enumerate(costs):
        place = costs[:index].count(one) - (costs.count(one) - 1) / 2
        places.append(one * 1.08**place)
    return places


def _draw_cost(
    panel: Axes,
    rows: Mapping[tuple[str, str], SummaryRow],
    cost: Mapping[tuple[str, str], CostRow],
    models: Sequence[str],
    styles: Mapping[str, Mapping[str, Any]],
) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    places = _side_by_side([cost[key].forward_equivalents for key in rows])
    for ((model, method), row), equivalents in zip(rows.items(), places, strict=True):
        style, index = styles[method], models.index(model)
        if equivalents > 0:
            panel.plot([equivalents] * 2, [row.low, row.high], color=style["color"], linewidth=1.5, alpha=0.55)
            face = style["color"] if index == 0 else "white"
            panel.plot(
                equivalents, row.mean, style["marker"], color=style["color"], markerfacecolor=face, markersize=7.5
            )
        else:  # a logarithmic axis has no place for what asks the model nothing
            panel.axhline(row.mean, color=style["color"], linewidth=1.3, linestyle="-" if index == 0 else "--")
    placed = [place for place in places if place > 0] or [1.0]
    panel.set_xscale("log")
    panel.set_xlim(min(placed) / 1.6, max(1.6 * max(placed), 10 * min(placed)))
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    panel.xaxis.set_minor_formatter(NullFormatter())
    _tidy(panel)


_ARROWS = {"higher": "higher is better →", "lower": "← lower is better", "": "neither is better"}


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(h_pad=0.1))
    FigureCanvasAgg(figure)
    return figure


def _tidy(panel: Axes) -> None:
    panel.grid(color=_GRID, linewidth=0.8)
    panel.spines[["top", "right"]].set_visible(False)


def _handle(style: Mapping[str, Any], *, linestyle: Literal["-", "none"] = "none", filled: bool = True) -> Line2D:
    from matplotlib.lines import Line2D

    face = style["color"] if filled else "white"
    return Line2D([], [], linestyle=linestyle, markersize=6, markerfacecolor=face, **style)


def _model_handle(index: int) -> Line2D:
    return _handle({"color": _MODEL_COLORS[index % len(_MODEL_COLORS)], "marker": "o"}, filled=index == 0)


def _legend(figure: Figure, handles: Sequence[Line2D], labels: Sequence[str], *, below: bool = False) -> None:
    """A legend beside the panels, or below them."""
    # Matplotlib leaves out what begins with an underscore.
    shown = [f"\N{ZERO WIDTH SPACE}{label}" if label.startswith("_") else label for label in labels]
    place: dict[str, Any] = (
        {"loc": "outside lower center", "ncols": len(shown)} if below else {"loc": "outside right"}
    )
    figure.legend(handles, shown, frameon=False, **place)
