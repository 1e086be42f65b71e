"""The FASTA: exact sequences, an index that is made or checked, and each misfit with its own error."""

from __future__ import annotations

import gzip
import hashlib
import multiprocessing
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pysam
import pytest
from paths import SHARED, needs_shared

from gexplain.errors import InputError
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval

FASTA = b">chrII second\nACGTACGTAC\nGTacgtnnNN\nAC\n>chrI\nRYKMSWBDHV\nuU\n"
CHR_II = "ACGTACGTACGTACGTNNNNAC"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "genome.fa"
    path.write_bytes(FASTA)
    return path


@pytest.fixture
def bgzf_path(tmp_path: Path) -> Path:
    path = tmp_path / "genome.fa.gz"
    with pysam.BGZFile(str(path), "wb", None) as file:
        file.write(FASTA)
    return path


def refused(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        Genome(path)
    assert not list(path.parent.glob(".gexplain*"))
    return str(caught.value).replace(f"{path.parent}/", "")


def test_chromosomes_are_in_the_order_of_the_file(path: Path) -> None:
    with Genome(path) as genome:
        assert list(genome.chroms.items()) == [("chrII", 22), ("chrI", 12)]


@pytest.mark.parametrize(("start", "end"), [(0, 22), (9, 11), (21, 22), (5, 5), (0, 0), (22, 22)])
def test_fetch_is_exact_and_upper_case(path: Path, start: int, end: int) -> None:
    with Genome(path) as genome:
        assert genome.fetch("chrII", start, end) == CHR_II[start:end]


def test_bgzf_reads_as_plain_does(bgzf_path: Path) -> None:
    with Genome(bgzf_path) as genome:
        assert genome.fetch("chrII", 0, 22) == CHR_II


def test_ambiguous_letters_are_kept(path: Path) -> None:
    with Genome(path) as genome:
        assert genome.fetch("chrI", 0, 12) == "RYKMSWBDHVUU"


def test_an_interval_is_fetched(path: Path) -> None:
    with Genome(path) as genome:
        assert genome.fetch(Interval("chrII", 2, 5)) == "GTA"


@pytest.mark.parametrize(
    ("chrom", "start", "end"), [("chrII", 20, 23), ("chrII", -1, 3), ("chrII", 4, 3), ("chrX", 0, 1)]
)
def test_fetch_outside_a_chromosome_is_an_error(path: Path, chrom: str, start: int, end: int) -> None:
    with Genome(path) as genome, pytest.raises(ValueError, match=r"chrII|chrX"):
        genome.fetch(chrom, start, end)


def test_the_hash_is_that_of_the_file_on_disk(bgzf_path: Path) -> None:
    with Genome(bgzf_path) as genome:
        assert genome.sha256() == hashlib.sha256(bgzf_path.read_bytes()).hexdigest()


def test_crlf_and_a_missing_last_line_end_are_read(tmp_path: Path) -> None:
    (tmp_path / "dos.fa").write_bytes(b">a x\r\nACGT\r\nAC\r\n>b\r\nAC")
    with Genome(tmp_path / "dos.fa") as genome:
        assert [genome.fetch("a", 0, 6), genome.fetch("b", 0, 2)] == ["ACGTAC", "AC"]


# ---- Threads and forks ----


def test_threads_share_a_genome(tmp_path: Path) -> None:
    sequence = "".join("ACGT"[i * i % 4] for i in range(40_000))
    (tmp_path / "a.fa").write_text(f">a\n{sequence}\n")
    with Genome(tmp_path / "a.fa") as genome, ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda start: genome.fetch("a", start, start + 50), range(0, 39_000, 13))
        assert list(found) == [sequence[start : start + 50] for start in range(0, 39_000, 13)]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_opens_its_own_handle(path: Path) -> None:
    with Genome(path) as genome:
        parents = genome._handle()
        context = multiprocessing.get_context("fork")
        answers = context.SimpleQueue()
        child = context.Process(
            target=lambda: answers.put((genome._handle() is parents, genome.fetch("chrII", 0, 4)))
        )
        child.start()
        child.join()
        assert answers.get() == (False, "ACGT")
        assert genome.fetch("chrII", 4, 8) == "ACGT"


