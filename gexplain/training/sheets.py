"""Sheets: sequences with their labels from a CSV of two columns, as DNABERT-2's users have them."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, cast

from gexplain.errors import InputError
from gexplain.genome.formats import GZIP_MAGIC, HEAD_BYTES, recognise_format, uncompressed_head
from gexplain.training.letters import MIN_WIDTH, check_letters

COLUMNS = ("sequence", "label")
_EXPECTED = "expected a header line and two columns: sequence,label"
_MEND = "give a file that begins with the line sequence,label; regions of a genome are for a BED and its FASTA"


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """The rows of one file: sequences in upper case, labels as written, and the 1-based line of each."""

    name: str
    sha256: str
    sequences: list[str]
    labels: list[str]
    lines: list[int]


def read_sheet(path: str | os.PathLike[str]) -> Sheet:
    """The labelled sequences of a CSV, or of a TSV; plain or gzip by its bytes, UTF-8 with or without a BOM.

    Raises InputError for a file that cannot be read, other columns, no rows, an empty or short sequence, letters that
    are no nucleotides, a missing label.
    """
    name = os.fspath(path)
    sequences: list[str] = []
    labels: list[str] = []
    lines: list[int] = []
    shared: dict[str, str] = {}
    try:
        with _open_text(Path(path)) as text:
            for line, sequence, label in _rows(text, name):
                _check_sequence(sequence, f"line {line} of {name}")
                if not label:
                    raise InputError(f"line {line} of {name} has no label", hint="write the class of every sequence")
                sequences.append(sequence)
                labels.append(shared.setdefault(label, label))
                lines.append(line)
    except OSError as error:
        # gzip's BadGzipFile is an OSError too.
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"cannot read {name}: {reason}", hint="check the path and the file") from error
    except (EOFError, zlib.error) as error:
        raise InputError(f"{name} is truncated or damaged gzip: {error}", hint="copy or download it again") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8 text: {error.reason}", hint="save it as UTF-8") from error
    if not sequences:
        raise InputError(f"{name} has no rows below its header", hint="give sequences to train on")
    with Path(path).open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Sheet(name, sha256, sequences, labels, lines)


@contextmanager
def _open_text(path: Path) -> Iterator[TextIO]:
    with path.open("rb") as raw:
        head = raw.read(HEAD_BYTES)
        raw.seek(0)
        found = recognise_format(uncompressed_head(head))
        if found is not None:
            raise InputError(f"{path} looks like {found}, not a CSV", hint=_MEND)
        stream = gzip.GzipFile(fileobj=raw) if head.startswith(GZIP_MAGIC) else raw
        with io.TextIOWrapper(cast("io.BufferedReader", stream), encoding="utf-8-sig", newline="") as text:
            yield text


def _rows(text: TextIO, name: str) -> Iterator[tuple[int, str, str]]:
    """(line, sequence in upper case, label) of each row that is not blank."""
    first = text.readline()
    if not first.strip():
        raise InputError(f"{name} is empty, or begins with an empty line; {_EXPECTED}", hint=_MEND)
    delimiter = "\t" if "\t" in first else ","
    header = [field.strip().lower() for field in next(csv.reader([first], delimiter=delimiter))]
    if sorted(header) != sorted(COLUMNS):
        raise _other_columns(name, first)
    at_sequence, at_label = (header.index(column) for column in COLUMNS)
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        for fields in reader:
            if not fields:
                continue
            line = 1 + reader.line_num
            if len(fields) != len(COLUMNS):
                raise InputError(
                    f"line {line} of {name} has {len(fields)} columns, where the header has {len(COLUMNS)}",
                    hint="give every line a sequence and a label",
                )
            yield line, fields[at_sequence].strip().upper(), fields[at_label].strip()
    except csv.Error as error:
        raise InputError(
            f"line {1 + reader.line_num} of {name} is no line of a CSV: {error}",
            hint="check its quotation marks; sequences need none",
        ) from error


def _other_columns(name: str, first: str) -> InputError:
    shown = first.strip()[:60]
    found = f"its first line is {shown!r}" + (" ..." if len(first.strip()) > 60 else "")
    letters = first.split(",")[0].strip().upper()
    if len(letters) >= MIN_WIDTH and set(letters) <= set("ACGTN"):
        hint = "it has no header: put the line sequence,label on top"
    elif re.match(r"\S+\t\d+\t\d+", first):
        hint = "it looks like a BED: give it as REGIONS, with its FASTA and without --csv"
    elif ";" in first:
        hint = "put commas for the semicolons"
    else:
        hint = "keep the columns of sequences and of classes, and name them sequence and label"
    return InputError(f"{name} has other columns: {found}; {_EXPECTED}", hint=hint)


def _check_sequence(sequence: str, place: str) -> None:
    if not sequence:
        raise InputError(f"{place} has no sequence", hint="remove the line, or fill it")
    check_letters(sequence, place)
    if len(sequence) < MIN_WIDTH:
        raise InputError(
            f"{place}: a sequence of {len(sequence)} bases; expected at least {MIN_WIDTH}",
            hint="are the columns what the header says?",
        )
