"""Fetches published checkpoints: only over https, resumable, checked, and kept in one folder.

A download grows as "<name>.part" and takes its final name only when its checksum is right, so a file with
its final name is always whole. The published address may redirect, but never away from https. Two windows
that want the same file do not write into each other's part: the second one is told so.
"""

from __future__ import annotations

import os
import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import urlsplit

from segstudio.core.checked_weights import check, is_published, remember_published
from segstudio.core.downloaded_weights import checkpoint_folder, file_name, part_path
from segstudio.core.errors import UserError
from segstudio.core.project_lock import try_lock
from segstudio.plugin_api import Checkpoint

_BLOCK = 1 << 16
_SILENCE_SECONDS = 30.0
_ATTEMPTS = 3
_LARGEST = 16 << 30


class Response(Protocol):
    """What `open_https` gives: an HTTP answer that can be read in blocks.

    `read1` gives what has arrived, so that a slow line is seen to move and can be cancelled at any moment.
    """

    status: int
    headers: Any

    def read1(self, amount: int) -> bytes: ...
    def close(self) -> None: ...


Opener = Callable[[str, int], Response]
"""(address, first byte wanted) -> answer, status 200 (the whole file) or 206 (from that byte)."""


class DownloadCancelled(Exception):
    """The person cancelled; what was fetched is kept for the next try."""


def open_https(address: str, first_byte: int) -> Response:
    """Asks for `address` from `first_byte` on. Refuses redirects that leave https."""
    request = urllib.request.Request(address, headers={"User-Agent": "SegStudio"})
    if first_byte:
        request.add_header("Range", f"bytes={first_byte}-")
    opener = urllib.request.build_opener(_HttpsOnly())
    answer: Response = opener.open(request, timeout=_SILENCE_SECONDS)
    return answer


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme != "https":
            raise urllib.error.URLError(f"it redirects to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(
    checkpoint: Checkpoint,
    *,
    folder: Path | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    cancel: Callable[[], bool] = lambda: False,
    opener: Opener = open_https,
) -> Path:
    """Fetches `checkpoint` unless it is there, and returns its file.

    A file that a person put there by hand is taken after the same check of its checksum.

    `progress(bytes so far, bytes in all or None)` is called after every block. A connection that breaks is
    taken up again where it stopped, up to three times; so is the ".part" file of an earlier try.

    Raises UserError where the address is not https, the server cannot be reached, the answer is too short,
    the disk too full or the checksum wrong; DownloadCancelled when `cancel()` turns true.
    """
    folder = folder or checkpoint_folder()
    if urlsplit(checkpoint.url).scheme != "https":
        raise UserError(
            "SegStudio downloads over https only", where=f"({checkpoint.url or 'no address'})", action=""
        )
    path = folder / file_name(checkpoint)
    if path.is_file():
        check(checkpoint, path)
        return path
    part = part_path(path)
    failure = ""
    for _ in range(_ATTEMPTS):
        try:
            complete = _receive(checkpoint, part, opener, progress, cancel)
        except (OSError, HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError) and error.code == 416 and part.is_file():
                if _is_whole(checkpoint, part, error):
                    return _keep(checkpoint, part, path)
                part.unlink(missing_ok=True)  # longer than the server's file: start over
            failure = _reason(error)
            continue
        if not complete:
            failure = "the server closed the connection early"
            continue
        _verify(checkpoint, part)
        return _keep(checkpoint, part, path)
    raise UserError(
        "The checkpoint could not be downloaded",
        where=f"from {checkpoint.url} ({failure})",
        action=f"Fetch it by hand and put it at {path}.",
    )


def _receive(
    checkpoint: Checkpoint,
    part: Path,
    opener: Opener,
    progress: Callable[[int, int | None], None] | None,
    cancel: Callable[[], bool],
) -> bool:
    """One connection. Returns whether the file is whole as far as its length tells."""
    have = part.stat().st_size if part.exists() else 0
    answer = opener(checkpoint.url, have)
    try:
        if answer.status != 206:
            have = 0  # the server sends everything again
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length and length.isdigit() else checkpoint.bytes
        if total is not None and total > _LARGEST:
            raise UserError("The server announces a file of", where=f"{total:,} bytes ({checkpoint.url})")
        with part.open("ab") as file:
            if not try_lock(file.fileno()):
                raise UserError(
                    "Another window of SegStudio is fetching this checkpoint",
                    where=f"to {part}",
                    action="Wait for it, or cancel it there.",
                )
            if part.stat().st_size != have:
                file.truncate(have)
            _check_room(checkpoint, part.parent, have, total)
            while True:
                if cancel():
                    raise DownloadCancelled
                block = answer.read1(_BLOCK)
                if not block:
                    break
                file.write(block)
                have += len(block)
                if have > _LARGEST:
                    raise UserError(
                        "The server sends more than 16 GiB",
                        where=f"({checkpoint.url})",
                        action="It was stopped.",
                    )
                if progress is not None:
                    progress(have, total)
            file.flush()
            os.fsync(file.fileno())
    finally:
        answer.close()
    return have > 0 and (total is None or have == total)


def _check_room(checkpoint: Checkpoint, folder: Path, have: int, total: int | None) -> None:
    free = shutil.disk_usage(folder).free
    if total is not None and total - have > free:
        raise UserError(
            f"There is no room for {(total - have) / 2**20:.0f} MB",
            where=f"in {folder} ({free / 2**20:.0f} MB are free; {checkpoint.url})",
            action="Make room, and fetch it again.",
        )


def _verify(checkpoint: Checkpoint, part: Path) -> None:
    """Compares the checksum, or its published prefix; a wrong file is removed, never used."""
    if is_published(checkpoint, part):
        return
    part.unlink()
    raise UserError(
        "The downloaded checkpoint is not the published file",
        where=f"(its SHA-256 does not begin with {checkpoint.sha256[:8]}; {checkpoint.url})",
        action="It was removed; try again, or ask its publisher.",
    )


def _keep(checkpoint: Checkpoint, part: Path, path: Path) -> Path:
    """Gives a part that was found whole and right its final name."""
    part.replace(path)
    remember_published(checkpoint, path)
    return path


def _is_whole(checkpoint: Checkpoint, part: Path, answer: urllib.error.HTTPError) -> bool:
    """Whether a part behind which the server has nothing is the whole file: the end came before its name.

    Without a published checksum its length has to be known, from the answer ("bytes */1234") or the list.
    """
    told = (answer.headers.get("Content-Range") or "").rpartition("/")[2].strip()
    total = int(told) if told.isdigit() else checkpoint.bytes
    if total is None and not checkpoint.sha256:
        return False
    return total in (None, part.stat().st_size) and is_published(checkpoint, part)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        reason = error.reason
        if isinstance(reason, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {reason.verify_message}"
        words = getattr(reason, "strerror", None) or str(reason)
        return f"no connection: {words}"
    if isinstance(error, TimeoutError):
        return f"no answer for {_SILENCE_SECONDS:g} s"
    return str(error) or type(error).__name__
