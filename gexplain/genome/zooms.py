"""What bigWig and bigBed share beyond their layout: compressed blocks, and zoom levels for browsers.

A zoom level holds bins of so many bases: how many of them have a value, and their minimum, maximum, sum and sum of
squares. What grows with a file is 32 bytes a block; the levels wait in a file of their own until the values are
whole.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import IO

import numpy as np
from numpy.typing import NDArray

from gexplain.arrays import IntArray
from gexplain.genome.bigwig_format import (
    INDEX_LEAF,
    MAX_ZOOM_LEVELS,
    ZOOM_COUNT,
    ZOOM_RECORD,
    ZOOM_RECORDS_PER_BLOCK,
    Place,
    Totals,
    pack_index,
)

# Bases of the finest zoom level's bins, and how many bins make one of the next level.
FINEST_BIN = 32
BINS_PER_BIN = 4


class ZoomLevels:
    """The zoom levels of a file being written, and the totals of its values.

    lengths: of the chromosomes, by id. spool: an empty file, for the levels until their place is known.
    """

    def __init__(self, lengths: Sequence[int], spool: IO[bytes]) -> None:
        self._lengths = list(lengths)
        self._spool = spool
        self._levels = [_ZoomLevel(FINEST_BIN * BINS_PER_BIN**level) for level in range(MAX_ZOOM_LEVELS)]
        self._chrom = 0
        self.totals = Totals()

    def add(self, chrom_id: int, positions: IntArray, values: NDArray[np.float32]) -> None:
        """Add values, (n,), of the bases at `positions`, (n,), sorted, n > 0.

        Calls come sorted, and no two share a bin of FINEST_BIN bases.
        """
        if chrom_id != self._chrom:
            self._end_chrom()
            self._chrom = chrom_id
        bins = _bin_values(positions, values)
        self.totals = _add_bins(self.totals, bins)
        self._write(bins, is_last=False)

    def append_to(self, file: IO[bytes], n_bytes: int) -> list[Place]:
        """Append the levels that are worth it to the file; returns where they are.

        n_bytes: the size of what lies below them, uncompressed. Nothing may be added any more.
        """
        self._end_chrom()
        for level in self._levels:
            level.flush(self._spool)
        return [level.copy(self._spool, file) for level in _useful_levels(self._levels, n_bytes)]

    def _end_chrom(self) -> None:
        self._write(np.empty(0, dtype=_BIN), is_last=True)

    def _write(self, bins: NDArray[np.void], *, is_last: bool) -> None:
        for level in self._levels:
            if not len(bins) and not is_last:
                break
            level.write(self._spool, bins, self._chrom, self._lengths[self._chrom])
            bins = level.merge(bins, is_last=is_last)


class BlockList:
    """Compressed blocks in a file, and what an index needs to know of them."""

    def __init__(self) -> None:
        self._leaves = bytearray()

    def write(self, file: IO[bytes], packed: bytes, start: tuple[int, int], end: tuple[int, int]) -> None:
        """Append a block. start, end: a chromosome's id and a position, of the first and the last item."""
        compressed = zlib.compress(packed)
        leaf = np.array((*start, *end, file.tell(), len(compressed)), dtype=INDEX_LEAF)
        file.write(compressed)
        self._leaves += leaf.tobytes()

    def __len__(self) -> int:
        return len(self._leaves) // INDEX_LEAF.itemsize

    def leaves(self) -> NDArray[np.void]:
        """The blocks, (n,) of INDEX_LEAF, not to be written to any more."""
        return np.frombuffer(self._leaves, dtype=INDEX_LEAF)


# Bases taken together: `index` times the level's reduction is where they begin.
_BIN = np.dtype([("index", "i8"), ("count", "i8"), ("min", "f4"), ("max", "f4"), ("sum", "f8"), ("squares", "f8")])


