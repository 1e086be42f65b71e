"""Runs: what a directory holds, and that no way of getting there changes it."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing

import numpy as np
import pandas as pd
import pyBigWig
import pytest
import torch
from paths import SHARED, needs_shared
from tiny import tiny_checkpoint

import gexplain
from gexplain import inputs, runs
from gexplain.aggregation import taper
from gexplain.attribution.explainers import TokenExplainer
from gexplain.attribution.target import Target
from gexplain.errors import InputError, RunError, SkippedRegionsError, UsageError
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval
from gexplain.genome.sequence import reverse_complement
from gexplain.store import WindowStore
from gexplain.windows import Tiling

WINDOW = 128


@pytest.fixture(scope="module")
def data(test_data):
    return {"regions": test_data / "regions.bed", "genome": test_data / "genome.fa"}


@pytest.fixture(scope="module")
def box_model(test_data):
    return gexplain.load_model(test_data / "tiny_checkpoint", device="cpu")


@pytest.fixture(scope="module")
def run(data, box_model, tmp_path_factory):
    """One finished run that many tests look at."""
    out = tmp_path_factory.mktemp("run") / "out"
    settings = gexplain.ScoreSettings(target="promoter", formats=("bigwig", "bedgraph", "npz"))
    return gexplain.score(**data, model=box_model, output=out, settings=settings)


def score(data, model, output, **settings):
    return gexplain.score(**data, model=model, output=output, settings=gexplain.ScoreSettings(**settings))


def read_track(run, name: str) -> dict[str, np.ndarray]:
    with pyBigWig.open(str(run.tracks[name])) as file:
        return {chrom: np.array(file.values(chrom, 0, length)) for chrom, length in file.chroms().items()}


def assert_same_tracks(run, other, atol: float = 1e-6) -> None:
    assert run.tracks.keys() == other.tracks.keys()
    for name in run.tracks:
        mine, theirs = read_track(run, name), read_track(other, name)
        for chrom, values in mine.items():
            np.testing.assert_allclose(values, theirs[chrom], atol=atol, err_msg=f"{name} {chrom}")


# -- what a run leaves ----------------------------------------------------------------------------------------


def test_a_finished_run_is_its_files_and_nothing_else(run):
    assert {path.name for path in run.path.iterdir()} == {
        *("hits.as", "hits.bed", "manifest.json", "motif_summary.tsv", "null", "regions.tsv"),
        *("seqlets.as", "seqlets.bed", "stats.tsv", "tracks"),
        *("browser", "igv_session.xml", "hub.txt", "genomes.txt", "trackDb.txt"),
    }
    assert sorted(path.name for path in (run.path / "null").iterdir()) == [
        *("coverage.bw", "null.fa", "null.fa.fai", "null.json", "promoter.bw", "promoter.prediction.bw"),
    ]
    stems = ["coverage", "promoter", "promoter.prediction"]
    expected = [f"{stem}.{suffix}" for stem in stems for suffix in ("bw", "bedGraph", "npz")]
    assert sorted(path.name for path in (run.path / "tracks").iterdir()) == sorted(expected)


def test_bigwigs_have_the_fastas_chromosomes_in_its_order(run, data):
    with Genome(data["genome"]) as genome, pyBigWig.open(str(run.tracks["promoter"])) as file:
        assert list(file.chroms().items()) == list(genome.chroms.items())


def test_a_track_is_the_blend_of_its_windows_explanations(run, data, box_model):
    """From public pieces alone: tile the region, explain both strands, blend by the taper."""
    region = Interval("chr1", 40_010, 40_900)
    settings = gexplain.ScoreSettings(target="promoter")
    alone = gexplain.score([region], data["genome"], box_model, settings=settings)
    total, weight = np.zeros(2_000), np.zeros(2_000)
    with Genome(data["genome"]) as genome:
        for start in range(40_000, 40_833, 64):
            sequence = genome.fetch("chr1", start, start + WINDOW)
            (reading,) = TokenExplainer(box_model).read([sequence], Target((1,), ("promoter",)), ".")
            here = slice(start - 39_500, start - 39_500 + WINDOW)
            total[here] += taper(WINDOW) * reading.relevance[0]
            weight[here] += taper(WINDOW)
    expected = total[510:1400] / weight[510:1400]
    np.testing.assert_allclose(alone.values("promoter", region), expected, atol=1e-6)


def test_values_lie_only_where_windows_reach(run, data):
    plan_tiling = Tiling(WINDOW, WINDOW // 2)
    regions = run.regions()
    with Genome(data["genome"]) as genome:
        for chrom, values in read_track(run, "coverage").items():
            expected, length = np.zeros(len(values)), genome.chroms[chrom]
            width = plan_tiling.width(length)
            of_chrom = regions[
                (regions.chrom == chrom) & ~regions.reason.isin(["empty region", "past the chromosome's end"])
            ]
            pairs = of_chrom[["start", "end"]].to_numpy(np.int64)
            for start in plan_tiling.starts(pairs, np.full(len(pairs), -1), length):
                if set(genome.fetch(chrom, int(start), int(start) + width)) != {"N"}:
                    expected[start : start + width] += 1
            np.testing.assert_array_equal(np.nan_to_num(values), expected)
            relevance = read_track(run, "promoter")[chrom]
            np.testing.assert_array_equal(np.isnan(relevance), expected == 0)


def test_formats_hold_the_same_values(run):
    expected = read_track(run, "promoter")
    lines = pd.read_csv(run.path / "tracks" / "promoter.bedGraph", sep="\t", names=["chrom", "start", "end", "value"])
    archive = np.load(run.path / "tracks" / "promoter.npz")
    offsets = np.append(0, np.cumsum(archive["width"]))
    for chrom, values in expected.items():
        text, arrays = np.full_like(values, np.nan), np.full_like(values, np.nan)
        for line in lines[lines.chrom == chrom].itertuples():
            text[line.start : line.end] = line.value
        for run_of, start, low, high in zip(archive["chrom"], archive["start"], offsets, offsets[1:], strict=False):
            if archive["chroms"][run_of] == chrom:
                arrays[start : start + high - low] = archive["values"][low:high]
        np.testing.assert_allclose(text, values, rtol=1e-6)
        np.testing.assert_array_equal(arrays, values)


def test_every_input_line_is_a_row_with_a_status(run, data):
    rows = run.regions()
    lines = [line.split("\t") for line in data["regions"].read_text().splitlines()]
    assert rows[["chrom", "start", "end", "name"]].astype(str).to_numpy().tolist() == [line[:4] for line in lines]
    reasons = dict(zip(rows.name, rows.reason, strict=True))
    assert reasons["n_only"] == "no base but N"
    assert reasons["empty"] == "empty region"
    assert reasons["partly_past_the_end"] == "past the chromosome's end"
    assert reasons["unknown_chrom"] == "chromosome not in the FASTA"
    assert (rows.status == "scored").sum() == len(rows) - 5


def test_names_of_regions_that_look_like_missing_values_stay(data, box_model):
    regions = [Interval("chr1", 40_000, 40_100, name) for name in ("NA", "nan", ".")]
    rows = gexplain.score(regions, data["genome"], box_model).regions()
    assert rows.name.tolist() == ["NA", "nan", "."]


def test_rows_agree_with_the_tracks(run):
    rows = run.regions()
    for row in rows[rows.status == "scored"].itertuples():
        values = run.values("promoter", Interval(row.chrom, row.start, row.end))
        assert np.nansum(values, dtype=float) == pytest.approx(row.relevance_promoter, rel=1e-5, abs=1e-5)
        assert values[int(row.top_promoter) - row.start] == np.nanmax(values)
        assert row.scored_bases == (~np.isnan(values)).sum()


def test_shares_of_the_unexplained_are_told_per_region(run):
    rows = run.regions()
    one_window = rows[(rows.status == "scored") & (rows.windows == 1)]
    assert len(one_window)
    # For one window, what constants, attention and token types took can cancel but not fall short of the rest.
    booked = one_window.constants_promoter + one_window.attention_promoter + one_window.token_type_promoter
    assert (one_window.unexplained_promoter <= booked + 1e-4).all()


def test_probabilities_of_a_row_sum_to_one(run):
    rows = run.regions()
    scored = rows[rows.status == "scored"]
    columns = [f"probability_{label}" for label in ("background", "promoter", "enhancer")]
    np.testing.assert_allclose(scored[columns].to_numpy(float).sum(1), 1, atol=1e-5)
    assert (scored[[f"max_{label}" for label in ("background", "promoter")]].to_numpy() <= 1).all()


def test_statistics_are_those_of_the_tracks(run):
    stats = pd.read_csv(run.path / "stats.tsv", sep="\t").set_index("#track")
    for name in run.tracks:
        values = np.concatenate(list(read_track(run, name).values()))
        values = values[~np.isnan(values)]
        row = stats.loc[name]
        assert row.bases == len(values)
        assert row["sum"] == pytest.approx(values.sum(), rel=1e-4)
        assert [row["min"], row["max"]] == pytest.approx([values.min(), values.max()], rel=1e-4)
        assert row.p50 == pytest.approx(np.quantile(values, 0.5, method="inverted_cdf"), rel=5e-3, abs=1e-6)


def test_the_manifest_says_what_was_run(run, data, box_model):
    manifest = json.loads((run.path / "manifest.json").read_text())
    assert manifest["model"]["sha256"] == box_model.checkpoint.sha256
    with Genome(data["genome"]) as genome:
        assert manifest["genome"]["sha256"] == genome.sha256()
    assert manifest["regions"]["lines"] == 129
    assert sum(manifest["regions"]["skipped"].values()) == 5
    assert manifest["settings"]["window"] == WINDOW
    assert manifest["rules"]["softmax"] == "Taylor"
    assert sum("skipped" in warning for warning in manifest["warnings"]) == 2


# -- laws -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_batch_size_does_not_matter(run, data, box_model, tmp_path, batch_size):
    other = score(data, box_model, tmp_path, target="promoter", batch_size=batch_size)
    for name in ("promoter", "promoter.prediction", "coverage"):
        for chrom, values in read_track(run, name).items():
            np.testing.assert_allclose(values, read_track(other, name)[chrom], atol=1e-5)


def test_order_of_regions_does_not_matter(run, data, box_model, tmp_path):
    lines = data["regions"].read_text().splitlines(keepends=True)
    shuffled = tmp_path / "shuffled.bed"
    shuffled.write_text("".join(np.random.default_rng(0).permutation(lines)))
    other = score({**data, "regions": shuffled}, box_model, tmp_path / "out", target="promoter")
    assert_same_tracks(dataclasses.replace(run), other)


def test_a_base_does_not_depend_on_where_its_region_starts(data, box_model):
    settings = gexplain.ScoreSettings(target="promoter")
    both = [
        gexplain.score([Interval("chr2", start, 6000)], data["genome"], box_model, settings=settings)
        for start in (4000, 4333)
    ]
    inner = Interval("chr2", 4333 + WINDOW, 6000)
    np.testing.assert_allclose(both[0].values("promoter", inner), both[1].values("promoter", inner), atol=1e-6)


def test_strands_by_region_are_tracks_of_their_own(data, box_model, tmp_path):
    region = [Interval("chr1", 40_000, 40_300, "a", "+"), Interval("chr1", 50_000, 50_300, "b", "-")]
    by_region = gexplain.score(
        region, data["genome"], box_model, settings=gexplain.ScoreSettings(target="promoter", strand="region")
    )
    assert sorted(by_region.tracks) == [
        *("coverage.minus", "coverage.plus"),
        *("promoter.minus", "promoter.plus", "promoter.prediction.minus", "promoter.prediction.plus"),
    ]
    for interval, mode, name in zip(region, ("forward", "reverse"), ("promoter.plus", "promoter.minus"), strict=True):
        alone = gexplain.score(
            [interval], data["genome"], box_model, settings=gexplain.ScoreSettings(target="promoter", strand=mode)
        )
        np.testing.assert_allclose(by_region.values(name, interval), alone.values("promoter", interval), atol=1e-6)


def test_weight_scales_each_window_by_its_prediction(data, box_model):
    region = [Interval("chr1", 40_000, 40_100)]  # one window
    plain, weighted = (
        gexplain.score(
            region, data["genome"], box_model, settings=gexplain.ScoreSettings(target="promoter", weight=weight)
        )
        for weight in ("none", "probability")
    )
    probability = plain.values("promoter.prediction", region[0])
    np.testing.assert_allclose(
        weighted.values("promoter", region[0]), plain.values("promoter", region[0]) * probability, rtol=1e-5
    )


def test_shifts_are_counted_as_windows(data, box_model):
    region = [Interval("chr1", 40_000, 40_100)]
    shifted = gexplain.score(region, data["genome"], box_model, settings=gexplain.ScoreSettings(shifts=4))
    assert shifted.values("coverage", region[0]).tolist() == [4] * 100


def test_regions_of_every_kind_are_read(data, box_model, tmp_path):
    frame = pd.DataFrame({"chrom": ["chr1"], "start": [40_000], "end": [40_300]})
    import pyranges

    forms = [
        frame,
        pyranges.PyRanges(frame.rename(columns={"chrom": "Chromosome", "start": "Start", "end": "End"})),
        ["chr1:40,001-40,300"],
        [Interval("chr1", 40_000, 40_300)],
    ]
    runs = [gexplain.score(form, data["genome"], box_model) for form in forms]
    for other in runs[1:]:
        assert_same_tracks(runs[0], other)


# -- the directory --------------------------------------------------------------------------------------------


def test_the_same_again_is_done_already(run, data, box_model, monkeypatch):
    monkeypatch.setattr(WindowStore, "__init__", lambda *_, **__: pytest.fail("computed again"))
    settings = gexplain.ScoreSettings(target="promoter", formats=("bigwig", "bedgraph", "npz"), batch_size=3)
    again = gexplain.score(**data, model=box_model, output=run.path, settings=settings)
    assert again.manifest["written"] == run.manifest["written"]


def test_other_settings_in_the_same_folder_are_refused(data, box_model, tmp_path):
    score(data, box_model, tmp_path, target="promoter")
    with pytest.raises(RunError, match="method: attnlrp there, cplrp now"):
        score(data, box_model, tmp_path, target="promoter", method="cplrp")


@pytest.mark.parametrize("change", [{"problem_type": "multi_label_classification"}, {"layer_norm_eps": 0.5}])
def test_another_config_beside_the_same_weights_is_another_model(data, test_data, tmp_path, change):
    checkpoint = shutil.copytree(test_data / "tiny_checkpoint", tmp_path / "model")
    region = [Interval("chr1", 40_000, 40_100)]
    gexplain.score(region, data["genome"], checkpoint, output=tmp_path / "out")
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(RunError, match="other settings"):
        gexplain.score(region, data["genome"], checkpoint, output=tmp_path / "out")


@pytest.mark.parametrize(
    "lost", ["tracks/coverage.bw", "seqlets.bed", "hits.as", "motif_summary.tsv", "null/null.fa"]
)
def test_a_finished_run_that_lacks_a_file_is_told(data, box_model, tmp_path, lost):
    region = [Interval("chr1", 40_000, 40_100)]
    gexplain.score(region, data["genome"], box_model, output=tmp_path)
    (tmp_path / lost).unlink()
    with pytest.raises(RunError, match=f"lacks .*{lost}"):
        gexplain.score(region, data["genome"], box_model, output=tmp_path)


@pytest.mark.parametrize("text", ["[]", "{}", '{"settings": 3}', "\xff"])
def test_a_manifest_of_something_else_is_told(data, box_model, tmp_path, text):
    (tmp_path / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(RunError, match="no manifest of gexplain"):
        score(data, box_model, tmp_path)


def test_strict_is_held_against_a_finished_run_too(data, box_model, tmp_path):
    regions = [Interval("chr1", 300, 500), Interval("chr1", 40_000, 40_100)]
    gexplain.score(regions, data["genome"], box_model, output=tmp_path)
    with pytest.raises(SkippedRegionsError, match="1 no base but N"):
        gexplain.score(
            regions, data["genome"], box_model, output=tmp_path, settings=gexplain.ScoreSettings(strict=True)
        )


def stream(regions, data, model, **settings) -> list[str]:
    settings = gexplain.ScoreSettings(target="promoter", **settings)
    with inputs.open_inputs(regions, data["genome"], settings) as opened:
        return runs.stream_bedgraph(opened, model, io.StringIO(), settings=settings)


def test_a_stream_tells_of_regions_of_n_alone(data, box_model):
    n_only, other = Interval("chr1", 300, 500), Interval("chr1", 40_000, 40_100)
    assert stream([n_only, other], data, box_model) == ["1 region skipped: no base but N"]
    with pytest.raises(SkippedRegionsError, match="1 no base but N"):
        stream([n_only, other], data, box_model, strict=True)
    with pytest.raises(InputError, match="N alone"):
        stream([n_only], data, box_model)


def test_an_interrupt_within_a_pool_leaves_no_window_half_done(data, box_model, tmp_path, monkeypatch):
    insert, n_inserted = WindowStore._insert, 0

    def interrupted(self, result):
        nonlocal n_inserted
        n_inserted += 1
        if n_inserted == 100:
            raise KeyboardInterrupt
        insert(self, result)

    with monkeypatch.context() as patched:
        patched.setattr(WindowStore, "_insert", interrupted)
        with pytest.raises(KeyboardInterrupt):
            score(data, box_model, tmp_path, target="promoter")
    assert n_committed(tmp_path) in (0, 64)  # whole pools alone
    assert score(data, box_model, tmp_path, target="promoter").manifest["windows"]["read"] == 669


def test_names_with_quotes_and_commas_come_back(data, box_model):
    names = ['"quoted', 'a "b" c', "x,y", "é"]
    regions = [Interval("chr1", 40_000, 40_100, name) for name in names]
    assert gexplain.score(regions, data["genome"], box_model).regions().name.tolist() == names


def test_a_name_that_would_break_the_table_is_told(data, box_model):
    with pytest.raises(InputError, match="holds a tab or a line end"):
        gexplain.score([Interval("chr1", 40_000, 40_100, "a\tb")], data["genome"], box_model)


def test_a_regression_cannot_be_weighted_by_probability(data, tmp_path):
    regression = tiny_checkpoint(tmp_path / "model", n_targets=1, labels=["expression"], head="regression")
    with pytest.raises(UsageError, match="no probability"):
        score(data, regression, tmp_path / "out", weight="probability")


@pytest.mark.parametrize("head", ["regression", "multi_label"])
def test_other_heads_are_scored(data, tmp_path, head):
    labels = ["expression"] if head == "regression" else ["a", "b", "c"]
    checkpoint = tiny_checkpoint(tmp_path / "model", n_targets=len(labels), labels=labels, head=head)
    done = gexplain.score([Interval("chr1", 40_000, 40_100)], data["genome"], checkpoint)
    (row,) = done.regions().itertuples()
    if head == "regression":
        logits = gexplain.load_model(checkpoint, device="cpu").predict
        sequence = Genome(data["genome"]).fetch("chr1", 40_050 - 256, 40_050 + 256)
        both = logits([sequence, reverse_complement(sequence)])
        assert row.value_expression == pytest.approx(both.mean(), rel=1e-4)
        assert row.predicted == "."
    else:
        above = [label for label in labels if getattr(row, f"probability_{label}") > 0.5]
        assert row.predicted == (",".join(above) or ".")


def test_settings_of_a_loaded_model_are_not_ignored(data, box_model, tmp_path):
    with pytest.raises(UsageError, match="bfloat16 asked for, but the model is loaded as float32"):
        score(data, box_model, tmp_path, dtype="bfloat16")


def test_force_replaces_the_run_and_keeps_other_files(data, box_model, tmp_path):
    score(data, box_model, tmp_path, target="promoter")
    (tmp_path / "notes.txt").write_text("mine")
    forced = score(data, box_model, tmp_path, target="enhancer", force=True)
    assert sorted(forced.tracks) == ["coverage", "enhancer", "enhancer.prediction"]
    assert not (tmp_path / "tracks" / "promoter.bw").exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_second_run_in_the_same_folder_is_locked_out_and_harms_nothing(data, box_model, tmp_path, monkeypatch):
    compute, told = TokenExplainer.compute, []

    def second_run(self, *arguments):
        if not told:
            told.append("...")
            for force in (False, True):
                with pytest.raises(RunError, match="another run is writing here"):
                    score(data, box_model, tmp_path, target="enhancer", force=force)
        return compute(self, *arguments)

    monkeypatch.setattr(TokenExplainer, "compute", second_run)
    assert sorted(score(data, box_model, tmp_path, target="promoter").tracks)[1] == "promoter"
    assert told


def test_no_resume_starts_over_even_from_a_damaged_store(data, box_model, tmp_path):
    (tmp_path / ".unfinished").mkdir()
    (tmp_path / ".unfinished" / "windows.sqlite").write_bytes(b"damaged" * 1000)
    with pytest.raises(RunError, match="--no-resume"):
        score(data, box_model, tmp_path)
    assert score(data, box_model, tmp_path, resume=False).manifest["regions"]["scored"] == 124


def test_a_folder_of_other_files_is_refused(data, box_model, tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(RunError, match="holds no gexplain run"):
        score(data, box_model, tmp_path)


def test_without_output_the_run_lives_as_long_as_the_object(data, box_model):
    held = gexplain.score([Interval("chr1", 40_000, 40_100)], data["genome"], box_model)
    path = held.path
    assert path.is_dir()
    del held
    assert not path.exists()


def test_a_run_resumes_after_an_error_and_computes_only_the_rest(run, data, box_model, tmp_path, monkeypatch):
    """A crash half-way: what was done is kept, and the tracks are those of one run."""
    seen: list[int] = []
    batches = TokenExplainer.batches

    def failing(self, sequences: Sequence[str], *rest):
        seen.append(len(sequences))
        if len(seen) == 4:
            raise KeyboardInterrupt
        return batches(self, sequences, *rest)

    monkeypatch.setattr(TokenExplainer, "batches", failing)
    with pytest.raises(KeyboardInterrupt):
        score(data, box_model, tmp_path, target="promoter", null_regions=0)
    assert [path.name for path in tmp_path.iterdir()] == [".unfinished"]
    with closing(sqlite3.connect(tmp_path / ".unfinished" / "windows.sqlite")) as store:
        kept = store.execute("select count(*) from scored").fetchone()[0]
    seen[:] = [0] * 4
    other = score(data, box_model, tmp_path, target="promoter", null_regions=0)
    assert kept > 0
    assert kept + sum(seen) == other.manifest["windows"]["read"]
    for name in ("promoter", "promoter.prediction", "coverage"):
        for chrom, values in read_track(run, name).items():
            np.testing.assert_allclose(values, read_track(other, name)[chrom], atol=1e-6)


def start_in_a_process(data, out, *calls: object) -> subprocess.Popen:
    """The command, slowed to single sequences, with every pool committed; calls: options of seqlets and hits."""
    code = "import sys, gexplain.store as store; store.COMMIT_EVERY_S = 0; from gexplain_cli import main; main()"
    model = data["genome"].parent / "tiny_checkpoint"
    options = ["-m", model, "-o", out, "--target", "promoter", "--batch-size", "1", *(calls or ("--null-regions", 0))]
    command = [sys.executable, "-c", code, "score", data["regions"], data["genome"], *options]
    return subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def n_committed(out, name: str = "windows") -> int:
    try:
        with closing(sqlite3.connect(f"file:{out}/.unfinished/{name}.sqlite?mode=ro", uri=True)) as store:
            return int(store.execute("select count(*) from windows").fetchone()[0])
    except sqlite3.OperationalError:  # not there yet, or just being written
        return 0


def test_a_run_killed_while_its_null_is_read_goes_on(data, box_model, tmp_path, monkeypatch):
    few = tmp_path / "few.bed"
    few.write_text("chr1\t40000\t41000\nchr2\t4000\t4100\n")
    data = {**data, "regions": few}
    settings = {"target": "promoter", "batch_size": 1, "null_regions": 100, "motifs": "none"}
    whole = score(data, box_model, tmp_path / "whole", **settings)
    out = tmp_path / "out"
    process = start_in_a_process(data, out, "--null-regions", 100, "--motifs", "none")

    def n_of_null() -> int:
        return sum(n_committed(out, path.stem) for path in out.glob(".unfinished/null-*.sqlite"))

    while n_of_null() == 0 and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "finished before it was killed"
    kept = n_of_null()
    seen: list[int] = []
    batches = TokenExplainer.batches
    monkeypatch.setattr(
        TokenExplainer, "batches", lambda self, of, *rest: seen.append(len(of)) or batches(self, of, *rest)
    )
    finished = score(data, box_model, out, **settings)
    with Genome(out / "null" / "null.fa") as shuffled:
        n_all = sum(max(1, -(-(length - WINDOW) // (WINDOW // 2)) + 1) for length in shuffled.chroms.values())
    assert 0 < kept < n_all
    assert sum(seen) == n_all - kept
    assert_same_tracks(finished, whole)
    for name in ("null.fa", "promoter.bw"):
        assert (out / "null" / name).read_bytes() == (whole.path / "null" / name).read_bytes()
    assert (out / "seqlets.bed").read_text() == (whole.path / "seqlets.bed").read_text()


# -- refusals -------------------------------------------------------------------------------------------------


def test_strict_refuses_what_would_be_skipped(data, box_model, tmp_path):
    with pytest.raises(SkippedRegionsError, match="4 of 129 regions cannot be scored"):
        score(data, box_model, tmp_path / "out", strict=True)
    assert not (tmp_path / "out").exists()


def test_strict_refuses_regions_of_n_alone(data, box_model, tmp_path):
    with pytest.raises(SkippedRegionsError, match="1 no base but N"):
        gexplain.score(
            [Interval("chr1", 300, 500), Interval("chr1", 40_000, 40_100)],
            data["genome"],
            box_model,
            output=tmp_path / "out",
            settings=gexplain.ScoreSettings(strict=True),
        )
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"strand": "x"},
        {"window": 0},
        {"stride": 0},
        {"formats": ()},
        {"strict": True, "on_bad_line": "skip"},
        {"window": "auto"},
        {"stride": "auto"},
        {"shifts": "auto"},
        {"shifts": None},
        {"shifts": 1.0},
        {"window": 51.2},
        {"batch_size": "many"},
        {"null_regions": "auto"},
        {"seed": "1"},
    ],
)
def test_settings_that_make_no_sense_are_told(wrong):
    with pytest.raises(UsageError):
        gexplain.ScoreSettings(**wrong)


def test_values_need_bigwigs(data, box_model):
    text_only = gexplain.score(
        [Interval("chr1", 40_000, 40_100)],
        data["genome"],
        box_model,
        settings=gexplain.ScoreSettings(formats=["bedgraph"]),
    )
    assert text_only.tracks["coverage"].exists()
    with pytest.raises(UsageError, match="no bigWigs"):
        text_only.values("coverage", Interval("chr1", 0, 10))


def test_an_unknown_format_is_told(data, box_model, tmp_path):
    with pytest.raises(UsageError, match="bigwig, bedgraph, npz"):
        score(data, box_model, tmp_path, formats=("wig",))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_told(data, box_model, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="cannot be written"):
        score(data, box_model, tmp_path / "out")


# -- real data ------------------------------------------------------------------------------------------------


@needs_shared
def test_yeast_promoters_make_tracks_that_open(box_model, tmp_path):
    """All 1,124 overlapping promoters; every expectation from the files alone."""
    yeast = SHARED / "data" / "yeast"
    bed, fasta = yeast / "promoters_chrIV_chrXVI.bed", yeast / "sacCer3.fa.gz"
    settings = gexplain.ScoreSettings(target="promoter", window=512, strand="forward", batch_size=64, null_regions=0)
    run = gexplain.score(bed, fasta, box_model, output=tmp_path, settings=settings)
    assert run.manifest["regions"] | {"sha256": "", "source": ""} == {
        "source": "",
        "sha256": "",
        "lines": 1124,
        "scored": 1124,
        "skipped": {},
    }
    sizes = dict(line.split("\t") for line in (yeast / "sacCer3.chrom.sizes").read_text().splitlines())
    starts: dict[str, set[int]] = {}
    for line in bed.read_text().splitlines():
        chrom, start, end = line.split("\t")[:3]
        # By definition: multiples of 256, from the one below the start to the first that reaches the end.
        tiles = [tile for tile in range(0, int(end), 256) if tile + 256 > int(start) and tile - 256 + 512 < int(end)]
        starts.setdefault(chrom, set()).update(min(tile, int(sizes[chrom]) - 512) for tile in tiles)
    coverage, relevance = read_track(run, "coverage"), read_track(run, "promoter")
    assert {chrom: str(len(values)) for chrom, values in coverage.items()} == sizes
    with Genome(fasta) as genome:
        assert list(coverage) == list(genome.chroms)
    for chrom, values in coverage.items():
        expected = np.zeros(len(values))
        for start in starts.get(chrom, ()):
            expected[start : start + 512] += 1
        np.testing.assert_array_equal(np.nan_to_num(values), expected)
        np.testing.assert_array_equal(np.isnan(relevance[chrom]), expected == 0)


def test_a_run_with_hits_leaves_torch_its_threads(tmp_path, data, box_model, test_data):
    """Numba sets those of the whole process when it looks for motifs."""
    before = torch.get_num_threads()
    settings = gexplain.ScoreSettings(null_regions=6, motifs=str(test_data / "motifs.meme"))
    gexplain.score(["chr1:2,001-3,000"], data["genome"], box_model, output=tmp_path / "out", settings=settings)
    assert torch.get_num_threads() == before
