"""Damaged parts: refused in clear words, or made again; never used."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from faulty_runs import assert_told, contents, run

from gexplain.errors import GexplainError, InputError, RunError
from gexplain.pipeline import WindowResult
from gexplain.run_folder import MANIFEST, SHARD, UNFINISHED, open_run
from gexplain.shards import merge_shards, read_shard
from gexplain.store import WindowStore
from gexplain.windows import Tiling, Window

CHROMS = {"chr1": 40_000, "chr2": 9_000}
TILING = Tiling(32, 16)
PAGE = 16384  # of a store, in bytes
SETTINGS = {"window": 32, "target": ["promoter"]}

Held = list[tuple[Window, int, bytes, bytes, bytes]]


def make_store(path: Path, n_windows: int = 300) -> None:
    rng = np.random.default_rng(0)
    with WindowStore(path, CHROMS, TILING, SETTINGS) as store:
        for chrom in CHROMS:
            store.add([make_result(rng, chrom, 16 * nth, nth % 9 == 0) for nth in range(n_windows)])


def make_result(rng: np.random.Generator, chrom: str, start: int, is_unknown: bool) -> WindowResult:
    window = Window(chrom, start, start + 32, ".")
    if is_unknown:
        return WindowResult(window, 32)
    relevance = rng.normal(size=(1, 32)).astype(np.float32)
    return WindowResult(window, int(rng.integers(3)), rng.normal(size=2), relevance, rng.normal(size=(1, 6)))


def read_store(path: Path) -> tuple[list[object], Held]:
    """All that a run asks of a store."""
    with WindowStore(path, CHROMS, TILING, SETTINGS) as store:
        counts: list[object] = [store.n_done(), store.n_scored(), store.n_ambiguous()]
        done = [store.done(chrom, ".").tolist() for chrom in CHROMS]
        held = []
        for one in store.all_results():
            assert one.logits is not None
            assert one.relevance is not None
            assert one.books is not None
            blobs = (one.logits.tobytes(), one.relevance.tobytes(), one.books.tobytes())
            held.append((one.window, one.n_ambiguous, *blobs))
        return [*counts, *done], held


def absorb(part: Path, out: Path) -> tuple[list[object], Held]:
    out.unlink(missing_ok=True)
    with WindowStore(out, CHROMS, TILING, SETTINGS) as store:
        store.absorb(part, 600)
    return read_store(out)


@pytest.mark.parametrize("reads", [read_store, absorb])
def test_a_flipped_bit_in_a_store_is_refused_or_changes_nothing(tmp_path, reads: Callable[..., object]):
    path, rest = tmp_path / "windows.sqlite", [tmp_path / "joined.sqlite"] if reads is absorb else []
    make_store(path)
    sound, expected = path.read_bytes(), reads(path, *rest)
    generator = np.random.default_rng(1)
    # The first kilobytes hold what a store is; the others, what it holds.
    places = [*generator.integers(0, 2000, 40).tolist(), *generator.integers(0, len(sound), 80).tolist()]
    n_refused = 0
    for place in places:
        damaged = bytearray(sound)
        damaged[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(damaged)
        Path(f"{path}-journal").unlink(missing_ok=True)
        try:
            assert reads(path, *rest) == expected, place
        except RunError:
            n_refused += 1
    assert n_refused > 30


@pytest.mark.parametrize("whose", ["part", "own"])
def test_of_two_stores_the_damaged_one_is_named(tmp_path, whose):
    """Whichever page is damaged: of a shard, or of the merge that was interrupted."""
    part, own = (tmp_path / name / UNFINISHED / "windows.sqlite" for name in ("part", "own"))
    for path in (part, own):
        path.parent.mkdir(parents=True)
    make_store(part)
    expected = absorb(part, own)
    damaged, mend = (part, "make that shard again") if whose == "part" else (own, "merge: --force")
    sound, told = damaged.read_bytes(), []
    for first in range(0, len(sound), PAGE):
        flip(damaged, first)
        if whose == "part":
            own.unlink()
        try:
            with WindowStore(own, CHROMS, TILING, SETTINGS) as store:
                store.absorb(part, 600)
        except RunError as error:
            told.append(error)
        else:  # an index that nothing is read from
            assert read_store(own) == expected
        damaged.write_bytes(sound)
        for path in (part, own):
            Path(f"{path}-journal").unlink(missing_ok=True)
    assert len(told) >= len(sound) // PAGE - 1 > 5
    assert [error.message for error in told if not error.message.startswith(f"{damaged}: ")] == []
    assert all(mend in error.hint for error in told)


def test_nothing_of_a_damaged_part_is_kept(tmp_path):
    part, own = tmp_path / "part.sqlite", tmp_path / "own.sqlite"
    make_store(part)
    sound = part.read_bytes()
    with closing(sqlite3.connect(part)) as db, db:
        (last,) = db.execute("select max(place) from scored").fetchone()
        db.execute("update scored set logits = zeroblob(16) where place = ?", (last,))
    with WindowStore(own, CHROMS, TILING, SETTINGS) as store:
        with pytest.raises(RunError, match=r"part\.sqlite: .* damaged"):
            store.absorb(part, 600)
        assert store.n_done() == 0
        part.write_bytes(sound)
        store.absorb(part, 600)
        assert store.n_done() == 600


def test_a_store_of_another_layout_is_told_as_such(tmp_path):
    path = tmp_path / "windows.sqlite"
    make_store(path)
    with closing(sqlite3.connect(path)) as db:  # as before there were checks
        db.executescript(
            "alter table windows drop column held; alter table scored drop column held; pragma user_version = 0"
        )
    with pytest.raises(RunError, match="another version of gexplain began") as told:
        read_store(path)
    assert "--no-resume" in told.value.hint
    with pytest.raises(RunError, match="this shard was made by another version of gexplain") as told:
        absorb(path, tmp_path / "out.sqlite")
    assert "make that shard again" in told.value.hint


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_truncated_store_is_refused(tmp_path, share):
    path = tmp_path / "windows.sqlite"
    make_store(path)
    held = path.read_bytes()
    path.write_bytes(held[: int(share * len(held))])
    if share == 0:  # as one that was never begun
        assert read_store(path)[0][0] == 0
        return
    with pytest.raises(RunError, match=r"windows\.sqlite: .*cannot be read") as told:
        read_store(path)
    assert "start it over" in told.value.hint


def test_a_store_without_its_settings_is_refused(tmp_path):
    path = tmp_path / "windows.sqlite"
    make_store(path)
    with WindowStore(path, CHROMS, TILING, SETTINGS) as store:
        store._db.execute("delete from about")
    with pytest.raises(RunError, match="other settings"):
        read_store(path)


# ---- Shards ----


@pytest.fixture(scope="module")
def shards(words, tmp_path_factory) -> list[Path]:
    root = tmp_path_factory.mktemp("shards")
    folders = [root / str(i) for i in (1, 2)]
    for i, folder in enumerate(folders, start=1):
        ended = run(*words(folder, "--shard", f"{i}/2"))
        assert ended.code == 0, ended.err
    return folders


@pytest.fixture
def copies(shards, tmp_path) -> list[Path]:
    return [Path(shutil.copytree(folder, tmp_path / folder.name)) for folder in shards]


def flip(path: Path, place: int) -> None:
    held = bytearray(path.read_bytes())
    held[place] ^= 4
    path.write_bytes(held)


def truncate(path: Path, share: float) -> None:
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def assert_refused(folders: Sequence[Path], out: Path, culprit: Path) -> None:
    """The shard that is damaged is named, with the mend."""
    with pytest.raises(GexplainError) as told:
        merge_shards(folders, out, device="cpu")
    assert str(culprit) in told.value.message
    assert "make that shard again: its command, with --no-resume" in told.value.hint
    assert not (out / MANIFEST).exists()


@pytest.mark.parametrize("name", ["windows.sqlite", "null-part.sqlite"])
def test_a_shard_whose_results_are_damaged_is_named_and_can_be_made_again(copies, words, whole, tmp_path, name):
    store = copies[1] / UNFINISHED / name
    sound = store.read_bytes()
    flip(store, sound.index(b"scored", 4000) if b"scored" in sound[4000:] else len(sound) - 600)
    assert_refused(copies, tmp_path / "out", copies[1])
    store.write_bytes(sound)
    truncate(store, 0.6)
    assert_refused(copies, tmp_path / "out", copies[1])
    assert run(*words(copies[1], "--shard", "2/2", "--no-resume")).code == 0
    merged = run("merge", *copies, "-o", tmp_path / "out", "-p", 1, "-q", "--no-report")
    assert merged.code == 0, merged.err
    assert contents(tmp_path / "out")["regions.tsv"] == whole.files["regions.tsv"]


def test_a_shard_that_lacks_windows_is_named(copies, tmp_path):
    """As where a file system lost its last writes, and not the file that tells of them."""
    with sqlite3.connect(copies[0] / UNFINISHED / "windows.sqlite") as store:
        for table in ("scored", "windows"):
            store.execute(f"delete from {table} where place = (select max(place) from windows)")
    assert_refused(copies, tmp_path / "out", copies[0])


@pytest.mark.parametrize("lost", [UNFINISHED, f"{UNFINISHED}/windows.sqlite"])
def test_a_shard_whose_store_is_gone_is_named_and_made_again(copies, words, tmp_path, lost):
    gone = copies[0] / lost
    _ = shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    assert_refused(copies, tmp_path / "out", copies[0])
    again = run(*words(copies[0], "--shard", "1/2"))
    assert again.code == 0, again.err
    merge_shards(copies, tmp_path / "out", device="cpu")


@pytest.mark.parametrize("share", [0.0, 0.98])
def test_a_truncated_shard_json_is_refused(copies, words, share):
    truncate(copies[0] / SHARD, share)
    with pytest.raises(InputError, match="cannot be read as a shard"):
        read_shard(copies[0])
    assert_told(run(*words(copies[0], "--shard", "1/2")), "cannot be read as a shard", "--no-resume", code=3)


def test_no_flipped_bit_of_a_shard_json_is_used(copies):
    """Each is refused, or changes nothing that is read."""
    path = copies[0] / SHARD
    sound, expected = path.read_bytes(), read_shard(copies[0])
    n_refused = 0
    for place in range(0, len(sound), 5):
        damaged = bytearray(sound)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            assert read_shard(copies[0]) == expected, place
        except InputError:
            n_refused += 1
    assert n_refused > 0.15 * len(sound)


def test_a_shard_json_that_tells_of_fewer_windows_is_refused(copies):
    path = copies[0] / SHARD
    held = json.loads(path.read_bytes())
    path.write_text(json.dumps({**held, "windows": held["windows"] - 1}))
    with pytest.raises(InputError, match="cannot be read as a shard: it is damaged"):
        read_shard(copies[0])


# ---- Finished runs ----


@pytest.fixture
def finished(whole, tmp_path) -> Path:
    return Path(shutil.copytree(whole.folder, tmp_path / "out"))


@pytest.mark.parametrize("name", ["tracks/promoter.bw", "tracks/coverage.bw", "hits.bed", "null/null.fa"])
@pytest.mark.parametrize("share", [None, 0.0, 0.9])
def test_a_file_of_a_finished_run_that_is_gone_or_truncated_is_found(finished, name, share):
    if share is None:
        (finished / name).unlink()
    else:
        truncate(finished / name, share)
    fault = open_run(finished).find_fault()
    assert fault is not None
    assert fault.startswith(f"lacks {finished / name}" if share is None else f"has another {finished / name} than")


def test_an_index_that_is_made_again_may_be_gone(finished, words, whole):
    (finished / "null" / "null.fa.fai").unlink()
    assert run(*words(finished)).code == 0
    assert open_run(finished).find_fault() is None


@pytest.mark.parametrize("files", [{}, {"files": None}])
def test_a_run_of_an_earlier_version_is_refused_until_it_is_forced(finished, words, whole, files):
    manifest = json.loads((finished / MANIFEST).read_text())
    del manifest["files"]
    (finished / MANIFEST).write_text(json.dumps({**manifest, **files}))
    assert_told(run(*words(finished)), "written by an earlier gexplain", "use --force")
    assert run(*words(finished, "--force")).code == 0
    assert contents(finished) == whole.files


@pytest.mark.parametrize("share", [None, 0.5])
def test_a_run_with_such_a_file_is_refused_until_it_is_forced(finished, words, whole, share):
    if share is None:
        (finished / "tracks" / "promoter.bw").unlink()
    else:
        truncate(finished / "tracks" / "promoter.bw", share)
    told = "a finished run lacks" if share is None else "a finished run has another"
    assert_told(run(*words(finished)), told, "promoter.bw", "use --force")
    assert run(*words(finished, "--force")).code == 0
    assert contents(finished) == whole.files


@pytest.mark.parametrize("share", [0.0, 0.99])
def test_a_truncated_manifest_is_refused(finished, words, share):
    truncate(finished / MANIFEST, share)
    assert_told(run(*words(finished)), "manifest.json is no manifest of gexplain", "--force")
    assert_told(run("report", finished), "manifest.json is no manifest of gexplain", code=3)
