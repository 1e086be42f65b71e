"""What `seqlets` and `hits` share: where relevance comes from, and where the table goes."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from gexplain.errors import UsageError
from gexplain_cli.progress import show_progress

if TYPE_CHECKING:
    from gexplain.calls import Called, Progress
    from gexplain.genome.bed_table import BedSchema
    from gexplain.track_nulls import Attributions

Command = TypeVar("Command", bound=Callable[..., Any])

q_option = click.option(
    "--q",
    type=click.FloatRange(min=0, min_open=True, max=1),
    default=0.05,
    show_default=True,
    metavar="Q",
    help="Write those of at most this q-value; 1 writes all that were looked at.",
)


def attribution_options(command: Command) -> Command:
    """SOURCE and GENOME, what chooses within them, and the output."""
    for decorate in reversed(
        (
            click.argument("source"),
            click.argument("genome", required=False),
            click.option(
                "-o",
                "--output",
                default="-",
                show_default=True,
                metavar="FILE",
                help="BED to write, with its columns in autoSql beside it (.as); .bed.gz is compressed and indexed; -"
                " is standard output.",
            ),
            click.option(
                "--track",
                "tracks",
                multiple=True,
                metavar="NAME",
                help="Relevance track of a run; repeatable.  [default: all]",
            ),
            click.option(
                "--null",
                nargs=2,
                metavar="TRACK FASTA",
                help="What the same method gives on shuffled sequence: its track and that sequence.",
            ),
            click.option(
                "--regions",
                metavar="BED",
                help="Regions of a track to look at, and to name: the rest of it counts for nothing.  [default: its"
                " scored stretches]",
            ),
            click.option(
                "--seed",
                type=click.IntRange(min=0),
                default=0,
                show_default=True,
                help="Of the null that a track without one is given.",
            ),
            click.option("-q", "--quiet", is_flag=True, help="No progress and no summary."),
        )
    ):
        command = decorate(command)
    return command


class Table:
    """Where the table goes: standard output, or a file that appears when it is whole, with its .as and its index."""

    def __init__(self, output: str, chroms: dict[str, int], folder: Path, *, quiet: bool) -> None:
        self._output, self._chroms, self._folder, self._quiet = output, chroms, folder, quiet
        self._schema: BedSchema | None = None

    def stream(self, schema: BedSchema) -> TextIO | Path:
        """What the calls are written to."""
        self._schema = schema
        return sys.stdout if self._output == "-" else self._folder / "table.bed"

    def publish(self) -> None:
        """Put a finished table where it was asked for."""
        from gexplain.genome.bed_table import index_bed, write_autosql

        if self._output == "-" or self._schema is None:
            return
        target = Path(self._output)
        written = self._folder / "table.bed"
        moves = {written: target}
        if target.suffix == ".gz":
            compressed = index_bed(written, self._chroms)
            # An index of another kind, left from before, would be read with the new file.
            for old in (".tbi", ".csi"):
                target.with_name(target.name + old).unlink(missing_ok=True)
            moves = {
                path: target.with_name(target.name + path.name.removeprefix(compressed.name))
                for path in self._folder.glob(f"{compressed.name}*")
            }
        for path, place in moves.items():
            path.replace(place)
        write_autosql(target.with_name(target.name.removesuffix(".gz").removesuffix(".bed") + ".as"), self._schema)

    def tell(self, called: Called, summary: str) -> None:
        """Say on standard error what was written, and what is to be told of it."""
        for warning in called.warnings:
            click.echo(f"gexplain: warning: {warning}", err=True)
        if not self._quiet:
            click.echo(summary + ("" if self._output == "-" else f", in {self._output}"), err=True)


def check_place(path: str, option: str) -> None:
    """Refuse a path where no file can be put; it would else be told when all is computed."""
    if not path:
        raise UsageError(f"{option} is empty; expected a file to write", hint="is a shell variable not set?")
    target = Path(path)
    if target.exists() and not target.is_file():
        found = "a folder" if target.is_dir() else "a device or a pipe"
        raise UsageError(f"{option} {path} is {found}; expected a file to write", hint="give the path of a file")
    folder = target.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {folder}", hint=f"make it, or give another {option}")


@contextmanager
def calling(
    what: str,
    *,
    source: str,
    genome: str | None,
    output: str,
    tracks: tuple[str, ...],
    null: tuple[str, str] | None,
    regions: str | None,
    seed: int,
    quiet: bool,
) -> Iterator[tuple[Attributions, Table, Progress | None]]:
    """The attributions, the table and the progress of a command that calls `what`."""
    if output != "-":
        check_place(output, "-o")
    from gexplain.attributions import open_attributions

    # Beside the target, so that what is finished can be moved into place.
    beside = None if output == "-" else Path(output).absolute().parent
    with (
        tempfile.TemporaryDirectory(prefix=".gexplain-", dir=beside) as temporary,
        open_attributions(
            sys.stdin.buffer if source == "-" else source,
            genome,
            tracks=tracks,
            null=null,
            regions=regions,
            seed=seed,
        ) as attributions,
        show_progress("bases", quiet=quiet) as progress,
    ):
        if attributions.is_self_compared:
            click.echo(
                f"gexplain: warning: no --null, so {what} are told from the track itself: they are surer with"
                " --null TRACK FASTA, what the same method gives on shuffled sequence",
                err=True,
            )
        table = Table(output, attributions.genome.chroms, Path(temporary), quiet=quiet)
        yield attributions, table, progress
        table.publish()
