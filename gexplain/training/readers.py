"""Readers: the user's files into a Dataset. Everything that can be wrong with them is told before any training.

CSV           Sheet -> labels -> split ------------+
                                                   +-> negatives of dev and test -> Dataset
BED + FASTA   RegionTable -> labels -> split ------+
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from gexplain.arrays import IntArray
from gexplain.errors import InputError, UsageError, count, preview
from gexplain.genome.fasta import Genome
from gexplain.training.examples import Dataset, Examples
from gexplain.training.labels import order_labels
from gexplain.training.negatives import (
    DINUC_SHUFFLE,
    RANDOM_GENOME,
    BedWindows,
    DinucleotideShuffles,
    Negatives,
    NegativeSource,
    RandomGenome,
    draw_evenly,
)
from gexplain.training.overlaps import merge_intervals, overlap_any
from gexplain.training.regions import (
    BedFile,
    RegionReading,
    RegionTable,
    count_moved_off,
    fetch_windows,
    join_tables,
    read_regions,
    window_starts,
)
from gexplain.training.sheets import Sheet, read_sheet
from gexplain.training.splits import (
    DEV,
    SPLIT_NAMES,
    TEST,
    TRAIN,
    Split,
    assign_chroms,
    cluster_windows,
    conflict_warnings,
    draw_parts,
    flatten_patterns,
    group_equal,
    leak_warnings,
    mostly_n_warnings,
    require_classes,
    require_groups,
)

# What generators are for: Split.rng(purpose, part).
_SPLITTING, _DRAWING, _TRYING = 0, 1, 2

FilePath: TypeAlias = str | os.PathLike[str]


# ---- CSV ----


def read_csv_data(
    train: FilePath,
    dev: FilePath | None = None,
    test: FilePath | None = None,
    *,
    split: Split | None = None,
    negatives: Negatives | None = None,
    genome: FilePath | None = None,
    labels: Sequence[str] = (),
) -> Dataset:
    """The dataset of `sequence,label` files, CSV or TSV, plain or gzip.

    Without a dev file, a share of train becomes dev, within each class and equal sequences together; so does test,
    where a share is asked for. genome: the FASTA that random-genome negatives come from, all of it but the excluded
    chromosomes, for train, dev and test alike: sequences of a CSV have no chromosome to split by. labels: those to
    train on, in logit order (a background is the first); all by default. A dev or test file that has a background of
    its own gets no negatives besides.

    Raises InputError for what a file lacks or should not have, UsageError for options that do not go together.
    """
    split, negatives = split or Split(), negatives or Negatives()
    _check_csv_options(split, negatives, genome, has_test=test is not None)
    paths = {TRAIN: train, DEV: dev, TEST: test}
    sheets = {part: read_sheet(path) for part, path in paths.items() if path is not None}
    found = set(sheets[TRAIN].labels)
    order = order_labels(found, sheets[TRAIN].name, with_negatives=bool(negatives.sources), keep=labels)
    examples = {part: _examples_of_sheet(sheet, order, found) for part, sheet in sheets.items()}
    n_rows = sum(len(sheet.sequences) for sheet in sheets.values())
    n_left_out = n_rows - sum(len(one) for one in examples.values())
    files = [_described_file(sheet.name, sheet.sha256, SPLIT_NAMES[part]) for part, sheet in sheets.items()]
    shares = (0.0 if dev is not None else split.dev_fraction, split.test_fraction)
    if any(shares):
        examples |= _split_examples(examples[TRAIN], order, shares, split)
    sources: tuple[NegativeSource, ...] = ()
    if genome is not None:
        with Genome(genome) as opened:
            chroms = assign_chroms(split, opened.chroms, ())
            sources = tuple(_csv_source(name, opened, _named(chroms, TRAIN)) for name in negatives.sources)
            files.append(_described_file(str(genome), opened.sha256(), "genome"))
    elif negatives.sources:
        sources = (DinucleotideShuffles(),)
    described = {
        "format": "csv",
        "files": files,
        "left_out": n_left_out,
        "window": max(map(len, examples[TRAIN].sequences), default=0),
        "split": _described_split(split, shares),
    }
    parts = _Parts(order, examples, dict.fromkeys(examples, sources), frozenset(sheets) - {TRAIN})
    return _assemble(parts, split, negatives, described, [])


def _check_csv_options(split: Split, negatives: Negatives, genome: FilePath | None, *, has_test: bool) -> None:
    if flatten_patterns((*split.dev_chroms, *split.test_chroms)):
        raise UsageError(
            "sequences of a CSV have no chromosomes to split by",
            hint="give dev and test as files or as fractions; or regions and a FASTA instead of the CSV",
        )
    if genome is None and flatten_patterns(split.exclude_chroms):
        raise UsageError(
            "sequences of a CSV have no chromosomes to exclude",
            hint=f"drop --exclude-chroms; it is for the FASTA of --negatives {RANDOM_GENOME}",
        )
    if has_test and split.test_fraction:
        raise UsageError("test is given as a file and as a fraction", hint="give one of the two")
    if negatives.beds:
        raise UsageError(
            f"negatives {negatives.beds[0]!r} with a CSV: expected {DINUC_SHUFFLE} or {RANDOM_GENOME}",
            hint="write the negatives into the CSV, with the label background; or give the positives as a BED too",
        )
    if (genome is not None) != (RANDOM_GENOME in negatives.sources):
        raise UsageError(
            f"negatives {RANDOM_GENOME} need the FASTA to draw from"
            if genome is None
            else f"{os.fspath(genome)} is not used: a CSV has the sequences, and no {RANDOM_GENOME} is asked for",
            hint=f"give both a FASTA and --negatives {RANDOM_GENOME}, or neither",
        )


def _examples_of_sheet(sheet: Sheet, order: Sequence[str], known: Collection[str]) -> Examples:
    """The sheet's sequences of the labels in use; InputError for a label that train does not know."""
    code = {label: index for index, label in enumerate(order)}
    for line, label in zip(sheet.lines, sheet.labels, strict=True):
        if label not in code and label not in known:
            raise InputError(
                f"line {line} of {sheet.name}: label {label!r} is not in train, which has {preview(order, 8)}",
                hint="write labels as train does",
            )
    rows = [row for row, label in enumerate(sheet.labels) if label in code]
    classes = np.array([code[sheet.labels[row]] for row in rows], dtype=np.int64)
    return Examples([sheet.sequences[row] for row in rows], classes)


