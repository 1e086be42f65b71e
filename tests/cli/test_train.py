"""`gexplain train` as a user meets it: every way in, what it leaves, a stop in the middle, and bad input."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from gexplain_cli.main import main
from paths import SHARED, needs_shared
from safetensors.torch import load_file

import gexplain
from gexplain.training import finetune
from gexplain.training.settings import TrainSettings

GUE = SHARED / "data" / "gue"

# The smallest network that trains; its figures mean nothing, and no test asks for them.
SMALL = ("--layers", "1", "--width", "16", "--heads", "2", "--mlp-width", "16", "--vocabulary", "40")
SHORT = ("--epochs", "1", "-b", "32", "--evaluate-every", "2")
CNN = ("--arch", "cnn", *SHORT)

WRITTEN = {"README.md", "config.json", "learning_curve.png", "metrics.json", "model.safetensors"}
TOKENIZER = {"tokenizer.json", "tokenizer_config.json"}


def dna(rng: np.random.Generator, width: int = 40) -> str:
    return "".join(rng.choice(list("ACGT"), width))


def write_csv(path: Path, labels: Iterable[str], *, seed: int, width: int = 40) -> None:
    """Random sequences with these labels; no two files share a seed, nor a sequence."""
    rng = np.random.default_rng(seed)
    path.write_text("sequence,label\n" + "".join(f"{dna(rng, width)},{label}\n" for label in labels))


def write_bed(path: Path, chrom: str, name: str = "", *, n: int = 20) -> None:
    path.write_text("".join(f"{chrom}\t{start}\t{start + 50}{name}\n" for start in range(2000, 2000 + 300 * n, 300)))


@pytest.fixture(autouse=True)
def _few_shuffles(monkeypatch):
    """A vocabulary of few sequences: of few examples, most would be shuffles that take seconds to make."""
    monkeypatch.setattr(finetune, "_VOCABULARY_SEQUENCES", 200)


@pytest.fixture(scope="module")
def data(test_data, tmp_path_factory) -> Path:
    """A folder of data to train on, good and bad."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("genome.fa", "genome.fa.fai", "truth.bed", "decoys.bed"):
        shutil.copy(test_data / name, folder)
    write_csv(folder / "train.csv", ["plain", "site"] * 50, seed=0)
    write_csv(folder / "dev.csv", ["plain", "site"] * 8, seed=1)
    write_csv(folder / "test.csv", ["plain", "site", "site"] * 4, seed=2)
    write_bed(folder / "reb1.bed", "chr1")
    write_bed(folder / "rap1.bed", "chr2")
    write_bed(folder / "pool.bed", "chr10")

    write_csv(folder / "other_classes.csv", ["plain", "site", "promoter"], seed=3)
    write_csv(folder / "plain_only.csv", ["plain"] * 9, seed=4)
    write_csv(folder / "single.csv", ["plain"] * 9 + ["site"], seed=5)
    good = (folder / "train.csv").read_text()
    rows = good.removeprefix("sequence,label\n")
    bad = {
        "columns.csv": good.replace("sequence,label", "seq,class"),
        "no_header.csv": rows,
        "empty.csv": "",
        "header_only.csv": "sequence,label\n",
        "protein.csv": "sequence,label\nACGTACGTACGT,a\nMKVLAAGIVALL,b\n",
        "rna.csv": "sequence,label\nACGTACGTACGT,a\nACGUACGUACGU,b\n",
        "no_label.csv": good + "ACGTACGTACGT,\n",
        "empty.bed": "# no peaks\n",
        "unlabelled.bed": "chr1\t5000\t5100\n",
        "past.bed": "chr1\t5000\t5100\tReb1\nchr1\t119950\t120050\tRap1\n",
        "empty_region.bed": "chr1\t5000\t5100\tReb1\nchr1\t6000\t6000\tRap1\n",
        "strange_chrom.bed": "chr1\t5000\t5100\tReb1\nchr7\t6000\t6100\tRap1\n",
        "ensembl.bed": "1\t5000\t5100\tReb1\n2\t6000\t6100\tRap1\n",
        "backwards.bed": "chr1\t200\t100\tReb1\n",
        "tokenizer.json": "no tokenizer",
    }
    for name, text in bad.items():
        (folder / name).write_text(text)
    write_bed(folder / "peaks.bed", "chr1", "\tReb1")
    (folder / "names.bed").write_text("".join(f"chr1\t{5000 * k}\t{5000 * k + 9}\tpeak_{k}\n" for k in range(1, 9)))
    (folder / "thesis").mkdir()
    (folder / "thesis" / "chapter.txt").write_text("mine\n")
    return folder


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> tuple[Path, str]:
    """One model from scratch, of train.csv, dev.csv and test.csv; and what the command said."""
    folder = tmp_path_factory.mktemp("trained") / "model"
    files = {"--csv": data / "train.csv", "--dev-csv": data / "dev.csv", "--test-csv": data / "test.csv"}
    words = ["gexplain", "train", *(str(word) for pair in files.items() for word in pair)]
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(io.StringIO()) as said:
        patch.setattr(sys, "argv", [*words, *SMALL, *SHORT, "-o", str(folder)])
        with pytest.raises(SystemExit) as left:
            main()
    assert left.value.code == 0, said.getvalue()
    return folder, said.getvalue()


