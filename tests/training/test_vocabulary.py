"""Vocabulary: a tokenizer of DNABERT-2's kind from sequences."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest

from gexplain.errors import InputError
from gexplain.genome.sequence import reverse_complement
from gexplain.tokens import Tokenizer
from gexplain.training.vocabulary import SPECIALS, train_tokenizer


def random_sequences(n: int, width: int = 200, seed: int = 0) -> list[str]:
    letters = np.array(list("ACGT"))
    return ["".join(row) for row in np.random.default_rng(seed).choice(letters, (n, width))]


def test_the_file_has_the_layout_of_dnabert2(tmp_path):
    path = train_tokenizer(random_sequences(50), tmp_path / "tokenizer.json", n_tokens=64)
    vocabulary = json.loads(path.read_text())["model"]["vocab"]
    by_id = sorted(vocabulary, key=vocabulary.get)
    assert by_id[:9] == [*SPECIALS, *"ACGT"]
    assert len(by_id) == 64
    assert all(set(token) <= set("ACGT") for token in by_id[5:])


def test_it_keeps_the_law_of_spans_and_knows_no_n(tmp_path):
    tokenizer = Tokenizer.from_file(train_tokenizer(random_sequences(50), tmp_path / "tokenizer.json", n_tokens=64))
    (tokens,) = tokenizer.encode(["ACGTNNACGTTTGA"])
    assert "".join("ACGTNNACGTTTGA"[a:b] for a, b in tokens.spans) == "ACGTNNACGTTTGA"
    assert (tokens.ids == tokenizer.unk_id).sum() == 2


def first_merge(sequences: list[str]) -> str:
    """By the definition of BPE: the most frequent pair of neighbours, over both strands."""
    counts: dict[str, int] = {}
    for sequence in [*sequences, *map(reverse_complement, sequences)]:
        for pair in map("".join, pairwise(sequence)):
            counts[pair] = counts.get(pair, 0) + 1
    return max(counts, key=counts.__getitem__)


def test_the_first_merge_is_the_most_frequent_pair_of_both_strands(tmp_path):
    sequences = [one + "GCGCGCGC" for one in random_sequences(20, 40)]
    path = train_tokenizer(sequences, tmp_path / "tokenizer.json", n_tokens=10)
    (merge,) = json.loads(path.read_text())["model"]["merges"]
    assert "".join(merge) == first_merge(sequences) == "GC"


def test_no_token_is_wider_than_asked(tmp_path):
    path = train_tokenizer(["ACGT" * 50] * 5, tmp_path / "tokenizer.json", n_tokens=200, max_width=6)
    tokens = set(json.loads(path.read_text())["model"]["vocab"]) - set(SPECIALS)
    assert max(map(len, tokens)) <= 6


def test_both_strands_give_the_same_vocabulary(tmp_path):
    sequences = random_sequences(100)
    one = train_tokenizer(sequences, tmp_path / "one.json", n_tokens=64)
    other = train_tokenizer(map(reverse_complement, sequences), tmp_path / "other.json", n_tokens=64)
    assert one.read_text() == other.read_text()


def test_a_base_that_never_occurs_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no C, G in any training sequence"):
        train_tokenizer(["ATATAT", "NNAT"], tmp_path / "tokenizer.json")
    assert not (tmp_path / "tokenizer.json").exists()
