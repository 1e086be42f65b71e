"""The figures: PNG, by matplotlib without a display."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from curves import Curve, Measured
from matches import FIMO, JOINED, RELEVANCE, UNGATED

from gexplain.arrays import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI = 150
# Of Okabe and Ito, told apart by most eyes.
_STYLES: dict[str, dict[str, Any]] = {
    FIMO: {"color": "#555555", "linestyle": "-"},
    RELEVANCE: {"color": "#E69F00", "linestyle": "-"},
    JOINED: {"color": "#0072B2", "linestyle": "-"},
    UNGATED: {"color": "#56B4E9", "linestyle": "--"},
}
_FONTS: dict[Any, Any] = {"font.size": 12, "axes.titlesize": 13, "axes.labelsize": 12, "legend.fontsize": 12}


@dataclass(frozen=True, slots=True, eq=False)
class PrecisionRecall:
    """One panel: a curve for each ranking, and what was called at the q-value."""

    title: str
    curves: Mapping[str, Curve]
    called: Measured


@dataclass(frozen=True, slots=True, eq=False)
class Uniform:
    """One panel: for each track the p-values, which should be uniform in (0, 1], and how many tests they are of."""

    title: str
    x_label: str
    p_of_track: Mapping[str, FloatArray]
    n_tests: Mapping[str, float]


def plot_curves(path: Path, panels: Sequence[PrecisionRecall], *, called: str, columns: int = 3) -> None:
    """Precision over recall, small multiples; called: how the dot is called in the legend."""
    n_rows = -(-(len(panels) + 1) // columns)  # one panel's place is the legend's
    with _figure(path, n_rows, columns) as axes:
        _draw_curves(axes, panels, called)


def _draw_curves(axes: Sequence[Axes], panels: Sequence[PrecisionRecall], called: str) -> None:
    for axis, panel in zip(axes, panels, strict=False):
        for name, curve in panel.curves.items():
            # Steps as average precision has them: each site counts with the precision at which it is found.
            recall = np.append(np.zeros(min(1, len(curve.score))), curve.recall)
            precision = np.append(curve.precision[:1], curve.precision)
            axis.plot(recall, precision, drawstyle="steps-pre", label=name, linewidth=1.8, **_STYLES[name])
        if panel.called.called:
            axis.plot(
                panel.called.recall,
                panel.called.precision,
                "o",
                color="#D55E00",
                markersize=9,
                markeredgecolor="white",
                label=called,
                zorder=5,
            )
        axis.set(title=panel.title, xlim=(-0.02, 1.02), ylim=(-0.02, 1.05), xlabel="recall", ylabel="precision")
        axis.grid(alpha=0.3)
    handles = {
        label: handle
        for axis in axes[: len(panels)]
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    for axis in axes[len(panels) :]:
        axis.axis("off")
    axes[len(panels)].legend(handles.values(), handles, loc="center left", frameon=False, title="matches ranked by")


def plot_p_values(path: Path, panels: Sequence[Uniform], *, bins: int = 20) -> None:
    """Histograms of p-values, as shares of what uniform ones would have: one bar a bin, a line for each track."""
    with _figure(path, 1, len(panels)) as axes:
        _draw_p_values(axes, panels, bins)


def _draw_p_values(axes: Sequence[Axes], panels: Sequence[Uniform], bins: int) -> None:
    for axis, panel in zip(axes, panels, strict=True):
        edges, width = np.linspace(0, 1, bins + 1), 1 / bins
        counted = {name: np.histogram(p, edges)[0] for name, p in panel.p_of_track.items()}
        together = sum(counted.values(), np.zeros(bins)) / (max(1, sum(panel.n_tests.values())) * width)
        axis.bar(edges[:-1], together, width, align="edge", color="#9ecae1", edgecolor="white", label="all tracks")
        for number, (name, n) in enumerate(counted.items()):
            density = n / (max(1, panel.n_tests[name]) * width)
            axis.stairs(density, edges, color="#444444", alpha=0.45, label=None if number else "each track")
        axis.axhline(1, color="#D55E00", linewidth=2, label="uniform")
        axis.set(title=panel.title, xlabel=panel.x_label, ylabel="density", xlim=(0, 1))
        axis.set_ylim(0, max(1.6, 1.15 * float(together.max(initial=0))))
    axes[0].legend(loc="lower center", framealpha=0.95)


@contextmanager
def _figure(path: Path, n_rows: int, columns: int) -> Iterator[list[Axes]]:
    """The axes of a figure that is saved when all is drawn."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_FONTS):
        figure = Figure(figsize=(4.4 * columns, 3.9 * n_rows), layout="constrained")
        FigureCanvasAgg(figure)
        yield list(figure.subplots(n_rows, columns, squeeze=False).ravel())
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=DPI)
