"""A sample of the windows of a finished run, drawn by a seed and the regions' coordinates alone.

regions.tsv -- read once --> regions drawn, by the class that some window of theirs may predict
                              | their windows, in an order drawn too; those of N alone left out
                             windows, as many of each class as there are
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gexplain.arrays import IntArray
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval, Strand
from gexplain.models.model import Model
from gexplain.windows import Tiling, Window

AMBIGUOUS_SHARE = 0.1
"""Regions with more of their bases ambiguous are counted."""

_Choice = tuple[Window, Interval]

_MODES: dict[str, Strand] = {"both": ".", "forward": "+", "reverse": "-"}
PREDICT: dict[Strand, Literal["both", "forward", "reverse"]] = {".": "both", "+": "forward", "-": "reverse"}
_PROBABLE = 0.5  # a class that is predicted with more, somewhere in a region, is looked for there
_MOST_TRIED = 32  # windows of a region
_LEAST_TRIED = 8  # regions of a class


@dataclass(frozen=True, slots=True)
class Drawn:
    """Scored regions, drawn: of all of them, and by class of those that may have a window of that class.

    n_regions, n_bases, n_ambiguous, n_over: of all scored regions, a base of two regions twice; n_over regions have
    more than AMBIGUOUS_SHARE of their bases ambiguous.
    """

    regions: Sequence[Interval]
    by_class: Mapping[int, Sequence[Interval]]
    n_regions: int
    n_bases: int
    n_ambiguous: int
    n_over: int


def draw_regions(path: Path, mode: str, n: int, seed: int, classes: Sequence[str] = ()) -> Drawn:
    """N of the scored regions of a regions.tsv, and about as many of each class; memory does not grow with the file.

    mode: the run's strands; regions of one place and strand are one. classes: of a model that gives probabilities;
    none to draw of all regions alike.
    """
    of_all, of_class = _Lowest(n), [_Lowest(max(_LEAST_TRIED, 4 * n // len(classes))) for _ in classes]
    n_scored = n_bases = n_ambiguous = n_over = 0
    with path.open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        columns = next(file).rstrip("\n").split("\t")
        status, ambiguous, predicted = map(columns.index, ("status", "ambiguous_bases", "predicted"))
        highest = [columns.index(f"max_{name}") for name in classes]
        for line in file:
            fields = line.rstrip("\n").split("\t")
            if fields[status] != "scored":
                continue
            start, end, n_here = int(fields[1]), int(fields[2]), int(fields[ambiguous])
            strand: Strand = _MODES.get(mode) or ("-" if fields[4] == "-" else "+")
            n_scored, n_bases, n_ambiguous = n_scored + 1, n_bases + end - start, n_ambiguous + n_here
            n_over += n_here > AMBIGUOUS_SHARE * (end - start)
            region = Interval(fields[0], start, end, strand=strand)
            key = _key(seed, region)
            of_all.add(key, region)
            for name, column, lowest in zip(classes, highest, of_class, strict=True):
                if float(fields[column]) > _PROBABLE or fields[predicted] == name:
                    lowest.add(key, region)
    by_class = {index: lowest.regions() for index, lowest in enumerate(of_class) if lowest.regions()}
    return Drawn(of_all.regions(), by_class, n_scored, n_bases, n_ambiguous, n_over)


def draw_windows(
    drawn: Drawn, genome: Genome, tiling: Tiling, model: Model, n: int, seed: int
) -> dict[Window, Interval]:
    """At most n different windows that are not N alone, in genome order, each with the region that it was drawn of.

    There are fewer where the regions have no more.
    Of the classes one window each in turn, that the model predicts to be of that class, while there are any; then of
    all drawn regions in turn. A region of several windows has them drawn by the seed and the region; a short region's
    window is around its middle, for regions.tsv knows no summits.
    """
    chosen: dict[Window, Interval] = {}

    def of_class(region: Interval, index: int) -> Iterator[_Choice]:
        windows = list(windows_of(region, genome, tiling, _MOST_TRIED, seed))
        is_of_class = predicted_classes(model, windows, genome) == index
        return ((window, region) for window, matches in zip(windows, is_of_class, strict=True) if matches)

    def of_all(region: Interval) -> Iterator[_Choice]:
        # More than n: some may be N alone.
        return ((window, region) for window in windows_of(region, genome, tiling, 4 * n, seed))

    def fresh(choices: Iterator[_Choice]) -> Iterator[_Choice]:
        return (choice for choice in choices if choice[0] not in chosen)

    of_classes = [
        fresh(_in_turn([_later(of_class, region, index) for region in regions]))
        for index, regions in drawn.by_class.items()
    ]
    for window, region in chain(_in_turn(of_classes), fresh(_in_turn([of_all(one) for one in drawn.regions]))):
        chosen[window] = region
        if len(chosen) == n:
            break
    rank = {chrom: i for i, chrom in enumerate(genome.chroms)}
    return dict(sorted(chosen.items(), key=lambda one: (rank[one[0].chrom], one[0].strand, one[0].start)))


def windows_of(region: Interval, genome: Genome, tiling: Tiling, most: int, seed: int) -> Iterator[Window]:
    """Windows of a region that are not N alone, of `most` in an order drawn by the seed and the region alone."""
    length = genome.chroms[region.chrom]
    starts = tiling.starts(np.array([[region.start, region.end]]), np.array([-1]), length)
    rng = np.random.default_rng(int.from_bytes(_key(seed, region), "little"))
    for start in rng.choice(starts, size=min(len(starts), most), replace=False).tolist():
        end = start + tiling.width(length)
        sequence = genome.fetch(region.chrom, start, end)
        if sequence.count("N") < len(sequence):
            yield Window(region.chrom, start, end, region.strand)


def predicted_classes(model: Model, windows: Sequence[Window], genome: Genome, **options: Any) -> IntArray:
    """(B,): the class of the highest logit of each window, read on its strand or strands.

    options: of `Model.predict`.
    """
    classes = np.empty(len(windows), dtype=np.int64)
    for strand, rows in rows_by_strand(windows).items():
        sequences = [genome.fetch(windows[row].chrom, windows[row].start, windows[row].end) for row in rows]
        classes[rows] = model.predict(sequences, strand=PREDICT[strand], **options).argmax(1)
    return classes


def rows_by_strand(windows: Sequence[Window]) -> dict[Strand, list[int]]:
    """The indices of the windows of each strand."""
    rows: dict[Strand, list[int]] = {}
    for row, window in enumerate(windows):
        rows.setdefault(window.strand, []).append(row)
    return rows


class _Lowest:
    """The regions of the n lowest keys of all that are added, each key once; memory holds 4 n."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._held: dict[bytes, Interval] = {}
        self._border: bytes | None = None

    def add(self, key: bytes, region: Interval) -> None:
        if self._border is None or key <= self._border:
            self._held[key] = region
            if len(self._held) >= 4 * self._n:
                self._held = dict(sorted(self._held.items())[: self._n])
                self._border = max(self._held)

    def regions(self) -> list[Interval]:
        return [self._held[key] for key in sorted(self._held)[: self._n]]


def _later(make: Callable[[Interval, int], Iterator[_Choice]], region: Interval, index: int) -> Iterator[_Choice]:
    """What `make` gives, made when it is first asked for: most regions of a class never are."""
    yield from make(region, index)


def _in_turn(each: Collection[Iterator[_Choice]]) -> Iterator[_Choice]:
    """One of each iterator, again and again, until all are at their end."""
    waiting = list(each)
    while waiting:
        still = []
        for choices in waiting:
            choice = next(choices, None)
            if choice is not None:
                still.append(choices)
                yield choice
        waiting = still


def _key(seed: int, region: Interval) -> bytes:
    text = f"{seed}\t{region.chrom}\t{region.start}\t{region.end}\t{region.strand}"
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=16).digest()
