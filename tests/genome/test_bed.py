"""The BED reader: what it accepts, what it refuses and where, and the mend that it names."""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import sys
import time
from pathlib import Path

import pytest
from paths import SHARED, needs_shared

from gexplain.errors import BedError, InputError
from gexplain.genome import bed
from gexplain.genome.bed import BedReader, Region
from gexplain.genome.intervals import Interval

EDGE_CASES = SHARED / "data" / "edge_cases"


def read(text: str | bytes, **options: object) -> list[Region]:
    return list(reader(text, **options))


def reader(text: str | bytes, **options: object) -> BedReader:
    return BedReader(io.BytesIO(text.encode() if isinstance(text, str) else text), **options)  # type: ignore[arg-type]


def refused(text: str | bytes, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        read(text, **options)
    return str(caught.value)


def positions(regions: list[Region]) -> list[tuple[str, int, int]]:
    return [(r.interval.chrom, r.interval.start, r.interval.end) for r in regions]


def test_six_columns_give_name_score_and_strand() -> None:
    expected = Region(Interval("chr1", 5, 9, "peak", "-"), 1, "12", None)
    assert read("chr1\t5\t9\tpeak\t12\t-\n") == [expected]


def test_the_fast_path_reads_as_the_slow_one_does() -> None:
    line = "chr1\t5\t9\tpeak\t12\t-\t1.5\t-1\t2e-3\t3\n"
    first, second = read(line * 2)
    assert (first.interval, first.score, first.summit) == (second.interval, second.score, second.summit)


@pytest.mark.parametrize("n_columns", range(3, 13))
def test_three_to_twelve_columns_are_read(n_columns: int) -> None:
    fields = ["chr1", "0", "100", "n", "0", "+", "0", "100", "0", "1", "100,", "0,"]
    regions = read(("\t".join(fields[:n_columns]) + "\n") * 2)
    assert positions(regions) == [("chr1", 0, 100)] * 2


def test_a_narrowpeak_has_an_absolute_summit() -> None:
    assert [r.summit for r in read("chr1\t100\t200\tn\t0\t.\t1\t1\t1\t25\n" * 2)] == [125, 125]


def test_a_narrowpeak_without_summit_has_none() -> None:
    assert [r.summit for r in read("chr1\t100\t200\tn\t0\t.\t1\t1\t1\t-1\n" * 2)] == [None, None]


def test_a_summit_outside_its_region_is_counted_and_dropped() -> None:
    source = reader("chr1\t100\t200\tn\t0\t.\t1\t1\t1\t25\n" + "chr1\t100\t200\tn\t0\t.\t1\t1\t1\t100\n" * 2)
    assert [r.summit for r in source] == [125, None, None]
    assert (source.faults[bed.SUMMIT_FAULT].count, source.faults[bed.SUMMIT_FAULT].first_line) == (2, 2)


@pytest.mark.parametrize(
    "skipped",
    [
        "# comment\n",
        "#chrom\tstart\tend\n",
        "track name=x\n",
        "track\n",
        "browser position chr1:1-2\n",
        "\n",
        "chrom\tstart\tend\n",
        "chrom\tchromStart\tchromEnd\tname\n",
        "Chromosome\tStart\tEnd\n",
        "\r\n",
        " \t\n",
    ],
)
def test_what_is_no_region_is_passed_over(skipped: str) -> None:
    assert [(r.line, r.interval.start) for r in read(skipped + "chr1\t1\t2\n")] == [(2, 1)]


def test_a_track_line_between_regions_is_passed_over() -> None:
    assert [r.line for r in read("chr1\t1\t2\ntrack name=b\nchr1\t3\t4\n")] == [1, 3]


@pytest.mark.parametrize(
    "text", ["chr1\t1\t2\r\nchr1\t3\t4\r\n", "\ufeffchr1\t1\t2\nchr1\t3\t4", "chr1 1 2\n  chr1   3\t4  \n"]
)
def test_line_ends_byte_order_marks_and_spaces_do_not_matter(text: str) -> None:
    assert positions(read(text)) == [("chr1", 1, 2), ("chr1", 3, 4)]


@pytest.mark.parametrize(
    "chrom",
    ["NC_000913.3", "HLA-A*01:01", "gi|543583785|ref|NM_000465.3|", "chrUn_KI270442v1", "a-b+c=d#e/f~g@h", "1"],
)
def test_real_chromosome_names_pass(chrom: str) -> None:
    assert positions(read(f"{chrom}\t1\t2\n" * 2)) == [(chrom, 1, 2)] * 2


def test_a_comment_is_no_region_on_the_fast_path_either() -> None:
    assert [r.line for r in read("chr1\t1\t2\n#chr1\t1\t2\nchr1\t1\t2\n")] == [1, 3]


def test_names_keep_their_spaces_between_tabs() -> None:
    source = reader("chr1\t1\t2\tmy peak\n")
    assert [r.interval.name for r in source] == ["my peak"]
    assert list(source.faults) == [bed.NAME_FAULT]


@pytest.mark.parametrize("name", ["café".encode(), "café".encode("latin-1")])
def test_names_come_in_utf8_and_latin1(name: bytes) -> None:
    assert [r.interval.name for r in read(b"chr1\t1\t2\t" + name + b"\n")] == ["café"]


def test_leading_zeros_and_empty_regions_and_the_largest_coordinate_pass() -> None:
    assert positions(read("c\t007\t7\nc\t0\t4294967295\n")) == [("c", 7, 7), ("c", 0, 4294967295)]


@pytest.mark.parametrize("last", ["chr1\t1\t2\tn\t0\t\n", "chr1\t1\t2\tn\n"])
def test_trailing_empty_columns_may_be_there_or_not(last: str) -> None:
    assert len(read("chr1\t1\t2\tn\t\t\n" + last)) == 2


# ---- Malformed lines ----


@pytest.mark.parametrize(
    ("line", "reason", "mend"),
    [
        ("chr1\t5200\t5100", "start (5200) is greater than end (5100)", "swap columns 2 and 3"),
        ("chr1\t5", "2 columns, expected at least 3", "with tabs between"),
        ("chr1", "1 column, expected at least 3", "with tabs between"),
        ("chr1:1-2", "a region as text", "-r instead"),
        ("chr1,1,2", "commas between the columns", "put tabs"),
        ("chr1;1;2", "semicolons between the columns", "put tabs"),
        ("chrom\tstart\tend", "a header line between the regions", "put # before it"),
        ("seqnames\tstart\tend", "is it a header line?", "put # before it"),
        ("chr1\t1.0\t2", "start (1.0) is not a whole number", "astype(int)"),
        ("chr1\t1\t1e6", "end (1e6) is in scientific notation", "scipen"),
        ("chr1\t-1\t2", "start (-1) is negative", "first base of a chromosome is 0"),
        ("chr1\t1,000\t2,000", "start (1,000) has commas", "without the commas"),
        ("chr1\t+1\t2", "start (+1) has a sign", "digits alone"),
        ("chr1\tx1\t2", "start (x1) is not a number", "digits"),
        ("chr1\t1\t²", "end (²) is not a number", "digits"),
        ("chr1\t1\t4294967296", "end (4294967296) is greater than 4294967295", "correct the number"),
        ("chr1\t1\t" + "9" * 5000, "is greater than 4294967295", "correct the number"),
        ("\t1\t2", "chrom is missing", "as the FASTA does"),
        (".\t1\t2", "chrom is missing", "as the FASTA does"),
        ("chr1\t\t2\t3", "start is missing", "one tab between"),
        ("chr1\t1\t", "end is missing", "one tab between"),
        ("chr1&\t1\t2", "chrom 'chr1&' has the character '&'", "as the FASTA does"),
        ("chr 1\t1\t2", "has the character ' '", "as the FASTA does"),
        ("chr\x01\t1\t2", r"has the character '\x01'", "as the FASTA does"),
        ('"chr1"\t1\t2', "quotation marks in the first three columns", "quote = FALSE"),
        ("chr1\t1\t2\tname", "4 columns, where the lines before it have 3", "the same columns"),
        ("chr1\tsrc\tgene\t1\t2\t.\t+\t.\tID", "is it GFF or GTF?", "give a BED"),
    ],
)
def test_a_malformed_line_is_named_with_its_mend(line: str, reason: str, mend: str) -> None:
    error = refused(f"chr1\t1\t2\n{line}\nchr1\t3\t4\n")
    assert error.startswith("malformed BED entry at line 2 of the stream: ")
    assert reason in error.splitlines()[0]
    assert mend in error.splitlines()[-1]


def test_fewer_columns_than_before_are_refused() -> None:
    assert "3 columns, where the lines before it have 4" in refused("chr1\t1\t2\tn\nchr1\t1\t2\n")


def test_the_error_reads_as_designed(tmp_path: Path) -> None:
    path = tmp_path / "peaks.bed"
    lines = ["chr1\t1\t2\tok"] * 81
    lines[16], lines[79], lines[80] = "chr3\t5200\t5100\tpeak_17", "chr1\t2\t1\tb", "chr1\t2\t1\tc"
    path.write_text("\n".join(lines))
    with pytest.raises(BedError) as caught:
        list(BedReader(path))
    assert str(caught.value) == (
        f"malformed BED entry at line 17 of {path}: start (5200) is greater than end (5100)\n"
        "    chr3  5200  5100  peak_17\n"
        "    fix: swap columns 2 and 3, or use --on-bad-line skip to drop such lines (3 in this file: 17, 80, 81)"
    )


def test_the_count_of_bad_lines_says_at_least_where_reading_ahead_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bed, "MAX_LINES_AHEAD", 2)
    assert "(at least 3 in this file: 1, 2, 3)" in refused("c\t2\t1\n" * 9)


