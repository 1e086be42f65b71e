"""What tests share: one tiny model, loaded once per precision, and the device that GPU tests run on."""

from __future__ import annotations

import os
from pathlib import Path

# Tiny models gain nothing from threads, and the spinning threads of two processes slow each other down many times.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch
from tiny import tiny_checkpoint

import gexplain

TEST_DATA = Path(__file__).resolve().parents[1] / "test_data"


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
