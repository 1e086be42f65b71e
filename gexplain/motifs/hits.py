"""Motif hits: matches of a motif that the model uses.

    pages -> FIMO matches, p_match -> relevance inside, p_relevance -> joined statistic -> p, q -> primary hits

A match alone says that the letters fit; relevance alone, that the model looked there. A hit needs both.

The relevance inside a match is ranked among all places as wide in the null tracks, which gives p_relevance; a match
is used by the model where that is at most USED_P. Used matches are ranked by the product of their two p-values, as
Fisher joins them. Two kinds of matches with as small a product would be false, and q is how many of them there are
likely to be, over the hits that are called:

* by chance in sequence, and liked by the model. The null is scanned for the same motifs, and p is the share of its
  bases at which a site with as small a product lies. Without the second kind, q would be what Benjamini and Hochberg
  make of p.
* by chance in relevance: of the sites that the model ignores, some have high relevance. How many, those tell that
  miss it by little, with a p_relevance between USED_P and NEAR_P: of what is ignored, as many lie on either side of
  USED_P for their width. Nothing is taken for granted of the others, which a model may well speak against.

What is counted, here as there, are sites: primary hits alone (see `resolve`). One chance site matches all matrices of
its family at once, so that matches come in clumps, and a null of few clumps tells little of how many to expect.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from gexplain.arrays import FloatArray, IntArray
from gexplain.motifs.calibration import EmpiricalNull, SpanNull, benjamini_hochberg, sum_spans
from gexplain.motifs.database import Motif
from gexplain.motifs.pages import Page, batches
from gexplain.motifs.scan import Scanner

# M motifs, H hits

USED_P = 0.01
"""A match is used by the model where at most this share of the places in the null has as much relevance."""
NEAR_P = 0.1
"""Matches between USED_P and this are taken as ignored: their number tells how many of those are used by chance."""
SAME_BASES = 0.5
"""Two hits are of one site where they share this part of the narrower one, and their motifs agree there."""
SAME_MOTIF = 0.5
"""Two motifs agree where their columns, laid over one another as the hits lie, correlate this much."""

# Points to a power of ten, and more of them than a product of two floats can have.
_STEPS, _MOST_POINTS = 1_000, 400_000

HIT = np.dtype(
    [
        ("rank", "i4"),  # of the chromosome, in the FASTA
        ("start", "i8"),
        ("end", "i8"),
        ("motif", "i4"),
        ("strand", "i1"),
        ("score", "f8"),
        ("match_p", "f8"),
        ("relevance", "f8"),
        ("relevance_p", "f8"),
        ("points", "i8"),
        ("p", "f8"),
        ("q", "f8"),
    ]
)
"""A used match. score: log-odds in bits. relevance: the sum inside. points: how good it is (see `_points`). p, q: see
above; q is known when all are found."""

# A match of a batch of pages: sequence is its page.
_MATCH = np.dtype(
    [*((name, HIT[name]) for name in HIT.names or () if name not in ("rank", "points", "p", "q")), ("sequence", "i8")]
)

Hits = npt.NDArray[np.void]


@dataclass(frozen=True, slots=True, eq=False)
class MotifCounts:
    """Per motif (M,): places that match, those the model uses, and the relevance on and off the bases they cover.

    A place that matches on both strands is one. inside, outside: the mean per base, NaN where there is none.
    """

    matches: IntArray
    used: IntArray
    inside: FloatArray
    outside: FloatArray


class HitFinder:
    """Motifs, and the null of one track: what turns its pages into hits. null: all pages of the null track."""

    def __init__(self, motifs: Sequence[Motif], null: Sequence[Page], *, match_p: float) -> None:
        self.motifs = motifs
        self.scanner = Scanner(motifs, match_p)
        self.spans = SpanNull([stretch for page in null for stretch in _stretches(page.values)])
        counter = _Counter(len(motifs))
        ranks = {chrom: rank for rank, chrom in enumerate(dict.fromkeys(page.chrom for page in null))}
        used = []
        for batch in batches(null):
            matches = self._matches(batch)
            used.append(_as_hits(counter.add(batch, matches), batch, ranks, _points))
        self.null_counts = counter.counts()
        points = [*_points_of_sites(used, motifs), np.empty(0, np.int64)]
        self.null = EmpiricalNull(np.concatenate(points).astype(np.float64))
        self.n_null = counter.n_bases  # tests: a base at which no site lies is never as good

    @property
    def reach(self) -> int:
        """Bases that a match may reach into the next page."""
        return max(0, self.scanner.widest - 1)

    def find(self, pages: Iterable[Page], ranks: dict[str, int]) -> Found:
        """The used matches of all pages. ranks: of the chromosomes, in the FASTA."""
        counter = _Counter(len(self.motifs))
        with ExitStack() as stack:
            spool, spool_of_near = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(2))
            for batch in batches(pages):
                matches = self._matches(batch)
                near = matches[(matches["relevance_p"] > USED_P) & (matches["relevance_p"] <= NEAR_P)]
                hits = _as_hits(counter.add(batch, matches), batch, ranks, _points)
                hits["p"] = self._p_values(hits["points"])
                spool.write(hits.tobytes())
                spool_of_near.write(_as_hits(near, batch, ranks, _points_of_match).tobytes())
            of_hits, of_near = (
                sum(
                    (np.bincount(points, minlength=_MOST_POINTS) for points in _points_of_sites(hits, self.motifs)),
                    np.zeros(_MOST_POINTS, dtype=np.int64),
                )
                for hits in (_read(spool), _read(spool_of_near))
            )
            spool_of_near.close()
            points = np.flatnonzero(of_hits)
            n_false = self._p_values(points) * counter.n_bases + _expect_ignored(points, of_near)
            rates = n_false / np.cumsum(of_hits[points][::-1])[::-1]
            # Whoever is called at some rate is called at every higher one.
            q_values = np.minimum(np.minimum.accumulate(rates), 1.0)
            stack.pop_all()  # Found closes it
        return Found(self.motifs, spool, points, q_values, counter.counts())

    def _p_values(self, points: IntArray) -> FloatArray:
        p: FloatArray = (1 + self.null.levels(points.astype(np.float64))) / (1 + self.n_null)
        return p

    def _matches(self, batch: Sequence[Page]) -> Hits:
        """The matches of a batch with their relevance and its p, in genome coordinates; `sequence` is the page."""
        matches = self.scanner.scan([page.sequence for page in batch])
        matches = matches[matches["start"] < np.array([page.n_own for page in batch])[matches["sequence"]]]
        found = np.zeros(len(matches), dtype=_MATCH)
        for field in ("sequence", "start", "end", "motif", "strand", "score"):
            found[field] = matches[field]
        found["match_p"] = matches["p"]
        values = np.concatenate([page.values for page in batch])
        before = np.cumsum([0, *(len(page.values) for page in batch[:-1])])
        low = before[matches["sequence"]] + matches["start"]
        widths = matches["end"] - matches["start"]
        for width in np.unique(widths).tolist():
            of_width = widths == width
            sums = sum_spans(values, low[of_width], width)
            found["relevance"][of_width] = sums
            found["relevance_p"][of_width] = self.spans.p_values(sums, width)
        starts = np.array([page.start for page in batch], dtype=np.int64)[matches["sequence"]]
        found["start"] += starts
        found["end"] += starts
        return found


class Found:
    """The used matches of one track, on disk: a context manager. counts: per motif, see `MotifCounts`."""

    def __init__(
        self,
        motifs: Sequence[Motif],
        spool: IO[bytes],
        points: IntArray,
        q_values: FloatArray,
        counts: MotifCounts,
    ) -> None:
        self.motifs = motifs
        self.counts = counts
        self._points, self._q_values = points, q_values  # of sites, distinct and rising, and the q of each
        self._spool = spool

    def __enter__(self) -> Found:
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.close()

    def hits(self, q: float) -> Iterator[tuple[Hits, IntArray]]:
        """Used matches of at most this q, in genome order, and the primary hit of each: its number, or its own.

        They come in groups that share no base with the next; the numbers (H,) are within the group.
        """
        for group in _apart(self._read(q)):
            yield group, resolve(group, self.motifs)

    @property
    def least_q(self) -> float:
        """The least q of all used matches; 1 where there is none."""
        return float(self._q_values.min(initial=1.0))

    def count_beyond(self, null: EmpiricalNull) -> int:
        """How many sites are better than all of a null (of points)."""
        of_sites = _points_of_sites(_read(self._spool), self.motifs)
        return sum(int((null.levels(points.astype(np.float64)) == 0).sum()) for points in of_sites)

    def _read(self, q: float) -> Iterator[Hits]:
        for hits in _read(self._spool):
            # A match that is secondary to another has the q of the next worse site, or of the worst.
            at = np.maximum(np.searchsorted(self._points, hits["points"], side="right") - 1, 0)
            hits["q"] = self._q_values[at]
            yield hits[hits["q"] <= q]


def resolve(hits: Hits, motifs: Sequence[Motif]) -> IntArray:
    """(H,): for each of the hits, in genome order, the number of its primary hit; that of a primary hit is its own.

    The best hit (by points, p of the match and place) is primary, and hits on the same bases whose motifs agree
    with its motif there are secondary to it; so on with the best of the rest. Other hits on those bases stay.
    """
    primary = np.arange(len(hits))
    left = np.ones(len(hits), dtype=bool)
    best_first = np.lexsort((hits["motif"], hits["strand"], hits["start"], hits["match_p"], -hits["points"]))
    # Columns of their own: searchsorted would copy a field of the hits each time.
    starts, ends = np.ascontiguousarray(hits["start"]), np.ascontiguousarray(hits["end"])
    widths = ends - starts
    widest = int(widths.max(initial=0))
    for one in best_first.tolist():
        if not left[one]:
            continue
        left[one] = False
        near = slice(
            int(np.searchsorted(starts, starts[one] - widest)),
            int(np.searchsorted(starts, ends[one])),
        )
        shared = np.minimum(ends[near], ends[one]) - np.maximum(starts[near], starts[one])
        is_on_it = left[near] & (shared >= SAME_BASES * np.minimum(widths[near], widths[one]))
        for other in (near.start + np.flatnonzero(is_on_it)).tolist():
            if _agree(hits[one], hits[other], motifs):
                left[other] = False
                primary[other] = one
    return primary


def enrichment(real: MotifCounts, null: MotifCounts) -> tuple[FloatArray, FloatArray]:
    """(M,), (M,): how many times as often the model uses a motif's matches as in the null, and the q of that.

    The ratio of the two shares, each with one used match in two added so that none is 0; p by Fisher's exact test,
    one-sided, q by Benjamini and Hochberg over the motifs with any match; NaN for the others.
    """
    from scipy.stats import hypergeom

    share = (real.used + 1) / (real.matches + 2)
    null_share = (null.used + 1) / (null.matches + 2)
    n_all, n_used = real.matches + null.matches, real.used + null.used
    p = hypergeom.sf(real.used - 1, n_all, n_used, real.matches)
    has_match = real.matches > 0
    q = np.full(len(p), np.nan)
    q[has_match] = benjamini_hochberg(np.minimum(p[has_match], 1))
    return np.where(has_match, share / null_share, np.nan), q


class _Counter:
    """Running counts of one track, whose pages come in its order. n_bases: those with a value."""

    def __init__(self, n_motifs: int) -> None:
        self._matches = np.zeros(n_motifs, dtype=np.int64)
        self._used = np.zeros(n_motifs, dtype=np.int64)
        self._inside_sum = np.zeros(n_motifs)
        self._inside_bases = np.zeros(n_motifs, dtype=np.int64)
        self._sum, self.n_bases = 0.0, 0
        # How far the matches of each motif have come on the last chromosome: the next batch may show those bases too.
        self._chrom, self._reached = "", np.zeros(n_motifs, dtype=np.int64)

    def add(self, batch: Sequence[Page], matches: Hits) -> Hits:
        """Count a batch's matches; returns the used ones."""
        n_motifs = len(self._matches)
        own = np.concatenate([page.values[: page.n_own] for page in batch])
        self._sum += float(np.nansum(own, dtype=np.float64))
        self.n_bases += int((~np.isnan(own)).sum())
        used = matches[matches["relevance_p"] <= USED_P]
        for counts, of in ((self._matches, matches), (self._used, used)):
            counts += np.bincount(of["motif"][_first_of_place(of)], minlength=n_motifs)

        # The own bases of the pages, one after another, and what follows the last: no base that two pages show twice.
        values = np.concatenate([own, batch[-1].values[batch[-1].n_own :]])
        n_own = np.array([page.n_own for page in batch])
        shift = np.cumsum(n_own) - n_own - np.array([page.start for page in batch])
        of_match = shift[matches["sequence"]]
        low, high, motif = _union(matches["start"] + of_match, matches["end"] + of_match, matches["motif"])
        if batch[0].chrom == self._chrom:
            low = np.minimum(np.maximum(low, (self._reached + shift[0])[motif]), high)
        running = np.concatenate([[0.0], np.cumsum(np.nan_to_num(values), dtype=np.float64)])
        self._inside_sum += np.bincount(motif, running[high] - running[low], minlength=n_motifs)
        self._inside_bases += np.bincount(motif, high - low, minlength=n_motifs).astype(np.int64)

        if batch[-1].chrom != self._chrom:
            self._chrom, self._reached = batch[-1].chrom, np.zeros(n_motifs, dtype=np.int64)
        is_on_last = np.array([page.chrom == self._chrom for page in batch])[matches["sequence"]]
        np.maximum.at(self._reached, matches["motif"][is_on_last], matches["end"][is_on_last])
        return used

    def counts(self) -> MotifCounts:
        outside = self.n_bases - self._inside_bases
        with np.errstate(invalid="ignore", divide="ignore"):
            return MotifCounts(
                self._matches,
                self._used,
                self._inside_sum / self._inside_bases,
                np.where(outside > 0, (self._sum - self._inside_sum) / outside, np.nan),
            )


