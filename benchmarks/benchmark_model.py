"""The model that benchmarks run: DNABERT-2's size, as published, and what is measured beside ours.

Baselines: the forward pass of every row, as the published code computes it, with PyTorch's own fused attention; and
AttnLRP by plain autograd, each rule written with `detach` in the model's ordinary steps, as a prototype has it.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from gexplain.models.checkpoint import DnaBert2Config
from gexplain.models.dnabert2 import DnaBert2, alibi_slopes
from gexplain.models.rules import (
    ATTN_LRP,
    PLAIN,
    Attend,
    Ledger,
    Rules,
    join_heads,
    scale_gradient,
    split_heads,
)

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


def random_network(dtype: str, device: torch.device) -> DnaBert2:
    """Random weights, frozen; dtype bfloat16 is that of the encoder's linear layers alone, as `load_model` has it."""
    torch.manual_seed(0)
    network = DnaBert2(CONFIG).to(device).eval().requires_grad_(False)
    if dtype == "bfloat16":
        for module in network.bert.encoder.modules():
            if isinstance(module, torch.nn.Linear):
                module.to(torch.bfloat16)
    return network


def forward_of_every_row(network: DnaBert2, embedding_BTC: Tensor, rules: Rules = PLAIN) -> Tensor:
    """Logits (B, n_targets), the last layer computed for all tokens and not for [CLS] alone."""
    return network.read_out(network.encode(embedding_BTC, None, rules), rules)


def forward_flop(n_tokens: int, n_rows: int) -> float:
    """Of the forward pass of every row. A multiply-add is two: the linear layers, and both products of attention."""
    c, i = CONFIG.hidden_size, CONFIG.intermediate_size
    linear = 3 * c * c + c * c + 2 * c * i + i * c
    return 2.0 * n_rows * n_tokens * CONFIG.n_layers * (linear + 2 * n_tokens * c)


def _held(x: Tensor, share: float) -> Tensor:
    """`x` itself, of whose gradient a share goes on."""
    return share * x + (1 - share) * x.detach()


def _glu(gate_up: Tensor) -> Tensor:
    gate, up = gate_up.chunk(2, dim=-1)
    return _held(gate * torch.special.ndtr(gate).detach() * up, 0.5)


def _tanh(x: Tensor) -> Tensor:
    return x * (torch.tanh(x) / x).detach()


def _layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt().detach() * weight + bias


def _attend(qkv_BTE: Tensor, n_heads: int, bias_BHST: Tensor, ledger: Ledger | None) -> Tensor:
    query, key, value = split_heads(qkv_BTE, n_heads, bias_BHST.shape[2])
    query, key, value = _held(query, 0.25), _held(key, 0.25), _held(value, 0.5)
    return join_heads(F.scaled_dot_product_attention(query, key, value, attn_mask=bias_BHST))


def attend_by_flex(device: torch.device) -> tuple[Attend, Attend]:
    """Attention by FlexAttention, ALiBi computed in its kernel: with its ordinary gradient, and under AttnLRP."""
    from torch.nn.attention.flex_attention import flex_attention

    slope_H = torch.tensor(alibi_slopes(CONFIG.n_heads), device=device)
    compiled = torch.compile(flex_attention)

    def add_alibi(score: Tensor, row: Tensor, head: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return score - slope_H[head] * (i - j).abs()

    def mix(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return join_heads(compiled(query, key, value, score_mod=add_alibi, scale=1 / math.sqrt(query.shape[-1])))

    def plain(qkv_BTE: Tensor, n_heads: int, bias_BHST: Tensor, ledger: Ledger | None) -> Tensor:
        return mix(*split_heads(qkv_BTE, n_heads, bias_BHST.shape[2]))

    def attnlrp(qkv_BTE: Tensor, n_heads: int, bias_BHST: Tensor, ledger: Ledger | None) -> Tensor:
        query, key, value = split_heads(qkv_BTE, n_heads, bias_BHST.shape[2])
        return mix(scale_gradient(query, 0.25), scale_gradient(key, 0.25), scale_gradient(value, 0.5))

    return plain, attnlrp


PLAIN_AUTOGRAD = replace(ATTN_LRP, glu=_glu, tanh=_tanh, attend=_attend, attend_one=None, normalise=_layer_norm)
"""AttnLRP, and not one step of ours: autograd keeps what it keeps."""
