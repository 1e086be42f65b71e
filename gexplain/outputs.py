"""What a run leaves behind: track files, regions.tsv and stats.tsv."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from gexplain.aggregation import Track
from gexplain.arrays import FloatArray
from gexplain.attribution.target import Target
from gexplain.genome.bed_table import format_number
from gexplain.genome.bedgraph import BedGraphWriter
from gexplain.genome.bigwig import BigWigWriter
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Strand
from gexplain.genome.npz import NpzWriter
from gexplain.genome.sequence import count_ambiguous
from gexplain.genome.tracks import write_error
from gexplain.models.model import Model
from gexplain.pipeline import BOOKS, Weight, tracks_of
from gexplain.plan import REASONS, Plan, Status
from gexplain.run_folder import SUFFIXES
from gexplain.statistics import QUANTILES, TrackStatistics
from gexplain.store import WindowStore
from gexplain.windows import Tiling


class TrackWriter(Protocol):
    """A file that takes a track in order, piece by piece; NaN is a gap."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...
    def write(self, chrom: str, start: int, values: npt.NDArray[np.float32]) -> None:
        """Add values (n,) from `start` on."""


FORMATS: dict[str, tuple[str, Callable[[Path, Mapping[str, int]], TrackWriter]]] = {
    "bigwig": (SUFFIXES["bigwig"], BigWigWriter),
    "bedgraph": (SUFFIXES["bedgraph"], BedGraphWriter),
    "npz": (SUFFIXES["npz"], NpzWriter),
}

_STRAND_SUFFIX: dict[Strand, str] = {".": "", "+": ".plus", "-": ".minus"}

# Bases of a region looked at together, for regions.tsv and its counts.
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class TrackName:
    """One track: its file's stem, what it shows, and of which target and strand."""

    stem: str
    kind: str  # relevance, prediction or coverage
    target: str
    strand: Strand


def name_tracks(target: Target, strands: Sequence[Strand], *, by_strand: bool) -> list[TrackName]:
    """The tracks of a run: per strand K of relevance, K of prediction and one of coverage, in that order.

    by_strand: each strand has tracks of its own, told apart by a suffix.
    """
    stems: list[str] = []
    for name in target.names:
        stem = re.sub(r"[^\w.+-]+", "_", name).strip(".") or "_"
        while stem in ("coverage", *stems) or stem.endswith(".prediction"):
            stem += "_"
        stems.append(stem)
    tracks = []
    for strand in strands:
        suffix = _STRAND_SUFFIX[strand] if by_strand else ""
        for kind, infix in (("relevance", ""), ("prediction", ".prediction")):
            tracks += [
                TrackName(f"{stem}{infix}{suffix}", kind, name, strand)
                for stem, name in zip(stems, target.names, strict=True)
            ]
        tracks.append(TrackName(f"coverage{suffix}", "coverage", "", strand))
    return tracks


def write_tracks(
    directory: Path,
    names: Sequence[TrackName],
    formats: Sequence[str],
    chroms: Mapping[str, int],
    tracks: Iterable[tuple[Strand, Track]],
) -> dict[str, TrackStatistics]:
    """Write every track in every format into the directory; returns their statistics by stem."""
    statistics = {name.stem: TrackStatistics() for name in names}
    with ExitStack() as stack:
        writers = {
            name.stem: [
                stack.enter_context(writer(directory / f"{name.stem}{suffix}", chroms))
                for suffix, writer in (FORMATS[one] for one in dict.fromkeys(formats))
            ]
            for name in names
        }
        for strand, track in tracks:
            depth = np.where(track.depth > 0, track.depth, np.nan).astype(np.float32)
            of_strand = [name for name in names if name.strand == strand]
            for name, values in zip(of_strand, [*track.values, depth], strict=True):
                statistics[name.stem].add(values)
                for one in writers[name.stem]:
                    one.write(track.interval.chrom, track.interval.start, values)
    return statistics


def write_statistics(path: Path, statistics: Mapping[str, TrackStatistics]) -> None:
    """Write stats.tsv: a line a track. RunError where it cannot be written."""
    quantiles = [f"p{100 * q:g}" for q in QUANTILES]
    lines = [["#track", "bases", "sum", "min", *quantiles, "max"]]
    for stem, one in statistics.items():
        values = [one.sum, one.min, *one.quantiles(), one.max]
        lines.append([stem, str(one.n_bases), *(format_number(value) for value in values)])
    try:
        path.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8", newline="\n")
    except OSError as error:
        raise write_error(path, error) from error


