"""`gexplain model`: what a checkpoint is, and whether it keeps the laws that tracks rest on; or which are bundled."""

from __future__ import annotations

import click

from gexplain.errors import ModelError
from gexplain.models.bundled import DEFAULT_MODEL, bundled_names, describe_bundled
from gexplain_cli.options import device_option


@click.command(name="model", short_help="What a checkpoint is, and whether it works; or the bundled models.")
@click.argument("model", metavar="[MODEL]", required=False)
@device_option
@click.option("--test/--no-test", default=True, show_default=True, help="Test the model on random sequences.")
def command(model: str | None, device: str, test: bool) -> None:
    """Print what MODEL is (a bundled model's name, a checkpoint directory, or a Hugging Face hub id), and test it: a
    batch gives the logits of single sequences, padding changes nothing, and relevance adds up to the logit, with what
    biases took (DNABERT-2) or what a sequence of N alone has (CNN), all to 1e-10 in float64.

    Without MODEL, list the models that come with gexplain.
    """
    if model is None:
        _list_bundled()
        return
    from gexplain.attribution.selftest import self_test
    from gexplain.models.model import load_model

    loaded = load_model(model, device=device, dtype="float64" if test else "float32")
    checkpoint, summary = loaded.checkpoint, loaded.summary()
    window = f"{loaded.window} bases" if loaded.window else "not recorded (512 bases by default)"
    lines = {
        "model": f"{checkpoint.source} ({checkpoint.form})",
        "architecture": summary.pop("architecture"),
        "parameters": f"{sum(tensor.numel() for tensor in checkpoint.state.values()):,}",
        "classes": f"{', '.join(loaded.labels)} ({loaded.head})",
        **summary,
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


def _list_bundled() -> None:
    names = bundled_names()
    if not names:
        raise ModelError("no model is bundled with this installation", hint="name a checkpoint: gexplain model MODEL")
    for one in map(describe_bundled, names):
        parts = [one.kind, ", ".join(one.classes), f"windows of {one.window} bases"]
        if one.figures:
            parts.append("test " + ", ".join(f"{figure} {value:.3f}" for figure, value in one.figures.items()))
        if one.name == DEFAULT_MODEL:
            parts.append("the default")
        click.echo(f"{one.name:<{max(map(len, names))}}  {'; '.join(parts)}")
