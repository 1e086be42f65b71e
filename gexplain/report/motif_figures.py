"""Motifs of a run: which are used most, and where in the regions their hits lie.

Both tables of a run are streamed: memory grows with the regions and with the hits of the motifs that are shown.
"""

from __future__ import annotations

import heapq
import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from gexplain.arrays import FloatArray, IntArray
from gexplain.errors import InputError, count
from gexplain.motifs.territories import Territories
from gexplain.report.svg import BLUE, GRID, MUTED, line, nice_ticks, picture, rect, text, text_width
from gexplain.run_folder import Run, read_scored_regions

SUMMARY, HITS = "motif_summary.tsv", "hits.bed"

# Widths of a histogram's bins in half bases, odd: hits' middles lie on half bases, and a bin that begins and ends
# between them lies evenly around 0.
_BIN_WIDTHS = (3, 5, 11, 21, 51, 101, 201, 501, 1001, 2001, 5001, 10001, 20001, 50001, 100001)
_MOST_BINS = 45


@dataclass(frozen=True, slots=True, eq=False)
class MotifRow:
    """A motif in a track: a line of motif_summary.tsv, and where its primary hits lie.

    relevance_inside, relevance_outside, enrichment, q: NaN where there is none. offsets: (primary_hits,), ascending,
    in bases (halves too) from the centre of the region that a hit belongs to; of regions on the minus strand, turned.
    """

    track: str
    motif: str
    tf: str
    matches: int
    used: int
    hits: int
    primary_hits: int
    regions_with_hit: int
    relevance_inside: float
    relevance_outside: float
    enrichment: float
    q: float
    offsets: FloatArray = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True, slots=True)
class MotifTable:
    """The motifs to show, the best first. sentence: what they are, in words. n_with_hits: all with primary hits."""

    rows: list[MotifRow]
    sentence: str
    n_with_hits: int


def read_motif_rows(run: Run, *, top: int = 30) -> MotifTable | None:
    """The motifs with most primary hits in any track, then by enrichment; without any hit, the most enriched.

    None where the run has no motif_summary.tsv: it was told to look for none. InputError for tables that are cut or
    changed, with the line.
    """
    if not (run.path / SUMMARY).exists():
        return None
    best = _Best(top)
    for row in _read_summary(run.path / SUMMARY):
        best.add(row)
    if best.n_with_hits:
        rows = best.with_hits()
        offsets = read_offsets(run, {(row.track, row.motif) for row in rows})
        rows = [replace(row, offsets=offsets[row.track, row.motif]) for row in rows]
        sentence = f"{count(best.n_with_hits, 'motif')} with hits, counted in each track"
        if best.n_with_hits > len(rows):
            sentence += f"; the {len(rows)} with most primary hits are shown"
        return MotifTable(rows, sentence + ".", best.n_with_hits)
    return MotifTable(best.enriched(), _tell_why_none(best, float(run.manifest["settings"]["q"])), 0)


