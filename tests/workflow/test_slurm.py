"""The same workflow on a Slurm cluster, by Snakemake's own executor for it: slurmctld and slurmd of this machine."""

from __future__ import annotations

import importlib.util

import pytest
from tiny_slurm import missing_for_slurm, slurm_cluster
from workflow_runs import assert_same, lay_out, one_run

from gexplain.run_folder import open_run

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("snakemake_executor_plugin_slurm") is None, reason="needs Snakemake's Slurm plugin"
    ),
    pytest.mark.skipif(bool(missing_for_slurm()), reason=missing_for_slurm() or "Slurm is here"),
]

# The tiny cluster keeps no accounts. A job's end is looked for after so many seconds, then after 10 more each time.
PROFILE = ("--workflow-profile", "profiles/slurm", "--slurm-status-command", "squeue", "--latency-wait", "5")
PROMPT = ("--slurm-init-seconds-before-status-checks", "1")


def test_shards_are_jobs_with_a_gpu_each_and_a_killed_one_goes_on(tmp_path, test_data):
    flow = lay_out(tmp_path / "flow", test_data, n_gpus=1)
    flow.configure(report="false")
    (flow.folder / "out.work").mkdir()
    (flow.folder / "out.work/check.json").write_text("{}")  # a job like the others, and its time is saved
    (tmp_path / "slurm").mkdir()
    with slurm_cluster(tmp_path / "slurm") as variables:
        done = flow.snakemake(*PROFILE, *PROMPT, **variables)
    assert done.returncode == 0, done.stdout + flow.logs()
    first, killed, again = flow.tries
    assert [one.shard for one in flow.tries] == ["1/2", "2/2", "2/2"]
    assert killed.n_done == 0 < again.n_done
    assert len({one.job for one in flow.tries}) == 3
    assert {first.gpu, killed.gpu} == {"0", "1"}
    assert_same(open_run(flow.folder / "out"), one_run(flow, tmp_path / "alone", test_data))
