"""The plan of a run: which regions can be scored, and why the others cannot; which windows they need.

All of it is known before a model is loaded. Memory holds a few numbers per region; the text of the BED lines is
spooled to a file.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Literal, TextIO

import numpy as np
import numpy.typing as npt

from gexplain.arrays import IntArray
from gexplain.errors import InputError
from gexplain.genome.bed import Region
from gexplain.genome.intervals import Interval, Strand
from gexplain.windows import Tiles, Tiling, Window

StrandMode = Literal["both", "forward", "reverse", "region"]

_STRANDS: tuple[Strand, ...] = (".", "+", "-")
_READ_AS: dict[StrandMode, Strand] = {"both": ".", "forward": "+", "reverse": "-"}


class Status(IntEnum):
    """What becomes of a region; all but SCORED are skipped, for the reason in REASONS."""

    SCORED = 0
    EMPTY = 1
    UNKNOWN_CHROM = 2
    PAST_END = 3
    NOT_SELECTED = 4
    BLACKLISTED = 5
    NO_STRAND = 6
    ONLY_N = 7  # known only once the sequence is read


REASONS: dict[Status, str] = {
    Status.SCORED: ".",
    Status.EMPTY: "empty region",
    Status.UNKNOWN_CHROM: "chromosome not in the FASTA",
    Status.PAST_END: "past the chromosome's end",
    Status.NOT_SELECTED: "chromosome not in --chroms",
    Status.BLACKLISTED: "overlaps the blacklist",
    Status.NO_STRAND: "no strand",
    Status.ONLY_N: "no base but N",
}

_MENDS: dict[Status, str] = {
    Status.EMPTY: "a region needs an end greater than its start; `bedtools slop` widens positions",
    Status.UNKNOWN_CHROM: "give the FASTA of the regions' assembly, or --chrom-alias",
    Status.PAST_END: "give the FASTA of the regions' assembly",
    Status.NOT_SELECTED: "widen --chroms",
    Status.BLACKLISTED: "drop --blacklist, or give other regions",
    Status.NO_STRAND: "use --strand both, or give strands in column 6",
}


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Regions as arrays, in input order; chrom is an index into chroms and lengths, -1 for one that is not there.

    summit is -1 where there is none. status holds Status values. spool: the file of their text columns
    (chrom as given, start, end, name, strand), a line a region; None where nobody will ask.
    """

    chroms: Mapping[str, int]
    lengths: npt.NDArray[np.int64]
    chrom: npt.NDArray[np.int32]
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    summit: npt.NDArray[np.int64]
    strand: npt.NDArray[np.int8]
    status: npt.NDArray[np.uint8]
    spool: Path | None

    @property
    def n_regions(self) -> int:
        """Regions, skipped ones too."""
        return len(self.start)

    def sha256(self) -> str:
        """Of the scored regions: equal for equal windows under one tiling."""
        scored = self.status == Status.SCORED
        columns = (self.chrom, self.start, self.end, self.summit, self.strand)
        return hashlib.sha256(b"".join(column[scored].tobytes() for column in columns)).hexdigest()

    def skipped(self) -> Counter[Status]:
        """How many regions are skipped, by status."""
        values, counts = np.unique(self.status[self.status != Status.SCORED], return_counts=True)
        return Counter({Status(int(value)): int(n) for value, n in zip(values, counts, strict=True)})

    def strands(self) -> list[Strand]:
        """The strands on which some region is read, in the order of their tracks."""
        present = set(np.unique(self.strand[self.status == Status.SCORED]).tolist())
        return [strand for code, strand in enumerate(_STRANDS) if code in present]

    def starts_of_region(self, tiling: Tiling, index: int) -> IntArray:
        """Sorted, distinct window starts of one region."""
        return self._starts(tiling, np.array([index]), int(self.chrom[index]))

    def tiles_of_region(self, tiling: Tiling, index: int) -> Tiles:
        """Window starts of one region without shifts, in no memory."""
        region = int(self.start[index]), int(self.end[index])
        return tiling.tiles(region, int(self.summit[index]), int(self.lengths[self.chrom[index]]))

    def strand_of_region(self, index: int) -> Strand:
        """The strand that a region is read on; "." is both."""
        return _STRANDS[int(self.strand[index])]

    def windows(
        self,
        tiling: Tiling,
        done: Callable[[str, Strand], IntArray] | None = None,
        part: tuple[int, int] | None = None,
    ) -> Iterator[Window]:
        """All distinct windows, by chromosome (FASTA order), strand and start, less those that start at `done`.

        part: from which to which of them, counted from 0 in this order.
        """
        names, n_before = list(self.chroms), 0
        for index, code, rows in self._groups():
            strand = _STRANDS[code]
            starts = self._starts(tiling, rows, index)
            if part is not None:
                low, high = (min(max(end - n_before, 0), len(starts)) for end in part)
                n_before += len(starts)
                starts = starts[low:high]
            if done is not None:
                starts = np.setdiff1d(starts, done(names[index], strand), assume_unique=True)
            width = tiling.width(int(self.lengths[index]))
            for start in starts.tolist():
                yield Window(names[index], start, start + width, strand)

    def count_windows(self, tiling: Tiling) -> int:
        """Distinct windows, in the memory of one chromosome's."""
        return sum(len(self._starts(tiling, rows, index)) for index, _, rows in self._groups())

    def ordinals(self, tiling: Tiling, places: Sequence[Interval]) -> IntArray:
        """(n, 2): of each place, from which to which of `windows` lie inside it, on its strand; (0, 0) for none."""
        found = np.zeros((len(places), 2), dtype=np.int64)
        names, n_before = list(self.chroms), 0
        by_group: dict[tuple[str, Strand], list[int]] = {}
        for i, place in enumerate(places):
            by_group.setdefault((place.chrom, place.strand), []).append(i)
        for index, code, rows in self._groups():
            starts = self._starts(tiling, rows, index)
            here = by_group.get((names[index], _STRANDS[code]), [])
            ends = np.array([places[i].end for i in here]) - tiling.width(int(self.lengths[index]))
            low = np.searchsorted(starts, [places[i].start for i in here])
            high = np.maximum(np.searchsorted(starts, ends, side="right"), low)
            found[here] = np.stack([low, high], axis=1) + n_before
            found[np.array(here, dtype=np.int64)[low == high]] = 0
            n_before += len(starts)
        return found

    def count_covered_by(self, tiling: Tiling, windows: Collection[Window]) -> int:
        """Regions to be scored of which every window is among these."""
        if not windows:
            return 0
        names, n_covered = list(self.chroms), 0
        for index in np.flatnonzero(self.status == Status.SCORED).tolist():
            chrom, strand = names[self.chrom[index]], self.strand_of_region(index)
            width = tiling.width(self.chroms[chrom])
            starts = self.starts_of_region(tiling, index).tolist()
            n_covered += all(Window(chrom, start, start + width, strand) in windows for start in starts)
        return n_covered

    def _groups(self) -> Iterator[tuple[int, int, IntArray]]:
        """(chromosome, strand code, rows) of the scored regions, in the order of the tracks."""
        rows = np.flatnonzero(self.status == Status.SCORED)
        keys = self.chrom[rows].astype(np.int64) * len(_STRANDS) + self.strand[rows]
        rows, keys = rows[order := np.argsort(keys, kind="stable")], keys[order]
        found, first = np.unique(keys, return_index=True)
        for key, of_key in zip(found.tolist(), np.split(rows, first[1:]), strict=True):
            yield *divmod(key, len(_STRANDS)), of_key

    def _starts(self, tiling: Tiling, rows: IntArray, chrom: int) -> IntArray:
        regions = np.stack([self.start[rows], self.end[rows]], axis=1)
        return tiling.starts(regions, self.summit[rows], int(self.lengths[chrom]))


