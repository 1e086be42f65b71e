"""Regions from DataFrames and PyRanges."""

from __future__ import annotations

import pandas as pd
import pyranges
import pytest

from gexplain.errors import InputError
from gexplain.genome.bed import Region
from gexplain.genome.frames import from_dataframe, from_pyranges
from gexplain.genome.intervals import Interval

FRAME = pd.DataFrame(
    {"Chromosome": ["b", "a"], "Start": [1, 2], "End": [5, 2], "Name": ["x", None], "Strand": ["-", "."], "q": 0}
)
REGIONS = [Region(Interval("b", 1, 5, "x", "-"), 0), Region(Interval("a", 2, 2), 0)]


def test_the_rows_of_a_frame_are_regions_in_order() -> None:
    assert list(from_dataframe(FRAME)) == REGIONS


def test_column_names_may_be_those_of_bed() -> None:
    frame = FRAME.rename(columns={"Chromosome": "chrom", "Start": "start", "End": "end", "Name": "name"})
    assert list(from_dataframe(frame.rename(columns={"Strand": "strand"}))) == REGIONS


def test_name_and_strand_may_be_missing() -> None:
    assert [r.interval for r in from_dataframe(FRAME[["Chromosome", "Start", "End"]])] == [
        Interval("b", 1, 5),
        Interval("a", 2, 2),
    ]


def test_a_pyranges_gives_its_regions() -> None:
    regions = from_pyranges(pyranges.PyRanges(FRAME[["Chromosome", "Start", "End", "Name", "Strand"]]))
    assert sorted(r.interval.chrom for r in regions) == ["a", "b"]


def test_an_empty_pyranges_gives_none() -> None:
    assert list(from_pyranges(pyranges.PyRanges())) == []


def test_a_missing_column_is_named() -> None:
    with pytest.raises(InputError, match="no column End or end; found Chromosome, Start"):
        from_dataframe(FRAME[["Chromosome", "Start"]])


def test_coordinates_that_are_no_integers_are_refused() -> None:
    with pytest.raises(InputError, match="column Start of the regions is float64"):
        from_dataframe(FRAME.assign(Start=[1.0, 2.0]))


@pytest.mark.parametrize(
    ("row", "reason"), [(("a", 5, 4), "no interval"), (("a", -1, 4), "no interval"), (("a b", 1, 4), "character ' '")]
)
def test_a_row_that_is_no_interval_is_named(row: tuple[str, int, int], reason: str) -> None:
    frame = pd.DataFrame([("a", 1, 2), row], columns=["chrom", "start", "end"])
    with pytest.raises(InputError, match=rf"row 1 \(from 0\) of the regions: .*{reason}"):
        list(from_dataframe(frame))
