"""Bundled models: those that come in the package, each a checkpoint folder that is called by its name.

    gexplain/zoo/<name>/    model.safetensors  config.json  tokenizer.json (not for a CNN)  metrics.json  README.md

No torch here: names and descriptions are told at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path

from gexplain.errors import ModelError

DEFAULT_MODEL = "human-tf"
"""What `gexplain score` and `gexplain demo` use where no model is given."""

DEFAULT_MOTIFS = "jaspar:vertebrates"
"""The motifs that hits are called of where neither the user nor the model says which."""

# The figures of metrics.json that a line has room for, and how they are called there.
_FIGURES = {"accuracy": "accuracy", "mean_auroc": "mean AUROC"}


@dataclass(frozen=True, slots=True)
class BundledModel:
    """One model in the package. classes: in logit order. window: the nucleotides it was trained on.

    figures: figure, in words, to its value on the test set; empty where the folder records none.
    """

    name: str
    folder: Path
    kind: str
    classes: tuple[str, ...]
    window: int
    figures: Mapping[str, float]


def zoo() -> Path:
    """The folder of the bundled models; it need not exist."""
    return Path(str(files("gexplain"))) / "zoo"


def bundled_names() -> list[str]:
    """The names of the bundled models, sorted, the default one first."""
    names = sorted(path.parent.name for path in zoo().glob("*/config.json"))
    return sorted(names, key=lambda name: name != DEFAULT_MODEL)


def bundled_folder(name: str) -> Path | None:
    """The folder of the bundled model of this name; None where there is none."""
    return zoo() / name if name in bundled_names() else None


def describe_bundled(name: str) -> BundledModel:
    """What the bundled model of this name is. Raises ModelError where there is none."""
    folder = bundled_folder(name)
    if folder is None:
        raise no_bundled_error(name)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    labels = config["id2label"]
    metrics = folder / "metrics.json"
    test = (json.loads(metrics.read_text(encoding="utf-8")) if metrics.is_file() else {}).get("test") or {}
    return BundledModel(
        name=name,
        folder=folder,
        kind="DNABERT-2" if (folder / "tokenizer.json").is_file() else "CNN",
        classes=tuple(labels[str(i)] for i in range(len(labels))),
        window=config["gexplain_window"],
        figures={words: test[key] for key, words in _FIGURES.items() if test.get(key) is not None},
    )


def motifs_of(source: str) -> str:
    """The motifs, as `load_motifs` takes them, that suit a model by its source: a bundled model's name, or any."""
    folder = bundled_folder(source)
    if folder is None:
        return DEFAULT_MOTIFS
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return str(config.get("gexplain_motifs", DEFAULT_MOTIFS))


def no_bundled_error(name: str) -> ModelError:
    """The error of a name, without a slash, that is neither a path nor a bundled model."""
    names = bundled_names()
    close = get_close_matches(name.lower(), names, n=1)
    meant = f"did you mean {close[0]}? Else " if close else ""
    return ModelError(
        f"{name}: no such folder, and no model of that name comes with gexplain",
        detail=f"bundled: {', '.join(names) or 'none in this installation'}",
        hint=f"{meant}give a folder with weights and config.json, or a hub id (org/name)",
    )
