"""What is explained: one class or several, its logit or its margin over the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gexplain.errors import UsageError, preview

Explained = Literal["logit", "margin"]


@dataclass(frozen=True, slots=True)
class Target:
    """The classes whose value is explained; an empty tuple is the class that the model predicts, each time.

    A logit is linear in itself and so is relevance: a margin (the class against the mean of the others) costs
    the same one backward pass as a logit.
    """

    classes: tuple[int, ...]
    names: tuple[str, ...]
    explained: Explained = "logit"

    def __post_init__(self) -> None:
        if len(self.names) != max(1, len(self.classes)):
            raise ValueError(f"{len(self.names)} names for the classes {self.classes}")

    @property
    def n_explained(self) -> int:
        """K: the relevance arrays that one window yields."""
        return len(self.names)

    def directions(self, logits_BN: Tensor) -> Tensor:
        """(K, B, N): the vectors v such that the explained values are v . logits."""
        n_targets = logits_BN.shape[1]
        if self.classes:
            index = torch.tensor(self.classes).to(logits_BN.device, non_blocking=True)  # a GPU is not waited for
            chosen_KB = index[:, None].expand(-1, logits_BN.shape[0])
        else:
            chosen_KB = logits_BN.argmax(1)[None]
        one_hot = torch.nn.functional.one_hot(chosen_KB, n_targets).to(logits_BN.dtype)
        if self.explained == "logit":
            return one_hot
        return one_hot - (1 - one_hot) / (n_targets - 1)


def parse_target(text: str | int | None, labels: Sequence[str], explained: Explained = "logit") -> Target:
    """The target that a user names: a class, its index, "predicted" or "all".

    None is the default: the second class of a two-class model (the positive one), the only output of a model
    with one, else what the model predicts. Raises UsageError for a name that is no class, or a margin that
    has nothing to be measured against.
    """
    if explained == "margin" and len(labels) == 1:
        raise UsageError(
            f"--explain margin needs at least two classes; this model has one output, {labels[0]!r}",
            hint="use --explain logit",
        )
    if text is None:
        text = {1: 0, 2: 1}.get(len(labels), "predicted")
    if text in labels:  # a class may be called "all", or "1": names go first
        index = labels.index(str(text))
        return Target((index,), (labels[index],), explained)
    if text == "predicted":
        return Target((), ("predicted",), explained)
    if text == "all":
        return Target(tuple(range(len(labels))), tuple(labels), explained)
    if str(text).isdecimal() and int(text) < len(labels):
        return Target((int(text),), (labels[int(text)],), explained)
    raise UsageError(
        f"no target {text!r}: the model's classes are {preview(labels, 20)}",
        hint=f"name one of them, an index from 0 to {len(labels) - 1}, predicted or all",
    )