class _ZoomLevel:
    """A zoom level being written: its records, and the bins that wait to be merged for the next level."""

    def __init__(self, reduction: int) -> None:
        self.reduction = reduction
        self.n_records = 0
        self._blocks = BlockList()
        self._records: list[NDArray[np.void]] = []
        self._n_in_block = 0
        self._waiting = np.empty(0, dtype=_BIN)

    def write(self, spool: IO[bytes], bins: NDArray[np.void], chrom_id: int, length: int) -> None:
        """Add bins, (n,), of a chromosome."""
        if not len(bins):  # a null has thousands of chromosomes, each shorter than most bins
            return
        records = np.empty(len(bins), dtype=ZOOM_RECORD)
        records["chrom"] = chrom_id
        records["start"] = bins["index"] * self.reduction
        records["end"] = np.minimum((bins["index"] + 1) * self.reduction, length)
        # The squares of values above 1e19 leave float32: infinity, and no warning. The totals are float64.
        with np.errstate(over="ignore"):
            for field in ("count", "min", "max", "sum", "squares"):
                records[field] = bins[field]
        self.n_records += len(records)
        self._records.append(records)
        self._n_in_block += len(records)
        if self._n_in_block >= ZOOM_RECORDS_PER_BLOCK:
            self._write_blocks(spool, self._n_in_block // ZOOM_RECORDS_PER_BLOCK)

    def merge(self, bins: NDArray[np.void], *, is_last: bool) -> NDArray[np.void]:
        """The bins of the next level that are complete with `bins`, (n,); is_last: the chromosome ends."""
        if len(self._waiting):
            bins = np.concatenate([self._waiting, bins])
        index = bins["index"] // BINS_PER_BIN
        n_complete = len(bins) if is_last or not len(bins) else int(np.searchsorted(index, index[-1]))
        self._waiting = bins[n_complete:].copy()
        return _merge_bins(bins[:n_complete], index[:n_complete])

    def flush(self, spool: IO[bytes]) -> None:
        """Write the records that do not fill a block."""
        if self._n_in_block:
            self._write_blocks(spool, 1)

    def copy(self, spool: IO[bytes], file: IO[bytes]) -> Place:
        """Append the level and its index to the file; returns where they are."""
        leaves = self._blocks.leaves()
        data = file.tell()
        file.write(ZOOM_COUNT.pack(self.n_records))
        for leaf in leaves:
            spool.seek(leaf["offset"])
            leaf["offset"] = file.tell()
            file.write(spool.read(leaf["size"]))
        index = file.tell()
        file.writelines(pack_index(leaves, index, self.n_records, ZOOM_RECORDS_PER_BLOCK))
        return Place(self.reduction, data, index)

    def _write_blocks(self, spool: IO[bytes], n_blocks: int) -> None:
        records = np.concatenate(self._records)
        for _ in range(n_blocks):
            block, records = np.split(records, [ZOOM_RECORDS_PER_BLOCK])
            first, last = block[0], block[-1]
            start, end = (int(first["chrom"]), int(first["start"])), (int(last["chrom"]), int(last["end"]))
            self._blocks.write(spool, block.tobytes(), start, end)
        self._records, self._n_in_block = [records], len(records)


def _bin_values(positions: IntArray, values: NDArray[np.float32]) -> NDArray[np.void]:
    """The finest bins, (m,), of values, (n,), at positions, (n,)."""
    index = positions // FINEST_BIN
    first = np.flatnonzero(np.diff(index, prepend=-1))
    exact = values.astype(np.float64)
    bins = np.empty(len(first), dtype=_BIN)
    bins["index"] = index[first]
    bins["count"] = np.diff(first, append=len(values))
    bins["min"] = np.minimum.reduceat(values, first)
    bins["max"] = np.maximum.reduceat(values, first)
    bins["sum"] = np.add.reduceat(exact, first)
    bins["squares"] = np.add.reduceat(exact**2, first)
    return bins


def _merge_bins(bins: NDArray[np.void], index: IntArray) -> NDArray[np.void]:
    """Bins, (n,), of one index, (n,), taken together."""
    if len(bins) < 2:
        merged = bins.copy()
        merged["index"] = index
        return merged
    first = np.flatnonzero(np.diff(index, prepend=-1))
    merged = np.empty(len(first), dtype=_BIN)
    merged["index"] = index[first]
    for field in ("count", "sum", "squares"):
        merged[field] = np.add.reduceat(bins[field], first)
    merged["min"] = np.minimum.reduceat(bins["min"], first)
    merged["max"] = np.maximum.reduceat(bins["max"], first)
    return merged


def _add_bins(totals: Totals, bins: NDArray[np.void]) -> Totals:
    low, high = float(bins["min"].min()), float(bins["max"].max())
    return Totals(
        totals.count + int(bins["count"].sum()),
        min(totals.min, low) if totals.count else low,
        max(totals.max, high) if totals.count else high,
        totals.sum + float(bins["sum"].sum()),
        totals.squares + float(bins["squares"].sum()),
    )


def _useful_levels(levels: list[_ZoomLevel], n_bytes: int) -> list[_ZoomLevel]:
    """Those at most half as large, uncompressed, as what lies below them; n_bytes: the size of the values."""
    useful = []
    for level in levels:
        n_level_bytes = level.n_records * ZOOM_RECORD.itemsize
        if 0 < n_level_bytes <= n_bytes / 2:
            useful.append(level)
            n_bytes = n_level_bytes
    # IGV does not show a file without zoom levels.
    return useful or [min(levels, key=lambda level: level.n_records)]
