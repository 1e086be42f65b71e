"""The report of a training: what is written, and that the card says what the report says."""

from __future__ import annotations

import json
import math
import re
from copy import deepcopy
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard

import gexplain
from gexplain.errors import RunError
from gexplain.training.batches import Augmentation
from gexplain.training.card import model_card, write_report
from gexplain.training.metrics import evaluate_logits
from gexplain.training.settings import TrainSettings

LABELS = ("background", "Reb1", "Rap1")
SHA256 = {"sites.bed": "ab" * 32, "genome.fa": "cd" * 32}


def figures_of(seed: int, n: int = 600, labels: tuple[str, ...] = LABELS) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    classes = np.arange(n) % len(labels)
    return evaluate_logits(
        rng.normal(size=(n, len(labels))) + np.eye(len(labels))[classes], classes, labels
    ).as_dict()


def report_of(**changes: Any) -> dict[str, Any]:
    """The report of a training on a BED with every kind of negatives, as `train` makes it.

    changes: "part__key" to a value, or a part's name to all of it.
    """
    settings = asdict(TrainSettings(seed=7, augmentation=Augmentation(paste=0.3)))
    report: dict[str, Any] = {
        "gexplain": "9.8.7",
        "model": {
            "arch": "dnabert2",
            "labels": list(LABELS),
            "window": 128,
            "parameters": 2_345_678,
            "trained_parameters": 2_345_678,
            "saved_dtype": "float16",
            "sizes": {
                "n_layers": 4, "hidden_size": 192, "n_heads": 6, "intermediate_size": 384, "vocab_size": 4096,
            },
            "started_from": {"weights": "random", "seed": 7},
        },
        "data": {
            "format": "bed",
            "files": [
                {"file": name, "sha256": sha256, "role": role}
                for (name, sha256), role in zip(SHA256.items(), ("labels", "genome"), strict=True)
            ],
            "left_out": 12,
            "window": 128,
            "jitter": 10,
            "split": {
                "dev_chroms": [], "test_chroms": ["chrIV", "chrXVI"], "exclude_chroms": ["chrM"],
                "dev_fraction": 0.1, "test_fraction": 0.0, "seed": 7,
            },
            "labels": list(LABELS),
            "counts": {
                "train": {"background": 0, "Reb1": 1801, "Rap1": 902},
                "dev": {"background": 200, "Reb1": 201, "Rap1": 203},
                "test": {"background": 300, "Reb1": 301, "Rap1": 304},
            },
            "negatives": {
                "sources": ["dinuc-shuffle", "random-genome", "unbound.bed"], "per_positive": 1.5, "per_epoch": 4054,
            },
        },
        "training": {
            **settings,
            "steps": 2000, "steps_done": 1500, "batch_size": 64, "learning_rate": 0.002, "evaluate_every": 100,
            "examples_seen": 96_000, "epoch_size": 6757, "pretraining": None,
        },
        "dev": figures_of(0),
        "test": figures_of(1),
        "history": [
            {
                "step": step, "examples": 64 * step, "loss": 1 / step, "learning_rate": 0.002,
                "dev": {"loss": 1 / step, "accuracy": 0.8, "mcc": 0.7, "auroc": 0.9},
            }
            for step in (500, 1000, 1500)
        ],
        "best_step": 1000,
    }  # fmt: skip
    for path, value in changes.items():
        *parents, key = path.split("__")
        part = report
        for parent in parents:
            part = part[parent]
        part[key] = value
    return report


def card_of(**changes: Any) -> str:
    return model_card(report_of(**changes), "yeast-tf")


def section(card: str, title: str) -> str:
    return card.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def rows_of(text: str) -> list[list[str]]:
    """The cells of every row of every table."""
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in text.splitlines() if line[:1] == "|"
    ]


# ---- What is written ----


def test_the_three_files_are_written_and_nothing_else(tmp_path):
    report = report_of()
    write_report(tmp_path, report)
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.json", "README.md", "learning_curve.png"}
    assert json.loads((tmp_path / "metrics.json").read_text()) == report
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == model_card(report, tmp_path.name)
    assert (tmp_path / "learning_curve.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    "changes", [{"dev__accuracy": math.nan}, {"training__learning_rate": math.inf}, {"data__label_column": object()}]
)
def test_a_report_that_json_cannot_hold_is_refused_and_the_old_one_stays(tmp_path, changes):
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises((ValueError, TypeError)):
        write_report(tmp_path, report_of(**changes))
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]
    assert (tmp_path / "metrics.json").read_text() == "{}"


def test_a_curve_that_cannot_be_drawn_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="no loss"):
        write_report(tmp_path, report_of(history=[]))
    assert not list(tmp_path.iterdir())


def test_a_directory_that_cannot_be_written_to_is_an_error_with_its_mend(tmp_path):
    (tmp_path / "README.md").mkdir()
    with pytest.raises(RunError, match="cannot write the report") as caught:
        write_report(tmp_path, report_of())
    assert caught.value.hint
    assert not list(tmp_path.glob("*.tmp"))
    assert not (tmp_path / "metrics.json").exists()


