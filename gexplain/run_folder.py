"""The folder of a finished run: how its files are called, and how they are read again.

No torch here: what only reads a run loads no model.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gexplain.arrays import FloatArray
from gexplain.errors import InputError, UsageError
from gexplain.genome.bigwig import read_bigwig
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval, Strand

if TYPE_CHECKING:
    import pandas as pd

MANIFEST = "manifest.json"
UNFINISHED = ".unfinished"
NULL, NULL_FASTA = "null", "null.fa"
REPORT, QUALITY = "report.html", "quality.json"
SHARD = "shard.json"
SUFFIXES = {"bigwig": ".bw", "bedgraph": ".bedGraph", "npz": ".npz"}
"""Of the track formats; the first that a run has is the one that is read."""
TEXT_COLUMNS = ("#chrom", "name", "strand", "status", "reason", "predicted")
"""The columns of regions.tsv that hold text; all others hold numbers, or "." where there is none."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Run:
    """A finished run: its directory, its manifest, and its tracks by name."""

    path: Path
    manifest: Mapping[str, Any]

    @property
    def tracks(self) -> dict[str, Path]:
        """The file of each track, by the track's name: the bigWig if there is one, else the run's first format."""
        suffix = next(suffix for name, suffix in SUFFIXES.items() if name in self.manifest["settings"]["formats"])
        return {name: self.path / "tracks" / f"{name}{suffix}" for name in self.manifest["tracks"]}

    def find_fault(self) -> str | None:
        """Of the files that the run wrote, what is wrong with the first that is gone or of another size, in words."""
        files = self.manifest.get("files")
        if not isinstance(files, dict):
            return f"was written by an earlier gexplain: its {MANIFEST} does not list its files"
        for name, n_bytes in files.items():
            path = self.path / name
            if not path.exists():
                return f"lacks {path}"
            if path.stat().st_size != n_bytes:
                return f"has another {path} than it wrote: {path.stat().st_size:,} bytes, expected {n_bytes:,}"
        return None

    @property
    def warnings(self) -> list[str]:
        """What was passed over, in words."""
        return list(self.manifest["warnings"])

    def values(self, track: str, interval: Interval) -> FloatArray:
        """A track's values (n,) over an interval; NaN where nothing was scored. UsageError without bigWigs."""
        if "bigwig" not in self.manifest["settings"]["formats"]:
            raise UsageError(f"{self.path} has no bigWigs to read values from", hint='score with formats=("bigwig",)')
        return read_bigwig(self.tracks[track], interval.chrom, interval.start, interval.end)

    def regions(self) -> pd.DataFrame:
        """regions.tsv as a data frame, one row an input region."""
        import pandas as pd

        path = self.path / "regions.tsv"
        with path.open(encoding="utf-8", errors="surrogateescape") as file:
            columns = file.readline().rstrip("\n").split("\t")
        # "." is a missing number, but a name like any other in a column of text, and so are NA and nan.
        frame = pd.read_csv(
            path,
            sep="\t",
            lineterminator="\n",
            quoting=csv.QUOTE_NONE,  # quotes in a name are a part of it
            na_values={column: ["."] for column in columns if column not in TEXT_COLUMNS},
            keep_default_na=False,
            dtype=dict.fromkeys(TEXT_COLUMNS, "str"),
            dtype_backend="numpy_nullable",
            encoding_errors="surrogateescape",
        )
        return frame.rename(columns={"#chrom": "chrom"})


def open_run(path: str | os.PathLike[str]) -> Run:
    """The finished run in a directory. InputError where there is none."""
    out = Path(path)
    if not (out / MANIFEST).exists():
        if (out / UNFINISHED).exists():
            raise InputError(
                f"{out}: the run is not finished",
                hint="give its gexplain score command again: it goes on where it stopped",
            )
        raise InputError(
            f"{out} holds no gexplain run: there is no {MANIFEST}",
            hint="give the directory that gexplain score -o wrote",
        )
    manifest: Any = None
    try:
        manifest = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
        is_manifest = {"settings", "genome", "tracks", "warnings"} <= manifest.keys()
    except (ValueError, AttributeError):
        is_manifest = False
    if not is_manifest:
        raise InputError(
            f"{out / MANIFEST} is no manifest of gexplain", hint="give the directory that gexplain score -o wrote"
        )
    return Run(out, manifest)


def open_genome(run: Run, path: str | os.PathLike[str] | None = None) -> Genome:
    """The FASTA of a run, from where it was or from `path`. InputError for another one."""
    fasta = Path(path if path is not None else run.manifest["genome"]["file"])
    if path is None and not fasta.exists():
        raise InputError(
            f"{run.path}: its genome, {fasta}, is not there",
            hint="say where it is now (GENOME; of an export --genome FASTA)",
        )
    genome = Genome(fasta)
    if genome.sha256() != run.manifest["genome"]["sha256"]:
        genome.close()
        raise InputError(
            f"{fasta} is not the genome of {run.path}: its sha256 is another than in {MANIFEST}",
            hint="give the very FASTA that was scored",
        )
    return genome


def read_scored_regions(path: Path) -> list[Interval]:
    """The scored regions of a regions.tsv, in its order, with their names and strands."""
    with path.open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        status = next(file).rstrip("\n").split("\t").index("status")
        rows = (line.rstrip("\n").split("\t") for line in file)
        return [
            Interval(row[0], int(row[1]), int(row[2]), row[3], _strand(row[4]))
            for row in rows
            if row[status] == "scored"
        ]


def _strand(text: str) -> Strand:
    return "+" if text == "+" else "-" if text == "-" else "."
