"""What denormal numbers cost attention on a CPU: AttnLRP's forward and backward pass with and without them.

    python benchmarks/attention.py [--repeats 7]

DNABERT-2's heads and ALiBi slopes, random queries, keys and values, 2,050 tokens at once or as many rows as fit. Both
ways in turns, each in a thread of its own, since torch's helper threads keep what held when they began.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from statistics import median

import torch
from benchmark_model import CONFIG
from gexplain_cli.memory import keep_freed_memory

from gexplain.models.denormals import flushed_denormals
from gexplain.models.dnabert2 import alibi_slopes
from gexplain.models.rules import attend_attnlrp

MOST_TOKENS = 2_050


def attention_of(n_tokens: int) -> Callable[[], tuple[float, float]]:
    """Seconds of its forward and of its backward pass, one layer."""
    n_rows, width = max(1, min(8, MOST_TOKENS // n_tokens)), CONFIG.hidden_size
    generator = torch.Generator().manual_seed(0)
    qkv_BTE = torch.randn(n_rows, n_tokens, 3 * width, generator=generator).requires_grad_(True)
    gradient_BTC = torch.randn(n_rows, n_tokens, width, generator=generator)
    place_T = torch.arange(n_tokens)
    slope_H = torch.tensor(alibi_slopes(CONFIG.n_heads))
    bias_1HTT = (-slope_H[:, None, None] * (place_T[:, None] - place_T).abs())[None]

    def measure() -> tuple[float, float]:
        began = time.perf_counter()
        mixed_BTC = attend_attnlrp(qkv_BTE, CONFIG.n_heads, bias_1HTT, None)
        middle = time.perf_counter()
        torch.autograd.grad(mixed_BTC, qkv_BTE, gradient_BTC)
        return middle - began, time.perf_counter() - middle

    return measure


def in_thread(measure: Callable[[], tuple[float, float]], *, flushed: bool) -> tuple[float, float]:
    """The seconds of both passes, after one that warms up."""
    found: list[tuple[float, float]] = []

    def run() -> None:
        with flushed_denormals() if flushed else nullcontext():
            found.extend(measure() for _ in range(2))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    keep_freed_memory()
    print(f"{'':8}{'denormals kept, ms':>24}{'flushed, ms':>24}{'times as fast':>20}")
    print(f"{'tokens':8}" + 2 * f"{'forward':>12}{'backward':>12}" + f"{'forward':>10}{'backward':>10}")
    for n_tokens in (104, 208, 410, 1_024, MOST_TOKENS):
        measure = attention_of(n_tokens)
        turns = [[in_thread(measure, flushed=flushed) for flushed in (False, True)] for _ in range(options.repeats)]
        seconds = [median(turn[way][which] for turn in turns) for way in (0, 1) for which in (0, 1)]
        ratios = [median(turn[0][which] / turn[1][which] for turn in turns) for which in (0, 1)]
        print(
            f"{n_tokens:<8,}"
            + "".join(f"{1e3 * value:12.1f}" for value in seconds)
            + "".join(f"{value:10.2f}" for value in ratios),
            flush=True,
        )


if __name__ == "__main__":
    main()
