"""Two at once in one folder: the second is refused, and harms nothing."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from threading import Thread

import pytest
from faulty_runs import assert_told, contents, refuse_locks, run, standing

from gexplain.errors import RunError
from gexplain.report.serve import RunServer
from gexplain.run_folder import UNFINISHED
from gexplain.work_folder import LOCK, locked, shared


def test_whoever_comes_second_is_refused_and_the_first_is_not_harmed(words, whole, tmp_path):
    out, shard, flag = tmp_path / "out", tmp_path / "shard", tmp_path / "flag"
    assert run(*words(shard, "--shard", "1/1")).code == 0
    told = f"gexplain: error: {out}: another run is writing here"
    with standing(*words(out), at="gexplain.scoring:write_tracks", flag=flag) as first:
        assert_told(run(*words(out)), told, "process ")
        assert_told(run(*words(out, "--force")), told)
        assert_told(run(*words(out, "--shard", "1/2")), told)
        assert_told(run("merge", shard, "-o", out, "-p", 1), told)
    assert first.end().code == 0
    assert contents(out) == whole.files
    with standing("report", out, "-q", at="gexplain.reports:write_report", flag=flag) as first:
        assert_told(run(*words(out, "--force")), told)
        assert_told(run("report", out), told)
    assert first.end().code == 0
    assert contents(out) == whole.files


def test_a_shard_is_not_made_anew_while_it_is_merged_nor_merged_while_it_is_made(words, whole, tmp_path):
    out, shard, flag = tmp_path / "out", tmp_path / "shard", tmp_path / "flag"
    make, merge = words(shard, "--shard", "1/1"), ["merge", shard, "-p", 1, "-q", "--no-report", "-o"]
    assert run(*make).code == 0
    with standing(*merge, out, at="gexplain.store:WindowStore.absorb", flag=flag) as first:
        assert_told(run(*make, "--force"), f"{shard}: another run is writing here")
        assert run(*merge, tmp_path / "other").code == 0  # it is only read
    assert first.end().code == 0
    assert contents(out) == contents(tmp_path / "other") == whole.files_without_report
    with standing(*words(shard, "--no-report"), at="gexplain.scoring:write_tracks", flag=flag) as first:
        assert_told(run(*merge, tmp_path / "third"), "the shard is not finished", code=3)
    assert first.end().code == 0
    assert_told(run(*merge, shard), "no shard is here", code=3)


def test_a_merge_into_one_of_its_shards_is_refused(words, tmp_path):
    shard = tmp_path / "shard"
    assert run(*words(shard, "--shard", "1/1")).code == 0
    before = contents(shard)
    assert_told(run("merge", shard, "-o", f"{shard}/../shard"), "is one of the shards", "another -o", code=2)
    assert contents(shard) == before


def test_a_file_system_without_locks_is_told(score):
    assert_told(score(sabotage=refuse_locks), "the file system gives no locks", "write to a local disk")


def test_a_run_that_is_viewed_can_be_replaced_and_no_half_file_is_seen(words, whole, tmp_path):
    out, seen = tmp_path / "out", set[bytes | None]()
    assert run(*words(out)).code == 0
    before = (out / "tracks" / "promoter.bw").read_bytes()
    is_over = False
    with RunServer(out, 0) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = server.address.replace("report.html", "tracks/promoter.bw")

        def look() -> None:
            while not is_over:
                try:
                    with urllib.request.urlopen(address, timeout=10) as answer:
                        seen.add(answer.read())
                except urllib.error.HTTPError as error:
                    error.close()
                    seen.add(None)
                time.sleep(0.005)

        looking = Thread(target=look)
        looking.start()
        ended = run(*words(out, "--force", "--no-report", "--method", "gradient-x-input"))
        is_over = True
        looking.join()
        server.shutdown()
    assert ended.code == 0, ended.err
    assert seen <= {before, None, (out / "tracks" / "promoter.bw").read_bytes()}
    assert before in seen


# ---- The lock ----


def test_the_lock_says_who_has_it_and_goes_with_the_block(tmp_path):
    import os

    with locked(tmp_path):
        with pytest.raises(RunError, match=f"process {os.getpid()} on "), locked(tmp_path):
            pass
        with pytest.raises(RunError, match="another run"), shared(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []


def test_many_may_read_while_nobody_writes(tmp_path):
    with locked(tmp_path) as work:
        (work / "windows.sqlite").touch()
    with shared(tmp_path), shared(tmp_path), pytest.raises(RunError, match="another run"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_a_lock_that_was_removed_before_it_was_held_is_not_taken(tmp_path, monkeypatch):
    """Between opening and locking, the one before may have ended, and a third begun with a file of its own."""
    import fcntl

    real, path, n_calls = fcntl.flock, tmp_path / UNFINISHED / LOCK, 0

    def slow(*arguments: int) -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 1:
            path.unlink()
        real(*arguments)

    monkeypatch.setattr(fcntl, "flock", slow)
    with locked(tmp_path):
        assert n_calls == 2
        assert path.exists()
        with pytest.raises(RunError, match="another run"), locked(tmp_path):
            pass
