"""A run read by several processes of one machine is the run of one."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_shards import BED, SMALL, assert_same

import gexplain
from gexplain.devices import score_on_devices
from gexplain.errors import ModelError, RunError, UsageError
from gexplain.inputs import open_inputs
from gexplain.models.model import choose_device, choose_devices
from gexplain.run_folder import SHARD, UNFINISHED

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


def alive(group: int) -> list[str]:
    """The commands of a process group that run, some time after it was ended."""
    for _ in range(100):
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
