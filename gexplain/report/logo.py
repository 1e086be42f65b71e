"""Sequence logos as SVG: relevance as signed letters, a motif as its information, a whole region as bars.

A logo's letters are `<use>`s of the outlines in `glyph_definitions`, which a page holds once. What is drawn can be
read back: the `<g>` of the letters says in data-unit how many pixels are one unit, and the vertical scale of a
letter, divided by it, is its value.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gexplain.arrays import FloatArray, IntArray
from gexplain.report.locus_panel import LEFT, Box, draw, lay_out
from gexplain.report.svg import (
    BLUE,
    GREEN,
    MUTED,
    ORANGE,
    VERMILLION,
    escape,
    line,
    picture,
    px,
    rect,
    text,
    value_axis,
)

__all__ = ["LETTER_COLORS", "Box", "glyph_definitions", "information_logo", "overview", "relevance_logo"]

LETTER_COLORS = {"A": GREEN, "C": BLUE, "G": ORANGE, "T": VERMILLION, "N": "#808080"}
"""N stands for every letter that is none of A, C, G, T."""

_MARKED = "#fdf0c8"
_STRIP_HEIGHT = 13
_LEAST_STRIP = 6  # pixels a letter: in a narrower strip nobody can read
_BAR_WIDTH = 2  # pixels, where there are more bases than that


def glyph_definitions() -> str:
    """The outlines of the letters, in a hidden `<svg>`: once a page, before its logos.

    Each fills the box from (0, 0) to (1, -1), its foot at 0: scaled by (width, height), it stands on the axis, and by
    a negative height it hangs upside down. They are those of DejaVu Sans Bold (https://dejavu-fonts.github.io).
    """
    glyphs = "".join(
        f'<path id="glyph-{letter}" fill="{color}" d="{_outline(letter)}"/>'
        for letter, color in LETTER_COLORS.items()
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="0" height="0" display="none" aria-hidden="true">'
        f"<defs>{glyphs}</defs></svg>"
    )


def relevance_logo(
    sequence: str,
    values: FloatArray,
    *,
    chrom: str,
    start: int,
    boxes: Sequence[Box] = (),
    height: float = 110,
    letter_width: float = 9,
    y_range: tuple[float, float] | None = None,
    title: str = "",
) -> str:
    """The letters of a sequence as an `<svg>`, each as high as its value; negative ones hang upside down.

    values: (n,), NaN where there is a gap; rounded to float32, as bigWigs hold them. start: 0-based position of the
    first letter. boxes: frames; those outside are left out, and those that reach out are cut. height: of the letters'
    panel alone, in pixels; letter_width too. y_range: values at its foot and top; by default those of the values, and
    always with 0. Below lies the sequence in small letters. Every letter that has a value carries its 0-based
    position as data-position.

    Raises ValueError for a sequence of another length or of none, for infinities, and for values outside y_range.
    """
    if len(sequence) != len(values):
        raise ValueError(f"{len(sequence):,} letters and {len(values):,} values; expected as many")
    panel = lay_out(values, (chrom, start), (letter_width, height), y_range=y_range, boxes=boxes, title=title)
    unit = f"{panel.unit:.12g}"
    known = np.flatnonzero(~np.isnan(panel.values))
    scales = panel.values[known].astype(np.float64) * float(unit)
    letters = _drawn_letters(sequence)
    content = [f'<g transform="translate({LEFT} {px(panel.axis)})" data-unit="{unit}">']
    content += [
        _letter(letters[index], index, ((index + 0.03) * letter_width, 0), (0.94 * letter_width, scale), start)
        for index, scale in zip(known.tolist(), scales.tolist(), strict=True)
    ]
    content.append("</g>")
    has_strip = letter_width >= _LEAST_STRIP
    if has_strip:
        content.append(_strip(sequence, letter_width, panel.foot))
    return draw(panel, content, what="relevance of each base of", below=_STRIP_HEIGHT if has_strip else 0)


def overview(
    values: FloatArray,
    *,
    chrom: str,
    start: int,
    span: tuple[int, int] | None = None,
    boxes: Sequence[Box] = (),
    width: float = 960,
    height: float = 90,
    y_range: tuple[float, float] | None = None,
    title: str = "",
) -> str:
    """A whole region's values as an `<svg>` of bars: the mean of each column's bases, and, paler, their extremes.

    values: (n,), NaN where there is a gap. start: 0-based position of the first. span: a stretch that is marked,
    0-based, half-open. boxes, y_range: as of `relevance_logo`. width, height: of the panel alone, in pixels.

    Raises ValueError for no values, for infinities, and for values outside y_range.
    """
    n = len(values)
    panel = lay_out(values, (chrom, start), (width / max(n, 1), height), y_range=y_range, boxes=boxes, title=title)
    behind, content = [], []
    if span is not None and panel.x(span[0]) < panel.x(span[1]):
        marked = f'fill-opacity="0.8" data-start="{span[0]}" data-end="{span[1]}"'
        left, right = panel.x(span[0]), panel.x(span[1])
        behind.append(rect(left, panel.top, right - left, height, fill=_MARKED, more=marked))
    edges = np.unique(np.linspace(0, n, min(n, int(width // _BAR_WIDTH)) + 1).round().astype(np.int64))
    mean, least, most = _columns(panel.values, edges)
    for heights, color, is_pale in (
        (np.maximum(most, 0), BLUE, True),
        (np.minimum(least, 0), VERMILLION, True),
        (np.maximum(mean, 0), BLUE, False),
        (np.minimum(mean, 0), VERMILLION, False),
    ):
        bars = _bars(edges * panel.base_width, heights * panel.unit)
        if bars:
            pale = ' fill-opacity="0.35"' if is_pale else ""
            content.append(f'<path transform="translate({LEFT} {px(panel.axis)})" fill="{color}"{pale} d="{bars}"/>')
    return draw(panel, content, what="relevance along", behind=behind)


def information_logo(
    probabilities: FloatArray, *, height: float = 90, letter_width: float = 18, title: str = ""
) -> str:
    """A motif as an `<svg>` logo: each column as high as its information in bits, each letter its share of it.

    probabilities: (width, 4), columns A, C, G, T, as of a `Motif`; against a uniform background, without a correction
    for few sites (Schneider & Stephens 1990, doi:10.1093/nar/18.20.6097). The likeliest letter is on top.

    Raises ValueError where a row is no distribution.
    """
    rows = np.asarray(probabilities, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != 4 or not len(rows):
        raise ValueError(f"probabilities of shape {rows.shape}, expected (width, 4)")
    if not (np.isfinite(rows).all() and (rows >= 0).all() and (rows.sum(1) > 0).all()):
        raise ValueError("probabilities that are negative, not finite, or all zero in a row")
    heights = letter_information(rows)
    unit = f"{height / 2:.12g}"
    top = 20 if title else 8
    foot = top + height
    width = len(rows) * letter_width
    left = 38
    parts = [text(left, 13, title, more='font-weight="600"')] if title else []
    parts.append(f'<g transform="translate({left} {px(foot)})" data-unit="{unit}">')
    order = np.argsort(heights, axis=1, kind="stable")
    feet = np.take_along_axis(heights, order, 1).cumsum(1) - np.take_along_axis(heights, order, 1)
    for position, rank in zip(*np.nonzero(np.take_along_axis(heights, order, 1) > 0), strict=True):
        base = order[position, rank]
        foot_px, scale = -feet[position, rank] * float(unit), heights[position, base] * float(unit)
        x = (position + 0.03) * letter_width
        parts.append(_letter("ACGT"[base], int(position), (x, foot_px), (0.94 * letter_width, scale)))
    parts.append("</g>")
    parts.append(line(left, foot, left + width, foot, width=0.75))
    parts += value_axis(left, top, height, (0, 2), label="bits", most=3)
    parts += [
        text(left + (i + 0.5) * letter_width, foot + 13, str(i + 1), anchor="middle", fill=MUTED)
        for i in range(len(rows))
        if i == 0 or (i + 1) % (5 if letter_width < 16 else 1) == 0
    ]
    return picture(left + width + 8, foot + 20, parts, label=title or "sequence logo")


def letter_information(probabilities: FloatArray) -> FloatArray:
    """The height of each letter of a motif in bits, (width, 4): its probability times its column's information."""
    rows = probabilities / probabilities.sum(1, keepdims=True)
    # What never occurs adds nothing to the entropy.
    entropy = -(rows * np.log2(np.where(rows > 0, rows, 1))).sum(1, keepdims=True)
    return np.asarray(rows * np.maximum(2 - entropy, 0))


# ---- Parts ----


def _letter(letter: str, index: int, foot: tuple[float, float], scale: tuple[float, float], start: int = 0) -> str:
    """A letter with its foot at a point, scaled to a width and a height."""
    move = f"translate({px(foot[0])} {px(foot[1])}) scale({px(scale[0])} {scale[1]:.9g})"
    return f'<use href="#glyph-{letter}" data-position="{start + index}" transform="{move}"/>'


def _strip(sequence: str, letter_width: float, foot: float) -> str:
    """The sequence in letters of one size, so that bases of little relevance can be read too."""
    x = " ".join(px(LEFT + (index + 0.5) * letter_width) for index in range(len(sequence)))
    font = (
        f'font-family="ui-monospace, \'DejaVu Sans Mono\', monospace" font-size="{px(min(9.5, letter_width * 1.1))}"'
    )
    return f'<text x="{x}" y="{px(foot + 10)}" text-anchor="middle" fill="{MUTED}" {font}>{escape(sequence)}</text>'


def _drawn_letters(sequence: str) -> str:
    return "".join(letter if letter in "ACGT" else "N" for letter in sequence.upper())


def _columns(values: FloatArray, edges: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean, least and most of the values between edges (m + 1,), each (m,); 0 where there is none."""
    is_known = ~np.isnan(values)
    exact = np.where(is_known, values, 0).astype(np.float64)
    counts = np.add.reduceat(is_known, edges[:-1], dtype=np.int64)
    mean = np.add.reduceat(exact, edges[:-1]) / np.maximum(counts, 1)
    # Bars start from 0, so that a gap's 0 hides no extreme.
    return mean, np.minimum.reduceat(exact, edges[:-1]), np.maximum.reduceat(exact, edges[:-1])


def _bars(edges: FloatArray, heights: FloatArray) -> str:
    """An outline around bars from the axis, in pixels: edges (m + 1,), heights (m,) upwards."""
    heights = np.round(heights, 1)
    is_new = np.concatenate([[True], heights[1:] != heights[:-1]])
    if not heights.any():
        return ""
    steps = "".join(f"H{px(x)}V{px(-y)}" for x, y in zip(edges[:-1][is_new], heights[is_new], strict=True))
    return f"M{px(edges[0])} 0{steps}H{px(edges[-1])}V0z"


def _outline(letter: str) -> str:
    """The outline of a letter as path data, in the unit box above the axis."""
    import matplotlib
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"
    path = TextPath((0, 0), letter, size=100, prop=FontProperties(fname=str(font)))
    box = path.get_extents()
    parts = []
    for points, code in path.iter_segments(simplify=False, curves=True):
        scaled = (points.reshape(-1, 2) - (box.x0, box.y0)) / (box.width, box.height) * (1, -1)
        numbers = " ".join(f"{number:.4f}".rstrip("0").rstrip(".") for number in scaled.ravel())
        parts.append("z" if code == path.CLOSEPOLY else _PATH_COMMANDS[int(code)] + numbers)
    return "".join(parts)


_PATH_COMMANDS = {1: "M", 2: "L", 3: "Q", 4: "C"}  # matplotlib's codes
