"""Gene models: transcripts put together from the lines of a GTF, a GFF3 or a BED12.

GTF 2.2: https://mblab.wustl.edu/GTF22.html. GFF3: https://github.com/The-Sequence-Ontology/Specifications. BED12:
https://genome.ucsc.edu/FAQ/FAQformat.html#format1. One transcript comes out the same of all three: the stop codon,
which GTF leaves out of the coding part, is put back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast
from urllib.parse import unquote

from gexplain.genome.intervals import Interval, Strand

Spans = tuple[tuple[int, int], ...]
"""Stretches of a chromosome, 0-based, half-open, sorted, none touching the next."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """A transcript: where it lies (named as the file names it), its gene, its exons and their coding parts."""

    interval: Interval
    gene: str
    """The gene's name as people know it; its id where it has none."""
    gene_id: str
    exons: Spans
    coding: Spans = ()
    """Parts of the exons; empty where nothing is translated."""

    @property
    def exonic_bases(self) -> int:
        """Nucleotides in exons."""
        return sum(end - start for start, end in self.exons)


class BadLineError(ValueError):
    """What is wrong with a line, in words."""


class Collector(Protocol):
    """Takes the lines of one chromosome, in any order, and keeps what may overlap an interval of it."""

    def add(self, fields: Sequence[str]) -> None:
        """Look at a line, cut at its tabs. Raises BadLineError."""

    def transcripts(self) -> list[Transcript]:
        """The transcripts that share a base with the interval, sorted by place."""


