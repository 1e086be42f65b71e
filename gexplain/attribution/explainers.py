"""Explainers: sequences in, one relevance per nucleotide out. Past this page nothing hears of tokens or one-hot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from gexplain.arrays import FloatArray, IntArray
from gexplain.attribution.attention import attention, attention_rollout
from gexplain.attribution.attnlrp import relevance_of_batch
from gexplain.attribution.batches import Batch, BatchSize, Computed, Room, is_out_of_memory
from gexplain.attribution.chance import SEED, random_relevance
from gexplain.attribution.cnn_lrp import EPSILON, lrp
from gexplain.attribution.deeplift import N_REFERENCES, deeplift, deeplift_shap
from gexplain.attribution.gradients import IG_STEPS, gradient_x_input, integrated_gradients, saliency
from gexplain.attribution.perturbation import ism, occlusion_base, occlusion_token
from gexplain.attribution.readings import Reading, readings_of
from gexplain.attribution.relevance import BatchRelevance
from gexplain.attribution.target import Explained, Target, parse_target
from gexplain.errors import RunError, UsageError
from gexplain.genome.intervals import Strand
from gexplain.models.denormals import flushed_denormals
from gexplain.models.model import (
    DEFAULT_BATCH_SIZE,
    DnaBert2Model,
    Kind,
    Model,
    orient,
)
from gexplain.models.rules import ATTN_LRP, CP_LRP, Rules
from gexplain.projection import PROJECTIONS

AUTO = "auto"
"""In place of a method: the first that METHODS has for the model's kind."""

# Which strands a reading averages: "." is both.
_READ: dict[Strand, tuple[Strand, ...]] = {".": ("+", "-"), "+": ("+",), "-": ("-",)}


class Explainer(Protocol):
    """What the pipeline asks of a model and a method: readings of DNA strings, whatever the model reads them as.

    In three steps, which may run on three threads: `batches` on the CPU, `compute` where the model is, `readings` on
    the CPU again.
    """

    @property
    def batch_size(self) -> BatchSize:
        """Sequences that go through the model at once."""

    def batches(self, sequences: Sequence[str], strand: Strand) -> list[Batch]:
        """The sequences as the model reads them, in batches; "." reads both strands."""

    def compute(self, batch: Batch, target: Target) -> list[Computed]:
        """The relevance of a batch, in parts where it did not fit."""

    def readings(self, computed: Computed) -> list[Reading]:
        """One reading per sequence of a batch, in its order; of both strands, the mean."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why the model gave one sequence its value.

    relevance: (L,) per nucleotide, in the model's logit units, but for saliency, attention and random.
    token_relevance: (T,) with the special tokens, (L,) where the method is at the level of nucleotides; token_spans:
    (T, 2) half-open, empty for special tokens. logits: (n_targets,). target: the class explained.
    explained: its value. ledger: what constants took; relevance does not sum to the explained value, the sum
    of token_relevance and ledger does (on one strand, where the method keeps a ledger).
    """

    relevance: FloatArray
    token_relevance: FloatArray
    token_spans: IntArray
    logits: FloatArray
    target: str
    explained: float
    ledger: Mapping[str, float]

    @property
    def unexplained(self) -> float:
        """The explained value less the relevance of all tokens."""
        return self.explained - float(self.token_relevance.sum(dtype=np.float64))


