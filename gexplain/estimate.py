"""Estimates: what a run would do, how long it would take and how large it would be, before it is begun.

    inputs, model, settings --+-- Scoring.prepare, the null drawn --> what is checked, counts, the state of OUT
                              +-- a few windows read --------------> seconds and sizes

What depends on model and machine is measured here, by the code of the run. What is small beside it is stated below as
constants, which benchmarks/check.py holds against whole runs. Nothing is written but to a temporary folder.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gexplain.attribution.batches import BatchSize
from gexplain.attribution.explainers import METHODS, SequenceMethod
from gexplain.errors import RunError
from gexplain.inputs import Inputs, ScoreSettings
from gexplain.models.model import DnaBert2Model, Model
from gexplain.motifs.scan import CALL_BASES
from gexplain.null import NULL_PART, Null
from gexplain.pipeline import BOOKS
from gexplain.plan import REASONS, Plan, Status
from gexplain.quality import COSTLY_WINDOWS, DEFAULT_REGIONS, DRAWS, FRACTIONS, LARGE_MODEL, RANDOM_ORDERS
from gexplain.report.page import DEFAULT_TOP
from gexplain.run_folder import NULL, REPORT, UNFINISHED
from gexplain.runs import PARTS, STORE, check_directory, check_stream, finished_run, in_json
from gexplain.scoring import Scoring
from gexplain.shards import check_shard, finished_shard
from gexplain.store import Peeked, describe_difference, peek
from gexplain.trial import Trial, peak_bytes
from gexplain.windows import Tiling
from gexplain.work_folder import shared

State = Literal["new", "finished", "resumable"]

WITHIN_S = 8.0
"""Seconds that a check takes, with what opening inputs and model took; more where a batch of the model takes long."""
LEAST_TRIAL_S = 1.5
"""Of them, what is spent on timing windows, however long all else took."""

# Constants of a run on one core, which benchmarks/check.py justifies; each is small beside what is measured.
TRACK_S_PER_MB = 0.5
"""To blend and write a million bases of a track."""
REGION_S = 2e-4
"""To write a region's line of regions.tsv, and a window's share of it."""
NULL_PIECE_S = 5e-4
"""To write a piece of the null to a track: a chromosome of its own there."""
SEQLET_S_PER_MB = 0.4
"""To call seqlets in a million bases of a track or its null."""
HITS_S, HITS_OF_TRACK_S = 1.1, 0.5
"""To begin with hits at all, and with those of a track, whatever its length."""
SCAN_S_PER_MOTIF, HITS_S_PER_MB_MOTIF = 3.5e-4, 6e-3
"""A call of the motif scanner, whatever it is given; and to scan a million bases and rank the matches."""
PAGE_S, BROWSER_S = 0.8, 0.1
QUALITY_S = 0.4
"""To load what quality is measured with, and to find windows of every class."""
PROCESS_S = 0.8
"""To begin and to end the process."""

CALL_BYTES, QUALITY_BYTES = 200_000_000, 80_000_000
"""What calling (the motif scanner and what it is compiled with) and quality need in memory, beside the model."""
BYTES_PER_BASE = {"bigwig": 4.0, "bedgraph": 26.0, "npz": 4.0}
"""Of a track of relevance, and of its prediction and coverage together."""
COLUMN_BYTES, CALL_BYTES_PER_BASE = 8, 1.0
PAGE_BYTES, PICTURE_BYTES = 100_000, 30_000
"""Of the page, and of each region that it shows."""
NULL_PIECE_BYTES = 60
STORE_PAGE = 16_384


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would do, and what it would take.

    shard: which of how many, from 1, or None; windows are then its share. regions: number by what becomes of them.
    windows, null_windows: distinct windows of the run and of its null, done ones too; those done are None where what
    a killed run left is too large to look into, and the seconds then of all. null_is_kept: a finished null is there.
    timed_windows: those that the rate was measured on; window_s: seconds of one. seconds: by stage, of what is still
    to be done. Sizes in bytes: memory_bytes at most; device_memory_bytes of a GPU, that this process's tensors took,
    its CUDA context not counted; output_bytes of OUT, store_bytes of OUT/.unfinished while the run lasts, or until
    shards are merged; free_disk_bytes where OUT is, None without one.
    """

    source: str
    genome: str
    model: str
    device: str
    batch_size: BatchSize
    method: str
    targets: list[str]
    tracks: int
    shard: tuple[int, int] | None
    regions: dict[str, int]
    windows: int
    windows_done: int | None
    null_regions: int
    null_windows: int
    null_windows_done: int | None
    null_is_kept: bool
    state: State | None
    timed_windows: int
    window_s: float
    seconds: dict[str, float]
    memory_bytes: int
    device_memory_bytes: int | None
    free_memory_bytes: int | None
    output_bytes: int
    store_bytes: int
    free_disk_bytes: int | None
    warnings: list[str]

    @property
    def total_s(self) -> float:
        """Seconds of all stages."""
        return sum(self.seconds.values())

    def as_json(self) -> dict[str, Any]:
        """All fields, the seconds in all, and per 1,000 windows."""
        per_thousand = {"total_s": self.total_s, "thousand_windows_s": 1_000 * self.window_s}
        return {**asdict(self), **per_thousand}