@pytest.fixture
def train(run, data, tmp_path, monkeypatch):
    """`gexplain train` in the folder of the data; the model goes to tmp_path / "model"."""
    monkeypatch.chdir(data)

    def run_train(*options: object, output: object = tmp_path / "model"):
        return run("train", *options, "-o", output)

    return run_train


@pytest.fixture
def asked(monkeypatch):
    """What the command asks of the library, which trains nothing: one (dataset, settings) a command."""
    calls = []

    def take(dataset, output, settings, *, progress):
        calls.append((dataset, settings))
        return finetune.Training(Path(output), {"dev": None, "test": None})

    monkeypatch.setattr(finetune, "train", take)
    return calls


def report_of(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


# ---- ways in ----


def test_csv_files_become_a_model_its_figures_and_its_card(trained):
    folder, said = trained
    assert {path.name for path in folder.iterdir()} == WRITTEN | TOKENIZER
    report = report_of(folder)
    assert report["data"]["counts"] == {
        "train": {"plain": 50, "site": 50},
        "dev": {"plain": 8, "site": 8},
        "test": {"plain": 4, "site": 8},
    }
    assert (report["dev"]["n"], report["test"]["n"]) == (16, 12)
    assert said.startswith("classes: plain, site\ntrain: 100 sequences (50, 50)\ndev: 16 sequences (8, 8)\n")
    assert f"dev: 16 sequences, accuracy {report['dev']['accuracy']:.3f}, MCC " in said
    assert f"score with -m {folder}" in said


def test_all_files_are_open_to_whom_the_users_files_are(trained):
    folder, _ = trained
    (folder.parent / "of_the_user").touch()
    modes = {path.stat().st_mode for path in [*folder.iterdir(), folder.parent / "of_the_user"]}
    assert len(modes) == 1


def test_score_and_model_take_what_train_wrote(run, trained, test_data, tmp_path):
    folder, _ = trained
    told = run("model", folder)
    assert told.code == 0
    assert "plain, site (classification)" in told.out
    assert "window        40 bases" in told.out
    scored = run(
        "score", "-r", "chr1:40,001-40,100", test_data / "genome.fa", "-m", folder, "-o", tmp_path / "scored"
    )
    assert scored.code == 0, scored.err
    assert {path.name for path in (tmp_path / "scored" / "tracks").iterdir()} >= {"site.bw", "site.prediction.bw"}


def test_a_csv_alone_is_split(train, tmp_path):
    outcome = train("--csv", "train.csv", "--dev-fraction", "0.2", "--test-fraction", "0.1", *CNN)
    assert (outcome.code, outcome.out) == (0, "")
    assert {path.name for path in (tmp_path / "model").iterdir()} == WRITTEN
    counts = report_of(tmp_path / "model")["data"]["counts"]
    assert {part: sum(of.values()) for part, of in counts.items()} == {"train": 70, "dev": 20, "test": 10}
    assert all(of["plain"] == of["site"] for of in counts.values())


def test_a_labelled_bed_is_split_by_chromosome(train, data, tmp_path):
    outcome = train("truth.bed", "genome.fa", "--dev-chroms", "chr2", "--test-chroms", "chr10,chrM", *CNN)
    assert outcome.code == 0, outcome.err
    lines = [line.split("\t") for line in (data / "truth.bed").read_text().splitlines()]
    counts = report_of(tmp_path / "model")["data"]["counts"]
    for part, chroms in (("train", {"chr1"}), ("dev", {"chr2"}), ("test", {"chr10", "chrM"})):
        for label, n in counts[part].items():
            assert n == sum(chrom in chroms and name == label for chrom, _, _, name, *_ in lines)
    assert gexplain.load_model(tmp_path / "model").window == 128


def test_a_bed_per_class_and_all_kinds_of_negatives_whatever_the_classes_are_called(run, train, tmp_path):
    positives = ("--class", "TF/Reb1=reb1.bed", "--class", "café ☕=rap1.bed")
    negatives = [word for one in ("dinuc-shuffle", "random-genome", "pool.bed") for word in ("--negatives", one)]
    outcome = train(*positives, *negatives, "genome.fa", *CNN)
    assert outcome.code == 0, outcome.err
    assert "classes: background, TF/Reb1, café ☕\n" in outcome.err
    assert "train: 36 sequences (0, 18, 18), and 36 negatives an epoch\n" in outcome.err
    report = report_of(tmp_path / "model")
    assert report["data"]["negatives"]["sources"] == ["dinuc-shuffle", "random-genome", "pool.bed"]
    assert report["dev"]["classes"]["background"]["n"] == 4
    # A class names a track, whose file can be called so.
    scored = run("score", "-r", "chr1:2,001-2,100", "genome.fa", "-m", tmp_path / "model", "-o", tmp_path / "scored")
    assert scored.code == 0, scored.err
    assert {path.name for path in (tmp_path / "scored" / "tracks").iterdir()} >= {"predicted.bw"}
    outcome = run(
        "score", "-r", "chr1:2,001-2,100", "genome.fa", "-m", tmp_path / "model", "--target", "TF/Reb1",
        "-o", tmp_path / "target",
    )  # fmt: skip
    assert (tmp_path / "target" / "tracks" / "TF_Reb1.bw").is_file(), outcome.err


def test_a_checkpoint_is_fine_tuned_with_its_own_tokenizer(train, trained, tmp_path):
    base, _ = trained
    outcome = train("--csv", "train.csv", "--init", base, "--epochs", "0.1")
    assert outcome.code == 0, outcome.err
    started = report_of(tmp_path / "model")["model"]["started_from"]
    assert started["weights"] == str(base)
    assert started["started_at_random"] == []
    assert (tmp_path / "model" / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()


def test_lora_leaves_a_whole_model_and_the_adapter(run, train, trained, tmp_path):
    outcome = train("--csv", "train.csv", "--init", trained[0], "--lora", "2", *SHORT)
    assert outcome.code == 0, outcome.err
    report = report_of(tmp_path / "model")["model"]
    assert report["trained_parameters"] < report["parameters"]
    for folder in (tmp_path / "model", tmp_path / "model" / "adapter"):
        assert run("model", folder).code == 0
    # An adapter of an adapter would not load: what comes of one is whole, and only whole.
    adapter = tmp_path / "model" / "adapter"
    outcome = train("--csv", "train.csv", "--init", adapter, "--lora", "2", *SHORT, output=tmp_path / "again")
    assert outcome.code == 0, outcome.err
    assert {path.name for path in (tmp_path / "again").iterdir()} == WRITTEN | TOKENIZER


def test_pretraining_with_a_given_tokenizer_comes_first(train, trained, tmp_path):
    tokenizer = trained[0] / "tokenizer.json"
    sizes = SMALL[: SMALL.index("--vocabulary")]
    outcome = train("--csv", "train.csv", "--tokenizer", tokenizer, *sizes, "--pretrain-steps", "3", *SHORT)
    assert outcome.code == 0, outcome.err
    pretraining = report_of(tmp_path / "model")["training"]["pretraining"]
    assert pretraining["steps"] == pretraining["history"][-1]["step"] == 3
    assert (tmp_path / "model" / "tokenizer.json").read_bytes() == tokenizer.read_bytes()


# ---- from the options to the settings ----


def test_the_commands_defaults_are_the_librarys(train, asked):
    assert train("--csv", "train.csv").code == 0
    assert asked[0][1] == TrainSettings()


def test_every_setting_has_an_option(train, asked):
    typed = {
        "--init": "base", "--lora": 3, "--lora-alpha": 5, "--pretrain-steps": 7, "--epochs": 2.5, "--batch-size": 9,
        "--learning-rate": 0.25, "--weight-decay": 0.5, "--warmup-steps": 11, "--dropout": 0.75,
        "--evaluate-every": 13, "--patience": 17, "--metric": "mcc", "--seed": 19, "--device": "cpu",
        "--dtype": "bfloat16", "--saved-dtype": "float16", "--crop": 2, "--bpe-dropout": 0.125, "--paste": 0.625,
        "--paste-width": 8, "--paste-least": 4, "--balance": 0.5, "--negatives": "dinuc-shuffle",
    }  # fmt: skip
    flags = ("--no-reverse-complement", "--no-resume", "--force")
    assert train("--csv", "train.csv", *(word for pair in typed.items() for word in pair), *flags).code == 0
    settings = dataclasses.asdict(asked[0][1])
    augmentation = settings.pop("augmentation")
    default = dataclasses.asdict(TrainSettings())
    same = {name for name in settings if settings[name] == default[name]}
    assert same == {"arch", "sizes", "tokenizer", "vocabulary", "spelling"}  # those of a model from scratch
    assert {settings["lora_rank"], settings["lora_alpha"], settings["pretrain_steps"]} == {3, 5, 7}
    assert augmentation["reverse_complement"] is False
    assert [augmentation[name] for name in ("crop", "bpe_dropout", "paste", "paste_width")] == [2, 0.125, 0.625, 8]
    assert train("--csv", "train.csv", *SMALL, "--no-spelling").code == 0
    scratch = asked[1][1]
    assert dataclasses.astuple(scratch.sizes) == (1, 16, 2, 16)
    assert (scratch.vocabulary, scratch.spelling) == (40, False)


def test_the_data_options_reach_the_readers(train, asked):
    options = {
        "--window": 64, "--jitter": 4, "--negatives": "random-genome", "--negatives-per-positive": 2,
        "--labels": "USF1,REST", "--test-fraction": 0.25, "--exclude-chroms": "chrM", "--seed": 5,
    }  # fmt: skip
    assert train("truth.bed", "genome.fa", *(word for pair in options.items() for word in pair)).code == 0
    dataset = asked[0][0]
    assert dataset.labels == ("background", "USF1", "REST")
    assert (dataset.window, dataset.train.margin) == (64, 4)
    assert dataset.n_negatives == 2 * len(dataset.train)
    assert dataset.described["split"] == {
        "dev_chroms": [], "test_chroms": [], "exclude_chroms": ["chrM"], "dev_fraction": 0.1, "test_fraction": 0.25,
        "seed": 5,
    }  # fmt: skip


def test_quiet_says_nothing(train, asked):
    outcome = train("--csv", "train.csv", "-q")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")


def test_many_classes_are_not_all_listed(train, asked, tmp_path):
    write_csv(tmp_path / "many.csv", [f"class{k}" for k in range(300)] * 2, seed=7)
    outcome = train("--csv", tmp_path / "many.csv")
    assert outcome.err.startswith("classes: class0, class1, ")
    assert " ... (300 in all)\ntrain: 300 sequences\ndev: 300 sequences\n" in outcome.err


def test_what_may_be_wrong_with_the_data_is_said_before_the_training(train, asked, data, tmp_path):
    leaky = tmp_path / "leaky.csv"
    leaky.write_text("\n".join((data / "train.csv").read_text().splitlines()[:9]) + "\n")
    outcome = train("--csv", "train.csv", "--dev-csv", leaky)
    warning, _, rest = outcome.err.partition("\n")
    assert warning.startswith("gexplain: warning: 8 of 8 sequences of dev are in train too")
    assert rest.startswith("classes: ")


# ---- odd sizes ----


def test_one_batch_that_is_larger_than_the_data_is_one_step(train, tmp_path):
    outcome = train("--csv", "train.csv", "--arch", "cnn", "--epochs", "0.01", "-b", "500", "--evaluate-every", "900")
    assert outcome.code == 0, outcome.err
    report = report_of(tmp_path / "model")
    assert (report["training"]["steps"], report["training"]["evaluate_every"], report["best_step"]) == (1, 1, 1)
    assert [line["step"] for line in report["history"]] == [1]


def test_the_last_step_is_looked_at_and_no_step_is_added(train, tmp_path):
    outcome = train("--csv", "train.csv", *CNN, "-b", "18", "--evaluate-every", "4", "--patience", "0")
    assert outcome.code == 0, outcome.err
    report = report_of(tmp_path / "model")
    assert report["training"]["steps"] == report["training"]["steps_done"] == 5  # 90 sequences
    assert [line["step"] for line in report["history"] if line["dev"]] == [4, 5]


def test_a_handful_of_sequences_of_very_different_lengths(train, tmp_path):
    rng = np.random.default_rng(8)
    rows = [
        f"{dna(rng, width).lower()}NRY,{label}\n" for width, label in zip((10, 700, 30, 12, 90), "abbab", strict=True)
    ]
    (tmp_path / "few.csv").write_text("sequence,label\n" + "".join(rows))
    outcome = train("--csv", tmp_path / "few.csv", *SMALL, "--epochs", "2", "-b", "2")
    assert outcome.code == 0, outcome.err
    assert report_of(tmp_path / "model")["dev"]["n"] == 2


@pytest.mark.parametrize("metric", ["loss", "accuracy", "mcc"])
def test_the_kept_step_is_the_first_of_the_best_by_the_metric(train, tmp_path, metric):
    outcome = train("--csv", "train.csv", "--dev-csv", "dev.csv", *CNN, "--evaluate-every", "1", "--metric", metric)
    assert outcome.code == 0, outcome.err
    report = report_of(tmp_path / "model")
    seen = {line["step"]: line["dev"][metric] for line in report["history"]}
    best = min(seen.values()) if metric == "loss" else max(seen.values())
    assert len(seen) == 4
    assert report["best_step"] == min(step for step, value in seen.items() if value == best)


# ---- a stop in the middle ----


# A shell may have told its children to ignore Ctrl-C. The vocabulary is that of the tests in this process.
INTERRUPTIBLE = """
import signal
from gexplain.training import finetune
finetune._VOCABULARY_SEQUENCES = 200
signal.signal(signal.SIGINT, signal.default_int_handler)
from gexplain_cli.main import main
main()
"""


def stop_after(words: list[str], folder: Path, step: int, how: signal.Signals) -> tuple[int, str]:
    """The command in a process of its own, sent a signal once a checkpoint of this step or a later one is whole."""
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, *words],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )

    def reached() -> bool:
        states = folder.glob(".training/steps/checkpoint-*/trainer_state.json")
        return any(int(path.parent.name.rpartition("-")[2]) >= step for path in states)

    give_up = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < give_up and not reached():
        time.sleep(0.01)
    process.send_signal(how)
    _, said = process.communicate(timeout=300)
    return process.returncode, said


