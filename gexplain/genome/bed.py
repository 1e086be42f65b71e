"""BED: regions read one line at a time, and every malformed line named with its mend.

BED3 to BED12 and narrowPeak, plain or gzip, from a file, standard input or an open stream. What the columns
mean: https://genome.ucsc.edu/FAQ/FAQformat.html#format1. Which lines are malformed follows bedtools and the
BED specification (https://samtools.github.io/hts-specs/BEDv1.pdf); columns that gexplain does not use may
hold anything, and their faults are counted.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, cast

from gexplain.errors import BedError, InputError
from gexplain.genome.formats import (
    BGZF_EOF,
    GZIP_MAGIC,
    HEAD_BYTES,
    is_bgzf,
    recognise_format,
    uncompressed_head,
)
from gexplain.genome.intervals import MAX_COORDINATE, Interval, Strand

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# A BED line of 16 MiB is no BED line; without a limit a file without line ends would be held in memory whole.
MAX_LINE_BYTES = 1 << 24
# Bad lines kept with their reason; the rest are counted.
MAX_BAD_LINES = 1000
# Lines read past the first bad one, to tell how many there are.
MAX_LINES_AHEAD = 200_000

# SAM's reference names (SAM spec, 1.2.1) less & and ;, which no assembly uses and shells and HTML break on.
CHROM_PATTERN = r"[0-9A-Za-z!#$%*+./:=?@^_|~-]+"

STRANDS: dict[str, Strand] = {"+": "+", "-": "-", ".": "."}


@dataclass(frozen=True, slots=True)
class Region:
    """One line of a BED file."""

    interval: Interval
    """Name and strand are those of columns 4 and 6."""
    line: int
    """1-based line in its file; 0 for a region that is not from a file."""
    score: str = "."
    """Column 5 as it was written: gexplain does not use it."""
    summit: int | None = None
    """Absolute 0-based position, from column 10 of a narrowPeak."""


@dataclass(slots=True)
class FaultCount:
    """How often one fault was met in a column that gexplain does not use, and where first."""

    count: int
    first_line: int
    example: str


class BedReader:
    """The regions of one BED, in constant memory: iterate over it, once.

    source: a path, "-" for standard input, or an open binary stream; gzip and BGZF are told by their bytes.
    on_bad_line: "stop" raises BedError at the first malformed line; "skip" records it in `bad_lines`.
    strict: a fault in a column that gexplain does not use raises BedError too.
    needs_strand: a strand that is none of + - . is malformed, and not read as "." with a fault.

    Raises InputError where the file is missing, damaged or another format. No region at all is no error here.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | BinaryIO,
        *,
        on_bad_line: Literal["stop", "skip"] = "stop",
        strict: bool = False,
        needs_strand: bool = False,
    ) -> None:
        self.name = _source_name(source)
        self.n_regions = 0
        self.bad_lines: list[tuple[int, str]] = []
        """(line, reason) of the first MAX_BAD_LINES malformed lines."""
        self.n_bad_lines = 0
        self.faults: dict[str, FaultCount] = {}
        """What is wrong in columns that gexplain does not use, by the fault in words."""
        self._source = source
        self._on_bad_line = on_bad_line
        self._strict = strict
        self._needs_strand = needs_strand
        self._started = False
        self._sha256: str | None = None
        # The fewest and the most columns that agree with every line so far: empty last ones may be left out.
        self._columns: tuple[int, int] | None = None

    @property
    def sha256(self) -> str:
        """Of the bytes as they were read, in hexadecimal. ValueError before the last region was read."""
        if self._sha256 is None:
            raise ValueError(f"{self.name} has not been read to its end")
        return self._sha256

    def __iter__(self) -> Iterator[Region]:
        if self._started:
            raise ValueError(f"{self.name} has been read: a BedReader is iterated once")
        self._started = True
        return self._read()

    def _read(self) -> Iterator[Region]:
        with _open_binary(self._source) as file:
            raw = _HashedStream(file)
            self._refuse_other_formats(raw.head)
            try:
                yield from self._regions(_numbered_lines(raw, self.name))
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise self._damaged(str(error)) from error
            if is_bgzf(raw.head) and raw.tail != BGZF_EOF:
                raise self._damaged("the end marker of BGZF is missing")
            self._sha256 = raw.sha256.hexdigest()

    def _damaged(self, reason: str) -> InputError:
        return InputError(
            f"{self.name} is truncated or damaged gzip, after {self.n_regions:,} regions: {reason}",
            hint="copy or download it again; `gzip -t` tells whether a file is whole",
        )

    def _refuse_other_formats(self, head: bytes) -> None:
        found = recognise_format(uncompressed_head(head))
        if found is not None:
            raise InputError(
                f"{self.name} looks like {found}, not a BED", hint=_OTHER_FORMATS.get(found, _EXPORT_BED)
            )

    def _regions(self, lines: Iterator[tuple[int, str]]) -> Iterator[Region]:
        clean: re.Pattern[str] | None = None
        for line, text in lines:
            # Most lines of most files are clean and like the one before: one match, and no further question.
            if clean is not None and (match := clean.fullmatch(text)):
                chrom, start_text, end_text, name, score, strand, offset = match.groups()
                start, end = int(start_text), int(end_text)
                summit = start + int(offset) if offset else None
                if start <= end <= MAX_COORDINATE and (summit is None or summit < end):
                    self.n_regions += 1
                    interval = Interval(chrom, start, end, name or ".", STRANDS[strand or "."])
                    yield Region(interval, line, score or ".", summit)
                    continue
            try:
                region = self._parse(text, line)
            except _BadLineError as bad:
                self._record(line, bad.reason)
                if self._on_bad_line == "stop":
                    raise self._first_bad_line(line, text, bad, lines) from None
                continue
            if region is None:
                continue
            if self._strict and self.faults:
                raise self._first_fault(text)
            clean = self._clean_line()
            self.n_regions += 1
            yield region

    def _clean_line(self) -> re.Pattern[str] | None:
        """What a clean line of this file looks like, where that is known and simple."""
        fewest, most = self._columns or (0, 0)
        return _CLEAN_LINES.get(fewest) if fewest == most else None

    def _parse(self, text: str, line: int) -> Region | None:
        """The region of one line; None for a comment, a header and an empty line."""
        stripped = text.strip(" \t\r\n")
        if not stripped or stripped.startswith("#"):
            return None
        fields = _split(text, stripped)
        if not _are_coordinates(fields):
            if fields[0] in ("track", "browser"):
                return None
            if fields[0].lower() in ("chrom", "chromosome"):
                if self._columns is None:
                    return None
                raise _BadLineError("a header line between the regions", "delete the line, or put # before it")
        chrom, start, end = _parse_position(fields, stripped)
        self._agree_on_columns(fields)
        while fields[-1] == "":
            fields.pop()

        name = fields[3] if len(fields) > 3 else "."
        score = fields[4] if len(fields) > 4 else "."
        strand = fields[5] if len(fields) > 5 else "."
        if strand not in STRANDS and strand != "" and self._needs_strand:
            raise _BadLineError(f"strand {strand!r} is none of + - .", "write the strand in column 6 as +, - or .")
        for fault, value in _unused_faults(fields, start, end):
            self._count_fault(fault, value, line)
        interval = Interval(chrom, start, end, name or ".", STRANDS.get(strand, "."))
        return Region(interval, line, score or ".", _summit(fields, start, end))

    def _agree_on_columns(self, fields: list[str]) -> None:
        n_fields = len(fields)
        n_filled = max(n for n, field in enumerate(fields, 1) if field)
        fewest, most = self._columns or (0, n_fields)
        if n_filled > most or n_fields < fewest:
            raise _BadLineError(
                f"{n_filled} columns, where the lines before it have {fewest if n_fields < fewest else most}",
                "give every line the same columns, with . for a value that is missing",
            )
        self._columns = max(fewest, n_filled), min(most, n_fields)

    def _count_fault(self, fault: str, value: str, line: int) -> None:
        if fault in self.faults:
            self.faults[fault].count += 1
        else:
            self.faults[fault] = FaultCount(1, line, value)

    def _record(self, line: int, reason: str) -> None:
        self.n_bad_lines += 1
        if len(self.bad_lines) < MAX_BAD_LINES:
            self.bad_lines.append((line, reason))

    def _first_bad_line(self, line: int, text: str, bad: _BadLineError, rest: Iterator[tuple[int, str]]) -> BedError:
        """The error for the first bad line, which tells how many more there are."""
        for ahead, ahead_text in islice(rest, MAX_LINES_AHEAD):
            try:
                self._parse(ahead_text, ahead)
            except _BadLineError as another:
                self._record(ahead, another.reason)
        has_more = next(rest, None) is not None
        numbers = ", ".join(str(number) for number, _ in self.bad_lines[:5])
        count = f"{self.n_bad_lines:,} in this file: {numbers}{' ...' if self.n_bad_lines > 5 else ''}"
        if has_more:
            count = f"at least {count}"
        elif self.n_bad_lines == 1:
            count = "the only one in this file"
        return BedError(
            f"malformed BED entry at line {line} of {self.name}: {bad.reason}",
            detail=_shown(text),
            hint=f"{bad.mend}, or use --on-bad-line skip to drop such lines ({count})",
        )

    def _first_fault(self, text: str) -> BedError:
        fault, first = next(iter(self.faults.items()))
        return BedError(
            f"malformed BED entry at line {first.first_line} of {self.name}: {fault}: {first.example!r}",
            detail=_shown(text),
            hint="mend the column, or leave strictness off: gexplain does not use it",
        )


