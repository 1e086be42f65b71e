"""A web server of one folder, for the browser on this machine: what `gexplain view` starts.

igv.js reads byte ranges, which no page may do of files on disk and Python's own file server does not answer. This
one listens on the loopback address alone. What another site in the same browser could do to it is refused: names made
to point here (DNS rebinding) fail at the Host header, and no other site may embed an answer.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import socketserver
import sys
import time
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote_to_bytes

from gexplain.errors import RunError
from gexplain.report.igv_asset import PUBLIC_ADDRESS, SCRIPT, SERVED_AS
from gexplain.run_folder import REPORT

HOST = "127.0.0.1"
IDLE_TIMEOUT_S = 60.0
PAUSE_S = 0.1

_ASSET = Path(__file__).parent / SCRIPT
_log = logging.getLogger(__name__)

# What no page of a run may do, whatever its own <meta> says: a browser holds to both, and the hashes of the page's
# scripts are there. igv.js writes styles into the page.
_POLICY = "; ".join(
    [
        "default-src 'none'",
        f"script-src 'self' 'unsafe-inline' {PUBLIC_ADDRESS}",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
_HEADERS = {
    "Cache-Control": "no-store",  # a run that was scored again has other values under the same name
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_BYTES = "application/octet-stream"
_TEXT = "text/plain; charset=utf-8"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".xml": "application/xml",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".gz": "application/gzip",  # and no Content-Encoding: igv.js wants the compressed blocks themselves
    **dict.fromkeys((".tsv", ".bed", ".bedGraph", ".as", ".txt", ".fa", ".fai"), _TEXT),
}
"""By the end of a file's name; all others are bytes."""

# More digits than a file has bytes, and too few to make int() refuse.
_RANGE = re.compile(r"bytes=[ \t]*(\d{0,18})-(\d{0,18})[ \t]*", re.ASCII)


class RunServer(ThreadingHTTPServer):
    """A server of the files of one folder, on 127.0.0.1: a context manager, which `serve_forever` sets to work.

    port: 0 takes any that is free. "/" leads to report.html. No other folder, link out of this one or hidden file is
    served. RunError where the port cannot be had.
    """

    daemon_threads = True  # an open connection does not hold up the end
    request_queue_size = 128  # igv.js asks for all tracks at once

    def __init__(self, folder: str | os.PathLike[str], port: int = 0) -> None:
        self.folder = Path(os.path.realpath(folder))
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise RunError(
                f"port {port} cannot be had: {error.strerror}",
                hint="give another --port, or 0 for any that is free",
            ) from error
        self.hosts = {f"{name}:{self.port}" for name in (HOST, "localhost")}
        if self.port == 80:  # which browsers leave out
            self.hosts |= {HOST, "localhost"}

    def server_bind(self) -> None:
        """Bind without asking for this machine's name, which can take a while where DNS is slow."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    def get_request(self) -> tuple[socket.socket, Any]:
        """The next connection; where none can be had, as with too many files open, not asked for again at once."""
        try:
            return super().get_request()
        except OSError:
            time.sleep(PAUSE_S)
            raise

    @property
    def port(self) -> int:
        """The port, whichever it became."""
        return self.server_port

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.port}/{REPORT}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no error; all else is."""
        error = sys.exc_info()[1]
        if not isinstance(error, (ConnectionError, TimeoutError)):
            _log.error("a request failed", exc_info=error)


