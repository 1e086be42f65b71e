"""AttnLRP's cost on this machine, in one run: the matrix-product peak, the forward pass, the explanation.

    python benchmarks/attnlrp.py [--device cuda] [--dtype bfloat16] [--windows 8] [--bases 512] [--repeats 7]

DNABERT-2's size with random weights and tokens (time does not depend on their values). Everything is measured in
turns, so that a noisy machine disturbs all lines alike; ratios are taken within a turn, and the median turn counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from benchmark_model import CONFIG
from gexplain_cli.memory import keep_freed_memory

from gexplain.attribution.attnlrp import relevance_of_batch
from gexplain.attribution.target import Target
from gexplain.models.dnabert2 import DnaBert2
from gexplain.models.rules import ATTN_LRP

BASES_PER_TOKEN = 4.9
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "tf32": torch.float32}


def network_of(dtype: str, device: torch.device) -> DnaBert2:
    torch.manual_seed(0)
    network = DnaBert2(CONFIG).to(device).eval().requires_grad_(False)
    if dtype == "bfloat16":
        for module in network.bert.encoder.modules():
            if isinstance(module, torch.nn.Linear):
                module.to(torch.bfloat16)
    return network


def forward_flop(n_tokens: int, n_rows: int) -> float:
    """Multiply-adds count as two: the linear layers, and both products of attention."""
    c, i = CONFIG.hidden_size, CONFIG.intermediate_size
    linear = 3 * c * c + c * c + 2 * c * i + i * c
    return 2.0 * n_rows * n_tokens * CONFIG.n_layers * (linear + 2 * n_tokens * c)


def turns(actions: dict[str, Callable[[], object]], repeats: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of every action in every turn; the first turn warms up and is dropped."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=list(DTYPES), default="float32")
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--bases", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    device = torch.device(options.device)
    keep_freed_memory()  # as the command does
    if options.dtype == "tf32":
        torch.backends.cuda.matmul.fp32_precision = "tf32"

    n_tokens = round(options.bases / BASES_PER_TOKEN) + 2
    network = network_of(options.dtype, device)
    generator = torch.Generator().manual_seed(0)
    ids_BT = torch.randint(5, CONFIG.vocab_size, (options.windows, n_tokens), generator=generator)
    ids_BT[:, 0], ids_BT[:, -1] = 1, 2
    ids_BT = ids_BT.to(device)
    target = Target((1,), ("positive",))

    # The peak: a square product, large enough to hide its overhead, and the model's own largest product.
    side = 8192 if device.type == "cuda" else 2048
    a = torch.randn(side, side, device=device, dtype=DTYPES[options.dtype])
    rows = torch.randn(ids_BT.numel(), CONFIG.hidden_size, device=device, dtype=a.dtype)
    weight = torch.randn(2 * CONFIG.intermediate_size, CONFIG.hidden_size, device=device, dtype=a.dtype)

    @torch.no_grad()
    def forward() -> object:
        return network(network.embed(ids_BT))

    # The products are repeated to last about as long as the forward pass: a short action is more likely to
    # find a quiet moment than a long one, and the peak would be flattered.
    flop = forward_flop(n_tokens, options.windows)
    square_flop, layer_flop = 2.0 * side**3, 2.0 * rows.numel() * weight.shape[0]
    n_square, n_layer = max(1, round(flop / square_flop)), max(1, round(flop / layer_flop))
    seconds = turns(
        {
            "square": lambda: [a @ a for _ in range(n_square)],
            "layer": lambda: [rows @ weight.T for _ in range(n_layer)],
            "forward": forward,
            "attnlrp": lambda: relevance_of_batch(network, ids_BT, None, target, rules=ATTN_LRP),
        },
        options.repeats,
        device,
    )
    each = list(zip(*seconds.values(), strict=True))
    peaks = [max(n_square * square_flop / square, n_layer * layer_flop / layer) for square, layer, _, _ in each]
    of_peak = [flop / forward / peak for (_, _, forward, _), peak in zip(each, peaks, strict=True)]
    ratios = [attnlrp / forward for _, _, forward, attnlrp in each]
    forward_s, attnlrp_s = median(seconds["forward"]), median(seconds["attnlrp"])
    print(f"device                       {device}, {options.dtype}, {torch.get_num_threads()} CPU threads")
    print(f"batch                        {options.windows} windows of {options.bases} bases, {n_tokens} tokens each")
    print(f"matrix-product peak          {median(peaks) / 1e9:10.1f} GFLOP/s")
    print(f"forward                      {flop / forward_s / 1e9:10.1f} GFLOP/s   {median(of_peak):.2f} of the peak")
    print(f"forward, s per window        {forward_s / options.windows:10.4f}")
    print(f"AttnLRP, s per window        {attnlrp_s / options.windows:10.4f}")
    print(f"AttnLRP / no-grad forward    {median(ratios):10.2f}   ({min(ratios):.2f} to {max(ratios):.2f})")
    print(f"AttnLRP, tokens/s            {ids_BT.numel() / attnlrp_s:10.0f}")
    if options.dtype != "float32":
        exact = relevance_of_batch(network_of("float32", device), ids_BT, None, target, rules=ATTN_LRP)
        fast = relevance_of_batch(network, ids_BT, None, target, rules=ATTN_LRP)
        both = torch.stack([exact.token_relevance.flatten(), fast.token_relevance.flatten()]).double()
        print(f"relevance, Pearson to float32 {torch.corrcoef(both)[0, 1].item():10.6f}")


if __name__ == "__main__":
    main()
