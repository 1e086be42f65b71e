"""bigWig: one value a base, for genome browsers (Kent et al. 2010, doi:10.1093/bioinformatics/btq351).

A base without a value is NaN here and a gap in the file. Files are read through pyBigWig but written here, since
libBigWig holds all zoom levels in memory. What grows with a track is 32 bytes a block, of up to 4096 values.
"""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from gexplain.arrays import IntArray
from gexplain.errors import InputError
from gexplain.genome.bigwig_format import (
    CHROM_TREE_OFFSET,
    DATA_COUNT,
    END,
    INDEX_LEAF,
    ITEMS_PER_BLOCK,
    MAX_ZOOM_LEVELS,
    ZOOM_COUNT,
    ZOOM_RECORD,
    ZOOM_RECORDS_PER_BLOCK,
    Place,
    Totals,
    pack_chrom_tree,
    pack_fixed_step,
    pack_header,
    pack_index,
    pack_variable_step,
)
from gexplain.genome.intervals import MAX_COORDINATE
from gexplain.genome.tracks import WriteOrder, partial_path, write_error

# Shorter runs are written as (position, value), longer ones as one start and its values. A fixedStep run is a
# compressed block of its own: measured on random values, runs of 16 are a fifth larger that way, of 64 an eighth
# smaller.
MIN_FIXED_STEP_RUN = 64
# Bases of the finest zoom level's bins, and how many bins make one of the next level.
FINEST_BIN = 32
BINS_PER_BIN = 4
# Bases encoded together, a whole number of blocks and bins: how values are cut into calls then changes no byte.
PAGE = 1 << 17


