"""Adapters: LoRA merged into the weights that it was trained on; past here there is one plain state dict.

LoRA (Hu et al. 2021, arXiv 2106.09685): W + alpha/r * B A. Rank-stabilised LoRA (Kalajdzievski 2023, arXiv
2312.03732): alpha/sqrt(r). File layout and pattern matching as PEFT has them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gexplain.errors import ModelError, preview
from gexplain.models.sources import read_json

_FACTOR = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])(\.(?P<adapter>[^.]+))?\.weight")

# Other ways to start leave their mark in the base weights too, which an adapter does not carry.
_PLAIN_STARTS = (None, True, False, "gaussian", "eva", "orthogonal")
_UNSUPPORTED = ("fan_in_fan_out", "layer_replication", "alora_invocation_tokens", "target_parameters")

_MERGE = "merge it where it was trained: model.merge_and_unload().save_pretrained(folder)"


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """What adapter_config.json says: base is None where it names none; the patterns are regex to value."""

    path: Path
    base: str | None
    rank: int
    alpha: float
    rank_pattern: Mapping[str, float]
    alpha_pattern: Mapping[str, float]
    rank_stabilised: bool

    def rank_of(self, module: str) -> float:
        """The rank that the config gives to a module."""
        return self._value_for(module, self.rank_pattern, self.rank)

    def scale_of(self, module: str) -> float:
        """The factor before B A."""
        rank = self.rank_of(module)
        return self._value_for(module, self.alpha_pattern, self.alpha) / (
            math.sqrt(rank) if self.rank_stabilised else rank
        )

    def _value_for(self, module: str, pattern: Mapping[str, float], default: float) -> float:
        # The first that matches wins, as in PEFT: a whole name or the end of one, after a dot.
        return next((v for key, v in pattern.items() if re.fullmatch(rf"(.*\.)?({key})", module)), default)


def read_lora_config(path: Path) -> LoraConfig:
    """The settings of a LoRA adapter_config.json.

    Raises ModelError for other kinds of adapter, and for variants that W + scale * B A does not describe.
    """
    fields = read_json(path)
    kind = fields.get("peft_type")
    if kind != "LORA":
        raise ModelError(f"{path}: found an adapter of type {kind}; expected LORA", hint=_MERGE)
    variants = [key for key in fields if key.startswith("use_") and key != "use_rslora"]
    asked = [key for key in (*_UNSUPPORTED, *variants) if fields.get(key)]
    start = fields.get("init_lora_weights")
    if start not in _PLAIN_STARTS:
        asked.append(f"init_lora_weights={start}")
    if asked:
        raise ModelError(f"{path}: this variant of LoRA is not supported: {', '.join(asked)}", hint=_MERGE)
    base = fields.get("base_model_name_or_path")
    return LoraConfig(
        path=path,
        base=str(base) if base else None,
        rank=int(_positive(fields.get("r"), "r", path)),
        alpha=_positive(fields.get("lora_alpha"), "lora_alpha", path),
        rank_pattern=_pattern(fields, "rank_pattern", path),
        alpha_pattern=_pattern(fields, "alpha_pattern", path),
        rank_stabilised=bool(fields.get("use_rslora")),
    )


def _positive(value: object, name: str, path: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise ModelError(
            f"{path}: {name} is {value!r}; expected a positive number",
            hint="without it the adapter's strength is unknown; copy the file from where it was trained",
        )
    return value


def _pattern(fields: Mapping[str, object], name: str, path: Path) -> dict[str, float]:
    found = fields.get(name) or {}
    if not isinstance(found, dict):
        raise ModelError(f"{path}: {name} is {found!r}; expected module names to numbers", hint=_MERGE)
    for key in found:
        try:
            re.compile(key)
        except re.error as error:
            raise ModelError(f"{path}: {name} has {key!r}, no regex: {error}", hint=_MERGE) from error
    return {key: _positive(value, f"{name}[{key!r}]", path) for key, value in found.items()}


def is_lora(tensors: Mapping[str, Tensor]) -> bool:
    """Whether tensors carry LoRA factors."""
    return any(".lora_" in name for name in tensors)


def merge_lora(base: Mapping[str, Tensor], adapter: Mapping[str, Tensor], config: LoraConfig) -> dict[str, Tensor]:
    """The base's tensors with every B A added and every module that the adapter saved whole put in its place.

    A whole PeftModel dump is an adapter with an empty base. What is merged is float32 at least; the rest is
    as saved. Raises ModelError where the factors do not fit each other, the config or the weights.
    """
    where = config.path.parent
    found = {name: match for name in adapter if (match := _FACTOR.fullmatch(name))}
    adapters = {match["adapter"] for match in found.values()}
    if not found:
        raise ModelError(f"{where}: the adapter has no LoRA factors (lora_A, lora_B)", hint=_MERGE)
    if len(adapters) > 1:
        names = preview(sorted(map(str, adapters)))
        raise ModelError(f"{where}: holds several adapters: {names}; expected one", hint=_MERGE)
    # A dump has the adapter's name in its keys, and what was trained whole under modules_to_save. An adapter
    # folder has that under plain names; with bias="all", PEFT repeats some of it under modules_to_save.
    (adapter_name,) = adapters
    copies = (".original_module.",) if adapter_name else (".original_module.", ".modules_to_save.")
    state = dict(base)
    factors: dict[str, dict[str, Tensor]] = {}
    for name, tensor in adapter.items():
        if name in found:
            factors.setdefault(found[name]["module"], {})[found[name]["side"]] = tensor
        elif ".lora_" in name:
            raise ModelError(f"{where}: no plain LoRA: found {name}", hint=_MERGE)
        elif not any(copy in name for copy in copies):
            state[name.replace(f".modules_to_save.{adapter_name}.", ".").replace(".base_layer.", ".")] = tensor
    for module, sides in factors.items():
        weight = state.get(f"{module}.weight")
        if weight is None:
            raise ModelError(
                f"{where}: the adapter changes {module}, and the base has no {module}.weight",
                hint="check base_model_name_or_path; a new module belongs in modules_to_save",
            )
        state[f"{module}.weight"] = _merged(weight, module, sides, config)
    return state


def _merged(weight: Tensor, module: str, sides: Mapping[str, Tensor], config: LoraConfig) -> Tensor:
    found = {side: tuple(tensor.shape) for side, tensor in sorted(sides.items())}
    rank = int(config.rank_of(module))
    rows, columns = weight.shape if weight.ndim == 2 else (0, 0)
    expected = {"A": (rank, columns), "B": (rows, rank)}
    if found != expected:
        raise ModelError(
            f"{config.path.parent}: LoRA factors of {module} have shapes {found}; "
            f"expected {expected} for rank {rank} and a weight {tuple(weight.shape)}",
            hint="the adapter, its adapter_config.json and the base do not belong together",
        )
    dtype = torch.promote_types(weight.dtype, torch.float32)
    delta = sides["B"].to(dtype) @ sides["A"].to(dtype)
    return weight.to(dtype) + config.scale_of(module) * delta
