"""`gexplain score --shard` and `gexplain merge`."""

from __future__ import annotations

import resource

import pytest

BED = "chr1\t2000\t9000\tleft\nchr2\t1000\t5000\tright\n"
SMALL = ["--motifs", "none", "--null-regions", 6, "-p", 1]


@pytest.fixture
def shards(score, tmp_path):
    """Folders of both shards of a run over a BED in a file."""
    (tmp_path / "regions.bed").write_text(BED)
    folders = [tmp_path / "1", tmp_path / "2"]
    for i, folder in enumerate(folders, start=1):
        outcome = score(tmp_path / "regions.bed", *SMALL, "--shard", f"{i}/2", output=folder)
        assert outcome.code == 0, outcome.err
        assert f"shard {i}/2 is done: {folder}" in outcome.err
    return folders


def test_shards_joined_are_what_one_run_writes(run, score, shards, tmp_path):
    joined = run("merge", *shards[::-1], "-o", tmp_path / "joined", "-p", 1)
    assert joined.code == 0, joined.err
    assert "2 of 2 regions scored" in joined.err
    assert f"the run in pictures: {tmp_path / 'joined' / 'report.html'}" in joined.err
    assert score(tmp_path / "regions.bed", *SMALL, "--no-report", output=tmp_path / "one").code == 0
    for name in ("tracks/promoter.bw", "tracks/coverage.bw", "regions.tsv", "stats.tsv", "seqlets.bed"):
        assert (tmp_path / "joined" / name).read_bytes() == (tmp_path / "one" / name).read_bytes(), name


def test_a_moved_genome_and_moved_regions_are_given(run, shards, tmp_path, test_data):
    (tmp_path / "regions.bed").rename(tmp_path / "moved.bed")
    lost = run("merge", *shards, "-o", tmp_path / "joined", "--no-report", "-q")
    assert lost.code == 3
    assert "regions.bed" in lost.err
    options = ["--regions", tmp_path / "moved.bed", "--genome", test_data / "genome.fa", "--no-report", "-q"]
    assert run("merge", *shards, "-o", tmp_path / "joined", *options).code == 0
    assert not (tmp_path / "joined" / "report.html").exists()


def test_a_missing_shard_is_named(run, shards, tmp_path):
    outcome = run("merge", shards[0], "-o", tmp_path / "joined")
    assert outcome.code == 3
    assert "1 shard of 2 missing: 2/2" in outcome.err


@pytest.fixture
def few_files():
    """A soft limit of 512 open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_more_shards_may_be_open_than_files_at_first(run, few_files, tmp_path):
    outcome = run("merge", *[tmp_path / str(i) for i in range(1000)], "-o", tmp_path / "joined")
    assert "no shard is here" in outcome.err  # and so far it came
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 1000


def test_more_shards_than_the_system_lets_be_open_are_refused(run, monkeypatch, tmp_path):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (512, 1024))
    outcome = run("merge", *[tmp_path / str(i) for i in range(1000)], "-o", tmp_path / "joined")
    assert outcome.code == 2
    assert "1,200 files open at once, and the system allows 1,024" in outcome.err


@pytest.mark.parametrize("text", ["3/2", "1", "0/2"])
def test_what_is_no_shard_is_refused(score, tmp_path, text):
    outcome = score(BED, *SMALL, "--shard", text, output=tmp_path / "out")
    assert outcome.code == 2
    assert f"--shard {text!r}: expected which shard of how many" in outcome.err
    assert not (tmp_path / "out").exists()


def test_a_shard_is_no_stream(score):
    outcome = score(BED, "--shard", "1/2")
    assert outcome.code == 2
    assert "--shard has no meaning with -o -" in outcome.err


def test_a_plain_run_in_a_shard_s_folder_reads_the_rest(score, shards, tmp_path):
    outcome = score(tmp_path / "regions.bed", *SMALL, "--no-report", output=shards[0])
    assert outcome.code == 0, outcome.err
    assert not (shards[0] / "shard.json").exists()
    assert "2 of 2 regions scored" in outcome.err
