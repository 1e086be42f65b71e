"""Genes: the transcripts that a GTF, a GFF3 or a BED12 has in one place; the rest of the file is read past.

A file is read line by line, plain or gzip; or through its index, where it has one (tabix: .tbi or .csi) that is not
older, which takes no longer for a large genome than for a small one.
"""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from gexplain.errors import InputError, preview
from gexplain.genome.chromosomes import match_chroms
from gexplain.genome.formats import GZIP_MAGIC, HEAD_BYTES, is_bgzf, recognise_format, uncompressed_head
from gexplain.genome.gene_models import (
    BadLineError,
    Bed12Collector,
    Collector,
    Gff3Collector,
    GtfCollector,
    Transcript,
)
from gexplain.genome.intervals import Interval

# Bases on both sides of an interval that are looked at through an index: a file may lack lines for whole
# transcripts, and an intron is then no line at all. The longest genes known are those of lungfish.
_REACH = 20_000_000


@dataclass(frozen=True, slots=True)
class Genes:
    """What a file of genes has in one place."""

    transcripts: tuple[Transcript, ...]
    """Sorted by place; their chromosome is named as it was asked for."""
    chrom: str | None
    """What the file calls the chromosome; None where it has no line on it, though on others of the genome."""
    format: str
    """GTF, GFF3 or BED12."""


def read_genes(
    path: str | os.PathLike[str],
    interval: Interval,
    chroms: Mapping[str, int],
    *,
    alias: Mapping[str, str] | None = None,
) -> Genes:
    """The transcripts of a GTF, GFF3 or BED12 that share a base with an interval, introns counted in; each is whole.

    chroms: the genome's names to lengths. A file that has the interval's chromosome by another name is read under it:
    by `alias` (`read_chrom_alias`'s mapping) if given, else with or without chr, chrM being MT; an equal name comes
    first.

    Raises InputError, with the line, for what is none of the three formats, and for a file whose chromosomes are none
    of the genome's.
    """
    source = _open_source(Path(path))
    if source.index is None:
        seen, collectors = _collect(source, source.lines(), interval, alias)
    else:
        seen, collectors = _collect_indexed(source, interval, chroms, alias)
    # An equal name comes first, then the first in the file.
    chrom = interval.chrom if interval.chrom in collectors else next(iter(collectors), None)
    if chrom is None:
        _check_shared(source.path, seen, interval, chroms, alias)
        return Genes((), None, source.format)
    return Genes(tuple(collectors[chrom].transcripts()), chrom, source.format)


def one_per_gene(transcripts: Iterable[Transcript]) -> list[Transcript]:
    """Of each gene the transcript with the most exonic bases, then the longest, then the first by name; in order."""
    best: dict[tuple[str, str], Transcript] = {}
    for one in sorted(transcripts, key=lambda one: (-one.exonic_bases, -one.interval.width, one.interval.name)):
        best.setdefault((one.gene_id, one.interval.strand), one)
    return sorted(best.values(), key=lambda one: (one.interval.start, one.interval.end, one.gene))


_COLLECTORS: dict[str, type[GtfCollector] | type[Gff3Collector] | type[Bed12Collector]] = {
    "GTF": GtfCollector,
    "GFF3": Gff3Collector,
    "BED12": Bed12Collector,
}


# ---- The file ----


@dataclass(frozen=True, slots=True)
class _Source:
    path: Path
    format: str
    index: Path | None

    def lines(self) -> Iterator[tuple[int, bytes]]:
        return _data_lines(self.path)


def _open_source(path: Path) -> _Source:
    """The file, its format and its index, if it has one to trust."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {(error.strerror or str(error)).lower()}", hint="check the path of the genes"
        ) from error
    found = recognise_format(uncompressed_head(head))
    if found is not None and "GFF" not in found:
        raise InputError(f"{path} looks like {found}, not like genes", hint=_MEND)
    for number, line in _data_lines(path):
        kind = _format_of(path, number, line)
        if kind is not None:
            return _Source(path, kind, _index_of(path) if is_bgzf(head) else None)
    raise InputError(f"{path} has no line of a gene, expected GTF, GFF3 or BED12", hint=_MEND)


def _format_of(path: Path, number: int, line: bytes) -> str | None:
    """GTF, GFF3 or BED12; None for a line that does not tell. InputError for a line of none of them."""
    fields = line.decode("utf-8", "replace").rstrip("\r\n").split("\t")
    if len(fields) >= 12 and all(fields[i].isdigit() for i in (1, 2, 6, 7, 9)):
        return "BED12"
    if len(fields) == 9 and fields[3].isdigit() and fields[4].isdigit():
        attributes = fields[8].strip()
        if re.match(r'[^\s=";]+=', attributes):
            return "GFF3"
        if re.match(r'[^\s=";]+\s+[^\s=]', attributes):
            return "GTF"
        if attributes in ("", "."):
            return None
    columns = "1 column" if len(fields) == 1 else f"{len(fields)} columns"
    is_bed = len(fields) >= 3 and fields[1].isdigit() and fields[2].isdigit()
    raise InputError(
        f"line {number} of {path} is none of GTF, GFF3 and BED12: {columns}"
        + (", like a BED without exons" if is_bed else ", without tabs" if len(fields) == 1 else ""),
        detail=_shown(line),
        hint="a BED of genes needs all 12 columns; a GTF or GFF3 has the exons too" if is_bed else _MEND,
    )


def _index_of(path: Path) -> Path | None:
    """The file's index, unless it is older than the file: lines may then lie elsewhere, and all are read."""
    for suffix in (".tbi", ".csi"):
        index = path.with_name(path.name + suffix)
        if index.exists() and index.stat().st_mtime >= path.stat().st_mtime:
            return index
    return None


