"""Explainers: sequences in, one relevance per nucleotide out. Past this page nothing hears of tokens or one-hot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from gexplain.arrays import FloatArray, IntArray
from gexplain.attribution.attention import attention, attention_rollout
from gexplain.attribution.attnlrp import relevance_of_batch
from gexplain.attribution.chance import SEED, random_relevance
from gexplain.attribution.cnn_lrp import EPSILON, lrp
from gexplain.attribution.deeplift import N_REFERENCES, deeplift, deeplift_shap
from gexplain.attribution.gradients import IG_STEPS, gradient_x_input, integrated_gradients, saliency
from gexplain.attribution.perturbation import ism, occlusion_base, occlusion_token
from gexplain.attribution.relevance import BatchRelevance
from gexplain.attribution.target import Explained, Target, parse_target
from gexplain.errors import RunError, UsageError
from gexplain.genome.intervals import Strand
from gexplain.models.model import (
    DEFAULT_BATCH_SIZE,
    DnaBert2Model,
    Kind,
    Model,
    batches_of_like_length,
    orient,
)
from gexplain.models.rules import ATTN_LRP, CP_LRP, Rules
from gexplain.projection import PROJECTIONS
from gexplain.tokens import Tokens

AUTO = "auto"
"""In place of a method: the first that METHODS has for the model's kind."""

# Which strands a reading averages: "." is both.
_READ: dict[Strand, tuple[Strand, ...]] = {".": ("+", "-"), "+": ("+",), "-": ("-",)}


@dataclass(frozen=True, slots=True)
class Reading:
    """All that one pass over one sequence says of K explained values.

    relevance: (K, L) per nucleotide of the sequence as given. token_relevance: (K, T) and token_spans: (T, 2),
    of the strand read first, in the coordinates of the sequence as given. logits: (n_targets,) float64, the
    mean of the strands. explained: (K,) the value explained. words: (K,) the sum over all tokens; special:
    (K,) the part of it on [CLS] and [SEP], which no nucleotide receives. ledger: name to (K,), what the rules
    leave with constants; empty for a method that keeps no ledger. completeness_error: (K,), what the explained value
    is more than the baseline's, less `words`; None for a method that follows no path from a baseline. At the level of
    nucleotides, as of every method of a CNN, the tokens are the bases: T is L, each has a span of one, none is
    special.
    """

    relevance: FloatArray
    token_relevance: FloatArray
    token_spans: IntArray
    logits: FloatArray
    explained: FloatArray
    words: FloatArray
    special: FloatArray
    ledger: Mapping[str, FloatArray]
    completeness_error: FloatArray | None = None


