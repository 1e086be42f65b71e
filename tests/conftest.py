"""What tests share: one tiny model, loaded once per precision, and the device that GPU tests run on."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

# Tiny models gain nothing from threads, and the spinning threads of two processes slow each other down many times.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch
from tiny import tiny_checkpoint, tiny_cnn

import gexplain
from gexplain import null
from gexplain.models import bundled

TEST_DATA = Path(__file__).resolve().parents[1] / "test_data"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fails what skips for want of something that TESTS_HAVE names, as .ci/run does."""
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2]
        if any(name in reason for name in os.environ.get("TESTS_HAVE", "").split()):
            report.outcome, report.longrepr = "failed", f"{reason}, and it should be here"
    return report


@pytest.fixture(autouse=True)
def _one_thread() -> Generator[None]:
    """A command that was given --threads leaves them to torch, whose sums are then rounded otherwise."""
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _small_null():
    """The defaults of seqlets and hits, made small: every run of the tests calls them, in no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(null, "LEAST_WINDOWS", 5)
        patch.setattr(null, "MOST_WINDOWS", 20)
        patch.setattr(bundled, "DEFAULT_MOTIFS", str(TEST_DATA / "motifs.meme"))
        yield


@pytest.fixture(scope="session")
def checkpoint_dir(tmp_path_factory) -> Path:
    """A tiny three-class checkpoint, every bias on."""
    return tiny_checkpoint(
        tmp_path_factory.mktemp("model") / "tiny", labels=["none", "promoter", "enhancer"], n_targets=3
    )


@pytest.fixture(scope="session")
def exact_model(checkpoint_dir):
    """The tiny model in float64, where laws hold to 1e-10."""
    return gexplain.load_model(checkpoint_dir, device="cpu", dtype="float64")


@pytest.fixture(scope="session")
def model(checkpoint_dir):
    """The tiny model in float32, on the CPU."""
    return gexplain.load_model(checkpoint_dir, device="cpu")


@pytest.fixture(scope="session")
def cnn_dir(tmp_path_factory) -> Path:
    """A tiny CNN of three classes."""
    return tiny_cnn(tmp_path_factory.mktemp("cnn") / "tiny", window=64)


@pytest.fixture(scope="session")
def exact_cnn(cnn_dir):
    """The tiny CNN in float64."""
    return gexplain.load_model(cnn_dir, device="cpu", dtype="float64")


@pytest.fixture(scope="session")
def cnn(cnn_dir):
    """The tiny CNN in float32, on the CPU."""
    return gexplain.load_model(cnn_dir, device="cpu")


@pytest.fixture
def zoo(tmp_path_factory, monkeypatch) -> Path:
    """In the bundled models' place: a tiny human-tf, with its six classes, and a tiny CNN with two."""
    root = tmp_path_factory.mktemp("zoo")
    labels = ["background", "CTCF", "FOXA1", "GABPA", "REST", "USF1"]
    tiny_checkpoint(root / "human-tf", labels=labels, window=101, n_targets=6)
    tiny_cnn(root / "yeast-tf-cnn", labels=["background", "Reb1"], window=64)
    monkeypatch.setattr(bundled, "zoo", lambda: root)
    return root


@pytest.fixture(params=["cpu", "cuda"])
def device(request) -> str:
    """Each device that torch has here: a GPU test has a CPU twin with the same body."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA GPU")
    return request.param


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of committed test data."""
    return TEST_DATA