def _data_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(1-based number, line) of each line that is no comment; a GFF3 ends where its sequences begin."""
    with path.open("rb") as raw:
        is_gzip = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        file = cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if is_gzip else raw
        try:
            for number, line in enumerate(file, 1):
                if line.startswith((b"##FASTA", b">")):
                    return
                if not line.startswith((b"#", b"track ", b"browser ", b"\n", b"\r")):
                    yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(
                f"{path} is truncated or damaged gzip: {error}", hint="copy or download it again"
            ) from error


# ---- The lines of one chromosome ----


def _collect(
    source: _Source, lines: Iterable[tuple[int, bytes]], interval: Interval, alias: Mapping[str, str] | None
) -> tuple[list[str], dict[str, Collector]]:
    """The names of chromosomes in the lines, and what was collected under those that mean the interval's."""
    by_name: dict[bytes, Collector | None] = {}
    for number, line in lines:
        name = line[: line.find(b"\t")]
        if name not in by_name:
            is_same = _text(name) in match_chroms([_text(name)], [interval.chrom], alias or "chr")
            by_name[name] = _COLLECTORS[source.format](interval) if is_same else None
        collector = by_name[name]
        if collector is None:
            continue
        try:
            fields = _text(line).rstrip("\r\n").split("\t")
            if len(fields) < _FEWEST[source.format]:
                raise BadLineError(f"{len(fields)} columns, expected {_FEWEST[source.format]}")
            collector.add(fields)
        except BadLineError as error:
            place = f"line {number} of {source.path}" if number else f"a line of {source.path}"
            raise InputError(
                f"{place} is no {source.format}: {error}", detail=_shown(line), hint="mend the line, or leave it out"
            ) from error
    return [_text(name) for name in by_name], {_text(name): one for name, one in by_name.items() if one is not None}


def _collect_indexed(
    source: _Source, interval: Interval, chroms: Mapping[str, int], alias: Mapping[str, str] | None
) -> tuple[list[str], dict[str, Collector]]:
    """As `_collect`, of the lines that the index finds around the interval."""
    import pysam  # with htslib, 0.1 s: not at import

    # Latin-1 gives any byte a character and back.
    verbosity = pysam.set_verbosity(0)
    try:
        with pysam.TabixFile(str(source.path), index=str(source.index), encoding="latin-1") as file:
            names = [_text(name.encode("latin-1")) for name in file.contigs]
            same = [*match_chroms(names, [interval.chrom], alias or "chr")]
            collectors: dict[str, Collector] = {}
            for name in same:
                low, high = max(0, interval.start - _REACH), min(interval.end + _REACH, chroms[interval.chrom])
                rows = file.fetch(name.encode("utf-8", "surrogateescape").decode("latin-1"), low, high)
                lines = ((0, row.encode("latin-1")) for row in rows)
                collectors |= _collect(source, lines, interval, alias)[1]
                collectors.setdefault(name, _COLLECTORS[source.format](interval))
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read {source.path} through {source.index}: {error}",
            hint="delete the index, or make it again (tabix -p gff, or -p bed)",
        ) from error
    finally:
        pysam.set_verbosity(verbosity)
    return names, collectors


def _check_shared(
    path: Path,
    seen: Collection[str],
    interval: Interval,
    chroms: Collection[str],
    alias: Mapping[str, str] | None,
) -> None:
    """Raise InputError where a file has none of the genome's chromosomes: it is another's, or has other names."""
    if not match_chroms(seen, chroms, alias or "chr"):
        raise InputError(
            f"{path} has no chromosome {interval.chrom}, nor any other of the genome",
            detail=f"it has {preview(seen)}; the genome has {preview(chroms)}",
            hint="give the genes of the same assembly; --chrom-alias FILE maps names, such as UCSC's chromAlias.txt",
        )


def _text(line: bytes) -> str:
    return line.decode("utf-8", "surrogateescape")


def _shown(line: bytes) -> str:
    text = line.decode("utf-8", "replace").strip("\r\n").replace("\t", "  ")[:120]
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


_FEWEST = {"GTF": 9, "GFF3": 9, "BED12": 12}
_MEND = "give genes as GTF, GFF3 or BED12, plain or gzip; Ensembl, GENCODE, RefSeq and SGD have them"
