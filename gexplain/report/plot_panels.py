"""The panels of a figure of one place: letters, bars, boxes and genes, drawn on matplotlib axes in millimetres.

Every panel's x axis is the chromosome, 0-based: base b lies between b and b + 1. No pyplot: no window, and no state
left behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gexplain.arrays import FloatArray
from gexplain.genome.gene_models import Transcript
from gexplain.genome.intervals import Interval, Strand
from gexplain.report.logo import LETTER_COLORS
from gexplain.report.plot_content import Columns, Feature
from gexplain.report.svg import BLUE, GREEN, INK, VERMILLION, nice_step, nice_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.path import Path

Line = list[tuple[float, float]]
"""Points, joined: position on the chromosome, and mm from the panel's top."""

MM = 25.4  # of an inch
NAME_SIZE, LABEL_SIZE, SMALL_SIZE = 7.0, 6.0, 5.5  # points: Nature asks for 5 to 7
LABEL_INK, RULE = "#555555", "#8a8a8a"
HIT_COLORS, REGION_COLORS, GENE_FILL = ("#DEDEDE", "#666666"), ("#D3DCE4", "#D3DCE4"), "#3B4A5A"
BAND = "#F3F3F3"

BOX_LANE, GENE_LANE, SEQLET_LANE = 3.4, 5.2, 1.9
"""Heights of a lane of boxes, of genes and of seqlets, in mm."""
MOST_LANES, MOST_NAMED = 6, 400
"""Of boxes or genes; those that need more lanes, or are more, are drawn in one lane without names."""

_THIN = 0.5  # points
_LEAST_POINTED = 1.2  # mm
_LONGEST_LABEL = 50.0  # mm
_APART = 1.0  # mm between two in a lane


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """A figure under construction: what it shows, and from where to where its panels reach, in mm from the left."""

    figure: Figure
    interval: Interval
    left: float
    right: float

    @property
    def width(self) -> float:
        """Of the panels, in mm."""
        return self.right - self.left

    def panel(self, top: float, height: float) -> Axes:
        """Axes `top` mm below the figure's upper edge, without frame or ticks; x is the chromosome."""
        figure_width, figure_height = (inches * MM for inches in self.figure.get_size_inches())
        bottom = 1 - (top + height) / figure_height
        axes = self.figure.add_axes(
            (self.left / figure_width, bottom, self.width / figure_width, height / figure_height)
        )
        axes.set_xlim(self.interval.start, self.interval.end)
        axes.patch.set_visible(False)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        return axes

    def label(self, text: str, top: float, *, right: float, size: float, **style: Any) -> None:
        """Text that ends `right` mm from the left, its middle `top` mm below the upper edge."""
        figure_width, figure_height = (inches * MM for inches in self.figure.get_size_inches())
        self.figure.text(
            right / figure_width,
            1 - top / figure_height,
            text,
            ha="right",
            va="center_baseline",
            fontsize=size,
            **style,
        )

    def mm(self, start: float, end: float) -> tuple[float, float]:
        """Positions on the chromosome as mm from the panel's left edge, cut to the panel."""
        scale = self.width / self.interval.width
        low, high = ((one - self.interval.start) * scale for one in (start, end))
        return min(max(low, 0.0), self.width), min(max(high, 0.0), self.width)

    def position(self, mm: float) -> float:
        """The position on the chromosome at `mm` from the panel's left edge."""
        return self.interval.start + mm * self.interval.width / self.width


def clean(text: str) -> str:
    """A name as it can be drawn: what has no shape, such as a control character or half a surrogate, is U+FFFD."""
    return "".join(one if one.isprintable() else "\ufffd" for one in text)


def text_width(figure: Figure, text: str, size: float, **font: Any) -> float:
    """How wide a text is drawn, in mm."""
    from matplotlib.font_manager import FontProperties

    renderer: Any = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    width, _, _ = renderer.get_text_width_height_descent(text, FontProperties(size=size, **font), ismath=False)
    return float(width) / figure.dpi * MM


