"""Settings: what config.json says of a classifier whatever its architecture: labels, head, training window."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import torch
from safetensors.torch import save_file
from torch import Tensor

from gexplain.errors import ModelError, preview

Head = Literal["classification", "multi_label", "regression"]

_PROBLEM_TYPES: dict[Head, str] = {
    "classification": "single_label_classification",
    "multi_label": "multi_label_classification",
    "regression": "regression",
}


def read_labels(settings: Mapping[str, object], n_targets: int, where: str) -> tuple[str, ...]:
    """Class names in logit order; LABEL_0 ... where there is no id2label. ModelError where they do not fit."""
    found = settings.get("id2label") or {str(i): f"LABEL_{i}" for i in range(n_targets)}
    if not isinstance(found, dict) or set(found) != {str(i) for i in range(n_targets)}:
        ids = preview(map(str, found)) if isinstance(found, dict) else repr(found)
        raise ModelError(
            f"{where}: config.json has id2label for {ids}; the classifier has {n_targets} rows",
            hint="give every row, counted from 0, one label in id2label of config.json",
        )
    labels = tuple(str(found[str(i)]) for i in range(n_targets))
    if len(set(labels)) < len(labels):
        raise ModelError(
            f"{where}: labels are not unique: {preview(labels)}",
            hint="give each class its own name in id2label",
        )
    broken = [label for label in labels if re.search(r"[\x00-\x1f\x7f]", label)]
    if broken:  # a tab or a line break would tear the tables that name classes
        raise ModelError(
            f"{where}: a label holds a control character: {broken[0]!r}",
            hint="give the class another name in id2label of config.json",
        )
    return labels


def read_head(settings: Mapping[str, object], n_targets: int, where: str) -> Head:
    """What the logits mean. ModelError for a problem_type that is unknown, or wants more classes than there are."""
    problem = settings.get("problem_type")
    if problem is None:  # as transformers decides
        return "regression" if n_targets == 1 else "classification"
    heads: dict[object, Head] = {problem_type: head for head, problem_type in _PROBLEM_TYPES.items()}
    if problem not in heads:
        raise ModelError(
            f"{where}: config.json has an unknown problem_type {problem!r}",
            detail=f"expected one of {', '.join(_PROBLEM_TYPES.values())}",
            hint="remove it from config.json, or set it as the model was trained",
        )
    if heads[problem] == "classification" and n_targets == 1:
        raise ModelError(
            f"{where}: config.json has problem_type {problem}, and the classifier has only one class",
            hint="set it to multi_label_classification (a sigmoid) or regression, as the model was trained",
        )
    return heads[problem]


def read_window(settings: Mapping[str, object], where: str) -> int | None:
    """The training window in nucleotides, None where it is not recorded. ModelError where it is no such number."""
    window = settings.get("gexplain_window")
    if window is None or (isinstance(window, int) and not isinstance(window, bool) and window > 0):
        return window
    raise ModelError(
        f"{where}: config.json has gexplain_window {window!r}; expected a number of nucleotides",
        hint="remove it, or set the width of the training sequences",
    )


def class_settings(
    labels: Sequence[str], head: Head, window: int | None, n_targets: int, dtype: torch.dtype
) -> dict[str, object]:
    """The part of config.json that is the same for every classifier; what the functions above read.

    Raises ValueError where labels or head do not fit the number of targets.
    """
    if len(set(labels)) != len(labels) or len(labels) != n_targets or head not in get_args(Head):
        raise ValueError(f"{n_targets} targets, labels {labels}, head {head}")
    settings: dict[str, object] = {
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
        "problem_type": _PROBLEM_TYPES[head],
        "torch_dtype": str(dtype).removeprefix("torch."),
    }
    return settings if window is None else settings | {"gexplain_window": window}


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write an object as a JSON file that people can read."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_weights(folder: Path, state: Mapping[str, Tensor]) -> None:
    """Write model.safetensors beside config.json, by renaming: a run that was cut off leaves no weights that load."""
    unfinished = folder / "model.safetensors.tmp"
    save_file({name: tensor.detach().contiguous() for name, tensor in state.items()}, unfinished, {"format": "pt"})
    # safetensors makes a file for its owner alone; a model is shared as its config is.
    shutil.copymode(folder / "config.json", unfinished)
    unfinished.replace(folder / "model.safetensors")
