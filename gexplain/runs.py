"""Runs: regions and a genome in, a directory of tracks out; interrupted, it goes on where it stopped.

    OUT/tracks/  regions.tsv  stats.tsv  browser/  manifest.json ...          a finished run
    OUT/.unfinished/windows.sqlite                                            one that can be resumed

Results are kept in the store as they come; every output file is written beside it at the end and moved into place
when it is whole, the manifest last. So a directory with a manifest.json is a finished run, whose files it knows by
their size.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from gexplain.errors import InputError, RunError, UsageError
from gexplain.genome.bedgraph import BedGraphWriter
from gexplain.inputs import Inputs, RegionSource, ScoreSettings, open_inputs
from gexplain.models.bundled import DEFAULT_MODEL
from gexplain.models.model import Model
from gexplain.null import NULL_PART, Null
from gexplain.pipeline import WindowResult, tracks_of
from gexplain.plan import REASONS, Status
from gexplain.report.browser_files import BROWSER, BROWSER_FILES, write_browser_files
from gexplain.run_folder import MANIFEST, NULL, QUALITY, REPORT, SHARD, UNFINISHED, Run
from gexplain.scoring import Progress, Scoring, nothing_scored_error, only_n_warnings, strict_error
from gexplain.store import WindowStore, describe_difference, is_begun
from gexplain.windows import Window
from gexplain.work_folder import empty, locked, publish, resumable, shared, sync, write_whole

STORE = "windows.sqlite"
PARTS = "parts"
"""In .unfinished, what several processes have read of the run: each part of it is a shard (see devices.py)."""
_OUTPUTS = ("tracks", "regions.tsv", "stats.tsv")
_CALLS = [
    "motif_summary.tsv",
    *(
        f"{table}.{suffix}"
        for table in ("seqlets", "hits")
        for suffix in ("bed", "as", "bed.gz", "bed.gz.tbi", "bed.gz.csi")
    ),
]


@dataclass(frozen=True, slots=True)
class Parts:
    """What shards have read: their folders, their stores, of windows (with how many) and of the null, and all that
    those depend on, in JSON.
    """

    folders: Sequence[Path]
    stores: Mapping[Path, int]
    nulls: Sequence[Path]
    record: Mapping[str, str]


ReadParts = Callable[[Scoring, WindowStore, Null | None, Path], None]
"""Reads much of what the store lacks, in parts in a folder, and takes it over; the null's stays in the parts."""


def score(
    regions: RegionSource,
    genome: str | os.PathLike[str],
    model: Model | str | os.PathLike[str] = DEFAULT_MODEL,
    *,
    output: str | os.PathLike[str] | None = None,
    settings: ScoreSettings | None = None,
    progress: Progress | None = None,
) -> Run:
    """Relevance tracks of regions of a genome: the library twin of `gexplain score`.

    regions, genome: see `open_inputs`. model: a loaded model, or what `load_model` takes; by default human-tf, which
    comes with gexplain. output: the directory to write; without one the run lives in a temporary directory, as long
    as the returned object. An interrupted run in `output` is resumed, a finished one with the same settings is
    returned as it is.

    Raises the errors of `open_inputs` before the model is loaded; ModelError; RunError where `output` is another
    run's, in use or cannot be written.
    """
    settings = settings or ScoreSettings()
    with open_inputs(regions, genome, settings) as inputs:
        return score_inputs(inputs, model, output=output, settings=settings, progress=progress)