def test_a_training_goes_on_after_a_kill_and_after_ctrl_c_as_if_it_never_stopped(run, data, tmp_path, monkeypatch):
    monkeypatch.chdir(data)
    options = [*SMALL, "--epochs", "6", "-b", "30", "--evaluate-every", "1", "--patience", "0"]
    options += ["--negatives", "dinuc-shuffle", "--paste", "0.3", "--paste-width", "12", "--crop", "3"]
    assert run("train", "--csv", "train.csv", *options, "-o", tmp_path / "whole").code == 0
    words = ["train", "--csv", "train.csv", *options, "-o", str(tmp_path / "stopped")]

    code, _ = stop_after(words, tmp_path / "stopped", 4, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not (tmp_path / "stopped" / "metrics.json").exists()

    code, said = stop_after([*words, "--force"], tmp_path / "stopped", 20, signal.SIGINT)
    assert code == 130
    hint = f"to go on, the same command again: gexplain {' '.join(words)}"
    assert said.endswith(f"gexplain: error: interrupted\n    fix: {hint}\n")  # --force would discard what is done
    assert "Traceback" not in said

    other = run(*words, "--seed", "1")
    assert other.code == 2
    assert "holds an unfinished training with another" in other.err
    assert run(*words).code == 0
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))
    whole, stopped = report_of(tmp_path / "whole"), report_of(tmp_path / "stopped")
    assert stopped["history"] == whole["history"]
    assert stopped["dev"] == whole["dev"]


