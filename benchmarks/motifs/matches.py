"""All matches of motifs in one track, with what the model says of each; and the hits that were called of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gexplain.arrays import FloatArray, IntArray
from gexplain.genome.bed import BedReader
from gexplain.genome.intervals import Interval
from gexplain.motifs.calibration import sum_spans
from gexplain.motifs.database import MotifSet
from gexplain.motifs.hits import USED_P, HitFinder
from gexplain.motifs.pages import read_pages
from gexplain.track_nulls import Attributions

if TYPE_CHECKING:
    import pandas as pd

# Matches to rank are of at most this p-value; gexplain's own limit is 1e-4.
LOOSE_P = 1e-3
# Between two chromosomes that are laid end to end.
_APART = 1_000

FIMO, RELEVANCE, JOINED, UNGATED = "FIMO p", "relevance", "product, used", "product, all"


class Axis:
    """The chromosomes of a genome laid end to end."""

    def __init__(self, chroms: Mapping[str, int]) -> None:
        ends = np.cumsum([length + _APART for length in chroms.values()])
        self._origin = dict(zip(chroms, [0, *ends[:-1].tolist()], strict=True))

    def places(self, chroms: Iterable[str], positions: Iterable[int]) -> IntArray:
        """(n,): positions on the axis."""
        origins = np.array([self._origin[chrom] for chrom in chroms], dtype=np.int64)
        return origins + np.fromiter(positions, dtype=np.int64, count=len(origins))

    def spans(self, intervals: Sequence[Interval]) -> tuple[IntArray, IntArray]:
        """(start, end), (n,) each."""
        chroms = [one.chrom for one in intervals]
        return (
            self.places(chroms, (one.start for one in intervals)),
            self.places(chroms, (one.end for one in intervals)),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Matches of motifs in the scored bases, (M,) each; start, end: on the axis.

    p: of FIMO. relevance: the sum inside. relevance_p: the share of the null's places that have as much.
    """

    start: IntArray
    end: IntArray
    p: FloatArray
    relevance: FloatArray
    relevance_p: FloatArray

    def scores(self) -> dict[str, FloatArray]:
        """Name of a ranking to the scores of the matches, the higher the better.

        The product of the two p-values joins them. Used: as for hits, matches of little relevance come last, as
        equals.
        """
        product_M = -np.log10(self.p) - np.log10(self.relevance_p)
        return {
            FIMO: -np.log10(self.p),
            RELEVANCE: self.relevance,
            JOINED: np.where(self.relevance_p <= USED_P, product_M, 0.0),
            UNGATED: product_M,
        }


def find_matches(attributions: Attributions, motifs: MotifSet, match_p: float) -> Matches:
    """All matches in the one track, whether the model uses them or not."""
    (attribution,) = attributions.tracks.values()
    finder = HitFinder(motifs.motifs, attribution.hit_null(), match_p=match_p)
    axis = Axis(attributions.genome.chroms)
    parts = []
    for page in read_pages(attribution.path, attributions.genome, reach=finder.reach):
        matches = finder.scanner.scan([page.sequence])
        matches = matches[matches["start"] < page.n_own]
        widths = matches["end"] - matches["start"]
        relevance, relevance_p = np.zeros(len(matches)), np.ones(len(matches))
        for width in np.unique(widths).tolist():
            of_width = widths == width
            relevance[of_width] = sum_spans(page.values, matches["start"][of_width], width)
            relevance_p[of_width] = finder.spans.p_values(relevance[of_width], width)
        start = axis.places([page.chrom], [page.start]) + matches["start"]
        parts.append(Matches(start, start + widths, matches["p"].astype(np.float64), relevance, relevance_p))
    return Matches(*(np.concatenate([getattr(part, name) for part in parts]) for name in Matches.__slots__))


def read_intervals(path: Path) -> list[Interval]:
    """The intervals of a BED file, in its order."""
    return [region.interval for region in BedReader(path)]


def read_calls(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """These columns of seqlets.bed, hits.bed or motif_summary.tsv, as its header names them."""
    import pandas as pd

    with path.open(encoding="utf-8") as file:
        names = next(file).rstrip("\n").removeprefix("#").split("\t")
    return pd.read_csv(path, sep="\t", header=0, names=names, usecols=list(columns), keep_default_na=False)
