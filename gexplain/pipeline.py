"""The pipeline: every stage between a plan of regions and the tracks, on one page.

    plan -> windows -> sequences -> readings (model and relevance) -> WindowResult
                                                                          | values_of
                                     tracks, block by block  <- blend <- (2K, L) per window

Nothing here grows with the number of regions or the genome: windows are read in pools, tracks leave in blocks.

The model has a thread of its own, and does not wait for what is around it: while it computes one pool, the caller's
thread lays the relevance of the last on bases, keeps it, and reads and tokenises the next.
"""

from __future__ import annotations

import ctypes
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Literal

import numpy as np

from gexplain.aggregation import Track, blend
from gexplain.arrays import FloatArray
from gexplain.attribution.batches import Batch, Computed
from gexplain.attribution.explainers import Explainer
from gexplain.attribution.readings import Reading
from gexplain.attribution.target import Target
from gexplain.errors import RunError
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval, Strand, format_region
from gexplain.genome.sequence import count_ambiguous
from gexplain.models.model import Model
from gexplain.windows import Window

Weight = Literal["none", "probability"]

# Windows sorted by length together: enough that batches of like length form, few enough to lose little in a crash.
MIN_POOL, BATCHES_PER_POOL = 64, 4
# Of a batch size that each machine finds for itself: enough for a GPU, and the same everywhere (see shard_windows).
AUTO_POOL = 128

# The columns of WindowResult.books, all in the model's units: the value explained; the relevance of all tokens; the
# part of it on [CLS] and [SEP]; what biases and norms, attention (softmax and ALiBi) and the token type took.
BOOKS = ("explained", "words", "special", "constants", "attention", "token_type")


@dataclass(frozen=True, slots=True, eq=False)
class WindowResult:
    """What the model says of one window, and why.

    logits: (N,) float64. relevance: (K, L) float32. books: (K, 6) float64, see BOOKS; NaN where the method
    keeps no ledger. All three are None for a window of N alone, which is not scored.
    """

    window: Window
    n_ambiguous: int
    logits: FloatArray | None = None
    relevance: FloatArray | None = None
    books: FloatArray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Share:
    """The windows of a pool on one strand, as the model reads them: each distinct sequence once.

    owners: of each sequence, which windows of the pool have it.
    """

    owners: Sequence[Sequence[int]]
    batches: Sequence[Batch]


@dataclass(frozen=True, slots=True, eq=False)
class _Pool:
    windows: Sequence[Window]
    n_ambiguous: Sequence[int]
    shares: Sequence[_Share]


def pool_size(explainer: Explainer) -> int:
    """Windows of a pool: those that may share a batch, and that a crash loses at most."""
    if explainer.batch_size == "auto":
        return AUTO_POOL
    return max(MIN_POOL, BATCHES_PER_POOL * explainer.batch_size)


def read_windows(
    windows: Iterable[Window], genome: Genome, explainer: Explainer, target: Target
) -> Generator[list[WindowResult]]:
    """Results of all windows, in order, a pool at a time.

    At most two pools are under way beside the one that is handed out; what goes wrong with the model is raised here.
    Closing it stops the model: whoever may fail, or be interrupted, between two pools closes it.
    """
    stream = iter(windows)
    n_pool = pool_size(explainer)
    computing: deque[tuple[_Pool, list[list[Future[list[Computed]]]]]] = deque()
    with closing(_Network()) as network:
        while some := list(islice(stream, n_pool)):
            pool = _read_sequences(some, genome, explainer)
            futures = [
                [network.submit(explainer.compute, batch, target) for batch in share.batches] for share in pool.shares
            ]
            computing.append((pool, futures))
            if len(computing) > 1:
                yield _results(*computing.popleft(), explainer)
        while computing:
            yield _results(*computing.popleft(), explainer)