def estimate_run(
    inputs: Inputs,
    model: Model,
    *,
    output: str | os.PathLike[str] | None,
    settings: ScoreSettings,
    shard: tuple[int, int] | None = None,
    n_devices: int = 1,
    streams: bool = False,
    makes_report: bool = True,
    start_s: float = 0.0,
    within_s: float = WITHIN_S,
) -> Estimate:
    """What `score_inputs` with the same arguments would do: the library twin of `gexplain check`.

    output: where the run would be written; None where that is not known yet. shard: what `score_shard` would do.
    n_devices: like the model's, that share the windows. streams: what `stream_bedgraph` would do. makes_report:
    whether quality is measured and a page made. start_s: seconds that opening inputs and model took, to be told among
    the others. within_s: seconds that all of this, start_s included, should take. Raises what the run would raise
    before its first window.
    """
    began = time.perf_counter() - start_s
    if streams:
        settings = replace(settings, null_regions=0, motifs=None)  # nothing is called
    out = None if output is None else Path(output)
    if out is not None:
        check_directory(out, settings)
        if shard is not None:
            check_shard(out, shard, settings)
    scoring = Scoring.prepare(inputs, model, settings)
    if streams:
        check_stream(scoring)
    found = _Found(None) if out is None else _look(out, scoring, shard)
    with tempfile.TemporaryDirectory(prefix="gexplain-") as temporary:
        work, null, trial, draw_s = Path(temporary), None, None, 0.0
        if found.state != "finished":
            drawing = time.perf_counter()
            null = scoring.prepare_null(work / "none" if out is None else out / NULL, work)
            draw_s = time.perf_counter() - drawing
            left_s = within_s - (time.perf_counter() - began)
            trial = Trial.of(scoring, null, max(left_s, min(LEAST_TRIAL_S, within_s)))
        amounts = _Amounts.of(scoring, null, shard)
    n_done, n_null_done = _at_most(found.n_done, amounts.windows), _at_most(found.n_null_done, amounts.null_windows)
    is_whole = shard is None and not streams
    makes_report = makes_report and is_whole
    seconds = {"start": start_s and start_s + PROCESS_S}
    if trial is not None:
        seconds["windows"] = (amounts.windows - (n_done or 0)) * trial.window_s / n_devices
        if null is not None:
            seconds["null"] = draw_s + (amounts.null_windows - (n_null_done or 0)) * trial.null_window_s / n_devices
        if is_whole:
            if null is not None:
                seconds["null"] += amounts.null_pieces * len(scoring.names) * NULL_PIECE_S
                seconds["calls"] = _call_s(scoring, amounts)
            seconds["outputs"] = _output_s(scoring, amounts)
        if makes_report:
            seconds["quality"] = _quality_s(scoring, trial, amounts.windows)
    if makes_report and not found.has_report:
        seconds["report"] = PAGE_S
    output_bytes = _output_bytes(scoring, amounts) if is_whole else 0
    store_bytes = 0 if streams else _store_bytes(scoring, amounts.windows + amounts.null_windows)
    memory_bytes = peak_bytes()
    if trial is not None:
        beside = CALL_BYTES * ("calls" in seconds) + QUALITY_BYTES * ("quality" in seconds)
        memory_bytes += max(trial.lacking_bytes, beside)
    free_disk_bytes = None if out is None else shutil.disk_usage(_existing(out)).free
    warnings = list(inputs.warnings)
    if free_disk_bytes is not None and trial is not None and store_bytes + output_bytes > free_disk_bytes:
        warnings.append(
            f"{out}: {free_disk_bytes / 1e9:.1f} GB are free, and the run needs about"
            f" {(store_bytes + output_bytes) / 1e9:.1f} GB"
        )
    if scoring.n_null and null is None and trial is not None:
        warnings.append("no seqlets and no hits: no piece of the regions could be shuffled for a null")
    return Estimate(
        source=inputs.source,
        genome=str(inputs.genome.path),
        model=model.checkpoint.source,
        device=str(model.device),
        batch_size=scoring.explainer.batch_size,
        method=scoring.explainer.method,
        targets=list(scoring.target.names),
        tracks=len(scoring.names),
        shard=shard,
        regions=_regions(inputs.plan),
        windows=amounts.windows,
        windows_done=amounts.windows if found.state == "finished" else n_done,
        null_regions=0 if null is None else len(null.pieces),
        null_windows=amounts.null_windows,
        null_windows_done=n_null_done,
        null_is_kept=null is not None and null.is_whole,
        state=found.state,
        timed_windows=0 if trial is None else trial.n_timed,
        window_s=0.0 if trial is None else trial.window_s,
        seconds=seconds,
        memory_bytes=memory_bytes,
        device_memory_bytes=_peak_of_device(model),
        free_memory_bytes=_free_memory(),
        output_bytes=output_bytes,
        store_bytes=store_bytes,
        free_disk_bytes=free_disk_bytes,
        warnings=warnings,
    )


