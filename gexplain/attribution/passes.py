"""The cost of an explanation: how many rows go through the network, forward and backward."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from gexplain.models.model import Model


@dataclass(slots=True)
class Passes:
    """Rows that went through a network so far; a sequence read on both strands is two rows."""

    forward: int = 0
    backward: int = 0

    @property
    def forward_equivalents(self) -> int:
        """Both together: with frozen weights a backward pass costs what a forward pass does."""
        return self.forward + self.backward


@contextmanager
def count_passes(model: Model) -> Iterator[Passes]:
    """The rows that go through the model while it lasts, counted at the classifier, which every path ends in.

    A backward pass counts for each explained value, since each takes one of its own.
    """
    passes = Passes()

    def count_backward(gradient_BN: Tensor) -> None:
        passes.backward += len(gradient_BN)

    def count_forward(_: nn.Module, __: tuple[Tensor, ...], logits_BN: Tensor) -> None:
        passes.forward += len(logits_BN)
        if logits_BN.requires_grad:
            logits_BN.register_hook(count_backward)  # type: ignore[no-untyped-call]

    classifier = model.network.classifier
    assert isinstance(classifier, nn.Module)
    hook = classifier.register_forward_hook(count_forward)
    try:
        yield passes
    finally:
        hook.remove()
