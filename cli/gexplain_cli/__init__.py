"""The command line of gexplain: one file per command, each with its twin in the library."""

from gexplain_cli.main import main

__all__ = ["main"]