@dataclass(frozen=True, slots=True)
class TokenExplainer:
    """A model, a method and a projection: one explainer of DNA strings.

    method: "auto" becomes the one that is best for the model's kind. Where the tokens are the bases, as of a CNN, all
    projections are the same. batch_size: rows that go through the model at once, or "auto" (see `Room`). Raises
    UsageError for a method that the model's kind does not have, or that needs a package which is not installed.
    """

    model: Model
    method: str = AUTO
    projection: str = "uniform"
    batch_size: BatchSize = DEFAULT_BATCH_SIZE
    _room: Room = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        methods = METHODS[self.model.kind]
        if self.method == AUTO:
            object.__setattr__(self, "method", next(iter(methods)))  # frozen: this is the one time
        for what, name, known in (
            (f"method {self.method!r} for a {self.model.kind}", self.method, methods),
            (f"projection {self.projection!r}", self.projection, PROJECTIONS),
        ):
            if name not in known:
                raise UsageError(f"no {what}", hint=f"one of {', '.join(known)}")
        if self.batch_size != "auto" and self.batch_size < 1:
            raise UsageError(f"a batch size of {self.batch_size}", hint="at least 1")
        package = methods[self.method].needs
        if package and find_spec(package) is None:
            raise UsageError(
                f"method {self.method!r} is computed by {package}, which is not installed",
                hint=f"pip install {package}, or gexplain[{package}]",
            )
        object.__setattr__(self, "_room", Room(self.batch_size, self.model))

    @property
    def level(self) -> Level:
        """What one value of the method is of: a token, or a nucleotide."""
        return METHODS[self.model.kind][self.method].level

    @property
    def rules(self) -> Mapping[str, str]:
        """How the method treats each step, in words, for a manifest."""
        return METHODS[self.model.kind][self.method].rules

    def read(self, sequences: Sequence[str], target: Target, strand: Strand = "+") -> list[Reading]:
        """One reading per sequence, in order; "." reads both strands and averages.

        batch_size counts rows: a sequence on both strands is two.
        """
        readings: dict[int, Reading] = {}
        for batch in self.batches(sequences, strand):
            for computed in self.compute(batch, target):
                readings.update(zip(computed.batch.places.tolist(), self.readings(computed), strict=True))
        return [readings[place] for place in range(len(sequences))]

    def batches(self, sequences: Sequence[str], strand: Strand) -> list[Batch]:
        """The sequences as the model reads them, those of like length together; "." reads both strands."""
        strands = _READ[strand]
        n_strands = len(strands)
        tokens = self.model.tokens(sequences, strands)
        lengths = np.array([len(one.ids) for one in tokens], dtype=np.int64).reshape(-1, n_strands).max(1)
        return [
            Batch(
                places,
                [sequences[place] for place in places],
                strands,
                [tokens[place * n_strands + nth] for place in places for nth in range(n_strands)],
            )
            for places in self._room.batches(lengths, n_strands)
        ]

    def compute(self, batch: Batch, target: Target) -> list[Computed]:
        """The relevance of a batch; of an "auto" batch size with fewer rows at once, where they do not fit.

        Raises RunError where the device has no memory for it.
        """
        if not self._room.has_for(batch):
            return [computed for half in batch.halves() for computed in self.compute(half, target)]
        try:
            return [Computed.of(batch, self._relevance(batch, target))]
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            n_rows, least = self._rows_at_once(batch)
            if n_rows <= least or not self._room.halve(n_rows, batch.width):
                raise self._out_of_memory(batch) from error
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()  # blocks of the many rows, which fewer might not fit in
        return self.compute(batch, target)

    def readings(self, computed: Computed) -> list[Reading]:
        """One reading per sequence of a batch, in its order; of both strands, the mean."""
        return readings_of(
            computed.batch,
            computed.wait(),
            PROJECTIONS[self.projection],
            self.level == "nucleotide",
            self.model.result_dtype,
        )

    def explain(self, sequences: Sequence[str], target: Target) -> list[Explanation]:
        """One explanation per sequence, of the strand as given."""
        if target.n_explained != 1:
            raise UsageError(f"explain takes one target, not {target.n_explained}", hint="call it once per class")
        return [
            Explanation(
                relevance=one.relevance[0],
                token_relevance=one.token_relevance[0],
                token_spans=one.token_spans,
                logits=one.logits.astype(self.model.result_dtype),
                target=self.model.labels[target.classes[0] if target.classes else int(one.logits.argmax())],
                explained=float(one.explained[0]),
                ledger={name: float(amount[0]) for name, amount in one.ledger.items()},
            )
            for one in self.read(sequences, target)
        ]

    @flushed_denormals()
    def _relevance(self, batch: Batch, target: Target) -> BatchRelevance:
        method, n_strands = METHODS[self.model.kind][self.method], len(batch.strands)
        if isinstance(method, SequenceMethod):
            texts = [orient(sequence, strand) for sequence in batch.sequences for strand in batch.strands]
            return method.relevance(self.model, texts, target, n_strands, self._room.rows(batch.width))
        return method.relevance(self.model, *self.model.pad(batch.tokens), target, n_strands)

    def _rows_at_once(self, batch: Batch) -> tuple[int, int]:
        """Rows of a batch that go through the model together, and how many do at least."""
        if isinstance(METHODS[self.model.kind][self.method], SequenceMethod):
            return self._room.rows(batch.width), 1  # of its sequences as they are changed, which are many more
        return len(batch.tokens), len(batch.strands)

    def _out_of_memory(self, batch: Batch) -> RunError:
        n_rows, least = self._rows_at_once(batch)
        mend = "a smaller --batch-size or --window" if n_rows > least else "a smaller --window"
        return RunError(
            f"out of memory on {self.model.device}, with {n_rows} sequences of {batch.width} tokens",
            hint=f"use {mend}; the same command then goes on where it stopped",
        )


def explain(
    model: Model,
    sequences: Sequence[str],
    target: str | int | None = None,
    *,
    explained: Explained = "logit",
    method: str = AUTO,
    projection: str = "uniform",
    batch_size: int = DEFAULT_BATCH_SIZE,
) -> list[Explanation]:
    """Why the model gave each sequence its value: one Explanation a sequence, read on the strand as given.

    target: a class name or index, or "predicted"; by default the second class of a two-class model, else the
    predicted one. explained: its "logit", or its "margin" over the mean of the others. method: one of those that
    METHODS has for the model's kind; auto is attnlrp or deeplift.
    projection: uniform (a token's relevance is shared by its bases) or copy; the same for a CNN.
    """
    explainer = TokenExplainer(model, method, projection, batch_size)
    return explainer.explain(sequences, parse_target(target, model.labels, explained))