def merge_spans(spans: Iterable[tuple[int, int]]) -> Spans:
    """The same bases in as few stretches as there can be, sorted."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return tuple(merged)


@dataclass(slots=True)
class _Parts:
    """What the lines of one transcript say."""

    strand: Strand
    exons: list[tuple[int, int]] = field(default_factory=list)
    coding: list[tuple[int, int]] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, span: tuple[int, int]) -> None:
        self.exons.append(span)
        if kind in _CODING:
            self.coding.append(span)

    def transcript(self, chrom: str, name: str, gene: str, gene_id: str) -> Transcript:
        exons = merge_spans(self.exons)
        interval = Interval(chrom, exons[0][0], exons[-1][1], name, self.strand)
        return Transcript(interval, gene, gene_id, exons, merge_spans(self.coding))


_CODING = frozenset(("CDS", "start_codon", "stop_codon"))
_PARTS = _CODING | {"exon", "UTR", "5UTR", "3UTR", "five_prime_UTR", "three_prime_UTR", "five_prime_utr"}
_PARTS = _PARTS | {"three_prime_utr", "noncoding_exon", "pseudogenic_exon", "coding_exon"}


class GtfCollector:
    """Transcripts of a GTF: lines of one transcript_id belong together."""

    def __init__(self, interval: Interval) -> None:
        self._interval = interval
        self._parts: dict[tuple[str, Strand], _Parts] = {}
        # A line of the whole transcript says at once that its exons need not be kept.
        self._elsewhere: set[tuple[str, Strand]] = set()
        self._genes: dict[str, tuple[_Parts, tuple[int, int]]] = {}
        self._with_transcript: set[str] = set()

    def add(self, fields: Sequence[str]) -> None:
        """Look at a line, cut at its tabs. Raises BadLineError."""
        kind, span, strand = _parse_feature(fields)
        if kind not in _PARTS and kind not in ("transcript", "gene"):
            return
        is_near = _overlap(span, self._interval)
        if kind == "gene":
            if is_near:
                names = _gtf_attributes(fields[8])
                self._genes[names.get("gene_id", "")] = _Parts(strand, names=names), span
            return
        names = _gtf_attributes(fields[8])
        transcript_id = names.get("transcript_id", "")
        if not transcript_id:
            raise BadLineError(f"no transcript_id in column 9 ({fields[8][:60]!r})")
        self._with_transcript.add(names.get("gene_id", ""))
        key = transcript_id, strand
        if kind == "transcript" and not is_near:
            self._elsewhere.add(key)
            self._parts.pop(key, None)
        elif key not in self._elsewhere:
            parts = self._parts.setdefault(key, _Parts(strand))
            parts.names.update(names)
            if kind == "transcript":
                parts.names["whole"] = f"{span[0]} {span[1]}"
            else:
                parts.add(kind, span)

    def transcripts(self) -> list[Transcript]:
        """The transcripts that share a base with the interval; of a gene without any, the gene in one piece."""
        found = []
        for (transcript_id, _), parts in self._parts.items():
            if not parts.exons:
                start, end = parts.names["whole"].split()
                parts.exons.append((int(start), int(end)))
            gene_id = parts.names.get("gene_id", "") or transcript_id
            of_gene = self._genes[gene_id][0].names if gene_id in self._genes else {}
            gene = _first_of(parts.names, _GTF_NAMES) or _first_of(of_gene, _GTF_NAMES) or gene_id
            found.append(parts.transcript(self._interval.chrom, transcript_id, gene, gene_id))
        for gene_id, (parts, span) in self._genes.items():
            if gene_id not in self._with_transcript:
                parts.exons.append(span)
                gene = _first_of(parts.names, _GTF_NAMES) or gene_id
                found.append(parts.transcript(self._interval.chrom, gene_id, gene, gene_id))
        return _near(found, self._interval)


@dataclass(frozen=True, slots=True)
class _Node:
    """A line of a GFF3 that others may name as their parent."""

    kind: str
    span: tuple[int, int]
    strand: Strand
    names: Mapping[str, str]
    parents: tuple[str, ...]


class Gff3Collector:
    """Transcripts of a GFF3: what exons and coding parts name as their parent, whatever its type."""

    def __init__(self, interval: Interval) -> None:
        self._interval = interval
        self._nodes: dict[str, _Node] = {}
        self._elsewhere: set[str] = set()
        self._parts: dict[str, _Parts] = {}
        self._parents: set[str] = set()

    def add(self, fields: Sequence[str]) -> None:
        """Look at a line, cut at its tabs. Raises BadLineError."""
        kind, span, strand = _parse_feature(fields)
        names = _gff3_attributes(fields[8])
        parents = tuple(unquote(one) for one in names.pop("Parent", "").split(",") if one)
        identifier = unquote(names.get("ID", ""))
        if kind in _PARTS or _GENE.search(kind):
            self._parents.update(parents)
        if kind in _PARTS:
            # A bacterium's coding part may have no parent; it is a transcript by itself.
            for parent in parents or ((identifier or _first_of(names, _GFF3_NAMES)),):
                if parent and parent not in self._elsewhere:
                    parts = self._parts.setdefault(parent, _Parts(strand))
                    parts.add(kind, span)
                    if not parents:
                        parts.names.update(names)
        elif identifier and _overlap(span, self._interval):
            self._nodes[identifier] = _Node(kind, span, strand, names, parents)
        elif identifier:
            self._elsewhere.add(identifier)
            self._parts.pop(identifier, None)

    def transcripts(self) -> list[Transcript]:
        """The transcripts that share a base with the interval; of a gene without any, the gene in one piece."""
        found = []
        for identifier, parts in self._parts.items():
            gene_id, names = self._gene_of(identifier, parts.names)
            name = _bare(identifier)
            gene = unquote(_first_of(names, _GFF3_NAMES)) or _bare(gene_id)
            found.append(parts.transcript(self._interval.chrom, name, gene, gene_id))
        with_exons = {one.gene_id for one in found}
        for identifier, node in self._nodes.items():
            if identifier in self._parents or not _GENE.search(node.kind):
                continue
            gene_id, names = self._gene_of(identifier, node.names)
            if gene_id not in with_exons:
                parts = _Parts(node.strand, exons=[node.span])
                gene = unquote(_first_of(names, _GFF3_NAMES)) or _bare(gene_id)
                found.append(parts.transcript(self._interval.chrom, _bare(identifier), gene, gene_id))
        return _near(found, self._interval)

    def _gene_of(self, identifier: str, own: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
        """The id and the names of the topmost gene above a feature; its own where nothing is above it."""
        names = own
        for _ in range(8):  # a file may be wrong and run in a circle
            node = self._nodes.get(identifier)
            if node is None:
                break
            names = node.names
            above = next(
                (one for one in node.parents if one in self._nodes and _GENE.search(self._nodes[one].kind)), None
            )
            if above is None:
                break
            identifier = above
        return identifier, names


class Bed12Collector:
    """Transcripts of a BED12: a line each; those of one name are one gene's."""

    def __init__(self, interval: Interval) -> None:
        self._interval = interval
        self._found: list[Transcript] = []

    def add(self, fields: Sequence[str]) -> None:
        """Look at a line, cut at its tabs. Raises BadLineError."""
        start, end, thick_start, thick_end = (_number(fields[i], f"column {i + 1}") for i in (1, 2, 6, 7))
        if not _overlap((start, end), self._interval):
            return
        n_blocks = _number(fields[9], "column 10 (blockCount)")
        sizes, starts = ([_number(one, "a block") for one in fields[i].strip(",").split(",")] for i in (10, 11))
        if not n_blocks == len(sizes) == len(starts):
            raise BadLineError(f"blockCount is {n_blocks}; found {len(sizes)} sizes and {len(starts)} starts")
        exons = merge_spans(
            (start + offset, start + offset + size) for offset, size in zip(starts, sizes, strict=True)
        )
        if exons[0][0] != start or exons[-1][1] != end or min(sizes) < 1:
            raise BadLineError(f"its blocks do not fill [{start}, {end}) from its first to its last base")
        coding = ((max(low, thick_start), min(high, thick_end)) for low, high in exons)
        name = fields[3] or "."
        self._found.append(
            Transcript(
                Interval(self._interval.chrom, start, end, name, _strand(fields[5])),
                name,
                name,
                exons,
                tuple((low, high) for low, high in coding if low < high),
            )
        )

    def transcripts(self) -> list[Transcript]:
        """The transcripts that share a base with the interval, sorted by place."""
        return _near(self._found, self._interval)


