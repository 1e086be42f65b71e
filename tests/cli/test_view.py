from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import webbrowser
from pathlib import Path
from threading import Event

import pytest

from gexplain.report.serve import RunServer


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    """A finished run with a page that can be told from others."""
    shutil.copytree(finished / "one", tmp_path / "my run")
    (tmp_path / "my run" / "report.html").write_text("<!doctype html><title>this one</title>")
    return tmp_path / "my run"


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """What the browser was asked to open; the server stops with Ctrl-C once it was, or would have been."""
    addresses: list[str] = []
    asked = Event()
    monkeypatch.setattr(webbrowser, "open", lambda address: (addresses.append(address), asked.set()))

    def interrupted(self: RunServer, poll_interval: float = 0.5) -> None:
        asked.wait(0.2)
        raise KeyboardInterrupt

    monkeypatch.setattr(RunServer, "serve_forever", interrupted)
    return addresses


def test_the_address_is_printed_and_opened(run, out, opened):
    outcome = run("view", out)
    assert outcome.code == 0
    assert opened == [outcome.out.strip()]
    assert outcome.out.startswith("http://127.0.0.1:")


def test_without_opening_it_is_printed_alone(run, out, opened):
    outcome = run("view", out, "--no-open")
    assert (outcome.code, opened) == (0, [])
    assert outcome.out.startswith("http://127.0.0.1:")


def test_ctrl_c_ends_it_quietly(out):
    command = [sys.executable, "-c", "from gexplain_cli.main import main; main()", "view", str(out), "--no-open"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline()
        port = int(address.rsplit(":", 1)[1].split("/")[0])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/report.html")
        assert b"this one" in connection.getresponse().read()  # and the connection stays open
        process.send_signal(signal.SIGINT)
        said, complained = process.communicate(timeout=60)
        connection.close()
    assert (process.returncode, said) == (0, "")
    assert complained == f"{out} is shown there until Ctrl-C\n"


def test_a_run_without_its_page_is_an_error(run, finished, tmp_path):
    shutil.copytree(finished / "one", tmp_path / "out", ignore=shutil.ignore_patterns("report.html"))
    outcome = run("view", tmp_path / "out")
    assert outcome.code == 3
    assert f"{tmp_path / 'out'} has no report.html" in outcome.err
    assert f"fix: gexplain report {tmp_path / 'out'} writes it" in outcome.err


def test_what_is_no_run_is_an_error(run, tmp_path):
    outcome = run("view", tmp_path)
    assert outcome.code == 3
    assert "holds no gexplain run" in outcome.err


def test_a_busy_port_is_one_error(run, out):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = run("view", out, "--no-open", "--port", port)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.splitlines() == [
        f"gexplain: error: port {port} cannot be had: {os.strerror(98)}",
        "    fix: give another --port, or 0 for any that is free",
    ]


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_a_port_is_a_number_of_one(run, out, port):
    assert run("view", out, "--port", port).code == 2
