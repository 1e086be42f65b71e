"""What a figure of one place shows, read from a finished run: values, seqlets, hits and regions of that place alone.

A track is read page by page: a chromosome takes no more memory than a gene does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gexplain.arrays import FloatArray
from gexplain.errors import InputError, UsageError, preview
from gexplain.genome.bigwig import BigWig, bigwig_chroms
from gexplain.genome.chromosomes import match_chroms
from gexplain.genome.intervals import Interval, Strand, format_region, parse_region
from gexplain.run_folder import Run

# Bases of a track read at once.
_PAGE = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """A track in columns of one or more bases: between edges (n + 1,) its lowest (n,) and highest (n,) value each.

    NaN where a column has no value.
    """

    edges: npt.NDArray[np.int64]
    low: FloatArray
    high: FloatArray

    @property
    def is_scored(self) -> npt.NDArray[np.bool_]:
        """Which columns have a value, (n,)."""
        return ~np.isnan(self.high)


@dataclass(frozen=True, slots=True)
class Feature:
    """Something with a place and a name: a hit, a seqlet or a region. kind: of a seqlet, high or low."""

    start: int
    end: int
    name: str
    strand: Strand
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The tracks of a group, by the names of their files; name: what the group is called in the figure."""

    name: str
    relevance: str | None = None
    prediction: str | None = None
    coverage: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """What belongs together: a class's relevance with its seqlets and primary hits, and its prediction; or coverage.

    name: of the class, with the strand if the run has tracks by strand. A track that was not chosen is None.
    """

    name: str
    relevance: Columns | None = None
    prediction: Columns | None = None
    coverage: Columns | None = None
    seqlets: tuple[Feature, ...] = ()
    hits: tuple[Feature, ...] = ()

    @property
    def is_scored(self) -> bool:
        """Whether any of its tracks has a value here."""
        return any(
            one is not None and one.is_scored.any() for one in (self.relevance, self.prediction, self.coverage)
        )


def chroms_of(run: Run) -> dict[str, int]:
    """The genome's chromosomes, names to lengths, as the run's bigWigs have them. UsageError for a run without."""
    if "bigwig" not in run.manifest["settings"]["formats"]:
        raise UsageError(
            f"{run.path} has no bigWigs to draw from",
            hint="score with --format bigwig (or bigwig,bedgraph for both)",
        )
    return bigwig_chroms(next(iter(run.tracks.values())))


def find_place(run: Run, text: str, *, flank: int = 0) -> Interval:
    """The place that a person means by chrom:first-last, a chromosome, or the name of a region of the run.

    flank: bases more on both sides, as far as the chromosome goes. A place comes before a name. Raises InputError for
    a chromosome that the genome has not, for what is outside it, and for a name of no scored region, or of several.
    """
    chroms = chroms_of(run)
    place = _parse_place(text, chroms)
    if place is None or place.chrom not in chroms:
        named = _named_region(run, text)
        if named is None:
            raise _unknown_place(run, text, place, chroms)
        place = named
    length = chroms[place.chrom]
    if place.end > length:
        raise InputError(
            f"{format_region(place)} is not inside {place.chrom}, which has {length:,} bases",
            hint=f"the last base of {place.chrom} is {length:,}",
        )
    return Interval(place.chrom, max(0, place.start - flank), min(length, place.end + flank), place.name)


