"""One run's work: inputs, a model and settings that fit together, windows computed, outputs written.

Where the outputs lie, and how an interrupted run goes on, is for runs.py.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gexplain.attribution.explainers import TokenExplainer
from gexplain.attribution.target import Target, parse_target
from gexplain.errors import InputError, SkippedRegionsError, UsageError, count
from gexplain.inputs import Inputs, ScoreSettings
from gexplain.models.model import Model, choose_device, load_model
from gexplain.outputs import RegionTable, TrackName, name_tracks, write_statistics, write_tracks
from gexplain.pipeline import WindowResult, read_windows, tracks_of
from gexplain.plan import REASONS, Status
from gexplain.statistics import TrackStatistics
from gexplain.store import WindowStore
from gexplain.windows import DEFAULT_WINDOW, Tiling, Window

Progress = Callable[[int, int], None]
"""Called with the windows done and the windows in all."""

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

    @classmethod
    def prepare(cls, inputs: Inputs, model: Model | str | os.PathLike[str], settings: ScoreSettings) -> Scoring:
        """The run, with the model loaded if it is not yet."""
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
        return cls(
            inputs=inputs,
            model=model,
            settings=settings,
            target=target,
            tiling=Tiling(window, stride, settings.shifts),
            explainer=TokenExplainer(model, settings.method, settings.projection, settings.batch_size),
            names=name_tracks(target, inputs.plan.strands(), by_strand=settings.strand == "region"),
        )

    def fingerprint(self) -> dict[str, object]:
        """All that results depend on, beyond rounding: a run is resumed only under the same."""
        return {
            "gexplain": version("gexplain"),
            **self.model.identity(),
            "classes": list(self.model.labels),
            "head": self.model.head,
            "dtype": self.model.dtype,
            "genome": self.inputs.genome_sha256,
            "regions": self.inputs.sha256,
            "scored regions": self.inputs.plan.sha256(),
            "window": self.tiling.window,
            "stride": self.tiling.stride,
            "shifts": self.tiling.shifts,
            "target": list(self.target.names),
            "explained": self.settings.explained,
            "method": self.explainer.method,
            "projection": self.settings.projection,
            "strand": self.settings.strand,
            "weight": self.settings.weight,
            "formats": sorted(self.settings.formats),
        }

    def results(
        self, windows: Iterable[Window], n_done: int, progress: Progress | None
    ) -> Iterator[list[WindowResult]]:
        """Results of windows, pool by pool, telling progress."""
        n_windows = self.inputs.plan.count_windows(self.tiling)
        for pool in read_windows(windows, self.inputs.genome, self.explainer, self.target):
            yield pool
            n_done += len(pool)
            if progress is not None:
                progress(n_done, n_windows)

    def fill(self, store: WindowStore, progress: Progress | None) -> None:
        """Compute what the store lacks."""
        if progress is not None:
            progress(store.n_done(), self.inputs.plan.count_windows(self.tiling))
        missing = self.inputs.plan.windows(self.tiling, store.done)
        for pool in self.results(missing, store.n_done(), progress):
            store.add(pool)

    def write(self, store: WindowStore, work: Path) -> dict[str, Any]:
        """Write all outputs but the manifest into the work directory; returns the manifest."""
        inputs, plan = self.inputs, self.inputs.plan
        shutil.rmtree(work / "tracks", ignore_errors=True)
        (work / "tracks").mkdir()
        tracks = tracks_of(store.all_results(), self.model, self.target, self.settings.weight)
        statistics = write_tracks(work / "tracks", self.names, self.settings.formats, plan.chroms, tracks)
        table = RegionTable(plan, store, inputs.genome, self.model, self.target, self.tiling, self.settings.weight)
        statuses = table.write(work / "regions.tsv")
        if self.settings.strict and statuses[Status.ONLY_N]:
            raise strict_error(inputs.source, statuses[Status.ONLY_N])
        write_statistics(work / "stats.tsv", statistics)
        return self._manifest(store, statuses, statistics)

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
            "settings": self.fingerprint(),
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
