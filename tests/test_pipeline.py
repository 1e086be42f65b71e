"""The windows stage: reading, the model and keeping overlap, and nothing of it shows in the results."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np
import pytest
from tiny_tracks import write_fasta

from gexplain.attribution import explainers
from gexplain.attribution.explainers import TokenExplainer
from gexplain.attribution.target import Target
from gexplain.errors import InputError, RunError
from gexplain.genome.fasta import Genome
from gexplain.pipeline import AUTO_POOL, pool_size, read_windows
from gexplain.windows import Window

PROMOTER = Target((1,), ("promoter",))
WIDTH = 60


@pytest.fixture(scope="module")
def genome(tmp_path_factory) -> Genome:
    """Random letters, N alone at the start, and a tandem repeat of windows from 3,000 on."""
    rng = np.random.default_rng(0)
    letters = "".join(rng.choice(list("ACGT"), 3_000))
    unit = letters[500 : 500 + WIDTH]
    path = tmp_path_factory.mktemp("pipeline") / "g.fa"
    return Genome(write_fasta(path, {"chr1": "N" * WIDTH + letters[WIDTH:] + unit * 50}))


def windows(*starts: int, strand: str = ".") -> list[Window]:
    return [Window("chr1", start, start + WIDTH, strand) for start in starts]


@dataclass
class Watched:
    """An explainer that notes what happens, and may wait or fail on the way."""

    inner: TokenExplainer
    batch_size: int = 16
    tokenised: list[int] = field(default_factory=list)
    computed: list[int] = field(default_factory=list)
    before_compute: object = None

    def batches(self, sequences, strand):
        self.tokenised.append(len(sequences))
        return self.inner.batches(sequences, strand)

    def compute(self, batch, target):
        if self.before_compute is not None:
            self.before_compute()
        self.computed.append(len(batch.sequences))
        return self.inner.compute(batch, target)

    def readings(self, computed):
        return self.inner.readings(computed)


@pytest.fixture
def watched(model) -> Watched:
    return Watched(TokenExplainer(model))


@pytest.mark.parametrize("strand", [".", "+", "-"])
def test_every_window_has_the_reading_of_its_sequence_in_order(genome, exact_model, strand):
    wanted = windows(*range(0, 2_900, 17), strand=strand)
    explainer = TokenExplainer(exact_model)
    results = [result for pool in read_windows(wanted, genome, explainer, PROMOTER) for result in pool]
    assert [result.window for result in results] == wanted
    assert results[0].relevance is None  # N alone
    for result in results[5::40]:
        sequence = genome.fetch(result.window.chrom, result.window.start, result.window.end)
        (reading,) = explainer.read([sequence], PROMOTER, strand)
        np.testing.assert_allclose(result.relevance, reading.relevance, atol=1e-6)
        np.testing.assert_allclose(result.logits, reading.logits, atol=1e-10)
        np.testing.assert_allclose(result.books[:, :3].sum(), reading.explained + reading.words + reading.special)


def test_strands_of_one_pool_are_kept_apart(genome, exact_model):
    explainer = TokenExplainer(exact_model)
    both = [*windows(600, 700, strand="+"), *windows(600, 700, strand="-")]
    (pool,) = read_windows(both, genome, explainer, PROMOTER)
    for result in pool:
        sequence = genome.fetch(result.window.chrom, result.window.start, result.window.end)
        (reading,) = explainer.read([sequence], PROMOTER, result.window.strand)
        np.testing.assert_allclose(result.relevance, reading.relevance, atol=1e-6)


@pytest.mark.parametrize("target", [PROMOTER, Target((), ("predicted",))])
def test_windows_of_one_sequence_are_read_once_and_alike(genome, watched, target):
    repeated = windows(*range(3_000, 3_000 + 40 * WIDTH, WIDTH))
    (pool,) = read_windows([*windows(500), *repeated, *windows(900)], genome, watched, target)
    assert watched.tokenised == [2]
    assert sum(watched.computed) == 2
    first, *others, last = pool
    for result in others:
        np.testing.assert_array_equal(result.relevance, first.relevance)
        np.testing.assert_array_equal(result.logits, first.logits)
    assert not np.array_equal(last.relevance, first.relevance)


def test_the_next_pool_is_read_while_the_model_computes(genome, watched):
    """The model's thread waits for it: without overlap this would never end."""
    begun = threading.Event()
    batches = watched.batches

    def noting(sequences, strand):
        if len(watched.tokenised) == 1:
            begun.set()
        return batches(sequences, strand)

    watched.batches = noting
    watched.before_compute = lambda: pytest.fail("nothing was read meanwhile") if not begun.wait(30) else None
    assert len(list(read_windows(windows(*range(0, 2_900, 20)), genome, watched, PROMOTER))) == 3


