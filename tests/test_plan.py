"""The plan: each region's status, and the windows of those that are scored."""

from __future__ import annotations

import numpy as np
import pytest

from gexplain.errors import InputError
from gexplain.genome.bed import Region
from gexplain.genome.intervals import Interval
from gexplain.plan import Status, plan_regions, require_scorable
from gexplain.windows import Tiling, Window

CHROMS = {"chr2": 1000, "chr1": 500, "tiny": 40}
TILING = Tiling(100, 50)


def regions(*intervals: tuple) -> list[Region]:
    return [Region(Interval(*interval), line) for line, interval in enumerate(intervals, 1)]


def statuses(*intervals: tuple, **how) -> list[Status]:
    return [Status(int(one)) for one in plan_regions(regions(*intervals), CHROMS, **how).status]


@pytest.mark.parametrize(
    ("interval", "how", "status"),
    [
        (("chr1", 0, 500), {}, Status.SCORED),
        (("chr1", 400, 501), {}, Status.PAST_END),
        (("chr1", 7, 7), {}, Status.EMPTY),
        (("chrX", 0, 5), {}, Status.UNKNOWN_CHROM),
        (("chr1", 0, 5), {"selected": ["chr2"]}, Status.NOT_SELECTED),
        (("chr1", 0, 5), {"strand": "region"}, Status.NO_STRAND),
        (("chr1", 0, 5, "x", "-"), {"strand": "region"}, Status.SCORED),
    ],
)
def test_each_region_has_its_status(interval, how, status):
    assert statuses(interval, ("chr2", 0, 10, "y", "+"), **how)[0] == status


def test_windows_come_in_fasta_order_whatever_the_order_of_regions():
    plan = plan_regions(regions(("tiny", 0, 9), ("chr1", 0, 9), ("chr2", 500, 520), ("chr2", 0, 9)), CHROMS)
    assert list(plan.windows(TILING)) == [
        Window("chr2", 0, 100),
        Window("chr2", 460, 560),
        Window("chr1", 0, 100),
        Window("tiny", 0, 40),
    ]


def test_windows_that_several_regions_ask_for_come_once():
    plan = plan_regions(regions(("chr1", 100, 120), ("chr1", 100, 120), ("chr1", 90, 130)), CHROMS)
    assert plan.count_windows(TILING) == len(list(plan.windows(TILING))) == 1


def test_windows_that_are_done_are_left_out():
    plan = plan_regions(regions(("chr1", 0, 500)), CHROMS)
    missing = plan.windows(TILING, lambda chrom, strand: np.array([50, 200]))
    assert [window.start for window in missing] == [0, 100, 150, 250, 300, 350, 400]


def test_strand_of_the_region_reads_each_strand_by_itself():
    plan = plan_regions(regions(("chr1", 0, 9, "a", "-"), ("chr1", 0, 9, "b", "+")), CHROMS, strand="region")
    assert [window.strand for window in plan.windows(TILING)] == ["+", "-"]


def test_names_are_mapped_to_those_of_the_fasta():
    plan = plan_regions(regions(("1", 0, 9), ("Z", 0, 9)), CHROMS, names=lambda names: {"1": "chr1"})
    assert plan.status.tolist() == [Status.SCORED, Status.UNKNOWN_CHROM]
    assert next(iter(plan.windows(TILING))).chrom == "chr1"


def test_plans_of_the_same_scored_regions_are_told_as_equal():
    one = plan_regions(regions(("chr1", 0, 9), ("chrX", 0, 9)), CHROMS)
    assert one.sha256() == plan_regions(regions(("chr1", 0, 9)), CHROMS).sha256()
    assert one.sha256() != plan_regions(regions(("chr1", 1, 9)), CHROMS).sha256()


def test_nothing_to_score_is_told_with_the_reasons():
    plan = plan_regions(regions(("chr1", 400, 501), ("chr1", 7, 7), ("chr1", 8, 8)), CHROMS)
    with pytest.raises(InputError, match="2 empty region") as caught:
        require_scorable(plan, "peaks.bed")
    assert "peaks.bed: no region can be scored, of 3" in str(caught.value)


def test_no_region_at_all_is_told():
    with pytest.raises(InputError, match=r"peaks\.bed: no regions"):
        require_scorable(plan_regions([], CHROMS), "peaks.bed")
