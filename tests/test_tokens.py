from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paths import SHARED, needs_shared
from tiny import SPECIALS, tiny_tokenizer

from gexplain.errors import ModelError
from gexplain.tokens import Tokenizer, Tokens

DNABERT2 = SHARED / "data" / "dnabert2_tokenizer" / "tokenizer.json"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer.from_file(tiny_tokenizer(tmp_path_factory.mktemp("tiny") / "tokenizer.json"))


def rewrite(path: Path, **changes: Any) -> Path:
    """The tiny tokenizer.json with some top-level entries, or entries of its model, changed."""
    content = json.loads(tiny_tokenizer(path).read_text())
    content["model"].update(changes.pop("model", {}))
    path.write_text(json.dumps(content | changes))
    return path


def joined(sequence: str, tokens: Tokens) -> str:
    return "".join(sequence[a:b] for a, b in tokens.spans)


def test_spans_join_to_the_sequence(tokenizer: Tokenizer) -> None:
    rng = random.Random(0)
    sequences = ["".join(rng.choices("ACGTNacgtRYKM", k=rng.randint(1, 300))) for _ in range(50)]
    assert [joined(s, t) for s, t in zip(sequences, tokenizer.encode(sequences), strict=True)] == sequences


def test_tokens_stand_between_cls_and_sep(tokenizer: Tokenizer) -> None:
    (tokens,) = tokenizer.encode(["CACGTGTA"])
    assert tokens.ids.tolist() == [1, 33, 14, 2]


def test_special_tokens_have_empty_spans(tokenizer: Tokenizer) -> None:
    (tokens,) = tokenizer.encode(["CACGTGTA"])
    assert tokens.spans.tolist() == [[0, 0], [0, 6], [6, 8], [0, 0]]


def test_ids_and_spans_are_int64(tokenizer: Tokenizer) -> None:
    (tokens,) = tokenizer.encode(["ACGT"])
    assert (tokens.ids.dtype, tokens.spans.dtype) == (np.int64, np.int64)


def test_each_unknown_base_is_one_unk(tokenizer: Tokenizer) -> None:
    (tokens,) = tokenizer.encode(["ANNNc"])
    assert tokens.ids.tolist() == [1, 5, 0, 0, 0, 0, 2]


def test_fused_unknown_bases_still_tile(tmp_path: Path) -> None:
    fused = Tokenizer.from_file(tiny_tokenizer(tmp_path / "tokenizer.json", fuse_unk=True))
    (tokens,) = fused.encode(["ANNNC"])
    assert tokens.spans[1:-1].tolist() == [[0, 1], [1, 4], [4, 5]]


def test_a_batch_keeps_its_order_and_values(tokenizer: Tokenizer) -> None:
    sequences = ["ACGT", "TTTTTT", "CACGTG" * 9]
    alone = [tokenizer.encode([sequence])[0].ids.tolist() for sequence in sequences]
    assert [tokens.ids.tolist() for tokens in tokenizer.encode(sequences)] == alone


def test_no_sequences_give_no_tokens(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode([]) == []


def test_special_ids_are_those_of_the_file(tokenizer: Tokenizer) -> None:
    ids = [tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.pad_id, tokenizer.mask_id]
    assert ids == [0, 1, 2, 3, 4]


def test_unk_is_not_special_for_it_stands_for_a_base(tokenizer: Tokenizer) -> None:
    assert tokenizer.special_ids == {1, 2, 3, 4}


def test_n_tokens_is_the_rows_that_the_ids_need(tokenizer: Tokenizer) -> None:
    assert tokenizer.n_tokens == 34


def test_the_digest_is_that_of_the_file(tokenizer: Tokenizer) -> None:
    assert tokenizer.sha256 == hashlib.sha256(tokenizer.path.read_bytes()).hexdigest()


def test_truncation_in_the_file_is_switched_off(tmp_path: Path) -> None:
    truncation = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    path = rewrite(tmp_path / "tokenizer.json", truncation=truncation)
    (tokens,) = Tokenizer.from_file(path).encode(["ACGT" * 20])
    assert tokens.spans.max() == 80


def test_padding_in_the_file_is_switched_off(tmp_path: Path) -> None:
    padding = {
        "strategy": {"Fixed": 64},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 3,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    path = rewrite(tmp_path / "tokenizer.json", padding=padding)
    assert Tokenizer.from_file(path).encode(["AC"])[0].ids.tolist() == [1, 5, 6, 2]


def test_bpe_dropout_in_the_file_is_switched_off(tmp_path: Path) -> None:
    noisy = Tokenizer.from_file(rewrite(tmp_path / "tokenizer.json", model={"dropout": 0.9}))
    assert noisy.encode(["CACGTG"])[0].ids.tolist() == [1, 33, 2]


@pytest.mark.parametrize("sequence", ["AC GT", "ACGT\n", "\tACGT", " "])
def test_whitespace_is_refused(tokenizer: Tokenizer, sequence: str) -> None:
    with pytest.raises(ValueError, match="whitespace"):
        tokenizer.encode(["ACGT", sequence])


def test_an_empty_sequence_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="not a sequence: ''"):
        tokenizer.encode([""])


def test_a_sequence_that_spells_a_special_token_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="spells a special token"):
        tokenizer.encode(["ACGT[SEP]ACGT"])


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such tokenizer file"):
        Tokenizer.from_file(tmp_path / "tokenizer.json")


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"model": 1}')
    with pytest.raises(ModelError, match=r"not a tokenizer\.json"):
        Tokenizer.from_file(tmp_path / "tokenizer.json")


