"""Estimates: what is counted is what the run does, what is refused is what the run refuses, nothing is written."""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import gexplain
from gexplain.attribution.explainers import TokenExplainer
from gexplain.errors import RunError, SkippedRegionsError, UsageError
from gexplain.estimate import Estimate, estimate_run
from gexplain.inputs import open_inputs
from gexplain.plan import REASONS, Status
from gexplain.run_folder import NULL, UNFINISHED
from gexplain.runs import score_inputs
from gexplain.scoring import Scoring
from gexplain.shards import score_shard
from gexplain.store import WindowStore
from gexplain.trial import _Sample, sample_windows
from gexplain.windows import Tiling
from gexplain.work_folder import locked

KINDS = {
    "as it is": {"target": "promoter"},
    "all targets": {"target": "all"},
    "predicted": {"target": "predicted"},
    "one strand": {"target": "promoter", "strand": "forward"},
    "strands of regions": {"target": "promoter", "strand": "region"},
    "shifts": {"target": "promoter", "shifts": 3, "stride": 50},
    "no null": {"target": "promoter", "null_regions": 0},
    "no motifs": {"target": "promoter", "motifs": "none"},
    "skipped": {"target": "promoter", "chroms": ("chr1",), "null_regions": 0},
    "formats": {"target": "promoter", "formats": ("bedgraph", "npz"), "null_regions": 0},
}
SIZE_FACTOR = 4
"""Within which sizes are told: the page and the bigWigs' own tables are most of so small a run."""


@pytest.fixture(scope="module")
def model(test_data):
    return gexplain.load_model(test_data / "tiny_checkpoint", device="cpu")


@pytest.fixture
def regions(test_data, tmp_path) -> Path:
    """The regions of the test data, and one on a chromosome that is not there; each with a strand."""
    path = tmp_path / "regions.bed"
    rows = [line.split("\t") for line in (test_data / "regions.bed").read_text().splitlines()][:6]
    lines = ["\t".join([*row[:3], f"r{i}", "0", "+-"[i % 2]]) for i, row in enumerate(rows)]
    path.write_text("\n".join([*lines, "chrNo\t1\t9\tnowhere\t0\t+"]) + "\n")
    return path


def estimate(regions, genome, model, output=None, *, how=None, **options) -> Estimate:
    settings = gexplain.ScoreSettings(**options)
    with open_inputs(regions, genome, settings) as inputs:
        return estimate_run(inputs, model, output=output, settings=settings, within_s=0.05, **(how or {}))


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """All files below a folder, with their size and when they were written."""
    found = sorted(folder.rglob("*"))
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_counts_are_those_of_the_run_that_follows(regions, test_data, model, tmp_path, options):
    genome, out = test_data / "genome.fa", tmp_path / "out"
    said = estimate(regions, genome, model, out, **options)
    run = gexplain.score(regions, genome, model, output=out, settings=gexplain.ScoreSettings(**options))
    manifest = run.manifest
    counted = manifest["regions"]["scored"], dict(manifest["regions"]["skipped"])
    only_n = counted[1].pop(REASONS[Status.ONLY_N], 0)  # known once the sequence is read
    assert said.regions == {"scored": counted[0] + only_n, **counted[1]}
    assert said.windows == sum(manifest["windows"].values())
    assert said.null_regions == manifest.get("calls", {}).get("null", {}).get("regions", 0)
    assert said.tracks == len(manifest["tracks"])
    assert said.targets == manifest["settings"]["target"]
    assert said.state == "new"


def test_windows_of_the_null_are_those_that_are_read(regions, test_data, model, tmp_path, monkeypatch):
    said = estimate(regions, test_data / "genome.fa", model, target="promoter")
    told = []
    settings = gexplain.ScoreSettings(target="promoter")
    gexplain.score(
        regions, test_data / "genome.fa", model, settings=settings, progress=lambda done, n_all: told.append(n_all)
    )
    assert told[-1] == said.windows + said.null_windows
    assert said.null_windows > 0


def test_nothing_is_written(regions, test_data, model, tmp_path):
    before, data = snapshot(tmp_path), snapshot(test_data)
    estimate(regions, test_data / "genome.fa", model, tmp_path / "out" / "deep", target="promoter")
    assert snapshot(tmp_path) == before
    assert snapshot(test_data) == data


def test_a_finished_run_needs_nothing_but_its_report(regions, test_data, model, tmp_path):
    genome, out, settings = test_data / "genome.fa", tmp_path / "out", gexplain.ScoreSettings(target="promoter")
    gexplain.score(regions, genome, model, output=out, settings=settings)
    before = snapshot(out)
    said = estimate(regions, genome, model, out, target="promoter")
    assert (said.state, said.timed_windows, said.windows_done) == ("finished", 0, said.windows)
    assert set(said.seconds) == {"start", "report"}
    assert snapshot(out) == before