@pytest.mark.parametrize("part", ["model", "test", "best_step"])
def test_a_report_without_a_part_is_refused(part):
    report = report_of()
    del report[part]
    with pytest.raises(ValueError, match=f"no {part}"):
        model_card(report, "yeast-tf")


# ---- The card ----


def test_front_matter_is_read_by_the_hub_and_leaves_the_licence_open():
    read = ModelCard(card_of()).data.to_dict()
    assert read == {
        "library_name": "gexplain",
        "tags": ["gexplain", "biology", "genomics", "dna", "dnabert2"],
        "metrics": ["accuracy", "matthews_correlation", "roc_auc"],
    }


def test_model_says_what_it_is():
    model = dict(rows_of(section(card_of(), "Model"))[2:])
    assert model["sizes"] == "4 layers, width 192, 6 heads, MLP width 384, 4,096 BPE tokens"
    assert (model["parameters"], model["weights saved as"]) == ("2,345,678", "float16")
    assert model["started from"] == "random weights (seed 7)"
    assert model["classes, in logit order"] == "background, Reb1, Rap1"


def test_a_cnn_says_that_it_is_one():
    card = card_of(model__arch="cnn", model__sizes={"n_filters": 256, "filter_width": 19, "hidden": 64})
    assert "256 filters of 19 bases, 64 hidden values" in section(card, "Model")
    assert "DNABERT" not in card
    assert "- cnn\n" in card


def test_a_fine_tuned_model_names_its_base_but_no_folder_of_the_machine():
    base = {"sha256": "ef" * 32, "started_at_random": ["classifier.weight"]}
    hub = card_of(model__started_from={"weights": "zhihan1996/DNABERT-2-117M", **base})
    local = card_of(model__started_from={"weights": "/home/me/models/base", **base})
    assert f"zhihan1996/DNABERT-2-117M (sha256 `{'ef' * 32}`); at random: classifier.weight" in hub
    assert f"| base (sha256 `{'ef' * 32}`)" in local
    assert "/home" not in local


def test_data_has_every_file_and_count():
    rows = rows_of(section(card_of(), "Data"))
    assert ["labels", "sites.bed", f"`{SHA256['sites.bed']}`"] in rows
    assert ["genome", "genome.fa", f"`{SHA256['genome.fa']}`"] in rows
    assert ["class", "train", "dev", "test"] in rows
    assert ["Reb1", "1,801", "201", "301"] in rows


def test_negatives_are_told_by_source_and_number():
    told = section(card_of(), "Data")
    assert "keep their dinucleotides; random windows of the genome; windows of unbound.bed; 1.5 for each" in told
    assert "4,054 were drawn anew for each epoch" in told
    assert "No negatives were made" in section(card_of(data__negatives=None), "Data")


def test_split_says_where_dev_and_test_are_from():
    assert section(card_of(), "Split").split("\n* ")[1:] == [
        "dev: 10% of the examples on the other chromosomes, drawn by seed 7",
        "test: chromosomes chrIV, chrXVI",
        "used for nothing: chromosomes chrM\n",
    ]
    nothing = {key: [] for key in ("dev_chroms", "test_chroms", "exclude_chroms")}
    split = {**nothing, "dev_fraction": 0.0, "test_fraction": 0.0, "seed": 7}
    files = [{"file": f"{role}.csv", "sha256": "ab" * 32, "role": role} for role in ("train", "dev")]
    told = section(card_of(data__split=split, data__files=files, test=None), "Split")
    assert told.split("\n* ")[1:] == ["dev: a file of its own", "test: none\n"]


def test_training_is_the_recipe():
    told = dict(rows_of(section(card_of(), "Training"))[2:])
    assert told["steps"] == "1,500 of 2,000 (stopped early)"
    assert told["step kept"] == "1,000, by mean AUROC on dev"
    assert told["sequences seen"] == "96,000 (14.2 epochs of 6,757)"
    assert (told["batch"], told["seed"]) == ("64 sequences", "7")
    assert told["learning rate"].startswith("0.002, after 50 steps")
    assert told["augmentation"] == (
        "half of the sequences on the other strand; windows moved by up to 10 bases; 30% of the sequences pasted,"
        " 40 middle bases, into random negatives"
    )
    assert "adapter" not in told
    assert "before that" not in told


def test_training_tells_of_lora_and_pretraining():
    pretraining = {"task": "masked language modelling", "steps": 400, "history": []}
    told = section(card_of(training__lora_rank=8, training__pretraining=pretraining), "Training")
    assert "LoRA of rank 8" in told
    assert "masked language modelling, 400 steps" in told


@pytest.mark.parametrize(
    ("trained", "told"),
    [
        (2_345_678, ""),
        (70_000, "70,000 were trained, with those of the adapter"),
        (2_400_000, "learnt from spelling"),
    ],
)
def test_parameters_beside_those_of_the_model_are_told(trained, told):
    report = report_of()
    report["model"] |= {"parameters": 2_345_678, "trained_parameters": trained}
    line = dict(rows_of(section(model_card(report, "name"), "Model"))[2:])["parameters"]
    assert line.startswith("2,345,678")
    assert told in line
    assert ("trained" in line) == bool(told)


