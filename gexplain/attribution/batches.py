"""Batches: which sequences go through the model together, and how many, so that it is busy and they fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

import numpy as np
import torch

from gexplain.arrays import IntArray
from gexplain.attribution.relevance import BatchRelevance
from gexplain.genome.intervals import Strand
from gexplain.models.model import DEFAULT_BATCH_SIZE, Model, batches_of_like_length
from gexplain.tokens import Tokens

# W sequences, S strands of each, B = W S rows, T tokens

BatchSize: TypeAlias = int | Literal["auto"]

# With so many tokens of DNABERT-2 a device is busy, and gains nothing more from further rows.
_AUTO_ROWS = {"cpu": DEFAULT_BATCH_SIZE, "cuda": 512}
_AUTO_TOKENS = {"cpu": 4_096, "cuda": 32_768}
_BASES_FOR_A_TOKEN = 16  # of a CNN, whose bases take less than a transformer's tokens


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Sequences that go through the model together.

    places: (W,), which of the sequences asked for each is. strands: those that each is read on. tokens: B rows; the
    strands of a sequence are neighbours.
    """

    places: IntArray
    sequences: Sequence[str]
    strands: Sequence[Strand]
    tokens: Sequence[Tokens]

    @property
    def width(self) -> int:
        """T: the tokens of the longest row."""
        return max(len(one.ids) for one in self.tokens)

    def halves(self) -> tuple[Batch, Batch]:
        """The first and the second half of its sequences, of which it has two at least."""
        middle = len(self.sequences) // 2
        return self._part(0, middle), self._part(middle, len(self.sequences))

    def _part(self, low: int, high: int) -> Batch:
        tokens = self.tokens[low * len(self.strands) : high * len(self.strands)]
        return Batch(self.places[low:high], self.sequences[low:high], self.strands, tokens)


@dataclass(frozen=True, slots=True, eq=False)
class Computed:
    """A batch and its relevance in the memory of the CPU, which a GPU may still be writing: `wait` first."""

    batch: Batch
    relevance: BatchRelevance
    written: torch.cuda.Event | None

    @classmethod
    def of(cls, batch: Batch, result: BatchRelevance) -> Computed:
        """The relevance on its way to the CPU; a GPU goes on with the next batch meanwhile."""
        if result.logits.device.type != "cuda":
            return cls(batch, result, None)
        error = result.completeness_error
        on_cpu = BatchRelevance(
            logits=result.logits.to("cpu", non_blocking=True),
            token_relevance=result.token_relevance.to("cpu", non_blocking=True),
            explained=result.explained.to("cpu", non_blocking=True),
            ledger={name: amount.to("cpu", non_blocking=True) for name, amount in result.ledger.items()},
            completeness_error=None if error is None else error.to("cpu", non_blocking=True),
        )
        written = torch.cuda.Event()  # type: ignore[no-untyped-call]
        written.record(torch.cuda.current_stream(result.logits.device))
        return cls(batch, on_cpu, written)

    def wait(self) -> BatchRelevance:
        """The relevance, when it is there."""
        if self.written is not None:
            self.written.synchronize()
        return self.relevance


class Room:
    """How much goes through a model at once: the rows that were asked for, or what the device has room for.

    The latter is "auto". It begins with what keeps the device busy, and a batch that did not fit halves it for all
    that follow. What it begins with does not depend on what else is on the machine: so the same windows share a
    batch, unless memory was short.
    """

    def __init__(self, batch_size: BatchSize, model: Model) -> None:
        is_auto = batch_size == "auto"
        self._rows = _AUTO_ROWS[model.device.type] if is_auto else cast(int, batch_size)
        per_token = 1 if model.kind == "DNABERT-2" else _BASES_FOR_A_TOKEN
        self._tokens = _AUTO_TOKENS[model.device.type] * per_token if is_auto else None

    def rows(self, n_tokens: int) -> int:
        """Rows of so many tokens that go through at once."""
        return self._rows if self._tokens is None else max(1, min(self._rows, self._tokens // n_tokens))

    def batches(self, lengths_W: IntArray, n_strands: int) -> Iterator[IntArray]:
        """Places of sequences in batches of like length, longest first; lengths_W: tokens of the longer strand."""
        if self._tokens is None:
            yield from batches_of_like_length(lengths_W.tolist(), max(1, self._rows // n_strands))
            return
        order, low = np.argsort(-lengths_W, kind="stable"), 0
        while low < len(order):
            high = low + max(1, self.rows(int(lengths_W[order[low]])) // n_strands)
            yield order[low:high]
            low = high

    def has_for(self, batch: Batch) -> bool:
        """Whether a batch is within what is known to fit."""
        return len(batch.sequences) == 1 or self._tokens is None or len(batch.tokens) * batch.width <= self._tokens

    def halve(self, n_rows: int, n_tokens: int) -> bool:
        """Take note that so many rows of so many tokens did not fit; whether fewer may be tried."""
        if self._tokens is None:
            return False
        self._tokens = n_rows * n_tokens // 2
        return True


_LACKS_MEMORY = (
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "can't allocate memory",
)
"""What torch says in a RuntimeError of no kind of its own: of a GPU and its libraries, and of a CPU."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that the device, or the process, has no memory left."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _LACKS_MEMORY)
