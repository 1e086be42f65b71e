"""The store of window results: what makes a run resumable, in one SQLite file.

SQLite because it already is what a resumable run needs: a commit is whole or absent after a kill or a power cut, and
windows come back in genome order from an index. Results are
kept as computed, before blending, so that tracks do not depend on where a run was interrupted. SQLite does not notice
when the disk hands back other bytes than it was given, so every row carries a check of its own.
"""

from __future__ import annotations

import json
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
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

# What is asked of all windows at once stands apart from their bulk.
_SCHEMA = """
begin;
create table if not exists about (key text primary key, value text not null);
create table if not exists windows
    (place integer primary key, n_ambiguous integer not null, scored integer not null, held integer not null);
create table if not exists scored (place integer primary key, logits blob, relevance blob, books blob, held integer);
commit;
"""
# The check of a row of `windows`, in SQL, so that millions take a second: a prime, and factors without it.
_WINDOW_CHECK = "(place * 3 + n_ambiguous * 5 + scored * 7) % 2147483647"

# What the disk or the file system said, as the names of SQLite's codes begin; all else is a damaged file.
_OF_THE_SYSTEM = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_BUSY", "SQLITE_PERM")


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
        self._last_commit = time.monotonic()
        self._is_adding = False
        with self._telling():
            self._db = sqlite3.connect(f"file:{quote(str(path))}", uri=True)  # so that others can be read beside it
            # A window's row is a few kilobytes: on the default pages of 4 KiB half of the file would be air.
            self._db.execute("pragma page_size = 16384")
            self._db.execute("pragma synchronous = extra")  # a commit outlives a power cut, its journal does not
            self._db.executescript(_SCHEMA)
            self._check_settings(settings)
            self._check_windows("main")

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

        n_windows: as many as it has to have. RunError where it was made with other settings, has fewer windows, is
        damaged or cannot be read.
        """
        self.commit()
        self._db.create_function("check_of", 4, _check_of, deterministic=True)
        with self._telling(path):
            self._db.execute("attach database ? as other", (f"file:{quote(str(path))}?mode=ro",))
            try:
                self._check_part(path, n_windows)
                for table in ("windows", "scored"):
                    self._db.execute(f"insert or ignore into main.{table} select * from other.{table}")
                self._db.commit()
            finally:
                self._db.rollback()
                self._db.execute("detach database other")

    def _check_part(self, path: Path, n_windows: int | None) -> None:
        held = dict(self._db.execute("select key, value from other.about").fetchall())
        mine = dict(self._db.execute("select key, value from main.about").fetchall())
        if held != mine:
            raise RunError(
                f"{path.parent.parent}: made with other settings than this run",
                detail=describe_difference(held, mine),
                hint="join shards of one command alone",
            )
        self._check_windows("other")
        n_held = self._number("select count(*) from other.windows")
        if n_windows is not None and n_held < n_windows:
            raise sqlite3.DatabaseError(f"{n_held:,} of {n_windows:,} windows are there")
        damaged = "held is not check_of(place, logits, relevance, books)"
        if self._number(f"select exists (select 1 from other.scored where {damaged})"):
            raise sqlite3.DatabaseError("a window's results are damaged")
        lost = "scored and place not in (select place from other.scored)"
        if self._number(f"select exists (select 1 from other.windows where {lost})"):
            raise sqlite3.DatabaseError("a window's results are lost")

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
        return self._results(0, len(self._names) * _CHROM_SHIFT)

    def _results(self, low: int, high: int) -> Iterator[WindowResult]:
        query = (
            "select place, n_ambiguous, logits, relevance, books, scored.held"
            " from windows left join scored using (place)"
            " where windows.scored and place >= ? and place < ? order by place"
        )
        last = -1
        with self._telling():
            for place, n_ambiguous, logits, relevance, books, held in self._db.execute(query, (low, high)):
                if held is None or place <= last or held != _check_of(place, logits, relevance, books):
                    raise sqlite3.DatabaseError("a window's results are damaged or lost")
                last = place
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

    def _check_settings(self, settings: Mapping[str, object]) -> None:
        wanted = {key: json.dumps(value, sort_keys=True) for key, value in settings.items()}
        held = dict(self._db.execute("select key, value from about").fetchall())
        if not held and not self.n_done():
            self._db.executemany("insert into about values (?, ?)", wanted.items())
            self._db.commit()
        elif held != wanted:
            self._db.close()
            raise RunError(
                f"{self.path.parent.parent}: an interrupted run with other settings is here",
                detail=describe_difference(held, wanted),
                hint="give another -o, or --force to discard that run",
            )

    def _check_windows(self, schema: str) -> None:
        """Look whether the list of windows is as it was written, and in order; their results are checked as read."""
        (said,) = self._db.execute(f"pragma {schema}.quick_check(windows)").fetchone()
        if said != "ok":
            raise sqlite3.DatabaseError(said)
        damaged = f"held is not {_WINDOW_CHECK} or typeof(n_ambiguous) || typeof(scored) is not 'integerinteger'"
        if self._number(f"select exists (select 1 from {schema}.windows where {damaged})"):
            raise sqlite3.DatabaseError("the list of windows is damaged")

    @contextmanager
    def _telling(self, part: Path | None = None) -> Iterator[None]:
        """What SQLite says, as errors that a user can mend; part: the store that is absorbed."""
        try:
            yield
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the latter: of a damaged schema it quotes
            if getattr(error, "sqlite_errorname", "").startswith(_OF_THE_SYSTEM):
                place = self.path if part is None else f"{part} or {self.path}"
                raise RunError(
                    f"{place}: cannot be read or written: {error}",
                    hint="see that the disk has room and the folder can be written, then run the same command again:"
                    " it resumes",
                ) from error
            if part is not None:
                raise RunError(
                    f"{part}: the results of the shard cannot be read: {error}",
                    hint="make that shard again: its command, with --no-resume",
                ) from error
            raise RunError(
                f"{self.path}: the results of the interrupted run cannot be read: {error}",
                hint="use --no-resume (of merge: --force) to start it over",
            ) from error


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
