"""What the system said of a file: told for what it is, with its mend."""

from __future__ import annotations

import errno
import os

import pytest

from gexplain.errors import RunError
from gexplain.work_folder import resumable


def told_of(out, error: Exception, cause: Exception | None = None) -> RunError:
    with pytest.raises(RunError) as told, resumable(out):
        raise error from cause
    return told.value


def os_error(number: int, *path: object) -> OSError:
    return OSError(number, os.strerror(number), *map(str, path))


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_file_elsewhere_may_have_been_read(tmp_path, number):
    told = told_of(tmp_path / "out", os_error(number, tmp_path / "genome.fa"))
    assert told.message.startswith(f"cannot read or write {tmp_path}/genome.fa: ")
    assert "same command again" in told.hint
    assert told_of(tmp_path, os_error(number)).message.startswith("cannot read or write a file in ")


def test_a_file_of_the_run_is_written(tmp_path):
    told = told_of(tmp_path / "out", os_error(errno.EIO, tmp_path / "out" / "tracks"))
    assert told.message.startswith(f"cannot write {tmp_path}/out/tracks: ")
    told = told_of(tmp_path, os_error(errno.ENOSPC))
    assert told.message.startswith(f"cannot write a file in {tmp_path}/.unfinished")
    assert "make room on the disk" in told.hint


def test_what_has_a_mend_of_its_own_keeps_it(tmp_path):
    """The end of another process is no matter of files."""
    ended = RunError("the process on cuda:1 ended", hint="fewer devices; the same command goes on")
    assert told_of(tmp_path, ended, ConnectionResetError()).hint == "fewer devices; the same command goes on"
    with pytest.raises(BrokenPipeError), resumable(tmp_path):
        raise BrokenPipeError
