"""Measures: all metrics of a few sequences under every model and method.

sequences -- explained by every method --> relevance at both levels -+
perturbed sequences -- asked of the model --> curves ----------------+-> Case -> METRICS -> rows
other strand, random weights, mutants -- explained again ------------+
relevance of two methods, or of two models --------------------------> PAIR_METRICS -> rows
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from gexplain.arrays import FloatArray, IntArray
from gexplain.evaluation.cases import Case
from gexplain.evaluation.curves import Claim, Curves, CurveSettings, nucleotide_curves, token_curves
from gexplain.evaluation.levels import inside_tokens
from gexplain.evaluation.metrics import METRICS, PAIR_METRICS
from gexplain.models.model import DnaBert2Model
from gexplain.study.samples import Sample
from gexplain.study.settings import EvaluateSettings
from gexplain.study.subject import NUCLEOTIDE, RANDOMISED, TOKEN, Passage, Subject, View, first_views

NOTHING = "."
"""What the tables have where there is nothing."""

MetricRow = tuple[str, str, str, str, str, str, str, float]
"""sequence, model, method, other, level, variant, metric, value: a line of metrics.tsv."""


@dataclass(slots=True)
class Part:
    """What is measured on one chunk: rows of metrics.tsv, curves, and costs; JSON holds it until the end.

    curves: (model, method, level, variant, MoRF (P,), LeRF (P,)) of each sequence. costs: (model, method, Cost).
    """

    metrics: list[MetricRow] = field(default_factory=list)
    curves: list[tuple[str, str, str, str, list[float], list[float]]] = field(default_factory=list)
    costs: list[tuple[str, str, dict[str, float]]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class Measurer:
    """The subjects, and what is to be measured of them. CurveSettings follow from the settings."""

    subjects: Sequence[Subject]
    settings: EvaluateSettings

    def measure(self, samples: Sequence[Sample], classes: Mapping[str, IntArray]) -> Part:
        """Everything of these samples. classes: of each subject by name, (B,) the class explained of each sample."""
        part = Part()
        views: dict[str, dict[str, list[dict[View, FloatArray]]]] = {}
        for subject in self.subjects:
            passage = subject.passage([one.sequence for one in samples], classes[subject.name])
            views[subject.name] = self._explain(subject, passage, part)
            self._measure_cases(subject, samples, passage, views[subject.name], part)
            if self.settings.wants("similarity"):
                self._compare_methods(subject, samples, views[subject.name], part)
        if self.settings.wants("similarity") and len(self.subjects) > 1:
            self._compare_models(samples, views, part)
        return part

    def _explain(self, subject: Subject, passage: Passage, part: Part) -> dict[str, list[dict[View, FloatArray]]]:
        """Method to the views of every sequence; the default method has those that are averaged, too."""
        views = {}
        for method in [*subject.methods, RANDOMISED]:
            views[method], cost = subject.explain(method, passage)
            part.costs.append((subject.name, method, asdict(cost)))
        _, usual = first_views(views[subject.default][0])[NUCLEOTIDE]
        averages = [(True, 1)]
        if self.settings.shifts > 1:
            averages += [(False, self.settings.shifts), (True, self.settings.shifts)]
        for both_strands, n in averages:
            how = ", ".join([*(["both strands"] if both_strands else []), *([f"{n} shifts"] if n > 1 else [])])
            averaged, cost = subject.averaged(passage, both_strands=both_strands, shifts=n)
            part.costs.append((subject.name, f"{subject.default}, {how}", asdict(cost)))
            for of_one, values in zip(views[subject.default], averaged, strict=True):
                of_one[NUCLEOTIDE, f"{usual}, {how}"] = values
        return views

    # ---- One explanation at a time ----

    def _measure_cases(
        self,
        subject: Subject,
        samples: Sequence[Sample],
        passage: Passage,
        views: Mapping[str, Sequence[Mapping[View, FloatArray]]],
        part: Part,
    ) -> None:
        wanted = [name for name in METRICS if self.settings.wants(name)]
        needs = frozenset[str]().union(*(METRICS[name].needs for name in wanted))
        costly = [row for row, one in enumerate(samples) if one.number < self.settings.costly]
        curves = self._curves(subject, passage, views) if "curves" in needs else {}
        randomised = self._explain_randomised(subject, passage, costly) if "randomised" in needs else {}
        for method, of_method in views.items():
            again = self._explain_again(subject, method, passage, samples, costly, needs)
            for (of_other, row), values in randomised.items():
                if of_other == method:
                    again[row]["randomised"] = values
            first = first_views(of_method[0])
            for row, (sample, of_one) in enumerate(zip(samples, of_method, strict=True)):
                for (level, variant), relevance in of_one.items():
                    own_curves = curves.get((method, level, variant, row))
                    case = Case(
                        level=level,  # type: ignore[arg-type]
                        relevance=relevance,
                        inside=self._inside(sample, level, passage, row),
                        curves=own_curves,
                        **(again[row] if (level, variant) == first[NUCLEOTIDE] else _NOT_AGAIN),
                    )
                    head = (sample.name, subject.name, method, NOTHING, level, variant)
                    for name in wanted:
                        for value_name, value in METRICS[name].function(case).items():
                            part.metrics.append((*head, value_name, float(value)))
                    if own_curves is not None:
                        both = own_curves.morf.tolist(), own_curves.lerf.tolist()
                        part.curves.append((subject.name, method, level, variant, *both))

    def _curves(
        self,
        subject: Subject,
        passage: Passage,
        views: Mapping[str, Sequence[Mapping[View, FloatArray]]],
    ) -> dict[tuple[str, str, str, int], Curves]:
        """(method, level, variant, row) to its curves."""
        settings = CurveSettings(
            donor=self.settings.substitution, n_draws=self.settings.draws, seed=self.settings.seed
        )
        keys: dict[str, list[tuple[str, str, str, int]]] = {TOKEN: [], NUCLEOTIDE: []}
        for method, of_method in views.items():
            for row, of_one in enumerate(of_method):
                for level, variant in of_one:
                    keys[level].append((method, level, variant, row))
        direction = {int(index): subject.direction(int(index)) for index in np.unique(passage.classes)}

        def relevance(key: tuple[str, str, str, int]) -> FloatArray:
            method, level, variant, row = key
            return views[method][row][level, variant]

        found: dict[tuple[str, str, str, int], Curves] = {}
        if keys[TOKEN]:
            assert isinstance(subject.model, DnaBert2Model)
            claims = [
                Claim(passage.tokens[key[-1]], relevance(key), direction[int(passage.classes[key[-1]])])
                for key in keys[TOKEN]
            ]
            curves = token_curves(
                claims,
                lambda rows: subject.model.logits_of_tokens(rows, batch_size=subject.batch_size),
                subject.model.tokenizer.mask_id,
                settings,
            )
            found.update(zip(keys[TOKEN], curves, strict=True))
        bases = [
            Claim(passage.sequences[key[-1]], relevance(key), direction[int(passage.classes[key[-1]])])
            for key in keys[NUCLEOTIDE]
        ]
        curves = nucleotide_curves(
            bases,
            lambda rows: subject.model.predict(rows, strand="forward", batch_size=subject.batch_size),
            settings,
        )
        found.update(zip(keys[NUCLEOTIDE], curves, strict=True))
        return found

    def _explain_again(
        self,
        subject: Subject,
        method: str,
        passage: Passage,
        samples: Sequence[Sample],
        costly: Sequence[int],
        needs: frozenset[str],
    ) -> list[dict[str, Any]]:
        """What a case holds of the same sequence on the other strand, and changed, by row."""
        again = [dict(_NOT_AGAIN) for _ in samples]
        if method == RANDOMISED:
            return again
        if "strand" in needs:
            for row, values in enumerate(subject.nucleotides(method, passage, strand="-")):
                again[row]["other_strand"] = values
        if "mutants" in needs and costly:
            mutants = [mutate(samples[row], self.settings.mutants, self.settings.seed) for row in costly]
            flat = subject.passage(
                [sequence for of_row in mutants for _, sequence in of_row],
                np.repeat(passage.classes[list(costly)], [len(of_row) for of_row in mutants]),
            )
            values_of_all = iter(subject.nucleotides(method, flat) if flat.sequences else [])
            for row, of_row in zip(costly, mutants, strict=True):
                again[row]["mutants"] = [(position, next(values_of_all)) for position, _ in of_row]
        return again

    def _explain_randomised(
        self, subject: Subject, passage: Passage, costly: Sequence[int]
    ) -> dict[tuple[str, int], dict[int, FloatArray]]:
        """(method, row) to what is said under so many random blocks; one such model is held at a time."""
        found: dict[tuple[str, int], dict[int, FloatArray]] = {}
        some = passage.part(costly)
        for n in range(1, subject.n_blocks + 1) if costly else ():
            model = subject.randomised(n)
            for method in subject.methods:
                for row, values in zip(costly, subject.nucleotides(method, some, model=model), strict=True):
                    found.setdefault((method, row), {})[n] = values
        return found

    def _inside(self, sample: Sample, level: str, passage: Passage, row: int) -> Any:
        if sample.inside is None or level == NUCLEOTIDE:
            return sample.inside
        return inside_tokens(sample.inside, passage.tokens[row].spans)

    # ---- Two explanations at a time ----

    def _compare_methods(
        self,
        subject: Subject,
        samples: Sequence[Sample],
        views: Mapping[str, Sequence[Mapping[View, FloatArray]]],
        part: Part,
    ) -> None:
        for one, other in combinations(views, 2):
            for level in (TOKEN, NUCLEOTIDE) if subject.has_tokens else (NUCLEOTIDE,):
                for sample, pair in zip(samples, zip(views[one], views[other], strict=True), strict=True):
                    part.metrics += _compare(sample, (subject.name, one), other, level, pair)

    def _compare_models(
        self,
        samples: Sequence[Sample],
        views: Mapping[str, Mapping[str, Sequence[Mapping[View, FloatArray]]]],
        part: Part,
    ) -> None:
        """Methods that two models share, and their default ones."""
        for first, second in combinations(self.subjects, 2):
            pairs = {(name, name) for name in views[first.name] if name in views[second.name]}
            for one, other in sorted(pairs | {(first.default, second.default)}):
                for sample, pair in zip(
                    samples, zip(views[first.name][one], views[second.name][other], strict=True), strict=True
                ):
                    named = f"{second.name}:{other}"
                    part.metrics += _compare(sample, (first.name, one), named, NUCLEOTIDE, pair)


_NOT_AGAIN: Mapping[str, Any] = {"other_strand": None, "randomised": {}, "mutants": ()}


def mutate(sample: Sample, n: int, seed: int) -> list[tuple[int, str]]:
    """Single substitutions of a sequence at n places, or at all its bases if they are fewer: (position, mutant)."""
    rng = np.random.default_rng([seed, sample.number])
    bases = np.array([position for position, letter in enumerate(sample.sequence) if letter in "ACGT"])
    mutants = []
    for position in np.sort(rng.choice(bases, size=min(n, len(bases)), replace=False)).tolist():
        others = [letter for letter in "ACGT" if letter != sample.sequence[position]]
        letter = others[int(rng.integers(3))]
        mutants.append((position, sample.sequence[:position] + letter + sample.sequence[position + 1 :]))
    return mutants


def _compare(
    sample: Sample,
    one: tuple[str, str],
    other: str,
    level: str,
    pair: tuple[Mapping[View, FloatArray], Mapping[View, FloatArray]],
) -> Iterator[MetricRow]:
    first, second = (views[first_views(views)[level]] for views in pair)
    for name, function in PAIR_METRICS.items():
        yield (sample.name, *one, other, level, NOTHING, name, float(function(first, second)))
