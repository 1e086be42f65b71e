"""Devices: one run read by several devices of one machine, each in a process of its own.

    OUT/.unfinished/parts/3-of-64-5c8e01fa/     a shard of the run, read by whichever device is free next

The parts are shards, and joined as `gexplain merge` joins them: so nothing is written in two ways. There are more of
them than devices, so that a slow one does not hold up the others; what is done of each is kept, whoever is killed.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

import torch

from gexplain.errors import GexplainError, RunError
from gexplain.genome.fasta import Genome
from gexplain.inputs import Inputs, ScoreSettings
from gexplain.models.model import Model, load_model
from gexplain.motifs.database import MotifSet
from gexplain.null import Null
from gexplain.pipeline import pool_size
from gexplain.plan import Plan
from gexplain.run_folder import SHARD, UNFINISHED, Run
from gexplain.runs import STORE, part_key, score_inputs
from gexplain.scoring import Progress, Scoring
from gexplain.shards import read_shard, score_shard
from gexplain.store import WindowStore

MOST_PARTS = 64
"""Parts of a run, where it has as many pools of windows; the same for all numbers of devices, which may change."""

_STOP_S = 5.0


def score_on_devices(
    inputs: Inputs,
    model: Model,
    devices: Sequence[torch.device],
    *,
    output: str | os.PathLike[str],
    settings: ScoreSettings,
    progress: Progress | None = None,
    call_progress: Progress | None = None,
    command: str | None = None,
    prepare: Callable[[], None] | None = None,
) -> Run:
    """`score_inputs`, its windows read by a process on each device: the twin of `gexplain score --device A,B`.

    model: on the device that does the rest; each process loads it again from where it came. devices: one may be named
    twice, for two processes. The threads of torch are shared out among them. prepare: a function of a module, which
    each process calls first. Started from a script, that script is imported again by each process: it needs
    `if __name__ == "__main__":`.

    Raises what `score_inputs` raises, and RunError where a process ends before its work is done.
    """
    settings = replace(settings, device=None)
    most = 0

    def tell(done: int, total: int) -> None:
        nonlocal most
        if progress is not None and done >= most:  # when all is joined, what was read of the null is counted again
            most = done
            progress(done, total)

    def read_parts(scoring: Scoring, store: WindowStore, null: Null | None, folder: Path) -> None:
        _read_parts(_Reading(scoring, devices, prepare), store, null, folder, tell)

    return score_inputs(
        inputs,
        model,
        output=output,
        settings=settings,
        progress=tell,
        call_progress=call_progress,
        command=command,
        parts=read_parts,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Reading:
    """What is read, where, and what each process does first."""

    scoring: Scoring
    devices: Sequence[torch.device]
    prepare: Callable[[], None] | None


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """All that a process needs to read parts of a run: what was checked already is not read again."""

    folder: Path
    n_parts: int
    model: str
    dtype: str
    n_threads: int
    settings: ScoreSettings
    plan: Plan
    genome: Path
    source: str
    sha256: str
    genome_sha256: str
    motifs: MotifSet | None
    prepare: Callable[[], None] | None
    key: str

    def part(self, number: int) -> Path:
        return self.folder / f"{number}-of-{self.n_parts}-{self.key}"


def _read_parts(reading: _Reading, store: WindowStore, null: Null | None, folder: Path, progress: Progress) -> None:
    """Have all parts read that the store lacks windows of, and take them over."""
    scoring, inputs = reading.scoring, reading.scoring.inputs
    n_windows = inputs.plan.count_windows(scoring.tiling)
    n_parts = max(1, min(MOST_PARTS, -(-n_windows // pool_size(scoring.explainer))))
    done = cache(store.done)
    sizes = {
        number: high - low
        for number, (low, high) in enumerate(scoring.shards(n_parts), start=1)
        if next(inputs.plan.windows(scoring.tiling, done, (low, high)), None) is not None
    }
    devices = reading.devices[: len(sizes)]
    task = _Task(
        folder=folder,
        n_parts=n_parts,
        model=scoring.model.checkpoint.source,
        dtype=scoring.model.dtype,
        n_threads=max(1, torch.get_num_threads() // max(1, len(devices))),
        settings=replace(scoring.settings, resume=True, force=False),
        plan=inputs.plan,
        genome=inputs.genome.path,
        source=inputs.source,
        sha256=inputs.sha256,
        genome_sha256=inputs.genome_sha256,
        motifs=scoring.motifs,
        prepare=reading.prepare,
        key=part_key(scoring),
    )
    n_all = n_windows + (0 if null is None else null.count_windows())
    n_before = n_windows - sum(sizes.values())
    n_done: dict[int, int] = {}

    def tell(number: int, done: int) -> None:
        n_done[number] = done
        progress(min(n_before + sum(n_done.values()), n_all), n_all)

    for number in sizes:  # of another batch size parts end elsewhere: what was a whole one lacks windows now
        (task.part(number) / SHARD).unlink(missing_ok=True)
    _share_out(task, list(sizes), devices, tell)
    for number in sizes:
        shard = read_shard(task.part(number))
        store.absorb(shard.folder / UNFINISHED / STORE, shard.n_windows)


def _share_out(
    task: _Task, missing: Sequence[int], devices: Sequence[torch.device], tell: Callable[[int, int], None]
) -> None:
    """Have all missing parts read, each by the device that is free next."""
    waiting = deque(missing)
    with _processes(devices) as workers:
        busy = set(workers)
        while busy:
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)
                try:
                    what, number, value = connection.recv()
                    if what == "ready":
                        connection.send(task)
                    if what == "free":
                        part = waiting.popleft() if waiting else None
                        connection.send(part)
                        if part is None:
                            busy.remove(connection)
                except (EOFError, ConnectionError) as error:
                    raise _ended(*workers[connection]) from error
                if what == "failed":
                    raise value
                if what == "progress":
                    tell(number, value)


@contextmanager
def _processes(devices: Sequence[torch.device]) -> Iterator[Mapping[Connection, tuple[torch.device, SpawnProcess]]]:
    """A process on each device, by the connection to it; none of them outlives the block."""
    context = get_context("spawn")  # a fork would have half of CUDA, and of the tokenizer's threads
    resource_tracker.ensure_running()  # else start() begins with it, which lets Ctrl-C through again
    workers: dict[Connection, tuple[torch.device, SpawnProcess]] = {}
    try:
        for device in devices:
            ours, theirs = context.Pipe()
            # Nothing large: who dies while it starts would not read it, and start() waits until all is read.
            process = context.Process(target=_work, args=(theirs, str(device)), daemon=True)
            with _no_interrupt():
                process.start()
            theirs.close()  # so that its end is told here
            workers[ours] = device, process
        yield workers
        for _, process in workers.values():
            process.join()
    finally:
        for connection, (_, process) in workers.items():
            process.terminate()
            connection.close()
        for _, process in workers.values():
            process.join(_STOP_S)
            if process.is_alive():
                process.kill()
                process.join()


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Ctrl-C waits for the end of the block; what is started in it never hears of it: who started it ends it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ended(device: torch.device, process: SpawnProcess) -> RunError:
    process.join(_STOP_S)
    code = process.exitcode
    how = f"was killed by {signal.Signals(-code).name}" if code and code < 0 else f"ended with exit code {code}"
    return RunError(
        f"the process on {device} {how} before its work was done",
        hint="if memory ran out, use a smaller --batch-size or --window, or fewer devices; what is done is kept:"
        " the same command goes on",
    )


def _work(connection: Connection, device: str) -> None:
    """What a process does: the parts that it is told, until it is told none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        connection.send(("ready", 0, None))
        task: _Task = connection.recv()
        os.environ["RAYON_NUM_THREADS"] = str(task.n_threads)
        torch.set_num_threads(task.n_threads)
        if task.prepare is not None:
            task.prepare()
        model = load_model(task.model, device=device, dtype=task.dtype)
        with Genome(task.genome) as genome:
            inputs = Inputs(task.plan, genome, task.source, task.sha256, task.genome_sha256, [], task.motifs)
            connection.send(("free", 0, None))
            while (number := connection.recv()) is not None:

                def tell(done: int, _: int, number: int = number) -> None:
                    connection.send(("progress", number, done))

                output, shard = task.part(number), (number, task.n_parts)
                score_shard(inputs, model, shard, output=output, settings=task.settings, progress=tell)
                connection.send(("free", number, None))
    except GexplainError as error:
        error.__cause__ = None  # which may not be fit to travel
        connection.send(("failed", 0, error))
    except (EOFError, ConnectionError):  # who began this is gone
        pass


def _end_with_parent() -> None:
    """End this process as soon as who began it is gone, even killed: it would hold the locks of parts."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
