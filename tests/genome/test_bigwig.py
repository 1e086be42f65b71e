"""bigWig: values come back as they were written, gaps are gaps, and a file is whole or absent."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyBigWig
import pytest
from paths import SHARED, needs_shared

from gexplain.errors import InputError, RunError
from gexplain.genome.bigwig import MIN_FIXED_STEP_RUN, BigWigWriter, bigwig_chroms, read_bigwig

CHROMS = {"chrII": 5000, "chrI": 3000}


def f32(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_values_and_gaps_come_back_as_they_were(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    values = rng.normal(size=5000).astype(np.float32)
    # Runs on both sides of the length at which they are written another way.
    begin = 0
    while begin < 5000:
        begin += int(rng.integers(1, 2 * MIN_FIXED_STEP_RUN))
        gap = int(rng.integers(1, 5))
        values[begin : begin + gap] = np.nan
        begin += gap
    with BigWigWriter(tmp_path / "a.bw", CHROMS) as writer:
        for start in range(0, 5000, 700):
            writer.write("chrII", start, values[start : start + 700])
        writer.write("chrI", 10, values[:2000])
    np.testing.assert_array_equal(read_bigwig(tmp_path / "a.bw", "chrII", 0, 5000), values)
    np.testing.assert_array_equal(read_bigwig(tmp_path / "a.bw", "chrI", 10, 2010), values[:2000])


@pytest.mark.parametrize("values", [f32(), f32(np.nan, np.nan), f32(1.5), f32(np.nan, 1, np.nan), f32(-0.25, 1e-30)])
def test_the_smallest_arrays_come_back(tmp_path: Path, values: np.ndarray) -> None:
    with BigWigWriter(tmp_path / "a.bw", CHROMS) as writer:
        writer.write("chrI", 5, values)
    np.testing.assert_array_equal(read_bigwig(tmp_path / "a.bw", "chrI", 5, 5 + len(values)), values)


def test_what_was_not_written_is_nan(tmp_path: Path) -> None:
    with BigWigWriter(tmp_path / "a.bw", CHROMS) as writer:
        writer.write("chrI", 5, f32(1, 2))
    assert np.isnan(read_bigwig(tmp_path / "a.bw", "chrI", 0, 3000)).sum() == 2998


def test_the_header_keeps_the_order_of_the_fasta(tmp_path: Path) -> None:
    BigWigWriter(tmp_path / "a.bw", CHROMS).close()
    assert list(bigwig_chroms(tmp_path / "a.bw").items()) == list(CHROMS.items())


def test_a_file_without_values_opens_and_is_all_gaps(tmp_path: Path) -> None:
    BigWigWriter(tmp_path / "a.bw", CHROMS).close()
    assert np.isnan(read_bigwig(tmp_path / "a.bw", "chrI", 0, 10)).tolist() == [True] * 10


def test_zoom_levels_are_written_for_browsers(tmp_path: Path) -> None:
    with BigWigWriter(tmp_path / "a.bw", {"a": 100_000}) as writer:
        writer.write("a", 0, np.arange(100_000, dtype=np.float32))
    with pyBigWig.open(str(tmp_path / "a.bw")) as file:
        assert file.header()["nLevels"] >= 3
        # From a zoom level, whose bins do not end where the chromosome does.
        assert file.stats("a", 0, 100_000)[0] == pytest.approx(49_999.5, rel=0.01)


def test_many_short_runs_stay_small(tmp_path: Path) -> None:
    values = np.ones(100_000, dtype=np.float32)
    values[::2] = np.nan
    with BigWigWriter(tmp_path / "a.bw", {"a": 100_000}) as writer:
        writer.write("a", 0, values)
    # A block for each of the 50,000 runs would take more than 20 bytes a run.
    assert (tmp_path / "a.bw").stat().st_size < 10 * 50_000


@pytest.mark.parametrize(
    ("chrom", "start", "values", "reason"),
    [
        ("chrII", 10, f32(1), "not sorted, or overlapping"),
        ("chrII", 19, f32(1), "not sorted, or overlapping"),
        ("chrI", 2999, f32(1, 1), "is not inside chrI"),
        ("chrI", -1, f32(1), "is not inside chrI"),
        ("chrX", 0, f32(1), "no chromosome 'chrX'"),
        ("chrI", 0, f32(1, np.inf), "an infinite value"),
        ("chrI", 0, f32(-np.inf), "an infinite value"),
        ("chrI", 0, np.ones(3), "expected .* float32"),
        ("chrI", 0, np.ones((3, 1), dtype=np.float32), "expected .* float32"),
    ],
)
def test_values_that_may_not_follow_are_refused(
    tmp_path: Path, chrom: str, start: int, values: np.ndarray, reason: str
) -> None:
    writer = BigWigWriter(tmp_path / "a.bw", CHROMS)
    writer.write("chrII", 15, f32(1, 2, 3, 4, 5))
    with pytest.raises(ValueError, match=reason):
        writer.write(chrom, start, values)
    writer.abort()


def test_a_chromosome_before_the_last_is_refused(tmp_path: Path) -> None:
    writer = BigWigWriter(tmp_path / "a.bw", CHROMS)
    writer.write("chrI", 15, f32(1))
    with pytest.raises(ValueError, match="not sorted"):
        writer.write("chrII", 20, f32(1))
    writer.abort()


def test_touching_calls_are_no_overlap(tmp_path: Path) -> None:
    with BigWigWriter(tmp_path / "a.bw", CHROMS) as writer:
        writer.write("chrI", 0, f32(1, 2))
        writer.write("chrI", 2, f32(3))
    assert read_bigwig(tmp_path / "a.bw", "chrI", 0, 3).tolist() == [1, 2, 3]


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    with BigWigWriter(tmp_path / "a.bw", CHROMS) as writer:
        writer.write("chrI", 0, f32(1))
        assert not (tmp_path / "a.bw").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a.bw"]


def test_an_exception_leaves_no_file_and_the_one_before_it(tmp_path: Path) -> None:
    (tmp_path / "a.bw").write_text("before")

    def fail() -> None:
        with BigWigWriter(tmp_path / "a.bw", CHROMS) as writer:
            writer.write("chrI", 0, f32(1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.bw", "before")]


def test_a_folder_that_is_not_there_is_a_run_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot write .*absent/a\.bw: no such file or directory"):
        BigWigWriter(tmp_path / "absent" / "a.bw", CHROMS)


def test_a_full_disk_is_a_run_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)

    def write() -> None:
        with BigWigWriter(tmp_path / "a.bw", CHROMS) as writer:
            writer.write("chrI", 0, f32(1))

    with pytest.raises(RunError, match="no space left on device"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_its_end_is_not_given_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gexplain.genome.bigwig.END_MAGIC", b"absent")
    with pytest.raises(RunError, match="its end is missing"):
        BigWigWriter(tmp_path / "a.bw", CHROMS).close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("chroms", [{}, {"a": 0}, {"a": 2**32}])
def test_chromosomes_that_no_bigwig_can_hold_are_refused(tmp_path: Path, chroms: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="a bigWig needs chromosomes"):
        BigWigWriter(tmp_path / "a.bw", chroms)


@pytest.mark.parametrize(("chrom", "start", "end"), [("chrX", 0, 1), ("chrI", 0, 3001), ("chrI", 5, 4)])
def test_reading_outside_a_chromosome_is_an_error(tmp_path: Path, chrom: str, start: int, end: int) -> None:
    BigWigWriter(tmp_path / "a.bw", CHROMS).close()
    with pytest.raises(ValueError, match=f"has no {chrom}"):
        read_bigwig(tmp_path / "a.bw", chrom, start, end)


@pytest.mark.parametrize("name", ["absent.bw", "text.bw"])
def test_what_is_no_bigwig_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.bw").write_text("fixedStep chrom=chr1 start=1 step=1\n1\n")
    with pytest.raises(InputError, match="as bigWig"):
        bigwig_chroms(tmp_path / name)


@needs_shared
def test_a_summary_agrees_with_that_of_kents_tools(tmp_path: Path) -> None:
    text = (SHARED / "data" / "edge_cases" / "kent" / "testFixed.wig").read_text()
    header, *lines = text.split("fixedStep ")[5].splitlines()
    assert header == "chrom=chr7 span=5 start=115598261 step=5"
    with BigWigWriter(tmp_path / "a.bw", {"chr7": 158_821_424}) as writer:
        writer.write("chr7", 115_598_260, np.repeat(np.array(lines, dtype=np.float32), 5))
    with pyBigWig.open(str(tmp_path / "a.bw")) as file:
        # bigWigSummary testFixed chr7 115597761 115598761 3: the second bin, then a third without values.
        _, second, third = file.stats("chr7", 115_597_761, 115_598_761, nBins=3, exact=True)
    assert second == pytest.approx(39.5848, abs=1e-4)
    assert third is None