# ---- The index ----


def test_the_index_is_that_of_samtools(path: Path) -> None:
    Genome(path).close()
    made = path.with_name("genome.fa.fai").read_text()
    pysam.faidx(str(path))
    assert path.with_name("genome.fa.fai").read_text() == made


def test_nothing_but_the_index_is_left_beside(bgzf_path: Path) -> None:
    Genome(bgzf_path).close()
    names = sorted(path.name for path in bgzf_path.parent.iterdir())
    assert names == ["genome.fa.gz", "genome.fa.gz.fai", "genome.fa.gz.gzi"]


def test_a_missing_gzi_alone_is_made(bgzf_path: Path) -> None:
    Genome(bgzf_path).close()
    bgzf_path.with_name("genome.fa.gz.gzi").unlink()
    with Genome(bgzf_path) as genome:
        assert genome.fetch("chrII", 0, 22) == CHR_II


def test_a_folder_without_permission_to_write_is_named_with_a_mend(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)
    with pytest.raises(InputError, match=r"cannot write .*genome\.fa\.fai.*permission denied") as caught:
        Genome(path)
    assert "samtools faidx" in caught.value.hint


def test_a_folder_without_permission_to_write_is_fine_with_an_index(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Genome(path).close()
    monkeypatch.setattr(tempfile, "TemporaryDirectory", None)
    with Genome(path) as genome:
        assert genome.fetch("chrII", 0, 4) == "ACGT"


def test_an_older_index_that_agrees_is_used(path: Path) -> None:
    Genome(path).close()
    os.utime(path.with_name("genome.fa.fai"), (1, 1))
    with Genome(path) as genome:
        assert genome.fetch("chrII", 0, 4) == "ACGT"


@pytest.mark.parametrize(
    "changed",
    [
        FASTA.replace(b"chrI\n", b"chr1\n"),
        FASTA.replace(b"ACGTACGTAC\n", b"ACGTACGTAC\nACGTACGTAC\n"),
        FASTA + b">chrIII\nACGT\n",
        FASTA + b"ACGT\n",
        FASTA[:-10],
        b">new\nACGT\n" + FASTA,
    ],
)
@pytest.mark.parametrize("name", ["genome.fa", "genome.fa.gz"])
def test_a_stale_index_is_refused_and_kept(tmp_path: Path, changed: bytes, name: str) -> None:
    path = tmp_path / name

    def write(data: bytes) -> None:
        if name.endswith(".gz"):
            with pysam.BGZFile(str(path), "wb", None) as file:
                file.write(data)
        else:
            path.write_bytes(data)

    write(FASTA)
    Genome(path).close()
    fai = tmp_path / f"{name}.fai"
    before = fai.read_text()
    write(changed)
    os.utime(fai, (1, 1))
    with pytest.raises(InputError, match=r"does not agree with .*older than the FASTA") as caught:
        Genome(path)
    assert f"delete {fai}" in caught.value.hint
    assert fai.read_text() == before


@pytest.mark.parametrize("index", ["", "rubbish\n", "chrII\t22\t14\n", "chrII\t0\t14\t10\t11\n"])
def test_a_broken_index_is_refused(path: Path, index: str) -> None:
    path.with_name("genome.fa.fai").write_text(index)
    with pytest.raises(InputError, match="is not an index as samtools faidx writes it"):
        Genome(path)


# ---- Misfits ----


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "x.fa is empty"),
        (b"chr1\t1\t2\n", "x.fa is not a FASTA: it begins with 'chr1\\t1\\t2\\n', expected >"),
        (b"@r\nACGT\n+\nIIII\n", "x.fa is not a FASTA: it looks like a FASTQ"),
        (bytes.fromhex("4327411a") + bytes(60), "x.fa is not a FASTA: it looks like a 2bit"),
        (bytes(range(256)), "x.fa is not a FASTA: it looks like a binary file"),
        (b"\xef\xbb\xbf>a\nACGT\n", "x.fa is not a FASTA: bytes before the first >"),
        (b">p\nMKVLAAGIVGLQ\n", "x.fa is not DNA: it has the letters I, L, Q"),
        (b">a\nACGT\n>b\nAC\n>a\nGG\n", "line 5: a second sequence named 'a'; the first is at line 1"),
        (b">a\nACGT\nAC\nACGT\n>b\nACGT\n", "line 4: the lines of 'a' are not of equal length"),
        (b">a\nACGT\nACGTA\n", "line 3: the lines of 'a' are not of equal length"),
        (b">a\nACGT\n\nACGT\n", "line 4: the lines of 'a' are not of equal length"),
        (b">a\n>b\nACGT\n", "line 1: 'a' has no sequence"),
        (b">b\nACGT\n>a\n", "line 3: 'a' has no sequence"),
        (b">\nACGT\n", "line 1: a sequence without a name"),
        (b">a\r\nACGT\nACGT\r\nACGT\n", "its lines end in different ways"),
        (gzip.compress(FASTA, mtime=0), "x.fa is gzip but not BGZF"),
    ],
)
def test_what_is_no_indexable_fasta_has_its_own_error(tmp_path: Path, data: bytes, message: str) -> None:
    error = refused(tmp_path / "x.fa", data)
    assert message in error
    assert "fix: " in error
    assert [path.name for path in tmp_path.iterdir()] == ["x.fa"]


