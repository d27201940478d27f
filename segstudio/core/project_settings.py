"""Values a project keeps by name: display range, last image, models shown."""

from __future__ import annotations

import json
from typing import Any

from segstudio.core.database import Database


class ProjectSettings:
    """JSON values by name, each durable when `set` returns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str, default: Any = None) -> Any:
        """The value, or `default` where there is none."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return default if row is None else json.loads(row[0])

    def set(self, name: str, value: Any) -> None:
        """Keeps a JSON value; None removes it. Raises UserError where the project cannot be written."""
        with self._database.transaction() as connection:
            if value is None:
                connection.execute("DELETE FROM settings WHERE name = ?", (name,))
            else:
                connection.execute(
                    "INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)", (name, json.dumps(value))
                )
