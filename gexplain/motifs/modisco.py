"""TF-MoDISco: relevance in the shape that motif discovery takes, and what it found, back on the genome.

    regions, bigWig, FASTA -- write_modisco --> sequences.npz  attributions.npz  index.bed
    modisco_results.h5, index.bed -- read_instances --> where each pattern lies

The arrays are those of `modisco motifs -s -a` (https://github.com/jmschrei/tfmodisco-lite): (N, 4, L), letters in the
order A C G T. Row i of the arrays is line i of index.bed.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from gexplain.arrays import FloatArray
from gexplain.errors import InputError, UsageError, count
from gexplain.genome.bed_table import MAX_SCORE, BedSchema, Column
from gexplain.genome.bigwig import BigWig
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval, Strand
from gexplain.genome.tracks import partial_path, write_error

# N windows, L nucleotides each

SEQUENCES, ATTRIBUTIONS, INDEX = "sequences.npz", "attributions.npz", "index.bed"
LEAST_WIDTH = 50
"""A pattern of modisco's defaults is 50 bases wide: 30, and 10 on either side."""

INSTANCES = BedSchema(
    "modiscoInstances",
    "Where the patterns of TF-MoDISco lie",
    (
        Column("sign", "string", "positive or negative relevance"),
        Column("relevance", "double", "sum of relevance over the instance"),
        Column("region", "string", "region that the instance was found in"),
    ),
)

_SIGNS = {"pos_patterns": "positive", "neg_patterns": "negative"}

_ONE_HOT = np.zeros((256, 4), dtype=np.int8)
_ONE_HOT[np.frombuffer(b"ACGT", dtype=np.uint8), np.arange(4)] = 1


@dataclass(frozen=True, slots=True)
class ModiscoExport:
    """What was written: N windows of `width` bases into `folder`.

    n_without_relevance: windows left out, since no base of theirs has any. n_unscored: bases of the N windows without
    relevance, which count as 0.
    """

    folder: Path
    width: int
    n_windows: int
    n_without_relevance: int
    n_unscored: int

    @property
    def unscored_share(self) -> float:
        """Share of the bases that have no relevance."""
        return self.n_unscored / (self.n_windows * self.width)


def fit_width(regions: Sequence[Interval], least: int) -> int:
    """The median width of the regions, or `least` where that is more; the next even number."""
    width = max(int(np.median([region.width for region in regions])), least, LEAST_WIDTH)
    return width + width % 2


