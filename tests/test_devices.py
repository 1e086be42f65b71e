"""A run read by several processes of one machine is the run of one."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_shards import BED, SMALL, assert_same

import gexplain
from gexplain.devices import score_on_devices
from gexplain.errors import ModelError, RunError, UsageError
from gexplain.inputs import open_inputs
from gexplain.models.model import choose_device, choose_devices
from gexplain.pipeline import WindowResult
from gexplain.run_folder import SHARD, UNFINISHED
from gexplain.runs import STORE
from gexplain.store import WindowStore, is_begun
from gexplain.windows import Tiling, Window

TWO = [torch.device("cpu")] * 2


@pytest.fixture(scope="module")
def regions(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("devices") / "regions.bed"
    path.write_text(BED)
    return path


@pytest.fixture(scope="module")
def settings(test_data) -> gexplain.ScoreSettings:
    """Pools of 64 windows, so that there are more parts than devices."""
    small = {**SMALL, "batch_size": 16, "window": 64}
    return gexplain.ScoreSettings(**small, motifs=str(test_data / "motifs.meme"))


@pytest.fixture(scope="module")
def one(regions, test_data, model, settings, tmp_path_factory) -> gexplain.Run:
    """The run of one process."""
    output = tmp_path_factory.mktemp("one") / "out"
    return gexplain.score(regions, test_data / "genome.fa", model, output=output, settings=settings)


def on_two(regions, test_data, model, out, settings, progress=None) -> gexplain.Run:
    with open_inputs(regions, test_data / "genome.fa", settings) as inputs:
        return score_on_devices(inputs, model, TWO, output=out, settings=settings, progress=progress)


def finished_parts(out: Path) -> list[Path]:
    return sorted(out.glob(f"{UNFINISHED}/parts/*/{SHARD}"))


def n_windows_of(store: Path) -> int:
    with closing(sqlite3.connect(store)) as db:
        return int(db.execute("select count(*) from windows").fetchone()[0])


def alive(group: int, *, at_once: bool = False) -> list[str]:
    """The commands of a process group that run, some time after it was ended."""
    for _ in range(1 if at_once else 60):
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # ended meanwhile
                name, _, rest = stat.read_text().rpartition(")")
                state, _, its_group, *_ = rest.split()
                if int(its_group) == group and state != "Z":
                    found.append(name)
        if not found:
            break
        time.sleep(0.05)
    return found


def test_two_processes_make_the_run_of_one(regions, test_data, model, settings, one, tmp_path):
    told: list[tuple[int, int]] = []
    run = on_two(regions, test_data, model, tmp_path / "out", settings, lambda *counts: told.append(counts))
    assert_same(run, one)
    assert not (run.path / UNFINISHED).exists()
    assert multiprocessing.active_children() == []
    assert [done for done, _ in told] == sorted(done for done, _ in told)  # one count, over both
    assert len({total for _, total in told}) == 1
    assert told[-1][0] == told[-1][1]


def test_a_process_that_is_killed_is_told_and_what_is_done_is_kept(
    regions, test_data, model, settings, one, tmp_path
):
    out = tmp_path / "out"

    def kill(done: int, total: int) -> None:
        if len(finished_parts(out)) >= 2:
            multiprocessing.active_children()[0].kill()

    with pytest.raises(RunError, match="on cpu was killed by SIGKILL before its work was done") as caught:
        on_two(regions, test_data, model, out, settings, kill)
    assert "the same command goes on" in caught.value.hint
    assert multiprocessing.active_children() == []
    kept = {path: path.stat().st_mtime_ns for path in finished_parts(out)}
    assert len(kept) >= 2
    begun: list[int] = []

    def stop(done: int, total: int) -> None:
        begun.append(done)
        if len(finished_parts(out)) > len(kept):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        on_two(regions, test_data, model, out, settings, stop)
    assert multiprocessing.active_children() == []
    n_kept = sum(json.loads(path.read_text())["windows"] for path in kept)
    assert begun[0] >= n_kept
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert_same(on_two(regions, test_data, model, out, settings), one)


def test_what_goes_wrong_in_a_process_is_told_as_if_it_were_here(
    regions, test_data, checkpoint_dir, settings, tmp_path
):
    moved = shutil.copytree(checkpoint_dir, tmp_path / "model")
    model = gexplain.load_model(moved, device="cpu")
    (moved / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="tokenizer") as caught:
        on_two(regions, test_data, model, tmp_path / "out", settings)
    assert caught.value.hint
    assert multiprocessing.active_children() == []


def test_a_process_that_dies_while_it_starts_is_told(model, settings, test_data, tmp_path):
    """What it is to do would not fit in a pipe that nobody reads: whoever sent it first would wait for ever."""
    regions = "".join(f"chr1\t{1_000 + i}\t{1_064 + i}\n" for i in range(20_000))
    (tmp_path / "regions.bed").write_text(regions)
    script = tmp_path / "script.py"
    script.write_text(f"""
