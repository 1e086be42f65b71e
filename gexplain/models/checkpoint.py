"""Checkpoints: a fine-tuned DNABERT-2, in any of the forms that people save it in, as one plain state dict.

To explain one, nothing is initialised, guessed or skipped: weights, config and tokenizer must agree, and every tensor
that the architecture needs must be there. No code of a checkpoint is ever run.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gexplain.errors import ModelError
from gexplain.models.adapters import LoraConfig, is_lora, merge_lora, read_lora_config
from gexplain.models.architecture import (
    DnaBert2Config,
    check_state,
    derive_config,
    initial_state,
    parameter_shapes,
    random_state,
    refuse_other_models,
    refuse_quantised,
)
from gexplain.models.settings import (
    Head,
    class_settings,
    read_head,
    read_labels,
    read_window,
    write_json,
    write_weights,
)
from gexplain.models.sources import digest_files, find_folder, find_weights, read_json, read_tensors
from gexplain.tokens import Tokenizer

__all__ = [
    "Base",
    "Checkpoint",
    "DnaBert2Config",
    "Head",
    "initial_state",
    "load_base",
    "load_checkpoint",
    "random_state",
    "save_checkpoint",
]

# Buffers that some versions of the published code save; the forward pass computes its own.
_BUFFERS = ("bert.encoder.alibi", "bert.embeddings.position_ids", "bert.embeddings.token_type_ids")


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A classifier's weights and what its folder says of them.

    source: as the user named it. form: how the weights were kept. state: published names to tensors, as saved
    (merged weights are float32 at least). labels: one a target, in logit order. window: the training window
    in nucleotides, where the config records it. sha256: that of the weights file; where several files make
    the weights (shards, adapter with its config, base) that of their lines "name sha256", sorted by name.
    """

    source: str
    form: str
    config: DnaBert2Config
    state: dict[str, Tensor]
    labels: tuple[str, ...]
    head: Head
    tokenizer_file: Path
    window: int | None
    sha256: str


@dataclass(frozen=True, slots=True, eq=False)
class _Weights:
    """Weights put together: folders holds the config and tokenizer files, the first that has one counts."""

    form: str
    state: dict[str, Tensor]
    files: tuple[Path, ...]
    folders: tuple[Path, ...]


def load_checkpoint(name: str | os.PathLike[str]) -> Checkpoint:
    """The classifier in a folder, beside a weights file, or at a hub id (org/name).

    Takes safetensors or pytorch_model.bin (tensors only), whole or sharded; wrappers' prefixes; a LoRA
    adapter folder, whose base is looked for where its config says, beside it, and on the hub; a whole
    PeftModel dump. Raises ModelError where it cannot be loaded exactly as it was trained.
    """
    return read_checkpoint(str(name), *find_folder(name))