def test_a_null_that_is_there_is_not_read_again(regions, test_data, model, tmp_path):
    genome, out = test_data / "genome.fa", tmp_path / "out"
    gexplain.score(regions, genome, model, output=out, settings=gexplain.ScoreSettings(target="promoter"))
    said = estimate(regions, genome, model, out, target="promoter", force=True, q=0.5)
    assert (said.state, said.null_is_kept, said.null_windows) == ("new", True, 0)
    assert (out / NULL).exists()


@pytest.mark.parametrize("is_killed", [False, True])
def test_an_interrupted_run_is_gone_on_with(test_data, model, tmp_path, is_killed):
    genome, out, settings = test_data / "genome.fa", tmp_path / "out", gexplain.ScoreSettings(target="promoter")

    regions = ["chr1:1,001-20,000"]

    def stop(n_done, _):
        if n_done >= 64:
            raise KeyboardInterrupt

    with open_inputs(regions, genome, settings) as inputs, pytest.raises(KeyboardInterrupt):
        score_inputs(inputs, model, output=out, settings=settings, progress=stop)
    store = out / UNFINISHED / "windows.sqlite"
    if is_killed:  # what a kill within a commit leaves
        store.with_name("windows.sqlite-journal").write_bytes(b"")
    before = snapshot(out)
    said = estimate(regions, genome, model, out, target="promoter")
    assert snapshot(out) == before
    with closing(sqlite3.connect(store)) as held:
        (n_done,) = held.execute("select count(*) from windows").fetchone()
    assert 64 <= n_done < said.windows
    assert (said.state, said.windows_done) == ("resumable", n_done)
    assert said.seconds["windows"] == pytest.approx((said.windows - n_done) * said.window_s)
    again = estimate(regions, genome, model, out, target="promoter", resume=False)
    assert (again.state, again.windows_done) == ("new", 0)


@pytest.mark.parametrize("has_pages", [False, True])
def test_a_run_that_was_stopped_before_its_first_window_is_new(test_data, model, tmp_path, has_pages):
    (tmp_path / UNFINISHED).mkdir()
    store = tmp_path / UNFINISHED / "windows.sqlite"
    store.touch()
    if has_pages:  # and no tables: what a kill before the commit of the schema may leave
        with closing(sqlite3.connect(store)) as begun:
            begun.execute("vacuum")
        assert store.stat().st_size
    regions, genome = ["chr1:1,001-9,000"], test_data / "genome.fa"
    said = estimate(regions, genome, model, tmp_path, target="promoter", null_regions=0)
    assert (said.state, said.windows_done) == ("new", 0)
    settings = gexplain.ScoreSettings(target="promoter", null_regions=0)
    gexplain.score(regions, genome, model, output=tmp_path, settings=settings)


def test_a_run_of_another_version_is_refused_as_by_the_run(regions, test_data, model, tmp_path):
    (tmp_path / UNFINISHED).mkdir()
    with closing(sqlite3.connect(tmp_path / UNFINISHED / "windows.sqlite")) as other:
        other.execute("create table windows (place integer primary key)")
        other.execute("pragma user_version = 99")
    mine, theirs = refused(regions, test_data / "genome.fa", model, tmp_path, target="promoter")
    assert "another version of gexplain" in str(mine)
    assert str(mine) == str(theirs)


def test_results_of_a_killed_run_that_are_too_many_to_copy_are_not_counted(test_data, model, tmp_path, monkeypatch):
    genome, settings = test_data / "genome.fa", gexplain.ScoreSettings(target="promoter")
    with open_inputs(["chr1:1,001-9,000"], genome, settings) as inputs, pytest.raises(KeyboardInterrupt):
        score_inputs(inputs, model, output=tmp_path, settings=settings, progress=_interrupt)
    (tmp_path / UNFINISHED / "windows.sqlite-journal").write_bytes(b"")
    monkeypatch.setattr("gexplain.store._MOST_COPIED_BYTES", 10_000)
    monkeypatch.setattr("gexplain.store.shutil.copy", lambda *_: pytest.fail("it was copied"))
    said = estimate(["chr1:1,001-9,000"], genome, model, tmp_path, target="promoter")
    assert (said.state, said.windows_done) == ("resumable", None)
    assert said.seconds["windows"] == pytest.approx(said.windows * said.window_s)


