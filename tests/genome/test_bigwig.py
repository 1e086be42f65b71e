"""bigWig: values come back as they were written, gaps are gaps, and a file is whole or absent."""

from __future__ import annotations

import signal
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pyBigWig
import pytest
from paths import SHARED, needs_shared

from gexplain.errors import InputError, RunError
from gexplain.genome.bigwig import (
    MIN_FIXED_STEP_RUN,
    PAGE,
    BigWig,
    BigWigWriter,
    bigwig_chroms,
    is_bigwig,
    read_bigwig,
)

CHROMS = {"chrII": 5000, "chrI": 3000}
TOTALS = ("nBasesCovered", "minVal", "maxVal", "sumData", "sumSquared")


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


@pytest.mark.parametrize("n_chroms", [1, 256, 257, 1000])
def test_every_chromosome_is_found_by_its_name(tmp_path: Path, n_chroms: int) -> None:
    # Neither sorted nor of one length, and many begin as others do.
    chroms = {f"{'chrUn_' * (i % 3)}{i * 7919 % 1009}": 10 + i for i in range(n_chroms)}
    with BigWigWriter(tmp_path / "a.bw", chroms) as writer:
        for i, chrom in enumerate(chroms):
            writer.write(chrom, i % 10, f32(i))
    assert list(bigwig_chroms(tmp_path / "a.bw").items()) == list(chroms.items())
    with pyBigWig.open(str(tmp_path / "a.bw")) as file:
        assert [file.intervals(chrom) for chrom in chroms] == [((i % 10, i % 10 + 1, i),) for i in range(n_chroms)]


def test_names_stand_in_the_order_of_their_bytes(tmp_path: Path) -> None:
    # Kent's tools search by comparing bytes, pyBigWig does not.
    BigWigWriter(tmp_path / "a.bw", {"chr2": 20, "é": 40, "chr10": 30, "Z": 10}).close()
    content = (tmp_path / "a.bw").read_bytes()
    # A key, as long as the longest, then id and length.
    items = list(struct.iter_unpack("<5sII", content[344 + 32 + 4 :][: 4 * 13]))
    assert items == [
        (b"Z\0\0\0\0", 3, 10),
        (b"chr10", 2, 30),
        (b"chr2\0", 0, 20),
        ("é".encode() + b"\0\0\0", 1, 40),
    ]


def test_a_file_without_values_opens_and_is_all_gaps(tmp_path: Path) -> None:
    BigWigWriter(tmp_path / "a.bw", CHROMS).close()
    assert np.isnan(read_bigwig(tmp_path / "a.bw", "chrI", 0, 10)).tolist() == [True] * 10
    with pyBigWig.open(str(tmp_path / "a.bw")) as file:
        assert {name: file.header()[name] for name in TOTALS} == dict.fromkeys(TOTALS, 0)
        assert file.intervals("chrI") is None
        assert file.stats("chrI", 0, 3000) == [None]


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.5, 0.999, 1])
def test_values_come_back_however_dense(tmp_path: Path, share: float) -> None:
    rng = np.random.default_rng(3)
    # More than a page, and its end is neither that of a block nor of a bin.
    length = PAGE + 70_001
    values = np.where(rng.random(length) < share, rng.normal(size=length), np.nan).astype(np.float32)
    with BigWigWriter(tmp_path / "a.bw", {"b": length, "a": length}) as writer:
        writer.write("b", 0, values)
        writer.write("a", 0, values[::-1])
    np.testing.assert_array_equal(read_bigwig(tmp_path / "a.bw", "b", 0, length), values)
    np.testing.assert_array_equal(read_bigwig(tmp_path / "a.bw", "a", 0, length), values[::-1])
    with pyBigWig.open(str(tmp_path / "a.bw")) as file:
        starts = np.flatnonzero(~np.isnan(values))
        assert file.intervals("b") == tuple((at, at + 1, values[at]) for at in starts.tolist())


def test_blocks_are_found_when_a_node_cannot_hold_them(tmp_path: Path) -> None:
    length = 1000 * (MIN_FIXED_STEP_RUN + 1)
    values = np.arange(length, dtype=np.float32)
    values[:: MIN_FIXED_STEP_RUN + 1] = np.nan
    with BigWigWriter(tmp_path / "a.bw", {"a": length}) as writer:
        writer.write("a", 0, values)
    for start in range(0, length, 997):
        found = read_bigwig(tmp_path / "a.bw", "a", start, min(start + 100, length))
        np.testing.assert_array_equal(found, values[start : start + 100])