def plan_regions(
    regions: Iterable[Region],
    chroms: Mapping[str, int],
    *,
    strand: StrandMode = "both",
    names: Callable[[Collection[str]], Mapping[str, str]] | None = None,
    selected: Collection[str] | None = None,
    spool: Path | None = None,
) -> Plan:
    """The plan of regions on the chromosomes (name to length) of a FASTA.

    names: gives, of the regions' chromosome names, those of the FASTA, as far as there are; equal names, if None.
    selected are the chromosomes to score, None for all. Regions that cannot be scored are kept, with their status.
    """
    codes: dict[str, int] = {}  # the regions' chromosome names, in the order they come
    code, start, end, summit, strands = array("q"), array("q"), array("q"), array("q"), array("b")
    with ExitStack() as stack:
        text = None if spool is None else stack.enter_context(_open_spool(spool))
        for region in regions:
            interval = region.interval
            for what in (interval.chrom, interval.name):
                if "\t" in what or "\n" in what or "\r" in what:
                    raise InputError(f"a region's name, {what!r}, holds a tab or a line end", hint="rename it")
            code.append(codes.setdefault(interval.chrom, len(codes)))
            start.append(interval.start)
            end.append(interval.end)
            summit.append(-1 if region.summit is None else region.summit)
            read_as = interval.strand if strand == "region" else _READ_AS[strand]
            strands.append(_STRANDS.index(read_as))
            if text is not None:
                columns = (interval.chrom, str(interval.start), str(interval.end), interval.name, interval.strand)
                text.write("\t".join(columns) + "\n")
    matches = {name: name for name in codes if name in chroms} if names is None else names(codes)
    index_of = {name: index for index, name in enumerate(chroms)}
    # The last entry is what an index of -1 finds: a chromosome that is not there.
    index_of_code = np.array([index_of.get(matches.get(name, ""), -1) for name in codes], dtype=np.int64)
    lengths = np.array([*chroms.values(), 0], dtype=np.int64)
    is_selected = np.array([*(selected is None or name in selected for name in chroms), True])
    chrom = index_of_code[np.array(code, dtype=np.int64)]
    starts, ends = np.array(start, dtype=np.int64), np.array(end, dtype=np.int64)
    read = np.array(strands, dtype=np.int8)
    # The first reason that holds is the one told.
    reasons = {
        Status.UNKNOWN_CHROM: chrom < 0,
        Status.NOT_SELECTED: ~is_selected[chrom],
        Status.PAST_END: ends > lengths[chrom],
        Status.EMPTY: starts == ends,
        Status.NO_STRAND: (read == _STRANDS.index(".")) & (strand == "region"),
    }
    return Plan(
        chroms=dict(chroms),
        lengths=lengths[:-1],
        chrom=chrom.astype(np.int32),
        start=starts,
        end=ends,
        summit=np.array(summit, dtype=np.int64),
        strand=read,
        status=np.select(list(reasons.values()), list(reasons), default=Status.SCORED).astype(np.uint8),
        spool=spool,
    )


def require_scorable(plan: Plan, source: str) -> None:
    """Raise InputError where no region at all can be scored, with the reasons and their counts."""
    if plan.n_regions == 0:
        raise InputError(f"{source}: no regions", hint="give a BED file with at least one line")
    if (plan.status == Status.SCORED).any():
        return
    reasons = [f"{n:,} {REASONS[status]}" for status, n in plan.skipped().most_common()]
    raise InputError(
        f"{source}: no region can be scored, of {plan.n_regions:,}",
        detail="\n".join(reasons),
        hint=_MENDS[plan.skipped().most_common(1)[0][0]],
    )


def _open_spool(path: Path) -> TextIO:
    # A name given in Python may hold what is no Unicode; it goes out as it came in.
    return path.open("w", encoding="utf-8", errors="surrogateescape", newline="\n")