def _split_examples(
    whole: Examples, order: Sequence[str], shares: Sequence[float], split: Split
) -> dict[int, Examples]:
    """Train and what is drawn from it, equal sequences together."""
    groups = group_equal(whole.sequences)
    parts = [TRAIN, *(part for part, share in enumerate(shares, DEV) if share)]
    require_groups(whole.classes, groups, order, len(parts), "distinct sequence")
    part_of = draw_parts(whole.classes, groups, shares, split.rng(_SPLITTING))
    rows_of = {part: np.flatnonzero(part_of == part) for part in parts}
    return {
        part: Examples([whole.sequences[row] for row in rows.tolist()], whole.classes[rows])
        for part, rows in rows_of.items()
    }


def _csv_source(name: str, genome: Genome, chroms: Sequence[str]) -> NegativeSource:
    return DinucleotideShuffles() if name == DINUC_SHUFFLE else RandomGenome(genome, chroms)


# ---- BED and FASTA ----


def read_bed_data(
    beds: FilePath | Mapping[str, FilePath],
    genome: FilePath,
    *,
    reading: RegionReading | None = None,
    split: Split | None = None,
    negatives: Negatives | None = None,
    labels: Sequence[str] = (),
) -> Dataset:
    """The dataset of windows around regions, on the forward strand.

    beds: one BED whose lines have labels, or one BED for each class. What the split's chromosomes leave open is
    drawn within each class, windows that overlap together. Negatives are split as the regions are: random-genome
    draws from the chromosomes of its split alone (from those of train, where a split is drawn), and from no place
    that a region of any split covers or its window does, those of a background aside. labels: as for `read_csv_data`.

    Raises InputError for what a file lacks or should not have, UsageError for options that do not go together.
    """
    reading, split, negatives = reading or RegionReading(), split or Split(), negatives or Negatives()
    by_class: dict[str | None, FilePath] = dict(beds.items()) if isinstance(beds, Mapping) else {None: beds}
    _check_bed_options(list(by_class.values()), negatives)
    warnings: list[str] = []
    with Genome(genome) as opened:
        cut = _cut_regions(by_class, opened, reading, split, negatives, labels, warnings)
        has_test = bool(flatten_patterns(split.test_chroms)) or split.test_fraction > 0
        in_use = (TRAIN, DEV, TEST) if has_test else (TRAIN, DEV)
        parts = _Parts(
            cut.order,
            {part: cut.examples(part) for part in in_use},
            {part: cut.sources(part) for part in in_use},
        )
        described = {
            "format": "bed",
            "files": [
                *(_described_file(bed.name, bed.sha256, role) for bed, role in cut.beds),
                _described_file(str(opened.path), opened.sha256(), "genome"),
            ],
            "label_column": None if isinstance(beds, Mapping) else reading.label_column,
            "left_out": cut.n_left_out,
            "window": reading.window,
            "jitter": reading.jitter,
            "split": _described_split(split, cut.shares),
        }
    return _assemble(parts, split, negatives, described, warnings)


