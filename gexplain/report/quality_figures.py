"""The measured quality of a run in pictures, and in sentences that say what the numbers mean for a reader.

Pictures are drawn by hand: no id, no style sheet, every mark at the place of its number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gexplain.errors import count
from gexplain.report.figure import Figure
from gexplain.report.quality_panel import Panel, diamond, dot, points
from gexplain.report.quality_results import AGREEMENTS, MISSING
from gexplain.report.svg import (
    BLUE,
    GREEN,
    GRID,
    INK,
    MUTED,
    VERMILLION,
    line,
    nice_ticks,
    picture,
    rect,
    shortened,
    text,
    text_width,
    value_axis,
)

MOST_CLASSES = 30
FEW_TOKENS = 10
"""A mean of fewer is drawn open."""

_NAMES = {AGREEMENTS[0]: "the other strand", AGREEMENTS[1]: "a shifted window"}
_READINGS = {AGREEMENTS[0]: "Strand agreement", AGREEMENTS[1]: "Shift agreement"}
_LEVELS = {"token": "tokens", "nucleotide": "bases"}
_REMOVED = {"token": "masked", "nucleotide": "substituted"}
_ORDERS = {
    "relevance": ("most relevant first", BLUE, ""),
    "random": ("random order", "#808080", "6 4"),
    "least": ("least relevant first", VERMILLION, "2 3"),
}

# A correlation of at least so much is called so.
_GRADES = ((0.9, "Very good"), (0.75, "Good"), (0.5, "Fair"), (0.25, "Weak"), (-1.0, "Poor"))
_FEW_WINDOWS = 5
_NO_TREND = 0.1  # a rank correlation up to this
_CLEAR_SHARE = 0.1  # of the curves' range: a smaller area between them is a weak effect
_WIDTH = 680.0


# ---- In words ----


def quality_sentences(quality: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(what was measured, what was found and what that means) of each part, in plain text; the verdict comes first.

    quality: as `read_quality` gives it. The text may hold names of classes, which are escaped where it is written.
    """
    sentences = [("Sample", _say_sample(quality["sample"]))]
    for part in AGREEMENTS:
        sentences.append((_READINGS[part], _missing(quality[part]) or _say_agreement(part, quality)))
    for name, part, say in (
        ("Deletion", "deletion", _say_deletion),
        ("Ambiguous bases", "ambiguous", _say_ambiguous),
        ("Token length", "token_length", _say_token_length),
    ):
        sentences.append((name, _missing(quality[part]) or say(quality[part])))
    if len(quality["by_class"]) > 1:
        sentences.append(("By class", _say_classes(quality["by_class"])))
    return sentences


def _missing(part: Mapping[str, Any]) -> str:
    return f"Not measured: {part[MISSING]}." if MISSING in part else ""


def _say_sample(sample: Mapping[str, Any]) -> str:
    few = " So few say little of the whole run." if sample["windows"] < 10 else ""
    return (
        f"Measured on {count(sample['windows'], 'window')} of {count(sample['regions'], 'region')}, {sample['how']}"
        f" (seed {sample['seed']}); explained is {sample['explained']}.{few}"
    )


def _say_agreement(part: str, quality: Mapping[str, Any]) -> str:
    found = quality[part]
    n, median, values = found["n"], found["median"], found["values"]
    grade = next(name for least, name in _GRADES if median >= least)
    again = {
        AGREEMENTS[0]: "read on the other strand",
        AGREEMENTS[1]: f"read in a window moved by {count(found.get('bases', 0), 'base')}",
    }[part]
    if n < _FEW_WINDOWS:
        each = ", ".join(map(_correlation, values))
        return f"Too few windows to judge: {again}, the relevance of {count(n, 'window')} correlates at {each}."
    shared = f"{max(0.0, median) ** 2:.0%}".replace("%", " %")
    low = sum(value < _GRADES[-2][0] for value in values)
    sentences = [
        f"{grade}: {again}, the relevance of a window correlates at a median of {_correlation(median)}, so that the"
        f" two readings have about {shared} of their variation in common; half of {n:,} windows lie between"
        f" {_correlation(found['low'])} and {_correlation(found['high'])}, {low or 'none'} below {_GRADES[-2][0]}."
    ]
    if median < _GRADES[1][0]:
        sentences.append(_MENDS[part, quality["sample"]["strand"] == "both"])
    return " ".join(sentences)