def test_a_long_bad_line_is_cut_and_its_control_characters_shown() -> None:
    shown = refused("chr1\t2\t\x1b[31m" + "x" * 500 + "\n").splitlines()[1].strip()
    assert len(shown) == 120
    assert shown.startswith(r"chr1  2  \x1b[31mxxx")


def test_bad_lines_may_be_skipped_and_are_recorded() -> None:
    source = reader("c\t1\t2\nc\t2\t1\nc\t3\t4\nc\tx1\t4\n", on_bad_line="skip")
    assert [r.line for r in source] == [1, 3]
    assert source.bad_lines == [(2, "start (2) is greater than end (1)"), (4, "start (x1) is not a number")]
    assert (source.n_regions, source.n_bad_lines) == (2, 2)


def test_the_record_of_bad_lines_is_capped_and_the_count_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bed, "MAX_BAD_LINES", 2)
    source = reader("c\t2\t1\n" * 5, on_bad_line="skip")
    assert list(source) == []
    assert (len(source.bad_lines), source.n_bad_lines) == (2, 5)


# ---- Columns that are not used ----


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ("n\t1001", bed.SCORE_FAULT),
        ("n\t-1", bed.SCORE_FAULT),
        ("n\t5.5", bed.SCORE_FAULT),
        ("n\t0\tx", bed.STRAND_FAULT),
        ("n\t0\t+\t0\t50", bed.THICK_FAULT),
        ("n\t0\t+\tx\t50", bed.THICK_FAULT),
        ("n\t0\t+\t10\t20\tred", bed.RGB_FAULT),
        ("n\t0\t+\t10\t20\t1,2,256", bed.RGB_FAULT),
        ("n\t0\t+\tstrong\t1\t1", bed.PEAK_FAULT),
        ("n\t0\t+\t1\t1\tx\t5", bed.PEAK_FAULT),
        ("n\t0\t+\t1\t1\t1\tx", bed.SUMMIT_FAULT),
        ("n\t0\t+\t10\t20\t0\t2\t5\t0", bed.BLOCKS_FAULT),
        ("n\t0\t+\t10\t20\t0\t1\t11\t0", bed.BLOCKS_FAULT),
    ],
)
def test_a_fault_in_an_unused_column_is_counted_and_strictly_refused(columns: str, fault: str) -> None:
    text = f"chr1\t10\t20\t{columns}\n" * 3
    source = reader(text)
    assert len(list(source)) == 3
    assert {name: count.count for name, count in source.faults.items()} == {fault: 3}
    with pytest.raises(BedError, match="line 1 of the stream: column"):
        read(text, strict=True)


