"""Slow oracles, written from the papers' equations and not from the code under test. Numpy, float64, loops."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np


class AttnLrpOracle:
    """AttnLRP, relevance by explicit rules layer by layer; no gradient anywhere (Achtibat et al. 2024).

    weights: published state-dict name to float64 array. One sequence at a time, no padding.
    `relevance(ids, target)` returns R_word (T, C), and fills `logits`, `hidden` (relevance at the input of every
    layer and at the last output, (T,)) and `ledger` (what each kind of constant took).
    """

    def __init__(self, weights, n_heads: int, eps: float = 1e-12, attention: str = "attnlrp") -> None:
        self.w = {name: np.asarray(value, dtype=np.float64) for name, value in weights.items()}
        self.n_heads = n_heads
        self.eps = eps
        self.attention = attention
        self.n_layers = 1 + max(int(name.split(".")[3]) for name in self.w if name.startswith("bert.encoder"))
        self.ledger: dict[str, float] = defaultdict(float)
        self.hidden: list[np.ndarray] = []
        self.logits = np.zeros(0)

    # -- forward, remembering every intermediate ------------------------------------------------------------

    def forward(self, ids: np.ndarray) -> np.ndarray:
        w, trace = self.w, {}
        word = w["bert.embeddings.word_embeddings.weight"][ids]
        trace["word"] = word
        trace["sum"] = word + w["bert.embeddings.token_type_embeddings.weight"][0]
        hidden = self._norm_forward(trace["sum"], "bert.embeddings.LayerNorm")
        trace["layers"] = []
        for index in range(self.n_layers):
            layer, at = {"in": hidden}, f"bert.encoder.layer.{index}."
            n_tokens, width = hidden.shape
            head_width = width // self.n_heads
            layer["qkv"] = hidden @ w[at + "attention.self.Wqkv.weight"].T + w[at + "attention.self.Wqkv.bias"]
            layer["heads"], mixed = [], np.zeros((n_tokens, width))
            for head, slope in enumerate(slopes(self.n_heads)):
                columns = slice(head * head_width, (head + 1) * head_width)
                q, k, v = (layer["qkv"][:, part * width :][:, columns] for part in range(3))
                scores = q @ k.T / math.sqrt(head_width)
                bias = np.array([[-slope * abs(i - j) for j in range(n_tokens)] for i in range(n_tokens)])
                exponentials = np.exp(scores + bias - (scores + bias).max(1, keepdims=True))
                weights = exponentials / exponentials.sum(1, keepdims=True)
                mixed[:, columns] = weights @ v
                layer["heads"].append((q, k, v, scores, bias, weights))
            layer["mixed"] = mixed
            dense = mixed @ w[at + "attention.output.dense.weight"].T + w[at + "attention.output.dense.bias"]
            layer["dense"], layer["sum1"] = dense, dense + hidden
            layer["x"] = self._norm_forward(layer["sum1"], at + "attention.output.LayerNorm")
            both = layer["x"] @ w[at + "mlp.gated_layers.weight"].T
            layer["both"] = both
            half = both.shape[1] // 2
            layer["gelu"] = np.array([[gelu(v) for v in row] for row in both[:, :half]])
            layer["m"] = layer["gelu"] * both[:, half:]
            layer["wo"] = layer["m"] @ w[at + "mlp.wo.weight"].T + w[at + "mlp.wo.bias"]
            layer["sum2"] = layer["wo"] + layer["x"]
            hidden = self._norm_forward(layer["sum2"], at + "mlp.layernorm")
            trace["layers"].append(layer)
        trace["out"] = hidden
        trace["pooled"] = w["bert.pooler.dense.weight"] @ hidden[0] + w["bert.pooler.dense.bias"]
        trace["tanh"] = np.tanh(trace["pooled"])
        self.logits = w["classifier.weight"] @ trace["tanh"] + w["classifier.bias"]
        self.trace = trace
        return self.logits

    def _norm_forward(self, x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        sigma = np.sqrt((centred**2).mean(-1, keepdims=True) + self.eps)
        return centred / sigma * self.w[name + ".weight"] + self.w[name + ".bias"]

    # -- backward, rule by rule -----------------------------------------------------------------------------

    def relevance(self, ids: np.ndarray, target: int) -> np.ndarray:
        self.forward(ids)
        trace, w = self.trace, self.w
        self.ledger, self.hidden = defaultdict(float), []
        r_logits = np.zeros_like(self.logits)
        r_logits[target] = self.logits[target]
        r_tanh = self._linear(trace["tanh"][None], "classifier", r_logits[None], self.logits[None], "classifier.bias")
        # tanh: the identity rule leaves r as it is
        r_cls = self._linear(trace["out"][:1], "bert.pooler.dense", r_tanh, trace["pooled"][None], "pooler.bias")
        r = np.zeros_like(trace["out"])
        r[0] = r_cls[0]
        self.hidden.append(r.sum(1))
        for index in reversed(range(self.n_layers)):
            layer, at = trace["layers"][index], f"bert.encoder.layer.{index}."
            r = self._norm(layer["sum2"], at + "mlp.layernorm", r, "layernorm.bias")
            r_wo, r_skip = self._residual(layer["wo"], layer["x"], r)
            r_m = self._linear(layer["m"], at + "mlp.wo", r_wo, layer["wo"], "mlp.wo.bias")
            # product: a half each; GELU: identity
            r_both = np.concatenate([r_m / 2, r_m / 2], axis=1)
            r_x = self._linear(layer["x"], at + "mlp.gated_layers", r_both, layer["both"], None) + r_skip
            r = self._norm(layer["sum1"], at + "attention.output.LayerNorm", r_x, "layernorm.bias")
            r_dense, r_skip = self._residual(layer["dense"], layer["in"], r)
            r_mixed = self._linear(
                layer["mixed"], at + "attention.output.dense", r_dense, layer["dense"], "attn.dense.bias"
            )
            r_qkv = self._attention(layer, r_mixed)
            r = self._linear(layer["in"], at + "attention.self.Wqkv", r_qkv, layer["qkv"], "Wqkv.bias") + r_skip
            self.hidden.append(r.sum(1))
        r = self._norm(trace["sum"], "bert.embeddings.LayerNorm", r, "emb.layernorm.bias")
        token_type = w["bert.embeddings.token_type_embeddings.weight"][0]
        r_word, r_type = self._residual(trace["word"], np.broadcast_to(token_type, r.shape), r)
        self.ledger["token_type"] += r_type.sum()
        self.hidden.reverse()
        return r_word

    def _linear(self, x, name, r, z, bias_name) -> np.ndarray:
        """Epsilon rule, epsilon -> 0: input i of output j receives x_i W_ji / z_j of R_j; the bias b_j / z_j."""
        per_output = r / z
        if bias_name is not None:
            self.ledger[bias_name] += float((per_output * self.w[name + ".bias"]).sum())
        out = np.zeros_like(x)
        for token in range(x.shape[0]):
            contributions = self.w[name + ".weight"] * x[token][None, :]  # (out, in)
            out[token] = (contributions * per_output[token][:, None]).sum(0)
        return out

    @staticmethod
    def _residual(a, b, r):
        z = a + b
        return a / z * r, b / z * r

    def _norm(self, x, name, r, bias_name) -> np.ndarray:
        """1/sigma and gamma pass R on; adding beta and centring follow the epsilon rule."""
        gamma, beta = self.w[name + ".weight"], self.w[name + ".bias"]
        centred = x - x.mean(-1, keepdims=True)
        sigma = np.sqrt((centred**2).mean(-1, keepdims=True) + self.eps)
        scaled = centred / sigma * gamma
        share = scaled / (scaled + beta)
        self.ledger[bias_name] += float((r * beta / (scaled + beta)).sum())
        r_centred = r * share
        # centring is the linear map (I - 1/C): output j takes x_i (delta_ij - 1/C) / centred_j from input i
        n = x.shape[1]
        out = np.zeros_like(x)
        for token in range(x.shape[0]):
            matrix = np.eye(n) - 1.0 / n
            contributions = matrix * x[token][None, :]
            out[token] = (contributions / centred[token][:, None] * r_centred[token][:, None]).sum(0)
        return out

    def _attention(self, layer, r_mixed) -> np.ndarray:
        r_qkv = np.zeros_like(layer["qkv"])
        width = layer["mixed"].shape[1]
        head_width = width // self.n_heads
        for head, (q, k, v, scores, bias, weights) in enumerate(layer["heads"]):
            columns = slice(head * head_width, (head + 1) * head_width)
            out, r_out = layer["mixed"][:, columns], r_mixed[:, columns]
            per_output = r_out / out
            n_tokens = len(q)
            r_v, r_weights = np.zeros_like(v), np.zeros_like(weights)
            for i in range(n_tokens):
                for j in range(n_tokens):
                    flow = weights[i, j] * v[j] * per_output[i]
                    share = 1.0 if self.attention == "cplrp" else 0.5
                    r_v[j] += share * flow
                    r_weights[i, j] += (1 - share) * flow.sum()
            r_qkv[:, 2 * width :][:, columns] = r_v
            if self.attention == "cplrp":
                continue
            logits = scores + bias
            r_logits = np.zeros_like(weights)
            for i in range(n_tokens):  # softmax, Taylor: R_x = x (R - s sum R)
                r_logits[i] = logits[i] * (r_weights[i] - weights[i] * r_weights[i].sum())
            self.ledger["softmax"] += float(r_weights.sum() - r_logits.sum())
            with np.errstate(invalid="ignore", divide="ignore"):
                per_logit = np.where(logits == 0, 0.0, r_logits / logits)
            self.ledger["alibi"] += float((per_logit * bias).sum())
            r_q, r_k = np.zeros_like(q), np.zeros_like(k)
            for i in range(n_tokens):
                for j in range(n_tokens):
                    flow = q[i] * k[j] / math.sqrt(head_width) * per_logit[i, j]
                    r_q[i] += flow / 2
                    r_k[j] += flow / 2
            r_qkv[:, columns] = r_q
            r_qkv[:, width:][:, columns] = r_k
        return r_qkv


def slopes(n_heads: int) -> list[float]:
    """ALiBi's slopes as the paper's text gives them, for the head counts used in tests."""
    table = {
        2: [2**-4, 2**-8],
        4: [2**-2, 2**-4, 2**-6, 2**-8],
        6: [2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3],
        12: [2**-k for k in range(1, 9)] + [2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5],
    }
    return [float(slope) for slope in table[n_heads]]


def gelu(x: float) -> float:
    return x * 0.5 * math.erfc(-x / math.sqrt(2))


class CnnOracle:
    """The baseline CNN, base by base and filter by filter, and its DeepLIFT relevance by explicit shares.

    weights: state-dict name to float64 array. One sequence at a time, no padding, no matrix products.
    """

    def __init__(self, weights) -> None:
        self.w = {name: np.asarray(value, dtype=np.float64) for name, value in weights.items()}

    def forward(self, sequence: str) -> np.ndarray:
        """Logits (N,); keeps what every layer has."""
        filters, width = self.w["conv.weight"], self.w["conv.weight"].shape[2]
        self.matches = np.zeros((len(filters), len(sequence)))
        for f, pattern in enumerate(filters):
            for start in range(len(sequence)):
                self.matches[f, start] = self.w["conv.bias"][f]
                for j in range(width):
                    place = start + j - width // 2
                    if 0 <= place < len(sequence) and sequence[place] in "ACGT":
                        self.matches[f, start] += pattern["ACGT".index(sequence[place]), j]
        self.rectified = np.maximum(self.matches, 0)
        self.pooled = np.array([max(row) for row in self.rectified])
        self.hidden = np.array(
            [
                sum(w * p for w, p in zip(row, self.pooled, strict=True)) + bias
                for row, bias in zip(self.w["dense.weight"], self.w["dense.bias"], strict=True)
            ]
        )
        return np.array(
            [
                sum(w * max(h, 0) for w, h in zip(row, self.hidden, strict=True)) + bias
                for row, bias in zip(self.w["classifier.weight"], self.w["classifier.bias"], strict=True)
            ]
        )

    def deeplift(self, sequence: str, target: int) -> np.ndarray:
        """Relevance (L,) of one logit, by DeepLIFT's rules (Shrikumar et al. 2017), from a sequence of N.

        Every difference from the reference is handed down as shares: a linear sum shares it in proportion to its
        terms (Linear rule), a rectifier hands it to its input (Rescale rule), a maximum to where it is: that of the
        sequence if it is the larger, else that of the reference, the first of equals.
        """
        self.forward("N" * len(sequence))
        reference = self.rectified.copy(), self.pooled.copy(), self.hidden.copy(), self.matches.copy()
        self.forward(sequence)
        pooled, hidden = self.pooled - reference[1], self.hidden - reference[2]
        to_pooled = np.zeros(len(pooled))
        for unit, weight in enumerate(self.w["classifier.weight"][target]):
            change = max(self.hidden[unit], 0) - max(reference[2][unit], 0)
            for f in range(len(pooled)):
                if hidden[unit]:
                    share = self.w["dense.weight"][unit, f] * pooled[f] / hidden[unit]
                    to_pooled[f] += weight * change * share
        relevance = np.zeros(len(sequence))
        width = self.w["conv.weight"].shape[2]
        for f in range(len(pooled)):
            if not pooled[f]:
                continue
            place = int((self.rectified if pooled[f] > 0 else reference[0])[f].argmax())
            # Rescale: what the rectifier's output gets at this place, its input gets.
            arriving, change = to_pooled[f], (self.matches - reference[3])[f, place]
            for j in range(width):
                at = place + j - width // 2
                if 0 <= at < len(sequence) and sequence[at] in "ACGT":
                    relevance[at] += arriving * self.w["conv.weight"][f, "ACGT".index(sequence[at]), j] / change
        return relevance
