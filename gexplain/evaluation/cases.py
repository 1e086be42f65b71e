"""Cases: all that a metric may know of one explanation of one sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from gexplain.arrays import FloatArray

if TYPE_CHECKING:
    from gexplain.evaluation.curves import Curves

BoolArray = npt.NDArray[np.bool_]
Level = Literal["token", "nucleotide"]

# N tokens that spell bases, or nucleotides; L nucleotides


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One sequence under one method, at one level; what was not asked for is None or empty.

    relevance: (N,), finite. inside: (N,), what lies in a true site; None where no site is known. curves: what the
    model says as relevance is taken away. other_strand: (L,), the relevance of the same sequence read on the other
    strand, in forward coordinates. randomised: number of top blocks of weights made random to the relevance (N,) of
    that model. mutants: (substituted position, relevance (L,)) of sequences that differ in one base. other_strand
    and mutants are for the nucleotide level alone: tokens of other sequences are not the same tokens.

    Raises ValueError for parts of other shapes, and for relevance that is not finite.
    """

    level: Level
    relevance: FloatArray
    inside: BoolArray | None = None
    curves: Curves | None = None
    other_strand: FloatArray | None = None
    randomised: Mapping[int, FloatArray] = field(default_factory=dict)
    mutants: Sequence[tuple[int, FloatArray]] = ()

    def __post_init__(self) -> None:
        if self.relevance.ndim != 1 or not len(self.relevance):
            raise ValueError(f"relevance {self.relevance.shape}; expected (n,), n at least 1")
        if self.level != "nucleotide" and (self.other_strand is not None or len(self.mutants)):
            raise ValueError(f"the other strand and mutants are compared by nucleotide, not by {self.level}")
        if self.inside is not None and (self.inside.shape != self.relevance.shape or self.inside.dtype != bool):
            raise ValueError(f"inside {self.inside.dtype} {self.inside.shape}; expected bool {self.relevance.shape}")
        if not all(0 <= position < len(self.relevance) for position, _ in self.mutants):
            raise ValueError(f"a mutant's position leaves [0, {len(self.relevance)})")
        others = [] if self.other_strand is None else [self.other_strand]
        for values in (self.relevance, *others, *self.randomised.values(), *(one for _, one in self.mutants)):
            if values.shape != self.relevance.shape or not np.isfinite(values).all():
                raise ValueError(f"relevance {values.shape}; expected {self.relevance.shape}, finite")
