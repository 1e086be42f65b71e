"""Splits: which examples are trained on, and which are kept to look at the model with."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from gexplain.arrays import IntArray
from gexplain.errors import InputError, UsageError, count, preview
from gexplain.genome.chromosomes import select_chroms
from gexplain.genome.sequence import reverse_complement

TRAIN, DEV, TEST, EXCLUDED = 0, 1, 2, 3
SPLIT_NAMES = ("train", "dev", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """How examples are split. dev_chroms, test_chroms: names or globs, the chromosomes of dev and of test.

    exclude_chroms: used for nothing. dev_fraction, test_fraction: of the examples, drawn by the seed within each
    class, where neither files nor chromosomes say what dev and test are; without all three there is no test.
    """

    dev_chroms: tuple[str, ...] = ()
    test_chroms: tuple[str, ...] = ()
    exclude_chroms: tuple[str, ...] = ()
    dev_fraction: float = 0.1
    test_fraction: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.dev_fraction < 1 or not 0 <= self.test_fraction < 1 - self.dev_fraction:
            raise UsageError(
                f"--dev-fraction {self.dev_fraction} and --test-fraction {self.test_fraction}: expected shares that"
                " leave something to train on, and some to dev",
                hint="--dev-fraction 0.1 --test-fraction 0.1",
            )
        if self.test_chroms and self.test_fraction:
            raise UsageError(
                "test is given as chromosomes and as a fraction", hint="give --test-chroms or --test-fraction"
            )
        if self.seed < 0:
            raise UsageError(f"--seed {self.seed}; expected 0 or more", hint="0")

    def rng(self, *purpose: int) -> np.random.Generator:
        """A generator of its own for every purpose, so that one draw does not change another."""
        return np.random.default_rng([self.seed, *purpose])


# ---- By chromosome ----


def assign_chroms(split: Split, fasta_chroms: Mapping[str, int], bed_chroms: Collection[str]) -> dict[str, int]:
    """The part (TRAIN, DEV, TEST or EXCLUDED) of each chromosome of the FASTA.

    bed_chroms: names that exclude_chroms may also match. InputError for a pattern that matches nothing, and for a
    chromosome that two of the options name.
    """
    parts = dict.fromkeys(fasta_chroms, TRAIN)
    named: dict[str, str] = {}
    for option, part, patterns in (
        ("--dev-chroms", DEV, split.dev_chroms),
        ("--test-chroms", TEST, split.test_chroms),
        ("--exclude-chroms", EXCLUDED, split.exclude_chroms),
    ):
        for pattern in flatten_patterns(patterns):
            if part == EXCLUDED and not _fasta_matches(pattern, fasta_chroms) and matches_any(bed_chroms, (pattern,)):
                continue
            for chrom in _select(pattern, fasta_chroms, option):
                if named.setdefault(chrom, option) != option:
                    raise InputError(
                        f"chromosome {chrom} is in {named[chrom]} and in {option}; it can be in one of them",
                        hint=f"leave {chrom} out of one of the two",
                    )
                parts[chrom] = part
    return parts


def flatten_patterns(patterns: Sequence[str]) -> list[str]:
    """The names and globs of texts that may each hold several with commas between them."""
    return [part.strip() for text in patterns for part in text.split(",") if part.strip()]


def matches_any(names: Collection[str], patterns: Sequence[str]) -> bool:
    """Whether any name is one of these names or globs."""
    return any(name == pattern or fnmatchcase(name, pattern) for name in names for pattern in patterns)


def _fasta_matches(pattern: str, fasta_chroms: Collection[str]) -> bool:
    return matches_any(fasta_chroms, (pattern,))


def _select(pattern: str, fasta_chroms: Collection[str], option: str) -> list[str]:
    try:
        return select_chroms((pattern,), fasta_chroms)
    except InputError as error:
        raise InputError(error.message.replace("--chroms", option, 1), hint=error.hint) from None


# ---- By draw ----


def draw_parts(strata: IntArray, groups: IntArray, shares: Sequence[float], rng: np.random.Generator) -> IntArray:
    """The part of each of n examples, (n,): 0, or k for the k-th share, drawn within each stratum.

    strata, groups: (n,). A group stays together, and counts to the stratum of its first example. A share that is not
    0 gets the whole groups that fit into it, at least one; one is always left for part 0. ValueError where a
    stratum has too few groups for that.
    """
    group_ids, first, inverse, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    part_of_group = np.zeros(len(group_ids), dtype=np.int64)
    stratum_of_group = strata[first]
    wanted = [(part, share) for part, share in enumerate(shares, 1) if share > 0]
    for stratum in np.unique(stratum_of_group):
        pool = rng.permutation(np.flatnonzero(stratum_of_group == stratum)).tolist()
        n_examples = int(sizes[pool].sum())
        if len(pool) < 1 + len(wanted):
            raise ValueError(f"{len(pool)} groups in stratum {stratum}, for {1 + len(wanted)} parts")
        for n_before, (part, share) in enumerate(wanted):
            most = len(pool) - (len(wanted) - n_before)
            taken = _take_groups(pool, sizes, max(1, round(share * n_examples)), most)
            part_of_group[taken] = part
            left = set(taken)
            pool = [group for group in pool if group not in left]
    parts: IntArray = part_of_group[inverse.reshape(-1)]
    return parts


def _take_groups(pool: Sequence[int], sizes: IntArray, quota: int, most: int) -> list[int]:
    """Groups from the front of the pool that fit into the quota, passing over those that do not; at least one."""
    taken: list[int] = []
    n_taken = 0
    for group in pool:
        if len(taken) == most or n_taken == quota:
            break
        size = int(sizes[group])
        if n_taken + size <= quota:
            taken.append(group)
            n_taken += size
    return taken or [min(pool, key=lambda group: int(sizes[group]))]


def require_groups(strata: IntArray, groups: IntArray, names: Sequence[str], n_parts: int, what: str) -> None:
    """InputError where a stratum has fewer groups than parts. what: words for a group, "distinct sequence"."""
    first = np.unique(groups, return_index=True)[1]
    n_groups = np.bincount(strata[first], minlength=len(names))
    small = [index for index in np.unique(strata).tolist() if n_groups[index] < n_parts]
    if not small:
        return
    index = small[0]
    others = f" ({len(small):,} classes have as few)" if len(small) > 1 else ""
    raise InputError(
        f"class {names[index]!r} has {count(int(n_groups[index]), what)}; {n_parts} are needed to split them into"
        f" {' and '.join(SPLIT_NAMES[:n_parts]) if n_parts == 2 else 'train, dev and test'}{others}",
        hint="leave such classes out with --labels, or split by chromosome or file; are these labels, and not the"
        " names of single examples?"
        if len(small) > 1
        else "give more examples of it, leave it out with --labels, or split by chromosome or file",
    )


def cluster_windows(chrom: IntArray, start: IntArray, width: int) -> IntArray:
    """A number for each of n windows of one width, (n,): equal where a chain of overlaps joins them."""
    order = np.lexsort((start, chrom))
    is_new = np.ones(len(order), dtype=bool)
    is_new[1:] = (np.diff(chrom[order]) != 0) | (np.diff(start[order]) >= width)
    clusters = np.empty(len(order), dtype=np.int64)
    clusters[order] = np.cumsum(is_new)
    return clusters


def either_strand(sequence: str) -> str:
    """The same text for a sequence and its reverse complement."""
    return min(sequence, reverse_complement(sequence))


def group_equal(sequences: Sequence[str]) -> IntArray:
    """A number for each sequence, (n,): equal for those that are equal, on either strand."""
    numbers: dict[str, int] = {}
    grouped = [numbers.setdefault(either_strand(sequence), len(numbers)) for sequence in sequences]
    return np.array(grouped, dtype=np.int64)


# ---- What a split must have ----


def require_classes(parts: Mapping[str, IntArray], labels: Sequence[str], *, background_is_drawn: bool) -> list[str]:
    """Warnings for classes that test lacks; InputError for one without an example in train or dev, or an empty test.

    parts: the classes of the examples of each split, by its name; test is empty without any class but the first.
    background_is_drawn: class 0 needs no example in a file.
    """
    warnings = []
    for name, classes in parts.items():
        present = np.bincount(classes, minlength=len(labels))
        absent = [label for k, label in enumerate(labels) if not present[k] and not (background_is_drawn and k == 0)]
        if absent and (name != "test" or not (classes > 0).any()):
            n_all = sum(int((other == labels.index(absent[0])).sum()) for other in parts.values())
            others = f"; nor have {preview(absent[1:], 8)}" if len(absent) > 1 else ""
            raise InputError(
                f"class {absent[0]!r} has no example in {name} ({n_all:,} in all){others}",
                hint="choose other chromosomes or files for the split, or leave the class out with --labels",
            )
        if absent:
            warnings.append(f"test has no example of {preview(absent, 8)}: its figures say nothing of them")
    return warnings


def leak_warnings(parts: Mapping[str, Sequence[str]]) -> list[str]:
    """Warnings for sequences of dev or test that train has too, on either strand.

    parts: the sequences of each split, by its name.
    """
    trained = {either_strand(sequence) for sequence in parts["train"]}
    warnings = []
    for name, sequences in parts.items():
        n_leaked = 0 if name == "train" else sum(either_strand(sequence) in trained for sequence in sequences)
        if n_leaked:
            warnings.append(
                f"{n_leaked:,} of {count(len(sequences), 'sequence')} of {name} are in train too (on either strand):"
                f" the figures on {name} flatter the model"
            )
    return warnings


def conflict_warnings(sequences: Sequence[str], classes: IntArray) -> list[str]:
    """A warning where the same training sequence has several classes."""
    seen: dict[str, int] = {}
    conflicting: set[str] = set()
    for sequence, label in zip(sequences, classes.tolist(), strict=True):
        if seen.setdefault(sequence, label) != label:
            conflicting.add(sequence)
    if not conflicting:
        return []
    return [f"{count(len(conflicting), 'sequence')} of train with more than one label: no model can learn both"]


def mostly_n_warnings(sequences: Sequence[str]) -> list[str]:
    """A warning where sequences are more than half N."""
    n_mostly = sum(2 * sequence.count("N") > len(sequence) for sequence in sequences)
    if not n_mostly:
        return []
    return [f"{count(n_mostly, 'sequence')} of {len(sequences):,} more than half N"]
