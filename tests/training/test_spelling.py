"""Spelling: what a token's letters add to its embedding, and that folding it in changes nothing."""

from __future__ import annotations

from collections import Counter

import torch
from tiny import MERGES, tiny_config, tiny_tokenizer

from gexplain.models.architecture import random_state
from gexplain.models.dnabert2 import DnaBert2
from gexplain.training.learners import TokenLearner
from gexplain.training.spelling import Spelling, features_of


def test_a_token_is_its_places_from_both_ends_and_its_kmers():
    assert Counter(features_of("CAC")) == Counter(
        [
            *(("left", 0, "C"), ("left", 1, "A"), ("left", 2, "C")),
            *(("right", 0, "C"), ("right", 1, "A"), ("right", 2, "C")),
            *(("kmer", "", "CA"), ("kmer", "", "AC"), ("kmer", "", "CAC")),
        ]
    )


def test_what_is_added_is_the_sum_over_the_features():
    vocabulary = {"[CLS]": 0, "A": 1, "CA": 2, "ACA": 3}
    spelling = Spelling(vocabulary, 5, 4)
    torch.nn.init.normal_(spelling.learnt)
    features: dict[tuple, int] = {}
    for token in sorted(vocabulary):
        if token[0] != "[":
            for one in features_of(token):
                features.setdefault(one, len(features))
    added = spelling()
    assert torch.equal(added[[0, 4]], torch.zeros(2, 4))
    for token in ("A", "CA", "ACA"):
        by_hand = sum(spelling.learnt[features[one]] for one in features_of(token))
        torch.testing.assert_close(added[vocabulary[token]], by_hand)


def learner(tmp_path) -> TokenLearner:
    config = tiny_config()
    network = DnaBert2(config)
    network.load_state_dict(random_state(config, torch.Generator().manual_seed(0), scale=0.3))
    made = TokenLearner(network, tiny_tokenizer(tmp_path / "tokenizer.json"), spelling=True)
    torch.manual_seed(0)
    torch.nn.init.normal_(made.spelling.learnt)
    return made.eval()


def test_folding_changes_no_logit_and_leaves_a_plain_network(tmp_path):
    spelled = learner(tmp_path)
    sequences = ["ACGTTGACCAGG", "TATAAACACGTG"]
    before = spelled.predict(sequences, 2)
    spelled.fold()
    assert spelled.spelling is None
    assert abs(before - spelled.predict(sequences, 2)).max() < 1e-6
    plain = DnaBert2(tiny_config())
    plain.load_state_dict(spelled.network.state_dict())


def test_spelling_is_part_of_the_logits(tmp_path):
    spelled = learner(tmp_path)
    before = spelled.predict(["ACGTTGACCAGG"], 2)
    spelled.spelling = None
    assert abs(before - spelled.predict(["ACGTTGACCAGG"], 2)).max() > 1e-3


def test_tokens_that_share_a_site_share_features():
    site = ("kmer", "", "CACGT")
    assert site in features_of("CACGTG")
    assert site in features_of("TCACGTGA")
    assert "CACG TG" in MERGES
