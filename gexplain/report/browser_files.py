"""What genome browsers open of a run: bigBeds, a reference, a session for IGV Desktop, a track hub for UCSC.

regions.tsv  seqlets.bed  hits.bed --> browser/*.bb         IGV Desktop, igv.js, UCSC
the run's genome                   --> browser/reference.fa.gz (igv.js), browser/genome.2bit (UCSC)
the manifest                       --> igv_session.xml, hub.txt, genomes.txt, trackDb.txt
"""

from __future__ import annotations

import shutil
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from gexplain.arrays import IntArray
from gexplain.calls import HITS, SEQLETS
from gexplain.errors import InputError
from gexplain.genome.bed_table import BedSchema, Column
from gexplain.genome.bgzf import write_sparse_fasta
from gexplain.genome.bigbed import BigBedWriter
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval, format_region
from gexplain.genome.tracks import write_error
from gexplain.report.hub import HUB_FILES, check_assembly, write_hub
from gexplain.report.igv import write_igv_session
from gexplain.report.plain_text import spell_in_ascii
from gexplain.work_folder import sync, sync_tree

BROWSER = "browser"
IGV_SESSION = "igv_session.xml"
"""The last that is written, and the first that goes: where it is, all others are whole."""
BROWSER_FILES = (BROWSER, *HUB_FILES, IGV_SESSION)
"""Files and folders in a run's directory that `write_browser_files` writes, some only of some runs."""
LEAST_FLANK = 200
"""Letters of the reference on either side of a scored region; at least a window of them."""

# Columns of regions.tsv (docs/outputs.md): these, then two for each class and seven for each target.
_STATUS, _WINDOWS, _PREDICTED, _FIRST_CLASS = 5, 7, 10, 11
# How many classes, and targets, a feature tells of.
_MOST_TOLD = 3
# Of a `string` in autoSql, in bytes.
_LONGEST_NAME = 255

_DRAWN = (
    Column("thickStart", "uint", "Where the thick part begins"),
    Column("thickEnd", "uint", "Where the thick part ends"),
    Column("reserved", "uint", "Colour: red, green and blue"),
)
_REGIONS = BedSchema(
    "scoredRegions",
    "Regions that were scored",
    (
        *_DRAWN,
        Column("predicted", "lstring", "class that the model predicts"),
        Column("prediction", "lstring", "mean over the windows of the region, the highest ones"),
        Column("relevance", "lstring", "sum of relevance over the region, the largest ones"),
        Column("windows", "uint", "windows of the region that were read"),
    ),
)
# Of Okabe and Ito's palette (https://jfly.uni-koeln.de/color/); what is told apart by colour is told in words too.
_GREY, _BLUE, _VERMILLION, _DARK, _PALE = "128,128,128", "0,114,178", "213,94,0", "117,61,97", "190,160,178"
_CLASS_COLORS = (_BLUE, "230,159,0", "0,158,115", "204,121,167", "86,180,233", _VERMILLION)


def write_browser_files(
    work: Path, out: Path, manifest: Mapping[str, Any], genome: Genome, *, assembly: str | None = None
) -> list[str]:
    """Write all that browsers open of a run to `work`, from where it is to be moved to `out`; returns what is
    missing, in words.

    regions.tsv, stats.tsv, seqlets.bed, hits.bed and tracks/ lie in `work`, which may be `out`. assembly: what UCSC
    calls the genome. Older files of these names go. Memory holds a few numbers a region. Raises UsageError for an
    assembly that is no name, InputError for tables of another kind, RunError where files cannot be written.
    """
    check_assembly(assembly)
    folder = work / BROWSER
    try:
        (work / IGV_SESSION).unlink(missing_ok=True)
        sync(work)  # before what it vouches for goes
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    except OSError as error:
        raise write_error(folder, error) from error
    places = _Places(work / "regions.tsv", genome)
    if len(places):
        _write_regions(folder / "regions.bb", places, manifest, genome)
        reach = max(int(manifest["settings"]["window"]), LEAST_FLANK)
        write_sparse_fasta(folder / "reference.fa.gz", genome, places.shown(reach))
    for name, schema, style in (("seqlets", SEQLETS, _style_seqlet), ("hits", HITS, _style_hit)):
        if (work / f"{name}.bed").exists():
            _write_calls(folder / f"{name}.bb", work / f"{name}.bed", schema, style, genome)
    note = write_hub(work, manifest, genome, places.first(), assembly=assembly)
    for name in (BROWSER, *HUB_FILES):
        if (work / name).exists():
            sync_tree(work / name)
    sync(work)
    write_igv_session(work / IGV_SESSION, out, manifest)
    return [note] if note else []


