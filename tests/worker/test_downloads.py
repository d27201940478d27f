"""Downloads against a server on this computer that breaks, truncates, dawdles and lies."""

from __future__ import annotations

import hashlib
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from segstudio.core import checked_weights
from segstudio.core.errors import UserError
from segstudio.plugin_api import Checkpoint
from segstudio.worker import downloads
from tests.worker.https_server import https_server

CONTENT = bytes(range(256)) * 4096
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT; `behaviour` decides how badly. `requests` lists the Range of every request."""

    behaviour = "good"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[str | None] = []

    def open(self, address: str, first_byte: int) -> downloads.Response:
        """Stands in for the https connection: the same request, to this server."""
        assert address.startswith("https://weights.example/")
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.server_address[1]}/{address.rpartition('/')[2]}"
        )
        if first_byte:
            request.add_header("Range", f"bytes={first_byte}-")
        answer: downloads.Response = urllib.request.urlopen(request, timeout=5)
        return answer


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.requests.append(asked)
        behaviour, attempt = self.server.behaviour, len(self.server.requests)
        if behaviour == "missing":
            self.send_error(404)
            return
        if behaviour == "at the end" and asked == f"bytes={len(CONTENT)}-":
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        first = int(asked.removeprefix("bytes=").rstrip("-")) if asked and behaviour != "no ranges" else 0
        body = CONTENT[first:]
        if behaviour == "wrong":
            body = body[:-1] + b"!"
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if behaviour == "always breaks" or (behaviour in ("breaks once", "no ranges") and attempt == 1):
            body = body[: len(body) // 3]
            self.close_connection = True
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """The test's own output stays readable."""


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGSTUDIO_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def checkpoint(name: str = "net-0123.pth", sha256: str = DIGEST[:8]) -> Checkpoint:
    return Checkpoint(id="net", url=f"https://weights.example/{name}", sha256=sha256)


