"""Reports: the page of a finished run, with the trust that was measured in its tracks.

    a finished run --+-- a sample of its windows, read again by its model --> OUT/quality.json
                     +-- tables, tracks, quality.json ----------------------> OUT/report.html

Only measuring loads a model; the page is made, and made again, from what lies in the folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from gexplain.attributions import default_motifs
from gexplain.errors import ModelError
from gexplain.genome.fasta import Genome
from gexplain.motifs.database import MotifSet, load_motifs
from gexplain.report.browser_files import BROWSER, IGV_SESSION, write_browser_files
from gexplain.report.page import DEFAULT_TOP, write_report
from gexplain.run_folder import MANIFEST, QUALITY, REPORT, Run, open_genome, open_run
from gexplain.work_folder import locked, resumable, write_whole

if TYPE_CHECKING:
    from gexplain.models.model import Model

Progress = Callable[[int, int], None]
"""Called with what is done, and what there is to do in all."""


def make_report(
    run: Run | str | os.PathLike[str],
    *,
    genome: Genome | str | os.PathLike[str] | None = None,
    model: Model | str | os.PathLike[str] | None = None,
    motifs: MotifSet | None = None,
    assembly: str | None = None,
    top: int = DEFAULT_TOP,
    progress: Progress | None = None,
    quality_progress: Progress | None = None,
) -> Path:
    """Write report.html of a finished run, and what browsers open: the library twin of `gexplain report`.

    genome: the run's FASTA, where it was moved, or open already. model: measures the quality of the tracks on a
    sample of the run's windows, and writes quality.json; without one, the page shows what was measured before.
    motifs: those of the run, if they are loaded already. assembly: what UCSC calls the genome, for its track hub;
    what browsers open is written for it, and where it is not there.
    top: regions shown in detail. progress: called with regions; quality_progress: with sampled windows.

    Raises InputError for what is no finished run and for another genome, ModelError for another model than the run's,
    RunError where the folder cannot be written, or another run is at work in it.
    """
    path = run.path if isinstance(run, Run) else open_run(run).path
    with ExitStack() as stack:
        stack.enter_context(locked(path))
        stack.enter_context(resumable(path))
        run = open_run(path)  # now that no other can take its place
        opened = genome if isinstance(genome, Genome) else stack.enter_context(open_genome(run, genome))
        if model is not None:
            _measure(run, model, opened, quality_progress)
        if assembly is not None or not all((run.path / name).exists() for name in (BROWSER, IGV_SESSION)):
            notes = write_browser_files(run.path, run.path, run.manifest, opened, assembly=assembly)
            run = _with_notes(run, notes)
        if motifs is None and "motifs" in run.manifest.get("calls", {}):
            motifs = load_motifs(default_motifs(run.path))
        return write_report(run, genome=opened, motifs=motifs, top=top, progress=progress)


def complete_report(
    run: Run,
    model: Model,
    genome: Genome | str | os.PathLike[str] | None = None,
    *,
    progress: Progress | None = None,
    quality_progress: Progress | None = None,
) -> None:
    """Make what is not there yet of a finished run's report: quality.json with its model, and the page."""
    if (run.path / REPORT).exists():  # this run's: a new run takes an old page away
        return
    is_measured = (run.path / QUALITY).exists()
    make_report(
        run,
        genome=genome,
        model=None if is_measured else model,
        progress=progress,
        quality_progress=quality_progress,
    )


def _with_notes(run: Run, notes: list[str]) -> Run:
    """The run with other notes in its manifest: an assembly that is named now was missed there before."""
    manifest = {**run.manifest, "notes": notes}
    if manifest != run.manifest:
        write_whole(run.path / MANIFEST, json.dumps(manifest, indent=2) + "\n")
    return Run(run.path, manifest)


def _measure(run: Run, model: Model | str | os.PathLike[str], genome: Genome, progress: Progress | None) -> None:
    # Torch is loaded here and not before.
    from gexplain.models.model import Model, load_model
    from gexplain.quality import measure_quality, write_quality

    loaded = model if isinstance(model, Model) else load_model(model, dtype=run.manifest["settings"]["dtype"])
    if loaded.checkpoint.sha256 != run.manifest["model"]["sha256"]:
        raise ModelError(
            f"{loaded.checkpoint.source} is not the model of {run.path}: its sha256 is another than in the manifest",
            detail=f"the run was made with {run.manifest['model']['source']}",
            hint="give the checkpoint that the run was made with",
        )
    write_quality(run, measure_quality(run, loaded, genome, progress=progress))
