"""Finished runs for genome browsers, made by hand: any names, any heads, any formats, and no model."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gexplain.attribution.target import Target
from gexplain.calls import HITS, SEQLETS
from gexplain.genome.bed_table import BedTable
from gexplain.genome.bigwig import BigWigWriter
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval
from gexplain.outputs import name_tracks

CHROMS = {"chr2": 6000, "chr1": 5000, "scaffold_3.1": 900}
WINDOW = 100


@dataclass(frozen=True)
class TinyRun:
    """The folder of a run, its manifest, its genome, and the regions that were scored, in the input's order."""

    path: Path
    manifest: dict[str, Any]
    genome: Genome
    regions: list[Interval]


def make_run(
    directory: Path,
    *,
    labels: Sequence[str] = ("background", "CTCF"),
    explained: Sequence[int] | None = None,
    formats: Sequence[str] = ("bigwig",),
    head: str = "classification",
    by_strand: bool = False,
    chroms: Mapping[str, int] = CHROMS,
    regions: Sequence[Interval] | None = None,
    n_hits: int | None = 3,
) -> TinyRun:
    """A run in directory/out over directory/genome.fa. explained: the targets, all by default. n_hits: of either
    table of calls; None is a run without calls.
    """
    out = directory / "out"
    (out / "tracks").mkdir(parents=True)
    rng = np.random.default_rng(0)
    fasta = directory / "genome.fa"
    letters = {name: "".join(rng.choice(list("ACGT"), length)) for name, length in chroms.items()}
    fasta.write_text("".join(f">{name}\n{sequence}\n" for name, sequence in letters.items()))
    genome = Genome(fasta)
    if regions is None:
        # Neither sorted nor apart, and one at either end of a chromosome.
        last = list(chroms)[-1]
        regions = [
            Interval("chr1", 2000, 2400, "peak_2", "-"),
            Interval("chr2", 0, 100, "peak_1", "+"),
            Interval("chr1", 2100, 2300, "inside"),
            Interval(last, chroms[last] - 50, chroms[last]),
        ]
    targets = [labels[i] for i in explained] if explained is not None else list(labels)
    target = Target(tuple(range(len(targets))), tuple(targets))
    tracks = name_tracks(target, ("+", "-") if by_strand else (".",), by_strand=by_strand)
    _write_regions(out / "regions.tsv", regions, labels, targets, head)
    (out / "stats.tsv").write_text(
        "#track\tbases\tsum\tmin\tmax\n" + "".join(f"{one.stem}\t400\t1\t-0.5\t1.25\n" for one in tracks)
    )
    if "bigwig" in formats:
        for one in tracks:
            with BigWigWriter(out / "tracks" / f"{one.stem}.bw", genome.chroms) as file:
                for chrom, start in (("chr1", 2000),):
                    if chrom in chroms:
                        values = np.sin(np.arange(400) / 9) if one.kind == "relevance" else np.full(400, 0.75)
                        file.write(chrom, start, values.astype(np.float32))
    manifest: dict[str, Any] = {
        "genome": {"file": str(fasta), "sha256": hashlib.sha256(fasta.read_bytes()).hexdigest()},
        "settings": {"formats": list(formats), "window": WINDOW, "target": targets},
        "model": {"head": head, "classes": list(labels), "source": "tiny"},
        "tracks": {
            one.stem: {"kind": one.kind, "target": one.target, "strand": one.strand, "bases": 400} for one in tracks
        },
    }
    if n_hits is not None:
        _write_calls(out, genome, tracks[0].stem, n_hits)
        manifest["calls"] = {"seqlets": {tracks[0].stem: n_hits}, "primary hits": {tracks[0].stem: n_hits}}
    return TinyRun(out, manifest, genome, list(regions))


def _write_regions(
    path: Path, regions: Sequence[Interval], labels: Sequence[str], targets: Sequence[str], head: str
) -> None:
    labels, targets = ([re.sub(r"\s", "_", name) for name in names] for names in (labels, targets))
    value = "value" if head == "regression" else "probability"
    header = ["#chrom", "start", "end", "name", "strand", "status", "reason", "windows", "scored_bases"]
    header += ["ambiguous_bases", "predicted", *(f"{kind}_{label}" for label in labels for kind in (value, "max"))]
    header += [f"relevance_{name}" for name in targets for _ in range(7)]
    lines = [
        header,
        ["chrX", "5", "9", "no", ".", "skipped", "chromosome not in the FASTA", *["."] * (len(header) - 7)],
    ]
    for i, one in enumerate(regions):
        # The best class of each in turn.
        scores = [0.9 if j == i % len(labels) else 0.1 / len(labels) for j in range(len(labels))]
        predicted = "." if head == "regression" else labels[i % len(labels)]
        lines.append(
            [
                *(one.chrom, str(one.start), str(one.end), one.name, one.strand, "scored", ".", "3", "400", "0"),
                *(predicted, *(str(score) for score in scores for _ in range(2))),
                *(str(round(0.5 - j - k / 8, 3)) for j in range(len(targets)) for k in range(7)),
            ]
        )
    text = "".join("\t".join(line) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8", errors="surrogateescape", newline="\n")


def _write_calls(out: Path, genome: Genome, track: str, n: int) -> None:
    with BedTable(out / "seqlets.bed", SEQLETS, genome.chroms) as table:
        for i in range(n):
            start, end = 2050 + 20 * i, 2062 + 20 * i
            direction = "low" if i % 2 else "high"
            table.write(
                [
                    (
                        "chr1",
                        start,
                        end,
                        f"{track}.{direction}",
                        500,
                        ".",
                        track,
                        direction,
                        1.5,
                        start,
                        0.01,
                        0.02,
                        "r",
                    )
                ]
            )
    with BedTable(out / "hits.bed", HITS, genome.chroms) as table:
        for i in range(n):
            start, end = 2050 + 20 * i, 2062 + 20 * i
            numbers = (1.5, 0.25, 12.0, 1e-6, 1e-3, 1e-4, 0.01)
            is_primary = 1 - i % 2
            table.write(
                [("chr1", start, end, "CTCF", 500, "-", track, "MA0139.2", *numbers, is_primary, "MA0139.2", "r")]
            )
