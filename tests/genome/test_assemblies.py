"""Assemblies are told by their chromosomes, and nothing is guessed."""

from __future__ import annotations

import pytest
from paths import SHARED, needs_shared

from gexplain.genome.assemblies import recognise_assembly


@pytest.mark.parametrize(
    ("chroms", "assembly"),
    [
        ({"chr1": 248_956_422, "chr2": 242_193_529}, "hg38"),
        ({"chr22": 50_818_468}, "hg38"),
        ({"chr22": 51_304_566}, "hg19"),
        ({"chr22": 51_324_926}, "hs1"),
        ({"chr19": 61_420_004, "chrY": 91_455_967}, "mm39"),
        ({"chr19": 61_431_566}, "mm10"),
        ({"chr20": 54_435_887}, "rn7"),
        ({"chr25": 37_502_051}, "danRer11"),
        ({"chr2L": 23_513_712}, "dm6"),
        ({"chrIV": 17_493_829}, "ce11"),
        ({"chrIV": 1_531_933}, "sacCer3"),
    ],
)
def test_known_assemblies(chroms: dict[str, int], assembly: str) -> None:
    assert recognise_assembly(chroms) == assembly


def test_other_sequences_count_for_nothing() -> None:
    assert recognise_assembly({"chr1": 248_956_422, "chrM": 16_571, "chrEBV": 171_823, "HLA-A*01:01": 3503}) == "hg38"


@pytest.mark.parametrize(
    "chroms",
    [
        {},
        {"chr1": 50_000, "chr2": 25_000},
        {"1": 248_956_422},  # UCSC calls it chr1
        {"chrM": 16_569},  # of hg38 and hs1
        {"chr1": 248_956_422, "chr2": 242_193_528},  # not all of it
        {"chr1": 248_956_422, "chr2": 243_199_373},  # of two assemblies
    ],
)
def test_nothing_is_guessed(chroms: dict[str, int]) -> None:
    assert recognise_assembly(chroms) is None


@needs_shared
def test_the_yeast_of_ucsc_is_recognised() -> None:
    lines = (SHARED / "data" / "yeast" / "sacCer3.chrom.sizes").read_text().splitlines()
    chroms = {name: int(length) for name, length in (line.split("\t") for line in lines)}
    assert recognise_assembly(chroms) == "sacCer3"
    for name, length in chroms.items():
        assert recognise_assembly({name: length}) == (None if name == "chrM" else "sacCer3")
