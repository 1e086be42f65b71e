"""Pictures of regions: sparklines of all, letter logos of a few, and profiles, from bigWigs that are read once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gexplain.errors import count
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval, format_region
from gexplain.report.figure import Figure
from gexplain.report.logo import Box, overview, relevance_logo
from gexplain.report.profiles import Profiles
from gexplain.report.scored import Calls, Scored
from gexplain.report.sparklines import PIECE, RelevanceTracks, encode, extremes

Progress = Callable[[int, int], None]
"""Called with the regions done, and those in all."""

MOST_SPARKLINES = 40_000
"""Rows times targets up to which a page has a sparkline of every target; beyond, of the one that explains the row."""
MOST_PROFILES = 12
_MOST_LIKELIEST = 200
LONGEST_LOGO = 150
_LEAST_REACH, _MOST_REACH = 20, 1000
_LOGO_PX, _WIDEST_LETTER = 1050, 12.0
_TELL_EVERY = 256


@dataclass(frozen=True, slots=True)
class Sparklines:
    """Sparklines of all rows. by_target: a list for every target, else one, of the target that explains the row.

    texts, peaks: as of `encode`, (n,) each; "" and NaN where there is none.
    """

    by_target: bool
    texts: list[list[str]]
    peaks: list[NDArray[np.float32]]


def no_sparklines() -> Sparklines:
    """Of a run whose tracks cannot be read."""
    return Sparklines(False, [], [])


def read_regions(
    tracks: RelevanceTracks,
    scored: Scored,
    classes: Sequence[str],
    targets: Sequence[str],
    head: str,
    progress: Progress | None = None,
) -> tuple[Sparklines, list[Figure]]:
    """Sparklines of all rows, and the profiles of the classes that are predicted most; each region is read once.

    head: the model's. Of a regression, the profiles are of its outputs.
    """
    by_target = len(targets) == scored.relevance.shape[1] and len(scored) * len(targets) <= MOST_SPARKLINES
    n_columns = len(targets) if by_target else 1
    texts = [[""] * len(scored) for _ in range(n_columns)]
    peaks = [np.full(len(scored), np.nan, dtype=np.float32) for _ in range(n_columns)]
    if head == "regression":
        groups = _groups_of_outputs(scored, classes, targets, by_target=by_target)
    else:
        groups = _groups(scored, classes, targets, by_target=by_target)
    is_regression = head == "regression"
    profiles = Profiles(_reach(scored), order="predicted value" if is_regression else "predicted probability")
    rows = np.flatnonzero((scored.reason == 0) & (scored.target >= 0)).tolist()
    for done, row in enumerate(rows):
        region, target = scored.interval(row), int(scored.target[row])
        for column in range(n_columns):
            shown = column if by_target else target
            stem = tracks.stem(targets[shown], region)
            if region.width > PIECE:
                points = tracks.extremes(stem, region)
                values, first = _around_centre(tracks, stem, region)
            else:
                values, first = tracks.values(stem, region.chrom, region.start, region.end), region.start
                points = extremes(values)
            texts[column][row], peaks[column][row] = encode(points)
            for group in groups:
                if group.target == shown and not np.isnan(group.order[row]):
                    centre = (region.start + region.end) // 2 - first
                    order = float(group.order[row])
                    profiles.add(group.name, values, centre, strand=region.strand, order=order)
        if progress is not None and (done % _TELL_EVERY == 0 or done == len(rows) - 1):
            progress(done + 1, len(rows))
    names = [group.name for group in groups]
    figures = sorted(profiles.figures(), key=lambda figure: names.index(figure.title))
    return Sparklines(by_target, texts, peaks), figures


def draw_details(
    tracks: RelevanceTracks,
    scored: Scored,
    calls: Calls,
    genome: Genome,
    chosen: Sequence[tuple[int, int]],
    targets: Sequence[str],
) -> list[dict[str, Any]]:
    """The pictures of the chosen (row, target): a whole region, and the letters of its most relevant span."""
    return [
        {"row": row, "target": target, **_draw_one(tracks, scored.interval(row), calls, genome, row, targets[target])}
        for row, target in chosen
    ]


def _draw_one(
    tracks: RelevanceTracks, region: Interval, calls: Calls, genome: Genome, row: int, target: str
) -> dict[str, Any]:
    stem = tracks.stem(target, region)
    shown = _most_relevant_piece(tracks, stem, region)
    values = tracks.values(stem, shown.chrom, shown.start, shown.end)
    hits = [hit for hit in calls.listed[row] if hit.track == stem]
    boxes = [Box(hit.start, hit.end, hit.factor, hit.strand) for hit in hits]
    span = most_relevant_span(values, LONGEST_LOGO)
    if span is None:
        return {"overview": "", "logo": "", "caption": "", "n_hits": len(hits)}
    low, high = shown.start + span[0], shown.start + span[1]
    where = format_region(Interval(shown.chrom, low, high))
    logo = relevance_logo(
        genome.fetch(shown.chrom, low, high),
        values[span[0] : span[1]],
        chrom=shown.chrom,
        start=low,
        boxes=boxes,
        letter_width=min(_WIDEST_LETTER, _LOGO_PX / (high - low)),
        title=f"Relevance for {target} at {where}",
    )
    is_whole = high - low == region.width
    caption = (
        ""
        if is_whole
        else f"{where}: the {count(high - low, 'base')} with the highest sum of positive relevance, marked above."
    )
    if shown.width < region.width:
        caption += f" The overview has {shown.width:,} bases of the region, those around its highest bar."
    whole = (
        ""
        if is_whole
        else overview(
            values,
            chrom=shown.chrom,
            start=shown.start,
            span=(low, high),
            boxes=boxes,
            width=_LOGO_PX,
            title=f"Relevance for {target}, the whole region",
        )
    )
    return {"overview": whole, "logo": logo, "caption": caption, "n_hits": len(hits)}


def most_relevant_span(values: NDArray[np.float32], longest: int) -> tuple[int, int] | None:
    """[start, end) of the stretch of values (n,) that has the highest sum of positive ones, at most `longest` wide.

    None where there is no value at all. Of equal stretches the first.
    """
    if np.isnan(values).all():
        return None
    if len(values) <= longest:
        return 0, len(values)
    sums = np.concatenate([[0.0], np.cumsum(np.maximum(np.nan_to_num(values), 0), dtype=np.float64)])
    # Ends of several stretches have the same sum where a peak is narrower: the one with the peak in its middle.
    best = sums[longest:] - sums[:-longest]
    as_good = np.flatnonzero(best >= best.max() * (1 - 1e-9))
    first = int(as_good[: np.flatnonzero(np.diff(as_good, append=-1) != 1)[0] + 1].mean())
    return first, first + longest


def _most_relevant_piece(tracks: RelevanceTracks, stem: str, region: Interval) -> Interval:
    """The region itself, or of one that does not fit in memory, a piece around its highest bar."""
    if region.width <= PIECE:
        return region
    points = tracks.extremes(stem, region)
    share = region.width / len(points)
    at = int(np.nanargmax(points)) if not np.isnan(points).all() else 0
    middle = region.start + int((at + 0.5) * share)
    start = max(region.start, min(middle - PIECE // 2, region.end - PIECE))
    return Interval(region.chrom, start, start + PIECE, region.name, region.strand)


def _around_centre(tracks: RelevanceTracks, stem: str, region: Interval) -> tuple[NDArray[np.float32], int]:
    """The values around a wide region's centre that a profile may want, and where they begin."""
    centre = (region.start + region.end) // 2
    first, end = max(region.start, centre - _MOST_REACH), min(region.end, centre + _MOST_REACH + 1)
    return tracks.values(stem, region.chrom, first, end), first


