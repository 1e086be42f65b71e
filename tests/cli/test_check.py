"""`gexplain check` and `gexplain score --dry-run`: one report, nothing written, the errors of a run."""

from __future__ import annotations

import json
import re

import pytest

BED = "chr1\t40000\t40100\ta\t0\t+\nchr2\t50000\t50400\tb\t0\t-\nchrNo\t1\t9\tc\t0\t.\n"


@pytest.fixture
def check(run, test_data):
    """`gexplain check` of a BED's text on the test genome with the tiny checkpoint."""

    def run_check(*options: object, command: tuple[str, ...] = ("check",), bed: str = BED):
        words = ("-", test_data / "genome.fa", "-m", test_data / "tiny_checkpoint", "--target", "promoter")
        return run(*command, *words, *options, stdin=bed.encode())

    return run_check


def plain(text: str) -> str:
    """A report without what is measured."""
    return re.sub(r"[\d.,]+(e[-+]\d+)? (s|min|h|MB|GB)\b|from [\d,]+", "#", text)


def test_it_tells_regions_by_reason_windows_and_seconds_on_standard_output(check):
    outcome = check()
    assert outcome.code == 0, outcome.err
    assert "2 of 3 regions to be scored" in outcome.out
    assert "chromosome not in the FASTA" in outcome.out
    for line in ("windows", "null", "rate", "time", "memory", "disk"):
        assert re.search(rf"^{line}\s", outcome.out, re.MULTILINE), line


def test_json_counts_what_the_run_does(check, run, score, tmp_path):
    said = json.loads(check("--json").out)
    assert score(BED, output=tmp_path / "out").code == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert said["windows"] == sum(manifest["windows"].values())
    assert said["regions"] == {"scored": 2, "chromosome not in the FASTA": 1}
    assert said["null_regions"] == manifest["calls"]["null"]["regions"]
    assert said["total_s"] == pytest.approx(sum(said["seconds"].values()))


def test_a_dry_run_says_the_same_and_writes_nothing(check, tmp_path):
    out = tmp_path / "out"
    dry = check("-o", out, "--dry-run", command=("score",))
    assert dry.code == 0, dry.err
    assert plain(dry.out) == plain(check("-o", out).out)
    assert list(tmp_path.iterdir()) == []


def test_without_a_report_its_seconds_are_not_counted(check):
    assert "quality" in json.loads(check("--json").out)["seconds"]
    assert not {"quality", "report"} & set(json.loads(check("--json", "--no-report").out)["seconds"])


@pytest.mark.parametrize(
    ("options", "bed", "code"),
    [
        (("--target", "no such class"), BED, 2),
        (("--null-regions", "0", "--q", "0.1"), BED, 2),
        (("--window", "9", "--stride", "10"), BED, 2),
        ((), "chr1\t9\t5\n", 3),
        ((), "chrNo\t1\t9\n", 3),
        (("--motifs", "no_such.meme"), BED, 3),
        (("--strict",), BED, 4),
    ],
)
def test_errors_and_exit_codes_are_those_of_score(check, tmp_path, options, bed, code):
    mine = check("-o", tmp_path / "out", *options, bed=bed)
    theirs = check("-o", tmp_path / "out", *options, bed=bed, command=("score",))
    assert (mine.code, mine.out) == (code, "")
    assert mine.err == theirs.err


def test_another_run_s_folder_is_refused_as_score_refuses_it(check, tmp_path):
    (tmp_path / "thesis.txt").write_text("")
    mine, theirs = check("-o", tmp_path), check("-o", tmp_path, command=("score",))
    assert (mine.code, mine.err) == (theirs.code, theirs.err)
    assert mine.code == 1


def test_a_stream_is_told_without_a_folder(check):
    outcome = check("-o", "-", "--dry-run", command=("score",))
    assert outcome.code == 0, outcome.err
    assert re.search(r"^time +about .*: start .*, windows [^,]*$", outcome.out, re.MULTILINE)
    assert "disk" not in outcome.out
    refused = check("-o", "-", "--tabix")
    assert (refused.code, refused.out) == (2, "")
    assert "--tabix has no meaning with -o -" in refused.err


def test_a_shard_is_told_by_its_share(check, tmp_path):
    bed = "chr1\t1000\t40000\n"
    whole = json.loads(check("--json", bed=bed).out)
    out = tmp_path / "out"
    shares = [json.loads(check("--json", "--shard", f"{nth}/2", "-o", out, bed=bed).out) for nth in (1, 2)]
    assert sum(one["windows"] for one in shares) == whole["windows"]
    said = check("--shard", "1/2", "--dry-run", "-o", out, bed=bed, command=("score",)).out
    assert f"{shares[0]['windows']:,} after merging, the share of shard 1 of 2" in said
    wrong = check("--shard", "3/2", bed=bed)
    assert (wrong.code, wrong.out) == (2, "")