import os, pickle, torch
if __name__ != "__main__":
    os._exit(3)
import gexplain
from gexplain.devices import score_on_devices
from gexplain.errors import RunError
from gexplain.inputs import open_inputs
settings = gexplain.ScoreSettings(window=64, null_regions=0)
model = gexplain.load_model({model.checkpoint.source!r}, device="cpu")
with open_inputs({str(tmp_path / "regions.bed")!r}, {str(test_data / "genome.fa")!r}, settings) as inputs:
    assert len(pickle.dumps(inputs.plan)) > 100_000
    try:
        score_on_devices(inputs, model, [torch.device("cpu")] * 2, output="out", settings=settings)
    except RunError as error:
        print(error.message)
""")
    told = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert told.stdout == "the process on cpu ended with exit code 3 before its work was done\n", told.stderr


def test_no_process_hears_ctrl_c():
    code = """
import sys, torch
from pathlib import Path
from gexplain.devices import _processes
with _processes([torch.device("cpu")] * 2) as workers:
    for _, process in workers.values():
        status = dict(line.split(":\t") for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
        print(int(status["SigBlk"], 16) >> 1 & 1)
    sys.exit()
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout.split() == ["1", "1"]


def test_no_process_outlives_who_began_it_even_by_a_kill(test_data, model, tmp_path):
    """Each has work for minutes before it would next say something."""
    out = tmp_path / "out"
    (tmp_path / "regions.bed").write_text("chr1\t1000\t9000\n")
    words = ["score", tmp_path / "regions.bed", test_data / "genome.fa", "-m", model.checkpoint.source, "-o", out]
    words += ["--method", "ism", "--window", 2_000, "--null-regions", 0, "--device", "cpu,cpu", "--no-report", "-q"]
    command = [sys.executable, "-c", "from gexplain_cli import main; main()", *map(str, words)]
    with subprocess.Popen(command, start_new_session=True) as process:
        while not any(out.glob(f"{UNFINISHED}/parts/*/{UNFINISHED}/windows.sqlite")) and process.poll() is None:
            time.sleep(0.01)
        assert len(alive(process.pid, at_once=True)) > 1
        process.kill()
    assert alive(process.pid) == []


@pytest.fixture
def begun_by_one(regions, test_data, model, settings, tmp_path) -> Path:
    """A run that one process began: more than half of its windows are done."""

    def stop(done: int, total: int) -> None:
        if done > 0.5 * total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gexplain.score(
            regions, test_data / "genome.fa", model, output=tmp_path / "out", settings=settings, progress=stop
        )
    return tmp_path / "out"


def test_several_processes_go_on_with_what_one_began(begun_by_one, regions, test_data, model, settings, one):
    told: list[tuple[int, int]] = []
    n_done = n_windows_of(begun_by_one / UNFINISHED / STORE)
    run = on_two(regions, test_data, model, begun_by_one, settings, lambda *counts: told.append(counts))
    assert told[0][0] > n_done - 64  # but for the part that it was in
    assert_same(run, one)


def test_one_process_goes_on_with_what_several_began(regions, test_data, model, settings, one, tmp_path):
    """Parts that are whole, and others: one of a process that was killed while it wrote, say."""
    out = tmp_path / "out"

    def stop(done: int, total: int) -> None:
        if len(finished_parts(out)) >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        on_two(regions, test_data, model, out, settings, stop)
    places = out.glob(f"{UNFINISHED}/parts/*/{UNFINISHED}/{STORE}")
    n_done = sum(n_windows_of(path) for path in places if path.stat().st_size)
    assert n_done >= 128
    told: list[int] = []
    run = gexplain.score(
        regions,
        test_data / "genome.fa",
        model,
        output=out,
        settings=settings,
        progress=lambda done, _: told.append(done),
    )
    assert told[0] == n_done
    assert_same(run, one)


def test_what_a_killed_process_left_half_written_is_taken_back(tmp_path):
    """Its journal is there, and who opens the store for reading alone cannot go back."""
    tiling, chroms = Tiling(64, 64), {"chr1": 6_400_000}
    values = {"logits": np.zeros(2), "relevance": np.zeros((1, 64), np.float32), "books": np.zeros((1, 6))}
    results = [WindowResult(Window("chr1", 64 * i, 64 * i + 64, "."), 0, **values) for i in range(5_000)]
    left = tmp_path / "left"
    left.mkdir()
    with WindowStore(tmp_path / STORE, chroms, tiling, {}) as store:
        store.add(results[:7])
        store.commit()
        store._db.execute("pragma cache_size = 1")  # so that it is written before it is committed
        store.add(results[7:])
        for path in tmp_path.glob(f"{STORE}*"):  # as they would lie there after a kill
            shutil.copy(path, left)
    assert {path.name for path in left.iterdir()} == {STORE, f"{STORE}-journal"}
    with WindowStore(tmp_path / "own", chroms, tiling, {}) as store:
        with pytest.raises(RunError, match="cannot be read"):
            store.absorb(left / STORE)
        assert is_begun(left / STORE)
        store.absorb(left / STORE)
        assert store.n_done() == 7


def test_parts_of_another_batch_size_or_null_are_gone_on_with(regions, test_data, model, settings, tmp_path):
    out, other = tmp_path / "out", replace(settings, batch_size=32, seed=1)

    def stop(done: int, total: int) -> None:
        if len(finished_parts(out)) >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        on_two(regions, test_data, model, out, settings, stop)
    told: list[int] = []
    run = on_two(regions, test_data, model, out, other, lambda done, _: told.append(done))
    assert told[0] > 0
    alone = gexplain.score(regions, test_data / "genome.fa", model, output=tmp_path / "one", settings=other)
    assert (out / "null" / "null.fa").read_bytes() == (alone.path / "null" / "null.fa").read_bytes()
    for name in alone.tracks:  # up to rounding: windows share other batches
        place = gexplain.Interval("chr1", 0, 50_000)
        np.testing.assert_allclose(run.values(name, place), alone.values(name, place), atol=1e-6)


def test_ctrl_c_ends_all_processes_and_the_same_command_goes_on(regions, test_data, one, tmp_path):
    out = tmp_path / "out"
    words = ["score", regions, test_data / "genome.fa", "-m", one.manifest["model"]["source"], "-o", out]
    words += ["--null-regions", 12, "--match-p", 0.01, "--q", 1, "--motifs", test_data / "motifs.meme"]
    words += ["--batch-size", 16, "--window", 64, "--device", "cpu,cpu", "--no-report"]
    command = [sys.executable, "-c", "from gexplain_cli import main; main()", *map(str, words)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        while not finished_parts(out) and process.poll() is None:
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: all processes of the command
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "interrupted" in told
    assert "Traceback" not in told
    assert alive(process.pid) == []
    subprocess.run(command, check=True, capture_output=True)
    assert_same(gexplain.Run(out, json.loads((out / "manifest.json").read_text())), one)


def test_an_interrupted_run_with_other_settings_is_refused_before_any_work(
    regions, test_data, model, settings, tmp_path, monkeypatch
):
    def stop(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    other = replace(settings, stride=16)
    with pytest.raises(KeyboardInterrupt):
        gexplain.score(
            regions, test_data / "genome.fa", model, output=tmp_path / "out", settings=other, progress=stop
        )
    monkeypatch.setattr("gexplain.devices._read_parts", lambda *_: pytest.fail("begun"))
    with pytest.raises(RunError, match="an interrupted run with other settings is here"):
        on_two(regions, test_data, model, tmp_path / "out", settings)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
@pytest.mark.parametrize("names", ["cpu,cuda:7", "all", "cpu,", "cpu,tpu"])
def test_a_device_that_is_not_there_is_refused(names):
    with pytest.raises(UsageError, match="device"):
        choose_devices(names)


@pytest.mark.parametrize("names", ["cpu,cpu", "all"])
def test_several_devices_are_refused_where_one_is_used(names):
    with pytest.raises(UsageError, match="several, where one is used"):
        choose_device(names)


def test_devices_are_named_one_after_another():
    assert choose_devices("cpu, cpu") == TWO
