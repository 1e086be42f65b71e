"""`gexplain train`: a classifier from labelled sequences. The twin of `gexplain.train`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import click

from gexplain.errors import UsageError, count, preview
from gexplain.training.batches import Augmentation
from gexplain.training.examples import Dataset
from gexplain.training.negatives import Negatives
from gexplain.training.readers import read_bed_data, read_csv_data
from gexplain.training.regions import RegionReading
from gexplain.training.settings import ARCHITECTURES, METRICS, SAVED_DTYPES, Sizes, TrainSettings
from gexplain.training.splits import Split
from gexplain_cli.interrupt import InterruptedRunError
from gexplain_cli.memory import keep_freed_memory
from gexplain_cli.progress import show_progress

Command = TypeVar("Command", bound=Callable[..., Any])

# Classes beyond these are not listed on the terminal; metrics.json and the model card have them all.
_TOLD_CLASSES = 12

_at_least_0, _at_least_1 = click.IntRange(min=0), click.IntRange(min=1)


def _options(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for one in reversed(decorators):
            command = one(command)
        return command

    return decorate


data_options = _options(
    click.argument("paths", nargs=-1, metavar="[REGIONS] [GENOME]"),
    click.option(
        "--class",
        "classes",
        multiple=True,
        metavar="NAME=BED",
        help="A class and its regions, instead of REGIONS; repeatable.",
    ),
    click.option(
        "--label-column",
        type=_at_least_1,
        default=4,
        show_default=True,
        metavar="N",
        help="Column of REGIONS that has the class, from 1.",
    ),
    click.option("--csv", metavar="CSV", help="Training sequences, columns sequence and label, instead of REGIONS."),
    click.option("--dev-csv", metavar="CSV", help="Sequences that choose the step that is kept."),
    click.option("--test-csv", metavar="CSV", help="Sequences that are looked at once, at the end."),
    click.option(
        "--negatives",
        multiple=True,
        metavar="SOURCE",
        help="Class background: dinuc-shuffle of the other classes, random-genome, or a BED; repeatable.",
    ),
    click.option(
        "--negatives-per-positive",
        type=click.FloatRange(min=0, min_open=True),
        default=1.0,
        show_default=True,
        metavar="X",
        help="Negatives, all sources together, for each other sequence; drawn anew in every epoch.",
    ),
    click.option(
        "--dev-chroms", default="", metavar="LIST", help="Chromosomes of dev: comma-separated names or globs."
    ),
    click.option("--test-chroms", default="", metavar="LIST", help="Chromosomes of test."),
    click.option("--exclude-chroms", default="", metavar="LIST", help="Chromosomes to leave out."),
    click.option(
        "--dev-fraction",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        default=0.1,
        show_default=True,
        metavar="SHARE",
        help="Share drawn for dev where neither a file nor chromosomes are given for it.",
    ),
    click.option(
        "--test-fraction",
        type=click.FloatRange(0, 1, max_open=True),
        default=0.0,
        show_default=True,
        metavar="SHARE",
        help="Share drawn for test, likewise.",
    ),
    click.option("--labels", default="", metavar="LIST", help="Classes to train on, in this order.  [default: all]"),
    click.option(
        "--chrom-alias",
        metavar="chr|FILE",
        help='Map the BEDs\' chromosome names: "chr" adds or drops that prefix; or a file of aliases.',
    ),
    click.option(
        "--on-bad-line",
        type=click.Choice(("stop", "skip")),
        default="stop",
        show_default=True,
        help="What a malformed BED line does.",
    ),
    click.option(
        "--window",
        type=_at_least_1,
        default=128,
        show_default=True,
        metavar="BASES",
        help="Width around each region.",
    ),
)

model_options = _options(
    click.option(
        "--arch",
        type=click.Choice(ARCHITECTURES),
        default="dnabert2",
        show_default=True,
        help="DNABERT-2's architecture, or the baseline CNN.",
    ),
    click.option(
        "--init",
        default="small",
        show_default=True,
        metavar="MODEL|small",
        help="Checkpoint to fine-tune (masked-LM or classifier; folder, name or hub id); small starts from scratch.",
    ),
    click.option(
        "--layers", type=_at_least_1, default=4, show_default=True, metavar="N", help="Layers, from scratch."
    ),
    click.option(
        "--width", type=_at_least_1, default=192, show_default=True, metavar="N", help="Hidden width, from scratch."
    ),
    click.option(
        "--heads", type=_at_least_1, default=6, show_default=True, metavar="N", help="Attention heads, from scratch."
    ),
    click.option(
        "--mlp-width", type=_at_least_1, default=384, show_default=True, metavar="N", help="MLP width, from scratch."
    ),
    click.option(
        "--tokenizer", metavar="FILE", help="tokenizer.json to use from scratch.  [default: a BPE of the data]"
    ),
    click.option(
        "--vocabulary", type=_at_least_1, default=4096, show_default=True, metavar="N", help="Tokens of that BPE."
    ),
    click.option(
        "--spelling/--no-spelling",
        default=True,
        show_default=True,
        help="From scratch, embeddings learn from the letters of their tokens too.",
    ),
    click.option(
        "--lora",
        "lora_rank",
        type=_at_least_0,
        default=0,
        show_default=True,
        metavar="RANK",
        help="Rank of LoRA on Wqkv; 0 trains all weights.",
    ),
    click.option("--lora-alpha", type=_at_least_1, metavar="N", help="LoRA's alpha.  [default: twice the rank]"),
    click.option(
        "--pretrain-steps",
        type=_at_least_0,
        default=0,
        show_default=True,
        metavar="N",
        help="Masked language modelling of the training data and its negatives first.",
    ),
)

training_options = _options(
    click.option("--epochs", type=float, default=10, show_default=True, metavar="X", help="Passes over the data."),
    click.option(
        "-b",
        "--batch-size",
        type=_at_least_1,
        metavar="N",
        help="Sequences a step.  [default: 32 with --init, else 128]",
    ),
    click.option(
        "--learning-rate",
        type=float,
        metavar="X",
        help="Highest rate.  [default: 3e-5 with --init, 3e-4 with --lora, else 1e-3]",
    ),
    click.option(
        "--weight-decay", type=float, default=0.01, show_default=True, metavar="X", help="Weight decay of AdamW."
    ),
    click.option(
        "--warmup-steps",
        type=_at_least_0,
        default=50,
        show_default=True,
        metavar="N",
        help="Steps of rise to the rate; a tenth of all at most.",
    ),
    click.option(
        "--dropout", type=float, default=0.1, show_default=True, metavar="SHARE", help="Hidden values left out."
    ),
    click.option(
        "--evaluate-every",
        type=_at_least_1,
        metavar="STEPS",
        help="Steps between looks at dev.  [default: twenty looks in all]",
    ),
    click.option(
        "--patience",
        type=_at_least_0,
        default=5,
        show_default=True,
        metavar="N",
        help="Stop after so many evaluations without a better one; 0: never.",
    ),
    click.option(
        "--metric",
        type=click.Choice(METRICS),
        default="auroc",
        show_default=True,
        help="What the kept step is best by, on dev.",
    ),
    click.option(
        "--balance",
        type=float,
        default=0.0,
        show_default=True,
        metavar="X",
        help="0: classes as often as in the data; 1: evenly; between: n sequences in proportion to n^(1-X).",
    ),
    click.option(
        "--seed", type=_at_least_0, default=0, show_default=True, metavar="N", help="Seed of all that is drawn."
    ),
)

augmentation_options = _options(
    click.option(
        "--reverse-complement/--no-reverse-complement",
        default=True,
        show_default=True,
        help="Read half of the sequences on the other strand.",
    ),
    click.option(
        "--jitter", type=_at_least_0, default=0, show_default=True, metavar="BASES", help="Move windows up to so far."
    ),
    click.option(
        "--crop",
        type=_at_least_0,
        default=0,
        show_default=True,
        metavar="BASES",
        help="Cut up to so many off each end.",
    ),
    click.option(
        "--bpe-dropout",
        type=float,
        default=0.0,
        show_default=True,
        metavar="SHARE",
        help="Merges that the tokenizer leaves out; drawn without the seed.",
    ),
    click.option(
        "--paste",
        type=float,
        default=0.0,
        show_default=True,
        metavar="SHARE",
        help="Sequences of which only the middle is kept, in random background.",
    ),
    click.option(
        "--paste-width",
        type=_at_least_1,
        default=40,
        show_default=True,
        metavar="BASES",
        help="Width of that middle.",
    ),
    click.option(
        "--paste-least",
        type=_at_least_1,
        metavar="BASES",
        help="Keep as few as that of it, drawn anew each time.  [default: all]",
    ),
)

output_options = _options(
    click.option("-o", "--output", required=True, metavar="DIR", help="Directory to write."),
    click.option(
        "--saved-dtype",
        type=click.Choice(SAVED_DTYPES),
        default="float32",
        show_default=True,
        help="Precision of the weights written.",
    ),
    click.option("--resume/--no-resume", default=True, show_default=True, help="Go on with an interrupted training."),
    click.option("--force", is_flag=True, help="Replace a model in DIR."),
    click.option("-d", "--device", default="auto", show_default=True, metavar="NAME", help="auto, cpu or cuda."),
    click.option(
        "--dtype",
        type=click.Choice(("float32", "bfloat16")),
        default="float32",
        show_default=True,
        help="bfloat16: mixed precision.",
    ),
    click.option("-p", "--threads", type=_at_least_1, metavar="N", help="CPU threads.  [default: all]"),
    click.option("-q", "--quiet", is_flag=True, help="No progress and no summary."),
)


@click.command(name="train", short_help="A classifier from labelled sequences.")
@data_options
@model_options
@training_options
@augmentation_options
@output_options
def command(
    paths: tuple[str, ...],
    output: str,
    quiet: bool,
    threads: int | None,
    init: str,
    **options: Any,
) -> None:
    """Train a classifier on REGIONS of GENOME (BED with a class in each line, indexed FASTA), on one BED per class,
    or on a CSV of sequences; from scratch, or from a checkpoint.

    Writes a checkpoint into DIR that `gexplain score` and DNABERT-2's own code read, with metrics.json, a learning
    curve and a model card. An interrupted training goes on where it stopped when the same command is given again.

    \b
    gexplain train sites.bed genome.fa --test-chroms chr4 --negatives random-genome -o MODEL
    gexplain train --class Reb1=reb1.bed --negatives unbound.bed genome.fa -o MODEL
    gexplain train --csv train.csv --dev-csv dev.csv --init zhihan1996/DNABERT-2-117M --lora 8 -o MODEL
    """  # noqa: D301 - click wants the control character
    if not output:
        raise UsageError("-o is empty; expected a directory to write", hint="is a shell variable not set?")
    _refuse_what_is_ignored(init=init, **options)
    taken = {name: options.pop(name) for name in ("layers", "width", "heads", "mlp_width")}
    augmentation = Augmentation(
        **{
            name: options.pop(name)
            for name in ("reverse_complement", "crop", "bpe_dropout", "paste", "paste_width", "paste_least")
        }
    )
    data = {
        name: options.pop(name)
        for name in (
            "classes", "csv", "dev_csv", "test_csv", "negatives", "negatives_per_positive", "dev_chroms",
            "test_chroms", "exclude_chroms", "dev_fraction", "test_fraction", "labels", "window", "jitter",
            "label_column", "chrom_alias", "on_bad_line",
        )
    }  # fmt: skip
    settings = TrainSettings(
        init=None if init == "small" else init,
        sizes=Sizes(
            n_layers=taken["layers"], width=taken["width"], n_heads=taken["heads"], mlp_width=taken["mlp_width"]
        ),
        augmentation=augmentation,
        **options,
    )
    dataset = _read(paths, seed=settings.seed, **data)
    for warning in dataset.warnings:
        click.echo(f"gexplain: warning: {warning}", err=True)
    # Torch is loaded here and not before: bad input is told at once.
    from gexplain.training.finetune import describe_training, train

    keep_freed_memory()
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    if not quiet:
        click.echo(_counts(dataset), err=True)
    try:
        with show_progress("steps", quiet=quiet) as progress:
            told = None if progress is None else lambda stage, done, total: progress(done, total)
            training = train(dataset, output, settings, progress=told)
    except KeyboardInterrupt:
        words = [word for word in sys.argv[1:] if word not in ("--force", "--no-resume")]
        again = shlex.join(["gexplain", *words])
        raise InterruptedRunError("interrupted", hint=f"to go on, the same command again: {again}") from None
    if not quiet:
        click.echo(describe_training(training), err=True)
        click.echo(f"{training.path / 'README.md'} says what the model is; score with -m {training.path}", err=True)


def _read(
    paths: tuple[str, ...],
    *,
    classes: tuple[str, ...],
    csv: str | None,
    dev_csv: str | None,
    test_csv: str | None,
    negatives: tuple[str, ...],
    negatives_per_positive: float,
    labels: str,
    window: int,
    jitter: int,
    label_column: int,
    chrom_alias: str | None,
    on_bad_line: Literal["stop", "skip"],
    dev_chroms: str,
    test_chroms: str,
    exclude_chroms: str,
    **fractions_and_seed: Any,
) -> Dataset:
    split = Split(
        dev_chroms=_listed(dev_chroms),
        test_chroms=_listed(test_chroms),
        exclude_chroms=_listed(exclude_chroms),
        **fractions_and_seed,
    )
    sources = Negatives(sources=negatives, per_positive=negatives_per_positive)
    if csv is not None:
        if classes or len(paths) > 1:
            raise UsageError(
                f"--csv and {'--class' if classes else ' '.join(paths)}: the sequences are in the CSV",
                hint="give --csv, and a GENOME only for --negatives random-genome; or regions",
            )
        genome = paths[0] if paths else None
        return read_csv_data(
            csv, dev_csv, test_csv, split=split, negatives=sources, genome=genome, labels=_listed(labels)
        )
    for name, value in (("--dev-csv", dev_csv), ("--test-csv", test_csv)):
        if value is not None:
            raise UsageError(f"{name} without --csv", hint="give the training sequences with --csv")
    if len(paths) != 1 + (not classes):
        expected = "GENOME alone, beside --class" if classes else "REGIONS and GENOME"
        raise UsageError(
            f"expected {expected}, found {' '.join(paths) or 'nothing'}",
            hint="gexplain train --class Reb1=reb1.bed --class Rap1=rap1.bed genome.fa -o MODEL"
            if classes
            else "gexplain train sites.bed genome.fa -o MODEL; or --csv FILE for sequences",
        )
    reading = RegionReading(
        window=window, jitter=jitter, label_column=label_column, chrom_alias=chrom_alias, on_bad_line=on_bad_line
    )
    beds = _class_beds(classes) if classes else paths[0]
    return read_bed_data(beds, paths[-1], reading=reading, split=split, negatives=sources, labels=_listed(labels))


def _refuse_what_is_ignored(**options: Any) -> None:
    """UsageError for an option that was typed and would be passed over silently, beside another."""
    from_regions = "is for regions of a genome; a CSV has sequences"
    excluded = (
        ("csv", ("window", "jitter", "label_column", "chrom_alias", "on_bad_line"), from_regions),
        ("classes", ("label_column",), "is for REGIONS with a class in each line; --class names the class of a BED"),
        ("dev_csv", ("dev_fraction",), "is for a dev set that is drawn; --dev-csv is one"),
        ("dev_chroms", ("dev_fraction",), "is for a dev set that is drawn; --dev-chroms is one"),
        ("tokenizer", ("vocabulary",), "is for a tokenizer that is trained; --tokenizer is one"),
    )
    for given, refused, why in excluded:
        if options[given]:
            _refuse(refused, why)
    if options["init"] != "small":
        _refuse(
            ("layers", "width", "heads", "mlp_width", "vocabulary", "spelling"),
            "is for a model from scratch, without --init",
        )
    if options["arch"] == "cnn":
        _refuse(("layers", "width", "heads", "mlp_width", "vocabulary", "spelling"), "is for --arch dnabert2")
    if not options["negatives"]:
        _refuse(("negatives_per_positive",), "is for negatives that are drawn, and there is no --negatives")
    if not options["paste"]:
        _refuse(("paste_width", "paste_least"), "is for --paste, which is not given")


def _refuse(options: Sequence[str], why: str) -> None:
    context = click.get_current_context()
    for option in options:
        if context.get_parameter_source(option) is click.core.ParameterSource.COMMANDLINE:
            name = "--" + option.replace("_", "-")
            raise UsageError(f"{name} {why}", hint=f"drop {name}")


def _class_beds(classes: tuple[str, ...]) -> dict[str, str]:
    beds: dict[str, str] = {}
    for one in classes:
        name, separator, path = one.partition("=")
        if not (name and separator and path) or name in beds:
            fault = f"class {name!r} is given twice" if name in beds else "expected NAME=BED"
            raise UsageError(f"--class {one}: {fault}", hint="--class Reb1=reb1.bed --class Rap1=rap1.bed")
        beds[name] = path
    return beds


def _counts(dataset: Dataset) -> str:
    """Classes and splits of what was read, a line a split."""
    lines = [f"classes: {preview(dataset.labels, _TOLD_CLASSES)}"]
    for name, examples in (("train", dataset.train), ("dev", dataset.dev), ("test", dataset.test)):
        if examples is not None:
            each = [int((examples.classes == label).sum()) for label in range(len(dataset.labels))]
            n_drawn = dataset.n_negatives if name == "train" else 0
            drawn = f", and {count(n_drawn, 'negative')} an epoch" if n_drawn else ""
            told = f" ({', '.join(f'{n:,}' for n in each)})" if len(each) <= _TOLD_CLASSES else ""
            lines.append(f"{name}: {count(len(examples), 'sequence')}{told}{drawn}")
    return "\n".join(lines)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())
