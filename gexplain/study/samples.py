"""Samples: the sequences of an evaluation, from a CSV or from regions of a genome, and the true sites in them."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
import numpy.typing as npt

from gexplain.arrays import IntArray
from gexplain.errors import InputError, count, preview
from gexplain.genome.bed import BedReader
from gexplain.genome.chromosomes import match_chroms, read_chrom_alias
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval, format_region
from gexplain.inputs import Inputs
from gexplain.plan import Status
from gexplain.training.sheets import read_sheet

BoolArray = npt.NDArray[np.bool_]
OnBadLine = Literal["stop", "skip"]

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

    source, sha256: of the file that they come from. shortest: bases of the shortest sequence, 0 where there is none.
    n_with_truth: how many hold a true site. warnings: what was passed over, in words.
    """

    def __init__(
        self,
        source: str,
        sha256: str,
        names: Sequence[str],
        labels: Sequence[str],
        places: Sequence[Interval],
        sites: Sequence[IntArray] | None,
        warnings: list[str],
    ) -> None:
        self.source, self.sha256 = source, sha256
        self.names, self.labels, self.warnings = names, labels, warnings
        self.shortest = min((place.width for place in places), default=0)
        self._places, self._sites = places, sites
        n_alike = self._take_stock()
        if n_alike:
            warnings.append(
                f"{n_alike:,} of {count(len(self), 'sequence')} are the same letters as another;"
                " intervals and tests take each for one of its own"
            )

    def __len__(self) -> int:
        return len(self.names)

    def chunks(self, size: int) -> Iterator[list[Sample]]:
        """Consecutive samples in lists of `size`."""
        each = (self._sample(number) for number in range(len(self)))
        while chunk := list(islice(each, size)):
            yield chunk

    def digest(self) -> str:
        """The sha256 of all that is measured: names, labels, sequences and true sites."""
        return self._digest

    def forget_truth(self, why: str) -> None:
        """Be as if no true sites were given, but for a warning that says why."""
        self._sites = None
        self.warnings.append(why)
        self._take_stock()

    def _take_stock(self) -> int:
        """Read all once, for the digest and n_with_truth; how many are the same letters as another."""
        digest, n_of_each = hashlib.sha256(), Counter[bytes]()
        self.n_with_truth = 0
        for one in map(self._sample, range(len(self))):
            inside = b"" if one.inside is None else one.inside.tobytes()
            digest.update("\t".join([one.name, one.label, one.sequence]).encode(errors="surrogateescape") + inside)
            n_of_each[hashlib.sha256(one.sequence.encode()).digest()] += 1
            self.n_with_truth += one.inside is not None
        self._digest = digest.hexdigest()
        return sum(n for n in n_of_each.values() if n > 1)

    def _sample(self, number: int) -> Sample:
        place = self._places[number]
        inside = None if self._sites is None else mask_of(self._sites[number], place.start, place.width)
        return Sample(number, self.names[number], self._sequence(number), self.labels[number], inside)

    def _sequence(self, number: int) -> str:
        raise NotImplementedError


