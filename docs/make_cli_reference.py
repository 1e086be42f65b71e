"""The command-line reference, docs/cli.md, from the commands' own --help.

    python docs/make_cli_reference.py            # write it
    python docs/make_cli_reference.py --check    # exit 1 where the file is not what would be written

The width is fixed, so that the page does not depend on the terminal.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import click
from gexplain_cli.main import cli

PAGE = Path(__file__).with_name("cli.md")
WIDTH = 100

HEAD = """\
# Command line

This page is what `--help` prints; `docs/make_cli_reference.py` writes it. Exit codes are on
[another page](outputs.md#standard-output-standard-error-exit-codes).
"""


def reference() -> str:
    """The whole page."""
    root = click.Context(cli, info_name="gexplain", **{**cli.context_settings, "terminal_width": WIDTH})
    sections = [HEAD, _section("gexplain", cli.get_help(root))]
    for name in cli.list_commands(root):
        command = cli.get_command(root, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=root, terminal_width=WIDTH)
        sections.append(_section(f"gexplain {name}", command.get_help(context)))
        for sub, subcommand in command.commands.items() if isinstance(command, click.Group) else ():
            inner = click.Context(subcommand, info_name=sub, parent=context, terminal_width=WIDTH)
            sections.append(_section(f"gexplain {name} {sub}", subcommand.get_help(inner)))
    return "\n".join(sections)


def _section(title: str, text: str) -> str:
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    return f"## {title}\n\n```text\n{lines}\n```\n"


def main() -> int:
    """Write the page, or check it; returns the exit code."""
    parser = argparse.ArgumentParser(description="Write docs/cli.md from the commands' --help.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the page is stale")
    page = reference()
    if not parser.parse_args().check:
        PAGE.write_text(page, encoding="utf-8", newline="\n")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page:
        return 0
    print(f"{PAGE.name} is stale: run python docs/make_cli_reference.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
