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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gexplain.errors import InputError, RunError, UsageError, count, preview
from gexplain.genome.tracks import partial_path, write_error
from gexplain.inputs import Inputs, ScoreSettings, open_inputs
from gexplain.models.model import Model, load_model
from gexplain.null import NULL_PART
from gexplain.run_folder import MANIFEST, NULL, SHARD, UNFINISHED, Run
from gexplain.runs import STORE, Parts, check_directory, in_json, score_inputs
from gexplain.scoring import Progress, Scoring
from gexplain.store import WindowStore, describe_difference
from gexplain.work_folder import empty, locked

_HERE = ("device", "batch_size", "resume", "force")  # settings of a machine or a call, not of the run


@dataclass(frozen=True, slots=True)
class Shard:
    """A share of a run that is done: its folder, which it is (number from 1, of how many), and what it was made of.

    regions, genome, model: where they were; regions is None where they were no file. settings: of the run. record:
    all that the run depends on, as JSON by key.
    """

    folder: Path
    number: int
    n_shards: int
    regions: str | None
    genome: str
    model: str
    settings: Mapping[str, Any]
    record: Mapping[str, str]


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
    if not 1 <= number <= n_shards:
        raise UsageError(
            f"shard {number}/{n_shards}: expected 1/{n_shards} to {n_shards}/{n_shards}", hint="1/8, say"
        )
    out = Path(output)
    check_directory(out, settings)
    if (out / MANIFEST).exists():
        raise RunError(f"{out}: a whole run is here, and no shard", hint="give another -o")
    scoring = Scoring.prepare(inputs, model, settings)
    record = in_json(scoring.record())
    with locked(out) as work:
        if settings.force or not settings.resume:
            (out / SHARD).unlink(missing_ok=True)
            empty(work)
        if (out / SHARD).exists():
            return _same(read_shard(out), shard, record)
        null = scoring.prepare_null(out / NULL, work)
        with WindowStore(work / STORE, inputs.plan.chroms, scoring.tiling, scoring.fingerprint()) as store:
            scoring.fill_shard(store, null, shard, progress)
        source = Path(inputs.source)
        about = {
            "shard": [number, n_shards],
            "regions": str(source.resolve()) if source.is_file() else None,
            "genome": str(inputs.genome.path.resolve()),
            "model": _place_of(scoring.model.checkpoint.source),
            "settings": _settings_of_run(settings),
            "record": record,
        }
        partial = partial_path(out / SHARD)
        try:
            partial.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
            partial.replace(out / SHARD)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise write_error(out / SHARD, error) from error
    return read_shard(out)


def read_shard(folder: str | os.PathLike[str]) -> Shard:
    """The finished shard in a folder. InputError where there is none."""
    path = Path(folder) / SHARD
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        number, n_shards = held["shard"]
        return Shard(
            Path(folder),
            int(number),
            int(n_shards),
            held["regions"],
            held["genome"],
            held["model"],
            held["settings"],
            held["record"],
        )
    except FileNotFoundError as error:
        what = "the shard is not finished" if (path.parent / UNFINISHED).exists() else "no shard is here"
        raise InputError(
            f"{folder}: {what}: there is no {SHARD}",
            hint="give the folders that gexplain score --shard wrote, when all are done",
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read as a shard: {error}", hint="make that shard again") from error


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
    settings = ScoreSettings(**{**first.settings, "device": device, "force": force})
    stores = [shard.folder / UNFINISHED / STORE for shard in shards]
    nulls = [store.parent / NULL_PART for store in stores]
    parts = Parts(stores, [path for path in nulls if path.exists()], first.record)
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


def _same(shard: Shard, wanted: tuple[int, int], record: Mapping[str, str]) -> Shard:
    """The shard, if it is this one; RunError if it is another."""
    held = {**shard.record, "shard": f"{shard.number}/{shard.n_shards}"}
    asked = {**record, "shard": "/".join(map(str, wanted))}
    if held != asked:
        raise RunError(
            f"{shard.folder}: another shard is here",
            detail=describe_difference(held, asked),
            hint="give another -o, or --force to replace that one",
        )
    return shard


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
