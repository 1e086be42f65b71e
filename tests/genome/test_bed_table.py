"""BED tables: what is written is what a strict reader, bedtools, tabix and a bigBed writer take."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import pysam
import pytest
from bed_validator import read_bed

from gexplain.errors import RunError
from gexplain.genome.bed_table import (
    BedSchema,
    BedTable,
    Column,
    autosql,
    format_number,
    index_bed,
    write_autosql,
)

# Neither in the order of the alphabet nor of length.
CHROMS = {"chrII": 5000, "chrX": 800, "chrI": 3000}
SCHEMA = BedSchema(
    "motifHits",
    "Motifs where the model looks",
    (
        Column("motif", "string", "Name of the motif"),
        Column("sequence", "lstring", "Letters of the match"),
        Column("rank", "uint", "1 is the best"),
        Column("offset", "int", "Bases from the summit"),
        Column("relevance", "float", "Sum over the match; logit units"),
        Column("qValue", "double", "By Benjamini and Hochberg"),
    ),
)
TYPES = [column.type for column in SCHEMA.columns]
ROWS = [
    ("chrII", 0, 12, "hit_1", 0, "+", "CTCF", "ACGTACGTACGT", 1, -7, 1.25, 1e-300),
    ("chrII", 0, 15, "hit_2", 1000, "-", "USF1", "A", 2, 0, -0.1234567891, 0.5),
    ("chrII", 4990, 5000, "hit 3", 999, ".", "my\tmotif", "", 4_294_967_295, 8, 3e-8, 1.0),
    ("chrX", 5, 6, "", 1, "+", " ", "N" * 1000, 0, -(2**31), 123456789.0, 0.0),
    ("chrI", 0, 3000, "é", 500, "+", "x" * 300, ".", 5, 6, 0.0, 1.0),
]


def written(*rows: tuple[object, ...], schema: BedSchema = SCHEMA) -> str:
    stream = io.StringIO()
    with BedTable(stream, schema, CHROMS) as table:
        table.write(rows)
    return stream.getvalue()


def bed6(chrom: str, start: int, end: int, name: str = "a", score: int = 0, strand: str = "+") -> tuple[object, ...]:
    return (chrom, start, end, name, score, strand)


PLAIN = BedSchema("plain", "No more than six")


@pytest.fixture
def table(tmp_path) -> Path:
    with BedTable(tmp_path / "hits.bed", SCHEMA, CHROMS) as table:
        table.write(ROWS[:2])
        table.write(ROWS[2:])
    return tmp_path / "hits.bed"


# ---- what is written ----


def test_a_strict_reader_takes_the_table(table):
    assert len(read_bed(table.read_text(), CHROMS, TYPES)) == len(ROWS)


def test_every_value_comes_back(table):
    for row, fields in zip(ROWS, read_bed(table.read_text(), CHROMS, TYPES), strict=True):
        assert fields[0] == row[0]
        assert [int(fields[i]) for i in (1, 2, 4, 8, 9)] == [row[i] for i in (1, 2, 4, 8, 9)]
        assert fields[5] == row[5]
        assert [float(fields[i]) for i in (10, 11)] == pytest.approx([row[i] for i in (10, 11)], rel=5e-6)


def test_the_first_line_names_the_columns():
    line = "#chrom start end name score strand motif sequence rank offset relevance qValue".replace(" ", "\t")
    assert written().splitlines() == [line]


def test_text_is_one_field_and_never_empty():
    names = [written(bed6("chrII", 0, 1, text), schema=PLAIN).splitlines()[1].split("\t")[3] for text in ODD_TEXT]
    assert names == list(ODD_TEXT.values())


ODD_TEXT = {"a b": "a_b", "a\t\nb": "a__b", "": ".", " ": "_", "a\u00a0b": "a_b", "é" * 200: "é" * 127}


def test_bytes_that_are_no_text_pass(tmp_path):
    with BedTable(tmp_path / "a.bed", PLAIN, CHROMS) as table:
        table.write([bed6("chrII", 0, 1, b"\xffa".decode(errors="surrogateescape"))])
    assert b"\t\xffa\t" in (tmp_path / "a.bed").read_bytes()


def test_numbers_have_six_significant_digits():
    assert [format_number(x) for x in (1234567.0, 0.1, 1e-300, float("nan"))] == ["1.23457e+06", "0.1", "1e-300", "."]


def test_how_rows_are_cut_into_calls_changes_nothing(table):
    assert table.read_text(errors="surrogateescape") == written(*ROWS)


# ---- what is refused ----


@pytest.mark.parametrize(
    "rows",
    [
        [bed6("chrII", 5, 9), bed6("chrII", 4, 9)],
        [bed6("chrII", 5, 9), bed6("chrII", 5, 8)],
        [bed6("chrI", 5, 9), bed6("chrII", 10, 11)],
        [bed6("chrI", 2999, 3001)],
        [bed6("chrI", 5, 5)],
        [bed6("chrI", -1, 5)],
        [bed6("chr1", 1, 5)],
        [bed6("chrI", 1, 5, score=1001)],
        [bed6("chrI", 1, 5, score=-1)],
        [bed6("chrI", 1, 5, strand="*")],
        [bed6("chrI", 1, 5)[:5]],
    ],
)
def test_a_row_that_may_not_be_there_is_a_value_error(rows):
    with pytest.raises(ValueError, match=r"not sorted|not inside|no chromosome|expected"):
        written(*rows, schema=PLAIN)


@pytest.mark.parametrize("score", [1.0, "1", None])
def test_a_score_is_an_integer(score):
    with pytest.raises(TypeError):
        written(bed6("chrI", 1, 5, score=score), schema=PLAIN)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("float", float("nan")),
        ("double", float("inf")),
        ("uint", -1),
        ("uint", 2**32),
        ("int", 2**31),
        ("int", 1.5),
        ("float", None),
    ],
)
def test_a_value_that_is_not_of_its_type_is_a_value_error_that_names_the_column(kind, value):
    schema = BedSchema("t", "t", (Column("shade", kind, "of blue"),))
    with pytest.raises(ValueError, match=r"shade of chrI:\[1, 5\)"):
        written((*bed6("chrI", 1, 5), value), schema=schema)


def test_an_exception_leaves_no_file(tmp_path):
    table = BedTable(tmp_path / "a.bed", PLAIN, CHROMS)
    table.write([bed6("chrI", 5, 9)])
    with pytest.raises(ValueError, match="not sorted"), table:
        table.write([bed6("chrII", 5, 9)])
    assert list(tmp_path.iterdir()) == []


def test_the_file_has_its_name_when_it_is_whole(tmp_path):
    with BedTable(tmp_path / "a.bed", PLAIN, CHROMS) as table:
        table.write([bed6("chrI", 5, 9)])
        assert not (tmp_path / "a.bed").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a.bed"]


def test_a_folder_that_is_not_there_is_a_run_error(tmp_path):
    with pytest.raises(RunError, match=r"cannot write .*no such file"):
        BedTable(tmp_path / "none" / "a.bed", PLAIN, CHROMS)
    with pytest.raises(RunError, match=r"cannot write .*no such file"):
        write_autosql(tmp_path / "none" / "a.as", PLAIN)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_a_run_error():
    stream = Path("/dev/full").open("w")  # noqa: SIM115 (closing it fails again)
    table = BedTable(stream, PLAIN, CHROMS)
    with pytest.raises(RunError, match="cannot write /dev/full: no space left"):
        table.close()
    with pytest.raises(OSError, match="No space left"):
        stream.close()


def test_a_closed_pipe_passes_as_it_is():
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        BedTable(Closed(), PLAIN, CHROMS)


# ---- autoSql ----


def test_the_first_six_columns_are_ucsc_s(tmp_path):
    write_autosql(tmp_path / "plain.as", PLAIN)
    lines = (tmp_path / "plain.as").read_text().splitlines()
    assert lines[:3] == ["table plain", '"No more than six"', "    ("]
    assert [line.split('"')[0].split() for line in lines[3:-1]] == [
        ["string", "chrom;"],
        ["uint", "chromStart;"],
        ["uint", "chromEnd;"],
        ["string", "name;"],
        ["uint", "score;"],
        ["char[1]", "strand;"],
    ]
    assert lines[-1] == "    )"


@pytest.mark.parametrize("name", ["", "1st", "q-value", "q value", "é", "strand"])
def test_a_column_has_a_name_of_its_own_in_autosql(name):
    with pytest.raises(ValueError, match=r"no name in autoSql|two columns"):
        BedSchema("t", "t", (Column(name, "float", "one"),))


@pytest.mark.parametrize("text", ["", 'the "best"', "two\nlines"])
def test_a_description_fits_between_double_quotes(text):
    with pytest.raises(ValueError, match="cannot be a description"):
        Column("a", "float", text)


def test_a_type_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="no type 'boolean'"):
        Column("a", "boolean", "yes or no")


def test_a_bigbed_made_from_the_table_has_every_field(table, tmp_path):
    bigtools = pytest.importorskip("pybigtools", reason="needs pybigtools to write a bigBed")
    rows = sorted(read_bed(table.read_text(), CHROMS, TYPES), key=lambda row: (row[0], int(row[1])))
    path = str(tmp_path / "hits.bb")
    records = [(row[0], int(row[1]), int(row[2]), "\t".join(row[3:])) for row in rows]
    bigtools.open(path, "w").write(CHROMS, records, autosql=autosql(SCHEMA))
    with bigtools.open(path) as back:
        fields = back.sql(parse=True)["fields"]
        read = [
            [chrom, *map(str, record)] for chrom in sorted(CHROMS) for record in back.records(chrom, 0, CHROMS[chrom])
        ]
    assert [name for name, *_ in fields][6:] == [column.name for column in SCHEMA.columns]
    assert [kind for _, kind, *_ in fields][6:] == TYPES
    assert [kind for _, kind, *_ in fields][:5] == ["string", "uint", "uint", "string", "uint"]
    assert read == rows


# ---- bgzip and tabix ----


def test_tabix_finds_what_overlaps(table):
    compressed = index_bed(table, CHROMS)
    assert compressed.name == "hits.bed.gz"
    rows = read_bed(table.read_text(), CHROMS, TYPES)
    with pysam.TabixFile(str(compressed), encoding="utf-8") as file:
        assert list(file.header) == [SCHEMA.header]
        for chrom, length in CHROMS.items():
            for start in range(0, length, 5):
                expected = [
                    row for row in rows if row[0] == chrom and int(row[1]) < start + 5 and int(row[2]) > start
                ]
                found = [line.split("\t") for line in file.fetch(chrom, start, start + 5)]
                assert found == expected
    assert sorted(path.name for path in table.parent.iterdir()) == ["hits.bed", "hits.bed.gz", "hits.bed.gz.tbi"]


def test_a_table_without_rows_is_compressed_too(tmp_path):
    with BedTable(tmp_path / "a.bed", PLAIN, CHROMS):
        pass
    with pysam.TabixFile(str(index_bed(tmp_path / "a.bed", CHROMS))) as file:
        assert (list(file.header), list(file.contigs)) == ([PLAIN.header], [])


def test_a_chromosome_too_long_for_a_tbi_gets_a_csi(tmp_path):
    chroms = {"chr1": 10, "chr2": 2**29 + 100}
    (tmp_path / "a.bed.gz.tbi").write_text("an index from before")
    with BedTable(tmp_path / "a.bed", PLAIN, chroms) as table:
        table.write([bed6("chr1", 1, 2), bed6("chr2", 2**29 + 50, 2**29 + 60)])
    compressed = index_bed(tmp_path / "a.bed", chroms)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bed", "a.bed.gz", "a.bed.gz.csi"]
    with pysam.TabixFile(str(compressed), index=f"{compressed}.csi") as file:
        assert len(list(file.fetch("chr2", 2**29 + 55, 2**29 + 56))) == 1
        assert not list(file.fetch("chr2", 2**29 + 60, 2**29 + 61))


def test_a_compressed_table_is_replaced_whole_or_not_at_all(table, monkeypatch):
    compressed = index_bed(table, CHROMS)
    before = compressed.read_bytes()

    def fail(*_args: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pysam, "tabix_index", fail)
    with pytest.raises(RunError, match=r"cannot write .*hits\.bed\.gz: no space left"):
        index_bed(table, CHROMS)
    assert compressed.read_bytes() == before
    assert sorted(path.name for path in table.parent.iterdir()) == ["hits.bed", "hits.bed.gz", "hits.bed.gz.tbi"]


@pytest.mark.skipif(shutil.which("bedtools") is None, reason="needs bedtools on the PATH")
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_bedtools_reads_the_table(table, tmp_path, suffix):
    index_bed(table, CHROMS)
    sizes = tmp_path / "sizes"
    sizes.write_text("".join(f"{chrom}\t{length}\n" for chrom, length in CHROMS.items()))
    command = ["bedtools", "merge", "-i", f"{table}{suffix}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout == "chrII\t0\t15\nchrII\t4990\t5000\nchrX\t5\t6\nchrI\t0\t3000\n"
    in_order = ["bedtools", "intersect", "-sorted", "-g", sizes, "-a", f"{table}{suffix}", "-b", table, "-u"]
    done = subprocess.run(in_order, capture_output=True, text=True, check=True)
    assert done.stdout == "".join(line + "\n" for line in table.read_text().splitlines()[1:])
