"""BED tables: BED6 with named extra columns, for browsers, bedtools, tabix and bedToBigBed.

Coordinates are 0-based and half-open. The extra columns are described in autoSql
(https://genome.ucsc.edu/FAQ/FAQformat.html#format1), which `bedToBigBed -type=bed6+N -as=FILE.as` takes.
"""

from __future__ import annotations

import math
import operator
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from gexplain.errors import RunError
from gexplain.genome.tracks import partial_path, write_error

MAX_SCORE = 1000

# kent's tools refuse a longer `string`, in bytes; an `lstring` has no limit.
_MAX_STRING_BYTES = 255
# A .tbi has no place for what lies further right (https://samtools.github.io/hts-specs/tabix.pdf); a .csi has.
_MAX_TABIX_LENGTH = 1 << 29


@dataclass(frozen=True, slots=True)
class Column:
    """An extra column: its name, its autoSql type (a key of COLUMN_TYPES) and what it says."""

    name: str
    type: str
    description: str

    def __post_init__(self) -> None:
        _check_identifier(self.name)
        _check_comment(self.description)
        if self.type not in COLUMN_TYPES:
            raise ValueError(f"{self.name}: no type {self.type!r}; expected one of {', '.join(COLUMN_TYPES)}")


@dataclass(frozen=True, slots=True)
class BedSchema:
    """What a BED table holds: its name (an identifier), a sentence on it, and the columns after the sixth."""

    name: str
    description: str
    columns: tuple[Column, ...] = ()

    def __post_init__(self) -> None:
        _check_identifier(self.name)
        _check_comment(self.description)
        names = [name for _, name, _ in _FIRST_SIX] + [column.name for column in self.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{self.name}: two columns are called {', '.join(twice)}")

    @property
    def header(self) -> str:
        """The first line of a table, which readers of BED skip."""
        return "\t".join(["#chrom", "start", "end", "name", "score", "strand", *(one.name for one in self.columns)])


class BedTable:
    """A BED table being written, to a path or an open text stream: a context manager.

    chroms: names to lengths, in the order in which rows come. A path appears when it is closed without an exception;
    a stream is flushed and left open.

    Raises RunError where the file cannot be written. BrokenPipeError passes: the reader has seen enough.
    """

    def __init__(self, target: str | os.PathLike[str] | TextIO, schema: BedSchema, chroms: Mapping[str, int]) -> None:
        self._lengths = dict(chroms)
        self._ranks = {chrom: rank for rank, chrom in enumerate(chroms)}
        self._formats = [COLUMN_TYPES[column.type] for column in schema.columns]
        self._names = [column.name for column in schema.columns]
        self._last = (-1, 0, 0)
        self._path = Path(target) if isinstance(target, str | os.PathLike) else None
        self._is_open = True
        if isinstance(target, str | os.PathLike):
            try:
                self._stream: TextIO = partial_path(Path(target)).open(
                    # A name may come from a BED with bytes that are no text.
                    "w",
                    encoding="utf-8",
                    errors="surrogateescape",
                    newline="\n",
                )
            except OSError as error:
                raise write_error(Path(target), error) from error
        else:
            self._stream = target
        self._put(schema.header + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def write(self, rows: Iterable[Sequence[object]]) -> None:
        """Add rows: chrom, start, end, name, score (0 to 1000), strand, then the extra columns.

        Rows come in the order of the chromosomes, then of start, then of end. In text, white space becomes "_",
        nothing at all ".", and a `string` ends after 255 bytes; floats get six significant digits.

        Raises ValueError for a row that is out of order, empty, outside its chromosome, or not of the schema, NaN and
        infinities included.
        """
        self._put("".join([self._line(row) for row in rows]))

    def close(self) -> None:
        """Give the file its name, or flush the stream."""
        if not self._is_open:
            return
        self._is_open = False
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

    def _line(self, row: Sequence[object]) -> str:
        if len(row) != 6 + len(self._formats):
            raise ValueError(f"a row of {len(row)} fields; expected {6 + len(self._formats)}")
        chrom, name, strand = str(row[0]), _format_string(row[3]), row[5]
        start, end, score = (_format_int(row[i], 0, 2**32 - 1) for i in (1, 2, 4))
        if chrom not in self._ranks:
            raise ValueError(f"no chromosome {chrom!r}")
        place = self._ranks[chrom], int(start), int(end)
        if not place[1] < place[2] <= self._lengths[chrom]:
            raise ValueError(
                f"[{start}, {end}) is not inside {chrom}, of {self._lengths[chrom]} nucleotides, or empty"
            )
        if place < self._last:
            raise ValueError(f"{chrom}:[{start}, {end}) comes after what was written: not sorted")
        if int(score) > MAX_SCORE or strand not in ("+", "-", "."):
            raise ValueError(f"score {score}, strand {strand!r}; expected 0 to {MAX_SCORE}, and +, - or .")
        self._last = place
        extra = []
        for column, format_value, value in zip(self._names, self._formats, row[6:], strict=True):
            try:
                extra.append(format_value(value))
            except (ValueError, TypeError) as error:
                raise ValueError(f"{column} of {chrom}:[{start}, {end}): {error}") from error
        return "\t".join([chrom, start, end, name, score, strand, *extra]) + "\n"

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


def autosql(schema: BedSchema) -> str:
    """The schema in autoSql, as UCSC spells the first six columns."""
    columns = [*_FIRST_SIX, *((column.type, column.name, column.description) for column in schema.columns)]
    widths = [max(len(column[i]) for column in columns) for i in (0, 1)]
    lines = [
        f'    {kind:<{widths[0]}} {name + ";":<{widths[1] + 1}} "{description}"'
        for kind, name, description in columns
    ]
    return "\n".join([f"table {schema.name}", f'"{schema.description}"', "    (", *lines, "    )", ""])


def write_autosql(path: str | os.PathLike[str], schema: BedSchema) -> None:
    """Write the schema in autoSql to a file; RunError where it cannot be written."""
    target = Path(path)
    partial = partial_path(target)
    try:
        partial.write_text(autosql(schema), encoding="utf-8", newline="\n")
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise write_error(target, error) from error


def index_bed(path: str | os.PathLike[str], chroms: Mapping[str, int]) -> Path:
    """The path of the table compressed in blocks, path + ".gz", with its index beside it: .tbi, or .csi for a genome
    with a chromosome longer than 2**29. The table itself stays.

    chroms: names to lengths. Raises RunError where the files cannot be written.
    """
    import pysam  # with htslib, 0.1 s: not at import

    source = Path(path)
    target = source.with_name(f"{source.name}.gz")
    suffix = ".csi" if max(chroms.values()) > _MAX_TABIX_LENGTH else ".tbi"
    partial = partial_path(target)
    partial_index = partial_path(target.with_name(target.name + suffix))
    verbosity = pysam.set_verbosity(0)  # what htslib writes to the process's stderr, the error says
    try:
        pysam.tabix_compress(os.fspath(source), os.fspath(partial), force=True)
        pysam.tabix_index(
            os.fspath(partial), preset="bed", csi=suffix == ".csi", index=os.fspath(partial_index), force=True
        )
        # An index of another kind, left from before, would be read with the new file.
        for old in (".tbi", ".csi"):
            target.with_name(target.name + old).unlink(missing_ok=True)
        partial.replace(target)
        partial_index.replace(target.with_name(target.name + suffix))
    except OSError as error:
        raise write_error(target, error) from error
    finally:
        pysam.set_verbosity(verbosity)
        for left in (partial, partial_index):
            left.unlink(missing_ok=True)
    return target


def format_number(value: float) -> str:
    """A number for a table: six significant digits; "." where there is none."""
    return "." if math.isnan(value) else f"{value:.6g}"


# ---- What a column may hold ----


def _format_text(value: object) -> str:
    return re.sub(r"\s", "_", str(value)) or "."


def _format_string(value: object) -> str:
    text = _format_text(value)[:_MAX_STRING_BYTES]
    while len(text.encode(errors="surrogateescape")) > _MAX_STRING_BYTES:
        text = text[:-1]
    return text


def _format_int(value: Any, least: int, most: int) -> str:
    number = operator.index(value)
    if not least <= number <= most:
        raise ValueError(f"{number}; expected {least} to {most}")
    return str(number)


def _format_float(value: Any) -> str:
    # bedToBigBed has no missing number.
    if not math.isfinite(value):
        raise ValueError(f"{value}; expected a finite number")
    return format_number(value)


def _check_identifier(name: str) -> None:
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(f"{name!r} is no name in autoSql; expected letters, digits and _, no digit first")


def _check_comment(text: str) -> None:
    if not text or re.search(r'["\r\n\t]', text):
        raise ValueError(f"{text!r} cannot be a description: one line, not empty, without double quotes")


_FIRST_SIX = (
    ("string", "chrom", "Reference sequence chromosome or scaffold"),
    ("uint", "chromStart", "Start position in chromosome"),
    ("uint", "chromEnd", "End position in chromosome"),
    ("string", "name", "Name of item"),
    ("uint", "score", "Score from 0 to 1000"),
    ("char[1]", "strand", "+ or - or . for unknown"),
)

COLUMN_TYPES: dict[str, Callable[[Any], str]] = {
    "string": _format_string,
    "lstring": _format_text,
    "int": lambda value: _format_int(value, -(2**31), 2**31 - 1),
    "uint": lambda value: _format_int(value, 0, 2**32 - 1),
    "float": _format_float,
    "double": _format_float,
}