def _check_bed_options(beds: Sequence[FilePath], negatives: Negatives) -> None:
    if [*beds, *negatives.beds].count("-") > 1:
        raise UsageError("two BEDs are standard input, which can be read once", hint="write one of them to a file")
    for source in negatives.beds:
        if source != "-" and not Path(source).exists():
            raise UsageError(
                f"unknown negatives {source!r}: expected {DINUC_SHUFFLE}, {RANDOM_GENOME} or a BED that exists",
                hint="check the name or path",
            )


@dataclass(frozen=True, slots=True, eq=False)
class _CutRegions:
    """Regions of all classes and pools of negatives in one table, with the part of each.

    strata: (n,), the class, or len(order) + k for the k-th pool. chroms: part of each chromosome. beds: with the
    role of each. avoid: by chromosome, the places of the positives, (n, 2).
    """

    genome: Genome
    reading: RegionReading
    order: tuple[str, ...]
    negatives: Negatives
    table: RegionTable
    strata: IntArray
    part_of: IntArray
    chroms: Mapping[str, int]
    shares: Sequence[float]
    beds: list[tuple[BedFile, str]]
    avoid: Mapping[str, IntArray]
    n_left_out: int

    def rows(self, part: int, stratum: int | None = None) -> IntArray:
        """The rows of a part: of one stratum, or of all classes."""
        chosen = self.strata < len(self.order) if stratum is None else self.strata == stratum
        return np.flatnonzero((self.part_of == part) & chosen)

    def margin(self, part: int) -> int:
        """Bases on each side of a part's windows: dev and test are read without jitter."""
        return self.reading.jitter if part == TRAIN else 0

    def windows(self, part: int, rows: IntArray) -> list[str]:
        """The windows of these rows, with the part's margins."""
        return fetch_windows(self.table.take(rows), self.genome, self.reading.window + 2 * self.margin(part))

    def examples(self, part: int) -> Examples:
        """The labelled windows of a part."""
        rows = self.rows(part)
        return Examples(self.windows(part, rows), self.strata[rows], self.margin(part))

    def sources(self, part: int) -> tuple[NegativeSource, ...]:
        """The sources of negatives, of this part's chromosomes and regions alone."""
        return tuple(self._source(name, part) for name in self.negatives.sources)

    def _source(self, name: str, part: int) -> NegativeSource:
        if name == DINUC_SHUFFLE:
            return DinucleotideShuffles()
        if name == RANDOM_GENOME:
            own = _named(self.chroms, part) or _named(self.chroms, TRAIN)
            return RandomGenome(self.genome, own, self.avoid)
        rows = self.rows(part, len(self.order) + self.negatives.beds.index(name))
        if not len(rows):
            raise InputError(
                f"negatives {name}: no region is on the chromosomes of {SPLIT_NAMES[part]}",
                hint="choose other chromosomes for the split, or other negatives",
            )
        return BedWindows(Path(name).name, self.windows(part, rows), self.margin(part))


