"""SVG: what the pictures of a report share: escaped text, axes, colours, and images of few colours.

No picture carries an id, a style sheet or a script, so that many fit on one page and under a strict content policy.
"""

from __future__ import annotations

import base64
import math
import re
import struct
import zlib
from collections.abc import Sequence
from html import escape as escape_markup

import numpy as np
from numpy.typing import NDArray

from gexplain.arrays import FloatArray

# Okabe and Ito's, which no colour blindness confuses (https://jfly.uni-koeln.de/color/).
BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
INK, MUTED, AXIS, GRID, GAP = "#222222", "#666666", "#888888", "#e3e3e3", "#eeeeee"

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"
FONT_PX = 11

# Characters that no XML 1.0 document can hold, escaped or not.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def escape(value: str) -> str:
    """Any text, as the content or an attribute of an element holds it; what XML cannot hold becomes U+FFFD."""
    return escape_markup(_NOT_XML.sub("\ufffd", value), quote=True)


def px(length: float) -> str:
    """A length in pixels, to a hundredth."""
    written = f"{length:.2f}".rstrip("0").rstrip(".")
    return "0" if written == "-0" else written


def picture(width: float, height: float, parts: Sequence[str], *, label: str) -> str:
    """An `<svg>` element. label: what it shows, for those who do not see it."""
    size = f'width="{px(width)}" height="{px(height)}" viewBox="0 0 {px(width)} {px(height)}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(label)}"'
        f' font-family="{escape(FONT)}" font-size="{FONT_PX}" fill="{INK}">{"".join(parts)}</svg>'
    )


def text(x: float, y: float, content: str, *, anchor: str = "start", fill: str = INK, more: str = "") -> str:
    """A `<text>` whose baseline is at y. more: further attributes, written out."""
    anchored = "" if anchor == "start" else f' text-anchor="{anchor}"'
    coloured = "" if fill == INK else f' fill="{fill}"'
    return f'<text x="{px(x)}" y="{px(y)}"{anchored}{coloured}{" " if more else ""}{more}>{escape(content)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, *, stroke: str = AXIS, width: float = 1, more: str = "") -> str:
    """A straight `<line>`."""
    ends = f'x1="{px(x1)}" y1="{px(y1)}" x2="{px(x2)}" y2="{px(y2)}"'
    return f'<line {ends} stroke="{stroke}" stroke-width="{px(width)}"{" " if more else ""}{more}/>'


def rect(x: float, y: float, width: float, height: float, *, fill: str, more: str = "") -> str:
    """A filled `<rect>`."""
    box = f'x="{px(x)}" y="{px(y)}" width="{px(width)}" height="{px(height)}"'
    return f'<rect {box} fill="{fill}"{" " if more else ""}{more}/>'


def frame(x: float, y: float, width: float, height: float) -> str:
    """A thin empty `<rect>`."""
    return rect(x, y, width, height, fill="none", more=f'stroke="{AXIS}" stroke-width="0.75"')


def text_width(content: str, size: float = FONT_PX) -> float:
    """About how wide a text is, in pixels, on the safe side."""
    return sum(1.0 if ord(letter) > 0x2E7F else 0.6 for letter in content) * size


def shortened(content: str, most: int) -> str:
    """A text of at most so many characters, an ellipsis where some were left out."""
    return content if len(content) <= most else content[: most - 1] + "…"


def nice_step(span: float, most: int) -> float:
    """The least of 1, 2, 5, 10 ... (and their tenths) that divides a span into at most so many parts."""
    least = span / most
    power: float = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9))


def nice_ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """Round values in [low, high], at most so many if there is more than one, and how they are written."""
    step = nice_step(high - low, 2 * most)
    while math.floor(high / step + 1e-6) - math.ceil(low / step - 1e-6) >= most:
        step = nice_step(step * 1.5, 1)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    numbers = range(math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6) + 1)
    # Below 0.0001 and above 100,000 decimals are no help.
    plain = decimals <= 4 and max(abs(low), abs(high)) < 1e5
    return [(n * step, _signed(f"{n * step:,.{decimals}f}" if plain else f"{n * step:g}")) for n in numbers]


def value_axis(
    x: float, top: float, height: float, y_range: tuple[float, float], *, label: str, most: int | None = None
) -> list[str]:
    """An axis on the left of a panel: ticks with numbers, at most so many, and a label turned upwards."""
    low, high = y_range
    parts = [line(x, top, x, top + height)]
    widest = 0.0
    for value, written in nice_ticks(low, high, most or max(2, int(height // 18))):
        y = top + height * (high - value) / (high - low)
        parts += [line(x - 3, y, x, y), text(x - 6, y + 3.8, written, anchor="end", fill=MUTED)]
        widest = max(widest, text_width(written))
    return [*parts, upright(x - 12 - widest, top + height / 2, label)]


def upright(x: float, y: float, content: str) -> str:
    """A `<text>` that reads upwards, its middle at (x, y)."""
    return text(x, y, content, anchor="middle", fill=MUTED, more=f'transform="rotate(-90 {px(x)} {px(y)})"')


# ---- Images ----


def diverging_colors() -> NDArray[np.uint8]:
    """256 colours, (256, 3): that of no value, then 255 from the most negative, vermillion, to the most positive,
    blue. The middle one, 128, is white. Either side darkens steadily, so that it reads without colour too.
    """
    shade = np.abs(np.linspace(-1, 1, 255))[:, None]
    sides = []
    for full, darkest in ((VERMILLION, "#6B2C00"), (BLUE, "#003354")):
        white, middle, dark = (_rgb(one) for one in ("#ffffff", full, darkest))
        near, far = np.minimum(shade / 0.7, 1), np.maximum((shade - 0.7) / 0.3, 0)
        sides.append((white + (middle - white) * near) * (1 - far) + dark * far)
    colors = np.where(np.linspace(-1, 1, 255)[:, None] < 0, sides[0], sides[1])
    return np.vstack([_rgb("#d4d4d4"), colors]).round().astype(np.uint8)


def color_index(values: FloatArray, limit: float) -> NDArray[np.uint8]:
    """The numbers of the `diverging_colors` of values, those beyond +-limit at the ends; 0 for NaN."""
    known = np.nan_to_num(values, nan=0.0) / limit
    index = 128 + np.rint(127 * np.clip(known, -1, 1))
    return np.where(np.isnan(values), 0, index).astype(np.uint8)


def png_uri(pixels: NDArray[np.uint8], colors: NDArray[np.uint8]) -> str:
    """A PNG as a data: URI. pixels: (height, width) numbers of colors, (n, 3).

    The format: https://www.w3.org/TR/png-3/.
    """
    height, width = pixels.shape
    rows = np.zeros((height, width + 1), dtype=np.uint8)  # each begins with its filter, none
    rows[:, 1:] = pixels
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),  # 8 bits, a palette
        (b"PLTE", colors.tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    )
    packed = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + packed).decode()


def image(x: float, y: float, width: float, height: float, uri: str) -> str:
    """An `<image>` stretched to a box, its pixels with sharp edges."""
    box = f'x="{px(x)}" y="{px(y)}" width="{px(width)}" height="{px(height)}"'
    return f'<image {box} preserveAspectRatio="none" image-rendering="pixelated" href="{uri}"/>'


def _rgb(color: str) -> FloatArray:
    return np.array([int(color[first : first + 2], 16) for first in (1, 3, 5)], dtype=np.float64)


def _signed(number: str) -> str:
    """With a true minus sign, and no minus zero."""
    return number.lstrip("-") if float(number.replace(",", "")) == 0 else number.replace("-", "−")
