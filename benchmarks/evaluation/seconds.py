"""What an explanation costs: seconds of every method beside the plain forward pass of the same model, in one run.

    python benchmarks/evaluation/seconds.py [MODEL ...] [--windows 64] [--repeats 5] [--threads 1] [--device cpu]

Windows of the bundled genome, as wide as the model was trained on, read on one strand for one class. All methods of a
model are measured in turns, so that a noisy machine disturbs all lines alike; ratios are taken within a turn, and the
median turn counts. Passes are counted where every path ends, at the classifier.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from gexplain_cli.memory import keep_freed_memory

sys.path.append(str(Path(__file__).resolve().parents[1] / "motifs"))  # scripts, and no package

from tables import markdown_table

import gexplain
from gexplain.attribution.explainers import METHODS, TokenExplainer
from gexplain.attribution.passes import Passes, count_passes
from gexplain.attribution.target import Target
from gexplain.demo import demo_data
from gexplain.errors import count
from gexplain.genome.fasta import Genome
from gexplain.report.evaluation import format_value
from gexplain.windows import DEFAULT_WINDOW

FORWARD = "plain forward"
MODELS = ("human-tf", "human-tf-cnn")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one method: passes of all windows, and seconds of all windows in each turn."""

    passes: Passes
    seconds: list[float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"default: {' '.join(MODELS)}")
    parser.add_argument("--windows", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5, help="turns, after one that warms up")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    for name in options.models or MODELS:
        model = gexplain.load_model(name, device=options.device)
        windows = genome_windows(demo_data() / "genome.fa", model.window or DEFAULT_WINDOW, options.windows)
        costs = measure_costs(model, windows, options.repeats)
        where = count(options.threads, "thread") if model.device.type == "cpu" else torch.cuda.get_device_name()
        print(
            cost_table(f"{name}, {where}, {len(windows)} windows of {len(windows[0])} bases", costs, len(windows)),
            end="\n\n",
        )


def genome_windows(fasta: Path, width: int, n: int) -> list[str]:
    """n windows, spread evenly over a FASTA; ValueError where it has too few bases for one."""
    with Genome(fasta) as genome:
        places = [
            (chrom, start) for chrom, length in genome.chroms.items() for start in range(0, length - width + 1, width)
        ]
        if not places:
            raise ValueError(f"{fasta} has no {width} bases in a row")
        chosen = np.linspace(0, len(places) - 1, n).round().astype(int).tolist()
        return [genome.fetch(chrom, start, start + width) for chrom, start in (places[index] for index in chosen)]


def measure_costs(model: gexplain.Model, windows: list[str], repeats: int) -> dict[str, Cost]:
    """Method to its cost, the plain forward pass first."""
    target = Target((0,), (model.labels[0],))

    def explaining(method: str) -> Callable[[], object]:
        explainer = TokenExplainer(model, method)
        return lambda: explainer.read(windows, target)

    actions: dict[str, Callable[[], object]] = {FORWARD: lambda: model.predict(windows, strand="forward")}
    actions |= {method: explaining(method) for method in METHODS[model.kind]}
    costs = {}
    for name, action in actions.items():  # the turn that warms up
        with count_passes(model) as passes:
            action()
        costs[name] = Cost(passes, [])
    for _ in range(repeats):
        for name, action in actions.items():
            _synchronise(model.device)
            start = time.perf_counter()
            action()
            _synchronise(model.device)
            costs[name].seconds.append(time.perf_counter() - start)
    return costs


def cost_table(what: str, costs: Mapping[str, Cost], n_windows: int) -> str:
    """Passes and seconds of each method, beside the plain forward pass."""
    forward = costs[FORWARD].seconds
    return markdown_table(
        f"**{what}.** Rows through the network of one window; seconds of 1,000 windows; time against the plain "
        "forward pass, in its turn. Medians.",
        ["method", "forward", "backward", "forward equivalents", "s per 1,000 windows", "time / forward"],
        [
            [
                name,
                f"{cost.passes.forward / n_windows:,.0f}",
                f"{cost.passes.backward / n_windows:,.0f}",
                f"{cost.passes.forward_equivalents / n_windows:,.0f}",
                format_value(1000 * median(cost.seconds) / n_windows),
                format_value(median(own / plain for own, plain in zip(cost.seconds, forward, strict=True))),
            ]
            for name, cost in costs.items()
        ],
    )


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
