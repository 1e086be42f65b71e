"""The tables of an evaluation as rows, and which of them a figure shows."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from gexplain.errors import InputError
from gexplain.report.evaluation_values import BASELINES

MANIFEST, METRICS, SUMMARY, CURVES, COST = "manifest.json", "metrics.tsv", "summary.tsv", "curves.tsv", "cost.tsv"

MISSING = "."

_MEND = "give the folder that gexplain evaluate wrote, as it wrote it"


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """A row of summary.tsv: one value of one method, over all sequences. NaN where the table has no number.

    other: the second method of a similarity, "MODEL:METHOD" if it is another model's; else "". reference: the method
    that it is compared with, pair by pair; "" if none.
    """

    model: str
    method: str
    other: str
    level: str
    variant: str
    metric: str
    n: int
    mean: float
    low: float
    high: float
    chance: float
    reference: str
    difference: float
    difference_low: float
    difference_high: float
    p: float
    q: float

    @property
    def group(self) -> tuple[str, ...]:
        """What the row is of, whatever the variant."""
        return self.model, self.method, self.level, self.metric, self.other


@dataclass(frozen=True, slots=True)
class CurveRow:
    """A row of curves.tsv: one point of a curve; order: morf or lerf."""

    model: str
    method: str
    level: str
    variant: str
    order: str
    fraction: float
    n: int
    mean: float
    low: float
    high: float

    @property
    def group(self) -> tuple[str, ...]:
        """What the row is of, whatever the variant."""
        return self.model, self.method, self.level


@dataclass(frozen=True, slots=True)
class CostRow:
    """A row of cost.tsv: what a method needs. forward, backward, forward_equivalents: of one sequence; seconds: of
    all of them. completeness_error: mean size of a sequence's, NaN where a method claims no sum.
    """

    model: str
    method: str
    sequences: int
    forward: float
    backward: float
    forward_equivalents: float
    seconds: float
    completeness_error: float


Row = TypeVar("Row", SummaryRow, CurveRow, CostRow)
Valued = TypeVar("Valued", SummaryRow, CurveRow)


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """All that an evaluation found."""

    manifest: dict[str, Any]
    summary: Sequence[SummaryRow]
    curves: Sequence[CurveRow]
    cost: Sequence[CostRow]

    @property
    def models(self) -> list[str]:
        """The models, as the tables have them in order."""
        return list(dict.fromkeys(row.model for row in self._rows()))

    def methods(self, model: str | None = None) -> list[str]:
        """The methods of a model, or of all, as the tables have them in order, but baselines last."""
        methods = dict.fromkeys(row.method for row in self._rows() if model in (None, row.model))
        return sorted(methods, key=BASELINES.__contains__)

    def values(self, metric: str, level: str) -> dict[tuple[str, str], SummaryRow]:
        """(model, method) to its main row of a metric at a level; those without a mean are left out."""
        rows = [row for row in self.summary if (row.metric, row.level, row.other) == (metric, level, "")]
        return {(row.model, row.method): row for row in _main(rows) if not math.isnan(row.mean)}

    def curves_of(self, model: str, level: str) -> dict[tuple[str, str], list[CurveRow]]:
        """(method, order) to the points of its main curve, by fraction."""
        curves: dict[tuple[str, str], list[CurveRow]] = {}
        for row in _main([row for row in self.curves if (row.model, row.level) == (model, level)]):
            curves.setdefault((row.method, row.order), []).append(row)
        return {key: sorted(rows, key=lambda row: row.fraction) for key, rows in curves.items()}

    def similarity(self, metric: str, model: str) -> dict[tuple[str, str], SummaryRow]:
        """(method, other method) of one model, in both orders, to their likeness; by nucleotide, else by token."""
        for level in ("nucleotide", "token"):
            pairs = {}
            for row in self._similar(metric, model, level):
                if row.other in self.methods(model):
                    pairs[row.method, row.other] = pairs[row.other, row.method] = row
            if pairs:
                return pairs
        return {}

    def agreement(self, metric: str, model: str, other_model: str) -> dict[tuple[str, str], SummaryRow]:
        """(method, the other model's method) to how alike they are, by nucleotide: tokens are not shared."""
        prefix = f"{other_model}:"
        rows = self._similar(metric, model, "nucleotide")
        return {(row.method, row.other.removeprefix(prefix)): row for row in rows if row.other.startswith(prefix)}

    def levels(self, model: str) -> set[str]:
        """The levels at which a model has any value."""
        return {row.level for row in self.summary if row.model == model}

    def main(self, rows: Iterable[SummaryRow]) -> list[SummaryRow]:
        """Those of the rows whose variant stands for their method at their level."""
        return _main(rows)

    def _similar(self, metric: str, model: str, level: str) -> list[SummaryRow]:
        rows = (row for row in self.summary if (row.metric, row.model, row.level) == (metric, model, level))
        return _main(row for row in rows if row.other and not math.isnan(row.mean))

    def _rows(self) -> Iterable[SummaryRow | CurveRow | CostRow]:
        yield from self.summary
        yield from self.curves
        yield from self.cost


def read_results(folder: str | os.PathLike[str]) -> Results:
    """The tables of an evaluation's folder.

    Raises InputError for a folder without one of them, and for a table that has other columns or no numbers where
    numbers belong.
    """
    folder = Path(folder)
    for name in (MANIFEST, METRICS, SUMMARY, CURVES, COST):
        if not (folder / name).is_file():
            raise InputError(f"{folder} holds no finished evaluation: there is no {name}", hint=_MEND)
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{folder / MANIFEST} is not JSON: {error}", hint=_MEND) from error
    if not isinstance(manifest, dict):
        raise InputError(f"{folder / MANIFEST}: a {type(manifest).__name__}, expected an object", hint=_MEND)
    return Results(
        manifest,
        _read(folder / SUMMARY, SummaryRow),
        _read(folder / CURVES, CurveRow),
        _read(folder / COST, CostRow),
    )


def _main(rows: Iterable[Valued]) -> list[Valued]:
    """Of each group the rows of one variant: the first, by which methods are compared."""
    first: dict[tuple[str, ...], str] = {}
    return [row for row in rows if row.variant == first.setdefault(row.group, row.variant)]


def _read(path: Path, row_type: type[Row]) -> list[Row]:
    """The rows of a table; its columns are the type's fields."""
    columns = fields(row_type)
    names = [column.name for column in columns]
    parse = [_PARSERS[str(column.type)] for column in columns]
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        lines = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE, lineterminator="\n")
        header = next(lines, [])
        if header != names:
            raise InputError(
                f"{path}: the columns are {', '.join(header) or 'none'}; expected {', '.join(names)}", hint=_MEND
            )
        rows = []
        for number, cells in enumerate(lines, start=2):
            if len(cells) != len(names):
                raise InputError(f"{path}:{number}: {len(cells)} columns, expected {len(names)}", hint=_MEND)
            values: dict[str, Any] = {}
            for name, read, cell in zip(names, parse, cells, strict=True):
                try:
                    values[name] = read(cell)
                except ValueError:
                    raise InputError(f"{path}:{number}: {name} is {cell!r}, expected a number", hint=_MEND) from None
            rows.append(row_type(**values))
    return rows


_PARSERS: dict[str, Callable[[str], Any]] = {
    "str": lambda cell: "" if cell == MISSING else cell,
    "int": lambda cell: 0 if cell == MISSING else int(cell),
    "float": lambda cell: math.nan if cell == MISSING else float(cell),
}
