"""Calls: from relevance tracks and their null to seqlets.bed, hits.bed and motif_summary.tsv.

    a finished run's tracks, null and regions --+
                                                +-- Attributions -- seqlets, hits --> BED6+ in FASTA order
    any bigWig, with a null or without one -----+

A track is read page by page, and what is found waits on disk for its q-value: memory does not grow with the genome.
"""

from __future__ import annotations

import heapq
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TextIO

import numpy as np

from gexplain.arrays import FloatArray
from gexplain.errors import preview
from gexplain.genome.bed_table import BedSchema, BedTable, Column, format_number
from gexplain.genome.fasta import Genome
from gexplain.genome.tracks import partial_path, write_error
from gexplain.motifs.calibration import StreamingBH, score_of_q
from gexplain.motifs.database import MotifSet
from gexplain.motifs.hits import Found, HitFinder, MotifCounts, enrichment
from gexplain.motifs.pages import Page, read_pages
from gexplain.motifs.seqlets import SeqletCalibration, Spans, calibrate_seqlets, stream_spans
from gexplain.track_nulls import Attribution, Attributions

Row = tuple[Any, ...]
Progress = Callable[[int, int], None]
"""Called with the bases read and the bases in all."""

DEFAULT_Q, DEFAULT_MATCH_P = 0.05, 1e-4

SEQLETS = BedSchema(
    "seqlets",
    "Spans of high and low relevance",
    (
        Column("track", "string", "track of relevance that the seqlet was called in"),
        Column("direction", "string", "high or low relevance"),
        Column("relevance", "double", "sum of relevance over the seqlet, in the model's logit units"),
        Column("top", "uint", "0-based position of the most extreme base"),
        Column("p", "double", "share of the null's seqlets of this direction that are as strong"),
        Column("q", "double", "Benjamini-Hochberg q-value over the track's seqlets of this direction"),
        Column("region", "string", "region that the seqlet belongs to"),
    ),
)

HITS = BedSchema(
    "motifHits",
    "Motif matches that the model uses",
    (
        Column("track", "string", "track of relevance that the hit was called in"),
        Column("motif", "string", "id of the motif"),
        Column("relevance", "double", "sum of relevance over the hit, in the model's logit units"),
        Column("share", "double", "its share of the positive relevance of the region, 0 if there is none"),
        Column("logOdds", "double", "log-odds of the match, in bits"),
        Column("matchP", "double", "p-value of the match (FIMO)"),
        Column("relevanceP", "double", "share of the places in the null with as much relevance"),
        Column("p", "double", "share of the null's bases at which a site has as small a product of the two"),
        Column(
            "q",
            "double",
            "likely share of false ones among all hits as good: by chance in sequence or in relevance",
        ),
        Column("isPrimary", "uint", "1, or 0 where a better hit of a similar motif lies on the same bases"),
        Column("primary", "string", "id of the motif of that better hit, or its own"),
        Column("region", "string", "region that the hit belongs to"),
    ),
)

_SUMMARY_COLUMNS = (
    *("#track", "motif", "tf", "matches", "used", "hits", "primary_hits", "regions_with_hit"),
    *("relevance_inside", "relevance_outside", "null_matches", "null_used", "enrichment", "q"),
)


@dataclass(frozen=True, slots=True)
class Called:
    """How many were called, by track, and what is to be told of it, in words."""

    counts: dict[str, int]
    warnings: list[str]


def call_seqlets(
    attributions: Attributions,
    target: str | os.PathLike[str] | TextIO,
    *,
    q: float = DEFAULT_Q,
    progress: Progress | None = None,
) -> Called:
    """Write the seqlets of all tracks with at most this q to a BED6+; returns how many, by track."""
    tell = _Teller(attributions, progress)
    with ExitStack() as stack:
        called = {
            name: stack.enter_context(_SeqletCalls(name, one, attributions, tell))
            for name, one in attributions.tracks.items()
        }
        table = stack.enter_context(BedTable(target, SEQLETS, attributions.genome.chroms))
        counts = dict.fromkeys(called, 0)
        for row in _in_genome_order([one.rows(q) for one in called.values()], attributions.genome):
            table.write([row])
            counts[row[6]] += 1
        silent = {name: one for name, one in called.items() if not counts[name]}
        return Called(counts, _tell_why_nothing("seqlets", "spans", silent, q, attributions))


