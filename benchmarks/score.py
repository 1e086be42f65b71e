"""What `gexplain score` costs beside the model: its share of the time, and its memory against the regions.

    python benchmarks/score.py time   [--windows 48]      DNABERT-2 size, random weights: seconds outside the model
    python benchmarks/score.py memory [--megabases 1 10]  the tiny model: peak memory of the process, per region total

Genome and regions are random, made in a temporary directory.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

TEST_DATA = Path(__file__).resolve().parents[1] / "test_data"
TOKENIZER = TEST_DATA / "tiny_checkpoint" / "tokenizer.json"
REGION = 1_000


def make_inputs(directory: Path, n_bases: int) -> tuple[Path, Path]:
    """A random chromosome with a megabase to spare, and regions of 1 kb, 10 bases apart, of n_bases in all."""
    length = int(n_bases * (REGION + 10) / REGION) + 1_000_000
    letters = np.frombuffer(b"ACGT", dtype=np.uint8)[np.random.default_rng(0).integers(0, 4, length)]
    genome, regions = directory / "genome.fa", directory / f"regions_{n_bases}.bed"
    genome.write_bytes(b">chr1\n" + letters.tobytes() + b"\n")
    starts = np.arange(n_bases // REGION) * (REGION + 10)
    regions.write_text("".join(f"chr1\t{start}\t{start + REGION}\n" for start in starts.tolist()))
    return regions, genome


def measure_time(n_windows: int) -> None:
    import torch
    from benchmark_model import CONFIG

    import gexplain
    from gexplain.attribution import explainers
    from gexplain.models.checkpoint import random_state, save_checkpoint

    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        labels = [f"class {index}" for index in range(CONFIG.n_targets)]
        state = random_state(CONFIG, torch.Generator().manual_seed(0))
        checkpoint = save_checkpoint(
            directory / "model",
            state,
            CONFIG,
            labels=labels,
            head="classification",
            tokenizer_file=TOKENIZER,
            window=512,
        )
        regions, genome = make_inputs(directory, n_windows // 4 * REGION)  # a region of 1 kb is four or five windows
        start = time.perf_counter()
        model = gexplain.load_model(checkpoint, device="cpu")
        load_s = time.perf_counter() - start
        in_model, relevance_of_batch = 0.0, explainers.relevance_of_batch

        def timed(*arguments, **how):
            nonlocal in_model
            start = time.perf_counter()
            result = relevance_of_batch(*arguments, **how)
            in_model += time.perf_counter() - start
            return result

        explainers.relevance_of_batch = timed
        start = time.perf_counter()
        run = gexplain.score(regions, genome, model, output=directory / "out")
        total = time.perf_counter() - start
    print(f"windows, both strands        {run.manifest['windows']['read']:10,}")
    print(f"loading the model, s         {load_s:10.2f}")
    print(f"score, s                     {total:10.2f}")
    print(f"of it outside the model, s   {total - in_model:10.2f}   {(total - in_model) / total:.1%}")


def measure_memory(megabases: list[float]) -> None:
    peaks = []
    for size in megabases:
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            regions, genome = make_inputs(directory, round(size * 1e6))
            start = time.perf_counter()
            code = "import resource, sys; from gexplain_cli import main\ntry: main()\nfinally:"
            code += " print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
            command = ["score", regions, genome, "-m", TEST_DATA / "tiny_checkpoint", "-o", directory / "out", "-q"]
            run = subprocess.run(
                [sys.executable, "-c", code, *map(str, command)], check=True, stdout=subprocess.PIPE, text=True
            )
            peaks.append(int(run.stdout) * (1 if sys.platform == "darwin" else 1024) / 1e6)
            seconds = time.perf_counter() - start
        print(f"{size:6g} Mb of regions   peak {peaks[-1]:8.1f} MB   {seconds:8.1f} s", flush=True)
    print(f"largest / smallest peak      {max(peaks) / min(peaks):10.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    commands.add_parser("time").add_argument("--windows", type=int, default=48)
    commands.add_parser("memory").add_argument("--megabases", type=float, nargs="+", default=[1, 10])
    options = parser.parse_args()
    if options.what == "time":
        measure_time(options.windows)
    else:
        measure_memory(options.megabases)


if __name__ == "__main__":
    main()
