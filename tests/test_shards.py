"""Shards of a run, joined, are the run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gexplain
from gexplain.errors import InputError, RunError, UsageError
from gexplain.inputs import open_inputs, parse_shard
from gexplain.null import NULL_PART
from gexplain.run_folder import SHARD, UNFINISHED
from gexplain.runs import STORE
from gexplain.scoring import Scoring
from gexplain.shards import Shard, merge_shards, read_shard, score_shard

BED = "chr1\t2000\t8000\tlong\t0\t+\nchr1\t40000\t42000\tright\t0\t-\nchr2\t1000\t5000\t.\t0\t-\n"
TABLES = ("regions.tsv", "stats.tsv", "seqlets.bed", "hits.bed", "motif_summary.tsv")
# Three pools of 64 windows.
SMALL = {"window": 128, "batch_size": 16, "null_regions": 12, "match_p": 0.01, "q": 1.0}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("shards")
    (root / "regions.bed").write_text(BED)
    return root


@pytest.fixture(scope="module")
def settings(test_data) -> gexplain.ScoreSettings:
    return gexplain.ScoreSettings(**SMALL, motifs=str(test_data / "motifs.meme"))


@pytest.fixture(scope="module")
def make(workplace, test_data, model) -> Callable[..., Shard]:
    def make_shard(out: Path, number: int, n_shards: int, settings: gexplain.ScoreSettings, **options) -> Shard:
        with open_inputs(workplace / "regions.bed", test_data / "genome.fa", settings) as inputs:
            return score_shard(inputs, model, (number, n_shards), output=out, settings=settings, **options)

    return make_shard


@pytest.fixture(scope="module")
def halves(make, workplace, settings) -> list[Path]:
    """The two shards of one run."""
    return [make(workplace / f"half_{i}", i, 2, settings).folder for i in (1, 2)]


def whole_run(workplace: Path, test_data: Path, model: gexplain.Model, out: Path, settings) -> gexplain.Run:
    return gexplain.score(workplace / "regions.bed", test_data / "genome.fa", model, output=out, settings=settings)


def assert_same(one: gexplain.Run, other: gexplain.Run) -> None:
    for table in TABLES:
        assert (one.path / table).read_bytes() == (other.path / table).read_bytes(), table
    with gexplain.Genome(one.manifest["genome"]["file"]) as genome:
        for name, path in one.tracks.items():
            assert path.name == other.tracks[name].name
            for chrom, length in genome.chroms.items():
                place = gexplain.Interval(chrom, 0, length)
                np.testing.assert_allclose(one.values(name, place), other.values(name, place), atol=1e-6)
    passing = ("written", "seconds", "command", "device")
    first, second = (
        {key: value for key, value in run.manifest.items() if key not in passing} for run in (one, other)
    )
    # The null's last digits, and with them its compressed sizes, depend on which windows shared a batch.
    for manifest in (first, second):
        manifest["files"] = {name: None if name.startswith("null/") else n for name, n in manifest["files"].items()}
    assert first == second


@pytest.mark.parametrize(
    ("n_shards", "changes"),
    [
        (1, {}),
        (3, {}),
        (8, {"target": "promoter", "batch_size": "auto"}),
        (3, {"target": "all", "strand": "region"}),
        (2, {"shifts": 3, "window": 100, "weight": "probability"}),
    ],
)
def test_shards_joined_in_any_order_are_one_run(
    make, workplace, test_data, model, settings, tmp_path, n_shards, changes
):
    settings = replace(settings, **changes)
    shards = [make(tmp_path / str(i), i, n_shards, settings).folder for i in range(1, n_shards + 1)]
    joined, _ = merge_shards(shards[::-1], tmp_path / "joined", model=model)
    assert_same(joined, whole_run(workplace, test_data, model, tmp_path / "one", settings))


def test_shards_share_the_windows_and_nearly_all_of_the_null(halves, workplace, test_data, model, settings):
    with open_inputs(workplace / "regions.bed", test_data / "genome.fa", settings) as inputs:
        scoring = Scoring.prepare(inputs, model, settings)
        n_windows = inputs.plan.count_windows(scoring.tiling)
        ends = [scoring.shard_windows((i, 5)) for i in range(1, 6)]
    assert [low for low, _ in ends] == [0, *(high for _, high in ends[:-1])]
    assert ends[-1][1] == n_windows
    import sqlite3

    def places(file: str) -> list[set[int]]:
        held = []
        for folder in halves:
            with sqlite3.connect(folder / UNFINISHED / file) as db:
                held.append({place for (place,) in db.execute("select place from windows")})
        return held

    first, second = places(STORE)
    assert not first & second
    assert len(first) + len(second) == n_windows
    assert max(first) < min(second)
    null_first, null_second = places(NULL_PART)
    assert not null_first & null_second
    assert len(null_first) + len(null_second) > 0


def test_a_finished_shard_is_not_computed_again(make, halves, settings, monkeypatch):
    monkeypatch.setattr("gexplain.scoring.Scoring.fill_shard", lambda *_: pytest.fail("computed again"))
    assert make(halves[0], 1, 2, settings) == read_shard(halves[0])


def test_a_shard_that_was_interrupted_goes_on(make, tmp_path, workplace, test_data, model, settings):
    class StoppedError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done > total // 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        make(tmp_path / "1", 1, 2, settings, progress=stop)
    with pytest.raises(InputError, match="the shard is not finished"):
        merge_shards([tmp_path / "1"], tmp_path / "joined", model=model)
    begun: list[int] = []
    make(tmp_path / "1", 1, 2, settings, progress=lambda done, _: begun.append(done))
    assert begun[0] > 0
    make(tmp_path / "2", 2, 2, settings)
    joined, _ = merge_shards([tmp_path / "1", tmp_path / "2"], tmp_path / "joined", model=model)
    assert_same(joined, whole_run(workplace, test_data, model, tmp_path / "one", settings))


def test_a_join_that_was_interrupted_goes_on(halves, tmp_path, model, monkeypatch):
    class StoppedError(Exception):
        pass

    def stop(*_: object) -> None:
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr("gexplain.scoring.Scoring.write", stop)
        with pytest.raises(StoppedError):
            merge_shards(halves, tmp_path / "joined", model=model)
    joined, _ = merge_shards(halves, tmp_path / "joined", model=model)
    again, _ = merge_shards(halves, tmp_path / "joined", model=model)
    assert joined.manifest == again.manifest


def test_shards_stay_as_they_were(halves, tmp_path, model):
    before = [(folder / UNFINISHED / STORE).read_bytes() for folder in halves]
    merge_shards(halves, tmp_path / "joined", model=model)
    assert [(folder / UNFINISHED / STORE).read_bytes() for folder in halves] == before


def test_what_does_not_belong_together_is_refused(make, halves, tmp_path, settings, model):
    other = make(tmp_path / "other", 2, 2, replace(settings, target="promoter")).folder
    of_three = make(tmp_path / "of_three", 2, 3, settings).folder
    for folders, said in (
        ([halves[0], other], "are no shards of one run"),
        ([halves[0], of_three], "are no shards of one run"),
        ([halves[0], halves[0]], "one shard is there twice"),
        ([halves[1]], "1 shard of 2 missing: 1/2"),
        ([halves[0], tmp_path], "no shard is here"),
    ):
        with pytest.raises(InputError, match=said):
            merge_shards(folders, tmp_path / "joined", model=model)
    assert not (tmp_path / "joined").exists()


def test_other_regions_than_the_shards_were_made_of_are_refused(halves, tmp_path, model):
    (tmp_path / "other.bed").write_text("chr1\t2000\t3000\n")
    with pytest.raises(InputError, match="other inputs or settings") as caught:
        merge_shards(halves, tmp_path / "joined", regions=tmp_path / "other.bed", model=model)
    assert "regions: " in caught.value.detail


def test_regions_that_came_from_python_have_to_be_given(test_data, tmp_path, settings, model):
    with open_inputs(["chr1:2,001-9,000"], test_data / "genome.fa", settings) as inputs:
        folder = score_shard(inputs, model, (1, 1), output=tmp_path / "1", settings=settings).folder
    with pytest.raises(UsageError, match="standard input or from Python"):
        merge_shards([folder], tmp_path / "joined", model=model)


def test_a_broken_shard_is_one_clear_error(halves, tmp_path, model):
    for i, folder in enumerate(halves):
        shutil.copytree(folder, tmp_path / str(i))
    (tmp_path / "1" / SHARD).write_text("{")
    with pytest.raises(InputError, match="cannot be read as a shard"):
        read_shard(tmp_path / "1")
    shutil.copy(halves[1] / SHARD, tmp_path / "1" / SHARD)
    (tmp_path / "1" / UNFINISHED / STORE).write_bytes(b"no database" * 1000)
    with pytest.raises(RunError, match="cannot be read"):
        merge_shards([tmp_path / "0", tmp_path / "1"], tmp_path / "joined", model=model)


def test_another_shard_in_the_folder_is_refused(make, halves, settings):
    with pytest.raises(RunError, match="another shard is here") as caught:
        make(halves[0], 2, 2, settings)
    assert "shard: 1/2 there, 2/2 now" in caught.value.detail


def test_a_whole_run_in_the_folder_is_refused(make, workplace, test_data, model, settings, tmp_path):
    whole_run(workplace, test_data, model, tmp_path / "one", settings)
    with pytest.raises(RunError, match="a whole run is here"):
        make(tmp_path / "one", 1, 2, settings)


def test_more_shards_than_there_are_pools_leave_some_without_windows(make, tmp_path, settings, model):
    folders = [make(tmp_path / str(i), i, 20, settings).folder for i in range(1, 21)]
    run, _ = merge_shards(folders, tmp_path / "joined", model=model)
    assert run.manifest["regions"]["scored"] == 3
    assert json.loads((folders[0] / SHARD).read_text())["shard"] == [1, 20]


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "1/0", "a/b", "-1/3", "1/3/4", ""])
def test_what_is_no_shard_is_a_usage_error(text):
    with pytest.raises(UsageError, match="expected which shard of how many"):
        parse_shard(text)


def test_a_shard_is_read_as_a_person_writes_it():
    assert parse_shard("3/8") == (3, 8)
