"""`gexplain export`: a run's regions as TF-MoDISco takes them, and clear words where that cannot be."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from bed_validator import read_bed

import gexplain
from gexplain.export import export_modisco
from gexplain.run_folder import open_run

BED = "".join(
    f"chr1\t{start}\t{start + width}\tpeak_{start}\t0\t{strand}\n"
    for start, width, strand in ((40_000, 100, "+"), (42_000, 120, "-"), (44_000, 200, "+"), (46_000, 60, "."))
)


@pytest.fixture(scope="module")
def source(tmp_path_factory, test_data):
    """Finished runs on the test genome, by name: one, by strand, all classes, and as text alone."""
    root = tmp_path_factory.mktemp("runs")
    (root / "peaks.bed").write_text(BED)
    for name, options in RUNS.items():
        gexplain.score(
            root / "peaks.bed",
            test_data / "genome.fa",
            test_data / "tiny_checkpoint",
            output=root / name,
            settings=gexplain.ScoreSettings(**{"target": "promoter", "null_regions": 0, **options}),
        )
    return root


RUNS = {
    "one": {},
    "stranded": {"strand": "region"},
    "all": {"target": "all"},
    "text": {"formats": ("bedgraph",)},
}


def attributions(folder):
    return np.load(folder / "attributions.npz")["arr_0"]


def test_the_arrays_are_those_of_the_run(run, source, tmp_path, test_data):
    done = run("export", "modisco", source / "one", "-o", tmp_path / "m", "--width", 100)
    assert (done.code, done.out) == (0, "")
    rows = [line.split("\t") for line in (tmp_path / "m" / "index.bed").read_text().splitlines()]
    assert [(row[0], int(row[1]), int(row[2]), row[3]) for row in rows] == [
        ("chr1", 40_000, 40_100, "peak_40000"),
        ("chr1", 42_010, 42_110, "peak_42000"),
        ("chr1", 44_050, 44_150, "peak_44000"),
        ("chr1", 45_980, 46_080, "peak_46000"),
    ]
    sequences = np.load(tmp_path / "m" / "sequences.npz")["arr_0"]
    with gexplain.Genome(test_data / "genome.fa") as genome:
        for i, row in enumerate(rows):
            interval = gexplain.Interval(row[0], int(row[1]), int(row[2]))
            letters = genome.fetch(interval)
            values = np.nan_to_num(open_run(source / "one").values("promoter", interval))
            values = values * [letter in "ACGT" for letter in letters]
            np.testing.assert_array_equal(attributions(tmp_path / "m")[i].sum(0), values)
            assert ["ACGT"[k] for k in sequences[i].argmax(0)] == list(letters)


def test_the_summary_names_the_next_command(run, source, tmp_path):
    done = run("export", "modisco", source / "one", "-o", tmp_path / "m", "--width", 100)
    last = done.err.splitlines()[-1].split()
    assert last[:2] == ["modisco", "motifs"]
    assert last[last.index("-w") + 1] == "100"
    assert run("export", "modisco", source / "one", "-o", tmp_path / "n", "--width", 100, "-q").err == ""


def test_the_width_is_the_model_s_window_where_regions_are_narrower(run, source, tmp_path):
    run("export", "modisco", source / "one", "-o", tmp_path / "m")
    window = json.loads((source / "one" / "manifest.json").read_text())["settings"]["window"]
    assert attributions(tmp_path / "m").shape == (4, 4, window)


def test_bases_without_relevance_are_told(run, source, tmp_path):
    done = run("export", "modisco", source / "one", "-o", tmp_path / "m", "--width", 1000)
    share = done.err.split("gexplain: warning: ")[1].split("%")[0]
    values = [
        open_run(source / "one").values("promoter", gexplain.Interval("chr1", int(start), int(end)))
        for _, start, end, *_ in map(str.split, (tmp_path / "m" / "index.bed").read_text().splitlines())
    ]
    assert float(share) == pytest.approx(100 * np.isnan(values).mean(), abs=0.05)


def test_the_folder_lies_in_the_run_by_default(run, source, tmp_path):
    shutil.copytree(source / "one", tmp_path / "out")
    assert run("export", "modisco", tmp_path / "out").code == 0
    assert {path.name for path in (tmp_path / "out" / "modisco").iterdir()} == {
        "sequences.npz",
        "attributions.npz",
        "index.bed",
    }


def test_a_region_takes_the_track_of_its_strand(source, tmp_path):
    done = export_modisco(source / "stranded", tmp_path / "both", track="promoter", width=60)
    plus = export_modisco(source / "stranded", tmp_path / "plus", track="promoter.plus", width=60)
    minus = export_modisco(source / "stranded", tmp_path / "minus", track="promoter.minus", width=60)
    assert (done.n_windows, plus.n_windows, minus.n_windows) == (3, 2, 1)  # one region has no strand
    both = attributions(tmp_path / "both")
    np.testing.assert_array_equal(both[[0, 2]], attributions(tmp_path / "plus"))
    np.testing.assert_array_equal(both[[1]], attributions(tmp_path / "minus"))
    strands = [line.split("\t")[5] for line in (tmp_path / "both" / "index.bed").read_text().splitlines()]
    assert strands == ["+", "-", "+"]


def test_one_of_several_tracks_is_chosen(run, source, tmp_path):
    labels = json.loads((source / "all" / "manifest.json").read_text())["model"]["classes"]
    done = run("export", "modisco", source / "all", "-o", tmp_path / "m")
    assert (done.code, done.err.splitlines()[0].split(": ")[-1]) == (2, ", ".join(labels))
    assert run("export", "modisco", source / "all", "-o", tmp_path / "m", "--track", "promoter").code == 0
    export_modisco(source / "one", tmp_path / "one")
    np.testing.assert_allclose(attributions(tmp_path / "m"), attributions(tmp_path / "one"), rtol=1e-4, atol=1e-6)


def test_an_export_is_replaced_with_force_alone(run, source, tmp_path):
    first = run("export", "modisco", source / "one", "-o", tmp_path, "--width", 60)
    (tmp_path / "modisco_results.h5").write_text("of the user")
    again = run("export", "modisco", source / "one", "-o", tmp_path, "--width", 80)
    assert (first.code, again.code) == (0, 1)
    assert "holds an export already" in again.err
    assert attributions(tmp_path).shape[2] == 60
    assert run("export", "modisco", source / "one", "-o", tmp_path, "--width", 80, "--force").code == 0
    assert attributions(tmp_path).shape[2] == 80
    assert (tmp_path / "modisco_results.h5").read_text() == "of the user"


def test_the_genome_may_have_moved(run, source, tmp_path, test_data):
    shutil.copytree(source / "one", tmp_path / "out")
    path = tmp_path / "out" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["genome"]["file"] = str(tmp_path / "gone.fa")
    path.write_text(json.dumps(manifest))
    done = run("export", "modisco", tmp_path / "out")
    assert (done.code, "gone.fa, is not there" in done.err) == (3, True)
    assert run("export", "modisco", tmp_path / "out", "--genome", test_data / "genome.fa").code == 0


def test_another_genome_is_refused(run, source, tmp_path):
    (tmp_path / "other.fa").write_text(">chr1\n" + "ACGT" * 20_000 + "\n")
    done = run("export", "modisco", source / "one", "-o", tmp_path / "m", "--genome", tmp_path / "other.fa")
    assert done.code == 3
    assert f"{tmp_path / 'other.fa'} is not the genome of {source / 'one'}" in done.err
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("name", "options", "code", "message"),
    [
        ("nowhere", [], 3, "holds no gexplain run: there is no manifest.json"),
        ("text", [], 2, "has no bigWigs to read values from"),
        ("one", ["--track", "enhancer"], 2, "has no relevance track 'enhancer'"),
        ("one", ["--track", "coverage"], 2, "has no relevance track 'coverage'"),
        ("one", ["--width", "101"], 2, "--width 101: expected an even number"),
        ("one", ["--width", "1000000000"], 2, "do not fit into chr1"),
    ],
)
def test_what_cannot_be_exported_is_one_error(run, source, tmp_path, name, options, code, message):
    done = run("export", "modisco", source / name, "-o", tmp_path / "m", *options)
    assert (done.code, done.err.count("gexplain: error:"), done.err.count("    fix: ")) == (code, 1, 1)
    assert message in done.err
    assert not (tmp_path / "m").exists()


def test_a_run_that_is_not_finished_is_told_apart(run, tmp_path):
    (tmp_path / ".unfinished").mkdir()
    done = run("export", "modisco", tmp_path)
    assert (done.code, "the run is not finished" in done.err) == (3, True)


@pytest.mark.parametrize("text", ["", "[]", "{}", "not json"])
def test_another_manifest_is_refused(run, tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    done = run("export", "modisco", tmp_path)
    assert (done.code, "is no manifest of gexplain" in done.err) == (3, True)


def test_patterns_come_back_as_bed(run, source, tmp_path):
    h5py = pytest.importorskip("h5py", reason="needs h5py, in which modisco writes")
    export_modisco(source / "one", tmp_path / "m", width=100)
    with h5py.File(tmp_path / "results.h5", "w") as file:
        file.attrs["window_size"] = 100
        group = file.create_group("pos_patterns/pattern_0/seqlets")
        for name, column in {"example_idx": [2, 1], "start": [30, 7], "end": [60, 37], "is_revcomp": [1, 0]}.items():
            group.create_dataset(name, data=column)
        group.create_dataset("contrib_scores", data=np.full((2, 30, 4), 0.25))
    index = tmp_path / "m" / "index.bed"
    done = run("export", "modisco-hits", tmp_path / "results.h5", index)
    rows = read_bed(done.out, {"chr1": 10**6}, ["string", "double", "string"])
    place = [row[:6] for row in rows]
    assert place == [
        ["chr1", "42017", "42047", "pos_patterns.pattern_0", "1000", "+"],
        ["chr1", "44080", "44110", "pos_patterns.pattern_0", "1000", "-"],
    ]
    assert rows[0][6:] == ["positive", "30", "peak_42000"]
    run("export", "modisco-hits", tmp_path / "results.h5", index, "-o", tmp_path / "patterns.bed")
    assert (tmp_path / "patterns.bed").read_text() == done.out


def test_what_is_no_result_of_modisco_is_one_error(run, tmp_path):
    pytest.importorskip("h5py", reason="needs h5py, in which modisco writes")
    (tmp_path / "index.bed").write_text("chr1\t0\t100\ta\t0\t.\n")
    done = run("export", "modisco-hits", tmp_path / "results.h5", tmp_path / "index.bed")
    assert done.code == 3
    assert "results.h5 as a result of modisco: no such file" in done.err