# ---- The output folder, as it is ----


@dataclass(frozen=True, slots=True)
class _Found:
    """What lies in OUT: done windows of the run and of its null, as its stores say; whether a run has its page."""

    state: State | None
    n_done: int | None = 0
    n_null_done: int | None = 0
    has_report: bool = False


def _look(out: Path, scoring: Scoring, shard: tuple[int, int] | None) -> _Found:
    """What the run would find in OUT; raises what it would raise."""
    work, settings = out / UNFINISHED, scoring.settings
    with shared(out):
        if not os.access(_existing(out), os.W_OK):
            raise RunError(f"{out}: cannot be written: Permission denied", hint="give another -o")
        if settings.force:
            return _Found("new")
        if shard is None:
            if finished_run(out, scoring) is not None:
                return _Found("finished", has_report=(out / REPORT).exists())
        elif settings.resume and finished_shard(out, shard, in_json(scoring.record())) is not None:
            return _Found("finished")
        # Of several devices each has parts of its own, until they are joined.
        own, of_parts = (
            [peek(path) for path in places if path.exists()] if settings.resume else []
            for places in ([work / STORE], work.glob(f"{PARTS}/*/{UNFINISHED}/{STORE}"))
        )
        begun = [
            one for one in (*own, *of_parts) if one is None or any(one)
        ]  # of which there are settings, or windows
        if not begun:
            return _Found("new")
        wanted = in_json(scoring.fingerprint())
        for held in (one[0] for one in begun if one is not None):
            if held != wanted:
                raise RunError(
                    f"{out}: an interrupted run with other settings is here",
                    detail=describe_difference(held, wanted),
                    hint="give another -o, or --force to discard that run",
                )
        # Of several nulls the newest is the one that was being read.
        nulls = sorted(work.glob("null-*.sqlite"), key=lambda path: path.stat().st_mtime)[-1:]
        nulls_of_parts = work.glob(f"{PARTS}/*/{UNFINISHED}/{NULL_PART}")
        n_null_done = _n_windows([peek(path) for path in nulls], [peek(path) for path in nulls_of_parts])
        return _Found("resumable", _n_windows(own, of_parts), n_null_done)


