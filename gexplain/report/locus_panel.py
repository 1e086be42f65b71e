"""The panel of a picture along a chromosome: its scales, its axes, and frames around bases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gexplain.arrays import FloatArray
from gexplain.genome.intervals import Interval, Strand, format_region
from gexplain.report.svg import (
    AXIS,
    FONT_PX,
    GAP,
    MUTED,
    escape,
    line,
    nice_step,
    picture,
    px,
    rect,
    shortened,
    text,
    text_width,
    value_axis,
)

LEFT = 58
"""Room for the axis of values, in pixels."""

_TITLE_HEIGHT, _AXIS_HEIGHT, _LANE_HEIGHT = 20, 36, 15
_BOX_INK = "#444444"
_LONGEST_LABEL = 40
_LEAST_SPAN = 1e-30  # of an axis of values: what is smaller is drawn as zero


@dataclass(frozen=True, slots=True)
class Box:
    """A frame around bases, such as a motif hit. start, end: 0-based, half-open, on the panel's chromosome."""

    start: int
    end: int
    label: str
    strand: Strand = "."


@dataclass(frozen=True, slots=True, eq=False)
class LocusPanel:
    """Where values (n,) of [start, start + n) are drawn: bases from LEFT to the right, values from foot to top.

    values: float32, what a bigWig holds; NaN is a gap. y_range: those at the foot and at the top, with 0 between.
    lanes: the boxes in view, and how many others each lies above.
    """

    values: FloatArray
    chrom: str
    start: int
    base_width: float
    top: float
    height: float
    y_range: tuple[float, float]
    lanes: Sequence[tuple[Box, int]]
    title: str

    @property
    def n(self) -> int:
        """Bases."""
        return len(self.values)

    @property
    def width(self) -> float:
        """In pixels."""
        return self.n * self.base_width

    @property
    def foot(self) -> float:
        """Where the panel ends, in pixels from above."""
        return self.top + self.height

    @property
    def unit(self) -> float:
        """Pixels that one unit of the values is high."""
        return self.height / (self.y_range[1] - self.y_range[0])

    @property
    def axis(self) -> float:
        """Where 0 is, in pixels from above."""
        return self.top + self.y_range[1] * self.unit

    def x(self, position: float) -> float:
        """Where a position of the chromosome begins, in pixels; of those outside, the panel's end."""
        return LEFT + min(max(position - self.start, 0), self.n) * self.base_width


def lay_out(
    values: FloatArray,
    place: tuple[str, int],
    size: tuple[float, float],
    *,
    y_range: tuple[float, float] | None = None,
    boxes: Sequence[Box] = (),
    title: str = "",
) -> LocusPanel:
    """The panel of values (n,), NaN where there is a gap, with room above it for a title and for the boxes' labels.

    place: chromosome, and the 0-based position of the first value. size: of a base's width and the panel's height, in
    pixels. y_range: by default from the least to the greatest value, and always with 0. Boxes outside are left out.

    Raises ValueError for no values, infinities, and values outside y_range.
    """
    chrom, start = place
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
        values = np.asarray(values, dtype=np.float32)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"values of shape {values.shape}, expected (n,) with at least one")
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        raise ValueError(f"an infinite value at {chrom}:{start + int(infinite[0]) + 1:,}; expected numbers, or NaN")
    lanes = _lanes(boxes, start, len(values), size[0])
    top = (_TITLE_HEIGHT if title else 6) + _LANE_HEIGHT * (1 + max((lane for _, lane in lanes), default=-1))
    return LocusPanel(values, chrom, start, size[0], top, size[1], _range(values, y_range), lanes, title)


def draw(
    panel: LocusPanel, content: Sequence[str], *, what: str, behind: Sequence[str] = (), below: float = 0
) -> str:
    """The whole `<svg>`: title and gaps, what is behind the frames, the frames, the content, and the axes.

    what: what is seen of the place, in words. below: room between the panel and the positions, in pixels.
    """
    title = [text(LEFT, 13, panel.title, more='font-weight="600"')] if panel.title else []
    zero = line(LEFT, panel.axis, LEFT + panel.width, panel.axis, width=0.75)
    axes = value_axis(LEFT, panel.top, panel.height, panel.y_range, label="relevance")
    foot = panel.foot + below
    parts = [*title, *_gaps(panel), *behind, *_boxes(panel), zero, *content, *axes, *_position_axis(panel, foot)]
    place = format_region(Interval(panel.chrom, panel.start, panel.start + panel.n))
    label = f"{panel.title + ': ' if panel.title else ''}{what} {place}"
    widest = max(panel.width, text_width(_position_label(panel)), text_width(panel.title))
    # Half of the last position's number reaches out.
    right = max(widest, panel.width + text_width(f"{panel.start + panel.n:,}") / 2) + 4
    return picture(LEFT + right, foot + _AXIS_HEIGHT, parts, label=label)


def _range(values: FloatArray, given: tuple[float, float] | None) -> tuple[float, float]:
    known = values[~np.isnan(values)].astype(np.float64)
    low, high = float(known.min(initial=0.0)), float(known.max(initial=0.0))
    if given is not None:
        if not (math.isfinite(given[0]) and math.isfinite(given[1]) and given[0] <= 0 <= given[1]):
            raise ValueError(f"y_range {given}; expected finite values, the first up to 0 and the second from 0")
        if low < given[0] or high > given[1]:
            raise ValueError(f"values from {low:g} to {high:g} leave y_range {given}")
        low, high = given
    return (low, high) if high - low > _LEAST_SPAN else (0.0, 1.0)