@pytest.mark.parametrize("token", SPECIALS)
def test_a_missing_special_token_is_named(tmp_path: Path, token: str) -> None:
    path = tiny_tokenizer(tmp_path / "tokenizer.json")
    path.write_text(path.read_text().replace(token, f"<{token[1:-1]}>"))
    with pytest.raises(ModelError, match=f"no \\{token}; expected"):
        Tokenizer.from_file(path)


def test_a_missing_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"not put between \[CLS\] and \[SEP\]"):
        Tokenizer.from_file(tiny_tokenizer(tmp_path / "tokenizer.json", template=False))


def test_a_template_with_further_special_tokens_is_refused(tmp_path: Path) -> None:
    path = tiny_tokenizer(tmp_path / "tokenizer.json")
    content = json.loads(path.read_text())
    template = content["post_processor"]["single"]
    template.append(template[-1])
    path.write_text(json.dumps(content))
    with pytest.raises(ModelError, match="do not spell it"):
        Tokenizer.from_file(path)


def test_a_model_that_drops_unknown_bases_is_refused(tmp_path: Path) -> None:
    path = rewrite(tmp_path / "tokenizer.json", model={"unk_token": None})
    with pytest.raises(ModelError, match="tokens of 'ACGTNNACGT' do not spell it: A, CG, TA, CG, T"):
        Tokenizer.from_file(path)


def test_a_normaliser_that_drops_bases_is_refused(tmp_path: Path) -> None:
    normaliser = {"type": "Replace", "pattern": {"String": "N"}, "content": ""}
    path = rewrite(tmp_path / "tokenizer.json", normalizer=normaliser)
    with pytest.raises(ModelError, match="'ACGTNNACGT' do not spell it"):
        Tokenizer.from_file(path)


def test_a_normaliser_that_lowers_the_case_is_refused(tmp_path: Path) -> None:
    path = rewrite(tmp_path / "tokenizer.json", normalizer={"type": "Lowercase"})
    with pytest.raises(ModelError, match=r"A, C, G, T of .* became \[UNK\]"):
        Tokenizer.from_file(path)


def test_a_kmer_tokenizer_is_refused(tmp_path: Path) -> None:
    vocab = {token: i for i, token in enumerate((*SPECIALS, "ACGTAC", "CGTACG"))}
    model = {"type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]"}
    path = tmp_path / "tokenizer.json"
    content = json.loads(tiny_tokenizer(path).read_text())
    path.write_text(json.dumps(content | {"model": model}))
    with pytest.raises(ModelError, match=r"became \[UNK\]"):
        Tokenizer.from_file(path)


def test_a_sequence_that_breaks_the_law_after_loading_is_named(tmp_path: Path) -> None:
    normaliser = {"type": "Replace", "pattern": {"String": "*"}, "content": ""}
    tokenizer = Tokenizer.from_file(rewrite(tmp_path / "tokenizer.json", normalizer=normaliser))
    with pytest.raises(ModelError, match=r"'AC\*GT' do not spell it"):
        tokenizer.encode(["ACGT", "AC*GT"])


def test_tokens_load_no_torch() -> None:
    code = "import sys, gexplain.tokens; print({'torch', 'transformers', 'tokenizers'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


@needs_shared
def test_dnabert2_tokens_equal_the_golden_ones() -> None:
    golden = json.loads((SHARED / "golden" / "dnabert2" / "tokenization.json").read_text())
    tokens = Tokenizer.from_file(DNABERT2).encode([case["seq"] for case in golden])
    found = [(one.ids.tolist(), one.spans.tolist()) for one in tokens]
    assert found == [(case["ids"], case["offsets"]) for case in golden]


@needs_shared
def test_dnabert2_has_4096_tokens_and_pad_is_3() -> None:
    tokenizer = Tokenizer.from_file(DNABERT2)
    assert (tokenizer.n_tokens, tokenizer.pad_id) == (4096, 3)
