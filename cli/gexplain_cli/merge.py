"""`gexplain merge`: shards of a run, joined. The twin of `merge_shards`."""

from __future__ import annotations

import resource
import shlex
import sys

import click

from gexplain.errors import GexplainError, UsageError
from gexplain_cli.interrupt import InterruptedRunError
from gexplain_cli.memory import keep_freed_memory
from gexplain_cli.options import device_option, use_threads
from gexplain_cli.progress import RUN_STAGES, show_stages
from gexplain_cli.score import only_without_report, summary, warn

_OTHER_FILES = 200  # open besides the lock of each shard: those of Python and torch, the genome, tracks


@click.command(name="merge", short_help="Shards of a run, made on many machines, joined to one.")
@click.argument("shards", nargs=-1, required=True)
@click.option("-o", "--output", metavar="DIR", required=True, help="Directory to write, as score does.")
@click.option("--regions", metavar="BED", help="Where the regions are now, if they were moved or were no file.")
@click.option("--genome", metavar="FASTA", help="Where the genome is now, if it was moved.")
@click.option("-m", "--model", metavar="MODEL", help="Where the model is now, if it was moved.")
@click.option(
    "--report/--no-report", "makes_report", default=True, show_default=True, help="Write report.html, as score does."
)
@click.option("--force", is_flag=True, help="Replace another run's output.")
@device_option
@click.option("-p", "--threads", type=click.IntRange(min=1), metavar="N", help="CPU threads.  [default: all]")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary.")
def command(
    shards: tuple[str, ...],
    output: str,
    regions: str | None,
    genome: str | None,
    model: str | None,
    makes_report: bool,
    force: bool,
    device: str,
    threads: int | None,
    quiet: bool,
) -> None:
    """Join SHARDS, the folders of all shards of one run, to what one run gives: tracks, tables, seqlets and hits,
    report and manifest, in DIR.

    \b
    gexplain score peaks.bed genome.fa -m MODEL -o shards/1 --shard 1/2
    gexplain score peaks.bed genome.fa -m MODEL -o shards/2 --shard 2/2
    gexplain merge shards/1 shards/2 -o OUT
    """  # noqa: D301 - click wants the control character
    allow_open_files(len(shards) + _OTHER_FILES)
    # Torch is loaded here and not before: help is prompt.
    from gexplain.reports import complete_report
    from gexplain.shards import merge_shards

    keep_freed_memory()
    use_threads(threads)
    with show_stages(*RUN_STAGES, quiet=quiet) as (progress, call_progress, quality_progress, report_progress):
        run = None
        try:
            run, loaded = merge_shards(
                shards,
                output,
                regions=regions,
                genome=genome,
                model=model,
                device=device,
                force=force,
                progress=progress,
                call_progress=call_progress,
                command=shlex.join(["gexplain", *sys.argv[1:]]),
            )
            if makes_report:
                complete_report(run, loaded, genome, progress=report_progress, quality_progress=quality_progress)
        except KeyboardInterrupt:
            # That would discard what is done.
            again = shlex.join(["gexplain", *(word for word in sys.argv[1:] if word != "--force")])
            what = "interrupted" if run is None else f"interrupted; {only_without_report(run.path)}"
            raise InterruptedRunError(what, hint=f"to go on: {again}") from None
        except GexplainError as error:
            if run is not None:
                error.detail = "\n".join(filter(None, [error.detail, only_without_report(run.path)]))
            raise
    warn(run.warnings)
    if not quiet:
        click.echo(summary(run.path, run.manifest), err=True)


def allow_open_files(n_files: int) -> None:
    """Have this process hold so many files open at once; UsageError where the system does not let it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited or n_files <= soft:
        return
    if hard != unlimited and n_files > hard:
        raise UsageError(
            f"so many shards need {n_files:,} files open at once, and the system allows {hard:,}",
            hint="raise the limit (ulimit -Hn), or make fewer shards",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (n_files, hard))