def shorten(figure: Figure, text: str, most: float, size: float, **font: Any) -> str:
    """The text, cut to at most so many mm, with an ellipsis where it was cut."""
    if text_width(figure, text, size, **font) <= most:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        fits = text_width(figure, text[:middle] + "…", size, **font) <= most
        low, high = (middle, high) if fits else (low, middle - 1)
    return text[:low] + "…"


# ---- Values ----


def value_range(columns: Sequence[Columns]) -> tuple[float, float]:
    """From where to where an axis reaches that shows all of these tracks, 0 and a little room included."""
    lows = [float(np.nanmin(one.low)) for one in columns if one.is_scored.any()]
    highs = [float(np.nanmax(one.high)) for one in columns if one.is_scored.any()]
    low, high = min([0.0, *lows]), max([0.0, *highs])
    if low == high:
        return 0.0, 1.0
    room = 0.04 * (high - low)
    return (low - room if low else 0.0), (high + room if high else 0.0)


def draw_letters(axes: Axes, columns: Columns, sequence: str, name: str) -> None:
    """The sequence, each letter as high as its value; negative ones hang upside down.

    name: begins each letter's id, NAME-POSITION with the 0-based position, which an SVG keeps.
    """
    from matplotlib.patches import PathPatch

    draw_baseline(axes, columns)
    for i in np.flatnonzero(columns.is_scored).tolist():
        letter, value = sequence[i], float(columns.high[i])
        if value:
            position = int(columns.edges[i])
            axes.add_artist(
                PathPatch(
                    _glyph(letter, position + 0.03, 0.94, value),
                    facecolor=LETTER_COLORS.get(letter, LETTER_COLORS["N"]),
                    linewidth=0,
                    gid=f"{name}-{position}",
                )
            )


def draw_bars(axes: Axes, columns: Columns, name: str) -> None:
    """Filled bars from 0: up to the highest value of each column in blue, down to the lowest in vermillion.

    name: begins the ids of both, NAME-positive and NAME-negative, which an SVG keeps.
    """
    draw_baseline(axes, columns)
    scored = columns.is_scored
    for heights, color, gid in (
        (np.where(scored, np.maximum(columns.high, 0), np.nan), BLUE, "positive"),
        (np.where(scored, np.minimum(columns.low, 0), np.nan), VERMILLION, "negative"),
    ):
        _add_steps(axes, columns, heights, fill=True, color=color, linewidth=0, gid=f"{name}-{gid}")


def draw_area(axes: Axes, columns: Columns, color: str = GREEN) -> None:
    """A pale area from 0 to the highest value of each column, with a line on top."""
    _add_steps(axes, columns, columns.high, fill=True, color=color, alpha=0.25, linewidth=0)
    _add_steps(axes, columns, columns.high, baseline=None, edgecolor=color, linewidth=0.8)
    draw_baseline(axes, columns)


def draw_baseline(axes: Axes, columns: Columns) -> None:
    """A line at 0 where there are values: what was not scored has none."""
    level = np.where(columns.is_scored, 0.0, np.nan)
    _add_steps(axes, columns, level, baseline=None, edgecolor=RULE, linewidth=_THIN)


def draw_bands(axes: Axes, features: Sequence[Feature]) -> None:
    """A pale band behind the values of each feature."""
    for one in features:
        axes.axvspan(one.start, one.end, color=BAND, linewidth=0, zorder=0)


def draw_value_axis(axes: Axes, low: float, high: float, ticks: Sequence[tuple[float, str]]) -> None:
    """The scale at the left of a panel: its line, and ticks with their text."""
    axes.set_ylim(low, high)
    axes.spines["left"].set(visible=True, color=RULE, linewidth=_THIN)
    axes.set_yticks([at for at, _ in ticks], [text for _, text in ticks])
    axes.tick_params(
        axis="y", length=1.8, width=_THIN, pad=1.2, labelsize=SMALL_SIZE, color=RULE, labelcolor=LABEL_INK
    )


