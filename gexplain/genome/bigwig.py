"""bigWig: one value a base, for genome browsers (Kent et al. 2010, doi:10.1093/bioinformatics/btq351).

A base without a value is NaN here and a gap in the file. Written through pyBigWig, whose traps are met here:
one NaN written corrupts the file, entries past the end of a chromosome pass, and on a full disk adding entries
never returns, while closing says nothing.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gexplain.errors import InputError
from gexplain.genome.intervals import MAX_COORDINATE
from gexplain.genome.tracks import WriteOrder, partial_path, write_error

# Shorter runs are written as (position, value), longer ones as one start and its values. A fixedStep run is a
# compressed block of its own: measured on 2 Mb, runs of 1 to 32 are up to 6 x larger that way, runs of 64 and
# more smaller by up to a sixth.
MIN_FIXED_STEP_RUN = 64
# Room on the disk that is made sure of at a time, and the most that one value can take of it.
ROOM_BYTES = 1 << 24
BYTES_PER_VALUE = 16
# A finished bigWig ends as it begins, in its magic number.
END_MAGIC = bytes.fromhex("26fc8f88")


class BigWigWriter:
    """A bigWig being written: a context manager.

    chroms: names to lengths, the header in its order. The file appears under `path` when it is closed without
    an exception; until then it has another name, which an exception removes.

    Without any value the file is valid and has its header, and the extremes that its summary then holds mean
    nothing. Raises RunError where the file cannot be written, a full disk included.
    """

    def __init__(self, path: str | os.PathLike[str], chroms: Mapping[str, int]) -> None:
        import pyBigWig

        if not chroms or not all(0 < length <= MAX_COORDINATE for length in chroms.values()):
            raise ValueError("a bigWig needs chromosomes, of 1 to 4294967295 nucleotides")
        self.path = Path(path)
        self._order = WriteOrder(chroms)
        self._room = 0
        self._partial = partial_path(self.path)
        try:
            # Opened here first, since pyBigWig does not say why it cannot.
            self._partial.touch()
            self._file = pyBigWig.open(os.fspath(self._partial), "w")
            # The default number of zoom levels: IGV does not show a file without them.
            self._file.addHeader(list(chroms.items()))
        except (OSError, RuntimeError) as error:
            self._discard()
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
        has_value = ~np.isnan(values)
        edges = np.flatnonzero(np.diff(has_value, prepend=False, append=False))
        run_starts, run_ends = edges[::2], edges[1::2]
        # Neighbouring short runs go together; a long run stands alone.
        is_long = run_ends - run_starts >= MIN_FIXED_STEP_RUN
        is_first = is_long | np.concatenate([[True], is_long[:-1]])[: len(is_long)]
        firsts = np.flatnonzero(is_first)
        lasts = np.append(firsts[1:], len(run_starts))[: len(firsts)] - 1
        try:
            self._make_sure_of_room(len(values) * BYTES_PER_VALUE)
            for first, last in zip(firsts, lasts, strict=True):
                begin, end = int(run_starts[first]), int(run_ends[last])
                if is_long[first]:
                    self._file.addEntries(chrom, start + begin, values=values[begin:end], span=1, step=1)
                else:
                    positions = begin + np.flatnonzero(has_value[begin:end])
                    self._file.addEntries(chrom, start + positions, values=values[positions], span=1)
        except (OSError, RuntimeError) as error:
            raise write_error(self.path, error) from error

    def close(self) -> None:
        """Finish the file and give it its name."""
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            file.close()
            # pyBigWig closes without a word over a full disk, and the header may be right all the same.
            with self._partial.open("rb") as written:
                written.seek(-len(END_MAGIC), os.SEEK_END)
                if written.read() != END_MAGIC:
                    raise OSError("its end is missing; is the disk full?")
            self._partial.replace(self.path)
        except (OSError, RuntimeError) as error:
            self._discard()
            raise write_error(self.path, error) from error

    def abort(self) -> None:
        """Remove what has been written."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._discard()

    def _make_sure_of_room(self, n_bytes: int) -> None:
        """Raise OSError where the disk or the quota has no room for so many bytes more."""
        self._room -= n_bytes
        if self._room >= 0 or not hasattr(os, "posix_fallocate"):
            return
        wanted = max(n_bytes, ROOM_BYTES)
        with tempfile.TemporaryFile(dir=self.path.parent) as probe:
            os.posix_fallocate(probe.fileno(), 0, wanted)
        self._room = wanted - n_bytes

    def _discard(self) -> None:
        self._partial.unlink(missing_ok=True)


def bigwig_chroms(path: str | os.PathLike[str]) -> dict[str, int]:
    """The chromosomes of a bigWig, names to lengths, in the order of its header."""
    with _open_bigwig(path) as file:
        return dict(file.chroms())


def read_bigwig(path: str | os.PathLike[str], chrom: str, start: int, end: int) -> NDArray[np.float32]:
    """The values of [start, end), (end - start,), NaN where the file has a gap.

    Raises ValueError for an unknown chromosome and coordinates outside it, InputError for what is no bigWig.
    """
    with _open_bigwig(path) as file:
        length = file.chroms().get(chrom)
        if length is None or not 0 <= start <= end <= length:
            raise ValueError(f"{path} has no {chrom}:[{start}, {end}); {chrom} has {length} nucleotides")
        # pyBigWig returns an empty list, not NaN, from a file without values.
        if start == end or file.header()["nBasesCovered"] == 0:
            return np.full(end - start, np.nan, dtype=np.float32)
        return np.asarray(file.values(chrom, start, end, numpy=True), dtype=np.float32)


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
