"""`gexplain check`: what `gexplain score` would do, and what it would take. The twin of `gexplain.estimate`."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Any

import click

from gexplain.errors import UsageError, count
from gexplain.inputs import ScoreSettings, open_inputs, parse_shard
from gexplain_cli import score
from gexplain_cli.memory import keep_freed_memory
from gexplain_cli.options import model_or_default, split_paths, use_threads

if TYPE_CHECKING:
    from gexplain.estimate import Estimate

HELP = """Say what `gexplain score` would do with the same options, and what it would take; write nothing.

    Regions, genome, model, motifs, target and DIR are checked as `gexplain score` checks them, regions and windows
    counted, and a few windows read on the device: in all, 8 seconds or so. Errors and exit codes are those of
    `gexplain score`. Told are the seconds of each stage, memory, and what DIR takes on the disk; seconds are those of
    the machine as it is now. An index that the FASTA lacks is made, as always.

    \b
    gexplain check peaks.bed genome.fa -m MODEL
    gexplain check peaks.bed genome.fa -m MODEL -o OUT --json
    gexplain check peaks.bed genome.fa -m MODEL --shard 1/8
    """


def tell_estimate(
    paths: tuple[str, ...],
    region: tuple[str, ...],
    model: str | None,
    output: str | None,
    threads: int | None,
    chroms: str,
    formats: str,
    makes_report: bool,
    shard: str | None,
    as_json: bool = False,
    **options: Any,
) -> None:
    """Print the estimate of the run with these options of `gexplain score`."""
    began = time.perf_counter()
    if output == "":
        raise UsageError("-o is empty; expected a directory", hint="is a shell variable not set?")
    streams = output == "-"
    score.refuse_what_is_ignored(
        is_stream=streams, has_calls=options["null_regions"] != 0, has_hits=options["motifs"] != "none"
    )
    names = score.devices_named(options, streams=streams, is_shard=shard is not None)
    settings = ScoreSettings(chroms=score.listed(chroms), formats=score.listed(formats), **options)  # type: ignore[arg-type]
    share = None if shard is None else parse_shard(shard)
    source, genome = split_paths(paths, region)
    with open_inputs(source, genome, settings) as inputs:
        # Torch is loaded here and not before: bad input is told at once.
        from gexplain.estimate import estimate_run
        from gexplain.models.model import choose_devices, load_model

        keep_freed_memory()
        use_threads(threads)
        score.warn(inputs.warnings)
        devices = choose_devices(names)
        loaded = load_model(model_or_default(model), device=str(devices[0]), dtype=settings.dtype or "float32")
        estimate = estimate_run(
            inputs,
            loaded,
            output=None if streams else output,
            settings=settings,
            shard=share,
            n_devices=len(set(devices)),
            streams=streams,
            makes_report=makes_report,
            start_s=time.perf_counter() - began,
        )
    score.warn(estimate.warnings[len(inputs.warnings) :])
    click.echo(json.dumps(estimate.as_json(), indent=1) if as_json else "\n".join(_in_words(estimate)))


def _in_words(one: Estimate) -> list[str]:
    skipped = {reason: n for reason, n in one.regions.items() if reason != "scored" and n}
    share = "" if one.shard is None else f", the share of shard {one.shard[0]} of {one.shard[1]}"
    lines = {
        "regions": f"{one.regions['scored']:,} of {count(sum(one.regions.values()), 'region')} to be scored",
        **{f"  {reason}": f"{n:,} skipped" for reason, n in skipped.items()},
        "windows": f"{one.windows:,} after merging{share}",
        "null": _null(one),
        "model": f"{one.model} on {one.device}, {one.method} of {', '.join(one.targets)}; {one.tracks} tracks",
    }
    if one.state is not None:
        state = "unknown" if one.windows_done is None else one.state
        lines["directory"] = _STATES[state].format(done=one.windows_done, windows=one.windows)
    if one.timed_windows:
        lines["rate"] = (
            f"about {_time(1_000 * one.window_s)} per 1,000 windows, from {one.timed_windows:,} that were read here"
        )
    stages = ", ".join(f"{stage} {_time(seconds)}" for stage, seconds in one.seconds.items())
    lines["time"] = f"about {_time(one.total_s)}: {stages}"
    lines["memory"] = f"about {_size(one.memory_bytes)}{_free(one.free_memory_bytes)}"
    if one.device_memory_bytes is not None:
        lines["memory of the device"] = f"about {_size(one.device_memory_bytes)}"
    if one.output_bytes or one.store_bytes:
        lines["disk"] = _disk(one) + _free(one.free_disk_bytes)
    width = max(map(len, lines))
    return [f"{name:<{width}}  {text}" for name, text in lines.items()]


def _null(one: Estimate) -> str:
    if not one.null_regions:
        return "none"
    if one.null_is_kept:
        return f"{count(one.null_regions, 'shuffled region')}; kept from the run that is there"
    here = "" if one.shard is None else " here"
    return f"{count(one.null_regions, 'shuffled region')}, {count(one.null_windows, 'window')}{here}"


def _disk(one: Estimate) -> str:
    if one.shard is not None:
        return f"about {_size(one.store_bytes)}, until the shards are merged"
    return f"about {_size(one.output_bytes)}, and {_size(one.store_bytes)} while the run lasts"


_STATES = {
    "new": "a new run",
    "finished": "done: this very run is there, finished",
    "resumable": "an interrupted run, to be gone on with: {done:,} of {windows:,} windows are done",
    "unknown": "an interrupted run, whose results are too large to look into: what is done is told as it goes on",
}


def _time(seconds: float) -> str:
    """A time in two digits: it is known no better."""
    for unit, length, most in (("s", 1, 120), ("min", 60, 7_200), ("h", 3_600, 172_800), ("days", 86_400, math.inf)):
        if seconds < most:
            return f"{_two_digits(seconds / length)} {unit}"
    raise ValueError(seconds)


def _size(n_bytes: int) -> str:
    return f"{_two_digits(n_bytes / 1e9)} GB" if n_bytes >= 1e9 else f"{_two_digits(n_bytes / 1e6)} MB"


def _two_digits(value: float) -> str:
    return f"{float(f'{value:.2g}'):,.{0 if value >= 10 else 1}f}"


def _free(n_bytes: int | None) -> str:
    return "" if n_bytes is None else f"; {_size(n_bytes)} are free"


_OF_SCORE_ALONE = ("output", "quiet", "dry_run")

command = click.Command(
    name="check",
    short_help="What a run would do, and what it would take.",
    help=HELP,
    callback=tell_estimate,
    params=[
        *(one for one in score.command.params if one.name not in _OF_SCORE_ALONE),
        click.Option(
            ["-o", "--output"], metavar="DIR", help="Directory that the run would write; - is standard output."
        ),
        click.Option(["--json", "as_json"], is_flag=True, help="For programs."),
    ],
)