def _as_hits(matches: Hits, batch: Sequence[Page], ranks: dict[str, int], points: Callable[[Hits], IntArray]) -> Hits:
    """Matches of a batch as hits, in genome order, with the points that `points` gives them."""
    hits = np.zeros(len(matches), dtype=HIT)
    for field in ("start", "end", "motif", "strand", "score", "match_p", "relevance", "relevance_p"):
        hits[field] = matches[field]
    hits["rank"] = np.array([ranks[page.chrom] for page in batch])[matches["sequence"]]
    hits["points"] = points(matches)
    return hits


def _read(spool: IO[bytes]) -> Iterator[Hits]:
    """The hits of a spool, in order, some at a time; each may be written to."""
    spool.seek(0)
    while data := spool.read(HIT.itemsize << 14):
        yield np.frombuffer(data, dtype=HIT).copy()


def _points_of_sites(chunks: Iterable[Hits], motifs: Sequence[Motif]) -> Iterator[IntArray]:
    """The points of the primary ones among hits in genome order."""
    for group in _apart(chunks):
        yield group["points"][resolve(group, motifs) == np.arange(len(group))]


def _points(used: Hits) -> IntArray:
    """-log10 of the product of the two p-values of used matches, in thousandths rounded down: many are then equal."""
    points: IntArray = np.floor(-_STEPS * (np.log10(used["match_p"]) + np.log10(used["relevance_p"]))).astype(
        np.int64
    )
    return points