def _gaps(panel: LocusPanel) -> list[str]:
    """A grey field over each run of bases without a value."""
    is_gap = np.concatenate([[False], np.isnan(panel.values), [False]])
    borders = panel.start + np.flatnonzero(is_gap[1:] != is_gap[:-1]).reshape(-1, 2)
    parts = []
    for first, last in borders.tolist():
        x, width = panel.x(first), (last - first) * panel.base_width
        parts.append(rect(x, panel.top, width, panel.height, fill=GAP, more=f'data-gap="{first}-{last}"'))
        if width > text_width("no value"):
            parts.append(text(x + width / 2, panel.top + 14, "no value", anchor="middle", fill=MUTED))
    return parts


# ---- Boxes ----


def _lanes(boxes: Sequence[Box], start: int, n: int, base_width: float) -> list[tuple[Box, int]]:
    """The boxes in view, and the lane of each, counted from the panel upwards: no label lies on another."""
    lanes: list[list[tuple[float, float]]] = []
    placed = []
    # The short ones lie below, framed by those around them.
    for box in sorted(boxes, key=lambda one: (one.end - one.start, one.start)):
        if box.end <= start or box.start >= start + n or box.end <= box.start:
            continue
        left, right = max(box.start - start, 0) * base_width, min(box.end - start, n) * base_width
        label_left, label_right = _label_place(box, left, right, n * base_width)
        left, right = min(left, label_left), max(right, label_right)
        is_free = (all(right <= one or left >= other for one, other in lane) for lane in lanes)
        lane = next((number for number, free in enumerate(is_free) if free), len(lanes))
        if lane == len(lanes):
            lanes.append([])
        lanes[lane].append((left, right))
        placed.append((box, lane))
    return placed


def _label_place(box: Box, left: float, right: float, panel_width: float) -> tuple[float, float]:
    """From where to where a box's label goes, in pixels of the panel, as left and right of the box are.

    One that would leave the panel ends with the box, unless there is no room before it either.
    """
    wanted = text_width(shortened(box.label, _LONGEST_LABEL)) + 8
    if left + wanted > panel_width and right - wanted >= 0:
        return right - wanted, right
    return left, left + wanted


def _boxes(panel: LocusPanel) -> list[str]:
    """The frames, then their labels."""
    frames, labels = [], []
    for box, lane in panel.lanes:
        left, right = panel.x(box.start), panel.x(box.end)
        bar = panel.top - lane * _LANE_HEIGHT - 3
        named = f"{box.label} ({box.strand})" if box.strand != "." else box.label
        frames += [
            f'<g data-start="{box.start}" data-end="{box.end}"><title>{escape(named)}</title>',
            rect(left, bar, right - left, panel.foot - bar, fill=AXIS, more='fill-opacity="0.1"'),
            line(left, bar, left, panel.foot, stroke=_BOX_INK, width=0.6),
            line(right, bar, right, panel.foot, stroke=_BOX_INK, width=0.6),
            line(left, bar, right, bar, stroke=_BOX_INK, width=1.5),
            _arrow_head(left, right, bar, box.strand),
            "</g>",
        ]
        x, _ = _label_place(box, left - LEFT, right - LEFT, panel.width)
        # A white rim keeps the frames of others out of the letters.
        rim = f'font-size="{FONT_PX - 1}" stroke="#ffffff" stroke-width="2.5" paint-order="stroke"'
        labels.append(text(LEFT + x, bar - 4, shortened(box.label, _LONGEST_LABEL), more=rim))
    return frames + labels


def _arrow_head(left: float, right: float, y: float, strand: Strand) -> str:
    if strand == ".":
        return ""
    reach = min(6.0, right - left)
    point, back = (right, right - reach) if strand == "+" else (left, left + reach)
    return f'<path fill="{_BOX_INK}" d="M{px(back)} {px(y - 3.5)}L{px(point)} {px(y)}L{px(back)} {px(y + 3.5)}z"/>'


# ---- Positions ----


def _position_axis(panel: LocusPanel, foot: float) -> list[str]:
    """Ticks at round positions, 1-based as people read them, below the middle of their base."""
    end = panel.start + panel.n
    parts = [line(LEFT, panel.foot, LEFT + panel.width, panel.foot)]
    step = round(max(1, nice_step(panel.n, max(1, int(panel.width // (text_width(f"{end:,}") + 16))))))
    first = -(-(panel.start + 1) // step) * step
    for position in range(first, end + 1, step) or [panel.start + 1]:
        x = panel.x(position - 0.5)
        parts.append(line(x, foot, x, foot + 4))
        parts.append(text(x, foot + 16, f"{position:,}", anchor="middle", fill=MUTED))
    label = _position_label(panel)
    # Below a panel that is narrower, the label begins where the panel does.
    x = LEFT + max(panel.width, text_width(label)) / 2
    return [*parts, text(x, foot + 31, label, anchor="middle", fill=MUTED)]


def _position_label(panel: LocusPanel) -> str:
    return f"position on {shortened(panel.chrom, _LONGEST_LABEL)}"
