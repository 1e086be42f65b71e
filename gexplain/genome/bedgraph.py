"""bedGraph: one value a base as text, neighbours of one value on one line.

The format: https://genome.ucsc.edu/goldenPath/help/bedgraph.html. A base without a value is NaN here, and on
no line.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

import numpy as np
from numpy.typing import NDArray

from gexplain.errors import InputError, RunError, preview
from gexplain.genome.bigwig import BigWigWriter
from gexplain.genome.formats import GZIP_MAGIC
from gexplain.genome.tracks import WriteOrder, partial_path, write_error

# Bases of neighbouring lines that are turned into an array at once.
_MOST_HELD = 1 << 20
_MOST_VALUE = float(np.finfo(np.float32).max)


class BedGraphWriter:
    """A bedGraph being written, to a path or an open text stream: a context manager.

    chroms: names to lengths, in the order in which they are written. A path appears when it is closed without
    an exception; a stream is flushed and left open. How the values are cut into calls changes no line.

    Raises RunError where the file cannot be written. BrokenPipeError passes: the reader has seen enough.
    """

    def __init__(self, target: str | os.PathLike[str] | TextIO, chroms: Mapping[str, int]) -> None:
        self._order = WriteOrder(chroms)
        # The last run, which the next call may prolong: (chrom, start, end, value).
        self._pending: tuple[str, int, int, np.float32] | None = None
        self._path = Path(target) if isinstance(target, str | os.PathLike) else None
        self._is_open = True
        if isinstance(target, str | os.PathLike):
            try:
                self._stream: TextIO = partial_path(Path(target)).open("w", encoding="utf-8", newline="\n")
            except OSError as error:
                raise write_error(Path(target), error) from error
        else:
            self._stream = target

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
        """Add the values, (n,) float32, of [start, start + n); NaN is on no line.

        Calls come in the order of `chroms`, sorted, and do not overlap: ValueError otherwise, and for
        infinities and what is outside the chromosome.
        """
        self._order.check(chrom, start, values)
        is_new = (values[1:] != values[:-1]) & ~(np.isnan(values[1:]) & np.isnan(values[:-1]))
        starts = np.flatnonzero(np.concatenate([np.ones(min(len(values), 1), dtype=bool), is_new]))
        ends = np.append(starts[1:], len(values))[: len(starts)]
        has_value = ~np.isnan(values[starts])
        starts, ends = starts[has_value], ends[has_value]
        if len(starts) == 0:
            return
        runs = zip((start + starts).tolist(), (start + ends).tolist(), values[starts], strict=True)
        lines = []
        for begin, end, value in runs:
            if self._pending is not None:
                last_chrom, last_begin, last_end, last_value = self._pending
                if (last_chrom, last_end, last_value) == (chrom, begin, value):
                    begin = last_begin
                else:
                    lines.append(_line(*self._pending))
            self._pending = chrom, begin, end, value
        self._put("".join(lines))

    def close(self) -> None:
        """Write the last line, and give the file its name or flush the stream."""
        if not self._is_open:
            return
        self._is_open = False
        if self._pending is not None:
            self._put(_line(*self._pending))
        try:
            if self._path is None:
                self._stream.flush()
            else:
                self._stream.close()
                partial_path(self._path).replace(self._path)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise self._failure(error) from error

    def abort(self) -> None:
        """Remove what has been written to a path; a stream is left as it is."""
        self._is_open = False
        if self._path is not None:
            # A full disk fails the last flush again; what counts is that the file goes.
            with suppress(OSError):
                self._stream.close()
            partial_path(self._path).unlink(missing_ok=True)

    def _put(self, text: str) -> None:
        try:
            self._stream.write(text)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> RunError:
        self.abort()
        return write_error(self._path or Path(self._stream.name), error)


def _line(chrom: str, start: int, end: int, value: np.float32) -> str:
    # The shortest digits that read back as the same float32.
    return f"{chrom}\t{start}\t{end}\t{str(value).removesuffix('.0')}\n"


def bedgraph_to_bigwig(
    path: str | os.PathLike[str], bigwig: str | os.PathLike[str], chroms: Mapping[str, int], genome: str
) -> None:
    """Write the values of a bedGraph, plain or gzip, to a bigWig, by way of temporary arrays of bounded size.

    chroms: names to lengths, of the FASTA called `genome`; lines come in its order. Raises InputError for a line that
    is no bedGraph, out of order, or not on those chromosomes, and where there is none.
    """
    with _open_text(path) as file, BigWigWriter(bigwig, chroms) as writer:
        held: list[tuple[int, float]] = []  # widths and values of neighbours
        chrom, start, end = "", 0, 0
        last = (-1, 0)
        ranks = {name: rank for rank, name in enumerate(chroms)}

        def put() -> None:
            if held:
                widths, values = zip(*held, strict=True)
                writer.write(chrom, start, np.repeat(np.array(values, dtype=np.float32), widths))
            held.clear()

        for number, line in enumerate(file, start=1):
            fields = line.split()
            if not fields or fields[0] in ("track", "browser") or fields[0].startswith("#"):
                continue
            here = f"line {number} of {path}"
            try:
                name, low, high, value = fields[0], int(fields[1]), int(fields[2]), float(fields[3])
            except (IndexError, ValueError):
                raise InputError(
                    f"{here}: no bedGraph, which has chromosome, start, end and a number",
                    detail=line.rstrip()[:100],
                    hint="give a bigWig, or a bedGraph of four columns",
                ) from None
            if name not in ranks:
                raise InputError(
                    f"{here}: no chromosome {name} in {genome}, which has {preview(chroms)}",
                    hint="give the FASTA that the track was made with",
                )
            if not 0 <= low < high <= chroms[name] or not abs(value) <= _MOST_VALUE:
                raise InputError(
                    f"{here}: [{low:,}, {high:,}) of value {value:g}; expected start before end, inside {name} of"
                    f" {chroms[name]:,} bases, and a finite value",
                    hint="give the FASTA that the track was made with",
                )
            if (ranks[name], low) < last:
                raise InputError(
                    f"{here}: {name}:{low:,} comes after what lies behind it: not in the order of {genome}, or"
                    " overlapping",
                    hint=f"bedtools sort -g {genome}.fai -i {path}",
                )
            last = (ranks[name], high)
            if name != chrom or low != end or end - start >= _MOST_HELD:
                put()
                chrom, start = name, low
            for begin in range(low, high, _MOST_HELD):
                end = min(begin + _MOST_HELD, high)
                held.append((end - begin, value))
                if end < high:
                    put()
                    start = end
        put()
        if last == (-1, 0):
            raise InputError(f"{path} has no values", hint="give a bedGraph with at least one line")


@contextmanager
def _open_text(path: str | os.PathLike[str]) -> Iterator[TextIO]:
    """A text file, plain or gzip by its first bytes. InputError where it cannot be read."""
    try:
        with Path(path).open("rb") as raw:
            is_gzip = raw.read(2) == GZIP_MAGIC
        with gzip.open(path, "rt", encoding="utf-8") if is_gzip else Path(path).open(encoding="utf-8") as file:
            yield file
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is damaged, or no text"
        raise InputError(f"cannot read {path}: {reason.lower()}", hint="give a bigWig or a bedGraph") from error
