"""The null: what the model says of sequence without meaning, so that relevance can be told from noise.

    scored regions --- pieces drawn at random, dinucleotides shuffled ---> OUT/null/null.fa
    null.fa --- the same model, method, windows and strands ---> OUT/null/<track>.bw

The null is a small genome with tracks of its own, to be opened in a browser like the real one. It is drawn from a
seed, and kept: a run over the same regions with the same settings finds it there.

Where windows explain the class that each is predicted to be, shuffled sequence must not: it is mostly predicted to be
background, whatever it is compared with. A piece explains the class that was predicted for the place it was drawn
from, so that the null tells what the method says of these classes, as often as they are met, where there is nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from pathlib import Path

import numpy as np

from gexplain.aggregation import Track
from gexplain.arrays import IntArray
from gexplain.attribution.explainers import Explainer
from gexplain.attribution.target import Target
from gexplain.genome.bed import Region
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval, Strand, format_region
from gexplain.genome.shuffle import dinucleotide_shuffle
from gexplain.genome.tracks import write_error
from gexplain.models.model import Model
from gexplain.outputs import TrackName, write_tracks
from gexplain.pipeline import Weight, WindowResult, read_windows, tracks_of
from gexplain.plan import Plan, Status, StrandMode, plan_regions
from gexplain.run_folder import NULL_FASTA
from gexplain.store import WindowStore
from gexplain.windows import Tiling, Window

_ABOUT = "null.json"
NULL_PART = "null-part.sqlite"
"""What a shard read of the null."""

PIECE_WINDOWS = 3
"""A piece of a long region is as long as so many windows in a row."""

LEAST_WINDOWS, MOST_WINDOWS = 100, 5_000
"""Where no number of pieces is given, they need as many windows as the run has, within these bounds."""

_MOST_N = 0.5
"""A piece with a larger share of letters that are no base is drawn again, where others are."""
_LINE = 60


@dataclass(frozen=True, slots=True, eq=False)
class NullReading:
    """How the null is read: as the run itself. key: all that its tracks depend on but the sequence.

    Where the target is what is predicted, that is all that the classes of the run's windows depend on, too.
    """

    model: Model
    explainer: Explainer
    target: Target
    tiling: Tiling
    weight: Weight
    names: Sequence[TrackName]
    key: Mapping[str, object]


def default_null_regions(plan: Plan, tiling: Tiling) -> int:
    """Pieces to draw so that reading them costs as much as the run, within LEAST_WINDOWS and MOST_WINDOWS."""
    _, n_windows = _scored_rows(plan, tiling)
    wanted = min(max(int(n_windows.sum()), LEAST_WINDOWS), MOST_WINDOWS)
    per_piece = float(np.average(np.minimum(n_windows, PIECE_WINDOWS), weights=n_windows))
    return math.ceil(wanted / per_piece)


def draw_null(plan: Plan, genome: Genome, tiling: Tiling, n_pieces: int, seed: int) -> list[tuple[Interval, str]]:
    """Pieces of the scored regions (with the strand that each is read on), and their shuffled sequence.

    A piece is what the windows of a short region read, or PIECE_WINDOWS neighbouring windows of a long one, wider by
    the shifts. Regions are drawn with replacement, by their number of windows. Where regions are read on strands of
    their own, each strand has as many pieces, one at least: its tracks are compared with those pieces only. Where
    all that is drawn is nearly N alone, what has any base is taken; nothing, of N alone.
    """
    rng = np.random.default_rng(seed)
    rows, n_windows = _scored_rows(plan, tiling)
    strands = plan.strand[rows]
    drawn: list[tuple[Interval, str]] = []
    for nth, strand in enumerate(present := np.unique(strands)):
        here = strands == strand
        n_here = max(1, (n_pieces + nth) // len(present))
        drawn += _draw_pieces(plan, genome, tiling, _Draw(rows[here], n_windows[here], n_here, rng))
    shuffled = dinucleotide_shuffle([sequence for _, sequence in drawn], rng)
    return [(piece, sequence) for (piece, _), sequence in zip(drawn, shuffled, strict=True)]


@dataclass(frozen=True, slots=True, eq=False)
class Null:
    """A null to be read, or one that is there already (is_whole): the folder of its FASTA and tracks."""

    folder: Path
    reading: NullReading
    strand: StrandMode
    pieces: Sequence[Interval]
    key: Mapping[str, object]
    is_whole: bool

    @classmethod
    def prepare(
        cls, drawn: Sequence[tuple[Interval, str]], reading: NullReading, strand: StrandMode, kept: Path, work: Path
    ) -> Null:
        """The null of these pieces: the one in `kept`, where a finished run keeps it, or a new one inside `work`.

        Raises RunError where its FASTA cannot be written.
        """
        text = "".join(_fasta(index, piece, sequence) for index, (piece, sequence) in enumerate(drawn))
        pieces = [piece for piece, _ in drawn]
        key = json.loads(json.dumps({**reading.key, "null": hashlib.sha256(text.encode()).hexdigest()}))
        if _is_whole(kept, key, reading.names):
            return cls(kept, reading, strand, pieces, key, is_whole=True)
        folder = work / "null"
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            (folder / NULL_FASTA).write_text(text, encoding="utf-8")
        except OSError as error:
            raise write_error(folder / NULL_FASTA, error) from error
        return cls(folder, reading, strand, pieces, key, is_whole=False)

    def describe(self, seed: int) -> dict[str, object]:
        """What the manifest says of it."""
        with Genome(self.folder / NULL_FASTA) as genome:
            return {"regions": len(genome.chroms), "bases": sum(genome.chroms.values()), "seed": seed}

    def count_windows(self) -> int:
        """Windows to be read."""
        if self.is_whole:
            return 0
        with Genome(self.folder / NULL_FASTA) as genome:
            return self._plan(genome).count_windows(self.reading.tiling)

    def fill_part(
        self, scored: WindowStore, whose: Sequence[int], progress: Callable[[int], None] | None = None
    ) -> None:
        """Read some of the pieces, for a run that is made in shards; `fill` goes on from what all shards read.

        whose: numbers of the pieces, of which `scored` has the windows inside. One of whose windows none was scored
        is left to `fill`.
        """
        reading = self.reading
        with Genome(self.folder / NULL_FASTA) as genome:
            plan = self._plan(genome)
            names = list(genome.chroms)
            target_of: dict[str, Target] = {}
            for number in whose:
                target = self._target_of_piece(self.pieces[number], scored)
                if target is not None:
                    target_of[names[number]] = target
            with WindowStore(self.folder.parent / NULL_PART, plan.chroms, reading.tiling, self.key) as store:
                missing = (one for one in plan.windows(reading.tiling, store.done) if one.chrom in target_of)
                self._read(genome, store, missing, target_of, progress)

    def _target_of_piece(self, piece: Interval, scored: WindowStore) -> Target | None:
        target = self.reading.target
        if target.classes:
            return target
        found = _class_in_the_middle(piece, scored)
        return None if found is None else replace(target, classes=(found,))

    def _read(
        self,
        genome: Genome,
        store: WindowStore,
        missing: Iterable[Window],
        target_of: Mapping[str, Target],
        progress: Callable[[int], None] | None,
    ) -> None:
        n_done = store.n_done()
        # A pool is read for one target.
        missing = sorted(missing, key=lambda one: target_of[one.chrom].classes)
        for target, windows in groupby(missing, key=lambda one: target_of[one.chrom]):
            with closing(read_windows(windows, genome, self.reading.explainer, target)) as pools:
                for pool in pools:
                    store.add(pool)
                    n_done += len(pool)
                    if progress is not None:
                        progress(n_done)

    def fill(
        self,
        scored: WindowStore,
        progress: Callable[[int], None] | None = None,
        parts: Sequence[Path] = (),
    ) -> None:
        """Read what is missing and write the tracks; an interrupted null is gone on with.

        scored: the run's own windows, all of them read; see `predicted_classes`. progress: called with the windows
        done. parts: what `fill_part` of shards left.
        """
        if self.is_whole:
            return
        reading = self.reading
        targets = self._targets(scored)
        held = json.dumps([self.key, [target.classes for target in targets]], sort_keys=True)
        digest = hashlib.sha256(held.encode()).hexdigest()
        store_path = self.folder.parent / f"null-{digest[:16]}.sqlite"  # another null's has another name
        with Genome(self.folder / NULL_FASTA) as genome:
            plan = self._plan(genome)
            target_of = dict(zip(genome.chroms, targets, strict=True))
            with WindowStore(store_path, plan.chroms, reading.tiling, self.key) as store:
                for part in parts:
                    store.absorb(part)
                self._read(genome, store, plan.windows(reading.tiling, store.done), target_of, progress)
                write_tracks(self.folder, reading.names, ("bigwig",), plan.chroms, self._tracks(store, target_of))
        try:
            about = {"key": self.key, "files": _digests(self.folder, reading.names)}
            (self.folder / _ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise write_error(self.folder / _ABOUT, error) from error

    def _plan(self, genome: Genome) -> Plan:
        regions = (
            Region(Interval(name, 0, length, strand=piece.strand), 0)
            for (name, length), piece in zip(genome.chroms.items(), self.pieces, strict=True)
        )
        return plan_regions(regions, genome.chroms, strand=self.strand)

    def _targets(self, scored: WindowStore) -> list[Target]:
        """What each piece explains."""
        target = self.reading.target
        if target.classes:
            return [target] * len(self.pieces)
        return [replace(target, classes=(one,)) for one in predicted_classes(self.pieces, scored)]

    def _tracks(self, store: WindowStore, target_of: Mapping[str, Target]) -> Iterator[tuple[Strand, Track]]:
        reading = self.reading
        for (name, target), piece in zip(target_of.items(), self.pieces, strict=True):
            yield from tracks_of(store.results(name, piece.strand), reading.model, target, reading.weight)


def predicted_classes(pieces: Sequence[Interval], scored: WindowStore) -> list[int]:
    """The class that was predicted where each piece was drawn.

    It is that of the scored window in its middle: of the windows inside the piece, on its strand, the one whose
    middle is nearest (of two, the first). Windows of N alone have no class. A piece without any other, which the
    shifts can lead to at a chromosome's end, takes the class that most windows of the run have.
    """
    most_common = cache(lambda: Counter(map(_predicted, scored.all_results())).most_common(1)[0][0])
    found = (_class_in_the_middle(piece, scored) for piece in pieces)
    return [most_common() if one is None else one for one in found]


def _class_in_the_middle(piece: Interval, scored: WindowStore) -> int | None:
    found = scored.results(piece.chrom, piece.strand, piece.start, piece.end)
    inside = [one for one in found if one.window.end <= piece.end]
    if not inside:
        return None
    middle = piece.start + piece.end
    return _predicted(min(inside, key=lambda one: abs(one.window.start + one.window.end - middle)))


def _predicted(result: WindowResult) -> int:
    assert result.logits is not None
    return int(result.logits.argmax())


@dataclass(frozen=True, slots=True, eq=False)
class _Draw:
    """How many pieces to draw of which rows of the plan, by their number of windows."""

    rows: IntArray
    n_windows: IntArray
    n_pieces: int
    rng: np.random.Generator


def _draw_pieces(plan: Plan, genome: Genome, tiling: Tiling, draw: _Draw) -> list[tuple[Interval, str]]:
    """Pieces and their sequence, not shuffled yet."""
    names, offsets = list(plan.chroms), tiling.offsets
    shares = draw.n_windows / draw.n_windows.sum()
    pieces: list[tuple[Interval, str]] = []
    poor: list[tuple[Interval, str]] = []
    for _ in range(20):  # of regions that are nearly N alone there may be nothing else to draw
        for row in draw.rng.choice(draw.rows, size=draw.n_pieces - len(pieces), p=shares).tolist():
            chrom = names[plan.chrom[row]]
            length = plan.chroms[chrom]
            starts = plan.tiles_of_region(tiling, row)
            first = int(draw.rng.integers(max(1, len(starts) - PIECE_WINDOWS + 1)))
            last = starts[min(first + PIECE_WINDOWS, len(starts)) - 1]
            start = max(0, starts[first] + int(offsets[0]))
            end = min(length, last + tiling.width(length) + int(offsets[-1]))
            piece = Interval(chrom, start, end, strand=plan.strand_of_region(row))
            sequence = genome.fetch(piece)
            n_bases = sum(map(sequence.count, "ACGT"))
            if n_bases >= (1 - _MOST_N) * len(sequence):
                pieces.append((piece, sequence))
            elif n_bases:
                poor.append((piece, sequence))
        if len(pieces) == draw.n_pieces:
            break
    return pieces or poor[: draw.n_pieces]


def _scored_rows(plan: Plan, tiling: Tiling) -> tuple[IntArray, IntArray]:
    """The rows of the scored regions, and about how many windows each has without shifts."""
    rows = np.flatnonzero(plan.status == Status.SCORED)
    widths = plan.end[rows] - plan.start[rows]
    return rows, np.where(widths <= tiling.window, 1, -(-widths // tiling.stride))


def _fasta(index: int, piece: Interval, sequence: str) -> str:
    """One record; its description tells which piece was shuffled."""
    lines = [sequence[low : low + _LINE] for low in range(0, len(sequence), _LINE)]
    return "\n".join([f">null_{index + 1} {format_region(piece)} {piece.strand}", *lines, ""])


def _is_whole(folder: Path, key: Mapping[str, object], names: Sequence[TrackName]) -> bool:
    """Whether a folder holds this very null, with nothing lost or damaged."""
    try:
        held = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        return bool(held == {"key": key, "files": _digests(folder, names)})
    except (OSError, ValueError):
        return False


def _digests(folder: Path, names: Sequence[TrackName]) -> dict[str, str]:
    """The sha256 of what calls are made from, by file."""
    digests = {}
    for name in (NULL_FASTA, *(f"{name.stem}.bw" for name in names if name.kind == "relevance")):
        with (folder / name).open("rb") as file:
            digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests
