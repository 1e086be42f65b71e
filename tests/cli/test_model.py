"""`gexplain model`: what a checkpoint is, and whether it works."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def checkpoint(tmp_path, test_data) -> Path:
    """A copy of the tiny checkpoint, to be broken."""
    return Path(shutil.copytree(test_data / "tiny_checkpoint", tmp_path / "checkpoint"))


def test_it_says_what_the_checkpoint_is(run, checkpoint):
    outcome = run("model", checkpoint, "--no-test")
    told = dict(line.split(maxsplit=1) for line in outcome.out.splitlines())
    assert told.keys() == {"model", "architecture", "parameters", "classes", "tokenizer", "window", "sha256"}
    assert told["model"] == f"{checkpoint} (safetensors)"
    assert told["architecture"] == "DNABERT-2: 2 layers, width 32, 4 heads, GLU width 64"
    assert told["classes"] == "background, promoter, enhancer (classification)"
    assert told["window"] == "128 bases"
    assert told["parameters"] == "30,531"


def test_it_says_where_no_window_is_recorded(run, checkpoint):
    config = json.loads((checkpoint / "config.json").read_text())
    del config["gexplain_window"]
    (checkpoint / "config.json").write_text(json.dumps(config))
    assert "window        not recorded (512 bases by default)\n" in run("model", checkpoint, "--no-test").out


def test_a_sound_checkpoint_passes_its_self_test(run, checkpoint):
    outcome = run("model", checkpoint)
    assert (outcome.code, outcome.err) == (0, "")
    checks = [line for line in outcome.out.splitlines() if line.startswith(("  ok", "  FAIL"))]
    assert len(checks) == 5
    assert all(line.startswith("  ok ") for line in checks)


def test_the_ledger_that_it_prints_adds_up_to_the_logit(run, checkpoint):
    lines = run("model", checkpoint).out.partition("where the logit of 'background' goes")[2].splitlines()[1:]
    *amounts, logit = [float(line.split(maxsplit=1)[0]) for line in lines]
    assert lines[-1].endswith("the logit")
    assert sum(amounts) == pytest.approx(logit, abs=1e-4)


def test_it_says_what_a_cnn_is_and_tests_it(run, cnn_dir):
    outcome = run("model", cnn_dir)
    assert (outcome.code, outcome.err) == (0, "")
    about, _, tested = outcome.out.partition("\nself-test")
    told = dict(line.split(maxsplit=1) for line in about.splitlines())
    assert told.keys() == {"model", "architecture", "parameters", "classes", "window", "sha256"}
    assert told["architecture"] == "CNN: 12 filters of 7 bases, 5 hidden units"
    assert told["parameters"] == f"{12 * 4 * 7 + 12 + 12 * 5 + 5 + 5 * 3 + 3:,}"
    assert told["window"] == "64 bases"
    checks = [line for line in tested.splitlines() if line.startswith(("  ok", "  FAIL"))]
    assert len(checks) == 3
    assert all(line.startswith("  ok ") for line in checks)
    lines = tested.partition("where the logit of 'none' goes")[2].splitlines()[1:]
    bases, unknown, logit = (float(line.split(maxsplit=1)[0]) for line in lines)
    assert bases + unknown == pytest.approx(logit, abs=1e-4)


def test_a_failed_law_is_shown_and_exits_3(run, checkpoint, monkeypatch):
    from gexplain.attribution import selftest

    failed = selftest.SelfTest([selftest.Check("the ledger closes", 0.5, 1e-10)], {"words": 1.0})
    monkeypatch.setattr(selftest, "self_test", lambda _: failed)
    outcome = run("model", checkpoint)
    assert outcome.code == 3
    assert "  FAIL  5.0e-01  the ledger closes\n" in outcome.out
    assert "the self-test failed; its relevance cannot be trusted\n    fix: report it" in outcome.err


def _truncate(checkpoint: Path) -> None:
    os.truncate(checkpoint / "model.safetensors", 1000)


def _forget_tokenizer(checkpoint: Path) -> None:
    (checkpoint / "tokenizer.json").unlink()


def _contradict_config(checkpoint: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"num_attention_heads": 5}))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (_truncate, "damaged safetensors file"),
        (_forget_tokenizer, "no tokenizer.json"),
        (_contradict_config, "num_attention_heads 5; expected a divisor of 32"),
        (shutil.rmtree, "no such folder"),
    ],
)
def test_a_broken_checkpoint_exits_3_with_its_mend(run, checkpoint, damage, told):
    damage(checkpoint)
    outcome = run("model", checkpoint)
    assert (outcome.code, outcome.out) == (3, "")
    assert outcome.err.startswith(f"gexplain: error: {checkpoint}")
    assert told in outcome.err.partition("    fix: ")[0]
    assert "    fix: " in outcome.err


def test_an_unknown_device_is_a_usage_error(run, checkpoint):
    outcome = run("model", checkpoint, "-d", "tpu9")
    assert (outcome.code, outcome.err.splitlines()[0]) == (2, "gexplain: error: no device 'tpu9'")


# ---- bundled models ----


def test_a_bundled_model_is_called_by_its_name(run, zoo):
    told = run("model", "human-tf", "--no-test").out
    assert "model         human-tf (safetensors)\n" in told
    assert "classes       background, CTCF, FOXA1, GABPA, REST, USF1 (classification)\n" in told


def test_without_a_model_it_lists_the_bundled_ones(run, zoo):
    outcome = run("model")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines() == [
        "human-tf      DNABERT-2; background, CTCF, FOXA1, GABPA, REST, USF1; windows of 101 bases; the default",
        "yeast-tf-cnn  CNN; background, Reb1; windows of 64 bases",
    ]


def test_the_list_has_the_test_figures_that_are_recorded(run, zoo):
    figures = {"n": 9, "accuracy": 0.91049, "mcc": 0.8, "mean_auroc": 0.987}
    (zoo / "yeast-tf-cnn" / "metrics.json").write_text(json.dumps({"dev": {"accuracy": 1.0}, "test": figures}))
    (zoo / "human-tf" / "metrics.json").write_text(json.dumps({"dev": {"accuracy": 1.0}, "test": None}))
    human, yeast = run("model").out.splitlines()
    assert yeast.endswith("; test accuracy 0.910, mean AUROC 0.987")
    assert "test" not in human


def test_without_any_bundled_model_there_is_nothing_to_list(run, zoo):
    shutil.rmtree(zoo)
    outcome = run("model")
    assert (outcome.code, outcome.out) == (3, "")
    assert outcome.err.startswith("gexplain: error: no model is bundled with this installation\n    fix: name a")


def test_listing_loads_no_torch():
    code = "import sys; from gexplain_cli import main; sys.argv = ['gexplain', 'model']\ntry: main()\n"
    code += "except SystemExit: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


# ---- the group ----


def test_the_group_lists_its_commands(run):
    lines = run("--help").out.partition("Commands:\n")[2].split("\n")
    assert [line.split()[0] for line in lines if line] == [
        "score",
        "check",
        "report",
        "view",
        "plot",
        "merge",
        "workflow",
        "seqlets",
        "hits",
        "evaluate",
        "train",
        "model",
        "export",
        "demo",
    ]


@pytest.mark.parametrize(
    "arguments", [("nope",), ("score",), ("model", "x", "--nope"), ("score", "a", "b", "-m", "c")]
)
def test_a_wrong_call_exits_2(run, arguments):
    outcome = run(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert "Error: " in outcome.err
