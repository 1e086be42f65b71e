"""The store of window results: what makes a run resumable, in one SQLite file.

SQLite because it already is what a resumable run needs: a commit is whole or absent after a kill or a power cut, and
windows come back in genome order from an index. Results are
kept as computed, before blending, so that tracks do not depend on where a run was interrupted.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

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
create table if not exists about (key text primary key, value text not null);
create table if not exists windows (place integer primary key, n_ambiguous integer not null, scored integer not null);
create table if not exists scored (place integer primary key, logits blob, relevance blob, books blob);
"""


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
        try:
            self._db = sqlite3.connect(path)
            self._db.executescript(_SCHEMA)
            self._check_settings(settings)
        except sqlite3.OperationalError as error:
            raise self._error(error) from error
        except sqlite3.DatabaseError as error:
            raise RunError(
                f"{path}: the results of the interrupted run cannot be read: {error}",
                hint="use --no-resume to start it over",
            ) from error

    def __enter__(self) -> WindowStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.commit()
        self._db.close()

    def done(self, chrom: str, strand: Strand) -> IntArray:
        """Sorted starts of the windows that are already there."""
        low, high = self._places(chrom, strand, 0, _STRAND_SHIFT)
        rows = self._db.execute("select place from windows where place >= ? and place < ?", (low, high))
        return np.fromiter((place - low for (place,) in rows), dtype=np.int64)

    def n_done(self) -> int:
        """Windows that are there, those of N alone too."""
        return self._count("true")

    def n_scored(self) -> int:
        """Windows that were read by the model."""
        return self._count("scored")

    def n_ambiguous(self) -> int:
        """Letters other than A, C, G, T in all windows that were read, each window's counted."""
        query = "select coalesce(sum(n_ambiguous), 0) from windows where scored"
        return int(self._db.execute(query).fetchone()[0])

    def add(self, results: Iterable[WindowResult]) -> None:
        """Keep results; committed every few seconds and on closing."""
        try:
            for result in results:
                self._insert(result)
            if time.monotonic() - self._last_commit > COMMIT_EVERY_S:
                self.commit()
        except sqlite3.OperationalError as error:
            raise self._error(error) from error

    def commit(self) -> None:
        """Make everything added so far survive a crash."""
        try:
            self._db.commit()
        except sqlite3.OperationalError as error:
            raise self._error(error) from error
        self._last_commit = time.monotonic()

    def results(self, chrom: str, strand: Strand, start: int = 0, end: int = 1 << 32) -> Iterator[WindowResult]:
        """Results of the scored windows that start in [start, end), sorted by start."""
        low, high = self._places(chrom, strand, start, end)
        cursor = self._db.execute(
            "select place, n_ambiguous, logits, relevance, books from windows join scored using (place)"
            " where place >= ? and place < ? order by place",
            (low, high),
        )
        first, _ = self._places(chrom, strand, 0, 0)
        width = self._widths[self._index[chrom]]
        for place, n_ambiguous, logits, relevance, books in cursor:
            yield WindowResult(
                Window(chrom, place - first, place - first + width, strand),
                n_ambiguous,
                logits=np.frombuffer(logits, dtype="<f8"),
                relevance=np.frombuffer(relevance, dtype="<f4").reshape(-1, width),
                books=np.frombuffer(books, dtype="<f8").reshape(-1, len(BOOKS)),
            )

    def all_results(self) -> Iterator[WindowResult]:
        """All scored windows' results, by chromosome (FASTA order), strand and start."""
        for chrom in self._names:
            for strand in _STRAND_CODES:
                yield from self.results(chrom, strand)

    def _places(self, chrom: str, strand: Strand, start: int, end: int) -> tuple[int, int]:
        base = self._index[chrom] * _CHROM_SHIFT + _STRAND_CODES.index(strand) * _STRAND_SHIFT
        return base + max(start, 0), base + end

    def _count(self, condition: str) -> int:
        return int(self._db.execute(f"select count(*) from windows where {condition}").fetchone()[0])

    def _insert(self, result: WindowResult) -> None:
        window = result.window
        place, _ = self._places(window.chrom, window.strand, window.start, window.start)
        is_scored = result.relevance is not None
        self._db.execute("insert into windows values (?, ?, ?)", (place, result.n_ambiguous, is_scored))
        if is_scored:
            blobs = (_blob(result.logits, "<f8"), _blob(result.relevance, "<f4"), _blob(result.books, "<f8"))
            self._db.execute("insert into scored values (?, ?, ?, ?)", (place, *blobs))

    def _check_settings(self, settings: Mapping[str, object]) -> None:
        wanted = {key: json.dumps(value, sort_keys=True) for key, value in settings.items()}
        held = dict(self._db.execute("select key, value from about").fetchall())
        if not held:
            self._db.executemany("insert into about values (?, ?)", wanted.items())
            self._db.commit()
        elif held != wanted:
            self._db.close()
            raise RunError(
                f"{self.path.parent.parent}: an interrupted run with other settings is here",
                detail=describe_difference(held, wanted),
                hint="give another -o, or --force to discard that run",
            )

    def _error(self, error: sqlite3.OperationalError) -> RunError:
        return RunError(
            f"{self.path}: cannot be written: {error}",
            hint="make room on the disk, then run the same command again: it resumes",
        )


def describe_difference(held: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    """One line per setting that differs: "window: 512 there, 1024 now"."""
    keys = [key for key in {**held, **wanted} if held.get(key) != wanted.get(key)]
    return "\n".join(f"{key}: {_shown(held.get(key))} there, {_shown(wanted.get(key))} now" for key in keys)


def _shown(value: str | None) -> str:
    text = "nothing" if value is None else value.strip('"')
    return text if len(text) <= 40 else f"{text[:12]}..."  # a sha256 is told by its beginning


def _blob(values: FloatArray | None, dtype: str) -> bytes | None:
    return None if values is None else np.ascontiguousarray(values, dtype=dtype).tobytes()
