"""The store: results come back as they went in, in genome order; other settings are refused."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from gexplain.errors import RunError
from gexplain.pipeline import WindowResult
from gexplain.store import WindowStore
from gexplain.windows import Tiling, Window

CHROMS = {"chr2": 10_000, "chr1": 2**32 - 1, "tiny": 40}
SETTINGS = {"window": 100, "target": ["promoter"]}


def open_store(directory, **changes) -> WindowStore:
    return WindowStore(directory / "windows.sqlite", CHROMS, Tiling(100, 50), {**SETTINGS, **changes})


def result(chrom: str, start: int, strand: str = ".", n_ambiguous: int = 0) -> WindowResult:
    width = min(100, CHROMS[chrom])
    return WindowResult(
        Window(chrom, start, start + width, strand),
        n_ambiguous,
        logits=np.arange(3.0) + start,
        relevance=np.full((2, width), start, dtype=np.float32),
        books=np.arange(12.0).reshape(2, 6),
    )


def places(store: WindowStore) -> list[Window]:
    return [one.window for one in store.all_results()]


def test_results_come_back_as_they_went_in(tmp_path):
    with open_store(tmp_path) as store:
        store.add([result("chr1", 500, "-", n_ambiguous=7)])
    with open_store(tmp_path) as store:
        (back,) = store.results("chr1", "-")
    expected = result("chr1", 500, "-")
    assert (back.window, back.n_ambiguous) == (expected.window, 7)
    for name in ("logits", "relevance", "books"):
        np.testing.assert_array_equal(getattr(back, name), getattr(expected, name))


def test_results_come_in_genome_order(tmp_path):
    with open_store(tmp_path) as store:
        store.add([result("tiny", 0), result("chr1", 2**32 - 101), result("chr2", 50), result("chr2", 0)])
        assert [(one.chrom, one.start) for one in places(store)] == [
            ("chr2", 0),
            ("chr2", 50),
            ("chr1", 2**32 - 101),
            ("tiny", 0),
        ]


def test_results_are_found_by_where_they_start(tmp_path):
    with open_store(tmp_path) as store:
        store.add([result("chr2", start) for start in (0, 50, 100, 150)])
        assert [one.window.start for one in store.results("chr2", ".", 50, 150)] == [50, 100]
        assert [one.window.start for one in store.results("chr2", ".", -20, 1)] == [0]


def test_done_knows_windows_of_n_alone_and_keeps_strands_apart(tmp_path):
    with open_store(tmp_path) as store:
        store.add([result("chr2", 50, "+"), WindowResult(Window("chr2", 100, 200, "+"), 100), result("chr2", 0, "-")])
        assert store.done("chr2", "+").tolist() == [50, 100]
        assert store.done("chr2", "-").tolist() == [0]
        assert (store.n_done(), store.n_scored(), store.n_ambiguous()) == (3, 2, 0)


def test_other_settings_are_refused_and_named(tmp_path):
    open_store(tmp_path).__exit__()
    with pytest.raises(RunError, match="window: 100 there, 200 now"):
        open_store(tmp_path, window=200)


def test_a_damaged_store_is_told_with_its_mend(tmp_path):
    (tmp_path / "windows.sqlite").write_bytes(b"no database at all, but long enough to look like one" * 100)
    with pytest.raises(RunError, match="--no-resume"):
        open_store(tmp_path)


def test_what_was_committed_survives_a_kill(tmp_path):
    code = f"""
        import os, signal, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        import test_store
        store = test_store.open_store(Path({str(tmp_path)!r}))
        store.add([test_store.result("chr2", 0)])
        store.commit()
        store.add([test_store.result("chr2", 50)])
        os.kill(os.getpid(), signal.SIGKILL)
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    with open_store(tmp_path) as store:
        assert store.done("chr2", ".").tolist() == [0]
        store.add([result("chr2", 50)])
        assert len(places(store)) == 2
