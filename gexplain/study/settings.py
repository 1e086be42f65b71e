"""Settings of an evaluation. No torch here: what is wrong with them is told at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gexplain.errors import UsageError
from gexplain.evaluation.levels import AGGREGATIONS
from gexplain.evaluation.metrics import METRICS, Need
from gexplain.inputs import CHOICES, ScoreSettings

METRIC_NAMES = (*METRICS, "similarity")
"""What can be measured, in the order of the tables; similarity is that of two explanations, by all PAIR_METRICS."""

_LEAST_COSTLY = 5

OWN_LABEL = "label"
"""As a target: the class that each sequence is labelled with, in a CSV, or by its name in a BED."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateSettings:
    """What `evaluate` is asked to do; the defaults are those of the command.

    target: what is explained of each sequence: a class, its index, "predicted", or "label" for its own; by default
    "label" of a CSV, else as for `score`. explained: its logit or its margin. methods, metrics: names, all that there
    are if empty; a model is explained by those methods that its kind has. projections, aggregations: between tokens
    and nucleotides; the first of each is the one that methods are compared by. draws: of substituted bases for a
    nucleotide curve. substitution: by random bases, or by those of a dinucleotide-shuffled donor. sample: at most so
    many sequences, drawn by the seed. costly: sanity and robustness are measured on the first so many sequences.
    mutants: single substitutions a sequence, for robustness. shifts: offsets of the averaged variants of the default
    method, 1 for none. window: bases around the middle of a region; by default what the model was trained on, else
    512. chroms, chrom_alias, on_bad_line, strict, batch_size, device, dtype, resume and force: as for `score`.
    """

    target: str | int | None = None
    explained: Literal["logit", "margin"] = "logit"
    methods: Sequence[str] = ()
    metrics: Sequence[str] = ()
    projections: Sequence[str] = ("uniform",)
    aggregations: Sequence[str] = ("sum",)
    draws: int = 5
    substitution: Literal["random", "shuffled"] = "random"
    sample: int | None = None
    costly: int = 50
    mutants: int = 5
    shifts: int = 8
    window: int | None = None
    seed: int = 0
    chroms: Sequence[str] = ()
    chrom_alias: str | os.PathLike[str] | None = None
    on_bad_line: Literal["stop", "skip"] = "stop"
    strict: bool = False
    batch_size: int = 64
    device: str | None = None
    dtype: str | None = None
    resume: bool = True
    force: bool = False

    def __post_init__(self) -> None:
        methods = tuple(one for one in CHOICES["method"] if one != "auto")
        for option, known in (
            ("methods", methods),
            ("metrics", METRIC_NAMES),
            ("projections", CHOICES["projection"]),
            ("aggregations", AGGREGATIONS),
        ):
            given = getattr(self, option)
            unknown = [one for one in given if one not in known]
            if unknown:
                raise UsageError(f"unknown {option}: {', '.join(unknown)}", hint=f"any of {', '.join(known)}")
            if len(set(given)) < len(given):
                raise UsageError(f"{option} named twice: {', '.join(given)}", hint="name each once")
        for option in ("projections", "aggregations"):
            if not getattr(self, option):
                raise UsageError(f"no {option}", hint="give one at least")
        for option, least in (
            ("draws", 1),
            ("sample", 1),
            ("costly", 0),
            ("mutants", 1),
            ("shifts", 1),
            ("window", 10),
            ("seed", 0),
            ("batch_size", 1),
        ):
            number = getattr(self, option)
            if number is not None and number < least:
                raise UsageError(f"{option} {number}; expected at least {least}", hint="leave it out for the default")
        if 0 < self.costly < _LEAST_COSTLY:
            raise UsageError(
                f"costly {self.costly}; expected 0, or at least {_LEAST_COSTLY} sequences for an interval",
                hint="leave it out for the default",
            )
        costly = [name for name in self.metrics if self._needs(name) & {"randomised", "mutants"}]
        if costly and self.costly == 0:
            raise UsageError(f"costly 0 measures no {', '.join(costly)}", hint="leave one of the two out")
        if self.substitution not in ("random", "shuffled"):
            raise UsageError(f"unknown substitution: {self.substitution}", hint="random or shuffled")
        self.of_inputs()  # the options that it shares with score

    def check_truth(self, is_given: bool) -> None:
        """Raises UsageError where a metric is named that needs the true sites, and they are not given."""
        lacking = [name for name in self.metrics if "truth" in self._needs(name)]
        if lacking and not is_given:
            raise UsageError(f"{', '.join(lacking)} without true sites", hint="give them: --truth BED")

    def wants(self, metric: str) -> bool:
        """Whether a metric is asked for."""
        return not self.metrics or metric in self.metrics

    def _needs(self, metric: str) -> frozenset[Need]:
        return METRICS[metric].needs if metric in METRICS else frozenset()

    def of_inputs(self) -> ScoreSettings:
        """What the reading of regions is told."""
        return ScoreSettings(
            explained=self.explained,
            chroms=self.chroms,
            chrom_alias=None if self.chrom_alias is None else str(self.chrom_alias),
            on_bad_line=self.on_bad_line,
            strict=self.strict,
            dtype=self.dtype,
        )
