"""Files for browsers: what the tables of a run say, where the reference has its letters, and no harm in any name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyBigWig
import pysam
import pytest
from tiny_browser import TinyRun, make_run

from gexplain.errors import InputError, UsageError
from gexplain.genome.intervals import Interval
from gexplain.report.browser_files import BROWSER_FILES, LEAST_FLANK, write_browser_files

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "a\"b'c&amp;",
    "Ω 中文",
    "\udcffbytes",
    "\x1b[31m\x00",
    "x" * 400,
    "é" * 200,
)


def write(run: TinyRun, **choices: Any) -> Path:
    assert write_browser_files(run.path, run.path, run.manifest, run.genome, **choices) == []
    return run.path / "browser"


def entries(path: Path, chrom: str, length: int) -> list[tuple[int, int, list[str]]]:
    with pyBigWig.open(str(path)) as file:
        return [(start, end, rest.split("\t")) for start, end, rest in file.entries(chrom, 0, length) or []]


def test_scored_regions_are_in_the_order_of_the_genome_with_what_is_known_of_them(tmp_path: Path) -> None:
    browser = write(make_run(tmp_path))
    assert [(one[0], one[1], one[2][0], one[2][2]) for one in entries(browser / "regions.bb", "chr1", 5000)] == [
        (2000, 2400, "peak_2", "-"),
        (2100, 2300, "inside", "."),
    ]
    start, end, columns = entries(browser / "regions.bb", "chr2", 6000)[0]
    assert (start, end) == (0, 100)
    assert columns == [
        *("peak_1", "900", "+", "0", "100", "0,114,178"),
        *("CTCF", "CTCF 0.9, background 0.05", "background 0.5, CTCF -0.5", "3"),
    ]


def test_a_region_without_a_name_is_called_by_its_place(tmp_path: Path) -> None:
    browser = write(make_run(tmp_path))
    ((_, _, columns),) = entries(browser / "regions.bb", "scaffold_3.1", 900)
    assert columns[0] == "scaffold_3.1:851-900"


@pytest.mark.parametrize(
    ("labels", "head", "colors"),
    [
        # What the others are told from is grey.
        (["background", "a", "b"], "classification", ["128,128,128", "0,114,178", "230,159,0"]),
        (["a", "b"], "multi_label", ["0,114,178", "230,159,0"]),
        (["level"], "regression", ["0,114,178"]),
    ],
)
def test_regions_have_the_colour_of_their_class(
    tmp_path: Path, labels: list[str], head: str, colors: list[str]
) -> None:
    regions = [Interval("chr1", 100 * i, 100 * i + 50) for i in range(len(labels))]
    browser = write(make_run(tmp_path, labels=labels, head=head, regions=regions))
    assert [one[2][5] for one in entries(browser / "regions.bb", "chr1", 5000)] == colors


def test_a_region_of_no_class_is_grey_and_a_regression_has_no_score(tmp_path: Path) -> None:
    run = make_run(tmp_path / "none", labels=["a", "b"], head="multi_label", regions=[Interval("chr1", 0, 50)])
    table = run.path / "regions.tsv"
    table.write_text(table.read_text().replace("\ta\t0.9", "\t.\t0.4"))
    ((_, _, columns),) = entries(write(run) / "regions.bb", "chr1", 5000)
    assert (columns[1], columns[5], columns[6]) == ("400", "128,128,128", ".")
    value = make_run(tmp_path / "value", labels=["a"], head="regression", regions=[Interval("chr1", 0, 50)])
    ((_, _, columns),) = entries(write(value) / "regions.bb", "chr1", 5000)
    assert (columns[1], columns[7]) == ("0", "a 0.9")


@pytest.mark.parametrize("table", ["seqlets", "hits"])
def test_calls_keep_all_their_columns(tmp_path: Path, table: str) -> None:
    run = make_run(tmp_path)
    browser = write(run)
    rows = [line.split("\t") for line in (run.path / f"{table}.bed").read_text().splitlines()[1:]]
    found = entries(browser / f"{table}.bb", "chr1", 5000)
    assert len(found) == len(rows) == 3
    for (start, end, columns), row in zip(found, rows, strict=True):
        assert [str(start), str(end), *columns[:3], *columns[6:]] == row[1:]


def test_high_and_low_and_primary_and_secondary_are_told_apart(tmp_path: Path) -> None:
    browser = write(make_run(tmp_path))
    assert [one[2][5] for one in entries(browser / "seqlets.bb", "chr1", 5000)] == [
        *("0,114,178", "213,94,0", "0,114,178")
    ]
    hits = entries(browser / "hits.bb", "chr1", 5000)
    # A secondary hit is thin all along.
    assert [columns[3:5] for _, _, columns in hits] == [["2050", "2062"], ["2070", "2070"], ["2090", "2102"]]
    assert len({columns[5] for _, _, columns in hits}) == 2


def test_the_columns_are_described(tmp_path: Path) -> None:
    browser = write(make_run(tmp_path))
    with pyBigWig.open(str(browser / "hits.bb")) as file:
        names = [line.split()[1] for line in file.SQL().decode().splitlines()[3:-1]]
    assert names[3:10] == ["name;", "score;", "strand;", "thickStart;", "thickEnd;", "reserved;", "track;"]
    assert len(names) == 21


@pytest.mark.parametrize("n_hits", [0, None])
def test_without_calls_there_is_no_file_of_them(tmp_path: Path, n_hits: int | None) -> None:
    assert sorted(path.name for path in write(make_run(tmp_path, n_hits=n_hits)).glob("*.bb")) == ["regions.bb"]


def test_the_reference_has_letters_around_regions_and_only_there(tmp_path: Path) -> None:
    run = make_run(
        tmp_path, regions=[Interval("chr1", 2000, 2400), Interval("chr1", 2700, 2710), Interval("chr2", 0, 9)]
    )
    browser = write(run)
    with pysam.FastaFile(str(browser / "reference.fa.gz")) as file:
        assert file.references == ["chr2", "chr1"]
        sequence = run.genome.fetch("chr1", 0, 5000)
        low, high = 2000 - LEAST_FLANK, 2710 + LEAST_FLANK
        assert file.fetch("chr1") == "N" * low + sequence[low:high] + "N" * (5000 - high)
        assert file.fetch("chr2") == run.genome.fetch("chr2", 0, 9 + LEAST_FLANK).ljust(6000, "N")


def test_letters_reach_as_far_as_a_window(tmp_path: Path) -> None:
    run = make_run(tmp_path, regions=[Interval("chr1", 2000, 2400)])
    run.manifest["settings"]["window"] = 1000
    with pysam.FastaFile(str(write(run) / "reference.fa.gz")) as file:
        assert file.fetch("chr1").strip("N") == run.genome.fetch("chr1", 1000, 3400).strip("N")


def test_any_name_does_no_harm(tmp_path: Path) -> None:
    regions = [Interval("chr1", 100 * i, 100 * i + 50, name) for i, name in enumerate(HOSTILE)]
    browser = write(make_run(tmp_path, regions=regions, labels=HOSTILE[:4]))
    found = entries(browser / "regions.bb", "chr1", 5000)
    names = [columns[0] for _, _, columns in found]
    # IGV Desktop reads no other letters than these.
    assert names[:5] == [*HOSTILE[:2], "Omega ??", "?bytes", "?[31m?"]
    assert names[5:] == ["x" * 255, "e" * 200]
    assert all(len(columns) == 10 and "\t".join(columns).isascii() for _, _, columns in found)


def test_thousands_of_contigs_and_names_with_colons(tmp_path: Path) -> None:
    chroms = {"chr1": 5000, "HLA-A*01:01": 700, "été": 99, **{f"contig_{i}": 300 for i in range(2000)}}
    regions = [Interval(f"contig_{i}", 10, 200) for i in range(0, 2000, 2)]
    regions += [Interval("HLA-A*01:01", 5, 600), Interval("été", 5, 60)]
    run = make_run(tmp_path, chroms=chroms, regions=regions)
    (note,) = write_browser_files(run.path, run.path, run.manifest, run.genome)
    assert "HLA-A*01:01" in note
    browser = run.path / "browser"
    for name in ("HLA-A*01:01", "été", "contig_1998"):
        assert len(entries(browser / "regions.bb", name, chroms[name])) == 1
    with pysam.FastaFile(str(browser / "reference.fa.gz")) as file:
        assert len(file.references) == 1002
        assert file.fetch("contig_1998") == run.genome.fetch("contig_1998", 0, 300)


def test_everything_that_is_written_is_named(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    before = {path.name for path in run.path.iterdir()}
    write(run)
    assert {path.name for path in run.path.iterdir()} - before == set(BROWSER_FILES)


def test_writing_again_changes_no_byte_and_leaves_nothing_old(tmp_path: Path) -> None:
    run = make_run(tmp_path)

    def content() -> dict[str, bytes]:
        files = [path for path in run.path.rglob("*") if path.is_file()]
        return {str(path.relative_to(run.path)): path.read_bytes() for path in files}

    write(run)
    first = content()
    (run.path / "browser" / "old.bb").touch()
    write(run)
    assert content() == first
    (run.path / "hits.bed").unlink()
    write(run)
    assert content().keys() == first.keys() - {"hits.bed", "browser/hits.bb"}
    assert b"hits" not in content()["trackDb.txt"] + content()["igv_session.xml"]


def test_paths_are_those_of_where_the_files_will_be(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    work = run.path / ".unfinished"
    work.mkdir()
    for name in ("tracks", "regions.tsv", "stats.tsv", "seqlets.bed", "hits.bed"):
        (run.path / name).rename(work / name)
    assert write_browser_files(work, run.path, run.manifest, run.genome) == []
    assert 'genome="../genome.fa"' in (work / "igv_session.xml").read_text()
    assert 'path="browser/hits.bb"' in (work / "igv_session.xml").read_text()
    assert (work / "browser" / "hits.bb").exists()


def test_regions_that_nobody_scored_leave_no_regions_and_no_reference(tmp_path: Path) -> None:
    browser = write(make_run(tmp_path, regions=[]))
    assert sorted(path.name for path in browser.iterdir()) == ["genome.2bit", "hits.bb", "seqlets.bb"]


@pytest.mark.parametrize(
    ("table", "old", "new", "reason"),
    [
        (
            "regions.tsv",
            "\t0.9\t0.9",
            "\t0.9",
            "regions.tsv: a line of 28 columns; expected 29, for 2 classes and 2 t",
        ),
        ("regions.tsv", "chr1\t2000", "\nchr1\t2000", "regions.tsv: a line of 1 columns"),
        ("hits.bed", "matchP", "pMatch", "hits.bed: it begins with '#chrom"),
    ],
)
def test_tables_of_another_kind_are_refused(tmp_path: Path, table: str, old: str, new: str, reason: str) -> None:
    run = make_run(tmp_path)
    text = (run.path / table).read_text()
    assert old in text
    (run.path / table).write_text(text.replace(old, new))
    with pytest.raises(InputError, match=reason):
        write(run)


def test_an_assembly_that_is_no_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--assembly"):
        write(make_run(tmp_path), assembly="<b>")


def test_neither_torch_nor_pandas_is_loaded(tmp_path: Path) -> None:
    code = "import gexplain.report.browser_files, sys; print({'torch', 'transformers', 'pandas'} & {*sys.modules})"
    assert (
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "set()\n"
    )


def test_merged_stretches_are_the_union(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    starts = rng.integers(0, 59_000, 60)
    regions = [Interval("chr1", int(start), int(start + rng.integers(1, 900))) for start in starts]
    run = make_run(tmp_path, chroms={"chr1": 60_000}, regions=regions)
    inside = np.zeros(60_000, dtype=bool)
    for one in regions:
        inside[max(one.start - LEAST_FLANK, 0) : one.end + LEAST_FLANK] = True
    with pysam.FastaFile(str(write(run) / "reference.fa.gz")) as file:
        assert (np.frombuffer(file.fetch("chr1").encode(), dtype="S1") != b"N").tolist() == inside.tolist()