# ---- bad input, before torch is loaded ----

BED, CSV, CLASSES = ("truth.bed", "genome.fa"), ("--csv", "train.csv"), ("--class", "Reb1=reb1.bed")

# What is asked; the exit code; what the error names; the mend.
REFUSED: dict[str, tuple[tuple[str, ...], int, tuple[str, ...], str]] = {
    # classes
    "unknown label": ((*BED, "--labels", "CTCF,Abf1"), 3, ("truth.bed", "'Abf1'", "CTCF, FOXA1, GABPA"), "labels"),
    "label in lower case": ((*BED, "--labels", "ctcf,USF1"), 3, ("'ctcf'",), "did you mean CTCF?"),
    "label twice": ((*BED, "--labels", "CTCF,CTCF"), 2, ("--labels names 'CTCF' twice",), "once"),
    "one label kept": ((*BED, "--labels", "CTCF"), 3, ("--labels leaves one class only, 'CTCF'",), "--negatives"),
    "one class": (("peaks.bed", "genome.fa"), 3, ("peaks.bed has one class only, 'Reb1'",), "--negatives"),
    "one class of a CSV": (("--csv", "plain_only.csv"), 3, ("one class only, 'plain'",), "--negatives"),
    "one --class": ((*CLASSES, "genome.fa"), 3, ("one class only, 'Reb1'",), "--negatives dinuc-shuffle"),
    "a class in dev alone": (
        (*CSV, "--dev-csv", "other_classes.csv"), 3,
        ("line 4 of other_classes.csv", "'promoter' is not in train, which has plain, site"), "as train does",
    ),
    "a class in test alone": ((*CSV, "--test-csv", "other_classes.csv"), 3, ("'promoter' is not in train",), "train"),
    "a class that dev lacks": ((*CSV, "--dev-csv", "plain_only.csv"), 3, ("'site' has no example in dev",), "files"),
    "too few to split": (("--csv", "single.csv"), 3, ("class 'site' has 1 distinct sequence; 2 are",), "--labels"),
    "names for labels": (("names.bed", "genome.fa"), 3, ("'peak_1'", "8 classes have as few"), "names of single"),
    "no class on the dev chromosomes": ((*BED, "--dev-chroms", "chrM"), 3, ("no example in dev",), "chromosomes"),
    # regions
    "past the end": (
        ("past.bed", "genome.fa"), 3,
        ("line 2 of past.bed", "120,050, past the end of chr1 (120,000 bases in genome.fa)"), "assembly",
    ),
    "empty region": (("empty_region.bed", "genome.fa"), 3, ("line 2 of empty_region.bed", "empty region"), "start"),
    "strange chromosome": (
        ("strange_chrom.bed", "genome.fa"), 3, ("line 2", "'chr7'", "genome.fa"), "--exclude-chroms chr7",
    ),
    "chromosome names": (("ensembl.bed", "genome.fa"), 3, ("none of the 2", "1, 2"), "--chrom-alias chr"),
    "malformed line": (("backwards.bed", "genome.fa"), 3, ("line 1 of backwards.bed", "greater than end"), "swap"),
    "empty BED": (("empty.bed", "genome.fa"), 3, ("empty.bed has no regions",), "leave an empty BED out"),
    "empty class": ((*CLASSES, "--class", "Rap1=empty.bed", "genome.fa"), 3, ("empty.bed has no regions",), "leave"),
    "no label column": (("unlabelled.bed", "genome.fa"), 3, ("line 1 of unlabelled.bed", "column 4"), "--label-"),
    "no such column": ((*BED, "--label-column", "9"), 3, ("line 1 of truth.bed", "column 9"), "--label"),
    "no such chromosome": ((*BED, "--dev-chroms", "chr22"), 3, ("--dev-chroms 'chr22' matches no",), "did you mean"),
    "chromosome twice": ((*BED, "--dev-chroms", "chr2", "--test-chroms", "chr*"), 3, ("chromosome chr2",), "leave"),
    "all excluded": ((*BED, "--exclude-chroms", "*"), 3, ("all 200 regions",), "--exclude-chroms"),
    "window too wide": ((*BED, "--window", "200000"), 3, ("chr1 has 120,000 bases",), "--window"),
    "missing BED": (("none.bed", "genome.fa"), 3, ("cannot read none.bed: no such file",), "path"),
    "missing FASTA": (("truth.bed", "none.fa"), 3, ("cannot read none.fa: no such file",), "path"),
    "swapped": (("genome.fa", "truth.bed"), 3, ("truth.bed is not a FASTA",), "are the arguments swapped?"),
    # sequences
    "other columns": (("--csv", "columns.csv"), 3, ("columns.csv", "'seq,class'", "sequence,label"), "name them"),
    "no header": (("--csv", "no_header.csv"), 3, ("no_header.csv has other columns",), "it has no header"),
    "empty CSV": (("--csv", "empty.csv"), 3, ("empty.csv is empty",), "sequence,label"),
    "header only": (("--csv", "header_only.csv"), 3, ("no rows below its header",), "give sequences"),
    "protein": (("--csv", "protein.csv"), 3, ("line 3 of protein.csv", "'L'", "base 4"), "nucleotides"),
    "RNA": (("--csv", "rna.csv"), 3, ("line 3 of rna.csv", "'U'"), "write T for U"),
    "no label": (("--csv", "no_label.csv"), 3, ("line 102 of no_label.csv has no label",), "every sequence"),
    "missing CSV": (("--csv", "none.csv"), 3, ("cannot read none.csv: no such file",), "path"),
    "missing dev": ((*CSV, "--dev-csv", "none.csv"), 3, ("cannot read none.csv",), "path"),
    "FASTA for a CSV": (("--csv", "genome.fa"), 3, ("genome.fa looks like a FASTA, not a CSV",), "sequence,label"),
    "BED for a CSV": (("--csv", "truth.bed"), 3, ("truth.bed has other columns",), "looks like a BED"),
    # options that do not go together
    "nothing": ((), 2, ("expected REGIONS and GENOME, found nothing",), "--csv"),
    "no FASTA": (("truth.bed",), 2, ("found truth.bed",), "sites.bed genome.fa"),
    "too many files": ((*BED, "decoys.bed"), 2, ("found truth.bed genome.fa decoys.bed",), "sites.bed"),
    "REGIONS and --class": ((*CLASSES, *BED), 2, ("GENOME alone, beside --class",), "--class Reb1=reb1.bed"),
    "--class twice": ((*CLASSES, "--class", "Reb1=rap1.bed", "genome.fa"), 2, ("'Reb1' is given twice",), "Rap1"),
    "--class without =": (("--class", "reb1.bed", "genome.fa"), 2, ("expected NAME=BED",), "--class Reb1=reb1.bed"),
    "--class without a name": (("--class", "=reb1.bed", "genome.fa"), 2, ("expected NAME=BED",), "Reb1=reb1.bed"),
    "--csv and --class": ((*CSV, *CLASSES), 2, ("--csv and --class",), "or regions"),
    "--csv and REGIONS": ((*CSV, *BED), 2, ("--csv and truth.bed genome.fa",), "GENOME only for"),
    "--csv and an idle FASTA": ((*CSV, "genome.fa"), 2, ("genome.fa is not used",), "--negatives random-genome"),
    "random-genome without a FASTA": ((*CSV, "--negatives", "random-genome"), 2, ("need the FASTA",), "FASTA"),
    "BED negatives of a CSV": ((*CSV, "--negatives", "decoys.bed"), 2, ("'decoys.bed' with a CSV",), "background"),
    "unknown negatives": ((*BED, "--negatives", "shuffle"), 2, ("unknown negatives 'shuffle'",), "name or path"),
    "negatives twice": ((*BED, *["--negatives", "dinuc-shuffle"] * 2), 2, ("asked for twice",), "once"),
    "chromosomes of a CSV": ((*CSV, "--dev-chroms", "chr1"), 2, ("no chromosomes to split by",), "fractions"),
    "excluded of a CSV": ((*CSV, "--exclude-chroms", "chr1"), 2, ("no chromosomes to exclude",), "--exclude-chroms"),
    "--dev-csv alone": ((*BED, "--dev-csv", "dev.csv"), 2, ("--dev-csv without --csv",), "--csv"),
    "--test-csv alone": ((*BED, "--test-csv", "dev.csv"), 2, ("--test-csv without --csv",), "--csv"),
    "test twice": ((*BED, "--test-chroms", "chr2", "--test-fraction", "0.1"), 2, ("chromosomes and as a fr",), "or"),
    "shares of all": ((*CSV, "--dev-fraction", "0.6", "--test-fraction", "0.4"), 2, ("leave something",), "0.1"),
    "--lora without --init": ((*CSV, "--lora", "4"), 2, ("--lora: LoRA adapts a trained model",), "--init"),
    "--init and --tokenizer": ((*CSV, "--init", "m", "--tokenizer", "t"), 2, ("its own tokenizer",), "--tokenizer"),
    "heads": ((*CSV, "--width", "10", "--heads", "3"), 2, ("width 10, 3 heads", "divide"), "--width 192 --heads 6"),
    "vocabulary": ((*CSV, "--vocabulary", "5"), 2, ("vocabulary of 5",), "4096"),
    "-o empty": ((*CSV, "-o", ""), 2, ("-o is empty",), "shell variable"),
    # numbers
    "window too narrow": ((*BED, "--window", "5"), 2, ("--window 5: expected at least 10",), "128"),
    "jitter too wide": ((*BED, "--jitter", "100"), 2, ("--jitter 100", "64"), "middle of its region"),
    "no epochs": ((*CSV, "--epochs", "0"), 2, ("--epochs 0.0",), "default"),
    "epochs without an end": ((*CSV, "--epochs", "inf"), 2, ("--epochs inf",), "default"),
    "learning rate": ((*CSV, "--learning-rate", "nan"), 2, ("--learning-rate nan",), "default"),
    "dropout": ((*CSV, "--dropout", "1"), 2, ("--dropout 1.0; expected a share below 1",), "default"),
    "bpe dropout": ((*CSV, "--bpe-dropout", "1"), 2, ("--bpe-dropout 1.0",), "0 leaves it out"),
    "paste": ((*CSV, "--paste", "2"), 2, ("--paste 2.0; expected a share",), "0 leaves it out"),
    "seed": ((*CSV, "--seed", "4294967296"), 2, ("--seed 4294967296",), "number"),
    # what does not go with a CNN
    **{
        f"cnn and {option}": ((*CSV, "--arch", "cnn", option, "3"), 2, (f"{option} does not go with a CNN",), "leave")
        for option in ("--init", "--tokenizer", "--lora", "--pretrain-steps")
    },
    "cnn and --bpe-dropout": ((*CSV, "--arch", "cnn", "--bpe-dropout", "0.1"), 2, ("reads bases",), "leave"),
    # what would be passed over silently
    **{
        f"{option} {beside[-2]}": ((*CSV, *beside, option, "3"), 2, (f"{option} is for ",), f"drop {option}")
        for option, beside in (
            ("--window", CSV), ("--jitter", CSV), ("--label-column", CSV), ("--layers", ("--arch", "cnn")),
            ("--vocabulary", ("--arch", "cnn")), ("--width", ("--init", "m")), ("--vocabulary", ("--tokenizer", "t")),
            ("--negatives-per-positive", CSV), ("--paste-width", CSV),
        )
    },
    "--dev-fraction --dev-csv": (
        (*CSV, "--dev-csv", "dev.csv", "--dev-fraction", "0.2"), 2, ("--dev-fraction is for",), "drop --dev-fraction",
    ),
    "--dev-fraction --dev-chroms": (
        (*BED, "--dev-chroms", "chr2", "--dev-fraction", "0.2"), 2, ("--dev-fraction is for",), "drop --dev-fraction",
    ),
    "--label-column --class": (
        (*CLASSES, "--class", "Rap1=rap1.bed", "genome.fa", "--label-column", "5"), 2,
        ("--label-column is for ",), "drop --label-column",
    ),
    "--lora-alpha alone": ((*CSV, "--lora-alpha", "3"), 2, ("--lora-alpha without --lora",), "--lora 8"),
}  # fmt: skip

