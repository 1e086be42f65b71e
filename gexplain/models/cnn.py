"""The baseline CNN of the field: one convolution over one-hot DNA, its maximum over the sequence, two dense layers.

What it is for: a second kind of model to explain, as small as it is good (Alipanahi et al. 2015, DeepBind). Parameter
names are those of its checkpoints, so that `load_state_dict` is the check.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gexplain.arrays import IntArray
from gexplain.errors import ModelError
from gexplain.models.architecture import check_tensors, refuse_quantised
from gexplain.models.settings import (
    Head,
    class_settings,
    read_head,
    read_labels,
    read_window,
    write_json,
    write_weights,
)
from gexplain.models.sources import digest_files, find_weights, read_json, read_tensors

# B batch, L nucleotides, 4 bases A C G T, F filters

ARCHITECTURE = "GexplainCnn"
"""What config.json has under "architectures"."""

BASES = "ACGT"
NO_BASE = len(BASES)
"""The code of N, of every other letter that is no base, and of padding: a column of zeros."""

_CODES = np.full(256, NO_BASE, dtype=np.int64)
_CODES[np.frombuffer(BASES.encode(), np.uint8)] = np.arange(len(BASES))


@dataclass(frozen=True, slots=True)
class CnnConfig:
    """The sizes of a CNN. filter_width: nucleotides, odd, so that a filter has a middle."""

    n_targets: int
    n_filters: int = 256
    filter_width: int = 19
    hidden: int = 64

    def __post_init__(self) -> None:
        if min(self.n_targets, self.n_filters, self.filter_width, self.hidden) < 1 or self.filter_width % 2 == 0:
            raise ValueError(f"no size may be 0, and the filter width must be odd: {self}")


class Cnn(nn.Module):
    """The baseline CNN.

    forward(one_hot (B, 4, L), mask (B, L) or None) -> logits (B, n_targets). The mask is true (or 1) for the bases of
    the sequence, N included, and false for padding; pass none where nothing is padded. Past its ends a sequence reads
    as zeros, so padding changes no logit. dropout: of the pooled filters, while training. There is no length limit.
    """

    def __init__(self, config: CnnConfig, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        self.conv = nn.Conv1d(len(BASES), config.n_filters, config.filter_width, padding=config.filter_width // 2)
        self.dense = nn.Linear(config.n_filters, config.hidden)
        self.classifier = nn.Linear(config.hidden, config.n_targets)
        self.dropout = nn.Dropout(dropout)

    def forward(self, one_hot_B4L: Tensor, mask_BL: Tensor | None = None) -> Tensor:
        """Logits (B, n_targets) of one-hot sequences (B, 4, L)."""
        matches_BFL = self.conv(one_hot_B4L)
        if mask_BL is not None:
            matches_BFL = matches_BFL.masked_fill(~mask_BL.bool()[:, None], -math.inf)
        # ReLU and the maximum commute; in this order ReLU has one value a filter to do.
        pooled_BF = self.dropout(F.relu(matches_BFL.amax(-1)))
        logits: Tensor = self.classifier(F.relu(self.dense(pooled_BF)))
        return logits


def parameter_shapes(config: CnnConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of a CNN, by name, and its shape."""
    return {
        "conv.weight": (config.n_filters, len(BASES), config.filter_width),
        "conv.bias": (config.n_filters,),
        "dense.weight": (config.hidden, config.n_filters),
        "dense.bias": (config.hidden,),
        "classifier.weight": (config.n_targets, config.hidden),
        "classifier.bias": (config.n_targets,),
    }


def random_cnn_state(config: CnnConfig, generator: torch.Generator) -> dict[str, Tensor]:
    """A float32 state to train from, the same for the same generator state: torch's own initialisation.

    Weights and biases are uniform within 1 / sqrt(inputs of a unit).
    """
    shapes = parameter_shapes(config)
    state = {}
    for name, shape in shapes.items():
        bound = 1 / math.sqrt(math.prod(shapes[name.replace(".bias", ".weight")][1:]))
        state[name] = torch.empty(shape).uniform_(-bound, bound, generator=generator)
    return state


def base_codes(sequences: Sequence[str]) -> tuple[IntArray, IntArray]:
    """Codes (B, L) of each sequence's letters, and their number (B,): 0 to 3 for A, C, G, T, else NO_BASE.

    Raises ValueError for an empty sequence, whitespace, and lower case: soft-masked bases are bases.
    """
    text = "".join(sequences)
    if not all(sequences) or len(text.split()) > 1 or text != text.strip().upper():
        raise ValueError("not sequences: expected upper-case letters without whitespace, at least one each")
    widths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
    codes_BL = np.full((len(widths), widths.max(initial=0)), NO_BASE, dtype=np.int64)
    # One byte a letter: what is not ASCII becomes "?", which is no base either.
    codes_BL[_is_letter(widths)] = _CODES[np.frombuffer(text.encode("ascii", "replace"), np.uint8)]
    return codes_BL, widths


