"""Shards: one run made on many machines, each reading its share of the windows, and joined afterwards.

    score --shard 1/3 --> A/shard.json, A/.unfinished/   --+
    score --shard 2/3 --> B/                               +-- merge --> OUT, as one run would write it
    score --shard 3/3 --> C/                             --+

A shard is an unfinished run of which shard.json says that its share is done. Joining takes over what all have read,
and goes on as an interrupted run does: so nothing is written in two ways.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gexplain.errors import InputError, RunError, UsageError, count, preview
from gexplain.inputs import Inputs, ScoreSettings, open_inputs
from gexplain.models.model import Model, load_model
from gexplain.null import NULL_PART
from gexplain.run_folder import MANIFEST, NULL, SHARD, UNFINISHED, Run
from gexplain.runs import STORE, Parts, check_directory, in_json, score_inputs
from gexplain.scoring import Progress, Scoring
from gexplain.store import WindowStore, describe_difference
from gexplain.work_folder import empty, locked, resumable, sync, write_whole

_HERE = ("device", "batch_size", "resume", "force")  # settings of a machine or a call, not of the run


@dataclass(frozen=True, slots=True)
class Shard:
    """A share of a run that is done: its folder, which it is (number from 1, of how many), and what it was made of.

    regions, genome, model: where they were; regions is None where they were no file. settings: of the run. record:
    all that the run depends on, as JSON by key. n_windows: in its store.
    """

    folder: Path
    number: int
    n_shards: int
    regions: str | None
    genome: str
    model: str
    settings: Mapping[str, Any]
    record: Mapping[str, str]
    n_windows: int


def score_shard(
    inputs: Inputs,
    model: Model | str | os.PathLike[str],
    shard: tuple[int, int],
    *,
    output: str | os.PathLike[str],
    settings: ScoreSettings,
    progress: Progress | None = None,
) -> Shard:
    """Read a share of a run's windows: the library twin of `gexplain score --shard`.

    shard: its number, from 1, of how many; `merge_shards` joins them. output: a folder of its own. An interrupted
    shard is resumed, a finished one is returned as it is. Raises what `score_inputs` raises, and UsageError for a
    shard that there cannot be.
    """
    number, n_shards = shard
    out = Path(output)
    check_shard(out, shard, settings)
    scoring = Scoring.prepare(inputs, model, settings)
    record = in_json(scoring.record())
    with locked(out) as work, resumable(out):
        if settings.force or not settings.resume:
            (out / SHARD).unlink(missing_ok=True)
            sync(out)  # before what it vouches for goes
            empty(work)
        finished = finished_shard(out, shard, record)
        if finished is not None:
            return finished
        (out / SHARD).unlink(missing_ok=True)  # of a store that is gone
        sync(out)
        (work / STORE).touch()  # by this the folder is known as a shard's, wherever that is stopped
        null = scoring.prepare_null(out / NULL, work)
        with WindowStore(work / STORE, inputs.plan.chroms, scoring.tiling, scoring.fingerprint()) as store:
            scoring.fill_shard(store, null, shard, progress)
            n_windows = store.n_done()
        source = Path(inputs.source)
        about = {
            "shard": [number, n_shards],
            "regions": str(source.resolve()) if source.is_file() else None,
            "genome": str(inputs.genome.path.resolve()),
            "model": _place_of(scoring.model.checkpoint.source),
            "settings": _settings_of_run(settings),
            "record": record,
            "windows": n_windows,
        }
        write_whole(out / SHARD, json.dumps({**about, "check": _check_of(about)}, indent=2) + "\n")
    return read_shard(out)


def check_shard(out: Path, shard: tuple[int, int], settings: ScoreSettings) -> None:
    """Refuse, before any work, a shard that there cannot be, and to write where something else lies."""
    number, n_shards = shard
    if not 1 <= number <= n_shards:
        raise UsageError(
            f"shard {number}/{n_shards}: expected 1/{n_shards} to {n_shards}/{n_shards}", hint="1/8, say"
        )
    check_directory(out, settings)
    if (out / MANIFEST).exists():
        raise RunError(f"{out}: a whole run is here, and no shard", hint="give another -o")


def finished_shard(out: Path, wanted: tuple[int, int], record: Mapping[str, str]) -> Shard | None:
    """The shard that is already there, if it is finished and the same; RunError if it is another.

    One whose store is gone is not there.
    """
    if not (out / SHARD).exists() or not (out / UNFINISHED / STORE).exists():
        return None
    shard = read_shard(out)
    held = {**shard.record, "shard": f"{shard.number}/{shard.n_shards}"}
    asked = {**record, "shard": "/".join(map(str, wanted))}
    if held != asked:
        raise RunError(
            f"{shard.folder}: another shard is here",
            detail=describe_difference(held, asked),
            hint="give another -o, or --force to replace that one",
        )
    return shard


def read_shard(folder: str | os.PathLike[str]) -> Shard:
    """The finished shard in a folder. InputError where there is none."""
    path = Path(folder) / SHARD
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        if held.pop("check") != _check_of(held):
            raise ValueError("it is damaged")
        number, n_shards = held["shard"]
        return Shard(
            Path(folder),
            int(number),
            int(n_shards),
            held["regions"],
            held["genome"],
            held["model"],
            held["settings"],
            dict(held["record"]),
            int(held["windows"]),
        )
    except FileNotFoundError as error:
        what = "the shard is not finished" if (path.parent / UNFINISHED).exists() else "no shard is here"
        raise InputError(
            f"{folder}: {what}: there is no {SHARD}",
            hint="give the folders that gexplain score --shard wrote, when all are done",
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_shard(path, error) from error


def _check_of(about: Mapping[str, object]) -> int:
    """CRC-32 of what a shard.json says."""
    return zlib.crc32(json.dumps(about, sort_keys=True).encode())


def _no_shard(path: Path, error: Exception) -> InputError:
    hint = "make that shard again: its command, with --no-resume"
    return InputError(f"{path} cannot be read as a shard: {error}", hint=hint)


def merge_shards(
    folders: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    regions: str | os.PathLike[str] | None = None,
    genome: str | os.PathLike[str] | None = None,
    model: Model | str | os.PathLike[str] | None = None,
    device: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
    call_progress: Progress | None = None,
    command: str | None = None,
) -> tuple[Run, Model]:
    """The run that shards make together, and its model: the library twin of `gexplain merge`.

    folders: all shards of one run, in any order. regions, genome, model: where those are now, if they were moved.
    What no shard could read alone, a few windows of the null, is read here.

    Raises InputError where a shard is missing, twice, not finished or of another run, and what `score` raises.
    """
    shards = [read_shard(folder) for folder in folders]
    _check_together(shards)
    first = shards[0]
    source = regions if regions is not None else first.regions
    if source is None:
        raise UsageError(
            f"{first.folder}: its regions came through standard input or from Python", hint="say --regions BED"
        )
    for shard in shards:
        if Path(output).exists() and shard.folder.samefile(output):
            raise UsageError(f"{output} is one of the shards", hint="give another -o")
    try:
        settings = ScoreSettings(**{**first.settings, "device": device, "force": force})
    except TypeError as error:
        raise _no_shard(first.folder / SHARD, error) from error
    stores = {shard.folder / UNFINISHED / STORE: shard.n_windows for shard in shards}
    nulls = [store.parent / NULL_PART for store in stores]
    parts = Parts([shard.folder for shard in shards], stores, [path for path in nulls if path.exists()], first.record)
    with open_inputs(source, genome if genome is not None else first.genome, settings) as inputs:
        if not isinstance(model, Model):
            name = first.model if model is None else model
            model = load_model(name, device=device or "auto", dtype=settings.dtype or "float32")
        run = score_inputs(
            inputs,
            model,
            output=output,
            settings=replace(settings, dtype=None),
            progress=progress,
            call_progress=call_progress,
            command=command,
            parts=parts,
        )
        return run, model


def _check_together(shards: Sequence[Shard]) -> None:
    if not shards:
        raise UsageError("no shards", hint="give the folders that gexplain score --shard wrote")
    first = shards[0]
    for shard in shards[1:]:
        held = {**shard.record, "shards": str(shard.n_shards)}
        wanted = {**first.record, "shards": str(first.n_shards)}
        if held != wanted:
            raise InputError(
                f"{shard.folder} and {first.folder} are no shards of one run",
                detail=describe_difference(held, wanted),
                hint="join shards of one command alone",
            )
    folders: dict[int, list[str]] = {}
    for shard in shards:
        folders.setdefault(shard.number, []).append(str(shard.folder))
    twice = [names for names in folders.values() if len(names) > 1]
    if twice:
        raise InputError(f"one shard is there twice: {preview(twice[0])}", hint="give each shard once")
    missing = [f"{one}/{first.n_shards}" for one in range(1, first.n_shards + 1) if one not in folders]
    if missing:
        raise InputError(
            f"{count(len(missing), 'shard')} of {first.n_shards} missing: {preview(missing)}",
            hint="make them with the same command and --shard, then merge all",
        )


def _settings_of_run(settings: ScoreSettings) -> dict[str, Any]:
    """What `ScoreSettings` takes again elsewhere; files by their full path."""
    held = {name: value for name, value in asdict(settings).items() if name not in _HERE}
    for name in ("blacklist", "chrom_alias", "motifs"):
        if held[name] is not None:
            held[name] = _place_of(os.fspath(held[name]))
    return {name: list(value) if isinstance(value, tuple) else value for name, value in held.items()}


def _place_of(name: str) -> str:
    return str(Path(name).resolve()) if Path(name).exists() else name
