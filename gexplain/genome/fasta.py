"""FASTA: the reference, read from the middle through a samtools index, with every misfit named with its mend.

The index is `samtools faidx`'s (http://www.htslib.org/doc/faidx.html). One that is missing is made; one that
is there is checked against the file and never rebuilt, since it is the user's.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import tempfile
import threading
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self, overload

from gexplain.errors import InputError
from gexplain.genome.formats import (
    BGZF_EOF,
    GZIP_MAGIC,
    HEAD_BYTES,
    is_bgzf,
    recognise_format,
    uncompressed_head,
)
from gexplain.genome.intervals import Interval

if TYPE_CHECKING:
    from pysam import FastaFile

# Places of sequences looked up of an index that was there before: a stale one is wrong in most of them.
MAX_PLACES_CHECKED = 1000
# Amino acids that are no IUPAC nucleotide code.
PROTEIN_LETTERS = frozenset("EFIJLOPQZ")


class Genome:
    """A FASTA with its index, for random access: a context manager.

    `chroms` maps names to lengths, in the order of the file, which is plain or BGZF. What is missing of the
    index (.fai, .gzi) is written beside the FASTA. Every thread and every process has its own file handle, so
    one Genome may be shared by threads and cross a fork.

    Raises InputError for what is no usable FASTA: missing, another format, gzip that is not BGZF, lines of
    varying length, a name twice, an index that does not agree, a folder where no index can be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._handles = threading.local()
        self._index = _Index(Path(f"{self.path}.fai"), Path(f"{self.path}.gzi") if _check_file(self.path) else None)
        _make_missing_index(self.path, self._index)
        entries = _read_fai(self._index.fai)
        reason = _find_disagreement(self.path, self._index, entries, most=MAX_PLACES_CHECKED)
        if reason is not None:
            raise _stale_index(self.path, self._index, reason)
        self.chroms: dict[str, int] = {entry.name: entry.length for entry in entries}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file handles of all threads."""
        self._handles = threading.local()

    @overload
    def fetch(self, chrom: Interval, /) -> str: ...
    @overload
    def fetch(self, chrom: str, start: int, end: int, /) -> str: ...
    def fetch(self, chrom: str | Interval, start: int = 0, end: int = 0, /) -> str:
        """The sequence of [start, end) of a chromosome, or of an interval, in upper case.

        Returns exactly end - start letters, IUPAC codes and U as they are. Raises ValueError for an unknown
        chromosome and for coordinates outside it, and InputError where the file has changed under its index.
        """
        if isinstance(chrom, Interval):
            return self.fetch(chrom.chrom, chrom.start, chrom.end)
        length = self.chroms.get(chrom)
        if length is None:
            raise ValueError(f"{self.path} has no chromosome {chrom!r}")
        # pysam cuts what lies past the end without a word.
        if not 0 <= start <= end <= length:
            raise ValueError(f"[{start}, {end}) is not inside {chrom}, of {length} nucleotides")
        sequence: str = self._handle().fetch(chrom, start, end)
        if len(sequence) != end - start:
            raise _stale_index(self.path, self._index, f"{chrom} ends before {end:,}")
        return sequence.upper()

    def sha256(self) -> str:
        """Of the file as it lies on disk, compressed or not, in hexadecimal."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _handle(self) -> FastaFile:
        """The file handle of this thread. A position is shared across a fork, so a child opens its own."""
        from pysam import FastaFile  # with htslib, 0.1 s: not at import

        if getattr(self._handles, "pid", None) != os.getpid():
            try:
                self._handles.file = FastaFile(os.fspath(self.path))
            except (OSError, ValueError) as error:
                raise _stale_index(self.path, self._index, str(error)) from error
            self._handles.pid = os.getpid()
        file: FastaFile = self._handles.file
        return file


# ---- What kind of file it is ----


def _check_file(path: Path) -> bool:
    """Whether this FASTA is BGZF and not plain; InputError where it is neither."""
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise InputError(
                f"{path} is a pipe or device; a FASTA is read from the middle",
                hint="write it to a file first",
            )
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            file.seek(-min(len(BGZF_EOF), len(head)), os.SEEK_END)
            tail = file.read()
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {(error.strerror or str(error)).lower()}",
            hint="check the path of the FASTA",
        ) from error
    if not head:
        raise InputError(f"{path} is empty, expected a FASTA", hint="copy or download it again")
    is_compressed = head.startswith(GZIP_MAGIC)
    if is_compressed and not is_bgzf(head):
        raise InputError(
            f"{path} is gzip but not BGZF, which cannot be read from the middle",
            hint=f"gunzip -c {path} | bgzip > {_beside(path, '.bgz.fa.gz')}, and give that file",
        )
    if is_compressed and tail != BGZF_EOF:
        raise InputError(f"{path} is truncated: the end marker of BGZF is missing", hint="copy or download it again")
    text = uncompressed_head(head)
    found = recognise_format(text)
    if found != "a FASTA" or not text.lstrip().startswith(b">"):
        raise InputError(f"{path} is not a FASTA{_likeness(text, found)}", hint=_mend_format(text, found))
    sequence = b"".join(line for line in text.splitlines() if not line.startswith(b">"))
    amino_acids = PROTEIN_LETTERS.intersection(sequence.decode("latin-1").upper())
    if amino_acids:
        raise InputError(
            f"{path} is not DNA: it has the letters {', '.join(sorted(amino_acids))}",
            hint="give the genome; these letters are amino acids",
        )
    return is_compressed


