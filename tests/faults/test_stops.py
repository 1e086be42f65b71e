"""Stopped on purpose, or out of memory: told in one sentence, and gone on with."""

from __future__ import annotations

import signal

import pytest
from faulty_runs import Ended, assert_told, contents, lose_memory_at, run, standing

STORED, WRITING = "gexplain.scoring:WindowStore.commit", "gexplain.scoring:write_tracks"


@pytest.mark.parametrize(
    ("number", "code", "at"),
    [(signal.SIGTERM, 143, STORED), (signal.SIGTERM, 143, WRITING), (signal.SIGINT, 130, WRITING)],
)
def test_a_run_that_is_told_to_stop_says_how_to_go_on(words, score, whole, tmp_path, number, code, at):
    out = tmp_path / "out"
    assert_told(
        stop(words(out, "--force"), number, at, tmp_path), "interrupted", "to go on, ", f"-o {out}", code=code
    )
    assert sorted(path.name for path in out.iterdir()) == [".unfinished"]
    assert score().code == 0
    assert contents(out) == whole.files_without_report


def test_a_merge_that_is_told_to_stop_says_how_to_go_on(words, tmp_path, whole):
    shard, out = tmp_path / "shard", tmp_path / "out"
    assert run(*words(shard, "--shard", "1/1")).code == 0
    merge = ["merge", shard, "-o", out, "-p", 1, "-q"]
    assert_told(stop(merge, signal.SIGINT, WRITING, tmp_path), "interrupted", "to go on: gexplain merge", code=130)
    stopped = stop(merge, signal.SIGTERM, "gexplain.reports:write_report", tmp_path)
    assert_told(stopped, f"interrupted; {out} is a finished run, and lacks its report alone", code=143)
    assert run(*merge).code == 0
    assert contents(out) == whole.files


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_merge_that_is_told_to_stop_as_it_checks_a_shard_hears_it(words, tmp_path, number, code):
    shard, out = tmp_path / "shard", tmp_path / "out"
    assert run(*words(shard, "--shard", "1/1")).code == 0
    merge = ["merge", shard, "-o", out, "-p", 1, "-q", "--no-report"]
    stopped = stop(merge, number, "gexplain.store:_check_of", tmp_path)
    assert_told(stopped, "interrupted", "to go on: gexplain merge", code=code)
    assert run(*merge).code == 0


def test_a_forced_run_that_is_told_to_stop_at_once_can_be_gone_on_with(words, score, whole, tmp_path):
    assert score("--seed", 1).code == 0
    forced = words(tmp_path / "out", "--force")
    assert_told(stop(forced, signal.SIGINT, "gexplain.scoring:draw_null", tmp_path), "to go on, ", code=130)
    ended = score()
    assert ended.code == 0, ended.err
    assert contents(tmp_path / "out") == whole.files_without_report


def test_a_run_without_memory_on_its_gpu_says_so_and_goes_on(score, whole, tmp_path):
    ended = score(sabotage=lose_memory_at, given=("gexplain.models.dnabert2:DnaBert2.forward", 9))
    assert_told(ended, "out of memory on cpu", "use a smaller --", "goes on where it stopped")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".unfinished"]
    assert score().code == 0
    assert contents(tmp_path / "out") == whole.files_without_report


def test_a_process_without_memory_says_so(score):
    ended = score(sabotage=lose_memory_at, given=("gexplain.scoring:call_hits", 1, "builtins:MemoryError"))
    assert_told(ended, "out of memory", "smaller batches")


def stop(words: list[object], number: int, at: str, folder) -> Ended:
    """The command, sent a signal as it comes to a function."""
    with standing(*words, at=at, flag=folder / "flag") as command:
        command.send(number)
        return command.end()
