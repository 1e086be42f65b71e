"""Tiny finished runs, written file by file: what reads a run's folder is tested on them without a model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gexplain.genome.bigwig import BigWigWriter
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval
from gexplain.run_folder import Run, open_run

CHROMS = {"chr1": 20_000, "chr2": 5_000}
_SUFFIX = {".": "", "+": ".plus", "-": ".minus"}
_STRANDS = {"region": ("+", "-"), "forward": ("+",), "reverse": ("-",)}  # of the tracks; else both are read for one
_TARGET = ("relevance", "top", "unexplained", "constants", "attention", "token_type", "special_tokens")


@dataclass
class TinyRun:
    """What to write. regions with a reason were skipped; chances: the mean probabilities of the others, in order.

    hits: (start, end, strand, factor, track, is primary) on chr1, in order; seqlets: (start, end, track).
    """

    classes: Sequence[str] = ("background", "Abf1", "Reb1")
    targets: Sequence[str] = ("background", "Abf1", "Reb1")
    head: str = "classification"
    method: str = "attnlrp"
    strand: str = "both"
    formats: Sequence[str] = ("bigwig",)
    regions: Sequence[tuple[Interval, str]] = (
        (Interval("chr1", 1000, 1400, "first", "+"), ""),
        (Interval("chr1", 3000, 3090, "second", "-"), ""),
        (Interval("chr9", 10, 20, "nowhere"), "unknown chromosome"),
        (Interval("chr2", 500, 1500), ""),
    )
    chances: Sequence[Sequence[float]] = ((0.7, 0.2, 0.1), (0.1, 0.1, 0.8), (0.3, 0.6, 0.1))
    hits: Sequence[tuple[int, int, str, str, str, int]] = ()
    seqlets: Sequence[tuple[int, int, str]] = ()
    is_called: bool = True
    is_cnn: bool = False
    summary: Sequence[str] = ()
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stems(self) -> dict[tuple[str, str], str]:
        """Of the relevance tracks, by target and strand: safe names, whatever the targets are called."""
        safe = {name: name if name.isalnum() else f"target_{i}" for i, name in enumerate(self.targets)}
        return {
            (name, one): safe[name] + (_SUFFIX[one] if self.strand == "region" else "")
            for one in _STRANDS.get(self.strand, (".",))
            for name in self.targets
        }

    def write(self, out: Path, seed: int = 0) -> Run:
        """The run in a folder."""
        rng = np.random.default_rng(seed)
        (out / "tracks").mkdir(parents=True)
        fasta = out / "genome.fa"
        fasta.write_text(
            "".join(f">{name}\n{''.join(rng.choice(list('ACGT'), size))}\n" for name, size in CHROMS.items())
        )
        with Genome(fasta) as genome:
            sha256 = genome.sha256()
        scored = [region for region, reason in self.regions if not reason]
        if "bigwig" in self.formats:
            for number, ((_, strand), stem) in enumerate(self.stems.items()):
                mine = [region for region in scored if self.strand != "region" or strand == region.strand]
                self._write_track(out / "tracks" / f"{stem}.bw", mine, np.random.default_rng([seed, number]))
        if "bedgraph" in self.formats:
            for stem in self.stems.values():
                (out / "tracks" / f"{stem}.bedGraph").write_text("")
        write_text(out / "regions.tsv", "\n".join(self._table()) + "\n")
        if self.is_called:
            self._write_calls(out)
        write_text(out / "manifest.json", json.dumps(self._manifest(out, sha256)))
        return open_run(out)

    def _write_track(self, path: Path, regions: Sequence[Interval], rng: np.random.Generator) -> None:
        with BigWigWriter(path, CHROMS) as track:
            for chrom in CHROMS:
                values = np.full(CHROMS[chrom], np.nan, dtype=np.float32)
                for region in regions:
                    if region.chrom == chrom:
                        values[region.start : region.end] = rng.normal(size=region.width)
                track.write(chrom, 0, values)

    def _table(self) -> list[str]:
        what = "value" if self.head == "regression" else "probability"
        header = [
            "#chrom",
            "start",
            "end",
            "name",
            "strand",
            "status",
            "reason",
            "windows",
            "scored_bases",
            "ambiguous_bases",
            "predicted",
        ]
        header += [f"{one}_{label}" for label in self.classes for one in (what, "max")]
        header += [f"{one}_{target}" for target in self.targets for one in _TARGET]
        lines, chances = ["\t".join(header)], iter(self.chances)
        for region, reason in self.regions:
            line = [region.chrom, str(region.start), str(region.end), region.name, region.strand]
            if reason:
                lines.append("\t".join([*line, "skipped", reason, *["."] * (len(header) - 7)]))
                continue
            values = next(chances)
            line += ["scored", ".", "3", str(region.width), "0", self._predicted(values)]
            line += [f"{value:.6g}" for value in values for _ in range(2)]
            for number in range(len(self.targets)):
                line += [f"{number + 0.5}", str(region.start), f"0.{number + 1}", ".", ".", ".", "."]
            lines.append("\t".join(line))
        return lines

    def _predicted(self, values: Sequence[float]) -> str:
        if self.head == "classification":
            return self.classes[int(np.argmax(values))]
        above = [name for name, value in zip(self.classes, values, strict=True) if value > 0.5]
        return ",".join(above) if above and self.head == "multi_label" else "."

    def _write_calls(self, out: Path) -> None:
        seqlets = ["#chrom\tstart\tend\tname\tscore\tstrand\ttrack\tdirection\trelevance\ttop\tp\tq\tregion"]
        seqlets += [
            f"chr1\t{start}\t{end}\t{track}.high\t400\t.\t{track}\thigh\t1\t{(start + end) // 2}\t0.1\t0.01\tany"
            for start, end, track in self.seqlets
        ]
        columns = [
            "track",
            "motif",
            "relevance",
            "share",
            "logOdds",
            "matchP",
            "relevanceP",
            "p",
            "q",
            "isPrimary",
            "primary",
            "region",
        ]
        hits = ["\t".join(["#chrom", "start", "end", "name", "score", "strand", *columns])]
        hits += [
            f"chr1\t{start}\t{end}\t{factor}\t400\t{strand}\t{track}\tM{factor}\t1\t0.5\t9\t1e-05\t1e-04\t1e-05"
            f"\t0.01\t{primary}\tM{factor}\tany"
            for start, end, strand, factor, track, primary in self.hits
        ]
        columns = [
            "tf",
            "matches",
            "used",
            "hits",
            "primary_hits",
            "regions_with_hit",
            "relevance_inside",
            "relevance_outside",
        ]
        summary = ["\t".join(["#track", "motif", *columns, "null_matches", "null_used", "enrichment", "q"])]
        write_text(out / "seqlets.bed", "\n".join(seqlets) + "\n")
        write_text(out / "hits.bed", "\n".join(hits) + "\n")
        write_text(out / "motif_summary.tsv", "\n".join([*summary, *self.summary]) + "\n")

    def _manifest(self, out: Path, sha256: str) -> dict[str, Any]:
        skipped: dict[str, int] = {}
        for _, reason in self.regions:
            if reason:
                skipped[reason] = skipped.get(reason, 0) + 1
        settings = {
            **({} if self.is_cnn else {"tokenizer": "a1"}),
            "classes": list(self.classes),
            "head": self.head,
            "window": 100,
            "stride": 50,
            "shifts": 1,
            "target": list(self.targets),
            "explained": "logit",
            "method": self.method,
            "projection": "uniform",
            "strand": self.strand,
            "weight": "none",
            "formats": list(self.formats),
            **(
                {"null regions": 9, "seed": 0, "q": 0.05, "match p": 0.0001}
                if self.is_called
                else {"null regions": 0}
            ),
        }
        n_scored = len(self.regions) - sum(skipped.values())
        counts = {stem: sum(track == stem for _, _, track in self.seqlets) for stem in self.stems.values()}
        primary = {stem: sum(one[4] == stem and one[5] for one in self.hits) for stem in self.stems.values()}
        calls = {
            "null": {"regions": 9, "bases": 900, "seed": 0},
            "seqlets": counts,
            "motifs": {"given as": "jaspar:fungi", "source": "JASPAR 2026 CORE fungi", "motifs": 193},
            "primary hits": primary,
        }
        return {
            "written": "2026-01-02T03:04:05+00:00",
            "versions": {"python": "3.11.7", "gexplain": "0.1.0", "torch": "2.13.0"},
            "settings": settings,
            "model": {
                "source": "yeast-tf",
                "form": "safetensors",
                "sha256": "0" * 64,
                "classes": list(self.classes),
                "head": self.head,
            },
            "genome": {"file": str(out / "genome.fa"), "sha256": sha256, "chromosomes": 2, "bases": 25_000},
            "regions": {
                "source": "regions.bed",
                "sha256": "1" * 64,
                "lines": len(self.regions),
                "scored": n_scored,
                "skipped": skipped,
            },
            "rules": {"linear": "epsilon -> 0"},
            "device": "cpu",
            "windows": {"read": 3 * n_scored, "N alone": 0},
            "ambiguous bases read": 0,
            "tracks": {
                stem: {"kind": "relevance", "target": target, "strand": strand, "bases": 100}
                for (target, strand), stem in self.stems.items()
            },
            "warnings": [],
            **({"calls": calls} if self.is_called else {}),
            "seconds": {"windows": 61.0, "outputs": 1.5},
            **self.more,
        }


def write_text(path: Path, text: str) -> None:
    """As a run writes: names may be bytes that are no text."""
    path.write_text(text, encoding="utf-8", errors="surrogateescape", newline="\n")