class _BadLineError(Exception):
    def __init__(self, reason: str, mend: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.mend = mend


# ---- The line ----


def _split(text: str, stripped: str) -> list[str]:
    """The fields of a line: between tabs if it has them, or else between runs of spaces and tabs.

    Between tabs, a field may be empty: two tabs in a row are a missing value and not one wide separator.
    """
    between_tabs = [field.strip(" ") for field in text.rstrip("\r\n").split("\t")]
    if _are_coordinates(between_tabs) or "" in between_tabs[: stripped.count("\t") + 1]:
        return between_tabs
    between_spaces = re.split(r"[ \t]+", stripped)
    if _are_coordinates(between_spaces) or len(between_tabs) < 3:
        return between_spaces
    return between_tabs


def _are_coordinates(fields: list[str]) -> bool:
    return len(fields) >= 3 and _is_integer(fields[1]) and _is_integer(fields[2])


def _is_integer(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _parse_position(fields: list[str], stripped: str) -> tuple[str, int, int]:
    """(chrom, start, end) of the first three fields."""
    if any(quote in field for field in fields[:3] for quote in "\"'"):
        raise _BadLineError(
            "quotation marks in the first three columns",
            "remove the quotation marks (in R: write.table(..., quote = FALSE))",
        )
    if len(fields) < 3:
        for separator, name in ((",", "commas"), (";", "semicolons")):
            if stripped.count(separator) >= 2:
                raise _BadLineError(
                    f"{name} between the columns; BED has tabs",
                    f"put tabs for the {name} (tr '{separator}' '\\t')",
                )
        if re.fullmatch(r"\S+:[\d,]+-[\d,]+", stripped):
            raise _BadLineError(
                "a region as text, where BED has three columns",
                "give it as -r instead, or write chrom, start - 1, end",
            )
        columns = "1 column" if len(fields) == 1 else f"{len(fields)} columns"
        raise _BadLineError(f"{columns}, expected at least 3", "write chrom, start and end, with tabs between them")
    chrom, start_text, end_text = fields[:3]
    fault = chrom_fault(chrom)
    if fault is not None:
        raise _BadLineError(fault, "name the chromosome as the FASTA does")
    if len(fields) >= 5 and not _is_integer(start_text) and _are_coordinates(fields[2:]):
        raise _BadLineError(f"start ({start_text}) is not a number; is it GFF or GTF?", _EXPORT_BED)
    if not any(character.isdigit() for character in start_text + end_text) and start_text and end_text:
        raise _BadLineError(
            f"start ({start_text}) and end ({end_text}) are not numbers; is it a header line?",
            "delete the line, or put # before it",
        )
    start = _parse_coordinate("start", start_text)
    end = _parse_coordinate("end", end_text)
    if start > end:
        raise _BadLineError(f"start ({start}) is greater than end ({end})", "swap columns 2 and 3")
    return chrom, start, end


def chrom_fault(chrom: str) -> str | None:
    """Why this is no name of a chromosome, or None if it may be one."""
    if chrom in ("", "."):
        return "chrom is missing"
    if re.fullmatch(CHROM_PATTERN, chrom):
        return None
    odd = next(character for character in chrom if not re.fullmatch(CHROM_PATTERN, character))
    return f"chrom {chrom!r} has the character {odd!r}, which no chromosome name may have"


def _parse_coordinate(column: str, text: str) -> int:
    if text == "":
        raise _BadLineError(f"{column} is missing", "write chrom, start and end, with one tab between them")
    if _is_integer(text):
        # Python refuses to parse thousands of digits; no coordinate that fits has more than ten.
        value = int(text.lstrip("0")[:11] or "0")
        if value > MAX_COORDINATE:
            raise _BadLineError(
                f"{column} ({text}) is greater than {MAX_COORDINATE}, the largest that BED can hold",
                "correct the number",
            )
        return value
    for pattern, fault, mend in _COORDINATE_FAULTS:
        if re.fullmatch(pattern, text):
            raise _BadLineError(f"{column} ({text}) {fault}", mend)
    raise _BadLineError(f"{column} ({text}) is not a number", "write it in digits")


_COORDINATE_FAULTS = (
    (r"-\d+", "is negative", "correct the number: the first base of a chromosome is 0"),
    (r"[-+]?\d*\.\d*", "is not a whole number", "write it without a fraction (in pandas: .astype(int))"),
    (
        r"[-+]?\d+(\.\d*)?[eE][-+]?\d+",
        "is in scientific notation",
        "write out its digits (in R: options(scipen = 999))",
    ),
    (r"\d{1,3}(,\d{3})+", "has commas", "write it without the commas"),
    (r"\+\d+", "has a sign", "write it in digits alone"),
)


# ---- The columns that gexplain does not use ----

NAME_FAULT = "column 4 (name) has spaces"
SCORE_FAULT = "column 5 (score) is not an integer from 0 to 1000"
STRAND_FAULT = "column 6 (strand) is none of + - ."
THICK_FAULT = "columns 7 and 8 (thickStart, thickEnd) are not positions in the region"
RGB_FAULT = "column 9 (itemRgb) is not a colour, as in 255,0,0"
BLOCKS_FAULT = "columns 10 to 12 (blocks) do not agree, or leave the region"
PEAK_FAULT = "columns 7 to 9 (signalValue, pValue, qValue) are not numbers"
SUMMIT_FAULT = "column 10 (peak) is neither -1 nor a position in the region"


def _unused_faults(fields: list[str], start: int, end: int) -> Iterator[tuple[str, str]]:
    """(fault, value) of each column past the third that breaks its format; a value of . is none."""
    # Eleven columns, or more than twelve, are someone's own format past column 6.
    n_columns = len(fields)
    if n_columns > 3 and " " in fields[3]:
        yield NAME_FAULT, fields[3]
    if (
        n_columns > 4
        and not _is_missing(fields[4])
        and not (_is_integer(fields[4]) and 0 <= float(fields[4]) <= 1000)
    ):
        yield SCORE_FAULT, fields[4]
    if n_columns > 5 and fields[5] not in STRANDS and fields[5] != "":
        yield STRAND_FAULT, fields[5]
    is_peak = n_columns == 10 or (n_columns == 9 and not all(map(_is_integer, fields[6:8])))
    if is_peak:
        if not all(_is_missing(value) or _is_number(value) for value in fields[6:9]):
            yield PEAK_FAULT, " ".join(fields[6:9])
        if (
            n_columns == 10
            and not _is_missing(fields[9])
            and fields[9] != "-1"
            and _summit(fields, start, end) is None
        ):
            yield SUMMIT_FAULT, fields[9]
        return
    if n_columns in (7, 8, 9, 12):
        thick = [value for value in fields[6:8] if not _is_missing(value)]
        # kent and many others write 0 0 for "nothing is thick".
        if thick != ["0", "0"] and not _are_sorted_integers([str(start), *thick, str(end)]):
            yield THICK_FAULT, " ".join(thick)
    if n_columns in (9, 12) and not _is_missing(fields[8]) and not _is_rgb(fields[8]):
        yield RGB_FAULT, fields[8]
    if n_columns == 12 and not all(map(_is_missing, fields[9:12])) and not _are_blocks(fields[9:12], end - start):
        yield BLOCKS_FAULT, " ".join(fields[9:12])


def _summit(fields: list[str], start: int, end: int) -> int | None:
    """The absolute position of a narrowPeak's summit, where it has one inside the region."""
    if len(fields) != 10 or not _is_integer(fields[9]) or float(fields[9]) >= end - start:
        return None
    return start + int(float(fields[9]))


def _is_missing(value: str) -> bool:
    return value in ("", ".")


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _are_sorted_integers(values: list[str]) -> bool:
    return all(map(_is_integer, values)) and values == sorted(values, key=float)


def _is_rgb(value: str) -> bool:
    parts = value.split(",")
    return value == "0" or (len(parts) == 3 and all(_is_integer(part) and float(part) <= 255 for part in parts))


def _are_blocks(fields: list[str], width: int) -> bool:
    count, *lists = fields
    sizes, starts = (values.removesuffix(",").split(",") for values in lists)
    if not all(map(_is_integer, [count, *sizes, *starts])) or not len(sizes) == len(starts) == float(count):
        return False
    return all(float(size) + float(start) <= width for size, start in zip(sizes, starts, strict=True))


# ---- The file ----


def _source_name(source: str | os.PathLike[str] | BinaryIO) -> str:
    if isinstance(source, str | os.PathLike):
        return "standard input" if source == "-" else os.fspath(source)
    name = getattr(source, "name", "the stream")
    return "standard input" if name == "<stdin>" else str(name)


@contextmanager
def _open_binary(source: str | os.PathLike[str] | BinaryIO) -> Iterator[BinaryIO]:
    """The source's bytes; only a file that was opened here is closed again."""
    if not isinstance(source, str | os.PathLike):
        yield source
    elif source == "-":
        yield sys.stdin.buffer
    else:
        try:
            file = Path(source).open("rb")  # noqa: SIM115 (closed below, where reading may raise what opening may)
        except OSError as error:
            raise InputError(
                f"cannot read {os.fspath(source)}: {(error.strerror or str(error)).lower()}",
                hint="check the path of the BED",
            ) from error
        with file:
            yield file


class _HashedStream(io.RawIOBase):
    """A binary stream that hashes what is read from it, and knows its first and last bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self.sha256 = hashlib.sha256()
        self.tail = b""
        self._file = file
        # A pipe may hand over less than was asked for.
        head = b""
        while len(head) < HEAD_BYTES and (chunk := file.read(HEAD_BYTES - len(head))):
            head += chunk
        self.head = head
        self._ahead = head

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        chunk = self._ahead[: len(view)] or self._file.read(len(view))
        self._ahead = self._ahead[len(chunk) :]
        view[: len(chunk)] = chunk
        self.sha256.update(chunk)
        self.tail = (self.tail + chunk[-len(BGZF_EOF) :])[-len(BGZF_EOF) :]
        return len(chunk)


def _numbered_lines(raw: _HashedStream, name: str) -> Iterator[tuple[int, str]]:
    """(1-based number, text) of every line of a plain or gzip stream."""
    file: io.BufferedIOBase = io.BufferedReader(raw, 1 << 20)
    if raw.head.startswith(GZIP_MAGIC):
        file = io.BufferedReader(cast("io.RawIOBase", gzip.GzipFile(fileobj=file)), 1 << 20)
    for number, line in enumerate(iter(partial(file.readline, MAX_LINE_BYTES), b""), 1):
        if len(line) == MAX_LINE_BYTES:
            raise InputError(
                f"line {number} of {name} is longer than {MAX_LINE_BYTES:,} bytes: not a BED",
                hint=_EXPORT_BED,
            )
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        # Names come in every encoding; Latin-1 gives any byte a character that can be written again.
        try:
            yield number, line.decode()
        except UnicodeDecodeError:
            yield number, line.decode("latin-1")


def _shown(text: str) -> str:
    """A line of a file as an error shows it: on one line, cut at 120 characters."""
    spaced = text.strip("\r\n").replace("\t", "  ")[:121]
    visible = "".join(c if c.isprintable() else repr(c)[1:-1] for c in spaced)
    return visible if len(visible) <= 120 else visible[:117] + "..."


_EXPORT_BED = "give a BED: chrom, start, end with tabs between them, 0-based and half-open"

_OTHER_FORMATS = {
    "a FASTA": "are the arguments swapped? gexplain score REGIONS GENOME",
    "a UTF-16 text": "save it as UTF-8 (iconv -f UTF-16 -t UTF-8)",
    "a VCF": "convert it (bcftools query -f '%CHROM\\t%POS0\\t%END\\n')",
    "a GFF": "convert it: column 4 less one is BED's start, column 5 its end",
    "a GFF or GTF": "convert it: column 4 less one is BED's start, column 5 its end",
    "a BAM": "convert it (bedtools bamtobed)",
    "a SAM": "convert it (samtools view -b, then bedtools bamtobed)",
    "a bigBed": "convert it (bigBedToBed)",
    "a zip archive or Excel workbook": "unpack it, or save the sheet as tab-separated text",
    "an old Excel workbook": "save the sheet as tab-separated text",
    "a bzip2 archive": "unpack it (bunzip2), or compress it with gzip",
    "an xz archive": "unpack it (unxz), or compress it with gzip",
    "a zstd archive": "unpack it (unzstd), or compress it with gzip",
}

# Clean lines by their number of columns: one tab between two fields, nothing missing, nothing odd. There are
# always seven groups, some of them empty; the last is the summit's offset, None where that is -1.
_NUMBER = r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?"
_CLEAN_FIELDS = (
    rf"(?!#|\.\t)({CHROM_PATTERN})",
    r"\t([0-9]{1,10})",
    r"\t([0-9]{1,10})",
    r"\t([!-~]+)",
    r"\t([0-9]{1,3}|1000|\.)",
    r"\t([-+.])",
)
_CLEAN_LINES = {
    n_columns: re.compile("".join(_CLEAN_FIELDS[:n_columns]) + "()" * (7 - n_columns) + r"\r?\n?")
    for n_columns in (3, 4, 5, 6)
} | {10: re.compile("".join(_CLEAN_FIELDS) + rf"\t{_NUMBER}" * 3 + r"\t(?:-1|([0-9]{1,10}))\r?\n?")}
