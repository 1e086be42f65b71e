"""Tiny tokenizers and checkpoints, made on the spot: real files, random weights, no training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from gexplain.models.checkpoint import DnaBert2Config, Head, random_state, save_checkpoint
from gexplain.models.cnn import CnnConfig, random_cnn_state, save_cnn_checkpoint

SPECIALS = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")
MERGES = (
    *("A A", "T T", "T G", "C A", "C C", "T A", "G G", "T C", "G A", "G C", "C G", "TA T", "CA G"),
    *(
        "TG A",
        "AA A",
        "CC C",
        "GG T",
        "TT TT",
        "TA TA",
        "GC GC",
        "CA CG",
        "TGA C",
        "AAA AA",
        "TATA A",
        "CACG TG",
    ),
)


def tiny_tokenizer(path: Path, *, fuse_unk: bool = False, template: bool = True) -> Path:
    """A tokenizer.json of 34 tokens in DNABERT-2's layout: specials 0 to 4, then pure ACGT pieces."""
    merges = [(left, right) for left, right in map(str.split, MERGES)]
    tokens = (*SPECIALS, *"ACGT", *(left + right for left, right in merges))
    vocab = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="[UNK]", fuse_unk=fuse_unk))
    tokenizer.add_special_tokens(list(SPECIALS))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if template:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
        )
    tokenizer.save(str(path))
    return path


def tiny_config(
    *,
    vocab_size: int = 40,
    hidden_size: int = 16,
    n_layers: int = 2,
    n_heads: int = 4,
    intermediate_size: int = 24,
    n_targets: int = 2,
) -> DnaBert2Config:
    """The sizes of a tiny DNABERT-2."""
    return DnaBert2Config(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        n_layers=n_layers,
        n_heads=n_heads,
        intermediate_size=intermediate_size,
        type_vocab_size=2,
        layer_norm_eps=1e-12,
        n_targets=n_targets,
    )


def tiny_checkpoint(
    directory: Path,
    *,
    labels: Sequence[str] | None = None,
    head: Head = "classification",
    window: int | None = None,
    seed: int = 0,
    scale: float = 0.3,
    **sizes: int,
) -> Path:
    """A checkpoint folder with tiny_config(**sizes), random weights and the tiny tokenizer."""
    config = tiny_config(**sizes)
    directory.mkdir(parents=True, exist_ok=True)
    return save_checkpoint(
        directory,
        random_state(config, torch.Generator().manual_seed(seed), scale=scale),
        config,
        labels=labels or [f"LABEL_{i}" for i in range(config.n_targets)],
        head=head,
        tokenizer_file=tiny_tokenizer(directory / "tokenizer.json"),
        window=window,
    )


def tiny_cnn_state(config: CnnConfig, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights whose logits are some units apart, and biases of both signs."""
    state = random_cnn_state(config, torch.Generator().manual_seed(seed))
    return {name: 4 * tensor for name, tensor in state.items()}


def tiny_cnn(
    directory: Path,
    *,
    labels: Sequence[str] = ("none", "promoter", "enhancer"),
    head: Head = "classification",
    window: int | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """A CNN's checkpoint folder: 12 filters of 7 bases, 5 hidden units, random weights."""
    config = CnnConfig(len(labels), n_filters=12, filter_width=7, hidden=5)
    state = {name: tensor.to(dtype) for name, tensor in tiny_cnn_state(config, seed).items()}
    return save_cnn_checkpoint(directory, state, config, labels=labels, head=head, window=window)
