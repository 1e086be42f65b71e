"""bedGraph: equal neighbours on one line, shortest digits, no line for a gap."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import pytest

from gexplain.errors import InputError, RunError
from gexplain.genome import bedgraph
from gexplain.genome.bedgraph import BedGraphWriter, bedgraph_to_bigwig
from gexplain.genome.bigwig import BigWig

CHROMS = {"chrII": 5000, "chrI": 3000}
NAN = float("nan")


def f32(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def written(*calls: tuple[str, int, np.ndarray]) -> str:
    stream = io.StringIO()
    with BedGraphWriter(stream, CHROMS) as writer:
        for call in calls:
            writer.write(*call)
    return stream.getvalue()


def test_equal_neighbours_share_a_line() -> None:
    assert written(("chrI", 5, f32(1, 1, 2, 1))) == "chrI\t5\t7\t1\nchrI\t7\t8\t2\nchrI\t8\t9\t1\n"


def test_a_gap_has_no_line() -> None:
    assert written(("chrI", 5, f32(NAN, 1, NAN, NAN, 1))) == "chrI\t6\t7\t1\nchrI\t9\t10\t1\n"


@pytest.mark.parametrize("values", [f32(), f32(NAN, NAN)])
def test_nothing_to_say_is_nothing_written(values: np.ndarray) -> None:
    assert written(("chrI", 5, values)) == ""


def test_lines_do_not_depend_on_how_values_are_cut_into_calls() -> None:
    rng = np.random.default_rng(3)
    values = rng.integers(0, 3, 1000).astype(np.float32)
    values[values == 2] = np.nan
    whole = written(("chrII", 0, values))
    assert whole == written(*(("chrII", start, values[start : start + 7]) for start in range(0, 1000, 7)))


def test_equal_values_do_not_join_over_a_gap_or_between_chromosomes() -> None:
    calls = [("chrII", 0, f32(1)), ("chrII", 2, f32(1)), ("chrI", 3, f32(1))]
    assert written(*calls) == "chrII\t0\t1\t1\nchrII\t2\t3\t1\nchrI\t3\t4\t1\n"


def test_values_are_short() -> None:
    assert [line.split("\t")[3] for line in written(("chrI", 0, f32(0.1, -2.5, 1e-8))).splitlines()] == [
        "0.1",
        "-2.5",
        "1e-08",
    ]


def test_values_come_back_as_the_same_float32() -> None:
    values = np.random.default_rng(5).normal(scale=1e-3, size=3000).astype(np.float32)
    values[::7] = np.nan
    back = np.full(3000, np.nan, dtype=np.float32)
    for line in written(("chrI", 0, values)).splitlines():
        _, start, end, value = line.split("\t")
        back[int(start) : int(end)] = np.float32(value)
    np.testing.assert_array_equal(back, values)


@pytest.mark.parametrize(
    ("chrom", "start", "values"),
    [("chrII", 9, f32(1)), ("chrI", 2999, f32(1, 1)), ("chrX", 0, f32(1)), ("chrI", 0, f32(np.inf))],
)
def test_values_that_may_not_follow_are_refused(chrom: str, start: int, values: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"not sorted|not inside|no chromosome|infinite"):
        written(("chrII", 9, f32(1)), (chrom, start, values))


def test_a_path_appears_when_it_is_whole(tmp_path: Path) -> None:
    with BedGraphWriter(tmp_path / "a.bg", CHROMS) as writer:
        writer.write("chrI", 0, f32(1))
        assert not (tmp_path / "a.bg").exists()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.bg", "chrI\t0\t1\t1\n")]


def test_an_exception_leaves_no_file(tmp_path: Path) -> None:
    def fail() -> None:
        with BedGraphWriter(tmp_path / "a.bg", CHROMS) as writer:
            writer.write("chrI", 0, f32(1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_stream_is_left_open() -> None:
    stream = io.StringIO()
    BedGraphWriter(stream, CHROMS).close()
    assert not stream.closed


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_a_run_error() -> None:
    stream = Path("/dev/full").open("w")  # noqa: SIM115 (closing it fails again)
    writer = BedGraphWriter(stream, CHROMS)
    writer.write("chrI", 0, f32(1))
    with pytest.raises(RunError, match=r"cannot write /dev/full: no space left"):
        writer.close()
    with pytest.raises(OSError, match="No space left"):
        stream.close()


def test_a_closed_pipe_passes_as_it_is() -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    writer = BedGraphWriter(Closed(), CHROMS)
    with pytest.raises(BrokenPipeError):
        writer.write("chrI", 0, f32(1, 2))


def test_a_folder_that_is_not_there_is_a_run_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such file or directory"):
        BedGraphWriter(tmp_path / "absent" / "a.bg", CHROMS)


# ---- Reading one ----


def read_back(path: Path, folder: Path) -> dict[str, np.ndarray]:
    bedgraph_to_bigwig(path, folder / "made.bw", CHROMS, "g.fa")
    with BigWig(folder / "made.bw") as track:
        assert list(track.chroms.items()) == list(CHROMS.items())
        return {chrom: track.values(chrom, 0, length) for chrom, length in CHROMS.items()}


@pytest.mark.parametrize("is_gzip", [False, True])
@pytest.mark.parametrize("most_held", [1, 10, 1 << 20])
def test_a_bedgraph_is_read_as_the_values_that_were_written(tmp_path: Path, monkeypatch, is_gzip, most_held) -> None:
    monkeypatch.setattr(bedgraph, "_MOST_HELD", most_held)
    rng = np.random.default_rng(6)
    expected = {}
    for chrom, length in CHROMS.items():
        values = np.repeat(rng.normal(size=length // 4).astype(np.float32), 4)
        values[rng.random(length) < 0.3] = np.nan
        expected[chrom] = values
    text = written(*((chrom, 0, values) for chrom, values in expected.items()))
    path = tmp_path / "a.bg"  # told by its bytes, not by its name
    path.write_bytes(gzip.compress(text.encode()) if is_gzip else text.encode())
    for chrom, values in read_back(path, tmp_path).items():
        np.testing.assert_array_equal(values, expected[chrom])


def test_comments_and_lines_for_browsers_are_passed_over_whatever_separates(tmp_path: Path) -> None:
    path = tmp_path / "a.bg"
    path.write_bytes(
        b"browser position chrI:1-10\ntrack type=bedGraph name=x\n# made by hand\n\n"
        b"chrII 0 2 1.5\r\nchrI\t5\t6\t-2e-3\textra\n"
    )
    values = read_back(path, tmp_path)
    assert values["chrII"][:3].tolist() == pytest.approx([1.5, 1.5, np.nan], nan_ok=True)
    assert values["chrI"][5] == np.float32(-2e-3)
    assert (~np.isnan(values["chrI"])).sum() == 1


def test_a_chromosome_may_be_called_as_a_browser_line_begins(tmp_path: Path) -> None:
    (tmp_path / "a.bg").write_text("track_7\t0\t2\t1\n")
    bedgraph_to_bigwig(tmp_path / "a.bg", tmp_path / "a.bw", {"track_7": 5}, "g.fa")
    with BigWig(tmp_path / "a.bw") as track:
        assert track.values("track_7", 0, 2).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("chrI\t1\t2\n", "line 1 of .*a.bg: no bedGraph"),
        ("chrI\t1\t2\t1\nchrI\t2\tx\t1\n", "line 2 of .*a.bg: no bedGraph"),
        ("fixedStep chrom=chrI start=1 step=1\n1\n", "line 1 of .*a.bg: no bedGraph"),
        ("chrX\t1\t2\t1\n", "line 1 of .*a.bg: no chromosome chrX in g.fa, which has chrII, chrI"),
        ("chrI\t2\t2\t1\n", r"line 1 of .*a.bg: \[2, 2\)"),
        ("chrI\t-1\t2\t1\n", r"line 1 of .*a.bg: \[-1, 2\)"),
        ("chrI\t1\t3001\t1\n", r"inside chrI of 3,000 bases"),
        ("chrI\t1\t2\tnan\n", "of value nan"),
        ("chrI\t1\t2\tinf\n", "of value inf"),
        ("chrI\t1\t2\t1e39\n", r"of value 1e\+39"),  # too large for a bigWig
        ("chrI\t1\t2\t1\nchrI\t0\t1\t1\n", "line 2 of .*: not in the order of g.fa, or overlapping"),
        ("chrI\t1\t3\t1\nchrI\t2\t4\t1\n", "line 2 of .*: not in the order of g.fa, or overlapping"),
        ("chrI\t1\t3\t1\nchrII\t2\t4\t1\n", "line 2 of .*: not in the order of g.fa, or overlapping"),
        ("", "a.bg has no values"),
        ("track type=bedGraph\n", "a.bg has no values"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "a.bg").write_text(text)
    with pytest.raises(InputError, match=found):
        bedgraph_to_bigwig(tmp_path / "a.bg", tmp_path / "a.bw", CHROMS, "g.fa")
    assert [path.name for path in tmp_path.iterdir()] == ["a.bg"]


@pytest.mark.parametrize("kind", ["bytes", "cut gzip", "absent"])
def test_what_is_no_text_is_told(tmp_path: Path, kind: str) -> None:
    if kind != "absent":
        cut = gzip.compress(b"chrI\t1\t2\t1\n")[:-12]
        (tmp_path / "a.bg").write_bytes(b"\xff\xfe\x00\x01" if kind == "bytes" else cut)
    with pytest.raises(InputError, match=r"cannot read .*a\.bg: (it is damaged, or no text|no such file)"):
        bedgraph_to_bigwig(tmp_path / "a.bg", tmp_path / "a.bw", CHROMS, "g.fa")
