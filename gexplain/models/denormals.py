"""Denormal numbers, those below 1.2e-38: a CPU takes many times as long for each of them.

ALiBi makes them by the million: what attention takes from a token 200 places away is exp(-100) and less. With them
the backward pass of attention takes 4 times as long over 2,050 tokens, twice over 410, and the same over 104
(benchmarks/attention.py). No relevance is so small that it would be missed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Denormal numbers count as 0 while it lasts, on this thread and on those that torch begins for it meanwhile.

    The latter keep to it, and the former gets its way back: torch has helper threads for each thread that computes,
    begins them when they are first needed, and lets nobody change them. Those begun before keep their way too, so it
    is best begun where the first is computed. Does nothing where the CPU cannot do so.
    """
    were_flushed = are_denormals_flushed()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(were_flushed)


def are_denormals_flushed() -> bool:
    """Whether denormal numbers count as 0 on this thread."""
    return not bool(torch.full((1,), 2e-38, dtype=torch.float32, device="cpu").mul_(0.5) > 0)
