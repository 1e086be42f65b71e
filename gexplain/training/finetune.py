"""Training: labelled sequences to a checkpoint folder that `score` and DNABERT-2's own code read.

    Dataset -> tokenizer, network -> (pretraining) -> (LoRA) -> trainer -> checkpoint -> figures of the checkpoint

The figures are those of the weights as they were written: the folder is loaded again, and reads both strands.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import gexplain
from gexplain.errors import InputError, RunError, UsageError, count, preview
from gexplain.models.checkpoint import Base, DnaBert2Config, initial_state, load_base, save_checkpoint
from gexplain.models.cnn import Cnn, CnnConfig, random_cnn_state, save_cnn_checkpoint
from gexplain.models.dnabert2 import DnaBert2
from gexplain.models.model import load_model
from gexplain.tokens import Tokenizer
from gexplain.training.batches import TrainingExamples, check_augmentation
from gexplain.training.card import write_report
from gexplain.training.examples import Dataset, Examples
from gexplain.training.folder import ADAPTER, open_folder, write_json
from gexplain.training.learners import CnnLearner, Learner, TokenLearner
from gexplain.training.metrics import evaluate_logits
from gexplain.training.negatives import draw_evenly
from gexplain.training.pretrain import MaskedLearner
from gexplain.training.settings import TrainSettings
from gexplain.training.trainer import Schedule, Trained, choose_training_device, run_training
from gexplain.training.vocabulary import train_tokenizer

Progress = Callable[[str, int, int], None]
"""Called with the stage ("pretraining", "training"), the steps done and the steps in all."""

_EVALUATIONS = 20
_EVALUATION_BATCH = 128
# Of what a tokenizer is trained on: at least so many sequences, and at most so many bases (about 3 GB of memory).
_VOCABULARY_SEQUENCES, _VOCABULARY_BASES = 20_000, 10_000_000

# Settings that change where a training runs and what it may replace, not what is learnt.
_WITHOUT_EFFECT = ("device", "resume", "force")


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """A finished training: the folder, and what metrics.json says (see `training.card`)."""

    path: Path
    report: Mapping[str, Any]


def train(
    dataset: Dataset,
    output: str | os.PathLike[str],
    settings: TrainSettings | None = None,
    *,
    progress: Progress | None = None,
) -> Training:
    """The checkpoint folder written: weights, config, tokenizer, metrics.json, learning_curve.png and a model card.

    An interrupted training goes on where it stopped if data and settings are the same. Raises UsageError where the
    folder holds something else, ModelError for an `init` that cannot be fine-tuned, RunError where training diverges.
    """
    settings = settings or TrainSettings()
    device = choose_training_device(settings.device)
    folder = Path(output)
    _check_dataset(dataset)
    check_augmentation(settings.augmentation, dataset)
    base = _load_given(dataset, settings, folder)
    fingerprint = _fingerprint(dataset, settings, base)
    with open_folder(folder, fingerprint, resume=settings.resume, force=settings.force) as work:
        return _train(dataset, folder, settings, base, work, device, progress)


def _train(
    dataset: Dataset,
    folder: Path,
    settings: TrainSettings,
    base: Base | None,
    work: Path,
    device: str,
    progress: Progress | None,
) -> Training:
    learner, started_from = _build(dataset, settings, base, work)
    n_parameters = sum(parameter.numel() for parameter in learner.network.parameters())
    pretrained = None
    if settings.pretrain_steps:
        assert isinstance(learner, TokenLearner)
        pretrained = _pretrain(learner, dataset, settings, device, work, progress)
    if settings.lora_rank:
        _add_lora(learner, settings)
    n_trained = sum(parameter.numel() for parameter in learner.parameters() if parameter.requires_grad)
    examples, schedule = _plan(learner, dataset, settings, device)
    trained = run_training(
        learner,
        examples,
        learner.collate,
        schedule,
        work / "steps",
        progress=None if progress is None else lambda done, total: progress("training", done, total),
    )
    _save(learner.cpu().eval(), dataset, settings, base, folder)
    report = {
        "gexplain": gexplain.__version__,
        "model": {
            "arch": settings.arch,
            "labels": list(dataset.labels),
            "window": dataset.window,
            "parameters": n_parameters,
            "trained_parameters": n_trained,
            "saved_dtype": settings.saved_dtype,
            "sizes": _sizes(learner),
            "started_from": started_from,
        },
        "data": {**dataset.described, "warnings": dataset.warnings},
        "training": {
            **_described(settings),
            "steps": schedule.n_steps,
            "steps_done": trained.last_step,
            "batch_size": schedule.batch_size,
            "learning_rate": schedule.learning_rate,
            "evaluate_every": schedule.evaluate_every,
            "examples_seen": trained.last_step * schedule.batch_size,
            "epoch_size": examples.epoch_size,
            "pretraining": pretrained,
        },
        **_figures(folder, dataset, device),
        "history": _with_examples(trained, schedule.batch_size),
        "best_step": trained.best_step,
    }
    write_report(folder, report)
    return Training(folder, report)


# --- what makes a training the same ------------------------------------------------------------------------


def _fingerprint(dataset: Dataset, settings: TrainSettings, base: Base | None) -> dict[str, Any]:
    """All that decides what is learnt: settings, every sequence and class, the files that are built on."""
    tokenizer = None if settings.tokenizer is None else Tokenizer.from_file(settings.tokenizer).sha256
    noted = {
        "gexplain": gexplain.__version__,
        **_described(settings),
        "data": dataset.described,
        "sequences": _digest(dataset),
        "tokenizer sha256": tokenizer,
        "init sha256": None if base is None else base.sha256,
    }
    return dict(json.loads(json.dumps(noted)))  # as it will be read back


def _digest(dataset: Dataset) -> str:
    digest = hashlib.sha256()
    for examples in (dataset.train, dataset.dev, dataset.test):
        if examples is not None:
            digest.update(f"{len(examples)} {examples.margin} ".encode())
            digest.update("\n".join(examples.sequences).encode())
            digest.update(examples.classes.astype(np.int64).tobytes())
    return digest.hexdigest()


def _described(settings: TrainSettings) -> dict[str, Any]:
    """The settings that have a meaning for this training."""
    ignored = {*_WITHOUT_EFFECT}
    if settings.arch == "cnn" or settings.init is not None:
        ignored |= {"sizes", "vocabulary", "spelling"}
    if settings.tokenizer is not None:
        ignored.add("vocabulary")
    return {key: value for key, value in asdict(settings).items() if key not in ignored}


# --- the learner -------------------------------------------------------------------------------------------


def _check_dataset(dataset: Dataset) -> None:
    absent = sorted(set(range(len(dataset.labels))) - set(dataset.dev.classes.tolist()))
    if absent:
        raise InputError(
            f"dev has no example of {preview(dataset.labels[index] for index in absent)}; the step that is kept is"
            " chosen there",
            hint="give each class an example in dev",
        )


def _load_given(dataset: Dataset, settings: TrainSettings, folder: Path) -> Base | None:
    """The checkpoint to start from, if any; what was given and cannot be used is told while no file is touched."""
    read = []
    base = None
    if settings.tokenizer is not None:
        read.append(Tokenizer.from_file(settings.tokenizer).path)
    if settings.init is not None:
        base = load_base(settings.init, dataset.labels, torch.Generator().manual_seed(settings.seed))
        read += base.files
    inside = [path for path in read if path.resolve().is_relative_to(folder.resolve())]
    if inside:
        raise UsageError(
            f"{inside[0]} is to be read, and -o would write into its folder",
            hint="give another -o; what a training starts from is kept as it is",
        )
    return base


def _build(
    dataset: Dataset, settings: TrainSettings, base: Base | None, work: Path
) -> tuple[Learner, dict[str, Any]]:
    """The learner as the training starts, and where its weights come from."""
    generator = torch.Generator().manual_seed(settings.seed)
    if settings.arch == "cnn":
        cnn_config = CnnConfig(n_targets=len(dataset.labels))
        cnn = Cnn(cnn_config, dropout=settings.dropout)
        cnn.load_state_dict(random_cnn_state(cnn_config, generator))
        return CnnLearner(cnn), {"weights": "random", "seed": settings.seed}
    dropout = settings.augmentation.bpe_dropout
    if base is not None:
        network = DnaBert2(base.config, settings.dropout)
        network.load_state_dict(base.state)
        started_from = {"weights": base.source, "sha256": base.sha256, "started_at_random": list(base.started)}
        return TokenLearner(network, base.tokenizer_file, bpe_dropout=dropout), started_from
    tokenizer_file = Path(settings.tokenizer) if settings.tokenizer else work / "tokenizer.json"
    if not settings.tokenizer and not tokenizer_file.is_file():
        sequences = _vocabulary_sequences(dataset, settings.seed)
        unfinished = train_tokenizer(sequences, work / "tokenizer.tmp", n_tokens=settings.vocabulary)
        unfinished.replace(tokenizer_file)
    tokenizer = Tokenizer.from_file(tokenizer_file)
    sizes = settings.sizes
    config = DnaBert2Config(
        vocab_size=tokenizer.n_tokens,
        hidden_size=sizes.width,
        n_layers=sizes.n_layers,
        n_heads=sizes.n_heads,
        intermediate_size=sizes.mlp_width,
        type_vocab_size=2,
        layer_norm_eps=1e-12,
        n_targets=len(dataset.labels),
    )
    network = DnaBert2(config, settings.dropout)
    network.load_state_dict(initial_state(config, generator))
    learner = TokenLearner(network, tokenizer_file, bpe_dropout=dropout, spelling=settings.spelling)
    return learner, {"weights": "random", "seed": settings.seed, "tokenizer": tokenizer.sha256}


def _vocabulary_sequences(dataset: Dataset, seed: int) -> list[str]:
    """What a tokenizer is trained on: the training sequences; of many a part, with few some drawn negatives."""
    sequences = dataset.train.windows()
    most = int(_VOCABULARY_BASES / np.mean([len(sequence) for sequence in sequences]))
    if len(sequences) > most:
        chosen = np.random.default_rng([seed, 2]).choice(len(sequences), most, replace=False)
        return [sequences[index] for index in np.sort(chosen)]
    missing = _VOCABULARY_SEQUENCES - len(sequences)
    if missing > 0 and dataset.negatives:
        rng = np.random.default_rng([seed, 2])
        sequences = sequences + draw_evenly(dataset.negatives, missing, rng, sequences)
    return sequences


def _sizes(learner: Learner) -> dict[str, Any]:
    config = learner.network.config
    assert isinstance(config, DnaBert2Config | CnnConfig)
    return asdict(config)


def _add_lora(learner: Learner, settings: TrainSettings) -> None:
    """LoRA on Wqkv; pooler and classifier are trained whole, since a base has neither, or another's."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(settings.seed)  # peft starts its matrices from torch's own generator
    learner.network = get_peft_model(
        learner.network,
        LoraConfig(
            r=settings.lora_rank,
            lora_alpha=settings.lora_alpha or 2 * settings.lora_rank,
            lora_dropout=settings.dropout,
            target_modules=["Wqkv"],
            modules_to_save=["pooler", "classifier"],
        ),
    )