# One process for all of them: its imports are what costs.
DRIVER = """
import contextlib, io, json, sys
from gexplain_cli.main import main
told = []
for words in json.load(sys.stdin):
    sys.argv = ["gexplain", "train", *words]
    out, err, code = io.StringIO(), io.StringIO(), None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as left:
            code = left.code
        except BaseException as error:
            print(repr(error), file=sys.stderr)
    told.append([code, out.getvalue(), err.getvalue(), "torch" in sys.modules])
json.dump(told, sys.stdout)
"""


@pytest.fixture(scope="module")
def refusals(data) -> dict[str, tuple[int | None, str, str, bool]]:
    """Exit code, standard output, standard error and whether torch is loaded, after each command of REFUSED."""
    commands = [["-o", "model", *words] for words, *_ in REFUSED.values()]
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        cwd=data,
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONUTF8": "1"},
    )
    return {name: tuple(one) for name, one in zip(REFUSED, json.loads(done.stdout), strict=True)}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_one_clear_error_before_torch_is_loaded(refusals, name):
    _, code, parts, mend = REFUSED[name]
    found, out, message, has_torch = refusals[name]
    assert (found, out) == (code, ""), message
    assert message.startswith("gexplain: error: "), message
    assert message.count("gexplain: ") == 1, message
    head, _, fix = message.partition("\n    fix: ")
    for part in parts:
        assert part in head, message
    assert mend in fix, message
    assert not has_torch, message


