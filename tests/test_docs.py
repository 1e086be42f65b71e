"""The documentation says what the code does: it builds, its links lead somewhere, its examples run."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import click
import pytest
from gexplain_cli.main import COMMANDS

import gexplain
from gexplain.calls import HITS, SEQLETS
from gexplain.models.bundled import bundled_names

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
QUICKSTART = ROOT / "docs/quickstart.md"
API = ROOT / "docs/python-api.md"
OUTPUTS = ROOT / "docs/outputs.md"


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


@pytest.mark.parametrize("settings", [gexplain.ScoreSettings, gexplain.TrainSettings], ids=lambda one: one.__name__)
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


def test_the_quickstart_prints_what_it_shows(workplace):
    # One thread: the model is tiny, and the machine may be busy.
    environment = os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "OMP_NUM_THREADS": "1",
        "LC_ALL": "C",
    }
    for command, shown in console(QUICKSTART):
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", f"({command}) 2>&1"],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert (done.stdout, done.returncode) == (shown, 0), command


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=named)
def test_python_examples_run(page, workplace):
    names: dict[str, object] = {}
    for number, block in enumerate(blocks(page, "python"), 1):
        exec(compile(block, f"{page.name}, block {number}", "exec"), names)
