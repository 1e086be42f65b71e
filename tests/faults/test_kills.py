"""Killed at any point: the same command goes on, and what it leaves is what one run leaves."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from faulty_runs import (
    TABLES,
    Command,
    contents,
    cut_power_at_rename,
    die_after,
    die_at,
    die_at_event,
    note_order,
    run,
)

from gexplain.report.hub import HUB_FILES
from gexplain.run_folder import MANIFEST, SHARD, open_run

N_KILLS, MOST_IN_A_FOLDER = 25, 5


def assert_nothing_half_written(out: Path) -> None:
    """A folder with a manifest has all that the manifest tells of."""
    if (out / MANIFEST).exists():
        assert open_run(out).find_fault() is None


def test_a_run_killed_25_times_at_random_moments_is_the_run(words, whole, tmp_path):
    """Half of the kills by the clock, half at an open, rename or removal of a file, over the run and its report."""
    generator = np.random.default_rng(7)
    n_killed, n_finished = 0, 0
    begun = time.monotonic()
    run(*words(tmp_path / "timed"))
    run_s = time.monotonic() - begun
    while n_killed < N_KILLS:
        out = tmp_path / f"out_{n_finished}"
        for nth in range(MOST_IN_A_FOLDER):
            moment = (nth + generator.random()) / MOST_IN_A_FOLDER  # of the run; later ones get later
            if generator.random() < 0.5:
                command = Command(*words(out))
                time.sleep(moment * run_s)
                command.send(signal.SIGKILL)
                ended = command.end()
            else:
                event = 1 + int(moment * whole.n_events)
                ended = run(*words(out), sabotage=die_at_event, given=[event])
            assert ended.code in (0, -signal.SIGKILL), ended.err
            n_killed += ended.code != 0
            assert_nothing_half_written(out)
        ended = run(*words(out))
        assert ended.code == 0, ended.err
        assert contents(out) == whole.files
        n_finished += 1
    assert n_finished <= 2 * N_KILLS / MOST_IN_A_FOLDER


@pytest.mark.parametrize(
    ("sabotage", "place"),
    [
        (die_at, "gexplain.null:Null.fill"),
        (die_after, "gexplain.scoring:call_seqlets"),
        (die_at, "gexplain.runs:publish"),
        (die_at, "gexplain.work_folder:empty"),  # the manifest is in its place, the store still there
    ],
)
def test_a_run_killed_at_a_turning_point_goes_on(score, whole, tmp_path, sabotage, place):
    assert score(sabotage=sabotage, given=(place,)).code == -signal.SIGKILL
    assert_nothing_half_written(tmp_path / "out")
    ended = score()
    assert ended.code == 0, ended.err
    assert contents(tmp_path / "out") == whole.files_without_report


def test_a_forced_run_that_is_killed_is_neither_the_old_nor_half_the_new(score, whole, tmp_path):
    assert score("--seed", 1).code == 0
    assert score("--force", sabotage=die_at, given=("gexplain.scoring:write_tracks",)).code == -signal.SIGKILL
    assert not (tmp_path / "out" / MANIFEST).exists()
    assert score().code == 0
    assert contents(tmp_path / "out") == whole.files_without_report


@pytest.mark.parametrize("option", ["--force", "--no-resume"])
def test_a_shard_whose_store_was_emptied_for_another_run_is_none(score, words, whole, tmp_path, option):
    out = tmp_path / "out"
    assert score("--shard", "1/1").code == 0
    assert score(option, sabotage=die_after, given=("gexplain.runs:empty",)).code == -signal.SIGKILL
    assert not (out / SHARD).exists()
    assert score("--shard", "1/1").code == 0
    merged = run("merge", out, "-o", tmp_path / "joined", "-p", 1, "-q", "--no-report")
    assert merged.code == 0, merged.err
    assert contents(tmp_path / "joined")["regions.tsv"] == whole.files["regions.tsv"]


def test_a_report_made_anew_that_is_killed_is_made_whole(score, whole, tmp_path):
    """Its files for browsers are written in their place."""
    out = tmp_path / "out"
    assert score().code == 0
    report = ("report", out, "--assembly", "tiny1", "-q")
    killed = run(*report, sabotage=die_at, given=["gexplain.report.browser_files:write_sparse_fasta"])
    assert killed.code == -signal.SIGKILL
    assert_nothing_half_written(out)
    again = run("report", out, "-q")
    assert again.code == 0, again.err
    assert contents(out) == whole.files_without_report


def test_eight_shards_and_their_merge_killed_at_random_moments_are_the_run(words, whole, tmp_path):
    generator = np.random.default_rng(8)
    shards = [tmp_path / f"shard_{i}" for i in range(1, 9)]
    for i, folder in enumerate(shards, start=1):
        share = words(folder, "--shard", f"{i}/8")
        if i % 2:
            event = int(generator.integers(1, whole.n_events // 5))
            assert run(*share, sabotage=die_at_event, given=[event]).code in (0, -signal.SIGKILL)
        assert run(*share).code == 0
    joined = tmp_path / "joined"
    merge = ["merge", *shards, "-o", joined, "-p", 1, "-q", "--no-report"]
    for place in ("gexplain.store:WindowStore._check_part", "gexplain.runs:_publish"):
        assert run(*merge, sabotage=die_at, given=[place]).code == -signal.SIGKILL
    ended = run(*merge)
    assert ended.code == 0, ended.err
    one, files = open_run(whole.folder), contents(joined)
    for name in TABLES:
        assert files[name] == whole.files[name], name
    # The null's windows shared other batches.
    for name in one.tracks:
        assert files[f"tracks/{name}.bw"] == whole.files[f"tracks/{name}.bw"], name


# ---- Power cuts ----


def read_order(score, tmp_path: Path) -> list[tuple[str, str]]:
    """What a run syncs, renames and removes, in order."""
    order = tmp_path / "order"
    assert score(sabotage=note_order, given=(str(order),)).code == 0
    return [(word, path) for word, _, path in (line.partition(" ") for line in order.read_text().splitlines())]


def test_the_names_of_all_new_folders_are_on_disk(words, tmp_path):
    order, out = tmp_path / "order", tmp_path / "some" / "where" / "out"
    ended = run(*words(out, "--no-report"), sabotage=note_order, given=(str(order),))
    assert ended.code == 0, ended.err
    synced = order.read_text().splitlines()
    assert {f"sync {place}" for place in (tmp_path, tmp_path / "some", out.parent, out)} <= set(synced)


def test_what_browsers_open_is_on_disk_before_the_session_that_vouches_for_it(score, tmp_path):
    out, order = tmp_path / "out", tmp_path / "order"
    assert score().code == 0
    report = ("report", out, "--assembly", "tiny1", "-q")
    assert run(*report, sabotage=note_order, given=(str(order),)).code == 0
    lines = order.read_text().splitlines()
    vouched = lines.index(f"rename {out / 'igv_session.xml'}")
    written = [out / "browser", *(out / "browser").iterdir(), *(out / name for name in HUB_FILES)]
    assert len(written) > 6
    assert {f"sync {path}" for path in written} <= set(lines[:vouched])
    forgotten = lines.index(f"remove {out / 'igv_session.xml'}")
    assert lines[forgotten + 1] == f"sync {out}"
    assert f"sync {out}" in lines[lines.index(f"sync {out / 'trackDb.txt'}") : vouched]


def test_contents_are_on_disk_before_the_manifest_and_the_manifest_before_the_work_goes(score, tmp_path):
    order, out = read_order(score, tmp_path), tmp_path / "out"
    vouched = order.index(("rename", str(out / MANIFEST)))
    synced = [path for word, path in order[:vouched] if word == "sync"]
    for name in (*json.loads((out / MANIFEST).read_text())["files"], MANIFEST):
        assert str(out / ".unfinished" / name) in synced, name
    others = [i for i, (word, path) in enumerate(order[:vouched]) if word == "rename" and Path(path).parent == out]
    assert ("sync", str(out)) in order[others[-1] : vouched], "names, before the manifest's"
    for forgotten in ("windows.sqlite", "lock"):
        removed = order.index(("remove", str(out / ".unfinished" / forgotten)))
        assert ("sync", str(out)) in order[vouched:removed], "the manifest's name, before its work goes"


def test_a_power_cut_as_a_run_is_published_loses_nothing(words, score, whole, tmp_path):
    """What was not synced is lost, contents and names: a run that is not finished is made so, a finished one is
    whole.
    """
    order, out = read_order(score, tmp_path), tmp_path / "out"
    renamed = [path for word, path in order if word == "rename" and path.startswith(str(out))]
    n_published = renamed.index(str(out / MANIFEST)) + 1
    first = renamed.index(str(out / "tracks")) + 1
    for nth in (first - 3, first, n_published - 1, n_published):
        folder = tmp_path / f"cut_{nth}"
        ended = run(*words(folder, "--no-report"), sabotage=cut_power_at_rename, given=[nth, str(folder)])
        assert ended.code == -signal.SIGKILL, ended.err
        assert (folder / MANIFEST).exists() == (nth >= n_published)
        assert_nothing_half_written(folder)
        ended = run(*words(folder, "--no-report"))
        assert ended.code == 0, ended.err
        assert contents(folder) == whole.files_without_report