class _Network:
    """The model's thread: it does one thing after another, until it is closed."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="gexplain-model")
        self._lock = threading.Lock()
        self._computing: int | None = None  # the thread, while it does

    def submit(
        self, compute: Callable[[Batch, Target], list[Computed]], batch: Batch, target: Target
    ) -> Future[list[Computed]]:
        return self._executor.submit(self._compute, compute, batch, target)

    def _compute(
        self, compute: Callable[[Batch, Target], list[Computed]], batch: Batch, target: Target
    ) -> list[Computed]:
        self._computing = threading.get_ident()
        try:
            return compute(batch, target)
        finally:
            with self._lock:  # what stops the thread stops it in here or not at all
                self._computing = None

    def close(self) -> None:
        """Drop what is not begun, and stop what is: a batch may be thousands of forward passes, as of ism.

        The thread is stopped at its next step in Python, which is after the forward pass that it is in.
        """
        self._executor.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            if self._computing is not None:
                thread, raised = ctypes.c_ulong(self._computing), ctypes.py_object(_StoppedError)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, raised)
        self._executor.shutdown()


class _StoppedError(BaseException):
    """Raised in the model's thread where it is to stop; nobody waits any more for what it computes."""


def _read_sequences(windows: Sequence[Window], genome: Genome, explainer: Explainer) -> _Pool:
    sequences = [genome.fetch(window.chrom, window.start, window.end) for window in windows]
    shares = []
    for strand in dict.fromkeys(window.strand for window in windows):
        owners: dict[str, list[int]] = {}
        for index, (window, sequence) in enumerate(zip(windows, sequences, strict=True)):
            if window.strand == strand and sequence.count("N") < len(sequence):
                owners.setdefault(sequence, []).append(index)
        shares.append(_Share(list(owners.values()), explainer.batches(list(owners), strand)))
    return _Pool(windows, [count_ambiguous(sequence) for sequence in sequences], shares)


def _results(
    pool: _Pool, futures: Sequence[Sequence[Future[list[Computed]]]], explainer: Explainer
) -> list[WindowResult]:
    """The results of a pool's windows, in their order."""
    results = [WindowResult(*one) for one in zip(pool.windows, pool.n_ambiguous, strict=True)]
    for share, of_share in zip(pool.shares, futures, strict=True):
        try:
            for future in of_share:
                for computed in future.result():
                    readings = explainer.readings(computed)
                    for place, reading in zip(computed.batch.places.tolist(), readings, strict=True):
                        for index in share.owners[place]:
                            results[index] = _result(pool.windows[index], pool.n_ambiguous[index], reading)
        except RunError as error:
            window = pool.windows[share.owners[0][0]]
            first = format_region(Interval(window.chrom, window.start, window.end))
            raise RunError(f"at the windows from {first} on: {error.message}", hint=error.hint) from error
    return results


def _result(window: Window, n_ambiguous: int, reading: Reading) -> WindowResult:
    relevance = reading.relevance.astype(np.float32, copy=False)
    return WindowResult(window, n_ambiguous, reading.logits, relevance, _books(reading))


def values_of(result: WindowResult, model: Model, target: Target, weight: Weight) -> FloatArray:
    """(2K, L): the K relevance values of every base, then the window's K predictions, the same at every base."""
    assert result.logits is not None
    assert result.relevance is not None
    predictions = model.probabilities(result.logits)
    chosen = list(target.classes) if target.classes else [int(result.logits.argmax())]
    predicted = predictions[chosen][:, None]
    relevance = result.relevance * predicted if weight == "probability" else result.relevance
    return np.concatenate([relevance, np.broadcast_to(predicted, relevance.shape)])


def tracks_of(
    results: Iterable[WindowResult], model: Model, target: Target, weight: Weight
) -> Iterator[tuple[Strand, Track]]:
    """Tracks of 2K values a base (see `values_of`), in genome order, from results sorted by chrom, strand, start."""
    scored = (result for result in results if result.relevance is not None)
    for (chrom, strand), group in groupby(scored, lambda result: (result.window.chrom, result.window.strand)):
        values = ((result.window.start, values_of(result, model, target, weight)) for result in group)
        for track in blend(chrom, values, 2 * target.n_explained):
            yield strand, track


def _books(reading: Reading) -> FloatArray:
    ledger = dict(reading.ledger)
    nothing = np.full(len(reading.explained), 0.0 if ledger else np.nan)
    token_type, attention = ledger.pop("token_type", nothing), ledger.pop("attention", nothing)
    constants = np.sum(list(ledger.values()), axis=0) if ledger else nothing
    return np.stack([reading.explained, reading.words, reading.special, constants, attention, token_type], axis=1)