def _n_windows(own: Sequence[Peeked], of_parts: Sequence[Peeked]) -> int | None:
    """Windows of a run's own store or of all its parts', the more: the former takes over what the latter have.

    None where one of them was too large to look into.
    """
    own_n, parts_n = ([one[1] for one in stores if one is not None] for stores in (own, of_parts))
    is_known = len(own_n) + len(parts_n) == len(own) + len(of_parts)
    return max(sum(own_n), sum(parts_n)) if is_known else None


def _at_most(n_done: int | None, most: int) -> int | None:
    """Windows that are done, where stores of several devices may have some of them twice."""
    return None if n_done is None else min(n_done, most)


# ---- What there is to do ----


@dataclass(frozen=True, slots=True)
class _Amounts:
    """What a run has to read and to write. regions: lines of regions.tsv. bases, null_bases: that get a value, about;
    null_pieces: to be written. Of a shard, windows and null_windows are its share.
    """

    regions: int
    windows: int
    bases: int
    null_windows: int
    null_pieces: int
    null_bases: int

    @classmethod
    def of(cls, scoring: Scoring, null: Null | None, shard: tuple[int, int] | None) -> _Amounts:
        plan, tiling = scoring.inputs.plan, scoring.tiling
        n_windows = plan.count_windows(tiling)
        n_null_windows = 0 if null is None else null.count_windows()
        bases = _bases(plan, tiling, n_windows)
        if shard is not None:
            low, high = scoring.shard_windows(shard)
            n_windows = high - low
            if null is not None and n_null_windows:
                first, past = plan.ordinals(tiling, null.pieces).T
                n_own = int(((low <= first) & (past <= high) & (first < past)).sum())
                n_null_windows = n_null_windows * n_own // len(null.pieces)
        return cls(
            regions=plan.n_regions,
            windows=n_windows,
            bases=bases,
            null_windows=n_null_windows,
            null_pieces=0 if null is None or null.is_whole else len(null.pieces),
            null_bases=0 if null is None else sum(piece.width for piece in null.pieces),
        )


def _regions(plan: Plan) -> dict[str, int]:
    """How many regions are scored, and how many skipped by reason."""
    skipped = {REASONS[status]: n for status, n in plan.skipped().most_common()}
    return {"scored": plan.n_regions - sum(skipped.values()), **skipped}


def _bases(plan: Plan, tiling: Tiling, n_windows: int) -> int:
    """About how many bases get a value: those of the scored regions, each at least a window; overlaps count once."""
    rows = plan.status == Status.SCORED
    wide = np.maximum(plan.end[rows] - plan.start[rows], tiling.window)
    return int(min(wide.sum(), n_windows * tiling.window, sum(plan.chroms.values()) * len(plan.strands())))


# ---- Seconds ----


def _output_s(scoring: Scoring, amounts: _Amounts) -> float:
    """Seconds of tracks, table and what browsers open."""
    tracks = amounts.bases * 1e-6 * TRACK_S_PER_MB * len(scoring.names)
    return tracks + REGION_S * (amounts.regions + amounts.windows) + BROWSER_S


