"""A Slurm cluster of this machine alone, with daemons, ports and a key of its own: real, but for its GPUs.

Needs Debian's slurmctld, slurmd, slurm-client and munge, and root, as whom slurmd starts jobs.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")

# No accounts, which need a database, and no cgroups, which not every container has. What stands for a GPU is any
# device file: Slurm counts them and gives each to one job at a time.
_CONF = """\
ClusterName=tiny
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge.sock
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=2
JobAcctGatherType=jobacct_gather/none
MinJobAge=600
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=4000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing_for_slurm() -> str:
    """Why there can be no cluster here, or nothing."""
    gone = [name for name in PROGRAMS if _program(name) is None]
    if gone:
        return f"needs Slurm: no {', '.join(gone)}"
    return "" if os.geteuid() == 0 else "slurmd needs root"


@contextmanager
def slurm_cluster(root: Path) -> Iterator[dict[str, str]]:
    """What the environment of its users has, while the cluster runs. root: an empty folder for all it writes."""
    host = socket.gethostname().partition(".")[0]
    controller_port, node_port = _free_ports(2)
    conf = _CONF.format(
        host=host, root=root, controller_port=controller_port, node_port=node_port, cpus=os.cpu_count()
    )
    (root / "slurm.conf").write_text(conf)
    (root / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
    for name in ("state", "spool"):
        (root / name).mkdir()
    key = root / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    root.chmod(0o755)  # munged wants its socket where everyone may look
    # Snakemake's jobs forget all that begins with SLURM_, and their srun with it where a configuration lies that is
    # not in /etc.
    srun = root / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={root}/slurm.conf exec {_program("srun")} "$@"\n')
    srun.chmod(0o755)
    variables = {"SLURM_CONF": str(root / "slurm.conf"), "PATH": f"{srun.parent}:{os.environ['PATH']}"}
    munge = [f"--{name}={root}/munge.{name}" for name in ("pid-file", "log-file", "seed-file")]
    with ExitStack() as daemons:
        for command in (
            ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={root}/munge.sock", *munge],
            ["slurmctld", "-D", "-c"],
            ["slurmd", "-D"],
        ):
            daemons.enter_context(_daemon(command, root, variables))
        _wait_until_idle(variables, root)
        yield variables
        # A job that a failed test left would outlive its cluster.
        subprocess.run(["scancel", "--user=root"], env=os.environ | variables, check=True)


@contextmanager
def _daemon(command: list[str], root: Path, variables: dict[str, str]) -> Iterator[None]:
    with (root / f"{command[0]}.out").open("wb") as out:
        running = subprocess.Popen(
            [_program(command[0]), *command[1:]],
            env=os.environ | variables,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
        try:
            yield
        finally:
            running.terminate()
            try:
                running.wait(10)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


def _wait_until_idle(variables: dict[str, str], root: Path, timeout_s: float = 20) -> None:
    """Until the node takes jobs; RuntimeError with what the daemons said if it never does."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        asked = subprocess.run(
            ["sinfo", "--noheader", "--format=%t"],
            env=os.environ | variables,
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.stdout.strip() == "idle":
            return
        time.sleep(0.2)
    said = "".join(f"== {path.name}\n{path.read_text(errors='replace')}" for path in root.glob("*.log"))
    raise RuntimeError(f"the cluster did not come up: {asked.stdout}{asked.stderr}\n{said}")


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")


def _free_ports(n: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(n)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
