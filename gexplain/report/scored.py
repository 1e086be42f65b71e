"""A finished run as columns: what its page says of every region, in memory that grows with the regions alone.

regions.tsv, seqlets.bed and hits.bed are read line by line. A seqlet or hit is counted for the region that owns its
place, by the territories it was called with, and not by the region's name: names may be used twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gexplain.arrays import IntArray
from gexplain.errors import InputError
from gexplain.genome.intervals import Interval, Strand
from gexplain.motifs.territories import Territories
from gexplain.run_folder import Run, read_scored_regions

MOST_ROWS = 100_000
"""Lines of regions.tsv that a page has; the table itself has all."""
MOST_CLASSES = 24
"""Of a model with more classes, a row keeps the probabilities of its best few."""
_BEST = 3

_SCORED = "scored"
# regions.tsv: text and counts first, two columns a class, seven a target (docs/outputs.md).
_CHROM, _START, _END, _NAME, _STRAND, _STATUS, _REASON, _WINDOWS, _BASES, _AMBIGUOUS, _PREDICTED = range(11)
_N_FIXED, _PER_CLASS, _PER_TARGET = 11, 2, 7
_RELEVANCE, _UNEXPLAINED = 0, 2
STRANDS: tuple[Strand, ...] = (".", "+", "-")
_CHUNK = 1 << 14
_MEND = "this is not the table that gexplain score wrote; score again with --force"


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """The regions of a run, (n,) each, in the order of regions.tsv.

    n_lines: lines of regions.tsv, of which the first are here. chroms, reasons: the names that `chrom` and `reason`
    number; reasons[0] is "", of a scored region. best: the class of the highest probability (of a regression: the
    first output that is explained), -1 where nothing was scored. predictions: the classes that the model
    predicts, one tuple for each number in `prediction`.

    probabilities: (n, K), a regression's values. A model of more than MOST_CLASSES has (n, 3), the best of each row,
    and `ranked`, (n, 3), tells their classes; else that is (n, 0).

    target: the number of the target that explains the region, -1 for none. relevance, unexplained: (n, T), a column a
    target; with more than MOST_CLASSES targets (n, 1), of the one that explains the region.
    """

    n_lines: int
    chroms: Sequence[str]
    chrom: IntArray
    start: IntArray
    end: IntArray
    names: Sequence[str]
    strand: IntArray
    reasons: Sequence[str]
    reason: IntArray
    best: IntArray
    predictions: Sequence[tuple[int, ...]]
    prediction: IntArray
    ranked: IntArray
    probabilities: NDArray[np.float32]
    target: IntArray
    relevance: NDArray[np.float32]
    unexplained: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.names)

    def interval(self, row: int) -> Interval:
        """The region of a row."""
        strand = STRANDS[int(self.strand[row])]
        name = self.names[row]
        return Interval(self.chroms[self.chrom[row]], int(self.start[row]), int(self.end[row]), name, strand)

    def best_probability(self) -> NDArray[np.float32]:
        """(n,): the highest of each row, NaN where nothing was scored; of a regression the value of `best`."""
        if self.ranked.shape[1]:
            return self.probabilities[:, 0]
        return self.probabilities[np.arange(len(self)), np.maximum(self.best, 0)]


@dataclass(frozen=True, slots=True, eq=False)
class Calls:
    """Seqlets and primary hits, counted by region, (n,). factors: names of factors; factors_of: of each region the
    numbers of those that it has hits of, the most frequent first. listed: the hits of the rows that were asked for.
    """

    seqlets: IntArray
    hits: IntArray
    factors: Sequence[str]
    factors_of: Sequence[Sequence[int]]
    listed: Mapping[int, list[Hit]]


@dataclass(frozen=True, slots=True)
class Hit:
    """A primary hit: its place, factor and track."""

    start: int
    end: int
    strand: Strand
    factor: str
    track: str


def read_scored(run: Run, most: int = MOST_ROWS) -> Scored:
    """The regions of a run, the first `most` lines of its regions.tsv. InputError where that is no such table."""
    path = run.path / "regions.tsv"
    manifest = run.manifest
    classes, targets = manifest["model"]["classes"], list(manifest["settings"]["target"])
    n_columns = _N_FIXED + _PER_CLASS * len(classes) + _PER_TARGET * len(targets)
    columns = _Columns(manifest["model"]["head"], classes, targets)
    n_lines = 0
    with path.open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        next(file)
        for line in file:
            n_lines += 1
            if n_lines > most:
                continue
            fields = line.rstrip("\n").split("\t")
            if len(fields) != n_columns:
                raise InputError(
                    f"line {n_lines + 1} of {path}: {len(fields)} columns; expected {n_columns}, for"
                    f" {len(classes)} classes and {len(targets)} targets",
                    hint=_MEND,
                )
            try:
                columns.add(fields)
            except (ValueError, KeyError) as error:  # a class that the model has not is a KeyError
                raise InputError(
                    f"line {n_lines + 1} of {path}: {error} is not what stands there", hint=_MEND
                ) from error
    return columns.table(n_lines)


def choose_top(scored: Scored, classes: Sequence[str], targets: Sequence[str], n: int) -> list[tuple[int, int]]:
    """What to show in detail: (row, target), at most n, no region twice.

    Of each class with a track of its own in turn, that of the fewest predictions first, the region with its highest
    mean probability. Where no class has one, of each class that is predicted somewhere.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    own = {numbers[name]: number for number, name in enumerate(targets) if name in numbers}
    is_scored = (scored.reason == 0) & (scored.target >= 0)
    n_predicted = np.bincount(scored.best[is_scored], minlength=len(classes))
    queues: list[tuple[int, list[int], int]] = []  # predictions of the class, its rows, the target
    if own and not scored.ranked.shape[1]:
        for one, target in own.items():
            # A region comes up once for each class; n of each are enough, whichever others took before.
            rows = _highest(scored.probabilities[:, one], is_scored, len(own) * n)
            queues.append((int(n_predicted[one]), rows, target))
    else:
        best = scored.best_probability()
        for one in np.flatnonzero(n_predicted).tolist():
            rows = _highest(best, is_scored & (scored.best == one), n)
            queues.append((int(n_predicted[one]), rows, int(scored.target[rows[0]])))
    queues.sort(key=lambda queue: queue[0])
    chosen: dict[int, int] = {}
    while len(chosen) < n and any(rows for _, rows, _ in queues):
        for _, rows, target in queues:
            while rows and rows[0] in chosen:
                rows.pop(0)
            if rows and len(chosen) < n:
                chosen[rows.pop(0)] = target
    return list(chosen.items())


