"""Splits: shares, groups that stay together, classes that are everywhere; and the order of labels."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from gexplain.errors import InputError, UsageError
from gexplain.genome.sequence import reverse_complement
from gexplain.training.examples import Examples
from gexplain.training.labels import order_labels
from gexplain.training.splits import (
    DEV,
    EXCLUDED,
    TEST,
    TRAIN,
    Split,
    assign_chroms,
    cluster_windows,
    conflict_warnings,
    draw_parts,
    group_equal,
    leak_warnings,
    mostly_n_warnings,
    require_classes,
)

CHROMS = {"chr1": 9, "chr2": 9, "chr10": 9, "chrX": 9, "HLA*01": 9}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# ---- Examples ----


def test_windows_are_the_middle_of_what_has_a_margin():
    examples = Examples(["aaACGTcc".upper(), "ggTTTTaa".upper()], np.array([0, 1]), margin=2)
    assert examples.windows() == ["ACGT", "TTTT"]
    assert examples.windows([1]) == ["TTTT"]
    assert Examples(["ACGT"], np.array([0])).windows() == ["ACGT"]


def test_sequences_and_classes_are_as_many():
    with pytest.raises(ValueError, match="1 sequences and 2 classes"):
        Examples(["ACGT"], np.array([0, 1]))


# ---- Draws ----


def test_shares_are_those_asked_for_within_each_class():
    strata = np.repeat([0, 1, 2], [1000, 100, 10])
    parts = draw_parts(strata, np.arange(1110), (0.1, 0.2), rng())
    counts = Counter(zip(strata.tolist(), parts.tolist(), strict=True))
    assert counts == {
        (0, 0): 700, (0, 1): 100, (0, 2): 200,
        (1, 0): 70, (1, 1): 10, (1, 2): 20,
        (2, 0): 7, (2, 1): 1, (2, 2): 2,
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(30))
def test_groups_stay_together_and_every_part_has_every_class(seed):
    draws = rng(seed)
    groups = draws.integers(0, 15, 80)
    groups[:15] = np.arange(15)
    strata = groups % 3
    shares = [(0.1, 0.0), (0.3, 0.3), (0.01, 0.01), (0.0, 0.5), (0.6, 0.3)][seed % 5]
    parts = draw_parts(strata, groups, shares, draws)
    assert all(len(set(parts[groups == group].tolist())) == 1 for group in range(15))
    expected = {0, *(part for part, share in enumerate(shares, 1) if share)}
    for stratum in range(3):
        assert set(parts[strata == stratum].tolist()) == expected


def test_a_group_too_large_for_its_share_is_passed_over():
    groups = np.array([0] * 90 + [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    for seed in range(20):
        parts = draw_parts(np.zeros(100, dtype=int), groups, (0.05,), rng(seed))
        assert (parts == 1).sum() == 5
        assert (parts[:90] == 0).all()


def test_a_split_of_large_groups_alone_takes_the_smallest():
    groups = np.array([0] * 6 + [1] * 4)
    assert draw_parts(np.zeros(10, dtype=int), groups, (0.1,), rng()).tolist() == [0] * 6 + [1] * 4


def test_too_few_groups_is_an_error_of_the_caller():
    with pytest.raises(ValueError, match="1 groups in stratum 0, for 2 parts"):
        draw_parts(np.array([0, 0]), np.array([5, 5]), (0.5,), rng())


@pytest.mark.parametrize("seed", range(20))
def test_clusters_are_the_chains_of_overlaps(seed):
    draws = rng(seed)
    chrom, start = draws.integers(0, 2, 25), draws.integers(0, 150, 25)
    clusters = cluster_windows(chrom, start, 7)
    # The slow way: join all that overlap, again and again.
    joined = np.arange(25)
    for _ in range(25):
        for i in range(25):
            for j in range(25):
                if chrom[i] == chrom[j] and abs(start[i] - start[j]) < 7:
                    joined[i] = joined[j] = min(joined[i], joined[j])
    same = clusters[:, None] == clusters
    assert (same == (joined[:, None] == joined)).all()


def test_equal_sequences_are_one_group_on_either_strand():
    one, other = "ACGGT", "TTTTA"
    groups = group_equal([one, other, reverse_complement(one), one])
    assert groups.tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dev_fraction": 0}, "leave something"),
        ({"dev_fraction": 1}, "leave something"),
        ({"dev_fraction": 0.5, "test_fraction": 0.5}, "leave something"),
        ({"test_fraction": -0.1}, "leave something"),
        ({"test_fraction": 0.1, "test_chroms": ("chr1",)}, "as chromosomes and as a fraction"),
        ({"seed": -1}, "--seed -1"),
    ],
)
def test_splits_that_make_no_sense_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        Split(**options)


# ---- Chromosomes ----


def test_chromosomes_by_name_and_glob():
    split = Split(dev_chroms=("chr2",), test_chroms=("chr1, chr10",), exclude_chroms=("H*", "chrUn_*"))
    assert assign_chroms(split, CHROMS, ["chr1", "chrUn_7"]) == {
        "chr1": TEST, "chr2": DEV, "chr10": TEST, "chrX": TRAIN, "HLA*01": EXCLUDED
    }  # fmt: skip


def test_a_chromosome_in_two_splits_is_refused():
    with pytest.raises(InputError, match="chr10 is in --dev-chroms and in --test-chroms"):
        assign_chroms(Split(dev_chroms=("chr10",), test_chroms=("chr1*",)), CHROMS, [])
    with pytest.raises(InputError, match="chrX is in --test-chroms and in --exclude-chroms"):
        assign_chroms(Split(test_chroms=("chrX",), exclude_chroms=("chrX",)), CHROMS, [])


@pytest.mark.parametrize("option", ["dev", "test", "exclude"])
def test_a_pattern_that_matches_nothing_is_refused_by_its_option(option):
    with pytest.raises(InputError, match=f"^--{option}-chroms 'chr22' matches no chromosome; the FASTA has chr1"):
        assign_chroms(Split(**{f"{option}_chroms": ("chr22",)}), CHROMS, ["chr1"])


# ---- What a split must have ----


def test_a_class_missing_from_train_or_dev_is_refused_and_from_test_noted():
    whole, part = np.array([0, 1, 2, 2]), np.array([0, 2])
    labels = ("none", "Reb1", "Rap1")
    with pytest.raises(InputError, match=r"class 'Reb1' has no example in dev \(1 in all\)"):
        require_classes({"train": whole, "dev": part}, labels, background_is_drawn=False)
    with pytest.raises(InputError, match=r"class 'Reb1' has no example in train"):
        require_classes({"train": part, "dev": whole}, labels, background_is_drawn=False)
    sizes = {"train": whole, "dev": whole, "test": part}
    assert require_classes(sizes, labels, background_is_drawn=False) == [
        "test has no example of Reb1: its figures say nothing of them"
    ]
    with pytest.raises(InputError, match=r"no example in test .*nor have Rap1"):
        require_classes({**sizes, "test": np.array([0])}, labels, background_is_drawn=False)


def test_a_background_that_is_drawn_needs_no_example():
    bound = np.array([1, 2])
    labels = ("background", "Reb1", "Rap1")
    assert require_classes({"train": bound, "dev": bound}, labels, background_is_drawn=True) == []
    with pytest.raises(InputError, match="class 'background' has no example in train"):
        require_classes({"train": bound, "dev": bound}, labels, background_is_drawn=False)


def test_leaks_are_counted_on_either_strand():
    train = ["ACGGTACGGT", "TTTTTTTTTA"]
    dev = ["ACGGTACGGT", reverse_complement("TTTTTTTTTA"), "CCCCCCCCCC"]
    (warning,) = leak_warnings({"train": train, "dev": dev, "test": ["GGGGGGGGGA"]})
    assert warning.startswith("2 of 3 sequences of dev are in train too")


def test_conflicting_labels_are_counted_once_a_sequence():
    sequences = ["AAA", "CCC", "AAA", "AAA", "GGG", "GGG"]
    (warning,) = conflict_warnings(sequences, np.array([0, 0, 1, 2, 1, 1]))
    assert warning.startswith("1 sequence of train with more than one label")
    assert conflict_warnings(["AAA", "AAA"], np.array([1, 1])) == []


def test_sequences_of_more_than_half_n_are_counted():
    assert mostly_n_warnings(["NNAA", "NNNA", "ACGT"]) == ["1 sequence of 3 more than half N"]
    assert mostly_n_warnings(["NNAA"]) == []


# ---- Labels ----


@pytest.mark.parametrize(
    ("found", "with_negatives", "expected"),
    [
        ("0 1", False, "0 1"),
        ("10 2 1 0 3 4 5 6 7 8 9", False, "0 1 2 3 4 5 6 7 8 9 10"),
        ("0 1", True, "0 1"),
        ("1 2", True, "background 1 2"),
        ("Reb1 Abf1", False, "Abf1 Reb1"),
        ("Reb1 Abf1", True, "background Abf1 Reb1"),
        ("Abf1", True, "background Abf1"),
        ("Abf1 background", False, "background Abf1"),
        ("Abf1 Unbound", False, "Unbound Abf1"),
        ("A Negative z", True, "Negative A z"),
        ("unbound background x", True, "background unbound x"),
    ],
)
def test_the_order_of_labels(found, with_negatives, expected):
    assert order_labels(set(found.split()), "x.csv", with_negatives=with_negatives) == tuple(expected.split())


@pytest.mark.parametrize(
    ("keep", "with_negatives", "expected"),
    [
        ("Reb1 Abf1", False, "Reb1 Abf1"),
        ("Reb1 Abf1", True, "background Reb1 Abf1"),
        ("Reb1 none", False, "Reb1 none"),
        ("Reb1", True, "background Reb1"),
    ],
)
def test_kept_labels_are_in_the_order_given(keep, with_negatives, expected):
    found = {"none", "Reb1", "Abf1", "Rap1"}
    assert order_labels(found, "x.csv", with_negatives=with_negatives, keep=keep.split()) == tuple(expected.split())


def test_kept_integers_may_skip_some():
    assert order_labels({"0", "1", "2"}, "x.csv", with_negatives=False, keep=["2", "0"]) == ("2", "0")


@pytest.mark.parametrize("found", ["0 2", "1 2", "-1 1", "0.0 1.0", "0 01", "+0 1"])
def test_integers_that_are_no_numbers_of_logits_are_refused(found):
    with pytest.raises(InputError, match=r"x\.csv has the labels .*; expected whole numbers from 0 on"):
        order_labels(set(found.split()), "x.csv", with_negatives=False)


@pytest.mark.parametrize(("found", "with_negatives"), [("1 3", True), ("2 3", True)])
def test_with_negatives_integers_begin_at_zero_or_one(found, with_negatives):
    with pytest.raises(InputError, match="expected whole numbers from 1 on"):
        order_labels(set(found.split()), "x.csv", with_negatives=with_negatives)


@pytest.mark.parametrize(
    ("found", "with_negatives", "keep"),
    [("0", False, ()), ("Reb1", False, ()), ("background", True, ()), ("0", True, ()), ("a b", False, ("a",))],
)
def test_one_class_only_is_refused(found, with_negatives, keep):
    with pytest.raises(InputError, match=f"{'--labels leaves' if keep else 'x.csv has'} one class only"):
        order_labels(set(found.split()), "x.csv", with_negatives=with_negatives, keep=keep)


def test_a_label_that_is_not_there_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"no label 'reb1'; it has Abf1, Reb1") as caught:
        order_labels({"Reb1", "Abf1"}, "x.csv", with_negatives=False, keep=["Abf1", "reb1"])
    assert caught.value.hint == "did you mean Reb1?"
    with pytest.raises(InputError, match="no label 'REB1'") as caught:
        order_labels({"Reb1", "Abf1"}, "x.csv", with_negatives=False, keep=["Abf1", "REB1"])
    assert caught.value.hint == "did you mean Reb1?"
    with pytest.raises(UsageError, match="names 'Abf1' twice"):
        order_labels({"Reb1", "Abf1"}, "x.csv", with_negatives=False, keep=["Abf1", "Abf1"])
