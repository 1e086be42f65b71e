"""`gexplain workflow`: a run on many machines, by Snakemake. The twin of `gexplain.write_workflow`."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Mapping

import click

from gexplain.errors import InputError, UsageError
from gexplain.inputs import ScoreSettings
from gexplain.models.bundled import DEFAULT_MODEL
from gexplain.workflow.files import write_workflow
from gexplain.workflow.settings import CONFIG, WorkflowSettings, read_workflow
from gexplain_cli import score

# Of `gexplain score`: what the workflow says itself, and what would undo a shard that goes on.
_OWN = {
    "model": "it is the key model",
    "output": "it is the key output",
    "shard": "it is the key shards",
    "threads": "it is the key threads of shard",
    "makes_report": "it is the key report",
    "region": "write regions to a BED",
    "dry_run": "the workflow runs gexplain check first",
    "force": "remove the earlier run, or give another output",
    "resume": "remove the shards to begin anew",
    "quiet": "what jobs say goes to their logs",
}


@click.group(name="workflow", short_help="A run on many machines, by Snakemake.")
def command() -> None:
    """A run on many machines, by Snakemake."""


@command.command(name="init", short_help="Write a Snakemake workflow.")
@click.argument("folder", metavar="DIR")
@click.option("--regions", metavar="BED", help="What to score.  [default: edit config.yaml]")
@click.option("--genome", metavar="FASTA", help="Its genome.  [default: edit config.yaml]")
@click.option(
    "-m",
    "--model",
    metavar="MODEL",
    default=DEFAULT_MODEL,
    show_default=True,
    help="A bundled model's name, a checkpoint directory, or a Hugging Face hub id.",
)
@click.option("-o", "--output", metavar="OUT", help="Directory of the finished run.  [default: out, in DIR]")
@click.option(
    "--shards",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    metavar="N",
    help="Jobs that share the work.",
)
@click.option(
    "--gpus",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    metavar="N",
    help="GPUs that each asks for; 0 for CPUs.",
)
@click.option("--force", is_flag=True, help="Replace the files of an earlier workflow.")
@click.option("-q", "--quiet", is_flag=True, help="No summary.")
def init(
    folder: str,
    regions: str | None,
    genome: str | None,
    model: str,
    output: str | None,
    shards: int,
    gpus: int,
    force: bool,
    quiet: bool,
) -> None:
    """Write a Snakemake workflow into DIR: a Snakefile, config.yaml, and profiles for this machine, Slurm and
    Kubernetes.

    It checks the input, reads the windows in shards, gives a failed one another try, in which it goes on where it
    stopped, and merges all to what one run gives. Needs Snakemake: pip install 'gexplain[workflow]'.

    \b
    gexplain workflow init flow --regions peaks.bed --genome genome.fa -m MODEL --shards 16
    cd flow
    snakemake --workflow-profile profiles/slurm
    """  # noqa: D301 - click wants the control character
    config = write_workflow(
        folder,
        regions=regions,
        genome=genome,
        model=model,
        output=output,
        n_shards=shards,
        n_gpus=gpus,
        force=force,
    )
    if quiet:
        return
    unsaid = [f"{key}:" for key, value in (("regions", regions), ("genome", genome)) if value is None]
    edit = f"say {' and '.join(unsaid)} in {config}" if unsaid else f"look at {config}: threads, memory and time"
    lines = [
        f"a workflow of {shards:,} shards is in {config.parent}; next:",
        f"    {edit}",
        f"    cd {shlex.quote(str(config.parent))}",
        "    snakemake --workflow-profile profiles/local --dry-run    # what would be done",
        "    snakemake --workflow-profile profiles/local              # here; or profiles/slurm, kubernetes",
    ]
    if importlib.util.find_spec("snakemake") is None:
        lines.insert(1, "    pip install 'gexplain[workflow]'                         # Snakemake, which is not here")
    click.echo("\n".join(lines), err=True)


def read_config(config: Mapping[str, object]) -> WorkflowSettings:
    """The settings of a workflow; its Snakefile calls this.

    Raises what `read_workflow` raises, and InputError for options that `gexplain score` would refuse.
    """
    settings = read_workflow(config)
    options = list(settings.options)
    given = [settings.regions, settings.genome, "-m", settings.model, "-o", settings.work, *options]
    try:
        named: list[click.Parameter] = [one for one in score.command.params if isinstance(one, click.Option)]
        alone = click.Command("score", params=named, add_help_option=False)
        _, others, order = alone.make_parser(click.Context(alone)).parse_args(list(options))
        for word in others:
            raise _wrong(options, f"{word} has no place there", "regions and genome are keys")
        for one in order:
            if one.name in _OWN:
                raise _wrong(options, f"{one.opts[-1]} has no place there", _OWN[one.name])
        with score.command.make_context("score", given) as context:
            params = {name: value for name, value in context.params.items() if name not in {*_OWN, "paths"}}
            score.refuse_what_is_ignored(
                is_stream=False, has_calls=params["null_regions"] != 0, has_hits=params["motifs"] != "none"
            )
            device = score.devices_named(params, streams=False, is_shard=True)
            if not re.fullmatch(r"auto|(cpu|cuda)(:\d+)?", device):  # where jobs run it is looked for, and not here
                raise _wrong(options, f"no device {device!r}", "auto, cpu, cuda or cuda:N")
            chroms, formats = (score.listed(params.pop(name)) for name in ("chroms", "formats"))
            ScoreSettings(chroms=chroms, formats=formats, **params)  # type: ignore[arg-type]
    except click.UsageError as error:
        raise _wrong(options, error.format_message(), "see gexplain score --help") from error
    except UsageError as error:
        raise _wrong(options, error.message, error.hint) from error
    return settings


def _wrong(options: list[str], what: str, hint: str) -> InputError:
    return InputError(f"{CONFIG}: options: {what}", detail=shlex.join(options), hint=hint)
