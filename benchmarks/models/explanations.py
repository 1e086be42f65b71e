"""Where explanations point: is the base of highest relevance on the motif, and how much relevance lies in it.

A base counts as on a hit if it lies in the hit or within NEAR bases of it. Where several bases are highest together
(those of one token, where its relevance is shared among them), each counts for its share. The mass is that of
positive relevance alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from motif_hits import BoolArray, Motif, best_hits, covered_by_hits, scan_motif

import gexplain
from gexplain.arrays import FloatArray
from gexplain.errors import UsageError
from gexplain.genome.sequence import reverse_complement
from gexplain.projection import PROJECTIONS

# A hit is strong from this share of the motif's best score.
STRONG = 0.6
NEAR = 3
BATCH_SIZE = 64
RANDOM_DRAWS = 20

# B sequences, L bases


@dataclass(frozen=True, slots=True)
class Way:
    """One way to ask a model for relevance: a method, what it explains, and the readings that are averaged.

    shifts: the sequence is read from each of its first bases on, so that tokens fall otherwise.
    """

    method: str
    explained: Literal["logit", "margin"] = "logit"
    both_strands: bool = False
    shifts: int = 1

    @property
    def name(self) -> str:
        """As a table calls it."""
        extras = ["margin"] if self.explained == "margin" else []
        extras += [f"{self.shifts} shifts"] if self.shifts > 1 else []
        extras += ["both strands"] if self.both_strands else []
        return ", ".join([self.method, *extras])


# What a model's kind does not have is left out, with a line that says so.
WAYS = (
    Way("gradient-x-input"),
    Way("gradient-x-input", both_strands=True),
    Way("integrated-gradients"),
    Way("integrated-gradients", both_strands=True),
    Way("deeplift"),
    Way("deeplift", both_strands=True),
    Way("cplrp"),
    Way("attnlrp"),
    Way("attnlrp", explained="margin"),
    Way("attnlrp", both_strands=True),
    Way("attnlrp", both_strands=True, shifts=8),
    Way("attnlrp", explained="margin", both_strands=True, shifts=8),
)


@dataclass(frozen=True, slots=True, eq=False)
class MotifSites:
    """The sequences, of one width, in which a motif has a strong hit, and the bases (B, L) on and in hits.

    best: the best hit of each sequence alone. strong: all strong hits.
    """

    sequences: list[str]
    near_best: BoolArray
    in_best: BoolArray
    near_strong: BoolArray
    in_strong: BoolArray


def find_sites(sequences: Sequence[str], motif: Motif, most: int | None = None) -> MotifSites:
    """The sequences with a strong hit (of those the first `most`) and where the hits are."""
    scores_BPS = scan_motif(sequences, motif)
    kept = np.flatnonzero(scores_BPS.max((1, 2)) >= STRONG)[:most]
    scores_BPS = scores_BPS[kept]
    best = best_hits(scores_BPS, motif)
    base_L = np.arange(scores_BPS.shape[1] + best.width - 1)
    offset_BL = base_L - best.start[:, None]
    return MotifSites(
        sequences=[sequences[index] for index in kept],
        near_best=(offset_BL >= -NEAR) & (offset_BL < best.width + NEAR),
        in_best=(offset_BL >= 0) & (offset_BL < best.width),
        near_strong=covered_by_hits(scores_BPS, motif, STRONG, margin=NEAR),
        in_strong=covered_by_hits(scores_BPS, motif, STRONG),
    )


def share_on_top(relevance_BL: FloatArray, near_BL: BoolArray) -> float:
    """The share of sequences whose base of highest relevance is marked; equally high bases share one count."""
    is_top_BL = relevance_BL == relevance_BL.max(1, keepdims=True)
    return float(((is_top_BL & near_BL).sum(1) / is_top_BL.sum(1)).mean())


def mass_inside(relevance_BL: FloatArray, inside_BL: BoolArray) -> float:
    """The mean share of a sequence's positive relevance that lies on marked bases; 0 where none is positive."""
    positive_BL = np.maximum(relevance_BL, 0)
    total_B = positive_BL.sum(1)
    inside_B = np.where(inside_BL, positive_BL, 0).sum(1)
    return float(np.divide(inside_B, total_B, out=np.zeros_like(total_B), where=total_B > 0).mean())


def measure_relevance(relevance_BL: FloatArray, sites: MotifSites) -> dict[str, float]:
    """Name to value: top and mass of the best hit, and of all strong hits."""
    return {
        "top": share_on_top(relevance_BL, sites.near_best),
        "mass": mass_inside(relevance_BL, sites.in_best),
        "top_any": share_on_top(relevance_BL, sites.near_strong),
        "mass_any": mass_inside(relevance_BL, sites.in_strong),
    }


def measure_explanations(
    model: gexplain.Model, sites: dict[str, MotifSites], ways: Sequence[Way] = WAYS
) -> Iterator[tuple[str, dict[str, dict[str, float]]]]:
    """(name of the way, factor to measures), of random relevance and then of each way that the model's kind has."""
    yield "random bases", {factor: _random_bases(of_factor) for factor, of_factor in sites.items()}
    yield "random tokens", {factor: _random_tokens(model, of_factor) for factor, of_factor in sites.items()}
    for way in ways:
        try:
            measures = {
                factor: measure_relevance(explain(model, of_factor.sequences, factor, way), of_factor)
                for factor, of_factor in sites.items()
            }
        except UsageError as error:
            print(f"{way.name}: left out. {error.message}", flush=True)
            continue
        yield way.name, measures


def explain(model: gexplain.Model, sequences: Sequence[str], target: str, way: Way) -> FloatArray:
    """Relevance (B, L) of sequences of one width, each base the mean of the readings that hold it."""
    n, width = len(sequences), len(sequences[0])
    total_BL, depth_L = np.zeros((n, width)), np.zeros(width)
    for shift in range(way.shifts):
        cut = [sequence[shift:] for sequence in sequences]
        total_BL[:, shift:] += _forward(model, cut, target, way)
        depth_L[shift:] += 1
        if way.both_strands:
            reverse_BL = _forward(model, [reverse_complement(one) for one in cut], target, way)
            total_BL[:, shift:] += reverse_BL[:, ::-1]
            depth_L[shift:] += 1
    return total_BL / depth_L


def _forward(model: gexplain.Model, sequences: Sequence[str], target: str, way: Way) -> FloatArray:
    results = gexplain.explain(
        model, sequences, target=target, explained=way.explained, method=way.method, batch_size=BATCH_SIZE
    )
    return np.stack([one.relevance for one in results]).astype(np.float64)


def _random_bases(sites: MotifSites) -> dict[str, float]:
    """What noise, alike at every base, is expected to reach."""
    return {
        "top": float(sites.near_best.mean()),
        "mass": float(sites.in_best.mean()),
        "top_any": float(sites.near_strong.mean()),
        "mass_any": float(sites.in_strong.mean()),
    }


def _random_tokens(model: gexplain.Model, sites: MotifSites) -> dict[str, float]:
    """What noise on the model's tokens reaches, shared among their bases as relevance is: the mean of some draws."""
    rng = np.random.default_rng(0)
    tokens = model.tokens(sites.sequences)
    draws = []
    for _ in range(RANDOM_DRAWS):
        noise_BL = np.stack(
            [
                PROJECTIONS["uniform"](rng.standard_normal(len(one.ids)), one.spans, len(sequence))
                for one, sequence in zip(tokens, sites.sequences, strict=True)
            ]
        )
        draws.append(measure_relevance(noise_BL, sites))
    return {name: float(np.mean([draw[name] for draw in draws])) for name in draws[0]}
