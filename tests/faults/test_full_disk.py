"""A full disk: one clear error wherever it is met, and with room the same command goes on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from faulty_runs import assert_told, contents, fill_disk_at, run

from gexplain.run_folder import MANIFEST, REPORT

# Where the disk is full from then on, how many bytes a file still takes, and what cannot be written.
STAGES = [
    ("gexplain.scoring:draw_null", 0, "null/null.fa"),
    ("gexplain.store:WindowStore.add", 0, "windows.sqlite"),
    ("gexplain.null:write_tracks", 300, "null/promoter"),
    ("gexplain.scoring:write_tracks", 1000, "tracks/promoter"),
    ("gexplain.scoring:RegionTable", 100, "regions.tsv"),
    ("gexplain.scoring:call_seqlets", 0, ".unfinished, or in "),
    ("gexplain.calls:BedTable", 3000, "seqlets.bed"),
    ("gexplain.scoring:call_hits", 0, ".unfinished, or in "),
    ("gexplain.calls:_write_summary", 0, "motif_summary.tsv"),
    ("gexplain.scoring:index_bed", 0, "seqlets.bed.gz"),
    ("gexplain.runs:write_browser_files", 0, "browser/regions.bb"),
    ("gexplain.report.browser_files:write_sparse_fasta", 0, "browser/reference.fa.gz"),
    ("gexplain.report.browser_files:write_hub", 0, "browser/genome.2bit"),
    ("gexplain.runs:_publish", 0, "manifest.json"),
]


def test_a_run_meets_a_full_disk_at_every_stage_and_is_finished_in_the_end(score, whole, tmp_path):
    out = tmp_path / "out"
    for place, n_bytes, what in STAGES:
        ended = score("--tabix", sabotage=fill_disk_at, given=(place, n_bytes))
        assert_told(ended, what)
        assert "same command again" in ended.err
        assert not (out / MANIFEST).exists(), place
    ended = score("--tabix")
    assert ended.code == 0, ended.err
    files = contents(out)
    assert {name: held for name, held in files.items() if ".bed.gz" not in name} == whole.files_without_report
    assert {"seqlets.bed.gz", "seqlets.bed.gz.tbi", "hits.bed.gz", "hits.bed.gz.tbi"} < files.keys()


def test_a_report_that_meets_a_full_disk_leaves_a_finished_run(words, whole, tmp_path):
    out = tmp_path / "out"
    for place, what in (
        ("gexplain.quality:write_quality", "quality.json"),
        ("gexplain.reports:write_report", REPORT),
    ):
        ended = run(*words(out), sabotage=fill_disk_at, given=[place, 0])
        assert_told(ended, what, f"{out} is a finished run, and lacks its report alone", "same command again")
        assert not (out / REPORT).exists()
    assert run(*words(out)).code == 0
    assert (out / REPORT).stat().st_size > 10_000
    assert contents(out) == whole.files


def test_shards_and_merge_meet_a_full_disk(words, whole, tmp_path):
    shard, out = tmp_path / "shard", tmp_path / "out"
    share = words(shard, "--shard", "1/1")
    for place, what in (
        ("gexplain.null:Null.fill_part", "null-part.sqlite"),
        ("gexplain.shards:write_whole", "shard"),
    ):
        assert_told(run(*share, sabotage=fill_disk_at, given=[place, 0]), what)
        assert not (shard / "shard.json").exists()
    assert run(*share).code == 0
    merge = ["merge", shard, "-o", out, "-p", 1, "-q"]
    absorb = run(*merge, sabotage=fill_disk_at, given=["gexplain.store:WindowStore.absorb", 0])
    assert_told(absorb, "windows.sqlite", "run the same command again")
    report = run(*merge, sabotage=fill_disk_at, given=["gexplain.reports:write_report", 0])
    assert_told(report, f"{out} is a finished run, and lacks its report alone")
    assert run(*merge).code == 0
    assert contents(out) == whole.files


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of its own, and what gives that a size."""
    place = tmp_path / "disk"
    place.mkdir()

    def resize(n_kilobytes: int, how: str = "remount,") -> bool:
        options = f"{how}size={n_kilobytes}k"
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True)
        return mounted.returncode == 0

    if os.geteuid() != 0 or not resize(16, how=""):
        pytest.skip("only root can mount a tmpfs, and not everywhere")
    yield place, resize
    subprocess.run(["umount", place], check=True)


def test_a_disk_that_grows_too_slowly_ends_in_the_run(
    words, whole, tmp_path, small_disk: tuple[Path, Callable[[int], bool]]
):
    """A real file system, full at ever later moments."""
    place, resize = small_disk
    out, said = place / "out", []
    for n_kilobytes in (20, 80, 140, 200, 260, 320, 400, 500):
        assert resize(n_kilobytes)
        ended = run(*words(out))
        if ended.code == 0:
            break
        assert_told(ended, "same command again")
        said.append(ended.err.splitlines()[0])
    assert resize(10_000)
    ended = run(*words(out))
    assert ended.code == 0, ended.err
    assert contents(out) == whole.files
    assert len({line.partition(str(out))[2].split(":")[0] for line in said}) >= 4, said
