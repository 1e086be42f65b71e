"""Options and arguments that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from typing import Any, Literal, TypeVar

import click

from gexplain.errors import UsageError
from gexplain.inputs import CHOICES
from gexplain.models.bundled import DEFAULT_MODEL, describe_bundled

Command = TypeVar("Command", bound=Callable[..., Any])


device_option = click.option(
    "-d", "--device", default="auto", show_default=True, metavar="NAME", help="auto, cpu, cuda or cuda:N."
)


devices_option = click.option(
    "-d",
    "--device",
    default="auto",
    show_default=True,
    metavar="NAME[,NAME...]",
    help="auto, cpu, cuda or cuda:N; several, or all (GPUs), each read parts of the run in a process of its own.",
)


model_option = click.option(
    "-m",
    "--model",
    metavar="MODEL",
    help="A bundled model's name, a checkpoint directory, or a Hugging Face hub id; `gexplain model` lists the names."
    f"  [default: {DEFAULT_MODEL}, bundled]",
)


motifs_option = click.option(
    "--motifs",
    metavar="MEME|jaspar:GROUP",
    help="Motifs to look for: a MEME file, or JASPAR's of a group (vertebrates, fungi, ...; jaspar2022:GROUP for"
    " another release).  [default: those of the model's organisms, else jaspar:vertebrates]",
)

match_p_option = click.option(
    "--match-p",
    type=click.FloatRange(min=0, min_open=True, max=1),
    default=1e-4,
    show_default=True,
    metavar="P",
    help="Motif matches below this p-value are looked at (FIMO).",
)


def use_threads(n_threads: int | None) -> None:
    """Have torch, numba and the tokenizer use so many threads; all there are, if None. Loads torch.

    numba and the tokenizer read their number when they begin.
    """
    if n_threads is None:
        return
    for variable in ("NUMBA_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[variable] = str(n_threads)
    import torch

    torch.set_num_threads(n_threads)


def model_or_default(model: str | None) -> str:
    """The model asked for, or the default one, which is then told on standard error."""
    if model is not None:
        return model
    default = describe_bundled(DEFAULT_MODEL)
    click.echo(
        f"gexplain: no -m, so {default.name}: bundled {default.kind}, trained on windows of {default.window} bases,"
        f" classes {', '.join(default.classes)}; -m MODEL gives another",
        err=True,
    )
    return default.name


def region_options(command: Command) -> Command:
    """REGIONS and GENOME, and what chooses among regions."""
    for decorate in reversed(
        (
            click.argument("paths", nargs=-1, required=True, metavar="[REGIONS] GENOME"),
            click.option(
                "-r",
                "--region",
                multiple=True,
                metavar="CHROM:FIRST-LAST",
                help="A region instead of REGIONS, 1-based and inclusive; repeatable. A name alone is a chromosome.",
            ),
            click.option(
                "--chroms", default="", metavar="LIST", help="Chromosomes to score: comma-separated names or globs."
            ),
            click.option("--blacklist", type=click.Path(), metavar="BED", help="Skip regions that overlap these."),
            click.option(
                "--chrom-alias",
                metavar="chr|FILE",
                help='Map the BED\'s chromosome names: "chr" adds or drops that prefix; or a file of aliases.',
            ),
            click.option(
                "--on-bad-line",
                type=click.Choice(CHOICES["on_bad_line"]),
                default="stop",
                show_default=True,
                help="What a malformed BED line does.",
            ),
            click.option("--strict", is_flag=True, help="Refuse what would be warned of or skipped."),
        )
    ):
        command = decorate(command)
    return command


def _batch_size(text: str) -> int | str:
    if text != "auto" and not (text.isdecimal() and int(text) >= 1):
        raise click.BadParameter(f"{text!r}: expected a number from 1, or auto")
    return text if text == "auto" else int(text)


def compute_options(
    command: Command,
    *,
    device: Callable[[Command], Command] = device_option,
    batch_size: int | Literal["auto"] = 16,
) -> Command:
    """Where and how the model runs. device: the option; batch_size: the default."""
    is_auto = batch_size == "auto"
    for decorate in reversed(
        (
            device,
            click.option(
                "--dtype",
                type=click.Choice(CHOICES["dtype"]),
                default="float32",
                show_default=True,
                help="Precision of the model's matrix products.",
            ),
            click.option(
                "-b",
                "--batch-size",
                type=_batch_size if is_auto else click.IntRange(min=1),
                default=batch_size,
                show_default=True,
                metavar="N|auto" if is_auto else "N",
                help="Sequences at once; one on both strands is two."
                + (" auto: 16 on a CPU, fewer if long; on a GPU, what keeps it busy and fits." if is_auto else ""),
            ),
            click.option(
                "-p", "--threads", type=click.IntRange(min=1), metavar="N", help="CPU threads.  [default: all]"
            ),
        )
    ):
        command = decorate(command)
    return command


def split_paths(paths: tuple[str, ...], region: tuple[str, ...]) -> tuple[str | tuple[str, ...], str]:
    """The regions (a path, or the -r regions) and the genome; UsageError where there are too few or many."""
    if len(paths) == 1 + (not region):
        return (region or paths[0]), paths[-1]
    if region:
        raise UsageError(
            f"-r takes the place of REGIONS; expected GENOME alone, found {' '.join(paths)}",
            hint="gexplain score -r chr1:1,001-2,000 genome.fa",
        )
    raise UsageError(
        f"expected REGIONS and GENOME, found {' '.join(paths)}",
        hint="gexplain score regions.bed genome.fa; or -r CHROM:FIRST-LAST in place of REGIONS",
    )


def refuse_ignored(names: Collection[str], why: str) -> None:
    """Refuse those of these parameters that are on the command line, where another one leaves them without meaning.

    why: goes on "--option has no meaning ...".
    """
    context = click.get_current_context()
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name in names and source is click.core.ParameterSource.COMMANDLINE:
            option = "/".join([*parameter.opts, *parameter.secondary_opts])
            raise UsageError(f"{option} has no meaning {why}", hint=f"drop {option}")
