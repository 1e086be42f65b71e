"""Ranked matches against sites that are known: which match is on which site, precision, recall, average precision.

Places are whole numbers on one axis: chromosomes are laid end to end, far enough apart (see matches.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gexplain.arrays import FloatArray, IntArray

BoolArray = npt.NDArray[np.bool_]

# M matches, S sites, K points of a curve, U units that a bootstrap draws


# ---- Which match is on which site ----


def sites_overlapped(start_M: IntArray, end_M: IntArray, start_S: IntArray, end_S: IntArray) -> IntArray:
    """(M,): the site that each match shares most bases with, if these are half of the narrower one; else -1."""
    site_M = np.full(len(start_M), -1)
    most_M = np.zeros(len(start_M), dtype=np.int64)
    for site, (start, end) in enumerate(zip(start_S.tolist(), end_S.tolist(), strict=True)):
        shared_M = np.minimum(end_M, end) - np.maximum(start_M, start)
        is_on_M = (2 * shared_M >= np.minimum(end_M - start_M, end - start)) & (shared_M > most_M)
        site_M[is_on_M], most_M[is_on_M] = site, shared_M[is_on_M]
    return site_M


def sites_near(middle_M: FloatArray, middle_S: FloatArray, within: float) -> IntArray:
    """(M,): the site whose middle is nearest to that of each match, the first of equals; -1 where none is within."""
    site_M = np.full(len(middle_M), -1)
    least_M = np.full(len(middle_M), np.inf)
    for site, middle in enumerate(middle_S.tolist()):
        distance_M = np.abs(middle_M - middle)
        is_near_M = (distance_M <= within) & (distance_M < least_M)
        site_M[is_near_M], least_M[is_near_M] = site, distance_M[is_near_M]
    return site_M


# ---- Called and found ----


@dataclass(frozen=True, slots=True)
class Measured:
    """What a set of calls is worth. true: calls on a site. found: sites with a call. sites: all there are.

    on_decoys: false calls on decoys, which hit decoys_hit of them.
    """

    called: int
    true: int
    found: int
    sites: int
    on_decoys: int = 0
    decoys_hit: int = 0

    @property
    def false(self) -> int:
        return self.called - self.true

    @property
    def precision(self) -> float:
        """NaN where nothing is called."""
        return self.true / self.called if self.called else float("nan")

    @property
    def recall(self) -> float:
        return self.found / self.sites


def measure_calls(site_M: IntArray, n_sites: int, decoy_M: IntArray | None = None) -> Measured:
    """What these calls are worth; site_M, decoy_M: the site and the decoy that each is on, or -1."""
    is_on_decoy_M = np.zeros(len(site_M), dtype=bool) if decoy_M is None else (decoy_M >= 0) & (site_M < 0)
    return Measured(
        called=len(site_M),
        true=int((site_M >= 0).sum()),
        found=len(np.unique(site_M[site_M >= 0])),
        sites=n_sites,
        on_decoys=int(is_on_decoy_M.sum()),
        decoys_hit=0 if decoy_M is None else len(np.unique(decoy_M[is_on_decoy_M])),
    )


# ---- Curves ----


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A point for each distinct score, the highest first, (K,) each: matches of equal score are called together.

    called, true: matches of at least this score, and those of them on a site; found: sites that they are on.
    """

    score: FloatArray
    called: FloatArray
    true: FloatArray
    found: FloatArray
    sites: float

    @property
    def precision(self) -> FloatArray:
        """0 where what is called weighs nothing."""
        return np.divide(self.true, self.called, out=np.zeros(len(self.true)), where=self.called > 0)

    @property
    def recall(self) -> FloatArray:
        return self.found / self.sites

    def average_precision(self) -> float:
        """The mean precision over recall, that of sites which no match is on being 0.

        Each site counts with the precision of the point at which it is found.
        """
        return float((np.diff(self.recall, prepend=0.0) * self.precision).sum())

    def point_that_finds(self, n_found: int) -> int | None:
        """The first point with so many sites found; None for 0 sites. ValueError where no point has as many."""
        if n_found <= 0:
            return None
        point = int(np.searchsorted(self.found, n_found))
        if point == len(self.found):
            raise ValueError(f"{n_found} sites are to be found, but the matches are on {self.found.max(initial=0):g}")
        return point


def rank_matches(
    score_M: FloatArray,
    site_M: IntArray,
    n_sites: int,
    *,
    weight_M: FloatArray | None = None,
    weight_S: FloatArray | None = None,
) -> Curve:
    """The curve of matches ranked by a score; site_M: the site that each is on, or -1.

    weight_M, weight_S: how often each match and each site counts, once by default.
    """
    weight_M = np.ones(len(score_M)) if weight_M is None else weight_M
    weight_S = np.ones(n_sites) if weight_S is None else weight_S
    order = np.argsort(-score_M, kind="stable")
    site_M, score_M, weight_M = site_M[order], score_M[order], weight_M[order]
    finds_M = np.zeros(len(site_M))  # what the site weighs, at the first match on it
    sites, first = np.unique(site_M, return_index=True)
    finds_M[first[sites >= 0]] = weight_S[sites[sites >= 0]]
    is_last_M = np.append(score_M[1:] != score_M[:-1], np.ones(min(1, len(score_M)), dtype=bool))
    return Curve(
        score=score_M[is_last_M],
        called=np.cumsum(weight_M)[is_last_M],
        true=np.cumsum(weight_M * (site_M >= 0))[is_last_M],
        found=np.cumsum(finds_M)[is_last_M],
        sites=float(weight_S.sum()),
    )


def bootstrap_average_precision(
    scores: Mapping[str, FloatArray],
    site_M: IntArray,
    unit_M: IntArray,
    unit_S: IntArray,
    *,
    draws: int = 1_000,
    seed: int = 0,
) -> dict[str, FloatArray]:
    """Name of a ranking to its average precision in each draw, (draws,): all rankings see the same draws.

    unit_M, unit_S: the unit, such as a promoter, that each match and each site is in; as many units as there are
    between both are drawn with replacement, and what is in one comes along. A draw without a site is drawn again.
    """
    rng = np.random.default_rng(seed)
    units = np.unique(np.concatenate([unit_M, unit_S]))
    at_M, at_S = np.searchsorted(units, unit_M), np.searchsorted(units, unit_S)
    drawn: dict[str, list[float]] = {name: [] for name in scores}
    n_done = 0
    while n_done < draws:
        weight_U = np.bincount(rng.integers(0, len(units), len(units)), minlength=len(units)).astype(np.float64)
        if not weight_U[at_S].any():
            continue
        n_done += 1
        for name, score_M in scores.items():
            curve = rank_matches(score_M, site_M, len(unit_S), weight_M=weight_U[at_M], weight_S=weight_U[at_S])
            drawn[name].append(curve.average_precision())
    return {name: np.array(values) for name, values in drawn.items()}


def interval(values: FloatArray) -> tuple[float, float]:
    """The middle 95 % of bootstrap values."""
    low, high = np.quantile(values, (0.025, 0.975)).tolist()
    return low, high