_MENDS = {
    (AGREEMENTS[0], True): "The tracks are the mean of both strands, which evens out some of it.",
    (AGREEMENTS[0], False): "The tracks are of one strand alone; the mean of both (--strand both) is steadier.",
    **dict.fromkeys(
        [(AGREEMENTS[1], True), (AGREEMENTS[1], False)],
        "So it depends on where a window happens to begin; a shorter --stride, or more --shifts, averages over that.",
    ),
}


def _say_deletion(found: Mapping[str, Any]) -> str:
    area, what, done = found["area_difference"], _LEVELS[found["level"]], _REMOVED[found["level"]]
    spread = np.ptp([found[order] for order in _ORDERS])
    share = area["mean"] / spread if spread else 0.0
    interval = "" if area["low"] is None else f"; 95 % interval {_number(area['low'])} to {_number(area['high'])}"
    way = "more" if area["mean"] >= 0 else "less"
    numbers = (
        f"with the most relevant {what} {done} first, the explained value falls {_number(abs(area['mean']))} {way}"
        f" than in random order, the mean over all shares ({count(found['n'], 'window')}{interval})"
    )
    fifth = _at_a_fifth(found)
    if area["low"] is None:
        return f"Too few windows to judge: {numbers}.{fifth}"
    if area["high"] < 0:
        grade, meaning = "Poor", "the relevance points away from what the model uses"
    elif area["low"] <= 0:
        grade, meaning = "Poor", "that may be chance: what is called relevant matters no more than any other"
    elif share < _CLEAR_SHARE:
        grade, meaning = "Weak", "the relevance finds what the model uses, if by little"
    else:
        grade, meaning = "Good", "the relevance finds what the model uses"
    return f"{grade}: {numbers}; {meaning}.{fifth}"


def _at_a_fifth(found: Mapping[str, Any]) -> str:
    """What the curves say where a fifth is removed."""
    if 0.2 not in found["fractions"]:
        return ""
    at = found["fractions"].index(0.2)
    after = {order: _number(found[order][at]) for order in _ORDERS}
    return (
        f" Without the most relevant fifth it is {after['relevance']} on average, from {_number(found['random'][0])};"
        f" without a random fifth {after['random']}, without the least relevant {after['least']}."
    )


def _say_ambiguous(found: Mapping[str, Any]) -> str:
    share, n_over = found["share_of_bases"], found["regions_over_10_percent"]
    of_all = f"of the bases of {count(found['regions'], 'scored region')}"
    if not share:
        return f"Very good: none {of_all} is N or another letter than A, C, G and T."
    grade = next(
        name for most, name in ((0.001, "Very good"), (0.01, "Good"), (0.1, "Fair"), (1.0, "Poor")) if share <= most
    )
    written = f"{share:.2%}" if share >= 0.0001 else "less than 0.01%"
    over = f"{count(n_over, 'region')} of them {'has' if n_over == 1 else 'have'}" if n_over else "no region has"
    return (
        f"{grade}: {written.replace('%', ' %')} {of_all} are N or another letter than A, C, G and T, which the model"
        f" cannot read; {over} more than 10 %."
    )


