"""Runs that come to grief: the real command in a process of its own, in which something fails at a chosen moment.

Processes are forked from one that has torch and all else imported: a run of the tiny model then takes a second.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import shutil
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

_IMPORTED = [
    *("gexplain_cli.score", "gexplain_cli.merge", "gexplain_cli.report", "gexplain.shards", "gexplain.reports"),
    *("gexplain.quality", "gexplain.report.page", "memelite", "pysam", "pyBigWig", "jinja2", "matplotlib.mathtext"),
    *("tokenizers", "sympy", "scipy.ndimage", "scipy.stats", "PIL.PngImagePlugin", "torch._dynamo"),
]
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(_IMPORTED)

TABLES = ("regions.tsv", "stats.tsv", "seqlets.bed", "hits.bed", "motif_summary.tsv")
# What says when and where a run was made.
_PASSING = ("manifest.json", "report.html", "igv_session.xml")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its exit code (of a signal: less than 0), and what it said on standard error."""

    code: int
    err: str


class Command:
    """The command line in a forked process that has begun.

    sabotage: what is done to it first, a function of this module, and what that is given.
    """

    def __init__(
        self, *words: object, sabotage: Callable[..., None] | None = None, given: Sequence[Any] = ()
    ) -> None:
        # A pipe, which no limit on the size of files stops.
        self._said, says = _CONTEXT.Pipe(duplex=False)
        arguments = ([str(word) for word in words], says, sabotage, tuple(given))
        self._process: BaseProcess = _CONTEXT.Process(target=_run_command, args=arguments)
        self._process.start()
        says.close()

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    def send(self, number: int) -> None:
        """Send it a signal, if it has not ended yet."""
        if self._process.pid is not None and self.is_alive:
            os.kill(self._process.pid, number)

    def end(self, timeout_s: float = 120) -> Ended:
        """Wait until it has ended."""
        self._process.join(timeout_s)
        code = self._process.exitcode
        assert code is not None, "still running"
        self._process.close()
        said = b""
        while piece := os.read(self._said.fileno(), 1 << 16):
            said += piece
        self._said.close()
        return Ended(code, said.decode())


def run(*words: object, sabotage: Callable[..., None] | None = None, given: Sequence[Any] = ()) -> Ended:
    """The command line, run to its end; see Command."""
    return Command(*words, sabotage=sabotage, given=given).end()


@contextmanager
def standing(*words: object, at: str, flag: Path) -> Iterator[Command]:
    """A command that stands still at a function until the block ends."""
    command = Command(*words, sabotage=wait_at, given=[at, str(flag)])
    while not flag.exists():
        assert command.is_alive, command.end()
        time.sleep(0.01)
    yield command
    flag.unlink()


