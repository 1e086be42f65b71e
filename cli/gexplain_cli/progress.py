"""Progress on standard error: a bar on a terminal, a line every 30 seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import click

EVERY_S = 30.0
RUN_STAGES = (
    "windows",
    "bases looked at for seqlets and hits",
    "windows sampled for quality",
    "regions in the report",
)
"""What a run counts, one after another."""


@contextmanager
def show_progress(what: str, *, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A function to call with (done, total), or None if nothing is to be shown."""
    with show_stages(what, quiet=quiet) as (update,):
        yield update


@contextmanager
def show_stages(*whats: str, quiet: bool) -> Iterator[list[Callable[[int, int], None] | None]]:
    """`show_progress` of stages that follow one another: a function for each."""
    if quiet:
        yield [None] * len(whats)
    elif sys.stderr.isatty():
        with _bars(whats) as updates:
            yield [*updates]
    else:
        yield [_lines(what) for what in whats]


@contextmanager
def _bars(whats: Sequence[str]) -> Iterator[list[Callable[[int, int], None]]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks = [progress.add_task(what, total=None, visible=what == whats[0]) for what in whats]

        def update(task: TaskID, done: int, total: int) -> None:
            progress.update(task, completed=done, total=total, visible=True)

        yield [partial(update, task) for task in tasks]


def _lines(what: str) -> Callable[[int, int], None]:
    started = told = 0.0

    def update(done: int, total: int) -> None:
        nonlocal started, told
        now = time.monotonic()
        if not started:  # a stage's time begins with it, not with the first stage
            started = told = now
        if now - told >= EVERY_S:
            told = now
            click.echo(f"{what}: {done:,} of {total:,} ({now - started:,.0f} s)", err=True)

    return update
