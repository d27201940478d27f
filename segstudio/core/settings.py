"""The user's folders and the user's settings, the same for all projects.

`SEGSTUDIO_HOME` moves all folders under one, so that tests never touch a person's own.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from segstudio.core.errors import UserError
from segstudio.core.written_later import WrittenLater

_NAME = "SegStudio"


def _folder(kind: str) -> Path:
    home = os.environ.get("SEGSTUDIO_HOME")
    path = Path(home, kind) if home else _system_folder(kind)
    path.mkdir(parents=True, exist_ok=True)
    return path


def _system_folder(kind: str) -> Path:
    # Imported here: the engine also runs in environments that have little more than torch.
    import platformdirs

    functions = {
        "config": platformdirs.user_config_dir,
        "data": platformdirs.user_data_dir,
        "cache": platformdirs.user_cache_dir,
        "log": platformdirs.user_log_dir,
    }
    return Path(functions[kind](_NAME, appauthor=False))


def config_folder() -> Path:
    """Where the settings file lies; made when missing."""
    return _folder("config")


def data_folder() -> Path:
    """Where downloaded weights and projects of read-only folders lie; made when missing."""
    return _folder("data")


def cache_folder() -> Path:
    """What may be deleted at any time: thumbnails, plugin listings; made when missing."""
    return _folder("cache")


def log_folder() -> Path:
    """Where logs lie; made when missing."""
    return _folder("log")


def plugin_folder() -> Path:
    """Where a person puts single-file plugins; made when missing."""
    path = data_folder() / "plugins"
    path.mkdir(exist_ok=True)
    return path


class Settings:
    """The user's settings: values by dotted names ("view.theme") in one TOML file.

    Values are str, bool, int, float, lists and tables of these. A thread writes the file: `flush` waits for
    it, and so does the normal end of the interpreter. A file that cannot be read is kept beside as
    "settings.broken.toml" and told in `problem`; one that cannot be written is told there, too, and to
    `on_problem`, which the writing thread calls.
    """

    def __init__(
        self, path: Path | None = None, *, on_problem: Callable[[UserError], None] | None = None
    ) -> None:
        self.path = path or config_folder() / "settings.toml"
        self.problem: UserError | None = None
        self._on_problem = on_problem
        self._file = WrittenLater(self.path, self._not_written)
        self._values: dict[str, Any] = {}
        try:
            self._values = tomllib.loads(self.path.read_text("utf-8"))
        except FileNotFoundError:
            pass
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            self.problem = UserError(
                "The settings could not be read",
                where=f"from {self.path}",
                action="SegStudio starts with its defaults; the old file is kept as settings.broken.toml.",
                details=str(error),
            )
            if not isinstance(error, OSError):
                self.path.replace(self.path.with_name("settings.broken.toml"))

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a dotted name, or `default`, also where the value's type is not the default's."""
        value: Any = self._values
        for part in name.split("."):
            if not isinstance(value, dict) or part not in value:
                return default
            value = value[part]
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if default is not None and type(value) is not type(default):
            return default
        return value

    def set(self, name: str, value: Any) -> None:
        """Stores a value under a dotted name; None removes it. The disk follows."""
        *groups, last = name.split(".")
        table = self._values
        for group in groups:
            inner = table.get(group)
            if not isinstance(inner, dict):
                inner = table[group] = {}
            table = inner
        if value is None:
            table.pop(last, None)
        else:
            table[last] = value
        import tomli_w

        self._file.write(tomli_w.dumps(self._values).encode("utf-8"))

    def flush(self) -> None:
        """Waits until all values are on the disk, or `problem` says why they are not."""
        self._file.flush()

    def _not_written(self, error: OSError) -> None:
        self.problem = UserError(
            "The settings could not be saved",
            where=f"to {self.path}",
            action="Free some space or check the folder's permissions.",
            details=str(error),
        )
        if self._on_problem is not None:
            self._on_problem(self.problem)