class _Places:
    """The scored regions of a regions.tsv: where they are, and where in the file they are told of."""

    def __init__(self, table: Path, genome: Genome) -> None:
        self.table = table
        self._chroms = list(genome.chroms)
        self._lengths = genome.chroms
        ranks = {chrom: rank for rank, chrom in enumerate(self._chroms)}
        rows = array("q")
        with table.open("rb") as file:
            offset = len(next(file))
            for line in file:
                fields = line.split(b"\t", _STATUS + 1)
                if len(fields) <= _STATUS:
                    raise _not_a_table(table, f"a line of {len(fields)} columns")
                if fields[_STATUS] == b"scored":
                    rows.extend((ranks[fields[0].decode()], int(fields[1]), int(fields[2]), offset))
                offset += len(line)
        # In the file's order: rank of the chromosome, start, end, offset.
        self._rows: IntArray = np.frombuffer(rows, dtype=np.int64).reshape(-1, 4)

    def __len__(self) -> int:
        return len(self._rows)

    def first(self) -> Interval | None:
        """The first of the file."""
        if not len(self):
            return None
        rank, start, end, _ = self._rows[0].tolist()
        return Interval(self._chroms[rank], start, end)

    def sorted(self) -> Iterator[tuple[Interval, list[str]]]:
        """Each place and the columns that tell of it, in the order of the genome."""
        order = np.lexsort((self._rows[:, 2], self._rows[:, 1], self._rows[:, 0]))
        with self.table.open("rb") as file:
            for rank, start, end, offset in self._rows[order].tolist():
                file.seek(offset)
                yield Interval(self._chroms[rank], start, end), _columns(file)

    def shown(self, reach: int) -> dict[str, IntArray]:
        """Of each chromosome, where places and `reach` bases around them are: (n, 2), sorted, apart."""
        shown = {}
        for rank in np.unique(self._rows[:, 0]).tolist():
            chrom = self._chroms[rank]
            here = self._rows[self._rows[:, 0] == rank]
            starts = np.sort(np.maximum(here[:, 1] - reach, 0))
            ends = np.sort(np.minimum(here[:, 2] + reach, self._lengths[chrom]))
            # A stretch ends where as many have ended as have begun.
            begins = np.concatenate([[True], starts[1:] > ends[:-1]])
            shown[chrom] = np.column_stack([starts[begins], ends[np.append(begins[1:], True)]])
        return shown


def _columns(file: IO[bytes]) -> list[str]:
    # IGV Desktop counts letters where it should count bytes, and loses features after others: plain letters alone.
    chrom, *others = file.readline().decode("utf-8", "replace").rstrip("\n").split("\t")
    return [chrom, *(spell_in_ascii(column) for column in others)]


def _write_regions(path: Path, places: _Places, manifest: Mapping[str, Any], genome: Genome) -> None:
    classes, targets = manifest["model"]["classes"], manifest["settings"]["target"]
    head = manifest["model"]["head"]
    n_columns = _FIRST_CLASS + 2 * len(classes) + 7 * len(targets)
    with BigBedWriter(path, genome.chroms, _REGIONS, n_bed_columns=9) as file:
        for place, columns in places.sorted():
            if len(columns) != n_columns:
                raise _not_a_table(
                    places.table,
                    f"a line of {len(columns)} columns; expected {n_columns}, for {len(classes)} classes and"
                    f" {len(targets)} targets",
                )
            predictions = [float(value) for value in columns[_FIRST_CLASS::2][: len(classes)]]
            relevance = columns[_FIRST_CLASS + 2 * len(classes) :: 7]
            best = int(np.argmax(predictions))
            score = 0 if head == "regression" else round(1000 * predictions[best])
            name = format_region(place) if columns[3] == "." else columns[3][:_LONGEST_NAME]
            file.write(
                place.chrom,
                place.start,
                place.end,
                "\t".join(
                    [
                        *(name, str(score), columns[4], str(place.start), str(place.end)),
                        _color(best, head) if columns[_PREDICTED] != "." or head == "regression" else _GREY,
                        columns[_PREDICTED],
                        _tell(classes, predictions, lambda value: -value),
                        _tell(targets, [float(value) for value in relevance], lambda value: -abs(value)),
                        columns[_WINDOWS],
                    ]
                ),
            )


def _color(number: int, head: str) -> str:
    """Of a class; the first of several that exclude one another is what the others are told from."""
    if head == "classification":
        return _CLASS_COLORS[(number - 1) % len(_CLASS_COLORS)] if number else _GREY
    return _CLASS_COLORS[number % len(_CLASS_COLORS)]


def _tell(names: Sequence[str], values: Sequence[float], key: Callable[[float], float]) -> str:
    """The first few names with their values, in the order of the key."""
    ranked = sorted(zip(names, values, strict=True), key=lambda one: key(one[1]))[:_MOST_TOLD]
    return spell_in_ascii(", ".join(f"{name} {value:.3g}" for name, value in ranked))


def _write_calls(
    path: Path, table: Path, schema: BedSchema, style: Callable[[Sequence[str]], list[str]], genome: Genome
) -> None:
    """The bigBed of a table of calls; none where the table has no line."""
    drawn = BedSchema(schema.name, schema.description, (*_DRAWN, *schema.columns))
    with table.open("rb") as file:
        header = "\t".join(_columns(file))
        if header != schema.header:
            raise _not_a_table(table, f"it begins with {header!r}; expected {schema.header!r}")
        if not file.read(1):
            return
        file.seek(-1, 1)
        with BigBedWriter(path, genome.chroms, drawn, n_bed_columns=9) as bigbed:
            while (columns := _columns(file)) != [""]:
                rest = "\t".join([*columns[3:6], *style(columns), *columns[6:]])
                bigbed.write(columns[0], int(columns[1]), int(columns[2]), rest)


def _style_seqlet(columns: Sequence[str]) -> list[str]:
    """Start and end of the thick part, and the colour, of a line of seqlets.bed."""
    return [columns[1], columns[2], _BLUE if columns[7] == "high" else _VERMILLION]


def _style_hit(columns: Sequence[str]) -> list[str]:
    is_primary = columns[15] == "1"
    return [columns[1], columns[2] if is_primary else columns[1], _DARK if is_primary else _PALE]


def _not_a_table(path: Path, reason: str) -> InputError:
    return InputError(
        f"{path}: {reason}", hint="this is not the table that gexplain score wrote; score again with --force"
    )
