"""Panels: a rectangle of a hand-drawn picture with values at its ends, and the marks that are put into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gexplain.report.svg import AXIS, GRID, MUTED, escape, line, px, text


@dataclass(frozen=True, slots=True)
class Panel:
    """A rectangle of a picture, in pixels, and the values at its ends."""

    left: float
    top: float
    width: float
    height: float
    x_range: tuple[float, float]
    y_range: tuple[float, float] = (0.0, 1.0)

    def x(self, value: float) -> float:
        """Where a value lies across, in pixels."""
        low, high = self.x_range
        return self.left + self.width * (value - low) / (high - low)

    def y(self, value: float) -> float:
        """Where a value lies down, in pixels; the highest is at the top."""
        low, high = self.y_range
        return self.top + self.height * (high - value) / (high - low)

    def x_axis(self, label: str, ticks: Sequence[tuple[float, str]]) -> list[str]:
        """The axis below, with lines upwards at its ticks."""
        bottom = self.top + self.height
        parts = []
        for value, written in ticks:
            parts.append(line(self.x(value), self.top, self.x(value), bottom, stroke=GRID))
            parts.append(text(self.x(value), bottom + 15, written, anchor="middle", fill=MUTED))
        parts.append(line(self.left, bottom, self.left + self.width, bottom, stroke=AXIS))
        parts.append(text(self.left + self.width / 2, bottom + 32, label, anchor="middle", fill=MUTED))
        return parts


def dot(
    x: float, y: float, radius: float, fill: str, value: float | None = None, more: str = "", title: str = ""
) -> str:
    """A circle. value: what it marks, kept as data-value and told under the pointer. more: further attributes."""
    at = f'cx="{px(x)}" cy="{px(y)}" r="{px(radius)}" fill="{fill}"'
    return f"<circle {at}{_data(value)}{' ' if more else ''}{more}>{_title(value, title)}</circle>"


def diamond(x: float, y: float, fill: str, value: float | None = None) -> str:
    """A square on its tip; value as for `dot`."""
    corners = points([(x, y - 6), (x + 6, y), (x, y + 6), (x - 6, y)])
    return f'<polygon points="{corners}" fill="{fill}"{_data(value)}>{_title(value)}</polygon>'


def _data(value: float | None) -> str:
    return "" if value is None else f' data-value="{value!r}"'


def _title(value: float | None, more: str = "") -> str:
    if value is None:
        return ""
    written = f"{value:.3g}".replace("-", "−")
    return f"<title>{written}{', ' if more else ''}{escape(more)}</title>"


def points(places: Sequence[tuple[float, float]]) -> str:
    """Places as the attribute `points` of a line or polygon has them."""
    return " ".join(f"{px(x)},{px(y)}" for x, y in places)
