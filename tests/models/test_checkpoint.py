from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from paths import SHARED, needs_shared
from safetensors.torch import load_file, save_file
from tiny import SPECIALS, tiny_checkpoint, tiny_config, tiny_tokenizer
from torch import Tensor

from gexplain.errors import ModelError
from gexplain.models.checkpoint import DnaBert2Config, load_checkpoint, random_state, save_checkpoint

State = dict[str, Tensor]

WQKV = "bert.encoder.layer.0.attention.self.Wqkv"
WO = "bert.encoder.layer.1.mlp.wo"
HEAD = ("bert.pooler", "classifier")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound checkpoint, for each test to break in one place."""
    return tiny_checkpoint(tmp_path / "model")


def saved(folder: Path) -> State:
    return load_file(folder / "model.safetensors")


def equal(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def as_bin(folder: Path, content: object, name: str = "pytorch_model.bin") -> None:
    """Keep the weights as a torch file instead."""
    (folder / "model.safetensors").unlink(missing_ok=True)
    torch.save(content, folder / name)


def change(folder: Path, alter: Callable[[State], object]) -> None:
    """Alter the weights of a folder in place."""
    state = saved(folder)
    alter(state)
    save_file(state, folder / "model.safetensors")


def configure(folder: Path, **changes: object) -> None:
    """Change config.json; None removes a key."""
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


def shard(folder: Path, suffix: str, index: str) -> list[Path]:
    """Split the weights of a folder in two, as save_pretrained does with large ones."""
    state = saved(folder)
    (folder / "model.safetensors").unlink()
    names = sorted(state)
    stem = index.partition(".")[0]
    weight_map: dict[str, str] = {}
    for number, part in enumerate((names[:7], names[7:]), start=1):
        file = f"{stem}-{number:05}-of-00002.{suffix}"
        tensors = {name: state[name] for name in part}
        save_file(tensors, folder / file) if suffix == "safetensors" else torch.save(tensors, folder / file)
        weight_map |= dict.fromkeys(part, file)
    (folder / index).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return sorted(folder.glob(f"*.{suffix}"))


def lora_factors(*, rank: int = 4, seed: int = 1) -> dict[str, tuple[Tensor, Tensor]]:
    """B and A of two modules of the tiny model: one attention, one MLP."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {WQKV: (48, 16), WO: (16, 24)}
    return {
        module: (
            torch.randn(rows, rank, generator=generator),
            torch.randn(rank, columns, generator=generator),
        )
        for module, (rows, columns) in shapes.items()
    }


def write_adapter_config(folder: Path, **changes: object) -> None:
    config: dict[str, object] = {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS",
        "base_model_name_or_path": "base",
        "r": 4,
        "lora_alpha": 32,
        "use_rslora": False,
        "use_dora": False,
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "modules_to_save": ["pooler", "classifier"],
    }
    (folder / "adapter_config.json").write_text(json.dumps(config | changes))


def lora_folder(tmp_path: Path, *, without: str = "nothing", **config: Any) -> tuple[Path, State, State]:
    """A default LoRA adapter on a masked-LM base beside it; the folder, the base's state, the new head's.

    `without` is the start of a name that the adapter leaves out.
    """
    base = tiny_checkpoint(tmp_path / "base")
    whole = saved(base)
    body = {name: tensor for name, tensor in whole.items() if not name.startswith(HEAD)}
    predictions = {"cls.predictions.decoder.weight": torch.zeros(40, 16)}
    save_file(body | predictions, base / "model.safetensors")
    trained = random_state(tiny_config(), torch.Generator().manual_seed(2))
    head = {name: tensor for name, tensor in trained.items() if name.startswith(HEAD)}
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    tensors = {f"base_model.model.{name}": tensor for name, tensor in head.items() if not name.startswith(without)}
    for module, (b, a) in lora_factors().items():
        tensors |= {
            f"base_model.model.{module}.lora_A.weight": a,
            f"base_model.model.{module}.lora_B.weight": b,
        }
    save_file(tensors, adapter / "adapter_model.safetensors")
    write_adapter_config(adapter, **config)
    return adapter, body, head


def peft_dump(folder: Path) -> State:
    """Keep the whole PeftModel around the folder's model instead; the model's own state comes back."""
    state = saved(folder)
    dump: State = {}
    for name, tensor in state.items():
        module, _, leaf = name.rpartition(".")
        if module in lora_factors():
            dump[f"base_model.model.{module}.base_layer.{leaf}"] = tensor
        elif module == "classifier":
            dump[f"base_model.model.classifier.modules_to_save.default.{leaf}"] = tensor
            dump[f"base_model.model.classifier.original_module.{leaf}"] = torch.zeros_like(tensor)
        else:
            dump[f"base_model.model.{name}"] = tensor
    for module, (b, a) in lora_factors().items():
        dump[f"base_model.model.{module}.lora_A.default.weight"] = a
        dump[f"base_model.model.{module}.lora_B.default.weight"] = b
    as_bin(folder, dump)
    return state


