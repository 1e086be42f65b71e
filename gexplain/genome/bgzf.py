"""A reference for browsers: a FASTA in BGZF with its indices, of which only some stretches have letters.

BGZF is gzip in blocks, which are found through a .gzi (section 4.1 of
https://samtools.github.io/hts-specs/SAMv1.pdf). A block holds one line, and lines of N are all alike: one is
compressed, once, however many there are.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Protocol

import numpy as np

from gexplain.arrays import IntArray
from gexplain.genome.formats import BGZF_EOF
from gexplain.genome.tracks import partial_path, write_error

# Bases of a line, which fills a block with its end. Shorter lines would be runs of N that compress half as well.
LINE = 0xFF00 - 1
_UNKNOWN = b"N" * LINE + b"\n"
# Of gzip: magic, deflate, extra field; no time, no system; 6 bytes extra, which say how large the block is.
_BLOCK_HEADER = struct.Struct("<4BI2BH2BHH")
_BLOCK_END = struct.Struct("<II")
_PAIR = struct.Struct("<QQ")


class Sequences(Protocol):
    """What letters are fetched from: a Genome."""

    @property
    def chroms(self) -> Mapping[str, int]:
        """Names to lengths."""

    def fetch(self, chrom: str, start: int, end: int, /) -> str:
        """The letters of [start, end)."""


def write_sparse_fasta(path: Path, genome: Sequences, shown: Mapping[str, IntArray]) -> None:
    """Write some chromosomes as BGZF to `path`, with path.fai and path.gzi; N stands where nothing is shown.

    shown: of each chromosome that is written, in the order in which they are, the stretches with letters: (n, 2),
    sorted, apart, inside it. The files appear when they are whole. Raises RunError where they cannot be written.
    """
    targets = [path, path.with_name(f"{path.name}.fai"), path.with_name(f"{path.name}.gzi")]
    partials = [partial_path(target) for target in targets]
    try:
        with partials[0].open("wb") as file, partials[1].open("wb") as fai:
            writer = _BgzfWriter(file)
            for chrom, stretches in shown.items():
                length = genome.chroms[chrom]
                writer.write(f">{chrom}\n".encode())
                line = min(length, LINE)
                fai.write(f"{chrom}\t{length}\t{writer.n_bytes}\t{line}\t{line + 1}\n".encode())
                _write_lines(writer, genome, chrom, stretches)
            writer.close()
        partials[2].write_bytes(struct.pack("<Q", len(writer.places) // _PAIR.size) + writer.places)
        for partial, target in zip(partials, targets, strict=True):
            partial.replace(target)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        for partial in partials:
            partial.unlink(missing_ok=True)


def _write_lines(writer: _BgzfWriter, genome: Sequences, chrom: str, stretches: IntArray) -> None:
    length = genome.chroms[chrom]
    starts, ends = stretches[:, 0], stretches[:, 1]
    for begin in range(0, length, LINE):
        end = min(begin + LINE, length)
        inside = range(
            int(np.searchsorted(ends, begin, side="right")), int(np.searchsorted(starts, end, side="left"))
        )
        if not inside and end - begin == LINE:
            writer.write_unknown()
            continue
        letters = np.full(end - begin, ord("N"), dtype=np.uint8)
        for i in inside:
            low, high = max(int(starts[i]), begin), min(int(ends[i]), end)
            letters[low - begin : high - begin] = np.frombuffer(
                genome.fetch(chrom, low, high).encode(), dtype=np.uint8
            )
        writer.write(letters.tobytes() + b"\n")


class _BgzfWriter:
    """BGZF being written; places: of all blocks but the first, as a .gzi has them."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._n_packed = 0
        self.n_bytes = 0
        self.places = bytearray()
        self._packed_unknown = _pack(_UNKNOWN)

    def write(self, text: bytes) -> None:
        """Add a block."""
        self._append(len(text), _pack(text))

    def write_unknown(self) -> None:
        """Add a line of N."""
        self._append(len(_UNKNOWN), self._packed_unknown)

    def _append(self, n_bytes: int, packed: bytes) -> None:
        if self.n_bytes:
            self.places += _PAIR.pack(self._n_packed, self.n_bytes)
        self._file.write(packed)
        self._n_packed += len(packed)
        self.n_bytes += n_bytes

    def close(self) -> None:
        """Add the marker without which the file counts as cut off."""
        self._file.write(BGZF_EOF)


def _pack(text: bytes) -> bytes:
    """A block of BGZF; text: at most 65,280 bytes."""
    deflate = zlib.compressobj(wbits=-15)
    data = deflate.compress(text) + deflate.flush()
    size = _BLOCK_HEADER.size + len(data) + _BLOCK_END.size
    header = _BLOCK_HEADER.pack(*(31, 139, 8, 4), 0, *(0, 255), 6, *b"BC", 2, size - 1)
    return header + data + _BLOCK_END.pack(zlib.crc32(text), len(text))