def _cut_regions(
    by_class: Mapping[str | None, FilePath],
    genome: Genome,
    reading: RegionReading,
    split: Split,
    negatives: Negatives,
    labels: Sequence[str],
    warnings: list[str],
) -> _CutRegions:
    excluded = flatten_patterns(split.exclude_chroms)
    columns = {label: reading.label_column if label is None else None for label in by_class}
    tables = [
        read_regions(bed, genome, reading, excluded, label_column=columns[label], warnings=warnings)
        for label, bed in by_class.items()
    ]
    pools = [
        read_regions(bed, genome, reading, excluded, label_column=None, warnings=warnings) for bed in negatives.beds
    ]
    table = join_tables([*tables, *pools])
    names = table.labels.copy()
    for label, one in zip(by_class, range(len(tables)), strict=True):
        if label is not None:
            names[table.bed == one] = label
    is_pool = table.bed >= len(tables)
    source = tables[0].beds[0].name if None in by_class else "--class"
    order = order_labels(set(names[~is_pool]), source, with_negatives=bool(pools or negatives.sources), keep=labels)

    code = {label: index for index, label in enumerate(order)}
    strata = np.array([code.get(name, -1) for name in names.tolist()], dtype=np.int64)
    strata[is_pool] = len(order) + table.bed[is_pool] - len(tables)
    kept = np.flatnonzero(strata >= 0)
    n_left_out = sum(bed.n_regions for bed in table.beds) - len(kept)
    table, strata = table.take(kept), strata[kept]

    bed_chroms = frozenset().union(*(bed.chroms for bed in table.beds))
    chroms = assign_chroms(split, genome.chroms, bed_chroms)
    part_of = np.array([chroms[chrom] for chrom in genome.chroms], dtype=np.int64)[table.chrom]
    shares = (0.0 if flatten_patterns(split.dev_chroms) else split.dev_fraction, split.test_fraction)
    n_parts = 1 + sum(share > 0 for share in shares)
    open_rows = np.flatnonzero(part_of == TRAIN)
    if n_parts > 1:
        clusters = cluster_windows(table.chrom, window_starts(table, genome, reading.wide), reading.wide)[open_rows]
        strata_names = (*order, *(Path(bed).name for bed in negatives.beds))
        require_groups(strata[open_rows], clusters, strata_names, n_parts, "region apart from the others")
        part_of[open_rows] = draw_parts(strata[open_rows], clusters, shares, split.rng(_SPLITTING))

    roles = [*(label or "labels" for label in by_class), *("negatives" for _ in pools)]
    positives = table.take(np.flatnonzero((strata > 0) & (strata < len(order))))
    avoid = _places(positives, genome, reading)
    warnings += _overlap_warnings(table.take(np.flatnonzero(strata >= len(order))), avoid, genome, reading)
    n_off = count_moved_off(table.take(np.flatnonzero(part_of == TRAIN)), genome, reading)
    if n_off:
        warnings.append(
            f"{count(n_off, 'region')} of train so close to a chromosome's end that jitter may move windows off them"
        )
    return _CutRegions(
        genome, reading, order, negatives, table, strata, part_of, chroms, shares,
        list(zip(table.beds, roles, strict=True)), avoid, n_left_out,
    )  # fmt: skip


def _places(table: RegionTable, genome: Genome, reading: RegionReading) -> dict[str, IntArray]:
    """By chromosome, what each region and its window cover together, (n, 2)."""
    starts = window_starts(table, genome, reading.window)
    places = np.stack([np.minimum(starts, table.start), np.maximum(starts + reading.window, table.end)], axis=1)
    names = list(genome.chroms)
    return {names[chrom]: places[table.chrom == chrom] for chrom in np.unique(table.chrom).tolist()}


def _overlap_warnings(
    pools: RegionTable, avoid: Mapping[str, IntArray], genome: Genome, reading: RegionReading
) -> list[str]:
    """A warning where windows of negatives overlap the place of a positive."""
    starts = window_starts(pools, genome, reading.window)
    n_over = 0
    for code, chrom in enumerate(genome.chroms):
        if chrom in avoid:
            here = starts[pools.chrom == code]
            n_over += int(overlap_any(here, here + reading.window, merge_intervals(avoid[chrom])).sum())
    if not n_over:
        return []
    return [f"{n_over:,} of {count(len(pools), 'negative region')} overlap a region of another class, or its window"]


