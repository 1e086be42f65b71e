"""Dinucleotide shuffles keep what they promise to keep, and every walk is as likely."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise, permutations

import numpy as np
import pytest

from gexplain.genome.shuffle import dinucleotide_shuffle


def dinucleotides(word: str) -> Counter[tuple[str, str]]:
    return Counter(pairwise(word))


def random_words(rng: np.random.Generator, letters: str, widths: list[int]) -> list[str]:
    return ["".join(rng.choice(list(letters), width)) for width in widths]


@pytest.mark.parametrize("letters", ["ACGT", "AC", "A", "ACGTN", "ACGTRYSWKMBDHVN"])
def test_dinucleotide_counts_and_both_ends_are_kept(letters):
    words = random_words(np.random.default_rng(1), letters, [3, 4, 5, 8, 20, 20, 101, 101, 333])
    shuffled = dinucleotide_shuffle(words, np.random.default_rng(2))
    assert [dinucleotides(word) for word in shuffled] == [dinucleotides(word) for word in words]
    assert [(word[0], word[-1]) for word in shuffled] == [(word[0], word[-1]) for word in words]


@pytest.mark.parametrize("word", ["ACAGACA", "AACCAAC", "ACGTCATGA", "GATCACAG", "NNANNCNA"])
def test_every_word_with_these_dinucleotides_is_as_likely(word):
    # The slow way: all orders of the inner letters, those kept that have the same dinucleotides.
    inner = {"".join(order) for order in permutations(word[1:-1])}
    possible = sorted(
        candidate
        for letters in inner
        if dinucleotides(candidate := word[0] + letters + word[-1]) == dinucleotides(word)
    )
    n = 4000 * len(possible)
    seen = Counter(dinucleotide_shuffle([word] * n, np.random.default_rng(3)))
    assert sorted(seen) == possible
    assert len(possible) > 1
    freedom = len(possible) - 1
    chi_square = sum((seen[one] - 4000) ** 2 / 4000 for one in possible)
    assert chi_square < freedom + 5 * np.sqrt(2 * freedom)


def test_long_sequences_do_change():
    words = random_words(np.random.default_rng(4), "ACGT", [101] * 50)
    shuffled = dinucleotide_shuffle(words, np.random.default_rng(5))
    agreement = np.mean([[a == b for a, b in zip(x, y, strict=True)] for x, y in zip(words, shuffled, strict=True)])
    assert 0.2 < agreement < 0.35


@pytest.mark.parametrize("words", [[], [""], ["A"], ["AC"], ["", "GT", "T"]])
def test_what_cannot_be_shuffled_stays(words):
    assert dinucleotide_shuffle(words, np.random.default_rng(0)) == words


def test_the_order_of_sequences_of_mixed_widths_is_kept():
    words = ["AAAA", "CC", "GGGGGG", "TTTT", "C"]
    assert dinucleotide_shuffle(words, np.random.default_rng(0)) == words


def test_equal_seeds_give_equal_shuffles():
    words = random_words(np.random.default_rng(6), "ACGT", [60, 60, 30])
    first, again, other = (dinucleotide_shuffle(words, np.random.default_rng(seed)) for seed in (7, 7, 8))
    assert first == again != other
