"""A loaded model: sequences in, logits out. Where DNA strings become tensors."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from gexplain.arrays import FloatArray, IntArray
from gexplain.errors import InputError, ModelError, UsageError
from gexplain.genome.sequence import reverse_complement
from gexplain.models.checkpoint import Checkpoint, Head, load_checkpoint
from gexplain.models.dnabert2 import DnaBert2
from gexplain.tokens import Tokenizer, Tokens

Dtype = Literal["float32", "bfloat16", "float64"]
DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
}
DEFAULT_BATCH_SIZE = 16


class Model:
    """A DNABERT-2 classifier with its tokenizer, on one device; the parameters are frozen.

    labels: class names in logit order. head: what the logits mean. window: the width in nucleotides that the
    model was trained on, if its config records it.
    """

    def __init__(self, checkpoint: Checkpoint, *, device: str = "auto", dtype: str = "float32") -> None:
        self.checkpoint = checkpoint
        self.labels: tuple[str, ...] = checkpoint.labels
        self.head: Head = checkpoint.head
        self.window: int | None = checkpoint.window
        self.dtype = dtype
        self.device = choose_device(device)
        self.tokenizer = Tokenizer.from_file(checkpoint.tokenizer_file)
        self.network = _network(checkpoint, self.device, dtype)

    def predict(self, sequences: Sequence[str], *, batch_size: int = DEFAULT_BATCH_SIZE) -> FloatArray:
        """Logits of each sequence, read as it is given (one strand): (B, n_targets)."""
        tokens = self.tokens(sequences)
        logits = np.empty((len(sequences), len(self.labels)), dtype=self.result_dtype)
        for batch in batches_of_like_length([len(one.ids) for one in tokens], batch_size):
            ids_BT, mask_BT = self.pad([tokens[index] for index in batch])
            with torch.inference_mode():
                logits[batch] = self.network(self.network.embed(ids_BT), mask_BT).cpu().numpy()
        return logits

    def probabilities(self, logits: FloatArray) -> FloatArray:
        """What the head says of logits (..., n_targets): class probabilities, or a regression's values."""
        values: FloatArray = logits
        if self.head == "classification":
            exponentials = np.exp(logits - logits.max(-1, keepdims=True))
            values = exponentials / exponentials.sum(-1, keepdims=True)
        elif self.head == "multi_label":
            values = 1 / (1 + np.exp(-logits))
        return values

    def tokens(self, sequences: Sequence[str]) -> list[Tokens]:
        """Token ids and spans of each sequence. InputError for lower case, which the model would not read as DNA."""
        for index, sequence in enumerate(sequences):
            if sequence != sequence.upper():
                raise InputError(
                    f"sequence {index} (from 0) holds lower-case letters, which the model reads as unknown",
                    detail=sequence[:60],
                    hint="soft-masked bases are bases: give sequence.upper()",
                )
        return self.tokenizer.encode(sequences)

    def pad(self, tokens: Sequence[Tokens]) -> tuple[Tensor, Tensor | None]:
        """Token ids (B, T) on the device, and the mask (B, T), or None where all have one length."""
        lengths = np.array([len(one.ids) for one in tokens])
        ids = np.full((len(tokens), lengths.max()), self.tokenizer.pad_id, dtype=np.int64)
        for row, one in zip(ids, tokens, strict=True):
            row[: len(one.ids)] = one.ids
        mask = np.arange(lengths.max()) < lengths[:, None]
        on_device = torch.from_numpy(ids).to(self.device)
        return on_device, None if mask.all() else torch.from_numpy(mask).to(self.device, torch.float32)

    @property
    def result_dtype(self) -> np.dtype[np.floating]:
        """float64 for a float64 model, else float32: norms and sums are float32 under bfloat16 too."""
        return np.dtype(np.float64 if self.dtype == "float64" else np.float32)


def load_model(name: str | os.PathLike[str], *, device: str = "auto", dtype: str = "float32") -> Model:
    """The model in a checkpoint directory, or of a Hugging Face hub id.

    device: "auto" (CUDA where there is one, else CPU), "cpu", "cuda", "cuda:1" ... dtype: "float32",
    "bfloat16" (matrix products only; embeddings, norms and sums stay float32) or "float64".
    Raises ModelError for a checkpoint that cannot be explained, UsageError for the options.
    """
    if dtype not in DTYPES:
        raise UsageError(f"no dtype {dtype!r}", hint=f"one of {', '.join(DTYPES)}")
    choose_device(device)  # a wrong device is told before gigabytes are read
    return Model(load_checkpoint(name), device=device, dtype=dtype)


def choose_device(name: str) -> torch.device:
    """The torch device that a name means; UsageError where it is not on this machine."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"no device {name!r}", hint="auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"device {name!r} is none that gexplain runs on", hint="auto, cpu, cuda or cuda:N")
    if device.type == "cpu":
        return torch.device("cpu")
    found = torch.cuda.device_count()
    if (device.index or 0) >= found:
        raise UsageError(
            f"no device {name!r}: this machine has {found} CUDA devices that torch can use",
            hint="use --device cpu, or install a CUDA build of torch",
        )
    return torch.device("cuda", device.index or 0)


def batches_of_like_length(lengths: Sequence[int], batch_size: int) -> Iterator[IntArray]:
    """Indices in batches, longest first: little padding, and memory peaks at the first batch."""
    order = np.argsort(-np.asarray(lengths), kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def orient(sequence: str, strand: str) -> str:
    """The sequence as the strand reads it."""
    return reverse_complement(sequence) if strand == "-" else sequence


def _network(checkpoint: Checkpoint, device: torch.device, dtype: str) -> DnaBert2:
    precision = torch.float64 if dtype == "float64" else torch.float32
    with torch.device("meta"):  # no random initialisation, and no second copy of the weights
        network = DnaBert2(checkpoint.config)
    state = {name: tensor.to(device, precision) for name, tensor in checkpoint.state.items()}
    try:
        network.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise ModelError(f"{checkpoint.source}: the weights do not fit DNABERT-2", detail=str(error)) from error
    if dtype == "bfloat16":
        for module in network.bert.encoder.modules():
            if isinstance(module, nn.Linear):
                module.to(torch.bfloat16)
    return network.eval().requires_grad_(False)
