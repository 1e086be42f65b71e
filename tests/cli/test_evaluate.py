"""`gexplain evaluate`: a thin twin of `gexplain.evaluate`; whatever is wrong with its input is one clear error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny import tiny_cnn

import gexplain
from gexplain.study import evaluation
from gexplain.study.measure import Measurer

LABELS = ("none", "promoter", "enhancer")
SMALL = ("--methods", "deeplift,random", "--metrics", "gini,faithfulness", "--draws", "1", "--shifts", "1")
RESULTS = {*("metrics.tsv", "summary.tsv", "curves.tsv", "cost.tsv", "evaluation.html", "manifest.json", "plots")}

RNG = np.random.default_rng(0)
ROWS = [("".join(RNG.choice(list("ACGT"), 24)), LABELS[row % 3]) for row in range(6)]


def sheet(folder: Path, rows=ROWS, name: str = "test.csv") -> Path:
    path = folder / name
    path.write_text("sequence,label\n" + "".join(f"{sequence},{label}\n" for sequence, label in rows))
    return path


def bed(folder: Path, lines: str, name: str) -> Path:
    path = folder / name
    path.write_text("".join("\t".join(line.split()) + "\n" for line in lines.split(";")))
    return path


@pytest.fixture
def evaluate(run, cnn_dir, tmp_path):
    """`gexplain evaluate` of paths with the tiny CNN, to tmp_path/out."""

    def run_evaluate(*words: object, model: object = cnn_dir, output: object = tmp_path / "out"):
        return run("evaluate", *words, "-m", model, "-o", output, "--device", "cpu")

    return run_evaluate


def assert_one_error(outcome, code: int, told: str) -> None:
    """One message with its mend; no traceback, no warning, nothing on standard output."""
    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.err.startswith("gexplain: error: ")
    assert outcome.err.count("gexplain: ") == 1
    assert "Traceback" not in outcome.err
    assert told in outcome.err, outcome.err
    assert "    fix: " in outcome.err


# ---- what it does ----


def test_the_command_is_its_twin(evaluate, cnn_dir, tmp_path):
    outcome = evaluate(sheet(tmp_path), *SMALL)
    out = tmp_path / "out"
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err.endswith(f"6 sequences measured; open {out / 'evaluation.html'}\n")
    assert {path.name for path in out.iterdir()} == RESULTS
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["command"].startswith(f"gexplain evaluate {tmp_path / 'test.csv'} --methods deeplift,random ")
    settings = gexplain.EvaluateSettings(
        methods=("deeplift", "random"), metrics=("gini", "faithfulness"), draws=1, shifts=1, device="cpu"
    )
    twin = gexplain.evaluate(tmp_path / "test.csv", model=cnn_dir, output=tmp_path / "twin", settings=settings)
    for name in ("metrics.tsv", "summary.tsv", "curves.tsv"):
        assert (twin.path / name).read_bytes() == (out / name).read_bytes()
    assert twin.manifest["settings"] == manifest["settings"]
    again = evaluate(sheet(tmp_path), *SMALL, "-q")  # finished: nothing is left to do, and nothing to say
    assert (again.code, again.out, again.err) == (0, "", "")


def test_warnings_are_told_even_if_quiet(evaluate, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "write_report", lambda folder: [])
    outcome = evaluate(sheet(tmp_path, [*ROWS, ("N" * 20, "none")]), *SMALL, "-q")
    assert outcome.code == 0
    assert outcome.err == "gexplain: warning: 1 sequence left out: more than half of its letters are no base\n"


def test_an_interrupted_evaluation_says_how_to_go_on(evaluate, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Measurer, "measure", interrupt)
        outcome = evaluate(sheet(tmp_path), *SMALL, "--force", "-q")
    assert outcome.code == 130
    assert f"fix: to go on: gexplain evaluate {tmp_path / 'test.csv'} --methods" in outcome.err
    assert "--force" not in outcome.err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {".unfinished"}


# ---- what it refuses ----

USAGE = {
    "one path that is no CSV": (["peaks.bed"], "expected REGIONS and GENOME, or a CSV, found peaks.bed"),
    "three paths": (["a.csv", "b.csv", "c.fa"], "expected REGIONS and GENOME, or a CSV, found a.csv b.csv c.fa"),
    "an unknown method": (["a.csv", "--methods", "attnlpr,ism"], "unknown methods: attnlpr"),
    "an unknown metric": (["a.csv", "--metrics", "gini,delta"], "unknown metrics: delta"),
    "an unknown projection": (["a.csv", "--projections", "mean"], "unknown projections: mean"),
    "an unknown aggregation": (["a.csv", "--aggregations", "median"], "unknown aggregations: median"),
    "a method twice": (["a.csv", "--methods", "ism,ism"], "methods named twice"),
    "no projection": (["a.csv", "--projections", ","], "no projections"),
    "too few costly ones": (["a.csv", "--costly", "3"], "costly 3; expected 0, or at least 5 sequences"),
    "no costly ones": (["a.csv", "--costly", "0", "--metrics", "sanity"], "costly 0 measures no sanity"),
    "localisation without truth": (["a.csv", "--metrics", "localisation"], "localisation without true sites"),
}


@pytest.mark.parametrize(("words", "told"), USAGE.values(), ids=USAGE)
def test_wrong_options_are_one_error(evaluate, tmp_path, words, told):
    assert_one_error(evaluate(*words, model="no-such-model"), 2, told)
    assert not (tmp_path / "out").exists()


def test_an_empty_output_is_told(evaluate):
    assert_one_error(evaluate("a.csv", output=""), 2, "-o is empty")


def test_wrong_options_are_told_before_torch_is_loaded():
    code = f"""
import sys
from gexplain.errors import UsageError
from gexplain_cli.main import cli
for words in {[words for words, _ in USAGE.values()]!r}:
    try:
        cli.main(["evaluate", *words, "-o", "out"], standalone_mode=False)
    except UsageError:
        print("told")
print({{"torch", "transformers", "pandas"}} & {{*sys.modules}} or "light")
"""
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert found == ["told"] * len(USAGE) + ["light"]


LONG = ROWS[0][0]
SHEETS = {
    "RNA": ([*ROWS, (LONG.replace("T", "U"), "none")], "line 8 of {csv} has the letter 'U'", "write T for U"),
    "protein": ([*ROWS, ("MEEPQSDPSVEPPLSQETFSD", "none")], "line 8 of {csv} has the letter 'E'", "give nucleotides"),
    "gaps": ([("ACGT--ACGTAC", "none"), *ROWS], "line 2 of {csv} has the letter '-'", "remove gaps"),
    "too few": (ROWS[:4], "{csv}: 4 sequences; a confidence interval needs at least 5", "give more sequences"),
    "too few that are readable": ([*ROWS[:4], ("N" * 20, "none")], "{csv}: 4 sequences;", "give more sequences"),
    "no rows": ([], "{csv} has no rows below its header", "give sequences"),
}


@pytest.mark.parametrize(("rows", "told", "mend"), SHEETS.values(), ids=SHEETS)
def test_bad_sequences_are_one_error_with_their_line(evaluate, tmp_path, rows, told, mend):
    path = sheet(tmp_path, rows)
    outcome = evaluate(path, *SMALL)
    assert_one_error(outcome, 3, told.format(csv=path))
    assert mend in outcome.err
    assert not (tmp_path / "out").exists()


def test_bad_sequences_are_told_before_the_model_is_looked_for(evaluate, tmp_path):
    outcome = evaluate(sheet(tmp_path, [(LONG.replace("T", "U"), "none")]), model=tmp_path / "no-such-model")
    assert_one_error(outcome, 3, "has the letter 'U'")


def test_labels_that_are_no_classes_are_told_with_those_that_are(evaluate, tmp_path):
    path = sheet(tmp_path, [(sequence, "01"[row % 2]) for row, (sequence, _) in enumerate(ROWS)])
    outcome = evaluate(path, *SMALL)
    assert_one_error(outcome, 3, f"{path}: 6 sequences with a label that is no class of")
    assert "'0', '1'" in outcome.err
    assert "its classes: none, promoter, enhancer" in outcome.err
    assert "--target CLASS" in outcome.err


def test_one_label_that_is_no_class_is_told(evaluate, tmp_path):
    path = sheet(tmp_path, [*ROWS, (LONG, "Promoter")])
    assert_one_error(evaluate(path, *SMALL), 3, "1 sequence with a label that is no class")


MODELS = {
    "a method of another kind": (["--methods", "attnlrp"], "no method for a CNN among attnlrp"),
    "a method that no model here has": (["--methods", "deeplift,attnlrp"], "no model here has the method attnlrp"),
    "the baseline alone": (["--methods", "random"], "random is the baseline"),
    "all classes": (["--target", "all"], "one class is explained of each sequence, not all"),
    "a target that is no class": (["--target", "CTCF"], "no target 'CTCF'"),
    "too many shifts": (["--shifts", "25"], "25 shifts, where the shortest sequence"),
}


@pytest.mark.parametrize(("words", "told"), MODELS.values(), ids=MODELS)
def test_what_does_not_go_with_the_model_is_one_error(evaluate, tmp_path, words, told):
    assert_one_error(evaluate(sheet(tmp_path), *words), 2, told)
    assert not (tmp_path / "out").exists()


def test_a_model_of_other_classes_is_refused(evaluate, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "write_report", lambda folder: [])
    other = tiny_cnn(tmp_path / "other", labels=("none", "promoter", "CTCF"))
    outcome = evaluate(sheet(tmp_path), *SMALL, "--against", other)
    assert_one_error(outcome, 2, "other has no class enhancer, which tiny has")
    assert "its classes: none, promoter, CTCF" in outcome.err
    assert evaluate(sheet(tmp_path), *SMALL, "--against", other, "--target", "enhancer").code == 2
    assert (
        evaluate(sheet(tmp_path), *SMALL, "--against", other, "--target", "promoter", "-q").code == 0
    )  # both have it


def test_models_of_one_name_are_refused(evaluate, tmp_path, checkpoint_dir):
    outcome = evaluate(sheet(tmp_path), "--against", checkpoint_dir)
    assert_one_error(outcome, 2, "the two models have one name, tiny")


def test_a_model_that_is_not_there_is_told(evaluate, tmp_path):
    outcome = evaluate(sheet(tmp_path), *SMALL, "--against", tmp_path / "nothing")
    assert_one_error(outcome, 3, "nothing")


# ---- true sites ----


def test_truth_that_misses_all_is_told_with_the_names(evaluate, tmp_path):
    truth = bed(tmp_path, "chr1 1 9;chr2 3 8", "sites.bed")
    outcome = evaluate(sheet(tmp_path), "--truth", truth)
    assert_one_error(outcome, 3, f"{truth}: none of its 2 sites overlaps any of the 6 sequences of")
    assert "sites are on chr1, chr2\n" in outcome.err
    assert "sequences are on 2, 3, 4, 5 ... (6 in all)\n" in outcome.err


def test_truth_that_misses_all_regions_is_told(evaluate, tmp_path, test_data):
    regions = bed(tmp_path, ";".join(f"chr1 {start} {start + 90}" for start in range(2000, 8000, 1000)), "peaks.bed")
    truth = bed(tmp_path, "1 2000 2090;1 3000 3090", "sites.bed")
    outcome = evaluate(regions, test_data / "genome.fa", "--truth", truth)
    assert_one_error(outcome, 3, "none of its 2 sites overlaps any of the 6 sequences of")
    assert "sites are on 1\n" in outcome.err
    assert "sequences are on chr1\n" in outcome.err


def test_truth_on_few_sequences_is_told(evaluate, tmp_path):
    truth = bed(tmp_path, "2 1 9;3 1 9;3 12 15;4 1 9;5 1 2", "sites.bed")
    outcome = evaluate(sheet(tmp_path), "--truth", truth, "--metrics", "localisation")
    assert_one_error(outcome, 3, f"{truth}, sites on: 4 sequences; a confidence interval needs at least 5")


def test_what_is_known_of_the_data_is_warned_of(evaluate, tmp_path, monkeypatch):
    """Few true sites, lines of them that are none, rows that are there twice."""
    monkeypatch.setattr(evaluation, "write_report", lambda folder: [])
    truth = bed(tmp_path, "2 1 9;3 9 1;4 1 9", "sites.bed")
    words = (*SMALL[:2], "--metrics", "", *SMALL[4:], "--costly", "0", "--truth", truth, "-q")
    path = sheet(tmp_path, [*ROWS, ROWS[2]])
    assert_one_error(evaluate(path, *words), 3, "line 2")
    outcome = evaluate(path, *words, "--on-bad-line", "skip")
    assert outcome.code == 0
    told = [
        f"{truth}: 1 malformed line skipped: 2",
        "2 of 7 sequences are the same letters as another; intervals and tests take each for one of its own",
        f"{truth}: sites on 2 sequences; a confidence interval needs at least 5: localisation left out",
    ]
    assert outcome.err.splitlines() == [f"gexplain: warning: {one}" for one in told]


def test_truth_is_on_the_chromosomes_that_the_alias_leads_to(evaluate, tmp_path, test_data, monkeypatch):
    monkeypatch.setattr(evaluation, "write_report", lambda folder: [])
    starts = range(2000, 8000, 1000)
    regions = bed(tmp_path, ";".join(f"1 {start} {start + 90}" for start in starts), "peaks.bed")
    truth = bed(tmp_path, ";".join(f"1 {start + 40} {start + 50}" for start in starts), "sites.bed")
    words = ("--metrics", "localisation", "--methods", "deeplift", "--shifts", "1", "--target", "promoter", "-q")
    assert evaluate(regions, test_data / "genome.fa", *words, "--truth", truth, "--chrom-alias", "chr").code == 0
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["with truth"] == 6


def test_truth_that_is_no_bed_is_told(evaluate, tmp_path):
    outcome = evaluate(sheet(tmp_path), "--truth", bed(tmp_path, "2 9 1", "sites.bed"))
    assert_one_error(outcome, 3, "sites.bed")
    assert_one_error(evaluate(sheet(tmp_path), "--truth", tmp_path / "none.bed"), 3, "none.bed")


# ---- regions ----


def test_regions_of_which_too_few_are_on_the_genome_are_told(evaluate, tmp_path, test_data):
    regions = bed(tmp_path, "chr1 2000 2090;chr1 3000 3090;chr9 1 50", "peaks.bed")
    outcome = evaluate(regions, test_data / "genome.fa", *SMALL)
    assert_one_error(outcome, 3, "peaks.bed: 2 sequences; a confidence interval needs at least 5")


def test_regions_without_a_chromosome_of_the_genome_are_told(evaluate, tmp_path, test_data):
    outcome = evaluate(bed(tmp_path, "1 2000 2090", "peaks.bed"), test_data / "genome.fa", *SMALL)
    assert_one_error(outcome, 3, "peaks.bed")


def test_names_of_regions_that_are_no_classes_are_told(evaluate, tmp_path, test_data):
    lines = ";".join(f"chr1 {start} {start + 90} CTCF" for start in range(2000, 8000, 1000))
    outcome = evaluate(bed(tmp_path, lines, "peaks.bed"), test_data / "genome.fa", *SMALL, "--target", "label")
    assert_one_error(outcome, 3, "6 sequences with a label that is no class")


# ---- the folder ----


def test_a_folder_of_something_else_is_refused(evaluate, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    for force in ((), ("--force",)):
        outcome = evaluate(sheet(tmp_path), *SMALL, "-q", *force)
        assert_one_error(outcome, 1, "is not empty, and holds no evaluation: notes.txt")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]


def test_other_settings_are_told_with_the_difference(evaluate, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "write_report", lambda folder: [])
    assert evaluate(sheet(tmp_path), *SMALL, "-q").code == 0
    outcome = evaluate(sheet(tmp_path), *SMALL, "-q", "--seed", "4")
    assert_one_error(outcome, 1, "an evaluation with other settings is here\n    seed: 0 there, 4 now\n")
    assert evaluate(sheet(tmp_path), *SMALL, "-q", "--seed", "4", "--force").code == 0
