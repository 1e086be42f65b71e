"""Sparse references: letters where they are shown, N elsewhere, and indices that htslib would have written."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pysam
import pytest

from gexplain.errors import RunError
from gexplain.genome.bgzf import LINE, write_sparse_fasta
from gexplain.genome.fasta import Genome


class Letters:
    """A genome of drawn letters, which remembers what was asked for."""

    def __init__(self, chroms: dict[str, int], seed: int = 0) -> None:
        self.chroms = chroms
        rng = np.random.default_rng(seed)
        self._letters = {
            chrom: "".join(rng.choice(list("ACGTRN"), length, p=[0.24] * 4 + [0.02] * 2))
            for chrom, length in chroms.items()
        }
        self.asked: list[tuple[str, int, int]] = []

    def fetch(self, chrom: str, start: int, end: int, /) -> str:
        self.asked.append((chrom, start, end))
        return self._letters[chrom][start:end]

    def masked(self, chrom: str, stretches: np.ndarray) -> str:
        """The slow way."""
        inside = np.zeros(self.chroms[chrom], dtype=bool)
        for start, end in stretches:
            inside[start:end] = True
        return "".join(letter if is_in else "N" for letter, is_in in zip(self._letters[chrom], inside, strict=True))


def stretches(*pairs: tuple[int, int]) -> np.ndarray:
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


CHROMS = {"chr1": 200_000, "none": 70_000, "HLA-A*01:01": 3000, "exact": 2 * LINE, "short": 60, "one": 1}
SHOWN = {
    # At the ends, in one line, over a border of lines, up to a border, and from one.
    "chr1": stretches((0, 10), (500, 900), (LINE - 7, LINE + 9), (2 * LINE - 5, 2 * LINE), (199_990, 200_000)),
    "HLA-A*01:01": stretches((100, 161)),
    "exact": stretches((LINE, LINE + 1)),
    "short": stretches((0, 60)),
    "one": stretches((0, 1)),
}


def test_letters_are_shown_and_elsewhere_is_n(tmp_path: Path) -> None:
    genome = Letters(CHROMS)
    write_sparse_fasta(tmp_path / "a.fa.gz", genome, SHOWN)
    with pysam.FastaFile(str(tmp_path / "a.fa.gz")) as file:
        assert file.references == list(SHOWN)
        assert file.lengths == [CHROMS[chrom] for chrom in SHOWN]
        for chrom, shown in SHOWN.items():
            assert file.fetch(chrom) == genome.masked(chrom, shown)


def test_any_stretch_is_found_through_the_index(tmp_path: Path) -> None:
    genome = Letters(CHROMS)
    write_sparse_fasta(tmp_path / "a.fa.gz", genome, SHOWN)
    masked = genome.masked("chr1", SHOWN["chr1"])
    rng = np.random.default_rng(1)
    with pysam.FastaFile(str(tmp_path / "a.fa.gz")) as file:
        for start in [0, 899, LINE - 3, 2 * LINE - 3, 199_980, *rng.integers(0, 199_000, 50).tolist()]:
            assert file.fetch("chr1", start, start + 100) == masked[start : start + 100]


def test_indices_are_those_of_htslib(tmp_path: Path) -> None:
    write_sparse_fasta(tmp_path / "a.fa.gz", Letters(CHROMS), SHOWN)
    options = ["--fai-idx", str(tmp_path / "fai"), "--gzi-idx", str(tmp_path / "gzi")]
    pysam.faidx(str(tmp_path / "a.fa.gz"), *options)
    assert (tmp_path / "a.fa.gz.fai").read_text() == (tmp_path / "fai").read_text()
    assert (tmp_path / "a.fa.gz.gzi").read_bytes() == (tmp_path / "gzi").read_bytes()


def test_it_is_a_genome_for_gexplain_and_plain_gzip_for_others(tmp_path: Path) -> None:
    genome = Letters(CHROMS)
    write_sparse_fasta(tmp_path / "a.fa.gz", genome, {"short": SHOWN["short"]})
    with Genome(tmp_path / "a.fa.gz") as read:
        assert read.fetch("short", 0, 60) == genome.fetch("short", 0, 60)
    assert (
        gzip.decompress((tmp_path / "a.fa.gz").read_bytes()) == f">short\n{genome.fetch('short', 0, 60)}\n".encode()
    )


def test_only_what_is_shown_is_read(tmp_path: Path) -> None:
    genome = Letters(CHROMS)
    write_sparse_fasta(tmp_path / "a.fa.gz", genome, SHOWN)
    for chrom, start, end in genome.asked:
        assert any(low <= start and end <= high for low, high in SHOWN[chrom])
    n_asked = sum(end - start for _, start, end in genome.asked)
    assert n_asked == sum(int((shown[:, 1] - shown[:, 0]).sum()) for shown in SHOWN.values())


def test_n_compresses_to_almost_nothing(tmp_path: Path) -> None:
    genome = Letters({})
    genome.chroms = {"chr1": 100_000_000}
    write_sparse_fasta(tmp_path / "a.fa.gz", genome, {"chr1": stretches()})
    assert not genome.asked
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 100_000_000 / 500
    with pysam.FastaFile(str(tmp_path / "a.fa.gz")) as file:
        assert file.fetch("chr1", 99_999_000, 100_000_000) == "N" * 1000


def test_files_appear_only_when_they_are_whole(tmp_path: Path) -> None:
    class Broken(Letters):
        def fetch(self, chrom: str, start: int, end: int, /) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sparse_fasta(tmp_path / "a.fa.gz", Broken(CHROMS), SHOWN)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_a_run_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot write .*a\.fa\.gz: no such file"):
        write_sparse_fasta(tmp_path / "no" / "a.fa.gz", Letters(CHROMS), SHOWN)
