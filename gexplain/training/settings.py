"""Settings of a training, checked before anything is read; no torch here."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from gexplain.errors import UsageError
from gexplain.training.batches import Augmentation

ARCHITECTURES = ("dnabert2", "cnn")
METRICS = ("loss", "accuracy", "mcc", "auroc")
SAVED_DTYPES = ("float32", "float16")

# What DNABERT-2's authors fine-tune with, and what the small models in the box were trained with.
_LEARNING_RATE = {"init": 3e-5, "lora": 3e-4, "scratch": 1e-3}
_BATCH_SIZE = {"init": 32, "lora": 32, "scratch": 128}


def _flag(option: str) -> str:
    """An option as the command line has it, and its messages."""
    return "--lora" if option == "lora_rank" else "--" + option.replace("_", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The sizes of a DNABERT-2 that is trained from scratch; the default has 2.3 million parameters."""

    n_layers: int = 4
    width: int = 192
    n_heads: int = 6
    mlp_width: int = 384

    def __post_init__(self) -> None:
        if min(self.n_layers, self.width, self.n_heads, self.mlp_width) < 1 or self.width % self.n_heads:
            raise UsageError(
                f"{self.n_layers} layers, width {self.width}, {self.n_heads} heads, MLP width {self.mlp_width}:"
                " no such model; all must be at least 1, and the heads divide the width",
                hint="--layers 4 --width 192 --heads 6 --mlp-width 384",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """What `train` is asked to do; the defaults are those of the command.

    arch: dnabert2, or cnn, the baseline. init: a checkpoint to fine-tune (folder, file, bundled name or hub id; a
    masked-LM one too), or None for a model of `sizes` from scratch. tokenizer: a tokenizer.json for a model from
    scratch; by default a BPE of `vocabulary` tokens is trained on the training sequences. spelling: a model from
    scratch learns from what its tokens spell (see `training.spelling`). lora_rank: 0 trains all weights, else LoRA of
    that rank on Wqkv, with the pooler and the classifier whole. pretrain_steps: of masked language modelling before
    the classes are learnt.

    epochs: of all training examples and as many freshly drawn negatives as the data asks for. batch_size,
    learning_rate: by default 32 and 3e-5 with `init` (3e-4 with LoRA), 128 and 1e-3 from scratch. The rate rises for
    `warmup_steps` and falls as a half cosine. evaluate_every: steps; by default twenty times in all. patience:
    evaluations without a better `metric` on dev before the training stops; 0 never stops it early. The best step
    by `metric` is kept. balance: 0 draws classes as often as the data has them, 1 evenly (see `batches`). dtype:
    bfloat16 for mixed precision. saved_dtype: of the weights written. resume: go on with an interrupted training.
    force: replace what is in the folder.
    """

    arch: Literal["dnabert2", "cnn"] = "dnabert2"
    init: str | None = None
    sizes: Sizes = field(default_factory=Sizes)
    tokenizer: str | None = None
    vocabulary: int = 4096
    spelling: bool = True
    lora_rank: int = 0
    lora_alpha: int | None = None
    pretrain_steps: int = 0
    epochs: float = 10.0
    batch_size: int | None = None
    learning_rate: float | None = None
    weight_decay: float = 0.01
    warmup_steps: int = 50
    dropout: float = 0.1
    evaluate_every: int | None = None
    patience: int = 5
    metric: Literal["loss", "accuracy", "mcc", "auroc"] = "auroc"
    balance: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0
    device: str = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    saved_dtype: Literal["float32", "float16"] = "float32"
    resume: bool = True
    force: bool = False

    def __post_init__(self) -> None:
        known = {
            "arch": ARCHITECTURES,
            "metric": METRICS,
            "dtype": ("float32", "bfloat16"),
            "saved_dtype": SAVED_DTYPES,
        }
        for option, choices in known.items():
            if getattr(self, option) not in choices:
                raise UsageError(f"unknown {option} {getattr(self, option)!r}", hint=f"one of {', '.join(choices)}")
        positive = ("epochs", "batch_size", "learning_rate", "evaluate_every", "lora_alpha")
        natural = ("lora_rank", "pretrain_steps", "weight_decay", "warmup_steps", "dropout", "patience", "seed")
        for option in positive + natural:
            value = getattr(self, option)
            if value is not None and (not math.isfinite(value) or value < 0 or (value == 0 and option in positive)):
                least = "more than 0" if option in positive else "0 or more"
                raise UsageError(
                    f"{_flag(option)} {value}; expected a number, {least}", hint="leave it out for the default"
                )
        if self.dropout >= 1:
            raise UsageError(
                f"--dropout {self.dropout}; expected a share below 1", hint="leave it out for the default"
            )
        if not 0 <= self.balance <= 1:
            raise UsageError(f"--balance {self.balance}; expected 0 to 1", hint="0: as in the data; 1: evenly")
        if self.seed >= 2**32:
            raise UsageError(f"--seed {self.seed}; expected less than 2**32", hint="any small number will do")
        if self.vocabulary < 16:
            raise UsageError(
                f"vocabulary of {self.vocabulary} tokens; expected 16 or more", hint="DNABERT-2 has 4096"
            )
        self._check_together()

    def _check_together(self) -> None:
        if self.arch == "cnn":
            for option in ("init", "tokenizer", "lora_rank", "pretrain_steps"):
                if getattr(self, option):
                    raise UsageError(
                        f"{_flag(option)} does not go with a CNN, which is trained from scratch on bases",
                        hint=f"leave {_flag(option)} out, or use --arch dnabert2",
                    )
            if self.augmentation.bpe_dropout:
                raise UsageError(
                    "--bpe-dropout does not go with a CNN, which reads bases and no tokens", hint="leave it out"
                )
        if self.lora_rank and self.init is None:
            raise UsageError(
                "--lora: LoRA adapts a trained model, and none is given", hint="name one with --init MODEL"
            )
        if self.lora_alpha is not None and not self.lora_rank:
            raise UsageError("--lora-alpha without --lora", hint="give the rank too, as --lora 8; or leave it out")
        if self.init is not None and self.tokenizer is not None:
            raise UsageError(
                f"--tokenizer with --init {self.init}, whose embeddings belong to its own tokenizer",
                hint="leave --tokenizer out",
            )

    @property
    def _kind(self) -> str:
        return "scratch" if self.init is None else "lora" if self.lora_rank else "init"

    @property
    def chosen_batch_size(self) -> int:
        """The batch size given, or that of the kind of training."""
        return self.batch_size or _BATCH_SIZE[self._kind]

    @property
    def chosen_learning_rate(self) -> float:
        """The learning rate given, or that of the kind of training."""
        return self.learning_rate or _LEARNING_RATE[self._kind]