def test_a_bed_in_place_of_a_fasta_asks_whether_arguments_are_swapped(tmp_path: Path) -> None:
    assert refused(tmp_path / "x.bed", b"chr1\t1\t2\n").endswith("swapped? gexplain score REGIONS GENOME")


def test_truncated_bgzf_is_refused(bgzf_path: Path) -> None:
    assert "is truncated" in refused(bgzf_path, bgzf_path.read_bytes()[:-28])


@pytest.mark.parametrize("name", ["absent.fa", "."])
def test_a_path_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot read"):
        Genome(tmp_path / name)


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.fa")
    with pytest.raises(InputError, match="is a pipe or device"):
        Genome(tmp_path / "pipe.fa")


# ---- Real files ----


@needs_shared
def test_the_yeast_index_is_made_as_samtools_made_it(tmp_path: Path) -> None:
    theirs = SHARED / "data" / "yeast" / "sacCer3.fa.gz"
    path = Path(shutil.copy(theirs, tmp_path))
    Genome(path).close()
    for suffix in (".fai", ".gzi"):
        assert Path(f"{path}{suffix}").read_bytes() == Path(f"{theirs}{suffix}").read_bytes()


@needs_shared
def test_the_yeast_genome_has_its_chromosome_sizes() -> None:
    yeast = SHARED / "data" / "yeast"
    rows = [line.split() for line in (yeast / "sacCer3.chrom.sizes").read_text().splitlines()]
    with Genome(yeast / "sacCer3.fa.gz") as genome:
        assert genome.chroms == {chrom: int(length) for chrom, length in rows}


@needs_shared
@pytest.mark.parametrize(
    ("name", "chrom", "sequence"),
    [
        ("bedtools/getfasta/rna.fasta", "chr1", "UUGACCGAUG"),
        ("bedtools/getfasta/test.iupac.fa", "2", "AGCTYRWSKMDVHBXNACGT"),
        ("bedtools/getfasta/t_fH.fa", "chr1", "AGGGGGGGGGCGGGGGGGGG"),
        ("bedtools/getfasta/t.fa.gz", "chr1", "AGGGGGGGGGCGGGGGGGGG"),
        ("pyfaidx/issue_83.fasta", "GL000207.1", "CATACATTTAATATACCCTC"),
    ],
)
def test_files_of_other_tools_are_read(tmp_path: Path, name: str, chrom: str, sequence: str) -> None:
    path = Path(shutil.copy(SHARED / "data" / "edge_cases" / name, tmp_path))
    with Genome(path) as genome:
        assert genome.fetch(chrom, 0, len(sequence)) == sequence
