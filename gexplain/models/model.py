"""A loaded model: sequences in, logits out. Where DNA strings become tensors.

Two kinds of model, one surface: a sequence becomes tokens, tokens become rows of numbers (their embedding), and the
network makes logits of those. DNABERT-2's tokens are BPE pieces; a CNN's are the bases, and its embedding is one-hot.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gexplain.arrays import FloatArray, IntArray
from gexplain.errors import InputError, ModelError, UsageError
from gexplain.genome.sequence import reverse_complement
from gexplain.models.checkpoint import Checkpoint, read_checkpoint
from gexplain.models.cnn import NO_BASE, Cnn, CnnCheckpoint, base_codes, embed_bases, is_cnn, read_cnn_checkpoint
from gexplain.models.denormals import flushed_denormals
from gexplain.models.dnabert2 import DnaBert2
from gexplain.models.settings import Head
from gexplain.models.sources import find_folder
from gexplain.tokens import Tokenizer, Tokens

Kind = Literal["DNABERT-2", "CNN"]
Dtype = Literal["float32", "bfloat16", "float64"]
DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
}
DEFAULT_BATCH_SIZE = 16

PREDICT_STRANDS: dict[str, tuple[str, ...]] = {"both": ("+", "-"), "forward": ("+",), "reverse": ("-",)}
"""The strands of which `predict` averages the logits."""


class Model(ABC):
    """A classifier of DNA on one device, with all that reads sequences for it; the parameters are frozen.

    labels: class names in logit order. head: what the logits mean. window: the width in nucleotides that the
    model was trained on, if its config records it. kind: DNABERT-2 or CNN.
    """

    kind: ClassVar[Kind]
    checkpoint: Checkpoint | CnnCheckpoint
    network: nn.Module

    def __init__(
        self, checkpoint: Checkpoint | CnnCheckpoint, *, device: str = "auto", dtype: str = "float32"
    ) -> None:
        self.checkpoint = checkpoint
        self.labels: tuple[str, ...] = checkpoint.labels
        self.head: Head = checkpoint.head
        self.window: int | None = checkpoint.window
        self.dtype = dtype
        self.device = choose_device(device)

    def predict(
        self,
        sequences: Sequence[str],
        *,
        strand: Literal["both", "forward", "reverse"] = "both",
        batch_size: int = DEFAULT_BATCH_SIZE,
    ) -> FloatArray:
        """Logits of each sequence: (B, n_targets).

        strand: the mean of both by default; forward reads the sequence as it is given, reverse its reverse
        complement. batch_size: sequences that go through the model at once; one on both strands is two.
        """
        if strand not in PREDICT_STRANDS:
            raise UsageError(f"no strand {strand!r}", hint=f"one of {', '.join(PREDICT_STRANDS)}")
        strands = PREDICT_STRANDS[strand]
        logits = self.logits_of_tokens(self.tokens(sequences, strands), batch_size=batch_size)
        mean: FloatArray = logits.reshape(len(sequences), len(strands), len(self.labels)).mean(1)
        return mean

    def logits_of_tokens(self, tokens: Sequence[Tokens], *, batch_size: int = DEFAULT_BATCH_SIZE) -> FloatArray:
        """Logits of each row of tokens, whatever sequence they spell: (B, n_targets)."""
        logits = np.empty((len(tokens), len(self.labels)), dtype=self.result_dtype)
        for batch in batches_of_like_length([len(one.ids) for one in tokens], batch_size):
            ids_BT, mask_BT = self.pad([tokens[index] for index in batch])
            with torch.inference_mode(), flushed_denormals():
                logits[batch] = self.logits(self.embed(ids_BT), mask_BT).cpu().numpy()
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

    def tokens(self, sequences: Sequence[str], strands: Sequence[str] = ("+",)) -> list[Tokens]:
        """Token ids and spans of each sequence on each strand, the strands of a sequence side by side.

        Raises InputError for lower case, which the model would not read as DNA.
        """
        for index, sequence in enumerate(sequences):
            if sequence != sequence.upper():
                raise InputError(
                    f"sequence {index} (from 0) holds lower-case letters, which the model reads as unknown",
                    detail=sequence[:60],
                    hint="soft-masked bases are bases: give sequence.upper()",
                )
        return self._encode([orient(sequence, strand) for sequence in sequences for strand in strands])

    def pad(self, tokens: Sequence[Tokens]) -> tuple[Tensor, Tensor | None]:
        """Token ids (B, T) on the device, and the mask (B, T), or None where all have one length."""
        lengths = np.array([len(one.ids) for one in tokens])
        ids = np.full((len(tokens), lengths.max()), self._pad_id, dtype=np.int64)
        for row, one in zip(ids, tokens, strict=True):
            row[: len(one.ids)] = one.ids
        mask = np.arange(lengths.max()) < lengths[:, None]
        return self._send(ids), None if mask.all() else self._send(mask.astype(np.float32))

    def _send(self, values: npt.NDArray[Any]) -> Tensor:
        """The values on the device; a GPU is not waited for, which may be busy with the batch before."""
        tensor = torch.from_numpy(values)
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)

    @abstractmethod
    def embed(self, ids_BT: Tensor) -> Tensor:
        """The numbers (B, T, C) that the network reads: what relevance is assigned to."""

    @abstractmethod
    def baseline(self, ids_BT: Tensor) -> Tensor:
        """The embedding (B, T, C) of the same sequences with every base unknown."""

    @abstractmethod
    def logits(self, embedding_BTC: Tensor, mask_BT: Tensor | None) -> Tensor:
        """Logits (B, n_targets) of an embedding."""

    @abstractmethod
    def identity(self) -> dict[str, object]:
        """What the logits depend on: checksums and sizes, as a manifest records them."""

    @abstractmethod
    def summary(self) -> dict[str, str]:
        """The architecture, and what is particular to it, in words."""

    @property
    def result_dtype(self) -> np.dtype[np.floating]:
        """float64 for a float64 model, else float32: norms and sums are float32 under bfloat16 too."""
        return np.dtype(np.float64 if self.dtype == "float64" else np.float32)

    @property
    @abstractmethod
    def _pad_id(self) -> int: ...

    @abstractmethod
    def _encode(self, rows: Sequence[str]) -> list[Tokens]: ...


class DnaBert2Model(Model):
    """A DNABERT-2 classifier with its tokenizer."""

    kind = "DNABERT-2"
    checkpoint: Checkpoint
    network: DnaBert2

    def __init__(self, checkpoint: Checkpoint, *, device: str = "auto", dtype: str = "float32") -> None:
        super().__init__(checkpoint, device=device, dtype=dtype)
        self.tokenizer = Tokenizer.from_file(checkpoint.tokenizer_file)
        with torch.device("meta"):  # no random initialisation, and no second copy of the weights
            self.network = DnaBert2(checkpoint.config)
        _load(self.network, checkpoint, self.device, dtype)
        if dtype == "bfloat16":
            for module in self.network.bert.encoder.modules():
                if isinstance(module, nn.Linear):
                    module.to(torch.bfloat16)

    def embed(self, ids_BT: Tensor) -> Tensor:
        """The word embeddings (B, T, C) of token ids."""
        return self.network.embed(ids_BT)

    def baseline(self, ids_BT: Tensor) -> Tensor:
        """The word embeddings (B, T, C) with [MASK] for every token that spells a base, [UNK] included."""
        special = self._send(np.array(sorted(self.tokenizer.special_ids)))
        return self.network.embed(torch.where(torch.isin(ids_BT, special), ids_BT, self.tokenizer.mask_id))

    def logits(self, embedding_BTC: Tensor, mask_BT: Tensor | None) -> Tensor:
        """Logits (B, n_targets) of word embeddings (B, T, C), with their ordinary gradient."""
        logits_BN: Tensor = self.network(embedding_BTC, mask_BT)
        return logits_BN

    def identity(self) -> dict[str, object]:
        """The checksums of weights and tokenizer, and the sizes."""
        return {
            "model": self.checkpoint.sha256,
            "tokenizer": self.tokenizer.sha256,
            "architecture": asdict(self.checkpoint.config),
        }

    def summary(self) -> dict[str, str]:
        """The sizes and the tokenizer, in words."""
        config = self.checkpoint.config
        return {
            "architecture": f"DNABERT-2: {config.n_layers} layers, width {config.hidden_size}, "
            f"{config.n_heads} heads, GLU width {config.intermediate_size}",
            "tokenizer": f"{self.tokenizer.path.name}, {self.tokenizer.n_tokens:,} tokens, "
            f"sha256 {self.tokenizer.sha256}",
        }

    @property
    def _pad_id(self) -> int:
        return self.tokenizer.pad_id

    def _encode(self, rows: Sequence[str]) -> list[Tokens]:
        return self.tokenizer.encode(rows)


class CnnModel(Model):
    """A CNN; every base of a sequence is a token of its own."""

    kind = "CNN"
    checkpoint: CnnCheckpoint
    network: Cnn

    def __init__(self, checkpoint: CnnCheckpoint, *, device: str = "auto", dtype: str = "float32") -> None:
        if dtype == "bfloat16":
            raise UsageError("a CNN is not run in bfloat16", hint="use float32 or float64; a CNN is fast in both")
        super().__init__(checkpoint, device=device, dtype=dtype)
        with torch.device("meta"):
            self.network = Cnn(checkpoint.config)
        _load(self.network, checkpoint, self.device, dtype)

    def embed(self, ids_BT: Tensor) -> Tensor:
        """One-hot rows (B, L, 4) of base codes; zeros for N and padding."""
        return embed_bases(ids_BT, DTYPES[self.dtype])

    def baseline(self, ids_BT: Tensor) -> Tensor:
        """Zeros (B, L, 4): a sequence of N alone."""
        return torch.zeros_like(self.embed(ids_BT))

    def logits(self, embedding_BTC: Tensor, mask_BT: Tensor | None) -> Tensor:
        """Logits (B, n_targets) of one-hot rows (B, L, 4)."""
        logits_BN: Tensor = self.network(embedding_BTC.mT, mask_BT)
        return logits_BN

    def identity(self) -> dict[str, object]:
        """The checksum of the weights, and the sizes."""
        return {"model": self.checkpoint.sha256, "architecture": asdict(self.checkpoint.config)}

    def summary(self) -> dict[str, str]:
        """The sizes, in words."""
        config = self.checkpoint.config
        return {
            "architecture": f"CNN: {config.n_filters} filters of {config.filter_width} bases, "
            f"{config.hidden} hidden units"
        }

    @property
    def _pad_id(self) -> int:
        return NO_BASE

    def _encode(self, rows: Sequence[str]) -> list[Tokens]:
        codes_BL, widths = base_codes(rows)
        borders = np.arange(codes_BL.shape[1] + 1)
        spans = np.stack([borders[:-1], borders[1:]], axis=1)
        return [Tokens(codes_L[:width], spans[:width]) for codes_L, width in zip(codes_BL, widths, strict=True)]


def load_model(name: str | os.PathLike[str], *, device: str = "auto", dtype: str = "float32") -> Model:
    """The model in a checkpoint directory, or of a Hugging Face hub id: a DNABERT-2 classifier or a CNN.

    device: "auto" (CUDA where there is one, else CPU), "cpu", "cuda", "cuda:1" ... dtype: "float32",
    "bfloat16" (DNABERT-2 only: matrix products; embeddings, norms and sums stay float32) or "float64".
    Raises ModelError for a checkpoint that cannot be explained, UsageError for the options.
    """
    if dtype not in DTYPES:
        raise UsageError(f"no dtype {dtype!r}", hint=f"one of {', '.join(DTYPES)}")
    choose_device(device)  # a wrong device is told before gigabytes are read
    folder, named = find_folder(name)
    with flushed_denormals():  # what torch begins for this thread, it may begin here
        if is_cnn(folder):
            return CnnModel(read_cnn_checkpoint(str(name), folder, named), device=device, dtype=dtype)
        return DnaBert2Model(read_checkpoint(str(name), folder, named), device=device, dtype=dtype)


def choose_device(name: str) -> torch.device:
    """The torch device that a name means; UsageError where it is not on this machine."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "all" or "," in name:
        raise UsageError(
            f"device {name!r} is several, where one is used", hint="gexplain score takes several, for a whole run"
        )
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