def test_bad_input_leaves_no_folder(refusals, data):
    assert not (data / "model").exists()


# ---- bad input that only a loaded torch can tell ----


@pytest.mark.parametrize(
    ("options", "code", "told", "mend"),
    [
        (("--init", "./none"), 3, "./none: no such folder", "give a folder"),
        (("--init", "none"), 3, "none: no such folder, and no model of that name", "give a folder"),
        (("--init", "thesis"), 3, "thesis: no weights; found chapter.txt", "folder"),
        (("--tokenizer", "none.json"), 3, "none.json: no such tokenizer file", "tokenizer.json"),
        (("--tokenizer", "tokenizer.json"), 3, "tokenizer.json: not a tokenizer.json", "copy it again"),
        (("--device", "tpu"), 2, "device 'tpu'; training runs on cpu or cuda", "CUDA_VISIBLE_DEVICES"),
        (("--crop", "16"), 2, "--crop 16: 16 bases off each end of the shortest", "at most --crop 15"),
        (("--paste", "0.5"), 2, "--paste needs random background", "--negatives dinuc-shuffle"),
    ],
)
def test_what_cannot_be_started_from_leaves_no_folder(train, tmp_path, options, code, told, mend):
    outcome = train("--csv", "train.csv", *options)
    assert (outcome.code, outcome.out) == (code, "")
    message = outcome.err[outcome.err.index("gexplain: error: ") :]
    assert told in message.partition("\n    fix: ")[0]
    assert mend in message.partition("\n    fix: ")[2]
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("output", "told", "mend"),
    [
        ("thesis", "thesis holds what is not of a training: chapter.txt", "give another -o"),
        ("train.csv", "cannot write to train.csv: not a directory", "give another -o"),
        ("train.csv/model", "cannot write to train.csv/model: not a directory", "give another -o"),
    ],
)
@pytest.mark.parametrize("force", [(), ("--force",)])
def test_an_output_that_cannot_be_one_is_refused(train, data, output, told, mend, force):
    before = (data / "train.csv").read_text(), (data / "thesis" / "chapter.txt").read_text()
    outcome = train("--csv", "train.csv", *force, output=output)
    assert outcome.code == 2
    assert told in outcome.err
    assert mend in outcome.err.partition("\n    fix: ")[2]
    assert ((data / "train.csv").read_text(), (data / "thesis" / "chapter.txt").read_text()) == before


