"""The work folder: where an interrupted run or evaluation is gone on with, for one process at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gexplain.errors import RunError
from gexplain.run_folder import UNFINISHED

LOCK = "lock"


@contextmanager
def locked(out: Path) -> Iterator[Path]:
    """OUT/.unfinished, for this process alone; it goes with the block if nothing is left in it to resume."""
    work = out / UNFINISHED
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = (work / LOCK).open("w")
    except OSError as error:
        raise RunError(f"{out}: cannot be written: {error.strerror}", hint="give another -o") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_held = (work / LOCK).exists() and os.fstat(lock.fileno()).st_ino == (work / LOCK).stat().st_ino
        except BlockingIOError:
            is_held = False
        except OSError as error:
            raise RunError(
                f"{out}: the file system gives no locks: {error.strerror}",
                hint="write to a local disk, then move the finished run",
            ) from error
        if not is_held:
            raise RunError(f"{out}: another run is writing here", hint="wait for it, or give another -o")
        try:
            yield work
        finally:
            if work.exists() and [path.name for path in work.iterdir()] == [LOCK]:
                shutil.rmtree(work)


def empty(work: Path) -> None:
    """Remove what an interrupted run left, but the lock."""
    for path in work.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()