def merged(state: State, scale: float) -> State:
    """The oracle: W + scale * B A."""
    return state | {f"{m}.weight": state[f"{m}.weight"] + scale * (b @ a) for m, (b, a) in lora_factors().items()}


# ---- what is loaded


def test_what_was_saved_is_loaded(folder: Path) -> None:
    assert equal(load_checkpoint(folder).state, saved(folder))


def test_sizes_are_those_of_the_tensors(tmp_path: Path) -> None:
    sizes = {"hidden_size": 24, "n_layers": 3, "n_heads": 6, "intermediate_size": 20, "n_targets": 5}
    folder = tiny_checkpoint(tmp_path / "model", **sizes)
    assert load_checkpoint(folder).config == tiny_config(**sizes)


def test_sizes_need_no_config_but_the_heads(folder: Path) -> None:
    (folder / "config.json").write_text('{"num_attention_heads": 4}')
    assert load_checkpoint(folder).config == tiny_config()


def test_the_source_is_what_the_user_named(folder: Path) -> None:
    assert load_checkpoint(folder).source == str(folder)


def test_labels_stand_in_logit_order(folder: Path) -> None:
    configure(folder, id2label={"1": "bound", "0": "unbound"})
    assert load_checkpoint(folder).labels == ("unbound", "bound")


def test_labels_are_numbered_where_the_config_has_none(folder: Path) -> None:
    configure(folder, id2label=None)
    assert load_checkpoint(folder).labels == ("LABEL_0", "LABEL_1")


@pytest.mark.parametrize(
    ("problem", "n_targets", "head"),
    [
        ("single_label_classification", 2, "classification"),
        ("multi_label_classification", 2, "multi_label"),
        ("multi_label_classification", 1, "multi_label"),
        ("regression", 1, "regression"),
        ("regression", 2, "regression"),
        (None, 2, "classification"),
        (None, 1, "regression"),
    ],
)
def test_the_head_follows_the_problem_type(tmp_path: Path, problem: str, n_targets: int, head: str) -> None:
    folder = tiny_checkpoint(tmp_path / "model", n_targets=n_targets)
    configure(folder, problem_type=problem)
    assert load_checkpoint(folder).head == head


def test_the_training_window_is_kept(tmp_path: Path) -> None:
    assert load_checkpoint(tiny_checkpoint(tmp_path / "model", window=101)).window == 101


def test_no_training_window_is_none(folder: Path) -> None:
    assert load_checkpoint(folder).window is None


def test_the_tokenizer_is_that_of_the_folder(folder: Path) -> None:
    assert load_checkpoint(folder).tokenizer_file == folder / "tokenizer.json"


def test_the_digest_is_that_of_the_weights_file(folder: Path) -> None:
    expected = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert load_checkpoint(folder).sha256 == expected


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_dtype_of_the_file_is_kept(folder: Path, dtype: torch.dtype) -> None:
    save_file({name: tensor.to(dtype) for name, tensor in saved(folder).items()}, folder / "model.safetensors")
    assert {tensor.dtype for tensor in load_checkpoint(folder).state.values()} == {dtype}


def test_saved_buffers_are_left_out(folder: Path) -> None:
    state = saved(folder)
    change(
        folder,
        lambda state: state.update(
            {
                "bert.encoder.alibi": torch.zeros(1, 4, 8, 8),
                "bert.embeddings.position_ids": torch.arange(8)[None],
            }
        ),
    )
    assert equal(load_checkpoint(folder).state, state)


# ---- forms


def test_pytorch_model_bin_is_loaded(folder: Path) -> None:
    state = saved(folder)
    as_bin(folder, state)
    checkpoint = load_checkpoint(folder)
    assert checkpoint.form == "pytorch_model.bin"
    assert equal(checkpoint.state, state)


def test_safetensors_go_before_a_bin(folder: Path) -> None:
    torch.save({}, folder / "pytorch_model.bin")
    assert load_checkpoint(folder).form == "safetensors"


@pytest.mark.parametrize(
    ("suffix", "index", "form"),
    [
        ("safetensors", "model.safetensors.index.json", "sharded safetensors"),
        ("bin", "pytorch_model.bin.index.json", "sharded pytorch_model.bin"),
    ],
)
def test_shards_are_put_together(folder: Path, suffix: str, index: str, form: str) -> None:
    state = saved(folder)
    shard(folder, suffix, index)
    checkpoint = load_checkpoint(folder)
    assert checkpoint.form == form
    assert equal(checkpoint.state, state)


def test_the_digest_of_shards_is_that_of_their_lines(folder: Path) -> None:
    shards = shard(folder, "safetensors", "model.safetensors.index.json")
    lines = [f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n" for path in shards]
    assert load_checkpoint(folder).sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()


@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "base_model.model.", "module._orig_mod.", "_orig_mod.module.base_model.model."],
)
def test_prefixes_of_wrappers_are_taken_off(folder: Path, prefix: str) -> None:
    state = saved(folder)
    save_file({f"{prefix}{name}": tensor for name, tensor in state.items()}, folder / "model.safetensors")
    assert equal(load_checkpoint(folder).state, state)


