"""The one exception a person is meant to read: something about their files or computer, not a bug.

Everything else that is raised counts as a bug and is shown with its traceback.
"""

from __future__ import annotations

from typing import Any


class UserError(Exception):
    """A problem of the environment, told in one sentence.

    `what` happened, `where` (a file, a setting), which `action` helps, and `details` for those who want
    more. `str()` gives "what where. action" as plain text.
    """

    def __init__(self, what: str, *, where: str = "", action: str = "", details: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.action = action
        self.details = details

    def __str__(self) -> str:
        first = f"{self.what} {self.where}".strip().rstrip(".")
        sentence = f"{first}. {self.action}" if self.action else f"{first}."
        # A file name may hold bytes that are no text; a sentence must always be printable.
        return " ".join(sentence.encode("utf-8", "replace").decode("utf-8").split())

    def __reduce__(self) -> tuple[Any, ...]:
        return (_restore, (self.to_json(),))

    def to_json(self) -> dict[str, str]:
        """The error as plain JSON values, for a frame between processes."""
        return {"what": self.what, "where": self.where, "action": self.action, "details": self.details}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> UserError:
        """The error that `to_json` wrote; missing fields are empty."""
        return cls(
            str(document.get("what", "Something went wrong")),
            where=str(document.get("where", "")),
            action=str(document.get("action", "")),
            details=str(document.get("details", "")),
        )


def _restore(document: dict[str, str]) -> UserError:
    return UserError.from_json(document)
