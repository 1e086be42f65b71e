"""What planning costs, up to a human-size genome: seconds and the process's peak memory.

    python benchmarks/plan.py [--only KIND ...] [--stride 256]

The genome is simulated: chromosomes of GRCh38's lengths, in a FASTA that is nearly all hole on the disk. Regions are
its 24 chromosomes whole, or 100,000 and 1,000,000 peaks of 300 bases at random places. Each kind is planned in a
process of its own, as a run does it: the BED is read and checked, the windows counted, the null drawn, and all
windows walked through. Nothing of it is kept, so memory is that of the plan; the genome's checksum is timed apart.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

# GRCh38's chromosomes 1 to 22, X and Y.
LENGTHS = [
    *(248_956_422, 242_193_529, 198_295_559, 190_214_555, 181_538_259, 170_805_979, 159_345_973, 145_138_636),
    *(138_394_717, 133_797_422, 135_086_622, 133_275_309, 114_364_328, 107_043_718, 101_991_189, 90_338_345),
    *(83_257_441, 80_373_285, 58_617_616, 64_444_167, 46_709_983, 50_818_468, 156_040_895, 57_227_415),
]
CHROMS = [f"chr{name}" for name in (*range(1, 23), "X", "Y")]
KINDS = {"one peak": 1, "whole genome": None, "100,000 peaks": 100_000, "1,000,000 peaks": 1_000_000}
PEAK, WINDOW = 300, 512


def make_genome(folder: Path) -> Path:
    """A FASTA with an index, of one line a chromosome, which is a hole in the file but for its first letters."""
    path, offset, index = folder / "genome.fa", 0, []
    with path.open("wb") as file:
        for chrom, length in zip(CHROMS, LENGTHS, strict=True):
            header = f">{chrom}\n".encode()
            file.seek(offset)
            file.write(header + b"ACGT" * (1 << 18))  # a FASTA by its looks
            index.append(f"{chrom}\t{length}\t{offset + len(header)}\t{length}\t{length + 1}\n")
            offset += len(header) + length + 1
            file.seek(offset - 1)
            file.write(b"\n")
    (folder / "genome.fa.fai").write_text("".join(index))
    return path


def make_regions(path: Path, n_peaks: int | None) -> None:
    """Whole chromosomes, or peaks at random places, in no order."""
    if n_peaks is None:
        lines = [f"{chrom}\t0\t{length}\n" for chrom, length in zip(CHROMS, LENGTHS, strict=True)]
    else:
        rng = np.random.default_rng(0)
        of = rng.choice(len(LENGTHS), n_peaks, p=np.array(LENGTHS) / sum(LENGTHS))
        starts = (rng.random(len(of)) * (np.array(LENGTHS)[of] - PEAK)).astype(int)
        lines = [
            f"{CHROMS[i]}\t{start}\t{start + PEAK}\n" for i, start in zip(of.tolist(), starts.tolist(), strict=True)
        ]
    path.write_text("".join(lines))


def measure(regions: Path, genome: Path, stride: int) -> dict[str, float]:
    """Seconds by step, windows and peak MiB of this process."""
    from gexplain.genome.fasta import Genome
    from gexplain.inputs import ScoreSettings, open_inputs
    from gexplain.null import default_null_regions, draw_null
    from gexplain.windows import Tiling

    # A hole reads as zeros, which are no letters: to read it, and its checksum, is timed apart.
    letters = (
        np.frombuffer(b"ACGT", dtype=np.uint8)[np.random.default_rng(0).integers(0, 4, 1 << 20)].tobytes().decode()
    )
    Genome.fetch = lambda self, place, start=0, end=0: letters[
        : end - start if isinstance(place, str) else place.width
    ]
    Genome.sha256 = lambda self: ""
    tiling, found, began = Tiling(WINDOW, stride), {}, time.perf_counter()

    def lap(name: str) -> None:
        nonlocal began
        found[name], began = time.perf_counter() - began, time.perf_counter()

    with open_inputs(regions, genome, ScoreSettings()) as inputs:
        lap("read and check")
        found["windows"] = inputs.plan.count_windows(tiling)
        lap("count")
        draw_null(inputs.plan, inputs.genome, tiling, default_null_regions(inputs.plan, tiling), 0)
        lap("draw the null")
        n_walked = sum(1 for _ in inputs.plan.windows(tiling))
        lap("walk")
        assert n_walked == found["windows"]
    found["MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1 << (20 if sys.platform == "darwin" else 10)
    )
    return found


def report(kinds: Sequence[str], stride: int) -> None:
    steps = ("read and check", "count", "draw the null", "walk")
    print(f"{'':16}{'windows':>12}{''.join(f'{step:>16}' for step in steps)}{'peak MiB':>10}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        genome = make_genome(folder)
        for kind in kinds:
            make_regions(folder / "regions.bed", KINDS[kind])
            command = [sys.executable, __file__, "--measure", folder / "regions.bed", genome, "--stride", stride]
            done = subprocess.run([*map(str, command)], check=True, stdout=subprocess.PIPE, text=True)
            found = json.loads(done.stdout)
            seconds = "".join(f"{found[step]:14.2f} s" for step in steps)
            print(f"{kind:16}{found['windows']:12,}{seconds}{found['MiB']:10.0f}", flush=True)
        from gexplain.genome.fasta import Genome

        with Genome(genome) as opened:
            began = time.perf_counter()
            opened.sha256()
            print(f"\nthe checksum of {sum(LENGTHS) / 1e9:.2f} GB takes {time.perf_counter() - began:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND")
    parser.add_argument("--stride", type=int, default=WINDOW // 2)
    parser.add_argument("--measure", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        print(json.dumps(measure(*options.measure, options.stride)))
    else:
        report(options.only, options.stride)


if __name__ == "__main__":
    main()
