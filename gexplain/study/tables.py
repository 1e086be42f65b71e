"""Tables of an evaluation: metrics.tsv line by line, and what is made of it over sequences.

metrics.tsv    one value of one sequence        summary.tsv    its mean, interval, and test against a reference
curves.tsv     mean curves with intervals       cost.tsv       rows through the network, seconds
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gexplain.arrays import FloatArray
from gexplain.evaluation.curves import FRACTIONS
from gexplain.evaluation.metrics import CHANCE, compares_models
from gexplain.evaluation.resampling import MIN_SEQUENCES, Comparison, bootstrap_mean, compare, q_values
from gexplain.genome.bed_table import format_number
from gexplain.genome.tracks import partial_path, write_error
from gexplain.study.measure import NOTHING, Part

METRICS_COLUMNS = ("sequence", "model", "method", "other", "level", "variant", "metric", "value")
SUMMARY_COLUMNS = (
    *("model", "method", "other", "level", "variant", "metric", "n", "mean", "low", "high", "chance"),
    *("reference", "difference", "difference_low", "difference_high", "p", "q"),
)
CURVES_COLUMNS = ("model", "method", "level", "variant", "order", "fraction", "n", "mean", "low", "high")
COST_COLUMNS = (
    *("model", "method", "sequences", "forward", "backward", "forward_equivalents", "seconds"),
    "completeness_error",
)

Group = tuple[str, str, str, str, str, str]
"""model, method, other, level, variant, metric."""


@dataclass(slots=True)
class Gathered:
    """What all parts hold, by group: values in the order of sequences, NaN where a sequence has none."""

    numbers: dict[str, int] = field(default_factory=dict)
    values: dict[Group, tuple[array[int], array[float]]] = field(default_factory=dict)
    """Numbers of sequences, and their values."""

    def add(self, part: Part) -> None:
        """Gather one part."""
        for sequence, *where, value in part.metrics:
            of_group = self.values.setdefault(tuple(where), (array("q"), array("d")))  # type: ignore[arg-type]
            of_group[0].append(self.numbers.setdefault(sequence, len(self.numbers)))
            of_group[1].append(value)

    def array(self, group: Group) -> FloatArray:
        """(sequences,), NaN where there is no value."""
        numbers, values = self.values.get(group, ((), ()))
        of_all = np.full(len(self.numbers), np.nan)
        of_all[np.array(numbers, dtype=np.int64)] = np.array(values)
        return of_all


def write_tables(folder: Path, parts: Iterable[Part], defaults: Mapping[str, str], seed: int) -> None:
    """Write the four tables from the parts of all chunks, which are read once.

    defaults: the method of each model that its others are compared with; those of further models are compared with
    that of the first.
    """
    gathered, curves, costs = Gathered(), _Curves(), _Costs()
    path = folder / "metrics.tsv"
    partial = partial_path(path)
    try:
        with partial.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            print(*METRICS_COLUMNS, sep="\t", file=file)
            for part in parts:
                gathered.add(part)
                curves.add(part)
                costs.add(part)
                for row in part.metrics:
                    if not row[6].endswith(CHANCE):
                        print(*row[:7], format_number(row[7]), sep="\t", file=file)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise write_error(path, error) from error
    _write(folder / "summary.tsv", SUMMARY_COLUMNS, summarise(gathered, defaults, seed))
    _write(folder / "curves.tsv", CURVES_COLUMNS, curves.rows(seed))
    _write(folder / "cost.tsv", COST_COLUMNS, costs.rows())


def summarise(gathered: Gathered, defaults: Mapping[str, str], seed: int) -> list[tuple[object, ...]]:
    """The lines of summary.tsv: a mean and its interval for each group, and a test where there is a reference."""
    usual = _usual_variants(gathered)
    lines: list[list[object]] = []
    tested: list[int] = []
    for group in gathered.values:
        *where, metric = group
        if metric.endswith(CHANCE):
            continue
        values = gathered.array(group)
        chance = gathered.array((*group[:-1], metric + CHANCE))
        line: list[object] = [*where, metric, *_interval(values, metric, seed), _mean(chance)]
        reference = _reference(group, defaults, usual)
        compared = None if reference is None else _compare(values, gathered.array(reference), metric, seed)
        if reference is None or compared is None:
            line += [NOTHING, *[np.nan] * 5]
        else:
            tested.append(len(lines))
            name = reference[1] if reference[0] == group[0] else f"{reference[0]}:{reference[1]}"
            line += [name, compared.difference, compared.low, compared.high, compared.p, np.nan]
        lines.append(line)
    found = q_values(np.array([lines[row][-2] for row in tested], dtype=np.float64))
    for row, q in zip(tested, found.tolist(), strict=True):
        lines[row][-1] = q
    return [tuple(line) for line in lines]


def _usual_variants(gathered: Gathered) -> dict[tuple[str, str, str], str]:
    """(model, method, level) to the variant that methods are compared by: the first."""
    usual: dict[tuple[str, str, str], str] = {}
    for model, method, other, level, variant, _ in gathered.values:
        if other == NOTHING:
            usual.setdefault((model, method, level), variant)
    return usual


def _reference(group: Group, defaults: Mapping[str, str], usual: Mapping[tuple[str, str, str], str]) -> Group | None:
    """What a group is compared with: the usual variant of the model's default method; for that, of a further model,
    the first model's, where the values of two models can be compared.
    """
    model, method, other, level, _, metric = group
    if other != NOTHING:
        return None
    first = next(iter(defaults))
    for of_model in (model, first):
        default = defaults[of_model]
        variant = usual.get((of_model, default, level))
        if variant is not None and group[:5] != (of_model, default, NOTHING, level, variant):
            is_own = of_model == model
            if is_own or (method == defaults[model] and compares_models(metric)):
                return (of_model, default, NOTHING, level, variant, metric)
    return None


class _Curves:
    """The curves of all parts: (model, method, level, variant) to MoRF and LeRF, a row (P,) for each sequence."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str, str, str], tuple[array[float], array[float]]] = {}

    def add(self, part: Part) -> None:
        for *where, morf, lerf in part.curves:
            of_both = self._values.setdefault(tuple(where), (array("d"), array("d")))  # type: ignore[arg-type]
            of_both[0].extend(morf)
            of_both[1].extend(lerf)

    def rows(self, seed: int) -> Iterator[tuple[object, ...]]:
        for where, of_both in self._values.items():
            for order, rows in zip(("morf", "lerf"), of_both, strict=True):
                for fraction, values in zip(FRACTIONS, np.array(rows).reshape(-1, len(FRACTIONS)).T, strict=True):
                    yield (*where, order, fraction, *_interval(values, order, seed))


