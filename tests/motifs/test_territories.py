"""Territories: every base has one owner, told base by base; what regions own adds up."""

from __future__ import annotations

import numpy as np
import pytest

from gexplain.genome.intervals import Interval
from gexplain.motifs.territories import Territories

LENGTH = 60


def slow_owners(regions: list[Interval], chrom: str, length: int) -> list[int]:
    """Of each base: of the regions on it the one that starts last, the later of equals; else that of the nearest base
    inside a region, the left one of two."""
    inside: dict[int, int] = {}
    for position in range(length):
        here = [
            (region.start, number)
            for number, region in enumerate(regions)
            if region.chrom == chrom and region.start <= position < region.end
        ]
        if here:
            inside[position] = max(here)[1]
    if not inside:
        return [-1] * length
    nearest = [min(inside, key=lambda other: (abs(other - position), other)) for position in range(length)]
    return [inside[position] for position in nearest]


def random_regions(rng: np.random.Generator) -> list[Interval]:
    regions = []
    for _ in range(int(rng.integers(1, 9))):
        start = int(rng.integers(0, LENGTH - 1))
        regions.append(Interval(str(rng.choice(["a", "b"])), start, int(rng.integers(start + 1, LENGTH + 1))))
    return regions


NESTED = [Interval("a", 0, 50), Interval("a", 10, 40), Interval("a", 20, 30)]
EQUAL = [Interval("a", 5, 9), Interval("a", 5, 9), Interval("a", 5, 20)]
TOUCHING = [Interval("a", 20, 30), Interval("a", 10, 20), Interval("a", 30, 31)]
GAPS = [Interval("a", 3, 4), Interval("a", 6, 7), Interval("a", 10, 11), Interval("a", 31, 40)]


@pytest.mark.parametrize(
    "regions", [NESTED, EQUAL, TOUCHING, GAPS, *(random_regions(np.random.default_rng(seed)) for seed in range(60))]
)
def test_every_base_has_the_owner_of_the_definition(regions):
    territories = Territories.of(regions)
    for chrom in ("a", "b", "c"):
        found = territories.owner(chrom, np.arange(LENGTH))
        assert found.tolist() == slow_owners(regions, chrom, LENGTH)


@pytest.mark.parametrize("seed", range(20))
def test_positive_values_go_to_their_owners_however_the_track_is_cut(seed):
    rng = np.random.default_rng(seed)
    regions = random_regions(rng)
    values = rng.integers(-4, 5, LENGTH).astype(np.float32)
    values[rng.random(LENGTH) < 0.2] = np.nan
    expected = [0.0] * (len(regions) + 1)
    for chrom in ("a", "b", "c"):
        for owner, value in zip(slow_owners(regions, chrom, LENGTH), values.tolist(), strict=True):
            expected[owner] += max(value, 0.0) if value == value else 0.0
    territories, totals = Territories.of(regions), np.zeros(len(regions) + 1)
    cuts = np.sort(rng.integers(0, LENGTH, 3)).tolist()
    for chrom in ("a", "b", "c"):
        for low, high in zip([0, *cuts], [*cuts, LENGTH], strict=True):  # an empty piece is one, too
            territories.add_positive(totals, chrom, low, values[low:high])
    assert totals.tolist() == expected
    assert totals.sum() == 3 * values[values > 0].sum()  # nothing is counted twice or lost


def test_a_region_is_told_by_its_name_or_its_place():
    territories = Territories.of([Interval("a", 999, 2000), Interval("a", 5000, 5001, "peak 7")])
    assert [territories.name(owner) for owner in (0, 1, -1)] == ["a:1000-2000", "peak 7", "."]


def test_an_empty_region_is_a_broken_promise():
    with pytest.raises(ValueError, match="is empty"):
        Territories.of([Interval("a", 5, 5)])