def test_shards_are_told_as_they_are_read(test_data, model, tmp_path):
    genome, regions, settings = test_data / "genome.fa", ["chr1:1,001-80,000"], gexplain.ScoreSettings(target="all")
    parts, told = [], []
    for nth in (1, 2, 3):
        out = tmp_path / str(nth)
        said = estimate(regions, genome, model, out, how={"shard": (nth, 3)}, target="all")
        assert (said.state, said.output_bytes, set(said.seconds)) == ("new", 0, {"start", "windows", "null"})
        with open_inputs(regions, genome, settings) as inputs:
            done = score_shard(
                inputs, model, (nth, 3), output=out, settings=settings, progress=lambda *n: told.append(n)
            )
        assert said.windows == done.n_windows
        assert said.windows + said.null_windows == told[-1][1]
        before = snapshot(out)
        again = estimate(regions, genome, model, out, how={"shard": (nth, 3)}, target="all")
        assert (again.state, again.windows_done, set(again.seconds)) == ("finished", said.windows, {"start"})
        assert snapshot(out) == before
        parts.append(said)
    whole = estimate(regions, genome, model, target="all")
    assert sum(one.windows for one in parts) == whole.windows
    # A few windows of the null belong to no shard.
    assert 0.8 * whole.null_windows < sum(one.null_windows for one in parts) <= whole.null_windows
    with pytest.raises(RunError, match="another shard is here"):
        estimate(regions, genome, model, tmp_path / "1", how={"shard": (2, 3)}, target="all")


def test_a_stream_has_windows_alone(test_data, model):
    said = estimate(["chr1:1,001-9,000"], test_data / "genome.fa", model, how={"streams": True}, target="promoter")
    assert set(said.seconds) == {"start", "windows"}
    assert (said.null_windows, said.output_bytes, said.store_bytes) == (0, 0, 0)
    with pytest.raises(UsageError, match="standard output takes one track, not 3"):
        estimate(["chr1:1,001-9,000"], test_data / "genome.fa", model, how={"streams": True}, target="all")


def refused(regions, genome, model, out, **options) -> tuple[BaseException, BaseException]:
    """How an estimate is refused, and how the run is."""
    told = []
    settings = gexplain.ScoreSettings(**options)
    for action in (estimate_run, score_inputs):
        with open_inputs(regions, genome, settings) as inputs, pytest.raises(gexplain.GexplainError) as error:
            action(inputs, model, output=out, settings=settings)
        told.append(error.value)
    return told[0], told[1]


def test_it_refuses_what_the_run_refuses_in_the_same_words(regions, test_data, model, tmp_path):
    genome = test_data / "genome.fa"
    done, other, half = tmp_path / "done", tmp_path / "other", tmp_path / "half"
    gexplain.score(regions, genome, model, output=done, settings=gexplain.ScoreSettings(target="promoter"))
    other.mkdir()
    (other / "thesis.txt").write_text("")
    with (
        open_inputs(regions, genome, settings := gexplain.ScoreSettings(target="promoter")) as inputs,
        pytest.raises(KeyboardInterrupt),
    ):
        score_inputs(inputs, model, output=half, settings=settings, progress=_interrupt)
    cases = [
        (RunError, done, {"target": "promoter", "window": 100}),
        (RunError, other, {"target": "promoter"}),
        (RunError, other / "thesis.txt", {"target": "promoter"}),
        (RunError, half, {"target": "promoter", "window": 100}),
        (UsageError, tmp_path / "new", {"target": "no such class"}),
        (UsageError, tmp_path / "new", {"target": "promoter", "method": "deeplift"}),
        (UsageError, tmp_path / "new", {"target": "promoter", "dtype": "float64"}),
    ]
    for kind, out, options in cases:
        mine, theirs = refused(regions, genome, model, out, **options)
        assert isinstance(mine, kind)
        assert (str(mine), mine.exit_code) == (str(theirs), theirs.exit_code)


def _interrupt(n_done, _):
    if n_done:
        raise KeyboardInterrupt


def test_a_folder_in_use_is_refused_and_stays_in_use(regions, test_data, model, tmp_path):
    with locked(tmp_path / "out"):
        mine, theirs = refused(regions, test_data / "genome.fa", model, tmp_path / "out", target="promoter")
        assert "another run is writing here" in str(mine)
        assert str(mine) == str(theirs)


def test_strict_is_told_before_any_window(regions, test_data, model):
    with pytest.raises(SkippedRegionsError):
        estimate(regions, test_data / "genome.fa", model, target="promoter", strict=True)