class _Costs:
    """The costs of all parts, added up."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], Counter[str]] = {}

    def add(self, part: Part) -> None:
        for model, method, cost in part.costs:
            self._sums.setdefault((model, method), Counter()).update(cost)

    def rows(self) -> Iterator[tuple[object, ...]]:
        """A backward pass through frozen weights is as much work as a forward pass."""
        for (model, method), cost in self._sums.items():
            n = cost["sequences"]
            forward, backward = cost["forward"] / n, cost["backward"] / n
            yield (
                *(model, method, n, forward, backward, forward + backward),
                *(float(cost["seconds"]), cost["completeness_error"] / n),
            )


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    partial = partial_path(path)
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            print(*columns, sep="\t", file=file)
            for row in rows:
                print(*(format_number(one) if isinstance(one, float) else one for one in row), sep="\t", file=file)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise write_error(path, error) from error


def _interval(values: FloatArray, what: str, seed: int) -> tuple[int, float, float, float]:
    """n, mean, low and high; without an interval where too few sequences have a value."""
    n = int((~np.isnan(values)).sum())
    if n < MIN_SEQUENCES:
        return n, _mean(values), np.nan, np.nan
    of_all = bootstrap_mean(values, what=what, seed=seed)
    return n, of_all.mean, of_all.low, of_all.high


def _compare(values: FloatArray, reference: FloatArray, what: str, seed: int) -> Comparison | None:
    """None where too few sequences have both."""
    if (~np.isnan(values - reference)).sum() < MIN_SEQUENCES:
        return None
    return compare(values, reference, what=what, seed=seed)


def _mean(values: FloatArray) -> float:
    """NaN where there is nothing to average."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
