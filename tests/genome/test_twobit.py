"""2bit: a genome comes back, every letter that is none of A, C, G and T as N."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gexplain.errors import RunError
from gexplain.genome import twobit
from gexplain.genome.twobit import write_twobit


class Letters:
    def __init__(self, sequences: dict[str, str]) -> None:
        self.sequences = sequences
        self.chroms = {name: len(sequence) for name, sequence in sequences.items()}

    def fetch(self, chrom: str, start: int, end: int, /) -> str:
        return self.sequences[chrom][start:end]


def read_twobit(path: Path) -> dict[str, str]:
    """All sequences, as https://genome.ucsc.edu/FAQ/FAQformat.html#format7 tells to read them, base by base."""
    data = path.read_bytes()

    def numbers(at: int, n: int) -> tuple[int, ...]:
        return struct.unpack_from(f"<{n}I", data, at)

    signature, version, n_sequences, reserved = numbers(0, 4)
    assert (signature, version, reserved) == (0x1A412743, 0, 0)

    def index() -> Iterator[tuple[str, int]]:
        at = 16
        for _ in range(n_sequences):
            size = data[at]
            yield data[at + 1 : at + 1 + size].decode(), numbers(at + 1 + size, 1)[0]
            at += 5 + size

    sequences = {}
    for name, at in index():
        n_bases, n_blocks = numbers(at, 2)
        starts, sizes = numbers(at + 8, n_blocks), numbers(at + 8 + 4 * n_blocks, n_blocks)
        at += 8 + 8 * n_blocks
        assert numbers(at, 2) == (0, 0)  # no mask, and reserved
        at += 8
        letters = ["TCAG"[data[at + i // 4] >> (6 - 2 * (i % 4)) & 3] for i in range(n_bases)]
        for start, size in zip(starts, sizes, strict=True):
            letters[start : start + size] = "N" * size
        sequences[name] = "".join(letters)
    return sequences


def draw(length: int, seed: int) -> str:
    rng = np.random.default_rng(seed)
    letters = rng.choice(list("ACGT"), length)
    for _ in range(length // 50):
        start = int(rng.integers(0, length))
        letters[start : start + int(rng.integers(1, 40))] = rng.choice(list("NNNRYU"))
    return "".join(letters)


def known(sequence: str) -> str:
    return "".join(letter if letter in "ACGT" else "N" for letter in sequence)


SEQUENCES = {
    "chr1": draw(1003, 0),
    "HLA-A*01:01": draw(400, 1),
    "all N": "N" * 17,
    "ends in N": "ACGNN",
    "begins with N": "NNACG",
    "one": "G",
    "é": "ACGTACGT",
}


def test_every_base_comes_back(tmp_path: Path) -> None:
    write_twobit(tmp_path / "a.2bit", Letters(SEQUENCES))
    assert read_twobit(tmp_path / "a.2bit") == {name: known(letters) for name, letters in SEQUENCES.items()}


@pytest.mark.parametrize("piece", [4, 8, 400])
def test_pieces_change_no_byte(tmp_path: Path, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    write_twobit(tmp_path / "a.2bit", Letters(SEQUENCES))
    monkeypatch.setattr(twobit, "_PIECE", piece)
    write_twobit(tmp_path / "b.2bit", Letters(SEQUENCES))
    assert (tmp_path / "a.2bit").read_bytes() == (tmp_path / "b.2bit").read_bytes()


def test_py2bit_reads_it(tmp_path: Path) -> None:
    py2bit = pytest.importorskip("py2bit", reason="needs py2bit")
    write_twobit(tmp_path / "a.2bit", Letters(SEQUENCES))
    file = py2bit.open(str(tmp_path / "a.2bit"))
    try:
        assert file.chroms() == Letters(SEQUENCES).chroms
        for name, letters in SEQUENCES.items():
            assert file.sequence(name, 0, len(letters)) == known(letters)
    finally:
        file.close()


def test_what_the_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a name of more than 255 bytes"):
        write_twobit(tmp_path / "a.2bit", Letters({"é" * 128: "ACGT"}))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_a_run_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot write .*a\.2bit: no such file"):
        write_twobit(tmp_path / "no" / "a.2bit", Letters(SEQUENCES))


def test_files_appear_only_when_they_are_whole(tmp_path: Path) -> None:
    class Broken(Letters):
        n_calls = 0

        def fetch(self, chrom: str, start: int, end: int, /) -> str:
            self.n_calls += 1
            if self.n_calls > len(self.chroms):  # the letters are read twice
                raise KeyboardInterrupt
            return super().fetch(chrom, start, end)

    with pytest.raises(KeyboardInterrupt):
        write_twobit(tmp_path / "a.2bit", Broken(SEQUENCES))
    assert list(tmp_path.iterdir()) == []
