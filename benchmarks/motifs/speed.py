"""What seqlets and hits cost: seconds and peak memory over scored bases, without a model.

    python benchmarks/motifs/speed.py [--megabases 2 5 10] [--motifs 200]

Random sequence, all of it scored, one track of token-like noise, and a null of its own. Each size has a process of
its own, which calls once in little before the clock starts: libraries are loaded and numba has compiled.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from genomes import random_sequence, token_noise, write_fasta, write_track
from tables import markdown_table

from gexplain.attributions import open_attributions
from gexplain.calls import call_hits, call_seqlets
from gexplain.genome.fasta import Genome
from gexplain.models.bundled import DEFAULT_MOTIFS
from gexplain.motifs.database import load_motifs

CHROM_BASES = 1_000_000
NULL_BASES = 500_000
WARM_UP_BASES = 20_000
GATE_S = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabases", type=float, nargs="+", default=[2, 5, 10])
    parser.add_argument("--motifs", type=int, default=200, help="the first so many of JASPAR's vertebrates")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.motifs)))
        return
    rows = []
    for size in options.megabases:
        with tempfile.TemporaryDirectory() as name:
            make_inputs(Path(name), round(size * 1e6))
            command = [sys.executable, __file__, "--motifs", str(options.motifs), "--measure", name]
            run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        one = json.loads(run.stdout)
        print(f"{size:g} Mb: {one}", file=sys.stderr, flush=True)
        rows.append([f"{size:g}", *(f"{one[key]:.1f}" for key in ("call_seqlets", "call_hits", "together", "MB"))])
    print(
        markdown_table(
            f"Seconds of wall time, {options.motifs} motifs (gate: 10 Mb in under {GATE_S} s on two cores), and the "
            "peak memory of the process.",
            ["Mb scored", "call_seqlets, s", "call_hits, s", "together, s", "peak, MB"],
            rows,
        )
    )


def make_inputs(folder: Path, n_bases: int) -> None:
    """Sequence and noise of so many bases, of the null, and of the warm-up."""
    rng = np.random.default_rng(0)
    for name, bases in (("scored", n_bases), ("null", NULL_BASES), ("warm_up", WARM_UP_BASES)):
        chroms = {
            f"chr{number}": random_sequence(min(CHROM_BASES, bases - start), rng)
            for number, start in enumerate(range(0, bases, CHROM_BASES), 1)
        }
        fasta = write_fasta(folder / f"{name}.fa", chroms)
        with Genome(fasta) as genome:
            write_track(folder / f"{name}.bw", genome.chroms, lambda n: token_noise(n, rng))


def measure(folder: Path, n_motifs: int) -> dict[str, float]:
    """Seconds of each call over the scored bases, and the peak memory of this process in MB."""
    motifs = load_motifs(DEFAULT_MOTIFS, [motif.id for motif in load_motifs(DEFAULT_MOTIFS).motifs[:n_motifs]])
    seconds: dict[str, float] = {}
    for name in ("warm_up", "scored"):
        start = time.perf_counter()
        with open_attributions(
            folder / f"{name}.bw", folder / f"{name}.fa", null=(folder / "null.bw", folder / "null.fa")
        ) as attributions:
            call_seqlets(attributions, folder / "seqlets.bed")
            seconds["call_seqlets"] = time.perf_counter() - start
            call_hits(attributions, motifs, folder / "hits.bed", summary=folder / "motif_summary.tsv")
        seconds["together"] = time.perf_counter() - start
    seconds["call_hits"] = seconds["together"] - seconds["call_seqlets"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return seconds | {"MB": peak / 1e6}


if __name__ == "__main__":
    main()
