"""Workflows over tiny inputs, for Snakemake to run: their paths have spaces, and their `gexplain` dies once."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

import gexplain
from gexplain.workflow.files import write_workflow

BED = "chr1\t2000\t11000\tlong\t0\t+\nchr1\t40000\t43000\tright\t0\t-\nchr2\t1000\t6000\t.\t0\t-\n"
SMALL = {"null_regions": 12, "match_p": 0.01, "q": 1.0, "batch_size": 2}
TABLES = ("regions.tsv", "stats.tsv", "seqlets.bed", "hits.bed", "motif_summary.tsv")

# `gexplain`, but that its first try at shard 2 is killed between two pools of windows. tries.txt gets, for each try
# at a shard, which it is, how many of its windows were there already, and which GPU of which Slurm job it has.
_MORTAL = """\
#!{python}
import os, signal, sys
from pathlib import Path
from gexplain.scoring import Scoring
from gexplain.store import WindowStore
from gexplain_cli.main import main

tries, fill, add = Path(__file__).with_name("tries.txt"), Scoring.fill_shard, WindowStore.add

def fill_and_tell(scoring, store, null, shard, progress):
    which = "{{}}/{{}}".format(*shard)
    is_first = not tries.exists() or which not in tries.read_text()
    with tries.open("a") as file:
        print(which, store.n_done(), *map(os.environ.get, ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID")), file=file)
    if is_first and shard[0] == 2:
        WindowStore.add = add_and_die
    fill(scoring, store, null, shard, progress)

def add_and_die(store, results):
    add(store, results)
    store.commit()
    os.kill(os.getpid(), signal.SIGKILL)

Scoring.fill_shard = fill_and_tell
main()
"""


class Try(NamedTuple):
    """At a shard: which, how many of its windows were there already, and which GPU of which Slurm job it has."""

    shard: str
    n_done: int
    gpu: str
    job: str


@dataclass(frozen=True, slots=True)
class Flow:
    """A workflow in a folder, and how Snakemake is run on it."""

    folder: Path
    mortal: Path

    @property
    def tries(self) -> list[Try]:
        """At shards, in their order and that of time."""
        rows = [line.split() for line in (self.mortal / "tries.txt").read_text().splitlines()]
        return sorted((Try(share, int(n), gpu, job) for share, n, gpu, job in rows), key=lambda one: one.shard)

    def snakemake(self, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Snakemake in the folder; what it says is in stdout, whichever stream it took."""
        path = os.pathsep.join(
            [str(self.mortal), str(Path(sys.executable).parent), variables.pop("PATH", os.environ["PATH"])]
        )
        return subprocess.run(
            [sys.executable, "-m", "snakemake", "--nocolor", *options],
            cwd=self.folder,
            env=os.environ | {"PATH": path, "XDG_CACHE_HOME": str(self.mortal)} | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )

    def logs(self) -> str:
        """What jobs said, for a test that fails."""
        return "".join(f"== {path.name}\n{path.read_text()}" for path in self.folder.rglob("*.work/logs/*.log"))

    def configure(self, **changes: str) -> None:
        """Change the lines of config.yaml that begin with these keys."""
        config = self.folder / "config.yaml"
        text = config.read_text()
        for key, value in changes.items():
            text, n_lines = re.subn(
                rf"^( *{key}:).*$", lambda line, value=value: f"{line[1]} {value}", text, flags=re.M
            )
            assert n_lines, key
        config.write_text(text)


def lay_out(root: Path, test_data: Path, *, n_gpus: int = 0) -> Flow:
    """A workflow over tiny inputs in 2 shards, in a new folder: a thread a shard."""
    lab, mortal = root / "a lab", root / "bin"
    lab.mkdir(parents=True)
    (lab / "my peaks.bed").write_text(BED)
    mortal.mkdir()
    script = mortal / "gexplain"
    script.write_text(_MORTAL.format(python=sys.executable))
    script.chmod(0o755)
    flow = Flow(lab / "my flow", mortal)
    write_workflow(
        flow.folder,
        regions=lab / "my peaks.bed",
        genome=test_data / "genome.fa",
        model=test_data / "tiny_checkpoint",
        n_shards=2,
        n_gpus=n_gpus,
    )
    motifs = ["--motifs", str(test_data / "motifs.meme")]
    options = [word for name, value in SMALL.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    flow.configure(
        options=json.dumps(shlex.join([*options, *motifs])), regions="../my peaks.bed", threads="1", mem_mb="1000"
    )
    return flow


def one_run(flow: Flow, out: Path, test_data: Path) -> gexplain.Run:
    """What `score` gives of the same."""
    settings = gexplain.ScoreSettings(**SMALL, motifs=str(test_data / "motifs.meme"))
    model = test_data / "tiny_checkpoint"
    return gexplain.score(
        flow.folder / "../my peaks.bed", test_data / "genome.fa", model, output=out, settings=settings
    )


def assert_same(one: gexplain.Run, other: gexplain.Run) -> None:
    """Tables to the byte, tracks to 1e-6."""
    for table in TABLES:
        assert (one.path / table).read_bytes() == (other.path / table).read_bytes(), table
    assert one.tracks.keys() == other.tracks.keys()
    with gexplain.Genome(one.manifest["genome"]["file"]) as genome:
        for name in one.tracks:
            for chrom, length in genome.chroms.items():
                place = gexplain.Interval(chrom, 0, length)
                np.testing.assert_allclose(one.values(name, place), other.values(name, place), atol=1e-6)