def test_a_good_answer_becomes_the_file_with_progress(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    path = downloads.fetch(
        checkpoint(), folder=tmp_path, opener=server.open, progress=lambda *p: seen.append(p)
    )
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert len(seen) > 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["net-0123.pth"]


def test_a_file_put_there_by_hand_is_taken_and_not_asked_for(server: Server, tmp_path: Path) -> None:
    (tmp_path / "net-0123.pth").write_bytes(CONTENT)
    assert downloads.fetch(checkpoint(), folder=tmp_path, opener=server.open).read_bytes() == CONTENT
    assert server.requests == []


def test_another_file_under_the_published_name_is_named_and_kept(server: Server, tmp_path: Path) -> None:
    (tmp_path / "net-0123.pth").write_bytes(b"something else")
    with pytest.raises(UserError, match="not the published checkpoint"):
        downloads.fetch(checkpoint(), folder=tmp_path, opener=server.open)
    assert (tmp_path / "net-0123.pth").read_bytes() == b"something else"


@pytest.mark.parametrize("behaviour", ["breaks once", "no ranges"])
def test_a_broken_connection_is_taken_up_again(server: Server, tmp_path: Path, behaviour: str) -> None:
    server.behaviour = behaviour
    path = downloads.fetch(checkpoint(), folder=tmp_path, opener=server.open)
    assert path.read_bytes() == CONTENT
    assert server.requests == [None, f"bytes={len(CONTENT) // 3}-"]


def test_an_earlier_part_is_continued_after_a_restart(server: Server, tmp_path: Path) -> None:
    (tmp_path / "net-0123.pth.part").write_bytes(CONTENT[:1000])
    downloads.fetch(checkpoint(), folder=tmp_path, opener=server.open)
    assert server.requests == ["bytes=1000-"]


@pytest.mark.parametrize("sha256", [DIGEST[:8], ""])
def test_a_whole_part_left_before_its_name_is_kept_and_not_fetched_again(
    server: Server, tmp_path: Path, sha256: str
) -> None:
    server.behaviour = "at the end"
    (tmp_path / "net-0123.pth.part").write_bytes(CONTENT)
    path = downloads.fetch(checkpoint(sha256=sha256), folder=tmp_path, opener=server.open)
    assert path.read_bytes() == CONTENT
    assert server.requests == [f"bytes={len(CONTENT)}-"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["net-0123.pth"]


def test_a_part_of_the_right_length_with_other_bytes_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    server.behaviour = "at the end"
    (tmp_path / "net-0123.pth.part").write_bytes(bytes(len(CONTENT)))
    path = downloads.fetch(checkpoint(), folder=tmp_path, opener=server.open)
    assert path.read_bytes() == CONTENT
    assert server.requests == [f"bytes={len(CONTENT)}-", None]


def test_a_server_that_goes_silent_is_left_and_taken_up_where_it_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(downloads, "_SILENCE_SECONDS", 0.5)
    with https_server(monkeypatch) as silent:
        silent.files["net-0123.pth"] = CONTENT
        silent.hold_after, silent.is_silent = 300_000, True
        published = Checkpoint(id="net", url=silent.address("net-0123.pth"), sha256=DIGEST[:8])
        with pytest.raises(UserError, match=r"no answer for 0\.5 s.*put it at .*net-0123\.pth"):
            downloads.fetch(published, folder=tmp_path)
        assert silent.ranges == [None, "bytes=300000-", "bytes=300000-"]
        assert (tmp_path / "net-0123.pth.part").read_bytes() == CONTENT[:300_000]
        silent.go_on.set()
        assert downloads.fetch(published, folder=tmp_path).read_bytes() == CONTENT


def test_a_file_is_compared_once_until_it_changes(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    monkeypatch.setattr(
        checked_weights, "is_published", lambda _checkpoint, path: bool(read.append(path)) or True
    )
    path = tmp_path / "net-0123.pth"
    path.write_bytes(b"first")
    assert checked_weights.known_finding(checkpoint(), path) is None
    assert [checked_weights.check(checkpoint(), path) for _ in range(3)] == [True, False, False]
    assert checked_weights.known_finding(checkpoint(), path) is True
    path.write_bytes(b"another")
    assert checked_weights.known_finding(checkpoint(), path) is None
    assert checked_weights.check(checkpoint(), path) and len(read) == 2
    assert checked_weights.known_finding(checkpoint(sha256="00000000"), path) is None


def test_a_server_that_always_breaks_is_named_with_the_way_by_hand(server: Server, tmp_path: Path) -> None:
    server.behaviour = "always breaks"
    with pytest.raises(UserError) as caught:
        downloads.fetch(checkpoint(), folder=tmp_path, opener=server.open)
    assert "https://weights.example/net-0123.pth" in str(caught.value)
    assert str(tmp_path / "net-0123.pth") in str(caught.value)
    assert not (tmp_path / "net-0123.pth").exists()


def test_a_wrong_file_is_refused_and_removed(server: Server, tmp_path: Path) -> None:
    server.behaviour = "wrong"
    with pytest.raises(UserError, match="not the published file"):
        downloads.fetch(checkpoint(), folder=tmp_path, opener=server.open)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_gives_the_server_s_answer(server: Server, tmp_path: Path) -> None:
    server.behaviour = "missing"
    with pytest.raises(UserError, match="404"):
        downloads.fetch(checkpoint(), folder=tmp_path, opener=server.open)


def test_cancel_keeps_what_was_fetched(server: Server, tmp_path: Path) -> None:
    blocks: list[int] = []
    with pytest.raises(downloads.DownloadCancelled):
        downloads.fetch(
            checkpoint(),
            folder=tmp_path,
            opener=server.open,
            progress=lambda have, total: blocks.append(have),
            cancel=lambda: bool(blocks),
        )
    assert (tmp_path / "net-0123.pth.part").stat().st_size == blocks[0]


def test_without_a_network_the_sentence_says_where_to_put_the_file(tmp_path: Path) -> None:
    def unreachable(address: str, first_byte: int) -> downloads.Response:
        raise urllib.error.URLError("Name or service not known")

    with pytest.raises(UserError, match=r"Fetch it by hand and put it at .*net-0123\.pth"):
        downloads.fetch(checkpoint(), folder=tmp_path, opener=unreachable)


@pytest.mark.parametrize("address", ["http://weights.example/a.pth", "file:///etc/passwd", ""])
def test_only_https_is_asked(server: Server, tmp_path: Path, address: str) -> None:
    with pytest.raises(UserError, match="https only"):
        downloads.fetch(Checkpoint(id="net", url=address), folder=tmp_path, opener=server.open)
    assert server.requests == []


def test_an_address_cannot_name_a_file_outside_the_folder() -> None:
    sly = Checkpoint(id="net", url="https://weights.example/a/%2e%2e%2f%2e%2e%2fevil.pth")
    assert downloads.file_name(sly) == "evil.pth"


def test_a_redirect_away_from_https_is_refused() -> None:
    request = urllib.request.Request("https://weights.example/a.pth")
    with pytest.raises(urllib.error.URLError, match="not https"):
        downloads._HttpsOnly().redirect_request(request, None, 302, "", {}, "http://weights.example/a.pth")  # type: ignore[arg-type]