def choose_tracks(run: Run, names: Sequence[str]) -> list[Chosen]:
    """The tracks that the names stand for, group by group, in the order of the names.

    A class or its relevance track brings both its tracks; a prediction or coverage track is itself alone. No name at
    all is every class, in the run's order. Raises UsageError for a name that the run has not.
    """
    held = run.manifest["tracks"]
    groups: list[Chosen] = []
    for strand in dict.fromkeys(one["strand"] for one in held.values()):
        stems = [stem for stem, one in held.items() if one["strand"] == strand]
        relevance, prediction, coverage = (
            [stem for stem in stems if held[stem]["kind"] == kind] for kind in ("relevance", "prediction", "coverage")
        )
        suffix = "" if strand == "." else f" ({strand})"
        # A class's two tracks stand at the same place among the tracks of their kind.
        groups += [
            Chosen(held[one]["target"] + suffix, relevance=one, prediction=other)
            for one, other in zip(relevance, prediction, strict=True)
        ]
        groups += [Chosen(f"coverage{suffix}", coverage=stem) for stem in coverage]
    if not names:
        return [group for group in groups if group.relevance]
    chosen: list[Chosen] = []
    for name in names:
        found = [group for group in groups if name in (group.relevance, group.coverage)]
        found = found or [group for group in groups if group.relevance and name == held[group.relevance]["target"]]
        found = found or [replace(group, relevance=None) for group in groups if name == group.prediction]
        if not found:
            listed = dict.fromkeys([*(group.relevance or group.coverage or "" for group in groups), *held])
            raise UsageError(
                f"{run.path} has no track {name!r}", hint=f"--track takes one of: {preview(listed, most=20)}"
            )
        chosen += [group for group in found if group not in chosen]
    return chosen


def read_groups(run: Run, interval: Interval, chosen: Sequence[Chosen], n_columns: int) -> list[Group]:
    """The values of the chosen tracks in at most n_columns columns each, with the seqlets and hits called in them.

    Raises InputError where none of them has a value; it names the nearest place with some.
    """
    seqlets, hits = _features_by_track(run, "seqlets.bed", interval), _features_by_track(run, "hits.bed", interval)

    def read(stem: str | None) -> Columns | None:
        return None if stem is None else _read_columns(run.tracks[stem], interval, n_columns)

    groups = [
        Group(
            one.name,
            read(one.relevance),
            read(one.prediction),
            read(one.coverage),
            tuple(seqlets.get(one.relevance or "", ())),
            tuple(hits.get(one.relevance or "", ())),
        )
        for one in chosen
    ]
    if not any(group.is_scored for group in groups):
        raise _nothing_scored(run, interval, groups)
    return groups


def read_regions(run: Run, interval: Interval) -> list[Feature]:
    """The run's scored regions that share a base with an interval, by place."""
    near = [
        Feature(one.start, one.end, one.name, one.strand)
        for one, status, _ in _regions(run.path / "regions.tsv")
        if status == "scored"
        and one.chrom == interval.chrom
        and one.start < interval.end
        and interval.start < one.end
    ]
    return sorted(near, key=lambda one: (one.start, one.end))


# ---- The place ----


def _parse_place(text: str, chroms: dict[str, int]) -> Interval | None:
    """The text read as a place; None where it cannot be one. InputError for first after last."""
    if text.strip() not in chroms and ":" not in text:
        return None
    try:
        return parse_region(text, chroms)
    except InputError:
        # A name may have colons in it, too.
        chrom, _, rest = text.strip().rpartition(":")
        if chrom in chroms and rest.replace(",", "").replace("-", "").isdigit():
            raise
        return None


def _named_region(run: Run, name: str) -> Interval | None:
    """The one scored region of a name; None where no region has it."""
    found = [(one, status, reason) for one, status, reason in _regions(run.path / "regions.tsv") if one.name == name]
    scored = list(dict.fromkeys((one.chrom, one.start, one.end) for one, status, _ in found if status == "scored"))
    if name in ("", ".") or not found:
        return None
    if not scored:
        raise InputError(
            f"the region {name!r} of {run.path} was skipped: {found[0][2]}", hint="give a region that was scored"
        )
    if len(scored) > 1:
        places = preview(format_region(Interval(*one)) for one in scored)
        raise InputError(
            f"{len(scored)} regions of {run.path} are called {name!r}: {places}", hint="give one's place"
        )
    return Interval(*scored[0], name=name)


def _unknown_place(run: Run, text: str, place: Interval | None, chroms: dict[str, int]) -> InputError:
    if place is None:
        return InputError(
            f"{text!r} is no place, and no region of {run.path} has that name",
            hint="give chr1:1,001-2,000, a chromosome, or a name of column 4 of the regions",
        )
    other = match_chroms([place.chrom], chroms, "chr")
    mend = f"did you mean {other[place.chrom]}?" if other else "name chromosomes as the run's genome does"
    return InputError(f"{run.path} has no chromosome {place.chrom!r}; its genome has {preview(chroms)}", hint=mend)


