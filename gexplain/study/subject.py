"""Subjects: a model under evaluation, and what each of its methods says of a few sequences, at both levels."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gexplain.arrays import FloatArray, IntArray
from gexplain.attribution.explainers import METHODS, TokenExplainer
from gexplain.attribution.passes import count_passes
from gexplain.attribution.readings import Reading
from gexplain.attribution.target import Explained, Target
from gexplain.evaluation.levels import AGGREGATIONS
from gexplain.genome.intervals import Strand
from gexplain.models.model import Model
from gexplain.models.randomise import n_blocks, randomise
from gexplain.projection import PROJECTIONS
from gexplain.tokens import Tokens

TOKEN, NUCLEOTIDE = "token", "nucleotide"
NATIVE = "native"
RANDOMISED = "randomised-weights"
"""The baseline that stands among the methods: the default method, of the same architecture with random weights."""

View = tuple[str, str]
"""A level and a variant: how relevance came to that level."""


@dataclass(frozen=True, slots=True, eq=False)
class Passage:
    """Sequences that are explained together: their classes (B,), and their tokens on the forward strand."""

    sequences: Sequence[str]
    classes: IntArray
    tokens: Sequence[Tokens]

    def part(self, rows: Sequence[int]) -> Passage:
        """Some of them."""
        return Passage(
            [self.sequences[row] for row in rows], self.classes[list(rows)], [self.tokens[row] for row in rows]
        )


@dataclass(slots=True)
class Cost:
    """What explaining took: sequences, rows through the network in both directions, and seconds.

    completeness_error: by how much all relevance together misses what it claims to sum to, its size added up over the
    sequences; NaN for a method that claims no sum.
    """

    sequences: int
    forward: int = 0
    backward: int = 0
    seconds: float = 0.0
    completeness_error: float = math.nan


@dataclass(frozen=True, eq=False)  # a cached property has no place among slots
class Subject:
    """A model under evaluation. name: of the tables. methods: the default of its kind first, if it is among them."""

    name: str
    model: Model
    methods: Sequence[str]
    explained: Explained
    projections: Sequence[str]
    aggregations: Sequence[str]
    batch_size: int
    seed: int

    @property
    def default(self) -> str:
        """The method that the others are compared with."""
        return self.methods[0]

    @property
    def has_tokens(self) -> bool:
        """Whether its tokens are more than its bases."""
        return self.model.kind != "CNN"

    @property
    def n_blocks(self) -> int:
        """How many blocks of weights can be made random, from the top."""
        return n_blocks(self.model)

    def randomised(self, n_top_blocks: int) -> Model:
        """A new model, a copy with so many blocks of random weights: whoever asks holds it no longer than needed."""
        return randomise(self.model, n_top_blocks, self.seed)

    @cached_property
    def random_model(self) -> Model:
        """The model with random weights throughout, which the baseline RANDOMISED explains."""
        return self.randomised(self.n_blocks)

    def passage(self, sequences: Sequence[str], classes: IntArray) -> Passage:
        """Sequences with their classes, ready to be explained."""
        return Passage(sequences, classes, self.model.tokens(sequences))

    def direction(self, index: int) -> FloatArray:
        """(n_targets,): the explained value of a class is the sum of direction * logits."""
        n_targets = len(self.model.labels)
        direction = np.zeros(n_targets)
        if self.explained == "margin":
            direction -= 1 / (n_targets - 1)
        direction[index] = 1
        return direction

    def explain(self, method: str, passage: Passage) -> tuple[list[dict[View, FloatArray]], Cost]:
        """What a method says of each sequence at both levels, and what that took."""
        model, name = (self.random_model, self.default) if method == RANDOMISED else (self.model, method)
        with _counted(model, passage) as cost:
            readings = self._read(model, name, passage)
        errors = [float(abs(one.completeness_error[0])) for one in readings if one.completeness_error is not None]
        if errors:
            cost.completeness_error = sum(errors)
        return self._views(name, passage, readings), cost

    def nucleotides(
        self, method: str, passage: Passage, *, strand: Strand = "+", model: Model | None = None
    ) -> list[FloatArray]:
        """(L,) of each sequence under the first projection; read on a strand, or of another model of the kind."""
        model = self.model if model is None else model
        readings = self._read(model, method, passage, strand)
        if METHODS[model.kind][method].level == NUCLEOTIDE:
            return [one.relevance[0] for one in readings]
        return [self._project(one, self.projections[0], len(one.relevance[0])) for one in readings]

    def averaged(self, passage: Passage, *, both_strands: bool, shifts: int) -> tuple[list[FloatArray], Cost]:
        """(L,) of each sequence by the default method, every base the mean of all readings that hold it; the cost.

        shifts: how many readings each strand has; each starts one base later.
        """
        totals = [np.zeros(len(sequence)) for sequence in passage.sequences]
        with _counted(self.model, passage) as cost:
            for shift in range(shifts):
                cut = self.passage([sequence[shift:] for sequence in passage.sequences], passage.classes)
                for strand in ("+", "-") if both_strands else ("+",):
                    for total, values in zip(totals, self.nucleotides(self.default, cut, strand=strand), strict=True):
                        total[shift:] += values
        n_strands = 2 if both_strands else 1
        means = [total / (n_strands * np.minimum(np.arange(len(total)) + 1, shifts)) for total in totals]
        return means, cost

    def _read(self, model: Model, method: str, passage: Passage, strand: Strand = "+") -> list[Reading]:
        """One reading a sequence, each of its own class."""
        explainer = TokenExplainer(model, method, batch_size=self.batch_size)
        readings: dict[int, Reading] = {}
        for index in np.unique(passage.classes).tolist():
            rows = np.flatnonzero(passage.classes == index).tolist()
            target = Target((index,), (model.labels[index],), self.explained)
            of_class = explainer.read([passage.sequences[row] for row in rows], target, strand)
            readings.update(zip(rows, of_class, strict=True))
        return [readings[row] for row in range(len(passage.sequences))]

    def _views(self, method: str, passage: Passage, readings: Sequence[Reading]) -> list[dict[View, FloatArray]]:
        views = []
        for sequence, tokens, reading in zip(passage.sequences, passage.tokens, readings, strict=True):
            of_one: dict[View, FloatArray] = {}
            if METHODS[self.model.kind][method].level == TOKEN:
                spells = reading.token_spans[:, 1] > reading.token_spans[:, 0]
                of_one[TOKEN, NATIVE] = reading.token_relevance[0][spells]
                for projection in self.projections:
                    of_one[NUCLEOTIDE, projection] = self._project(reading, projection, len(sequence))
            else:
                if self.has_tokens:
                    for aggregation in self.aggregations:
                        of_one[TOKEN, aggregation] = AGGREGATIONS[aggregation](reading.relevance[0], tokens.spans)
                of_one[NUCLEOTIDE, NATIVE] = reading.relevance[0]
            views.append(of_one)
        return views

    def _project(self, reading: Reading, projection: str, width: int) -> FloatArray:
        return PROJECTIONS[projection](reading.token_relevance[0], reading.token_spans, width)


@contextmanager
def _counted(model: Model, passage: Passage) -> Iterator[Cost]:
    """The cost of what is done meanwhile; filled in at the end."""
    cost = Cost(len(passage.sequences))
    started = time.perf_counter()
    with count_passes(model) as passes:
        yield cost
    cost.forward, cost.backward = passes.forward, passes.backward
    cost.seconds = time.perf_counter() - started


def first_views(views: Mapping[View, FloatArray]) -> dict[str, View]:
    """The view by which methods are compared, of each level: the first."""
    first: dict[str, View] = {}
    for level, variant in views:
        first.setdefault(level, (level, variant))
    return first
