"""bigWig: one value a base, for genome browsers (Kent et al. 2010, doi:10.1093/bioinformatics/btq351).

A base without a value is NaN here and a gap in the file. Files are read through pyBigWig but written here, since
libBigWig holds all zoom levels in memory. What grows with a track is 32 bytes a block, of up to 4096 values.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gexplain.arrays import IntArray
from gexplain.errors import InputError
from gexplain.genome.big_file import BigFileWriter
from gexplain.genome.bigwig_format import (
    END,
    ITEMS_PER_BLOCK,
    pack_fixed_step,
    pack_variable_step,
)
from gexplain.genome.tracks import WriteOrder, write_error

# Shorter runs are written as (position, value), longer ones as one start and its values. A fixedStep run is a
# compressed block of its own: measured on random values, runs of 16 are a fifth larger that way, of 64 an eighth
# smaller.
MIN_FIXED_STEP_RUN = 64
# Bases encoded together, a whole number of blocks and bins: how values are cut into calls then changes no byte.
PAGE = 1 << 17


class BigWigWriter(BigFileWriter):
    """A bigWig being written: a context manager.

    chroms: names to lengths, the header in its order. The file appears under `path` when it is closed without
    an exception; until then it has another name, which an exception removes. How the values are cut into calls
    changes no byte.

    Without any value the file is valid, and its summary all zeros. Raises RunError where the file cannot be
    written, a full disk included.
    """

    def __init__(self, path: str | os.PathLike[str], chroms: Mapping[str, int]) -> None:
        super().__init__(path, chroms)
        self._order = WriteOrder(chroms)
        self._page = np.full(PAGE, np.nan, dtype=np.float32)
        self._page_chrom, self._page_start = 0, 0

    def write(self, chrom: str, start: int, values: NDArray[np.float32]) -> None:
        """Add the values, (n,) float32, of [start, start + n); NaN is a gap.

        Calls come in the header's order of chromosomes, sorted, and do not overlap: ValueError otherwise, and
        for infinities and what is outside the chromosome.
        """
        self._order.check(chrom, start, values)
        end = start + len(values)
        try:
            for page_start in range(start - start % PAGE, end, PAGE):
                self._turn_to_page(self._ids[chrom], page_start)
                low, high = max(start, page_start), min(end, page_start + PAGE)
                self._page[low - page_start : high - page_start] = values[low - start : high - start]
        except OSError as error:
            self.abort()
            raise write_error(self.path, error) from error

    def _turn_to_page(self, chrom_id: int, page_start: int) -> None:
        if (chrom_id, page_start) == (self._page_chrom, self._page_start):
            return
        self._write_page()
        self._page_chrom, self._page_start = chrom_id, page_start

    def _write_page(self) -> None:
        """Write the page's blocks, add its values to the zoom levels and empty it."""
        has_value = np.flatnonzero(~np.isnan(self._page))
        if len(has_value) == 0:
            return
        values, positions = self._page[has_value], self._page_start + has_value
        for block, is_fixed_step in _cut_into_blocks(positions):
            start, end = int(positions[block.start]), int(positions[block.stop - 1]) + 1
            if is_fixed_step:
                packed = pack_fixed_step(self._page_chrom, start, values[block])
            else:
                packed = pack_variable_step(self._page_chrom, positions[block], values[block])
            self._write_block(packed, self._page_chrom, start, end)
        self._zooms.add(self._page_chrom, positions, values)
        self._page.fill(np.nan)

    def _write_rest(self) -> tuple[int, None]:
        self._write_page()
        return len(self._blocks), None


class BigWig:
    """A bigWig being read: a context manager. chroms: names to lengths, in the order of its header.

    Raises InputError for what is no bigWig.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        self._file = _open_bigwig(path)
        self.chroms: dict[str, int] = dict(self._file.chroms())
        # pyBigWig returns an empty list, not NaN, from a file without values.
        self._is_empty = self._file.header()["nBasesCovered"] == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def has_values(self, chrom: str) -> bool:
        """Whether any base of a chromosome has a value."""
        return not self._is_empty and self._file.stats(chrom, type="max")[0] is not None

    def values(self, chrom: str, start: int, end: int) -> NDArray[np.float32]:
        """The values of [start, end), (end - start,), NaN where the file has a gap.

        Raises ValueError for an unknown chromosome and coordinates outside it.
        """
        length = self.chroms.get(chrom)
        if length is None or not 0 <= start <= end <= length:
            raise ValueError(f"{self.path} has no {chrom}:[{start}, {end}); {chrom} has {length} nucleotides")
        if start == end or self._is_empty:
            return np.full(end - start, np.nan, dtype=np.float32)
        return np.asarray(self._file.values(chrom, start, end, numpy=True), dtype=np.float32)


def is_bigwig(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as bigWigs do, in either byte order. InputError where it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file.read(len(END)) in (END, END[::-1])  # a file ends as it begins
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {(error.strerror or str(error)).lower()}", hint="check the path"
        ) from error


def bigwig_chroms(path: str | os.PathLike[str]) -> dict[str, int]:
    """The chromosomes of a bigWig, names to lengths, in the order of its header."""
    with BigWig(path) as file:
        return file.chroms


def read_bigwig(path: str | os.PathLike[str], chrom: str, start: int, end: int) -> NDArray[np.float32]:
    """The values of [start, end), (end - start,), NaN where the file has a gap.

    Raises ValueError for an unknown chromosome and coordinates outside it, InputError for what is no bigWig.
    """
    with BigWig(path) as file:
        return file.values(chrom, start, end)


def _cut_into_blocks(positions: IntArray) -> Iterator[tuple[slice, bool]]:
    """Slices of positions, (n,), sorted, that go into one block each, and whether as fixedStep."""
    run_starts = np.flatnonzero(np.diff(positions, prepend=-2) != 1)
    is_long = np.diff(run_starts, append=len(positions)) >= MIN_FIXED_STEP_RUN
    # Neighbouring short runs go together; a long run stands alone.
    is_first = is_long | np.concatenate([[True], is_long[:-1]])
    begins = run_starts[is_first]
    ends = np.append(begins[1:], len(positions))
    for begin, end, is_fixed_step in zip(begins.tolist(), ends.tolist(), is_long[is_first].tolist(), strict=True):
        for low in range(begin, end, ITEMS_PER_BLOCK):
            yield slice(low, min(low + ITEMS_PER_BLOCK, end)), is_fixed_step


def _open_bigwig(path: str | os.PathLike[str]) -> Any:
    import pyBigWig

    try:
        with Path(path).open("rb"):
            pass
        file = pyBigWig.open(os.fspath(path))
        if file.isBigWig():
            return file
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "it is damaged or another format"
        raise InputError(f"cannot read {path} as bigWig: {reason.lower()}", hint="check the path") from error
    raise InputError(f"cannot read {path} as bigWig: it is a bigBed", hint="give a bigWig")
