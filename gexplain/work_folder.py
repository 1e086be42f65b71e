"""The work folder: where an interrupted run or evaluation is gone on with, for one process at a time.

What is finished leaves it in an order that a power cut cannot turn round: contents before names, names before the
file that vouches for them, that file before the work is forgotten. A name is on disk for sure when its folder is
synced, a content when its file is (https://man7.org/linux/man-pages/man2/fsync.2.html).
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from gexplain.errors import GexplainError, RunError
from gexplain.genome.tracks import partial_path, write_error
from gexplain.run_folder import MANIFEST, QUALITY, REPORT, SHARD, UNFINISHED

LOCK = "lock"
_GO_ON = "then give the same command again (without --force): it goes on where it stopped"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def locked(out: Path) -> Iterator[Path]:
    """OUT/.unfinished, for this process alone; it goes with the block if nothing is left in it to resume.

    The lock goes with its process, however that ends. RunError where another process has it.
    """
    work = out / UNFINISHED
    try:
        lock = _acquire(out, work)
    except OSError as error:
        raise RunError(f"{out}: cannot be written: {error.strerror}", hint="give another -o") from error
    try:
        with lock:
            for name in (MANIFEST, REPORT, QUALITY, SHARD):  # a process that was killed may have left half of one
                for left in out.glob(f".{name}.*.partial"):
                    left.unlink()
            try:
                yield work
            finally:
                if work.exists() and [path.name for path in work.iterdir()] == [LOCK]:
                    (work / LOCK).unlink()
    finally:
        # Only now: on NFS a file that is open keeps a name. Whoever came meanwhile has a lock of its own there.
        with suppress(OSError):
            work.rmdir()


@contextmanager
def shared(folder: Path) -> Iterator[None]:
    """The work folder of a run that is only read: meanwhile others may read, and nobody may write."""
    try:
        lock = (folder / UNFINISHED / LOCK).open()
    except FileNotFoundError:  # nobody has written here since the folder was copied
        yield
        return
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _in_use(folder, lock) from error
        except OSError:
            pass  # where the file system gives no locks, no run can write either
        yield


@contextmanager
def resumable(out: Path) -> Iterator[None]:
    """Tells of every file that could not be read or written in the block, and that the same command goes on."""
    try:
        yield
    except ConnectionError:  # of who reads what the run says
        raise
    except OSError as error:
        # A file that is open is not named by the system; the spools of calls lie in the temporary folder.
        place = error.filename or f"a file in {out / UNFINISHED}, or in {tempfile.gettempdir()}"
        is_ours = error.filename is not None and Path(str(error.filename)).is_relative_to(out)
        doing = "write" if error.errno in _FULL or is_ours else "read or write"
        raise RunError(f"cannot {doing} {place}: {_reason(error)}", hint=f"{_mend(error)}, {_GO_ON}") from error
    except GexplainError as error:
        cause = error.__cause__
        if isinstance(cause, ConnectionError):  # of a process that ended, and is told of
            raise
        if isinstance(cause, OSError) and cause.errno in _FULL:
            error.hint = f"{_mend(cause)}, {_GO_ON}"
        elif isinstance(cause, OSError) and isinstance(error, RunError):  # htslib does not say why
            error.hint = f"{error.hint}, {_GO_ON}"
        raise


def empty(work: Path) -> None:
    """Remove what an interrupted run left, but the lock."""
    for path in work.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def publish(work: Path, out: Path, names: Iterable[str], last: str) -> None:
    """Move finished files and folders from `work` to `out`, as far as they are there, and empty `work`.

    last: the file that vouches for the others. It is there only with all of them, after a power cut too.
    """
    moved = [name for name in names if (work / name).exists()]
    for name in (*moved, last):
        sync_tree(work / name)
    for name in moved:
        (work / name).replace(out / name)
    sync(out)
    (work / last).replace(out / last)
    sync(out)
    empty(work)


def write_whole(path: Path, text: str) -> None:
    """Write a text file that is there whole or as it was before, after a power cut too.

    Raises RunError where it cannot be written.
    """
    partial = partial_path(path)
    try:
        partial.write_text(text, encoding="utf-8")
        sync(partial)
        partial.replace(path)
        sync(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise write_error(path, error) from error


def sync_tree(path: Path) -> None:
    """Have a file, or a folder with all that is in it, on disk."""
    if path.is_dir():
        for inside in path.iterdir():
            sync_tree(inside)
    sync(path)


def sync(path: Path) -> None:
    """Have a file's content on disk, or the names in a folder. OSError where the disk took less than it said."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that has nothing to sync, or not of folders
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
    finally:
        os.close(descriptor)


def _acquire(out: Path, work: Path) -> TextIO:
    """The lock, open and held."""
    while True:
        _make(work)
        try:
            lock = (work / LOCK).open("a+")
        except FileNotFoundError:  # whoever had it has just removed the folder
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(lock, work / LOCK):
                with suppress(OSError):  # a courtesy to who comes next: a full disk is told where it matters
                    os.ftruncate(lock.fileno(), 0)
                    os.write(lock.fileno(), f"process {os.getpid()} on {socket.gethostname()}".encode())
                return lock
        except BlockingIOError as error:
            with lock:
                raise _in_use(out, lock) from error
        except OSError as error:
            lock.close()
            raise RunError(
                f"{out}: the file system gives no locks: {error.strerror}",
                hint="write to a local disk, then move the finished run",
            ) from error
        lock.close()


def _make(folder: Path) -> None:
    """Make a folder, with those above it, and have their names on disk."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for one in missing:
        with suppress(PermissionError):  # above it there may be folders that can be written and not read
            sync(one.parent)


def _in_use(folder: Path, lock: TextIO) -> RunError:
    lock.seek(0)
    hint = "wait for it, or give another -o"
    return RunError(f"{folder}: another run is writing here", detail=lock.read(), hint=hint)


def _is_at(lock: TextIO, path: Path) -> bool:
    """Whether an open file still has its name: whoever had the lock before may have removed it."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(lock.fileno()), path.stat())
    return False


def _reason(error: OSError) -> str:
    reason = error.strerror or str(error)
    return reason[:1].lower() + reason[1:]


def _mend(error: OSError) -> str:
    if error.errno == errno.EFBIG:
        return "raise the limit on the size of files (ulimit -f)"
    return "make room on the disk" if error.errno in _FULL else "see that it can be read and written"
