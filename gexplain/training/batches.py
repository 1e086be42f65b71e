"""Batches: what the model sees at each step, as a function of the seed and the example's number alone.

An epoch is every training example once (or as many, drawn evenly from the classes), with freshly drawn negatives
among them, in random order. Everything is drawn batch by batch from generators that the seed and the number of the
batch's first example make, so that a resumed training goes on exactly where it stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from gexplain.arrays import FloatArray, IntArray
from gexplain.errors import UsageError, count
from gexplain.genome.sequence import reverse_complement
from gexplain.genome.shuffle import dinucleotide_shuffle
from gexplain.training.examples import Dataset, Examples
from gexplain.training.letters import MIN_WIDTH
from gexplain.training.negatives import NegativeSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How training sequences are varied; the model sees each in another form in every epoch.

    reverse_complement: half of them are read on the other strand. crop: up to so many bases are cut off each end.
    bpe_dropout: the share of merges that the tokenizer leaves out (Provilkov et al. 2020); its draws come from the
    tokenizer library, which takes no seed. paste: the share of examples of which only the middle `paste_width` bases
    are kept, at a random place of a random negative; as many negatives get a shuffled site at a random place.
    paste_least: keep as few as that, each side's share drawn anew, so that few sites are not learnt by what lies
    beside them; by default always paste_width.
    """

    reverse_complement: bool = True
    crop: int = 0
    bpe_dropout: float = 0.0
    paste: float = 0.0
    paste_width: int = 40
    paste_least: int | None = None

    def __post_init__(self) -> None:
        for name in ("bpe_dropout", "paste"):
            share = getattr(self, name)
            if not 0 <= share <= 1 or (name == "bpe_dropout" and share == 1):
                most = "less than 1" if name == "bpe_dropout" else "1"
                raise UsageError(
                    f"--{name.replace('_', '-')} {share}; expected a share from 0 to {most}", hint="0 leaves it out"
                )
        if self.crop < 0 or self.paste_width < 1:
            raise UsageError(
                f"--crop {self.crop}, --paste-width {self.paste_width}; expected lengths in bases",
                hint="leave them out for the defaults",
            )
        if self.paste_least is not None and not 1 <= self.paste_least <= self.paste_width:
            raise UsageError(
                f"--paste-least {self.paste_least}; expected 1 to --paste-width, {self.paste_width}",
                hint="leave it out to keep the same width always",
            )


def check_augmentation(augmentation: Augmentation, dataset: Dataset) -> None:
    """UsageError where a dataset's training sequences cannot be varied so."""
    if augmentation.paste and not dataset.negatives:
        raise UsageError(
            "--paste needs random background to paste sites into, and no negatives are drawn",
            hint="add --negatives dinuc-shuffle or random-genome",
        )
    shortest = min(map(len, dataset.train.sequences), default=0) - 2 * dataset.train.margin
    if augmentation.crop and shortest - 2 * augmentation.crop < MIN_WIDTH:
        raise UsageError(
            f"--crop {augmentation.crop}: {count(augmentation.crop, 'base')} off each end of the shortest training"
            f" sequence, of {shortest:,}, leave fewer than {MIN_WIDTH}",
            hint=f"at most --crop {max(0, (shortest - MIN_WIDTH) // 2)}",
        )


class Labelled(NamedTuple):
    """One training sequence and its class."""

    sequence: str
    label: int


