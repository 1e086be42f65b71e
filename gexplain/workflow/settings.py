"""What config.yaml of a workflow says, checked before any job is made.

The Snakefile reads it through `read_workflow`, so that a wrong value is told where it stands, and not by the log of a
job that waited for hours.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TypeVar

from gexplain.errors import InputError

CONFIG = "config.yaml"

Value = TypeVar("Value", str, int, bool)


@dataclass(frozen=True, slots=True)
class JobSettings:
    """What one job asks for: CPU threads, GPUs, memory in MB (10^6 bytes), and time in minutes."""

    threads: int
    gpus: int
    mem_mb: int
    runtime: int


@dataclass(frozen=True, slots=True)
class WorkflowSettings:
    """A workflow: what is scored, in how many shards, and what each job asks for.

    regions, genome, output: paths, relative to the folder of config.yaml. options: further ones of `gexplain score`,
    word by word. report: whether the merged run gets its report.
    """

    regions: str
    genome: str
    model: str
    output: str
    shards: int
    shard: JobSettings
    merge: JobSettings
    options: tuple[str, ...] = ()
    report: bool = True

    @property
    def work(self) -> str:
        """The folder of shards and logs, beside the output."""
        return f"{self.output.rstrip('/')}.work"

    def shard_name(self, number: int | str) -> str:
        """How the folder of a shard is called; number: from 1."""
        return f"{number}_of_{self.shards}"


def read_workflow(config: Mapping[str, object]) -> WorkflowSettings:
    """The settings of a workflow from what its config.yaml holds.

    Raises InputError for a key that is missing or not known, and for a value that cannot be one.
    """
    _check_keys(config, WorkflowSettings, "")
    options = _take(config, "options", str, default="")
    if set("{}") & set(options):  # Snakemake's own
        raise _wrong("options", repr(options), "none with braces")
    try:
        words = tuple(shlex.split(options))
    except ValueError as error:
        raise _wrong("options", repr(options), f"words as on a command line; {error}") from error
    settings = WorkflowSettings(
        regions=_path(config, "regions"),
        genome=_path(config, "genome"),
        model=_path(config, "model"),
        output=_path(config, "output"),
        shards=_number(config, "shards", least=1),
        shard=_job(config, "shard"),
        merge=_job(config, "merge"),
        options=words,
        report=_take(config, "report", bool, default=True),
    )
    if settings.output.strip("/.") == "":
        raise _wrong("output", repr(settings.output), "a folder of its own")
    return settings


def require_files(settings: WorkflowSettings) -> None:
    """Refuse regions or a genome that are not there. InputError."""
    for key in ("regions", "genome"):
        path = Path(getattr(settings, key))
        if not path.is_file():
            raise InputError(
                f"{CONFIG}: {key}: there is no file {path}",
                detail=f"looked for at {path.absolute()}",
                hint=f"paths are relative to the folder of {CONFIG}",
            )


def _check_keys(config: Mapping[str, object], kind: type, place: str) -> None:
    known = [field.name for field in fields(kind)]
    unknown = [str(key) for key in config if key not in known]
    if unknown:
        raise InputError(
            f"{CONFIG}: unknown key {', '.join(place + key for key in unknown)}",
            hint=f"the keys are {', '.join(place + key for key in known)}",
        )
    needed = [field.name for field in fields(kind) if field.default is MISSING]
    missing = [place + name for name in needed if config.get(name) is None]
    if missing:
        raise InputError(
            f"{CONFIG}: no {', '.join(missing)}",
            hint="add what is missing; `gexplain workflow init` writes a whole one",
        )


def _job(config: Mapping[str, object], key: str) -> JobSettings:
    held = config[key]
    if not isinstance(held, Mapping):
        names = ", ".join(field.name for field in fields(JobSettings))
        raise _wrong(key, repr(held), f"{names}, each on a line of its own")
    _check_keys(held, JobSettings, f"{key}.")
    least = {"gpus": 0}
    return JobSettings(
        **{
            field.name: _number(held, field.name, least=least.get(field.name, 1), place=f"{key}.")
            for field in fields(JobSettings)
        }
    )


def _path(config: Mapping[str, object], key: str) -> str:
    text = _take(config, key, str)
    if not text.strip() or text.startswith("-") or set("{}\n") & set(text):
        raise _wrong(key, repr(text), "a name without braces and line breaks, and no option")
    return text


def _number(config: Mapping[str, object], key: str, *, least: int, place: str = "") -> int:
    number = _take(config, key, int, place=place)
    if number < least:
        raise _wrong(place + key, str(number), f"at least {least}")
    return number


def _take(
    config: Mapping[str, object], key: str, kind: type[Value], *, default: Value | None = None, place: str = ""
) -> Value:
    """A value of a type, which for Python makes a bool an int, but not for who writes YAML."""
    value = config.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _wrong(place + key, repr(value), _KINDS[kind])
    return value


def _wrong(key: str, found: str, expected: str) -> InputError:
    return InputError(f"{CONFIG}: {key} is {found}; expected {expected}", hint=f"edit {key} in {CONFIG}")


_KINDS: dict[type, str] = {
    str: "text (in quotes, if it looks like a number)",
    int: "a whole number",
    bool: "true or false",
}