def _say_token_length(found: Mapping[str, Any]) -> str:
    n_tokens = sum(found["tokens"])
    middle = found["lengths"][int(np.searchsorted(np.cumsum(found["tokens"]), n_tokens / 2))]
    start = f"Half of the tokens span {count(int(middle), 'base')} or more, and a peak is no finer than its token."
    rank, per_base = found["spearman"], found["spearman_per_base"]
    if rank is None or per_base is None:
        return f"{start} The {count(n_tokens, 'token')} do not differ in length or in relevance."
    meaning = "hardly depends on the length of its token, by rank"
    if abs(per_base) > _NO_TREND:
        strength = "somewhat " if abs(per_base) <= 3 * _NO_TREND else ""
        meaning = f"is {strength}higher in {'long' if per_base > 0 else 'short'} tokens, by rank"
    often = [i for i, n in enumerate(found["tokens"]) if n >= FEW_TOKENS]
    extremes = ""
    if len(often) > 1:
        low, high = (chosen(often, key=found["per_base"].__getitem__) for chosen in (min, max))
        extremes = (
            f"; its mean is from {_of_size(found['per_base'][low])} in tokens of"
            f" {count(found['lengths'][low], 'base')} to {_of_size(found['per_base'][high])} in those of"
            f" {found['lengths'][high]}"
        )
    return (
        f"{start} |Relevance| of a base {meaning} (rank correlation {_number(per_base)}; of a whole token"
        f" {_number(rank)}; {count(n_tokens, 'token')}){extremes}."
    )


def _say_classes(classes: Mapping[str, Any]) -> str:
    each = []
    for name, found in list(classes.items())[:MOST_CLASSES]:
        strand, shift = ("none" if found[key] is None else _correlation(found[key]) for key in AGREEMENTS)
        area = "none" if found["area_difference"] is None else _number(found["area_difference"])
        each.append(f"{name} ({count(found['windows'], 'window')}) {strand}, {shift}, {area}")
    left = len(classes) - len(each)
    more = f"; and {left:,} more" if left else ""
    return f"Strand agreement, shift agreement and area between the deletion curves: {'; '.join(each)}{more}."


def _correlation(value: float) -> str:
    """Of two digits; of three where it would be called 1."""
    return f"{value:.3f}" if 0.995 <= value < 1 else _number(value)


def _number(value: float) -> str:
    written = f"{value:.2f}"
    return (written if float(written) else written.lstrip("-")).replace("-", "−")


# ---- In pictures ----


def quality_figures(quality: Mapping[str, Any]) -> list[Figure]:
    """The figures of a run's measured quality, as `read_quality` gives it; what is missing has none."""
    figures = []
    agreements = {part: quality[part] for part in AGREEMENTS if MISSING not in quality[part]}
    if agreements:
        figures.append(_draw_agreements(agreements))
    if len(quality["by_class"]) > 1:
        figures.append(_draw_classes(quality["by_class"]))
    if MISSING not in quality["deletion"]:
        figures.append(_draw_deletion(quality["deletion"]))
    if MISSING not in quality["token_length"]:
        figures.append(_draw_token_length(quality["token_length"]))
    return figures


def _correlations(lowest: float) -> tuple[tuple[float, float], list[tuple[float, str]]]:
    """The range of an axis of correlations, and its ticks."""
    low = -1.0 if lowest < -0.5 else -0.5 if lowest < 0 else 0.0
    return (low, 1.0), nice_ticks(low, 1.0, 6)


def _draw_agreements(found: Mapping[str, Mapping[str, Any]]) -> Figure:
    row_height, left = 74.0, 118.0
    x_range, ticks = _correlations(min(min(one["values"]) for one in found.values()))
    panel = Panel(left, 10, _WIDTH - left - 70, row_height * len(found), x_range)
    parts = panel.x_axis("Pearson correlation of a window's relevance, read twice", ticks)
    for i, (part, one) in enumerate(found.items()):
        middle = panel.top + row_height * (i + 0.5)
        parts.append(text(left - 10, middle - 2, _NAMES[part], anchor="end"))
        parts.append(text(left - 10, middle + 12, count(one["n"], "window"), anchor="end", fill=MUTED))
        low, high = panel.x(one["low"]), panel.x(one["high"])
        parts.append(rect(low, middle - 13, max(high - low, 1), 26, fill=BLUE, more='fill-opacity="0.16"'))
        for value, up in zip(one["values"], _scatter(len(one["values"])), strict=True):
            parts.append(dot(panel.x(value), middle + 24 * up, 2.6, BLUE, value, 'fill-opacity="0.55"'))
        at = panel.x(one["median"])
        parts.append(line(at, middle - 17, at, middle + 17, stroke=INK, width=2.5))
        parts.append(
            text(
                panel.left + panel.width + 12,
                middle + 4,
                f"median {_correlation(one['median'])}",
            )
        )
    figure = picture(_WIDTH + 20, panel.top + panel.height + 42, parts, label="Agreement of two readings, by window")
    return Figure(
        "Agreement of two readings",
        figure,
        "Every dot is a window, explained as in the run, then again: on the other strand, or in a window that begins"
        " some bases later. 1 is the same relevance, 0 none in common. The box holds the middle half, the line is the"
        " median.",
    )