def read_offsets(run: Run, wanted: set[tuple[str, str]]) -> dict[tuple[str, str], FloatArray]:
    """Where the primary hits of motifs lie, by (track, motif): their middles, from the centre of their region.

    As in `MotifRow.offsets`. A hit belongs to the region that hits.bed names: by its middle, as it was called.
    """
    regions = read_scored_regions(run.path / "regions.tsv")
    # Only where the regions of each strand have a track of their own does a hit's strand tell whose it may be.
    by_strand = run.manifest["settings"]["strand"] == "region"
    strands: Mapping[str, str] = (
        {name: one["strand"] for name, one in run.manifest["tracks"].items()} if by_strand else {}
    )
    territories = {
        strand: Territories.of([one for one in regions if strand == "." or one.strand == strand])
        for strand in {strands.get(track, ".") for track, _ in wanted}
    }
    doubled = {one: array("q") for one in wanted}
    path = run.path / HITS
    for number, line_of in _read_table(path, _HIT_COLUMNS):
        key = (line_of["track"], line_of["motif"])
        if key not in doubled or line_of["isPrimary"] != "1":
            continue
        start, end = _integer(path, number, line_of, "start"), _integer(path, number, line_of, "end")
        of_strand = territories[strands.get(key[0], ".")]
        owner = int(of_strand.owner(line_of["#chrom"], np.array([(start + end) // 2]))[0])
        if owner < 0:
            raise InputError(
                f"line {number} of {path}: a hit on {line_of['#chrom']}, where regions.tsv has no scored region",
                hint="score again: the tables of this run are not of one another",
            )
        region = of_strand.regions[owner]
        offset = start + end - region.start - region.end
        doubled[key].append(-offset if region.strand == "-" else offset)
    return {key: np.sort(np.array(values, dtype=np.float64)) / 2 for key, values in doubled.items()}


def position_histogram(
    offsets: FloatArray, *, reach: float | None = None, width: float = 300, height: float = 80, title: str = ""
) -> str:
    """How many hits lie how far from the centre of their region, as an `<svg>`; every one is in a bar.

    offsets: (n,), in bases, halves too. reach: bases to either side that are drawn at least. width, height: of the
    panel alone, in pixels. Each bar has the number of its hits as data-count.
    """
    furthest = max(float(np.abs(offsets).max(initial=0)), reach or 0, 10)
    edges, counts = _binned(offsets, furthest)
    most = int(counts.max(initial=0))
    left, top = max(34, text_width(f"{most:,}") + 10), 22 if title else 8
    foot, scale = top + height, width / (edges[-1] - edges[0])

    def x(offset: float) -> float:
        return float(left + (offset - edges[0]) * scale)

    parts = [text(left, 14, title, more='font-weight="600"')] if title else []
    parts.append(line(x(0), top, x(0), foot, stroke=GRID))
    for first, last, n in zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True):
        if n:
            bar = n / most * height
            more = f'data-count="{n}"'
            parts.append(rect(x(first) + 0.5, foot - bar, (last - first) * scale - 1, bar, fill=BLUE, more=more))
    parts.append(line(left, foot, left + width, foot))
    if most:
        parts.append(line(left - 3, top, left, top))
        parts.append(text(left - 6, top + 4, f"{most:,}", anchor="end", fill=MUTED))
    parts.append(text(left - 6, foot + 4, "0", anchor="end", fill=MUTED))
    for value, written in nice_ticks(-furthest, furthest, max(3, int(width // 48))):
        parts.append(line(x(value), foot, x(value), foot + 4))
        parts.append(text(x(value), foot + 15, written, anchor="middle", fill=MUTED))
    parts.append(
        text(left + width / 2, foot + 30, "bases from the centre of the region", anchor="middle", fill=MUTED)
    )
    label = f"{title + ': ' if title else ''}places of {count(len(offsets), 'hit')} in their regions"
    return picture(left + width + 14, foot + 38, parts, label=label)


# ---- Which motifs ----


class _Best:
    """The best lines of a summary: by hits, and by enrichment."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._n = 0
        self._with_hits: list[tuple[tuple[float, ...], int, MotifRow]] = []
        self._enriched: list[tuple[tuple[float, ...], int, MotifRow]] = []
        self.n_with_hits = 0
        self.q_values = array("d")  # of the motifs with a match

    def add(self, row: MotifRow) -> None:
        self._n -= 1  # of equals, the first is kept, and comes first
        ratio = 0.0 if math.isnan(row.enrichment) else row.enrichment
        if row.primary_hits:
            self.n_with_hits += 1
            self._keep(self._with_hits, (row.primary_hits, ratio), row)
        if not math.isnan(row.q) and row.matches:
            self.q_values.append(row.q)
            self._keep(self._enriched, (-row.q, ratio), row)

    def with_hits(self) -> list[MotifRow]:
        return [row for _, _, row in sorted(self._with_hits, key=lambda one: one[:2], reverse=True)]

    def enriched(self) -> list[MotifRow]:
        return [row for _, _, row in sorted(self._enriched, key=lambda one: one[:2], reverse=True)]

    def _keep(
        self, heap: list[tuple[tuple[float, ...], int, MotifRow]], key: tuple[float, ...], row: MotifRow
    ) -> None:
        heapq.heappush(heap, (key, self._n, row))
        if len(heap) > self._most:
            heapq.heappop(heap)


def _tell_why_none(best: _Best, q: float) -> str:
    if not best.q_values:
        return "No motif has a match in the scored bases."
    n_enriched = sum(one <= q for one in best.q_values)
    sentence = (
        f"No motif has a hit: no single match can be told from shuffled sequence at q {q:g}. Shown instead are the"
        " motifs whose matches are used most beyond what shuffled sequence has; "
    )
    if not n_enriched:
        return (
            sentence
            + f"they are not significant either, the least q of an enrichment being {min(best.q_values):.2g}."
        )
    return sentence + f"the excess of {n_enriched:,} {'is' if n_enriched == 1 else 'are'} significant at q {q:g}."


# ---- Tables ----


def _read_summary(path: Path) -> Iterator[MotifRow]:
    for number, row in _read_table(path, (*_TEXTS, *_COUNTS, *_NUMBERS)):
        track, motif, tf = (row[name] for name in _TEXTS)
        matches, used, hits, primary, regions = (_integer(path, number, row, name) for name in _COUNTS)
        inside, outside, ratio, q = (_number(path, number, row, name) for name in _NUMBERS)
        yield MotifRow(track, motif, tf, matches, used, hits, primary, regions, inside, outside, ratio, q)


_TEXTS = ("#track", "motif", "tf")
_COUNTS = ("matches", "used", "hits", "primary_hits", "regions_with_hit")
_NUMBERS = ("relevance_inside", "relevance_outside", "enrichment", "q")
_HIT_COLUMNS = ("#chrom", "start", "end", "track", "motif", "isPrimary")


def _read_table(path: Path, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The lines of a table whose header has at least the needed columns, and their numbers."""
    with path.open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        names = file.readline().rstrip("\n").split("\t")
        missing = [name for name in needed if name not in names]
        if missing:
            raise InputError(f"{path}: its header has no column {missing[0]!r}", hint=_MEND)
        for number, line_of in enumerate(file, 2):
            fields = line_of.rstrip("\n").split("\t")
            if len(fields) != len(names):
                raise InputError(
                    f"line {number} of {path}: {count(len(fields), 'column')}, expected {len(names)}", hint=_MEND
                )
            yield number, dict(zip(names, fields, strict=True))


def _integer(path: Path, number: int, row: Mapping[str, str], name: str) -> int:
    try:
        return int(row[name])
    except ValueError:
        raise _unreadable(path, number, row, name, "a whole number") from None


def _number(path: Path, number: int, row: Mapping[str, str], name: str) -> float:
    try:
        return math.nan if row[name] == "." else float(row[name])
    except ValueError:
        raise _unreadable(path, number, row, name, 'a number, or "."') from None


def _unreadable(path: Path, number: int, row: Mapping[str, str], name: str, expected: str) -> InputError:
    return InputError(f"line {number} of {path}: {name} is {row[name]!r}, expected {expected}", hint=_MEND)


_MEND = "score again: the table was changed after the run"


def _binned(offsets: FloatArray, reach: float) -> tuple[FloatArray, IntArray]:
    """Edges (n + 1,) of bins around 0 that hold all within reach, and how many offsets each has (n,)."""
    halves = math.ceil(2 * reach)
    width = next((one for one in _BIN_WIDTHS if 2 * halves + 1 <= one * _MOST_BINS), 2 * (halves // _MOST_BINS) + 1)
    side = -(-max(halves - width // 2, 0) // width)
    bins = (np.rint(2 * offsets).astype(np.int64) + width // 2) // width + side
    edges = (np.arange(-side, side + 2) - 0.5) * width / 2
    return edges, np.bincount(bins, minlength=2 * side + 1)
