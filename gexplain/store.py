"""The store of window results: what makes a run resumable, in one SQLite file.

SQLite because it already is what a resumable run needs: a commit is whole or absent after a kill or a power cut, and
windows come back in genome order from an index. Results are
kept as computed, before blending, so that tracks do not depend on where a run was interrupted. SQLite does not notice
when the disk hands back other bytes than it was given, so every row carries a check of its own.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

import numpy as np

from gexplain.arrays import FloatArray, IntArray
from gexplain.errors import RunError
from gexplain.genome.intervals import Strand
from gexplain.pipeline import BOOKS, WindowResult
from gexplain.windows import Tiling, Window

# A crash loses at most this much work, and a commit (an fsync) costs little beside it.
COMMIT_EVERY_S = 5.0

_STRAND_CODES: tuple[Strand, ...] = (".", "+", "-")
# One integer orders windows by chromosome, strand and start; starts are below 2**32 (bigWig's limit).
_STRAND_SHIFT, _CHROM_SHIFT = 1 << 34, 1 << 36

# Another number wherever what is kept, or how, is another.
_LAYOUT = 2
# What is asked of all windows at once stands apart from their bulk.
_SCHEMA = f"""
begin;
create table about (key text primary key, value text not null);
create table windows
    (place integer primary key, n_ambiguous integer not null, scored integer not null, held integer not null);
