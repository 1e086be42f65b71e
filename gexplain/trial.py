"""Trials: a few windows of a run read for their time, by the code of the run.

They lie evenly over the run's regions, so that their tokens are typical, and go through the model in batches as the
run's do. Of several measurements the median counts: a machine that does something else for a moment is then not taken
for a slow one.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from statistics import median

import numpy as np

from gexplain.arrays import IntArray
from gexplain.attribution.batches import Batch
from gexplain.genome.fasta import Genome
from gexplain.models.model import DEFAULT_BATCH_SIZE
from gexplain.null import Null
from gexplain.pipeline import pool_size, read_windows
from gexplain.plan import Plan, Status
from gexplain.run_folder import NULL_FASTA
from gexplain.scoring import Scoring
from gexplain.windows import Tiling, Window

_MOST_POOLS, _MOST_BASES = 16, 250_000
"""Of windows that are drawn; how many of them are read depends on the time."""
_LEAST_PROBES = 4
"""As many should there be time for, so that their median says something. A run may be shorter than its trial could
be: then there are no more than that.
"""
_SLOW_S = 20.0
"""A window that takes longer is not read again, though the first time includes what is done once."""


@dataclass(frozen=True, slots=True)
class Trial:
    """Seconds of a window of the run, of one of its null, and of a row of sequence that is read and not explained.

    n_timed: windows that were timed. lacking_bytes: memory that a whole batch needs beyond what was read here.
    """

    n_timed: int
    window_s: float
    null_window_s: float
    row_s: float
    lacking_bytes: int

    @classmethod
    def of(cls, scoring: Scoring, null: Null | None, time_s: float) -> Trial:
        """Measured by reading windows, in about time_s; in more where two of them take more."""
        genome, tiling = scoring.inputs.genome, scoring.tiling
        most = min(_MOST_POOLS * pool_size(scoring.explainer), max(16, _MOST_BASES // tiling.window))
        drawn = list(sample_windows(scoring.inputs.plan, tiling, most))
        sequences = {one: genome.fetch(one.chrom, one.start, one.end) for one in drawn}
        # What is N alone is not read by the model.
        windows = [one for one in drawn if sequences[one].count("N") < len(sequences[one])]
        if not windows:
            return cls(0, 0.0, 0.0, 0.0, 0)
        sample = _Sample(scoring, windows, [sequences[one] for one in windows])
        n_timed, window_s, lacking_bytes = sample.time_windows(0.75 * time_s)
        null_window_s = 0.0
        if null is not None and not null.is_whole:
            of_null = _mean_tokens(scoring, _null_sequences(null, tiling, len(windows)))
            null_window_s = window_s * of_null / _mean_tokens(scoring, sample.sequences)
        window_s *= len(windows) / len(drawn)
        return cls(n_timed, window_s, null_window_s, sample.time_rows(0.25 * time_s), lacking_bytes)


def sample_windows(plan: Plan, tiling: Tiling, most: int) -> Iterator[Window]:
    """At most so many distinct windows of a plan, evenly over its regions, each as often as it has windows."""
    rows = np.flatnonzero(plan.status == Status.SCORED)
    widths = plan.end[rows] - plan.start[rows]
    n_windows = np.where(widths <= tiling.window, 1, -(-widths // tiling.stride)) * tiling.shifts
    ends = np.cumsum(n_windows)
    places = np.unique(np.linspace(0, ends[-1] - 1, min(most, int(ends[-1]))).astype(np.int64))
    of_row = np.searchsorted(ends, places, side="right")
    names, seen = list(plan.chroms), set()
    for nth in np.unique(of_row).tolist():
        row = int(rows[nth])
        starts = plan.starts_of_region(tiling, row)
        chrom = names[plan.chrom[row]]
        within = places[of_row == nth] - (ends[nth] - n_windows[nth])
        for start in starts[(within * len(starts) // n_windows[nth]).clip(0, len(starts) - 1)].tolist():
            window = Window(chrom, start, start + tiling.width(plan.chroms[chrom]), plan.strand_of_region(row))
            if window not in seen:
                seen.add(window)
                yield window


def _null_sequences(null: Null, tiling: Tiling, most: int) -> list[str]:
    """The first window of some pieces, evenly drawn."""
    with Genome(null.folder / NULL_FASTA) as pieces:
        lengths = list(pieces.chroms.items())[:: -(-len(pieces.chroms) // most)]
        return [pieces.fetch(name, 0, tiling.width(length)) for name, length in lengths]


def _mean_tokens(scoring: Scoring, sequences: Sequence[str]) -> float:
    return float(np.mean([len(one.ids) for one in scoring.model.tokens(sequences)]))


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    """Windows of a run and their sequences, to be read for their time."""

    scoring: Scoring
    windows: Sequence[Window]
    sequences: Sequence[str]

    def time_windows(self, time_s: float) -> tuple[int, float, int]:
        """Windows timed, seconds of one, and bytes that a whole batch needs beyond what those needed."""
        until = time.perf_counter() + time_s
        explainer = self.scoring.explainer
        n_pool = pool_size(explainer)
        n_pools = max(1, len(self.windows) // n_pool)
        pools = [range(nth, len(self.windows), n_pools)[:n_pool] for nth in range(n_pools)]
        strand = self.windows[0].strand
        batches = explainer.batches([self.sequences[index] for index in pools[0]], strand)
        # The middle one first: of a slow model there is time for no other.
        widths = [one.width for one in batches]
        batches.sort(key=lambda one: abs(one.width - median(widths)))
        # All rows of a batch are as long as its longest: so much the model computes for a window, in the mean.
        padded = sum(one.width * len(one.places) for one in batches) / sum(len(one.places) for one in batches)
        first, held = batches[0], _resident_bytes()
        # The first time includes what is done once (on a GPU its context, seconds): it is no rate.
        one_s = self._read(pools[0], first.places[:1])
        of_one = _resident_bytes() - held
        if one_s <= _SLOW_S:
            one_s, held = self._read(pools[0], first.places[:1]), _resident_bytes()
        if one_s > min(time_s, _SLOW_S):
            return 1, one_s * padded / first.width, max(0, of_one) * (len(first.places) - 1)
        n_part = min(max(1, int(time_s / _LEAST_PROBES / one_s)), len(first.places))
        part_s = self._read(pools[0], first.places[:n_part])
        if n_part > 1:
            of_one = (_resident_bytes() - held) // (n_part - 1)
        lacking = max(0, of_one) * (len(first.places) - n_part)
        pool_s = part_s / n_part * n_pool
        if len(pools[0]) == n_pool and pool_s * _LEAST_PROBES < time_s:
            n_timed, window_s = self._time_pools(pools, until - 2 * pool_s)  # two are read when a third is asked for
            return n_timed, window_s, lacking
        rates = [part_s / n_part / _width(first, n_part)]
        n_timed = n_part
        for batch in cycle([*batches[1:], first]):
            part = batch.places[:n_part]
            is_enough = n_timed >= len(self.windows) and len(rates) >= _LEAST_PROBES
            if is_enough or time.perf_counter() + part_s > until:
                break
            part_s = self._read(pools[0], part)
            rates.append(part_s / len(part) / _width(batch, len(part)))
            n_timed += len(part)
        return min(n_timed, len(self.windows)), median(rates) * padded, lacking

    def _time_pools(self, pools: Sequence[range], until: float) -> tuple[int, float]:
        """Windows timed, a pool's at least, and the median pool's seconds of one: read in one go, as by the run."""

        def feed() -> Iterator[Window]:
            for nth, pool in enumerate(cycle(pools)):
                if nth and (nth >= max(len(pools), _LEAST_PROBES) or time.perf_counter() > until):
                    return
                yield from (self.windows[index] for index in pool)

        seconds, n_timed, began = [], 0, time.perf_counter()
        for results in read_windows(feed(), self.scoring.inputs.genome, self.scoring.explainer, self.scoring.target):
            now = time.perf_counter()
            seconds.append((now - began) / len(results))
            n_timed, began = n_timed + len(results), now
        # The first has the model wait for it, the last waits for no other.
        return min(n_timed, len(self.windows)), median(seconds[1:-1] or seconds)

    def _read(self, pool: range, places: IntArray) -> float:
        """Seconds of reading some windows of a pool."""
        began = time.perf_counter()
        windows = [self.windows[pool[place]] for place in places.tolist()]
        for _ in read_windows(windows, self.scoring.inputs.genome, self.scoring.explainer, self.scoring.target):
            pass
        return time.perf_counter() - began

    def time_rows(self, time_s: float) -> float:
        """Seconds of a row of sequence that is read on one strand, and not explained."""
        until = time.perf_counter() + time_s
        rates: list[float] = []
        n_rows, n_timed = 1, 0
        for low in cycle(range(0, len(self.sequences), DEFAULT_BATCH_SIZE)):
            began = time.perf_counter()
            is_enough = n_timed >= len(self.sequences) and len(rates) > _LEAST_PROBES
            if rates and (is_enough or began + n_rows * rates[-1] > until):
                break
            some = self.sequences[low : low + n_rows]
            self.scoring.model.predict(some, strand="forward")
            rates.append((time.perf_counter() - began) / len(some))
            n_timed += len(some)
            n_rows = min(max(1, int(time_s / _LEAST_PROBES / rates[-1])), DEFAULT_BATCH_SIZE)
        return median(rates[1:] or rates)


def _width(batch: Batch, n_windows: int) -> int:
    """Tokens of the longest row of a batch's first windows."""
    return max(len(one.ids) for one in batch.tokens[: n_windows * len(batch.strands)])


def _resident_bytes() -> int:
    """Memory that this process holds; where the system does not tell, the most that it has held."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    except OSError:
        return peak_bytes()


def peak_bytes() -> int:
    """The most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
