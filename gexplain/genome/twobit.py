"""2bit: a genome in two bits a base, as the UCSC Genome Browser reads one from a track hub.

The format: https://genome.ucsc.edu/FAQ/FAQformat.html#format7. It knows T, C, A, G and N: every other letter is
written as N.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from gexplain.arrays import IntArray
from gexplain.genome.bgzf import Sequences
from gexplain.genome.tracks import partial_path, write_error

_SIGNATURE, _VERSION = 0x1A412743, 0
# Signature, version, number of sequences, reserved.
_HEADER = struct.Struct("<IIII")
_LONGEST_NAME = 255
# Letters read together: whole bytes of four.
_PIECE = 1 << 20
_UNKNOWN = 4
_CODES = np.full(256, _UNKNOWN, dtype=np.uint8)
_CODES[np.frombuffer(b"TCAG", dtype=np.uint8)] = np.arange(4)


def write_twobit(path: str | os.PathLike[str], genome: Sequences) -> None:
    """Write a genome as 2bit; the file appears when it is whole.

    Memory holds a stretch of letters and the places of the N. Raises ValueError for a name of more than 255
    bytes and for what is larger than the format's 4 GiB, RunError where the file cannot be written.
    """
    target = Path(path)
    names = [name.encode() for name in genome.chroms]
    if max(map(len, names)) > _LONGEST_NAME:
        raise ValueError("a name of more than 255 bytes")
    # Names with the byte that says how long they are, and an offset each.
    offset = _HEADER.size + sum(1 + len(name) + 4 for name in names)
    offsets, unknown = [], []
    for chrom, length in genome.chroms.items():
        unknown.append(_find_unknown(genome, chrom))
        offsets.append(offset)
        offset += 16 + 8 * len(unknown[-1]) + (length + 3) // 4
    if offset > 2**32:
        raise ValueError(f"{offset:,} bytes; a 2bit has at most 4 GiB")
    partial = partial_path(target)
    try:
        with partial.open("wb") as file:
            file.write(_HEADER.pack(_SIGNATURE, _VERSION, len(names), 0))
            for name, offset in zip(names, offsets, strict=True):
                file.write(bytes([len(name)]) + name + struct.pack("<I", offset))
            for chrom, blocks in zip(genome.chroms, unknown, strict=True):
                _write_sequence(file, genome, chrom, blocks)
        partial.replace(target)
    except OSError as error:
        raise write_error(target, error) from error
    finally:
        partial.unlink(missing_ok=True)


def _write_sequence(file: IO[bytes], genome: Sequences, chrom: str, unknown: IntArray) -> None:
    file.write(struct.pack("<II", genome.chroms[chrom], len(unknown)))
    file.write(unknown[:, 0].astype("<u4").tobytes() + (unknown[:, 1] - unknown[:, 0]).astype("<u4").tobytes())
    file.write(struct.pack("<II", 0, 0))  # nothing is masked by lower case; reserved
    for _, codes in _codes(genome, chrom):
        four = np.zeros((len(codes) + 3) // 4 * 4, dtype=np.uint8)
        four[: len(codes)] = np.where(codes == _UNKNOWN, 0, codes)
        first, second, third, last = four.reshape(-1, 4).T
        file.write((first << 6 | second << 4 | third << 2 | last).tobytes())


def _find_unknown(genome: Sequences, chrom: str) -> IntArray:
    """Where a chromosome has no base that 2bit knows: (n, 2), sorted, apart."""
    steps = []
    before = False
    for start, codes in _codes(genome, chrom):
        is_unknown = codes == _UNKNOWN
        steps.append(start + np.flatnonzero(np.diff(is_unknown, prepend=before)))
        before = bool(is_unknown[-1])
    ends = [np.array([genome.chroms[chrom]])] if before else []
    return np.concatenate([*steps, *ends]).astype(np.int64).reshape(-1, 2)


def _codes(genome: Sequences, chrom: str) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    length = genome.chroms[chrom]
    for start in range(0, length, _PIECE):
        letters = genome.fetch(chrom, start, min(start + _PIECE, length))
        yield start, _CODES[np.frombuffer(letters.encode(), dtype=np.uint8)]