def score_inputs(
    inputs: Inputs,
    model: Model | str | os.PathLike[str],
    *,
    output: str | os.PathLike[str] | None,
    settings: ScoreSettings,
    progress: Progress | None = None,
    call_progress: Progress | None = None,
    command: str | None = None,
    parts: Parts | ReadParts | None = None,
) -> Run:
    """`score`, of inputs that are open already.

    call_progress: called as seqlets and hits are called. command: the command line, for the manifest. parts: what
    shards have read already; or what reads it, while the run's folder is locked. What several processes have read of
    an interrupted run is gone on with, however many there are now.
    """
    if output is None:
        temporary = Path(tempfile.mkdtemp(prefix="gexplain-"))
        try:
            run = score_inputs(
                inputs,
                model,
                output=temporary,
                settings=settings,
                progress=progress,
                call_progress=call_progress,
                command=command,
                parts=parts,
            )
        except BaseException:
            shutil.rmtree(temporary)
            raise
        # Not TemporaryDirectory, which warns where its owner is merely let go.
        weakref.finalize(run, shutil.rmtree, temporary, ignore_errors=True)
        return run
    out = Path(output)
    check_directory(out, settings)
    scoring = Scoring.prepare(inputs, model, settings)
    if isinstance(parts, Parts) and (differs := describe_difference(parts.record, in_json(scoring.record()))):
        raise InputError(
            "the shards were made with other inputs or settings than are here now",
            detail=differs,
            hint="give the very regions, genome, model and motifs of the shards",
        )
    with ExitStack() as stack:
        for folder in parts.folders if isinstance(parts, Parts) else ():
            stack.enter_context(shared(folder))
        work = stack.enter_context(locked(out))
        stack.enter_context(resumable(out))
        (out / SHARD).unlink(missing_ok=True)  # its store is emptied, or gets windows of others
        sync(out)
        if settings.force or not settings.resume:
            empty(work)
        finished = None if settings.force else finished_run(out, scoring)
        if finished is not None:
            empty(work)  # a crash after the last move may have left the store
            return finished
        (work / STORE).touch()  # by this the folder is known as a run's, wherever that is stopped
        for name in (MANIFEST, REPORT, QUALITY):  # from now on the old run is no finished run
            (out / name).unlink(missing_ok=True)
        sync(out)  # before any of its files go
        started, manifest = time.monotonic(), None
        null = scoring.prepare_null(out / NULL, work)
        _forget_calls(work, null)
        with WindowStore(work / STORE, inputs.plan.chroms, scoring.tiling, scoring.fingerprint()) as store:
            for path in filter(is_begun, work.glob(f"{PARTS}/*/{UNFINISHED}/{STORE}")):
                store.absorb(path)
            if isinstance(parts, Parts):
                for path, n_windows in parts.stores.items():
                    store.absorb(path, n_windows)
            elif parts is not None:
                parts(scoring, store, null, work / PARTS)
            of_parts = work.glob(f"{PARTS}/*-{part_key(scoring)}/{UNFINISHED}/{NULL_PART}")
            nulls = [*(parts.nulls if isinstance(parts, Parts) else ()), *filter(is_begun, of_parts)]
            scoring.fill(store, null, progress, nulls)
            computed = time.monotonic()
            if store.n_scored():
                manifest = scoring.write(store, null, work, call_progress)
        if manifest is None:
            empty(work)  # nothing to resume
            raise nothing_scored_error(inputs.source)
        manifest["seconds"] = {
            "windows": round(computed - started, 3),
            "outputs": round(time.monotonic() - computed, 3),
        }
        if command is not None:
            manifest["command"] = command
        manifest["notes"] = write_browser_files(work, out, manifest, inputs.genome)
        _publish(work, out, manifest)
    return Run(out, manifest)


def stream_bedgraph(
    inputs: Inputs,
    model: Model | str | os.PathLike[str],
    file: TextIO,
    *,
    settings: ScoreSettings,
    progress: Progress | None = None,
) -> list[str]:
    """Write the one relevance track of a run to a text stream, as it is computed; returns warnings."""
    settings = replace(settings, null_regions=0, motifs=None)  # nothing is called
    scoring = Scoring.prepare(inputs, model, settings)
    check_stream(scoring)
    unscored: set[Window] = set()
    n_scored = 0

    def results() -> Iterator[WindowResult]:
        nonlocal n_scored
        for pool in pools:
            unscored.update(result.window for result in pool if result.relevance is None)
            n_scored += sum(result.relevance is not None for result in pool)
            yield from pool

    with (
        closing(scoring.results(inputs.plan.windows(scoring.tiling), 0, progress)) as pools,
        BedGraphWriter(file, inputs.plan.chroms) as writer,
    ):
        for _, track in tracks_of(results(), scoring.model, scoring.target, settings.weight):
            writer.write(track.interval.chrom, track.interval.start, track.values[0])
    if not n_scored:
        raise nothing_scored_error(inputs.source)
    n_only_n = inputs.plan.count_covered_by(scoring.tiling, unscored)
    if n_only_n and settings.strict:
        raise strict_error(inputs.source, n_only_n)
    return [*inputs.warnings, *only_n_warnings(n_only_n)]