def _draw_classes(classes: Mapping[str, Mapping[str, Any]]) -> Figure:
    shown = dict(list(classes.items())[:MOST_CLASSES])
    names = [shortened(name, 24) for name in shown]
    left, row_height = 90.0 + max(map(text_width, names)), 24.0
    values = [one[part] for one in shown.values() for part in AGREEMENTS if one[part] is not None]
    x_range, ticks = _correlations(min(values, default=0.0))
    panel = Panel(left, 30, _WIDTH - left - 100, row_height * len(shown), x_range)
    parts = panel.x_axis("median correlation", ticks)
    parts += [dot(left + 5, 14, 5, BLUE), text(left + 15, 18, _NAMES[AGREEMENTS[0]])]
    parts += [diamond(left + 125, 14, VERMILLION), text(left + 135, 18, _NAMES[AGREEMENTS[1]])]
    right = panel.left + panel.width + 110
    parts.append(text(right, 18, "deletion area", anchor="end", fill=MUTED))
    for i, (name, one) in enumerate(zip(names, shown.values(), strict=True)):
        y = panel.top + row_height * (i + 0.5)
        parts += [
            text(left - 82, y + 4, name, anchor="end"),
            text(left - 10, y + 4, count(one["windows"], "window"), anchor="end", fill=MUTED),
        ]
        parts.append(line(left, y, left + panel.width, y, stroke=GRID))
        if one[AGREEMENTS[0]] is not None:
            parts.append(dot(panel.x(one[AGREEMENTS[0]]), y, 5, BLUE, one[AGREEMENTS[0]]))
        if one[AGREEMENTS[1]] is not None:
            parts.append(diamond(panel.x(one[AGREEMENTS[1]]), y, VERMILLION, one[AGREEMENTS[1]]))
        area = one["area_difference"]
        parts.append(text(right, y + 4, "–" if area is None else _number(area), anchor="end"))
    figure = picture(right + 10, panel.top + panel.height + 42, parts, label="Agreement of two readings, by class")
    left_out = f" The first {len(shown)} of {len(classes):,} classes." if len(classes) > len(shown) else ""
    return Figure(
        "By class",
        figure,
        "Medians over the windows in which a class is explained, and the area between the deletion curves of random"
        " order and of the most relevant first (above 0 is better than chance). Of few windows little"
        f" is known.{left_out}",
    )


