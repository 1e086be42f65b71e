"""DNA to bigWig: `gexplain.score` against the script that a user would write otherwise, on the same windows.

The script takes one sequence at a time, lets autograd compute the gradients of all parameters too, explains by the
same rules (AttnLRP by plain autograd, see benchmark_model.py), and writes one bigWig entry a base. It does so in
float32; ours does in float32, and with `--dtype bfloat16`.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import pyBigWig
import torch
from benchmark_model import CONFIG, PLAIN_AUTOGRAD, forward_of_every_row

import gexplain
from gexplain.models.checkpoint import random_state, save_checkpoint
from gexplain.models.model import DnaBert2Model

TOKENIZER = Path(__file__).resolve().parents[1] / "test_data" / "tiny_checkpoint" / "tokenizer.json"
N_WINDOWS, N_TOKENS, GAP, TURNS = 64, 104, 10, 3
DTYPES = ("float32", "bfloat16")
SCRIPT = "a script, one sequence at a time"


def end_to_end(device: str) -> None:
    """Print the seconds of both, in turns, and that their tracks agree."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        state = random_state(CONFIG, torch.Generator().manual_seed(0))
        checkpoint = save_checkpoint(
            folder / "model",
            state,
            CONFIG,
            labels=("none", "positive"),
            head="classification",
            tokenizer_file=TOKENIZER,
        )
        script_model = gexplain.load_model(checkpoint, device=device)  # its own: its parameters are not frozen
        models = {dtype: gexplain.load_model(checkpoint, device=device, dtype=dtype) for dtype in DTYPES}
        letters = np.frombuffer(b"ACGT", dtype=np.uint8)[np.random.default_rng(0).integers(0, 4, 1_000_000)]
        probe = letters[:100_000].tobytes().decode()
        width = round(N_TOKENS * len(probe) / len(script_model.tokens([probe])[0].ids))
        (folder / "genome.fa").write_bytes(b">chr1\n" + letters.tobytes() + b"\n")
        starts = [i * (width + GAP) for i in range(N_WINDOWS)]
        (folder / "regions.bed").write_text("".join(f"chr1\t{start}\t{start + width}\n" for start in starts))
        settings = gexplain.ScoreSettings(window=width, strand="forward", null_regions=0, motifs="none", force=True)
        seconds: dict[str, list[float]] = {name: [] for name in (*DTYPES, SCRIPT)}
        for turn in range(TURNS + 1):
            for name, turns in seconds.items():
                start = time.perf_counter()
                if name == SCRIPT:
                    user_script(script_model, letters, starts, width, folder / "script.bw")
                else:
                    gexplain.score(
                        folder / "regions.bed",
                        folder / "genome.fa",
                        models[name],
                        output=folder / name,
                        settings=settings,
                    )
                if turn:
                    turns.append(time.perf_counter() - start)
        tracks = {}
        for name in seconds:
            path = folder / "script.bw" if name == SCRIPT else folder / name / "tracks" / "positive.bw"
            with pyBigWig.open(str(path)) as file:
                tracks[name] = np.concatenate([file.values("chr1", s, s + width, numpy=True) for s in starts])
    print(f"\nDNA to bigWig, {N_WINDOWS} windows of {width} bases, about {N_TOKENS} tokens, one strand")
    print(f"{f'{SCRIPT}, s per window':44}{median(seconds[SCRIPT]) / N_WINDOWS:10.4f}")
    for dtype in DTYPES:
        ratios = [script / ours for ours, script in zip(seconds[dtype], seconds[SCRIPT], strict=True)]
        largest = np.abs(tracks[dtype] - tracks[SCRIPT]).max() / np.abs(tracks[SCRIPT]).max()
        print(f"{f'gexplain.score, {dtype}, s per window':44}{median(seconds[dtype]) / N_WINDOWS:10.4f}")
        print(f"{'    times as fast':44}{median(ratios):10.2f}   ({min(ratios):.2f} to {max(ratios):.2f})")
        print(f"{'    largest difference of the tracks':44}{largest:11.1e}")
        print(f"{'    correlation of the tracks':44}{np.corrcoef(tracks[dtype], tracks[SCRIPT])[0, 1]:10.6f}")


def user_script(model: gexplain.Model, letters: np.ndarray, starts: list[int], width: int, path: Path) -> None:
    """What a user would write: it is slow where such scripts are, and right."""
    assert isinstance(model, DnaBert2Model)
    network = model.network.requires_grad_(True)
    with pyBigWig.open(str(path), "w") as file:
        file.addHeader([("chr1", len(letters))])
        for start in starts:
            sequence = letters[start : start + width].tobytes().decode()
            (tokens,) = model.tokens([sequence])
            embedding = network.embed(torch.from_numpy(tokens.ids)[None].to(model.device))
            embedding.retain_grad()
            network.zero_grad()
            forward_of_every_row(network, embedding, PLAIN_AUTOGRAD)[0, 1].backward()
            assert embedding.grad is not None
            relevance = (embedding * embedding.grad).sum(-1)[0].detach().cpu().numpy()
            for (first, last), value in zip(tokens.spans.tolist(), relevance.tolist(), strict=True):
                for base in range(first, last):
                    share = value / (last - first)
                    file.addEntries(["chr1"], [start + base], ends=[start + base + 1], values=[share])