def signed_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """0, and a round value above and below it, as far as they are in the range: each with its text."""
    step = max(at for at, _ in nice_ticks(0, 0.98 * max(high, -low), 6))
    return [(at, f"{at:g}".replace("-", "−")) for at in (-step, 0.0, step) if low <= at <= high]


def draw_sequence(axes: Axes, sequence: str, start: int) -> None:
    """The sequence in letters of one size."""
    from matplotlib.patches import PathPatch

    axes.set_ylim(0, 1)
    for i, letter in enumerate(sequence):
        color = LETTER_COLORS.get(letter, LETTER_COLORS["N"])
        axes.add_artist(PathPatch(_glyph(letter, start + i + 0.19, 0.62, 1), facecolor=color, linewidth=0))


def _glyph(letter: str, left: float, width: float, height: float) -> Path:
    """The outline of a letter that fills the box on the axis from `left` on; upside down where height is negative."""
    from matplotlib.transforms import Affine2D

    outline = _outline(letter)
    box = outline.get_extents()
    fitted = Affine2D().translate(-box.x0, -box.y0).scale(width / box.width, height / box.height).translate(left, 0)
    return fitted.transform_path(outline)


@cache
def _outline(letter: str) -> Path:
    """A letter of DejaVu Sans Bold, which matplotlib brings."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    return TextPath((0, 0), letter, size=100, prop=FontProperties(family="DejaVu Sans", weight="bold"))


# ---- Features ----


@dataclass(frozen=True, slots=True)
class Placed:
    """In which lane something is, its label, and from where on that is written, in mm from the panel's left."""

    lane: int
    label: str
    label_left: float


_Extent = tuple[float, float, str, float]
"""From where to where something reaches with its label, the label, and where that begins; in mm, as in `Placed`."""


def place_boxes(sheet: Sheet, features: Sequence[Feature]) -> list[Placed] | None:
    """Where boxes and their names go: in the box if there is room, else right or left of it; none overlap.

    None for more than there is room for; `without_names` is left for these.
    """

    def place(one: Feature) -> _Extent:
        left, right = sheet.mm(one.start, one.end)
        label = _box_label(sheet, one)
        width = text_width(sheet.figure, label, LABEL_SIZE) if label else 0.0
        if not label or width + 2.4 <= right - left:
            return left, right, label, (left + right - width) / 2
        if right + 0.8 + width <= sheet.width:
            return left, right + 0.8 + width, label, right + 0.8
        at = max(0.0, left - 0.8 - width)
        return min(left, at), right, label, at

    return _pack([place(one) for one in features]) if len(features) <= MOST_NAMED else None


def place_genes(sheet: Sheet, transcripts: Sequence[Transcript], names: Sequence[str]) -> list[Placed] | None:
    """Where genes and their names, below them, go; none overlap. None for more than there is room for."""

    def place(one: Transcript, name: str) -> _Extent:
        left, right = sheet.mm(one.interval.start, one.interval.end)
        label = shorten(sheet.figure, clean(name), _LONGEST_LABEL, LABEL_SIZE, style="italic")
        width = text_width(sheet.figure, label, LABEL_SIZE, style="italic")
        at = min(max(0.0, (left + right - width) / 2), max(0.0, sheet.width - width))
        return min(left, at), max(right, at + width), label, at

    if len(transcripts) > MOST_NAMED:
        return None
    return _pack([place(*one) for one in zip(transcripts, names, strict=True)])


def without_names(features: Sequence[object]) -> list[Placed]:
    """All of them in one lane, for what is too dense to be named."""
    return [Placed(0, "", 0.0) for _ in features]


def lanes_of(placed: Sequence[Placed]) -> int:
    """How many lanes there are."""
    return 1 + max((one.lane for one in placed), default=-1)