def test_figures_are_those_of_the_report():
    report = report_of()
    rows = rows_of(section(model_card(report, "yeast-tf"), "Figures"))
    for words, figure in (("accuracy", "accuracy"), ("MCC", "mcc"), ("mean AUROC", "mean_auroc")):
        assert [words, f"{report['dev'][figure]:.3f}", f"{report['test'][figure]:.3f}"] in rows
    for split in ("dev", "test"):
        one = report[split]["classes"]["Rap1"]
        low, high = one["auroc_95"]
        cells = [f"{one['auroc']:.3f} ({low:.3f} to {high:.3f})", f"{one['auprc']:.3f}", "0.333"]
        assert ["Rap1", "200", *cells, f"{one['auroc_vs_background']:.3f}"] in rows


def test_a_figure_that_there_is_none_of_is_no_number():
    logits, classes = np.random.default_rng(0).normal(size=(40, 3)), np.repeat([0, 1], 20)
    card = card_of(test=evaluate_logits(logits, classes, LABELS).as_dict())
    assert ["Rap1", "0", "–", "–", "0.000", "–"] in rows_of(section(card, "Figures"))
    assert "Where there is –, metrics.json says why." in card
    assert "* Test has no sequence of Rap1, and its figures say nothing of them." in card
    only = evaluate_logits(logits[:20], classes[:20], LABELS).as_dict()
    assert "| MCC | – | – |" in card_of(dev=only, test=only)


def test_without_a_test_set_there_is_no_column_for_it():
    figures = section(card_of(test=None), "Figures")
    assert ["", "dev"] in rows_of(figures)
    assert "test" not in figures


def test_without_background_nothing_is_compared_with_it():
    figures = figures_of(2, labels=("enhancer", "promoter"))
    card = card_of(dev=figures, test=figures, model__labels=["enhancer", "promoter"])
    assert "against background" not in section(card, "Figures")


# ---- Limits ----


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({}, "A high relevance says what the model used, not what binds."),
        ({}, "It knows its 3 classes and nothing else"),
        ({}, "It was trained on windows of 128 bases; what it says"),
        ({"data__format": "csv"}, "It was trained on windows of up to 128 bases;"),
        ({"training__augmentation": asdict(Augmentation(crop=5))}, "It was trained on windows of up to 128 bases;"),
        ({}, "sites that the files lack may be among them"),
        ({"data__negatives__sources": ["dinuc-shuffle"]}, "Its negatives are shuffles, which no genome has"),
        ({"data__negatives": None}, "Negatives are the data's own, as background;"),
        ({"data__negatives": None, "model__labels": ["a", "b"]}, "no class that is known to be one of negatives"),
        ({}, "the figures to quote are those of test"),
        ({"test": None}, "There is no test set. Dev chose the step that was kept"),
        ({}, "Examples of dev were drawn from those of train"),
        ({"test": figures_of(3, n=90)}, "test rest on few sequences: background (30), Reb1 (30), Rap1 (30)."),
        ({"data__warnings": ["some of dev are in train too"]}, "* Some of dev are in train too."),
    ],
)  # fmt: skip
def test_limits_follow_from_data_and_training(changes, limit):
    assert limit in section(card_of(**changes), "Limits")


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({}, "shuffles, which no genome has"),
        ({"data__negatives__sources": ["dinuc-shuffle"]}, "Random windows"),
        ({"data__split__dev_fraction": 0.0}, "drawn from those of train"),
        ({}, "few sequences"),
        ({"model__window": None}, "trained on windows"),
    ],
)
def test_limits_that_do_not_follow_are_not_told(changes, limit):
    assert limit not in section(card_of(**changes), "Limits")


# ---- Others' words ----


def test_labels_cannot_break_a_table_or_become_markup():
    labels = ("a|b", "<script>", "new\nline")
    figures = figures_of(4, labels=labels)
    counts = {"train": dict.fromkeys(labels, 5)}
    card = card_of(model__labels=list(labels), data__counts=counts, dev=figures, test=figures)
    rows = rows_of(card)
    assert {r"a\|b", r"\<script\>", "new line"} <= {row[0] for row in rows}
    assert {len(row) for row in rows_of(section(card, "Figures").split("### By class, test")[1])} == {5}


def test_data_that_says_little_of_itself_still_has_a_card():
    card = card_of(data={"files": ["made up"]})
    assert ["", "made up", ""] in rows_of(section(card, "Data"))
    assert section(card, "Split").strip() == "Not recorded."
    assert "* used for nothing" not in card


def test_the_example_runs(checkpoint_dir, capsys, monkeypatch):
    monkeypatch.setattr(
        gexplain, "load_model", lambda _, load=gexplain.load_model: load(checkpoint_dir, device="cpu")
    )
    [code] = re.findall(r"```python\n(.*?)```", card_of(), re.DOTALL)
    exec(code, {})
    assert "promoter" in capsys.readouterr().out


def test_a_report_is_not_changed_by_its_card():
    report = report_of()
    before = deepcopy(report)
    model_card(report, "yeast-tf")
    assert report == before