def _points_of_match(matches: Hits) -> IntArray:
    """-log10 of the p-value of matches, in thousandths rounded up."""
    points: IntArray = np.ceil(-_STEPS * np.log10(matches["match_p"])).astype(np.int64)
    return points


def _expect_ignored(points: IntArray, of_near: IntArray) -> FloatArray:
    """How many sites that the model ignores are likely to be used by chance and to have as many points (n,).

    of_near: how many with a p_relevance between USED_P and NEAR_P have so many points by the match alone. Below
    USED_P there are as many for the width; one with m points of its own has as many as n where its p_relevance is at
    most 10^(m - n), and USED_P.
    """
    own = np.arange(len(of_near))
    reach = int(np.ceil(_STEPS * np.log10(USED_P)))  # whoever is nearer than this to n has them when it is used
    strong = np.concatenate([np.cumsum(of_near[::-1])[::-1], [0]])
    weights = np.power(10.0, own / _STEPS, where=of_near > 0, out=np.zeros(len(own)))
    weak = np.concatenate([[0.0], np.cumsum(of_near * weights)])
    border = np.maximum(points + reach, 0)
    expected: FloatArray = USED_P * strong[border] + weak[border] * 10.0 ** (-points / _STEPS)
    return expected / (NEAR_P - USED_P)


