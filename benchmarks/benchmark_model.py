"""The model that benchmarks run: DNABERT-2's size, as published."""

from __future__ import annotations

from gexplain.models.checkpoint import DnaBert2Config

CONFIG = DnaBert2Config(
    vocab_size=4096,
    hidden_size=768,
    n_layers=12,
    n_heads=12,
    intermediate_size=3072,
    type_vocab_size=2,
    layer_norm_eps=1e-12,
    n_targets=2,
)