def test_how_values_are_cut_into_calls_changes_no_byte(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(size=3 * PAGE).astype(np.float32)
    values[rng.random(3 * PAGE) < 0.01] = np.nan
    values[PAGE + 100 : 2 * PAGE + 100] = np.nan
    contents = []
    for piece in (3 * PAGE, PAGE, 4097, 300):
        with BigWigWriter(tmp_path / "a.bw", {"b": 4 * PAGE, "a": 4 * PAGE}) as writer:
            for chrom in "ba":
                for start in range(0, 3 * PAGE, piece):
                    writer.write(chrom, 17 + start, values[start : start + piece])
        contents.append((tmp_path / "a.bw").read_bytes())
    assert len(set(contents)) == 1


def test_totals_are_those_of_the_values(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    values = rng.integers(-1000, 1000, size=200_000).astype(np.float32)
    values[rng.random(200_000) < 0.3] = np.nan
    with BigWigWriter(tmp_path / "a.bw", {"b": 100_000, "a": 100_000}) as writer:
        writer.write("b", 0, values[:100_000])
        writer.write("a", 0, values[100_000:])
    exact = values[~np.isnan(values)].astype(int)
    totals = len(exact), exact.min(), exact.max(), exact.sum(), (exact**2).sum()
    with pyBigWig.open(str(tmp_path / "a.bw")) as file:
        assert {name: file.header()[name] for name in TOTALS} == dict(zip(TOTALS, totals, strict=True))


@pytest.mark.parametrize("share", [1, 0.3])
@pytest.mark.parametrize("width", [64, 4096, 65_536])
def test_zoom_levels_agree_with_the_values(tmp_path: Path, share: float, width: int) -> None:
    rng = np.random.default_rng(11)
    length = 4 * 65_536
    n_bins = min(length // width, 128)
    values = np.where(rng.random(length) < share, rng.normal(loc=1, size=length), np.nan).astype(np.float32)
    with BigWigWriter(tmp_path / "a.bw", {"b": 500, "a": length}) as writer:
        writer.write("b", 0, f32(1000))
        writer.write("a", 0, values)
    bins = values.astype(np.float64).reshape(-1, width)[:n_bins]
    expected = {
        "mean": np.nanmean(bins, 1),
        "min": np.nanmin(bins, 1),
        "max": np.nanmax(bins, 1),
        "std": np.nanstd(bins, 1, ddof=1),
        "coverage": (~np.isnan(bins)).mean(1),
    }
    with pyBigWig.open(str(tmp_path / "a.bw")) as file:
        for kind, exact in expected.items():
            for exactly in (False, True):
                found = file.stats("a", 0, n_bins * width, type=kind, nBins=n_bins, exact=exactly)
                np.testing.assert_allclose(found, exact, rtol=1e-5, err_msg=f"{kind} {exactly}")


def test_squares_above_float32_leave_the_rest_as_it_is(tmp_path: Path) -> None:
    with BigWigWriter(tmp_path / "a.bw", {"a": 4096}) as writer:
        writer.write("a", 0, np.full(4096, 1e30, dtype=np.float32))
    with pyBigWig.open(str(tmp_path / "a.bw")) as file:
        assert file.stats("a", 0, 4096)[0] == pytest.approx(1e30)


def test_zoom_levels_are_written_for_browsers(tmp_path: Path) -> None:
    with BigWigWriter(tmp_path / "a.bw", {"a": 100_000}) as writer:
        writer.write("a", 0, np.arange(100_000, dtype=np.float32))
    with pyBigWig.open(str(tmp_path / "a.bw")) as file:
        assert file.header()["nLevels"] >= 3
        # From a zoom level, whose bins do not end where the chromosome does.
        assert file.stats("a", 0, 100_000)[0] == pytest.approx(49_999.5, rel=0.01)


@pytest.mark.parametrize(("step", "reductions"), [(1, [32, 128, 512]), (100, [2048]), (100_000, [32])])
def test_zoom_levels_that_save_nothing_are_left_out(tmp_path: Path, step: int, reductions: list[int]) -> None:
    values = np.full(100_000, np.nan, dtype=np.float32)
    values[::step] = 1
    with BigWigWriter(tmp_path / "a.bw", {"a": 100_000}) as writer:
        writer.write("a", 0, values)
    content = (tmp_path / "a.bw").read_bytes()
    (n_levels,) = struct.unpack_from("<H", content, 6)
    found = [struct.unpack_from("<I", content, 64 + 24 * level)[0] for level in range(n_levels)]
    assert found[: len(reductions)] == reductions


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


def run_in_subprocess(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("limit", [0, 100_000, 380_000])
def test_a_full_disk_is_a_run_error_and_leaves_nothing(tmp_path: Path, limit: int) -> None:
    # The header, the values and, when it is closed, the zoom levels do not fit.
    code = """
        import resource, sys
        import numpy as np
        from gexplain.errors import RunError
        from gexplain.genome.bigwig import BigWigWriter

        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
        values = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
        try:
            with BigWigWriter(sys.argv[1], {"a": 100_000}) as writer:
                writer.write("a", 0, values)
        except RunError as error:
            print(error)
    """
    assert "a.bw: file too large" in run_in_subprocess(code, str(tmp_path / "a.bw"), str(limit)).stdout
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_leaves_no_file_of_that_name(tmp_path: Path) -> None:
    code = """
        import os, signal, sys
        import numpy as np
        from gexplain.genome.bigwig import BigWigWriter

        with BigWigWriter(sys.argv[1], {"a": 1_000_000}) as writer:
            writer.write("a", 0, np.ones(1_000_000, dtype=np.float32))
            os.kill(os.getpid(), signal.SIGKILL)
    """
    assert run_in_subprocess(code, str(tmp_path / "a.bw")).returncode == -signal.SIGKILL
    assert not (tmp_path / "a.bw").exists()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory_does_not_grow_with_the_track(tmp_path: Path) -> None:
    code = """
        import re, sys
        from pathlib import Path
        import numpy as np
        from gexplain.genome.bigwig import BigWigWriter

        values = np.random.default_rng(0).normal(size=1_000_000).astype(np.float32)
        with BigWigWriter(sys.argv[1], {"a": 100_000_000}) as writer:
            for start in range(0, int(sys.argv[2]), 1_000_000):
                writer.write("a", start, values)
        print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
    """
    short, long = (int(run_in_subprocess(code, str(tmp_path / "a.bw"), n).stdout) for n in ("1000000", "20000000"))
    assert long - short < 5_000


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


def test_an_open_file_gives_any_stretch_and_knows_which_chromosomes_have_values(tmp_path: Path) -> None:
    values = np.random.default_rng(8).normal(size=3000).astype(np.float32)
    values[100:2990] = np.nan
    with BigWigWriter(tmp_path / "a.bw", CHROMS) as writer:
        writer.write("chrI", 0, values)
    with BigWig(tmp_path / "a.bw") as track:
        for start, end in [(0, 3000), (50, 150), (500, 600), (2995, 3000), (7, 7)]:
            np.testing.assert_array_equal(track.values("chrI", start, end), values[start:end])
        assert np.isnan(track.values("chrII", 0, 5000)).all()
        assert [track.has_values(chrom) for chrom in CHROMS] == [False, True]


def test_a_file_without_values_has_them_nowhere(tmp_path: Path) -> None:
    BigWigWriter(tmp_path / "a.bw", CHROMS).close()
    with BigWig(tmp_path / "a.bw") as track:
        assert not any(track.has_values(chrom) for chrom in CHROMS)
        assert np.isnan(track.values("chrI", 0, 3000)).all()


def test_one_value_is_a_value(tmp_path: Path) -> None:
    with BigWigWriter(tmp_path / "a.bw", CHROMS) as writer:
        writer.write("chrII", 4999, f32(0))
    with BigWig(tmp_path / "a.bw") as track:
        assert [track.has_values(chrom) for chrom in CHROMS] == [True, False]


def test_a_bigwig_is_told_by_how_it_begins(tmp_path: Path) -> None:
    BigWigWriter(tmp_path / "a.txt", CHROMS).close()
    assert is_bigwig(tmp_path / "a.txt")
    (tmp_path / "turned").write_bytes((tmp_path / "a.txt").read_bytes()[3::-1])  # of the other byte order
    assert is_bigwig(tmp_path / "turned")
    for content in (b"", b"chrI\t1\t2\t1\n", struct.pack("<I", 0x8789F2EB)):  # the last: a bigBed
        (tmp_path / "other.bw").write_bytes(content)
        assert not is_bigwig(tmp_path / "other.bw")


@pytest.mark.parametrize("name", ["absent.bw", "."])
def test_what_cannot_be_opened_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"cannot read .*: (no such file|is a directory)"):
        is_bigwig(tmp_path / name)


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
