"""Where plugins come from, found without running any of them.

Three ways: an installed package with an entry point, a file in the person's plugin folder, a file named
on the command line. A file in the folder is code of unknown origin: it runs only once the person said
yes to exactly these bytes.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from segstudio.core import atomic_file
from segstudio.core.settings import config_folder, plugin_folder

GROUP = "segstudio.plugins"
_MOST_FILES = 5000


@dataclass(frozen=True, slots=True)
class PluginSource:
    """One plugin that could be run.

    `name` is the entry point's, or the file's stem. `location` is "module:attribute" or the file's path.
    `key` changes whenever its code may have changed. `allowed` is False for a file in the plugin folder
    that nobody agreed to.
    """

    name: str
    kind: Literal["package", "folder", "file"]
    location: str
    key: str
    allowed: bool = True


def find_sources(plugin_files: tuple[Path, ...] = ()) -> tuple[PluginSource, ...]:
    """All plugins: files named by hand first, then packages, then the plugin folder; each name once."""
    found: dict[str, PluginSource] = {}
    for file in plugin_files:
        source = file_source(file, "file")
        found.setdefault(source.name, source)
    for entry in importlib.metadata.entry_points(group=GROUP):
        key = f"{_version(entry)} {_fingerprint(entry.value.partition(':')[0].partition('.')[0])}"
        found.setdefault(entry.name, PluginSource(entry.name, "package", entry.value, key))
    for file in sorted(plugin_folder().glob("*.py")):
        source = file_source(file, "folder")
        found.setdefault(source.name, source)
    return tuple(found.values())


def file_source(file: Path, kind: Literal["folder", "file"]) -> PluginSource:
    """The plugin in one file. A file that cannot be read is a source all the same; running it says why."""
    try:
        digest = file_digest(file.read_bytes())
    except OSError:
        digest = ""
    allowed = kind == "file" or has_consent(digest)
    return PluginSource(file.stem, kind, str(file.absolute()), digest, allowed)


def file_digest(content: bytes) -> str:
    """What consent is given to."""
    return hashlib.sha256(content).hexdigest()


def has_consent(digest: str) -> bool:
    return bool(digest) and digest in _consents()


def give_consent(digest: str, file: Path) -> None:
    """Remembers that the person agreed to run code with this digest. Raises OSError."""
    consents = {**_consents(), digest: str(file)}
    atomic_file.write_bytes(_consent_file(), json.dumps(consents, indent=1).encode("utf-8", "surrogatepass"))


def withdraw_consent(digest: str) -> None:
    """The code with this digest is not run any longer. Raises OSError."""
    consents = _consents()
    if consents.pop(digest, None) is not None:
        atomic_file.write_bytes(
            _consent_file(), json.dumps(consents, indent=1).encode("utf-8", "surrogatepass")
        )


def _consent_file() -> Path:
    return config_folder() / "plugin_consents.json"


def _consents() -> dict[str, str]:
    try:
        document = json.loads(_consent_file().read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _version(entry: importlib.metadata.EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else ""


def _fingerprint(package: str) -> str:
    """Names, sizes and times of a top-level package's files: an editable install keeps its version."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return ""
    if spec is None:
        return ""
    digest = hashlib.sha256()
    roots = list(spec.submodule_search_locations or ())
    files = [spec.origin] if spec.origin and not roots else []
    for root in roots:
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            files += [os.path.join(folder, name) for name in sorted(names) if name.endswith((".py", ".json"))]  # noqa: PTH118
    for file in files[:_MOST_FILES]:
        status = os.stat(file)  # noqa: PTH116 - a Path for each of hundreds of files costs as much again
        digest.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\0".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]
