"""The report of a training: metrics.json, a model card (README.md) that says the same in words, learning_curve.png.

All three are made of one mapping, which metrics.json holds as it is:

    gexplain    version that trained the model
    model       arch (dnabert2 or cnn), labels (in logit order), window (bases; null: unknown), parameters,
                trained_parameters, saved_dtype, sizes (of the architecture's config),
                started_from {weights: "random", seed, [tokenizer: sha256]}
                          or {weights: where from, sha256, started_at_random: [names of tensors]}
    data        what the readers know (`Dataset.described`), each where it is known:
                format (bed, csv), files [{file, sha256, role}], counts {split: {label: n}}, left_out (examples of
                labels not in use), jitter (bases), negatives {sources, per_positive, per_epoch} or null,
                split {dev_chroms, test_chroms, exclude_chroms, dev_fraction, test_fraction, seed},
                warnings [what may be wrong, in words]
    training    every setting (`TrainSettings`), and as they came out: steps (planned), steps_done, batch_size,
                learning_rate, evaluate_every, examples_seen, epoch_size, pretraining {task, steps, history} or null
    dev, test   `Metrics.as_dict` of the weights as written, both strands averaged; test is null without a test set
    history     [{step, examples, loss, learning_rate, dev {loss, accuracy, mcc, auroc} or null}], loss and
                learning_rate null where only dev was looked at
    best_step   the step whose weights were kept
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gexplain.errors import RunError, count, preview
from gexplain.report.learning_curve import draw_learning_curve
from gexplain.training.labels import BACKGROUND_NAMES
from gexplain.training.negatives import DINUC_SHUFFLE, RANDOM_GENOME

METRICS_FILE, CARD_FILE, CURVE_FILE = "metrics.json", "README.md", "learning_curve.png"

_SECTIONS = ("gexplain", "model", "data", "training", "dev", "test", "history", "best_step")
_FEW = 100
"""Examples below which the card says that a figure rests on few."""

Report = Mapping[str, Any]


def write_report(directory: str | os.PathLike[str], report: Report) -> None:
    """Write learning_curve.png, README.md and metrics.json into the directory, each whole or not at all.

    Where metrics.json is, the other two are. Raises ValueError for a report that lacks a part, or has a number that
    is not finite, before anything is written; RunError where the directory cannot be written to.
    """
    folder = Path(directory)
    card = model_card(report, folder.resolve().name)
    metrics = json.dumps(report, indent=2, allow_nan=False) + "\n"
    try:
        _write_whole(
            folder / CURVE_FILE, lambda path: draw_learning_curve(report["history"], report["best_step"], path)
        )
        _write_whole(folder / CARD_FILE, lambda path: path.write_text(card, encoding="utf-8"))
        _write_whole(folder / METRICS_FILE, lambda path: path.write_text(metrics, encoding="utf-8"))
    except OSError as error:
        raise RunError(
            f"cannot write the report of the training to {folder}: {error.strerror}",
            hint="make room there, or make it writable, and give the same command again",
        ) from error


def _write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` write to a temporary name, and rename: a run that was cut off leaves no half of a file."""
    unfinished = path.with_name(f"{path.name}.tmp")
    try:
        write(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def model_card(report: Report, name: str) -> str:
    """The card of a model called `name`, in Markdown, with the front matter that Hugging Face's hub reads.

    It names no licence: that is the user's to choose. Raises ValueError for a report that lacks a part.
    """
    absent = [part for part in _SECTIONS if part not in report]
    if absent:
        raise ValueError(f"the report has no {', '.join(absent)}")
    parts = [
        _front_matter(report["model"]["arch"]),
        f"# {_plain(name)}\n\n{_opening(report)}",
        _model(report["model"]),
        _data(report["data"]),
        _split(report["data"]),
        _training(report),
        _figures(report),
        _limits(report),
        _usage(report["model"]),
    ]
    return "\n\n".join(parts) + "\n"


# ---- Sections ----


def _front_matter(arch: str) -> str:
    return "\n".join(
        [
            "---",
            "# license: yours to choose",
            "library_name: gexplain",
            "tags:",
            *(f"- {tag}" for tag in ("gexplain", "biology", "genomics", "dna", arch)),
            "metrics:",
            *(f"- {metric}" for metric in ("accuracy", "matthews_correlation", "roc_auc")),
            "---",
        ]
    )


def _opening(report: Report) -> str:
    model = report["model"]
    kind = "A model of DNABERT-2's architecture" if model["arch"] == "dnabert2" else "A convolutional network"
    return (
        f"{kind} that tells {len(model['labels'])} classes of DNA sequence apart: {_listed(model['labels'])}."
        f" It was trained by gexplain {_plain(report['gexplain'])}{_on_windows(report)}."
    )


def _on_windows(report: Report) -> str:
    """What it was trained on, as the end of a sentence; nothing where the width is not known."""
    window = report["model"]["window"]
    if not window:
        return ""
    shorter = "up to " if report["data"].get("format") != "bed" or report["training"]["augmentation"]["crop"] else ""
    return f" on windows of {shorter}{count(window, 'base')}"


def _model(model: Report) -> str:
    sizes = model["sizes"]
    if model["arch"] == "dnabert2":
        architecture = "DNABERT-2 ([Zhou et al. 2023](https://arxiv.org/abs/2306.15006))"
        shape = (
            f"{count(sizes['n_layers'], 'layer')}, width {sizes['hidden_size']:,}, {count(sizes['n_heads'], 'head')},"
            f" MLP width {sizes['intermediate_size']:,}, {sizes['vocab_size']:,} BPE tokens"
        )
    else:
        architecture = "one convolution over bases, its maximum, two dense layers"
        shape = (
            f"{count(sizes['n_filters'], 'filter')} of {sizes['filter_width']} bases,"
            f" {sizes['hidden']:,} hidden values"
        )
    rows = {
        "architecture": architecture,
        "sizes": shape,
        "parameters": _parameters(model),
        "started from": _start(model["started_from"]),
        "weights saved as": model["saved_dtype"],
        "classes, in logit order": _listed(model["labels"]),
    }
    return "## Model\n\n" + _facts(rows)


def _parameters(model: Report) -> str:
    n, trained = model["parameters"], model["trained_parameters"]
    if trained > n:
        return f"{n:,}; {trained:,} were trained, with those that token embeddings learnt from spelling by"
    return f"{n:,}" if trained == n else f"{n:,}; {trained:,} were trained, with those of the adapter"


def _start(started: Report) -> str:
    if started["weights"] == "random":
        return f"random weights (seed {started['seed']})"
    new = started["started_at_random"]
    return f"{_source(started['weights'])} (sha256 `{started['sha256']}`)" + (
        f"; at random: {_listed(new)}" if new else ""
    )


def _source(name: str) -> str:
    """Where weights came from: a hub id or a name as it is; of a path of the machine, the last part."""
    return _plain(Path(name).name if Path(name).is_absolute() else name)


def _data(data: Report) -> str:
    blocks = ["## Data"]
    files = data.get("files", [])
    if files:
        rows = [
            [_plain(one["role"]), _plain(one["file"]), f"`{one['sha256']}`"]
            if isinstance(one, Mapping)
            else ["", _plain(one), ""]
            for one in files
        ]
        blocks.append(_table(["role", "file", "sha256"], rows))
    if data.get("left_out"):
        blocks.append(
            f"{count(data['left_out'], 'example')} of the files left out: labels or chromosomes not in use."
        )
    counts = data.get("counts", {})
    if counts:
        splits = list(counts)
        labels = list(dict.fromkeys(label for one in counts.values() for label in one))
        blocks.append(
            "Examples of each class:\n\n"
            + _table(
                ["class", *splits],
                [[_plain(label), *(f"{counts[split].get(label, 0):,}" for split in splits)] for label in labels],
            )
        )
    blocks.append(_negatives(data))
    return "\n\n".join(blocks)


def _negatives(data: Report) -> str:
    negatives = data.get("negatives")
    if not negatives:
        return "No negatives were made: every example is one of the files."
    sources = "; ".join(_NEGATIVES.get(source, f"windows of {_plain(source)}") for source in negatives["sources"])
    return (
        f"Negatives: {sources}; {negatives['per_positive']:g} for each positive, in equal shares of the sources."
        f" {negatives['per_epoch']:,} were drawn anew for each epoch of training (the table does not count them),"
        " and those of dev and test once."
    )


def _split(data: Report) -> str:
    split = data.get("split", {})
    rest = " on the other chromosomes" if split.get("dev_chroms") or split.get("test_chroms") else ""
    told = []
    for part in ("dev", "test"):
        if split.get(f"{part}_chroms"):
            told.append(f"{part}: chromosomes {_listed(split[f'{part}_chroms'])}")
        elif split.get(f"{part}_fraction"):
            told.append(
                f"{part}: {split[f'{part}_fraction']:.0%} of the examples{rest}, drawn by seed {split['seed']}"
            )
        else:
            roles = [one["role"] for one in data.get("files", []) if isinstance(one, Mapping)]
            if part in roles:
                told.append(f"{part}: a file of its own")
            elif split and part == "test":
                told.append("test: none")
    if split.get("exclude_chroms"):
        told.append(f"used for nothing: chromosomes {_listed(split['exclude_chroms'])}")
    return "## Split\n\n" + ("\n".join(f"* {one}" for one in told) or "Not recorded.")


def _training(report: Report) -> str:
    training, data = report["training"], report["data"]
    steps = f"{training['steps_done']:,}"
    if training["steps_done"] < training["steps"]:
        steps += f" of {training['steps']:,} (stopped early)"
    epochs = training["examples_seen"] / training["epoch_size"]
    rows = {
        "steps": steps,
        "step kept": f"{report['best_step']:,}, by {_FIGURES[training['metric']]} on dev",
        "batch": count(training["batch_size"], "sequence"),
        "sequences seen": f"{training['examples_seen']:,} ({epochs:.3g} epochs of {training['epoch_size']:,})",
        "learning rate": (
            f"{training['learning_rate']:g}, after {count(training['warmup_steps'], 'step')} of warm-up at most;"
            " half a cosine"
        ),
        "weight decay, dropout": f"{training['weight_decay']:g}, {training['dropout']:g}",
        "looked at dev": f"every {count(training['evaluate_every'], 'step')}",
        "classes": _balance(training),
        "seed": str(training["seed"]),
        "precision": training["dtype"],
        "augmentation": _augmentation(training["augmentation"], data.get("jitter", 0)),
    }
    if training["lora_rank"]:
        rows["adapter"] = (
            f"LoRA of rank {training['lora_rank']}, merged into the weights; pooler and classifier whole"
        )
    if training["pretraining"]:
        pretraining = training["pretraining"]
        rows["before that"] = f"{_plain(pretraining['task'])}, {count(pretraining['steps'], 'step')}"
    return f"## Training\n\n{_facts(rows)}\n\n![Loss, and figures on dev, by step]({CURVE_FILE})"


def _augmentation(augmentation: Report, jitter: int) -> str:
    told = ["half of the sequences on the other strand"] if augmentation["reverse_complement"] else []
    if jitter:
        told.append(f"windows moved by up to {count(jitter, 'base')}")
    if augmentation["crop"]:
        told.append(f"up to {count(augmentation['crop'], 'base')} cut off each end")
    if augmentation["bpe_dropout"]:
        told.append(f"BPE dropout {augmentation['bpe_dropout']:g} (drawn without the seed)")
    if augmentation["paste"]:
        most, least = augmentation["paste_width"], augmentation.get("paste_least")
        width = f"{most:,}" if least in (None, most) else f"{least:,} to {most:,}"
        told.append(
            f"{augmentation['paste']:.0%} of the sequences pasted, {width} middle bases, into random negatives"
        )
    return "; ".join(told) or "none"


def _balance(training: Mapping[str, Any]) -> str:
    balance = training["balance"]
    if balance in (0, 1):
        return "drawn evenly" if balance else "as often as in the data"
    return f"a class of n sequences in proportion to n^{1 - balance:g}"


def _figures(report: Report) -> str:
    splits = [split for split in ("dev", "test") if report[split] is not None]
    rows = [
        ["sequences", *(f"{report[split]['n']:,}" for split in splits)],
        *(
            [words, *(_number(report[split][figure]) for split in splits)]
            for figure, words in (("accuracy", "accuracy"), ("mcc", "MCC"), ("mean_auroc", "mean AUROC"))
        ),
    ]
    blocks = [
        "## Figures",
        "Of the weights as they are in this folder; logits are averaged over both strands.",
        _table(["", *splits], rows),
    ]
    for split in splits:
        blocks += [f"### By class, {split}", _by_class(report[split])]
    notes = [
        "AUROC and AUPRC: the class against all others, by its probability; in brackets DeLong's 95 % interval. The"
        " AUPRC of chance is the class's share of the sequences."
    ]
    if any(_is_compared(report[split]) for split in splits):
        notes.append("AUROC against background: against negatives alone, by the difference of the logits.")
    if any(f"| {_NONE} |" in block for block in blocks):
        notes.append(f"Where there is {_NONE}, {METRICS_FILE} says why.")
    return "\n\n".join([*blocks, " ".join(notes)])


def _by_class(figures: Report) -> str:
    compared = _is_compared(figures)
    head = ["class", "sequences", "AUROC", "AUPRC", "AUPRC of chance"]
    rows = []
    for label, one in figures["classes"].items():
        interval = one["auroc_95"]
        spread = f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
        row = [
            _plain(label),
            f"{one['n']:,}",
            _number(one["auroc"]) + spread,
            _number(one["auprc"]),
            f"{one['n'] / figures['n']:.3f}",
        ]
        rows.append([*row, _number(one["auroc_vs_background"])] if compared else row)
    return _table([*head, "AUROC against background"] if compared else head, rows)


def _is_compared(figures: Report) -> bool:
    return any(one["auroc_vs_background"] is not None for one in figures["classes"].values())


# ---- Limits ----


def _limits(report: Report) -> str:
    """What the figures do not say, as far as the data and the training tell."""
    model, data = report["model"], report["data"]
    told = [
        "A high relevance says what the model used, not what binds.",
        f"It knows its {len(model['labels'])} classes and nothing else: any other sequence is called one of them.",
        "Its probabilities hold where classes are as frequent as in training; they are not the chance that a place of"
        " a genome is bound.",
        "It learned what its data calls by these names; other cells, conditions, organisms and assays were not looked"
        " at.",
    ]
    if model["window"]:
        told.append(f"It was trained{_on_windows(report)}; what it says of longer ones was not looked at.")
    told += _limits_of_negatives(model, data) + _limits_of_figures(report)
    told += [f"{_plain(warning)[:1].upper()}{_plain(warning)[1:]}." for warning in data.get("warnings", [])]
    return "## Limits\n\n" + "\n".join(f"* {one}" for one in told)


def _limits_of_negatives(model: Report, data: Report) -> list[str]:
    negatives = data.get("negatives")
    if not negatives:
        if str(model["labels"][0]).lower() in BACKGROUND_NAMES:
            return [f"Negatives are the data's own, as {_plain(model['labels'][0])}; no others were looked at."]
        return ["It has no class that is known to be one of negatives."]
    sources = set(negatives["sources"])
    told = []
    if sources == {DINUC_SHUFFLE}:
        told.append(
            "Its negatives are shuffles, which no genome has: it may tell natural sequence from shuffled, and call"
            " natural sequence bound that is not."
        )
    if RANDOM_GENOME in sources:
        told.append(
            "Random windows of the genome count as negatives, but for the regions of the files: sites that the files"
            " lack may be among them."
        )
    return told


def _limits_of_figures(report: Report) -> list[str]:
    split, test = report["data"].get("split", {}), report["test"]
    told = []
    if test is None:
        told.append("There is no test set. Dev chose the step that was kept, so that its figures flatter the model.")
    else:
        told.append("Dev chose the step that was kept: the figures to quote are those of test.")
    drawn = [part for part in ("dev", "test") if split.get(f"{part}_fraction")]
    if drawn:
        told.append(
            f"Examples of {' and '.join(drawn)} were drawn from those of train: similar sequences elsewhere in the"
            " data (repeats, paralogues) may be on both sides, which flatters the figures."
        )
    name, figures = ("dev", report["dev"]) if test is None else ("test", test)
    few = [f"{_plain(label)} ({one['n']:,})" for label, one in figures["classes"].items() if 0 < one["n"] < _FEW]
    if few:
        told.append(f"Figures of {name} rest on few sequences: {preview(few, 8)}.")
    none = [_plain(label) for label, one in figures["classes"].items() if not one["n"]]
    if none:
        told.append(
            f"{name.capitalize()} has no sequence of {preview(none, 8)}, and its figures say nothing of them."
        )
    return told


def _usage(model: Report) -> str:
    return "\n".join(
        [
            "## Use",
            "",
            "`DIR` is the folder of this file. Relevance of every base of regions, as tracks:",
            "",
            "```sh",
            "gexplain score regions.bed genome.fa -m DIR -o OUT",
            "```",
            "",
            "Logits and probabilities of sequences, both strands averaged:",
            "",
            "```python",
            "import gexplain",
            "",
            'model = gexplain.load_model("DIR")',
            f'sequence = "{"ACGT" * 4}"  # upper case{_best_width(model)}',
            "print(model.labels, model.probabilities(model.predict([sequence])))",
            "```",
        ]
    )


def _best_width(model: Report) -> str:
    return f"; best of {model['window']:,} bases, as in training" if model["window"] else ""


# ---- Markdown ----


def _facts(rows: Mapping[str, str]) -> str:
    return _table(["", ""], [[name, value] for name, value in rows.items()])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float | None) -> str:
    return _NONE if value is None else f"{value:.3f}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(_plain, names))


def _plain(text: str) -> str:
    """Text of the user's as Markdown that reads the same, on one line."""
    return _MARKS.sub(r"\\\g<0>", _NOT_TEXT.sub("\ufffd", " ".join(text.split())))


_NONE = "–"
_MARKS = re.compile(r"[\\`*_\[\]<>|&~$]")
# Control characters, and what UTF-8 cannot hold.
_NOT_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

_FIGURES = {"loss": "loss", "accuracy": "accuracy", "mcc": "MCC", "auroc": "mean AUROC"}
_NEGATIVES = {
    DINUC_SHUFFLE: "shuffles of the positives that keep their dinucleotides",
    RANDOM_GENOME: "random windows of the genome",
}