@pytest.mark.parametrize("name", ["as it is", "all targets", "no null", "formats"])
def test_sizes_are_within_a_factor(regions, test_data, model, tmp_path, monkeypatch, name):
    genome, out, options = test_data / "genome.fa", tmp_path / "out", KINDS[name]
    said = estimate(regions, genome, model, out, **options)
    largest = 0
    leave = WindowStore.__exit__

    def weighed(self, *how):
        nonlocal largest
        leave(self, *how)
        largest = max(largest, sum(path.stat().st_size for path in (out / UNFINISHED).glob("*.sqlite")))

    monkeypatch.setattr(WindowStore, "__exit__", weighed)
    settings = gexplain.ScoreSettings(**options)
    with open_inputs(regions, genome, settings) as inputs:
        run = score_inputs(inputs, model, output=out, settings=settings)
        gexplain.make_report(run, model=model)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    assert abs(math.log(said.output_bytes / size)) < math.log(SIZE_FACTOR)
    assert abs(math.log(said.store_bytes / largest)) < math.log(SIZE_FACTOR)


def test_a_full_disk_is_warned_of(regions, test_data, model, tmp_path, monkeypatch):
    class Usage:
        free = 1_000

    monkeypatch.setattr("gexplain.estimate.shutil.disk_usage", lambda path: Usage)
    said = estimate(regions, test_data / "genome.fa", model, tmp_path / "out", target="promoter")
    assert any("GB are free" in warning for warning in said.warnings)


def test_the_sample_is_of_the_plan_and_even_over_it(test_data, model):
    settings, tiling = gexplain.ScoreSettings(target="promoter"), Tiling(128, 64, 1)
    regions = ["chr1:1,001-30,000", "chr1:50,001-50,100", "chr2:1,001-11,000"]
    with open_inputs(regions, test_data / "genome.fa", settings) as inputs:
        everything = list(inputs.plan.windows(tiling))
        sample = list(sample_windows(inputs.plan, tiling, 60))
        whole = list(sample_windows(inputs.plan, tiling, 10**6))
    assert len(sample) == len(set(sample)) <= 60
    assert set(sample) <= set(everything)
    share = sum(one.chrom == "chr1" for one in everything) / len(everything)
    assert sum(one.chrom == "chr1" for one in sample) / len(sample) == pytest.approx(share, abs=0.05)
    assert len(whole) > 0.95 * len(everything)


class Clock:
    """A time that passes as a model computes, and not else: so many seconds a sequence, and some at first."""

    def __init__(self, sequence_s: float, first_s: float) -> None:
        self.now, self.sequence_s, self.first_s = 0.0, sequence_s, first_s

    def perf_counter(self) -> float:
        return self.now

    def compute(self, explainer, batch, target, _compute=TokenExplainer.compute):
        self.now += self.first_s + self.sequence_s * len(batch.sequences)
        self.first_s = 0.0
        return _compute(explainer, batch, target)


@pytest.fixture
def sample(test_data, model):
    """Windows to be timed: two pools and a half."""
    settings, tiling = gexplain.ScoreSettings(target="promoter", batch_size=16), Tiling(128, 64, 1)
    with open_inputs(["chr1:1,001-11,000"], test_data / "genome.fa", settings) as inputs:
        scoring = Scoring.prepare(inputs, model, settings)
        windows = list(inputs.plan.windows(tiling))
        yield _Sample(scoring, windows, [inputs.genome.fetch(one.chrom, one.start, one.end) for one in windows])


@pytest.mark.parametrize(
    ("sequence_s", "first_s", "told_s"),
    [
        (0.01, 0.0, 0.01),
        (0.01, 5.0, 0.01),  # the first window takes all of the time, which is one second
        (1e-4, 5.0, 1e-4),  # and whole pools are read after it
        (3.0, 5.0, 3.0),
        (30.0, 0.0, 30.0),  # so slow that it is not read again
    ],
)
def test_what_is_done_once_is_not_taken_for_the_rate(sample, monkeypatch, sequence_s, first_s, told_s):
    clock = Clock(sequence_s, first_s)
    monkeypatch.setattr("gexplain.trial.time", clock)
    monkeypatch.setattr(TokenExplainer, "compute", lambda *given: clock.compute(*given))
    n_timed, window_s, _ = sample.time_windows(1.0)
    assert n_timed >= 1
    assert window_s == pytest.approx(told_s, rel=0.5)  # windows differ in their tokens
    assert clock.now < first_s + max(1.5, 2.5 * sequence_s)


def test_a_pool_is_timed_where_no_time_is_left(sample):
    n_timed, window_s = sample._time_pools([range(10), range(10, 20)], until=0)
    assert n_timed == 10
    assert window_s > 0


def test_it_is_json(regions, test_data, model):
    said = estimate(regions, test_data / "genome.fa", model, target="promoter")
    written = json.loads(json.dumps(said.as_json(), allow_nan=False))
    assert written["windows"] == said.windows
    assert written["total_s"] == said.total_s
    assert written["thousand_windows_s"] == 1_000 * said.window_s
