"""Labelled regions: BED lines as arrays, checked against a FASTA, and the windows around them.

A window is centred on its region's summit (narrowPeak), or else on its middle, whatever the region's width; at the
ends of chromosomes it shifts inward, as those of `gexplain.windows` do. It is read as it lies on the forward strand,
a region of the minus strand too.
"""

from __future__ import annotations

import gzip
import os
from array import array
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from gexplain.arrays import IntArray
from gexplain.errors import InputError, UsageError, count
from gexplain.genome.bed import NAME_FAULT, BedReader, Region
from gexplain.genome.chromosomes import match_chroms, no_shared_chroms_error, read_chrom_alias
from gexplain.genome.fasta import Genome
from gexplain.genome.formats import GZIP_MAGIC
from gexplain.training.letters import MIN_WIDTH, check_letters
from gexplain.training.splits import matches_any

NAME_COLUMN, SCORE_COLUMN = 4, 5

# The arrays of a RegionTable.
_COLUMNS = ("bed", "line", "chrom", "start", "end", "centre", "labels")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionReading:
    """How regions become windows. window: bases. jitter: how far training windows move to each side, at most.

    label_column: of a BED with several classes, 1-based. chrom_alias: "chr", or a file of aliases, as for `score`.
    on_bad_line: stop at a malformed BED line, or skip it and say so.
    """

    window: int = 128
    jitter: int = 0
    label_column: int = NAME_COLUMN
    chrom_alias: str | None = None
    on_bad_line: Literal["stop", "skip"] = "stop"

    def __post_init__(self) -> None:
        if self.window < MIN_WIDTH:
            raise UsageError(f"--window {self.window}: expected at least {MIN_WIDTH} bases", hint="128, say")
        if not 0 <= self.jitter <= self.window // 2:
            raise UsageError(
                f"--jitter {self.jitter}: expected 0 to {self.window // 2} bases, half the window",
                hint="farther out, a window would lose the middle of its region",
            )
        if self.label_column < NAME_COLUMN:
            raise UsageError(
                f"--label-column {self.label_column}: the first three columns of a BED are its coordinates",
                hint="columns count from 1; 4 is the name",
            )

    @property
    def wide(self) -> int:
        """Bases of a window with its margins."""
        return self.window + 2 * self.jitter

    def naming(self, fasta_chroms: Collection[str]) -> Callable[[Collection[str]], Mapping[str, str]]:
        """What gives the FASTA's names of a BED's chromosomes."""
        alias = self.chrom_alias
        if alias in (None, "chr"):
            return lambda names: match_chroms(names, fasta_chroms, None if alias is None else "chr")
        mapping = read_chrom_alias(alias)
        return lambda names: match_chroms(names, fasta_chroms, mapping)


@dataclass(frozen=True, slots=True)
class BedFile:
    """One BED that was read. name: as messages call it. n_regions: those on excluded chromosomes too."""

    name: str
    sha256: str
    n_regions: int
    chroms: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class RegionTable:
    """Regions as arrays, (n,) each. chrom: index into the FASTA's chromosomes. bed: index into `beds`.

    centre: what the window is centred on. labels: as written, "" where the BED has one class.
    """

    beds: tuple[BedFile, ...]
    bed: IntArray
    line: IntArray
    chrom: IntArray
    start: IntArray
    end: IntArray
    centre: IntArray
    labels: npt.NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.line)

    def take(self, rows: IntArray) -> RegionTable:
        """These regions alone."""
        columns = {name: getattr(self, name)[rows] for name in _COLUMNS}
        return RegionTable(beds=self.beds, **columns)

    def place(self, row: int) -> str:
        """Where a region stands, for a message."""
        return f"line {self.line[row]} of {self.beds[self.bed[row]].name}"


def join_tables(tables: Sequence[RegionTable]) -> RegionTable:
    """The regions of all tables, one after another."""
    columns = {name: np.concatenate([getattr(table, name) for table in tables]) for name in _COLUMNS}
    n_beds_before = np.cumsum([0, *(len(table.beds) for table in tables)])[:-1]
    columns["bed"] += np.repeat(n_beds_before, [len(table) for table in tables])
    return RegionTable(beds=tuple(bed for table in tables for bed in table.beds), **columns)