def check_stream(scoring: Scoring) -> None:
    """Refuse, before any work, to stream more than one track."""
    relevance = [name for name in scoring.names if name.kind == "relevance"]
    if len(relevance) != 1:
        raise UsageError(
            f"standard output takes one track, not {len(relevance)}: " + ", ".join(name.stem for name in relevance),
            hint="give one --target and one strand, or an output directory",
        )


def check_directory(out: Path, settings: ScoreSettings) -> None:
    """Refuse, before any work, to write where something else lies."""
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file; expected a directory to write to", hint="give another -o")
    known = any((out / name).exists() for name in (MANIFEST, UNFINISHED, SHARD))
    if out.exists() and any(out.iterdir()) and not known and not settings.force:
        raise RunError(
            f"{out} is not empty, and holds no gexplain run",
            hint="give another -o, or --force to write there (files of other names are kept)",
        )


def finished_run(out: Path, scoring: Scoring) -> Run | None:
    """The run that is already there, if it is finished and the same; RunError if it is another."""
    path = out / MANIFEST
    if not path.exists():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        held = in_json(manifest["settings"])
        n_only_n = manifest["regions"]["skipped"].get(REASONS[Status.ONLY_N], 0)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path} is no manifest of gexplain", hint="give another -o, or --force") from error
    wanted = in_json(scoring.record())
    if held != wanted:
        raise RunError(
            f"{out}: a run with other settings is here",
            detail=describe_difference(held, wanted),
            hint="give another -o, or --force to replace that run",
        )
    run = Run(out, manifest)
    fault = run.find_fault()
    if fault is not None:
        raise RunError(f"{out}: a finished run {fault}", hint="use --force to compute it again")
    if scoring.settings.strict and n_only_n:
        raise strict_error(scoring.inputs.source, n_only_n)
    return run


def _forget_calls(work: Path, null: Null | None) -> None:
    """Remove what an interrupted run with other motifs or another null left: it would be published as this one's."""
    for name in _CALLS:
        (work / name).unlink(missing_ok=True)
    if null is None or null.is_whole:
        shutil.rmtree(work / NULL, ignore_errors=True)


def _publish(work: Path, out: Path, manifest: dict[str, Any]) -> None:
    """Move the finished files into place, the manifest last; then the run is finished."""
    has_null = (work / NULL).exists() or "calls" not in manifest  # else the null that is there is this run's
    manifest["files"] = {
        **_sizes(work, [*_OUTPUTS, *_CALLS]),
        **(_sizes(work if has_null else out, [NULL]) if "calls" in manifest else {}),
    }
    write_whole(work / MANIFEST, json.dumps(manifest, indent=2) + "\n")
    for name in ("tracks", BROWSER, *([NULL] if has_null else [])):
        if (out / name).exists():
            shutil.rmtree(out / name)
    for name in {*_CALLS, *BROWSER_FILES, REPORT, QUALITY} - {BROWSER}:
        (out / name).unlink(missing_ok=True)  # of an earlier run
    publish(work, out, (*_OUTPUTS, NULL, *_CALLS, *BROWSER_FILES), last=MANIFEST)


def _sizes(folder: Path, names: Sequence[str]) -> dict[str, int]:
    """The bytes of files, and of those in folders, as far as they are there; by their path. An index that is made
    again wherever it is missing is not among them.
    """
    places = [folder / name for name in names if (folder / name).exists()]
    paths = [path for place in places for path in (sorted(place.iterdir()) if place.is_dir() else [place])]
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths if path.suffix != ".fai"}


def part_key(scoring: Scoring) -> str:
    """What the names of a run's parts end in: another for each null, and all else that the outputs depend on."""
    return hashlib.sha256(json.dumps(scoring.record(), sort_keys=True).encode()).hexdigest()[:8]


def in_json(settings: Mapping[str, object]) -> dict[str, str]:
    """Settings in a form that can be kept and compared."""
    return {key: json.dumps(value, sort_keys=True) for key, value in settings.items()}