def _is_letter(widths: IntArray) -> npt.NDArray[np.bool_]:
    """(B, L): true where a sequence has a letter, false where it is padded."""
    is_letter: npt.NDArray[np.bool_] = np.arange(widths.max(initial=0)) < widths[:, None]
    return is_letter


def one_hot(sequences: Sequence[str]) -> tuple[Tensor, Tensor]:
    """One-hot sequences (B, 4, L), float32, and the mask (B, L), bool: true on each sequence's own letters.

    Rows are A, C, G, T; N and any other upper-case letter is a column of zeros. Errors are those of
    `base_codes`.
    """
    codes_BL, widths = base_codes(sequences)
    return embed_bases(torch.from_numpy(codes_BL)).mT.contiguous(), torch.from_numpy(_is_letter(widths))


def embed_bases(codes_BL: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """One-hot rows (B, L, 4) of codes (B, L): unit vectors, and zeros for NO_BASE."""
    table = torch.eye(NO_BASE + 1, NO_BASE, device=codes_BL.device, dtype=dtype)
    return F.embedding(codes_BL, table)


# --- checkpoints -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class CnnCheckpoint:
    """A CNN's weights and what its folder says of them; the fields are those of `checkpoint.Checkpoint`."""

    source: str
    form: str
    config: CnnConfig
    state: dict[str, Tensor]
    labels: tuple[str, ...]
    head: Head
    window: int | None
    sha256: str


def is_cnn(folder: Path) -> bool:
    """Whether the config.json of a folder says that a CNN lies there."""
    path = folder / "config.json"
    return path.is_file() and read_json(path).get("architectures") == [ARCHITECTURE]


def read_cnn_checkpoint(source: str, folder: Path, named: Path | None) -> CnnCheckpoint:
    """The CNN in a folder, or in the weights file `named` in it; source: as the user named it.

    Raises ModelError where weights and config do not agree, or are not there.
    """
    settings = read_json(folder / "config.json")
    where = str(folder)
    config = _read_config(settings, where)
    found = find_weights(folder, named)
    state = read_tensors(found.files)
    refuse_quantised(state, where)
    check_tensors(
        state,
        parameter_shapes(config),
        f"a CNN of {config.n_filters} filters of {config.filter_width} bases, {config.hidden} hidden units "
        f"and {config.n_targets} targets, as config.json says",
        where,
    )
    return CnnCheckpoint(
        source=source,
        form=found.form,
        config=config,
        state=state,
        labels=read_labels(settings, config.n_targets, where),
        head=read_head(settings, config.n_targets, where),
        window=read_window(settings, where),
        sha256=digest_files(found.files),
    )


def _read_config(settings: Mapping[str, object], where: str) -> CnnConfig:
    sizes: dict[str, int] = {}
    for name in CnnConfig.__dataclass_fields__:
        value = settings.get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ModelError(
                f"{where}: config.json has {name} {value!r}; expected a whole number",
                hint="copy config.json again from where the model was trained",
            )
        sizes[name] = value
    try:
        return CnnConfig(**sizes)
    except ValueError as error:
        raise ModelError(
            f"{where}: config.json has sizes that no CNN has: {error}",
            hint="copy config.json again from where the model was trained",
        ) from error


def save_cnn_checkpoint(
    directory: str | os.PathLike[str],
    state: Mapping[str, Tensor],
    config: CnnConfig,
    *,
    labels: Sequence[str],
    head: Head,
    window: int | None = None,
) -> Path:
    """The folder written: model.safetensors and config.json, which `gexplain.load_model` reads back.

    Tensors are kept in the precision they have. Raises ValueError where the state, the labels or the head do not fit
    the config.
    """
    if {name: tuple(tensor.shape) for name, tensor in state.items()} != parameter_shapes(config):
        raise ValueError("the state does not have the tensors and shapes of the config")
    dtype = next(iter(state.values())).dtype
    settings = {
        "architectures": [ARCHITECTURE],
        **asdict(config),
        **class_settings(labels, head, window, config.n_targets, dtype),
    }
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", settings)
    write_weights(folder, state)  # last: a folder that was cut off does not load
    return folder