# --- steps -------------------------------------------------------------------------------------------------


def _plan(
    learner: Learner, dataset: Dataset, settings: TrainSettings, device: str
) -> tuple[TrainingExamples, Schedule]:
    batch_size = settings.chosen_batch_size
    n_negatives = dataset.n_negatives
    epoch_size = len(dataset.train.sequences) + n_negatives
    n_steps = max(1, math.ceil(settings.epochs * epoch_size / batch_size))
    every = min(settings.evaluate_every or math.ceil(n_steps / _EVALUATIONS), n_steps)
    examples = TrainingExamples(
        dataset,
        settings.augmentation,
        n_examples=n_steps * batch_size,
        seed=settings.seed,
        n_negatives=n_negatives,
        balance=settings.balance,
    )
    schedule = Schedule(
        n_steps=n_steps,
        batch_size=batch_size,
        learning_rate=settings.chosen_learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=settings.warmup_steps,
        evaluate_every=every,
        patience=settings.patience,
        metric=settings.metric,
        seed=settings.seed,
        device=device,
        bfloat16=settings.dtype == "bfloat16",
        evaluate=lambda: _dev_figures(learner, dataset),
    )
    return examples, schedule


def _dev_figures(learner: Learner, dataset: Dataset) -> dict[str, float]:
    """loss, accuracy, MCC and the mean AUROC of the classes on dev, both strands averaged."""
    logits = learner.predict(dataset.dev.windows(), _EVALUATION_BATCH)
    metrics = evaluate_logits(logits, dataset.dev.classes, dataset.labels)
    log_z = np.logaddexp.reduce(logits, axis=1)
    loss = float((log_z - logits[np.arange(len(logits)), dataset.dev.classes]).mean())
    # A Dataset has every class in dev, so that no figure is missing.
    assert metrics.mcc is not None
    assert metrics.mean_auroc is not None
    return {"loss": loss, "accuracy": metrics.accuracy, "mcc": metrics.mcc, "auroc": metrics.mean_auroc}