class CsvSamples(Samples):
    """The rows of a CSV, named by their lines; truth, if given, is a BED whose chromosomes are those names."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        truth: str | os.PathLike[str] | None,
        sample: int | None,
        seed: int,
        *,
        on_bad_line: OnBadLine = "stop",
    ) -> None:
        sheet = read_sheet(path)
        rows: IntArray = np.array(
            [row for row, one in enumerate(sheet.sequences) if _is_readable(one)], dtype=np.int64
        )
        warnings = _left_out(len(sheet.sequences) - len(rows))
        rows = draw(rows, sample, seed)
        self._sequences: list[str] = [sheet.sequences[row] for row in rows]
        names = [str(sheet.lines[row]) for row in rows]
        places = [Interval(name, 0, len(one)) for name, one in zip(names, self._sequences, strict=True)]
        sites = None
        if truth is not None:
            sites = find_sites(truth, places, sheet.name, warnings, on_bad_line=on_bad_line)
        labels = [sheet.labels[row] for row in rows]
        super().__init__(sheet.name, sheet.sha256, names, labels, places, sites, warnings)

    def _sequence(self, number: int) -> str:
        return self._sequences[number]


class RegionSamples(Samples):
    """Windows of a genome, one around the summit or middle of each region, as it lies on the forward strand.

    chrom_alias: as for `score`; it maps the names of chromosomes of the truth, as it did those of the regions.
    """

    def __init__(
        self,
        inputs: Inputs,
        window: int,
        truth: str | os.PathLike[str] | None,
        sample: int | None,
        seed: int,
        *,
        chrom_alias: str | None = None,
        on_bad_line: OnBadLine = "stop",
    ) -> None:
        plan, genome = inputs.plan, inputs.genome
        chroms = list(plan.chroms)
        given = _names_of_rows(inputs)
        readable: list[Interval] = []
        rows: list[int] = []
        for row in np.flatnonzero(plan.status == Status.SCORED).tolist():
            chrom = chroms[plan.chrom[row]]
            summit = int(plan.summit[row])
            centre = summit if summit >= 0 else int(plan.start[row] + plan.end[row]) // 2
            start = max(0, min(centre - window // 2, plan.chroms[chrom] - window))
            place = Interval(chrom, start, min(start + window, plan.chroms[chrom]))
            if _is_readable(genome.fetch(place)):
                readable.append(place)
                rows.append(row)
        warnings = [*inputs.warnings, *_left_out(int((plan.status == Status.SCORED).sum()) - len(rows))]
        chosen = draw(np.arange(len(rows)), sample, seed)
        places = [readable[index] for index in chosen]
        labels = [given[rows[index]] for index in chosen]
        is_unique = "." not in labels and len(set(labels)) == len(labels)
        names = labels if is_unique else _told_apart([format_region(place) for place in places])
        sites = None
        if truth is not None:
            alias = read_chrom_alias(chrom_alias) if chrom_alias not in (None, "chr") else chrom_alias
            sites = find_sites(
                truth,
                places,
                inputs.source,
                warnings,
                names=lambda found: match_chroms(found, genome.chroms, alias),  # type: ignore[arg-type]
                on_bad_line=on_bad_line,
            )
        self._genome: Genome = genome
        super().__init__(inputs.source, inputs.sha256, names, labels, places, sites, warnings)

    def _sequence(self, number: int) -> str:
        return self._genome.fetch(self._places[number])


def draw(rows: IntArray, most: int | None, seed: int) -> IntArray:
    """At most so many of the rows, drawn without replacement, in their own order."""
    if most is None or len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, size=most, replace=False))


def find_sites(
    truth: str | os.PathLike[str],
    places: Sequence[Interval],
    source: str,
    warnings: list[str],
    *,
    names: Callable[[Collection[str]], Mapping[str, str]] | None = None,
    on_bad_line: OnBadLine = "stop",
) -> list[IntArray]:
    """The true sites (n, 2) that overlap each place, in the places' coordinates.

    warnings: malformed lines that were skipped are told there. names: gives, of the truth's names of chromosomes,
    those of the places; equal names, if None. Raises InputError where the sites overlap none at all: names of
    chromosomes, or another assembly, most likely.
    """
    by_name: dict[str, list[tuple[int, int]]] = {}
    reader = BedReader(truth, on_bad_line=on_bad_line)
    for region in reader:
        by_name.setdefault(region.interval.chrom, []).append((region.interval.start, region.interval.end))
    if reader.n_bad_lines:
        lines = ", ".join(str(line) for line, _ in reader.bad_lines[:5])
        more = " ..." if reader.n_bad_lines > 5 else ""
        warnings.append(f"{reader.name}: {count(reader.n_bad_lines, 'malformed line')} skipped: {lines}{more}")
    matches = {} if names is None else names(by_name)
    by_chrom: dict[str, list[tuple[int, int]]] = {}
    for name, sites in by_name.items():  # two names may be of one chromosome
        by_chrom.setdefault(matches.get(name, name), []).extend(sites)
    spans = {chrom: np.array(sorted(sites), dtype=np.int64) for chrom, sites in by_chrom.items()}
    nothing = np.empty((0, 2), dtype=np.int64)
    found: list[IntArray] = []
    for place in places:
        here = spans.get(place.chrom, nothing)
        found.append(here[(here[:, 0] < place.end) & (here[:, 1] > place.start)])
    if not any(len(sites) for sites in found):
        raise InputError(
            f"{reader.name}: none of its {count(reader.n_regions, 'site')} overlaps any of the {len(places):,}"
            f" sequences of {source}",
            detail=f"sites are on {preview(by_name) or 'no chromosome'}\n"
            f"sequences are on {preview(dict.fromkeys(place.chrom for place in places))}",
            hint="give sites in the same genome and chromosome names, or map the names: --chrom-alias; of a CSV, the"
            " chromosome is the row's line",
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