class BigWigWriter:
    """A bigWig being written: a context manager.

    chroms: names to lengths, the header in its order. The file appears under `path` when it is closed without
    an exception; until then it has another name, which an exception removes. How the values are cut into calls
    changes no byte.

    Without any value the file is valid, and its summary all zeros. Raises RunError where the file cannot be
    written, a full disk included.
    """

    def __init__(self, path: str | os.PathLike[str], chroms: Mapping[str, int]) -> None:
        if not chroms or not all(0 < length <= MAX_COORDINATE for length in chroms.values()):
            raise ValueError("a bigWig needs chromosomes, of 1 to 4294967295 nucleotides")
        self.path = Path(path)
        self._order = WriteOrder(chroms)
        self._ids = {chrom: chrom_id for chrom_id, chrom in enumerate(chroms)}
        self._lengths = list(chroms.values())
        self._page = np.full(PAGE, np.nan, dtype=np.float32)
        self._page_chrom, self._page_start = 0, 0
        self._blocks = _BlockList()
        self._n_block_bytes = 0
        self._zooms = [_ZoomLevel(FINEST_BIN * BINS_PER_BIN**level) for level in range(MAX_ZOOM_LEVELS)]
        self._totals = Totals()
        self._partial = partial_path(self.path)
        try:
            with ExitStack() as stack:
                # The zoom levels, block by block as they come: their place is behind the values.
                self._spool: IO[bytes] = stack.enter_context(tempfile.TemporaryFile(dir=self.path.parent))
                stack.callback(self._partial.unlink, missing_ok=True)
                self._file: IO[bytes] = stack.enter_context(self._partial.open("wb"))
                self._file.write(bytes(CHROM_TREE_OFFSET) + pack_chrom_tree(chroms))
                self._data_offset = self._file.tell()
                self._file.write(bytes(DATA_COUNT.size))
                self._cleanup = stack.pop_all()
        except OSError as error:
            raise write_error(self.path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

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

    def close(self) -> None:
        """Finish the file and give it its name."""
        try:
            if not self._file.closed:
                self._finish()
                self._file.close()
                self._partial.replace(self.path)
        except OSError as error:
            raise write_error(self.path, error) from error
        finally:
            self.abort()

    def abort(self) -> None:
        """Remove what has been written."""
        # A full disk fails the last flush again; what counts is that the files go.
        with suppress(OSError):
            self._cleanup.close()

    def _turn_to_page(self, chrom_id: int, page_start: int) -> None:
        if (chrom_id, page_start) == (self._page_chrom, self._page_start):
            return
        self._write_page()
        if chrom_id != self._page_chrom:
            self._write_bins(np.empty(0, dtype=_BIN), is_last=True)
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
            self._n_block_bytes += len(packed)
            self._blocks.write(self._file, packed, (self._page_chrom, start), (self._page_chrom, end))
        bins = _bin_values(positions, values)
        self._totals = _add_bins(self._totals, bins)
        self._write_bins(bins, is_last=False)
        self._page.fill(np.nan)

    def _write_bins(self, bins: NDArray[np.void], *, is_last: bool) -> None:
        for zoom in self._zooms:
            zoom.write(self._spool, bins, self._page_chrom, self._lengths[self._page_chrom])
            bins = zoom.merge(bins, is_last=is_last)

    def _finish(self) -> None:
        self._write_page()
        self._write_bins(np.empty(0, dtype=_BIN), is_last=True)
        for zoom in self._zooms:
            zoom.flush(self._spool)
        blocks = self._blocks.leaves()
        values = Place(1, self._data_offset, self._file.tell())
        self._file.writelines(pack_index(blocks, values.index, len(blocks), 1))
        places = [zoom.copy(self._spool, self._file) for zoom in _useful_zooms(self._zooms, self._n_block_bytes)]
        self._file.write(END)
        self._file.seek(0)
        self._file.write(pack_header(values, places, self._totals))
        self._file.seek(self._data_offset)
        self._file.write(DATA_COUNT.pack(len(blocks)))


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


class _BlockList:
    """Compressed blocks in a file, and what an index needs to know of them."""

    def __init__(self) -> None:
        self._leaves = bytearray()

    def write(self, file: IO[bytes], packed: bytes, start: tuple[int, int], end: tuple[int, int]) -> None:
        """Append a block. start, end: a chromosome's id and a position, of the first and the last item."""
        compressed = zlib.compress(packed)
        leaf = np.array((*start, *end, file.tell(), len(compressed)), dtype=INDEX_LEAF)
        file.write(compressed)
        self._leaves += leaf.tobytes()

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
        self._blocks = _BlockList()
        self._records = np.empty(0, dtype=ZOOM_RECORD)
        self._waiting = np.empty(0, dtype=_BIN)

    def write(self, spool: IO[bytes], bins: NDArray[np.void], chrom_id: int, length: int) -> None:
        """Add bins, (n,), of a chromosome."""
        records = np.empty(len(bins), dtype=ZOOM_RECORD)
        records["chrom"] = chrom_id
        records["start"] = bins["index"] * self.reduction
        records["end"] = np.minimum((bins["index"] + 1) * self.reduction, length)
        # The squares of values above 1e19 leave float32: infinity, and no warning. The totals are float64.
        with np.errstate(over="ignore"):
            for field in ("count", "min", "max", "sum", "squares"):
                records[field] = bins[field]
        self.n_records += len(records)
        self._records = np.concatenate([self._records, records])
        while len(self._records) >= ZOOM_RECORDS_PER_BLOCK:
            self._write_block(spool)

    def merge(self, bins: NDArray[np.void], *, is_last: bool) -> NDArray[np.void]:
        """The bins of the next level that are complete with `bins`, (n,); is_last: the chromosome ends."""
        bins = np.concatenate([self._waiting, bins])
        index = bins["index"] // BINS_PER_BIN
        n_complete = len(bins) if is_last or not len(bins) else int(np.searchsorted(index, index[-1]))
        self._waiting = bins[n_complete:].copy()
        return _merge_bins(bins[:n_complete], index[:n_complete])

    def flush(self, spool: IO[bytes]) -> None:
        """Write the records that do not fill a block."""
        if len(self._records):
            self._write_block(spool)

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

    def _write_block(self, spool: IO[bytes]) -> None:
        block, self._records = np.split(self._records, [ZOOM_RECORDS_PER_BLOCK])
        first, last = block[0], block[-1]
        start, end = (int(first["chrom"]), int(first["start"])), (int(last["chrom"]), int(last["end"]))
        self._blocks.write(spool, block.tobytes(), start, end)


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


def _useful_zooms(zooms: list[_ZoomLevel], n_bytes: int) -> list[_ZoomLevel]:
    """The levels at most half as large, uncompressed, as what lies below them; n_bytes: the size of the values."""
    useful = []
    for zoom in zooms:
        n_zoom_bytes = zoom.n_records * ZOOM_RECORD.itemsize
        if 0 < n_zoom_bytes <= n_bytes / 2:
            useful.append(zoom)
            n_bytes = n_zoom_bytes
    # IGV does not show a file without zoom levels.
    return useful or [min(zooms, key=lambda zoom: zoom.n_records)]


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