def _pretrain(
    learner: TokenLearner,
    dataset: Dataset,
    settings: TrainSettings,
    device: str,
    work: Path,
    progress: Progress | None,
) -> dict[str, Any]:
    """Masked language modelling of the learner's encoder, kept in `work`; what it was."""
    done = work / "pretrained.safetensors"
    noted = work / "pretraining.json"
    if noted.is_file():
        learner.load_state_dict(load_file(done))
        before: dict[str, Any] = json.loads(noted.read_text(encoding="utf-8"))
        return before
    torch.manual_seed(settings.seed)
    masked = MaskedLearner(learner)
    batch_size = settings.chosen_batch_size
    n_steps = settings.pretrain_steps
    every = math.ceil(n_steps / _EVALUATIONS)
    examples = TrainingExamples(
        dataset,
        settings.augmentation,
        n_examples=n_steps * batch_size,
        seed=settings.seed + 1,
        n_negatives=dataset.n_negatives,
    )
    schedule = Schedule(
        n_steps=n_steps,
        batch_size=batch_size,
        learning_rate=settings.chosen_learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=settings.warmup_steps,
        evaluate_every=every,
        seed=settings.seed,
        device=device,
        bfloat16=settings.dtype == "bfloat16",
    )
    trained = run_training(
        masked,
        examples,
        masked.collate,
        schedule,
        work / "pretraining",
        progress=None if progress is None else lambda done, total: progress("pretraining", done, total),
    )
    what = {
        "task": "masked language modelling",
        "steps": n_steps,
        "history": [{"step": line["step"], "loss": line["loss"]} for line in trained.history],
    }
    save_file({name: tensor.cpu().contiguous() for name, tensor in learner.state_dict().items()}, done)
    write_json(noted, what)
    shutil.rmtree(work / "pretraining", ignore_errors=True)
    return what