# ---- What both become ----


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """Labelled examples and sources of negatives, by part; every part has both. files: those that are files."""

    order: tuple[str, ...]
    examples: dict[int, Examples]
    sources: dict[int, tuple[NegativeSource, ...]]
    files: frozenset[int] = frozenset()


def _assemble(
    parts: _Parts, split: Split, negatives: Negatives, described: Mapping[str, object], warnings: list[str]
) -> Dataset:
    """The dataset, checked, with the negatives of dev and test drawn."""
    labelled = {SPLIT_NAMES[part]: one for part, one in parts.examples.items()}
    warnings += require_classes(
        {name: one.classes for name, one in labelled.items()},
        parts.order,
        background_is_drawn=bool(negatives.sources),
    )
    windows = {name: one.windows() for name, one in labelled.items()}
    warnings += leak_warnings(windows)
    warnings += conflict_warnings(windows["train"], labelled["train"].classes)
    warnings += mostly_n_warnings([one for each in windows.values() for one in each])
    if negatives.sources and parts.order[0] == "0":
        warnings.append("the negatives join class 0: it is taken to be the background")

    n_of = {part: negatives.n_for(int((one.classes > 0).sum())) for part, one in parts.examples.items()}
    filled = dict(parts.examples)
    for part, sources in parts.sources.items():
        if not sources:
            continue
        name = SPLIT_NAMES[part]
        positives = [windows[name][row] for row in np.flatnonzero(labelled[name].classes > 0).tolist()]
        # Whether there is room for random windows shows at the first draw, and not in the middle of a training.
        widest = [max(positives, key=len)]
        for source in sources:
            source.draw(1, split.rng(_TRYING, part), widest)
        has_its_own = part in parts.files and bool((labelled[name].classes == 0).any())
        if part == TRAIN or has_its_own:
            continue
        drawn = draw_evenly(sources, n_of[part], split.rng(_DRAWING, part), positives)
        one = parts.examples[part]
        classes = np.concatenate([one.classes, np.zeros(len(drawn), dtype=np.int64)])
        filled[part] = Examples(one.sequences + drawn, classes)
        share = -(-n_of[part] // len(sources))
        warnings += [
            f"{name} has {share:,} negatives of {source.name}, which has {len(source):,} there: some are there twice"
            for source in sources
            if isinstance(source, BedWindows) and len(source) < share
        ]
    window = described["window"]
    assert isinstance(window, int)
    return Dataset(
        labels=parts.order,
        train=filled[TRAIN],
        dev=filled[DEV],
        test=filled.get(TEST),
        negatives=parts.sources[TRAIN],
        n_negatives=n_of[TRAIN],
        window=window,
        described={
            **described,
            "labels": list(parts.order),
            "counts": {SPLIT_NAMES[part]: _counts(one, parts.order) for part, one in filled.items()},
            "negatives": {
                "sources": [source.name for source in parts.sources[TRAIN]],
                "per_positive": negatives.per_positive,
                "per_epoch": n_of[TRAIN],
            }
            if negatives.sources
            else None,
        },
        warnings=warnings,
    )


def _counts(examples: Examples, order: Sequence[str]) -> dict[str, int]:
    counts = np.bincount(examples.classes, minlength=len(order)).tolist()
    return dict(zip(order, counts, strict=True))


def _named(chroms: Mapping[str, int], part: int) -> list[str]:
    """The chromosomes of a part, in the FASTA's order."""
    return [chrom for chrom, assigned in chroms.items() if assigned == part]


def _described_file(name: str, sha256: str, role: str) -> dict[str, str]:
    return {"file": Path(name).name, "sha256": sha256, "role": role}


def _described_split(split: Split, shares: Sequence[float]) -> dict[str, object]:
    return {
        "dev_chroms": flatten_patterns(split.dev_chroms),
        "test_chroms": flatten_patterns(split.test_chroms),
        "exclude_chroms": flatten_patterns(split.exclude_chroms),
        "dev_fraction": shares[0],
        "test_fraction": shares[1],
        "seed": split.seed,
    }
