"""`gexplain model`: what a checkpoint is, and whether it keeps the laws that tracks rest on."""

from __future__ import annotations

from pathlib import Path

import click

from gexplain.errors import ModelError
from gexplain_cli.options import device_option


@click.command(name="model", short_help="What a checkpoint is, and whether it works.")
@click.argument("model", metavar="MODEL")
@device_option
@click.option("--test/--no-test", default=True, show_default=True, help="Test the model on random sequences.")
def command(model: str, device: str, test: bool) -> None:
    """Print what the checkpoint MODEL is (a directory, or a Hugging Face hub id), and test it: a batch gives the
    logits of single sequences, padding changes nothing, and the ledger of relevance closes, all to 1e-10 in float64.
    """
    from gexplain.attribution.selftest import self_test
    from gexplain.models.model import load_model

    loaded = load_model(model, device=device, dtype="float64" if test else "float32")
    checkpoint, config = loaded.checkpoint, loaded.checkpoint.config
    window = f"{loaded.window} bases" if loaded.window else "not recorded (512 bases by default)"
    lines = {
        "model": f"{checkpoint.source} ({checkpoint.form})",
        "architecture": f"DNABERT-2: {config.n_layers} layers, width {config.hidden_size}, {config.n_heads} heads, "
        f"GLU width {config.intermediate_size}",
        "parameters": f"{sum(tensor.numel() for tensor in checkpoint.state.values()):,}",
        "classes": f"{', '.join(loaded.labels)} ({loaded.head})",
        "tokenizer": f"{Path(loaded.tokenizer.path).name}, {loaded.tokenizer.n_tokens:,} tokens, "
        f"sha256 {loaded.tokenizer.sha256}",
        "window": window,
        "sha256": checkpoint.sha256,
    }
    for name, text in lines.items():
        click.echo(f"{name:<13} {text}")
    if not test:
        return
    result = self_test(loaded)
    click.echo("\nself-test, float64 (relative error)")
    for check in result.checks:
        click.echo(f"  {'ok  ' if check.passed else 'FAIL'} {check.error:8.1e}  {check.law}")
    click.echo(f"\nwhere the logit of {loaded.labels[0]!r} goes, for one random sequence of 200 bases")
    for name, amount in result.ledger.items():
        click.echo(f"  {amount:+10.5f}  {name}")
    click.echo(f"  {sum(result.ledger.values()):+10.5f}  the logit")
    if not all(check.passed for check in result.checks):
        raise ModelError(
            f"{model}: the self-test failed; its relevance cannot be trusted",
            hint="report it, with this output and the versions of torch and gexplain",
        )
