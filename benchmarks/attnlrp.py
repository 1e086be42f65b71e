"""AttnLRP's cost on this machine, in one run: the matrix-product peak, forward passes, explanations, memory.

    python benchmarks/attnlrp.py [--tokens 104] [--windows 8] [--repeats 7] [--device cuda] [--compile] [--end-to-end]

DNABERT-2's size with random weights and tokens (time does not depend on their values, denormals flushed). Everything
is measured in turns, so that a noisy machine disturbs all lines alike; ratios are taken within a turn, and the median
turn counts.

The forward pass of every row is the yardstick: the published code computes them all, though the class is read from
[CLS] alone. AttnLRP by plain autograd is what a prototype has: the same rules, written with `detach`.
On CUDA, TF32 and FlexAttention are measured too. --end-to-end: DNA to bigWig, against what a user would write.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import torch
from benchmark_model import (
    CONFIG,
    PLAIN_AUTOGRAD,
    attend_by_flex,
    forward_flop,
    forward_of_every_row,
    random_network,
)
from end_to_end import end_to_end
from gexplain_cli.memory import keep_freed_memory
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from gexplain.attribution.attnlrp import relevance_of_batch
from gexplain.attribution.relevance import relevance_by_gradient
from gexplain.attribution.target import Target
from gexplain.models.dnabert2 import DnaBert2
from gexplain.models.rules import ATTN_LRP, PLAIN, Rules

TARGET = Target((1,), ("positive",))

Action = Callable[[], object]
Seconds = dict[str, list[float]]


def random_ids(n_windows: int, n_tokens: int, device: torch.device) -> Tensor:
    ids_BT = torch.randint(5, CONFIG.vocab_size, (n_windows, n_tokens), generator=torch.Generator().manual_seed(0))
    ids_BT[:, 0], ids_BT[:, -1] = 1, 2
    return ids_BT.to(device)


def in_turns(actions: dict[str, Action], repeats: int, device: torch.device) -> Seconds:
    """Seconds of every action in every turn; the first turn warms up and is dropped."""
    seconds: Seconds = {name: [] for name in actions}
    for repeat in range(repeats + 1):
        for name, action in actions.items():
            synchronise(device)
            start = time.perf_counter()
            action()
            synchronise(device)
            if repeat:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(action: Action, device: torch.device) -> int:
    """Bytes of tensors that were alive at once while the action ran, besides those that were before."""
    gc.collect()
    if device.type == "cuda":
        synchronise(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        action()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        action()
    events = profiler.profiler.kineto_results.events()  # type: ignore[union-attr]
    held = peak = 0
    for _, change in sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"):
        held += change
        peak = max(peak, held)
    return peak


def explain_without_ledger(
    network: DnaBert2, ids_BT: Tensor, rules: Rules, forward: Callable[..., Tensor] = forward_of_every_row
) -> Tensor:
    """Relevance (K, B, T) under these rules; no amount of any constant is booked."""
    return relevance_by_gradient(
        network.embed(ids_BT), lambda point: forward(network, point, rules), TARGET, n_strands=1
    ).token_relevance


def pearson(one: Tensor, other: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]).double())[0, 1])


class Networks:
    """One network in each precision, and the actions that are measured on it."""

    def __init__(self, ids_BT: Tensor, device: torch.device, *, compiled: bool) -> None:
        self.ids_BT, self.device = ids_BT, device
        dtypes = ["float32", "bfloat16"] + (["tf32"] if device.type == "cuda" else [])
        self.networks = {dtype: random_network(dtype, device) for dtype in dtypes}
        self.attends = {"": (PLAIN.attend, ATTN_LRP.attend)}
        if device.type == "cuda":
            self.attends[", FlexAttention"] = attend_by_flex(device)
        self.compiled = compiled

    def actions(self) -> dict[str, Action]:
        actions: dict[str, Action] = {}
        for dtype, network in self.networks.items():
            actions |= self._peaks(dtype)
            for how, (attend, attend_attnlrp) in self.attends.items():
                plain, attnlrp = replace(PLAIN, attend=attend), replace(ATTN_LRP, attend=attend_attnlrp)
                steps: dict[str, Action] = {
                    "forward of every row": lambda n=network, r=plain: forward_of_every_row(
                        n, n.embed(self.ids_BT), r
                    ),
                    "forward": lambda n=network, r=plain: n(n.embed(self.ids_BT), None, r),
                    "AttnLRP": lambda n=network, r=attnlrp: relevance_of_batch(n, self.ids_BT, None, TARGET, rules=r),
                }
                if self.compiled:
                    call = torch.compile(lambda n, point, rules: n(point, None, rules), dynamic=False)
                    steps["forward, compiled"] = lambda n=network, r=plain, c=call: c(n, n.embed(self.ids_BT), r)
                    steps["AttnLRP, no ledger, compiled"] = lambda n=network, r=attnlrp, c=call: (
                        explain_without_ledger(n, self.ids_BT, r, c)
                    )
                actions |= {f"{dtype}: {name}{how}": self._run(dtype, step) for name, step in steps.items()}
            actions[f"{dtype}: AttnLRP by plain autograd"] = self._run(
                dtype, lambda n=network: explain_without_ledger(n, self.ids_BT, PLAIN_AUTOGRAD)
            )
        return actions

    def _peaks(self, dtype: str) -> dict[str, Action]:
        """Matrix products: a square one, and the model's own largest.

        They are repeated to last about as long as the forward pass: a short action is more likely to find a quiet
        moment than a long one, and the peak would be flattered.
        """
        side = 8192 if self.device.type == "cuda" else 2048
        number = torch.bfloat16 if dtype == "bfloat16" else torch.float32
        square = torch.randn(side, side, device=self.device, dtype=number)
        rows = torch.randn(self.ids_BT.numel(), CONFIG.hidden_size, device=self.device, dtype=number)
        weight = torch.randn(2 * CONFIG.intermediate_size, CONFIG.hidden_size, device=self.device, dtype=number)
        flop = forward_flop(self.ids_BT.shape[1], self.ids_BT.shape[0])
        self.n_square = max(1, round(flop / (2.0 * side**3)))
        self.n_layer = max(1, round(flop / (2.0 * rows.numel() * weight.shape[0])))
        self.peak_flop = (self.n_square * 2.0 * side**3, self.n_layer * 2.0 * rows.numel() * weight.shape[0])
        return {
            f"{dtype}: square product": self._run(dtype, lambda: [square @ square for _ in range(self.n_square)]),
            f"{dtype}: layer's product": self._run(dtype, lambda: [rows @ weight.T for _ in range(self.n_layer)]),
        }

    def _run(self, dtype: str, step: Action) -> Action:
        def run() -> object:
            torch.backends.cuda.matmul.fp32_precision = "tf32" if dtype == "tf32" else "ieee"
            with torch.no_grad():  # explanations switch gradients on by themselves
                return step()

        return run


def report_speed(networks: Networks, seconds: Seconds) -> None:
    n_windows, n_tokens = networks.ids_BT.shape
    flop = forward_flop(n_tokens, n_windows)
    for dtype in networks.networks:
        squares, layers = seconds[f"{dtype}: square product"], seconds[f"{dtype}: layer's product"]
        by_square, by_layer = networks.peak_flop
        peaks = [max(by_square / a, by_layer / b) for a, b in zip(squares, layers, strict=True)]
        yardstick = seconds[f"{dtype}: forward of every row"]
        shares = [flop / one / peak for one, peak in zip(yardstick, peaks, strict=True)]
        print(f"\n{dtype}, matrix-product peak {median(peaks) / 1e9:.1f} GFLOP/s")
        print(f"forward of every row, of the peak {median(shares):.2f}")
        print(f"{'':44}{'s/window':>10}{'tokens/s':>10}   of the forward of every row")
        for name, turns in seconds.items():
            if name.startswith(f"{dtype}: ") and "product" not in name:
                ratios = [one / other for one, other in zip(turns, yardstick, strict=True)]
                print(
                    f"{name.removeprefix(f'{dtype}: '):44}{median(turns) / n_windows:10.4f}"
                    f"{n_windows * n_tokens / median(turns):10.0f}"
                    f"{median(ratios):9.2f}   ({min(ratios):.2f} to {max(ratios):.2f})"
                )
    print()
    for dtype in list(networks.networks)[1:]:
        for name in ("forward of every row", "AttnLRP"):
            both = zip(seconds[f"float32: {name}"], seconds[f"{dtype}: {name}"], strict=True)
            print(f"{f'{name}, float32 / {dtype}':44}{median(one / other for one, other in both):10.2f}")


def report_agreement(networks: Networks) -> None:
    ids_BT, exact = networks.ids_BT, networks.networks["float32"]
    expected = relevance_of_batch(exact, ids_BT, None, TARGET, rules=ATTN_LRP).token_relevance
    prototype = explain_without_ledger(exact, ids_BT, PLAIN_AUTOGRAD)
    error = float((prototype - expected).abs().max() / expected.abs().max())
    print(f"{'AttnLRP by plain autograd, largest difference':44}{error:11.1e}")
    rough = relevance_of_batch(networks.networks["bfloat16"], ids_BT, None, TARGET, rules=ATTN_LRP).token_relevance
    print(f"{'relevance, Pearson, bfloat16 to float32':44}{pearson(rough, expected):10.6f}")


def report_memory(networks: Networks) -> None:
    """Peak memory a token, of AttnLRP and of what plain autograd keeps for it, beside the weights."""
    ids_BT, device = networks.ids_BT[: max(1, 256 // networks.ids_BT.shape[1])], networks.device
    print(f"\n{'peak memory, kB a token':44}{'':>10}   ours / this")
    for dtype in ("float32", "bfloat16"):
        network = networks.networks[dtype]

        def ordinary(rules: Rules, network: DnaBert2 = network) -> object:
            point = network.embed(ids_BT).detach().requires_grad_(True)
            with torch.enable_grad():
                return torch.autograd.grad(forward_of_every_row(network, point, rules)[:, 1].sum(), point)

        amounts = {
            "AttnLRP": peak_memory(
                lambda n=network: relevance_of_batch(n, ids_BT, None, TARGET, rules=ATTN_LRP), device
            )
        }
        for frozen in (False, True):
            network.requires_grad_(not frozen)
            which = "parameters frozen" if frozen else "parameters as they are loaded"
            amounts[f"AttnLRP by plain autograd, {which}"] = peak_memory(lambda: ordinary(PLAIN_AUTOGRAD), device)
            amounts[f"ordinary gradient, {which}"] = peak_memory(lambda: ordinary(PLAIN), device)
        for name, amount in amounts.items():
            print(f"{dtype}: {name:56}{amount / ids_BT.numel() / 1e3:9.0f}{amounts['AttnLRP'] / amount:9.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--windows", type=int, default=8, help="windows in a batch")
    parser.add_argument("--tokens", type=int, default=104, help="tokens of a window; 4.9 bases each, on genomes")
    parser.add_argument("--repeats", type=int, default=7, help="turns that are measured")
    parser.add_argument("--compile", action="store_true", help="torch.compile too, without the time it takes")
    parser.add_argument("--end-to-end", action="store_true", help="DNA to bigWig too, against a user's script")
    options = parser.parse_args()
    device = torch.device(options.device)
    keep_freed_memory()  # as the command does
    torch.set_flush_denormal(True)  # as the model does for its thread; here for what it is compared with, too
    networks = Networks(random_ids(options.windows, options.tokens, device), device, compiled=options.compile)
    print(f"{device}, {torch.get_num_threads()} CPU threads, {options.windows} windows of {options.tokens} tokens")
    seconds = in_turns(networks.actions(), options.repeats, device)
    report_speed(networks, seconds)
    report_agreement(networks)
    report_memory(networks)
    if options.end_to_end:
        end_to_end(str(device))


if __name__ == "__main__":
    main()
