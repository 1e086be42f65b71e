"""`gexplain report`, and the report that `score` makes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from gexplain import quality
from gexplain.errors import RunError
from gexplain.run_folder import open_run

SMALL = ["--motifs", "none", "--null-regions", 6]


@pytest.fixture(scope="module")
def reported(tmp_path_factory, finished: Path) -> Path:
    """A copy of a finished run, made by the library and so without a page."""
    out = tmp_path_factory.mktemp("reported") / "one"
    shutil.copytree(finished / "one", out)
    return out


def test_report_writes_the_page_of_a_finished_run(run, reported):
    outcome = run("report", reported)
    assert outcome.code == 0, outcome.err
    page = (reported / "report.html").read_text()
    assert "left" in page
    assert str(reported / "report.html") in outcome.err
    assert not (reported / "quality.json").exists()


def test_report_with_quality_measures_it_and_then_keeps_it(run, reported):
    assert run("report", reported, "--quality", "-q", "-p", 1).code == 0
    measured = (reported / "quality.json").read_bytes()
    assert json.loads(measured)["sample"]["windows"] > 0
    with_quality = (reported / "report.html").read_text()
    assert run("report", reported, "-q").code == 0
    assert (reported / "quality.json").read_bytes() == measured
    assert (reported / "report.html").read_text() == with_quality


def test_report_twice_is_the_same_page(run, reported):
    assert run("report", reported, "-q").code == 0
    first = (reported / "report.html").read_bytes()
    assert run("report", reported, "-q").code == 0
    assert (reported / "report.html").read_bytes() == first


def test_an_assembly_that_is_given_names_the_hub_s_genome(run, reported):
    assert run("report", reported, "--assembly", "hg38", "-q").code == 0
    assert "genome hg38" in (reported / "genomes.txt").read_text().splitlines()


def test_an_assembly_that_is_given_ends_the_note_that_it_is_missing(run, reported):
    path = reported / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"notes": ["no UCSC track hub"]}))
    assert run("report", reported, "-q").code == 0
    assert json.loads(path.read_text())["notes"] == ["no UCSC track hub"]
    assert run("report", reported, "--assembly", "hg38", "-q").code == 0
    assert json.loads(path.read_text()) == manifest | {"notes": []}


def test_what_browsers_open_is_written_again_where_it_is_gone(run, reported):
    shutil.rmtree(reported / "browser")
    assert run("report", reported, "-q").code == 0
    assert (reported / "browser" / "reference.fa.gz").exists()
    assert "reference.fa.gz" in (reported / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-m", "human-tf"], "-m/--model has no meaning without --quality"),
        (["--device", "cpu"], "-d/--device has no meaning without --quality"),
        (["--threads", 1], "-p/--threads has no meaning without --quality"),
    ],
)
def test_what_only_measuring_needs_is_refused_without_it(run, reported, options, said):
    outcome = run("report", reported, *options)
    assert (outcome.code, outcome.out) == (2, "")
    assert said in outcome.err


def test_another_model_is_refused(run, reported):
    outcome = run("report", reported, "--quality", "-m", "human-tf", "-q")
    assert outcome.code == 3
    assert "human-tf is not the model of" in outcome.err


def test_what_cannot_be_an_assembly_is_refused_and_changes_nothing(run, reported):
    before = {path: path.read_bytes() for path in reported.rglob("*") if path.is_file()}
    outcome = run("report", reported, "--assembly", "hg 38")
    assert outcome.code == 2
    assert "--assembly 'hg 38': expected what UCSC calls the assembly" in outcome.err
    assert {path: path.read_bytes() for path in reported.rglob("*") if path.is_file()} == before


def test_what_is_no_run_is_refused(run, tmp_path):
    outcome = run("report", tmp_path)
    assert outcome.code == 3
    assert f"{tmp_path} holds no gexplain run" in outcome.err


def test_another_genome_is_refused(run, reported, tmp_path):
    (tmp_path / "other.fa").write_text(">chr1\nACGT\n")
    outcome = run("report", reported, "--genome", tmp_path / "other.fa")
    assert outcome.code == 3
    assert "is not the genome of" in outcome.err


def test_score_makes_a_report_with_measured_quality_and_its_command(run, score, tmp_path, monkeypatch):
    out = tmp_path / "out"
    outcome = score("chr1\t2000\t3000\tpeak\n", *SMALL, "-p", 1, output=out)
    assert outcome.code == 0, outcome.err
    assert f"the run in pictures: {out / 'report.html'}" in outcome.err
    page = (out / "report.html").read_text()
    assert "gexplain score - " in page
    assert (out / "quality.json").exists()
    again = score("chr1\t2000\t3000\tpeak\n", *SMALL, "-p", 1, output=out)
    assert again.code == 0
    assert (out / "report.html").read_text() == page
    (out / "report.html").unlink()
    monkeypatch.setattr("gexplain.quality.measure_quality", lambda *_, **__: pytest.fail("measured twice"))
    assert score("chr1\t2000\t3000\tpeak\n", *SMALL, "-p", 1, output=out).code == 0
    assert (out / "report.html").exists()


def test_a_new_run_takes_the_old_report_away(score, tmp_path):
    out = tmp_path / "out"
    assert score("chr1\t2000\t3000\tpeak\n", *SMALL, "-p", 1, output=out).code == 0
    other = score("chr1\t5000\t6000\tpeak\n", *SMALL, "--force", "--no-report", "-p", 1, output=out)
    assert other.code == 0, other.err
    assert "the run in pictures" not in other.err
    assert not (out / "report.html").exists()
    assert not (out / "quality.json").exists()


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            KeyboardInterrupt(),
            130,
            "interrupted; {out} is a finished run, and lacks its report alone\n    fix: to go on, ",
        ),
        (
            RunError("no room", hint="h"),
            1,
            "no room\n    {out} is a finished run, and lacks its report alone\n    fix: h",
        ),
    ],
)
def test_what_ends_the_report_leaves_a_finished_run_and_says_so(score, tmp_path, monkeypatch, error, code, said):
    out = tmp_path / "out"

    def fail(*_, **__):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(quality, "measure_quality", fail)
        outcome = score("chr1\t2000\t3000\tpeak\n", *SMALL, "-p", 1, output=out)
    assert outcome.code == code
    assert f"gexplain: error: {said.format(out=out)}" in outcome.err
    assert open_run(out).manifest["regions"]["scored"] == 1
    assert not (out / "report.html").exists()
    assert score("chr1\t2000\t3000\tpeak\n", *SMALL, "-p", 1, output=out).code == 0
    assert (out / "report.html").exists()


def test_no_report_has_no_meaning_for_a_stream(score):
    outcome = score("chr1\t2000\t3000\tpeak\n", "--no-report")
    assert outcome.code == 2
    assert "--report/--no-report has no meaning with -o -" in outcome.err


@pytest.mark.parametrize("strand", ["forward", "reverse", "region"])
def test_score_of_one_strand_has_a_report(score, tmp_path, strand):
    out = tmp_path / "out"
    outcome = score("chr1\t2000\t3000\tpeak\t0\t-\n", *SMALL, "--strand", strand, "-p", 1, output=out)
    assert outcome.code == 0, outcome.err
    assert 'data-unit="' in (out / "report.html").read_text()  # letters are drawn
