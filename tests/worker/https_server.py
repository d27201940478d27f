"""A real HTTPS server on this computer, which can be slow, broken or wrong at a test's word.

Its certificate is made for the test, for "localhost" and nothing else; only a process that is told to
(SSL_CERT_FILE) trusts it.
"""

from __future__ import annotations

import hashlib
import io
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
import trustme

from tests.worker.plugins_for_tests import TINY, write_plugin

PADDING = 3_000_000
_DRIP = 2048
_DRIP_SECONDS = 0.06


class HttpsServer(ThreadingHTTPServer):
    """Serves `files` by name. `ranges` lists the Range of every request.

    `hold_after`: after so many bytes answers only drip until `go_on` is set (None = never);
    nothing comes any more where it `is_silent`.
    """

    daemon_threads = True

    def __init__(self, authority: trustme.CA) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.files: dict[str, bytes] = {}
        self.ranges: list[str | None] = []
        self.hold_after: int | None = None
        self.is_silent = False
        self.go_on = threading.Event()

    def address(self, name: str) -> str:
        return f"https://localhost:{self.server_address[1]}/{name}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: HttpsServer

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        content = self.server.files.get(self.path.lstrip("/"))
        if content is None:
            self.send_error(404)
            return
        first = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        hold = self.server.hold_after
        stop = len(content) if hold is None else min(max(hold, first), len(content))
        self.wfile.write(content[first:stop])
        while stop < len(content):
            wait = None if self.server.is_silent else _DRIP_SECONDS
            step = len(content) if self.server.go_on.wait(wait) else _DRIP
            self.wfile.write(content[stop : stop + step])
            stop += step

    def log_message(self, format: str, *arguments: object) -> None:
        """The test's own output stays readable."""


@contextmanager
def https_server(patch: pytest.MonkeyPatch) -> Iterator[HttpsServer]:
    """The server at work; child processes started meanwhile trust it and ask it directly."""
    authority = trustme.CA()
    with TemporaryDirectory() as folder:
        trusted = f"{folder}/authority.pem"
        authority.cert_pem.write_to_path(trusted)
        patch.setenv("SSL_CERT_FILE", trusted)
        patch.setenv("no_proxy", "*")
        server = HttpsServer(authority)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()


PUBLISHED = """

import dataclasses
import json
from pathlib import Path

from segstudio.plugin_api import Checkpoint

_FACTS = json.loads(Path(__file__).with_name("published.json").read_text())
PLUGIN = dataclasses.replace(
    PLUGIN,
    models=tuple(
        dataclasses.replace(
            spec,
            trainable=True,
            system="Tiny",
            backbone="two-blocks",
            paper="https://example.org/tiny",
            paper_title="A network as small as can be",
            authors="Little, Less, Least",
            venue="Journal of Small Things",
            year=2020,
            parts=("two blocks", "one classifier"),
            search_aliases=("Tinny",),
            checkpoints=tuple(
                Checkpoint(**{**facts, "metrics": (("mIoU", facts["metrics"]),), "crop": (128, 256)})
                for facts in _FACTS.get(spec.name, ())
            ),
        )
        for spec in PLUGIN.models
    ),
)
"""
"""Goes behind the code of a plugin file: its models get checkpoints from "published.json" beside it."""


def published_plugin(folder: Path, server: HttpsServer) -> Path:
    """Writes the plugin; its files "good", "other" (of another network) and "wrong" lie on the server."""
    plugin = write_plugin(folder, "tiny", TINY + PUBLISHED)
    namespace: dict[str, object] = {"__file__": str(plugin)}
    exec(compile(TINY, str(plugin), "exec"), namespace)
    state = namespace["build"]("plain", num_classes=21).state_dict()  # type: ignore[operator]
    facts = []
    for name, tensors in (("good", state), ("other", {"a.weight": torch.zeros(3, 4)}), ("wrong", state)):
        content = io.BytesIO()
        torch.save({"state_dict": tensors, "log": torch.zeros(PADDING // 4)}, content)
        data = content.getvalue()
        digest = hashlib.sha256(data).hexdigest()[:8]
        server.files[f"{name}.pth"] = data if name != "wrong" else data[:-1] + b"!"
        facts.append(
            {
                "id": name,
                "url": server.address(f"{name}.pth"),
                "sha256": digest,
                "taxonomy": "pascal_voc",
                "dataset": "Pascal VOC 2012",
                "num_classes": 21,
                "metrics": 70.5,
                "layout_checked": name == "good",
            }
        )
    plugin.with_name("published.json").write_text(json.dumps({"plain": facts}))
    return plugin
