"""Fetches published checkpoints: resumable, https only, checked against the published hash.

A download lies as `<name>.part` until its SHA-256 begins with the published digits. A file that a person
fetched by hand and put into the folder under its own name is taken after the same check.
"""

from __future__ import annotations

import hashlib
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Any, Protocol

CHUNK = 1 << 20
ATTEMPTS = 4
TIMEOUT = 30.0


class DownloadError(RuntimeError):
    """A file could not be fetched; the message is one sentence with what to do."""


class DownloadCancelled(RuntimeError):
    """The person stopped it; what has come stays and is continued next time."""


class Response(Protocol):
    """What an answered request gives: `status`, `headers` and bytes."""

    status: int
    headers: HTTPMessage

    def read(self, amount: int) -> bytes: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Progress:
    """Bytes on disk and, where the server says so, in all."""

    done: int
    total: int | None


class HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https addresses only."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        require_https(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def require_https(url: str) -> None:
    """Raises DownloadError for any other scheme."""
    if urllib.parse.urlsplit(url).scheme != "https":
        raise DownloadError(f"{url} is not an https address; only those are fetched.")


def open_https(request: urllib.request.Request) -> Response:
    """Sends a request over https, redirects included."""
    require_https(request.full_url)
    opener = urllib.request.build_opener(HttpsOnly())
    response: Response = opener.open(request, timeout=TIMEOUT)
    return response


def file_name(url: str) -> str:
    """The name under which an address is kept: its last part."""
    name = Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path)).name
    if not name:
        raise DownloadError(f"{url} names no file.")
    return name


def fetch(
    url: str,
    folder: Path,
    *,
    sha256: str,
    progress: Callable[[Progress], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
    connect: Callable[[urllib.request.Request], Response] = open_https,
    wait: Callable[[float], Any] = time.sleep,
) -> Path:
    """The file at `url` in `folder`, fetched unless it is there already.

    `sha256` is the digest or its first digits. A broken connection is continued where it stopped, up to
    ATTEMPTS times. Raises DownloadError, DownloadCancelled; both leave what has come for the next time,
    but for a file of another hash, which is removed.
    """
    require_https(url)
    if len(sha256) < 8:
        raise DownloadError(f"No hash is known for {url}; it is not fetched.")
    target = folder / file_name(url)
    if target.exists():
        if digest(target).startswith(sha256.lower()):
            return target
        raise DownloadError(
            f"{target} is another file than the published one (its SHA-256 does not begin with {sha256}); "
            "remove it to fetch it again."
        )
    folder.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _continue(url, part, progress, cancelled, connect)
            break
        except urllib.error.HTTPError as error:
            if error.code == 416:  # the part is as long as the file, or longer: the hash decides
                break
            if error.code < 500 or attempt == ATTEMPTS:
                raise DownloadError(
                    f"The server answered {error.code} {error.reason} for {url}. {_by_hand(url, target)}"
                ) from error
        except (OSError, HTTPException) as error:
            if attempt == ATTEMPTS:
                here = part.stat().st_size if part.exists() else 0
                raise DownloadError(
                    f"{url} cannot be reached ({_reason(error)}); {here} bytes have come and are kept. "
                    f"{_by_hand(url, target)}"
                ) from error
        wait(min(2.0 ** (attempt - 1), 8.0))
    found = digest(part)
    if not found.startswith(sha256.lower()):
        part.unlink()
        raise DownloadError(
            f"The file at {url} is not the published one: its SHA-256 begins with {found[: len(sha256)]}, "
            f"not {sha256}. It was removed; try again later."
        )
    part.replace(target)
    return target


def _by_hand(url: str, target: Path) -> str:
    return f"Try again when online, or fetch {url} elsewhere and put it at {target}."


def _reason(error: BaseException) -> str:
    reason = getattr(error, "reason", error)
    return str(reason) or type(error).__name__


def _continue(
    url: str,
    part: Path,
    progress: Callable[[Progress], None],
    cancelled: Callable[[], bool],
    connect: Callable[[urllib.request.Request], Response],
) -> None:
    """Asks for what is missing of `part` and appends it. Raises OSError where the answer breaks off."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "SegStudio"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    response = connect(request)
    try:
        begins = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        resumed = response.status == 206 and begins
        if not resumed:
            have = 0
        length = response.headers.get("Content-Length")
        total = None if length is None else have + int(length)
        with part.open("ab" if resumed else "wb") as file:
            progress(Progress(have, total))
            while True:
                if cancelled():
                    raise DownloadCancelled(f"{part} keeps what has come.")
                block = response.read(CHUNK)
                if not block:
                    break
                file.write(block)
                have += len(block)
                progress(Progress(have, total))
    finally:
        response.close()
    if total is not None and have < total:
        raise ConnectionError(f"the connection ended after {have} of {total} bytes")


def digest(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def safe_copy(path: Path, *, url: str = "") -> Path:
    """A safetensors file beside `path` with its tensors, read with `weights_only`; given if it is there.

    Metadata name the source and its SHA-256. Runs in a worker: it loads torch.
    """
    from safetensors.torch import save_file

    from segstudio_zoo.key_map import read_checkpoint, unwrap

    copy = path.with_suffix(".safetensors")
    if copy.exists():
        return copy
    tensors = {key: value.contiguous().clone() for key, value in unwrap(read_checkpoint(path)).items()}
    if not tensors:
        raise DownloadError(f"{path} holds no tensors.")
    temporary = copy.with_name(f"{copy.name}.part")
    save_file(tensors, temporary, metadata={"source": url, "sha256": digest(path)})
    temporary.replace(copy)
    return copy
