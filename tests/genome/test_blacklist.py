"""Blacklists: an interval is out by one shared base."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gexplain.errors import BedError
from gexplain.genome.blacklist import blacklisted


def check(
    tmp_path: Path, text: str, regions: list[tuple[str, int, int]], names: dict[str, str] | None = None
) -> list[bool]:
    (tmp_path / "bad.bed").write_text(text)
    chroms = [chrom for chrom, _, _ in regions]
    starts, ends = np.array([region[1:] for region in regions], dtype=np.int64).reshape(-1, 2).T
    is_bad = blacklisted(chroms, starts, ends, tmp_path / "bad.bed", names=names and (lambda _: names))
    return is_bad.tolist()


@pytest.mark.parametrize(
    ("region", "is_bad"),
    [
        (("a", 0, 10), False),
        (("a", 0, 11), True),
        (("a", 19, 30), True),
        (("a", 20, 30), False),
        (("a", 12, 13), True),
        (("a", 0, 99), True),
        (("a", 15, 15), False),
        (("b", 12, 13), False),
    ],
)
def test_one_shared_base_is_enough(tmp_path: Path, region: tuple[str, int, int], is_bad: bool) -> None:
    assert check(tmp_path, "a\t10\t20\n", [region]) == [is_bad]


def test_the_order_of_the_regions_is_kept(tmp_path: Path) -> None:
    regions = [("b", 5, 6), ("a", 50, 60), ("b", 0, 2), ("a", 15, 16), ("a", 15, 16)]
    assert check(tmp_path, "a\t10\t20\nb\t1\t2\na\t12\t30\n", regions) == [False, False, True, True, True]


@pytest.mark.parametrize("text", ["", "# nothing\n", "a\t5\t5\n"])
def test_an_empty_blacklist_bans_nothing(tmp_path: Path, text: str) -> None:
    assert check(tmp_path, text, [("a", 0, 10)]) == [False]


def test_no_regions_are_no_answers(tmp_path: Path) -> None:
    assert check(tmp_path, "a\t10\t20\n", []) == []


def test_coordinates_past_two_to_the_31_are_compared(tmp_path: Path) -> None:
    regions = [("a", 3_000_000_000, 3_000_000_001), ("a", 2_999_999_999, 3_000_000_000)]
    assert check(tmp_path, "a\t3000000000\t3000000010\n", regions) == [True, False]


def test_names_of_the_blacklist_are_mapped(tmp_path: Path) -> None:
    assert check(tmp_path, "1\t10\t20\n", [("chr1", 10, 11)], names={"1": "chr1"}) == [True]


def test_a_malformed_blacklist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BedError, match=r"line 1 of .*bad\.bed"):
        check(tmp_path, "a\t20\t10\n", [("a", 0, 1)])