create table scored (place integer primary key, logits blob, relevance blob, books blob, held integer);
pragma user_version = {_LAYOUT};
commit;
"""
# The check of a row of `windows`, in SQL, so that millions take a second: a prime, and factors without it.
_WINDOW_CHECK = "(place * 3 + n_ambiguous * 5 + scored * 7) % 2147483647"

# What the disk or the file system said, as the names of SQLite's codes begin; all else is a damaged file.
_OF_THE_SYSTEM = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_BUSY", "SQLITE_PERM")

# Windows that are taken over at a time: of a thousand targets they are forty megabytes.
_CHUNK = 20

# Of a killed run's results: so many are copied at most, to look into them without touching them.
_MOST_COPIED_BYTES = 256_000_000

_START_OVER = "use --no-resume (of merge: --force) to start it over"
_MAKE_AGAIN = "make that shard again: its command, with --no-resume"

# Of a window: place, n_ambiguous, scored and their check, then logits, relevance, books and theirs.
_Row = tuple[Any, ...]


class WindowStore:
    """Window results on disk, by place (a context manager); the directory's lock keeps other processes out.

    chroms: name to length, in the order of the FASTA. settings: what the results depend on; a store that was
    made with others refuses to open with RunError.
    """

    def __init__(self, path: Path, chroms: Mapping[str, int], tiling: Tiling, settings: Mapping[str, object]) -> None:
        self.path = path
        self._names = list(chroms)
        self._index = {name: index for index, name in enumerate(chroms)}
        self._widths = [tiling.width(length) for length in chroms.values()]
        self._about = {key: json.dumps(value, sort_keys=True) for key, value in settings.items()}
        self._last_commit = time.monotonic()
        self._is_adding = False
        with self._telling():
            self._db = sqlite3.connect(path)
            # A window's row is a few kilobytes: on the default pages of 4 KiB half of the file would be air.
            self._db.execute("pragma page_size = 16384")
            self._db.execute("pragma synchronous = extra")  # a commit outlives a power cut, its journal does not
            if _is_new(self._db):
                self._db.executescript(_SCHEMA)
            elif not _has_layout(self._db):
                self._db.close()
                raise _other_version(path)
            self._check_settings()
            _check_windows(self._db)

    def __enter__(self) -> WindowStore:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            with self._telling():
                if self._is_adding:  # interrupted within a pool: half of one must not be taken for done
                    self._db.rollback()
                else:
                    self._db.commit()
        finally:
            self._db.close()

    def done(self, chrom: str, strand: Strand) -> IntArray:
        """Sorted starts of the windows that are already there."""
        low, high = self._places(chrom, strand, 0, _STRAND_SHIFT)
        query = "select place from windows where place >= ? and place < ? order by place"
        with self._telling():
            rows = self._db.execute(query, (low, high))
            return np.fromiter((place - low for (place,) in rows), dtype=np.int64)

    def n_done(self) -> int:
        """Windows that are there, those of N alone too."""
        return self._number("select count(*) from windows")

    def n_scored(self) -> int:
        """Windows that were read by the model."""
        return self._number("select count(*) from windows where scored")

    def n_ambiguous(self) -> int:
        """Letters other than A, C, G, T in all windows that were read, each window's counted."""
        return self._number("select coalesce(sum(n_ambiguous), 0) from windows where scored")

    def add(self, results: Iterable[WindowResult]) -> None:
        """Keep a pool of results, all or none; committed every few seconds and on closing."""
        with self._telling():
            self._is_adding = True
            for result in results:
                self._insert(result)
            self._is_adding = False
            if time.monotonic() - self._last_commit >= COMMIT_EVERY_S:
                self.commit()

    def absorb(self, path: Path, n_windows: int | None = None) -> None:
        """Take over all results of another store of the same settings; those that are here already are kept.

        n_windows: as many as it has to have. All is taken over, or nothing. RunError where it was made with other
        settings, has another number of windows, is damaged or cannot be read.
        """
        self.commit()
        with self._telling(path):
            part = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
        with closing(part):
            try:
                with self._telling(path):
                    self._check_part(part, path, n_windows)
                rows = _read_rows(part, 0, self._end)
                while True:
                    # Each store's trouble is told as its own, and Ctrl-C is heard between the chunks.
                    with self._telling(path):
                        chunk = list(islice(rows, _CHUNK))
                    if not chunk:
                        break
                    self._take_over(chunk)
                self.commit()
            finally:
                with self._telling():
                    self._db.rollback()

    def _check_part(self, part: sqlite3.Connection, path: Path, n_windows: int | None) -> None:
        if not _is_new(part) and not _has_layout(part):
            raise RunError(
                f"{path.parent.parent}: this shard was made by another version of gexplain", hint=_MAKE_AGAIN
            )
        held = dict(part.execute("select key, value from about").fetchall())
        if held != self._about:
            raise RunError(
                f"{path.parent.parent}: made with other settings than this run",
                detail=describe_difference(held, self._about),
                hint="join shards of one command alone",
            )
        _check_windows(part)
        (n_held,) = part.execute("select count(*) from windows").fetchone()
        if n_windows is not None and n_held != n_windows:
            raise sqlite3.DatabaseError(f"{n_held:,} windows are there, expected {n_windows:,}")

    def _take_over(self, rows: Sequence[_Row]) -> None:
        with self._telling():
            self._db.executemany("insert or ignore into windows values (?, ?, ?, ?)", (row[:4] for row in rows))
            scored = ((row[0], *row[4:]) for row in rows if row[2])
            self._db.executemany("insert or ignore into scored values (?, ?, ?, ?, ?)", scored)

    def commit(self) -> None:
        """Make everything added so far survive a crash."""
        with self._telling():
            self._db.commit()
        self._last_commit = time.monotonic()

    def results(self, chrom: str, strand: Strand, start: int = 0, end: int = 1 << 32) -> Iterator[WindowResult]:
        """Results of the scored windows that start in [start, end), sorted by start."""
        return self._results(*self._places(chrom, strand, start, end))

    def all_results(self) -> Iterator[WindowResult]:
        """All scored windows' results, by chromosome (FASTA order), strand and start."""
        return self._results(0, self._end)

    def _results(self, low: int, high: int) -> Iterator[WindowResult]:
        with self._telling():
            for place, n_ambiguous, is_scored, _, logits, relevance, books, _ in _read_rows(self._db, low, high):
                if not is_scored:
                    continue
                chrom, within = divmod(place, _CHROM_SHIFT)
                strand, start = divmod(within, _STRAND_SHIFT)
                width = self._widths[chrom]
                yield WindowResult(
                    Window(self._names[chrom], start, start + width, _STRAND_CODES[strand]),
                    n_ambiguous,
                    logits=np.frombuffer(logits, dtype="<f8"),
                    relevance=np.frombuffer(relevance, dtype="<f4").reshape(-1, width),
                    books=np.frombuffer(books, dtype="<f8").reshape(-1, len(BOOKS)),
                )

    @property
    def _end(self) -> int:
        """Past all places."""
        return len(self._names) * _CHROM_SHIFT

    def _places(self, chrom: str, strand: Strand, start: int, end: int) -> tuple[int, int]:
        base = self._index[chrom] * _CHROM_SHIFT + _STRAND_CODES.index(strand) * _STRAND_SHIFT
        return base + max(start, 0), base + end

    def _number(self, query: str) -> int:
        with self._telling():
            return int(self._db.execute(query).fetchone()[0])

    def _insert(self, result: WindowResult) -> None:
        window = result.window
        place, _ = self._places(window.chrom, window.strand, window.start, window.start)
        is_scored = result.relevance is not None
        self._db.execute(
            f"insert into windows select *, {_WINDOW_CHECK} from (select ? as place, ? as n_ambiguous, ? as scored)",
            (place, result.n_ambiguous, is_scored),
        )
        if is_scored:
            blobs = (_blob(result.logits, "<f8"), _blob(result.relevance, "<f4"), _blob(result.books, "<f8"))
            held = _check_of(place, *blobs)
            self._db.execute("insert into scored values (?, ?, ?, ?, ?)", (place, *blobs, held))

    def _check_settings(self) -> None:
        held = dict(self._db.execute("select key, value from about").fetchall())
        if not held and not self.n_done():
            self._db.executemany("insert into about values (?, ?)", self._about.items())
            self._db.commit()
        elif held != self._about:
            self._db.close()
            raise RunError(
                f"{self.path.parent.parent}: an interrupted run with other settings is here",
                detail=describe_difference(held, self._about),
                hint="give another -o, or --force to discard that run",
            )

    @contextmanager
    def _telling(self, part: Path | None = None) -> Iterator[None]:
        """What SQLite says, as errors that a user can mend; part: the store that is absorbed, where that is read."""
        try:
            yield
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the latter: of a damaged schema it quotes
            is_of_the_system = getattr(error, "sqlite_errorname", "").startswith(_OF_THE_SYSTEM)
            if part is not None and is_of_the_system:
                raise RunError(
                    f"{part}: cannot be read: {error}", hint=f"see that it is there and can be read, or {_MAKE_AGAIN}"
                ) from error
            if part is not None:
                raise RunError(
                    f"{part}: the results of the shard cannot be read: {error}", hint=_MAKE_AGAIN
                ) from error
            if is_of_the_system:
                raise RunError(
                    f"{self.path}: cannot be read or written: {error}",
                    hint="see that the disk has room and the folder can be written, then run the same command again:"
                    " it resumes",
                ) from error
            raise RunError(
                f"{self.path}: the results of the interrupted run cannot be read: {error}", hint=_START_OVER
            ) from error