def centre_windows(regions: Sequence[Interval], width: int, chroms: Mapping[str, int]) -> list[Interval]:
    """A window around each region's middle, with its name and strand, shifted inward at the chromosome's ends.

    chroms: names to lengths; the windows come in this order, then by start. Of equal windows on one strand the first
    region's is kept. Raises UsageError for a width that is odd (modisco cuts windows in halves), less than
    LEAST_WIDTH, or more than a chromosome has.
    """
    if width < LEAST_WIDTH or width % 2:
        raise UsageError(
            f"--width {width}: expected an even number of nucleotides, {LEAST_WIDTH} at least",
            hint="leave it out for the median width of the regions",
        )
    used = {region.chrom for region in regions}
    shortest = min(used, key=lambda chrom: chroms[chrom])
    if width > chroms[shortest]:
        raise UsageError(
            f"windows of {width:,} nucleotides do not fit into {shortest}, of {chroms[shortest]:,}",
            hint=f"--width {chroms[shortest] // 2 * 2}, or a run without the regions of {shortest}",
        )
    windows: dict[tuple[str, int, Strand], Interval] = {}
    for region in regions:
        start = min(max((region.start + region.end) // 2 - width // 2, 0), chroms[region.chrom] - width)
        window = Interval(region.chrom, start, start + width, region.name, region.strand)
        windows.setdefault((window.chrom, start, window.strand), window)
    ranks = {chrom: rank for rank, chrom in enumerate(chroms)}
    return sorted(windows.values(), key=lambda window: (ranks[window.chrom], window.start))


def write_modisco(
    folder: Path, windows: Sequence[Interval], tracks: Mapping[Strand, Path], genome: Genome
) -> ModiscoExport:
    """Write sequences.npz, attributions.npz and index.bed into `folder`, all three or none.

    windows: of one width, in the genome. tracks: a bigWig of relevance for each strand of the windows. Letters that
    are no base, and bases without relevance, are 0. Windows are read one by one: memory holds their places alone.

    Raises InputError where no window has relevance, RunError where the files cannot be written.
    """
    with ExitStack() as stack:
        opened = {strand: stack.enter_context(BigWig(path)) for strand, path in tracks.items()}

        def relevance(window: Interval) -> FloatArray:
            return opened[window.strand].values(window.chrom, window.start, window.end)

        n_known = np.array([np.count_nonzero(~np.isnan(relevance(window))) for window in windows])
        kept = [window for window, n in zip(windows, n_known, strict=True) if n]
        if not kept:
            raise InputError(
                f"{', '.join(map(str, tracks.values()))}: no relevance in any of {count(len(windows), 'window')}",
                hint="give another track",
            )
        width = kept[0].width
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with (
                _written_together([folder / name for name in (SEQUENCES, ATTRIBUTIONS, INDEX)]) as partials,
                _open_array(partials[0], (len(kept), 4, width), np.dtype(np.int8)) as sequences,
                _open_array(partials[1], (len(kept), 4, width), np.dtype("<f4")) as attributions,
                partials[2].open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as index,
            ):
                for window in kept:
                    one_hot = encode_one_hot(genome.fetch(window))
                    sequences.write(one_hot.tobytes())
                    attributions.write((one_hot * np.nan_to_num(relevance(window))).astype("<f4").tobytes())
                    index.write(_index_line(window))
        except OSError as error:
            raise write_error(folder, error) from error
    return ModiscoExport(
        folder=folder,
        width=width,
        n_windows=len(kept),
        n_without_relevance=len(windows) - len(kept),
        n_unscored=len(kept) * width - int(n_known.sum()),
    )


def encode_one_hot(sequence: str) -> npt.NDArray[np.int8]:
    """(4, L): 1 in the row of each letter, A C G T; a column of 0 for any other letter."""
    return np.ascontiguousarray(_ONE_HOT[np.frombuffer(sequence.encode("latin-1"), dtype=np.uint8)].T)


def read_instances(results: str | os.PathLike[str], index: str | os.PathLike[str]) -> list[tuple[Any, ...]]:
    """The instances of all patterns in a result of `modisco motifs`, as rows of INSTANCES, in index.bed's order.

    An instance found in two windows that overlap counts once. The score is the size of its relevance, in thousandths
    of the largest.

    Raises InputError for what is no such result, and for one of other windows; UsageError where h5py is missing.
    """
    windows = _read_index(Path(index))
    found: dict[tuple[object, ...], tuple[Any, ...]] = {}
    with _open_results(Path(results)) as file:
        # Positions are told in the middle of the windows, as wide as -w was.
        window_size = int(file.attrs["window_size"])
        inset = windows[0].width // 2 - window_size // 2
        for group, sign in _SIGNS.items():
            for pattern, content in file.get(group, {}).items():
                seqlets = {name: content["seqlets"][name][:] for name in _SEQLET_FIELDS}
                if inset < 0 or seqlets["example_idx"].max(initial=0) >= len(windows):
                    raise InputError(
                        f"{results} is of other windows than {index}",
                        hint="give the index.bed that lies beside the arrays that modisco read",
                    )
                sums = seqlets["contrib_scores"].sum(axis=(1, 2), dtype=np.float64)
                for i, window_number in enumerate(seqlets["example_idx"].tolist()):
                    window = windows[window_number]
                    start, end = (window.start + inset + int(seqlets[name][i]) for name in ("start", "end"))
                    strand = "-" if seqlets["is_revcomp"][i] else "+"
                    row = (window.chrom, start, end, f"{group}.{pattern}", strand, sign, float(sums[i]), window.name)
                    found.setdefault(row[:5], row)
    largest = max((abs(row[6]) for row in found.values()), default=1.0) or 1.0
    rows = [(*row[:4], round(MAX_SCORE * abs(row[6]) / largest), *row[4:]) for row in found.values()]
    ranks = {chrom: rank for rank, chrom in enumerate(dict.fromkeys(window.chrom for window in windows))}
    return sorted(rows, key=lambda row: (ranks[row[0]], *row[1:4]))


def index_chroms(index: str | os.PathLike[str]) -> dict[str, int]:
    """The chromosomes of an index.bed in its order, and how far its windows reach on each."""
    ends: dict[str, int] = {}
    for window in _read_index(Path(index)):
        ends[window.chrom] = max(ends.get(window.chrom, 0), window.end)
    return ends


_SEQLET_FIELDS = ("example_idx", "start", "end", "is_revcomp", "contrib_scores")


@contextmanager
def _open_results(path: Path) -> Iterator[Any]:
    """A result of modisco, open; whatever it lacks is an InputError."""
    try:
        import h5py
    except ImportError as error:
        raise UsageError(
            f"{path} is read with h5py, which is not installed", hint="pip install h5py, or gexplain[modisco]"
        ) from error
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError) as error:
        reason = "no such file" if not path.exists() else str(error).strip("'\"")
        raise InputError(
            f"cannot read {path} as a result of modisco: {reason}",
            hint="give the file that `modisco motifs -o` wrote, of modisco 2.5 or later",
        ) from error


def _index_line(window: Interval) -> str:
    name = re.sub(r"\s", "_", window.name) or "."
    return f"{window.chrom}\t{window.start}\t{window.end}\t{name}\t0\t{window.strand}\n"


def _read_index(path: Path) -> list[Interval]:
    windows = []
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            for line in file:
                chrom, start, end, name, _, _ = line.rstrip("\n").split("\t")
                windows.append(Interval(chrom, int(start), int(end), name))
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {(error.strerror or str(error)).lower()}", hint="check the path"
        ) from error
    except ValueError as error:
        raise _no_index(path, f"line {len(windows) + 1} is no line of six columns") from error
    if len({window.width for window in windows}) != 1:
        raise _no_index(path, "its lines are of different widths" if windows else "it is empty")
    return windows


def _no_index(path: Path, reason: str) -> InputError:
    return InputError(
        f"{path} is no index of windows: {reason}", hint="give the index.bed that gexplain export modisco wrote"
    )


@contextmanager
def _written_together(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Other names to write to; the files get their own when all are whole."""
    partials = [partial_path(path) for path in paths]
    try:
        yield partials
        for partial, path in zip(partials, paths, strict=True):
            partial.replace(path)
    finally:
        for partial in partials:
            partial.unlink(missing_ok=True)


@contextmanager
def _open_array(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Iterator[IO[bytes]]:
    """An .npz whose only array is to be written row by row."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with (
        # Mostly zeros: the fastest level makes them small.
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("arr_0.npy", "w", force_zip64=True) as member,
    ):
        np.lib.format.write_array_header_1_0(member, header)
        yield member