@dataclass(frozen=True, slots=True)
class RegionTable:
    """What regions.tsv is made from: the plan and its spooled text, and the stored window results."""

    plan: Plan
    store: WindowStore
    genome: Genome
    model: Model
    target: Target
    tiling: Tiling
    weight: Weight

    def write(self, path: Path) -> Counter[Status]:
        """Write one line per input region, in input order; returns how many met which status.

        Raises RunError where the file cannot be written.
        """
        try:
            return self._write(path)
        except OSError as error:
            raise write_error(path, error) from error

    def _write(self, path: Path) -> Counter[Status]:
        assert self.plan.spool is not None
        chrom_names, header = list(self.plan.chroms), self._header()
        statuses: Counter[Status] = Counter()
        with (
            self.plan.spool.open(encoding="utf-8", errors="surrogateescape", newline="\n") as spool,
            path.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as file,
        ):
            file.write("\t".join(header) + "\n")
            for index, line in enumerate(spool):
                columns = line.rstrip("\n").split("\t")
                if self.plan.chrom[index] >= 0:
                    columns[0] = chrom_names[self.plan.chrom[index]]  # the FASTA's name, where the BED has another
                status = Status(int(self.plan.status[index]))
                values = self._values(index, columns[0]) if status == Status.SCORED else []
                if status == Status.SCORED and not values:
                    status = Status.ONLY_N
                statuses[status] += 1
                values = values or ["."] * (len(header) - len(columns) - 2)
                scored = "scored" if status == Status.SCORED else "skipped"
                file.write("\t".join([*columns, scored, REASONS[status], *values]) + "\n")
        return statuses

    def _header(self) -> list[str]:
        return [
            *("#chrom", "start", "end", "name", "strand", "status", "reason"),
            *("windows", "scored_bases", "ambiguous_bases", "predicted"),
            *(f"{what}_{label}" for label in self.model.labels for what in (self._prediction(), "max")),
            *(f"{what}_{name}" for name in self.target.names for what in _TARGET_COLUMNS),
        ]

    def _prediction(self) -> str:
        return "value" if self.model.head == "regression" else "probability"

    def _values(self, index: int, chrom: str) -> list[str]:
        """The measured columns of one region; none where all its windows are N alone."""
        strand = self.plan.strand_of_region(index)
        start, end = int(self.plan.start[index]), int(self.plan.end[index])
        own = self.plan.starts_of_region(self.tiling, index)
        low, high = int(own[0]), int(own[-1]) + 1
        n_windows, mean, peak, books = 0, np.zeros(0), np.full(0, 0.0), np.zeros(0)
        for result in self.store.results(chrom, strand, low, high):
            is_own = own[np.searchsorted(own, result.window.start)] == result.window.start
            if not is_own or result.logits is None or result.books is None:
                continue
            predictions = self.model.probabilities(result.logits)
            if not n_windows:
                mean, peak, books = np.zeros_like(predictions), predictions, np.zeros_like(result.books)
            n_windows += 1
            mean += predictions
            peak = np.maximum(peak, predictions)
            books += _magnitudes(result.books)
        if not n_windows:
            return []
        mean /= n_windows
        sums = self._sums(chrom, strand, start, end)
        ambiguous = sum(
            count_ambiguous(self.genome.fetch(chrom, low, min(low + _PIECE, end)))
            for low in range(start, end, _PIECE)
        )
        per_target = [
            field
            for k in range(self.target.n_explained)
            for field in (
                format_number(sums.relevance[k]),
                str(sums.top[k]),
                *(format_number(share) for share in _shares(books[k])),
            )
        ]
        per_class = [format_number(x) for pair in zip(mean, peak, strict=True) for x in pair]
        return [str(n_windows), str(sums.n_bases), str(ambiguous), self._predicted(mean), *per_class, *per_target]

    def _predicted(self, predictions: FloatArray) -> str:
        """The class of the highest mean probability; of a multi-label model, all classes above a half."""
        if self.model.head == "classification":
            return self.model.labels[int(predictions.argmax())]
        above = [label for label, value in zip(self.model.labels, predictions, strict=True) if value > 0.5]
        return ",".join(above) if above and self.model.head == "multi_label" else "."

    def _sums(self, chrom: str, strand: Strand, start: int, end: int) -> _RegionSums:
        """Sums over the region of the blended track, to which windows of other regions may add."""
        width = self.tiling.width(self.plan.chroms[chrom])
        results = self.store.results(chrom, strand, start - width + 1, end)
        sums = _RegionSums(self.target.n_explained)
        for _, track in tracks_of(results, self.model, self.target, self.weight):
            low, high = max(start, track.interval.start), min(end, track.interval.end)
            if low < high:
                here = slice(low - track.interval.start, high - track.interval.start)
                sums.add(low, track.values[: self.target.n_explained, here])
        return sums


class _RegionSums:
    """Running sums of relevance (K,), and where each is highest."""

    def __init__(self, n_explained: int) -> None:
        self.n_bases = 0
        self.relevance = np.zeros(n_explained)
        self.top = np.zeros(n_explained, dtype=np.int64)
        self._highest = np.full(n_explained, -np.inf)

    def add(self, start: int, values: FloatArray) -> None:
        """Add a stretch of values (K, n)."""
        self.n_bases += values.shape[1]
        self.relevance += values.sum(1, dtype=np.float64)
        at = values.argmax(1)
        highest = values[np.arange(len(values)), at]
        is_higher = highest > self._highest
        self.top[is_higher] = start + at[is_higher]
        self._highest[is_higher] = highest[is_higher]


# Per target: the sum of relevance over the region, the 0-based position of its highest base, and shares of the
# explained value: what no token received, of it what each kind of constant took, and what special tokens received.
_TARGET_COLUMNS = (
    "relevance",
    "top",
    "unexplained",
    "constants",
    "attention",
    "token_type",
    "special_tokens",
)


def _magnitudes(books: FloatArray) -> FloatArray:
    """One window's (K, 6) as sizes, "words" replaced by the unexplained rest: shares of sums are then never
    the quotient of two numbers that cancelled.
    """
    sizes = np.abs(books)
    sizes[:, BOOKS.index("words")] = np.abs(books[:, BOOKS.index("explained")] - books[:, BOOKS.index("words")])
    return sizes


def _shares(sizes: FloatArray) -> Iterator[float]:
    explained = sizes[BOOKS.index("explained")]
    for column in ("words", "constants", "attention", "token_type", "special"):
        yield float(sizes[BOOKS.index(column)] / explained) if explained > 0 else float("nan")
