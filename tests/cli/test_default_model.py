"""`gexplain score` without -m: the bundled model, told on standard error and in the manifest, never in silence."""

from __future__ import annotations

import json
import shutil

import gexplain

TOLD = (
    "gexplain: no -m, so human-tf: bundled DNABERT-2, trained on windows of 101 bases, classes background, CTCF,"
    " FOXA1, GABPA, REST, USF1; -m MODEL gives another\n"
)


def test_the_default_is_told_in_one_line_and_recorded(run, zoo, test_data, tmp_path):
    place = ("-r", "chr1:40,001-40,100", test_data / "genome.fa", "-q", "--null-regions", "0")
    outcome = run("score", *place, "-o", tmp_path / "out")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", TOLD)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["model"]["source"] == "human-tf"
    assert manifest["settings"]["window"] == 101
    named = run("score", *place, "-m", "human-tf", "-o", tmp_path / "named")
    assert (named.code, named.err) == (0, "")
    tracks = [(tmp_path / out / "tracks" / "predicted.bw").read_bytes() for out in ("out", "named")]
    assert tracks[0] == tracks[1]


def test_a_stream_tells_it_too(run, zoo, test_data):
    outcome = run("score", "-r", "chr1:40,001-40,100", test_data / "genome.fa", "-o", "-")
    assert (outcome.code, outcome.err) == (0, TOLD)
    assert outcome.out.startswith("chr1\t")


def test_bad_input_is_told_before_any_model(run, zoo, test_data):
    outcome = run("score", "none.bed", test_data / "genome.fa", "-o", "-")
    assert outcome.code == 3
    assert outcome.err.startswith("gexplain: error: cannot read none.bed")


def test_the_default_of_the_library_is_the_same(zoo, test_data):
    scored = gexplain.score(["chr1:40,001-40,100"], test_data / "genome.fa")
    assert scored.manifest["model"]["source"] == "human-tf"


def test_an_installation_without_models_says_so(run, zoo, test_data):
    shutil.rmtree(zoo)
    outcome = run("score", "-r", "chr1:40,001-40,100", test_data / "genome.fa", "-o", "-")
    assert (outcome.code, outcome.out) == (3, "")
    assert outcome.err.startswith("gexplain: error: human-tf: no such folder, and no model of that name comes with")
    assert "    bundled: none in this installation\n    fix: give a folder" in outcome.err


def test_a_name_with_a_slip_is_told_the_names(run, zoo, test_data):
    outcome = run("score", "-r", "chr1:40,001-40,100", test_data / "genome.fa", "-o", "-", "-m", "human_tf")
    assert outcome.code == 3
    assert "    bundled: human-tf, yeast-tf-cnn\n    fix: did you mean human-tf?" in outcome.err


def test_a_folder_of_the_same_name_is_refused(run, zoo, test_data, tmp_path, monkeypatch):
    shutil.copytree(zoo / "human-tf", tmp_path / "human-tf")
    monkeypatch.chdir(tmp_path)
    place = ("score", "-r", "chr1:40,001-40,100", test_data / "genome.fa", "-o", "-")
    outcome = run(*place, "-m", "human-tf")
    assert (outcome.code, outcome.out) == (3, "")
    assert outcome.err.startswith(f"gexplain: error: human-tf: both a bundled model and {tmp_path / 'human-tf'}\n")
    assert "    fix: write ./human-tf for the path;" in outcome.err
    assert run(*place, "-m", "./human-tf").code == 0
