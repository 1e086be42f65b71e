"""Samples: the sequences of an evaluation, from a CSV or from regions of a genome, and the true sites in them."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from gexplain.arrays import IntArray
from gexplain.errors import InputError, count, preview
from gexplain.genome.bed import BedReader
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval, format_region
from gexplain.inputs import Inputs
from gexplain.plan import Status
from gexplain.training.sheets import read_sheet

BoolArray = npt.NDArray[np.bool_]

_MOST_N = 0.5
"""Sequences with a larger share of letters that are no base are left out: there is nothing to explain."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One sequence of an evaluation.

    number: from 0, its place in the evaluation: what random draws are seeded by. name: of its row or region. label:
    what the CSV or the BED calls it, "" for nothing. inside: (L,) the bases in a true site, or None where none is.
    """

    number: int
    name: str
    sequence: str
    label: str
    inside: BoolArray | None


class Samples:
    """All sequences of one evaluation, fetched a few at a time: `len`, `chunks`, `labels`.

    source, sha256: of the file that they come from. warnings: what was passed over, in words.
    """

    def __init__(
        self, source: str, sha256: str, names: Sequence[str], labels: Sequence[str], warnings: list[str]
    ) -> None:
        self.source, self.sha256 = source, sha256
        self.names, self.labels, self.warnings = names, labels, warnings

    def __len__(self) -> int:
        return len(self.names)

    def chunks(self, size: int) -> Iterator[list[Sample]]:
        """Consecutive samples in lists of `size`."""
        each = (self._sample(number) for number in range(len(self)))
        while chunk := list(islice(each, size)):
            yield chunk

    def digest(self) -> str:
        """The sha256 of all that is measured: names, labels, sequences and true sites."""
        digest = hashlib.sha256()
        for chunk in self.chunks(1024):
            for one in chunk:
                inside = b"" if one.inside is None else one.inside.tobytes()
                digest.update(
                    "\t".join([one.name, one.label, one.sequence]).encode(errors="surrogateescape") + inside
                )
        return digest.hexdigest()

    @property
    def shortest(self) -> int:
        """The bases of the shortest sequence."""
        return min(len(self._sequence(number)) for number in range(len(self)))

    @property
    def n_with_truth(self) -> int:
        """How many hold a true site."""
        return sum(self._inside(number) is not None for number in range(len(self)))

    def _sample(self, number: int) -> Sample:
        sequence = self._sequence(number)
        return Sample(number, self.names[number], sequence, self.labels[number], self._inside(number))

    def _sequence(self, number: int) -> str:
        raise NotImplementedError

    def _inside(self, number: int) -> BoolArray | None:
        raise NotImplementedError


class CsvSamples(Samples):
    """The rows of a CSV, named by their lines; truth, if given, is a BED whose chromosomes are those names."""

    def __init__(
        self, path: str | os.PathLike[str], truth: str | os.PathLike[str] | None, sample: int | None, seed: int
    ) -> None:
        sheet = read_sheet(path)
        rows: IntArray = np.array(
            [row for row, one in enumerate(sheet.sequences) if _is_readable(one)], dtype=np.int64
        )
        n_left_out = len(sheet.sequences) - len(rows)
        rows = draw(rows, sample, seed)
        super().__init__(
            sheet.name,
            sheet.sha256,
            [str(sheet.lines[row]) for row in rows],
            [sheet.labels[row] for row in rows],
            _left_out(n_left_out),
        )
        self._sequences: list[str] = [sheet.sequences[row] for row in rows]
        places = [
            Interval(name, 0, len(sequence)) for name, sequence in zip(self.names, self._sequences, strict=True)
        ]
        self._sites = None if truth is None else find_sites(truth, places, self.source)

    def _sequence(self, number: int) -> str:
        return self._sequences[number]

    def _inside(self, number: int) -> BoolArray | None:
        if self._sites is None:
            return None
        return mask_of(self._sites[number], 0, len(self._sequences[number]))


class RegionSamples(Samples):
    """Windows of a genome, one around the summit or middle of each region, as it lies on the forward strand."""

    def __init__(
        self,
        inputs: Inputs,
        window: int,
        truth: str | os.PathLike[str] | None,
        sample: int | None,
        seed: int,
    ) -> None:
        plan, genome = inputs.plan, inputs.genome
        chroms = list(plan.chroms)
        given = _names_of_rows(inputs)
        places: list[Interval] = []
        rows: list[int] = []
        for row in np.flatnonzero(plan.status == Status.SCORED).tolist():
            chrom = chroms[plan.chrom[row]]
            summit = int(plan.summit[row])
            centre = summit if summit >= 0 else int(plan.start[row] + plan.end[row]) // 2
            start = max(0, min(centre - window // 2, plan.chroms[chrom] - window))
            place = Interval(chrom, start, min(start + window, plan.chroms[chrom]))
            if _is_readable(genome.fetch(place)):
                places.append(place)
                rows.append(row)
        n_left_out = int((plan.status == Status.SCORED).sum()) - len(rows)
        chosen = draw(np.arange(len(rows)), sample, seed)
        self._places = [places[index] for index in chosen]
        labels = [given[rows[index]] for index in chosen]
        is_unique = "." not in labels and len(set(labels)) == len(labels)
        names = labels if is_unique else _told_apart([format_region(place) for place in self._places])
        super().__init__(inputs.source, inputs.sha256, names, labels, [*inputs.warnings, *_left_out(n_left_out)])
        self._genome: Genome = genome
        self._sites = None if truth is None else find_sites(truth, self._places, self.source)

    def _sequence(self, number: int) -> str:
        return self._genome.fetch(self._places[number])

    def _inside(self, number: int) -> BoolArray | None:
        if self._sites is None:
            return None
        place = self._places[number]
        return mask_of(self._sites[number], place.start, place.width)


def draw(rows: IntArray, most: int | None, seed: int) -> IntArray:
    """At most so many of the rows, drawn without replacement, in their own order."""
    if most is None or len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, size=most, replace=False))


def find_sites(truth: str | os.PathLike[str], places: Sequence[Interval], source: str) -> list[IntArray]:
    """The true sites (n, 2) that overlap each place, in the places' coordinates.

    Raises InputError where they overlap none at all: names of chromosomes, or another assembly, most likely.
    """
    by_chrom: dict[str, list[tuple[int, int]]] = {}
    reader = BedReader(truth)
    n_sites = 0
    for region in reader:
        n_sites += 1
        by_chrom.setdefault(region.interval.chrom, []).append((region.interval.start, region.interval.end))
    spans = {chrom: np.array(sorted(sites), dtype=np.int64) for chrom, sites in by_chrom.items()}
    nothing = np.empty((0, 2), dtype=np.int64)
    found: list[IntArray] = []
    for place in places:
        here = spans.get(place.chrom, nothing)
        found.append(here[(here[:, 0] < place.end) & (here[:, 1] > place.start)])
    if not any(len(sites) for sites in found):
        raise InputError(
            f"{reader.name}: none of its {count(n_sites, 'site')} overlaps any of the {len(places):,} sequences of"
            f" {source}",
            detail=f"sites are on {preview(spans) or 'no chromosome'}\n"
            f"sequences are on {preview(dict.fromkeys(place.chrom for place in places))}",
            hint="give sites in the same genome and chromosome names; of a CSV, the chromosome is the row's line",
        )
    return found


def mask_of(sites: IntArray, start: int, width: int) -> BoolArray | None:
    """(width,): the bases from `start` on that lie in a site; None where none does."""
    if not len(sites):
        return None
    borders = np.zeros(width + 1, dtype=np.int64)
    np.add.at(borders, np.clip(sites[:, 0] - start, 0, width), 1)
    np.add.at(borders, np.clip(sites[:, 1] - start, 0, width), -1)
    inside: BoolArray = np.cumsum(borders[:-1]) > 0
    return inside if inside.any() else None


def count_labels(labels: Sequence[str]) -> Mapping[str, int]:
    """How many samples have each label."""
    values, counts = np.unique(np.array(labels, dtype=object), return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _is_readable(sequence: str) -> bool:
    return sum(map(sequence.count, "ACGT")) >= (1 - _MOST_N) * len(sequence)


def _told_apart(names: Sequence[str]) -> list[str]:
    """The names, each its own: the second of a name is NAME#2. Tables pair methods over sequences by name."""
    seen: Counter[str] = Counter()
    apart = []
    for name in names:
        seen[name] += 1
        apart.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return apart


def _left_out(n: int) -> list[str]:
    return [f"{count(n, 'sequence')} left out: more than half of its letters are no base"] if n else []


def _names_of_rows(inputs: Inputs) -> list[str]:
    """The names of all regions, "." for none."""
    spool = inputs.plan.spool
    assert spool is not None  # open_inputs always spools
    with spool.open(encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
        return [line.rstrip("\n").split("\t")[3] for line in lines]
