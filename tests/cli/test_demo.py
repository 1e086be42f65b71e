"""`gexplain demo`: a table on standard output that adds up, and what becomes of its folder."""

from __future__ import annotations

import csv
import json
import shutil

import pytest
from tiny import tiny_cnn

from gexplain import demo
from gexplain.demo import FACTORS, demo_data


@pytest.fixture
def small_zoo(zoo):
    """The bundled models, with a CNN as human-tf: it is quick."""
    shutil.rmtree(zoo / "human-tf")
    tiny_cnn(zoo / "human-tf", labels=["background", *FACTORS], window=101)
    return zoo


@pytest.fixture
def small_data(tmp_path, monkeypatch):
    """The demo's data, of its smallest chromosome alone: a fifth of the windows, with sites of every factor."""
    whole, small = demo_data(), tmp_path / "demo_data"
    small.mkdir()
    for path in whole.glob("genome.fa*"):
        shutil.copy(path, small)
    for name in ("regions.bed", "truth.bed", "decoys.bed"):
        lines = (whole / name).read_text().splitlines(keepends=True)
        (small / name).write_text("".join(line for line in lines if line.startswith("chr3\t")))
    monkeypatch.setattr(demo, "demo_data", lambda: small)


def test_it_prints_what_the_table_of_sites_holds(run, small_zoo, small_data, tmp_path):
    outcome = run("demo", "-o", tmp_path / "out")
    assert outcome.code == 0
    told, files, pictures = outcome.err.splitlines()
    assert told.startswith("gexplain: no -m, so human-tf: bundled CNN, trained on windows of 101 bases, classes")
    out = tmp_path / "out"
    assert files == f"every site and decoy is a line of {out / 'demo_sites.tsv'}; IGV opens {out / 'igv_session.xml'}"
    assert pictures == f"the run in pictures: {out / 'report.html'}; with tracks: gexplain view {out}"
    assert (out / "report.html").exists()
    with (tmp_path / "out" / "demo_sites.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert {row["factor"] for row in rows} == set(FACTORS)
    head, *lines = [line.split("  ") for line in outcome.out.splitlines()]
    assert head == ["factor", "sites with a peak", "decoys with a peak"]
    for line, factors in zip(lines, [*([factor] for factor in FACTORS), FACTORS], strict=True):
        name, sites, decoys = (cell.strip() for cell in line if cell)
        assert name == (factors[0] if len(factors) == 1 else "all")
        for text, kind in ((sites, "site"), (decoys, "decoy")):
            of_kind = [row["peak"] for row in rows if row["factor"] in factors and row["kind"] == kind]
            assert text == f"{of_kind.count('yes')} of {len(of_kind)}"

    # The same command again reads what is there, and another model's run is not replaced unasked.
    assert run("demo", "-o", tmp_path / "out", "-q").out == outcome.out
    tiny_cnn(small_zoo / "other", labels=["background", *FACTORS], window=101, seed=1)
    refused = run("demo", "-o", tmp_path / "out", "-m", "other")
    assert (refused.code, refused.out) == (1, "")
    assert "a run with other settings is here" in refused.err
    assert run("demo", "-o", tmp_path / "out", "-m", "other", "--force", "-q").code == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["model"]["source"] == "other"


def test_without_bundled_models_it_is_one_error(run, zoo, tmp_path):
    shutil.rmtree(zoo)
    outcome = run("demo", "-o", tmp_path / "out")
    assert (outcome.code, outcome.out) == (3, "")
    assert outcome.err.startswith("gexplain: error: human-tf: no such folder, and no model of that name comes with")
    assert not (tmp_path / "out").exists()


def test_a_model_of_other_classes_is_refused(run, zoo, tmp_path):
    outcome = run("demo", "-o", tmp_path / "out", "-m", "yeast-tf-cnn")
    assert (outcome.code, outcome.out) == (3, "")
    assert outcome.err.startswith("gexplain: error: yeast-tf-cnn: no class CTCF, FOXA1, GABPA, REST, USF1; the demo")
    assert "    its classes: background, Reb1\n    fix: use human-tf; for other models, gexplain score" in outcome.err


def test_ctrl_c_names_how_to_go_on(run, small_zoo, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run_demo", interrupt)
    outcome = run("demo", "-o", tmp_path / "out", "--force")
    assert outcome.code == 130
    assert outcome.err.endswith(f"interrupted\n    fix: to go on: gexplain demo -o {tmp_path / 'out'}\n")
