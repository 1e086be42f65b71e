"""The workflow, by Snakemake itself: shards, one of them killed once, joined to what one run gives."""

from __future__ import annotations

import importlib.util
import re

import pytest
from workflow_runs import Flow, assert_same, lay_out, one_run

from gexplain.run_folder import open_run
from gexplain.shards import read_shard

pytestmark = pytest.mark.skipif(importlib.util.find_spec("snakemake") is None, reason="needs snakemake")

LOCAL = ("--workflow-profile", "profiles/local", "--cores", "2")


@pytest.fixture(scope="module")
def flow(tmp_path_factory, test_data) -> Flow:
    return lay_out(tmp_path_factory.mktemp("flow"), test_data)


@pytest.fixture(scope="module")
def finished(flow) -> Flow:
    """The workflow, run on 2 cores."""
    done = flow.snakemake(*LOCAL)
    assert done.returncode == 0, done.stdout + flow.logs()
    return flow


def test_shards_are_joined_to_what_one_run_gives(finished, tmp_path, test_data):
    joined, alone = open_run(finished.folder / "out"), one_run(finished, tmp_path / "alone", test_data)
    assert_same(joined, alone)
    assert (joined.path / "report.html").exists()


def test_a_shard_that_was_killed_is_tried_again_and_goes_on(finished):
    assert [one.shard for one in finished.tries] == ["1/2", "2/2", "2/2"]
    _, killed, again = finished.tries
    assert killed.n_done == 0 < again.n_done < read_shard(finished.folder / "out.work/2_of_2").n_windows


def test_what_is_done_is_not_done_again(finished):
    done = finished.snakemake(*LOCAL, "--dry-run")
    assert "Nothing to be done" in done.stdout


def test_a_run_that_is_finished_stays_when_merge_is_forced(finished):
    manifest = finished.folder / "out/manifest.json"
    before = manifest.stat()
    finished.configure(report="false")
    done = finished.snakemake(*LOCAL, "--forcerun", "merge")
    assert done.returncode == 0, done.stdout + finished.logs()
    assert re.findall(r"^localrule (\w+):", done.stdout, flags=re.M) == ["merge", "all"]
    assert (manifest.stat().st_ino, manifest.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_wrong_config_is_one_clear_error_and_no_job(tmp_path, test_data):
    flow = lay_out(tmp_path, test_data)
    flow.configure(options="'--strand sideways'")
    done = flow.snakemake(*LOCAL)
    assert done.returncode == 1
    assert "config.yaml: options: Invalid value for '--strand': 'sideways' is not one of" in done.stdout
    assert "Traceback" not in done.stdout
    assert not (flow.folder / "out.work").exists()


def test_an_input_that_cannot_be_scored_is_told_once_before_any_shard(tmp_path, test_data):
    flow = lay_out(tmp_path, test_data)
    (flow.folder / "../my peaks.bed").write_text("chr1\t200\t100\n")
    done = flow.snakemake(*LOCAL)
    assert done.returncode == 1
    assert "start (200) is greater than end (100)" in (flow.folder / "out.work/logs/check.log").read_text()
    assert done.stdout.count("Error in rule") == 1
