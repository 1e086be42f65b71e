"""Chromosome names: mapped only where asked, and never to the wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from gexplain.errors import InputError
from gexplain.genome.chromosomes import match_chroms, no_shared_chroms_error, read_chrom_alias, select_chroms


def alias_file(tmp_path: Path, text: str) -> Path:
    (tmp_path / "alias.txt").write_text(text)
    return tmp_path / "alias.txt"


def test_nothing_is_renamed_unless_asked() -> None:
    assert match_chroms(["1", "chr2"], ["chr1", "chr2"]) == {"chr2": "chr2"}


@pytest.mark.parametrize(
    ("bed", "fasta"),
    [("1", "chr1"), ("chr1", "1"), ("MT", "chrM"), ("chrM", "MT"), ("M", "MT"), ("chrMT", "chrM"), ("chrM", "M")],
)
def test_the_chr_alias_adds_and_removes_the_prefix(bed: str, fasta: str) -> None:
    assert match_chroms([bed], ["chr9", fasta], "chr") == {bed: fasta}


@pytest.mark.parametrize("bed", ["chr11", "MT1", "2"])
def test_the_chr_alias_maps_nothing_else(bed: str) -> None:
    assert match_chroms([bed], ["chr1", "chrM"], "chr") == {}


def test_an_equal_name_comes_before_an_alias() -> None:
    # hg19 of UCSC has both, and they are two sequences.
    assert match_chroms(["chrM", "chrMT", "MT"], ["chrM", "chrMT"], "chr") == {
        "chrM": "chrM",
        "chrMT": "chrMT",
        "MT": "chrMT",
    }


@pytest.mark.parametrize(
    "text",
    [
        "I\tchrI\nII\tchrII\nNC_001133.9\tchrI\n",
        "I\tchrI\tensembl\nII\tchrII\tassembly,ensembl\nNC_001133.9\tchrI\trefseq\n",
        "# ucsc\tassembly\trefseq\nchrI\tI\tNC_001133.9\nchrII\tII\t\n\n",
    ],
)
def test_every_name_in_a_row_is_an_alias_of_the_others(tmp_path: Path, text: str) -> None:
    alias = read_chrom_alias(alias_file(tmp_path, text))
    assert match_chroms(["I", "II", "NC_001133.9", "III"], ["chrI", "chrII"], alias) == {
        "I": "chrI",
        "II": "chrII",
        "NC_001133.9": "chrI",
    }


def test_aliases_work_from_either_side(tmp_path: Path) -> None:
    alias = read_chrom_alias(alias_file(tmp_path, "I\tchrI\n"))
    assert match_chroms(["chrI"], ["I"], alias) == {"chrI": "I"}


def test_an_alias_of_two_sequences_is_refused(tmp_path: Path) -> None:
    alias = read_chrom_alias(alias_file(tmp_path, "one\tchrI\none\tI\n"))
    with pytest.raises(InputError, match="'one' stands for chrI, I"):
        match_chroms(["one"], ["chrI", "I"], alias)


@pytest.mark.parametrize("text", ["chrI\n", "chrI I\n"])
def test_an_alias_file_of_one_column_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"line 1 of .*alias\.txt has one column"):
        read_chrom_alias(alias_file(tmp_path, text))


def test_a_missing_alias_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*absent"):
        read_chrom_alias(tmp_path / "absent")


def test_a_bed_without_shared_names_is_told_of_the_prefix() -> None:
    error = no_shared_chroms_error("peaks.bed", ["1", "2", "KI"], 812, "genome.fa", ["chr1", "chr2", "chrX"])
    assert str(error) == (
        "none of the 812 regions' chromosomes are in genome.fa\n"
        "    peaks.bed has 1, 2, KI; genome.fa has chr1, chr2, chrX\n"
        '    fix: --chrom-alias chr maps the "chr" prefix (2 of 3 names then match)'
    )


def test_a_bed_of_another_genome_is_told_to_check_the_build() -> None:
    error = no_shared_chroms_error("peaks.bed", ["NC_001133.9"], 3, "genome.fa", ["chrI"])
    assert "same species and build; --chrom-alias FILE" in error.hint


@pytest.mark.parametrize(
    ("patterns", "selected"),
    [
        (["chrII,chrI"], ["chrI", "chrII"]),
        (["chrII", "chrI"], ["chrI", "chrII"]),
        (["chrI*"], ["chrI", "chrII", "chrIII"]),
        (["A*01"], ["A*01"]),
        (["chr?"], ["chrI", "chrV"]),
    ],
)
def test_chromosomes_are_selected_in_the_order_of_the_fasta(patterns: list[str], selected: list[str]) -> None:
    assert select_chroms(patterns, ["chrI", "chrII", "chrIII", "chrV", "A*01", "AB01"]) == selected


@pytest.mark.parametrize(("pattern", "near"), [("chri", "chrI"), ("1", "chr1"), ("chrIIJ", "chrII")])
def test_a_pattern_that_matches_nothing_names_its_neighbours(pattern: str, near: str) -> None:
    with pytest.raises(InputError, match=f"{pattern!r} matches no chromosome") as caught:
        select_chroms([pattern], ["chrI", "chrII", "chr1"])
    assert near in caught.value.hint