def test_a_model_is_not_replaced_unless_forced_and_never_by_what_is_made_of_it(train, trained):
    folder, _ = trained
    before = weights(folder)
    outcome = train("--csv", "train.csv", output=folder)
    assert outcome.code == 2
    assert "is not empty: README.md, config.json" in outcome.err
    assert "--force replaces the model there" in outcome.err
    for init in (folder, folder / "model.safetensors"):
        outcome = train("--csv", "train.csv", "--init", init, "--force", output=folder)
        assert outcome.code == 2
        assert "-o would write into its folder" in outcome.err
    assert equal(weights(folder), before)


# ---- real data ----


def matthews(truth: np.ndarray, told: np.ndarray) -> float:
    """MCC of two classes, by its definition."""
    both = [(a, b) for a in (1, 0) for b in (1, 0)]
    tp, fn, fp, tn = (int(((truth == a) & (told == b)).sum()) for a, b in both)
    below = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return (tp * tn - fp * fn) / below if below else 0.0


@needs_shared
@pytest.mark.parametrize(
    ("name", "n_dev", "options"),
    [
        ("mouse/3", 239, ("--arch", "cnn", "--epochs", "0.6", "-b", "64", "--learning-rate", "0.003")),
        ("prom_300_tata", 613, (*SMALL, "--epochs", "0.05", "-b", "64")),
    ],
)
def test_gue_trains_from_its_csv_and_tells_the_mcc_of_the_weights_written(train, tmp_path, name, n_dev, options):
    dev = GUE / name / "dev.csv"
    outcome = train("--csv", GUE / name / "train.csv", "--dev-csv", dev, *options, "--evaluate-every", "9")
    assert outcome.code == 0, outcome.err
    rows = [line.split(",") for line in dev.read_text().split()[1:]]
    model = gexplain.load_model(tmp_path / "model")
    told = model.predict([sequence for sequence, _ in rows]).argmax(1)
    figures = report_of(tmp_path / "model")["dev"]
    assert figures["n"] == len(rows) == n_dev
    assert figures["mcc"] == pytest.approx(matthews(np.array([int(label) for _, label in rows]), told))
    assert f"dev: {n_dev} sequences, accuracy {figures['accuracy']:.3f}, MCC {figures['mcc']:.3f}" in outcome.err
