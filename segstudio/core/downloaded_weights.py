"""Where fetched checkpoints lie, and which file belongs to which: known to window and worker alike."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from segstudio.core.errors import UserError
from segstudio.core.settings import data_folder
from segstudio.plugin_api import Checkpoint


def checkpoint_folder() -> Path:
    """Where downloaded checkpoints lie, and where a person puts one that was fetched by hand."""
    folder = data_folder() / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def file_name(checkpoint: Checkpoint) -> str:
    """The file's name: the last part of its address, without anything that could leave the folder."""
    name = _safe_name(checkpoint.url)
    if not name:
        raise UserError("The checkpoint's address names no file", where=f"({checkpoint.url})")
    return name


@lru_cache(maxsize=2048)
def _safe_name(address: str) -> str:
    name = PurePosixPath(unquote(urlsplit(address).path)).name
    return "".join(letter if letter.isalnum() or letter in "-_.+" else "_" for letter in name).lstrip(".")


def downloaded(checkpoint: Checkpoint, folder: Path | None = None) -> Path | None:
    """The checkpoint's file where it was fetched before (or put there by hand), else None."""
    path = (folder or checkpoint_folder()) / file_name(checkpoint)
    return path if path.is_file() else None


def part_path(path: Path) -> Path:
    """Where a download grows until it is whole."""
    return path.with_name(path.name + ".part")


def part_bytes(checkpoint: Checkpoint, folder: Path | None = None) -> int:
    """How much of a checkpoint an earlier try left behind; the next one goes on from there."""
    try:
        return part_path((folder or checkpoint_folder()) / file_name(checkpoint)).stat().st_size
    except OSError:
        return 0


def safetensors_copy(path: Path) -> Path:
    """Where the copy of a fetched checkpoint lies that carries its facts; `path` itself where it is one."""
    return path.with_suffix(".safetensors")


def bundled(checkpoint: Checkpoint) -> Path | None:
    """The file of weights that came with the program or a plugin, else None."""
    path = Path(checkpoint.path) if checkpoint.path else None
    return path if path is not None and path.is_file() else None


def on_this_computer(checkpoint: Checkpoint, folder: Path | None = None) -> Path | None:
    """Bundled, or fetched earlier; of a fetched one the copy that knows its classes, where there is one.

    It says where, not that the file is the published one: a worker compares before it uses a file.
    """
    path = bundled(checkpoint)
    if path is not None:
        return path
    path = downloaded(checkpoint, folder) if checkpoint.url else None
    if path is None:
        return None
    copy = safetensors_copy(path)
    return copy if copy.is_file() else path