def call_hits(
    attributions: Attributions,
    motifs: MotifSet,
    target: str | os.PathLike[str] | TextIO,
    *,
    summary: Path | None = None,
    q: float = DEFAULT_Q,
    match_p: float = DEFAULT_MATCH_P,
    progress: Progress | None = None,
) -> Called:
    """Write the motif hits of all tracks with at most this q to a BED6+; returns how many are primary, by track.

    summary: where motif_summary.tsv goes, a line for each track and motif, the most enriched first, those without
    a match last.
    """
    tell = _Teller(attributions, progress)
    with ExitStack() as stack:
        called = {
            name: stack.enter_context(_HitCalls(name, one, attributions, motifs, match_p, tell))
            for name, one in attributions.tracks.items()
        }
        table = stack.enter_context(BedTable(target, HITS, attributions.genome.chroms))
        for row in _in_genome_order([one.rows(q) for one in called.values()], attributions.genome):
            table.write([row])
        silent = {name: one for name, one in called.items() if not one.n_hits.any()}
        warnings = _tell_why_nothing("hits", "motif matches", silent, q, attributions)
    if summary is not None:
        _write_summary(summary, list(called.values()))
    return Called({name: int(one.n_primary.sum()) for name, one in called.items()}, warnings)


def _tell_why_nothing(
    what: str,
    of: str,
    silent: Mapping[str, _SeqletCalls] | Mapping[str, _HitCalls],
    q: float,
    attributions: Attributions,
) -> list[str]:
    """Warnings of the tracks in which nothing was called: that nothing could have been against so small a null, or
    else what the least q is.
    """
    lacking = {name: one.lacking(q) for name, one in silent.items()}
    short = {name: times for name, times in lacking.items() if times > 1}
    least = {name: one.least_q() for name, one in silent.items() if name not in short}
    least = {name: least_q for name, least_q in least.items() if least_q < 1}
    warnings = []
    if short:
        warnings.append(
            f"no {what} of q at most {q:g} in {preview(short)}: some {of} there beat everything in the null, but so"
            f" few need a null at least {math.ceil(min(short.values())):,} times as large; {attributions.larger_null}"
        )
    if least:
        best = min(least, key=lambda name: least[name])
        where = f", in {best}" if len(least) > 1 else ""
        warnings.append(
            f"no {what} of q at most {q:g} in {preview(least)}: the least q there is {least[best]:.2g}{where}"
        )
    return warnings


class _Teller:
    """Progress over all tracks."""

    def __init__(self, attributions: Attributions, progress: Progress | None) -> None:
        self._chroms = attributions.genome.chroms
        self._n_all = attributions.n_bases()
        self._n_before = 0
        self._progress = progress

    def watch(self, pages: Iterable[Page]) -> Iterator[Page]:
        """The pages, telling how far they have come."""
        before = dict(zip(self._chroms, np.cumsum([0, *self._chroms.values()]).tolist(), strict=False))
        for page in pages:
            if self._progress is not None:
                self._progress(self._n_before + before[page.chrom] + page.start, self._n_all)
            yield page
        self._n_before += sum(self._chroms.values())
        if self._progress is not None:
            self._progress(self._n_before, self._n_all)