@pytest.mark.parametrize(
    "columns",
    [
        "n\t.\t.",
        "n\t1000\t-\t0\t0\t0",
        "n\t0\t+\t5.2\t-1\t-1",  # broadPeak
        "n\t0\t+\t.\t.\t.\t.\t.\t.",
        "n\t0\t+\t12\t18\t255,0,0\t2\t3,4,\t0,6,",
    ],
)
def test_what_the_formats_allow_is_no_fault(columns: str) -> None:
    assert len(read(f"chr1\t10\t20\t{columns}\n", strict=True)) == 1


def test_an_odd_strand_is_none_unless_the_strand_is_needed() -> None:
    assert [r.interval.strand for r in read("c\t1\t2\tn\t0\t*\n")] == ["."]
    assert "strand '*' is none of + - ." in refused("c\t1\t2\tn\t0\t*\n", needs_strand=True)


# ---- Files ----


def test_gzip_is_told_by_its_bytes_and_not_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "plain.bed"
    path.write_bytes(gzip.compress(b"c\t1\t2\n") + gzip.compress(b"c\t3\t4\n"))
    assert positions(list(BedReader(path))) == [("c", 1, 2), ("c", 3, 4)]


def test_truncated_gzip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "peaks.bed.gz"
    path.write_bytes(gzip.compress(b"".join(b"c\t%d\t%d\n" % (i, i + i % 7) for i in range(9999)))[:-20])
    with pytest.raises(InputError, match=r"peaks\.bed\.gz is truncated or damaged gzip"):
        list(BedReader(path))