Level = Literal["token", "nucleotide"]

Relevance = Callable[[Model, Tensor, Tensor | None, Target, int], BatchRelevance]
"""Relevance of a batch of tokens: model, ids (B, T), mask (B, T) or none, target, strands of each sequence."""

SequenceRelevance = Callable[[Model, Sequence[str], Target, int, int], BatchRelevance]
"""Relevance of a batch of DNA strings as their strands spell them: model, B rows, target, strands of each sequence,
rows that go through the model at once."""


@dataclass(frozen=True, slots=True)
class Method:
    """A way to explain one kind of model, from the tokens that it reads.

    level: what one value is of; of a CNN the tokens are the bases. rules: what a manifest records of it. needs: the
    package that computes it, where gexplain does not come with it.
    """

    level: Level
    relevance: Relevance
    rules: Mapping[str, str]
    needs: str = ""


@dataclass(frozen=True, slots=True)
class SequenceMethod:
    """A way to explain one kind of model that starts from the DNA; the fields are those of `Method`."""

    level: Level
    relevance: SequenceRelevance
    rules: Mapping[str, str]
    needs: str = ""


def _under(rules: Rules) -> Method:
    """LRP under these rules."""

    def relevance(
        model: Model, ids_BT: Tensor, mask_BT: Tensor | None, target: Target, n_strands: int
    ) -> BatchRelevance:
        assert isinstance(model, DnaBert2Model)
        return relevance_of_batch(model.network, ids_BT, mask_BT, target, rules=rules, n_strands=n_strands)

    return Method("token", relevance, rules.described)


_ORDINARY = {"all steps": "ordinary gradient"}
_NORM = {**_ORDINARY, "channels": "the norm over them, never negative"}
_PATH = f"straight, {IG_STEPS} points, midpoint rule"
_UNKNOWN = {"change": "each base to N, tokenised anew", "letters that are no base": "0"}
_MUTANTS = {"change": "each base to the three others, their mean, tokenised anew", "letters that are no base": "0"}
_NOISE = {"noise": f"normal, for each class, by the sequence and seed {SEED} alone"}

METHODS: dict[Kind, dict[str, Method | SequenceMethod]] = {
    "DNABERT-2": {
        "attnlrp": _under(ATTN_LRP),
        "cplrp": _under(CP_LRP),
        "gradient-x-input": Method("token", gradient_x_input, _ORDINARY),
        "saliency": Method("token", saliency, _NORM),
        "integrated-gradients": Method(
            "token", integrated_gradients, {"path": _PATH, "baseline": "[MASK] for every token that spells a base"}
        ),
        "attention": Method("token", attention, {"weights": "of [CLS] in the last layer, the mean of its heads"}),
        "attention-rollout": Method(
            "token", attention_rollout, {"weights": "of [CLS], the product over layers of heads' mean + 1, rows to 1"}
        ),
        "occlusion-token": SequenceMethod("token", occlusion_token, {"change": "each token to [MASK], in place"}),
        "occlusion-base": SequenceMethod("nucleotide", occlusion_base, _UNKNOWN),
        "ism": SequenceMethod("nucleotide", ism, _MUTANTS),
        "random": Method("token", random_relevance, _NOISE),
    },
    "CNN": {
        "deeplift": Method(
            "nucleotide",
            deeplift,
            {"ReLU": "Rescale", "maximum": "all to where it is", "baseline": "N for every base"},
        ),
        "deeplift-shap": SequenceMethod(
            "nucleotide",
            deeplift_shap,
            {
                "ReLU": "Rescale",
                "maximum": "all to where it is",
                "baseline": f"{N_REFERENCES} dinucleotide shuffles, by the sequence and seed {SEED} alone",
            },
            needs="tangermeme",
        ),
        "lrp": Method(
            "nucleotide",
            lrp,
            {
                "dense": f"epsilon, {EPSILON:g}",
                "convolution": "z+",
                "ReLU": "passes on",
                "maximum": "all to where it is",
            },
        ),
        "gradient-x-input": Method("nucleotide", gradient_x_input, _ORDINARY),
        "saliency": Method("nucleotide", saliency, _NORM),
        "integrated-gradients": Method(
            "nucleotide", integrated_gradients, {"path": _PATH, "baseline": "N for every base"}
        ),
        "occlusion-base": SequenceMethod("nucleotide", occlusion_base, _UNKNOWN),
        "ism": SequenceMethod("nucleotide", ism, _MUTANTS),
        "random": Method("nucleotide", random_relevance, _NOISE),
    },
}
"""The methods of each kind of model, the default first."""