def test_a_compiled_part_loses_its_prefix_too(folder: Path) -> None:
    state = saved(folder)
    compiled = {name.replace("bert.encoder.", "bert.encoder._orig_mod."): t for name, t in state.items()}
    save_file(compiled, folder / "model.safetensors")
    assert equal(load_checkpoint(folder).state, state)


def test_a_weights_file_means_its_folder(folder: Path) -> None:
    assert equal(load_checkpoint(folder / "model.safetensors").state, saved(folder))


def test_a_named_weights_file_is_the_one_used(folder: Path) -> None:
    torch.save(saved(folder), folder / "pytorch_model.bin")
    assert load_checkpoint(folder / "pytorch_model.bin").form == "pytorch_model.bin"


def test_a_weights_file_may_have_another_name(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "best.safetensors")
    assert load_checkpoint(folder / "best.safetensors").form == "safetensors"


def test_a_named_shard_means_all_of_them(folder: Path) -> None:
    state = saved(folder)
    first, _ = shard(folder, "safetensors", "model.safetensors.index.json")
    assert equal(load_checkpoint(first).state, state)


# ---- LoRA


def test_lora_is_merged_by_alpha_over_rank(tmp_path: Path) -> None:
    adapter, body, head = lora_folder(tmp_path)
    found = load_checkpoint(adapter).state
    assert found.keys() == (body | head).keys()
    for name, expected in merged(body | head, 32 / 4).items():
        torch.testing.assert_close(found[name], expected)


def test_rank_stabilised_lora_is_merged_by_alpha_over_the_root(tmp_path: Path) -> None:
    adapter, body, head = lora_folder(tmp_path, use_rslora=True)
    expected = merged(body | head, 32 / math.sqrt(4))
    torch.testing.assert_close(load_checkpoint(adapter).state[f"{WQKV}.weight"], expected[f"{WQKV}.weight"])


@pytest.mark.parametrize("pattern", ["Wqkv", "layer.0.attention.self.Wqkv", r".*\.0\..*Wqkv"])
def test_alpha_pattern_changes_the_modules_that_it_names(tmp_path: Path, pattern: str) -> None:
    adapter, body, head = lora_folder(tmp_path, alpha_pattern={pattern: 8})
    found = load_checkpoint(adapter).state
    torch.testing.assert_close(found[f"{WQKV}.weight"], merged(body | head, 8 / 4)[f"{WQKV}.weight"])
    torch.testing.assert_close(found[f"{WO}.weight"], merged(body | head, 32 / 4)[f"{WO}.weight"])


def test_rank_pattern_gives_a_module_its_own_rank(tmp_path: Path) -> None:
    adapter, body, head = lora_folder(tmp_path, r=16, rank_pattern={"Wqkv": 4, "wo": 4})
    found = load_checkpoint(adapter).state
    torch.testing.assert_close(found[f"{WO}.weight"], merged(body | head, 32 / 4)[f"{WO}.weight"])


def test_biases_trained_with_the_adapter_replace_those_of_the_base(tmp_path: Path) -> None:
    adapter, _, head = lora_folder(tmp_path, bias="all")
    file = adapter / "adapter_model.safetensors"
    # PEFT's names for them: of a LoRA layer, and the repeated ones of modules saved whole.
    biases = {
        f"base_model.model.{WQKV}.base_layer.bias": torch.ones(48),
        "base_model.model.bert.pooler.modules_to_save.default.dense.bias": head["bert.pooler.dense.bias"],
        "base_model.model.bert.pooler.original_module.dense.bias": torch.zeros(16),
        "base_model.model.classifier.modules_to_save.bias": head["classifier.bias"],
    }
    save_file(load_file(file) | biases, file)
    state = load_checkpoint(adapter).state
    assert torch.equal(state[f"{WQKV}.bias"], torch.ones(48))
    assert torch.equal(state["bert.pooler.dense.bias"], head["bert.pooler.dense.bias"])


def test_a_float16_base_is_merged_in_float32(tmp_path: Path) -> None:
    adapter, body, head = lora_folder(tmp_path)
    change(tmp_path / "base", lambda state: state.update({name: t.half() for name, t in state.items()}))
    halved = {name: t.half().float() for name, t in body.items()}
    found = load_checkpoint(adapter).state[f"{WQKV}.weight"]
    torch.testing.assert_close(found, merged(halved | head, 32 / 4)[f"{WQKV}.weight"])


def test_the_form_of_an_adapter_tells_its_base(tmp_path: Path) -> None:
    adapter, _, _ = lora_folder(tmp_path)
    assert load_checkpoint(adapter).form == "PEFT adapter on safetensors"