def test_bgzf_without_its_end_marker_is_refused() -> None:
    whole = _bgzf(b"c\t1\t2\n")
    assert positions(read(whole)) == [("c", 1, 2)]
    assert "the end marker of BGZF is missing" in refused(whole[:-28])


def test_the_hash_is_that_of_the_bytes_as_they_lie(tmp_path: Path) -> None:
    data = gzip.compress(b"c\t1\t2\n" * 50_000)
    path = tmp_path / "a.bed.gz"
    path.write_bytes(data)
    source = BedReader(path)
    with pytest.raises(ValueError, match="not been read to its end"):
        _ = source.sha256
    assert sum(1 for _ in source) == 50_000
    assert source.sha256 == hashlib.sha256(data).hexdigest()


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(b"c\t1\t2\n")

    monkeypatch.setattr(sys, "stdin", Stdin)
    source = BedReader("-")
    assert positions(list(source)) == [("c", 1, 2)]
    assert source.name == "standard input"


def test_a_reader_is_read_once() -> None:
    source = reader("c\t1\t2\n")
    list(source)
    with pytest.raises(ValueError, match="iterated once"):
        iter(source)


@pytest.mark.parametrize("name", ["absent.bed", "."])
def test_a_path_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot read"):
        list(BedReader(tmp_path / name))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b">chr1\nACGT\n", "a FASTA"),
        (gzip.compress(b">chr1\nACGT\n", mtime=0), "a FASTA"),
        (b"@r\nACGT\n+\nIIII\n", "a FASTQ"),
        (b"##fileformat=VCFv4.2\n#CHROM\n", "a VCF"),
        (b"##gff-version 3\n", "a GFF"),
        (b"#!x\nchr1\tsrc\tgene\t1\t10\t.\t+\t.\tID=g\n", "a GFF or GTF"),
        (gzip.compress(b"BAM\1" + bytes(50), mtime=0), "a BAM"),
        (b"@HD\tVN:1.6\n", "a SAM"),
        (bytes.fromhex("ebf28987") + bytes(60), "a bigBed"),
        (b"PK\3\4" + bytes(60), "a zip archive or Excel workbook"),
        ("chr1\t1\t2\n".encode("utf-16"), "a UTF-16 text"),
        (b"<!DOCTYPE html><html>", "a web page or XML"),
        (b"fixedStep chrom=chr1 start=1 step=1\n1\n", "a wiggle"),
        (b"\x01\x00\x02" * 99, "a binary file"),
    ],
)
def test_another_format_is_recognised(data: bytes, found: str) -> None:
    assert f"the stream looks like {found}, not a BED" in refused(data, on_bad_line="skip")


def test_a_fasta_in_place_of_a_bed_asks_whether_arguments_are_swapped() -> None:
    assert refused(">chr1\nACGT\n").endswith("are the arguments swapped? gexplain score REGIONS GENOME")


def test_a_file_without_line_ends_is_not_held_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bed, "MAX_LINE_BYTES", 1000)
    assert "line 1 of the stream is longer than 1,000 bytes" in refused("x" * 5000)


def test_an_empty_file_has_no_regions() -> None:
    assert read("") == []


def test_reading_300_000_lines_takes_seconds_at_most() -> None:
    text = "".join(f"chr{i % 22}\t{i}\t{i + 500}\tpeak_{i}\t{i % 1000}\t+\n" for i in range(300_000))
    begin = time.process_time()  # of this process alone: the machine may be busy
    n_regions = sum(1 for _ in reader(text))
    # About 1 s on a quiet machine; a slow line parser takes five times that.
    assert (n_regions, time.process_time() - begin < 10) == (300_000, True)