class _SeqletCalls:
    """The seqlets of one track, waiting on disk for their q-values."""

    def __init__(self, name: str, attribution: Attribution, attributions: Attributions, tell: _Teller) -> None:
        self.name = name
        self._territories = attribution.territories
        self._chroms = list(attributions.genome.chroms)
        # High and low have a null each, and each a list of its own.
        self._bh = {True: StreamingBH(), False: StreamingBH()}
        self._n_beyond = {True: 0, False: 0}  # spans that beat everything in their null
        calibration = calibrate_seqlets(attribution.seqlet_null())
        self._n_null = {True: calibration.high.n, False: calibration.low.n}
        pages = tell.watch(read_pages(attribution.path, attributions.genome, inside=attributions.inside))
        pieces = ((page.chrom, page.start, page.values) for page in pages)
        ranks = {chrom: rank for rank, chrom in enumerate(self._chroms)}
        with ExitStack() as stack:
            self._spool = stack.enter_context(tempfile.TemporaryFile())
            for chrom, spans in stream_spans(pieces, calibration.tau_high, calibration.tau_low):
                self._keep(ranks[chrom], spans, calibration)
            stack.pop_all()  # __exit__ closes it

    def __enter__(self) -> _SeqletCalls:
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.close()

    def _keep(self, rank: int, spans: Spans, calibration: SeqletCalibration) -> None:
        kept = np.zeros(len(spans), dtype=_SEQLET)
        kept["rank"] = rank
        for field in ("start", "end", "high", "sum", "top"):
            kept[field] = getattr(spans, field)
        kept["p"] = calibration.p_values(spans)
        for high, bh in self._bh.items():
            p = kept["p"][kept["high"] == high]
            bh.add(p)
            self._n_beyond[high] += int((p == 1 / (1 + self._n_null[high])).sum())
        self._spool.write(kept.tobytes())

    def lacking(self, most_q: float) -> float:
        """How many times as large the null has to be, so that the spans that beat all of it have this q; 0 where no
        span does.
        """
        # Of m spans, k have p = 1 / (1 + n), and with it q = m / (1 + n) / k.
        times = [
            self._bh[high].n_tests / (1 + self._n_null[high]) / k / most_q for high, k in self._n_beyond.items() if k
        ]
        return min(times, default=0.0)

    def least_q(self) -> float:
        """Of the spans of both directions; 1 where there is none."""
        return min(bh.least_q() for bh in self._bh.values())

    def rows(self, most_q: float) -> Iterator[Row]:
        for kept in _read(self._spool, _SEQLET):
            q_values = np.ones(len(kept))
            for high, bh in self._bh.items():
                q_values[kept["high"] == high] = bh.q_values(kept["p"][kept["high"] == high])
            called = q_values <= most_q
            kept, q_values = kept[called], q_values[called]
            for rank in np.unique(kept["rank"]).tolist():
                here = kept["rank"] == rank
                chrom = self._chroms[rank]
                owners = self._territories.owner(chrom, kept["top"][here])
                for one, q, score, owner in zip(
                    kept[here], q_values[here], score_of_q(q_values[here]), owners.tolist(), strict=True
                ):
                    direction = "high" if one["high"] else "low"
                    yield (
                        *(chrom, int(one["start"]), int(one["end"]), f"{self.name}.{direction}", int(score), "."),
                        *(self.name, direction, float(one["sum"]), int(one["top"]), float(one["p"]), float(q)),
                        self._territories.name(owner),
                    )


_SEQLET = np.dtype(
    [("rank", "i4"), ("start", "i8"), ("end", "i8"), ("high", "?"), ("sum", "f8"), ("top", "i8"), ("p", "f8")]
)