def _draw_deletion(found: Mapping[str, Any]) -> Figure:
    curves = {order: found[order] for order in _ORDERS}
    lowest, highest = min(map(min, curves.values())), max(map(max, curves.values()))
    margin = 0.06 * (highest - lowest) or 0.5
    y_range = lowest - margin, highest + margin
    panel = Panel(64, 12, _WIDTH - 64 - 170, 250, (0.0, 1.0), y_range)
    what = _LEVELS[found["level"]]
    ticks = [(value, f"{100 * value:.0f} %") for value in (0, 0.2, 0.4, 0.6, 0.8, 1)]
    parts = panel.x_axis(f"share of a window's {what} {_REMOVED[found['level']]}", ticks)
    parts += value_axis(panel.left, panel.top, panel.height, y_range, label="explained value")
    at = [panel.x(value) for value in found["fractions"]]
    between = [
        *zip(at, map(panel.y, curves["relevance"]), strict=True),
        *reversed(list(zip(at, map(panel.y, curves["random"]), strict=True))),
    ]
    parts.append(f'<polygon points="{points(between)}" fill="{BLUE}" fill-opacity="0.1"/>')
    for i, (order, values) in enumerate(curves.items()):
        name, color, dashes = _ORDERS[order]
        dashed = f'stroke-dasharray="{dashes}"' if dashes else ""
        corners = points(list(zip(at, map(panel.y, values), strict=True)))
        drawn = f'fill="none" stroke="{color}" stroke-width="2" {dashed}'
        parts.append(f'<polyline points="{corners}" data-order="{order}" {drawn}/>')
        y = panel.top + 20 + 22 * i
        x = panel.left + panel.width + 18
        parts.append(line(x, y, x + 26, y, stroke=color, width=2, more=dashed))
        parts.append(text(x + 33, y + 4, name))
    figure = picture(_WIDTH + 20, panel.top + panel.height + 42, parts, label=f"Deletion of {what}, in three orders")
    how = (
        "Tokens become [MASK] in place."
        if found["level"] == "token"
        else "Bases become one of the three others, drawn by chance."
    )
    return Figure(
        "Deletion",
        figure,
        f"The explained value, mean of {count(found['n'], 'window')}, as ever more of a window is taken from the"
        f" model. {how} The faster it falls below random order, the better relevance points at what the model uses;"
        " the shaded area is that advantage.",
    )


def _draw_token_length(found: Mapping[str, Any]) -> Figure:
    lengths, n_tokens = found["lengths"], found["tokens"]
    ends = (min(lengths) - 0.6, max(lengths) + 0.6)
    step = math.ceil((ends[1] - ends[0]) / 14)
    ticks = [(length, str(length)) for length in range(min(lengths), max(lengths) + 1, step)]
    width = (_WIDTH - 2 * 72) / 2
    parts: list[str] = []
    for i, (key, label, color) in enumerate(
        (("mean_relevance", "mean |relevance| of a token", BLUE), ("per_base", "mean |relevance| of a base", GREEN))
    ):
        y_range = 0.0, 1.08 * max(found[key]) or 1.0
        panel = Panel(62 + i * (width + 78), 12, width, 200, ends, y_range)
        parts += panel.x_axis("bases that a token spells", ticks)
        parts += value_axis(panel.left, panel.top, panel.height, y_range, label=label)
        places = [(panel.x(length), panel.y(value)) for length, value in zip(lengths, found[key], strict=True)]
        parts.append(f'<polyline points="{points(places)}" fill="none" stroke="{color}" stroke-opacity="0.5"/>')
        for (x, y), value, n in zip(places, found[key], n_tokens, strict=True):
            more = "" if n >= FEW_TOKENS else f'stroke="{color}" stroke-width="1.5"'
            parts.append(dot(x, y, 4, color if n >= FEW_TOKENS else "#ffffff", value, more, f"{n:,} tokens"))
    figure = picture(_WIDTH + 20, 254, parts, label="Relevance by the length of a token")
    correlations = " and ".join(
        "none" if found[key] is None else _number(found[key]) for key in ("spearman", "spearman_per_base")
    )
    return Figure(
        "Token length",
        figure,
        f"Size of the relevance, by how many bases a token spells: {sum(n_tokens):,} tokens; an open"
        f" dot is a mean of fewer than {FEW_TOKENS}. Rank correlation with length: {correlations}. Where the right"
        " panel is not flat, the height of a peak has to do with its token's length, or with what such tokens spell.",
    )


def _scatter(n: int) -> list[float]:
    """So many places in [-0.5, 0.5) that look random, and are the same each time: the golden ratio's multiples."""
    return [(0.618034 * (i + 1)) % 1 - 0.5 for i in range(n)]


def _of_size(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")
