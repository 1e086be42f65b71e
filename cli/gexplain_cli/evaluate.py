"""`gexplain evaluate`: are the explanations right? The twin of `gexplain.evaluate`."""

from __future__ import annotations

import shlex
import sys
from functools import partial
from typing import Any

import click

from gexplain.errors import UsageError, count
from gexplain.evaluation.levels import AGGREGATIONS
from gexplain.inputs import CHOICES
from gexplain.study.settings import METRIC_NAMES, EvaluateSettings
from gexplain_cli.interrupt import InterruptedRunError
from gexplain_cli.memory import keep_freed_memory
from gexplain_cli.options import compute_options, model_option, model_or_default
from gexplain_cli.progress import show_progress

_SHEETS = (".csv", ".tsv", ".csv.gz", ".tsv.gz")


@click.command(name="evaluate", short_help="Are the explanations right? Metrics of every method.")
@click.argument("paths", nargs=-1, required=True, metavar="REGIONS GENOME|CSV")
@model_option
@click.option("--against", metavar="MODEL", help="A second model of the same classes, measured beside: a CNN, say.")
@click.option(
    "-o", "--output", required=True, type=click.Path(), metavar="DIR", help="Directory to write tables and page to."
)
@click.option(
    "--methods", default="", metavar="LIST", help="Methods, comma-separated.  [default: all that a model's kind has]"
)
@click.option("--metrics", default="", metavar="LIST", help=f"Of {', '.join(METRIC_NAMES)}.  [default: all]")
@click.option(
    "--truth",
    type=click.Path(),
    metavar="BED",
    help="Sites that relevance should lie on; of a CSV, its first column is the line of the row.",
)
@click.option(
    "--target",
    metavar="NAME|INDEX|predicted|label",
    help="What to explain; label: the class of the row, or that names the region.  [default: label of a CSV, else as"
    " in gexplain score]",
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
    "--projections",
    default="uniform",
    show_default=True,
    metavar="LIST",
    help=f"From tokens to nucleotides: {', '.join(CHOICES['projection'])}.",
)
@click.option(
    "--aggregations",
    default="sum",
    show_default=True,
    metavar="LIST",
    help=f"From nucleotides to tokens: {', '.join(AGGREGATIONS)}.",
)
@click.option(
    "--draws",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Substitutions a nucleotide curve is of.",
)
@click.option(
    "--substitution",
    type=click.Choice(("random", "shuffled")),
    default="random",
    show_default=True,
    help="By random bases, or those of a dinucleotide-shuffled donor.",
)
@click.option(
    "--sample", type=click.IntRange(min=1), metavar="N", help="At most so many sequences, drawn by the seed."
)
@click.option(
    "--costly",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    metavar="N",
    help="Sanity and robustness are measured on the first N sequences.",
)
@click.option(
    "--mutants",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    metavar="N",
    help="Single substitutions a sequence, for robustness.",
)
@click.option(
    "--shifts",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    metavar="N",
    help="Offsets that the averaged variants of the default method are of; 1 for none.",
)
@click.option(
    "--window",
    type=click.IntRange(min=10),
    metavar="BASES",
    help="Bases around the middle of a region.  [default: what the model was trained on, else 512]",
)
@click.option(
    "--chroms", default="", metavar="LIST", help="Chromosomes to take regions of: comma-separated names or globs."
)
@click.option(
    "--chrom-alias", metavar="chr|FILE", help="Map chromosome names of REGIONS and truth, as in gexplain score."
)
@click.option(
    "--on-bad-line",
    type=click.Choice(CHOICES["on_bad_line"]),
    default="stop",
    show_default=True,
    help="What a malformed line of REGIONS or truth does.",
)
@click.option("--strict", is_flag=True, help="Refuse what would be warned of or skipped.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all that is drawn.")
@click.option("--resume/--no-resume", default=True, show_default=True, help="Go on with an interrupted evaluation.")
@click.option("--force", is_flag=True, help="Replace another evaluation's output; nothing else is ever replaced.")
@partial(compute_options, batch_size=64)
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary.")
def command(
    paths: tuple[str, ...],
    model: str | None,
    against: str | None,
    output: str,
    truth: str | None,
    quiet: bool,
    threads: int | None,
    **options: Any,
) -> None:
    """Measure how far the explanations of a model can be trusted: REGIONS (BED) of GENOME (FASTA), or a CSV of
    sequence,label.

    Every method explains every sequence. Whether what it calls relevant matters to the model (faithfulness), lies on
    known sites (localisation, with --truth), is the same on the other strand, changes with the weights and not with a
    single letter, is told in metrics.tsv (a line for each sequence, method and metric), summary.tsv (means with
    bootstrap intervals and paired tests), plots, and a page, evaluation.html. An interrupted evaluation goes on where
    it stopped when the same command is given again.

    \b
    gexplain evaluate test.csv -m MODEL -o OUT
    gexplain evaluate peaks.bed genome.fa -m MODEL --truth sites.bed -o OUT
    gexplain evaluate test.csv -m human-tf --against human-tf-cnn --sample 200 -o OUT
    """  # noqa: D301 - click wants the control character
    if not output:
        raise UsageError("-o is empty; expected a directory to write", hint="is a shell variable not set?")
    for name in ("methods", "metrics", "projections", "aggregations", "chroms"):
        options[name] = tuple(item.strip() for item in options[name].split(",") if item.strip())
    settings = EvaluateSettings(**options)
    settings.check_truth(truth is not None)
    data, genome = _split(paths)
    # Torch is loaded here and not before: wrong options are told at once.
    from gexplain.study.evaluation import evaluate

    keep_freed_memory()
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    words = sys.argv[1:]
    try:
        with show_progress("sequences", quiet=quiet) as progress:
            evaluation = evaluate(
                data,
                genome,
                model_or_default(model),
                against=against,
                truth=truth,
                output=output,
                settings=settings,
                command=shlex.join(["gexplain", *words]),
                progress=progress,
            )
    except KeyboardInterrupt:
        again = shlex.join(["gexplain", *(word for word in words if word not in ("--force", "--no-resume"))])
        raise InterruptedRunError("interrupted", hint=f"to go on: {again}") from None
    for warning in evaluation.warnings:
        click.echo(f"gexplain: warning: {warning}", err=True)
    if not quiet:
        n = count(evaluation.manifest["sequences"], "sequence")
        click.echo(f"{n} measured; open {evaluation.path / 'evaluation.html'}", err=True)


def _split(paths: tuple[str, ...]) -> tuple[str, str | None]:
    """REGIONS and GENOME, or a CSV and None."""
    if len(paths) == 1 and paths[0].lower().endswith(_SHEETS):
        return paths[0], None
    if len(paths) == 2:
        return paths[0], paths[1]
    raise UsageError(
        f"expected REGIONS and GENOME, or a CSV, found {' '.join(paths)}",
        hint=f"a CSV's name ends with one of {', '.join(_SHEETS)}",
    )
