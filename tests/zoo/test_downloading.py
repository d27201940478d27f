"""Downloads against a local server that breaks off, truncates, lies about ranges and sends other files."""

from __future__ import annotations

import hashlib
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from segstudio_zoo.downloading import (
    DownloadCancelled,
    DownloadError,
    HttpsOnly,
    Progress,
    Response,
    fetch,
    file_name,
    open_https,
    safe_copy,
)

CONTENT = bytes(range(256)) * 12_000  # 3 MB
SHA = hashlib.sha256(CONTENT).hexdigest()
URL = "https://checkpoints.test/folder/net-" + SHA[:8] + ".pth"


@dataclass
class Server:
    """Serves CONTENT; `plan` holds one fault for each coming request."""

    port: int = 0
    plan: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)

    def connect(self, request: urllib.request.Request) -> Response:
        """Sends an https request of a test to the local server instead."""
        assert request.full_url.startswith("https://checkpoints.test/")
        local = request.full_url.replace("https://checkpoints.test", f"http://127.0.0.1:{self.port}")
        return urllib.request.urlopen(
            urllib.request.Request(local, headers=dict(request.header_items())), timeout=1.0
        )


@pytest.fixture
def server() -> Iterator[Server]:
    facts = Server()
    release = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fault = facts.plan.pop(0) if facts.plan else ""
            wanted = self.headers.get("Range", "")
            facts.ranges.append(wanted)
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and fault != "no range" else 0
            body = CONTENT if fault != "other file" else b"x" * len(CONTENT)
            if fault.isdigit():
                self.send_error(int(fault))
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.end_headers()
            rest = body[start:]
            self.wfile.write(rest[: len(rest) // 2] if fault in ("break", "stall") else rest)
            if fault == "stall":
                self.wfile.flush()
                release.wait(10.0)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        facts.port = http.server_address[1]
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield facts
        release.set()
        http.shutdown()
        thread.join()


def no_wait(_: float) -> None:
    pass


def get(server: Server, folder: Path, *, sha256: str = SHA[:8], seen: list[Progress] | None = None) -> Path:
    return fetch(
        URL,
        folder,
        sha256=sha256,
        connect=server.connect,
        wait=no_wait,
        progress=(seen if seen is not None else []).append,
    )


def test_a_file_arrives_whole_under_its_name_with_progress(server: Server, tmp_path: Path) -> None:
    seen: list[Progress] = []
    path = get(server, tmp_path / "cache", seen=seen)
    assert path == tmp_path / "cache" / file_name(URL)
    assert path.read_bytes() == CONTENT and seen[-1] == Progress(len(CONTENT), len(CONTENT))
    assert not list(path.parent.glob("*.part"))
    get(server, tmp_path / "cache")
    assert len(server.ranges) == 1  # there already: nothing is asked again


@pytest.mark.parametrize("fault", ["break", "stall"])
def test_a_broken_or_stalled_answer_is_continued_where_it_stopped(
    server: Server, tmp_path: Path, fault: str
) -> None:
    server.plan = [fault]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges[0] == "" and server.ranges[1].startswith("bytes=")
    assert int(server.ranges[1].removeprefix("bytes=").rstrip("-")) > 0


def test_a_server_without_ranges_is_read_from_the_start(server: Server, tmp_path: Path) -> None:
    server.plan = ["break", "no range"]
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_part_from_an_earlier_day_is_continued(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{file_name(URL)}.part").write_bytes(CONTENT[:1000])
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-"]


def test_another_file_is_removed_with_a_sentence(server: Server, tmp_path: Path) -> None:
    server.plan = ["other file"]
    with pytest.raises(DownloadError, match=f"is not the published one.*not {SHA[:8]}"):
        get(server, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_server_that_always_breaks_keeps_what_came_and_says_what_to_do(
    server: Server, tmp_path: Path
) -> None:
    server.plan = ["break"] * 9
    with pytest.raises(DownloadError, match=r"are kept\. Try again .* fetch https://.* put it at"):
        get(server, tmp_path)
    assert (tmp_path / f"{file_name(URL)}.part").stat().st_size > len(CONTENT) // 2


def test_server_errors_are_tried_again_and_missing_files_are_not(server: Server, tmp_path: Path) -> None:
    server.plan = ["503"]
    assert get(server, tmp_path / "a").exists()
    server.plan, server.ranges = ["404"], []
    with pytest.raises(DownloadError, match="answered 404"):
        get(server, tmp_path / "b")
    assert len(server.ranges) == 1


def test_offline_names_the_address_and_the_place_for_a_file_fetched_by_hand(tmp_path: Path) -> None:
    def offline(_: urllib.request.Request) -> Response:
        raise urllib.error.URLError("Name or service not known")

    with pytest.raises(DownloadError) as caught:
        fetch(URL, tmp_path, sha256=SHA[:8], connect=offline, wait=no_wait)
    message = str(caught.value)
    assert URL in message and str(tmp_path / file_name(URL)) in message and "not known" in message


def test_a_file_put_there_by_hand_is_taken_after_the_same_check(server: Server, tmp_path: Path) -> None:
    path = tmp_path / file_name(URL)
    path.write_bytes(CONTENT)
    assert get(server, tmp_path) == path and not server.ranges
    path.write_bytes(b"something else")
    with pytest.raises(DownloadError, match="another file than the published one"):
        get(server, tmp_path)
    assert path.read_bytes() == b"something else"  # a person's file is not removed


def test_cancelling_keeps_what_has_come(server: Server, tmp_path: Path) -> None:
    seen: list[Progress] = []
    with pytest.raises(DownloadCancelled):
        fetch(
            URL,
            tmp_path,
            sha256=SHA[:8],
            connect=server.connect,
            progress=seen.append,
            cancelled=lambda: bool(seen) and seen[-1].done > 0,
        )
    assert (tmp_path / f"{file_name(URL)}.part").stat().st_size == seen[-1].done
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_only_https_is_fetched_redirects_included(tmp_path: Path) -> None:
    for url in ("http://checkpoints.test/a.pth", "file:///etc/passwd", "ftp://checkpoints.test/a.pth"):
        with pytest.raises(DownloadError, match="not an https address"):
            fetch(url, tmp_path, sha256=SHA)
        with pytest.raises(DownloadError, match="not an https address"):
            open_https(urllib.request.Request(url))
    with pytest.raises(DownloadError, match="not an https address"):
        HttpsOnly().redirect_request(
            urllib.request.Request(URL), BytesIO(), 302, "Found", HTTPMessage(), "http://elsewhere.test/a"
        )


def test_without_a_known_hash_nothing_is_fetched(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="No hash is known"):
        get(server, tmp_path, sha256="")
    assert not server.ranges


def test_safe_copy_holds_the_same_tensors_and_where_they_came_from(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    weight = torch.arange(6.0).reshape(2, 3)
    torch.save({"state_dict": {"a.weight": weight, "b": weight.T}, "meta": {"epoch": 1}}, path)
    copy = safe_copy(path, url=URL)
    with safe_open(copy, framework="pt") as file:
        assert torch.equal(file.get_tensor("a.weight"), weight)
        assert torch.equal(file.get_tensor("b"), weight.T)
        assert file.metadata()["source"] == URL and len(file.metadata()["sha256"]) == 64