def _first_of_place(matches: Hits) -> IntArray:
    """The numbers of one match for each motif and place: those of palindromes are two, of one and the same site."""
    _, first = np.unique(matches[["motif", "sequence", "start"]], return_index=True)
    return first


def _union(low: IntArray, high: IntArray, motif: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """The bases that each motif's matches [low, high) cover: stretches that share none, and their motifs."""
    order = np.lexsort((low, motif))
    low, high, motif = low[order], high[order], motif[order].astype(np.int64)
    step = int(high.max(initial=0)) + 1  # so that one motif's stretches lie beyond the last one's
    reached = np.maximum.accumulate(high + motif * step)
    is_first = np.ones(len(low), dtype=bool)
    is_first[1:] = low[1:] + motif[1:] * step > reached[:-1]
    first = np.flatnonzero(is_first)
    last = np.append(first[1:], len(low)) - 1 if len(first) else first
    return low[first], reached[last] - motif[first] * step, motif[first]


def _stretches(values: FloatArray) -> list[FloatArray]:
    """The runs of values without NaN."""
    is_known = np.concatenate([[False], ~np.isnan(values), [False]])
    borders = np.flatnonzero(is_known[1:] != is_known[:-1])
    return [values[low:high] for low, high in borders.reshape(-1, 2).tolist()]


def _apart(chunks: Iterable[Hits]) -> Iterator[Hits]:
    """Hits in genome order in groups; no two groups share a base."""
    held = np.zeros(0, dtype=HIT)
    for chunk in chunks:
        held = np.concatenate([held, chunk])
        borders = _borders(held)
        for low, high in pairwise(borders.tolist()):
            yield held[low:high]
        held = held[borders[-1] :] if len(borders) else held
    if len(held):
        yield held


def _borders(hits: Hits) -> IntArray:
    """The numbers of the hits that begin a group."""
    place = hits["rank"].astype(np.int64) << 34
    reached = np.maximum.accumulate(place + hits["end"])
    is_first = np.ones(len(hits), dtype=bool)
    is_first[1:] = (place + hits["start"])[1:] >= reached[:-1]
    return np.flatnonzero(is_first)


def _agree(one: Any, other: Any, motifs: Sequence[Motif]) -> bool:
    """Whether the motifs of two hits that overlap ask for the same letters on the bases that they share."""
    low, high = max(one["start"], other["start"]), min(one["end"], other["end"])
    shared = [
        _on_forward_strand(motifs[hit["motif"]], hit["strand"])[low - hit["start"] : high - hit["start"]].ravel()
        - 0.25
        for hit in (one, other)
    ]
    norms = np.linalg.norm(shared[0]) * np.linalg.norm(shared[1])
    return bool(norms > 0 and shared[0] @ shared[1] / norms >= SAME_MOTIF)


def _on_forward_strand(motif: Motif, strand: int) -> FloatArray:
    """(W, 4): the matrix as the forward strand has it; for the other one, in the order A C G T, half a turn."""
    return motif.probabilities if strand > 0 else motif.probabilities[::-1, ::-1]