Peeked: TypeAlias = tuple[dict[str, str], int] | None
"""The settings of a store and its number of windows, neither where nothing was kept; None if too large to copy."""


def peek(path: Path) -> Peeked:
    """What a store holds, read without touching it.

    Raises RunError where it is damaged, or was made by another version of gexplain.
    """
    with tempfile.TemporaryDirectory(prefix="gexplain-") as temporary:
        # A killed run leaves a journal, which only a store that may be written can be rolled back with.
        has_journal = (journal := path.with_name(f"{path.name}-journal")).exists()
        if has_journal:
            if path.stat().st_size + journal.stat().st_size > _MOST_COPIED_BYTES:
                return None
            shutil.copy(path, temporary)
            shutil.copy(journal, temporary)
        uri = f"file:{quote(str(Path(temporary) / path.name))}" if has_journal else f"file:{quote(str(path))}?mode=ro"
        try:
            with closing(sqlite3.connect(uri, uri=True)) as db:
                if _is_new(db):
                    return {}, 0
                if not _has_layout(db):
                    raise _other_version(path)
                (n_windows,) = db.execute("select count(*) from windows").fetchone()
                return dict(db.execute("select key, value from about").fetchall()), int(n_windows)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise RunError(
                f"{path}: the results of the interrupted run cannot be read: {error}", hint=_START_OVER
            ) from error


