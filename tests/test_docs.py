"""The documentation says what the code does: it builds, its links lead somewhere, its examples run."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import click
import numpy as np
import pytest
from gexplain_cli.main import COMMANDS

import gexplain
from gexplain.attribution.explainers import METHODS, TokenExplainer
from gexplain.attribution.passes import count_passes
from gexplain.attribution.target import Target
from gexplain.calls import HITS, SEQLETS
from gexplain.evaluation.cases import Case
from gexplain.evaluation.metrics import METRICS, PAIR_METRICS, is_higher_better
from gexplain.models.bundled import bundled_names
from gexplain.study import tables
from gexplain.study.settings import METRIC_NAMES

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
QUICKSTART = ROOT / "docs/quickstart.md"
API = ROOT / "docs/python-api.md"
OUTPUTS = ROOT / "docs/outputs.md"
METHODS_PAGE = ROOT / "docs/concepts/methods.md"
EVALUATE = ROOT / "docs/how-to/evaluate.md"
ADD = ROOT / "docs/how-to/add-a-method-or-metric.md"


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced blocks of these languages on a page, in order."""
    fence = re.compile(rf"^```(?:{'|'.join(languages)})\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return fence.findall(page.read_text(encoding="utf-8"))


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def console(page: Path) -> list[tuple[str, str]]:
    """(command, output) of the console blocks, in which a command follows a $."""
    found = []
    for block in blocks(page, "console"):
        for entry in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = entry.partition("\n")
            found.append((command, output))
    return found


def rows(page: Path, heading: str) -> list[list[str]]:
    """The cells of all table rows below a heading, up to the next; heads and rules of tables left out."""
    section = page.read_text(encoding="utf-8").partition(f"\n{heading}\n")[2].partition("\n#")[0]
    lines = re.findall(r"^\| (.*) \|$", section, flags=re.MULTILINE)
    return [line.split(" | ") for line in lines if line.startswith("`")]


def gexplain_calls(page: Path) -> list[list[str]]:
    """The arguments of every gexplain command in a page's shell blocks."""
    scripts = [*(command for command, _ in console(page)), *blocks(page, "sh")]
    calls = []
    for line in "\n".join(scripts).replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&<>()")
        lexer.whitespace_split = True
        words = [*lexer, "|"]
        while words:
            end = next(index for index, word in enumerate(words) if set(word) <= set("|;&<>()"))
            if words[:1] == ["gexplain"]:
                calls.append(words[1:end])
            words = words[end + 1 :]
    return calls


def commands() -> dict[str, click.Command]:
    """Every command by its full name, groups and those inside them too."""
    found = {f"gexplain {name}": import_module(module).command for name, (module, _) in COMMANDS.items()}
    inside = {
        f"{title} {name}": command
        for title, group in found.items()
        if isinstance(group, click.Group)
        for name, command in group.commands.items()
    }
    return found | inside


@pytest.fixture
def workplace(tmp_path, monkeypatch) -> Path:
    """An empty folder with test_data in it, where examples may write; the current directory."""
    (tmp_path / "test_data").symlink_to(ROOT / "test_data", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def dicts_as_they_were() -> Iterator[None]:
    """Lets an example add methods and metrics, which no other test may meet."""
    held = [(one, dict(one)) for one in (*METHODS.values(), METRICS)]
    yield
    for one, before in held:
        one.clear()
        one.update(before)


# ---- the site ----


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("mkdocs", "material")),
    reason="needs mkdocs and its material theme",
)
def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site/changelog/index.html").read_text(encoding="utf-8").count("Unreleased")
    assert not list((tmp_path / "site").rglob("*.py"))


