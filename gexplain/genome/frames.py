"""Regions from a pandas DataFrame or a PyRanges: the Python API's other way to hand over a BED."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from gexplain.errors import InputError
from gexplain.genome.bed import STRANDS, Region, chrom_fault
from gexplain.genome.intervals import MAX_COORDINATE, Interval

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = {
    "chrom": ("Chromosome", "chrom"),
    "start": ("Start", "start"),
    "end": ("End", "end"),
    "name": ("Name", "name"),
    "strand": ("Strand", "strand"),
}


class HasFrame(Protocol):
    """A PyRanges, of which the frame is all that is needed."""

    @property
    def df(self) -> pd.DataFrame:
        """Its intervals, one a row."""


def from_pyranges(ranges: HasFrame) -> Iterator[Region]:
    """The regions of a PyRanges, in its own order (grouped by chromosome). Errors as `from_dataframe`."""
    frame = ranges.df
    # An empty PyRanges has no columns either.
    return from_dataframe(frame) if len(frame) else iter(())


def from_dataframe(frame: pd.DataFrame) -> Iterator[Region]:
    """The regions of a frame, one a row.

    Columns: Chromosome, Start, End, as in PyRanges, or chrom, start, end; Name and Strand if there are. Others are
    not looked at. Coordinates are 0-based, half-open integers. Raises InputError for a missing column and,
    when it is reached, for a row that is no interval.
    """
    columns = {
        meaning: next((name for name in names if name in frame.columns), None) for meaning, names in _COLUMNS.items()
    }
    for meaning in ("chrom", "start", "end"):
        if columns[meaning] is None:
            raise InputError(
                f"the regions have no column {' or '.join(_COLUMNS[meaning])}; "
                f"found {', '.join(map(str, frame.columns))}",
                hint="name the columns Chromosome, Start and End, or chrom, start and end",
            )
    for meaning in ("start", "end"):
        if frame[columns[meaning]].dtype.kind not in "iu":
            raise InputError(
                f"column {columns[meaning]} of the regions is {frame[columns[meaning]].dtype}, expected integers",
                hint=f"convert it: frame[{columns[meaning]!r}].astype(int)",
            )
    return _regions(frame, columns)


def _regions(frame: pd.DataFrame, columns: dict[str, str | None]) -> Iterator[Region]:
    missing = ["."] * len(frame)
    values = (missing if name is None else frame[name].tolist() for name in columns.values())
    for row, (chrom, start, end, name, strand) in enumerate(zip(*values, strict=True)):
        fault = chrom_fault(str(chrom))
        if fault is None and not 0 <= start <= end <= MAX_COORDINATE:
            fault = f"[{start}, {end}) is no interval; expected 0 <= start <= end <= {MAX_COORDINATE}"
        if fault is not None:
            raise InputError(f"row {row} (from 0) of the regions: {fault}", hint="correct the row, or drop it")
        # A name that is missing is NaN or None in a frame.
        yield Region(Interval(chrom, start, end, name if isinstance(name, str) else ".", STRANDS.get(strand, ".")), 0)
