"""Training for real, on small sizes: every way in, what is written, and a stop in the middle."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import tiny_checkpoint, tiny_tokenizer

import gexplain
from gexplain.errors import InputError, ModelError, RunError, UsageError
from gexplain.models.checkpoint import load_checkpoint
from gexplain.training import finetune
from gexplain.training.batches import Augmentation
from gexplain.training.examples import Dataset, Examples
from gexplain.training.finetune import train
from gexplain.training.negatives import DinucleotideShuffles
from gexplain.training.settings import Sizes, TrainSettings

SITES = {1: "TGACTCA", 2: "GGGCGGG"}
TINY = Sizes(n_layers=1, width=16, n_heads=2, mlp_width=16)
SHORT = {"sizes": TINY, "vocabulary": 40, "epochs": 1.0, "batch_size": 16, "evaluate_every": 4, "warmup_steps": 2}


def sequences_of(classes: np.ndarray, rng: np.random.Generator, width: int = 40) -> list[str]:
    """Random sequences; those of class 1 and 2 have its site in the middle."""
    made = []
    for label in classes:
        bases = "".join(rng.choice(list("ACGT"), width))
        site = SITES.get(int(label), "")
        start = (width - len(site)) // 2
        made.append(bases[:start] + site + bases[start + len(site) :])
    return made


def dataset_of(*, n: int = 96, negatives: bool = False, seed: int = 0) -> Dataset:
    rng = np.random.default_rng(seed)

    def examples(n: int) -> Examples:
        classes = np.arange(n) % 3
        return Examples(sequences_of(classes, rng), classes)

    return Dataset(
        labels=("background", "AP1", "SP1"),
        train=examples(n),
        dev=examples(30),
        test=examples(30),
        negatives=(DinucleotideShuffles(),) if negatives else (),
        n_negatives=n // 2 if negatives else 0,
        window=40,
        described={"files": ["made up"], "seed": seed},
    )


@pytest.fixture(autouse=True)
def _few_shuffles(monkeypatch):
    """A vocabulary of few sequences: of few examples, most would be shuffles that take seconds to make."""
    monkeypatch.setattr(finetune, "_VOCABULARY_SEQUENCES", 200)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return dataset_of()


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory) -> Path:
    """One training from scratch."""
    return train(dataset, tmp_path_factory.mktemp("trained") / "model", TrainSettings(**SHORT)).path


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


def test_a_training_writes_an_ordinary_checkpoint_and_its_report(trained):
    assert {path.name for path in trained.iterdir()} == {
        "README.md",
        "config.json",
        "learning_curve.png",
        "metrics.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    model = gexplain.load_model(trained)
    assert model.labels == ("background", "AP1", "SP1")
    assert model.window == 40


def test_the_figures_are_those_of_the_weights_written(trained, dataset):
    report = json.loads((trained / "metrics.json").read_text())
    logits = gexplain.load_model(trained).predict(dataset.test.windows())
    assert report["test"]["accuracy"] == pytest.approx((logits.argmax(1) == dataset.test.classes).mean())
    assert report["test"]["n"] == 30


def test_the_best_step_is_the_one_that_is_kept(trained):
    report = json.loads((trained / "metrics.json").read_text())
    by_step = {line["step"]: line["dev"]["auroc"] for line in report["history"] if line["dev"]}
    assert len(by_step) >= 2
    assert by_step[report["best_step"]] == max(by_step.values())


def test_the_same_seed_trains_the_same_weights_and_another_seed_others(trained, dataset, tmp_path):
    again = train(dataset, tmp_path / "again", TrainSettings(**SHORT)).path
    other = train(dataset, tmp_path / "other", TrainSettings(**SHORT, seed=1)).path
    assert equal(weights(trained), weights(again))
    assert not equal(weights(trained), weights(other))


def test_a_checkpoint_reloads_bit_for_bit(trained):
    assert equal(weights(trained), load_checkpoint(trained).state)


def test_a_training_that_is_stopped_goes_on_as_if_it_never_was(tmp_path):
    dataset = dataset_of(negatives=True)
    settings = TrainSettings(**SHORT, augmentation=Augmentation(crop=3, paste=0.3, paste_width=12))
    whole = train(dataset, tmp_path / "whole", settings).path

    def stop(stage: str, done: int, total: int) -> None:
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(dataset, tmp_path / "stopped", settings, progress=stop)
    seen = []
    resumed = train(
        dataset, tmp_path / "stopped", settings, progress=lambda stage, done, total: seen.append(done)
    ).path
    assert seen[0] == 5  # it was saved at step 4
    assert equal(weights(whole), weights(resumed))
    both = [json.loads((path / "metrics.json").read_text())["history"] for path in (whole, resumed)]
    assert both[0] == both[1]


def test_it_learns(tmp_path):
    settings = TrainSettings(
        sizes=Sizes(n_layers=1, width=32, n_heads=2, mlp_width=32), vocabulary=128, epochs=40.0, batch_size=32,
        learning_rate=5e-3, warmup_steps=10, dropout=0.0, seed=2,
    )  # fmt: skip
    report = train(dataset_of(n=240), tmp_path / "model", settings).report
    assert report["test"]["accuracy"] > 0.6  # one in three by chance


def test_a_cnn_learns_through_the_same_command(tmp_path):
    # On 30 sequences of dev the AUROC is 1 long before the accuracy is; the loss goes on falling.
    settings = TrainSettings(arch="cnn", epochs=20.0, batch_size=32, learning_rate=3e-3, metric="loss")
    training = train(dataset_of(n=240), tmp_path / "cnn", settings)
    assert training.report["test"]["accuracy"] > 0.9
    model = gexplain.load_model(training.path)
    assert model.labels == ("background", "AP1", "SP1")
    assert model.window == 40


def test_float16_weights_are_what_the_figures_are_of(tmp_path, dataset):
    path = train(dataset, tmp_path / "model", TrainSettings(**SHORT, saved_dtype="float16")).path
    assert {tensor.dtype for tensor in weights(path).values()} == {torch.float16}
    report = json.loads((path / "metrics.json").read_text())
    logits = gexplain.load_model(path).predict(dataset.dev.windows())
    assert report["dev"]["accuracy"] == pytest.approx((logits.argmax(1) == dataset.dev.classes).mean())


# --- from a checkpoint -------------------------------------------------------------------------------------


def test_fine_tuning_starts_from_the_checkpoint_and_its_tokenizer(trained, dataset, tmp_path):
    settings = TrainSettings(init=str(trained), epochs=0.1, learning_rate=1e-12, batch_size=16, weight_decay=0.0)
    path = train(dataset, tmp_path / "tuned", settings).path
    before, after = weights(trained), weights(path)
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)
    assert (path / "tokenizer.json").read_bytes() == (trained / "tokenizer.json").read_bytes()


def test_a_masked_lm_checkpoint_gets_a_new_pooler_and_classifier(tmp_path, dataset):
    base = tiny_checkpoint(tmp_path / "base")
    state = {k: v for k, v in weights(base).items() if not k.startswith(("classifier.", "bert.pooler."))}
    save_file({**state, "cls.predictions.bias": torch.zeros(40)}, base / "model.safetensors")
    with pytest.raises(ModelError, match="masked-LM"):
        gexplain.load_model(base)
    training = train(dataset, tmp_path / "tuned", TrainSettings(init=str(base), epochs=1.0, batch_size=32))
    assert set(training.report["model"]["started_from"]["started_at_random"]) == {
        "bert.pooler.dense.weight",
        "bert.pooler.dense.bias",
        "classifier.weight",
        "classifier.bias",
    }
    assert gexplain.load_model(training.path).labels == dataset.labels


def test_lora_changes_wqkv_by_a_low_rank_and_the_head_freely(tmp_path, dataset):
    base = tiny_checkpoint(tmp_path / "base", labels=list(dataset.labels), n_targets=3)
    settings = TrainSettings(init=str(base), lora_rank=2, epochs=2.0, batch_size=16, learning_rate=1e-2)
    path = train(dataset, tmp_path / "tuned", settings).path
    before, after = weights(base), weights(path)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    wqkv = {f"bert.encoder.layer.{layer}.attention.self.Wqkv.weight" for layer in range(2)}
    assert changed == wqkv | {name for name in before if "pooler" in name or "classifier" in name}
    for name in wqkv:
        assert torch.linalg.matrix_rank(after[name] - before[name], rtol=1e-3) == 2


def test_lora_starts_from_the_seed(tmp_path, dataset):
    base = tiny_checkpoint(tmp_path / "base")
    settings = TrainSettings(init=str(base), lora_rank=2, epochs=0.2, batch_size=16, learning_rate=1e-2)
    one, other = (train(dataset, tmp_path / name, settings).path for name in ("one", "other"))
    assert equal(weights(one), weights(other))


@pytest.mark.parametrize("given", ["init", "tokenizer"])
def test_what_a_training_starts_from_is_never_written_over(tmp_path, dataset, given):
    base = tiny_checkpoint(tmp_path / "base")
    file = base / {"init": "model.safetensors", "tokenizer": "tokenizer.json"}[given]
    with pytest.raises(UsageError, match="is to be read"):
        train(dataset, base, TrainSettings(**{given: str(file)}, epochs=0.1, force=True))
    gexplain.load_model(base)


def test_a_base_that_changed_is_another_training(tmp_path, dataset):
    def stop(stage: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    settings = TrainSettings(init=str(tiny_checkpoint(tmp_path / "base")), epochs=0.1)
    with pytest.raises(KeyboardInterrupt):
        train(dataset, tmp_path / "model", settings, progress=stop)
    tiny_checkpoint(tmp_path / "base", seed=1)
    with pytest.raises(UsageError, match="another init sha256"):
        train(dataset, tmp_path / "model", settings)


def test_other_sequences_are_another_training(tmp_path, dataset):
    def stop(stage: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(dataset, tmp_path / "model", TrainSettings(**SHORT), progress=stop)
    other = replace(dataset_of(seed=1), described=dataset.described)
    with pytest.raises(UsageError, match="another sequences"):
        train(other, tmp_path / "model", TrainSettings(**SHORT))


def test_dev_without_a_class_is_told_at_once(tmp_path, dataset):
    lacking = Examples(dataset.dev.sequences[:2], dataset.dev.classes[:2])
    with pytest.raises(InputError, match="dev has no example of SP1"):
        train(replace(dataset, dev=lacking), tmp_path / "model", TrainSettings(**SHORT))


def test_the_adapter_alone_loads_beside_its_base(tmp_path, dataset):
    base = tiny_checkpoint(tmp_path / "base")
    settings = TrainSettings(init=str(base), lora_rank=2, lora_alpha=8, epochs=1.0, batch_size=16, learning_rate=1e-2)
    path = train(dataset, tmp_path / "tuned", settings).path
    whole = gexplain.load_model(path)
    adapted = load_checkpoint(path / "adapter")
    assert "adapter" in adapted.form
    for name, tensor in whole.checkpoint.state.items():
        torch.testing.assert_close(adapted.state[name], tensor, rtol=1e-6, atol=1e-7)


def test_pretraining_comes_first_and_is_reported(tmp_path, dataset):
    training = train(dataset, tmp_path / "model", TrainSettings(**SHORT, pretrain_steps=40))
    history = training.report["training"]["pretraining"]["history"]
    assert history[-1]["step"] == 40
    assert history[-1]["loss"] < history[0]["loss"]


def test_pretraining_that_is_stopped_goes_on(tmp_path, dataset):
    settings = TrainSettings(**SHORT, pretrain_steps=20)
    whole = train(dataset, tmp_path / "whole", settings).path
    for stage, at in (("pretraining", 7), ("training", 5)):

        def stop(now: str, done: int, total: int, stage: str = stage, at: int = at) -> None:
            if (now, done) == (stage, at):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(dataset, tmp_path / "stopped", settings, progress=stop)
    assert equal(weights(whole), weights(train(dataset, tmp_path / "stopped", settings).path))


def test_a_given_tokenizer_is_used(tmp_path, dataset):
    tokenizer = tiny_tokenizer(tmp_path / "given.json")
    path = train(dataset, tmp_path / "model", TrainSettings(**SHORT, tokenizer=str(tokenizer))).path
    assert (path / "tokenizer.json").read_bytes() == tokenizer.read_bytes()


# --- when to stop ------------------------------------------------------------------------------------------


def test_a_training_that_gets_no_better_is_stopped_early(tmp_path, dataset):
    # At a rate of 0 in all but name nothing changes: the first evaluation stays the best.
    settings = TrainSettings(**{**SHORT, "epochs": 50.0}, learning_rate=1e-15, patience=2, weight_decay=0.0)
    report = train(dataset, tmp_path / "model", settings).report
    assert report["training"]["steps_done"] == 12
    assert report["best_step"] == 4


def test_a_training_that_diverges_is_an_error(tmp_path, dataset):
    with pytest.raises(RunError, match="diverged"):
        train(dataset, tmp_path / "model", TrainSettings(**SHORT, learning_rate=1e30))


def test_a_training_that_was_over_is_not_gone_on_with(tmp_path, dataset, monkeypatch):
    # Killed between the last step and the report; the folder is named from elsewhere afterwards.
    settings = TrainSettings(**{**SHORT, "epochs": 50.0}, learning_rate=1e-15, patience=2, weight_decay=0.0)
    whole = train(dataset, tmp_path / "whole", settings)
    monkeypatch.setattr("gexplain.training.finetune.write_report", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(dataset, tmp_path / "killed", settings)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    Path("killed").rename("moved")
    seen = []
    again = train(dataset, "moved", settings, progress=lambda *step: seen.append(step))
    assert not seen
    assert again.report["history"] == whole.report["history"]
    assert again.report["best_step"] == whole.report["best_step"]
    assert equal(weights(whole.path), weights(Path("moved")))


def test_a_kept_checkpoint_that_is_gone_is_never_replaced_by_another(tmp_path, dataset, monkeypatch):
    settings = TrainSettings(**{**SHORT, "epochs": 50.0}, learning_rate=1e-15, patience=2, weight_decay=0.0)
    monkeypatch.setattr("gexplain.training.finetune.write_report", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(dataset, tmp_path / "model", settings)
    shutil.rmtree(tmp_path / "model" / ".training" / "steps" / "checkpoint-4")
    with pytest.raises(FileNotFoundError):
        train(dataset, tmp_path / "model", settings)


# --- the folder --------------------------------------------------------------------------------------------


def test_another_training_in_the_folder_is_not_overwritten(trained, dataset):
    before = weights(trained)
    with pytest.raises(UsageError, match="is not empty"):
        train(dataset, trained, TrainSettings(**SHORT, seed=5))
    assert equal(weights(trained), before)


def test_an_unfinished_training_with_other_settings_is_told(tmp_path, dataset):
    def stop(stage: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(dataset, tmp_path / "model", TrainSettings(**SHORT), progress=stop)
    with pytest.raises(UsageError, match=r"unfinished training with another seed"):
        train(dataset, tmp_path / "model", TrainSettings(**SHORT, seed=1))
    path = train(dataset, tmp_path / "model", TrainSettings(**SHORT, seed=1, force=True)).path
    assert (path / "model.safetensors").is_file()


def test_force_leaves_what_is_not_of_a_training(tmp_path, dataset, trained):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"notes\.txt"):
        train(dataset, folder, TrainSettings(**SHORT, force=True))
    assert (folder / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"arch": "transformer"}, "unknown arch"),
        ({"epochs": 0.0}, "epochs 0.0"),
        ({"arch": "cnn", "init": "human-tf"}, "init does not go with a CNN"),
        ({"lora_rank": 4}, "LoRA adapts a trained model"),
        ({"init": "model", "tokenizer": "t.json"}, "own tokenizer"),
        ({"dropout": 1.0}, "dropout 1.0"),
        ({"vocabulary": 5}, "vocabulary of 5"),
    ],
)
def test_settings_that_do_not_go_together_are_usage_errors(wrong, told):
    with pytest.raises(UsageError, match=told):
        TrainSettings(**wrong)