def draw_boxes(
    axes: Axes, sheet: Sheet, features: Sequence[Feature], placed: Sequence[Placed], colors: tuple[str, str]
) -> None:
    """Boxes that point along their strand, with their names. colors: of what fills them and of their edge."""
    axes.set_ylim(BOX_LANE * lanes_of(placed), 0)
    boxes = list[Line]()
    for one, where in zip(features, placed, strict=True):
        top, foot = where.lane * BOX_LANE + 0.35, (where.lane + 1) * BOX_LANE - 0.35
        left, right = sheet.mm(one.start, one.end)
        # What is narrow has no room for a point; its edge keeps it in sight where it is less than a pixel.
        strand = one.strand if right - left >= _LEAST_POINTED else "."
        boxes.append(_pentagon(sheet, one.start, one.end, strand, (top, foot)))
        if where.label:
            axes.text(
                sheet.position(where.label_left),
                (top + foot) / 2,
                where.label,
                fontsize=LABEL_SIZE,
                va="center_baseline",
                color=INK,
            )
    _add_polygons(axes, boxes, facecolor=colors[0], edgecolor=colors[1], linewidth=0.4)


def draw_seqlets(axes: Axes, seqlets: Sequence[Feature]) -> None:
    """Short bars: of high relevance filled with blue, of low relevance hollow and vermillion."""
    axes.set_ylim(1, 0)
    for kind, fill, edge in (("high", BLUE, BLUE), ("low", "white", VERMILLION)):
        boxes = [_rectangle(one.start, one.end, 0.2, 0.8) for one in seqlets if one.kind == kind]
        _add_polygons(axes, boxes, facecolor=fill, edgecolor=edge, linewidth=0.7)


def draw_genes(axes: Axes, sheet: Sheet, transcripts: Sequence[Transcript], placed: Sequence[Placed]) -> None:
    """Genes: exons, their coding parts thicker, introns with chevrons along the strand, names below."""
    axes.set_ylim(GENE_LANE * lanes_of(placed), 0)
    lines, boxes = list[Line](), list[Line]()
    dark, light = list[Line](), list[Line]()
    for one, where in zip(transcripts, placed, strict=True):
        middle = where.lane * GENE_LANE + 1.2
        lines.append([(one.interval.start, middle), (one.interval.end, middle)])
        for spans, half in ((one.exons, 0.5), (one.coding, 0.95)):
            boxes += [_rectangle(start, end, middle - half, middle + half) for start, end in spans]
        introns = [(a[1], b[0]) for a, b in zip(one.exons, one.exons[1:], strict=False)]
        dark += _chevrons(sheet, introns, one.interval.strand, middle)
        light += _chevrons(sheet, one.coding or one.exons, one.interval.strand, middle)
        if where.label:
            axes.text(
                sheet.position(where.label_left),
                where.lane * GENE_LANE + 3.5,
                where.label,
                fontsize=LABEL_SIZE,
                style="italic",
                va="center_baseline",
                color=INK,
            )
    _add_lines(axes, lines, color=GENE_FILL, linewidth=0.7)
    # A line around it keeps an exon in sight that is narrower than a pixel.
    _add_polygons(axes, boxes, facecolor=GENE_FILL, edgecolor=GENE_FILL, linewidth=0.25)
    _add_lines(axes, dark, color=GENE_FILL, linewidth=0.6)
    _add_lines(axes, light, color="white", linewidth=0.6)


