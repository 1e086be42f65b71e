"""What the writers of bigWig and bigBed share: a file of compressed blocks that is whole or absent."""

from __future__ import annotations

import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from gexplain.genome.bigwig_format import (
    BED_END,
    CHROM_TREE_OFFSET,
    DATA_COUNT,
    END,
    BedLayout,
    Place,
    pack_chrom_tree,
    pack_header,
    pack_index,
)
from gexplain.genome.intervals import MAX_COORDINATE
from gexplain.genome.tracks import partial_path, write_error
from gexplain.genome.zooms import BlockList, ZoomLevels


class BigFileWriter(ABC):
    """A bigWig or bigBed being written: a context manager.

    chroms: names to lengths, the header in its order. The file appears under `path` when it is closed without
    an exception; until then it has another name, which an exception removes. Raises RunError where the file
    cannot be written, a full disk included.
    """

    def __init__(self, path: str | os.PathLike[str], chroms: Mapping[str, int], bed: BedLayout | None = None) -> None:
        if not chroms or not all(0 < length <= MAX_COORDINATE for length in chroms.values()):
            kind = "bigWig" if bed is None else "bigBed"
            raise ValueError(f"a {kind} needs chromosomes, of 1 to 4294967295 nucleotides")
        self.path = Path(path)
        self._ids = {chrom: chrom_id for chrom_id, chrom in enumerate(chroms)}
        self._blocks = BlockList()
        self._n_block_bytes = 0
        self._partial = partial_path(self.path)
        try:
            with ExitStack() as stack:
                # The zoom levels, block by block as they come: their place is behind the values.
                spool = stack.enter_context(tempfile.TemporaryFile(dir=self.path.parent))
                self._zooms = ZoomLevels(list(chroms.values()), spool)
                stack.callback(self._partial.unlink, missing_ok=True)
                self._file: IO[bytes] = stack.enter_context(self._partial.open("wb"))
                tree_offset = CHROM_TREE_OFFSET if bed is None else bed.chrom_tree
                self._file.write(bytes(tree_offset) + pack_chrom_tree(chroms, tree_offset))
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

    def _write_block(self, packed: bytes, chrom_id: int, start: int, end: int) -> None:
        self._n_block_bytes += len(packed)
        self._blocks.write(self._file, packed, (chrom_id, start), (chrom_id, end))

    @abstractmethod
    def _write_rest(self) -> tuple[int, BedLayout | None]:
        """Write what waits to fill a block; returns what is counted before the blocks, and a bigBed's layout."""

    def _finish(self) -> None:
        count, bed = self._write_rest()
        blocks = self._blocks.leaves()
        values = Place(1, self._data_offset, self._file.tell())
        self._file.writelines(pack_index(blocks, values.index, len(blocks), 1))
        places = self._zooms.append_to(self._file, self._n_block_bytes)
        self._file.write(END if bed is None else BED_END)
        self._file.seek(0)
        self._file.write(pack_header(values, places, self._zooms.totals, bed))
        self._file.seek(self._data_offset)
        self._file.write(DATA_COUNT.pack(count))