def _likeness(text: bytes, found: str | None) -> str:
    if found == "a FASTA":
        return ": bytes before the first >, such as a byte order mark"
    if found is not None:
        return f": it looks like {found}"
    return f": it begins with {text[:20].decode('latin-1')!r}, expected >"


def _mend_format(text: bytes, found: str | None) -> str:
    if found == "a FASTA":
        return "remove what comes before the first >"
    if found == "a 2bit":
        return "convert it (twoBitToFa)"
    fields = text.split(b"\n", 1)[0].split()
    if len(fields) >= 3 and fields[1].isdigit() and fields[2].isdigit():
        return "it looks like a BED; are the arguments swapped? gexplain score REGIONS GENOME"
    return "give the genome as FASTA, plain or compressed with bgzip"


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name.removesuffix(".gz").removesuffix(".fasta").removesuffix(".fa") + suffix)


# ---- The index ----


@dataclass(frozen=True, slots=True)
class _Index:
    fai: Path
    gzi: Path | None
    """Of a BGZF only."""

    @property
    def files(self) -> list[Path]:
        return [self.fai] if self.gzi is None else [self.fai, self.gzi]


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line of a .fai: where a sequence lies, in bytes of the uncompressed file."""

    name: str
    length: int
    offset: int
    line_bases: int
    line_bytes: int

    def __post_init__(self) -> None:
        if min(self.length, self.offset, self.line_bases) < 1 or self.line_bytes < self.line_bases:
            raise ValueError(f"no place for {self.name!r}")

    @property
    def end(self) -> int:
        """The byte past the last base."""
        full_lines, rest = divmod(self.length - 1, self.line_bases)
        return self.offset + full_lines * self.line_bytes + rest + 1


def _make_missing_index(path: Path, index: _Index) -> None:
    """Write what is missing of the index, each file whole or not at all."""
    import pysam
    from pysam.utils import SamtoolsError

    missing = [file for file in index.files if not file.exists()]
    if not missing:
        return
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".gexplain-index-") as folder:
            made = _Index(Path(folder, "fai"), Path(folder, "gzi") if index.gzi else None)
            options = ["--fai-idx", str(made.fai)] + (["--gzi-idx", str(made.gzi)] if made.gzi else [])
            # htslib writes to the process's stderr what the scan says better.
            verbosity = pysam.set_verbosity(0)
            try:
                pysam.faidx(os.fspath(path), *options)
            except SamtoolsError as error:
                raise _find_fault(path) from error
            finally:
                pysam.set_verbosity(verbosity)
            # samtools drops a name's second sequence, and an empty one, with no more than a warning.
            if index.fai in missing and _find_disagreement(path, made, _read_fai(made.fai), most=None):
                raise _find_fault(path)
            for new, file in zip(made.files, index.files, strict=True):
                if file in missing:
                    new.replace(file)
    except OSError as error:
        raise InputError(
            f"cannot write {missing[0]}, the index of {path.name}: {(error.strerror or str(error)).lower()}",
            hint=f"copy or link {path.name} into a folder that you can write in, or let its owner run "
            f"`samtools faidx {path}`",
        ) from error


def _read_fai(fai: Path) -> list[_Entry]:
    try:
        rows = [line.split("\t")[:5] for line in fai.read_text(encoding="utf-8").splitlines()]
        entries = [_Entry(name, *map(int, numbers)) for name, *numbers in rows if len(numbers) == 4]
        if len(entries) < len(rows):
            raise ValueError("a line with fewer than five columns")
        if not entries:
            raise ValueError("it is empty")
        return entries
    except (ValueError, OSError) as error:
        raise InputError(
            f"{fai} is not an index as samtools faidx writes it: {error}",
            hint=f"delete {fai}; it is made again",
        ) from error


def _find_disagreement(path: Path, index: _Index, entries: list[_Entry], *, most: int | None) -> str | None:
    """Where a FASTA is not as its index says, or None: between two sequences lies one header, the second's.

    most: how many of the sequences to look up, evenly spread; None is all.
    """
    step = 1 if most is None else -(-len(entries) // most)
    with _UncompressedFile(path, index.gzi) as file:
        for number in range(0, len(entries), step):
            entry = entries[number]
            before = file.read(entries[number - 1].end if number else 0, entry.offset)
            headers = before.split(b"\n")
            filled = [line for line in headers if line.strip()]
            if len(filled) != 1 or headers[-1] or filled[0][1:].split()[:1] != [entry.name.encode()]:
                return f"{entry.name} does not begin at byte {entry.offset:,}"
        end = entries[-1].end
        if not file.read(end - 1, end).strip():
            return f"{entries[-1].name} ends before byte {end:,}"
        if file.read(end, end + HEAD_BYTES).strip():
            return f"{entries[-1].name} does not end at byte {end:,}"
    return None


def _stale_index(path: Path, index: _Index, reason: str) -> InputError:
    files = " and ".join(str(file) for file in index.files)
    is_older = index.fai.stat().st_mtime < path.stat().st_mtime
    return InputError(
        f"the index does not agree with {path}: {reason}" + (" (it is older than the FASTA)" if is_older else ""),
        hint=f"delete {files}; the index is made again",
    )


class _UncompressedFile:
    """The uncompressed bytes of a plain or BGZF file, read from anywhere."""

    def __init__(self, path: Path, gzi: Path | None) -> None:
        self._blocks: list[tuple[int, int]] = [] if gzi is None else _read_gzi(gzi)
        self._file = path.open("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, start: int, end: int) -> bytes:
        """The bytes of [start, end), at most HEAD_BYTES; fewer where the file ends or no block begins."""
        width = max(0, min(end - start, HEAD_BYTES))
        if not self._blocks:
            self._file.seek(start)
            return self._file.read(width)
        in_text, in_file = self._blocks[bisect_right(self._blocks, start, key=lambda block: block[0]) - 1]
        self._file.seek(in_file)
        # A BGZF block is a whole gzip member, so gzip reads on from the beginning of any.
        with gzip.GzipFile(fileobj=self._file) as text:
            try:
                text.read(start - in_text)
                return text.read(width)
            except (OSError, EOFError, zlib.error):
                return b""


def _read_gzi(gzi: Path) -> list[tuple[int, int]]:
    """(place in the text, place in the file) of each block of a BGZF; a .gzi names all but the first."""
    try:
        numbers = gzi.read_bytes()
        (n_blocks,) = struct.unpack_from("<Q", numbers)
        places = struct.unpack_from(f"<{2 * n_blocks}Q", numbers, 8)
    except (OSError, struct.error) as error:
        raise InputError(
            f"{gzi} is not an index as bgzip writes it: {error}", hint=f"delete {gzi}; it is made again"
        ) from error
    return [(0, 0), *zip(places[1::2], places[::2], strict=True)]


# ---- What is wrong with a FASTA that samtools will not index ----


def _find_fault(path: Path) -> InputError:
    """The error for a FASTA that cannot be indexed; names the line, found by reading it."""
    with path.open("rb") as raw:
        file: Iterator[bytes] = gzip.GzipFile(fileobj=raw) if raw.read(2) == GZIP_MAGIC else raw
        raw.seek(0)
        try:
            fault = _find_bad_line(file)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            return InputError(f"{path} is damaged: {error}", hint="copy or download it again")
    if fault is None:
        return InputError(
            f"{path} cannot be indexed: its lines end in different ways",
            hint="give all lines the same end (dos2unix), or wrap it again (seqkit seq -w 60)",
        )
    line, reason, mend = fault
    return InputError(f"{path} cannot be indexed: line {line}: {reason}", hint=mend)


def _find_bad_line(lines: Iterator[bytes]) -> tuple[int, str, str] | None:
    """(1-based line, reason, mend) of the first bad line of a FASTA."""
    first_lines: dict[str, int] = {}
    name, width, n_bases = "", 0, 1
    # The last line of a sequence may be shorter, or empty; another line of letters after it may not follow.
    has_ended = False
    number = 0
    for number, line in enumerate(lines, 1):
        letters = line.rstrip()
        if line.startswith(b">"):
            if n_bases == 0:
                return number - 1, f"{name!r} has no sequence", "remove it (seqkit seq -m 1)"
            name = b"".join(letters[1:].split()[:1]).decode("utf-8", "replace")
            if not name:
                return number, "a sequence without a name", "write a name after the >"
            if name in first_lines:
                reason = f"a second sequence named {name!r}; the first is at line {first_lines[name]}"
                return number, reason, "rename or remove one of the two (seqkit rmdup -n removes it)"
            first_lines[name] = number
            width, n_bases, has_ended = 0, 0, False
        elif letters and (has_ended or (width and len(letters) > width)):
            return (
                number,
                f"the lines of {name!r} are not of equal length",
                "wrap it again (seqkit seq -w 60)",
            )
        else:
            width = width or len(letters)
            n_bases += len(letters)
            has_ended = n_bases > 0 and len(letters) < width
    return (number, f"{name!r} has no sequence", "remove it (seqkit seq -m 1)") if n_bases == 0 else None