def _other_version(path: Path) -> RunError:
    return RunError(
        f"{path.parent.parent}: an interrupted run is here that another version of gexplain began", hint=_START_OVER
    )


def is_begun(path: Path) -> bool:
    """Whether there are windows in a store of one's own, to be absorbed.

    What a process that was killed left half is taken back, which who merely reads a store cannot do.
    """
    try:
        with closing(sqlite3.connect(path)) as db:
            return not _is_new(db) and db.execute("select 1 from windows").fetchone() is not None
    except sqlite3.DatabaseError:
        return True  # who absorbs it tells what is wrong


def _is_new(db: sqlite3.Connection) -> bool:
    """Whether nothing was ever kept here."""
    (n_tables,) = db.execute("select count(*) from sqlite_master").fetchone()
    return bool(n_tables == 0)


def _has_layout(db: sqlite3.Connection) -> bool:
    """Whether a store keeps things as this version of gexplain does."""
    (layout,) = db.execute("pragma user_version").fetchone()
    return bool(layout == _LAYOUT)


def _check_windows(db: sqlite3.Connection) -> None:
    """Look whether the list of windows is as it was written, and in order; their results are checked as read."""
    (said,) = db.execute("pragma quick_check(windows)").fetchone()
    if said != "ok":
        raise sqlite3.DatabaseError(said)
    damaged = f"held is not {_WINDOW_CHECK} or typeof(n_ambiguous) || typeof(scored) is not 'integerinteger'"
    (is_damaged,) = db.execute(f"select exists (select 1 from windows where {damaged})").fetchone()
    if is_damaged:
        raise sqlite3.DatabaseError("the list of windows is damaged")


def _read_rows(db: sqlite3.Connection, low: int, high: int) -> Iterator[_Row]:
    """The windows of [low, high) with their results, in order; DatabaseError for the first that is damaged."""
    query = (
        "select place, n_ambiguous, windows.scored, windows.held, logits, relevance, books, scored.held"
        " from windows left join scored using (place) where place >= ? and place < ? order by place"
    )
    last = -1
    for row in db.execute(query, (low, high)):
        place, _, is_scored, _, *blobs, held = row
        if place <= last or (is_scored and (held is None or held != _check_of(place, *blobs))):
            raise sqlite3.DatabaseError("a window's results are damaged or lost")
        last = place
        yield row


def describe_difference(held: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    """One line per setting that differs: "window: 512 there, 1024 now"."""
    keys = [key for key in {**held, **wanted} if held.get(key) != wanted.get(key)]
    return "\n".join(f"{key}: {_shown(held.get(key))} there, {_shown(wanted.get(key))} now" for key in keys)


def _shown(value: str | None) -> str:
    text = "nothing" if value is None else value.strip('"')
    return text if len(text) <= 40 else f"{text[:12]}..."  # a sha256 is told by its beginning


def _blob(values: FloatArray | None, dtype: str) -> bytes | None:
    return None if values is None else np.ascontiguousarray(values, dtype=dtype).tobytes()


def _check_of(place: object, *blobs: object) -> int:
    """CRC-32 of a window's results; whatever a damaged row has in their place is none of them."""
    check = zlib.crc32(str(place).encode())
    for blob in blobs:
        check = zlib.crc32(blob, check) if isinstance(blob, bytes) else -1
    return check
