"""`gexplain workflow`: what it writes, and which options of `gexplain score` its config.yaml may hold."""

from __future__ import annotations

import re

import pytest
from gexplain_cli.workflow import read_config

from gexplain.errors import InputError
from gexplain.workflow.files import PROFILES

JOB = {"threads": 1, "gpus": 0, "mem_mb": 1000, "runtime": 60}
CONFIG = {
    "regions": "peaks.bed",
    "genome": "genome.fa",
    "model": "human-tf",
    "output": "out",
    "shards": 2,
    "shard": JOB,
    "merge": JOB,
}


def line_of(config: str, key: str) -> str:
    found = re.search(rf"^ *{key}: *([^#\n]*?) *(#.*)?$", config, flags=re.MULTILINE)
    assert found, key
    return found[1]


def test_paths_are_written_in_full_and_the_rest_as_given(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("my peaks.bed", "genome.fa"):
        (tmp_path / name).touch()
    words = ["--regions", "my peaks.bed", "--genome", "genome.fa", "-m", "lab/model", "-o", "out"]
    done = run("workflow", "init", "flow", *words, "--shards", "12", "--gpus", "0")
    assert (done.code, done.out) == (0, "")
    config = (tmp_path / "flow/config.yaml").read_text()
    assert line_of(config, "regions") == f'"{tmp_path}/my peaks.bed"'
    assert line_of(config, "output") == f'"{tmp_path}/out"'
    assert [line_of(config, key) for key in ("model", "shards", "  gpus")] == ['"lab/model"', "12", "0"]
    assert "cd flow\n" in done.err
    assert "snakemake --workflow-profile profiles/local" in done.err


def test_what_was_not_given_is_to_be_edited(run, tmp_path):
    done = run("workflow", "init", tmp_path / "flow")
    assert f"say regions: and genome: in {tmp_path}/flow/config.yaml" in done.err
    assert "@" not in (tmp_path / "flow/config.yaml").read_text()
    assert all((tmp_path / f"flow/profiles/{name}/config.yaml").exists() for name in PROFILES)


def test_what_is_there_is_replaced_with_force_only(run, tmp_path):
    run("workflow", "init", tmp_path)
    (tmp_path / "Snakefile").write_text("edited")
    refused = run("workflow", "init", tmp_path)
    assert refused.code == 1
    assert "Snakefile, config.yaml" in refused.err
    assert "are there already" in refused.err
    assert (tmp_path / "Snakefile").read_text() == "edited"
    assert run("workflow", "init", tmp_path, "--force", "-q").err == ""
    assert (tmp_path / "Snakefile").read_text() != "edited"


def test_one_file_that_is_there_is_enough(run, tmp_path):
    (tmp_path / "config.yaml").write_text("mine")
    assert "config.yaml is there already" in run("workflow", "init", tmp_path).err
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_regions_that_are_not_there_are_refused(run, tmp_path):
    done = run("workflow", "init", tmp_path / "flow", "--regions", tmp_path / "no.bed")
    assert done.code == 3
    assert "no such file; expected regions" in done.err
    assert not (tmp_path / "flow").exists()


def test_a_folder_that_cannot_be_written_is_one_clear_error(run, tmp_path):
    (tmp_path / "file").touch()
    done = run("workflow", "init", tmp_path / "file/flow")
    assert (done.code, done.err.count("\n")) == (1, 2)
    assert "cannot write" in done.err


@pytest.mark.parametrize(
    "options", ["", "--target all --strand region", "-b 64 --dtype bfloat16 -d cuda:1 --chroms 'chr1,chr2'"]
)
def test_options_of_score_may_be_given(options):
    assert read_config(CONFIG | {"options": options}).shards == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--strnd both", "--strnd"),
        ("--window wide", "'wide' is not a valid integer"),
        ("--strand both --window 0", "0 is not in the range x>=1"),
        ("--window 8 --stride 9", "stride"),
        ("--format bedgrph", "unknown formats: bedgrph"),
        ("--null-regions 0 --q 0.1", "--q has no meaning with --null-regions 0"),
        ("--strict --on-bad-line skip", "strict refuses"),
        ("--device all", "--device all: --shard is read by one device"),
        ("-d cuda:0,cuda:1", "--device cuda:0,cuda:1: --shard is read by one device"),
        ("-d cpu,cpu", "--device cpu,cpu: --shard is read by one device"),
        ("-d nonsense", "no device 'nonsense'"),
        ("-o elsewhere", "--output has no place there"),
        ("--shard 1/2", "--shard has no place there"),
        ("--help", "--help"),
        ("-p 4", "--threads has no place there"),
        ("--no-report", "--report has no place there"),
        ("--force", "--force has no place there"),
        ("-r chr1:1-100", "--region has no place there"),
        ("more.bed", "more.bed has no place there"),
    ],
)
def test_options_that_cannot_be_are_told_before_any_job(options, said):
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        read_config(CONFIG | {"options": options})
    assert caught.value.message.startswith("config.yaml: options: ")
    assert caught.value.detail == options
    assert caught.value.hint