# --- what is written ---------------------------------------------------------------------------------------


def _save(learner: Learner, dataset: Dataset, settings: TrainSettings, base: Base | None, folder: Path) -> None:
    if isinstance(learner, TokenLearner):
        learner.fold()
    network: Any = learner.network
    if settings.lora_rank:
        if base is not None and not base.form.startswith("PEFT adapter"):  # an adapter of an adapter would not load
            _save_adapter(network, settings, folder / ADAPTER)
        network = network.merge_and_unload()
    dtype = getattr(torch, settings.saved_dtype)
    state: dict[str, Tensor] = {name: tensor.to(dtype) for name, tensor in network.state_dict().items()}
    broken = [name for name, tensor in state.items() if not bool(tensor.isfinite().all())]
    if broken:
        raise RunError(
            f"weights that are not finite in {settings.saved_dtype}: {preview(broken)}",
            hint="lower --learning-rate; or keep --saved-dtype float32",
        )
    if isinstance(learner, TokenLearner):
        save_checkpoint(
            folder,
            state,
            network.config,
            labels=dataset.labels,
            head="classification",
            tokenizer_file=learner.tokenizer_file,
            window=dataset.window,
        )
        if (folder / ADAPTER).is_dir():
            shutil.copyfile(folder / "config.json", folder / ADAPTER / "config.json")  # the base has other classes
            shutil.copymode(folder / "config.json", folder / ADAPTER / "adapter_model.safetensors")
    else:
        save_cnn_checkpoint(
            folder, state, network.config, labels=dataset.labels, head="classification", window=dataset.window
        )


def _save_adapter(network: Any, settings: TrainSettings, folder: Path) -> None:
    """The adapter alone, as peft keeps it: it loads beside its base."""
    assert settings.init is not None
    base = Path(settings.init)
    network.peft_config["default"].base_model_name_or_path = str(base.resolve()) if base.exists() else settings.init
    # Asked whether the vocabulary grew, peft would look for a config class of its own kind, and on the hub.
    network.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # peft's blank form


def _figures(folder: Path, dataset: Dataset, device: str) -> dict[str, Any]:
    model = load_model(folder, device=device)

    def of(examples: Examples) -> dict[str, Any]:
        logits = model.predict(examples.windows(), batch_size=_EVALUATION_BATCH)
        background = dataset.labels[0] if dataset.negatives else None
        return evaluate_logits(logits, examples.classes, dataset.labels, background=background).as_dict()

    return {"dev": of(dataset.dev), "test": None if dataset.test is None else of(dataset.test)}


def _with_examples(trained: Trained, batch_size: int) -> list[dict[str, Any]]:
    return [{**line, "examples": line["step"] * batch_size} for line in trained.history]


def describe_training(training: Training) -> str:
    """The figures of a training, in words, for the end of the command."""
    lines = []
    for split in ("dev", "test"):
        figures = training.report[split]
        if figures is not None:
            told = {"accuracy": figures["accuracy"], "MCC": figures["mcc"], "mean AUROC": figures["mean_auroc"]}
            listed = ", ".join(f"{name} {value:.3f}" for name, value in told.items() if value is not None)
            lines.append(f"{split}: {count(figures['n'], 'sequence')}, {listed}")
    return "\n".join(lines)
