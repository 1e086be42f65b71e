"""bigBed: features come back as they were written, to readers that others wrote."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pybigtools
import pyBigWig
import pytest

from gexplain.errors import RunError
from gexplain.genome.bed_table import BedSchema, Column, autosql
from gexplain.genome.bigbed import ITEMS_PER_BLOCK, PAGE, BigBedWriter

CHROMS = {"chrII": 500_000, "HLA-A*01:01": 3000, "chrI": 400_000}
SCHEMA = BedSchema(
    "features",
    "What is tested here",
    (
        Column("thickStart", "uint", "where the thick part begins"),
        Column("thickEnd", "uint", "where it ends"),
        Column("reserved", "uint", "colour"),
        Column("note", "lstring", "any text"),
    ),
)
Feature = tuple[str, int, int, str]


def write(path: Path, features: list[Feature], chroms: dict[str, int] = CHROMS) -> Path:
    with BigBedWriter(path, chroms, SCHEMA, n_bed_columns=9) as file:
        for feature in features:
            file.write(*feature)
    return path


def rest(name: str, start: int, end: int, note: str = "x") -> str:
    return f"{name}\t0\t.\t{start}\t{end}\t0,114,178\t{note}"


def draw_features(seed: int, n: int = 3000, longest: int = 60_000) -> list[Feature]:
    """Features that overlap, some of them across pages, in the order of the header."""
    rng = np.random.default_rng(seed)
    features = []
    for chrom, length in CHROMS.items():
        starts = np.sort(rng.integers(0, length - 1, n))
        # Many short ones, and a few that reach over many blocks.
        widths = np.ceil(np.exp(rng.uniform(0, np.log(longest), n))).astype(int)
        ends = np.minimum(starts + widths, length)
        features += [
            (chrom, int(start), int(end), rest(f"{chrom}_{i}", start, end, f"é {i}"))
            for i, (start, end) in enumerate(zip(starts, ends, strict=True))
        ]
    return features


def overlapping(features: list[Feature], chrom: str, start: int, end: int) -> list[tuple[int, int, str]]:
    """The slow way."""
    return sorted((one[1], one[2], one[3]) for one in features if one[0] == chrom and one[1] < end and one[2] > start)


def depth_of(features: list[Feature], chrom: str) -> np.ndarray:
    depth = np.zeros(CHROMS[chrom])
    for one in features:
        if one[0] == chrom:
            depth[one[1] : one[2]] += 1
    return depth


@pytest.mark.parametrize("seed", [0, 1])
def test_whatever_overlaps_is_found_and_nothing_else(tmp_path: Path, seed: int) -> None:
    features = draw_features(seed)
    write(tmp_path / "a.bb", features)
    rng = np.random.default_rng(seed)
    places = [(chrom, 0, length) for chrom, length in CHROMS.items()]
    for chrom, length in CHROMS.items():
        starts = rng.integers(0, length - 1, 40)
        places += [(chrom, int(start), int(rng.integers(start + 1, length + 1))) for start in starts[:20]]
        places += [(chrom, int(start), int(start) + 1) for start in starts[20:]]
    with pyBigWig.open(str(tmp_path / "a.bb")) as kent, pybigtools.open(str(tmp_path / "a.bb")) as other:
        assert kent.isBigBed()
        for place in places:
            expected = overlapping(features, *place)
            assert sorted(kent.entries(*place) or []) == expected
            # This one takes spaces for tabs, and counts what only touches.
            found = [one for one in other.records(*place) if one[0] < place[2] and one[1] > place[1]]
            assert sorted(found) == [(a, b, *text.split()) for a, b, text in expected]


def test_the_columns_are_told_in_autosql(tmp_path: Path) -> None:
    write(tmp_path / "a.bb", [("chrI", 5, 9, rest("a", 5, 9))])
    with pyBigWig.open(str(tmp_path / "a.bb")) as file:
        assert file.SQL().decode() == autosql(SCHEMA)
    # Columns, and those of BED, where the header of Kent et al. 2010 (table 5) has them.
    assert struct.unpack_from("<HH", (tmp_path / "a.bb").read_bytes(), 32) == (10, 9)


def test_chromosomes_stand_in_the_order_of_the_header(tmp_path: Path) -> None:
    with pyBigWig.open(str(write(tmp_path / "a.bb", draw_features(0, 5)))) as file:
        assert list(file.chroms().items()) == list(CHROMS.items())


@pytest.mark.parametrize("n_chroms", [1, 256, 257, 600])
def test_every_contig_is_found(tmp_path: Path, n_chroms: int) -> None:
    chroms = {f"contig_{i * 7919 % 10007}": 50 + i for i in range(n_chroms)}
    features = [(chrom, i % 40, i % 40 + 3, rest(str(i), 0, 0)) for i, chrom in enumerate(chroms)]
    write(tmp_path / "a.bb", features, chroms)
    with pyBigWig.open(str(tmp_path / "a.bb")) as file:
        for chrom, start, end, text in features[:: 1 + n_chroms // 300]:
            assert file.entries(chrom, 0, chroms[chrom]) == [(start, end, text)]


def test_the_summary_is_of_the_depth(tmp_path: Path) -> None:
    features = draw_features(2)
    write(tmp_path / "a.bb", features)
    depth = np.concatenate([depth_of(features, chrom) for chrom in CHROMS])
    covered = depth[depth > 0]
    with pybigtools.open(str(tmp_path / "a.bb")) as file:
        summary = file.info()["summary"]
    assert summary["basesCovered"] == len(covered)
    assert (summary["min"], summary["max"], summary["sum"]) == (covered.min(), covered.max(), covered.sum())
    assert summary["std"] == pytest.approx(covered.std(ddof=1), rel=1e-6)


def test_zoom_levels_are_of_the_depth(tmp_path: Path) -> None:
    # Sparse and dense, over borders of pages and gaps of several pages.
    features = [
        ("chrII", 10, 20, rest("a", 10, 20)),
        ("chrII", 12, PAGE + 5, rest("b", 0, 0)),
        ("chrII", PAGE - 7, PAGE, rest("c", 0, 0)),
        ("chrII", PAGE - 6, 3 * PAGE + 9, rest("d", 0, 0)),
        *(("chrII", 400_000 + i, 400_003 + i, rest("e", 0, 0)) for i in range(4 * ITEMS_PER_BLOCK)),
        ("chrI", 3 * PAGE, 3 * PAGE + 1, rest("f", 0, 0)),
    ]
    write(tmp_path / "a.bb", features)
    with pybigtools.open(str(tmp_path / "a.bb")) as file:
        assert file.zooms()
        for reduction in file.zooms():
            for chrom in ("chrII", "chrI"):
                depth = depth_of(features, chrom)
                records = list(file.zoom_records(reduction, chrom))
                inside = np.concatenate([np.arange(start, end) for start, end, _ in records])
                assert depth.sum() == depth[inside].sum()  # none is left out
                for start, end, told in records:
                    here = depth[start:end]
                    here = here[here > 0]
                    assert told["bases_covered"] == len(here)
                    assert (told["min_val"], told["max_val"], told["sum"]) == (here.min(), here.max(), here.sum())
                    assert told["sum_squares"] == (here**2).sum()


def test_a_file_without_features_opens(tmp_path: Path) -> None:
    write(tmp_path / "a.bb", [])
    with pyBigWig.open(str(tmp_path / "a.bb")) as file:
        assert file.entries("chrI", 0, 1000) == []
    with pybigtools.open(str(tmp_path / "a.bb")) as file:
        assert list(file.records("chrI")) == []


@pytest.mark.parametrize(
    ("features", "reason"),
    [
        ([("chrX", 0, 1, rest("a", 0, 1))], "no chromosome 'chrX'"),
        ([("chrI", 0, 400_001, rest("a", 0, 1))], "not inside chrI"),
        ([("chrI", -1, 4, rest("a", 0, 1))], "not inside chrI"),
        ([("chrI", 4, 4, rest("a", 0, 1))], "or empty"),
        ([("chrI", 4, 9, rest("a", 0, 1)), ("chrI", 3, 9, rest("a", 0, 1))], "not sorted"),
        ([("chrI", 4, 9, rest("a", 0, 1)), ("chrII", 5, 9, rest("a", 0, 1))], "not sorted"),
        ([("chrI", 4, 9, "a\t0\t.")], "is not 7 columns"),
        ([("chrI", 4, 9, rest("a\0b", 0, 1))], "is not 7 columns"),
        ([("chrI", 4, 9, rest("a\nb", 0, 1))], "is not 7 columns"),
    ],
)
def test_what_may_not_follow_is_refused_and_leaves_nothing(
    tmp_path: Path, features: list[Feature], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        write(tmp_path / "a.bb", features)
    assert list(tmp_path.iterdir()) == []


def test_bed_has_at_least_six_columns_and_no_more_than_there_are(tmp_path: Path) -> None:
    for n in (5, 11, 13):
        with pytest.raises(ValueError, match="of 10 columns cannot be BED's"):
            BigBedWriter(tmp_path / "a.bb", CHROMS, SCHEMA, n_bed_columns=n)


def test_chromosomes_that_no_bigbed_can_hold_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a bigBed needs chromosomes"):
        BigBedWriter(tmp_path / "a.bb", {"a": 2**32}, SCHEMA, n_bed_columns=9)


def test_a_folder_that_is_not_there_is_a_run_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=re.escape(f"cannot write {tmp_path}/no/a.bb")):
        write(tmp_path / "no" / "a.bb", [])


def run_in_subprocess(code: str, *arguments: Any) -> str:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout


def test_a_full_disk_is_a_run_error_and_leaves_nothing(tmp_path: Path) -> None:
    code = """
        import resource, sys
        sys.path.insert(0, sys.argv[2])
        from test_bigbed import write, draw_features
        from gexplain.errors import RunError
        from pathlib import Path

        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000,) * 2)
        try:
            write(Path(sys.argv[1]), draw_features(0))
        except RunError as error:
            print(error)
    """
    assert "a.bb: file too large" in run_in_subprocess(code, tmp_path / "a.bb", Path(__file__).parent)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory_does_not_grow_with_the_features(tmp_path: Path) -> None:
    code = """
        import re, sys
        from pathlib import Path
        from gexplain.genome.bed_table import BedSchema
        from gexplain.genome.bigbed import BigBedWriter

        with BigBedWriter(sys.argv[1], {"a": 10**9}, BedSchema("s", "s"), n_bed_columns=6) as file:
            for i in range(int(sys.argv[2])):
                file.write("a", 100 * i, 100 * i + 150, f"name_{i}" + "x" * 200 + "\\t0\\t+")
        print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
    """
    few, many = (int(run_in_subprocess(code, tmp_path / "a.bb", n)) for n in (2_000, 100_000))
    assert many - few < 5_000
