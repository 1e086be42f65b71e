"""The report of a training: metrics.json, and from it the model card README.md and learning_curve.png.

metrics.json, which holds no NaN or infinity:

    gexplain          version that trained the model
    model             arch ("dnabert2", "cnn"), labels in logit order, window (bases, or null), parameters,
                      trained_parameters (fewer with LoRA), saved_dtype, sizes (the network's config), and
      started_from    weights ("random" or what was fine-tuned); seed, and tokenizer (sha256 of the new model's) where
                      random; sha256 and started_at_random (names of weights) where fine-tuned
    data              what the reader says of it, as `Dataset.described`; from files:
                      format ("csv", "bed"), files [{file, sha256, role}], left_out (examples of labels that are not
                      trained on), window, labels, counts {part: {label: n}}; label_column, jitter (BED only),
                      split {dev_chroms, test_chroms, exclude_chroms, dev_fraction, test_fraction, seed},
                      negatives {sources, per_positive, per_epoch} or null
    training          the settings, as `TrainSettings` has them, without device, resume and force, and
                      steps (planned), steps_done, batch_size, learning_rate, evaluate_every, examples_seen, epoch_size,
      pretraining     {task, steps, history [{step, loss}]} or null
    dev, test         figures of the weights as written, both strands averaged; test is null without test examples:
                      n, accuracy, mcc, mean_auroc (null where all examples are of one class), and
      classes         {label: {n, auroc, auprc}}, with auroc_vs_background where the first label is background and
                      this one is not; null where there is nothing to compare, with the reason
    history           [{step, loss, learning_rate, dev {loss, accuracy, mcc, auroc} or null, examples}]
    best_step         the step whose weights were kept

The card says what this report says and nothing else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from gexplain.errors import RunError, count
from gexplain.report.learning_curve import draw_learning_curve
from gexplain.training.labels import BACKGROUND_NAMES
from gexplain.training.negatives import DINUC_SHUFFLE, RANDOM_GENOME

METRICS, CARD, CURVE = "metrics.json", "README.md", "learning_curve.png"


def write_report(directory: str | os.PathLike[str], report: Mapping[str, Any]) -> None:
    """metrics.json, README.md and learning_curve.png of the report, in a directory that exists.

    metrics.json is written last and whole: where it is, the others are. Raises ValueError for a figure that is not
    finite, RunError where the directory cannot be written to.
    """
    folder = Path(directory)
    metrics = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    card = model_card(report)
    unfinished = folder / (METRICS + ".tmp")
    try:
        draw_learning_curve(report["history"], report["best_step"], folder / CURVE)
        (folder / CARD).write_text(card, encoding="utf-8")
        unfinished.write_text(metrics, encoding="utf-8")
        unfinished.replace(folder / METRICS)
    except OSError as error:
        raise RunError(
            f"cannot write the report of the training to {folder}: {error.strerror}",
            hint="make room there, or make it writable; the same command then goes on where it stopped",
        ) from error


def model_card(report: Mapping[str, Any]) -> str:
    """The model card in Markdown, with the front matter that Hugging Face reads."""
    model = report["model"]
    sections = [
        _front_matter(model["arch"]),
        f"# {_ARCHITECTURES[model['arch']]} for {_listed(map(_code, model['labels']))}",
        _what_it_is(report),
        "## Classes\n\n" + _classes(model["labels"]),
        "## Data\n\n" + _data(report["data"]),
        "## Negatives\n\n" + _negatives(report["data"], model["labels"]),
        "## Training\n\n" + _recipe(report),
        "## Figures\n\n" + _figures(report),
        "## Limits\n\n" + _limits(report),
        "## Use\n\n" + _use(),
    ]
    return "\n\n".join(sections) + "\n"


# --- the sections ------------------------------------------------------------------------------------------


def _front_matter(arch: str) -> str:
    tags = ["gexplain", "dna", "genomics", "sequence-classification", arch]
    metrics = ["accuracy", "matthews_correlation", "roc_auc"]
    lines = ["---", "tags:", *(f"- {tag}" for tag in tags), "metrics:", *(f"- {name}" for name in metrics), "---"]
    return "\n".join(lines)


def _what_it_is(report: Mapping[str, Any]) -> str:
    model = report["model"]
    started = model["started_from"]
    if started["weights"] == "random":
        origin = f"trained from random weights (seed {started['seed']})"
    else:
        origin = f"fine-tuned from {_code(_without_folders(started['weights']))} (sha256 `{started['sha256']}`)"
    text = (
        f"A classifier of DNA sequences into {count(len(model['labels']), 'class').replace('classs', 'classes')},"
        f" {origin} with gexplain {report['gexplain']}. It has {model['parameters']:,} parameters, of which"
        f" {model['trained_parameters']:,} were trained, and is saved as {model['saved_dtype']}."
    )
    new = started.get("started_at_random")
    if new:
        text += f" These weights were not in that checkpoint and started at random: {_listed(map(_code, new))}."
    return text


def _classes(labels: Sequence[str]) -> str:
    return _table(["logit", "class"], [[str(index), _code(label)] for index, label in enumerate(labels)])


def _data(data: Mapping[str, Any]) -> str:
    parts = []
    files = data.get("files")
    if files:
        rows = [
            [_code(one["file"]), one["role"], f"`{one['sha256']}`"]
            if isinstance(one, Mapping)
            else [_code(_without_folders(str(one))), _UNKNOWN, _UNKNOWN]
            for one in files
        ]
        parts.append(_table(["file", "role", "sha256"], rows))
    counts = data.get("counts")
    if counts:
        labels = list(next(iter(counts.values())))
        rows = [[_code(label), *(f"{of[label]:,}" for of in counts.values())] for label in labels]
        rows.append(["all", *(f"{sum(of.values()):,}" for of in counts.values())])
        parts.append("Examples:\n\n" + _table(["class", *counts], rows))
    if data.get("left_out"):
        parts.append(f"{count(data['left_out'], 'example')} of other labels were left out.")
    split = data.get("split")
    if split is not None:
        parts.append(_split(split))
    return "\n\n".join(parts) or "The data are not described."


def _split(split: Mapping[str, Any]) -> str:
    lines = []
    for part in ("dev", "test"):
        chroms, share = split[f"{part}_chroms"], split[f"{part}_fraction"]
        if chroms:
            lines.append(f"* {part}: the chromosomes {_listed(map(_code, chroms))}")
        if share:
            lines.append(f"* {part}: a share of {share:g} of the examples, drawn at random (seed {split['seed']})")
    if split["exclude_chroms"]:
        lines.append(f"* used for nothing: the chromosomes {_listed(map(_code, split['exclude_chroms']))}")
    return "Split:\n\n" + ("\n".join(lines) or "* as the files are given")


def _negatives(data: Mapping[str, Any], labels: Sequence[str]) -> str:
    drawn = data.get("negatives")
    if drawn is None:
        return "None were drawn: all examples are those of the data."
    lines = [
        f"* {_NEGATIVES.get(source) or f'the windows of {_code(source)}, in random order'}"
        for source in drawn["sources"]
    ]
    return (
        f"Negatives are of class {_code(labels[0])}, {drawn['per_positive']:g} for one positive, in equal shares from:\n\n"
        + "\n".join(lines)
        + f"\n\nEvery epoch drew {drawn['per_epoch']:,} anew. Those of dev and test were drawn once."
    )


def _recipe(report: Mapping[str, Any]) -> str:
    training = report["training"]
    augmentation = training["augmentation"]
    rows = {
        "steps": f"{training['steps_done']:,} of {training['steps']:,} planned; the weights of step"
        f" {report['best_step']:,} were kept, the best by dev {_METRICS[training['metric']]}",
        "examples": f"{training['examples_seen']:,} seen; {training['epoch_size']:,} are an epoch",
        "batch size": f"{training['batch_size']:,}",
        "learning rate": f"{training['learning_rate']:g}, warmed up for at most {training['warmup_steps']:,} steps, then a"
        " half cosine",
        "weight decay": f"{training['weight_decay']:g}",
        "dropout": f"{training['dropout']:g}",
        "LoRA": f"rank {training['lora_rank']} on Wqkv" if training["lora_rank"] else "no",
        "classes": "drawn evenly" if training["balanced"] else "as frequent as in the data",
        "strands": "half of the examples on the other strand" if augmentation["reverse_complement"] else "as given",
        "other augmentation": _augmentation(augmentation) or "none",
        "evaluated": f"every {training['evaluate_every']:,} steps; "
        + (f"patience {training['patience']}" if training["patience"] else "no early stop"),
        "seed": str(training["seed"]),
        "arithmetic": training["dtype"],
    }
    pretraining = training["pretraining"]
    if pretraining is not None:
        rows = {"pretraining": f"{pretraining['task']}, {pretraining['steps']:,} steps", **rows}
    table = _table(["setting", "value"], [[name, value] for name, value in rows.items()])
    return f"{table}\n\nAll settings are in `{METRICS}`.\n\n![learning curve]({CURVE})"


def _augmentation(augmentation: Mapping[str, Any]) -> str:
    used = []
    if augmentation["crop"]:
        used.append(f"up to {count(augmentation['crop'], 'base')} cut off each end")
    if augmentation["bpe_dropout"]:
        used.append(f"BPE dropout {augmentation['bpe_dropout']:g}")
    if augmentation["paste"]:
        used.append(
            f"a share of {augmentation['paste']:g} with its middle {count(augmentation['paste_width'], 'base')} pasted"
            " into a negative"
        )
    return "; ".join(used)


def _figures(report: Mapping[str, Any]) -> str:
    parts = ["Of the weights as they are saved, both strands averaged."]
    for part in ("dev", "test"):
        if report[part] is None:
            parts.append(f"There is no {part} set.")
        else:
            parts.append(f"### {part}\n\n" + _figures_of(report[part]))
    if report["test"] is not None:
        parts.append("The kept step was chosen on dev, so the figures of test are those to compare with.")
    else:
        parts.append("The kept step was chosen on dev, so its figures flatter the model.")
    return "\n\n".join(parts)


def _figures_of(figures: Mapping[str, Any]) -> str:
    mean = figures["mean_auroc"]
    text = (
        f"{count(figures['n'], 'sequence')}: accuracy {figures['accuracy']:.3f}, MCC {figures['mcc']:.3f}, mean AUROC"
        f" {_rounded(mean)}."
    )
    classes = figures["classes"]
    columns = {"auroc": "AUROC", "auprc": "AUPRC"}
    if any("auroc_vs_background" in one for one in classes.values()):
        columns["auroc_vs_background"] = "AUROC against background"
    rows = [
        [_code(label), f"{one['n']:,}", *(_rounded(one[key]) if key in one else "" for key in columns)]
        for label, one in classes.items()
    ]
    reasons = [f"* {_code(label)}: {_plain(one['reason'])}" for label, one in classes.items() if "reason" in one]
    table = _table(["class", "n", *columns.values()], rows)
    unknown = f"\n\nWhere there is {_UNKNOWN}:\n\n" + "\n".join(reasons) if reasons else ""
    return f"{text}\n\n{table}{unknown}"


def _limits(report: Mapping[str, Any]) -> str:
    model, data = report["model"], report["data"]
    labels = model["labels"]
    lines = [
        f"It knows {_listed(map(_code, labels))}, and calls any sequence one of them.",
        "A high relevance says what the model used, not what binds.",
        "A class's probability is that among examples as frequent as in training, not that in a genome.",
    ]
    if model["window"] is not None:
        longest = " at most" if data.get("format") == "csv" else ""
        lines.insert(
            0, f"It was trained on windows of{longest} {count(model['window'], 'base')}; others are new to it."
        )
    drawn = data.get("negatives")
    if drawn is not None:
        sources = _listed(map(_code, drawn["sources"]))
        lines.append(
            f"It learnt to tell its classes from {sources}, and nothing else need count as background to it."
        )
    elif labels[0].lower() not in BACKGROUND_NAMES:
        lines.append("No negatives were drawn in training, and no class is named background.")
    if report["test"] is None:
        lines.append("It was not tested on examples that no choice was made on.")
    return "\n".join(f"* {line}" for line in lines)


def _use() -> str:
    return """With FOLDER for the folder of this card:

