"""DNABERT-2, the whole forward pass in one file: embeddings in, logits out, under any set of LRP rules.

The architecture is BERT with ALiBi instead of positions and gated MLPs (Zhou et al. 2023, arXiv 2306.15006);
parameter names are those of the published checkpoints, so that `load_state_dict` is the check. Forward, every
rule set gives the same logits, up to rounding; what the rules change is the way back (see rules.py).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gexplain.models.checkpoint import DnaBert2Config
from gexplain.models.rules import PLAIN, Ledger, Rules

# B batch, T tokens, S the first of them, which are read, H heads, C model width, E = 3 C (q|k|v), I width of the MLP

# What the published code adds to the scores of padding; its exponential is exactly 0 even in float64.
PADDING_BIAS = -10_000.0


class DnaBert2(nn.Module):
    """DNABERT-2 with a classification head.

    forward(embedding (B, T, C), mask (B, T) or None, rules, ledger) -> logits (B, n_targets). The mask is 1
    for tokens and 0 for padding; pass none where nothing is padded. There is no length limit. dropout is that of
    the hidden states, and acts in training mode only.
    """

    def __init__(self, config: DnaBert2Config, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        self.bert = _Bert(config, dropout)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(config.hidden_size, config.n_targets)

    def embed(self, ids_BT: Tensor) -> Tensor:
        """The word embeddings (B, T, C) of token ids: what relevance is assigned to."""
        return F.embedding(ids_BT, self.bert.embeddings.word_embeddings.weight)

    def forward(
        self,
        embedding_BTC: Tensor,
        mask_BT: Tensor | None = None,
        rules: Rules = PLAIN,
        ledger: Ledger | None = None,
    ) -> Tensor:
        """Logits (B, n_targets) of word embeddings (B, T, C).

        The class is read from [CLS] alone, so the last layer is computed for that row alone, which sees all others:
        exact, forward and backward, and 7 % of DNABERT-2's products are saved.
        """
        return self.read_out(self.encode(embedding_BTC, mask_BT, rules, ledger, n_read=1), rules, ledger)

    def encode(
        self,
        embedding_BTC: Tensor,
        mask_BT: Tensor | None = None,
        rules: Rules = PLAIN,
        ledger: Ledger | None = None,
        *,
        n_read: int | None = None,
    ) -> Tensor:
        """The last layer's output (B, S, C) of word embeddings (B, T, C).

        n_read: S, how many of the first tokens it is wanted for; all by default.
        """
        bias_BHTT = self.attention_bias(embedding_BTC, mask_BT)
        hidden_BTC: Tensor = self.bert.embeddings(embedding_BTC, rules, ledger)
        *lower, last = self.bert.encoder.layer
        for layer in lower:
            hidden_BTC = layer(hidden_BTC, bias_BHTT, rules, ledger)
        read_BSC: Tensor = last(hidden_BTC, bias_BHTT[:, :, :n_read], rules, ledger)
        return read_BSC

    def read_out(self, hidden_BSC: Tensor, rules: Rules = PLAIN, ledger: Ledger | None = None) -> Tensor:
        """Logits (B, n_targets) of the last layer's output: [CLS] through the pooler and the classifier."""
        pooled_BC = rules.tanh(_linear(self.bert.pooler.dense, hidden_BSC[:, 0], "pooler.bias", ledger))
        return _linear(self.classifier, self.dropout(pooled_BC), "classifier.bias", ledger)

    def attention_bias(self, embedding_BTC: Tensor, mask_BT: Tensor | None) -> Tensor:
        """ALiBi, and what keeps padding unseen: (B, H, T, T), or (1, H, T, T) where nothing is padded."""
        n_tokens, device = embedding_BTC.shape[1], embedding_BTC.device
        position_T = torch.arange(n_tokens, device=device)
        distance_TT = (position_T[:, None] - position_T[None, :]).abs()
        # From pinned memory: a GPU that is busy with the batch before is not waited for.
        slope_H = torch.tensor(alibi_slopes(self.config.n_heads), pin_memory=device.type == "cuda")
        slope_H = slope_H.to(device, non_blocking=True)
        dtype = self.bert.encoder.dtype
        bias_BHTT = (-slope_H[:, None, None] * distance_TT)[None].to(dtype)
        if mask_BT is None:
            return bias_BHTT
        return bias_BHTT + ((1 - mask_BT.to(dtype)) * PADDING_BIAS)[:, None, None, :]


def alibi_slopes(n_heads: int) -> list[float]:
    """One slope per head: a geometric sequence (Press et al. 2022, arXiv 2108.12409).

    For a head count that is no power of two: the slopes of the power below, then every second one of the
    power above.
    """
    power = 2 ** math.floor(math.log2(n_heads))
    slopes = [2.0 ** (-8 * (head + 1) / power) for head in range(power)]
    above = [2.0 ** (-8 * (head + 1) / (2 * power)) for head in range(2 * power)]
    return slopes + above[0::2][: n_heads - power]


class _Bert(nn.Module):
    def __init__(self, config: DnaBert2Config, dropout: float) -> None:
        super().__init__()
        self.embeddings = _Embeddings(config, dropout)
        self.encoder = _Encoder(config, dropout)
        self.pooler = _Pooler(config)


