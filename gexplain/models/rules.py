"""LRP rules as data: what each non-linear step of the model does forward, and backward.

A rule changes only the backward pass. With it, relevance is always R = x * g, where g is the gradient of
the modified backward pass (Arras et al. 2025, arXiv 2502.15886), so that one ordinary `autograd.grad` with
respect to the embeddings is the whole explanation. The model asks `Rules` for its non-linear steps; linear
layers, residual sums and the pick of [CLS] need no rule, since the ordinary gradient is the epsilon rule
with epsilon -> 0.

Sources: AttnLRP (Achtibat et al. 2024, arXiv 2402.05602), adapted to ALiBi and gated MLPs as in Kurth,
Yanez Sarmiento, Renard 2026 (arXiv 2604.21690). Each rule here has a slow, explicit twin in tests/oracles.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

# B batch, T tokens, S the first of them, which ask (all, or [CLS]), H heads, D width per head, C model width, E = 3 C

# Up to here the weights of a row, of all heads, fit a CPU's cache.
_FEW_TOKENS = 256

# So many values of gate|up fit it.
_CACHED_VALUES = 1 << 20


class Ledger:
    """Where the explained value went, besides the words: one amount per sequence and kind of constant.

    The model hands every constant that it adds (a bias, a norm's beta, the token type) to `constant`, and the
    ends of every attention step to `enter` and `leave`; each books its share while the backward pass runs.
    Law: explained value = sum of the words' relevance + sum of all entries, for the rules that keep relevance
    in every other step (ATTN_LRP and CP_LRP). entries: name to (B,) float64.
    """

    def __init__(self) -> None:
        self.entries: dict[str, Tensor] = {}

    def constant(self, name: str, output: Tensor, constant: Tensor) -> Tensor:
        """`output` itself, where `constant` (C,) was added to it; its share is constant * g."""
        assert constant.dim() == 1
        tapped: Tensor = _Tap.apply(output, constant.detach(), self, name, 1.0)
        return tapped

    def share(self, name: str, output: Tensor, addend: Tensor) -> Tensor:
        """`output` itself, where `addend` of the same shape (broadcast) was added to it."""
        tapped: Tensor = _Tap.apply(output, addend.detach().expand_as(output), self, name, 1.0)
        return tapped

    def enter(self, name: str, output: Tensor, share: float = 1.0) -> Tensor:
        """`output` itself; the relevance that arrives at it, or a share of it, is booked under `name`."""
        tapped: Tensor = _Tap.apply(output, output.detach(), self, name, share)
        return tapped

    def leave(self, name: str, value: Tensor, share: float = 1.0) -> Tensor:
        """`value` itself; the relevance that goes on to it, times `share`, is taken off `name` again."""
        tapped: Tensor = _Tap.apply(value, value.detach(), self, name, -share)
        return tapped

    def book(self, name: str, amount_B: Tensor) -> None:
        """Add to an entry."""
        held = self.entries.get(name)
        self.entries[name] = amount_B if held is None else held + amount_B

    def close(self) -> dict[str, Tensor]:
        """The entries so far; the ledger is empty again, ready for the next backward pass."""
        entries, self.entries = self.entries, {}
        return entries


class _Tap(Function):
    """The identity, which books share * sum(factor * g) per sequence on the way back."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, factor: Tensor, ledger: Ledger, name: str, share: float) -> Tensor:
        ctx.save_for_backward(factor)
        ctx.ledger, ctx.name, ctx.share = ledger, name, share
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        (grad,), (factor,) = grads, ctx.saved_tensors
        n_rows = grad.shape[0]
        dtype = torch.promote_types(torch.promote_types(grad.dtype, factor.dtype), torch.float32)
        exact, factor = grad.to(dtype), factor.to(dtype)  # sums of half-precision numbers would not close
        if factor.dim() == 1:  # a constant that all tokens share
            amount = (exact @ factor).view(n_rows, -1)
        else:
            amount = torch.linalg.vecdot(exact, factor).reshape(n_rows, -1)
        ctx.ledger.book(ctx.name, ctx.share * amount.sum(1, dtype=torch.float64))
        return grad, None, None, None, None


# --- activations -------------------------------------------------------------------------------------------


class _GluIdentityUniform(Function):
    """GELU(gate) * up: GELU under the identity rule (AttnLRP, Eq. 9), the product under the uniform rule (Eq. 15).

    g_gate = Phi(gate) up g / 2, g_up = GELU(gate) g / 2. One step and not two, so that only gate|up is kept for the
    backward pass and every array there is written once.
    """

    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up)
        return glu(gate_up)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (gate_up,) = ctx.saved_tensors
        width = gate_up.shape[-1]
        result: Tensor = gate_up.new_empty(gate_up.shape)
        # On a CPU a few tokens at a time: six passes over what is in the cache.
        n_tokens = max(1, _CACHED_VALUES // width) if gate_up.device.type == "cpu" else gate_up.numel()
        for kept, grad, written in zip(
            gate_up.reshape(-1, width).split(n_tokens),
            grads[0].reshape(-1, width // 2).split(n_tokens),
            result.view(-1, width).split(n_tokens),
            strict=True,
        ):
            gate, up = kept.chunk(2, dim=-1)
            grad_gate, grad_up = written.chunk(2, dim=-1)
            # Phi(gate) g / 2, in the gate's place: no array besides the result. Phi by erfc keeps its relative
            # precision in the lower tail, where 1 + erf cancels.
            torch.mul(gate, -math.sqrt(0.5), out=grad_gate).erfc_().mul_(grad).mul_(0.25)
            torch.mul(grad_gate, gate, out=grad_up)
            grad_gate.mul_(up)
        return result


class _TanhIdentity(Function):
    """tanh, whose relevance passes unchanged: g_x = tanh(x)/x g, and g at x = 0, the limit."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = torch.tanh(x)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        x, y = ctx.saved_tensors
        return grads[0] * torch.where(x == 0, torch.ones_like(x), y / torch.where(x == 0, 1.0, x))


def glu(gate_up: Tensor) -> Tensor:
    """GELU(gate) * up of gate|up (..., 2 I), with its ordinary gradient."""
    gate, up = gate_up.chunk(2, dim=-1)
    activated = F.gelu(gate)
    return activated * up if activated.requires_grad else activated.mul_(up)


def glu_identity_uniform(gate_up: Tensor) -> Tensor:
    """GELU(gate) * up of gate|up (..., 2 I), under the identity and the uniform rule."""
    y: Tensor = _GluIdentityUniform.apply(gate_up)
    return y


def tanh_identity(x: Tensor) -> Tensor:
    """Tanh under the identity rule."""
    y: Tensor = _TanhIdentity.apply(x)
    return y


# --- LayerNorm ---------------------------------------------------------------------------------------------


class _LayerNormConstantSigma(Function):
    """LayerNorm with 1/sigma held constant: g_x = (t - mean t)/sigma, t = gamma g. AttnLRP, section 3.3.3.

    Passing the relevance through unchanged instead diverges numerically in this architecture.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        y, _, reciprocal_sigma = torch.native_layer_norm(x, [x.shape[-1]], weight, bias, eps)
        ctx.save_for_backward(weight, reciprocal_sigma)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        weight, reciprocal_sigma = ctx.saved_tensors
        t = grads[0] * weight
        t -= t.mean(-1, keepdim=True)
        return t.mul_(reciprocal_sigma), None, None, None


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """LayerNorm over the last axis, with its ordinary gradient."""
    return F.layer_norm(x, [x.shape[-1]], weight, bias, eps)


def layer_norm_constant_sigma(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """LayerNorm over the last axis, with 1/sigma as a constant of the backward pass."""
    y: Tensor = _LayerNormConstantSigma.apply(x, weight, bias, eps)
    return y


# --- attention ---------------------------------------------------------------------------------------------
#
# The first S tokens ask, as many as the bias (B or 1, H, S, T) has rows; keys and values are those of all T.


class _SplitHeads(Function):
    """Query (B, H, S, D), key and value (B, H, T, D) of q|k|v (B, T, 3 C), the gradient of each scaled."""

    @staticmethod
    def forward(
        ctx: Any, qkv_BTE: Tensor, n_heads: int, n_asking: int, scales: tuple[float, float, float]
    ) -> tuple[Tensor, ...]:
        ctx.scales = scales
        return split_heads(qkv_BTE, n_heads, n_asking)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        n_rows, n_heads, n_tokens, head_width = grads[1].shape
        n_asking = grads[0].shape[2]
        grad_BT3HD = grads[0].new_empty(n_rows, n_tokens, 3, n_heads, head_width)
        grad_BT3HD[:, n_asking:, 0] = 0
        for part, (grad_BHTD, scale) in enumerate(zip(grads, ctx.scales, strict=True)):
            torch.mul(grad_BHTD.transpose(1, 2), scale, out=grad_BT3HD[:, : grad_BHTD.shape[2], part])
        return grad_BT3HD.flatten(2), None, None, None


class _ShortAttention(Function):
    """Attention under AttnLRP, whose backward pass computes the weights anew, row by row, S x T in memory.

    For few tokens in bfloat16 on a CPU: its fused backward takes there twice the time of this one, whose products and
    sums are float32. In float32 the fused one is as fast.
    """

    @staticmethod
    def forward(ctx: Any, qkv_BTE: Tensor, n_heads: int, bias_BHST: Tensor) -> Tensor:
        ctx.save_for_backward(qkv_BTE, bias_BHST)
        ctx.n_heads = n_heads
        return attend(qkv_BTE, n_heads, bias_BHST, None)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        qkv_BTE, bias_BHST = ctx.saved_tensors
        n_tokens, n_asking = qkv_BTE.shape[1], bias_BHST.shape[2]
        dtype = torch.promote_types(qkv_BTE.dtype, torch.float32)
        grad_BTE = torch.empty_like(qkv_BTE)
        for row, (qkv_1TE, grad_1SC) in enumerate(zip(qkv_BTE.split(1), grads[0].split(1), strict=True)):
            query, key, value = (one[0] for one in split_heads(qkv_1TE.to(dtype), ctx.n_heads, n_asking))
            grad_HSD = grad_1SC.to(dtype).view(n_asking, ctx.n_heads, -1).transpose(0, 1)
            scale = 1 / math.sqrt(query.shape[-1])
            bias_HST = bias_BHST[row % len(bias_BHST)].to(dtype)
            weights_HST = torch.baddbmm(bias_HST, query, key.mT, alpha=scale).softmax(-1)
            grad_HST = grad_HSD @ value.mT  # of the weights; two lines on, of the scores
            grad_HST -= torch.linalg.vecdot(grad_HST, weights_HST)[..., None]
            grad_HST *= weights_HST
            parts = (
                (grad_HST @ key).mul_(scale / 4),
                (grad_HST.mT @ query).mul_(scale / 4),
                (weights_HST.mT @ grad_HSD).mul_(0.5),
            )
            grad_T3HD = grad_BTE[row].view(n_tokens, 3, ctx.n_heads, -1)
            grad_T3HD[n_asking:, 0] = 0
            for index, part in enumerate(parts):
                grad_T3HD[: part.shape[1], index] = part.transpose(0, 1)
        return grad_BTE, None, None


class _ScaleGradient(Function):
    """The identity, whose gradient is multiplied by a constant."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float | Tensor) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] * ctx.scale, None


def scale_gradient(x: Tensor, scale: float | Tensor) -> Tensor:
    """`x` itself; its gradient is multiplied by `scale`, a number or one a value, which is a constant."""
    scaled: Tensor = _ScaleGradient.apply(x, scale)
    return scaled


def split_heads(qkv_BTE: Tensor, n_heads: int, n_asking: int) -> tuple[Tensor, Tensor, Tensor]:
    """Query (B, H, S, D) of the first n_asking tokens, key and value (B, H, T, D) of q|k|v (B, T, 3 C)."""
    n_rows, n_tokens = qkv_BTE.shape[:2]
    query, key, value = qkv_BTE.view(n_rows, n_tokens, 3, n_heads, -1).permute(2, 0, 3, 1, 4)
    return query[:, :, :n_asking], key, value


def join_heads(mixed_BHSD: Tensor) -> Tensor:
    """(B, S, C) of heads (B, H, S, D)."""
    return mixed_BHSD.transpose(1, 2).flatten(2)


def attend(qkv_BTE: Tensor, n_heads: int, bias_BHST: Tensor, ledger: Ledger | None) -> Tensor:
    """softmax(q k^T / sqrt(D) + bias) v, (B, S, C), with its ordinary gradient."""
    query_BHSD, key_BHTD, value_BHTD = split_heads(qkv_BTE, n_heads, bias_BHST.shape[2])
    return join_heads(F.scaled_dot_product_attention(query_BHSD, key_BHTD, value_BHTD, attn_mask=bias_BHST))


def attend_attnlrp(qkv_BTE: Tensor, n_heads: int, bias_BHST: Tensor, ledger: Ledger | None) -> Tensor:
    """Attention under AttnLRP: the ordinary fused backward, with V's gradient halved, Q's and K's quartered.

    Exact, not an approximation: both products are shared by the uniform rule (a half each, so Q and K get a
    quarter), and the softmax's Taylor rule (AttnLRP, Eq. 11) in gradient form is the ordinary softmax
    backward. It holds for a constant bias under the epsilon rule and without dropout. What neither Q, K nor V
    receives (the softmax's residual and the ALiBi bias' share, together) is booked as "attention".
    """
    is_short = qkv_BTE.shape[1] <= _FEW_TOKENS
    if is_short and qkv_BTE.dtype == torch.bfloat16 and qkv_BTE.device.type == "cpu":
        if ledger is not None:
            qkv_BTE = ledger.leave("attention", qkv_BTE)
        short_BSC: Tensor = _ShortAttention.apply(qkv_BTE, n_heads, bias_BHST)
        return short_BSC if ledger is None else ledger.enter("attention", short_BSC)
    query_BHSD, key_BHTD, value_BHTD = _SplitHeads.apply(qkv_BTE, n_heads, bias_BHST.shape[2], (0.25, 0.25, 0.5))
    if ledger is not None:  # V takes half of what arrives, K as much as Q, and both a quarter of what is seen here
        query_BHSD = ledger.leave("attention", query_BHSD, 0.5)
    mixed_BSC = join_heads(F.scaled_dot_product_attention(query_BHSD, key_BHTD, value_BHTD, attn_mask=bias_BHST))
    return mixed_BSC if ledger is None else ledger.enter("attention", mixed_BSC, 0.5)


def attend_one_attnlrp(
    hidden_BTC: Tensor, weight_EC: Tensor, bias_E: Tensor, alibi_BH1T: Tensor, ledger: Ledger | None
) -> Tensor:
    """`attend_attnlrp` where one token asks, (B, 1, C), of what q|k|v are made from, at least in float32.

    No token's key or value is made: q . (Wk x) = (Wk^T q) . x, and sum a (Wv x) = Wv sum a x. Keys' bias moves all
    scores of a row alike, which the softmax does not see; values' bias is added once, since the weights sum to 1.
    """
    dtype = torch.promote_types(weight_EC.dtype, torch.float32)
    hidden_BTC, alibi_BHT = hidden_BTC.to(dtype), alibi_BH1T[:, :, 0].to(dtype)
    width, n_heads = weight_EC.shape[1], alibi_BHT.shape[1]
    to_query_CC, to_key_CC, to_value_CC = weight_EC.to(dtype).split(width)
    query_bias_C, _, value_bias_C = bias_E.to(dtype).split(width)
    # Of each head the columns that are its own: all heads of a sequence are one product, and however many sequences
    # share a batch, it rounds them alike.
    own_HC = torch.eye(n_heads, dtype=dtype, device=weight_EC.device).repeat_interleave(width // n_heads, 1)
    query_B1C = _each(hidden_BTC[:, :1], to_query_CC.mT) + query_bias_C
    if ledger is not None:
        query_B1C = ledger.constant("Wqkv.bias", query_B1C, query_bias_C)
    asked_BHC = _each(scale_gradient(query_B1C, 0.25) * own_HC, to_key_CC) / math.sqrt(width // n_heads)
    scores_BHT = asked_BHC @ scale_gradient(hidden_BTC, 0.25).mT
    if ledger is not None:  # Q and K together receive half of what is seen here
        scores_BHT = ledger.leave("attention", scores_BHT, 0.5)
    weights_BHT = torch.softmax(scores_BHT + alibi_BHT, -1)
    values_BHC = _each(weights_BHT @ scale_gradient(hidden_BTC, 0.5), to_value_CC.mT)
    mixed_B1C: Tensor = (values_BHC * own_HC).sum(1, keepdim=True) + value_bias_C
    if ledger is not None:
        mixed_B1C = ledger.constant("Wqkv.bias", mixed_B1C, value_bias_C / 2)
        mixed_B1C = ledger.enter("attention", mixed_B1C, 0.5)
    return mixed_B1C


def _each(rows_BNC: Tensor, matrix_CC: Tensor) -> Tensor:
    """The product of the matrix and each sequence's rows, a product a sequence."""
    return torch.bmm(rows_BNC, matrix_CC.expand(len(rows_BNC), -1, -1))


def attend_attnlrp_stepwise(qkv_BTE: Tensor, n_heads: int, bias_BHST: Tensor, ledger: Ledger | None) -> Tensor:
    """The same as `attend_attnlrp`, step by step and S x T in memory: books "softmax" and "alibi" apart."""
    query_BHSD, key_BHTD, value_BHTD = split_heads(qkv_BTE, n_heads, bias_BHST.shape[2])
    scores_BHST = scale_gradient(query_BHSD, 0.5) @ scale_gradient(key_BHTD, 0.5).mT
    logits_BHST = scores_BHST / math.sqrt(query_BHSD.shape[-1]) + bias_BHST
    if ledger is not None:
        logits_BHST = ledger.share("alibi", logits_BHST, bias_BHST)
        logits_BHST = ledger.leave("softmax", logits_BHST)
    weights_BHST = torch.softmax(logits_BHST, -1)
    if ledger is not None:
        weights_BHST = ledger.enter("softmax", weights_BHST)
    return join_heads(scale_gradient(weights_BHST, 0.5) @ scale_gradient(value_BHTD, 0.5))


def attend_cplrp(qkv_BTE: Tensor, n_heads: int, bias_BHST: Tensor, ledger: Ledger | None) -> Tensor:
    """Attention under CP-LRP: the softmax output is a constant, so V gets all of the relevance."""
    query_BHSD, key_BHTD, value_BHTD = split_heads(qkv_BTE, n_heads, bias_BHST.shape[2])
    query_BHSD, key_BHTD = query_BHSD.detach(), key_BHTD.detach()
    return join_heads(F.scaled_dot_product_attention(query_BHSD, key_BHTD, value_BHTD, attn_mask=bias_BHST))


def attend_telling(tell: Callable[[Tensor], None]) -> Attend:
    """Attention step by step and S x T in memory, which hands its weights A (B, H, S, T) to `tell`.

    A = softmax(q k^T / sqrt(D) + bias): row i is what token i takes from each token, and sums to 1.
    """

    def attend_explicitly(qkv_BTE: Tensor, n_heads: int, bias_BHST: Tensor, ledger: Ledger | None) -> Tensor:
        query_BHSD, key_BHTD, value_BHTD = split_heads(qkv_BTE, n_heads, bias_BHST.shape[2])
        scores_BHST = query_BHSD @ key_BHTD.mT / math.sqrt(query_BHSD.shape[-1])
        weights_BHST = torch.softmax(scores_BHST + bias_BHST, -1)
        tell(weights_BHST)
        return join_heads(weights_BHST @ value_BHTD)

    return attend_explicitly


# --- the rule sets -----------------------------------------------------------------------------------------

Step = Callable[[Tensor], Tensor]
Attend = Callable[[Tensor, int, Tensor, Ledger | None], Tensor]
AttendOne = Callable[[Tensor, Tensor, Tensor, Tensor, Ledger | None], Tensor]


@dataclass(frozen=True, slots=True)
class Rules:
    """The non-linear steps of the model: forward equal in all sets, up to rounding; backward each has its own rule.

    attend_one: a shorter way to `attend` where one token asks, if there is one.
    conserves: every step but the booked ones keeps the sum of relevance, so that the ledger closes.
    described: what a manifest records, step by step.
    """

    glu: Step
    tanh: Step
    attend: Attend
    normalise: Callable[[Tensor, Tensor, Tensor, float], Tensor]
    conserves: bool
    described: Mapping[str, str]
    attend_one: AttendOne | None = None


PLAIN = Rules(
    glu=glu,
    tanh=torch.tanh,
    attend=attend,
    normalise=layer_norm,
    conserves=False,
    described={"all steps": "ordinary gradient"},
)
ATTN_LRP = Rules(
    glu=glu_identity_uniform,
    tanh=tanh_identity,
    attend=attend_attnlrp,
    normalise=layer_norm_constant_sigma,
    conserves=True,
    described={
        "linear": "epsilon -> 0",
        "activation": "identity",
        "GLU product": "uniform",
        "attention products": "uniform",
        "softmax": "Taylor",
        "ALiBi": "epsilon: the bias keeps its share",
        "LayerNorm": "sigma constant",
    },
    attend_one=attend_one_attnlrp,
)
ATTN_LRP_STEPWISE = replace(ATTN_LRP, attend=attend_attnlrp_stepwise, attend_one=None)
CP_LRP = replace(
    ATTN_LRP,
    attend=attend_cplrp,
    attend_one=None,
    described={
        **{step: rule for step, rule in ATTN_LRP.described.items() if step not in ("softmax", "ALiBi")},
        "attention products": "all to V; the softmax output is a constant",
    },
)
