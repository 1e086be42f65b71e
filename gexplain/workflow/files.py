"""The files of a workflow, as `gexplain workflow init` writes them: a Snakefile, config.yaml, and profiles, each of
which says where jobs run.

    gexplain/workflow/template/    Snakefile  config.yaml  profiles/{local,slurm,kubernetes}/config.yaml
"""

from __future__ import annotations

import json
import os
from importlib.resources import files
from pathlib import Path

from gexplain.errors import InputError, RunError, UsageError, preview
from gexplain.genome.tracks import partial_path, write_error
from gexplain.models.bundled import DEFAULT_MODEL
from gexplain.workflow.settings import CONFIG

PROFILES = ("local", "slurm", "kubernetes")


def write_workflow(
    folder: str | os.PathLike[str],
    *,
    regions: str | os.PathLike[str] | None = None,
    genome: str | os.PathLike[str] | None = None,
    model: str | os.PathLike[str] = DEFAULT_MODEL,
    output: str | os.PathLike[str] | None = None,
    n_shards: int = 8,
    n_gpus: int = 1,
    force: bool = False,
) -> Path:
    """Write a Snakemake workflow into a folder, and return its config.yaml: the twin of `gexplain workflow init`.

    regions, genome, output: relative to the current directory, as everywhere, and written in full; by default
    placeholders to be edited. model: what `load_model` takes. n_gpus: that each shard asks for. Files of an earlier
    workflow are replaced with `force` only.

    Raises InputError for regions or a genome that are not there, UsageError for numbers that cannot be, RunError
    where there is something already or the folder cannot be written.
    """
    for name, number, least in (("n_shards", n_shards, 1), ("n_gpus", n_gpus, 0)):
        if number < least:
            raise UsageError(f"{name} {number}; expected at least {least}", hint="leave it out for the default")
    for what, path in (("regions", regions), ("genome", genome)):
        if path is not None and not Path(path).is_file():
            raise InputError(
                f"{path}: no such file; expected {what}", hint="leave it out, and edit config.yaml later"
            )
    values = {
        "REGIONS": "peaks.bed" if regions is None else _in_full(regions),
        "GENOME": "genome.fa" if genome is None else _in_full(genome),
        "MODEL": _in_full(model) if Path(model).exists() else os.fspath(model),
        "OUTPUT": "out" if output is None else _in_full(output),
        "SHARDS": n_shards,
        "GPUS": n_gpus,
    }
    texts = {
        name: _template(name) for name in ("Snakefile", CONFIG, *(f"profiles/{one}/{CONFIG}" for one in PROFILES))
    }
    for key, value in values.items():
        # JSON is YAML, and quotes whatever a path may hold.
        texts[CONFIG] = texts[CONFIG].replace(f"@{key}@", json.dumps(value, ensure_ascii=False))
    out = Path(folder)
    there = [name for name in texts if os.path.lexists(out / name)]
    if there and not force:
        raise RunError(
            f"{out}: {preview(there)} {'is' if len(there) == 1 else 'are'} there already",
            hint="give another folder, or --force to replace what was edited there",
        )
    for name, text in texts.items():
        _write(out / name, text)
    return out / CONFIG


def _template(name: str) -> str:
    return files("gexplain").joinpath("workflow", "template", *name.split("/")).read_text(encoding="utf-8")


def _in_full(path: str | os.PathLike[str]) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - a link to the lab's disk stays that link


def _write(path: Path, text: str) -> None:
    partial = partial_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8", newline="\n")
        partial.replace(path)
    except OSError as error:
        raise write_error(path, error) from error