class Explainer(Protocol):
    """What the pipeline asks of a model and a method: readings of DNA strings, whatever the model reads them as."""

    @property
    def batch_size(self) -> int:
        """Sequences that go through the model at once."""

    def read(self, sequences: Sequence[str], target: Target, strand: Strand = "+") -> list[Reading]:
        """One reading per sequence, in order; "." reads both strands and averages."""


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
    projections are the same. Raises UsageError for a method that the model's kind does not have, or that needs a
    package which is not installed.
    """

    model: Model
    method: str = AUTO
    projection: str = "uniform"
    batch_size: int = DEFAULT_BATCH_SIZE

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
        if self.batch_size < 1:
            raise UsageError(f"a batch size of {self.batch_size}", hint="at least 1")
        package = methods[self.method].needs
        if package and find_spec(package) is None:
            raise UsageError(
                f"method {self.method!r} is computed by {package}, which is not installed",
                hint=f"pip install {package}, or gexplain[{package}]",
            )

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
        strands = _READ[strand]
        tokens = self.model.tokens(sequences, strands)
        lengths = np.array([len(one.ids) for one in tokens]).reshape(-1, len(strands)).max(1)
        readings: dict[int, Reading] = {}
        for batch in batches_of_like_length(lengths, max(1, self.batch_size // len(strands))):
            batch_tokens = [tokens[index * len(strands) + s] for index in batch for s in range(len(strands))]
            batch_sequences = [sequences[index] for index in batch]
            readings.update(zip(batch, self._read_batch(batch_sequences, batch_tokens, strands, target), strict=True))
        return [readings[index] for index in range(len(sequences))]

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

    def _read_batch(
        self, sequences: Sequence[str], tokens: Sequence[Tokens], strands: Sequence[Strand], target: Target
    ) -> list[Reading]:
        """Readings of one batch; the strands of a sequence are neighbouring rows of `tokens`."""
        method = METHODS[self.model.kind][self.method]
        try:
            if isinstance(method, SequenceMethod):
                texts = [orient(sequence, strand) for sequence in sequences for strand in strands]
                result = method.relevance(self.model, texts, target, len(strands), self.batch_size)
            else:
                result = method.relevance(self.model, *self.model.pad(tokens), target, len(strands))
        except RuntimeError as error:
            if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
                raise
            n_tokens = max(len(one.ids) for one in tokens)
            raise RunError(
                f"out of memory on {self.model.device}, with {len(tokens)} sequences of {n_tokens} tokens",
                hint="use a smaller --batch-size or --window; the same command then goes on where it stopped",
            ) from error
        relevance_KBT = result.token_relevance.cpu().numpy().astype(self.model.result_dtype, copy=False)
        if not np.isfinite(relevance_KBT).all():
            raise RunError("the relevance of a window is not finite", hint="use --dtype float32, if you did not")
        logits_WN = result.logits.double().cpu().numpy()
        explained_KW = result.explained.double().cpu().numpy()
        ledger = {name: amount.cpu().numpy() for name, amount in result.ledger.items()}
        error_KW = None if result.completeness_error is None else result.completeness_error.double().cpu().numpy()
        readings = []
        for w, sequence in enumerate(sequences):
            rows = range(w * len(strands), (w + 1) * len(strands))
            of_bases = _spans_of_bases(len(sequence)) if method.level == "nucleotide" else None
            per_strand = [
                self._on_forward_strand(
                    relevance_KBT[:, row],
                    tokens[row].spans if of_bases is None else of_bases,
                    len(sequence),
                    strand,
                )
                for row, strand in zip(rows, strands, strict=True)
            ]
            values, token_relevance, spans = per_strand[0]
            if len(per_strand) > 1:
                values = np.mean([one[0] for one in per_strand], axis=0, dtype=values.dtype)
            words_K = np.mean([relevance_KBT[:, row].sum(-1, dtype=np.float64) for row in rows], axis=0)
            bases_K = np.mean(
                [one[1][:, one[2][:, 1] > one[2][:, 0]].sum(-1, dtype=np.float64) for one in per_strand], axis=0
            )
            readings.append(
                Reading(
                    relevance=values,
                    token_relevance=token_relevance,
                    token_spans=spans,
                    logits=logits_WN[w],
                    explained=explained_KW[:, w],
                    words=words_K,
                    special=words_K - bases_K,
                    ledger={name: amount_KW[:, w] for name, amount_KW in ledger.items()},
                    completeness_error=None if error_KW is None else error_KW[:, w],
                )
            )
        return readings

    def _on_forward_strand(
        self, relevance_KT: FloatArray, spans: IntArray, width: int, strand: Strand
    ) -> tuple[FloatArray, FloatArray, IntArray]:
        """(K, L) per nucleotide, (K, T) per token and spans (T, 2), in the coordinates of the forward strand."""
        project = PROJECTIONS[self.projection]
        relevance_KT = relevance_KT[:, : len(spans)]
        values = np.stack([project(row, spans, width) for row in relevance_KT])
        if strand == "-":
            return values[:, ::-1], relevance_KT, width - spans[:, ::-1]
        return values, relevance_KT, spans


def _spans_of_bases(width: int) -> IntArray:
    """(L, 2): every base a token of its own."""
    borders = np.arange(width + 1)
    return np.stack([borders[:-1], borders[1:]], axis=1)


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
