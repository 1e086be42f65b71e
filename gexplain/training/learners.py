"""Learners: a network with what turns sequences into its input; what the trainer and pretraining share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gexplain.arrays import FloatArray
from gexplain.genome.sequence import reverse_complement
from gexplain.models.cnn import Cnn, one_hot
from gexplain.models.dnabert2 import DnaBert2
from gexplain.models.model import batches_of_like_length
from gexplain.tokens import Tokenizer
from gexplain.training.batches import Labelled
from gexplain.training.spelling import Spelling


class Learner(nn.Module):
    """A network in training: sequences in, logits and the cross entropy out."""

    network: nn.Module

    def inputs(self, sequences: Sequence[str]) -> dict[str, Tensor]:
        """The tensors that `forward` takes for these sequences; varied where the mode is training."""
        raise NotImplementedError

    def logits(self, **inputs: Tensor) -> Tensor:
        """(B, n_targets) float32."""
        raise NotImplementedError

    def forward(self, labels: Tensor | None = None, **inputs: Tensor) -> dict[str, Tensor]:
        """The logits, and the mean cross entropy where labels (B,) are given."""
        logits_BN = self.logits(**inputs)
        output = {"logits": logits_BN}
        return output if labels is None else {"loss": F.cross_entropy(logits_BN, labels), **output}

    def collate(self, examples: Sequence[Labelled]) -> dict[str, Tensor]:
        """A batch for `forward`, labels included."""
        labels_B = torch.tensor([one.label for one in examples])
        return {"labels": labels_B, **self.inputs([one.sequence for one in examples])}

    @torch.no_grad()
    def predict(self, sequences: Sequence[str], batch_size: int) -> FloatArray:
        """Logits (B, n_targets), the mean of both strands, without dropout of any kind."""
        was_training = self.training
        self.eval()
        device = next(self.parameters()).device
        logits: FloatArray | None = None
        for batch in batches_of_like_length([len(one) for one in sequences], max(1, batch_size // 2)):
            rows = [sequences[i] for i in batch]
            inputs = self.inputs(rows + [reverse_complement(one) for one in rows])
            both = self.logits(**{name: tensor.to(device) for name, tensor in inputs.items()})
            mean = both.view(2, len(rows), -1).mean(0).float().cpu().numpy()
            if logits is None:
                logits = np.empty((len(sequences), mean.shape[1]), np.float32)
            logits[batch] = mean
        self.train(was_training)
        assert logits is not None, "no sequences"
        return logits


class TokenLearner(Learner):
    """DNABERT-2 in training. bpe_dropout acts in training mode only. spelling: see there; it is left by `fold`."""

    def __init__(
        self, network: DnaBert2, tokenizer_file: Path, *, bpe_dropout: float = 0.0, spelling: bool = False
    ) -> None:
        import tokenizers

        super().__init__()
        self.network = network
        self.tokenizer_file = tokenizer_file
        checked = Tokenizer.from_file(tokenizer_file)
        self.pad_id, self.mask_id = checked.pad_id, checked.mask_id
        self.tokenizers = {}
        for mode, dropout in (("eval", 0.0), ("train", bpe_dropout)):
            rust = tokenizers.Tokenizer.from_file(str(tokenizer_file))
            rust.no_truncation()
            rust.no_padding()
            rust.model.dropout = dropout or None
            self.tokenizers[mode] = rust
        config = network.config
        vocabulary = self.tokenizers["eval"].get_vocab()
        self.plain_ids = sorted(token_id for token, token_id in vocabulary.items() if set(token) <= set("ACGT"))
        self.spelling = Spelling(vocabulary, config.vocab_size, config.hidden_size) if spelling else None

    def inputs(self, sequences: Sequence[str]) -> dict[str, Tensor]:
        """input_ids (B, T) and, where anything is padded, attention_mask (B, T)."""
        encodings = self.tokenizers["train" if self.training else "eval"].encode_batch_fast(list(sequences))
        lengths = np.array([len(one) for one in encodings])
        known = np.arange(lengths.max()) < lengths[:, None]
        ids = np.full(known.shape, self.pad_id, dtype=np.int64)
        ids[known] = np.concatenate([one.ids for one in encodings])
        inputs = {"input_ids": torch.from_numpy(ids)}
        return inputs if known.all() else {**inputs, "attention_mask": torch.from_numpy(known).float()}

    def logits(self, **inputs: Tensor) -> Tensor:
        """(B, n_targets) float32."""
        logits_BN: Tensor = self.network(self.embed(inputs["input_ids"]), inputs.get("attention_mask"))
        return logits_BN.float()

    def embed(self, ids_BT: Tensor) -> Tensor:
        """Word embeddings (B, T, C)."""
        return F.embedding(ids_BT, self.embeddings())

    def embeddings(self) -> Tensor:
        """The embedding of every token, (n_tokens, C)."""
        bert: Any = self.network.bert  # through whatever stands around the network
        own_VC: Tensor = bert.embeddings.word_embeddings.weight
        return own_VC if self.spelling is None else own_VC + self.spelling()

    @torch.no_grad()
    def fold(self) -> None:
        """Make what the spelling adds part of the word embeddings; no output changes."""
        embeddings_VC = self.embeddings()
        self.spelling = None
        bert: Any = self.network.bert
        bert.embeddings.word_embeddings.weight.copy_(embeddings_VC)


class CnnLearner(Learner):
    """The baseline CNN in training."""

    def __init__(self, network: Cnn) -> None:
        super().__init__()
        self.network = network

    def inputs(self, sequences: Sequence[str]) -> dict[str, Tensor]:
        """Bases (B, 4, L) and mask (B, L)."""
        bases_B4L, mask_BL = one_hot(sequences)
        return {"bases": bases_B4L, "mask": mask_BL}

    def logits(self, **inputs: Tensor) -> Tensor:
        """(B, n_targets) float32."""
        logits_BN: Tensor = self.network(inputs["bases"], inputs["mask"])
        return logits_BN.float()