def test_an_adapter_may_be_a_bin(tmp_path: Path) -> None:
    adapter, _, head = lora_folder(tmp_path)
    torch.save(load_file(adapter / "adapter_model.safetensors"), adapter / "adapter_model.bin")
    (adapter / "adapter_model.safetensors").unlink()
    assert torch.equal(load_checkpoint(adapter).state["classifier.weight"], head["classifier.weight"])


@pytest.mark.parametrize("place", ["absolute", "../base", "base", "zhihan1996/base"])
def test_the_base_is_found_by_path_or_beside_the_adapter(tmp_path: Path, place: str) -> None:
    name = str(tmp_path / "base") if place == "absolute" else place
    adapter, _, _ = lora_folder(tmp_path, base_model_name_or_path=name)
    found = load_checkpoint(adapter).tokenizer_file
    assert found.resolve() == (tmp_path / "base" / "tokenizer.json").resolve()


def test_the_base_may_come_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter, _, _ = lora_folder(tmp_path, base_model_name_or_path="lab/reb1")
    cached = (tmp_path / "base").rename(tmp_path / "cached")
    hub(monkeypatch, lambda patterns: cached)
    assert load_checkpoint(adapter).form == "PEFT adapter on safetensors"


def test_the_base_may_lie_inside_the_adapter_folder(tmp_path: Path) -> None:
    adapter, _, _ = lora_folder(tmp_path)
    (tmp_path / "base").rename(adapter / "base")
    assert load_checkpoint(adapter).tokenizer_file.parent.parent == adapter


def test_the_tokenizer_of_the_adapter_goes_before_that_of_its_base(tmp_path: Path) -> None:
    adapter, _, _ = lora_folder(tmp_path)
    tiny_tokenizer(adapter / "tokenizer.json")
    assert load_checkpoint(adapter).tokenizer_file == adapter / "tokenizer.json"


def test_the_config_of_the_adapter_goes_before_that_of_its_base(tmp_path: Path) -> None:
    adapter, _, _ = lora_folder(tmp_path)
    (adapter / "config.json").write_text('{"id2label": {"0": "no", "1": "Reb1"}}')
    assert load_checkpoint(adapter).labels == ("no", "Reb1")


def test_the_digest_changes_with_the_adapter_config(tmp_path: Path) -> None:
    adapter, _, _ = lora_folder(tmp_path)
    before = load_checkpoint(adapter).sha256
    write_adapter_config(adapter, lora_alpha=16)
    assert load_checkpoint(adapter).sha256 != before


def test_a_peft_model_dump_is_merged(folder: Path) -> None:
    state = peft_dump(folder)
    write_adapter_config(folder)
    checkpoint = load_checkpoint(folder)
    assert checkpoint.form == "PeftModel dump (pytorch_model.bin)"
    assert checkpoint.state.keys() == state.keys()
    for name, expected in merged(state, 32 / 4).items():
        torch.testing.assert_close(checkpoint.state[name], expected)


def test_a_peft_model_dump_without_its_alpha_is_refused(folder: Path) -> None:
    peft_dump(folder)
    with pytest.raises(ModelError, match=r"LoRA weights without adapter_config\.json"):
        load_checkpoint(folder)


def test_a_dump_of_two_adapters_is_refused(folder: Path) -> None:
    peft_dump(folder)
    write_adapter_config(folder)
    dump = torch.load(folder / "pytorch_model.bin", weights_only=True)
    dump[f"base_model.model.{WQKV}.lora_A.other.weight"] = torch.zeros(4, 16)
    as_bin(folder, dump)
    with pytest.raises(ModelError, match="several adapters: default, other"):
        load_checkpoint(folder)


def test_an_adapter_without_the_pooler_is_refused(tmp_path: Path) -> None:
    adapter, _, _ = lora_folder(tmp_path, without="bert.pooler")
    with pytest.raises(ModelError, match=r"(?s)no bert\.pooler\.dense.*modules_to_save"):
        load_checkpoint(adapter)


def test_an_adapter_without_the_classifier_is_refused(tmp_path: Path) -> None:
    adapter, _, _ = lora_folder(tmp_path, without="classifier")
    with pytest.raises(ModelError, match=r"no classifier\.weight"):
        load_checkpoint(adapter)


@pytest.mark.parametrize("kind", ["IA3", "PROMPT_TUNING", "ADALORA", None])
def test_other_kinds_of_adapter_are_refused(tmp_path: Path, kind: str | None) -> None:
    adapter, _, _ = lora_folder(tmp_path, peft_type=kind)
    with pytest.raises(ModelError, match=f"of type {kind}; expected LORA"):
        load_checkpoint(adapter)


@pytest.mark.parametrize(
    "variant",
    [
        {"use_dora": True},
        {"use_qalora": True},
        {"fan_in_fan_out": True},
        {"layer_replication": [[0, 1]]},
        {"init_lora_weights": "pissa_niter_16"},
        {"init_lora_weights": "olora"},
    ],
)
def test_variants_of_lora_are_refused_by_name(tmp_path: Path, variant: dict[str, object]) -> None:
    adapter, _, _ = lora_folder(tmp_path, **variant)
    with pytest.raises(ModelError, match=f"not supported: {next(iter(variant))}"):
        load_checkpoint(adapter)


