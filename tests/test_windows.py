"""Windows: every base covered, inside the chromosome, on the grid."""

from __future__ import annotations

import numpy as np
import pytest

from gexplain.errors import UsageError
from gexplain.windows import Tiling


def starts(tiling: Tiling, start: int, end: int, chrom_length: int = 10_000, summit: int = -1) -> list[int]:
    return tiling.starts(np.array([[start, end]]), np.array([summit]), chrom_length).tolist()


def test_a_short_region_gets_one_window_centred_on_it():
    assert starts(Tiling(100, 50), 1000, 1020) == [960]


def test_a_region_as_long_as_the_window_is_the_window():
    assert starts(Tiling(100, 50), 1000, 1100) == [1000]


def test_a_summit_centres_the_window():
    assert starts(Tiling(100, 50), 1000, 1090, summit=1080) == [1030]


def test_a_long_region_is_tiled_on_the_chromosomes_grid():
    assert starts(Tiling(100, 50), 1010, 1180) == [1000, 1050, 1100]


def test_overlapping_regions_share_their_windows():
    tiling = Tiling(128, 64)
    regions = np.array([[1000, 2000], [1500, 2500]])
    alone = [set(starts(tiling, *region)) for region in regions.tolist()]
    together = tiling.starts(regions, np.array([-1, -1]), 10_000)
    assert len(together) == len(alone[0] | alone[1]) < len(alone[0]) + len(alone[1])


@pytest.mark.parametrize(("start", "end", "expected"), [(0, 10, 0), (9_995, 10_000, 9_900)])
def test_windows_shift_inward_at_chromosome_ends(start, end, expected):
    assert starts(Tiling(100, 50), start, end) == [expected]


def test_a_chromosome_shorter_than_the_window_is_one_window():
    assert starts(Tiling(512, 256), 10, 60, chrom_length=80) == [0]
    assert Tiling(512, 256).width(80) == 80


def test_shifts_move_the_window_by_single_bases():
    assert starts(Tiling(100, 50, shifts=4), 1000, 1100) == [998, 999, 1000, 1001]


def test_random_tilings_cover_every_base_inside_the_chromosome():
    generator = np.random.default_rng(0)
    for _ in range(500):
        window = int(generator.integers(1, 60))
        tiling = Tiling(window, int(generator.integers(1, window + 1)), int(generator.integers(1, window + 1)))
        chrom_length = int(generator.integers(1, 300))
        low, high = sorted(generator.choice(chrom_length + 1, 2, replace=False).tolist())
        covered = np.zeros(chrom_length, dtype=bool)
        width = tiling.width(chrom_length)
        for start in starts(tiling, low, high, chrom_length):
            assert 0 <= start <= chrom_length - width
            covered[start : start + width] = True
        assert covered[low:high].all()


def test_many_regions_need_the_union_of_their_windows():
    generator = np.random.default_rng(1)
    low = generator.integers(0, 9_000, 40)
    regions = np.stack([low, low + generator.integers(1, 1_000, 40)], axis=1)
    tiling = Tiling(128, 40, shifts=2)
    union = set().union(*(starts(tiling, *region) for region in regions.tolist()))
    assert tiling.starts(regions, np.full(40, -1), 10_000).tolist() == sorted(union)


def test_tiles_of_a_region_are_its_starts_without_shifts():
    generator = np.random.default_rng(2)
    for _ in range(500):
        window = int(generator.integers(1, 60))
        tiling = Tiling(window, int(generator.integers(1, window + 1)))
        chrom_length = int(generator.integers(1, 300))
        low, high = sorted(generator.choice(chrom_length + 1, 2, replace=False).tolist())
        summit = int(generator.integers(low, high)) if generator.integers(2) else -1
        expected = tiling.starts(np.array([[low, high]]), np.array([summit]), chrom_length).tolist()
        tiles = tiling.tiles((low, high), summit, chrom_length)
        assert [tiles[index] for index in range(len(tiles))] == expected


@pytest.mark.parametrize("arguments", [(0, 1), (100, 0), (100, 101), (100, 50, 0), (100, 50, 101)])
def test_settings_that_leave_gaps_are_refused(arguments):
    with pytest.raises(UsageError, match="expected"):
        Tiling(*arguments)
