from __future__ import annotations

import errno
import http.client
import os
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from gexplain.errors import RunError
from gexplain.report import serve
from gexplain.report.igv_asset import SERVED_AS
from gexplain.report.serve import RunServer

BYTES = bytes(range(256)) * 4
LARGE = 20 << 20


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    (folder / "tracks").mkdir(parents=True)
    (folder / ".unfinished").mkdir()
    (folder / ".unfinished" / "secret").write_text("secret")
    (folder / ".hidden").write_text("secret")
    (folder / "report.html").write_text("<!doctype html><title>page</title>")
    (folder / "tracks" / "a.bw").write_bytes(BYTES)
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "out-too").mkdir()
    (tmp_path / "out-too" / "secret.txt").write_text("secret")
    return folder


@pytest.fixture
def server(out: Path) -> Iterator[RunServer]:
    with RunServer(out) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def ask(server: RunServer) -> Callable[..., Answer]:
    """One request; the target goes out as it is given."""

    def ask_server(target: str, method: str = "GET", **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.putrequest(method, target, skip_host=True)
        for name, value in ({"Host": f"127.0.0.1:{server.port}"} | headers).items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        response = connection.getresponse()
        answer = Answer(response.status, dict(response.headers), response.read())
        connection.close()
        return answer

    return ask_server


def raw(server: RunServer, request: bytes) -> bytes:
    """All that the server says to some bytes, until it closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_only_this_machine_is_listened_to(server):
    assert server.socket.getsockname() == ("127.0.0.1", server.port)
    assert server.port != 0
    assert server.address == f"http://127.0.0.1:{server.port}/report.html"


def test_a_busy_port_is_one_error(server, out):
    with pytest.raises(RunError, match=f"port {server.port} cannot be had") as caught:
        RunServer(out, server.port)
    assert "--port" in caught.value.hint


# ---- Which files ----


def test_a_file_comes_as_it_is(ask):
    answer = ask("/tracks/a.bw?again#here")
    assert (answer.status, answer.body) == (200, BYTES)
    assert answer.headers["Content-Length"] == str(len(BYTES))
    assert answer.headers["Accept-Ranges"] == "bytes"


def test_head_says_what_get_would(ask):
    head, get = ask("/tracks/a.bw", "HEAD"), ask("/tracks/a.bw")
    assert head.body == b""
    assert {**head.headers, "Date": ""} == {**get.headers, "Date": ""}


def test_the_root_leads_to_the_page(ask):
    answer = ask("/")
    assert (answer.status, answer.headers["Location"]) == (302, "/report.html")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("report.html", "text/html; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.xml", "application/xml"),
        ("a.tsv", "text/plain; charset=utf-8"),
        ("a.bw", "application/octet-stream"),
        ("a.bb", "application/octet-stream"),
        ("a.fa.gz.gzi", "application/octet-stream"),
        ("a.fa.gz", "application/gzip"),
        ("no_suffix", "application/octet-stream"),
    ],
)
def test_types(ask, out, name, expected):
    (out / name).write_bytes(b"x")
    headers = ask(f"/{name}").headers
    assert headers["Content-Type"] == expected
    assert "Content-Encoding" not in headers


@pytest.mark.parametrize("name", ["é +%20&#?.bw", "日本.bw", "'\"<b>.bw", "a\udcffb.bw"])
def test_names_may_hold_any_letters(ask, out, name):
    (out / "tracks" / name).write_bytes(b"this one")
    assert ask(f"/tracks/{quote(os.fsencode(name))}").body == b"this one"


@pytest.mark.parametrize(
    "target",
    [
        "/../secret.txt",
        "/tracks/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/%252e%252e/secret.txt",
        "/..\\secret.txt",
        "/..%5csecret.txt",
        "/../out-too/secret.txt",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
        "/tracks//a.bw",
        "/./report.html",
        "/report.html%00.js",
        "/report.html%00",
        "/.hidden",
        "/%2ehidden",
        "/.unfinished/secret",
        "/tracks/../.hidden",
        "/tracks",
        "/tracks/",
        "/report.html/",
        "/absent",
        "/" + "x" * 5000,
        "/_gexplain/",
        "/_gexplain/../igv_page.py",
        "report.html",
        "http://127.0.0.1/report.html",
    ],
)
def test_nothing_else_is_served(ask, target):
    answer = ask(target)
    assert answer.status == 404
    assert b"secret" not in answer.body


@pytest.mark.parametrize(
    ("link", "leads_to", "status"),
    [
        ("out.txt", "../secret.txt", 404),
        ("folder", "../out-too", 404),
        ("hidden.txt", ".hidden", 404),
        ("loop", "loop", 404),
        ("dangling", "nowhere", 404),
        ("inside.bw", "tracks/a.bw", 200),
    ],
)
def test_links_that_lead_out_are_not_followed(ask, out, link, leads_to, status):
    (out / link).symlink_to(leads_to)
    assert ask(f"/{link}" if link != "folder" else "/folder/secret.txt").status == status


def test_a_pipe_is_no_file(ask, out):
    os.mkfifo(out / "pipe.bw")
    assert ask("/pipe.bw").status == 404


def test_a_folder_behind_a_link_is_served(out, tmp_path):
    (tmp_path / "link").symlink_to(out)
    with RunServer(tmp_path / "link") as server:
        assert server.folder == out.resolve()


def test_igv_js_comes_from_the_package(ask, tmp_path, monkeypatch):
    monkeypatch.setattr(serve, "_ASSET", tmp_path / "igv.min.js")
    without = ask(SERVED_AS)
    assert (without.status, without.body[:2]) == (200, b"//")
    (tmp_path / "igv.min.js").write_text("var igv")
    answer = ask(SERVED_AS)
    assert (answer.body, answer.headers["Content-Type"]) == (b"var igv", "text/javascript; charset=utf-8")


# ---- Ranges ----


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=1000-", 1000, 1024),
        ("bytes=1000-99999", 1000, 1024),
        ("bytes=-24", 1000, 1024),
        ("bytes=-99999", 0, 1024),
        ("bytes=1023-1023", 1023, 1024),
    ],
)
def test_a_range_is_a_part(ask, asked, start, end):
    answer = ask("/tracks/a.bw", Range=asked)
    assert (answer.status, answer.body) == (206, BYTES[start:end])
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/1024"
    assert answer.headers["Content-Length"] == str(end - start)


@pytest.mark.parametrize("asked", ["bytes=1024-", "bytes=1024-2000", "bytes=-0", "bytes=" + "9" * 18 + "-"])
def test_a_range_that_the_file_has_not_is_416(ask, asked):
    answer = ask("/tracks/a.bw", Range=asked)
    assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */1024")


@pytest.mark.parametrize(
    "asked",
    ["bytes=5-2", "bytes=-", "bytes=a-b", "items=0-1", "bytes=0-1,5-6", "bytes=٣-٤", "bytes=" + "9" * 5000 + "-"],
)
def test_what_is_no_single_range_gets_the_whole_file(ask, asked):
    answer = ask("/tracks/a.bw", Range=asked.encode().decode("latin-1"))
    assert (answer.status, answer.body) == (200, BYTES)


def test_a_range_of_an_older_version_gets_the_whole_file(ask):
    assert ask("/tracks/a.bw", Range="bytes=0-1", If_Range='"etag"').status == 200


def test_of_an_empty_file(ask, out):
    (out / "empty.bw").touch()
    assert (ask("/empty.bw").status, ask("/empty.bw", Range="bytes=0-").status) == (200, 416)


def test_many_ranges_at_once(ask):
    wanted = [(start, start + 7) for start in range(0, 1000, 8)]
    found: dict[tuple[int, int], bytes] = {}

    def fetch(part: tuple[int, int]) -> None:
        found[part] = ask("/tracks/a.bw", Range=f"bytes={part[0]}-{part[1]}").body

    threads = [threading.Thread(target=fetch, args=[part]) for part in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {(start, end): BYTES[start : end + 1] for start, end in wanted}


def test_without_room_for_a_connection_it_waits(server, ask, monkeypatch):
    calls = []

    def refuse(self):
        calls.append(self)
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(socketserver.TCPServer, "get_request", refuse)
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        deadline = time.monotonic() + 60
        while not calls and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.5)
    assert 1 <= len(calls) <= 10
    connection.close()
    assert ask("/tracks/a.bw").status == 200


def test_one_connection_serves_many_requests(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    for status in (200, 404, 416, 200):
        target, headers = "/tracks/a.bw" if status != 404 else "/absent", {"Range": "bytes=5000-"}
        connection.request("GET", target, headers=headers if status == 416 else {})
        sock = connection.sock
        response = connection.getresponse()
        response.read()
        assert (response.status, connection.sock is sock) == (status, True)
    connection.close()


# ---- Who is answered, and how ----


@pytest.mark.parametrize("host", ["localhost:{port}", "127.0.0.1:{port}", "LOCALHOST:{port}"])
def test_its_own_names_are_answered(ask, server, host):
    assert ask("/report.html", Host=host.format(port=server.port)).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "attacker.example:{port}",
        "127.0.0.1.attacker.example:{port}",
        "127.0.0.1",
        "127.0.0.1:1",
        "localhost.:{port}",
        "user@127.0.0.1:{port}",
        "0.0.0.0:{port}",
        "[::1]:{port}",
        "",
    ],
)
@pytest.mark.parametrize("target", ["/report.html", "/", SERVED_AS, "/absent"])
def test_other_names_for_this_machine_are_refused(ask, server, host, target):
    answer = ask(target, Host=host.format(port=server.port))
    assert answer.status == 421
    assert server.address.removesuffix("/report.html").encode() in answer.body


@pytest.mark.parametrize("lines", [b"", b"Host: 127.0.0.1:%d\r\nHost: attacker.example\r\n"])
def test_a_request_has_one_host(server, lines):
    lines = lines % server.port if b"%d" in lines else lines
    said = raw(server, b"GET /report.html HTTP/1.1\r\nConnection: close\r\n" + lines + b"\r\n")
    assert said.startswith(b"HTTP/1.1 421 ")


@pytest.mark.parametrize("target", ["/report.html", "/absent", "/", "/tracks/a.bw"])
def test_every_answer_is_guarded(ask, target):
    headers = ask(target).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert not {"*", "'unsafe-eval'", "https:"} & set(policy["script-src"].split())


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
def test_there_is_nothing_to_change(ask, method):
    assert ask("/report.html", method).status == 501


@pytest.mark.parametrize("before", [b"", b"Content-Length: 0\r\n"], ids=["once", "twice"])
def test_a_body_is_not_taken_for_the_next_request(server, before):
    host = b"Host: 127.0.0.1:%d\r\n" % server.port
    inner = b"GET /tracks/a.bw HTTP/1.1\r\n" + host + b"\r\n"
    request = b"GET /report.html HTTP/1.1\r\n" + host + before + b"Content-Length: %d\r\n\r\n" % len(inner) + inner
    assert raw(server, request).count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "request_",
    [b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /" + b"x" * 70000],
)
def test_what_is_no_request_is_refused_in_one_line(server, request_, capfd):
    said = raw(server, request_)
    assert said.startswith(b"HTTP/1.1 ")
    assert b"Traceback" not in said
    assert capfd.readouterr() == ("", "")


def test_a_browser_that_goes_away_leaves_no_trace(server, out, ask, capfd, caplog):
    with (out / "large.bw").open("wb") as file:
        file.truncate(LARGE)
    for _ in range(4):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(b"GET /large.bw HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % server.port)
            connection.recv(1000)
            # Closed at once, with an RST and not a FIN, and most of the answer unread.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert len(ask("/large.bw", Range=f"bytes=-{1 << 20}").body) == 1 << 20  # and the others are served
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_fault_of_the_server_is_told(server, ask, monkeypatch, caplog):
    monkeypatch.setattr(serve, "_open_inside", lambda folder, target: 1 // 0)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        ask("/report.html")
    assert "ZeroDivisionError" in caplog.text


def test_viewing_loads_nothing_heavy():
    code = (
        "import sys; import gexplain.report.serve, gexplain.report.igv_page, gexplain_cli.view;"
        "print({'torch', 'transformers', 'pandas', 'matplotlib', 'jinja2'} & {*sys.modules})"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said.strip() == "set()"
