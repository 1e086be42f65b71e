"""bigBed: features with their columns, for genome browsers (Kent et al. 2010, doi:10.1093/bioinformatics/btq351).

What the columns are is told inside, in autoSql. Zoom levels, and the summary, are of the depth: how many
features lie on a base, those without any left out. What grows with a file is 32 bytes a block, of 512 features.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gexplain.arrays import IntArray
from gexplain.genome.bed_table import BedSchema, autosql
from gexplain.genome.big_file import BigFileWriter
from gexplain.genome.bigwig_format import BedLayout, pack_bed_item
from gexplain.genome.tracks import write_error
from gexplain.genome.zooms import ZoomLevels

# As many as bedToBigBed puts into a block.
ITEMS_PER_BLOCK = 512
# Bases whose depth is found together: a whole number of bins.
PAGE = 1 << 14
# Bases whose depth is told to the zoom levels together, at least.
_MANY = 1 << 16


class BigBedWriter(BigFileWriter):
    """A bigBed being written: a context manager.

    chroms: names to lengths, the header in its order. schema: the columns. n_bed_columns: how many of them are
    BED's own, 6 to 12; the others are extra. The file appears under `path` when it is closed without an exception.

    Raises RunError where the file cannot be written, a full disk included.
    """

    def __init__(
        self, path: str | os.PathLike[str], chroms: Mapping[str, int], schema: BedSchema, *, n_bed_columns: int
    ) -> None:
        n_columns = 6 + len(schema.columns)
        if not 6 <= n_bed_columns <= min(n_columns, 12):
            raise ValueError(f"{n_bed_columns} of {n_columns} columns cannot be BED's")
        self._layout = BedLayout(n_columns, n_bed_columns, autosql(schema).encode(), largest_block=0)
        super().__init__(path, chroms, self._layout)
        self._lengths = list(chroms.values())
        self._depth = _Depth(self._zooms)
        self._items: list[bytes] = []
        self._n_items, self._last = 0, (-1, 0)
        self._block_start, self._block_end = 0, 0

    def write(self, chrom: str, start: int, end: int, rest: str) -> None:
        """Add a feature, [start, end); rest: its columns from the fourth on, with tabs between them.

        Features come in the header's order of chromosomes, sorted by start. Raises ValueError otherwise, and for
        one that is empty, not inside its chromosome, or of another number of columns.
        """
        chrom_id = self._ids.get(chrom)
        if chrom_id is None:
            raise ValueError(f"no chromosome {chrom!r} in the header")
        if not 0 <= start < end <= self._lengths[chrom_id]:
            raise ValueError(
                f"[{start}, {end}) is not inside {chrom}, of {self._lengths[chrom_id]} nucleotides, or empty"
            )
        if (chrom_id, start) < self._last:
            raise ValueError(f"{chrom}:{start} comes after what was written: not sorted")
        if rest.count("\t") != self._layout.n_columns - 4 or "\0" in rest or "\n" in rest:
            raise ValueError(f"{chrom}:{start}: {rest!r} is not {self._layout.n_columns - 3} columns")
        packed = pack_bed_item(chrom_id, start, end, rest.encode())
        try:
            if chrom_id != self._last[0] or len(self._items) == ITEMS_PER_BLOCK:
                self._write_items()
                self._block_start, self._block_end = start, end
            self._depth.add(chrom_id, start, end)
        except OSError as error:
            self.abort()
            raise write_error(self.path, error) from error
        self._items.append(packed)
        self._block_end = max(self._block_end, end)
        self._n_items, self._last = self._n_items + 1, (chrom_id, start)

    def _write_items(self) -> None:
        if not self._items:
            return
        packed = b"".join(self._items)
        self._layout = replace(self._layout, largest_block=max(self._layout.largest_block, len(packed)))
        self._write_block(packed, self._last[0], self._block_start, self._block_end)
        self._items = []

    def _write_rest(self) -> tuple[int, BedLayout]:
        self._write_items()
        self._depth.flush()
        return self._n_items, self._layout


class _Depth:
    """How many features lie on each base, found page by page and told to the zoom levels."""

    def __init__(self, zooms: ZoomLevels) -> None:
        self._zooms = zooms
        self._chrom, self._start = 0, 0
        # By how much the depth changes at each base of the page.
        self._steps = np.zeros(PAGE, dtype=np.int64)
        # Where the features end that reach past the page.
        self._ends = np.empty(0, dtype=np.int64)
        self._new_ends: list[int] = []
        self._is_blank = True
        # What has been found and not told: positions, and their depth.
        self._found: list[tuple[IntArray, NDArray[np.float32]]] = []
        self._n_found = 0

    def add(self, chrom_id: int, start: int, end: int) -> None:
        page = start - start % PAGE
        if chrom_id != self._chrom:
            self.flush()
            self._chrom, self._start = chrom_id, page
        while self._start < page:
            self._turn_page()
            if self._is_blank:
                self._start = page
        self._is_blank = False
        self._steps[start - page] += 1
        if end < page + PAGE:
            self._steps[end - page] -= 1
        else:
            self._new_ends.append(end)

    def flush(self) -> None:
        """Tell the depth of all features; the next page may be anywhere."""
        self._turn_page()
        while not self._is_blank:
            self._turn_page()
        self._tell()

    def _turn_page(self) -> None:
        depth = np.cumsum(self._steps)
        covered = np.flatnonzero(depth)
        if len(covered):
            self._found.append((self._start + covered, depth[covered].astype(np.float32)))
            self._n_found += len(covered)
            if self._n_found >= _MANY:
                self._tell()
        self._start += PAGE
        ends = np.concatenate([self._ends, np.array(self._new_ends, dtype=np.int64)])
        here = ends < self._start + PAGE
        self._steps.fill(0)
        self._steps[0] = len(ends)
        np.subtract.at(self._steps, ends[here] - self._start, 1)
        self._ends, self._new_ends = ends[~here], []
        self._is_blank = len(ends) == 0

    def _tell(self) -> None:
        if self._found:
            positions, depth = zip(*self._found, strict=True)
            self._zooms.add(self._chrom, np.concatenate(positions), np.concatenate(depth))
        self._found, self._n_found = [], 0
