"""`gexplain score` with a CNN: the same files as with DNABERT-2, by the methods that a CNN has."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

import gexplain
from gexplain.attribution.explainers import TokenExplainer
from gexplain.attribution.target import Target

REGION = ("-r", "chr1:40,001-40,064")  # one window of the tiny CNN


@pytest.fixture
def score_cnn(run, test_data, cnn_dir):
    """`gexplain score` of regions of the test genome with the tiny CNN; -o - by default."""

    def run_score(*options: object, output: object = "-"):
        target = ("--target", "promoter")
        return run("score", *options, test_data / "genome.fa", "-m", cnn_dir, "-o", output, *target)

    return run_score


def streamed(outcome) -> np.ndarray:
    """One value a base of a bedGraph."""
    assert (outcome.code, outcome.err) == (0, "")
    rows = [line.split("\t") for line in outcome.out.splitlines()]
    return np.concatenate([np.repeat(float(value), int(end) - int(start)) for _, start, end, value in rows])


@pytest.mark.parametrize("method", ["deeplift", "lrp", "gradient-x-input", "integrated-gradients", "saliency", "ism"])
def test_the_track_of_a_window_is_its_reading_on_both_strands(score_cnn, cnn, test_data, method):
    with gexplain.Genome(test_data / "genome.fa") as genome:
        sequence = genome.fetch("chr1", 40_000, 40_064)
    (reading,) = TokenExplainer(cnn, method).read([sequence], Target((1,), ("promoter",)), ".")
    found = streamed(score_cnn(*REGION, "--method", method))
    np.testing.assert_allclose(found, reading.relevance[0], rtol=1e-4, atol=1e-6)
    assert np.ptp(found) > 0.01


def test_auto_is_deeplift_and_the_manifest_says_so(score_cnn, test_data, tmp_path):
    regions, out = test_data / "regions.bed", tmp_path / "out"
    assert score_cnn(regions, "--on-bad-line", "skip", "-q", output=out).code == 0
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["settings"]["method"] == "deeplift"
    assert manifest["settings"]["architecture"] == {"n_targets": 3, "n_filters": 12, "filter_width": 7, "hidden": 5}
    assert "tokenizer" not in manifest["settings"]
    assert manifest["rules"]["ReLU"] == "Rescale"
    assert set(manifest["tracks"]) == {"promoter", "promoter.prediction", "coverage"}
    with (out / "regions.tsv").open() as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["status"] == "scored"]
    assert len(rows) == manifest["regions"]["scored"] > 0
    # What the baseline has is unexplained; no ledger says where it went.
    assert {row["constants_promoter"] for row in rows} == {"."}
    assert all(float(row["unexplained_promoter"]) >= 0 for row in rows)
    written = manifest["written"]
    again = score_cnn(regions, "--on-bad-line", "skip", "-q", "--method", "deeplift", output=out)
    assert again.code == 0
    assert json.loads((out / "manifest.json").read_text())["written"] == written  # the same run, found finished
    other = score_cnn(regions, "--on-bad-line", "skip", "--method", "gradient-x-input", output=out)
    assert (other.code, "method: deeplift there, gradient-x-input now" in other.err) == (1, True)


def test_projections_are_the_same(score_cnn):
    assert score_cnn(*REGION, "--projection", "copy").out == score_cnn(*REGION).out


def test_a_method_of_dnabert2_is_told_with_those_of_a_cnn(score_cnn):
    outcome = score_cnn(*REGION, "--method", "attnlrp")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "gexplain: error: no method 'attnlrp' for a CNN\n"
        "    fix: one of deeplift, deeplift-shap, lrp, gradient-x-input, saliency, integrated-gradients, "
        "occlusion-base, ism, random\n"
    )


def test_a_method_of_a_cnn_is_told_with_those_of_dnabert2(score):
    outcome = score(None, *REGION, "--method", "deeplift")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "gexplain: error: no method 'deeplift' for a DNABERT-2\n"
        "    fix: one of attnlrp, cplrp, gradient-x-input, saliency, integrated-gradients, attention, "
        "attention-rollout, occlusion-token, occlusion-base, ism, random\n"
    )


def test_integrated_gradients_of_dnabert2_are_scored_too(score):
    by_method = [
        streamed(score(None, *REGION, "--method", method)) for method in ("integrated-gradients", "gradient-x-input")
    ]
    assert np.abs(by_method[0] - by_method[1]).max() > 1e-3


def test_bfloat16_is_not_for_a_cnn(score_cnn):
    outcome = score_cnn(*REGION, "--dtype", "bfloat16")
    assert (outcome.code, outcome.out) == (2, "")
    assert "a CNN is not run in bfloat16" in outcome.err