def read_regions(
    path: str | os.PathLike[str],
    genome: Genome,
    reading: RegionReading,
    excluded: Sequence[str],
    *,
    label_column: int | None,
    warnings: list[str],
) -> RegionTable:
    """The regions of a BED that are on chromosomes not excluded, in the BED's order.

    excluded: names and globs, of the FASTA's names or the BED's. label_column: None where the BED has one class.
    warnings: what is noted goes here. Raises InputError for a malformed line, a label that is missing, a chromosome
    that the FASTA lacks, an empty region, one that leaves its chromosome, and one with no room for its window.
    """
    reader = BedReader(path, on_bad_line=reading.on_bad_line)
    codes: dict[str, int] = {}
    line, chrom, start, end, centre = (array("q") for _ in range(5))
    labels: list[str] = []
    for region, label in _labelled(reader, path, label_column):
        interval = region.interval
        line.append(region.line)
        chrom.append(codes.setdefault(interval.chrom, len(codes)))
        start.append(interval.start)
        end.append(interval.end)
        centre.append((interval.start + interval.end) // 2 if region.summit is None else region.summit)
        labels.append(label)
    if not labels:
        raise InputError(
            f"{reader.name} has no regions" + (", malformed ones aside" if reader.n_bad_lines else ""),
            hint="a class needs examples; leave an empty BED out",
        )
    warnings += _reader_warnings(reader, label_column)
    table = RegionTable(
        beds=(BedFile(reader.name, reader.sha256, len(labels), frozenset(codes)),),
        bed=np.zeros(len(labels), dtype=np.int64),
        line=np.array(line, dtype=np.int64),
        chrom=np.array(chrom, dtype=np.int64),
        start=np.array(start, dtype=np.int64),
        end=np.array(end, dtype=np.int64),
        centre=np.array(centre, dtype=np.int64),
        labels=np.array(labels, dtype=object),
    )
    table = _on_fasta(table, list(codes), genome, reading, excluded)
    _check_regions(table, genome, reading)
    return table


def window_starts(table: RegionTable, genome: Genome, width: int) -> IntArray:
    """The start of a window of `width` bases around each region, (n,), inside its chromosome."""
    lengths = np.array(list(genome.chroms.values()), dtype=np.int64)[table.chrom]
    return np.clip(table.centre - width // 2, 0, lengths - width)


def fetch_windows(table: RegionTable, genome: Genome, width: int) -> list[str]:
    """The sequence of each region's window of `width` bases, on the forward strand, upper case.

    InputError for letters that are no nucleotides.
    """
    starts = window_starts(table, genome, width)
    names = list(genome.chroms)
    sequences = [""] * len(table)
    for row in np.lexsort((starts, table.chrom)).tolist():  # a BGZF is read fastest in its own order
        start = int(starts[row])
        sequences[row] = genome.fetch(names[table.chrom[row]], start, start + width)
        check_letters(sequences[row], f"{table.place(row)}: the FASTA")
    return sequences


def count_moved_off(table: RegionTable, genome: Genome, reading: RegionReading) -> int:
    """Regions so close to a chromosome's end that some training window, moved, misses their centre."""
    offset = table.centre - window_starts(table, genome, reading.wide)
    return int(((offset < 2 * reading.jitter) | (offset >= reading.window)).sum()) if reading.jitter else 0


# ---- Lines ----


def _labelled(
    reader: BedReader, path: str | os.PathLike[str], label_column: int | None
) -> Iterator[tuple[Region, str]]:
    """Each region with its label as written, "" where the BED has one class."""
    if label_column is None:
        for region in reader:
            yield region, ""
        return
    texts = None if label_column in (NAME_COLUMN, SCORE_COLUMN) else _ColumnTexts(path, label_column)
    for region in reader:
        if texts is not None:
            label = texts.at(region.line)
        else:
            label = region.interval.name if label_column == NAME_COLUMN else region.score
        if label in ("", "."):
            raise InputError(
                f"line {region.line} of {reader.name} has no label in column {label_column}",
                hint="name the column of the classes with --label-column (from 1), or give one BED per class",
            )
        yield region, label


class _ColumnTexts:
    """A column of a BED that its reader passes over, by line, in increasing order of lines."""

    def __init__(self, path: str | os.PathLike[str], column: int) -> None:
        if path == "-":
            raise UsageError(
                f"--label-column {column} of standard input; there it can be {NAME_COLUMN} or {SCORE_COLUMN}",
                hint="write the regions to a file, or the labels into column 4",
            )
        self._column = column
        self._lines = enumerate(_read_lines(Path(path)), 1)

    def at(self, line: int) -> str:
        """The column's text on a line; "" where the line is too short."""
        text = next(text for number, text in self._lines if number == line).decode("utf-8", "replace").strip("\r\n")
        fields = text.split("\t") if "\t" in text else text.split()
        return fields[self._column - 1].strip() if len(fields) >= self._column else ""


def _read_lines(path: Path) -> Iterator[bytes]:
    # The BedReader of the same file has found whatever cannot be read before it asks for a line here.
    with path.open("rb") as raw:
        is_gzip = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        yield from gzip.GzipFile(fileobj=raw) if is_gzip else raw


def _reader_warnings(reader: BedReader, label_column: int | None) -> list[str]:
    warnings = []
    if reader.n_bad_lines:
        lines = ", ".join(str(line) for line, _ in reader.bad_lines[:5])
        more = " ..." if reader.n_bad_lines > 5 else ""
        warnings.append(f"{reader.name}: {count(reader.n_bad_lines, 'malformed line')} skipped: {lines}{more}")
    for fault, seen in reader.faults.items():
        # Spaces are no fault of a label.
        if not (fault == NAME_FAULT and label_column == NAME_COLUMN):
            first = f"first in line {seen.first_line} ({seen.example})"
            warnings.append(f"{reader.name}: {fault} in {count(seen.count, 'line')}, {first}")
    return warnings


# ---- What a region must be ----


def _on_fasta(
    table: RegionTable, bed_chroms: Sequence[str], genome: Genome, reading: RegionReading, excluded: Sequence[str]
) -> RegionTable:
    """The regions on chromosomes not excluded, by the FASTA's chromosomes; InputError for one that it lacks."""
    fasta_code = {chrom: code for code, chrom in enumerate(genome.chroms)}
    matches = reading.naming(genome.chroms)(bed_chroms)
    is_out = np.array([matches_any({chrom, matches.get(chrom, chrom)}, excluded) for chrom in bed_chroms])
    code = np.array([fasta_code[matches[chrom]] if chrom in matches else -1 for chrom in bed_chroms])
    name = table.beds[0].name
    if (code < 0).all():
        raise no_shared_chroms_error(name, bed_chroms, len(table), str(genome.path), genome.chroms)
    unknown = (code < 0) & ~is_out
    bad = unknown[table.chrom]
    if bad.any():
        row = int(bad.argmax())
        chrom = bed_chroms[table.chrom[row]]
        with_prefix = match_chroms([chrom], genome.chroms, "chr")
        others = f", and {count(int(unknown.sum()) - 1, 'other')} like it" if unknown.sum() > 1 else ""
        raise InputError(
            f"{table.place(row)}: chromosome {chrom!r}{others} is not in {genome.path}"
            f" ({count(int(bad.sum()), 'region')} of {len(table):,})",
            hint='--chrom-alias chr maps the "chr" prefix'
            if with_prefix
            else f"give the FASTA of the regions' assembly, or leave them out with --exclude-chroms {chrom}",
        )
    kept = table.take(np.flatnonzero(~is_out[table.chrom]))
    if not len(kept):
        raise InputError(
            f"all {count(len(table), 'region')} of {name} are on excluded chromosomes", hint="narrow --exclude-chroms"
        )
    return replace(kept, chrom=code[kept.chrom])


def _check_regions(table: RegionTable, genome: Genome, reading: RegionReading) -> None:
    names, lengths = list(genome.chroms), np.array(list(genome.chroms.values()), dtype=np.int64)

    def refuse(bad: npt.NDArray[np.bool_], fault: Callable[[int], str], hint: str) -> None:
        if bad.any():
            row = int(bad.argmax())
            more = f" ({int(bad.sum()):,} such regions)" if bad.sum() > 1 else ""
            where = f"{names[table.chrom[row]]} {table.start[row]} {table.end[row]}"
            raise InputError(f"{table.place(row)}: {fault(row)}{more}", detail=where, hint=hint)

    length = lengths[table.chrom]
    refuse(
        table.start == table.end,
        lambda row: "an empty region, start and end are the same",
        "a position is [start, start + 1)",
    )
    refuse(
        table.end > length,
        lambda row: (
            f"the region ends at {table.end[row]:,}, past the end of {names[table.chrom[row]]}"
            f" ({length[row]:,} bases in {genome.path})"
        ),
        "give the FASTA of the regions' assembly, or remove the region",
    )
    margins = f" with {reading.jitter:,} bases of jitter on each side" if reading.jitter else ""
    refuse(
        length < reading.wide,
        lambda row: (
            f"{names[table.chrom[row]]} has {length[row]:,} bases in {genome.path}, too few for a window of"
            f" {reading.window:,}{margins}"
        ),
        "give a shorter --window, or leave the chromosome out with --exclude-chroms",
    )