class _Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    server: RunServer
    protocol_version, default_request_version = "HTTP/1.1", "HTTP/1.0"  # the latter of what is no request at all
    server_version, sys_version = "gexplain", ""
    timeout = IDLE_TIMEOUT_S
    disable_nagle_algorithm = True  # head and body are sent apart: on one connection, 40 ms an answer

    def do_GET(self) -> None:
        """A file, or the range of it that was asked for."""
        self._answer()

    def do_HEAD(self) -> None:
        """What GET would say of a file."""
        self._answer()

    def _answer(self) -> None:
        if {*self.headers.get_all("Content-Length", ["0"])} != {"0"} or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # a body nobody reads must not be taken for the next request
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or hosts[0].lower() not in self.server.hosts:
            self._say(HTTPStatus.MISDIRECTED_REQUEST, f"Only http://{HOST}:{self.server.port}/ is served here.")
            return
        target = self.path.partition("?")[0].partition("#")[0]
        if target == "/":
            self._say(HTTPStatus.FOUND, f"The page is /{REPORT}.", {"Location": f"/{REPORT}"})
            return
        if target == "/favicon.ico":  # browsers ask, and show an error for a 404
            self._head(HTTPStatus.NO_CONTENT, _TEXT, 0, {})
            return
        content_type = _TYPES.get(Path(target).suffix, _BYTES)
        file = _open(_ASSET) if target == SERVED_AS else _open_inside(self.server.folder, target)
        if file is None and target == SERVED_AS:  # a 404 is an error in the browser's console, and this is none
            self._say(HTTPStatus.OK, "// This gexplain was built without igv.js.", content_type=content_type)
        elif file is None:
            self._say(HTTPStatus.NOT_FOUND, "There is no such file.")
        else:
            with file:
                self._send(file, content_type)

    def _send(self, file: BinaryIO, content_type: str) -> None:
        size = os.fstat(file.fileno()).st_size
        start, end, status, extra = 0, size, HTTPStatus.OK, {"Accept-Ranges": "bytes"}
        asked = self.headers.get("Range") if self.command == "GET" and "If-Range" not in self.headers else None
        if asked is not None and (part := _parse_range(asked, size)) is not None:
            start, end = part
            if start >= end:
                status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
                self._say(status, "The file is shorter.", {"Content-Range": f"bytes */{size}"})
                return
            status = HTTPStatus.PARTIAL_CONTENT
            extra["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        self._head(status, content_type, end - start, extra)
        if self.command == "HEAD" or start == end:
            return
        if self.connection.sendfile(file, start, end - start) < end - start:
            self.close_connection = True  # the file became shorter: the browser has to notice

    def _say(
        self, status: HTTPStatus, sentence: str, extra: Mapping[str, str] | None = None, *, content_type: str = _TEXT
    ) -> None:
        body = f"{sentence}\n".encode()
        self._head(status, content_type, len(body), extra or {})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: HTTPStatus, content_type: str, length: int, extra: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": content_type, "Content-Length": str(length), **extra}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class refuses: a request that is none, or another method."""
        self.close_connection = True
        self.command = self.command or "GET"
        self._say(HTTPStatus(code), message or HTTPStatus(code).phrase)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests go to the log, which shows them to who wants to see them."""
        _log.debug(format, *args)


def _parse_range(header: str, size: int) -> tuple[int, int] | None:
    """The bytes of a single range, half-open; empty where the file has none of them, None for what is no such range.

    RFC 9110, section 14: what is malformed, and several ranges, may be answered with the whole file.
    """
    found = _RANGE.fullmatch(header)
    if found is None:
        return None
    first, last = found.groups()
    if first:
        if last and int(last) < int(first):
            return None
        return int(first), min(int(last) + 1 if last else size, size)
    return (max(size - int(last), 0), size) if last else None


def _open_inside(folder: Path, target: str) -> BinaryIO | None:
    """The plain file that a request's path names in a folder, or None where none may be served."""
    name = unquote_to_bytes(target.encode("latin-1"))  # as http.server reads it
    first, *parts = os.fsdecode(name).split("/")
    if first or b"\0" in name or b"\\" in name or any(not part or part.startswith(".") for part in parts):
        return None
    path = Path(os.path.realpath(folder.joinpath(*parts)))  # where links lead
    if not path.is_relative_to(folder) or any(part.startswith(".") for part in path.relative_to(folder).parts):
        return None
    return _open(path)


def _open(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb") if path.is_file() else None  # a pipe would wait for its writer
    except OSError:
        return None