def _call_s(scoring: Scoring, amounts: _Amounts) -> float:
    """Seconds of seqlets and hits: every track of relevance, and its null, is looked through."""
    n_tracks = sum(name.kind == "relevance" for name in scoring.names)
    megabases = (amounts.bases + amounts.null_bases) / 1e6
    seconds = n_tracks * megabases * SEQLET_S_PER_MB
    if scoring.motifs is not None:
        n_calls = math.ceil(amounts.bases / CALL_BASES) + math.ceil(amounts.null_bases / CALL_BASES)
        per_motif = n_calls * SCAN_S_PER_MOTIF + megabases * HITS_S_PER_MB_MOTIF
        seconds += HITS_S + n_tracks * (HITS_OF_TRACK_S + len(scoring.motifs) * per_motif)
    return seconds


def _quality_s(scoring: Scoring, trial: Trial, n_windows: int) -> float:
    """Seconds of quality: windows read on either strand and further on, and their tokens or bases removed."""
    model = scoring.model
    method = METHODS[model.kind][scoring.explainer.method]
    is_costly = (
        isinstance(method, SequenceMethod)
        or scoring.explainer.method == "integrated-gradients"
        or sum(one.numel() for one in model.network.parameters()) > LARGE_MODEL
    )
    n_read = min(COSTLY_WINDOWS if is_costly else DEFAULT_REGIONS, n_windows)
    n_strands = 2 if scoring.settings.strand == "both" else 1
    # Of each order both ends, and between nothing and all that is taken away.
    n_rows = (1 + RANDOM_ORDERS) * 2 * (len(FRACTIONS) - 2) * n_strands
    if not isinstance(model, DnaBert2Model):
        n_rows *= DRAWS
    readings = (2 + n_strands) / n_strands
    return QUALITY_S + n_read * (n_rows * trial.row_s + readings * trial.window_s)


# ---- Sizes ----


def _output_bytes(scoring: Scoring, amounts: _Amounts) -> int:
    """Bytes of OUT, about."""
    n_relevance = sum(name.kind == "relevance" for name in scoring.names)
    per_base = sum(BYTES_PER_BASE[name] for name in dict.fromkeys(scoring.settings.formats))
    tracks = amounts.bases * per_base * n_relevance * 1.5
    null = amounts.null_bases * (BYTES_PER_BASE["bigwig"] * n_relevance * 1.5 + 1)
    n_columns = 12 + 2 * len(scoring.model.labels) + 7 * len(scoring.target.names)
    calls = amounts.bases * CALL_BYTES_PER_BASE * n_relevance if amounts.null_bases else 0
    tables = amounts.regions * COLUMN_BYTES * n_columns + calls
    page = PAGE_BYTES + min(amounts.regions, DEFAULT_TOP) * PICTURE_BYTES
    return int(tracks + null + amounts.null_pieces * NULL_PIECE_BYTES + tables + amounts.bases + page)


def _store_bytes(scoring: Scoring, n_windows: int) -> int:
    """Bytes of windows' results on disk while the run lasts: rows of a page each, as many as go on one."""
    n_explained = scoring.target.n_explained
    row = 4 * n_explained * scoring.tiling.window + 8 * len(scoring.model.labels) + 8 * len(BOOKS) * n_explained + 16
    per_page = STORE_PAGE // row
    of_window = STORE_PAGE / per_page if per_page else math.ceil(row / STORE_PAGE) * STORE_PAGE
    return int(n_windows * (of_window + 16) + 4 * STORE_PAGE)


def _existing(path: Path) -> Path:
    return next(one for one in (path.absolute(), *path.absolute().parents) if one.exists())


def _peak_of_device(model: Model) -> int | None:
    if model.device.type != "cuda":
        return None
    import torch

    return int(torch.cuda.max_memory_allocated(model.device))


def _free_memory() -> int | None:
    """Memory that processes may still take; None where the system does not say."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None
