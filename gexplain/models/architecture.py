"""Architecture: the sizes of a DNABERT-2 classifier, its tensors, and whether a state dict is one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gexplain.errors import ModelError, preview

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

_SAVE_AGAIN = "save the whole fine-tuned model again with save_pretrained"


@dataclass(frozen=True, slots=True)
class DnaBert2Config:
    """The sizes of a DNABERT-2 classifier."""

    vocab_size: int
    hidden_size: int
    n_layers: int
    n_heads: int
    intermediate_size: int
    type_vocab_size: int
    layer_norm_eps: float
    n_targets: int

    def __post_init__(self) -> None:
        if min(self.n_layers, self.n_heads, self.n_targets) < 1 or self.hidden_size % self.n_heads:
            raise ValueError(f"heads must divide the hidden size, and no size be 0: {self}")


def parameter_shapes(config: DnaBert2Config) -> dict[str, tuple[int, ...]]:
    """Every tensor of a DNABERT-2 classifier, by its published name, and its shape."""
    width, inner = config.hidden_size, config.intermediate_size
    shapes: dict[str, tuple[int, ...]] = {
        "bert.embeddings.word_embeddings.weight": (config.vocab_size, width),
        "bert.embeddings.token_type_embeddings.weight": (config.type_vocab_size, width),
        "bert.embeddings.LayerNorm.weight": (width,),
        "bert.embeddings.LayerNorm.bias": (width,),
    }
    for layer in range(config.n_layers):
        name = f"bert.encoder.layer.{layer}"
        shapes |= {
            f"{name}.attention.self.Wqkv.weight": (3 * width, width),
            f"{name}.attention.self.Wqkv.bias": (3 * width,),
            f"{name}.attention.output.dense.weight": (width, width),
            f"{name}.attention.output.dense.bias": (width,),
            f"{name}.attention.output.LayerNorm.weight": (width,),
            f"{name}.attention.output.LayerNorm.bias": (width,),
            f"{name}.mlp.gated_layers.weight": (2 * inner, width),
            f"{name}.mlp.wo.weight": (width, inner),
            f"{name}.mlp.wo.bias": (width,),
            f"{name}.mlp.layernorm.weight": (width,),
            f"{name}.mlp.layernorm.bias": (width,),
        }
    return shapes | {
        "bert.pooler.dense.weight": (width, width),
        "bert.pooler.dense.bias": (width,),
        "classifier.weight": (config.n_targets, width),
        "classifier.bias": (config.n_targets,),
    }


def random_state(config: DnaBert2Config, generator: torch.Generator, *, scale: float = 0.02) -> dict[str, Tensor]:
    """A random float32 state, the same for the same generator state: normal, `scale` wide.

    Norm weights lie about 1, all else about 0; no bias is 0, so that nothing hides behind one that is.
    """
    return {
        name: scale * torch.randn(shape, generator=generator)
        + (1.0 if name.lower().endswith("layernorm.weight") else 0.0)
        for name, shape in parameter_shapes(config).items()
    }


def initial_state(config: DnaBert2Config, generator: torch.Generator) -> dict[str, Tensor]:
    """Where training from scratch starts, as BERT does: normal of 0.02, biases 0, norms 1."""
    return {
        name: torch.zeros(shape)
        if name.endswith(".bias")
        else torch.ones(shape)
        if name.lower().endswith("layernorm.weight")
        else 0.02 * torch.randn(shape, generator=generator)
        for name, shape in parameter_shapes(config).items()
    }


def refuse_quantised(state: Mapping[str, Tensor], where: str) -> None:
    """Raise ModelError where tensors are not floating point, or carry the scales of a quantiser."""
    quantised = [
        name
        for name, tensor in state.items()
        if tensor.dtype not in _FLOATS or name.endswith((".SCB", ".absmax", ".weight_format"))
    ]
    if quantised:
        dtypes = preview(sorted({str(state[name].dtype) for name in quantised}))
        raise ModelError(
            f"{where}: quantised weights ({dtypes}): {preview(quantised)}; expected floating point",
            hint="save the model without bitsandbytes, in float32, float16 or bfloat16",
        )


def refuse_other_models(state: Mapping[str, Tensor], where: str) -> None:
    """Raise ModelError, saying what it is, where the tensors are no whole DNABERT-2 classifier."""
    if any(".attention.self.query." in name for name in state) and any(n.startswith("bert.") for n in state):
        raise ModelError(
            f"{where}: stock BERT: attention.self.query/key/value; DNABERT-2 has attention.self.Wqkv",
            hint="fine-tune with DNABERT-2's own classes: stock BERT reads its files with random attention",
        )
    if not any(name.endswith(".attention.self.Wqkv.weight") for name in state):
        raise ModelError(
            f"{where}: not a DNABERT-2; found {preview(sorted(state)) or 'no tensors'}, "
            "expected bert.encoder.layer.0.attention.self.Wqkv.weight ...",
            hint="only fine-tuned DNABERT-2 classifiers are loaded from checkpoints",
        )
    if "classifier.weight" not in state:
        if any(name.startswith("cls.") for name in state):
            raise ModelError(
                f"{where}: a masked-LM checkpoint (cls.predictions, no classifier) has no class to explain",
                hint="fine-tune it for classification first",
            )
        raise ModelError(
            f"{where}: no classifier.weight; found the encoder only",
            hint="give a fine-tuned classifier; with LoRA, train with classifier in modules_to_save",
        )
    if "bert.pooler.dense.weight" not in state:
        raise ModelError(
            f"{where}: a classifier but no bert.pooler.dense; the class logits are computed from the pooler",
            hint='the trained pooler was not saved; train LoRA with modules_to_save=["pooler", "classifier"]',
        )


def derive_config(state: Mapping[str, Tensor], settings: Mapping[str, object], where: str) -> DnaBert2Config:
    """The sizes that the tensors have; heads and epsilon as the config says.

    Raises ModelError where the config contradicts the tensors, or its heads do not divide the width.
    """
    vocab_size, hidden_size = _matrix_shape(state, "bert.embeddings.word_embeddings.weight", where)
    type_vocab_size, _ = _matrix_shape(state, "bert.embeddings.token_type_embeddings.weight", where)
    gated_rows, _ = _matrix_shape(state, "bert.encoder.layer.0.mlp.gated_layers.weight", where)
    n_targets, _ = _matrix_shape(state, "classifier.weight", where)
    layers = {match[1] for name in state if (match := re.match(r"bert\.encoder\.layer\.(\d+)\.", name))}
    found = {
        "vocab_size": vocab_size,
        "hidden_size": hidden_size,
        "num_hidden_layers": len(layers),
        "intermediate_size": gated_rows // 2,
        "type_vocab_size": type_vocab_size,
    }
    wrong = [
        f"{key} {settings[key]} (the weights have {size})"
        for key, size in found.items()
        if settings.get(key, size) != size
    ]
    if wrong:
        raise ModelError(
            f"{where}: config.json contradicts the weights: {', '.join(wrong)}",
            hint="copy config.json and the weights again from one and the same model",
        )
    heads = settings.get("num_attention_heads")
    if not isinstance(heads, int) or isinstance(heads, bool) or heads < 1 or hidden_size % heads:
        raise ModelError(
            f"{where}: config.json has num_attention_heads {heads!r}; expected a divisor of {hidden_size}",
            hint="DNABERT-2 has 12; weights do not show it, so config.json must",
        )
    # Where a config leaves it out, the published config class has 1e-12.
    eps = settings.get("layer_norm_eps", 1e-12)
    if not isinstance(eps, float) or not 0 < eps < 1:
        raise ModelError(
            f"{where}: config.json has layer_norm_eps {eps!r}; expected a small positive number",
            hint="DNABERT-2 has 1e-12",
        )
    return DnaBert2Config(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        n_layers=len(layers),
        n_heads=heads,
        intermediate_size=gated_rows // 2,
        type_vocab_size=type_vocab_size,
        layer_norm_eps=eps,
        n_targets=n_targets,
    )


def _matrix_shape(state: Mapping[str, Tensor], name: str, where: str) -> tuple[int, int]:
    shape = tuple(state[name].shape) if name in state else None
    if shape is None or len(shape) != 2 or 0 in shape:
        raise ModelError(f"{where}: {name}: found {shape or 'none'}; expected a matrix", hint=_SAVE_AGAIN)
    return shape[0], shape[1]


def check_state(state: Mapping[str, Tensor], config: DnaBert2Config, where: str) -> None:
    """Raise ModelError where a tensor is missing, unexpected, of the wrong shape or not finite."""
    check_tensors(state, parameter_shapes(config), f"a DNABERT-2 classifier of {config.n_layers} layers", where)


def check_tensors(
    state: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]], what: str, where: str
) -> None:
    """`check_state` of any architecture: `what` it is, in words, and the shapes that it has."""
    missing = [name for name in expected if name not in state]
    unexpected = sorted(set(state) - set(expected))
    wrong = [
        f"{name} is {tuple(state[name].shape)}, expected {shape}"
        for name, shape in expected.items()
        if name in state and tuple(state[name].shape) != shape
    ]
    named = {"missing": missing, "unexpected": unexpected, "of the wrong shape": wrong}
    if any(named.values()):
        raise ModelError(
            f"{where}: tensors do not fit {what}",
            detail="\n".join(f"{kind}: {preview(names)}" for kind, names in named.items() if names),
            hint=_SAVE_AGAIN,
        )
    broken = [name for name, tensor in state.items() if not bool(tensor.isfinite().all())]
    if broken:
        raise ModelError(
            f"{where}: NaN or infinite weights: {preview(broken)}",
            hint="the training diverged; use an earlier checkpoint",
        )