class _HitCalls:
    """The hits of one track, waiting on disk for their q-values; the counts of hits are filled as rows are read."""

    def __init__(
        self,
        name: str,
        attribution: Attribution,
        attributions: Attributions,
        motifs: MotifSet,
        match_p: float,
        tell: _Teller,
    ) -> None:
        self.name, self.motifs = name, motifs
        self._territories = attribution.territories
        self._chroms = list(attributions.genome.chroms)
        self._totals = np.zeros(len(self._territories.regions) + 1)  # the last: of chromosomes without regions
        self._n_bases = 0
        null = attribution.hit_null()
        self._n_null_bases = sum(_count_known(page.values) for page in null)
        finder = HitFinder(motifs.motifs, null, match_p=match_p)
        self._null = finder.null
        pages = tell.watch(
            read_pages(attribution.path, attributions.genome, reach=finder.reach, inside=attributions.inside)
        )
        ranks = {chrom: rank for rank, chrom in enumerate(self._chroms)}
        self._found: Found = finder.find(self._tallied(pages), ranks)
        self.counts: MotifCounts = self._found.counts
        self.null_counts: MotifCounts = finder.null_counts
        self.n_hits = np.zeros(len(motifs), dtype=np.int64)
        self.n_primary = np.zeros(len(motifs), dtype=np.int64)
        self.regions: list[set[int]] = [set() for _ in motifs.motifs]

    def __enter__(self) -> _HitCalls:
        return self

    def __exit__(self, *_: object) -> None:
        self._found.__exit__()

    def _tallied(self, pages: Iterable[Page]) -> Iterator[Page]:
        for page in pages:
            own = page.values[: page.n_own]
            self._n_bases += _count_known(own)
            self._territories.add_positive(self._totals, page.chrom, page.start, own)
            yield page

    def lacking(self, most_q: float) -> float:
        """How many times as large the null has to be, so that the matches that beat all of it have this q; 0 where no
        match does.
        """
        # As good as the best of the null, one match is likely in as many bases as the null has.
        n_beyond = self._found.count_beyond(self._null)
        return self._n_bases / self._n_null_bases / n_beyond / most_q if n_beyond else 0.0

    def least_q(self) -> float:
        """Of the used matches; 1 where there is none."""
        return self._found.least_q

    def rows(self, most_q: float) -> Iterator[Row]:
        motifs = self.motifs.motifs
        for hits, primary in self._found.hits(most_q):
            chrom = self._chroms[hits["rank"][0]]
            owners = self._territories.owner(chrom, (hits["start"] + hits["end"]) // 2).tolist()
            q_values = hits["q"]
            for number, (hit, owner, score) in enumerate(zip(hits, owners, score_of_q(q_values), strict=True)):
                motif, is_primary = motifs[hit["motif"]], primary[number] == number
                self.n_hits[hit["motif"]] += 1
                self.n_primary[hit["motif"]] += is_primary
                if owner >= 0:
                    self.regions[hit["motif"]].add(owner)
                total = self._totals[owner]
                yield (
                    *(chrom, int(hit["start"]), int(hit["end"]), motif.name, int(score)),
                    *("+" if hit["strand"] > 0 else "-", self.name, motif.id, float(hit["relevance"])),
                    float(hit["relevance"] / total) if total > 0 else 0.0,
                    *(float(hit["score"]), float(hit["match_p"]), float(hit["relevance_p"])),
                    *(float(hit["p"]), float(hit["q"]), int(is_primary)),
                    motifs[hits["motif"][primary[number]]].id,
                    self._territories.name(owner),
                )


def _in_genome_order(streams: Sequence[Iterator[Row]], genome: Genome) -> Iterator[Row]:
    ranks = {chrom: rank for rank, chrom in enumerate(genome.chroms)}
    return heapq.merge(*streams, key=lambda row: (ranks[row[0]], row[1], row[2]))


def _read(spool: IO[bytes], dtype: np.dtype[Any]) -> Iterator[Any]:
    spool.seek(0)
    while data := spool.read(dtype.itemsize << 14):
        yield np.frombuffer(data, dtype=dtype)


def _write_summary(path: Path, called: Sequence[_HitCalls]) -> None:
    partial = partial_path(path)
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            print(*_SUMMARY_COLUMNS, sep="\t", file=file)
            for one in called:
                ratio, q = enrichment(one.counts, one.null_counts)
                for index in np.lexsort((-ratio, q, one.counts.matches == 0)).tolist():
                    motif = one.motifs.motifs[index]
                    print(
                        *(one.name, motif.id, motif.name, one.counts.matches[index], one.counts.used[index]),
                        *(one.n_hits[index], one.n_primary[index], len(one.regions[index])),
                        *(format_number(x[index]) for x in (one.counts.inside, one.counts.outside)),
                        *(one.null_counts.matches[index], one.null_counts.used[index]),
                        *(format_number(x[index]) for x in (ratio, q)),
                        sep="\t",
                        file=file,
                    )
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise write_error(path, error) from error


def _count_known(values: FloatArray) -> int:
    return int((~np.isnan(values)).sum())
