"""Values a project keeps by name: display range, last image, models shown."""

from __future__ import annotations

import json
from typing import Any

from segstudio.core.database import Database


class ProjectSettings:
    """JSON values by name, each durable when `set` returns. `get` never waits: all are kept in memory."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: dict[str, str] = {}

    def read(self) -> None:
        """Reads all values; once, when the database is ready."""
        with self._database.reading() as connection:
            self._kept = dict(connection.execute("SELECT name, value FROM settings"))

    def get(self, name: str, default: Any = None) -> Any:
        """The value, or `default` where there is none."""
        found = self._kept.get(name)
        return default if found is None else json.loads(found)

    def set(self, name: str, value: Any) -> None:
        """Keeps a JSON value; None removes it. Raises UserError where the project cannot be written."""
        text = json.dumps(value)
        with self._database.transaction() as connection:
            if value is None:
                connection.execute("DELETE FROM settings WHERE name = ?", (name,))
            else:
                connection.execute(
                    "INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)", (name, text)
                )
        if value is None:
            self._kept.pop(name, None)
        else:
            self._kept[name] = text
