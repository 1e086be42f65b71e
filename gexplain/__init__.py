"""gexplain: why did the model say promoter? Base-pair relevance tracks from a fine-tuned DNABERT-2.

The names below are the public interface; each is loaded when it is first used, so that importing gexplain loads
neither torch nor transformers.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gexplain.attribution.explainers import Explanation, explain
    from gexplain.errors import (
        BedError,
        GexplainError,
        InputError,
        ModelError,
        RunError,
        SkippedRegionsError,
        UsageError,
    )
    from gexplain.genome.fasta import Genome
    from gexplain.genome.intervals import Interval
    from gexplain.inputs import ScoreSettings
    from gexplain.models.model import Model, load_model
    from gexplain.report.plot import PlotSettings, plot_region
    from gexplain.reports import make_report
    from gexplain.run_folder import Run
    from gexplain.runs import score
    from gexplain.shards import merge_shards
    from gexplain.study.evaluation import Evaluation, evaluate
    from gexplain.study.settings import EvaluateSettings
    from gexplain.training.finetune import Training, train
    from gexplain.training.readers import read_bed_data, read_csv_data
    from gexplain.training.settings import TrainSettings
    from gexplain.workflow.files import write_workflow

__version__ = version("gexplain")

_HOME = {
    "BedError": "errors",
    "EvaluateSettings": "study.settings",
    "Evaluation": "study.evaluation",
    "Explanation": "attribution.explainers",
    "Genome": "genome.fasta",
    "GexplainError": "errors",
    "InputError": "errors",
    "Interval": "genome.intervals",
    "Model": "models.model",
    "ModelError": "errors",
    "PlotSettings": "report.plot",
    "Run": "run_folder",
    "RunError": "errors",
    "ScoreSettings": "inputs",
    "SkippedRegionsError": "errors",
    "TrainSettings": "training.settings",
    "Training": "training.finetune",
    "UsageError": "errors",
    "evaluate": "study.evaluation",
    "explain": "attribution.explainers",
    "load_model": "models.model",
    "make_report": "reports",
    "merge_shards": "shards",
    "plot_region": "report.plot",
    "read_bed_data": "training.readers",
    "read_csv_data": "training.readers",
    "score": "runs",
    "train": "training.finetune",
    "write_workflow": "workflow.files",
}

__all__ = [
    "BedError",
    "EvaluateSettings",
    "Evaluation",
    "Explanation",
    "Genome",
    "GexplainError",
    "InputError",
    "Interval",
    "Model",
    "ModelError",
    "PlotSettings",
    "Run",
    "RunError",
    "ScoreSettings",
    "SkippedRegionsError",
    "TrainSettings",
    "Training",
    "UsageError",
    "evaluate",
    "explain",
    "load_model",
    "make_report",
    "merge_shards",
    "plot_region",
    "read_bed_data",
    "read_csv_data",
    "score",
    "train",
    "write_workflow",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'gexplain' has no attribute {name!r}")
    value = getattr(import_module(f"gexplain.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