@pytest.mark.parametrize("leaf", ["lora_magnitude_vector", "lora_embedding_A", "lora_B.bias"])
def test_other_factors_than_a_and_b_are_refused(tmp_path: Path, leaf: str) -> None:
    adapter, _, _ = lora_folder(tmp_path)
    file = adapter / "adapter_model.safetensors"
    save_file(load_file(file) | {f"base_model.model.{WQKV}.{leaf}": torch.zeros(48)}, file)
    with pytest.raises(ModelError, match=f"no plain LoRA: found {WQKV}.{leaf}"):
        load_checkpoint(adapter)


@pytest.mark.parametrize("setting", ["r", "lora_alpha"])
def test_an_adapter_without_its_strength_is_refused(tmp_path: Path, setting: str) -> None:
    adapter, _, _ = lora_folder(tmp_path, **{setting: None})
    with pytest.raises(ModelError, match=f"{setting} is None; expected a positive number"):
        load_checkpoint(adapter)


def test_a_rank_that_is_not_that_of_the_factors_is_refused(tmp_path: Path) -> None:
    adapter, _, _ = lora_folder(tmp_path, r=8)
    with pytest.raises(ModelError, match="for rank 8"):
        load_checkpoint(adapter)


def test_half_of_a_pair_of_factors_is_refused(tmp_path: Path) -> None:
    adapter, _, _ = lora_folder(tmp_path)
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    del tensors[f"base_model.model.{WO}.lora_B.weight"]
    save_file(tensors, file)
    with pytest.raises(ModelError, match=f"LoRA factors of {WO} have shapes"):
        load_checkpoint(adapter)


def test_an_adapter_for_a_module_that_the_base_lacks_is_refused(tmp_path: Path) -> None:
    adapter, _, _ = lora_folder(tmp_path)
    change(tmp_path / "base", lambda state: state.pop(f"{WO}.weight"))
    with pytest.raises(ModelError, match=f"the base has no {WO}.weight"):
        load_checkpoint(adapter)


def test_an_adapter_without_factors_is_refused(tmp_path: Path) -> None:
    adapter, _, head = lora_folder(tmp_path)
    save_file(head, adapter / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="no LoRA factors"):
        load_checkpoint(adapter)


def test_an_adapter_without_its_config_is_refused(tmp_path: Path) -> None:
    adapter, _, _ = lora_folder(tmp_path)
    (adapter / "adapter_config.json").unlink()
    with pytest.raises(ModelError, match=r"without adapter_config\.json"):
        load_checkpoint(adapter)


def test_an_adapter_that_names_no_base_is_refused(tmp_path: Path) -> None:
    adapter, _, _ = lora_folder(tmp_path, base_model_name_or_path=None)
    with pytest.raises(ModelError, match="names no base model"):
        load_checkpoint(adapter)


def test_an_adapter_whose_base_is_gone_is_refused(tmp_path: Path) -> None:
    adapter, _, _ = lora_folder(tmp_path, base_model_name_or_path="gone")
    with pytest.raises(ModelError, match="the base of the adapter is not there: gone: no such folder"):
        load_checkpoint(adapter)


def test_an_adapter_on_an_adapter_is_refused(tmp_path: Path) -> None:
    adapter, _, _ = lora_folder(tmp_path, base_model_name_or_path="../first")
    adapter.rename(tmp_path / "first")
    (tmp_path / "adapter").mkdir()
    for file in (tmp_path / "first").iterdir():
        (tmp_path / "adapter" / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ModelError, match="is an adapter itself"):
        load_checkpoint(tmp_path / "adapter")


def test_an_adapter_beside_whole_weights_is_refused(tmp_path: Path) -> None:
    adapter, _, _ = lora_folder(tmp_path)
    (adapter / "model.safetensors").write_bytes((tmp_path / "base" / "model.safetensors").read_bytes())
    with pytest.raises(ModelError, match=r"both model\.safetensors and adapter_model\.safetensors"):
        load_checkpoint(adapter)


def test_a_named_adapter_beside_whole_weights_is_used(tmp_path: Path) -> None:
    adapter, _, _ = lora_folder(tmp_path)
    (adapter / "model.safetensors").write_bytes((tmp_path / "base" / "model.safetensors").read_bytes())
    assert load_checkpoint(adapter / "adapter_model.safetensors").form.startswith("PEFT adapter")


# ---- files that are missing or damaged


def test_a_path_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        load_checkpoint(tmp_path / "gone")


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no weights; found nothing"):
        load_checkpoint(tmp_path)