def choose_devices(names: str) -> list[torch.device]:
    """The torch devices that "cuda:0,cuda:1" or "all" (GPUs) means; UsageError where one is not on this machine."""
    if names != "all":
        return [choose_device(name.strip()) for name in names.split(",")]
    found = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    if not found:
        raise UsageError(
            "device 'all': this machine has no CUDA device that torch can use",
            hint="use --device cpu, or install a CUDA build of torch",
        )
    return found


def batches_of_like_length(lengths: Sequence[int], batch_size: int) -> Iterator[IntArray]:
    """Indices in batches, longest first: little padding, and memory peaks at the first batch."""
    order = np.argsort(-np.asarray(lengths), kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def orient(sequence: str, strand: str) -> str:
    """The sequence as the strand reads it."""
    return reverse_complement(sequence) if strand == "-" else sequence


def _load(network: nn.Module, checkpoint: Checkpoint | CnnCheckpoint, device: torch.device, dtype: str) -> None:
    """Give the network its weights, in float32 or float64 whatever they were saved in, and freeze it."""
    precision = torch.float64 if dtype == "float64" else torch.float32
    state = {name: tensor.to(device, precision) for name, tensor in checkpoint.state.items()}
    try:
        network.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise ModelError(f"{checkpoint.source}: the weights do not fit", detail=str(error)) from error
    network.eval().requires_grad_(False)