def contents(folder: Path) -> dict[str, bytes]:
    """All that a finished run left, by path, but what says when and where it was made."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: path.read_bytes() for name, path in names.items() if name not in _PASSING}


def assert_told(ended: Ended, *parts: str, code: int = 1) -> None:
    """One clear error: what happened, and the mend."""
    assert ended.code == code, ended.err
    assert ended.err.startswith("gexplain: error: "), ended.err
    assert "Traceback" not in ended.err
    assert "\n    fix: " in ended.err, ended.err
    for part in parts:
        assert part in ended.err, (part, ended.err)


def _run_command(
    words: list[str], says: Connection, sabotage: Callable[..., None] | None, given: tuple[Any, ...]
) -> None:
    for stream in (1, 2):
        os.dup2(says.fileno(), stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["gexplain", *words]
    from gexplain_cli.main import main

    from gexplain import pipeline, quality, store

    # A tiny run has as many stages as a large one: pools of few windows, each of them kept; quality costs little.
    for module, name, value in (
        (pipeline, "MIN_POOL", 4),
        (store, "COMMIT_EVERY_S", 0.0),
        (quality, "LARGE_MODEL", 0),
        (quality, "COSTLY_WINDOWS", 4),
    ):
        assert hasattr(module, name)
        setattr(module, name, value)
    if sabotage is not None:
        sabotage(*given)
    main()


# ---- What can be done to a command ----


def die_at_event(nth: int) -> None:
    """SIGKILL just before the nth time that the command opens, renames or removes a file, or opens a store."""
    seen = 0
    fatal = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree", "sqlite3.connect"}

    def hook(event: str, _: object) -> None:
        nonlocal seen
        if event in fatal:
            seen += 1
            if seen == nth:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def count_events(path: str) -> None:
    """Write to a file how many events `die_at_event` would have seen."""
    seen = 0
    fatal = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree", "sqlite3.connect"}
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)

    def hook(event: str, _: object) -> None:
        nonlocal seen
        if event in fatal:
            seen += 1
            os.pwrite(descriptor, str(seen).encode(), 0)

    sys.addaudithook(hook)


def die_at(place: str) -> None:
    """SIGKILL as a function, "module:name" or "module:Class.name", is called."""
    _before(place, lambda: os.kill(os.getpid(), signal.SIGKILL))


def die_after(place: str) -> None:
    """SIGKILL when a function has returned."""
    owner, name = _find(place)
    original = getattr(owner, name)

    def replaced(*arguments: Any, **options: Any) -> None:
        original(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, replaced)


def wait_at(place: str, flag: str) -> None:
    """Stand still as a function is first called, and say so by a file, until the file is removed."""

    has_waited = False

    def wait() -> None:
        nonlocal has_waited
        if not has_waited:
            has_waited = True
            Path(flag).touch()
            while Path(flag).exists():
                time.sleep(0.01)

    _before(place, wait)


def fill_disk_at(place: str, n_bytes: int) -> None:
    """From the first call of a function on, no file takes more than n_bytes."""
    _before(place, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, resource.RLIM_INFINITY)))


def lose_memory_at(place: str, nth: int, kind: str = "torch:OutOfMemoryError") -> None:
    """No memory is left, by default on the GPU, from the nth call of a function on."""
    owner, name = _find(kind)
    error, n_calls = getattr(owner, name), 0

    def fail() -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls >= nth:
            raise error("CUDA out of memory. Tried to allocate 2.00 GiB.")

    _before(place, fail)


def cut_power_at_rename(nth: int, folder: str) -> None:
    """At the nth rename: it is on disk, what no one has synced is not; then SIGKILL.

    Of a file that was not synced since it was written nothing is left but its name, and that is lost too where its
    folder was not synced since. SQLite syncs its own files.
    """
    synced: set[tuple[int, int]] = set()
    names: dict[tuple[int, int], set[str]] = {}  # that each folder had when it was synced last
    real_sync, real_replace, n_renames = os.fsync, os.replace, 0

    def sync(descriptor: int) -> None:
        real_sync(descriptor)
        found = os.fstat(descriptor)
        synced.add((found.st_dev, found.st_ino))
        if stat.S_ISDIR(found.st_mode):
            names[found.st_dev, found.st_ino] = set(os.listdir(descriptor))

    def lose(path: Path, kept: Path) -> None:
        found = path.stat()
        key = found.st_dev, found.st_ino
        if path.is_file() and ".sqlite" not in path.name and key not in synced:
            os.truncate(path, 0)
        for inside in path.iterdir() if path.is_dir() else ():
            if inside.name in names.get(key, ()) or inside == kept or ".sqlite" in inside.name:
                lose(inside, kept)
            elif inside.is_dir():
                shutil.rmtree(inside)
            else:
                inside.unlink()

    def replace(source: Any, target: Any, **options: Any) -> None:
        nonlocal n_renames
        real_replace(source, target, **options)
        if folder not in os.fspath(target):
            return
        n_renames += 1
        if n_renames == nth:
            out, above = Path(folder), Path(folder).parent.stat()
            if out.name in names.get((above.st_dev, above.st_ino), ()):
                lose(out, kept=Path(target))
            else:
                shutil.rmtree(out)
            os.kill(os.getpid(), signal.SIGKILL)

    os.fsync, os.replace = sync, replace


def note_order(path: str) -> None:
    """Write to a file what is synced, renamed and removed, in order: a word and a path a line."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    real_sync = os.fsync

    def note(word: str, place: object) -> None:
        os.write(descriptor, f"{word} {place}\n".encode())

    def sync(synced: int) -> None:
        real_sync(synced)
        note("sync", Path(f"/proc/self/fd/{synced}").readlink())

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rename":
            note("rename", os.path.realpath(os.fspath(arguments[1])))
        elif event == "os.remove" and arguments[1] == -1:
            note("remove", os.path.realpath(os.fspath(arguments[0])))

    os.fsync = sync
    sys.addaudithook(hook)


def refuse_locks() -> None:
    """A file system that knows no locks."""
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    fcntl.flock = refuse


def _find(place: str) -> tuple[Any, str]:
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    owner: Any = import_module(module)
    for one in owners:
        owner = getattr(owner, one)
    return owner, name


def _before(place: str, action: Callable[[], object]) -> None:
    owner, name = _find(place)
    original = getattr(owner, name)

    def replaced(*arguments: Any, **options: Any) -> Any:
        action()
        return original(*arguments, **options)

    setattr(owner, name, replaced)