def test_a_folder_of_training_checkpoints_names_them(tmp_path: Path) -> None:
    for step in (500, 1000):
        (tmp_path / f"checkpoint-{step}").mkdir()
    with pytest.raises(ModelError, match=r"(?s)checkpoint-500, checkpoint-1000.*such as .*checkpoint-1000"):
        load_checkpoint(tmp_path)


def test_a_missing_shard_is_named(folder: Path) -> None:
    _, second = shard(folder, "safetensors", "model.safetensors.index.json")
    second.unlink()
    with pytest.raises(ModelError, match="1 of 2 shards are not in the folder: model-00002-of-00002"):
        load_checkpoint(folder)


def test_an_index_does_not_lead_out_of_its_folder(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "elsewhere.safetensors")
    index = {"weight_map": {"classifier.weight": "../elsewhere.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="not in the folder"):
        load_checkpoint(folder)


class Trap:
    """A pickle that would say so, were it ever run."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return Path.touch, (Path("ran"),)  # type: ignore[return-value]


def test_a_pickle_is_refused_and_not_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    as_bin(folder, saved(folder) | {"extra": Trap()})
    with pytest.raises(ModelError, match=r"(?s)a pickle can run any code.*safetensors\.torch\.save_file"):
        load_checkpoint(folder)
    assert not Path("ran").exists()


def test_a_training_state_around_the_weights_is_refused(folder: Path) -> None:
    as_bin(folder, {"state_dict": saved(folder), "epoch": 3})
    with pytest.raises(ModelError, match="found state_dict, epoch; expected a state dict"):
        load_checkpoint(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_damaged_weights_file_is_refused(folder: Path, name: str) -> None:
    torch.save(saved(folder), folder / "pytorch_model.bin")
    (folder / name).write_bytes((folder / name).read_bytes()[:1000])
    with pytest.raises(ModelError, match="damaged"):
        load_checkpoint(folder / name)


def test_a_git_lfs_pointer_is_told(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(ModelError, match="git lfs pull"):
        load_checkpoint(folder)


def test_a_missing_config_is_told(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"config\.json: No such file"):
        load_checkpoint(folder)


@pytest.mark.parametrize(("content", "message"), [("{", "not JSON"), ("[]", "expected a JSON object, found list")])
def test_a_config_that_is_no_json_object_is_refused(folder: Path, content: str, message: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(ModelError, match=message):
        load_checkpoint(folder)


def test_a_missing_tokenizer_is_told(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        load_checkpoint(folder)


@pytest.mark.parametrize("name", ["vocab.txt", "tokenizer.model"])
def test_the_files_of_another_tokenizer_are_named(folder: Path, name: str) -> None:
    (folder / "tokenizer.json").rename(folder / name)
    with pytest.raises(ModelError, match=f"{name} is of another tokenizer"):
        load_checkpoint(folder)


def test_a_tokenizer_larger_than_the_embedding_is_refused(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path / "model", vocab_size=33)
    with pytest.raises(ModelError, match="34 tokens, and the embedding has 33 rows"):
        load_checkpoint(folder)


# ---- weights of something else


def test_a_masked_lm_has_no_class_to_explain(folder: Path) -> None:
    def alter(state: State) -> None:
        for name in [name for name in state if name.startswith(HEAD)]:
            del state[name]
        state["cls.predictions.decoder.weight"] = torch.zeros(40, 16)

    change(folder, alter)
    with pytest.raises(ModelError, match=r"masked-LM checkpoint .* has no class to explain"):
        load_checkpoint(folder)


def test_a_bare_encoder_is_refused(folder: Path) -> None:
    state = {n.removeprefix("bert."): t for n, t in saved(folder).items() if not n.startswith("classifier")}
    save_file(state, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"no classifier\.weight; found the encoder only"):
        load_checkpoint(folder)


def test_a_classifier_without_a_pooler_is_refused(folder: Path) -> None:
    change(folder, lambda state: [state.pop(f"bert.pooler.dense.{leaf}") for leaf in ("weight", "bias")])
    with pytest.raises(ModelError, match=r"a classifier but no bert\.pooler\.dense"):
        load_checkpoint(folder)


def test_stock_bert_is_refused(folder: Path) -> None:
    def alter(state: State) -> None:
        for layer in (0, 1):
            weight = state.pop(f"bert.encoder.layer.{layer}.attention.self.Wqkv.weight")
            for part, rows in zip(("query", "key", "value"), weight.split(16), strict=True):
                state[f"bert.encoder.layer.{layer}.attention.self.{part}.weight"] = rows.clone()

    change(folder, alter)
    with pytest.raises(ModelError, match="stock BERT"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    "name",
    [
        "esm.encoder.layer.0.attention.self.query.weight",  # Nucleotide Transformer
        "hyena.backbone.layers.0.mixer.in_proj.weight",  # HyenaDNA
        "bert.encoder.layers.0.mixer.Wqkv.weight",  # flash-attn's BERT
    ],
)
def test_other_genome_models_are_refused(folder: Path, name: str) -> None:
    save_file({name: torch.zeros(4, 4)}, folder / "model.safetensors")
    with pytest.raises(ModelError, match=f"not a DNABERT-2; found {name}"):
        load_checkpoint(folder)


def test_a_missing_tensor_is_named(folder: Path) -> None:
    change(folder, lambda state: state.pop(f"{WO}.bias"))
    with pytest.raises(ModelError, match=f"missing: {WO}.bias"):
        load_checkpoint(folder)


def test_an_unexpected_tensor_is_named(folder: Path) -> None:
    change(folder, lambda state: state.update({"bert.extra.weight": torch.zeros(2)}))
    with pytest.raises(ModelError, match=r"unexpected: bert\.extra\.weight"):
        load_checkpoint(folder)


def test_a_wrong_shape_is_told_with_the_right_one(folder: Path) -> None:
    change(folder, lambda state: state.update({f"{WO}.weight": torch.zeros(16, 25)}))
    with pytest.raises(ModelError, match=rf"{WO}\.weight is \(16, 25\), expected \(16, 24\)"):
        load_checkpoint(folder)


def test_two_tensors_of_one_name_are_refused(folder: Path) -> None:
    change(folder, lambda state: state.update({"module.classifier.bias": torch.zeros(2)}))
    with pytest.raises(ModelError, match=r"two tensors are named classifier\.bias"):
        load_checkpoint(folder)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused(folder: Path, value: float) -> None:
    change(folder, lambda state: state[f"{WQKV}.weight"].view(-1)[3:4].fill_(value))
    with pytest.raises(ModelError, match=f"NaN or infinite weights: {WQKV}.weight"):
        load_checkpoint(folder)


def test_quantised_weights_are_refused(folder: Path) -> None:
    change(folder, lambda state: state.update({f"{WO}.weight": torch.zeros(16, 24, dtype=torch.int8)}))
    with pytest.raises(ModelError, match=rf"quantised weights \(torch\.int8\): {WO}\.weight"):
        load_checkpoint(folder)


def test_an_adapter_on_a_quantised_base_is_refused(tmp_path: Path) -> None:
    adapter, _, _ = lora_folder(tmp_path)
    change(
        tmp_path / "base",
        lambda state: state.update({f"{WQKV}.weight": torch.zeros(48, 16, dtype=torch.int8)}),
    )
    with pytest.raises(ModelError, match="quantised"):
        load_checkpoint(adapter)


# ---- a config that does not fit


@pytest.mark.parametrize("heads", [None, 3, 0, "4", True])
def test_heads_must_divide_the_width(folder: Path, heads: object) -> None:
    configure(folder, num_attention_heads=heads)
    with pytest.raises(ModelError, match=f"num_attention_heads {heads!r}; expected a divisor of 16"):
        load_checkpoint(folder)


def test_a_config_of_another_depth_is_refused(folder: Path) -> None:
    configure(folder, num_hidden_layers=12)
    with pytest.raises(ModelError, match=r"num_hidden_layers 12 \(the weights have 2\)"):
        load_checkpoint(folder)


def test_the_epsilon_is_that_of_the_config(folder: Path) -> None:
    configure(folder, layer_norm_eps=1e-5)
    assert load_checkpoint(folder).config.layer_norm_eps == 1e-5


def test_an_epsilon_that_is_no_small_number_is_refused(folder: Path) -> None:
    configure(folder, layer_norm_eps="small")
    with pytest.raises(ModelError, match="layer_norm_eps 'small'"):
        load_checkpoint(folder)


@pytest.mark.parametrize("id2label", [{"0": "a"}, {"0": "a", "1": "b", "2": "c"}, {"1": "a", "2": "b"}, ["a", "b"]])
def test_labels_must_be_those_of_the_rows(folder: Path, id2label: object) -> None:
    configure(folder, id2label=id2label)
    with pytest.raises(ModelError, match=r"id2label .* the classifier has 2 rows"):
        load_checkpoint(folder)


def test_labels_must_be_unique(folder: Path) -> None:
    configure(folder, id2label={"0": "Reb1", "1": "Reb1"})
    with pytest.raises(ModelError, match="labels are not unique: Reb1, Reb1"):
        load_checkpoint(folder)


def test_labels_must_fit_into_a_table(folder: Path) -> None:
    configure(folder, id2label={"0": "Reb1", "1": "Rap\t1"})
    with pytest.raises(ModelError, match=r"a label holds a control character: 'Rap\\t1'"):
        load_checkpoint(folder)


def test_an_unknown_problem_type_is_refused(folder: Path) -> None:
    configure(folder, problem_type="ranking")
    with pytest.raises(ModelError, match="unknown problem_type 'ranking'"):
        load_checkpoint(folder)


def test_one_logit_is_no_single_label_problem(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path / "model", n_targets=1)
    with pytest.raises(ModelError, match="the classifier has only one class"):
        load_checkpoint(folder)


@pytest.mark.parametrize("window", [0, "101", True])
def test_a_window_that_is_no_width_is_refused(folder: Path, window: object) -> None:
    configure(folder, gexplain_window=window)
    with pytest.raises(ModelError, match="gexplain_window"):
        load_checkpoint(folder)


# ---- the hub


def hub(monkeypatch: pytest.MonkeyPatch, answer: Callable[[list[str]], Path]) -> list[list[str]]:
    """Put `answer` in the hub's place; the patterns it was asked for gather in what comes back."""
    asked: list[list[str]] = []

    def snapshot_download(repo_id: str, *, allow_patterns: list[str]) -> str:
        assert repo_id == "lab/reb1"
        asked.append(allow_patterns)
        return str(answer(allow_patterns))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


def test_a_hub_id_is_downloaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub(monkeypatch, lambda patterns: folder)
    assert equal(load_checkpoint("lab/reb1").state, saved(folder))


def test_no_bin_is_downloaded_where_there_are_safetensors(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = hub(monkeypatch, lambda patterns: folder)
    load_checkpoint("lab/reb1")
    assert not any(".bin" in pattern for patterns in asked for pattern in patterns)


def test_a_bin_is_downloaded_where_there_is_nothing_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_bin(folder, saved(folder))
    empty = folder.parent / "empty"
    empty.mkdir()
    hub(monkeypatch, lambda patterns: folder if any(".bin" in pattern for pattern in patterns) else empty)
    assert load_checkpoint("lab/reb1").form == "pytorch_model.bin"


def test_no_code_is_downloaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = hub(monkeypatch, lambda patterns: folder)
    load_checkpoint("lab/reb1")
    assert not any(Path("bert_layers.py").match(pattern) for patterns in asked for pattern in patterns)


def test_a_folder_goes_before_the_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = hub(monkeypatch, lambda patterns: folder)
    monkeypatch.chdir(folder.parent)
    Path("lab").mkdir()
    folder.rename(Path("lab/reb1"))
    load_checkpoint("lab/reb1")
    assert asked == []


def test_a_hub_that_is_not_reached_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def answer(patterns: list[str]) -> Path:
        raise ConnectionError("offline mode is enabled")

    hub(monkeypatch, answer)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"lab/reb1: no such folder, and the hub could not be reached"):
        load_checkpoint("lab/reb1")


# ---- writing


def test_a_random_state_is_that_of_its_seed() -> None:
    first, again = (random_state(tiny_config(), torch.Generator().manual_seed(3)) for _ in range(2))
    assert equal(first, again)


def test_a_random_state_has_no_zero_bias() -> None:
    state = random_state(tiny_config(), torch.Generator().manual_seed(3))
    assert all((tensor != 0).all() for name, tensor in state.items() if name.endswith("bias"))


def test_a_saved_checkpoint_keeps_what_it_was_given(tmp_path: Path) -> None:
    labels = ["open", "closed", "a b"]
    folder = tiny_checkpoint(tmp_path / "model", labels=labels, head="multi_label", window=64, n_targets=3)
    checkpoint = load_checkpoint(folder)
    assert (checkpoint.labels, checkpoint.head, checkpoint.window) == (tuple(labels), "multi_label", 64)


def test_a_saved_checkpoint_leaves_nothing_but_its_files(folder: Path) -> None:
    names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert sorted(path.name for path in folder.iterdir()) == names


def test_a_saved_config_does_not_ask_for_stock_bert(folder: Path) -> None:
    assert "model_type" not in json.loads((folder / "config.json").read_text())


def write(config: DnaBert2Config, folder: Path, **changes: Any) -> None:
    arguments: dict[str, Any] = {
        "state": random_state(config, torch.Generator()),
        "labels": ["a", "b"],
        "head": "classification",
        "tokenizer_file": folder / "tokenizer.json",
    } | changes
    save_checkpoint(folder / "copy", arguments.pop("state"), config, **arguments)


@pytest.mark.parametrize("changes", [{"labels": ["a"]}, {"labels": ["a", "a"]}, {"head": "ranking"}, {"state": {}}])
def test_what_does_not_fit_the_config_is_not_saved(folder: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"the config|2 targets"):
        write(tiny_config(), folder, **changes)


def test_transformers_reads_the_saved_tokenizer(folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    assert tokenizer("CACGTG")["input_ids"] == [1, 33, 2]
    assert set(tokenizer.all_special_tokens) == set(SPECIALS)


# ---- real files


@needs_shared
def test_the_golden_model_is_loaded(tmp_path: Path) -> None:
    golden = SHARED / "golden" / "dnabert2"
    for source in (golden / "model.safetensors", golden / "config.json"):
        (tmp_path / source.name).write_bytes(source.read_bytes())
    tokenizer = SHARED / "data" / "dnabert2_tokenizer" / "tokenizer.json"
    (tmp_path / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint.config == DnaBert2Config(4096, 48, 3, 12, 96, 2, 1e-12, 3)
    assert equal(checkpoint.state, load_file(golden / "model.safetensors"))
