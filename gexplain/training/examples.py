"""Examples: labelled sequences, split into train, dev and test, whatever files they came from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gexplain.arrays import IntArray
from gexplain.training.negatives import NegativeSource


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Sequences in upper case, and the class of each, (N,), an index into the labels.

    margin: bases of genome context on each side of every sequence's window, for jitter.
    """

    sequences: list[str]
    classes: IntArray
    margin: int = 0

    def __post_init__(self) -> None:
        if len(self.sequences) != len(self.classes):
            raise ValueError(f"{len(self.sequences)} sequences and {len(self.classes)} classes")

    def __len__(self) -> int:
        return len(self.sequences)

    def windows(self, indices: Iterable[int] | None = None) -> list[str]:
        """The middle windows, without their margins; of all examples, or of these."""
        chosen = self.sequences if indices is None else [self.sequences[index] for index in indices]
        if not self.margin:
            return list(chosen)
        return [sequence[self.margin : len(sequence) - self.margin] for sequence in chosen]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Dataset:
    """What a training reads.

    labels: class names, in logit order; drawn negatives are of class 0. dev and test have no margin, and hold their
    negatives already, drawn once by the seed. negatives: the sources of those that every epoch of training draws
    anew, n_negatives of them in all. window: bases of a training window; for a CSV, of its longest training sequence.
    described: what was read and how it was split, as JSON can hold it. warnings: what may be wrong, in words.
    """

    labels: tuple[str, ...]
    train: Examples
    dev: Examples
    test: Examples | None = None
    negatives: tuple[NegativeSource, ...] = ()
    n_negatives: int = 0
    window: int | None = None
    described: dict[str, object] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
