"""A finished run of as many regions as one likes, made up: what report.html is measured on where no run is so large.

    python benchmarks/report/many_regions.py OUT --regions 100000 --width 500
    python benchmarks/report/many_regions.py OUT --measure

The first writes a run's folder with a random genome, relevance of one target with a few peaks a region, predictions,
seqlets and hits; the second writes its page, and prints how long that took, how large the page is and how much memory
the process had at most.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np

from gexplain.calls import HITS, SEQLETS
from gexplain.genome.bed_table import BedTable
from gexplain.genome.bigwig import BigWigWriter
from gexplain.genome.fasta import Genome
from gexplain.motifs.database import load_motifs
from gexplain.run_folder import open_genome, open_run

CLASSES = ("background", "CTCF", "FOXA1", "GABPA", "REST", "USF1")
FACTORS = ("CTCF", "FOXA1", "GABPA", "REST", "USF1", "ETS1", "MAX")
GAP = 100
PER_CHROM = 20_000
TARGET_COLUMNS = ("relevance", "top", "unexplained", "constants", "attention", "token_type", "special_tokens")
SUMMARY = (
    "#track\tmotif\ttf\tmatches\tused\thits\tprimary_hits\tregions_with_hit\trelevance_inside\trelevance_outside"
    "\tnull_matches\tnull_used\tenrichment\tq\n"
)


def make_run(out: Path, n: int, width: int = 500, seed: int = 0) -> Path:
    """Write a run of n regions of a made-up genome to `out`; returns it."""
    rng = np.random.default_rng(seed)
    (out / "tracks").mkdir(parents=True)
    step = width + GAP
    sizes = {f"chr{i // PER_CHROM + 1}": min(PER_CHROM, n - i) * step + GAP for i in range(0, n, PER_CHROM)}
    write_genome(out / "genome.fa", sizes, rng)
    with (
        (out / "regions.tsv").open("w") as table,
        BigWigWriter(out / "tracks" / "predicted.bw", sizes) as track,
        BedTable(out / "seqlets.bed", SEQLETS, sizes) as seqlets,
        BedTable(out / "hits.bed", HITS, sizes) as hits,
    ):
        table.write("\t".join(header()) + "\n")
        for number in range(n):
            chrom, start = f"chr{number // PER_CHROM + 1}", GAP + number % PER_CHROM * step
            place = (chrom, start, start + width, f"peak_{number + 1:06d}")
            peak = start + int(rng.integers(20, width - 30))
            values = rng.normal(0, 0.01, width).astype(np.float32)
            values[peak - start : peak - start + 10] += rng.uniform(0.1, 0.5)
            track.write(chrom, start, values)
            table.write(line(place, rng) + "\n")
            if number % 2 == 0:
                seqlets.write([(chrom, peak, peak + 10, "predicted.high", 400, ".", *seqlet(place, peak))])
            if number % 3 == 0:
                hits.write([(chrom, peak, peak + 10, FACTORS[number % 7], 400, "+", *hit(place, number))])
    (out / "motif_summary.tsv").write_text(
        SUMMARY
        + "".join(
            f"predicted\tM{i}\t{name}\t900\t400\t{n // 21}\t{n // 21}\t{n // 21}\t0.1\t0.01\t90\t4\t9.5\t1e-09\n"
            for i, name in enumerate(FACTORS)
        )
    )
    manifest = describe(out, n, width, sizes)
    (out / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    return out


def write_genome(path: Path, sizes: dict[str, int], rng: np.random.Generator) -> None:
    letters = np.frombuffer(b"ACGT", dtype="S1")
    with path.open("w") as file:
        for chrom, size in sizes.items():
            file.write(f">{chrom}\n")
            for start in range(0, size, 60):
                file.write(letters[rng.integers(0, 4, min(60, size - start))].tobytes().decode() + "\n")


def header() -> list[str]:
    fixed = ["#chrom", "start", "end", "name", "strand", "status", "reason", "windows", "scored_bases"]
    per_class = [f"{what}_{name}" for name in CLASSES for what in ("probability", "max")]
    return [*fixed, "ambiguous_bases", "predicted", *per_class, *(f"{one}_predicted" for one in TARGET_COLUMNS)]


def line(place: tuple[str, int, int, str], rng: np.random.Generator) -> str:
    width = place[2] - place[1]
    probabilities = rng.dirichlet(np.full(len(CLASSES), 0.4))
    predicted = CLASSES[int(probabilities.argmax())]
    per_class = [f"{one:.6g}" for share in probabilities for one in (share, share)]
    target = [f"{rng.normal():.6g}", str(place[1]), f"{rng.uniform():.6g}", "0.1", "0.2", "0.1", "0.1"]
    return "\t".join(
        [*map(str, place), ".", "scored", ".", "9", str(width), "0", predicted, *per_class, *target],
    )


def seqlet(place: tuple[str, int, int, str], peak: int) -> tuple[object, ...]:
    return ("predicted", "high", 2.0, peak, 0.0001, 0.01, place[3])


def hit(place: tuple[str, int, int, str], number: int) -> tuple[object, ...]:
    motif = f"M{number % 7}"
    return ("predicted", motif, 2.0, 0.5, 12.0, 1e-5, 1e-4, 1e-5, 0.01, 1, motif, place[3])


def describe(out: Path, n: int, width: int, sizes: dict[str, int]) -> dict[str, object]:
    """The manifest of such a run."""
    with Genome(out / "genome.fa") as genome:
        sha256 = genome.sha256()
    settings = {
        "tokenizer": "0" * 64,
        "classes": list(CLASSES),
        "window": 100,
        "stride": 50,
        "shifts": 1,
        "target": ["predicted"],
        "explained": "logit",
        "method": "attnlrp",
        "projection": "uniform",
        "strand": "both",
        "weight": "none",
        "formats": ["bigwig"],
        "null regions": 1000,
        "seed": 0,
        "q": 0.05,
        "match p": 0.0001,
    }
    return {
        "written": "2026-01-01T00:00:00+00:00",
        "versions": {"python": "3.11", "gexplain": "0", "torch": "0"},
        "settings": settings,
        "model": {
            "source": "made-up",
            "form": "none",
            "sha256": "0" * 64,
            "classes": list(CLASSES),
            "head": "classification",
        },
        "genome": {
            "file": str((out / "genome.fa").resolve()),
            "sha256": sha256,
            "chromosomes": len(sizes),
            "bases": sum(sizes.values()),
        },
        "regions": {"source": "made-up.bed", "sha256": "0" * 64, "lines": n, "scored": n, "skipped": {}},
        "rules": {},
        "device": "cpu",
        "windows": {"read": 9 * n, "N alone": 0},
        "ambiguous bases read": 0,
        "tracks": {"predicted": {"kind": "relevance", "target": "predicted", "strand": ".", "bases": n * width}},
        "warnings": [],
        "calls": {
            "null": {"regions": 1000, "bases": 100_000, "seed": 0},
            "seqlets": {"predicted": (n + 1) // 2},
            "motifs": {"given as": "jaspar:vertebrates", "source": "JASPAR 2026 CORE vertebrates", "motifs": 7},
            "primary hits": {"predicted": (n + 2) // 3},
        },
        "seconds": {"windows": 100.0, "outputs": 10.0},
    }


def measure(out: Path) -> None:
    """Write the page of a run, and print what it took."""
    from gexplain.report.page import write_report

    run = open_run(out)
    calls = run.manifest.get("calls", {})
    motifs = load_motifs(calls["motifs"]["given as"]) if "motifs" in calls else None
    with open_genome(run) as genome:
        started = time.monotonic()
        page = write_report(run, genome=genome, motifs=motifs)
        seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{page}: {seconds:.1f} s, {page.stat().st_size / 1e6:.1f} MB, at most {peak:.0f} MB of memory")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--regions", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=500)
    parser.add_argument("--measure", action="store_true")
    asked = parser.parse_args()
    if asked.measure:
        measure(asked.out)
    else:
        make_run(asked.out, asked.regions, asked.width)


if __name__ == "__main__":
    main()
