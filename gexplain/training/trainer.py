"""The trainer: Hugging Face's, told what a learner is, what counts as better, and how to go on after a stop."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
import transformers
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import SequentialSampler

from gexplain.errors import RunError, UsageError

StepsProgress = Callable[[int, int], None]
Evaluate = Callable[[], Mapping[str, float]]

_PREFIX = "eval_"


class NumberedExamples(Protocol):
    """What a torch DataLoader takes: examples by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> object: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The steps of one training: how many, how large, how often dev is looked at, what is better there.

    evaluate: figures of the model as it stands, "loss" among them; None trains to the last step. metric: the figure
    whose best step is kept; patience: evaluations without a better one before the end, 0 for any number.
    """

    n_steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup_steps: int
    evaluate_every: int
    patience: int = 0
    metric: str = "loss"
    seed: int = 0
    device: str = "cpu"
    bfloat16: bool = False
    evaluate: Evaluate | None = None


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training was: history by step, the step that was kept, and the last one."""

    history: list[dict[str, Any]]
    best_step: int
    last_step: int


def run_training(
    learner: nn.Module,
    examples: NumberedExamples,
    collate: Callable[[Any], Any],
    schedule: Schedule,
    folder: Path,
    *,
    progress: StepsProgress | None = None,
) -> Trained:
    """What the training was; the learner holds the kept weights afterwards.

    folder: where checkpoints go, and where an interrupted training is taken up again. Raises RunError where the
    loss is no longer finite.
    """
    verbosity = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        state = _train(learner, examples, collate, schedule, folder, progress)
    finally:
        transformers.utils.logging.set_verbosity(verbosity)
    best_step = state.global_step
    if schedule.evaluate is not None:
        best_step = _best_step(state.log_history, schedule)
        learner.load_state_dict(load_file(_checkpoint(folder, best_step) / "model.safetensors"))
    return Trained(_history(state.log_history), best_step, state.global_step)


def _train(
    learner: nn.Module,
    examples: NumberedExamples,
    collate: Callable[[Any], Any],
    schedule: Schedule,
    folder: Path,
    progress: StepsProgress | None,
) -> transformers.TrainerState:
    last = _last_checkpoint(folder)
    if last is not None:
        state: transformers.TrainerState = transformers.TrainerState.load_from_json(str(last / "trainer_state.json"))
        if state.global_step >= schedule.n_steps or _is_over(state.log_history, schedule):
            learner.load_state_dict(load_file(last / "model.safetensors"))
            return state
    trainer = _Trainer(
        schedule,
        model=learner,
        args=_arguments(schedule, folder),
        train_dataset=examples,
        eval_dataset=[],  # asked for, and never read: the schedule's own function evaluates
        data_collator=collate,
        callbacks=[_Watch(schedule, progress)],
    )
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train(resume_from_checkpoint=None if last is None else str(last))
    return trainer.state


def choose_training_device(name: str) -> str:
    """The cpu or cuda that a name means here; UsageError for what the trainer cannot be held to."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise UsageError(
            f"device {name!r}; training runs on cpu or cuda", hint="choose a GPU by CUDA_VISIBLE_DEVICES"
        )
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("device 'cuda': torch finds none on this machine", hint="use --device cpu")
    return name


class _Trainer(transformers.Trainer):
    """In the order of the examples' numbers, which is random already; evaluation by the schedule's function."""

    def __init__(self, schedule: Schedule, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._schedule = schedule

    def _get_train_sampler(self, *_: Any, **__: Any) -> SequentialSampler:
        examples: Any = self.train_dataset
        return SequentialSampler(examples)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        assert self._schedule.evaluate is not None
        figures = {f"{_PREFIX}{name}": value for name, value in self._schedule.evaluate().items()}
        self.log(figures)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, figures)
        return figures


class _Watch(transformers.TrainerCallback):
    """Tells the progress, and stops a training that has diverged or gets no better."""

    def __init__(self, schedule: Schedule, progress: StepsProgress | None) -> None:
        self.schedule, self.progress = schedule, progress

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step >= state.max_steps:  # the last step counts too, wherever the evaluations fall
            control.should_log = control.should_save = True
            control.should_evaluate = self.schedule.evaluate is not None
        if self.progress is not None:
            self.progress(state.global_step, state.max_steps)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            raise RunError(
                f"the training diverged: the loss is {loss} at step {state.global_step:,}",
                hint="lower --learning-rate, or raise --warmup-steps, and start anew with --force",
            )

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Looks at the whole log, so that a resumed training counts as one that never stopped."""
        control.should_training_stop = control.should_training_stop or _is_over(state.log_history, self.schedule)


