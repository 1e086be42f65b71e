"""Profiles: what many regions have in common around their centres, in memory that does not grow with their number.

Regions are added one at a time. Kept of each group of them is a running mean and variance (Welford 1962,
doi:10.1080/00401706.1962.10490022), and a heat map whose rows are regions until there are too many: then neighbours
in the order are taken together, at most about 1/200 of the regions a row, as a t-digest does with numbers (Dunning &
Ertl 2019, arXiv:1902.04023, with a scale that is the same everywhere).
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np

from gexplain.arrays import FloatArray, IntArray
from gexplain.errors import count
from gexplain.report.figure import Figure
from gexplain.report.svg import (
    BLUE,
    GRID,
    MUTED,
    color_index,
    diverging_colors,
    frame,
    image,
    line,
    nice_ticks,
    picture,
    png_uri,
    px,
    text,
    text_width,
    upright,
    value_axis,
)

MOST_COLUMNS = 215
"""Of a profile: where it reaches further than 107 bases, neighbouring bases are averaged."""
MOST_ROWS = 200
"""Of a heat map."""

_SATURATED = 0.99  # quantile of the heat maps' absolute values where the colours end

_LEFT, _RIGHT, _WIDTH = 62, 74, 460
_TOP, _MEAN_HEIGHT, _BETWEEN, _FOOT = 8, 100, 14, 38
_MAP_HEIGHT, _LEAST_SCALE, _MOST_SCALE = 240, 44, 110
_FEW_ROWS = 30  # in a heat map of no more, rows are no higher than 8 pixels

Mean: TypeAlias = tuple[FloatArray, FloatArray, IntArray]
"""Mean, standard error and number of regions, (n_columns,) each."""
HeatMap: TypeAlias = tuple[FloatArray, FloatArray, IntArray]
"""Rows (n_rows, n_columns), and their mean order and number of regions, (n_rows,) each."""


class Profiles:
    """Profiles around the centres of regions, a group each: a track, say, or a class.

    reach: bases to either side of the centre. value, order: what the values and the order of the rows are, in words.
    """

    def __init__(self, reach: int, *, value: str = "relevance", order: str = "predicted probability") -> None:
        if reach < 0:
            raise ValueError(f"reach {reach}; expected at least 0")
        self.reach = reach
        self.bin_width = _bin_width(reach)
        self._value, self._order = value, order
        self._groups: dict[str, _Group] = {}

    @property
    def offsets(self) -> IntArray:
        """The middle of each column (n_columns,), in bases from the centre."""
        side = _columns_a_side(self.reach, self.bin_width)
        return np.arange(-side, side + 1) * self.bin_width

    def add(
        self, group: str, values: FloatArray, centre_index: int, *, strand: str = ".", order: float = 0.0
    ) -> None:
        """Add a region's values (n,), NaN where there is a gap; those beyond reach are left out.

        centre_index: which of them is the centre, perhaps none of them. strand: with "-", they are turned around the
        centre. order: rows of the heat map are in this order, the highest on top; equal ones as they came.

        Raises ValueError for infinities and for an order that is not finite.
        """
        if np.isinf(values).any() or not math.isfinite(order):
            raise ValueError(f"infinite values, or order {order}; expected numbers, and NaN for a gap")
        row = np.full(2 * self.reach + 1, np.nan)
        first = centre_index - self.reach  # of the values, where the row begins
        low, high = max(first, 0), min(first + len(row), len(values))
        if low < high:
            row[low - first : high - first] = values[low:high]
        if strand == "-":
            row = row[::-1]
        if group not in self._groups:
            self._groups[group] = _Group(len(self.offsets))
        self._groups[group].add(self._binned(row), order)

    def mean(self, group: str) -> Mean:
        """Of each column: the mean over the group's regions, its standard error, and how many have a value there.

        Each (n_columns,). The mean is NaN where there is no region, the standard error where there are less than two.
        """
        one = self._groups[group]
        with np.errstate(invalid="ignore", divide="ignore"):
            error = np.sqrt(one.squares / (one.counts - 1) / one.counts)
        return np.where(one.counts > 0, one.mean, np.nan), np.where(one.counts > 1, error, np.nan), one.counts.copy()

    def heat_map(self, group: str) -> HeatMap:
        """Rows (n_rows, n_columns) in order, the highest first: their means, their mean order and how many regions
        each of them holds, both (n_rows,). At most MOST_ROWS rows; a region each while there are no more.
        """
        return self._groups[group].rows()

    def figures(self) -> list[Figure]:
        """A figure for each group, in the order in which they came: mean profile and heat map, on shared scales."""
        if not self._groups:
            return []
        maps = {name: group.rows() for name, group in self._groups.items()}
        means = {name: self.mean(name) for name in self._groups}
        limit = _limit([rows for rows, _, _ in maps.values()])
        y_range = _y_range([(mean, np.nan_to_num(error)) for mean, error, _ in means.values()])
        return [
            Figure(
                name,
                self._draw(name, means[name], maps[name], limit, y_range),
                self._caption(name, maps[name], limit),
            )
            for name in self._groups
        ]

    def _binned(self, row: FloatArray) -> FloatArray:
        """Means of the bases of each column (n_columns,), from those of all bases (2 reach + 1,)."""
        if self.bin_width == 1:
            return row
        n_columns = len(self.offsets)
        padded = np.full(n_columns * self.bin_width, np.nan)
        margin = (len(padded) - len(row)) // 2
        padded[margin : margin + len(row)] = row
        table = padded.reshape(n_columns, self.bin_width)
        is_known = ~np.isnan(table)
        n_known = is_known.sum(1)
        means = np.where(is_known, table, 0).sum(1) / np.maximum(n_known, 1)
        return np.where(n_known > 0, means, np.nan)

    # ---- Drawing ----

    def _draw(self, name: str, mean: Mean, heat: HeatMap, limit: float, y_range: tuple[float, float]) -> str:
        n = int(heat[2].sum())
        rows = _stretched(heat[0], heat[2])
        # Whole pixels for each row and column, as far as they fit.
        width = len(self.offsets) * max(1, _WIDTH // len(self.offsets))
        height = len(rows) * max(1, _MAP_HEIGHT // len(rows)) if len(rows) > _FEW_ROWS else 8 * len(rows)
        top = _TOP + _MEAN_HEIGHT + _BETWEEN
        foot = top + height
        scale_height = min(max(height, _LEAST_SCALE), _MOST_SCALE)
        uri = png_uri(color_index(rows, limit), diverging_colors())
        parts = [
            line(_LEFT + width / 2, _TOP, _LEFT + width / 2, _TOP + _MEAN_HEIGHT, stroke=GRID),
            *_draw_mean(mean[0], mean[1], width, y_range),
            *value_axis(_LEFT, _TOP, _MEAN_HEIGHT, y_range, label=f"mean {self._value}"),
            image(_LEFT, top, width, height, uri),
            frame(_LEFT, top, width, height),
            *_draw_scale(_LEFT + width + 14, top, scale_height, limit),
            *self._draw_offsets(width, foot),
        ]
        first, last = (f"{order:.2g}".replace("-", "−") for order in (heat[1][0], heat[1][-1]))
        parts.append(text(_LEFT - 6, top + 9, first, anchor="end", fill=MUTED))
        if height > 24:
            parts.append(text(_LEFT - 6, foot - 1, last, anchor="end", fill=MUTED))
        if height > text_width(f"by {self._order}") + 20:
            parts.append(upright(_LEFT - 34, top + height / 2, f"by {self._order}"))
        label = f"{name}: mean {self._value} and heat map of {count(n, 'region')} around their centres"
        return picture(_LEFT + width + _RIGHT, max(foot, top + scale_height - 20) + _FOOT, parts, label=label)

    def _draw_offsets(self, width: float, foot: float) -> list[str]:
        """Ticks in bases from the centre, and what they are."""
        scale = width / (len(self.offsets) * self.bin_width)
        parts = []
        for value, written in nice_ticks(-self.reach, self.reach, 9) if self.reach else [(0.0, "0")]:
            x = _LEFT + width / 2 + value * scale
            if value == int(value):
                parts += [line(x, foot, x, foot + 4), text(x, foot + 16, written, anchor="middle", fill=MUTED)]
        label = "bases from the centre of the region"
        return [*parts, text(_LEFT + width / 2, foot + 31, label, anchor="middle", fill=MUTED)]

    def _caption(self, name: str, heat: HeatMap, limit: float) -> str:
        rows, _, weights = heat
        n = int(weights.sum())
        sentences = [
            f"Above: mean {self._value} of {name} at each position, of {count(n, 'region')}"
            + ("; the band is its standard error." if n > 1 else ".")
        ]
        if n > len(rows):
            sentences.append(
                f"Below: the regions by {self._order}, the highest on top; a row is the mean of about"
                f" {round(n / len(rows)):,} that are neighbours in it."
            )
        else:
            sentences.append(f"Below: a row for each region, by {self._order}, the highest on top.")
        if self.bin_width > 1:
            sentences.append(f"A column is the mean of {self.bin_width} bases.")
        sentences.append(
            "Blue is positive, vermillion negative, white zero. All groups have the same scales; the colours end at"
            f" ±{limit:.2g}."
        )
        if np.isnan(rows).any():
            sentences.append("Grey has no value.")
        return " ".join(sentences)


class _Group:
    """Running mean and variance of each column, and the rows of a heat map: some in order, the newest not yet."""

    def __init__(self, n_columns: int) -> None:
        self.counts = np.zeros(n_columns, dtype=np.int64)
        self.mean = np.zeros(n_columns)
        self.squares = np.zeros(n_columns)  # summed squares of deviations from the mean
        self._n_rows = 0
        # Twice the rows that are kept, so that they are merged only now and then.
        self._sums = np.zeros((2 * MOST_ROWS, n_columns))
        self._known = np.zeros((2 * MOST_ROWS, n_columns), dtype=np.int64)
        self._weights = np.zeros(2 * MOST_ROWS, dtype=np.int64)
        self._orders = np.zeros(2 * MOST_ROWS)

    def add(self, row: FloatArray, order: float) -> None:
        is_known = ~np.isnan(row)
        self.counts += is_known
        change = np.where(is_known, row - self.mean, 0)
        self.mean += change / np.maximum(self.counts, 1)
        self.squares += np.where(is_known, change * (row - self.mean), 0)
        if self._n_rows == len(self._weights):
            self._merge()
        self._sums[self._n_rows] = np.where(is_known, row, 0)
        self._known[self._n_rows] = is_known
        self._weights[self._n_rows] = 1
        self._orders[self._n_rows] = order
        self._n_rows += 1

    def rows(self) -> HeatMap:
        self._merge()
        n = self._n_rows
        known = self._known[:n]
        means = np.where(known > 0, self._sums[:n] / np.maximum(known, 1), np.nan)
        return means, self._orders[:n].copy(), self._weights[:n].copy()

    def _merge(self) -> None:
        """Put the rows in order, and where they are too many, take neighbours together."""
        n = self._n_rows
        ranks = np.argsort(-self._orders[:n], kind="stable")
        weights = self._weights[ranks]
        first = np.arange(n) if n <= MOST_ROWS else _first_of_each(weights)
        merged = np.add.reduceat(weights, first)
        self._orders[: len(first)] = np.add.reduceat(self._orders[ranks] * weights, first) / merged
        self._sums[: len(first)] = np.add.reduceat(self._sums[ranks], first)
        self._known[: len(first)] = np.add.reduceat(self._known[ranks], first)
        self._weights[: len(first)] = merged
        self._n_rows = len(first)


def _first_of_each(weights: IntArray) -> IntArray:
    """Where each of at most MOST_ROWS groups of neighbours begins, of rows with these weights (n,)."""
    before = np.cumsum(weights) - weights
    # A row belongs to the bin in which its middle lies: of all regions, a bin holds 1 / MOST_ROWS.
    bins = (2 * before + weights) * MOST_ROWS // (2 * int(weights.sum()))
    return np.flatnonzero(np.diff(bins, prepend=-1))


def _bin_width(reach: int) -> int:
    """The least odd number of bases a column, so that the middle column lies evenly around the centre."""
    return next(
        width for width in range(1, 2 * reach + 3, 2) if 2 * _columns_a_side(reach, width) + 1 <= MOST_COLUMNS
    )


def _columns_a_side(reach: int, width: int) -> int:
    return -(-max(reach - width // 2, 0) // width)


def _stretched(rows: FloatArray, weights: IntArray) -> FloatArray:
    """The rows, each as often as its share of the regions asks for, MOST_ROWS in all where there are more regions."""
    n = int(weights.sum())
    if n <= MOST_ROWS:
        return rows
    middles = (np.arange(MOST_ROWS) + 0.5) * n / MOST_ROWS
    stretched: FloatArray = rows[np.searchsorted(np.cumsum(weights), middles, side="right")]
    return stretched


def _limit(maps: list[FloatArray]) -> float:
    """The value where the colours of heat maps end."""
    values = np.abs(np.concatenate([rows[~np.isnan(rows)] for rows in maps]))
    limit = float(np.quantile(values, _SATURATED)) if len(values) else 0.0
    return limit or float(values.max(initial=0.0)) or 1.0


def _y_range(means: list[tuple[FloatArray, FloatArray]]) -> tuple[float, float]:
    low = min([0.0, *(float(np.nanmin(mean - error)) for mean, error in means if not np.isnan(mean).all())])
    high = max([0.0, *(float(np.nanmax(mean + error)) for mean, error in means if not np.isnan(mean).all())])
    return (low, high) if high - low > 1e-30 else (0.0, 1.0)


def _runs(is_known: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> list[tuple[int, int]]:
    padded = np.concatenate([[False], is_known, [False]])
    return [(first, last) for first, last in np.flatnonzero(padded[1:] != padded[:-1]).reshape(-1, 2).tolist()]


def _points(x: FloatArray, y: FloatArray) -> str:
    return "L".join(f"{px(one)} {px(other)}" for one, other in zip(x.tolist(), y.tolist(), strict=True))


def _draw_mean(mean: FloatArray, error: FloatArray, width: float, y_range: tuple[float, float]) -> list[str]:
    """A line, and a band of the standard error around it; broken where there is no value."""
    low, high = y_range
    column = width / len(mean)
    x = _LEFT + (np.arange(len(mean)) + 0.5) * column

    def y(values: FloatArray) -> FloatArray:
        return np.asarray(_TOP + _MEAN_HEIGHT * (high - values) / (high - low))

    zero = float(y(np.zeros(1))[0])
    parts = [line(_LEFT, zero, _LEFT + width, zero, width=0.75)]
    for first, last in _runs(~np.isnan(mean)):
        centre, spread, along = mean[first:last], np.nan_to_num(error[first:last]), x[first:last]
        if last - first == 1:  # one column alone is a dash as wide as it
            centre, spread = np.repeat(centre, 2), np.repeat(spread, 2)
            along = along[0] + np.array([-0.5, 0.5]) * column
        outline = np.concatenate([centre + spread, (centre - spread)[::-1]])
        band = _points(np.concatenate([along, along[::-1]]), y(outline))
        parts.append(f'<path d="M{band}z" fill="{BLUE}" fill-opacity="0.22"/>')
        curve = f'd="M{_points(along, y(centre))}" fill="none" stroke="{BLUE}" stroke-width="1.5"'
        parts.append(f'<path {curve} stroke-linejoin="round"/>')
    return parts


def _draw_scale(x: float, top: float, height: float, limit: float) -> list[str]:
    """The colours and what they mean, to the right of a heat map."""
    colors = np.arange(255, 0, -1, dtype=np.uint8)[:, None]
    parts = [image(x, top, 10, height, png_uri(colors, diverging_colors())), frame(x, top, 10, height)]
    marks = (
        (top + 9, f"+{limit:.2g}"),
        (top + height / 2 + 4, "0"),
        (top + height - 1, f"−{limit:.2g}"),
    )
    return [*parts, *(text(x + 15, y, written, fill=MUTED) for y, written in marks)]
