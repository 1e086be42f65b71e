"""The architecture, held by machine: which way imports go, what importing costs, what is public."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_tracks import word_motif, write_bigwig, write_fasta, write_meme

import gexplain

ROOT = Path(gexplain.__file__).parent

# Each may import those before it. What shares a line may import one another only within a folder.
LAYERS = [
    {"errors", "arrays"},
    {"genome"},
    {"windows", "tokens", "aggregation", "statistics"},
    {"projection", "models"},
    {"attribution", "evaluation", "motifs"},
    {"plan"},
    {"inputs"},
    {"pipeline"},
    {"store"},
    {"run_folder"},
    {"work_folder"},
    {"outputs"},
    {"null"},
    {"track_nulls"},
    {"calls"},
    {"scoring"},
    {"trial"},
    {"report"},
    {"runs", "training"},
    {"attributions", "export", "study", "shards"},
    {"quality", "devices"},
    {"reports"},
    {"demo", "estimate", "workflow"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}


def modules() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def home(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """First parts, below gexplain, of what a module imports; type-checking imports count too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("gexplain."):
            found.add(node.module.split(".")[1])
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("gexplain.")}
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path):
    here = home(path)
    for there in imported(path) - {here}:
        assert RANK[there] < RANK[here], f"{here} imports {there}"


def test_every_module_has_its_layer():
    assert {home(path) for path in modules()} <= set(RANK)


@pytest.mark.parametrize(
    "layer",
    [
        "genome",
        "windows.py",
        "aggregation.py",
        "plan.py",
        "inputs.py",
        "projection.py",
        "evaluation",
        "motifs",
        "track_nulls.py",
        "calls.py",
        "run_folder.py",
        "attributions.py",
        "export.py",
        "report",
        "reports.py",
    ],
)
def test_torch_stops_at_attribution(layer):
    path = ROOT / layer
    for module in path.rglob("*.py") if path.is_dir() else [path]:
        assert "import torch" not in module.read_text(encoding="utf-8"), module


HEAVY = "import sys; print('heavy', {'torch', 'transformers', 'pandas'} & {*sys.modules})"


def in_a_fresh_process(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    "action",
    [
        "import gexplain",
        "import gexplain; gexplain.ScoreSettings, gexplain.InputError, gexplain.Run",
        "import gexplain; gexplain.TrainSettings, gexplain.read_bed_data, gexplain.read_csv_data",
        "from gexplain_cli.main import cli; cli.main(['--help'], standalone_mode=False)",
        "from gexplain_cli.main import cli; cli.main(['score', '--help'], standalone_mode=False)",
        "from gexplain_cli.main import cli; cli.main(['check', '--help'], standalone_mode=False)",
        "from gexplain_cli.main import cli; cli.main(['train', '--help'], standalone_mode=False)",
        "from gexplain_cli.main import cli; cli.main(['evaluate', '--help'], standalone_mode=False)",
        "from gexplain_cli.main import cli; cli.main(['report', '--help'], standalone_mode=False)",
        "from gexplain_cli.main import cli; cli.main(['view', '--help'], standalone_mode=False)",
        "from gexplain_cli.main import cli; cli.main(['plot', '--help'], standalone_mode=False)",
        "import gexplain_cli.workflow; import gexplain; gexplain.write_workflow",
    ],
)
def test_neither_torch_nor_transformers_is_loaded_before_a_model_is(action):
    heavy = in_a_fresh_process(f"{action}\n{HEAVY}")
    assert heavy.splitlines()[-1] == "heavy set()"


@pytest.mark.parametrize("command", [["seqlets"], ["hits", "--motifs", "motifs.meme"]])
def test_neither_is_loaded_to_call_of_a_track(tmp_path, command):
    """memelite, which scans for motifs, brings pandas."""
    write_fasta(tmp_path / "g.fa", {"chr1": "ACGTTGCA" * 20})
    write_bigwig(tmp_path / "t.bw", {"chr1": 160}, {"chr1": np.arange(160.0)})
    write_meme(tmp_path / "motifs.meme", [word_motif("M1", "TTGCAACG")])
    words = [*command, "t.bw", "g.fa", "-o", "called.bed"]
    action = f"from gexplain_cli.main import cli; cli.main({words}, standalone_mode=False)"
    heavy = in_a_fresh_process(f"import os; os.chdir({str(tmp_path)!r}); {action}; {HEAVY}")
    assert (tmp_path / "called.bed").exists()
    assert heavy.splitlines()[-1] == ("heavy {'pandas'}" if "hits" in command else "heavy set()")


def test_public_names_are_sorted_and_exist():
    assert gexplain.__all__ == sorted(gexplain.__all__)
    for name in gexplain.__all__:
        assert getattr(gexplain, name).__name__ == name


def test_public_names_are_these():
    assert gexplain.__all__ == [
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


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'magic'"):
        gexplain.magic  # noqa: B018
