"""Batches that a device has room for, and what happens where it has none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from gexplain.attribution.batches import Room, is_out_of_memory
from gexplain.attribution.explainers import METHODS, TokenExplainer
from gexplain.attribution.target import Target
from gexplain.errors import RunError

PROMOTER = Target((1,), ("promoter",))
RNG = np.random.default_rng(1)
SEQUENCES = ["".join(RNG.choice(list("ACGT"), width)) for width in RNG.integers(30, 90, 40)]


@pytest.fixture
def device(monkeypatch):
    """A function that has the device run out of memory above so many rows; it returns the rows of each attempt."""

    def has_room_for(most: int, method: str = "attnlrp") -> list[int]:
        of_kind, tried = METHODS["DNABERT-2"], []
        whole = of_kind[method].relevance

        def limited(model, ids_BT, *rest):
            tried.append(len(ids_BT))
            if len(ids_BT) > most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return whole(model, ids_BT, *rest)

        monkeypatch.setitem(of_kind, method, replace(of_kind[method], relevance=limited))
        return tried

    return has_room_for


@pytest.mark.parametrize("strand", ["+", "."])
@pytest.mark.parametrize("most", [2, 3, 7])
def test_auto_halves_what_does_not_fit_and_goes_on(exact_model, device, strand, most):
    explainer = TokenExplainer(exact_model, batch_size="auto")
    whole = explainer.read(SEQUENCES, PROMOTER, strand)
    tried = device(most)
    halved = TokenExplainer(exact_model, batch_size="auto").read(SEQUENCES, PROMOTER, strand)
    for one, other in zip(halved, whole, strict=True):
        np.testing.assert_allclose(one.relevance, other.relevance, atol=1e-12)
        np.testing.assert_allclose(one.logits, other.logits, atol=1e-12)
    assert max(tried) == 16
    assert sum(rows for rows in tried if rows <= most) == len(SEQUENCES) * (2 if strand == "." else 1)


def test_auto_remembers_what_did_not_fit(exact_model, device):
    tried = device(5)
    explainer = TokenExplainer(exact_model, batch_size="auto")
    explainer.read(SEQUENCES, PROMOTER)
    too_large = sum(rows > 5 for rows in tried)
    assert 0 < too_large <= 3  # 16 and 8, and then none; not of every batch anew
    tried.clear()
    explainer.read(SEQUENCES, PROMOTER)
    assert max(tried) <= 5


@pytest.fixture
def ism_of_rows(monkeypatch):
    """A function that has ISM take so many rows at once at most; it returns the rows of each attempt."""

    def has_room_for(most: int) -> list[int]:
        of_kind, tried = METHODS["DNABERT-2"], []
        whole = of_kind["ism"].relevance

        def limited(model, rows, target, n_strands, batch_size):
            tried.append(batch_size)
            if batch_size > most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return whole(model, rows, target, n_strands, batch_size)

        monkeypatch.setitem(of_kind, "ism", replace(of_kind["ism"], relevance=limited))
        return tried

    return has_room_for


@pytest.mark.parametrize("n_sequences", [1, 3])
@pytest.mark.parametrize("strand", ["+", "."])
def test_auto_halves_the_rows_of_changed_sequences_too(exact_model, ism_of_rows, strand, n_sequences):
    explainer, sequences = TokenExplainer(exact_model, "ism", batch_size="auto"), SEQUENCES[:n_sequences]
    whole = explainer.read(sequences, PROMOTER, strand)
    tried = ism_of_rows(3)
    for one, other in zip(explainer.read(sequences, PROMOTER, strand), whole, strict=True):
        np.testing.assert_allclose(one.relevance, other.relevance, atol=1e-12)
    assert tried[:4] == [16, 8, 4, 2]
    tried.clear()
    explainer.read(sequences, PROMOTER, strand)
    assert max(tried) <= 3


@pytest.mark.parametrize(
    ("batch_size", "most", "n_rows", "helps"), [("auto", 0, 1, False), (8, 7, 8, True), (1, 0, 1, False)]
)
def test_the_mend_of_changed_sequences_is_of_their_rows(exact_model, ism_of_rows, batch_size, most, n_rows, helps):
    ism_of_rows(most)
    with pytest.raises(RunError, match=f"out of memory on cpu, with {n_rows} sequences of") as caught:
        TokenExplainer(exact_model, "ism", batch_size=batch_size).read(SEQUENCES[:1], PROMOTER)
    assert ("--batch-size" in caught.value.hint) == helps
    assert "--window" in caught.value.hint


@pytest.mark.parametrize(
    ("error", "lacks_memory"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported elsewhere"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:115] DefaultCPUAllocator: can't allocate memory"), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED"), False),
        (OSError("CUDA error: out of memory"), False),
    ],
)
def test_what_says_that_memory_is_short(error, lacks_memory):
    assert is_out_of_memory(error) == lacks_memory


@pytest.mark.parametrize("strand", ["+", "."])
def test_one_sequence_that_does_not_fit_is_an_error(exact_model, device, strand):
    device(0)
    with pytest.raises(RunError, match=r"out of memory on cpu, with [12] sequences of") as caught:
        TokenExplainer(exact_model, batch_size="auto").read(SEQUENCES, PROMOTER, strand)
    assert "--window" in caught.value.hint
    assert "--batch-size" not in caught.value.hint


def test_a_given_number_is_kept_to(exact_model, device):
    tried = device(7)
    with pytest.raises(RunError, match="out of memory on cpu, with 8 sequences") as caught:
        TokenExplainer(exact_model, batch_size=8).read(SEQUENCES, PROMOTER)
    assert "--batch-size" in caught.value.hint
    assert tried == [8]


def test_other_errors_of_torch_are_not_taken_for_a_lack_of_memory(exact_model, monkeypatch):
    of_kind = METHODS["DNABERT-2"]

    def failing(*_):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setitem(of_kind, "attnlrp", replace(of_kind["attnlrp"], relevance=failing))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        TokenExplainer(exact_model, batch_size="auto").read(SEQUENCES, PROMOTER)


@pytest.mark.parametrize("n_strands", [1, 2])
def test_auto_is_sixteen_rows_on_a_cpu(model, n_strands):
    lengths = RNG.integers(20, 256, 77)
    given, auto = (list(Room(size, model).batches(lengths, n_strands)) for size in (16, "auto"))
    assert [one.tolist() for one in auto] == [one.tolist() for one in given]


@pytest.mark.parametrize("n_strands", [1, 2])
def test_auto_takes_fewer_rows_of_long_sequences(model, n_strands):
    lengths = np.array([10, 9_000, 2_000, 2_100, 700, 20, 3_000])
    batches = list(Room("auto", model).batches(lengths, n_strands))
    assert sorted(np.concatenate(batches).tolist()) == list(range(7))
    assert [lengths[batch].max() for batch in batches] == sorted(lengths[batch].max() for batch in batches)[::-1]
    for batch in batches:
        assert len(batch) == 1 or len(batch) * n_strands * lengths[batch].max() <= 4_096


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_of_nothing_is_refused(model, size):
    from gexplain.errors import UsageError

    with pytest.raises(UsageError, match="batch size"):
        TokenExplainer(model, batch_size=size)
