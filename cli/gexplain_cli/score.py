"""`gexplain score`: relevance tracks of regions of a genome. The twin of `gexplain.score`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from gexplain.errors import GexplainError, UsageError, count
from gexplain.inputs import CHOICES, ScoreSettings, open_inputs, parse_shard
from gexplain.run_folder import REPORT
from gexplain_cli.interrupt import InterruptedRunError
from gexplain_cli.memory import keep_freed_memory
from gexplain_cli.options import (
    compute_options,
    devices_option,
    match_p_option,
    model_option,
    model_or_default,
    motifs_option,
    refuse_ignored,
    region_options,
    split_paths,
    use_threads,
)
from gexplain_cli.progress import RUN_STAGES, show_stages
from gexplain_cli.report import in_pictures


@click.command(name="score", short_help="Relevance tracks of regions of a genome.")
@region_options
@model_option
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    required=True,
    help="Directory to write; - streams the one relevance track to standard output as bedGraph.",
)
@click.option(
    "--target",
    metavar="NAME|INDEX|predicted|all",
    help="What to explain.  [default: the second class of a two-class model, else predicted]",
)
@click.option(
    "--explain",
    "explained",
    type=click.Choice(CHOICES["explained"]),
    default="logit",
    show_default=True,
    help="The target's logit, or its margin over the mean of the others.",
)
@click.option(
    "--method",
    type=click.Choice(CHOICES["method"]),
    default="auto",
    show_default=True,
    help="How to explain; auto is attnlrp for DNABERT-2 and deeplift for a CNN. cplrp, the attention methods and "
    "occlusion-token are for DNABERT-2 only, deeplift-shap and lrp for a CNN, the others for both. ism reads three "
    "sequences a base.",
)
@click.option(
    "--projection",
    type=click.Choice(CHOICES["projection"]),
    default="uniform",
    show_default=True,
    help="A token's relevance is shared by its bases, or given to each; the same for a CNN.",
)
@click.option(
    "--strand",
    type=click.Choice(CHOICES["strand"]),
    default="both",
    show_default=True,
    help="Strands to read: both averaged, one, or each region's own (a track per strand).",
)
@click.option(
    "--window",
    type=click.IntRange(min=1),
    metavar="BASES",
    help="Bases the model reads at once.  [default: what it was trained on, else 512]",
)
@click.option(
    "--stride",
    type=click.IntRange(min=1),
    metavar="BASES",
    help="Bases between windows of a long region.  [default: half a window]",
)
@click.option(
    "--shifts",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Read each window at N offsets, one base apart, and average: changes little for DNABERT-2.",
)
@click.option(
    "--weight",
    type=click.Choice(CHOICES["weight"]),
    default="none",
    show_default=True,
    help="Scale each window's relevance by the target's predicted probability.",
)
@click.option(
    "--format",
    "formats",
    default="bigwig",
    show_default=True,
    metavar="LIST",
    help="Track formats, comma-separated: bigwig, bedgraph, npz.",
)
@click.option(
    "--null-regions",
    type=click.IntRange(min=0),
    metavar="N",
    help="Shuffled pieces of the regions, read by the same model, that seqlets and hits are told from; 0: write"
    " neither.  [default: as many windows as the run's, 100 to 5,000]",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the shuffles.")
@motifs_option
@match_p_option
@click.option(
    "--q",
    type=click.FloatRange(min=0, min_open=True, max=1),
    default=0.05,
    show_default=True,
    metavar="Q",
    help="Write seqlets and motif hits of at most this q-value.",
)
@click.option(
    "--report/--no-report",
    "makes_report",
    default=True,
    show_default=True,
    help="Write report.html, the run in pictures, and measure the quality of its tracks on a sample of windows.",
)
@click.option("--tabix", is_flag=True, help="Write seqlets and hits also as .bed.gz with an index.")
@click.option(
    "--shard",
    metavar="I/N",
    help="Read one of N shares of the windows, into a DIR of its own; `gexplain merge` joins them to one run.",
)
@click.option("--dry-run", is_flag=True, help="Write nothing; say what the run would take, as `gexplain check` does.")
@click.option("--resume/--no-resume", default=True, show_default=True, help="Go on with an interrupted run.")
@click.option("--force", is_flag=True, help="Replace another run's output.")
@partial(compute_options, device=devices_option, batch_size="auto")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary.")
def command(
    paths: tuple[str, ...],
    region: tuple[str, ...],
    model: str | None,
    output: str,
    quiet: bool,
    threads: int | None,
    chroms: str,
    formats: str,
    makes_report: bool,
    shard: str | None,
    dry_run: bool,
    **options: Any,
) -> None:
    """Explain a model's prediction over REGIONS (BED or narrowPeak, plain or gzip; - is standard input) of GENOME
    (indexed FASTA), base by base.

    Writes relevance, prediction and coverage tracks, seqlets and motif hits told from a shuffled null, a table of
    regions, what IGV and the UCSC browser open, a report and a manifest into DIR. An interrupted run goes on where it
    stopped when the same command is given again.

    \b
    gexplain score peaks.bed genome.fa -o OUT
    gexplain score peaks.bed genome.fa -m MODEL -o OUT
    gexplain score -r chr1:1,001-2,000 genome.fa -m MODEL -o OUT
    bedtools slop ... | gexplain score - genome.fa -m MODEL -o - | sort -k4,4gr | head
    """  # noqa: D301 - click wants the control character
    if not output:
        raise UsageError("-o is empty; expected a directory to write, or -", hint="is a shell variable not set?")
    if dry_run:
        from gexplain_cli.check import tell_estimate

        tell_estimate(paths, region, model, output, threads, chroms, formats, makes_report, shard, **options)
        return
    refuse_what_is_ignored(
        is_stream=output == "-", has_calls=options["null_regions"] != 0, has_hits=options["motifs"] != "none"
    )
    names = devices_named(options, streams=output == "-", is_shard=shard is not None)
    settings = ScoreSettings(chroms=listed(chroms), formats=listed(formats), **options)  # type: ignore[arg-type]
    share = None if shard is None else parse_shard(shard)
    source, genome = split_paths(paths, region)
    with open_inputs(source, genome, settings) as inputs:
        # Torch is loaded here and not before: bad input is told at once.
        from gexplain import runs
        from gexplain.devices import score_on_devices
        from gexplain.models.model import choose_devices, load_model

        keep_freed_memory()
        use_threads(threads)
        warn(inputs.warnings)
        told = len(inputs.warnings)
        devices = choose_devices(names)
        loaded = load_model(model_or_default(model), device=str(devices[0]), dtype=settings.dtype or "float32")
        with show_stages(*RUN_STAGES, quiet=quiet) as (progress, call_progress, quality_progress, report_progress):
            if output == "-":
                warnings = runs.stream_bedgraph(inputs, loaded, sys.stdout, settings=settings, progress=progress)
                warn(warnings[told:])
                return
            run = None
            try:
                if share is not None:
                    from gexplain.shards import score_shard

                    done = score_shard(inputs, loaded, share, output=output, settings=settings, progress=progress)
                    if not quiet:
                        joined = "gexplain merge SHARDS... -o OUT"
                        click.echo(f"shard {shard} is done: {done.folder}; when all are: {joined}", err=True)
                    return
                on_devices = partial(score_on_devices, devices=devices, prepare=keep_freed_memory)
                run = (on_devices if len(devices) > 1 else runs.score_inputs)(
                    inputs,
                    loaded,
                    output=output,
                    settings=settings,
                    progress=progress,
                    call_progress=call_progress,
                    command=shlex.join(["gexplain", *sys.argv[1:]]),
                )
                if makes_report:
                    from gexplain.reports import complete_report

                    complete_report(
                        run, loaded, inputs.genome, progress=report_progress, quality_progress=quality_progress
                    )
            except KeyboardInterrupt:
                # Those two would discard what is done.
                words = [word for word in sys.argv[1:] if word not in ("--force", "--no-resume")]
                again = shlex.join(["gexplain", *words])
                what = "interrupted" if run is None else f"interrupted; {only_without_report(run.path)}"
                raise InterruptedRunError(what, hint=f"to go on, the same regions again: {again}") from None
            except GexplainError as error:
                if run is not None:
                    error.detail = "\n".join(filter(None, [error.detail, only_without_report(run.path)]))
                raise
    warn(run.warnings[told:])
    if not quiet:
        click.echo(summary(run.path, run.manifest), err=True)


def refuse_what_is_ignored(*, is_stream: bool, has_calls: bool, has_hits: bool) -> None:
    """Refuse options on the command line that another one leaves without meaning."""
    of_hits = ["match_p"]
    of_calls = ["motifs", "q", *of_hits, "tabix", "seed"]
    if is_stream:
        ignored, why = [*_OF_A_FOLDER, *of_calls], "-o -, which streams bedGraph"
    elif not has_calls:
        ignored, why = of_calls, "--null-regions 0, which calls neither seqlets nor hits"
    elif not has_hits:
        ignored, why = of_hits, "--motifs none, which calls seqlets alone"
    else:
        return
    refuse_ignored(ignored, f"with {why}")


def devices_named(options: dict[str, Any], *, streams: bool, is_shard: bool) -> str:
    """The devices that are named; taken out of the options where they are several, which settings are not of."""
    names: str = options["device"]
    if names != "all" and "," not in names:
        return names
    if streams or is_shard:
        what = "-o -" if streams else "--shard"
        raise UsageError(f"--device {names}: {what} is read by one device", hint="name one, or write a whole run")
    options["device"] = None
    return names


# Parameters of what is in a run's folder, beside its calls.
_OF_A_FOLDER = ["formats", "force", "resume", "null_regions", "makes_report", "shard"]


def only_without_report(path: Path) -> str:
    """What is to be told of a run that was finished before something went wrong."""
    return f"{path} is a finished run, and lacks its report alone"


def warn(warnings: Sequence[str]) -> None:
    """Tell warnings on standard error."""
    for warning in warnings:
        click.echo(f"gexplain: warning: {warning}", err=True)


def summary(path: Path, manifest: Mapping[str, Any]) -> str:
    """What a finished run is, in a few lines."""
    regions, windows = manifest["regions"], manifest["windows"]
    tracks = [name for name, track in manifest["tracks"].items() if track["kind"] == "relevance"]
    lines = [
        f"{regions['scored']:,} of {count(regions['lines'], 'region')} scored, in {count(windows['read'], 'window')}",
        f"tracks of relevance: {', '.join(tracks)}",
        *_called(manifest.get("calls")),
        f"every region is a line of {path / 'regions.tsv'}; IGV opens {path / 'igv_session.xml'}",
        *manifest["notes"],
        *([in_pictures(path)] if (path / REPORT).exists() else []),
    ]
    return "\n".join(lines)


def _called(calls: Mapping[str, Any] | None) -> list[str]:
    if calls is None:
        return []
    words = [count(sum(calls["seqlets"].values()), "seqlet")]
    if "primary hits" in calls:
        words.append(f"{count(sum(calls['primary hits'].values()), 'primary hit')} of {calls['motifs']['source']}")
    return [f"{' and '.join(words)}, told from {count(calls['null']['regions'], 'shuffled region')}"]


def listed(text: str) -> tuple[str, ...]:
    """The items of a comma-separated list."""
    return tuple(item.strip() for item in text.split(",") if item.strip())
