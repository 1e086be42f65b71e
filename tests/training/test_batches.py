"""Batches: each example a function of the seed and its number, whatever was asked for before."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from gexplain.errors import UsageError
from gexplain.genome.sequence import reverse_complement
from gexplain.training.batches import Augmentation, TrainingExamples
from gexplain.training.examples import Dataset, Examples

PLAIN = Augmentation(reverse_complement=False)


@dataclass
class Poly:
    """A source whose negatives are one letter, so that they are known anywhere."""

    letter: str
    name: str = "poly"
    seen: list[str] = field(default_factory=list)

    def draw(self, n: int, rng: np.random.Generator, positives: Sequence[str]) -> list[str]:
        self.seen += positives
        return [self.letter * len(positives[0])] * n


def made(
    *, counts: Sequence[int] = (0, 6, 2), margin: int = 0, width: int = 20, negatives=(), seed: int = 0
) -> Dataset:
    rng = np.random.default_rng(seed)
    classes = np.repeat(np.arange(len(counts)), counts)
    sequences = ["".join(rng.choice(list("CG"), width + 2 * margin)) for _ in classes]
    train = Examples(sequences, classes, margin)
    return Dataset(
        labels=("background", "one", "two")[: len(counts)],
        train=train,
        dev=Examples(sequences, classes),
        negatives=tuple(negatives),
        n_negatives=len(sequences) if negatives else 0,
        window=width,
    )


def examples_of(
    dataset: Dataset, augmentation: Augmentation = PLAIN, *, n: int = 1000, **options
) -> TrainingExamples:
    return TrainingExamples(
        dataset, augmentation, n_examples=n, seed=options.pop("seed", 0), n_negatives=dataset.n_negatives, **options
    )


def test_an_epoch_is_every_example_once_and_the_negatives():
    dataset = made(negatives=[Poly("A")])
    examples = examples_of(dataset)
    for epoch in range(3):
        batch = examples.__getitems__(range(16 * epoch, 16 * (epoch + 1)))
        counted = Counter(one.sequence for one in batch)
        assert counted == Counter(dataset.train.sequences) + Counter({"A" * 20: 8})
        assert all(one.label == 0 for one in batch if set(one.sequence) == {"A"})


def test_labels_stay_with_their_sequences():
    dataset = made()
    of = dict(zip(dataset.train.sequences, dataset.train.classes, strict=True))
    assert all(of[one.sequence] == one.label for one in examples_of(dataset).__getitems__(range(24)))


def test_epochs_differ_in_order_and_seeds_too():
    dataset = made()
    first = [one.sequence for one in examples_of(dataset).__getitems__(range(8))]
    assert first != [one.sequence for one in examples_of(dataset).__getitems__(range(8, 16))]
    assert first != [one.sequence for one in examples_of(dataset, seed=1).__getitems__(range(8))]


def test_a_batch_does_not_depend_on_what_was_asked_for_before():
    varied = Augmentation(crop=3, paste=0.5, paste_width=6)
    dataset = made(margin=4, negatives=[Poly("A"), Poly("T")])
    through = examples_of(dataset, varied)
    for start in range(0, 40, 5):
        batch = through.__getitems__(range(start, start + 5))
        assert batch == examples_of(dataset, varied).__getitems__(range(start, start + 5))


def test_balanced_epochs_draw_evenly_and_keep_their_size():
    dataset = made(counts=(0, 30, 3))
    counted = Counter(one.label for one in examples_of(dataset, balance=1.0).__getitems__(range(33)))
    assert counted == {1: 16, 2: 17}


def test_half_balanced_epochs_draw_by_the_root_of_the_class():
    dataset = made(counts=(0, 64, 16))
    counted = Counter(one.label for one in examples_of(dataset, balance=0.5).__getitems__(range(80)))
    assert counted == {1: 53, 2: 27}  # 8 to 4


def test_negatives_are_those_of_the_classes_as_they_are_shown():
    source = Poly("A")
    dataset = made(counts=(0, 900, 100), negatives=[source])
    of = dict(zip(dataset.train.sequences, dataset.train.classes, strict=True))
    examples_of(dataset, balance=1.0).__getitems__(range(1000))
    shown = Counter(of[one] for one in source.seen)
    assert 0.4 < shown[2] / shown.total() < 0.6


def test_every_source_is_drawn_from_though_batches_are_small():
    dataset = made(negatives=[Poly("A"), Poly("T")])
    examples = examples_of(dataset)
    letters = Counter(examples[number].sequence[0] for number in range(160))
    assert letters["A"] > 20
    assert letters["T"] > 20


def test_jitter_shows_every_place_of_the_margin_and_never_leaves_the_sequence():
    dataset = made(counts=(0, 1), margin=3, width=10)
    (whole,) = dataset.train.sequences
    seen = {examples_of(dataset, seed=seed)[0].sequence for seed in range(100)}
    assert seen == {whole[shift : shift + 10] for shift in range(7)}


def test_crops_cut_both_ends_apart():
    dataset = made(counts=(0, 1), width=40)
    (whole,) = dataset.train.sequences
    examples = examples_of(dataset, Augmentation(reverse_complement=False, crop=4))
    places = {re.search(examples[number].sequence, whole).span() for number in range(400)}
    assert places >= {(0, 40), (4, 36), (0, 36), (4, 40)}
    assert all(0 <= start <= 4 and 36 <= end <= 40 for start, end in places)


def test_half_of_the_sequences_are_read_on_the_other_strand():
    dataset = made(counts=(0, 1), width=41)
    (whole,) = dataset.train.sequences
    batch = examples_of(dataset, Augmentation()).__getitems__(range(400))
    counted = Counter(one.sequence for one in batch)
    assert set(counted) == {whole, reverse_complement(whole)}
    assert 150 < counted[whole] < 250


def test_pasted_sites_keep_the_middle_and_lie_anywhere_in_background():
    dataset = made(counts=(0, 1), width=30, negatives=[Poly("A")])
    (whole,) = dataset.train.sequences
    batch = examples_of(dataset, Augmentation(reverse_complement=False, paste=1.0, paste_width=8)).__getitems__(
        range(400)
    )
    sites = [one.sequence for one in batch if one.label == 1]
    assert all(site.strip("A") == whole[11:19] and len(site) == 30 for site in sites)
    assert {len(site) - len(site.lstrip("A")) for site in sites} == set(range(23))


def test_decoys_are_shuffled_sites():
    dataset = made(counts=(0, 1), width=30, negatives=[Poly("A")])
    (whole,) = dataset.train.sequences
    batch = examples_of(dataset, Augmentation(reverse_complement=False, paste=1.0, paste_width=16)).__getitems__(
        range(50)
    )
    decoys = {one.sequence.strip("A") for one in batch if one.label == 0}
    assert {"".join(sorted(decoy)) for decoy in decoys} == {"".join(sorted(whole[7:23]))}
    assert len(decoys) > 1


def test_the_site_of_a_jittered_window_is_that_of_its_middle():
    dataset = made(counts=(0, 1), margin=9, width=10, negatives=[Poly("A")])
    (whole,) = dataset.train.sequences
    examples = examples_of(dataset, Augmentation(reverse_complement=False, paste=1.0, paste_width=4))
    sites = {one.sequence.strip("A") for one in examples.__getitems__(range(60)) if one.label == 1}
    assert sites == {whole[12:16]}


def test_pasted_sites_keep_any_width_between_the_least_and_the_most():
    dataset = made(counts=(0, 1), width=30, negatives=[Poly("A")])
    (whole,) = dataset.train.sequences
    some = Augmentation(reverse_complement=False, paste=1.0, paste_width=10, paste_least=6)
    sites = {one.sequence.strip("A") for one in examples_of(dataset, some).__getitems__(range(600)) if one.label == 1}
    assert sites == {whole[10 + left : 20 - right] for left in range(3) for right in range(3)}


def test_pasting_without_negatives_is_a_usage_error():
    with pytest.raises(UsageError, match="needs random background"):
        examples_of(made(), Augmentation(paste=0.5))


@pytest.mark.parametrize(
    "wrong", [{"paste": 1.5}, {"bpe_dropout": 1.0}, {"crop": -1}, {"paste_width": 0}, {"paste_least": 41}]
)
def test_augmentation_that_makes_no_sense_is_a_usage_error(wrong):
    with pytest.raises(UsageError):
        Augmentation(**wrong)
