"""Yeast tracks: does what `gexplain score` writes for the promoters of IV and XVI agree with the ChIP-exo sites?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from measures import auroc
from yeast import FACTORS, TEST_CHROMS, WINDOW, merge, read_intervals

import gexplain
from gexplain.arrays import FloatArray
from gexplain.genome.intervals import Interval

# A site's top base is looked for this far to either side, and agrees within NEAR bases of the site.
REACH = 64
NEAR = 10
# Windows without a site, but with one so close to their edge, are left out: the relevance of its motif reaches in.
EDGE = 32


@dataclass(frozen=True, slots=True)
class TrackAgreement:
    """How one factor's track agrees with its sites.

    n_sites: inside the promoters. top_near: the share of them whose highest base within REACH is within NEAR.
    top_near_random: what a top base drawn at random would reach. n_windows: windows of the promoters that are
    compared, n_bound of them with a site. by_prediction, by_relevance: AUROC of the windows by the highest value of
    the prediction track and of the relevance track.
    """

    n_sites: int
    top_near: float
    top_near_random: float
    n_windows: int
    n_bound: int
    by_prediction: float
    by_relevance: float


def score_promoters(model: gexplain.Model, data: Path, out: Path) -> gexplain.Run:
    """`gexplain score` of the promoters of the test chromosomes, a track for every class; data: the folder yeast."""
    return gexplain.score(
        data / "promoters_chrIV_chrXVI.bed",
        data / "sacCer3.fa.gz",
        model,
        output=out,
        settings=gexplain.ScoreSettings(target="all"),
    )


def measure_tracks(run: gexplain.Run, data: Path) -> dict[str, TrackAgreement]:
    """Factor to the agreement of its track; run: that of score_promoters."""
    promoters = merge(read_intervals(data / "promoters_chrIV_chrXVI.bed"))
    sites = [site for site in read_intervals(data / "chipexo_sites.bed") if site.chrom in TEST_CHROMS]
    return {
        factor: measure_track(run, factor, promoters, [site for site in sites if site.name == factor])
        for factor in FACTORS
        if factor in run.tracks
    }


def measure_track(
    run: gexplain.Run, factor: str, promoters: Sequence[Interval], sites: Iterable[Interval]
) -> TrackAgreement:
    near: list[float] = []
    near_random: list[float] = []
    is_bound: list[bool] = []
    predictions: list[float] = []
    relevances: list[float] = []
    positions: dict[str, list[int]] = {}
    for site in sites:
        positions.setdefault(site.chrom, []).append(site.start)
    for promoter in promoters:
        relevance = run.values(factor, promoter)
        prediction = run.values(f"{factor}.prediction", promoter)
        inside = [
            at - promoter.start for at in positions.get(promoter.chrom, ()) if promoter.start <= at < promoter.end
        ]
        for position in inside:
            hit, by_chance = top_is_near(relevance, position)
            near.append(hit)
            near_random.append(by_chance)
        for start in tile_starts(promoter.width):
            holds = any(start <= position < start + WINDOW for position in inside)
            if not holds and any(start - EDGE <= position < start + WINDOW + EDGE for position in inside):
                continue
            is_bound.append(holds)
            predictions.append(float(np.nanmax(prediction[start : start + WINDOW])))
            relevances.append(float(np.nanmax(relevance[start : start + WINDOW])))
    bound = np.array(is_bound)
    by_prediction, by_relevance = np.array(predictions), np.array(relevances)
    return TrackAgreement(
        n_sites=len(near),
        top_near=float(np.mean(near)),
        top_near_random=float(np.mean(near_random)),
        n_windows=len(is_bound),
        n_bound=int(bound.sum()),
        by_prediction=auroc(by_prediction[bound], by_prediction[~bound]),
        by_relevance=auroc(by_relevance[bound], by_relevance[~bound]),
    )


def top_is_near(relevance: FloatArray, site: int) -> tuple[float, float]:
    """(whether the highest base within REACH of the site is within NEAR of it, the chance of that for any base).

    relevance: (n,) of a promoter; site: an index into it. Of bases equally high each counts its share.
    """
    start = max(0, site - REACH)
    around = relevance[start : site + REACH + 1]
    is_near = np.abs(np.arange(start, start + len(around)) - site) <= NEAR
    is_top = around == np.nanmax(around)
    return float(is_near[is_top].mean()), float(is_near.mean())


def tile_starts(width: int) -> list[int]:
    """Starts of windows side by side in `width` bases; the last one is moved back to end with them."""
    starts = list(range(0, width - WINDOW + 1, WINDOW))
    return starts if not starts or starts[-1] + WINDOW == width else [*starts, width - WINDOW]
