"""What `gexplain check` predicts against what the run then takes: seconds by stage, memory and sizes.

    python benchmarks/check.py [--regions BED --genome FASTA --model NAME] [--only KIND ...] [--threads 2] [--turns 1]

Runs of several kinds over the bundled demo genome, and over regions of one's own if they are given; each is checked
and then scored, one after the other, by commands in processes of their own. Seconds hold for a machine that does
nothing else meanwhile; of several turns the median counts, and the range shows how steady the machine was. The stages
come first, then one table, in Markdown, of all.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from statistics import median

DEMO = Path(str(files("gexplain"))) / "demo_data"

KINDS = {
    "human-tf": ["-m", "human-tf"],
    "all targets": ["-m", "human-tf", "--target", "all"],
    "one strand": ["-m", "human-tf", "--strand", "forward"],
    "windows of 505 bases": ["-m", "human-tf", "--window", "505"],
    "CNN": ["-m", "human-tf-cnn"],
    "no null": ["-m", "human-tf", "--null-regions", "0"],
    "integrated gradients": ["-m", "human-tf", "--method", "integrated-gradients"],
    "10 regions": ["-m", "human-tf"],
}


@dataclass(frozen=True, slots=True)
class Compared:
    """A run: windows, seconds and megabytes, predicted and measured, and the seconds of the check itself."""

    name: str
    n_windows: int
    seconds: tuple[float, float]
    memory_mb: tuple[float, float]
    out_mb: tuple[float, float]
    check_s: float


def run(words: list[str]) -> tuple[str, float, float]:
    """What a command prints, its seconds, and its peak memory in megabytes."""
    command = [sys.executable, "-c", "from gexplain_cli import main; main()", *words]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        text = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"it failed: gexplain {' '.join(words)}")
    return text, time.perf_counter() - began, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def compare(name: str, words: list[str]) -> Compared:
    """Check, score, and print the stages of both."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        words = [*words, "-o", str(out)]
        text, check_s, _ = run(["check", *words, "--json"])
        _, total_s, peak_mb = run(["score", *words, "-q"])
        manifest = json.loads((out / "manifest.json").read_text())
        out_mb = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
    said = json.loads(text)
    assert said["windows"] == sum(manifest["windows"].values()), (said["windows"], manifest["windows"])
    before, took = said["seconds"], manifest["seconds"]
    stages = {
        "windows and null": (before["windows"] + before.get("null", 0.0), took["windows"]),
        "calls and outputs": (before.get("calls", 0.0) + before["outputs"], took["outputs"]),
        "start, quality, report": (
            before["start"] + before["quality"] + before["report"],
            total_s - took["windows"] - took["outputs"],
        ),
    }
    print(f"\n{name}: {said['windows']:,} windows, {said['null_windows']:,} of the null")
    for stage, (predicted, measured) in stages.items():
        print(f"  {stage:<24}{predicted:10.2f}{measured:10.2f}{predicted / measured - 1:+10.0%}", flush=True)
    return Compared(
        name,
        said["windows"],
        (said["total_s"], total_s),
        (said["memory_bytes"] / 1e6, peak_mb),
        (said["output_bytes"] / 1e6, out_mb),
        check_s,
    )


def show(found: list[Compared]) -> None:
    """The table of all runs, in Markdown: a line a kind, the medians of its turns."""
    heads = ["run", "windows", "predicted, s", "measured, s", "off by", "of one turn"]
    heads += ["memory, MB", "measured", "DIR, MB", "measured", "check, s"]
    print("\n| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for name in dict.fromkeys(one.name for one in found):
        turns = [one for one in found if one.name == name]
        predicted, measured = middle(turns, lambda one: one.seconds)
        off = sorted(one.seconds[0] / one.seconds[1] - 1 for one in turns)
        cells = [name, f"{turns[0].n_windows:,}", f"{predicted:.1f}", f"{measured:.1f}"]
        cells += [f"{predicted / measured - 1:+.0%}", f"{off[0]:+.0%} to {off[-1]:+.0%}"]
        cells += [f"{value:,.0f}" for value in middle(turns, lambda one: one.memory_mb)]
        cells += [f"{value:.1f}" for value in middle(turns, lambda one: one.out_mb)]
        cells += [f"{median(one.check_s for one in turns):.1f}"]
        print("| " + " | ".join(cells) + " |")


def middle(turns: list[Compared], of: Callable[[Compared], tuple[float, float]]) -> tuple[float, float]:
    """Median of what was predicted, and median of what was measured."""
    predicted, measured = zip(*(of(one) for one in turns), strict=True)
    return median(predicted), median(measured)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--regions", type=Path)
    parser.add_argument("--genome", type=Path)
    parser.add_argument("--model", default="human-tf")
    parser.add_argument("--only", nargs="+", default=list(KINDS), choices=KINDS, metavar="KIND")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--turns", type=int, default=1, help="so often is each done")
    options = parser.parse_args()
    threads = ["-p", str(options.threads)]
    print(f"{'seconds':<26}{'predicted':>10}{'measured':>10}{'off by':>10}")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        few = Path(folder) / "few.bed"
        few.write_text("".join((DEMO / "regions.bed").read_text().splitlines(keepends=True)[-10:]))
        for name in options.only * options.turns:
            regions = few if name == "10 regions" else DEMO / "regions.bed"
            found.append(compare(name, [str(regions), str(DEMO / "genome.fa"), *KINDS[name], *threads]))
    if options.regions is not None and options.genome is not None:
        words = [str(options.regions), str(options.genome), "-m", options.model, *threads]
        found.append(compare(f"{options.regions.name}, {options.model}", words))
    show(found)


if __name__ == "__main__":
    main()