def draw_position_axis(axes: Axes, sheet: Sheet, label: str) -> None:
    """The chromosome's coordinates, 1-based as people read them, with thousands separators."""
    interval = sheet.interval
    widest = text_width(sheet.figure, f"{interval.end:,}", LABEL_SIZE)
    step = max(1, round(nice_step(interval.width, max(1, int(sheet.width // (widest + 5))))))
    first = -(-(interval.start + 1) // step) * step
    positions = range(first, interval.end + 1, step) or [interval.start + 1]
    axes.spines["top"].set(visible=True, color=RULE, linewidth=_THIN)
    axes.xaxis.tick_top()
    axes.set_xticks([one - 0.5 for one in positions], [f"{one:,}" for one in positions])
    axes.tick_params(
        axis="x", direction="in", length=2, width=_THIN, pad=-9, labelsize=LABEL_SIZE, color=RULE, labelcolor=INK
    )
    axes.text(0.5, 0, label, transform=axes.transAxes, ha="center", va="bottom", fontsize=NAME_SIZE, color=INK)


def _box_label(sheet: Sheet, one: Feature) -> str:
    if one.name in ("", "."):
        return ""
    strand = {"+": " (+)", "-": " (−)", ".": ""}[one.strand]
    return shorten(sheet.figure, clean(one.name), _LONGEST_LABEL, LABEL_SIZE) + strand


def _pack(extents: Sequence[_Extent]) -> list[Placed] | None:
    """The lane of each: the first in which it touches no other. None where there would be too many."""
    ends: list[float] = []
    lanes = [0] * len(extents)
    for i in sorted(range(len(extents)), key=lambda i: extents[i][0]):
        left, right, *_ = extents[i]
        lanes[i] = next((number for number, end in enumerate(ends) if end + _APART <= left), len(ends))
        ends[lanes[i] :] = [right, *ends[lanes[i] + 1 :]]
    if len(ends) > MOST_LANES:
        return None
    return [Placed(lane, label, at) for lane, (_, _, label, at) in zip(lanes, extents, strict=True)]


def _pentagon(sheet: Sheet, start: int, end: int, strand: Strand, rows: tuple[float, float]) -> Line:
    """The corners of a box whose end on its strand is a point."""
    top, foot = rows
    if strand == ".":
        return _rectangle(start, end, top, foot)
    reach = min((foot - top) / 2 * sheet.interval.width / sheet.width, (end - start) / 2)
    tip, back, neck = (end, start, end - reach) if strand == "+" else (start, end, start + reach)
    return [(back, top), (neck, top), (tip, (top + foot) / 2), (neck, foot), (back, foot)]


def _rectangle(start: float, end: float, top: float, foot: float) -> Line:
    return [(start, top), (end, top), (end, foot), (start, foot)]


def _chevrons(sheet: Sheet, spans: Sequence[tuple[int, int]], strand: Strand, middle: float) -> list[Line]:
    """Small arrow heads every few mm of what is in view."""
    arm = {"+": 0.45, "-": -0.45, ".": 0.0}[strand]
    found: list[Line] = []
    for start, end in spans if arm else ():
        left, right = sheet.mm(start, end)
        n = int((right - left) // 4) or (1 if right - left > 2 else 0)
        for at in left + (right - left) * (np.arange(n) + 0.5) / max(n, 1):
            tip, back = sheet.position(at + arm / 2), sheet.position(at - arm / 2)
            found.append([(back, middle - abs(arm)), (tip, middle), (back, middle + abs(arm))])
    return found


def _add_steps(axes: Axes, columns: Columns, heights: FloatArray, **style: Any) -> None:
    """A step for each column, with gaps at NaN; its limits are the panel's, so that `axes.stairs` need not look."""
    from matplotlib.patches import StepPatch

    axes.add_artist(StepPatch(heights, columns.edges, **{"fill": False, "zorder": 1, **style}))


def _add_polygons(axes: Axes, polygons: Sequence[Line], **style: Any) -> None:
    """One artist for all of them: a chromosome may have 100,000."""
    from matplotlib.collections import PolyCollection

    if polygons:
        axes.add_collection(PolyCollection(polygons, joinstyle="miter", **style), autolim=False)


def _add_lines(axes: Axes, lines: Sequence[Line], **style: Any) -> None:
    from matplotlib.collections import LineCollection

    if lines:
        axes.add_collection(
            LineCollection(lines, capstyle="butt", joinstyle="miter", zorder=1, **style), autolim=False
        )
