"""Is the explanation right? Every method of the shipped models, measured: human ChIP-seq peaks and yeast sites.

    python benchmarks/evaluation/study.py DATA --human DIR --yeast DIR --output DIR [--figures docs/images]

DATA: the folder that holds motifs/ and yeast/; --human, --yeast: what benchmarks/models/prepare.py wrote. Writes an
evaluation each into OUTPUT/human and OUTPUT/yeast, and prints Markdown tables of both, which are in OUTPUT/tables.md
too. A study that was interrupted goes on when its line is given again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "models"))  # scripts, and no packages
sys.path.append(str(Path(__file__).resolve().parents[1] / "motifs"))

from gexplain_cli.memory import keep_freed_memory
from gexplain_cli.progress import show_progress
from measures import read_motifs
from study_data import StudyData, human_data, yeast_data
from study_tables import read_study, study_tables

import gexplain

PARTS = ("human", "yeast")
SETTINGS = gexplain.EvaluateSettings(
    target="label", projections=("uniform", "copy"), aggregations=("sum", "mean", "max"), seed=0
)
# Enough to see that all of it works.
QUICK = replace(SETTINGS, draws=1, costly=5, mutants=1, shifts=2)
# Of the figures of each part, those that the documentation shows; NAME is the transformer's.
KEY_FIGURES = ("comparison", "curves-NAME", "quality-and-cost", "sanity", "similarity-NAME")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--human", type=Path, help="folder of prepare.py human")
    parser.add_argument("--yeast", type=Path, help="folder of prepare.py yeast")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--figures", type=Path, help="folder to copy the key figures to")
    parser.add_argument("--part", choices=PARTS, help="default: both")
    parser.add_argument("--sequences", type=int, default=200, help="of each part, at most")
    parser.add_argument("--quick", action="store_true", help="few draws, shifts and mutants, for a trial")
    parser.add_argument("--threads", type=int, help="default: all")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(arguments)
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    keep_freed_memory()
    settings = replace(QUICK if options.quick else SETTINGS, device=options.device)
    motifs = read_motifs(options.data / "motifs")
    for part in [options.part] if options.part else PARTS:
        prepared = getattr(options, part)
        if prepared is None:
            parser.error(f"--{part} is needed: the folder of prepare.py {part}")
        inputs = options.output / "inputs" / part
        if part == "human":
            data = human_data(prepared, motifs, inputs, options.sequences)
        else:
            data = yeast_data(prepared, options.data / "yeast", motifs, inputs, options.sequences)
        measure(data, options.output / part, settings)
    report(options.output, options.figures)


def measure(data: StudyData, output: Path, settings: gexplain.EvaluateSettings) -> gexplain.Evaluation:
    """The evaluation of one data set; what is there already is not measured again."""
    print(f"{data.name}: {', '.join(f'{name} {n}' for name, n in data.counts.items())}", file=sys.stderr)
    model, against = data.models
    with show_progress(f"{data.name}, sequences", quiet=False) as progress:
        return gexplain.evaluate(
            data.regions,
            data.genome,
            model,
            against=against,
            truth=data.truth,
            output=output,
            settings=replace(settings, window=data.window),
            command=f"benchmarks/evaluation/study.py --part {data.name}",
            progress=progress,
        )


def report(output: Path, figures: Path | None) -> None:
    """Print the tables of all parts that are finished, write them into tables.md, and copy their key figures."""
    texts = []
    for part in PARTS:
        if not (output / part / "manifest.json").exists():
            continue
        study = read_study(output / part)
        manifest = study.results.manifest
        texts.append(f"## {part}\n\n{manifest['sequences']} sequences, {manifest['with truth']} with a site.")
        texts += study_tables(study)
        if figures is not None:
            figures.mkdir(parents=True, exist_ok=True)
            for name in KEY_FIGURES:
                source = output / part / "plots" / f"{name.replace('NAME', study.models[0])}.png"
                copy_figure(source, figures / f"evaluation_{part}_{name.removesuffix('-NAME')}.png")
    text = "\n\n".join(texts) + "\n"
    (output / "tables.md").write_text(text, encoding="utf-8")
    print(text)


def copy_figure(source: Path, target: Path) -> None:
    """A PNG with a palette: nothing that shows is lost, and it takes a third of the bytes."""
    from PIL import Image

    with Image.open(source) as image:
        image.convert("RGB").quantize(256).save(target, optimize=True)


if __name__ == "__main__":
    main()