def _looked_at(log: list[dict[str, Any]], schedule: Schedule) -> list[tuple[int, float]]:
    """(step, figure) of each evaluation, the better figure always the larger."""
    key, sign = _PREFIX + schedule.metric, -1 if schedule.metric == "loss" else 1
    return [(line["step"], sign * line[key]) for line in log if key in line]


def _best_step(log: list[dict[str, Any]], schedule: Schedule) -> int:
    """The first of the best."""
    return max(_looked_at(log, schedule), key=lambda one: one[1])[0]


def _is_over(log: list[dict[str, Any]], schedule: Schedule) -> bool:
    """Whether patience is used up."""
    steps = [step for step, _ in _looked_at(log, schedule)]
    if not schedule.patience or not steps:
        return False
    return len(steps) - 1 - steps.index(_best_step(log, schedule)) >= schedule.patience


def _checkpoint(folder: Path, step: int) -> Path:
    return folder / f"checkpoint-{step}"


def _last_checkpoint(folder: Path) -> Path | None:
    """The last one that is whole: a stop while one was being written leaves it without its state."""
    saved = [path.parent for path in folder.glob("checkpoint-*/trainer_state.json") if _is_json(path)]
    return max(saved, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


def _arguments(schedule: Schedule, folder: Path) -> transformers.TrainingArguments:
    evaluated = schedule.evaluate is not None
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        max_steps=schedule.n_steps,
        per_device_train_batch_size=schedule.batch_size,
        learning_rate=schedule.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=min(schedule.warmup_steps, schedule.n_steps // 10),
        weight_decay=schedule.weight_decay,
        adam_beta2=0.98,  # gradients of rare tokens are sparse: a shorter memory than .999 follows them
        max_grad_norm=1.0,
        logging_strategy="steps",
        logging_steps=schedule.evaluate_every,
        logging_nan_inf_filter=False,
        eval_strategy="steps" if evaluated else "no",
        eval_steps=schedule.evaluate_every,
        save_strategy="steps",
        save_steps=schedule.evaluate_every,
        save_total_limit=2,  # the best and the last
        load_best_model_at_end=False,
        metric_for_best_model=_PREFIX + schedule.metric if evaluated else None,
        greater_is_better=schedule.metric != "loss" if evaluated else None,
        seed=schedule.seed,
        use_cpu=schedule.device == "cpu",
        bf16=schedule.bfloat16,
        dataloader_pin_memory=schedule.device != "cpu",
        remove_unused_columns=False,
        report_to=[],
        disable_tqdm=True,
    )
    arguments._n_gpu = min(
        arguments.n_gpu, 1
    )  # else every GPU of the machine is taken, and the batch grows with them
    return arguments


def _history(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The trainer's log, one entry a step: loss and learning rate, and dev's figures where it was looked at."""
    steps: dict[int, dict[str, Any]] = {}
    for line in log:
        if "train_runtime" in line:
            continue
        entry = steps.setdefault(
            line["step"], {"step": line["step"], "loss": None, "learning_rate": None, "dev": None}
        )
        if "loss" in line:
            entry["loss"], entry["learning_rate"] = line["loss"], line.get("learning_rate")
        figures = {key.removeprefix(_PREFIX): value for key, value in line.items() if key.startswith(_PREFIX)}
        if figures:
            entry["dev"] = figures
    return [steps[step] for step in sorted(steps)]