def test_the_command_line_reference_is_current():
    spec = importlib.util.spec_from_file_location("make_cli_reference", ROOT / "docs/make_cli_reference.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.PAGE.read_text(encoding="utf-8") == script.reference(), "run python docs/make_cli_reference.py"


def test_the_reference_has_every_option():
    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    sections = dict(zip(*[iter(re.split(r"^## (.+)$", page, flags=re.MULTILINE)[1:])] * 2, strict=True))
    missing = [
        f"{title} {option}"
        for title, command in commands().items()
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
        if option not in sections[title]
    ]
    assert missing == []


def test_commands_in_groups_are_looked_at():
    assert "gexplain export modisco-hits" in commands()


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_relative_links_lead_to_files(page):
    targets = [target for target in re.findall(r"\]\(([^)#\s]+)", prose(page)) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_no_page_names_a_machine_s_own_path(page):
    assert re.findall(r"(?<![\w.])/(?:home|root|work|tmp|Users)/\S*", page.read_text(encoding="utf-8")) == []


# ---- what the pages say of the code ----


def test_the_documented_names_are_the_public_ones():
    documented = re.findall(r"`gexplain\.([A-Za-z]\w*)`", API.read_text(encoding="utf-8"))
    assert sorted(documented) == sorted(gexplain.__all__)


@pytest.mark.parametrize(
    "settings",
    [gexplain.ScoreSettings, gexplain.TrainSettings, gexplain.EvaluateSettings, gexplain.PlotSettings],
    ids=lambda one: one.__name__,
)
def test_every_setting_is_documented(settings):
    text = API.read_text(encoding="utf-8")
    assert [field.name for field in fields(settings) if f"`{field.name}`" not in text] == []


@pytest.mark.parametrize("schema", [SEQLETS, HITS], ids=lambda one: one.name)
def test_every_column_is_documented_in_its_order(schema):
    name = {"seqlets": "seqlets.bed", "motifHits": "hits.bed"}[schema.name]
    section = OUTPUTS.read_text(encoding="utf-8").partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", section, flags=re.MULTILINE)
    assert " ".join(re.findall("`(.+?)`", " ".join(rows))).split() == schema.header.split("\t")


def test_every_column_of_the_summary_is_documented_in_its_order(workplace):
    settings = gexplain.ScoreSettings(target="promoter", motifs="test_data/motifs.meme", null_regions=5)
    run = gexplain.score(["chr1:2,001-3,000"], "test_data/genome.fa", "test_data/tiny_checkpoint", settings=settings)
    section = OUTPUTS.read_text(encoding="utf-8").partition("\n## motif_summary.tsv\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", section, flags=re.MULTILINE)
    header = (run.path / "motif_summary.tsv").read_text().splitlines()[0]
    assert " ".join(re.findall("`(.+?)`", " ".join(rows))).split() == header.split("\t")


@pytest.mark.parametrize("name", ["metrics", "summary", "curves", "cost"])
def test_every_column_of_an_evaluation_is_documented_in_its_order(name):
    documented = [cells[0] for cells in rows(OUTPUTS, f"### {name}.tsv")]
    columns = getattr(tables, f"{name.upper()}_COLUMNS")
    assert re.findall("`(.+?)`", " ".join(documented)) == list(columns)


def test_every_key_of_an_evaluation_s_manifest_and_every_figure_is_documented(workplace):
    cnn = "human-tf-cnn"
    settings = gexplain.EvaluateSettings(
        target="CTCF", sample=5, window=40, methods=("gradient-x-input", "random"), draws=1, shifts=1, costly=5
    )
    done = gexplain.evaluate("test_data/truth.bed", "test_data/genome.fa", cnn, output="out", settings=settings)
    documented = [cells[0] for cells in rows(OUTPUTS, "### The manifest of an evaluation")]
    assert sorted(re.findall("`(.+?)`", " ".join(documented))) == sorted(done.manifest)
    figures = {path.stem.replace(cnn, "MODEL") for path in (done.path / "plots").iterdir()}
    assert figures | {"agreement-MODEL-MODEL"} == {cells[0].strip("`") for cells in rows(OUTPUTS, "### plots/")}


@pytest.mark.parametrize("kind", list(METHODS))
def test_every_method_is_documented_with_its_level_and_its_cost(request, kind):
    text = METHODS_PAGE.read_text(encoding="utf-8")
    of_kind = {"DNABERT-2": ("\nOf DNABERT-2:\n", "\nOf a CNN"), "CNN": ("\nOf a CNN", "\n## ")}[kind]
    table = text.partition(of_kind[0])[2].partition(of_kind[1])[0]
    documented = re.findall(r"^\| `(.+?)` \| (\w+) \| (.+?) \|", table, flags=re.MULTILINE)
    assert [(name, level) for name, level, _ in documented] == [
        (name, method.level) for name, method in METHODS[kind].items()
    ]
    model = request.getfixturevalue({"DNABERT-2": "model", "CNN": "cnn"}[kind])
    sequence = "ACGTTGCATTAGGCATCGACGTGTA"
    number = {"L": len(sequence), "T": len(model.tokens([sequence])[0].ids) - 2}
    for name, _, cost in documented:
        assert f"\n**`{name}`**" in text
        if METHODS[kind][name].needs and importlib.util.find_spec(METHODS[kind][name].needs) is None:
            continue
        with count_passes(model) as passes:
            TokenExplainer(model, name).read([sequence], Target((1,), ("promoter",)))
        factor, letter, rest = re.fullmatch(r"(?:(\d+) )?([LT])?(?: \+ )?(\d+)?", cost).groups()
        expected = (int(factor or 1) * number[letter] if letter else 0) + int(rest or 0)
        assert passes.forward_equivalents == expected, name


def test_every_value_is_documented_with_its_metric_and_which_way_is_better():
    documented = {
        cells[0].strip("`"): (cells[1].strip("`"), cells[3]) for cells in rows(EVALUATE, "## What is measured")
    }
    named = {
        re.sub(r" \d+%$", "", value): (name, {True: "higher", False: "lower"}[is_higher_better(value)])
        for name, metric in METRICS.items()
        for value in metric.higher_is_better
    }
    assert documented == named | dict.fromkeys(PAIR_METRICS, ("similarity", "neither"))
    assert {metric for metric, _ in documented.values()} == set(METRIC_NAMES)


def test_the_documented_types_of_bigbed_count_the_columns():
    page = (ROOT / "docs/how-to/motifs.md").read_text(encoding="utf-8")
    assert f"bedToBigBed -type=bed6+{len(HITS.columns)} -as=hits.as" in page
    assert f"Of seqlets, the type is `bed6+{len(SEQLETS.columns)}`." in page


def test_the_bundled_models_are_documented():
    text = (ROOT / "docs/models.md").read_text(encoding="utf-8")
    assert [name for name in bundled_names() if f"`{name}`" not in text] == []


def test_the_readme_opens_with_demo_and_test():
    first = blocks(ROOT / "README.md", "sh")[0]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("demo", "test"):
        assert f"make {target}" in first
        assert f"\n{target}:" in makefile


def test_the_changelog_names_the_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert version in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


# ---- the examples ----


CALLS = [(named(page), call) for page in PAGES for call in gexplain_calls(page)]


def test_the_shell_blocks_hold_commands():
    assert len(CALLS) >= 10


@pytest.mark.parametrize(("page", "call"), CALLS, ids=[f"{page}-{i}" for i, (page, _) in enumerate(CALLS)])
def test_documented_commands_parse(page, call):
    name, *arguments = call
    command = commands()[f"gexplain {name}"]
    context = command.make_context(name, list(arguments))  # UsageError for an option that does not exist
    if isinstance(command, click.Group):
        name, command, arguments = command.resolve_command(context, arguments)
        command.make_context(name, arguments, parent=context)


@pytest.mark.parametrize("page", [QUICKSTART, EVALUATE], ids=named)
def test_the_console_prints_what_a_page_shows(page, workplace):
    (workplace / "gexplain").mkdir()
    (workplace / "gexplain/demo_data").symlink_to(ROOT / "gexplain/demo_data", target_is_directory=True)
    # One thread: the model is tiny, and the machine may be busy.
    environment = os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "OMP_NUM_THREADS": "1",
        "LC_ALL": "C",
    }
    for command, shown in console(page):
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", f"({command}) 2>&1"],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert (done.stdout, done.returncode) == (shown, 0), command


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python") and page != ADD], ids=named)
def test_python_examples_run(page, workplace):
    names: dict[str, object] = {}
    for number, block in enumerate(blocks(page, "python"), 1):
        exec(compile(block, f"{page.name}, block {number}", "exec"), names)


def test_the_method_and_the_metric_of_the_example_reach_the_tables(workplace, dicts_as_they_were):
    names: dict[str, object] = {}
    for block in blocks(ADD, "python"):
        exec(compile(block, ADD.name, "exec"), names)
    lines = [line.split("\t") for line in Path("added/metrics.tsv").read_text(encoding="utf-8").splitlines()[1:]]
    shares = {(line[0], line[2], line[4]): float(line[7]) for line in lines if line[6] == "edge share"}
    assert {method for _, method, _ in shares} == {*METHODS["DNABERT-2"], "randomised-weights"}
    sequences = [line.split(",")[0] for line in Path("few.csv").read_text(encoding="utf-8").splitlines()[1:]]
    for number, sequence in enumerate(sequences, start=2):  # the header is line 1
        ends, whole = sequence[:4] + sequence[-4:], sequence
        share = sum(map(ends.count, "GC")) / sum(map(whole.count, "GC"))
        assert shares[str(number), "gc-content", "nucleotide"] == pytest.approx(share, rel=1e-5)
    model, edges = names["model"], names["edges"]
    plain, absolute = (
        gexplain.explain(model, sequences[:1], "promoter", method=method)[0].token_relevance
        for method in ("gradient-x-input", "absolute-gradient")
    )
    assert (absolute >= np.abs(plain)).all()
    assert (absolute > np.abs(plain)).any()
    relevance = np.array([2.0, *[1.0] * 8, -3.0, *[0.0] * 9, -6.0])
    found = edges(Case(level="nucleotide", relevance=relevance))
    assert found == {"edge share": pytest.approx((2 + 1 + 0 + 6) / 19), "edge share chance": pytest.approx(4 / 20)}