def _nothing_scored(run: Run, interval: Interval, groups: Sequence[Group]) -> InputError:
    """The error for a place without a value: it names the nearest that has some."""
    where, wanted = format_region(interval), preview(group.name for group in groups)
    scored = [one for one, status, _ in _regions(run.path / "regions.tsv") if status == "scored"]
    near = [one for one in scored if one.chrom == interval.chrom]
    if not scored:
        return InputError(f"{run.path} has no scored region", hint="its regions.tsv says why each was skipped")

    def distance(one: Interval) -> int:
        return max(one.start - interval.end, interval.start - one.end, 0)

    if near:
        best = min(near, key=distance)
        place = f"the nearest scored region is {format_region(best)}, {distance(best):,} bases away"
    else:
        best = scored[0]
        place = f"no region on {interval.chrom} was scored; the run's first is {format_region(best)}"
    name = "" if best.name == "." else f" ({best.name})"
    return InputError(
        f"nothing was scored in {where} ({wanted}): {place}{name}", hint=f"give -r '{format_region(best)}'"
    )


# ---- The tracks ----


def _read_columns(path: Path, interval: Interval, n_columns: int) -> Columns:
    """A track of an interval in n_columns columns, or one a base if there are fewer bases."""
    n = min(n_columns, interval.width)
    edges = interval.start + np.arange(n + 1, dtype=np.int64) * interval.width // n
    low, high = np.empty(n), np.empty(n)
    with BigWig(path) as file:
        first = 0
        while first < n:
            last = max(first + 1, int(np.searchsorted(edges, edges[first] + _PAGE, side="right")) - 1)
            last = min(last, n)
            values = file.values(interval.chrom, int(edges[first]), int(edges[last]))
            begins = edges[first:last] - edges[first]
            low[first:last], high[first:last] = np.fmin.reduceat(values, begins), np.fmax.reduceat(values, begins)
            first = last
    return Columns(edges, low, high)


# ---- The tables ----


def _features_by_track(run: Run, name: str, interval: Interval) -> dict[str, list[Feature]]:
    """Seqlets or primary hits in an interval by the track that they were called in; none without such a table."""
    found: dict[str, list[Feature]] = {}
    path = run.path / name
    if not path.exists():
        return found
    with path.open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        column = {title: i for i, title in enumerate(next(file).rstrip("\n").split("\t"))}
        for row in _rows_in(file, interval):
            if "isPrimary" not in column or row[column["isPrimary"]] == "1":
                kind = row[column["direction"]] if "direction" in column else ""
                feature = Feature(int(row[1]), int(row[2]), row[3], _strand(row[5]), kind)
                found.setdefault(row[column["track"]], []).append(feature)
    return found


def _rows_in(lines: Iterator[str], interval: Interval) -> Iterator[list[str]]:
    """The rows of a sorted BED that share a base with an interval; reading ends behind it."""
    is_on_chrom = False
    for line in lines:
        if not line.startswith(f"{interval.chrom}\t"):
            if is_on_chrom:
                return
            continue
        is_on_chrom = True
        row = line.rstrip("\n").split("\t")
        if int(row[1]) >= interval.end:
            return
        if int(row[2]) > interval.start:
            yield row


def _regions(path: Path) -> Iterator[tuple[Interval, str, str]]:
    """(region, status, reason) of every row of regions.tsv."""
    with path.open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        column = {title: i for i, title in enumerate(next(file).rstrip("\n").split("\t"))}
        last = max(column["status"], column["reason"]) + 1
        for line in file:
            row = line.rstrip("\n").split("\t", last)
            region = Interval(row[0], int(row[1]), int(row[2]), row[3], _strand(row[4]))
            yield region, row[column["status"]], row[column["reason"]]


def _strand(text: str) -> Strand:
    return "+" if text == "+" else "-" if text == "-" else "."