def test_importing_the_reader_loads_no_heavy_library() -> None:
    code = "import sys, gexplain.genome.bed; print({'torch', 'pandas', 'pyranges', 'pysam'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# ---- Files that break readers ----


@needs_shared
@pytest.mark.parametrize("path", sorted((EDGE_CASES / "bed3" / "good").glob("*")), ids=lambda path: path.name)
def test_valid_files_are_accepted_in_full(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    expected = [(chrom, int(start), int(end)) for chrom, start, end in map(str.split, lines)]
    assert positions(list(BedReader(path, strict=True))) == expected


BAD_FILES = {
    "01-missing_chrom.bed": (2, "chrom is missing"),
    "01-no_chrom.bed": (2, "chrom is missing"),
    "01-quote_chrom.bed": (4, "quotation marks"),
    "01-special_char_chrom.bed": (2, "has the character '&'"),
    "02-float_start.bed": (2, "start (250074.1) is not a whole number"),
    "02-no_start.bed": (1, "start is missing"),
    "02-start_negative.bed": (2, "start (-250063) is negative"),
    "02-string_start.bed": (1, "start (250thousand) is not a number"),
    "03-chromEnd_too_large.bed": (311, "end (4294967296) is greater than"),
    "03-end_negative.bed": (1, "end (-250059) is negative"),
    "03-float_end.bed": (3, "end (250176.1) is not a whole number"),
    "03-no_end.bed": (5, "end is missing"),
    "03-start_gt_end.bed": (1, "start (250070) is greater than end (250069)"),
    "03-string_end.bed": (1, "end (2500seventy-nine) is not a number"),
    "other-quote_feature.bed": (4, "quotation marks"),
}


@needs_shared
def test_every_invalid_file_has_its_expectation() -> None:
    assert {path.name for path in (EDGE_CASES / "bed3" / "bad").glob("*")} == set(BAD_FILES)


@needs_shared
@pytest.mark.parametrize("name", BAD_FILES)
def test_invalid_files_are_refused_at_the_right_line(name: str) -> None:
    line, reason = BAD_FILES[name]
    with pytest.raises(BedError) as caught:
        list(BedReader(EDGE_CASES / "bed3" / "bad" / name))
    assert f"at line {line} of " in caught.value.message
    assert reason in caught.value.message


@needs_shared
@pytest.mark.parametrize(
    ("name", "n_regions", "faults"),
    [
        ("bedtools/general/a.chromheader.bed", 1, {}),
        ("bedtools/general/a.trackheader.bed", 1, {}),
        ("bedtools/general/empty.bed", 0, {}),
        ("bedtools/general/non-empty.bed.gz", 2, {}),
        ("bedtools/general/t.bed", 4, {}),
        ("bedtools/getfasta/blocks.bed", 2, {bed.BLOCKS_FAULT: 1}),
        ("bedtools/getfasta/rna.bed", 2, {}),
        ("kent/badScores.bed", 9, {bed.SCORE_FAULT: 7}),
        ("kent/notSorted.bed", 4, {bed.THICK_FAULT: 1, bed.BLOCKS_FAULT: 1}),
        ("pyfaidx/gene.bed12", 1, {}),
        ("pyfaidx/regions.bed", 2, {}),
    ],
)
def test_files_of_other_tools_are_read(name: str, n_regions: int, faults: dict[str, int]) -> None:
    source = BedReader(EDGE_CASES / name)
    assert len(list(source)) == n_regions
    assert {fault: count.count for fault, count in source.faults.items()} == faults


@needs_shared
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("kent/endThenStart.bedGraph", r"line 2 .*start \(200\) is greater than end \(100\)"),
        ("pyfaidx/malformed.bed", r"line 1 .*2 columns, expected at least 3"),
        ("bedtools/getfasta/attr.gff", "looks like a GFF or GTF"),
        ("bedtools/getfasta/t.fa.gz", "looks like a FASTA"),
        ("kent/testFixed.wig", "looks like a wiggle"),
    ],
)
def test_files_of_other_tools_are_refused(name: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        list(BedReader(EDGE_CASES / name))


def _bgzf(data: bytes) -> bytes:
    """One BGZF block and the end marker (SAM spec, 4.1)."""
    plain = gzip.compress(data, mtime=0)
    size = len(plain) + 8 - 1
    header = b"\x1f\x8b\x08\x04" + bytes(5) + b"\xff\x06\x00BC\x02\x00" + size.to_bytes(2, "little")
    return header + plain[10:] + bed.BGZF_EOF
