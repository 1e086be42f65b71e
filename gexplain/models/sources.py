"""Sources: from the name a user gives (a bundled model, a folder, a weights file, a hub id) to tensors.

Nothing here knows the architecture. Names leave here without the prefixes that wrappers add.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from gexplain.errors import ModelError, preview
from gexplain.models.bundled import bundled_folder, no_bundled_error

# Whole weights, in the order in which transformers prefers them; then the adapter's own.
_WHOLE = (
    ("model.safetensors", "safetensors"),
    ("model.safetensors.index.json", "sharded safetensors"),
    ("pytorch_model.bin", "pytorch_model.bin"),
    ("pytorch_model.bin.index.json", "sharded pytorch_model.bin"),
)
_ADAPTER = ("adapter_model.safetensors", "adapter_model.bin")

# Never *.py: a checkpoint is data.
_HUB_PATTERNS = ["*config.json", "tokenizer.json", "model*.safetensors*", "adapter_model.safetensors"]
_HUB_PATTERNS_BIN = ["pytorch_model*.bin*", "adapter_model.bin"]

_CONVERT = "load it where it was made, then safetensors.torch.save_file(model.state_dict(), 'model.safetensors')"


@dataclass(frozen=True, slots=True)
class WeightFiles:
    """The files that hold one set of weights. form says how, in words; is_adapter that they change a base."""

    form: str
    files: tuple[Path, ...]
    is_adapter: bool = False


def find_folder(name: str | os.PathLike[str]) -> tuple[Path, Path | None]:
    """The folder that `name` means, and the weights file in it where `name` is one.

    A text without a slash that is the name of a bundled model is that model. A hub id (org/name) that is no path is
    downloaded to the hub's cache: data files only, never code. What is no text (a Path) is a path and nothing else.

    Raises ModelError where there is no such folder and the hub does not give one, and where a bundled model's name
    is that of a path in the working directory too.
    """
    path = Path(name).expanduser()
    bundled = bundled_folder(name) if isinstance(name, str) else None
    if bundled is not None:
        if path.exists():
            raise ModelError(
                f"{name}: both a bundled model and {path.absolute()}",
                hint=f"write ./{name} for the path; rename it, or work elsewhere, for the bundled model",
            )
        return bundled, None
    if path.is_dir():
        return path, None
    if path.is_file():
        return path.parent, path
    if re.fullmatch(r"\w[\w.-]*/[\w.-]+", str(name)):
        return _download(str(name)), None
    if isinstance(name, str) and not re.search(r"[/\\]", name):
        raise no_bundled_error(name)
    raise ModelError(f"{name}: no such folder", hint="give a folder with weights and config.json, or a hub id")


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(hub_id, allow_patterns=_HUB_PATTERNS))
        if not any(folder.glob("*.safetensors")):
            folder = Path(snapshot_download(hub_id, allow_patterns=_HUB_PATTERNS + _HUB_PATTERNS_BIN))
    except Exception as error:  # the client raises its own, its HTTP library's and the system's errors
        raise ModelError(
            f"{hub_id}: no such folder, and the hub could not be reached or has no such model",
            detail=f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}",
            hint="check the spelling; without a network, download the model elsewhere and give its folder",
        ) from error
    return folder


def find_weights(folder: Path, named: Path | None = None) -> WeightFiles:
    """The weight files of a folder; `named` settles which, where the user named a whole-weights file.

    Raises ModelError where there are none, a shard is missing, or whole weights lie beside an adapter's.
    """
    if named is not None and not _belongs_to_set(named):
        return WeightFiles(_form_of(named), (named,))
    whole = [(folder / name, form) for name, form in _WHOLE if (folder / name).is_file()]
    adapter = [folder / name for name in _ADAPTER if (folder / name).is_file()]
    if named is not None:
        adapter, whole = ([named], []) if named in adapter else ([], whole)
    if adapter and whole:
        raise ModelError(
            f"{folder}: found both {whole[0][0].name} and {adapter[0].name}, expected one or the other",
            hint="name the file to use, or keep the adapter and its base in two folders",
        )
    if adapter:
        return WeightFiles("PEFT adapter", (adapter[0],), is_adapter=True)
    if not whole:
        raise _nothing_in(folder)
    path, form = whole[0]
    return WeightFiles(form, _shards(path) if path.suffix == ".json" else (path,))


def _belongs_to_set(path: Path) -> bool:
    """Whether a file is used only with others of its folder: a shard, an index, an adapter."""
    return path.suffix == ".json" or path.name in _ADAPTER or bool(re.search(r"-\d+-of-\d+\.", path.name))


def _form_of(path: Path) -> str:
    return "safetensors" if path.suffix == ".safetensors" else "pytorch_model.bin"


def _shards(index: Path) -> tuple[Path, ...]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelError(f"{index}: no weight_map", hint="copy the index again from where the model was saved")
    names = sorted({str(name) for name in weight_map.values()})
    # Only names: an index must not lead out of its folder.
    missing = [name for name in names if Path(name).name != name or not (index.parent / name).is_file()]
    if missing:
        raise ModelError(
            f"{index}: {len(missing)} of {len(names)} shards are not in the folder: {preview(missing)}",
            hint="copy the missing files beside the index",
        )
    return tuple(index.parent / name for name in names)


def _nothing_in(folder: Path) -> ModelError:
    expected = ", ".join(name for name, _ in _WHOLE if name.endswith(("safetensors", "bin")))
    steps = sorted(
        (path for path in folder.glob("checkpoint-*") if path.is_dir()),
        key=lambda path: (len(path.name), path.name),
    )
    if steps:
        return ModelError(
            f"{folder}: only training checkpoints, no model itself: {preview(path.name for path in steps)}",
            hint=f"name one of them, such as {steps[-1]}",
        )
    found = preview(sorted(path.name for path in folder.iterdir())) or "nothing"
    return ModelError(
        f"{folder}: no weights; found {found}, expected {expected} or {_ADAPTER[0]}",
        hint="give the folder that save_pretrained or the trainer wrote",
    )


def read_tensors(files: Iterable[Path]) -> dict[str, Tensor]:
    """The tensors of all files by name, on the CPU and as saved; wrappers' prefixes are taken off the names.

    Raises ModelError where a file is damaged, is a pickle of anything but tensors, or two names become one.
    """
    tensors: dict[str, Tensor] = {}
    for file in files:
        for name, tensor in _read_file(file).items():
            plain = _plain_name(name)
            if plain in tensors:
                raise ModelError(
                    f"{file}: two tensors are named {plain}", hint="save the unwrapped model's state_dict()"
                )
            tensors[plain] = tensor.detach()
    return tensors


def _plain_name(name: str) -> str:
    """The name without what DataParallel (module), torch.compile (_orig_mod), PEFT (base_model.model) add."""
    parts = [part for part in name.split(".") if part not in ("module", "_orig_mod")]
    while parts[:2] == ["base_model", "model"]:
        parts = parts[2:]
    # A bare encoder is saved without the name that it has in a classifier.
    if parts[:1] in (["embeddings"], ["encoder"], ["pooler"]):
        parts = ["bert", *parts]
    return ".".join(parts)


def _read_file(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        if file.read(40).startswith(b"version https://git-lfs"):
            raise ModelError(f"{path}: a git-lfs pointer, not the weights", hint="run git lfs pull in that folder")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path}: damaged safetensors file: {error}", hint="copy the file again") from error
    try:
        loaded: object = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path}: refused, since it is damaged or holds more than tensors; a pickle can run any code",
            hint=_CONVERT,
        ) from error
    except (RuntimeError, EOFError, OSError) as error:
        raise ModelError(f"{path}: damaged weights file: {error}", hint="copy the file again") from error
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        found = preview(map(str, loaded)) if isinstance(loaded, dict) else type(loaded).__name__
        raise ModelError(f"{path}: found {found}; expected a state dict, names to tensors", hint=_CONVERT)
    return {str(name): value for name, value in loaded.items()}


def read_json(path: Path) -> dict[str, object]:
    """The object in a JSON file. Raises ModelError where there is no such file or it holds something else."""
    try:
        loaded: object = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(
            f"{path}: {error.strerror or error}", hint=f"copy {path.name} from where the model was saved"
        ) from error
    except ValueError as error:
        raise ModelError(f"{path}: not JSON: {error}", hint="copy the file again") from error
    if not isinstance(loaded, dict):
        raise ModelError(f"{path}: expected a JSON object, found {type(loaded).__name__}", hint="copy the file again")
    return loaded


def digest_files(files: Iterable[Path]) -> str:
    """The sha256 of one file; of several, the sha256 over their lines "name sha256", sorted by name."""
    digests: list[tuple[str, str]] = []
    for path in files:
        with path.open("rb") as file:
            digests.append((path.name, hashlib.file_digest(file, "sha256").hexdigest()))
    if len(digests) == 1:
        return digests[0][1]
    return hashlib.sha256("".join(f"{name} {digest}\n" for name, digest in sorted(digests)).encode()).hexdigest()
