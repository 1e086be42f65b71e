"""The `gexplain` command: its sub-commands, loaded when they are asked for, and how errors leave the program.

Exit codes: 0 done, 1 the run failed, 2 usage, 3 bad input, 4 regions skipped under --strict, 130 interrupted,
141 the reader of standard output closed it, 143 terminated (SIGTERM, as batch systems send it).
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from pathlib import Path

import click

import gexplain
from gexplain.errors import GexplainError, RunError, UsageError
from gexplain_cli.exits import INTERRUPTED, READER_GONE, TERMINATED

# Name to (module, one line of help); a module is imported when its command is called, torch with it.
COMMANDS = {
    "score": ("gexplain_cli.score", "Relevance tracks of regions of a genome."),
    "check": ("gexplain_cli.check", "What a run would do, and what it would take."),
    "report": ("gexplain_cli.report", "The page of a finished run, made again."),
    "view": ("gexplain_cli.view", "A finished run's report and genome browser, on this machine."),
    "plot": ("gexplain_cli.plot", "A figure of one place, for a paper or a talk."),
    "merge": ("gexplain_cli.merge", "Shards of a run, made on many machines, joined to one."),
    "workflow": ("gexplain_cli.workflow", "A run on many machines, by Snakemake."),
    "seqlets": ("gexplain_cli.seqlets", "Spans of high and low relevance, as BED."),
    "hits": ("gexplain_cli.hits", "Motif matches that the model uses, as BED."),
    "evaluate": ("gexplain_cli.evaluate", "Are the explanations right? Metrics of every method."),
    "train": ("gexplain_cli.train", "A classifier from labelled sequences."),
    "model": ("gexplain_cli.model", "What a checkpoint is, and whether it works; or the bundled models."),
    "export": ("gexplain_cli.export", "A finished run in the formats of other programs."),
    "demo": ("gexplain_cli.demo", "The bundled genome scored: are planted sites found?"),
}


class ReaderGoneError(Exception):
    """The reader of standard output closed it."""


class _Commands(click.Group):
    """The sub-commands, by name and lazily."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:  # click would exit with 1
            raise ReaderGoneError from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.command(
    cls=_Commands,
    name="gexplain",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(gexplain.__version__, "-V", "--version", prog_name="gexplain")
def cli() -> None:
    """Why did the model say promoter? Base-pair relevance tracks from a fine-tuned DNABERT-2."""


def main() -> None:
    """Run the command line; every error leaves as one message and one exit code."""
    # Python has None for a stream that its caller closed (>&-).
    sys.stdin = sys.stdin or Path(os.devnull).open()  # noqa: SIM115 - open as long as the process
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115
    sys.exit(_run_until_terminated())


def _run_until_terminated() -> int:
    """SIGTERM is told, and what is done kept, as with Ctrl-C."""
    is_terminated = False

    def stop(*_: object) -> None:
        nonlocal is_terminated
        is_terminated = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        code = _run()
    finally:
        signal.signal(signal.SIGTERM, before)
    return TERMINATED if is_terminated and code == INTERRUPTED else code


def _run() -> int:
    try:
        # Not click's standalone mode: it would exit with 1 where the reader closes the pipe.
        code = cli.main(prog_name="gexplain", standalone_mode=False)
        sys.stdout.flush()
    except GexplainError as error:
        return _tell(str(error), error.exit_code)
    except click.UsageError as error:
        error.show()
        return UsageError.exit_code
    except click.ClickException as error:
        return _tell(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _tell("interrupted", INTERRUPTED)
    except (ReaderGoneError, BrokenPipeError):
        _drop_output()
        return READER_GONE
    except MemoryError:
        mend = "take smaller batches or windows, or a machine with more; what can be resumed then goes on"
        return _tell(str(RunError("out of memory", hint=mend)), RunError.exit_code)
    except OSError as error:
        _drop_output()
        mend = "make room on the disk, or give a place that can be written"
        return _tell(str(RunError(f"the system refused: {error}", hint=mend)), RunError.exit_code)
    return code if isinstance(code, int) else 0


def _drop_output() -> None:
    """What is still buffered has nowhere to go; without this, Python complains at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell(message: str, code: int) -> int:
    click.echo(f"gexplain: error: {message}", err=True)
    return code
