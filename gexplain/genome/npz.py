"""Tracks as one compressed numpy archive: for those who go on in Python."""

from __future__ import annotations

import tempfile
import zipfile
from array import array
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
import numpy.typing as npt

from gexplain.genome.tracks import WriteOrder, partial_path, write_error


class NpzWriter:
    """A track as arrays of its runs of scored bases (a context manager).

    Writes chroms (n_chroms,) names in FASTA order, chrom (R,) an index into them, start (R,) 0-based, width (R,),
    and values (sum of widths,) float32, run after run. Values go to a temporary file first, so memory holds
    the runs alone; the archive gets its name only when it is whole.
    """

    def __init__(self, path: Path, chroms: Mapping[str, int]) -> None:
        self._path = path
        self._order = WriteOrder(chroms)
        self._names = list(chroms)
        self._index = {name: index for index, name in enumerate(chroms)}
        self._chrom, self._start, self._width = array("q"), array("q"), array("q")
        self._values: IO[bytes] = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115 - closed on exit

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        partial = partial_path(self._path)
        try:
            if kind is None:
                self._write(partial)
                partial.replace(self._path)
        except OSError as error:
            raise write_error(self._path, error) from error
        finally:
            self._values.close()
            partial.unlink(missing_ok=True)

    def write(self, chrom: str, start: int, values: npt.NDArray[np.float32]) -> None:
        """Add values (n,) from `start` on; NaN is a gap. Order and errors as for a bigWig."""
        self._order.check(chrom, start, values)
        is_scored = ~np.isnan(values)
        edges = np.flatnonzero(np.diff(is_scored.astype(np.int8), prepend=0, append=0))
        for low, high in edges.reshape(-1, 2).tolist():
            self._chrom.append(self._index[chrom])
            self._start.append(start + low)
            self._width.append(high - low)
        try:
            self._values.write(values[is_scored].astype("<f4").tobytes())
        except OSError as error:
            raise write_error(self._path, error) from error

    def _write(self, partial: Path) -> None:
        arrays: dict[str, npt.NDArray[np.generic]] = {
            "chroms": np.array(self._names),
            "chrom": np.array(self._chrom, dtype=np.int64),
            "start": np.array(self._start, dtype=np.int64),
            "width": np.array(self._width, dtype=np.int64),
        }
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, values in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, values, allow_pickle=False)
            with archive.open("values.npy", "w", force_zip64=True) as member:
                n_values = self._values.tell() // 4
                header = {"descr": "<f4", "fortran_order": False, "shape": (n_values,)}
                np.lib.format.write_array_header_1_0(member, header)
                self._values.seek(0)
                while piece := self._values.read(1 << 20):
                    member.write(piece)
