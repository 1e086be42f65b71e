"""What config.yaml of a workflow may say."""

from __future__ import annotations

import pytest

from gexplain.errors import InputError
from gexplain.workflow.settings import JobSettings, read_workflow, require_files

JOB = {"threads": 2, "gpus": 1, "mem_mb": 8000, "runtime": 60}
CONFIG = {
    "regions": "my peaks.bed",
    "genome": "genome.fa",
    "model": "human-tf",
    "output": "runs/out",
    "shards": 8,
    "shard": JOB,
    "merge": JOB | {"gpus": 0},
}


def test_a_whole_one_is_read():
    settings = read_workflow(CONFIG | {"options": "--target all --motifs 'my motifs.meme'", "report": False})
    assert settings.shard == JobSettings(threads=2, gpus=1, mem_mb=8000, runtime=60)
    assert settings.options == ("--target", "all", "--motifs", "my motifs.meme")
    assert (settings.work, settings.shard_name(3), settings.report) == ("runs/out.work", "3_of_8", False)


@pytest.mark.parametrize("key", CONFIG)
def test_a_missing_key_is_named(key):
    for config in ({**CONFIG, key: None}, {name: value for name, value in CONFIG.items() if name != key}):
        with pytest.raises(InputError, match=rf"^config.yaml: no {key}\n"):
            read_workflow(config)


@pytest.mark.parametrize("key", JOB)
def test_a_missing_key_of_a_job_is_named_with_its_place(key):
    with pytest.raises(InputError, match=rf"^config.yaml: no shard.{key}\n"):
        read_workflow(CONFIG | {"shard": {name: value for name, value in JOB.items() if name != key}})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shards": 0}, "shards is 0; expected at least 1"),
        ({"shards": "8"}, "shards is '8'; expected a whole number"),
        ({"shards": True}, "shards is True; expected a whole number"),
        ({"shard": JOB | {"gpus": -1}}, "shard.gpus is -1; expected at least 0"),
        ({"merge": JOB | {"runtime": "4h"}}, "merge.runtime is '4h'; expected a whole number"),
        ({"merge": 4}, "merge is 4; expected threads, gpus, mem_mb, runtime"),
        ({"report": "no"}, "report is 'no'; expected true or false"),
        ({"regions": 7}, "regions is 7; expected text"),
        ({"regions": " "}, "regions is ' '; expected a name"),
        ({"regions": "-"}, "regions is '-'; expected a name"),
        ({"genome": "-g.fa"}, "genome is '-g.fa'; expected a name"),
        ({"model": "--motifs"}, "model is '--motifs'; expected a name"),
        ({"output": "-out"}, "output is '-out'; expected a name"),
        ({"output": "{out}"}, "output is '{out}'; expected a name without braces"),
        ({"output": "./"}, "output is './'; expected a folder of its own"),
        ({"options": "--target 'all"}, "options is .*expected words as on a command line; No closing quotation"),
        ({"options": "--chroms chr{1,2}"}, "options is .*expected none with braces"),
        ({"shrads": 8}, "unknown key shrads"),
        ({"shard": JOB | {"gpu": 1}}, "unknown key shard.gpu"),
    ],
)
def test_a_value_that_cannot_be_is_one_clear_error(changes, said):
    with pytest.raises(InputError, match=said) as caught:
        read_workflow(CONFIG | changes)
    assert caught.value.message.startswith("config.yaml: ")
    assert caught.value.hint


def test_files_that_are_not_there_are_named_with_where_they_were_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my peaks.bed").touch()
    with pytest.raises(InputError, match=r"genome: there is no file genome\.fa") as caught:
        require_files(read_workflow(CONFIG))
    assert str(tmp_path) in caught.value.detail
