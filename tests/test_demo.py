"""The demo: a run of the bundled genome, and a count of peaks that anyone can repeat from its files."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from tiny import tiny_checkpoint, tiny_cnn

from gexplain.demo import FACTORS, Demo, demo_data, find_planted, run_demo
from gexplain.errors import ModelError, RunError, UsageError
from gexplain.evaluation.localisation import away_from, call_peaks
from gexplain.genome.bigwig import BigWigWriter, bigwig_chroms, read_bigwig
from gexplain.genome.intervals import Interval
from gexplain.models.model import load_model
from gexplain.run_folder import Run

WINDOW = 101


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny CNN with the demo's classes: quick, and random."""
    folder = tiny_cnn(tmp_path_factory.mktemp("cnn") / "tiny", labels=["background", *FACTORS], window=WINDOW)
    return load_model(folder, device="cpu")


@pytest.fixture(scope="module")
def demo(model, tmp_path_factory):
    return run_demo(tmp_path_factory.mktemp("demo") / "out", model)


def bed(name):
    rows = [line.split("\t") for line in (demo_data() / name).read_text().splitlines()]
    return [Interval(chrom, int(start), int(end), name) for chrom, start, end, name, *_ in rows]


def test_it_writes_what_score_writes_and_a_table(demo):
    names = {path.name for path in demo.run.path.iterdir()}
    assert names == {
        *("tracks", "regions.tsv", "stats.tsv", "manifest.json", "report.html", "quality.json"),
        *("browser", "igv_session.xml", "hub.txt", "genomes.txt", "trackDb.txt"),
        *("null", "seqlets.bed", "seqlets.as", "hits.bed", "hits.as", "motif_summary.tsv"),
        "demo_sites.tsv",
    }
    assert {"background", *FACTORS} <= set(demo.run.tracks)
    assert demo.run.manifest["regions"]["scored"] == 650
    assert demo.run.manifest["windows"]["read"] == 650


def test_the_report_lists_the_table(demo):
    assert 'href="demo_sites.tsv"' in demo.report.read_text()


def test_the_table_has_every_site_and_decoy_with_its_window_s_class(demo):
    with demo.table.open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    with (demo.run.path / "regions.tsv").open() as file:
        predicted = {row["name"]: row["predicted"] for row in csv.DictReader(file, delimiter="\t")}
    assert [row["name"] for row in rows] == [one.name for one in bed("truth.bed") + bed("decoys.bed")]
    for row, one in zip(rows, demo.planted, strict=True):
        assert (row["factor"], row["kind"]) == tuple(row["name"].split("_")[:2])
        assert row["predicted"] == predicted[row["name"]] == one.predicted
        assert row["peak"] == ("yes" if float(row["relevance"]) > float(row["threshold"]) else "no")
        assert float(row["relevance"]) == pytest.approx(one.relevance, rel=1e-5)


def test_peaks_are_judged_by_the_factor_s_own_track(demo):
    """The count again, from the bigWigs and the BED files."""
    everything = bed("truth.bed") + bed("decoys.bed")
    chroms = bigwig_chroms(demo.run.path / "tracks" / "CTCF.bw")
    background = away_from(everything, chroms, WINDOW)
    found = {one.interval.name: (one.has_peak, one.relevance) for one in demo.planted}
    for factor in FACTORS:
        path = demo.run.path / "tracks" / f"{factor}.bw"
        relevance = {chrom: read_bigwig(path, chrom, 0, length) for chrom, length in chroms.items()}
        own = [one for one in everything if one.name.startswith(f"{factor}_")]
        assert len(own) == 60
        peaks = call_peaks(relevance, own, background)
        expected = zip(peaks.is_peak.tolist(), peaks.heights.tolist(), strict=True)
        assert [found[one.name] for one in own] == list(expected)


def test_the_background_is_more_than_thirty_thousand_bases(demo):
    track = demo.run.tracks["CTCF"]
    chroms = bigwig_chroms(track)
    away = away_from(bed("truth.bed") + bed("decoys.bed"), chroms, WINDOW)
    scored = sum(
        int((~np.isnan(read_bigwig(track, chrom, 0, length)) & away[chrom]).sum()) for chrom, length in chroms.items()
    )
    assert scored == 350 * 101


def test_sites_that_relevance_stands_on_are_counted_and_decoys_are_not(demo, tmp_path):
    """Tracks drawn by hand: noise everywhere, and a bump on every second site."""
    chroms = bigwig_chroms(demo.run.tracks["CTCF"])
    rng = np.random.default_rng(0)
    bumped = bed("truth.bed")[::2]
    (tmp_path / "tracks").mkdir()
    for factor in FACTORS:
        with BigWigWriter(tmp_path / "tracks" / f"{factor}.bw", chroms) as writer:
            for chrom, length in chroms.items():
                values = rng.normal(size=length)
                for site in bumped:
                    if site.chrom == chrom and site.name.startswith(f"{factor}_"):
                        values[site.start : site.end] += 9
                writer.write(chrom, 0, values.astype(np.float32))
    (tmp_path / "regions.tsv").write_bytes((demo.run.path / "regions.tsv").read_bytes())
    planted = find_planted(Run(tmp_path, demo.run.manifest), demo_data())
    drawn = Demo(Run(tmp_path, demo.run.manifest), planted)
    assert {one.interval.name for one in planted if one.has_peak} >= {site.name for site in bumped}
    assert drawn.n_peaks(decoys=False) == (sum(one.has_peak and not one.is_decoy for one in planted), 150)
    assert 75 <= drawn.n_peaks(decoys=False)[0] <= 78
    assert drawn.n_peaks(decoys=True)[0] <= 3
    assert [drawn.n_peaks([factor], decoys=True)[1] for factor in FACTORS] == [30] * 5


def test_a_finished_demo_is_read_again(demo, model, monkeypatch):
    before = (demo.run.path / "demo_sites.tsv").read_bytes()
    demo.table.unlink()
    monkeypatch.setattr(type(model), "embed", lambda *_: pytest.fail("computed again"))
    again = run_demo(demo.run.path, model)
    assert demo.table.read_bytes() == before
    assert again.planted == demo.planted


def test_another_run_s_output_is_kept_without_force(model, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RunError, match="is not empty, and holds no gexplain run"):
        run_demo(tmp_path, model)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_model_without_the_classes_is_refused_before_anything_is_scored(checkpoint_dir, tmp_path):
    with pytest.raises(ModelError) as caught:
        run_demo(tmp_path / "out", checkpoint_dir, device="cpu")
    assert caught.value.message.endswith(
        "no class CTCF, FOXA1, GABPA, REST, USF1; the demo plants sites of CTCF, FOXA1, GABPA, REST, USF1"
    )
    assert caught.value.detail == "its classes: none, promoter, enhancer"
    assert not (tmp_path / "out").exists()


def test_a_model_of_wide_windows_is_refused(tmp_path):
    model = tiny_checkpoint(tmp_path / "wide", labels=["background", *FACTORS], n_targets=6)
    with pytest.raises(UsageError, match="reads 512 bases at once; the demo's sites lie too close"):
        run_demo(tmp_path / "out", model, device="cpu")


def test_the_model_and_its_labels_are_in_the_manifest(demo, model):
    manifest = json.loads((demo.run.path / "manifest.json").read_text())
    assert manifest["model"]["source"] == model.checkpoint.source
    assert manifest["settings"]["target"] == ["background", *FACTORS]
