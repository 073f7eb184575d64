"""A server on loopback that answers as the API of Zenodo's records does, and fails as networks do."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Records:
    """What is served, how it fails, and what was asked for.

    Attributes:
        files: content by name, of every record.
        licence: as the record says it.
        digests: by name, where the record's digest is not that of the content.
        ranges: whether a part of a file can be had.
        elsewhere: so many answers with a part begin at another byte than was asked for.
        breaks: by name, after how many bytes each answer's connection is cut; an answer for which there is none is
            whole.
        ends: by name, the byte at which the file ends, although the record says otherwise.
        spoilt: by name, so many answers are not what they should be.
        statuses: by name, so many answers are refused with a status.
        midway: called once half of a file was sent.
        asked: name, first byte and bytes sent, of each answer.
    """

    files: dict[str, bytes]
    licence: str = "cc-by-4.0"
    digests: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    elsewhere: int = 0
    breaks: dict[str, list[int]] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)
    spoilt: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, list[int]] = field(default_factory=dict)
    midway: Callable[[], None] | None = None
    asked: list[tuple[str, int, int]] = field(default_factory=list)
    api: str = ""

    def listing(self, number: int) -> dict[str, object]:
        """A record, as the API gives it."""
        return {
            "id": number,
            "metadata": {"title": "a release", "license": {"id": self.licence}},
            "files": [
                {
                    "key": name,
                    "size": len(content),
                    "checksum": self.digests.get(name, "md5:" + hashlib.md5(content).hexdigest()),
                    "links": {"self": f"{self.api}/{number}/files/{name}/content"},
                }
                for name, content in self.files.items()
            ],
        }

    def of(self, name: str) -> list[tuple[int, int]]:
        """First byte and bytes sent of each answer for a file."""
        return [(start, sent) for asked, start, sent in self.asked if asked == name]


@contextmanager
def served(records: Records) -> Iterator[Records]:
    """Serve records; `records.api` is the address of the API."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            if found := re.fullmatch(r"/api/records/\d+/files/([^/]+)/content", self.path):
                return self.content(found[1])
            if found := re.fullmatch(r"/api/records/(\d+)", self.path):
                return self.answer(json.dumps(records.listing(int(found[1]))).encode())
            return self.send_error(404)

        def answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def content(self, name: str) -> None:
            if records.statuses.get(name):
                self.send_error(records.statuses[name].pop(0))
                return
            body = records.files[name][: records.ends.get(name)]
            if records.spoilt.get(name):
                records.spoilt[name] -= 1
                body = bytes([body[0] ^ 1]) + body[1:]
            wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(wanted[1]) if wanted and records.ranges else 0
            if start and records.elsewhere:
                records.elsewhere -= 1
                start //= 2
            if start and start >= len(body):
                records.asked.append((name, start, 0))
                self.send_error(416)
                return
            self.send_response(206 if wanted and records.ranges else 200)
            if wanted and records.ranges:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            breaks = records.breaks.get(name)
            sent = body[start:][: breaks.pop(0)] if breaks else body[start:]
            records.asked.append((name, start, len(sent)))
            half = len(sent) // 2
            self.wfile.write(sent[:half])
            self.wfile.flush()
            if records.midway is not None:
                midway, records.midway = records.midway, None
                midway()
                return
            self.wfile.write(sent[half:])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    records.api = f"http://127.0.0.1:{server.server_address[1]}/api/records"
    try:
        yield records
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