def _reach(scored: Scored) -> int:
    """Half of the usual region, so that most of the regions fill a profile."""
    widths = (scored.end - scored.start)[scored.reason == 0]
    usual = float(np.median(widths)) if len(widths) else 0.0
    return int(np.clip(usual // 2, _LEAST_REACH, _MOST_REACH))


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Regions whose profile is drawn, in the track of a target. order: (n,), their probability; NaN of all others."""

    name: str
    target: int
    order: NDArray[np.float32]


def _groups_of_outputs(
    scored: Scored, classes: Sequence[str], targets: Sequence[str], *, by_target: bool
) -> list[_Group]:
    """All regions, in the track of each output that has one; of the first alone where no other is read."""
    is_scored = scored.target >= 0
    groups = []
    for target, name in enumerate(targets[: MOST_PROFILES if by_target else 1]):
        # "predicted" is the output of the highest value; a model of many outputs has kept the best alone.
        known = scored.ranked.shape[1] == 0 and name in classes
        values = scored.probabilities[:, classes.index(name)] if known else scored.best_probability()
        groups.append(_Group(name, target, np.where(is_scored, values, np.nan).astype(np.float32)))
    return groups


def _groups(scored: Scored, classes: Sequence[str], targets: Sequence[str], *, by_target: bool) -> list[_Group]:
    """The classes that are predicted most often, each by the track that explains it; and those with a track of their
    own that are predicted nowhere, by the regions in which they are likeliest.
    """
    best, is_scored = scored.best_probability(), scored.target >= 0
    pairs: dict[tuple[int, int], int] = {}
    for pair in zip(scored.best[is_scored].tolist(), scored.target[is_scored].tolist(), strict=True):
        pairs[pair] = pairs.get(pair, 0) + 1
    groups = []
    for one, target in sorted(sorted(pairs, key=lambda pair: -pairs[pair])[:MOST_PROFILES]):
        mine = is_scored & (scored.best == one) & (scored.target == target)
        name = classes[one]
        if targets[target] not in (name, "predicted"):
            name = f"predicted {name}, relevance for {targets[target]}"
        groups.append(_Group(name, target, np.where(mine, best, np.nan).astype(np.float32)))
    if not by_target or scored.ranked.shape[1]:
        return groups
    n_likeliest = int(np.clip(is_scored.sum() // 10, 1, _MOST_LIKELIEST))
    for target, name in enumerate(targets):
        if len(groups) == MOST_PROFILES or name not in classes or (scored.best == classes.index(name)).any():
            continue
        order = np.full(len(scored), np.nan, dtype=np.float32)
        probability = np.where(is_scored, scored.probabilities[:, classes.index(name)], -np.inf)
        rows = np.argsort(-probability, kind="stable")[:n_likeliest]
        order[rows] = probability[rows]
        groups.append(_Group(f"{name}, its {count(n_likeliest, 'likeliest region')}", target, order))
    return groups