# ---- One line ----


def _parse_feature(fields: Sequence[str]) -> tuple[str, tuple[int, int], Strand]:
    """Type, 0-based span and strand of a line of GTF or GFF3."""
    if len(fields) < 9:
        raise BadLineError(f"{len(fields)} columns, expected 9")
    start, end = _number(fields[3], "column 4 (start)"), _number(fields[4], "column 5 (end)")
    if not 1 <= start <= end:
        raise BadLineError(f"start {start} and end {end}, expected 1 <= start <= end")
    return fields[2], (start - 1, end), _strand(fields[6])


def _number(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise BadLineError(f"{what} is {text[:40]!r}, expected a number")
    return int(text)


def _strand(text: str) -> Strand:
    return cast(Strand, text) if text in ("+", "-") else "."


_GTF_PAIR = re.compile(r'\s*([^\s";]+)\s+(?:"([^"]*)"|([^";]*))\s*(?:;|$)')


def _gtf_attributes(text: str) -> dict[str, str]:
    """Keys to values; the first of a key that comes more than once. Quotes protect a semicolon."""
    names: dict[str, str] = {}
    for key, quoted, bare in _GTF_PAIR.findall(text):
        names.setdefault(key, quoted or bare.strip())
    return names


def _gff3_attributes(text: str) -> dict[str, str]:
    """Keys to values as they are written; what a value encodes as %2C is a comma in it, and none between two."""
    pairs = (pair.partition("=") for pair in text.strip().split(";"))
    return {key.strip(): value.strip() for key, _, value in pairs if key.strip()}


def _first_of(names: Mapping[str, str], keys: Sequence[str]) -> str:
    return next((names[key] for key in keys if names.get(key)), "")


def _bare(identifier: str) -> str:
    """Ensembl's ids begin with what they are of."""
    return re.sub("^(gene|transcript|rna|cds|CDS)[:-](?=.)", "", identifier)


def _overlap(span: tuple[int, int], interval: Interval) -> bool:
    return span[0] < interval.end and interval.start < span[1]


def _near(transcripts: list[Transcript], interval: Interval) -> list[Transcript]:
    near = [one for one in transcripts if _overlap((one.interval.start, one.interval.end), interval)]
    return sorted(near, key=lambda one: (one.interval.start, one.interval.end, one.gene, one.interval.name))


# Best known first. SGD has the systematic name as Name, and the gene's as gene; RefSeq has the same in both.
_GTF_NAMES = ("gene_name", "gene", "gene_symbol")
_GFF3_NAMES = ("gene_name", "gene", "Name", "locus_tag", "gene_id")
# What is drawn in one piece where nothing says what it is made of.
_GENE = re.compile("gene$|gene_segment$|rna$|transcript$", re.IGNORECASE)
