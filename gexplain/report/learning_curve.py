"""learning_curve.png: loss above, dev metrics below, and the step whose weights were kept.

Drawn without pyplot: no window, no global state, and any thread may draw.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

_WIDTH_INCHES, _PANEL_INCHES, _DPI = 8.0, 3.0, 150  # 1200 pixels wide

# Okabe and Ito's palette, which no colour blindness confuses (https://jfly.uni-koeln.de/color/); marks and dashes
# tell the lines apart without any colour.
_TRAINING_LOSS = {"label": "training loss", "color": "#0072b2", "linestyle": "-", "marker": "."}
_DEV_LOSS = {"label": "dev loss", "color": "#d55e00", "linestyle": "--", "marker": "s"}
_METRICS: dict[str, dict[str, Any]] = {
    "accuracy": {"label": "accuracy", "color": "#0072b2", "linestyle": "-", "marker": "o"},
    "mcc": {"label": "MCC", "color": "#d55e00", "linestyle": "--", "marker": "s"},
    "auroc": {"label": "mean AUROC", "color": "#009e73", "linestyle": ":", "marker": "^"},
}

# Where values can lie at all.
_LOSSES, _SHARES = (0.0, math.inf), (-1.0, 1.0)


def draw_learning_curve(history: Sequence[Mapping[str, Any]], best_step: int, path: str | os.PathLike[str]) -> None:
    """Write the learning curve to `path` as a PNG, 1200 pixels wide; of training alone where dev was never looked at.

    history: entries with "step", "loss" (None where it was not logged) and "dev" (None, or a mapping with any of
    "loss", "accuracy", "mcc", "auroc"). best_step: the step that was kept.

    Raises ValueError for a history without a value, and for a value that is not finite.
    """
    training, dev = _line(history, "loss", of_dev=False), _line(history, "loss", of_dev=True)
    metrics = {name: _line(history, name, of_dev=True) for name in _METRICS}
    if not (training or dev):
        raise ValueError("the history has no loss")
    has_metrics = any(metrics.values())
    n_panels = 2 if has_metrics else 1
    figure = Figure(figsize=(_WIDTH_INCHES, _PANEL_INCHES * n_panels), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(n_panels, sharex=True, squeeze=False)[:, 0]
    _mark_kept(panels, best_step)
    _draw_panel(panels[0], "loss", [(training, _TRAINING_LOSS), (dev, _DEV_LOSS)], _LOSSES)
    if has_metrics:
        _draw_panel(panels[1], "on dev", [(metrics[name], style) for name, style in _METRICS.items()], _SHARES)
    panels[-1].set_xlabel("step")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    panels[-1].xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    # From 0, so that the start of the training is in sight.
    panels[-1].set_xlim(0, 1.03 * max(best_step, *(entry["step"] for entry in history)))
    figure.align_ylabels(panels)
    figure.savefig(path, format="png", metadata={"Software": None})


def _line(history: Sequence[Mapping[str, Any]], name: str, *, of_dev: bool) -> dict[int, float]:
    """The values of one line, by step."""
    line = {}
    for entry in history:
        values = (entry["dev"] or {}) if of_dev else entry
        value = values.get(name)
        if value is None:
            continue
        if not math.isfinite(value):
            raise ValueError(f"{'dev ' if of_dev else ''}{name} is {value} at step {entry['step']}")
        line[int(entry["step"])] = float(value)
    return line


def _mark_kept(panels: Iterable[Axes], best_step: int) -> None:
    """A line through all panels; the first one's legend says what it is."""
    label = f"kept: step {best_step:,}"
    for panel in panels:
        panel.axvline(best_step, label=label, color="#555555", linestyle=(0, (6, 3)), linewidth=1.2, zorder=1)
        label = "_"  # not in the legend


def _draw_panel(
    panel: Axes,
    title: str,
    lines: Sequence[tuple[Mapping[int, float], Mapping[str, Any]]],
    bounds: tuple[float, float],
) -> None:
    for values, style in lines:
        if values:
            # Marks of many points would hide the line.
            every = math.ceil(len(values) / 40)
            panel.plot([*values], [*values.values()], linewidth=1.6, markersize=5, markevery=every, **style)
    _fit(panel, [value for values, _ in lines for value in values.values()], bounds)
    panel.set_ylabel(title)
    panel.grid(axis="y", color="#dddddd", linewidth=0.8)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    # Above the panel, where it hides no line.
    panel.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False, borderaxespad=0.2)


def _fit(panel: Axes, values: Sequence[float], bounds: tuple[float, float]) -> None:
    """Limits just around the values, not so near that noise fills the panel, nor beyond what a value can be."""
    low, high = min(values), max(values)
    spare = max(0.0, 0.1 - (high - low)) / 2
    room = spare + 0.08 * max(high - low, 0.1)
    mark = 0.04 * max(high - low, 0.1)  # a mark on the bound is seen whole
    panel.set_ylim(max(low - room, bounds[0] - mark), min(high + room, bounds[1] + mark))
