"""A model's self-test: laws that hold for every sound checkpoint, measured on random DNA."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gexplain.arrays import FloatArray
from gexplain.attribution.attnlrp import relevance_of_batch
from gexplain.attribution.deeplift import deeplift
from gexplain.attribution.relevance import BatchRelevance
from gexplain.attribution.target import Target
from gexplain.models.model import CnnModel, DnaBert2Model, Model
from gexplain.models.rules import ATTN_LRP, ATTN_LRP_STEPWISE, Rules
from gexplain.tokens import Tokens

TOLERANCE = 1e-10
_WIDTHS = (30, 90, 200)


@dataclass(frozen=True, slots=True)
class Check:
    """One law: what holds, the error measured, and how large it may be."""

    law: str
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """False for an error that is not a number, too."""
        return self.error <= self.tolerance


@dataclass(frozen=True, slots=True)
class SelfTest:
    """The checks, and where one sequence's explained value went: name to amount, words (a CNN's bases) among them."""

    checks: list[Check]
    ledger: dict[str, float]


def self_test(model: Model, seed: int = 0) -> SelfTest:
    """The checks of a model loaded in float64, and where one random sequence's first logit goes.

    Errors are relative to the size of what is compared. Raises ValueError for a model of another precision.
    """
    if model.dtype != "float64":
        raise ValueError(f"the self-test takes a float64 model, not {model.dtype}")
    generator = np.random.default_rng(seed)
    sequences = ["".join(generator.choice(list("ACGT"), width)) for width in _WIDTHS]
    return _test_cnn(model, sequences) if isinstance(model, CnnModel) else _test_dnabert2(model, sequences)


def _test_dnabert2(model: Model, sequences: list[str]) -> SelfTest:
    assert isinstance(model, DnaBert2Model)
    tokens = model.tokens(sequences)
    target = Target((0,), model.labels[:1])
    together = _relevance(model, tokens, target, ATTN_LRP)
    alone = [_relevance(model, [one], target, ATTN_LRP) for one in tokens]
    stepwise = _relevance(model, tokens[-1:], target, ATTN_LRP_STEPWISE)
    plain = model.predict(sequences, strand="forward")

    logits = together.logits.cpu().numpy()
    row = together.token_relevance[0].cpu().numpy()
    unpadded = [one.token_relevance[0, 0].cpu().numpy() for one in alone]
    ledger = {name: float(amount[0, 0]) for name, amount in stepwise.ledger.items()}
    ledger = {"words": float(stepwise.token_relevance.sum()), **ledger}
    explained = float(stepwise.explained[0, 0])
    checks = [
        Check(
            "a batch gives the logits of single sequences",
            _error(logits, np.concatenate([one.logits.cpu().numpy() for one in alone])),
            TOLERANCE,
        ),
        Check("logits under the rules are the plain logits", _error(logits, plain), TOLERANCE),
        Check(
            "padding changes no relevance",
            max(_error(row[i, : len(one)], one) for i, one in enumerate(unpadded)),
            TOLERANCE,
        ),
        Check(
            "fused attention explains as step-by-step attention does",
            _error(unpadded[-1], stepwise.token_relevance[0, 0].cpu().numpy()),
            TOLERANCE,
        ),
        Check(
            "the ledger closes: words and constants sum to the logit",
            abs(sum(ledger.values()) - explained) / max(1.0, abs(explained)),
            TOLERANCE,
        ),
    ]
    return SelfTest(checks, ledger)


def _relevance(model: DnaBert2Model, tokens: Sequence[Tokens], target: Target, rules: Rules) -> BatchRelevance:
    ids_BT, mask_BT = model.pad(tokens)
    return relevance_of_batch(model.network, ids_BT, mask_BT, target, rules=rules)


def _test_cnn(model: CnnModel, sequences: list[str]) -> SelfTest:
    tokens = model.tokens(sequences)
    target = Target((0,), model.labels[:1])
    together = deeplift(model, *model.pad(tokens), target)
    alone = [deeplift(model, *model.pad([one]), target) for one in tokens]
    unknown = model.predict(["N" * len(sequence) for sequence in sequences], strand="forward")

    row = together.token_relevance[0].cpu().numpy()
    unpadded = [one.token_relevance[0, 0].cpu().numpy() for one in alone]
    explained = together.explained[0].cpu().numpy()
    sums = row.sum(-1)
    checks = [
        Check(
            "a batch gives the logits of single sequences",
            _error(together.logits.cpu().numpy(), np.concatenate([one.logits.cpu().numpy() for one in alone])),
            TOLERANCE,
        ),
        Check(
            "padding changes no relevance",
            max(_error(row[i, : len(one)], one) for i, one in enumerate(unpadded)),
            TOLERANCE,
        ),
        Check(
            "relevance sums to the logit less that of N alone",
            float(np.abs(sums + unknown[:, 0] - explained).max() / max(1.0, np.abs(explained).max())),
            TOLERANCE,
        ),
    ]
    return SelfTest(checks, {"bases": float(sums[-1]), "N alone": float(unknown[-1, 0])})


def _error(found: FloatArray, expected: FloatArray) -> float:
    return float(np.abs(found - expected).max() / max(1e-300, np.abs(expected).max()))
