"""`gexplain view`: a finished run's report in the browser, with its genome browser. The twin of `RunServer`."""

from __future__ import annotations

import webbrowser
from contextlib import suppress
from threading import Thread

import click

from gexplain.errors import InputError


@click.command(name="view", short_help="A finished run's report and genome browser, on this machine.")
@click.argument("out")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="N",
    help="Port to listen on.  [default: any that is free]",
)
@click.option("--no-open", is_flag=True, help="Do not open the browser; the address is printed in any case.")
def command(out: str, port: int, no_open: bool) -> None:
    """Show OUT, a finished run, in the browser of this machine until Ctrl-C: its report, and igv.js over its tracks.

    Nobody else on the network can see it. To look from another machine, give --port 8000 --no-open here, and there
    forward the same port: ssh -L 8000:127.0.0.1:8000 HOST
    """
    from gexplain.report.serve import RunServer
    from gexplain.run_folder import REPORT, open_run

    run = open_run(out)
    if not (run.path / REPORT).is_file():
        raise InputError(f"{run.path} has no {REPORT}", hint=f"gexplain report {run.path} writes it")
    with RunServer(run.path, port) as server, suppress(KeyboardInterrupt):
        click.echo(server.address)
        click.echo(f"{run.path} is shown there until Ctrl-C", err=True)
        if not no_open:
            # A browser of the terminal returns when it is left, and needs the server until then.
            Thread(target=webbrowser.open, args=[server.address], daemon=True).start()
        server.serve_forever()
