"""Randomised models: the same architecture with weights that know nothing, from the top down.

An explanation that stays the same when the weights do not is none (Adebayo et al. 2018, arXiv 1810.03292).
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import torch
from torch import Tensor

from gexplain.models.model import CnnModel, DnaBert2Model, Model


def n_blocks(model: Model) -> int:
    """How many blocks `randomise` tells apart: DNABERT-2's head, layers and embeddings; a CNN's three layers."""
    return len(_blocks(model))


def randomise(model: Model, n_top_blocks: int, seed: int = 0) -> Model:
    """A new model whose top blocks are random and whose others are the model's own, on its device, in its precision.

    Blocks are counted from the logits down: the head (classifier and pooler), the layers from the last to the first,
    the embeddings; of a CNN the classifier, the dense layer, the convolution. Each tensor is drawn from the normal
    distribution of its own mean and standard deviation, so that activations keep their size; one whose values are
    all equal keeps them. For one seed, what n blocks and more than n share is equal. Its checkpoint's source and
    sha256 say what was done. Raises ValueError for more blocks than there are.
    """
    blocks = _blocks(model)
    if not 0 <= n_top_blocks <= len(blocks):
        raise ValueError(f"{n_top_blocks} blocks to randomise; the model has {len(blocks)}")
    generator = torch.Generator().manual_seed(seed)
    state = dict(model.checkpoint.state)
    for block in blocks[:n_top_blocks]:
        for name in block:
            state[name] = _drawn_like(state[name], generator)
    what = f"{model.checkpoint.source}, top {n_top_blocks} of {len(blocks)} blocks random, seed {seed}"
    sha256 = hashlib.sha256(f"{model.checkpoint.sha256} {n_top_blocks} {seed}".encode()).hexdigest()
    if isinstance(model, CnnModel):
        cnn_checkpoint = replace(model.checkpoint, state=state, source=what, sha256=sha256)
        return CnnModel(cnn_checkpoint, device=str(model.device), dtype=model.dtype)
    assert isinstance(model, DnaBert2Model)
    checkpoint = replace(model.checkpoint, state=state, source=what, sha256=sha256)
    return DnaBert2Model(checkpoint, device=str(model.device), dtype=model.dtype)


def _blocks(model: Model) -> list[list[str]]:
    """The names of each block's tensors, the top block first."""
    if isinstance(model, DnaBert2Model):
        layers = reversed(range(model.checkpoint.config.n_layers))
        prefixes = [("classifier.", "bert.pooler."), *((f"bert.encoder.layer.{i}.",) for i in layers)]
        prefixes.append(("bert.embeddings.",))
    else:
        prefixes = [("classifier.",), ("dense.",), ("conv.",)]
    return [sorted(name for name in model.checkpoint.state if name.startswith(prefix)) for prefix in prefixes]


def _drawn_like(tensor: Tensor, generator: torch.Generator) -> Tensor:
    exact = tensor.double().cpu()
    drawn = torch.randn(exact.shape, generator=generator, dtype=torch.float64)
    return (exact.mean() + exact.std(correction=0) * drawn).to(tensor)
