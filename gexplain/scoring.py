"""One run's work: inputs, a model and settings that fit together, windows computed, outputs written.

Where the outputs lie, and how an interrupted run goes on, is for runs.py.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gexplain.attribution.explainers import TokenExplainer
from gexplain.attribution.target import Target, parse_target
from gexplain.calls import HITS, SEQLETS, call_hits, call_seqlets
from gexplain.errors import InputError, SkippedRegionsError, UsageError, count
from gexplain.genome.bed_table import index_bed, write_autosql
from gexplain.inputs import Inputs, ScoreSettings
from gexplain.models.bundled import motifs_of
from gexplain.models.model import Model, choose_device, load_model
from gexplain.motifs.database import MotifSet, load_motifs
from gexplain.null import Null, NullReading, default_null_regions, draw_null
from gexplain.outputs import RegionTable, TrackName, name_tracks, write_statistics, write_tracks
from gexplain.pipeline import WindowResult, pool_size, read_windows, tracks_of
from gexplain.plan import REASONS, Status
from gexplain.run_folder import read_scored_regions
from gexplain.statistics import TrackStatistics
from gexplain.store import WindowStore
from gexplain.track_nulls import from_run
from gexplain.windows import DEFAULT_WINDOW, Tiling, Window

Progress = Callable[[int, int], None]
"""Called with the windows (of calls: the bases) done, and those in all."""

# More of the letters read than this are worth a warning.
AMBIGUOUS_SHARE = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Scoring:
    """Inputs, a model and settings that fit together: one run, all questions answered."""

    inputs: Inputs
    model: Model
    settings: ScoreSettings
    target: Target
    tiling: Tiling
    explainer: TokenExplainer
    names: list[TrackName]
    motifs: MotifSet | None
    motifs_spec: str
    n_null: int

    @classmethod
    def prepare(cls, inputs: Inputs, model: Model | str | os.PathLike[str], settings: ScoreSettings) -> Scoring:
        """The run, with the model loaded if it is not yet."""
        source = model.checkpoint.source if isinstance(model, Model) else os.fspath(model)
        calls_hits = settings.null_regions != 0 and settings.motifs != "none"
        spec = settings.motifs or motifs_of(source)
        motifs = (inputs.motifs or load_motifs(spec)) if calls_hits else None
        if not isinstance(model, Model):
            model = load_model(model, device=settings.device or "auto", dtype=settings.dtype or "float32")
        for what, asked, has in (
            ("device", settings.device and choose_device(settings.device), model.device),
            ("dtype", settings.dtype, model.dtype),
        ):
            if asked is not None and asked != has:
                raise UsageError(f"{what} {asked} asked for, but the model is loaded as {has}", hint="load it so")
        if settings.weight == "probability" and model.head == "regression":
            raise UsageError("a regression has no probability to weight by", hint="use --weight none")
        window = settings.window if settings.window is not None else model.window or DEFAULT_WINDOW
        stride = settings.stride if settings.stride is not None else max(1, window // 2)
        target = parse_target(settings.target, model.labels, settings.explained)
        tiling = Tiling(window, stride, settings.shifts)
        n_null = settings.null_regions
        return cls(
            inputs=inputs,
            model=model,
            settings=settings,
            target=target,
            tiling=tiling,
            explainer=TokenExplainer(model, settings.method, settings.projection, settings.batch_size),
            names=name_tracks(target, inputs.plan.strands(), by_strand=settings.strand == "region"),
            motifs=motifs,
            motifs_spec=spec,
            n_null=default_null_regions(inputs.plan, tiling) if n_null is None else n_null,
        )

    def fingerprint(self) -> dict[str, object]:
        """All that the windows' results depend on, beyond rounding: a run is resumed only under the same."""
        return {
            **self._reading(),
            "genome": self.inputs.genome_sha256,
            "regions": self.inputs.sha256,
            "scored regions": self.inputs.plan.sha256(),
            "formats": sorted(self.settings.formats),
        }

    def record(self) -> dict[str, object]:
        """All that the outputs depend on: a finished run is the same only under the same."""
        called: dict[str, object] = {"null regions": self.n_null}
        if self.n_null:
            called |= {"seed": self.settings.seed, "q": self.settings.q, "tabix": self.settings.tabix}
        if self.motifs is not None:
            called |= {
                "motifs": self.motifs.source,
                "motifs sha256": self.motifs.sha256,
                "match p": self.settings.match_p,
            }
        return self.fingerprint() | called

    def _reading(self) -> dict[str, object]:
        """How sequence is read."""
        return {
            "gexplain": version("gexplain"),
            **self.model.identity(),
            "classes": list(self.model.labels),
            "head": self.model.head,
            "dtype": self.model.dtype,
            "window": self.tiling.window,
            "stride": self.tiling.stride,
            "shifts": self.tiling.shifts,
            "target": list(self.target.names),
            "explained": self.settings.explained,
            "method": self.explainer.method,
            "projection": self.settings.projection,
            "strand": self.settings.strand,
            "weight": self.settings.weight,
        }

    def results(
        self, windows: Iterable[Window], n_done: int, progress: Progress | None
    ) -> Generator[list[WindowResult]]:
        """Results of windows, pool by pool, telling progress; to be closed, as those of `read_windows`."""
        n_windows = self.inputs.plan.count_windows(self.tiling)
        with closing(read_windows(windows, self.inputs.genome, self.explainer, self.target)) as pools:
            for pool in pools:
                yield pool
                n_done += len(pool)
                if progress is not None:
                    progress(n_done, n_windows)

    def prepare_null(self, kept: Path, work: Path) -> Null | None:
        """The null of the run, still to be read unless it is in `kept`; None where none is asked for."""
        if not self.n_null:
            return None
        pieces = draw_null(self.inputs.plan, self.inputs.genome, self.tiling, self.n_null, self.settings.seed)
        if not pieces:
            return None
        key = self._reading()
        if not self.target.classes:  # then it depends on what is predicted, and so on all that is read
            key |= {"genome": self.inputs.genome_sha256, "scored regions": self.inputs.plan.sha256()}
        reading = NullReading(
            self.model, self.explainer, self.target, self.tiling, self.settings.weight, self.names, key
        )
        return Null.prepare(pieces, reading, self.settings.strand, kept, work)

    def shard_windows(self, shard: tuple[int, int]) -> tuple[int, int]:
        """From which to which of the plan's windows a shard (its number from 1, of how many) reads."""
        number, n_shards = shard
        return self.shards(n_shards)[number - 1]

    def shards(self, n_shards: int) -> list[tuple[int, int]]:
        """From which to which of the plan's windows each of so many shards reads.

        Shards end where pools end, so that each window is read in the same batch as without shards.
        """
        n_windows = self.inputs.plan.count_windows(self.tiling)
        n_pool = pool_size(self.explainer)
        n_pools = -(-n_windows // n_pool)
        return list(pairwise(min(n_pools * nth // n_shards * n_pool, n_windows) for nth in range(n_shards + 1)))

    def fill_shard(
        self, store: WindowStore, null: Null | None, shard: tuple[int, int], progress: Progress | None
    ) -> None:
        """Compute what the store lacks of a shard's windows, and the shard's pieces of the null.

        A piece belongs to the shard that reads all windows inside its place; a few belong to none.
        """
        plan = self.inputs.plan
        low, high = self.shard_windows(shard)
        whose: list[int] = []
        if null is not None and not null.is_whole:
            first, past = plan.ordinals(self.tiling, null.pieces).T
            whose = np.flatnonzero((low <= first) & (past <= high) & (first < past)).tolist()
        n_null = 0 if null is None else null.count_windows() * len(whose) // max(1, len(null.pieces))
        n_all = high - low + n_null  # the null's: nearly

        def tell(n_done: int) -> None:
            if progress is not None:
                progress(min(n_done, n_all), n_all)

        n_done = store.n_done()
        tell(n_done)
        missing = plan.windows(self.tiling, store.done, (low, high))
        with closing(self.results(missing, n_done, lambda n_done, _: tell(n_done))) as pools:
            for pool in pools:
                store.add(pool)
        store.commit()
        if null is not None and whose and store.n_scored():
            null.fill_part(store, whose, lambda n_done: tell(high - low + n_done))

    def fill(
        self, store: WindowStore, null: Null | None, progress: Progress | None, null_parts: Sequence[Path] = ()
    ) -> None:
        """Compute what the store and the null lack; null_parts: what shards read of the null."""
        n_windows = self.inputs.plan.count_windows(self.tiling)
        n_all = n_windows + (null.count_windows() if null is not None else 0)

        def tell(n_done: int) -> None:
            if progress is not None:
                progress(n_done, n_all)

        tell(store.n_done())
        missing = self.inputs.plan.windows(self.tiling, store.done)
        with closing(self.results(missing, store.n_done(), lambda n_done, _: tell(n_done))) as pools:
            for pool in pools:
                store.add(pool)
        if null is not None and store.n_scored():
            store.commit()  # the null may take long, and is of these windows
            null.fill(store, lambda n_done: tell(n_windows + n_done), null_parts)

    def write(
        self, store: WindowStore, null: Null | None, work: Path, call_progress: Progress | None = None
    ) -> dict[str, Any]:
        """Write all outputs but the manifest into the work directory; returns the manifest.

        call_progress: called as seqlets and hits are called.
        """
        inputs, plan = self.inputs, self.inputs.plan
        shutil.rmtree(work / "tracks", ignore_errors=True)
        (work / "tracks").mkdir()
        tracks = tracks_of(store.all_results(), self.model, self.target, self.settings.weight)
        # Calls are made from bigWigs, whether they are kept or not.
        formats = dict.fromkeys([*self.settings.formats, *(["bigwig"] if null is not None else [])])
        statistics = write_tracks(work / "tracks", self.names, list(formats), plan.chroms, tracks)
        table = RegionTable(plan, store, inputs.genome, self.model, self.target, self.tiling, self.settings.weight)
        statuses = table.write(work / "regions.tsv")
        if self.settings.strict and statuses[Status.ONLY_N]:
            raise strict_error(inputs.source, statuses[Status.ONLY_N])
        write_statistics(work / "stats.tsv", statistics)
        manifest = self._manifest(store, statuses, statistics)
        if null is not None:
            with nullcontext() if self.motifs is None else _torch_s_threads_kept():
                manifest["calls"], warnings = self._call(null, work, statistics, call_progress)
            manifest["warnings"] += warnings
        elif self.n_null:
            manifest["warnings"].append(
                "no seqlets and no hits: no piece of the regions could be shuffled for a null"
            )
        if "bigwig" not in self.settings.formats:
            for path in (work / "tracks").glob("*.bw"):
                path.unlink()
        return manifest

    def _call(
        self, null: Null, work: Path, statistics: Mapping[str, TrackStatistics], progress: Progress | None
    ) -> tuple[dict[str, Any], list[str]]:
        """Write seqlets and hits, from what lies in the work directory; returns what the manifest says of them, and
        warnings.
        """
        settings = self.settings
        # Where all regions of a strand are N alone, neither its track nor its null has a value.
        names = [one for one in self.names if one.kind == "relevance" and statistics[one.stem].n_bases]
        attributions = from_run(
            {one.stem: work / "tracks" / f"{one.stem}.bw" for one in names},
            self.inputs.genome,
            null.folder,
            read_scored_regions(work / "regions.tsv"),
            {one.stem: one.strand for one in names} if settings.strand == "region" else None,
        )
        n_bases = attributions.n_bases()
        n_all = n_bases * (1 if self.motifs is None else 2)

        def tell_from(n_before: int) -> Progress | None:
            return None if progress is None else lambda n_done, _: progress(n_before + n_done, n_all)

        called: dict[str, Any] = {"null": null.describe(settings.seed)}
        seqlets = call_seqlets(attributions, work / "seqlets.bed", q=settings.q, progress=tell_from(0))
        called["seqlets"], warnings = seqlets.counts, seqlets.warnings
        tables = {"seqlets": SEQLETS}
        if self.motifs is not None:
            is_file = self.motifs.source == self.motifs_spec
            called["motifs"] = {
                # Whoever reads it again may be in another folder.
                "given as": str(Path(self.motifs_spec).resolve()) if is_file else self.motifs_spec,
                "source": self.motifs.source,
                "motifs": len(self.motifs),
            }
            hits = call_hits(
                attributions,
                self.motifs,
                work / "hits.bed",
                summary=work / "motif_summary.tsv",
                q=settings.q,
                match_p=settings.match_p,
                progress=tell_from(n_bases),
            )
            called["primary hits"], warnings = hits.counts, [*warnings, *hits.warnings]
            tables["hits"] = HITS
        for name, schema in tables.items():
            write_autosql(work / f"{name}.as", schema)
            if settings.tabix:
                index_bed(work / f"{name}.bed", self.inputs.plan.chroms)
        return called, warnings

    def _manifest(
        self, store: WindowStore, statuses: Counter[Status], statistics: Mapping[str, TrackStatistics]
    ) -> dict[str, Any]:
        inputs, plan, model = self.inputs, self.inputs.plan, self.model
        warnings = [*inputs.warnings, *only_n_warnings(statuses[Status.ONLY_N])]
        n_read = sum(statistics[name.stem].sum for name in self.names if name.kind == "coverage")
        if store.n_ambiguous() > AMBIGUOUS_SHARE * n_read:
            warnings.append(
                f"{store.n_ambiguous() / n_read:.0%} of the bases read are none of A, C, G and T"
                " (N, IUPAC letters, or RNA's U): the model reads them as unknown"
            )
        return {
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": {
                "python": platform.python_version(),
                **{name: version(name) for name in ("gexplain", "torch", "tokenizers", "pysam", "pyBigWig")},
            },
            "settings": self.record(),
            "model": {
                "source": model.checkpoint.source,
                "form": model.checkpoint.form,
                "sha256": model.checkpoint.sha256,
                "classes": list(model.labels),
                "head": model.head,
            },
            "genome": {
                "file": str(inputs.genome.path),
                "sha256": inputs.genome_sha256,
                "chromosomes": len(plan.chroms),
                "bases": sum(plan.chroms.values()),
            },
            "regions": {
                "source": inputs.source,
                "sha256": inputs.sha256,
                "lines": plan.n_regions,
                "scored": statuses[Status.SCORED],
                "skipped": {REASONS[one]: n for one, n in statuses.items() if one != Status.SCORED},
            },
            "rules": dict(self.explainer.rules),
            "device": str(model.device),
            "windows": {"read": store.n_scored(), "N alone": store.n_done() - store.n_scored()},
            "ambiguous bases read": store.n_ambiguous(),
            "tracks": {
                name.stem: {
                    "kind": name.kind,
                    "target": name.target,
                    "strand": name.strand,
                    "bases": statistics[name.stem].n_bases,
                }
                for name in self.names
            },
            "warnings": warnings,
        }


@contextmanager
def _torch_s_threads_kept() -> Iterator[None]:
    """Numba, by which motifs are looked for, takes as many threads as torch, and not all cores.

    It sets OpenMP's threads for all, too: torch would then fight itself for cores.
    """
    import numba  # comes with the scanner

    n_threads = torch.get_num_threads()
    numba.set_num_threads(min(n_threads, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def nothing_scored_error(source: str) -> InputError:
    """The error of a run whose regions hold nothing but N."""
    return InputError(
        f"{source}: every window of the regions is N alone",
        hint="check the regions and the FASTA: nothing there can be scored",
    )


def only_n_warnings(n_only_n: int) -> list[str]:
    """What is to be told of regions of N alone, if there are any."""
    return [f"{count(n_only_n, 'region')} skipped: {REASONS[Status.ONLY_N]}"] if n_only_n else []


def strict_error(source: str, n_only_n: int) -> SkippedRegionsError:
    """The error of a strict run with regions of N alone."""
    return SkippedRegionsError(
        f"{source}: --strict, and {count(n_only_n, 'region')} cannot be scored",
        detail=f"{n_only_n:,} {REASONS[Status.ONLY_N]}",
        hint="remove them; without --strict they are skipped",
    )
