"""Does the network wait? The share of the windows stage of `gexplain score` in which it does not run, and why.

    python benchmarks/pipeline.py [--windows 1000] [--model human-tf] [--device cpu]
    python benchmarks/pipeline.py --simulate 3400 [--windows 4000]

Without --simulate the model runs; "DNABERT-2" is one of its size with random weights. With it, the network is one
that takes its time and no processor, as a GPU does: so many windows a second. 3,400 a second is the human genome,
windows of 512 bases half overlapping, in an hour. Genome and regions are random, made in a temporary directory.

While the network does not run, each moment is given to what else runs then; where two things do, to both.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmark_model import CONFIG
from score import TOKENIZER, make_inputs

import gexplain
from gexplain.attribution import explainers
from gexplain.attribution.relevance import BatchRelevance
from gexplain.attribution.target import Target
from gexplain.genome.fasta import Genome
from gexplain.inputs import open_inputs
from gexplain.models.checkpoint import random_state, save_checkpoint
from gexplain.models.model import Model
from gexplain.scoring import Scoring
from gexplain.store import WindowStore

NETWORK = "the network"
# What is timed, by cause. A step counts for itself and not for those inside it.
STEPS = (
    ("reading FASTA", Genome, "fetch"),
    ("tokenising", Model, "tokens"),
    ("projecting", explainers.TokenExplainer, "readings"),
    ("storing", WindowStore, "add"),
)
LEDGER = ("Wqkv.bias", "attn.dense.bias", "layernorm.bias", "mlp.wo.bias", "pooler.bias", "attention", "token_type")


class Clock:
    """When what ran, on any thread."""

    def __init__(self) -> None:
        self.spans: dict[str, list[tuple[float, float]]] = {}
        self._lock = threading.Lock()

    def timed(self, what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                with self._lock:
                    self.spans.setdefault(what, []).append((began, time.perf_counter()))

        return run

    def shares(self, began: float, ended: float) -> dict[str, float]:
        """Of the time between: the network's share, and what ran of each other step while it did not."""
        times = np.unique([began, ended, *(t for spans in self.spans.values() for span in spans for t in span)])
        widths = np.diff(times)
        runs = {what: _is_inside(times[:-1], spans) for what, spans in self.spans.items()}
        idle = ~runs.pop(NETWORK)
        rest = idle & ~np.any(list(runs.values()), axis=0)
        total = ended - began
        return {
            NETWORK: widths[~idle].sum() / total,
            **{what: widths[idle & runs[what]].sum() / total for what, _, _ in STEPS},
            "anything else": widths[rest].sum() / total,
        }


def _is_inside(times: np.ndarray, spans: list[tuple[float, float]]) -> np.ndarray:
    starts, ends = (np.sort(one) for one in zip(*spans, strict=True))
    return np.searchsorted(starts, times, "right") > np.searchsorted(ends, times, "right")


@contextmanager
def all_steps_timed(clock: Clock, model: Model, method: str, windows_a_second: float | None) -> Iterator[None]:
    """Within it, the clock runs; windows_a_second: of the network that stands in for the model's."""
    methods = explainers.METHODS[model.kind]
    kept = [(owner, name, getattr(owner, name)) for _, owner, name in STEPS], methods[method]
    relevance = kept[1].relevance if windows_a_second is None else _simulated(windows_a_second)
    methods[method] = replace(kept[1], relevance=clock.timed(NETWORK, relevance))
    for (what, owner, name), (_, _, function) in zip(STEPS, kept[0], strict=True):
        setattr(owner, name, clock.timed(what, function))
    try:
        yield
    finally:
        methods[method] = kept[1]
        for owner, name, function in kept[0]:
            setattr(owner, name, function)


def _simulated(windows_a_second: float) -> Callable[..., BatchRelevance]:
    def relevance(
        model: Model, ids_BT: torch.Tensor, mask_BT: torch.Tensor | None, target: Target, n_strands: int
    ) -> BatchRelevance:
        (n_rows, n_tokens), n_explained = ids_BT.shape, target.n_explained
        n_windows = n_rows // n_strands
        time.sleep(n_windows / windows_a_second)
        return BatchRelevance(
            logits=torch.zeros(n_windows, len(model.labels)),
            token_relevance=torch.zeros(n_explained, n_rows, n_tokens),
            explained=torch.zeros(n_explained, n_windows),
            ledger={name: torch.zeros(n_explained, n_windows) for name in LEDGER},
        )

    return relevance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=1_000)
    parser.add_argument("--model", default="human-tf", help="DNABERT-2: of its size, random weights")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", default="auto")
    parser.add_argument("--simulate", type=float, metavar="WINDOWS_A_SECOND")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        model = gexplain.load_model(_model(options.model, directory), device=options.device)
        regions, genome = make_inputs(directory, options.windows * 1_000 // 4)  # four windows of 512 in a region
        size = options.batch_size if options.batch_size == "auto" else int(options.batch_size)
        settings = gexplain.ScoreSettings(window=512, null_regions=0, batch_size=size)
        clock = Clock()
        with open_inputs(regions, genome, settings) as inputs:
            scoring = Scoring.prepare(inputs, model, settings)
            scoring.explainer.read(["ACGT" * 128], scoring.target, ".")  # what is done once
            n_windows = inputs.plan.count_windows(scoring.tiling)
            path = directory / "windows.sqlite"
            with (
                WindowStore(path, inputs.plan.chroms, scoring.tiling, scoring.fingerprint()) as store,
                all_steps_timed(clock, model, scoring.explainer.method, options.simulate),
            ):
                began, began_cpu = time.perf_counter(), time.process_time()
                scoring.fill(store, None, None)
                ended, ended_cpu = time.perf_counter(), time.process_time()
    what = f"a simulated network of {options.simulate:,.0f} windows a second" if options.simulate else options.model
    print(f"{what}, {n_windows:,} windows of 512 bases on both strands, batch size {options.batch_size}")
    print(f"{n_windows / (ended - began):,.0f} windows a second, {1e6 * (ended_cpu - began_cpu) / n_windows:,.0f} us")
    for step, share in clock.shares(began, ended).items():
        print(f"  {step:16}{share:8.2%}{'   of the stage' if step == NETWORK else ''}")
    print("below the first line: what ran while the network did not")


def _model(name: str, directory: Path) -> str:
    if name != "DNABERT-2":
        return name
    state = random_state(CONFIG, torch.Generator().manual_seed(0))
    checkpoint = save_checkpoint(
        directory / "model",
        state,
        CONFIG,
        labels=("none", "positive"),
        head="classification",
        tokenizer_file=TOKENIZER,
        window=512,
    )
    return str(checkpoint)


if __name__ == "__main__":
    main()