def _highest(values: NDArray[np.float32], among: NDArray[np.bool_], n: int) -> list[int]:
    """The places of the n highest values, the highest first."""
    places = np.flatnonzero(among)
    return [int(place) for place in places[np.argsort(-values[places], kind="stable")][:n]]


def count_calls(run: Run, scored: Scored, listed: Sequence[int] = ()) -> Calls:
    """How many seqlets and primary hits each region owns, in all tracks; and the hits of the rows `listed`."""
    owners = _Owners.of(run, scored)
    seqlets = np.zeros(len(scored) + 1, dtype=np.int64)  # the last: of regions beyond the table
    for chunk in _rows(run.path / "seqlets.bed"):
        rows = owners.rows([(one[0], int(one[9]), one[6]) for one in chunk])
        np.add.at(seqlets, rows, 1)
    hits = np.zeros(len(scored) + 1, dtype=np.int64)
    factors: dict[str, int] = {}
    counted: dict[tuple[int, int], int] = {}
    wanted: dict[int, list[Hit]] = {row: [] for row in listed}
    for chunk in _rows(run.path / "hits.bed"):
        primary = [one for one in chunk if one[15] == "1"]
        rows = owners.rows([(one[0], (int(one[1]) + int(one[2])) // 2, one[6]) for one in primary])
        np.add.at(hits, rows, 1)
        for row, one in zip(rows.tolist(), primary, strict=True):
            key = row, factors.setdefault(one[3], len(factors))
            counted[key] = counted.get(key, 0) + 1
            if row in wanted:
                strand: Strand = "+" if one[5] == "+" else "-"
                wanted[row].append(Hit(int(one[1]), int(one[2]), strand, one[3], one[6]))
    factors_of: list[list[int]] = [[] for _ in range(len(scored) + 1)]
    for row, factor in sorted(counted, key=lambda key: -counted[key]):
        factors_of[row].append(factor)
    return Calls(seqlets[:-1], hits[:-1], list(factors), factors_of[:-1], wanted)


class _Columns:
    """The table as it grows, line by line."""

    def __init__(self, head: str, classes: Sequence[str], targets: Sequence[str]) -> None:
        self._head, self._n_classes = head, len(classes)
        self._numbers = {name: number for number, name in enumerate(classes)}
        by_name = {name: number for number, name in enumerate(targets)}
        # The one target of --target predicted explains what is predicted; else the first stands in.
        self._target_of = [by_name.get(name, 0) for name in classes]
        self._explained = next((self._numbers[name] for name in targets if name in self._numbers), 0)
        self._first_target = _N_FIXED + _PER_CLASS * len(classes)
        self._keeps_classes, self._keeps_targets = len(classes) <= MOST_CLASSES, len(targets) <= MOST_CLASSES
        self._n_targets = len(targets) if self._keeps_targets else 1
        self._chroms: dict[str, int] = {}
        self._reasons: dict[str, int] = {"": 0}
        self._predictions: dict[tuple[int, ...], int] = {(): 0}
        self._names: list[str] = []
        self._whole: list[tuple[int, ...]] = []
        self._ranked: list[NDArray[np.int64]] = []
        self._real: list[NDArray[np.float32]] = []

    def add(self, fields: Sequence[str]) -> None:
        """One line of regions.tsv."""
        self._names.append(fields[_NAME])
        chrom = self._chroms.setdefault(fields[_CHROM], len(self._chroms))
        strand = STRANDS.index("+" if fields[_STRAND] == "+" else "-" if fields[_STRAND] == "-" else ".")
        place = chrom, int(fields[_START]), int(fields[_END]), strand
        n_kept = self._n_classes if self._keeps_classes else _BEST
        if fields[_STATUS] != _SCORED:
            reason = self._reasons.setdefault(fields[_REASON], len(self._reasons))
            self._whole.append((*place, reason, -1, 0, -1))
            self._ranked.append(np.full(_BEST, -1))
            self._real.append(np.full(n_kept + 2 * self._n_targets, np.nan, dtype=np.float32))
            return
        means = _numbers(fields[_N_FIXED : self._first_target : _PER_CLASS])
        predicted, best = self._predict(fields[_PREDICTED], means)
        target = self._target_of[best]
        ranked = np.argsort(-means, kind="stable")[:_BEST]
        of_targets = fields[self._first_target :]
        if not self._keeps_targets:
            of_targets = of_targets[_PER_TARGET * target : _PER_TARGET * (target + 1)]
        self._whole.append((*place, 0, best, self._predictions.setdefault(predicted, len(self._predictions)), target))
        self._ranked.append(ranked)
        self._real.append(
            np.concatenate(
                [
                    means if self._keeps_classes else means[ranked],
                    _numbers(of_targets[_RELEVANCE::_PER_TARGET]),
                    _numbers(of_targets[_UNEXPLAINED::_PER_TARGET]),
                ]
            )
        )

    def _predict(self, text: str, means: NDArray[np.float32]) -> tuple[tuple[int, ...], int]:
        """The classes predicted, and the one whose track explains the region."""
        if self._head == "regression":
            return (), self._explained
        if self._head == "classification":
            return (self._numbers[text],), self._numbers[text]
        return tuple(np.flatnonzero(means > 0.5).tolist()), int(means.argmax())

    def table(self, n_lines: int) -> Scored:
        """What was added, as arrays."""
        n, n_kept = len(self._names), self._n_classes if self._keeps_classes else _BEST
        chrom, start, end, strand, reason, best, prediction, target = (
            np.array(self._whole, dtype=np.int64).reshape(n, 8).T
        )
        real = np.array(self._real, dtype=np.float32).reshape(n, n_kept + 2 * self._n_targets)
        no_ranks = np.zeros((n, 0), dtype=np.int64)
        return Scored(
            n_lines=n_lines,
            chroms=list(self._chroms),
            chrom=chrom,
            start=start,
            end=end,
            names=self._names,
            strand=strand,
            reasons=list(self._reasons),
            reason=reason,
            best=best,
            predictions=list(self._predictions),
            prediction=prediction,
            ranked=no_ranks if self._keeps_classes else np.array(self._ranked).reshape(n, _BEST),
            probabilities=real[:, :n_kept],
            target=target,
            relevance=real[:, n_kept : n_kept + self._n_targets],
            unexplained=real[:, n_kept + self._n_targets :],
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Owners:
    """Whose a place is: as seqlets and hits were called, by the strand of their track."""

    territories: Mapping[Strand, Territories]
    rows_of: Mapping[Strand, IntArray]
    strand_of: Mapping[str, Strand]

    @classmethod
    def of(cls, run: Run, scored: Scored) -> _Owners:
        by_strand = run.manifest["settings"]["strand"] == "region"
        strand_of = {
            stem: one["strand"] for stem, one in run.manifest["tracks"].items() if one["kind"] == "relevance"
        }
        regions = read_scored_regions(run.path / "regions.tsv")
        rows = np.flatnonzero(scored.reason == 0)
        # Those behind the last row of the table, in the same order, all count for one row of nobody's.
        row_of = np.concatenate([rows, np.full(len(regions) - len(rows), len(scored))])
        territories, rows_of = {}, {}
        for strand in set(strand_of.values()):
            here = [i for i, one in enumerate(regions) if not by_strand or one.strand == strand]
            territories[strand] = Territories.of([regions[i] for i in here])
            rows_of[strand] = np.append(row_of[here], len(scored))
        return cls(territories, rows_of, strand_of)

    def rows(self, places: Sequence[tuple[str, int, str]]) -> IntArray:
        """The row of each place (chrom, position, track); the number of rows for those of no row."""
        found = np.zeros(len(places), dtype=np.int64)
        groups: dict[tuple[Strand, str], list[int]] = {}
        for i, (chrom, _, track) in enumerate(places):
            groups.setdefault((self.strand_of[track], chrom), []).append(i)
        for (strand, chrom), here in groups.items():
            positions = np.array([places[i][1] for i in here], dtype=np.int64)
            owner = self.territories[strand].owner(chrom, positions)  # -1, the last of rows_of, where it is nobody's
            found[here] = self.rows_of[strand][owner]
        return found


def _rows(path: Path) -> Iterator[list[list[str]]]:
    """The rows of a BED table, some at a time; none where there is no such file."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        chunk = []
        for line in file:
            if line.startswith("#"):
                continue
            chunk.append(line.rstrip("\n").split("\t"))
            if len(chunk) == _CHUNK:
                yield chunk
                chunk = []
        if chunk:
            yield chunk


def _numbers(texts: Sequence[str]) -> NDArray[np.float32]:
    """Numbers of a table; "." is none."""
    return np.array([float("nan") if text == "." else float(text) for text in texts], dtype=np.float32)
