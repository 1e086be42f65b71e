"""Ctrl-C in work that can be taken up again."""

from __future__ import annotations

from gexplain.errors import GexplainError
from gexplain_cli.exits import INTERRUPTED


class InterruptedRunError(GexplainError):
    """Ctrl-C in a run that can be resumed."""

    exit_code = INTERRUPTED