def test_the_model_computes_while_the_caller_keeps_results(genome, watched):
    computing = threading.Event()
    watched.before_compute = lambda: computing.set() if len(watched.computed) >= 8 else None  # the second pool's
    pools = read_windows(windows(*range(60, 2_900, 20)), genome, watched, PROMOTER)
    next(pools)
    assert computing.wait(30)
    pools.close()


def test_only_a_few_pools_are_under_way(genome, watched):
    taken = []

    def endless():
        while True:
            for window in windows(*range(60, 2_900, 20)):
                taken.append(window)
                yield window

    pools = read_windows(endless(), genome, watched, PROMOTER)
    for n_pools in range(1, 6):
        next(pools)
        assert len(taken) <= (n_pools + 1) * 64
    pools.close()


def test_who_stops_asking_leaves_no_thread_and_no_work_behind(genome, watched):
    before = threading.active_count()
    go_on = threading.Event()
    watched.before_compute = lambda: go_on.wait(30) if len(watched.computed) >= 8 else None  # in the second pool
    pools = read_windows(windows(*range(60, 2_900, 20)), genome, watched, PROMOTER)
    next(pools)
    going_on = threading.Timer(0.2, go_on.set)
    going_on.start()
    pools.close()
    going_on.join()
    assert threading.active_count() == before
    assert len(watched.computed) <= 9  # the batch that was begun is the last, of eight in that pool


@pytest.mark.parametrize("method", ["ism", "occlusion-token", "integrated-gradients"])
def test_a_batch_of_many_forward_passes_is_stopped_at_the_next(genome, model, method, caplog):
    passes: list[int] = []
    begun, go_on, before = threading.Event(), threading.Event(), threading.active_count()

    def note(*_: object) -> None:
        passes.append(1)
        if len(passes) == 5:
            begun.set()
            go_on.wait(30)

    pools = read_windows(windows(*[0] * 64, *range(600, 700, 10)), genome, TokenExplainer(model, method), PROMOTER)
    hook = model.network.register_forward_pre_hook(note)
    try:
        next(pools)  # of N alone: meanwhile the model computes the next
        assert begun.wait(30)
        going_on = threading.Timer(0.2, go_on.set)
        going_on.start()
        pools.close()
        going_on.join()
    finally:
        hook.remove()
    assert len(passes) <= 6
    assert threading.active_count() == before
    assert caplog.records == []


def test_what_goes_wrong_while_reading_is_raised_here(genome, watched, monkeypatch):
    fetch, threads = Genome.fetch, threading.active_count()

    def failing(self, *place):
        if place[1] >= 2_000:
            raise InputError("the file has changed")
        return fetch(self, *place)

    monkeypatch.setattr(Genome, "fetch", failing)
    with pytest.raises(InputError, match="has changed"):
        list(read_windows(windows(*range(0, 2_900, 20)), genome, watched, PROMOTER))
    assert threading.active_count() == threads


def test_what_goes_wrong_in_the_model_is_raised_here_with_its_place(genome, watched):
    def fail() -> None:
        if len(watched.computed) == 8:  # the first batch of the second pool
            raise RunError("out of memory")

    watched.before_compute = fail
    pools = read_windows(windows(*range(0, 2_900, 20)), genome, watched, PROMOTER)
    next(pools)
    with pytest.raises(RunError, match="at the windows from chr1:1,281-1,340 on: out of memory"):
        list(pools)


def test_pools_of_auto_are_the_same_on_every_machine(model, cnn):
    """Shards end where pools end."""
    assert pool_size(TokenExplainer(model, batch_size="auto")) == pool_size(TokenExplainer(cnn, batch_size="auto"))
    assert pool_size(TokenExplainer(model, batch_size="auto")) == AUTO_POOL
    assert explainers.DEFAULT_BATCH_SIZE * 4 <= AUTO_POOL
