"""Devices: one run read by several devices of one machine, each in a process of its own.

    OUT/.unfinished/parts/3-of-64/     a shard of the run, read by whichever device is free next

The parts are shards, and joined as `gexplain merge` joins them: so nothing is written in two ways. There are more of
them than devices, so that a slow one does not hold up the others; what is done of each is kept, whoever is killed.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

import torch

from gexplain.errors import GexplainError, RunError
from gexplain.genome.fasta import Genome
from gexplain.inputs import Inputs, ScoreSettings
from gexplain.models.model import Model, load_model
from gexplain.motifs.database import MotifSet
from gexplain.null import NULL_PART, Null
from gexplain.pipeline import pool_size
from gexplain.plan import Plan
from gexplain.run_folder import UNFINISHED, Run
from gexplain.runs import STORE, Parts, in_json, score_inputs
from gexplain.scoring import Progress, Scoring
from gexplain.shards import finished_shard, read_shard, score_shard

MOST_PARTS = 64
"""Parts of a run, where it has as many pools of windows; the same for all numbers of devices, which may change."""

_PARTS = "parts"
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
) -> Run:
    """`score_inputs`, its windows read by a process on each device: the twin of `gexplain score --device A,B`.

    model: on the device that does the rest; each process loads it again from where it came. devices: one may be named
    twice, for two processes. The threads of torch are shared out among them. Started from a script, that script is
    imported again by each process: it needs `if __name__ == "__main__":`.

    Raises what `score_inputs` raises, and RunError where a process ends before its work is done.
    """
    settings = replace(settings, device=None)
    most = 0

    def tell(done: int, total: int) -> None:
        nonlocal most
        if progress is not None and done >= most:  # when all is joined, what was read of the null is counted again
            most = done
            progress(done, total)

    def read_parts(scoring: Scoring, null: Null | None, work: Path) -> Parts:
        return _read_parts(scoring, null, work / _PARTS, devices, tell)

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


def has_parts(output: str | os.PathLike[str]) -> bool:
    """Whether a run was begun there on several devices: what they have read, one device goes on with, too."""
    return (Path(output) / UNFINISHED / _PARTS).exists()


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

    def part(self, number: int) -> Path:
        return self.folder / f"{number}-of-{self.n_parts}"


def _read_parts(
    scoring: Scoring, null: Null | None, folder: Path, devices: Sequence[torch.device], progress: Progress
) -> Parts:
    inputs = scoring.inputs
    n_windows = inputs.plan.count_windows(scoring.tiling)
    n_parts = max(1, min(MOST_PARTS, -(-n_windows // pool_size(scoring.explainer))))
    record = in_json(scoring.record())
    task = _Task(
        folder=folder,
        n_parts=n_parts,
        model=scoring.model.checkpoint.source,
        dtype=scoring.model.dtype,
        n_threads=max(1, torch.get_num_threads() // len(devices)),
        settings=replace(scoring.settings, resume=True, force=False),
        plan=inputs.plan,
        genome=inputs.genome.path,
        source=inputs.source,
        sha256=inputs.sha256,
        genome_sha256=inputs.genome_sha256,
        motifs=scoring.motifs,
    )
    numbers = range(1, n_parts + 1)
    missing = [one for one in numbers if finished_shard(task.part(one), (one, n_parts), record) is None]
    n_done = {one: read_shard(task.part(one)).n_windows for one in numbers if one not in missing}
    n_all = n_windows + (0 if null is None else null.count_windows())

    def tell(number: int, done: int) -> None:
        n_done[number] = done
        progress(min(sum(n_done.values()), n_all), n_all)

    _share_out(task, missing, devices, tell)
    shards = [read_shard(task.part(one)) for one in numbers]
    stores = {shard.folder / UNFINISHED / STORE: shard.n_windows for shard in shards}
    nulls = [path.parent / NULL_PART for path in stores if (path.parent / NULL_PART).exists()]
    return Parts([], stores, nulls, record)


def _share_out(
    task: _Task, missing: Sequence[int], devices: Sequence[torch.device], tell: Callable[[int, int], None]
) -> None:
    """Have all missing parts read, each by the device that is free next."""
    waiting = deque(missing)
    with _processes(task, devices[: len(missing)]) as workers:
        busy = set(workers)
        while busy:
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)
                try:
                    what, number, value = connection.recv()
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
def _processes(
    task: _Task, devices: Sequence[torch.device]
) -> Iterator[Mapping[Connection, tuple[torch.device, SpawnProcess]]]:
    """A process on each device, by the connection to it; none of them outlives the block."""
    context = get_context("spawn")  # a fork would have half of CUDA, and of the tokenizer's threads
    workers: dict[Connection, tuple[torch.device, SpawnProcess]] = {}
    try:
        for device in devices:
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, str(device), task), daemon=True)
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


def _work(connection: Connection, device: str, task: _Task) -> None:
    """What a process does: the parts that it is told, until it is told none."""
    os.environ["RAYON_NUM_THREADS"] = str(task.n_threads)
    torch.set_num_threads(task.n_threads)
    try:
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
    except (EOFError, BrokenPipeError):  # who began this is gone
        pass