class _Embeddings(nn.Module):
    def __init__(self, config: DnaBert2Config, dropout: float) -> None:
        super().__init__()
        self.word_embeddings = _embedding(config.vocab_size, config.hidden_size)
        self.token_type_embeddings = _embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, embedding_BTC: Tensor, rules: Rules, ledger: Ledger | None) -> Tensor:
        token_type_C = self.token_type_embeddings.weight[0]
        hidden_BTC = embedding_BTC + token_type_C
        if ledger is not None:
            hidden_BTC = ledger.constant("token_type", hidden_BTC, token_type_C)
        hidden_BTC = _normalise(self.LayerNorm, hidden_BTC, "emb.layernorm.bias", rules, ledger)
        dropped_BTC: Tensor = self.dropout(hidden_BTC)
        return dropped_BTC


class _Encoder(nn.Module):
    def __init__(self, config: DnaBert2Config, dropout: float) -> None:
        super().__init__()
        self.layer = nn.ModuleList(_Layer(config, dropout) for _ in range(config.n_layers))

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the matrix products, and so of what attention reads."""
        dense: nn.Linear = self.layer[0].attention.output.dense  # type: ignore[assignment, union-attr]
        return dense.weight.dtype


class _Layer(nn.Module):
    """One layer, for the first S tokens, whose rows the bias (B or 1, H, S, T) has; keys and values are all T's."""

    def __init__(self, config: DnaBert2Config, dropout: float) -> None:
        super().__init__()
        self.attention = _Attention(config, dropout)
        self.mlp = _GatedMlp(config, dropout)

    def forward(self, hidden_BTC: Tensor, bias_BHST: Tensor, rules: Rules, ledger: Ledger | None) -> Tensor:
        hidden_BSC = self.attention(hidden_BTC, bias_BHST, rules, ledger)
        gated_BSC: Tensor = self.mlp(hidden_BSC, rules, ledger)
        return gated_BSC


class _Attention(nn.Module):
    def __init__(self, config: DnaBert2Config, dropout: float) -> None:
        super().__init__()
        self.n_heads = config.n_heads
        self.self = _SelfAttention(config)
        self.output = _AttentionOutput(config)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden_BTC: Tensor, bias_BHST: Tensor, rules: Rules, ledger: Ledger | None) -> Tensor:
        project = self.self.Wqkv
        # LoRA in the module's place has more to it than the matrix.
        if rules.attend_one is not None and bias_BHST.shape[2] == 1 and type(project) is nn.Linear:
            mixed_BSC = rules.attend_one(hidden_BTC, project.weight, project.bias, bias_BHST, ledger)
        else:
            qkv_BTE = _linear(project, hidden_BTC, "Wqkv.bias", ledger)
            mixed_BSC = rules.attend(qkv_BTE, self.n_heads, bias_BHST, ledger)
        mixed_BSC = self.dropout(_linear(self.output.dense, mixed_BSC, "attn.dense.bias", ledger))
        residual_BSC = hidden_BTC[:, : bias_BHST.shape[2]]
        return _normalise(self.output.LayerNorm, mixed_BSC + residual_BSC, "layernorm.bias", rules, ledger)


class _SelfAttention(nn.Module):
    def __init__(self, config: DnaBert2Config) -> None:
        super().__init__()
        self.Wqkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)


class _AttentionOutput(nn.Module):
    def __init__(self, config: DnaBert2Config) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)


class _GatedMlp(nn.Module):
    def __init__(self, config: DnaBert2Config, dropout: float) -> None:
        super().__init__()
        self.gated_layers = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.wo = nn.Linear(config.intermediate_size, config.hidden_size)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden_BSC: Tensor, rules: Rules, ledger: Ledger | None) -> Tensor:
        gated_BSI = self.dropout(rules.glu(_linear(self.gated_layers, hidden_BSC, "", None)))
        gated_BSC = _linear(self.wo, gated_BSI, "mlp.wo.bias", ledger)
        return _normalise(self.layernorm, gated_BSC + hidden_BSC, "layernorm.bias", rules, ledger)


class _Pooler(nn.Module):
    def __init__(self, config: DnaBert2Config) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)


def _embedding(n_rows: int, width: int) -> nn.Embedding:
    """As nn.Embedding makes it, which on the meta device loads torch's compiler, a second, to draw no numbers."""
    weight = torch.empty(n_rows, width)
    return nn.Embedding(n_rows, width, _weight=weight if weight.is_meta else nn.init.normal_(weight))


def _linear(layer: nn.Linear, x: Tensor, name: str, ledger: Ledger | None) -> Tensor:
    """The linear map, in the precision of its weights; its bias, if any, is booked under `name`."""
    output: Tensor = layer(x.to(layer.weight.dtype))  # the module, not its matrix: LoRA stands in its place
    if ledger is None or layer.bias is None:
        return output
    return ledger.constant(name, output, layer.bias)


def _normalise(norm: nn.LayerNorm, x: Tensor, name: str, rules: Rules, ledger: Ledger | None) -> Tensor:
    """LayerNorm under the rules, in the precision of its parameters; its beta is booked under `name`."""
    output = rules.normalise(x.to(norm.weight.dtype), norm.weight, norm.bias, norm.eps)
    return output if ledger is None else ledger.constant(name, output, norm.bias)
