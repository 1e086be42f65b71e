"""Where a run is computed, as the command line says it."""

from __future__ import annotations

import os

import pytest
import torch
from gexplain_cli.memory import keep_freed_memory

from gexplain.inputs import ScoreSettings

BED = "chr1\t40000\t41000\n"
without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")


@without_cuda
@pytest.mark.parametrize("names", ["cuda:0,cuda:1", "cpu,cuda:0", "all", "cpu,tpu", "cpu,"])
def test_unknown_devices_are_refused_before_any_work(score, tmp_path, names):
    outcome = score(BED, "--device", names, output=tmp_path / "out")
    assert outcome.code == 2
    assert "device" in outcome.err
    assert "fix: " in outcome.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("output", "option"), [("-", ()), ("out", ("--shard", "1/2"))])
def test_several_devices_are_for_whole_runs(score, tmp_path, output, option):
    outcome = score(BED, "--device", "cpu,cpu", *option, output=output if output == "-" else tmp_path / output)
    assert outcome.code == 2
    assert f"--device cpu,cpu: {option[0] if option else '-o -'} is read by one device" in outcome.err
    assert not (tmp_path / "out").exists()


def test_merge_takes_one_device(run, test_data, tmp_path):
    (tmp_path / "r.bed").write_text(BED)
    words = ["score", tmp_path / "r.bed", test_data / "genome.fa", "-m", test_data / "tiny_checkpoint"]
    assert run(*words, "-o", tmp_path / "a", "--shard", "1/1", "-q", "--motifs", "none").code == 0
    outcome = run("merge", tmp_path / "a", "-o", tmp_path / "out", "--device", "cpu,cpu")
    assert outcome.code == 2
    assert "device 'cpu,cpu' is several, where one is used" in outcome.err


class SeenError(BaseException):
    """Ends a command where a test has seen enough of it; nothing in the command takes it for an error of its own."""


def test_processes_keep_freed_memory_too(score, tmp_path, monkeypatch):
    seen = []

    def see(*_, prepare, **__):
        seen.append(prepare)
        raise SeenError

    monkeypatch.setattr("gexplain.devices.score_on_devices", see)
    with pytest.raises(SeenError):
        score(BED, "--device", "cpu,cpu", output=tmp_path / "out")
    assert seen == [keep_freed_memory]


@pytest.mark.parametrize("size", ["0", "-1", "many", "1.5", ""])
def test_a_batch_size_is_a_number_or_auto(score, tmp_path, size):
    outcome = score(BED, "--batch-size", size, output=tmp_path / "out")
    assert outcome.code == 2
    assert "expected a number from 1, or auto" in outcome.err


def test_auto_is_the_default_and_changes_nothing_on_a_cpu(score):
    assert ScoreSettings().batch_size == "auto"
    by_default = score(BED)
    assert by_default.code == 0
    assert score(BED, "--batch-size", "auto").out == by_default.out
    assert score(BED, "--batch-size", "16").out == by_default.out


def test_threads_are_those_of_torch_numba_and_the_tokenizer(score, tmp_path, monkeypatch, test_data):
    import numba

    monkeypatch.setenv("RAYON_NUM_THREADS", "")
    before, seen = torch.get_num_threads(), []

    def see(*_, **__):
        seen.append(numba.get_num_threads())
        raise SeenError

    monkeypatch.setattr("gexplain.scoring.call_hits", see)
    try:
        with pytest.raises(SeenError):
            score(BED, "-p", "1", "--null-regions", "5", output=tmp_path / "out")
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    assert seen == [1]
    assert os.environ["RAYON_NUM_THREADS"] == "1"