```sh
gexplain score regions.bed genome.fa -m FOLDER -o out
```

```python
from pathlib import Path

import gexplain

model = gexplain.load_model(Path("FOLDER"))
logits = model.predict(["ACGT..."])  # (sequences, classes), both strands averaged
```"""


# --- Markdown ----------------------------------------------------------------------------------------------


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _code(name: str) -> str:
    """A name as it is written, wherever it may stand: a table cell too."""
    plain = _plain(name)
    fence = "``" if "`" in plain else "`"
    pad = " " if "`" in plain else ""
    return f"{fence}{pad}{plain}{pad}{fence}"


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def _listed(words: Iterable[str]) -> str:
    """Words as a sentence lists them: "a", "a and b", "a, b and c"."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _rounded(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.3f}"


def _without_folders(source: str) -> str:
    """The last part of a path: the folders of one machine mean nothing to who reads the card."""
    return PurePath(source).name if PurePath(source).is_absolute() else source


_UNKNOWN = "–"
_ARCHITECTURES = {"dnabert2": "DNABERT-2", "cnn": "CNN"}
_METRICS = {"loss": "loss", "accuracy": "accuracy", "mcc": "MCC", "auroc": "mean AUROC"}
_NEGATIVES = {
    DINUC_SHUFFLE: "shuffles of the positives that keep their dinucleotide counts",
    RANDOM_GENOME: "windows at random places of the genome",
}