@dataclass(slots=True, eq=False)
class TrainingExamples:
    """Every example of a training, by number: what a torch DataLoader indexes, a batch at a time.

    n_examples: that the training takes in all, whatever an epoch has. n_negatives: drawn anew in each epoch, of the
    class 0. balance: 0 shows each example once an epoch; 1 as many in all, evenly from the classes of the
    data; between them a class of n examples is drawn in proportion to n^(1 - balance).
    """

    dataset: Dataset
    augmentation: Augmentation
    n_examples: int
    seed: int
    n_negatives: int = 0
    balance: float = 0.0
    _epoch: tuple[int, IntArray] | None = field(default=None, init=False, repr=False)
    _bound_indices: IntArray = field(init=False, repr=False)
    _pools: dict[int, IntArray] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if bool(self.n_negatives) != bool(self.dataset.negatives):
            raise ValueError(f"{self.n_negatives} negatives an epoch, from {len(self.dataset.negatives)} sources")
        check_augmentation(self.augmentation, self.dataset)
        classes = self.dataset.train.classes
        self._bound_indices = np.flatnonzero(classes != 0)
        self._pools = {int(label): np.flatnonzero(classes == label) for label in np.unique(classes)}

    @property
    def epoch_size(self) -> int:
        """Examples that an epoch has."""
        return len(self.dataset.train.sequences) + self.n_negatives

    def __len__(self) -> int:
        return self.n_examples

    def __getitem__(self, number: int) -> Labelled:
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers: Sequence[int]) -> list[Labelled]:
        """The examples of one batch. What is drawn depends on the seed and on these numbers alone."""
        rng = np.random.default_rng([self.seed, 1, numbers[0]])
        picks = np.array([self._order(n // self.epoch_size)[n % self.epoch_size] for n in numbers])
        train = self.dataset.train
        positive = picks >= 0
        batch = [""] * len(numbers)
        labels = np.zeros(len(numbers), dtype=np.int64)
        labels[positive] = train.classes[picks[positive]]
        for row in np.flatnonzero(positive):
            batch[row] = _jittered(train, int(picks[row]), rng)
        negative = np.flatnonzero(~positive)
        if len(negative):
            for row, sequence in zip(negative, self._negatives(len(negative), rng), strict=True):
                batch[row] = sequence
        if self.augmentation.paste:
            self._paste(batch, labels, picks, rng)
        return [Labelled(*one) for one in zip(self._vary(batch, rng), labels.tolist(), strict=True)]

    def _order(self, epoch: int) -> IntArray:
        """What each place of an epoch holds: the index of a training example, or -1 for a drawn negative."""
        if self._epoch is None or self._epoch[0] != epoch:
            rng = np.random.default_rng([self.seed, 0, epoch])
            train = self.dataset.train
            indices = np.arange(len(train.sequences))
            if self.balance:
                borders = np.rint(np.cumsum(self._weights()) * len(indices)).astype(np.int64)
                shares = np.diff(borders, prepend=0).tolist()
                drawn = [_draw(pool, n, rng) for pool, n in zip(self._pools.values(), shares, strict=True)]
                indices = np.concatenate(drawn)
            order = np.concatenate([indices, np.full(self.n_negatives, -1)])
            rng.shuffle(order)
            self._epoch = epoch, order
        return self._epoch[1]

    def _negatives(self, n: int, rng: np.random.Generator) -> list[str]:
        """Negatives from the sources in equal shares; which source comes first is drawn, so that none is left out."""
        positives = [_jittered(self.dataset.train, index, rng) for index in self._bound(n, rng)]
        sources: Sequence[NegativeSource] = self.dataset.negatives
        first = int(rng.integers(len(sources)))
        drawn: list[str] = []
        for k, part in enumerate(np.array_split(np.arange(n), len(sources))):
            if len(part):
                drawn += sources[(first + k) % len(sources)].draw(len(part), rng, positives)
        return drawn

    def _weights(self) -> FloatArray:
        """The share of each class of the data among the examples of an epoch."""
        weights = np.array([len(pool) for pool in self._pools.values()], dtype=np.float64) ** (1 - self.balance)
        shares: FloatArray = weights / weights.sum()
        return shares

    def _bound(self, n: int, rng: np.random.Generator) -> list[int]:
        """Examples of the classes that negatives are the negatives of, as often as the epoch shows them."""
        if self.balance:
            weights = {
                label: weight for label, weight in zip(self._pools, self._weights(), strict=True) if label != 0
            }
            share = np.array(list(weights.values())) / sum(weights.values())
            chosen = np.array(
                [rng.choice(self._pools[label]) for label in rng.choice(list(weights), n, p=share).tolist()]
            )
        else:
            chosen = rng.choice(self._bound_indices, n)
        return [int(index) for index in chosen]

    def _paste(self, batch: list[str], labels: IntArray, picks: IntArray, rng: np.random.Generator) -> None:
        train, width = self.dataset.train, self.augmentation.paste_width
        chosen = np.flatnonzero(rng.random(len(batch)) < self.augmentation.paste)
        if not len(chosen):
            return
        backgrounds = self._negatives(len(chosen), rng)
        decoys = dinucleotide_shuffle(
            [_middle(train.sequences[i], width) for i in self._bound(len(chosen), rng)], rng
        )
        spare = width - (width if self.augmentation.paste_least is None else self.augmentation.paste_least)
        cuts = rng.integers(0, np.array([spare // 2, spare - spare // 2]) + 1, (len(chosen), 2)).tolist()
        for row, background, decoy, (left, right) in zip(chosen, backgrounds, decoys, cuts, strict=True):
            site = decoy if labels[row] == 0 else _middle(train.sequences[picks[row]], width)
            site = site[left : len(site) - right]
            at = int(rng.integers(max(1, len(background) - len(site) + 1)))
            batch[row] = background[:at] + site + background[at + len(site) :]

    def _vary(self, batch: list[str], rng: np.random.Generator) -> list[str]:
        crop = self.augmentation.crop
        left, right = rng.integers(0, crop + 1, (2, len(batch)))
        turned = rng.random(len(batch)) < (0.5 if self.augmentation.reverse_complement else 0)
        cut = [one[a : len(one) - b] for one, a, b in zip(batch, left, right, strict=True)]
        return [reverse_complement(one) if turn else one for one, turn in zip(cut, turned, strict=True)]


def _jittered(train: Examples, index: int, rng: np.random.Generator) -> str:
    """The training window at a random place of the example's sequence, which has a margin on each side."""
    sequence = train.sequences[index]
    if not train.margin:
        return sequence
    shift = int(rng.integers(2 * train.margin + 1))
    return sequence[shift : len(sequence) - 2 * train.margin + shift]


def _middle(sequence: str, width: int) -> str:
    start = max(0, (len(sequence) - width) // 2)
    return sequence[start : start + width]


def _draw(pool: IntArray, n: int, rng: np.random.Generator) -> IntArray:
    """N of the pool: the whole pool as often as it fits, and the rest without replacement."""
    whole, rest = divmod(n, len(pool))
    drawn: IntArray = np.concatenate([np.tile(pool, whole), rng.choice(pool, rest, replace=False)])
    return drawn