def read_checkpoint(source: str, folder: Path, named: Path | None) -> Checkpoint:
    """`load_checkpoint`, of a folder that is found already; source: as the user named it."""
    weights = _read_weights(folder, named)
    settings = _read_settings(weights.folders)
    where = str(folder)
    refuse_other_models(weights.state, where)
    config = derive_config(weights.state, settings, where)
    check_state(weights.state, config, where)
    return Checkpoint(
        source=source,
        form=weights.form,
        config=config,
        state=weights.state,
        labels=read_labels(settings, config.n_targets, where),
        head=read_head(settings, config.n_targets, where),
        tokenizer_file=_find_tokenizer(weights.folders, config),
        window=read_window(settings, where),
        sha256=digest_files(weights.files),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """Weights to fine-tune. started: the tensors that the source does not have, and that start at random.

    files: all that was read, the tokenizer among it. form: how the weights were kept.
    """

    source: str
    config: DnaBert2Config
    state: dict[str, Tensor]
    tokenizer_file: Path
    started: tuple[str, ...]
    sha256: str
    form: str
    files: tuple[Path, ...]


def load_base(name: str | os.PathLike[str], labels: Sequence[str], generator: torch.Generator) -> Base:
    """The weights of any DNABERT-2, masked-LM or classifier, with a classifier of these labels.

    A classifier of the same labels is kept; any other is left behind, and the new one, as a pooler where there is
    none, starts at random. The forms are those of `load_checkpoint`; raises ModelError likewise.
    """
    folder, named = find_folder(name)
    weights = _read_weights(folder, named)
    settings = _read_settings(weights.folders)
    where = str(folder)
    state = {key: tensor.float() for key, tensor in weights.state.items() if not key.startswith("cls.")}
    ids = settings.get("id2label")
    kept = [ids.get(str(i)) for i in range(len(ids))] if isinstance(ids, dict) else None
    if kept != list(labels):
        state = {key: tensor for key, tensor in state.items() if not key.startswith("classifier.")}
    width = state["bert.embeddings.LayerNorm.weight"].shape[0] if "bert.embeddings.LayerNorm.weight" in state else 1
    fresh = {
        "bert.pooler.dense.weight": 0.02 * torch.randn(width, width, generator=generator),
        "bert.pooler.dense.bias": torch.zeros(width),
        "classifier.weight": 0.02 * torch.randn(len(labels), width, generator=generator),
        "classifier.bias": torch.zeros(len(labels)),
    }
    started = tuple(key for key in fresh if key not in state)
    state |= {key: fresh[key] for key in started}
    refuse_other_models(state, where)
    config = derive_config(state, settings, where)
    check_state(state, config, where)
    tokenizer_file = _find_tokenizer(weights.folders, config)
    return Base(
        source=str(name),
        config=config,
        state=state,
        tokenizer_file=tokenizer_file,
        started=started,
        sha256=digest_files(weights.files),
        form=weights.form,
        files=(*weights.files, tokenizer_file),
    )


def _read_weights(folder: Path, named: Path | None) -> _Weights:
    found = find_weights(folder, named)
    tensors = _read_state(found.files)
    if not found.is_adapter and not is_lora(tensors):
        return _Weights(found.form, tensors, found.files, (folder,))
    settings = folder / "adapter_config.json"
    if not settings.is_file():
        raise ModelError(
            f"{folder}: LoRA weights without adapter_config.json: their strength, alpha/r, is unknown",
            hint='write one, as trained: {"peft_type": "LORA", "r": ..., "lora_alpha": ...}',
        )
    lora = read_lora_config(settings)
    if not found.is_adapter:
        state = merge_lora({}, tensors, lora)
        return _Weights(f"PeftModel dump ({found.form})", state, (*found.files, settings), (folder,))
    base_folder, base_file = _find_base(lora)
    base = find_weights(base_folder, base_file)
    base_tensors = _read_state(base.files)
    if base.is_adapter or is_lora(base_tensors):
        raise ModelError(
            f"{folder}: its base {base_folder} is an adapter itself; expected whole weights",
            hint="merge the first adapter into its base, and name the merged folder in adapter_config.json",
        )
    # The base was pre-trained on masked tokens; its language-model head plays no part in a classifier.
    base_tensors = {key: tensor for key, tensor in base_tensors.items() if not key.startswith("cls.")}
    return _Weights(
        f"PEFT adapter on {base.form}",
        merge_lora(base_tensors, tensors, lora),
        (*found.files, settings, *base.files),
        (folder, base_folder),
    )


def _read_state(files: tuple[Path, ...]) -> dict[str, Tensor]:
    state = {name: tensor for name, tensor in read_tensors(files).items() if name not in _BUFFERS}
    refuse_quantised(state, str(files[0].parent))
    return state


def _find_base(lora: LoraConfig) -> tuple[Path, Path | None]:
    folder = lora.path.parent
    if lora.base is None:
        raise ModelError(
            f"{lora.path}: names no base model", hint="set base_model_name_or_path to the folder of the base"
        )
    base = Path(lora.base).expanduser()
    for path in (base, folder / base, folder.parent / base.name):
        if path.exists() and path.resolve() != folder.resolve():
            return find_folder(path)
    try:
        return find_folder(lora.base)
    except ModelError as error:
        raise ModelError(
            f"{folder}: the base of the adapter is not there: {error.message}",
            detail=error.detail,
            hint=f"put the base at {folder.parent / base.name}, or mend base_model_name_or_path",
        ) from error


def _read_settings(folders: Sequence[Path]) -> dict[str, object]:
    """config.json; where an adapter's folder has one, it goes before that of the base, key by key."""
    found = [folder / "config.json" for folder in folders if (folder / "config.json").is_file()]
    settings: dict[str, object] = {}
    for path in reversed(found or [folders[0] / "config.json"]):
        settings |= read_json(path)
    return settings


def _find_tokenizer(folders: Sequence[Path], config: DnaBert2Config) -> Path:
    path = next((folder / "tokenizer.json" for folder in folders if (folder / "tokenizer.json").is_file()), None)
    if path is None:
        others = [name for name in ("vocab.txt", "tokenizer.model") if any((f / name).is_file() for f in folders)]
        raise ModelError(
            f"{folders[0]}: no tokenizer.json" + (f"; {', '.join(others)} is of another tokenizer" if others else ""),
            hint="copy tokenizer.json from DNABERT-2, or from the model that was fine-tuned",
        )
    n_tokens = Tokenizer.from_file(path).n_tokens
    if n_tokens > config.vocab_size:
        raise ModelError(
            f"{path}: {n_tokens:,} tokens, and the embedding has {config.vocab_size:,} rows",
            hint="use the tokenizer.json of the model that was fine-tuned",
        )
    return path


def save_checkpoint(
    directory: str | os.PathLike[str],
    state: Mapping[str, Tensor],
    config: DnaBert2Config,
    *,
    labels: Sequence[str],
    head: Head,
    tokenizer_file: str | os.PathLike[str],
    window: int | None = None,
) -> Path:
    """The folder written: model.safetensors, config.json, tokenizer.json and tokenizer_config.json.

    `load_checkpoint` reads it back, and so do DNABERT-2's own classes and transformers' AutoTokenizer. Raises
    ValueError where the state, the labels or the head do not fit the config.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if shapes != parameter_shapes(config):
        raise ValueError("the state does not have the tensors and shapes of the config")
    dtype = next(iter(state.values())).dtype
    settings = _published_config(config) | class_settings(labels, head, window, config.n_targets, dtype)
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", settings)
    write_json(folder / "tokenizer_config.json", _TOKENIZER_CONFIG)
    if Path(tokenizer_file).resolve() != (folder / "tokenizer.json").resolve():
        shutil.copyfile(tokenizer_file, folder / "tokenizer.json")
    write_weights(folder, state)  # last: a folder that was cut off does not load
    return folder


def _published_config(config: DnaBert2Config) -> dict[str, object]:
    # No model_type: with "bert", transformers would load its stock BERT, and leave its attention random.
    code = "zhihan1996/DNABERT-2-117M--"
    return {
        "alibi_starting_size": 512,
        "architectures": ["BertForSequenceClassification"],
        "attention_probs_dropout_prob": 0.0,
        "auto_map": {
            "AutoConfig": f"{code}configuration_bert.BertConfig",
            "AutoModel": f"{code}bert_layers.BertModel",
            "AutoModelForMaskedLM": f"{code}bert_layers.BertForMaskedLM",
            "AutoModelForSequenceClassification": f"{code}bert_layers.BertForSequenceClassification",
        },
        "classifier_dropout": None,
        "gradient_checkpointing": False,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": config.hidden_size,
        "initializer_range": 0.02,
        "intermediate_size": config.intermediate_size,
        "layer_norm_eps": config.layer_norm_eps,
        "max_position_embeddings": 512,
        "num_attention_heads": config.n_heads,
        "num_hidden_layers": config.n_layers,
        "position_embedding_type": "absolute",
        "type_vocab_size": config.type_vocab_size,
        "use_cache": True,
        "vocab_size": config.vocab_size,
    }


_TOKENIZER_CONFIG: dict[str, object] = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "mask_token": "[MASK]",
}
